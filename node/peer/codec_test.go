package peer

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/thunderdb/thunderdb/kv"
)

// sampleOps is an operation of every kind.
func sampleOps() []kv.Op {
	v := kv.Version{Time: 1 << 40, Node: 9}
	return []kv.Op{
		get("a"),
		{Verb: kv.Get, Key: []byte{0xff, 0, '/'}},
		{Verb: kv.Put, Key: []byte("b"), Value: []byte("value"), ContentType: "text/plain", Expires: 1 << 41, Blind: true},
		{Verb: kv.Put, Key: []byte("c"), Value: []byte("w"), If: &kv.Condition{
			Match: []kv.Version{v, {Time: 2}}, Matches: true, NoneMatch: []kv.Version{v},
		}},
		{Verb: kv.Put, Key: []byte("d"), If: &kv.Condition{NoneMatchAny: true}},
		{Verb: kv.Delete, Key: []byte("e"), If: &kv.Condition{MatchAny: true}, Need: kv.All},
		{Verb: kv.Get, Key: []byte("f"), Blind: true, Need: 1},
		{Verb: kv.Apply, Key: []byte("g"), Value: []byte("x"), ContentType: "text/plain", Expires: 1 << 41, Version: v},
		{Verb: kv.Apply, Key: []byte("h"), Deleted: true, Version: kv.Version{Node: 9}},
		{Verb: kv.Promise, Key: []byte("i"), Version: kv.Version{Time: 1<<64 - 1, Node: 1<<64 - 1}},
		{
			Verb: kv.Apply, Key: []byte("everything"), Value: []byte("x"), ContentType: "a/b", Expires: -1, Blind: true,
			If: &kv.Condition{MatchAny: true}, Need: 1<<31 - 1, Version: v, Deleted: true,
		},
	}
}

// sampleResults is a result of every kind.
func sampleResults() []kv.Result {
	e := kv.Entry{
		Value: []byte("value"), Version: kv.Version{Time: 5, Node: 6},
		Expires: 1 << 41, ContentType: "application/json",
	}
	return []kv.Result{
		{Entry: e},
		{Existed: true, Receipt: kv.Receipt{Durable: 1}, Entry: kv.Entry{Version: kv.Version{Time: 7}}},
		{Receipt: kv.Receipt{N: 3, Need: 2, Answered: 3, Durable: 2, Hinted: 1, Repaired: 4, Ring: 1 << 40}, Err: kv.ErrNotFound},
		{Entry: e, Err: errorOf(codeConflict, "n2 has promised more"), Receipt: kv.Receipt{
			N: 1<<31 - 1, Need: 1<<31 - 1, Answered: 1<<31 - 1, Durable: 1<<31 - 1, Hinted: 1<<31 - 1, Repaired: 1<<31 - 1,
			Ring: 1<<64 - 1,
		}},
		{Err: kv.ErrNotFound, Entry: kv.Entry{Version: kv.Version{Time: 8}, Deleted: true}},
		{Err: kv.ErrNotFound},
		{Err: errorOf(codeUnavailable, "n3 is down")},
		{Err: errorOf(codeNotSent, "n3 is down and was not asked")},
		{Err: errorOf(codeStale, "n3 knows ring 9")},
		{Err: errorOf(codeClock, "n3 is ahead")},
		{Err: errorOf(codeOther, "disk on fire")},
	}
}

func samplePage() ScanPage {
	return ScanPage{
		Entries: []ScanEntry{
			{Entry: kv.Entry{Key: []byte("k"), Value: []byte("v"), Version: kv.Version{Time: 3}}, Partition: 5, Size: 1},
			{Entry: kv.Entry{Key: []byte("l"), Version: kv.Version{Time: 4}, Deleted: true}, Partition: 6},
			{Entry: kv.Entry{Key: []byte("m"), Version: kv.Version{Time: 4}}, Partition: 6, Size: 1 << 20},
		},
		NextPartition: 7, NextFrom: []byte("n"),
	}
}

func sampleRequest() []byte {
	body := appendRequestHeader(nil, 42, 1700)
	body = appendCall(body, 1500*time.Microsecond, 17, 16, sampleOps())
	return appendCall(body, 0, 18, 0, sampleOps()[:1])
}

func sampleReply() []byte {
	buf := beginReply(nil)
	for _, r := range sampleResults() {
		buf = appendResult(buf, &r)
	}
	endReply(buf, 43, -44, true)
	return buf[lengthSize:]
}

func TestRequestArrivesAsSent(t *testing.T) {
	t.Parallel()
	req := request{ops: make([]kv.Op, 9)} // what an earlier frame left
	if err := decodeRequest(sampleRequest(), &req); err != nil {
		t.Fatal(err)
	}
	n := len(sampleOps())
	calls := []wireCall{
		{left: 2 * time.Millisecond, ring: 17, read: 16, hi: n}, // rounded up: 0 means too late
		{ring: 18, lo: n, hi: n + 1},
	}
	if req.clock != 42 || req.wall != 1700 || !reflect.DeepEqual(req.calls, calls) {
		t.Errorf("clock %d, wall %d, calls %+v; want 42, 1700, %+v", req.clock, req.wall, req.calls, calls)
	}
	if want := append(sampleOps(), sampleOps()[0]); !reflect.DeepEqual(req.ops, want) {
		t.Errorf("operations %+v\nwant %+v", req.ops, want)
	}
}

