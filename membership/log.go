package membership

import (
	"bytes"
	"io"
	"log"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// expected are parts of memberlist's lines that say nothing that an operator
// could act upon, or that this package says better itself.
var expected = [][]byte{
	[]byte("[INFO]"),
	[]byte("Conflicting address"),
	[]byte("ignoring alive message"),
	[]byte("Refuting"),
	[]byte("Failed to send"),
	[]byte("Failed fallback TCP ping"),
	[]byte("failed to send"),
	[]byte("failed to receive"),
	[]byte("Failed to push local state"),
	[]byte("Failed to read remote state"),
	[]byte("Failed push/pull merge"),
	[]byte("Push/Pull with"),
	[]byte("Got ping for unexpected node"),
	[]byte("Was able to connect to"), // packets are lost now and then
	[]byte("Binding to public address without encryption"),
}

// quiet passes memberlist's log lines on, the expected ones as debug lines.
type quiet struct{ to io.Writer }

// memberlistLogger returns a logger for memberlist that ends in log, with the
// level that each line begins with.
func memberlistLogger(to hclog.Logger) *log.Logger {
	w := to.StandardWriter(&hclog.StandardLoggerOptions{InferLevels: true})
	return log.New(quiet{to: w}, "", 0)
}

// Write implements io.Writer for one line.
func (q quiet) Write(line []byte) (int, error) {
	for _, part := range expected {
		if !bytes.Contains(line, part) {
			continue
		}
		if end := bytes.IndexByte(line, ']'); line[0] == '[' && end > 0 {
			line = append([]byte("[DEBUG"), line[end:]...)
		}
		break
	}
	if _, err := q.to.Write(line); err != nil {
		return 0, err
	}
	return len(line), nil
}

// seldom says when a thing that happens often may be logged.
type seldom struct {
	mu   sync.Mutex // guards last
	last map[string]time.Time
}

// allows reports whether what key stands for was not logged for a minute.
func (s *seldom) allows(key string, now time.Time) bool {
	const pause, room = time.Minute, 1024
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.last[key]; ok && now.Sub(at) < pause {
		return false
	}
	if s.last == nil || len(s.last) >= room {
		// Forgetting them all costs a line too many each, and bounds what
		// strangers can make us remember.
		s.last = make(map[string]time.Time)
	}
	s.last[key] = now
	return true
}
