package memcachekv

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/thunderdb/thunderdb/kv"
)

// maxItemKey is Memcached's limit for the key of an item, in bytes.
const maxItemKey = 250

// What stands between the prefix of an item's key and what follows.
const (
	keyRaw    = "." // the key itself
	keyBase64 = "=" // the key in URL-safe base64
	keyHashed = "#" // the key's SHA-256 in base64; the item begins with the key
)

// itemKey returns under which key Memcached holds what belongs to key: the
// prefix, a sign, and the key as it is where Memcached takes it, else in
// base64 where that is short enough, else its hash. No two keys share one, but
// by a collision of SHA-256; then hashed is true, and what holds the key
// itself tells (see [openItem]).
func itemKey(prefix string, key []byte) (item string, hashed bool) {
	room := maxItemKey - len(prefix) - 1
	switch {
	case len(key) <= room && legal(key):
		return prefix + keyRaw + string(key), false
	case base64.RawURLEncoding.EncodedLen(len(key)) <= room:
		return prefix + keyBase64 + base64.RawURLEncoding.EncodeToString(key), false
	}
	sum := sha256.Sum256(key)
	return prefix + keyHashed + base64.RawURLEncoding.EncodeToString(sum[:]), true
}

// legal reports whether Memcached takes the bytes of key in a key.
func legal(key []byte) bool {
	for _, b := range key {
		if b <= ' ' || b == 0x7f {
			return false
		}
	}
	return true
}

// newMark returns a prefix that no item's key has yet.
func newMark() string { return rand.Text()[:13] } // 65 bits

// sealItem returns what an item holds for e.
func sealItem(e *kv.Entry, hashed bool) []byte {
	size := kv.RankSize + 8 + binary.MaxVarintLen16 + len(e.ContentType) + len(e.Value)
	if !hashed {
		return kv.AppendEntry(make([]byte, 0, size), e)
	}
	buf := make([]byte, 0, binary.MaxVarintLen16+len(e.Key)+size)
	buf = binary.AppendUvarint(buf, uint64(len(e.Key)))
	return kv.AppendEntry(append(buf, e.Key...), e)
}

// openItem returns the entry in an item, as [kv.ParseEntry] takes it. ok is
// false where the item is another key's, whose hash is the same.
func openItem(item, key []byte, hashed bool) (entry []byte, ok bool) {
	if !hashed {
		return item, true
	}
	n, used := binary.Uvarint(item)
	if used <= 0 || n != uint64(len(key)) || !bytes.HasPrefix(item[used:], key) {
		return nil, false
	}
	return item[used+len(key):], true
}
