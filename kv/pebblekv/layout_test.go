package pebblekv

import (
	"bytes"
	"testing"
)

// TestLayout pins what is on disks: a change of it is a new format.
func TestLayout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ got, want []byte }{
		"entry":         {appendEntryKey(nil, 0x0102, []byte("k")), []byte("\x04\x00\x00\x01\x02k")},
		"partition end": {appendPartitionEnd(nil, 0x01ff), []byte("\x04\x00\x00\x02\x00")},
		"expiry":        {appendExpiryKey(nil, 5, 1, []byte("k")), []byte("\x03\x80\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x01k")},
		"early expiry":  {appendExpiryTime(nil, -1), []byte("\x03\x7f\xff\xff\xff\xff\xff\xff\xff")},
		"metadata":      {metaKey("id"), []byte("\x02id")},
		"counts":        {countsKey, []byte("\x01")},
		"counts' value": {counts{1, 2, -1}.append(nil), []byte("\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02\xff\xff\xff\xff\xff\xff\xff\xff")},
		"format":        {[]byte(formatText(1, 4096)), []byte("ThunderDB disk store\nformat 1\npartitions 4096\n")},
	} {
		if !bytes.Equal(c.got, c.want) {
			t.Errorf("%s is %q, want %q", name, c.got, c.want)
		}
	}
}
