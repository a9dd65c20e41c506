package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// terminal returns a new pseudo-terminal, and what was written to it so far,
// which may be asked for once.
func terminal(t *testing.T) (tty *os.File, written func() string) {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var unlock, number int32
	for request, arg := range map[uintptr]*int32{syscall.TIOCSPTLCK: &unlock, syscall.TIOCGPTN: &number} {
		// Fd would make reads of control block for good.
		raw, err := control.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var errno syscall.Errno
		err = raw.Control(func(fd uintptr) {
			_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(arg)))
		})
		if err != nil || errno != 0 {
			t.Fatal(err, errno)
		}
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(&text, control) // ends with an error when tty is closed
		control.Close()
	}()
	return tty, func() string { tty.Close(); <-read; return text.String() }
}

// bulkNode is a node that is at work long enough to show progress.
func bulkNode(t *testing.T) string {
	answers := map[string]string{
		"/v1/bulk": `{"read":3000,"stored":2900,"failed":100}
{"line":7,"error":"no space"}
{"read":4000,"stored":3900,"failed":100,"done":true}`,
		"/v1/export":  strings.Repeat(`{"key":"a","value":"1"}`+"\n", 1500),
		"/v1/cluster": `{"members":[{"keys":2000},{"keys":2000}]}`,
		"/v1/ring":    `{"replicas":2,"members":[{},{}]}`,
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, answers[r.URL.Path])
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func want(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q lacks %q", text, part)
		}
	}
}

func TestProgressIsForTerminals(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pairs")
	if err := os.WriteFile(file, []byte(strings.Repeat("a 1\n", 4000)), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := bulkNode(t)
	importing := []string{"import", file, "--addr", addr}
	exporting := []string{"export", "--addr", addr}

	tty, written := terminal(t)
	if code := run(t.Context(), importing, nil, io.Discard, tty); code != exitFailed {
		t.Errorf("import ended with %d", code)
	}
	want(t, written(), "2,900 records", "/s", "100 failed", "line 7: no space\r\n", "100 of 4000")

	// A message stands on a line of its own, not behind a bar.
	tty, written = terminal(t)
	bar := newProgress(tty, 100)
	bar.update(10, 20, 0)
	bar.message("line 7: no space")
	bar.finish()
	want(t, written(), "20 records", "10%", "\rline 7: no space\r\n")

	tty, written = terminal(t)
	if code := run(t.Context(), exporting, nil, io.Discard, tty); code != exitDone {
		t.Errorf("export ended with %d", code)
	}
	want(t, written(), " records, ", "/s", "%") // for the end is known

	// Without a terminal there are messages only.
	var stderr bytes.Buffer
	run(t.Context(), importing, nil, io.Discard, &stderr)
	if got := stderr.String(); got != "line 7: no space\nthunderdb: 100 of 4000 records were not stored\n" {
		t.Errorf("import says %q", got)
	}
	stderr.Reset()
	run(t.Context(), exporting, nil, io.Discard, &stderr)
	if stderr.Len() > 0 {
		t.Errorf("export says %q", stderr.String())
	}

	// Nor may the bar run into the records.
	tty, written = terminal(t)
	run(t.Context(), exporting, nil, tty, tty)
	if text := written(); strings.Contains(text, "records") || strings.Count(text, "\n") != 1500 {
		t.Errorf("a terminal got %d lines of records and a bar", strings.Count(text, "\n"))
	}
}
