package membership

import (
	"errors"
	"fmt"
	"io"
)

// ErrForeign is what contact with a node of another cluster ends with. It is
// logged; Run does not return it, for the seed may be put right.
var ErrForeign = errors.New("node of another cluster")

// errBadStamp is returned for packets and streams that no node of this program
// sent.
var errBadStamp = errors.New("not gossip of this program")

// Every packet, and each direction of a stream, begins with a stamp: two
// constant bytes, then the sender's cluster after its length in one byte. What
// comes from another cluster is dropped at the door: memberlist's own
// delegates could refuse its nodes, but not its news that a node of some name,
// which we may have too, is dead.
const (
	stampMagic   = 0xdb
	stampVersion = 1
	stampHead    = 3  // bytes before the cluster
	maxCluster   = 64 // bytes of a cluster identity
)

// appendStamp appends the stamp of a cluster. The identity has at most
// maxCluster bytes: see Facts.encode.
func appendStamp(dst []byte, cluster string) []byte {
	dst = append(dst, stampMagic, stampVersion, byte(len(cluster)))
	return append(dst, cluster...)
}

// cutStamp returns the cluster of a packet and what follows its stamp. The
// error is errBadStamp.
func cutStamp(packet []byte) (cluster string, rest []byte, err error) {
	if len(packet) < stampHead {
		return "", nil, fmt.Errorf("packet of %d bytes: %w", len(packet), errBadStamp)
	}
	n, err := stampLength(packet)
	if err != nil {
		return "", nil, err
	}
	rest = packet[stampHead:]
	if n > len(rest) {
		return "", nil, fmt.Errorf("stamp cut short: %w", errBadStamp)
	}
	return string(rest[:n]), rest[n:], nil
}

// readStamp takes a stamp off a stream. The error is errBadStamp or the
// stream's.
func readStamp(r io.Reader) (cluster string, err error) {
	var buf [stampHead + maxCluster]byte
	if _, err := io.ReadFull(r, buf[:stampHead]); err != nil {
		return "", err
	}
	n, err := stampLength(buf[:])
	if err != nil {
		return "", err
	}
	rest := buf[stampHead : stampHead+n]
	if _, err := io.ReadFull(r, rest); err != nil {
		return "", err
	}
	return string(rest), nil
}

// stampLength returns the length of the cluster that a stamp announces.
func stampLength(head []byte) (int, error) {
	n := int(head[2])
	if head[0] != stampMagic || head[1] != stampVersion || n > maxCluster {
		return 0, fmt.Errorf("begins with % x: %w", head[:stampHead], errBadStamp)
	}
	return n, nil
}
