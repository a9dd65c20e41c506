package client_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/thunderdb/thunderdb/client"
)

// bulkNode answers each line it reads with progress at once, and one that is
// "bad" with an error.
func bulkNode(w http.ResponseWriter, r *http.Request) {
	ctl := http.NewResponseController(w)
	if err := ctl.EnableFullDuplex(); err != nil {
		panic(err)
	}
	var read, failed int
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		read++
		if lines.Text() == "bad" {
			failed++
			fmt.Fprintf(w, "{\"line\":%d,\"error\":\"no space\"}\n", read)
		}
		fmt.Fprintf(w, "{\"read\":%d,\"stored\":%d,\"failed\":%d}\n\n", read, read-failed, failed)
		ctl.Flush()
	}
	if lines.Err() != nil {
		panic(http.ErrAbortHandler)
	}
	fmt.Fprintf(w, "{\"read\":%d,\"stored\":%d,\"failed\":%d,\"done\":true}\n", read, read-failed, failed)
}

// The node's progress must arrive while records are still being sent: the next
// one is written only when the last was reported.
func TestImportReportsWhileItSends(t *testing.T) {
	t.Parallel()
	pr, pw := io.Pipe()
	records := []string{"a 1\n", "bad\n", "b 2\n"}
	send := func() {
		if len(records) == 0 {
			pw.Close()
			return
		}
		go io.WriteString(pw, records[0])
		records = records[1:]
	}
	send()
	var bad []client.BulkLine
	totals, err := newClient(t, client.Options{}, fakeNode(t, bulkNode)).Import(t.Context(), client.Text, pr, func(l client.BulkLine) {
		if l.Error != "" {
			bad = append(bad, l)
		} else {
			send()
		}
	})
	if err != nil || totals != (client.BulkLine{Read: 3, Stored: 2, Failed: 1, Done: true}) {
		t.Errorf("totals %+v, %v", totals, err)
	}
	if !slices.Equal(bad, []client.BulkLine{{Line: 2, Error: "no space"}}) {
		t.Errorf("bad lines %+v", bad)
	}
}

func TestImportSendsTheWholeInputToTheNodeThatAnswers(t *testing.T) {
	t.Parallel()
	var got string
	addr := fakeNode(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Header.Get("Content-Type") + ": " + string(body)
		io.WriteString(w, `{"read":1,"stored":1,"done":true}`)
	})
	_, err := newClient(t, client.Options{}, deadAddr(t), addr).Import(t.Context(), client.CSV, strings.NewReader("a,1\n"), nil)
	if err != nil || got != "text/csv: a,1\n" {
		t.Errorf("the node read %q, %v", got, err)
	}
}

// Input can be read once: a second try would begin in the middle.
func TestImportIsNotSentAgainOnceItHasBegun(t *testing.T) {
	t.Parallel()
	busy := fakeNode(t, func(w http.ResponseWriter, r *http.Request) {
		r.Body.Read(make([]byte, 1))
		refuse(w, "overloaded", "")
	})
	second := fakeNode(t, func(http.ResponseWriter, *http.Request) { t.Error("the second node was asked") })
	_, err := newClient(t, client.Options{RepeatWrites: true}, busy, second).
		Import(t.Context(), client.Text, strings.NewReader("a 1\n"), nil)
	if !errors.Is(err, client.ErrOverloaded) {
		t.Errorf("error = %v", err)
	}
}

// A refusal must be heard though the input has no end.
func TestImportEndsWhenItIsRefused(t *testing.T) {
	t.Parallel()
	addr := fakeNode(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, "unsupported_media_type", "") })
	_, err := newClient(t, client.Options{}, addr).Import(t.Context(), "text/html", endless{}, nil)
	if !errors.Is(err, client.ErrMediaType) {
		t.Errorf("error = %v", err)
	}
}

// endless gives lines for ever.
type endless struct{}

// Read implements io.Reader.
func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "a 1\n"[i%4]
	}
	return len(p), nil
}

func TestImportThatBreaksOffReturnsTheLastTotals(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(){
		"connection broken": func() { panic(http.ErrAbortHandler) },
		"no totals":         func() {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := fakeNode(t, func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				io.WriteString(w, "{\"read\":5,\"stored\":4,\"failed\":1}\n{\"error\":\"n2 does not answer\"}\n")
				http.NewResponseController(w).Flush()
				end()
			})
			totals, err := newClient(t, client.Options{}, addr).Import(t.Context(), client.Text, strings.NewReader("a 1\n"), nil)
			if !errors.Is(err, client.ErrUnclear) || totals != (client.BulkLine{Read: 5, Stored: 4, Failed: 1}) {
				t.Errorf("totals %+v, %v", totals, err)
			}
		})
	}
}

// Input that cannot be read on must not look to the node like its end.
func TestImportPassesOnWhyItsInputBroke(t *testing.T) {
	t.Parallel()
	heard := make(chan error, 1)
	addr := fakeNode(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		heard <- err
	})
	broken := errors.New("disk on fire")
	input := io.MultiReader(strings.NewReader("a 1\n"), failing{broken})
	_, err := newClient(t, client.Options{}, addr).Import(t.Context(), client.Text, input, nil)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "read input") {
		t.Errorf("error = %v, want %v", err, broken)
	}
	if err := <-heard; err == nil {
		t.Error("the node took what it read for the whole")
	}
}

type failing struct{ err error }

// Read implements io.Reader.
func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A terminal may give nothing for hours.
func TestImportEndsWithItsContextThoughItsInputBlocks(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pr, pw := io.Pipe()
	defer pw.Close()
	addr := fakeNode(t, func(_ http.ResponseWriter, r *http.Request) {
		r.Body.Read(make([]byte, 1)) // there is input, and then no more
		cancel()
		io.Copy(io.Discard, r.Body)
	})
	go io.WriteString(pw, "a")
	if _, err := newClient(t, client.Options{}, addr).Import(ctx, client.Text, pr, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
}

// Bulk loads and exports take the same memory whatever their size. It is not
// parallel, for it looks at the memory of the whole process.
func TestBulkIsFlatInMemory(t *testing.T) {
	const size = 64 << 20
	var exported bytes.Reader
	exported.Reset(bytes.Repeat([]byte("{\"key\":\"a\"}\n"), 1<<10))
	addr := fakeNode(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, `{"done":true}`)
			return
		}
		for sent := int64(0); sent < size; {
			exported.Seek(0, io.SeekStart)
			n, err := io.Copy(w, &exported)
			if err != nil {
				t.Error(err)
				return
			}
			sent += n
		}
	})
	c := newClient(t, client.Options{}, addr)
	for name, bulk := range map[string]func() error{
		"import": func() error {
			_, err := c.Import(t.Context(), client.Text, io.LimitReader(endless{}, size), nil)
			return err
		},
		"export": func() error { return c.ExportTo(t.Context(), "", io.Discard) },
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := bulk(); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if taken := after.TotalAlloc - before.TotalAlloc; taken > size/16 {
			t.Errorf("%s of %d MiB allocated %d KiB", name, size>>20, taken>>10)
		}
	}
}
