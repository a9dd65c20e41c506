package membership

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

// ErrTooLong is returned for facts that do not fit into a gossip message.
var ErrTooLong = fmt.Errorf("facts take more than %d bytes", memberlist.MetaMaxSize)

// errBadFacts is returned for bytes that are not the facts of a node.
var errBadFacts = errors.New("not the facts of a node")

// Facts is what a node says of itself by gossip. All of it takes at most 512
// bytes, of which the strings get about 430.
type Facts struct {
	// Cluster is the identity of the cluster; "" while the node has none. At
	// most 64 bytes.
	Cluster string
	// Boot is new at each start of the process: see NewBoot. Later starts have
	// larger ones.
	Boot uint64
	// HTTP and Peer are the host:port that others reach its listeners at.
	HTTP, Peer string
	// Ring is the highest ring version that it knows; 0 for none.
	Ring uint64
	// Founding says that it may found a cluster and knows none yet.
	Founding bool
	// Member says that it is in the ring.
	Member bool
	// Leaving says that it is on its way out of the ring.
	Leaving bool
	// Weight is its share of the keys, relative to others.
	Weight int
	Zone   string
	// Software is the version of its binary.
	Software string
	// Storage is the identity of its store; 0 where a program says none.
	Storage uint64
	// Ack, Sync and Done are how far it is with changes of the ring: versions
	// of it, see package topology.
	Ack, Sync, Done uint64
}

// bootRandom is how many of the lower bits of a boot are random. The others
// last until 2109.
const bootRandom = 22

// NewBoot returns a number for Facts.Boot, never 0: the time in milliseconds
// since 1970, and random bits, so that two nodes that start at the same time
// differ. Where the clocks of two machines differ, "later" is by these clocks.
func NewBoot() uint64 {
	return uint64(time.Now().UnixMilli())<<bootRandom | rand.Uint64N(1<<bootRandom)
}

// factsVersion begins the encoding. A later program may append fields without
// changing it: what follows the known ones is skipped.
const factsVersion = 1

// The bits of the encoding's flags.
const (
	flagFounding = 1 << iota
	flagMember
	flagLeaving
)

// encode returns f as: the format's version, boot (8 bytes, big endian), ring
// (uvarint), flags, weight (varint), and the strings cluster, http, peer, zone
// and software, each after its length (uvarint). What older programs do not
// know follows: storage (8 bytes, big endian), and ack, sync and done
// (uvarint). The error is ErrTooLong.
func (f *Facts) encode() ([]byte, error) {
	if len(f.Cluster) > maxCluster {
		return nil, fmt.Errorf("cluster identity of %d bytes, at most %d: %w", len(f.Cluster), maxCluster, ErrTooLong)
	}
	var flags byte
	if f.Founding {
		flags |= flagFounding
	}
	if f.Member {
		flags |= flagMember
	}
	if f.Leaving {
		flags |= flagLeaving
	}
	buf := []byte{factsVersion}
	buf = binary.BigEndian.AppendUint64(buf, f.Boot)
	buf = binary.AppendUvarint(buf, f.Ring)
	buf = append(buf, flags)
	buf = binary.AppendVarint(buf, int64(f.Weight))
	for _, s := range []string{f.Cluster, f.HTTP, f.Peer, f.Zone, f.Software} {
		buf = binary.AppendUvarint(buf, uint64(len(s)))
		buf = append(buf, s...)
	}
	buf = binary.BigEndian.AppendUint64(buf, f.Storage)
	for _, n := range []uint64{f.Ack, f.Sync, f.Done} {
		buf = binary.AppendUvarint(buf, n)
	}
	if len(buf) > memberlist.MetaMaxSize {
		return nil, fmt.Errorf("%d bytes: %w", len(buf), ErrTooLong)
	}
	return buf, nil
}

// validate finds out whether f can still be encoded once the node belongs to a
// cluster, with whatever ring. The error is ErrTooLong, and names what is.
func (f Facts) validate() error {
	if room := maxCluster - len(f.Cluster); room > 0 {
		f.Cluster += strings.Repeat("x", room)
	}
	f.Ring, f.Ack, f.Sync, f.Done = math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64
	_, err := f.encode()
	if err == nil || len(f.Cluster) > maxCluster {
		return err
	}
	what, longest := "zone", len(f.Zone)
	if len(f.HTTP) > longest {
		what, longest = "HTTP address", len(f.HTTP)
	}
	if len(f.Peer) > longest {
		what, longest = "peer address", len(f.Peer)
	}
	if len(f.Software) > longest {
		what, longest = "software version", len(f.Software)
	}
	return fmt.Errorf("%s of %d bytes: once in a cluster, %w", what, longest, err)
}

// decodeFacts is the inverse of encode. The error is errBadFacts.
func decodeFacts(buf []byte) (Facts, error) {
	r := reader{buf: buf, ok: true}
	if version := r.bytes(1); r.ok && version[0] != factsVersion {
		return Facts{}, fmt.Errorf("format %d: %w", version[0], errBadFacts)
	}
	var f Facts
	f.Boot = r.uint64()
	f.Ring = r.uvarint()
	if flags := r.bytes(1); r.ok {
		f.Founding = flags[0]&flagFounding != 0
		f.Member = flags[0]&flagMember != 0
		f.Leaving = flags[0]&flagLeaving != 0
	}
	f.Weight = r.int()
	for _, s := range []*string{&f.Cluster, &f.HTTP, &f.Peer, &f.Zone, &f.Software} {
		*s = string(r.bytes(r.uvarint()))
	}
	if len(r.buf) > 0 { // an older program ends here
		f.Storage = r.uint64()
		for _, n := range []*uint64{&f.Ack, &f.Sync, &f.Done} {
			*n = r.uvarint()
		}
	}
	if !r.ok || len(f.Cluster) > maxCluster {
		return Facts{}, fmt.Errorf("%d bytes: %w", len(buf), errBadFacts)
	}
	return f, nil
}

// reader takes values off a buffer. Once one is missing, ok is false and all
// further ones are zero.
type reader struct {
	buf []byte
	ok  bool
}

func (r *reader) bytes(n uint64) []byte {
	if !r.ok || n > uint64(len(r.buf)) {
		r.ok = false
		return nil
	}
	out := r.buf[:n]
	r.buf = r.buf[n:]
	return out
}

func (r *reader) uint64() uint64 {
	if b := r.bytes(8); r.ok {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.buf)
	if size <= 0 {
		r.ok = false
		return 0
	}
	r.bytes(uint64(size))
	return n
}

func (r *reader) int() int {
	n, size := binary.Varint(r.buf)
	if size <= 0 || n < math.MinInt32 || n > math.MaxInt32 {
		r.ok = false
		return 0
	}
	r.bytes(uint64(size))
	return int(n)
}
