package peer

import "encoding/binary"

// A scan travels as an HTTP request and its answer, each with a binary body:
//
//	request: partition, until, limit, bytes, ring version, version read under,
//	    version compared for, flags, from, prefix
//	page: next partition, next key, number of entries
//	    entries: flags, partition, size, key, then what the flags announce of
//	    the rest of the entry, as in a reply

// scanValues is the flag of a scan that wants the values.
const scanValues byte = 1

// minScanEntry is the size of the shortest entry of a page.
const minScanEntry = 4

func encodeScanRequest(req *ScanRequest) []byte {
	var dst []byte
	for _, n := range [...]int{req.Partition, req.Until, req.Limit, req.Bytes} {
		dst = appendInt(dst, n)
	}
	for _, v := range [...]uint64{req.Ring, req.Read, req.Compare} {
		dst = binary.AppendUvarint(dst, v)
	}
	dst = append(dst, flag(req.Values, scanValues))
	dst = appendBytes(dst, req.From)
	return appendBytes(dst, req.Prefix)
}

func decodeScanRequest(body []byte) (ScanRequest, error) {
	d := decoder{b: body}
	req := ScanRequest{
		Partition: d.int(), Until: d.int(), Limit: d.int(), Bytes: d.int(),
		Ring: d.uvarint(), Read: d.uvarint(), Compare: d.uvarint(),
	}
	flags := d.byte()
	d.known(flags, scanValues)
	req.Values = flags&scanValues != 0
	req.From, req.Prefix = d.bytes(), d.bytes()
	if len(d.b) > 0 {
		d.fail()
	}
	return req, d.err
}

func encodeScanPage(page *ScanPage) []byte {
	dst := binary.AppendUvarint(nil, uint64(page.NextPartition))
	dst = appendBytes(dst, page.NextFrom)
	dst = binary.AppendUvarint(dst, uint64(len(page.Entries)))
	for i := range page.Entries {
		e := &page.Entries[i]
		flags := entryFlags(&e.Entry)
		dst = append(dst, flags)
		dst = binary.AppendUvarint(dst, uint64(e.Partition))
		dst = binary.AppendUvarint(dst, uint64(e.Size))
		dst = appendBytes(dst, e.Key)
		dst = appendEntry(dst, &e.Entry, flags)
	}
	return dst
}

// decodeScanPage decodes a page. Its keys and values point into body.
func decodeScanPage(body []byte) (ScanPage, error) {
	d := decoder{b: body}
	page := ScanPage{NextPartition: d.int(), NextFrom: d.bytes()}
	n := d.count(minScanEntry)
	if n > 0 {
		// What an entry takes in memory is many times what it may take here, so
		// the slice grows with what is really there.
		page.Entries = make([]ScanEntry, 0, min(n, 1024))
	}
	for i := 0; i < n && d.err == nil; i++ {
		var e ScanEntry
		flags := d.byte()
		d.known(flags, resDeleted|resVersion|resExpires|resContentType|resValue)
		e.Partition, e.Size, e.Key = d.int(), d.int(), d.bytes()
		d.entry(&e.Entry, flags)
		page.Entries = append(page.Entries, e)
	}
	if len(d.b) > 0 {
		d.fail()
	}
	return page, d.err
}
