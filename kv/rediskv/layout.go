package rediskv

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/thunderdb/thunderdb/kv"
)

const (
	// formatVersion is the version of the layout that doc.go describes.
	formatVersion = 1
	// clusterGroups is how many groups the partitions are dealt out to in a
	// Redis Cluster: many against its nodes, few against a batch's entries.
	clusterGroups = 128
	// slots is how many slots a Redis Cluster has.
	slots = 16384
)

// layout names the keys of a namespace.
type layout struct {
	partitions int
	root       string   // what the keys of the namespace itself begin with
	groups     []string // what the keys of each group begin with
}

func newLayout(namespace string, partitions, groups int) *layout {
	// Escaped, a name has none of {, } and /: it ends where it seems to.
	name := url.PathEscape(namespace)
	l := &layout{partitions: partitions, root: "thunderdb:{" + name + "}:"}
	for g := range groups {
		tag := name + "/" + strconv.Itoa(g)
		if groups > 1 {
			tag = aim(tag, g*slots/groups, (g+1)*slots/groups)
		}
		l.groups = append(l.groups, "thunderdb:{"+tag+"}:")
	}
	return l
}

// aim appends a number to a hash tag, so that its slot is at least from and
// below to.
func aim(tag string, from, to int) string {
	tag += "."
	start := crc16(0, tag)
	for n := 0; ; n++ {
		number := strconv.Itoa(n)
		if slot := int(crc16(start, number)) % slots; from <= slot && slot < to {
			return tag + number
		}
	}
}

// crc16 goes on with the checksum that slots are made of, which begins with 0
// (CRC-16/XMODEM; Redis Cluster specification, appendix A).
func crc16(crc uint16, text string) uint16 {
	for i := range len(text) {
		crc ^= uint16(text[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}

// place returns the partition of a key and its group.
func (l *layout) place(key []byte) (partition, group int) {
	partition = kv.Partition(key, l.partitions)
	return partition, partition % len(l.groups)
}

// hash returns the name of the hash of a partition.
func (l *layout) hash(partition int) string {
	return l.groups[partition%len(l.groups)] + "p" + strconv.Itoa(partition)
}

// books returns the names of what counts the entries of a group, as scripts
// take them.
func (l *layout) books(group int) []string {
	g := l.groups[group]
	return []string{g + "count", g + "expiry", g + "second", g + "page"}
}

// format is what is remembered of a namespace at the server.
func format(partitions, groups int) string {
	return fmt.Sprintf("%d %d %d", formatVersion, partitions, groups)
}

// parseFormat is the inverse of format, and fails for what this cannot use.
func parseFormat(text string) (partitions, groups int, err error) {
	var version int
	n, err := fmt.Sscanf(text, "%d %d %d", &version, &partitions, &groups)
	if n > 0 && version != formatVersion {
		return 0, 0, fmt.Errorf("its entries have format %d, and this program knows %d only", version, formatVersion)
	}
	if err != nil || partitions < 1 || groups < 1 {
		return 0, 0, fmt.Errorf("%w: its format is %q", kv.ErrCorrupt, text)
	}
	return partitions, groups, nil
}
