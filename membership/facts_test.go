package membership

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

func TestFactsRoundTrip(t *testing.T) {
	t.Parallel()
	for _, f := range []Facts{
		{},
		{Boot: math.MaxUint64, Ring: math.MaxUint64, Weight: math.MaxInt32},
		{Founding: true}, {Member: true}, {Leaving: true},
		{Cluster: "c", HTTP: "h:1", Peer: "p:2", Zone: "zone é", Software: "v1", Weight: -1, Boot: 3, Ring: 4},
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
		for n := range buf {
			if _, err := decodeFacts(buf[:n]); !errors.Is(err, errBadFacts) {
				t.Errorf("%+v cut to %d bytes: %v, want errBadFacts", f, n, err)
			}
		}
	}
}

func FuzzDecodeFacts(f *testing.F) {
	full := Facts{Cluster: "c", HTTP: "h:1", Peer: "p:2", Zone: "z", Software: "v", Weight: 1, Boot: 3, Ring: 4, Member: true}
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
