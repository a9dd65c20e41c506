package client

import "time"

// KeyInfo is one key of a listing. A key that is not UTF-8 stands in KeyB64,
// in base64 (RFC 4648, standard alphabet, padded), and Key is empty.
type KeyInfo struct {
	Key     string     `json:"key,omitempty"`
	KeyB64  []byte     `json:"key_b64,omitempty"`
	ETag    string     `json:"etag"`
	Size    int        `json:"size"` // bytes of the value
	Expires *time.Time `json:"expires,omitempty"`
}

// KeyPage is a page of GET /v1/keys. Complete, not an empty page, ends a
// listing; until then Cursor asks for the next page, of any node.
type KeyPage struct {
	Keys     []KeyInfo `json:"keys"`
	Cursor   string    `json:"cursor"`
	Complete bool      `json:"complete"`
}

// Record is one line of an export, and of the NDJSON that a bulk load takes.
// Exactly one of Key and KeyB64, and of Value and ValueB64, is set.
type Record struct {
	Key         *string    `json:"key,omitempty"`
	KeyB64      []byte     `json:"key_b64,omitempty"`
	Value       *string    `json:"value,omitempty"`
	ValueB64    []byte     `json:"value_b64,omitempty"`
	ContentType string     `json:"content_type,omitempty"`
	Expires     *time.Time `json:"expires,omitempty"`
	TTL         string     `json:"ttl,omitempty"` // taken in, never given out
}

// BulkLine is a line of what POST /v1/bulk answers: progress (Read, Stored
// and Failed so far), an error of one input line (Line and Error), or, with
// Done, the totals that end the stream.
type BulkLine struct {
	Read   int64  `json:"read"`
	Stored int64  `json:"stored"`
	Failed int64  `json:"failed"`
	Line   int64  `json:"line,omitempty"` // counts from 1
	Error  string `json:"error,omitempty"`
	Done   bool   `json:"done,omitempty"`
}

// BatchOp is one element of what POST /v1/batch takes.
type BatchOp struct {
	Op          string  `json:"op"` // get, put or delete
	Key         *string `json:"key,omitempty"`
	KeyB64      []byte  `json:"key_b64,omitempty"`
	Value       *string `json:"value,omitempty"`
	ValueB64    []byte  `json:"value_b64,omitempty"`
	ContentType string  `json:"content_type,omitempty"`
	TTL         string  `json:"ttl,omitempty"` // a Go duration: 60s, 12h
}

// BatchResult is one element of what POST /v1/batch answers, at the place of
// its BatchOp. Status is the status code that the operation alone would have
// had.
type BatchResult struct {
	Op       string  `json:"op"`
	Key      *string `json:"key,omitempty"`
	KeyB64   []byte  `json:"key_b64,omitempty"`
	Status   int     `json:"status"`
	ETag     string  `json:"etag,omitempty"`
	Value    *string `json:"value,omitempty"`
	ValueB64 []byte  `json:"value_b64,omitempty"`
	Error    string  `json:"error,omitempty"`
}

// Replica is one place where a key lives.
type Replica struct {
	Name    string `json:"name"`
	Addr    string `json:"addr"` // of its HTTP listener
	Alive   bool   `json:"alive"`
	Version string `json:"version,omitempty"` // what it holds; none where it holds nothing
	State   string `json:"state"`             // live, deleted, expired, absent or unknown
}

// Explanation says where a key lives and why: GET /v1/explain/{key}.
type Explanation struct {
	Key         string    `json:"key,omitempty"`
	KeyB64      []byte    `json:"key_b64,omitempty"`
	Partition   int       `json:"partition"`
	Owner       string    `json:"owner"`
	Replicas    []Replica `json:"replicas"`
	RingVersion uint64    `json:"ring_version"`
}

// Change is a change of the ring that is under way.
type Change struct {
	To          uint64   `json:"to"` // the ring version that it leads to
	WaitingFor  []string `json:"waiting_for"`
	BytesToMove int64    `json:"bytes_to_move"` // in all, about
	BytesMoved  int64    `json:"bytes_moved"`
}

// Member is one node of a cluster.
type Member struct {
	Name       string `json:"name"`
	HTTP       string `json:"http"`
	Peer       string `json:"peer"`
	Gossip     string `json:"gossip"`
	Status     string `json:"status"` // alive, suspect, down, joining or leaving
	Weight     int    `json:"weight"`
	Zone       string `json:"zone"`
	Partitions int    `json:"partitions"` // that it owns
	Keys       int64  `json:"keys"`       // alive on it, at most 2 s old
	Bytes      int64  `json:"bytes"`
	Version    string `json:"version"` // of its software
}

// Cluster is the state of a cluster: GET /v1/cluster.
type Cluster struct {
	Name            string  `json:"name"`
	RingVersion     uint64  `json:"ring_version"`
	Settled         bool    `json:"settled"` // no data has to move, and no replica is missing
	Change          *Change `json:"change"`
	Hints           int64   `json:"hints"`            // entries that the nodes keep in mind for members that have missed them
	UnderReplicated int     `json:"under_replicated"` // partitions
	// LastRepair is when the node last found all that it holds to be the same on
	// the other replicas, nil before the first time.
	LastRepair *time.Time `json:"last_repair,omitempty"`
	Members    []Member   `json:"members"`
}

// Ring is the whole partition table: GET /v1/ring. The partition of a key is
// its xxhash64 modulo Partitions; Table[partition] lists the members that hold
// it as indexes into Members, the owner first.
type Ring struct {
	Version    uint64       `json:"version"`
	Cluster    string       `json:"cluster"`
	Partitions int          `json:"partitions"`
	Replicas   int          `json:"replicas"`
	Members    []RingMember `json:"members"`
	Table      [][]int      `json:"table"`
}

// RingMember is a member as the ring knows it.
type RingMember struct {
	Name   string `json:"name"`
	HTTP   string `json:"http"`
	Weight int    `json:"weight"`
	Zone   string `json:"zone"`
}
