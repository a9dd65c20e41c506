package peer

import (
	"encoding/binary"

	"github.com/thunderdb/thunderdb/kv"
)

// A reply frame, after its length:
//
//	sender's clock (8 bytes), its wall clock (8 bytes), flags
//	results, to the end of the frame: error code, flags, then what they announce
//
// The results are those of the request's operations, in order. They may be
// spread over several frames, the last of which says so. An entry's key is not
// sent: it is the operation's.
//
// A node that is about to end says goodbye in a frame without results, which it
// may do at any time: requests that it has not begun to answer by then were not
// served, and never will be.

const (
	replyLast    byte = 1 // the last frame that answers a request
	replyGoodbye byte = 2
)

// replyHeader is the size in bytes of what stands before the results.
const replyHeader = 17

const (
	resExisted     byte = 1
	resDeleted     byte = 2
	resVersion     byte = 4
	resExpires     byte = 8
	resContentType byte = 16
	resValue       byte = 32
	resText        byte = 64
	resReceipt     byte = 128
)

// reply is a decoded reply frame. The values of its results point into the
// frame; their entries have no keys.
type reply struct {
	clock   uint64
	wall    int64 // Unix ms
	last    bool
	results []kv.Result
}

// beginReply empties buf and leaves room for the length and the header.
func beginReply(buf []byte) []byte {
	return append(beginFrame(buf), make([]byte, replyHeader)...)
}

// endReply fills in the length and the header.
func endReply(buf []byte, clock uint64, wall int64, last bool) {
	binary.BigEndian.PutUint64(buf[lengthSize:], clock)
	binary.BigEndian.PutUint64(buf[lengthSize+8:], uint64(wall))
	buf[lengthSize+replyHeader-1] = flag(last, replyLast)
	endFrame(buf)
}

// goodbye returns a frame that says goodbye.
func goodbye(clock uint64, wall int64) []byte {
	buf := beginReply(nil)
	endReply(buf, clock, wall, false)
	buf[lengthSize+replyHeader-1] = replyGoodbye
	return buf
}

// isGoodbye reports whether the body of a reply frame says goodbye.
func isGoodbye(body []byte) bool {
	return len(body) == replyHeader && body[replyHeader-1] == replyGoodbye
}

// resultSize returns at least the size of r on the wire.
func resultSize(r *kv.Result) int {
	return 96 + maxText + len(r.Entry.ContentType) + len(r.Entry.Value)
}

func appendResult(dst []byte, r *kv.Result) []byte {
	c, text := codeOf(r.Err)
	flags := flag(r.Existed, resExisted) | flag(r.Receipt != kv.Receipt{}, resReceipt) |
		flag(text != "", resText) | entryFlags(&r.Entry)
	dst = append(dst, byte(c), flags)
	dst = appendEntry(dst, &r.Entry, flags)
	if flags&resText != 0 {
		dst = appendString(dst, text)
	}
	if flags&resReceipt != 0 {
		dst = appendReceipt(dst, &r.Receipt)
	}
	return dst
}

func appendReceipt(dst []byte, r *kv.Receipt) []byte {
	for _, n := range [...]int{r.N, r.Need, r.Answered, r.Durable, r.Hinted, r.Repaired} {
		dst = appendInt(dst, n)
	}
	return binary.AppendUvarint(dst, r.Ring)
}

func (d *decoder) receipt() kv.Receipt {
	return kv.Receipt{
		N: d.int(), Need: d.int(), Answered: d.int(), Durable: d.int(), Hinted: d.int(), Repaired: d.int(),
		Ring: d.uvarint(),
	}
}

// entryFlags returns what there is of an entry, but for its key.
func entryFlags(e *kv.Entry) byte {
	return flag(e.Deleted, resDeleted) | flag(!e.Version.IsZero(), resVersion) |
		flag(e.Expires != 0, resExpires) | flag(e.ContentType != "", resContentType) |
		flag(len(e.Value) > 0, resValue)
}

// appendEntry appends what flags announce of e.
func appendEntry(dst []byte, e *kv.Entry, flags byte) []byte {
	if flags&resVersion != 0 {
		dst = appendVersion(dst, e.Version)
	}
	if flags&resExpires != 0 {
		dst = binary.AppendUvarint(dst, uint64(e.Expires))
	}
	if flags&resContentType != 0 {
		dst = appendString(dst, e.ContentType)
	}
	if flags&resValue != 0 {
		dst = appendBytes(dst, e.Value)
	}
	return dst
}

// entry is the inverse of appendEntry.
func (d *decoder) entry(e *kv.Entry, flags byte) {
	e.Deleted = flags&resDeleted != 0
	if flags&resVersion != 0 {
		e.Version = d.version()
	}
	if flags&resExpires != 0 {
		e.Expires = int64(d.uvarint())
	}
	if flags&resContentType != 0 {
		e.ContentType = d.string()
	}
	if flags&resValue != 0 {
		e.Value = d.bytes()
	}
}

// decodeReply decodes the body of a reply frame into rep, reusing its slice.
func decodeReply(body []byte, rep *reply) error {
	d := decoder{b: body}
	clear(rep.results)
	rep.results = rep.results[:0]
	rep.clock, rep.wall = d.uint64(), int64(d.uint64())
	flags := d.byte()
	d.known(flags, replyLast)
	rep.last = flags&replyLast != 0
	for len(d.b) > 0 {
		if len(rep.results) == maxFrameOps {
			return errMalformed
		}
		rep.results = append(rep.results, kv.Result{})
		d.result(&rep.results[len(rep.results)-1])
	}
	return d.err
}

func (d *decoder) result(r *kv.Result) {
	c := code(d.byte())
	flags := d.byte()
	r.Existed = flags&resExisted != 0
	d.entry(&r.Entry, flags)
	text := ""
	if flags&resText != 0 {
		text = d.string()
	}
	if flags&resReceipt != 0 {
		r.Receipt = d.receipt()
	}
	r.Err = errorOf(c, text)
}
