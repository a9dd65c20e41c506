package peer

import (
	"encoding/binary"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// A request frame, after its length:
//
//	sender's clock (8 bytes), its wall clock (8 bytes)
//	calls, to the end of the frame:
//	    milliseconds left, ring version, version read under,
//	    number of operations
//	    operations: verb, flags, key, then what the flags announce
//
// It is answered by one or more reply frames before the next is sent.

// maxFrameOps is how many operations one frame may carry. In memory they are
// larger than on the wire, so the size of a frame does not bound them.
const maxFrameOps = 1 << 14

const (
	opBlind       byte = 1
	opValue       byte = 2
	opContentType byte = 4
	opExpires     byte = 8
	opIf          byte = 16
	opNeed        byte = 32 // kv.All is sent as 0, which is not sent itself
	opVersion     byte = 64
	opDeleted     byte = 128
)

const (
	ifMatches      byte = 1
	ifMatchAny     byte = 2
	ifNoneMatchAny byte = 4
)

// minOp is the size of the shortest operation: verb, flags, empty key.
const minOp = 3

// frameOverhead is more than a frame with one call has besides its operation.
const frameOverhead = 64

// request is a decoded request frame. Its operations point into the frame.
type request struct {
	clock uint64
	wall  int64 // Unix ms
	calls []wireCall
	ops   []kv.Op // of all calls, one behind the other
}

// wireCall is a call of a request: the operations from lo up to hi.
type wireCall struct {
	left       time.Duration // until its deadline, when it was sent
	ring, read uint64
	lo, hi     int
}

// opSize returns at least the size of op on the wire.
func opSize(op *kv.Op) int {
	n := 32 + len(op.Key) + len(op.Value) + len(op.ContentType)
	if op.If != nil {
		n += 16 + 16*(len(op.If.Match)+len(op.If.NoneMatch))
	}
	if !op.Version.IsZero() {
		n += 16
	}
	return n
}

func appendRequestHeader(dst []byte, clock uint64, wall int64) []byte {
	dst = binary.BigEndian.AppendUint64(dst, clock)
	return binary.BigEndian.AppendUint64(dst, uint64(wall))
}

// appendCall appends a call. What is left until its deadline is rounded up to
// a millisecond, so that 0 means it has passed.
func appendCall(dst []byte, left time.Duration, ring, read uint64, ops []kv.Op) []byte {
	ms := max(0, (left+time.Millisecond-1)/time.Millisecond)
	dst = binary.AppendUvarint(dst, uint64(ms))
	dst = binary.AppendUvarint(dst, ring)
	dst = binary.AppendUvarint(dst, read)
	dst = binary.AppendUvarint(dst, uint64(len(ops)))
	for i := range ops {
		dst = appendOp(dst, &ops[i])
	}
	return dst
}

func appendOp(dst []byte, op *kv.Op) []byte {
	flags := flag(op.Blind, opBlind) | flag(len(op.Value) > 0, opValue) |
		flag(op.ContentType != "", opContentType) | flag(op.Expires != 0, opExpires) |
		flag(op.If != nil, opIf) | flag(op.Need != 0, opNeed) |
		flag(!op.Version.IsZero(), opVersion) | flag(op.Deleted, opDeleted)
	dst = append(dst, byte(op.Verb), flags)
	dst = appendBytes(dst, op.Key)
	if flags&opValue != 0 {
		dst = appendBytes(dst, op.Value)
	}
	if flags&opContentType != 0 {
		dst = appendString(dst, op.ContentType)
	}
	if flags&opExpires != 0 {
		dst = binary.AppendUvarint(dst, uint64(op.Expires))
	}
	if op.If != nil {
		dst = appendCondition(dst, op.If)
	}
	if flags&opNeed != 0 {
		dst = appendInt(dst, op.Need) // kv.All is below 0
	}
	if flags&opVersion != 0 {
		dst = appendVersion(dst, op.Version)
	}
	return dst
}

func appendCondition(dst []byte, c *kv.Condition) []byte {
	dst = append(dst, flag(c.Matches, ifMatches)|flag(c.MatchAny, ifMatchAny)|
		flag(c.NoneMatchAny, ifNoneMatchAny))
	for _, list := range [2][]kv.Version{c.Match, c.NoneMatch} {
		dst = binary.AppendUvarint(dst, uint64(len(list)))
		for _, v := range list {
			dst = appendVersion(dst, v)
		}
	}
	return dst
}

// decodeRequest decodes the body of a request frame into req, reusing its
// slices.
func decodeRequest(body []byte, req *request) error {
	d := decoder{b: body}
	clear(req.ops)
	req.calls, req.ops = req.calls[:0], req.ops[:0]
	req.clock, req.wall = d.uint64(), int64(d.uint64())
	for len(d.b) > 0 {
		left := time.Duration(d.int()) * time.Millisecond
		c := wireCall{left: left, ring: d.uvarint(), read: d.uvarint(), lo: len(req.ops)}
		n := d.count(minOp)
		if n == 0 || len(req.ops)+n > maxFrameOps {
			return errMalformed
		}
		for range n {
			req.ops = append(req.ops, kv.Op{})
			d.op(&req.ops[len(req.ops)-1])
		}
		c.hi = len(req.ops)
		req.calls = append(req.calls, c)
	}
	return d.err
}

func (d *decoder) op(op *kv.Op) {
	op.Verb = kv.Verb(d.byte())
	if op.Verb < kv.Get || op.Verb > kv.Drop {
		d.fail()
		return
	}
	flags := d.byte()
	op.Blind, op.Deleted = flags&opBlind != 0, flags&opDeleted != 0
	op.Key = d.bytes()
	if flags&opValue != 0 {
		op.Value = d.bytes()
	}
	if flags&opContentType != 0 {
		op.ContentType = d.string()
	}
	if flags&opExpires != 0 {
		op.Expires = int64(d.uvarint())
	}
	if flags&opIf != 0 {
		op.If = d.condition()
	}
	if flags&opNeed != 0 {
		if op.Need = d.int(); op.Need == 0 {
			op.Need = kv.All
		}
	}
	if flags&opVersion != 0 {
		op.Version = d.version()
	}
}

func (d *decoder) condition() *kv.Condition {
	flags := d.byte()
	d.known(flags, ifMatches|ifMatchAny|ifNoneMatchAny)
	return &kv.Condition{
		Matches:      flags&ifMatches != 0,
		MatchAny:     flags&ifMatchAny != 0,
		NoneMatchAny: flags&ifNoneMatchAny != 0,
		Match:        d.versions(),
		NoneMatch:    d.versions(),
	}
}