func TestReplyArrivesAsSent(t *testing.T) {
	t.Parallel()
	var rep reply
	if err := decodeReply(sampleReply(), &rep); err != nil {
		t.Fatal(err)
	}
	if want := (reply{clock: 43, wall: -44, last: true, results: sampleResults()}); !reflect.DeepEqual(rep, want) {
		t.Errorf("got  %+v\nwant %+v", rep, want)
	}
}

func TestScanArrivesAsSent(t *testing.T) {
	t.Parallel()
	want := ScanRequest{
		Partition: 3, From: []byte("f"), Until: 9, Prefix: []byte("p"), Values: true, Limit: 100, Bytes: 1 << 20,
		Ring: 7, Read: 1 << 40, Compare: 5,
	}
	if got, err := decodeScanRequest(encodeScanRequest(&want)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("request %+v, %v; want %+v", got, err, want)
	}
	page := samplePage()
	if got, err := decodeScanPage(encodeScanPage(&page)); err != nil || !reflect.DeepEqual(got, page) {
		t.Errorf("page %+v, %v; want %+v", got, err, page)
	}
}

// What is on the wire must not be more than what flow control and the limits
// of frames counted.
func TestSizesCoverTheWire(t *testing.T) {
	t.Parallel()
	for _, op := range sampleOps() {
		if n := len(appendOp(nil, &op)); n > opSize(&op) {
			t.Errorf("%+v takes %d bytes, counted as %d", op, n, opSize(&op))
		}
	}
	for _, r := range sampleResults() {
		if n := len(appendResult(nil, &r)); n > resultSize(&r) {
			t.Errorf("%+v takes %d bytes, counted as %d", r, n, resultSize(&r))
		}
	}
}

// A frame that is cut anywhere is refused, not read as something shorter.
func TestCutFramesAreMalformed(t *testing.T) {
	t.Parallel()
	whole := appendCall(appendRequestHeader(nil, 42, 1700), time.Second, 17, 16, sampleOps())
	for n := 17; n < len(whole); n++ {
		if err := decodeRequest(whole[:n], &request{}); err == nil {
			t.Errorf("a request of %d of its %d bytes is taken", n, len(whole))
		}
	}
	page := samplePage()
	body := encodeScanPage(&page)
	for n := range body {
		if _, err := decodeScanPage(body[:n]); err == nil {
			t.Errorf("a page of %d of its %d bytes is taken", n, len(body))
		}
	}
}

// A count in a few bytes must not cost memory for what does not follow.
func TestClaimsCostNoMemory(t *testing.T) {
	t.Parallel()
	lie := encodeScanPage(&ScanPage{})
	lie = append(lie[:len(lie)-1], 0xff, 0xff, 0xff, 0x7f)
	if page, err := decodeScanPage(lie); err == nil || cap(page.Entries) > 0 {
		t.Errorf("room for %d entries, %v", cap(page.Entries), err)
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add(sampleRequest())
	f.Add(appendRequestHeader(nil, 1, 2))
	f.Fuzz(func(t *testing.T, body []byte) {
		var first, second request
		if decodeRequest(body, &first) != nil {
			return
		}
		again := appendRequestHeader(nil, first.clock, first.wall)
		for _, c := range first.calls {
			again = appendCall(again, c.left, c.ring, c.read, first.ops[c.lo:c.hi])
		}
		if err := decodeRequest(again, &second); err != nil {
			t.Fatalf("encoded again: %v", err)
		}
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("decoded  %+v\nagain as %+v", first, second)
		}
	})
}

func FuzzDecodeReply(f *testing.F) {
	f.Add(sampleReply())
	f.Add(make([]byte, replyHeader))
	f.Fuzz(func(t *testing.T, body []byte) {
		var first, second reply
		if decodeReply(body, &first) != nil {
			return
		}
		again := beginReply(nil)
		for i := range first.results {
			again = appendResult(again, &first.results[i])
		}
		endReply(again, first.clock, first.wall, first.last)
		if err := decodeReply(again[lengthSize:], &second); err != nil {
			t.Fatalf("encoded again: %v", err)
		}
		third := beginReply(nil)
		for i := range second.results {
			third = appendResult(third, &second.results[i])
		}
		endReply(third, second.clock, second.wall, second.last)
		if !bytes.Equal(again, third) {
			t.Fatalf("encoded %x\nagain   %x", again, third)
		}
	})
}

func FuzzDecodeScanRequest(f *testing.F) {
	f.Add(encodeScanRequest(&ScanRequest{Partition: 3, From: []byte("f"), Until: 9, Values: true, Limit: 1, Ring: 4, Compare: 4}))
	f.Fuzz(func(t *testing.T, body []byte) {
		first, err := decodeScanRequest(body)
		if err != nil {
			return
		}
		second, err := decodeScanRequest(encodeScanRequest(&first))
		if err != nil || !reflect.DeepEqual(first, second) {
			t.Fatalf("decoded  %+v\nagain as %+v, %v", first, second, err)
		}
	})
}

func FuzzDecodeScanPage(f *testing.F) {
	page := samplePage()
	f.Add(encodeScanPage(&page))
	f.Fuzz(func(t *testing.T, body []byte) {
		first, err := decodeScanPage(body)
		if err != nil {
			return
		}
		again := encodeScanPage(&first)
		second, err := decodeScanPage(again)
		if err != nil {
			t.Fatalf("encoded again: %v", err)
		}
		if third := encodeScanPage(&second); !bytes.Equal(again, third) {
			t.Fatalf("encoded %x\nagain   %x", again, third)
		}
	})
}
