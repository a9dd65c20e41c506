package pebblekv

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/go-hclog"
)

// pebbleLog implements [pebble.Logger].
type pebbleLog struct {
	disk *guard
	log  hclog.Logger
}

func (l pebbleLog) Infof(format string, args ...any) {
	if l.log.IsTrace() {
		l.log.Trace("pebble", "says", fmt.Sprintf(format, args...))
	}
}

func (l pebbleLog) Errorf(format string, args ...any) {
	if l.disk.fault() == nil {
		l.log.Warn("pebble met an error", "error", fmt.Sprintf(format, args...))
	}
}

// Fatalf does not end the process: see guard.go.
func (l pebbleLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	if l.disk.fault() == nil {
		l.log.Error("pebble cannot go on", "error", err)
	}
	l.disk.fail(&fault{op: "run", path: "pebble", err: err, sync: true})
}

// listener tells the log what Pebble meets in the background.
func (g *guard) listener(log hclog.Logger) *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			if g.fault() == nil {
				log.Warn("upkeep met an error, and will try again", "error", err)
			}
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			if g.fault() == nil {
				log.Error("a file of the store is corrupt", "path", info.Path, "error", info.Details)
			}
		},
	}
}
