package handoff

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// sample returns a file of hints for target 1 as a running Log wrote it, in
// several writings, and the offsets at which its records end.
func sample(t *testing.T) (data []byte, ends []int) {
	t.Helper()
	cfg := Config{Dir: t.TempDir()}
	l := open(t, cfg)
	for _, step := range []func(){
		func() { addMany(l, 1, 0, 4) },
		func() { finish(t, l, 1, "k00000", "k00002") },
		func() { l.Add(1, 3, []byte("k00003"), version(9)) },
		func() { l.Add(1, 3, []byte("k00002"), version(8)) },
	} {
		step()
		l.tend(false)
	}
	data, err := os.ReadFile(filepath.Join(cfg.Dir, fileName(1)))
	if err != nil {
		t.Fatal(err)
	}
	at := headerSize
	if _, err := decode(data, 1, func(_ byte, _ missed, key []byte) {
		at += recordSize + len(key)
		ends = append(ends, at)
	}); err != nil || at != len(data) {
		t.Fatalf("%d bytes were read of %d, %v", at, len(data), err)
	}
	return data, ends
}

// sampleHeld is what a Log holds after as many records of sample.
var sampleHeld = [][]string{
	nil, {"k00000@1"}, {"k00000@1", "k00001@1"}, {"k00000@1", "k00001@1", "k00002@1"},
	{"k00000@1", "k00001@1", "k00002@1", "k00003@1"},
	{"k00001@1", "k00002@1", "k00003@1"}, {"k00001@1", "k00003@1"},
	{"k00001@1", "k00003@9"}, {"k00001@1", "k00003@9", "k00002@8"},
}

// reopen opens a directory with the given file for target 1, expects what is
// held, and, where next is set, for that waits for the disk, the same once more
// after a next life has added to it.
func reopen(t *testing.T, data []byte, want []string, next bool) (files map[string]int64) {
	t.Helper()
	cfg := Config{Dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(cfg.Dir, fileName(1)), data, 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, cfg)
	held := map[uint64][]string{}
	if len(want) > 0 {
		held[1] = want
	}
	expect(t, l, held)
	files = names(t, cfg.Dir)
	if !next {
		return files
	}
	l.Add(1, 1, []byte("next"), version(1))
	l.tend(false)
	expect(t, open(t, cfg), map[uint64][]string{1: append(slices.Clone(want), "next@1")})
	return files
}

func TestTornTail(t *testing.T) {
	data, ends := sample(t)
	for size := range len(data) + 1 {
		whole := 0
		for whole < len(ends) && ends[whole] <= size {
			whole++
		}
		want := sampleHeld[whole]
		for name, torn := range map[string][]byte{
			"cut":   data[:size],
			"zeros": append(slices.Clone(data[:size]), make([]byte, 50)...),
		} {
			// Zeros over a part of a header or of a record are damage, or the
			// torn end where they reach beyond it; either way what is before counts.
			files := reopen(t, torn, want, size%9 == 0)
			if _, damaged := files[fileName(1)+damagedSuffix]; damaged && name == "cut" {
				t.Errorf("cut at %d: set aside", size)
			}
		}
		if t.Failed() {
			t.Fatalf("with %d bytes of %d", size, len(data))
		}
	}
}

func TestDamage(t *testing.T) {
	data, ends := sample(t)
	for at := range data {
		whole := 0
		for whole < len(ends) && ends[whole] <= at {
			whole++
		}
		want := sampleHeld[whole]
		if at < headerSize {
			want = nil
		}
		bad := slices.Clone(data)
		bad[at] ^= 1 << (at % 8)
		files := reopen(t, bad, want, at%9 == 0)
		_, aside := files[fileName(1)+damagedSuffix]
		_, there := files[fileName(1)]
		if aside == there {
			t.Errorf("files: %v", files)
		}
		// A length may reach beyond the end, which looks torn; the rest must not.
		inLength := whole < len(ends) && at >= headerSize && at-(ends[whole]-recordSize-6) < 4
		if last := ends[len(ends)-2]; !aside && at < last && !inLength {
			t.Errorf("not set aside: %v", files)
		}
		if t.Failed() {
			t.Fatalf("with the byte at %d of %d wrong", at, len(data))
		}
	}
}

func TestForeignFilesAreSetAside(t *testing.T) {
	record := appendRecord(nil, kindMissed, &missed{key: "a", version: version(1)})
	next := appendHeader(nil, 1)
	next[len(magic)+3]++
	unknown := appendRecord(appendHeader(nil, 1), 77, &missed{key: "a", version: version(1)})
	for name, data := range map[string][]byte{
		"another target": append(appendHeader(nil, 2), record...),
		"next format":    append(next, record...),
		"text":           []byte("hello"),
		"unknown kind":   append(unknown, record...),
	} {
		t.Run(name, func(t *testing.T) {
			if files := reopen(t, data, nil, true); files[fileName(1)+damagedSuffix] != int64(len(data)) {
				t.Errorf("files: %v", files)
			}
		})
	}
	t.Run("a directory", func(t *testing.T) {
		cfg := Config{Dir: t.TempDir()}
		if err := os.MkdirAll(filepath.Join(cfg.Dir, fileName(1), "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		l := open(t, cfg)
		l.Add(1, 1, []byte("a"), version(1))
		l.tend(false)
		expect(t, open(t, cfg), map[uint64][]string{1: {"a@1"}})
	})
}

func FuzzDecode(f *testing.F) {
	full := appendHeader(nil, 1)
	for i, key := range []string{"a", "", "bc"} {
		full = appendRecord(full, byte(1+i%2), &missed{key: key, version: version(i), at: 5, partition: 3})
	}
	f.Add(full)
	f.Fuzz(func(t *testing.T, data []byte) {
		again := appendHeader(nil, 1)
		good, err := decode(data, 1, func(kind byte, m missed, key []byte) {
			m.key = string(key)
			again = appendRecord(again, kind, &m)
		})
		if err != nil && !errors.Is(err, errDamaged) {
			t.Errorf("error %v", err)
		}
		if good == 0 {
			again = nil
		}
		if good > len(data) || !bytes.Equal(data[:good], again) {
			t.Errorf("%x was read as %x", data[:good], again)
		}
		if err == nil && good < len(data) {
			// Torn: so what is before is whole, and is read alike.
			if n, err := decode(data[:good], 1, func(byte, missed, []byte) {}); err != nil || n != good {
				t.Errorf("%d bytes, %v without the torn end; want %d", n, err, good)
			}
		}
	})
}
