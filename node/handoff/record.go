package handoff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// The format of a file. All numbers are big-endian; a checksum is the CRC32C of
// what stands before it in the header, and of the length and all that follows
// the checksum in a record.
//
//	header  8 bytes  "THDBHINT"
//	        4 bytes  version of the format
//	        8 bytes  target
//	        4 bytes  checksum
//	record  4 bytes  length of what follows the checksum
//	        4 bytes  checksum
//	        1 byte   kind, as below
//	        8 bytes  when it was added, Unix milliseconds
//	        4 bytes  partition
//	       16 bytes  version: time, then node
//	        the rest key
//
// Records hold in the order in which they stand.
const (
	magic         = "THDBHINT"
	formatVersion = 1
	headerSize    = 8 + 4 + 8 + 4

	prefixSize = 8                     // length and checksum
	bodySize   = 1 + 8 + 4 + 16        // without the key
	recordSize = prefixSize + bodySize // without the key
)

// The kinds of records.
const (
	kindMissed = 1 // the target has missed this version
	kindDone   = 2 // it has got this version or a newer one
)

// errDamaged says that a file is not what was written to it, nor its beginning.
var errDamaged = errors.New("damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendHeader(dst []byte, target uint64) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = binary.BigEndian.AppendUint32(dst, formatVersion)
	dst = binary.BigEndian.AppendUint64(dst, target)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func appendRecord(dst []byte, kind byte, m *missed) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, uint32(bodySize+len(m.key)))
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, kind)
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.at))
	dst = binary.BigEndian.AppendUint32(dst, m.partition)
	dst = binary.BigEndian.AppendUint64(dst, m.version.Time)
	dst = binary.BigEndian.AppendUint64(dst, m.version.Node)
	dst = append(dst, m.key...)
	binary.BigEndian.PutUint32(dst[start+4:], checksum(dst[start:]))
	return dst
}

// checksum returns the checksum of a record.
func checksum(record []byte) uint32 {
	sum := crc32.Update(0, castagnoli, record[:4])
	return crc32.Update(sum, castagnoli, record[prefixSize:])
}

// decode passes the records of the target's file to each, up to the first that
// is not whole, and returns where that one begins. The key is a part of data,
// and missing in m. The error is errDamaged, wrapped, unless what follows can be
// the end of a write that a crash has torn off.
func decode(data []byte, target uint64, each func(kind byte, m missed, key []byte)) (good int, err error) {
	want := appendHeader(nil, target)
	if len(data) < headerSize {
		if string(data) == string(want[:len(data)]) || zeros(data) {
			return 0, nil
		}
		return 0, fmt.Errorf("%w: no header of hints for %016x", errDamaged, target)
	}
	if string(data[:headerSize]) != string(want) {
		return 0, fmt.Errorf("%w: the header is not that of hints for %016x, format %d", errDamaged, target, formatVersion)
	}
	good = headerSize
	for good < len(data) {
		n, ok := wholeRecord(data[good:])
		if !ok {
			if n == len(data)-good || zeros(data[good:]) {
				return good, nil
			}
			return good, fmt.Errorf("%w: the record at byte %d of %d", errDamaged, good, len(data))
		}
		kind, m, key := parseBody(data[good+prefixSize : good+n])
		each(kind, m, key)
		good += n
	}
	return good, nil
}

// wholeRecord returns the length of the record that data begins with, at most
// that of data, and whether all of it is there and as it was written.
func wholeRecord(data []byte) (n int, ok bool) {
	if len(data) < prefixSize {
		return len(data), false
	}
	length := int64(binary.BigEndian.Uint32(data)) + prefixSize
	if length > int64(len(data)) {
		return len(data), false
	}
	n = int(length)
	if n < recordSize || binary.BigEndian.Uint32(data[4:]) != checksum(data[:n]) {
		return n, false
	}
	kind := data[prefixSize]
	return n, kind == kindMissed || kind == kindDone
}

func parseBody(body []byte) (kind byte, m missed, key []byte) {
	m.at = int64(binary.BigEndian.Uint64(body[1:]))
	m.partition = binary.BigEndian.Uint32(body[9:])
	m.version.Time = binary.BigEndian.Uint64(body[13:])
	m.version.Node = binary.BigEndian.Uint64(body[21:])
	return body[0], m, body[bodySize:]
}

// zeros reports whether data is what some file systems leave of a torn write.
func zeros(data []byte) bool {
	for _, b := range data {
		if b != 0 {
			return false
		}
	}
	return true
}
