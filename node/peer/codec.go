package peer

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/thunderdb/thunderdb/kv"
)

// The encoding is written by hand: numbers as unsigned varints, versions and
// clock readings as big-endian 64 bits, byte strings after their length, and
// in front of what is often absent a byte of flags. Decoders are pure
// functions over a slice; what they return points into it.

// errMalformed is returned by the decoders for bytes that no encoder wrote.
var errMalformed = errors.New("malformed frame")

func appendBytes(dst, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// appendInt appends a number that is not below 0; one that is becomes 0.
func appendInt(dst []byte, n int) []byte {
	return binary.AppendUvarint(dst, uint64(max(n, 0)))
}

func appendVersion(dst []byte, v kv.Version) []byte {
	dst = binary.BigEndian.AppendUint64(dst, v.Time)
	return binary.BigEndian.AppendUint64(dst, v.Node)
}

// flag returns bit where set, for building a byte of flags.
func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

// decoder takes values off the front of b. After the first failure every
// method returns zero, and err says so.
type decoder struct {
	b    []byte
	err  error
	text string // the last short string: content types repeat
}

func (d *decoder) fail() {
	d.b, d.err = nil, errMalformed
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uint64() uint64 {
	if len(d.b) < 8 {
		d.fail()
		return 0
	}
	v := binary.BigEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// int returns a number that fits 31 bits.
func (d *decoder) int() int {
	v := d.uvarint()
	if v > math.MaxInt32 {
		d.fail()
		return 0
	}
	return int(v)
}

// count returns a number of things of at least size bytes each that follow.
// It fails where they cannot, so that nothing is allocated for a lie.
func (d *decoder) count(size int) int {
	v := d.uvarint()
	if v > uint64(len(d.b)/size) {
		d.fail()
		return 0
	}
	return int(v)
}

// bytes returns a byte string that points into the input; nil where it is
// empty.
func (d *decoder) bytes() []byte {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

// string returns a copy of a byte string; the last one where it is the same.
func (d *decoder) string() string {
	b := d.bytes()
	if string(b) == d.text {
		return d.text
	}
	s := string(b)
	if len(s) <= 64 {
		d.text = s
	}
	return s
}

func (d *decoder) version() kv.Version {
	return kv.Version{Time: d.uint64(), Node: d.uint64()}
}

func (d *decoder) versions() []kv.Version {
	n := d.count(16)
	if n == 0 {
		return nil
	}
	list := make([]kv.Version, n)
	for i := range list {
		list[i] = d.version()
	}
	return list
}

// known fails where flags has a bit that is not in mask.
func (d *decoder) known(flags, mask byte) {
	if flags&^mask != 0 {
		d.fail()
	}
}
