package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/thunderdb/thunderdb/client"
)

// input is what import reads: the records of a file, unpacked.
type input struct {
	io.Reader
	format client.Format
	size   int64        // bytes of the file as it is packed; -1 where unknown
	read   atomic.Int64 // bytes of it read so far
	file   io.Closer    // nil for standard input
}

// openInput opens the file called name, or stdin where it is "-". Format is
// text, csv or ndjson, or "" for what the name says.
func openInput(name, format string, stdin io.Reader) (*input, error) {
	in := &input{size: -1}
	raw := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		in.file = f
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			in.size = info.Size()
		}
		raw = f
	}
	base, packing := splitPacking(name)
	in.format = formatOf(base, format)
	if err := in.unpack(raw, packing); err != nil {
		return nil, errors.Join(fmt.Errorf("unpack %s: %w", name, err), in.Close())
	}
	return in, nil
}

// unpack makes in read what raw packs, and count what it reads of raw.
func (in *input) unpack(raw io.Reader, packing string) error {
	counted := &countingReader{r: raw, n: &in.read}
	switch packing {
	case ".gz":
		z, err := gzip.NewReader(bufio.NewReaderSize(counted, 256<<10))
		if err != nil {
			return err
		}
		in.Reader = z
	case ".zst":
		// With one decoder it starts no goroutines, and need not be closed.
		z, err := zstd.NewReader(counted, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return err
		}
		in.Reader = z
	default:
		in.Reader = counted
	}
	return nil
}

// Close closes the file, and leaves alone what unpacks it: an import that
// failed may still be reading.
func (in *input) Close() error {
	if in.file == nil {
		return nil
	}
	return in.file.Close()
}

// splitPacking splits off the end of name that says how it is packed.
func splitPacking(name string) (base, packing string) {
	for _, end := range []string{".gz", ".zst"} {
		if base, ok := strings.CutSuffix(name, end); ok {
			return base, end
		}
	}
	return name, ""
}

// formatOf returns the format called word, or where that is "" the one of a
// file called name.
func formatOf(name, word string) client.Format {
	switch {
	case word == "csv" || word == "" && strings.HasSuffix(name, ".csv"):
		return client.CSV
	case word == "ndjson" || word == "" && (strings.HasSuffix(name, ".ndjson") || strings.HasSuffix(name, ".jsonl")):
		return client.NDJSON
	}
	return client.Text
}

// countingReader adds what it reads to n.
type countingReader struct {
	r io.Reader
	n *atomic.Int64
}

// Read implements io.Reader.
func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}
