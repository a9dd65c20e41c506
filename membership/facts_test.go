package membership

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFactsRoundTrip(t *testing.T) {
	t.Parallel()
	for _, f := range []Facts{
		{},
		{Boot: math.MaxUint64, Ring: math.MaxUint64, Weight: math.MaxInt32},
		{Founding: true}, {Member: true}, {Leaving: true},
		{Cluster: "c", HTTP: "h:1", Peer: "p:2", Zone: "zone é", Software: "v1", Weight: -1, Boot: 3, Ring: 4},
		{Storage: math.MaxUint64, Ack: math.MaxUint64, Sync: 300, Done: 1},
	} {
		buf, err := f.encode()
		if err != nil {
			t.Fatal(err)
		}
		// A later version may append to it.
		got, err := decodeFacts(append(buf, "more"...))
		if err != nil || got != f {
			t.Errorf("decoded %+v, %v, want %+v", got, err, f)
		}
		const appended = 8 // bytes of storage
		older := len(buf) - appended
		for _, n := range []uint64{f.Ack, f.Sync, f.Done} {
			older -= len(binary.AppendUvarint(nil, n))
		}
		for n := range buf {
			if n == older {
				continue
			}
			if _, err := decodeFacts(buf[:n]); !errors.Is(err, errBadFacts) {
				t.Errorf("%+v cut to %d bytes: %v, want errBadFacts", f, n, err)
			}
		}
	}
}

// What a program says that knows no storage identities: the bytes are what it
// sent, and do not change.
func TestFactsOfAnOlderProgram(t *testing.T) {
	t.Parallel()
	older := []byte("\x01\x00\x00\x00\x00\x00\x00\x00\x03\x04\x02\x02\x01c\x03h:1\x03p:2\x01z\x02v1")
	want := Facts{Cluster: "c", HTTP: "h:1", Peer: "p:2", Zone: "z", Software: "v1", Weight: 1, Boot: 3, Ring: 4, Member: true}
	if got, err := decodeFacts(older); err != nil || got != want {
		t.Errorf("decoded %+v, %v, want %+v", got, err, want)
	}
	want.Storage, want.Ack = 5, 6
	buf, err := want.encode()
	if err != nil || !bytes.HasPrefix(buf, older) {
		t.Errorf("%x, %v: an older program cannot read what does not begin with %x", buf, err, older)
	}
}

// Later starts have larger boots, also those of one second.
func TestBootsAreInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(*testing.T) {
		last := NewBoot()
		for range 100 {
			time.Sleep(time.Millisecond) // of the bubble's clock
			next := NewBoot()
			if next <= last {
				t.Fatalf("boot %d after %d", next, last)
			}
			last = next
		}
		if again := NewBoot(); again == last {
			t.Error("two starts at the same time have one boot")
		}
	})
}

// What New accepts fits for good, whatever cluster and ring come; what does not
// is named.
func TestFactsKeepRoomForTheCluster(t *testing.T) {
	t.Parallel()
	f := Facts{Boot: NewBoot(), HTTP: "h:1", Peer: "p:2", Zone: strings.Repeat("z", 512), Weight: 1}
	err := f.validate()
	if !errors.Is(err, ErrTooLong) || !strings.Contains(err.Error(), "zone of 512 bytes") {
		t.Fatalf("%v, want ErrTooLong and the zone", err)
	}
	for f.validate() != nil {
		f.Zone = f.Zone[1:]
	}
	if len(f.Zone) < 350 {
		t.Errorf("no more than %d bytes of zone", len(f.Zone))
	}
	p, err := New(Config{Name: "a", Listen: "127.0.0.1:0", Facts: f})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Update(func(f *Facts) { f.Cluster, f.Ring = strings.Repeat("c", maxCluster), math.MaxUint64 }); err != nil {
		t.Error(err)
	}
	f.Zone += "z"
	if _, err := New(Config{Name: "b", Listen: "127.0.0.1:0", Facts: f}); !errors.Is(err, ErrTooLong) {
		t.Errorf("a zone that is a byte too long: %v", err)
	}
}

func FuzzDecodeFacts(f *testing.F) {
	full := Facts{Cluster: "c", HTTP: "h:1", Peer: "p:2", Zone: "z", Software: "v", Weight: 1, Boot: 3, Ring: 4, Member: true, Storage: 5, Ack: 6, Sync: 7, Done: 8}
	buf, err := full.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(buf)
	f.Fuzz(func(t *testing.T, buf []byte) {
		facts, err := decodeFacts(buf)
		if err != nil {
			return
		}
		again, err := facts.encode()
		if errors.Is(err, ErrTooLong) {
			return
		}
		got, err := decodeFacts(again)
		if err != nil || got != facts {
			t.Errorf("%+v became %+v, %v", facts, got, err)
		}
	})
}

func FuzzStamp(f *testing.F) {
	f.Add(appendStamp(nil, "red"))
	f.Add(append(appendStamp(nil, ""), "body"...))
	f.Fuzz(func(t *testing.T, packet []byte) {
		cluster, body, err := cutStamp(packet)
		r := bytes.NewReader(packet)
		streamed, serr := readStamp(r)
		if (err == nil) != (serr == nil) {
			t.Fatalf("packet: %v; stream: %v", err, serr)
		}
		if err != nil {
			return
		}
		if streamed != cluster || r.Len() != len(body) {
			t.Errorf("stream of %q with %d bytes, packet of %q with %d", streamed, r.Len(), cluster, len(body))
		}
		if again := append(appendStamp(nil, cluster), body...); !bytes.Equal(again, packet) {
			t.Errorf("%x became %x", packet, again)
		}
	})
}
