package httpapi

import (
	"strconv"
	"time"

	"github.com/thunderdb/thunderdb/kv"
	"github.com/thunderdb/thunderdb/node"
)

// Response headers have the very names that are to stand on the wire:
// http.Header's methods would turn ThunderDB-Node into Thunderdb-Node. Names
// of request headers are canonical, as net/http leaves them.
const (
	headerNode     = "ThunderDB-Node"
	headerOwner    = "ThunderDB-Owner"
	headerReceipt  = "ThunderDB-Receipt"
	headerExpires  = "ThunderDB-Expires"
	headerDeleted  = "ThunderDB-Deleted"
	headerSkipped  = "ThunderDB-Skipped"
	headerETag     = "ETag"
	headerModified = "Last-Modified"
	headerNosniff  = "X-Content-Type-Options"

	requestTTL         = "Thunderdb-Ttl"
	requestConsistency = "Thunderdb-Consistency"
)

// Header values that never change, shared by all responses.
var (
	valueOne     = []string{"1"}
	valueBinary  = []string{typeBinary}
	valueText    = []string{typeText}
	valueJSON    = []string{"application/json"}
	valueNDJSON  = []string{"application/x-ndjson"}
	valueProblem = []string{"application/problem+json"}
)

// expiresFormat is how ThunderDB-Expires reads: RFC 3339 in UTC with
// milliseconds. An HTTP date would round what is stored to the second.
const expiresFormat = "2006-01-02T15:04:05.000Z"

// appendETag appends the strong entity tag of a version.
func appendETag(dst []byte, v kv.Version) []byte {
	dst = append(dst, '"')
	dst = v.AppendText(dst)
	return append(dst, '"')
}

// etag returns the strong entity tag of a version.
func etag(v kv.Version) string {
	var buf [35]byte
	return string(appendETag(buf[:0], v))
}

// appendHTTPDate appends t, a UTC time, as an IMF-fixdate (RFC 9110, section
// 5.6.7). It is time.AppendFormat with http.TimeFormat at a fifth of the cost.
func appendHTTPDate(dst []byte, t time.Time) []byte {
	const days = "SunMonTueWedThuFriSat"
	const months = "JanFebMarAprMayJunJulAugSepOctNovDec"
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	weekday := 3 * int(t.Weekday())
	dst = append(dst, days[weekday:weekday+3]...)
	dst = append(dst, ',', ' ', byte('0'+day/10), byte('0'+day%10), ' ')
	dst = append(dst, months[3*(month-1):3*month]...)
	dst = append(dst, ' ')
	if year < 1000 || year > 9999 {
		dst = t.AppendFormat(dst, "2006")
	} else {
		dst = strconv.AppendInt(dst, int64(year), 10)
	}
	return append(dst, ' ',
		byte('0'+hour/10), byte('0'+hour%10), ':',
		byte('0'+minute/10), byte('0'+minute%10), ':',
		byte('0'+second/10), byte('0'+second%10), ' ', 'G', 'M', 'T')
}

// appendReceipt appends the receipt of a write or of a read.
func appendReceipt(dst []byte, r *kv.Receipt, write bool) []byte {
	dst = appendCount(dst, "n=", int64(r.N))
	if write {
		dst = appendCount(dst, "; w=", int64(r.Need))
		dst = appendCount(dst, "; acked=", int64(r.Answered))
		dst = appendCount(dst, "; durable=", int64(r.Durable))
		dst = appendCount(dst, "; hinted=", int64(r.Hinted))
	} else {
		dst = appendCount(dst, "; r=", int64(r.Need))
		dst = appendCount(dst, "; answered=", int64(r.Answered))
		dst = appendCount(dst, "; repaired=", int64(r.Repaired))
	}
	dst = append(dst, "; ring="...)
	return strconv.AppendUint(dst, r.Ring, 10)
}

func appendCount(dst []byte, name string, n int64) []byte {
	dst = append(dst, name...)
	return strconv.AppendInt(dst, n, 10)
}

// appendReply appends the header lines that come from a reply and, where e is
// not nil, from the entry that it is about.
func appendReply(dst []byte, reply *node.Reply, write bool, e *kv.Entry) []byte {
	if reply.Owner != "" {
		dst = appendLine(dst, headerOwner, reply.Owner)
	}
	dst = append(dst, headerReceipt+": "...)
	dst = appendReceipt(dst, &reply.Receipt, write)
	dst = append(dst, lineEnd...)
	if e == nil {
		return dst
	}
	dst = append(dst, headerETag+": "...)
	dst = appendETag(dst, e.Version)
	dst = append(dst, lineEnd+headerModified+": "...)
	dst = appendHTTPDate(dst, e.Version.Wall().UTC())
	dst = append(dst, lineEnd...)
	if e.Expires != 0 {
		dst = append(dst, headerExpires+": "...)
		dst = time.UnixMilli(e.Expires).UTC().AppendFormat(dst, expiresFormat)
		dst = append(dst, lineEnd...)
	}
	return dst
}

// lineEnd ends a header line.
const lineEnd = "\r\n"

// appendLine appends a header line. Control characters in its value, which
// could end it, become spaces.
func appendLine(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	for i := range len(value) {
		if c := value[i]; c < ' ' || c == 0x7f {
			dst = append(dst, ' ')
		} else {
			dst = append(dst, c)
		}
	}
	return append(dst, lineEnd...)
}
