// Package rediskv keeps a node's entries in a Redis server or a Redis Cluster.
// For each key the newest entry stays, judged at the server in one step, so
// that no two writes can undo each other.
//
// # What is where
//
// A namespace, the node's name, is all that a store touches. A partition is a
// hash whose fields are keys and whose values are entries as [kv.AppendEntry]
// makes them. Partitions are dealt out to groups; what a group's scripts touch
// has one hash tag, hence one slot of a Cluster:
//
//	thunderdb:{NAME}:lease      who uses the namespace, see below
//	thunderdb:{NAME}:format     version of this layout, partitions, groups
//	thunderdb:{NAME}:beat       counted up at each renewal of the lease
//	thunderdb:{NAME}:meta       hash: metadata
//	thunderdb:{NAME/G}:pN       hash: the entries of partition N
//	thunderdb:{NAME/G}:count    hash: entries; live keys without expiry, their bytes
//	thunderdb:{NAME/G}:expiry   sorted set: live keys by expiry
//	thunderdb:{NAME/G}:second   hash: bytes of those by second, and by 32 seconds
//	thunderdb:{NAME/G}:page     hash: the same by 1024 seconds
//	thunderdb:{NAME/G}:mark     the same as the beat, for the group's node of a Cluster
//
// A server alone has one group, so that a script writes many keys; a Cluster
// has 128, aimed at slots that are equally far apart.
//
// A hash of a partition costs less than keys of their own, needs no index, and
// what it says of a partition is never out of step with its entries. For 36
// bytes of key and 36 of value, Redis 7.0 takes 155 bytes as a plain key; with
// version, flags and content type, 43 bytes more, it takes 185 as a field of a
// hash, 202 as a plain key, 330 as a field and 364 as a key with a sorted set
// beside it that knows the order. A hash has no order: a scan asks for the
// partition's keys first, without their values, and sorts them here. That is
// some 240 keys of a million; where one partition has a hundred thousand, the
// server answers nobody else for some 30 ms.
//
// # What it promises
//
// Entries are as durable as the server is configured to be, which a client
// cannot vouch for: Store does not implement [kv.Durable]. Where a server comes
// back without them, or as it was some time ago, or is emptied, the store is lost
// for good ([kv.Mortal]), and a store that is opened there finds no metadata. No
// answer of a server that was restarted is believed before that was looked for,
// and of one that was emptied no read says that a key is not there.
//
// What is not noticed is a server that has lost only what it acknowledged since
// the lease was renewed last, 2 s at most: after a crash of its machine with
// appendfsync everysec, or after a failover.
//
// It needs Redis 7.0 or newer, or what is compatible, such as Valkey: scripts
// with flags are what lets deletions go on in a full server. A server that
// evicts entries without an expiry (maxmemory-policy allkeys-…) is refused.
//
// A namespace belongs to one process at a time. Its lease lapses 6 s after the
// process was last heard of. A server alone refuses writes of any process but
// the lease's holder, so one that slept and woke up late changes nothing. In a
// Cluster the lease is in another slot than entries are, out of their scripts'
// reach: there a process looks at its clock before it sends, and one that is
// suspended just between the two for longer than its lease, while another takes
// the namespace, still has that one write applied. It is judged by its version
// like every other.
package rediskv
