// Package memcachekv keeps a node's entries in one or more Memcached servers.
// For each key the newest entry stays, and an entry that a server has dropped
// is a miss, never an older one that this store had found superseded before
// it was dropped.
//
// # What is where
//
// A namespace, the node's name, is all that a store touches. Names and keys
// are spelled as [itemKey] says:
//
//	thunderdb:lease.NAME    on each server: which process uses the namespace
//	thunderdb:mark.NAME     on each server: the mark of the entries there
//	thunderdb:record.NAME   on the first: the list of servers and their marks,
//	                        and the metadata
//	thunderdb:spare.NAME    on the first, with -M: room for the next record
//	MARK.KEY                the entry of a key, on the server it hashes to
//
// An entry is stored as [kv.AppendEntry] makes it, and replaced by gets and
// cas, or by add where there is none; it is purged by a meta delete that compares
// the cas. Nothing is stored by set: one that fails drops what it was to replace.
//
// # What is lost, and when
//
// A server's mark is random and lasts until that server loses it. Entries are
// found under the current mark only. So when a server was restarted or
// flushed, or when its address leads to another one, it gets a new mark:
// whatever it still has, or comes back with, is out of reach, and what the
// other servers hold is not. The first server's record says which mark each
// must show, so that metadata last as long as the entries of any server do;
// when the record is gone as a store opens, metadata and all entries are gone.
// While a store is open it remembers the record and puts it back. To forget all
// entries, a store gives every server a new mark. What is there under the old
// one takes its room until the server evicts it; with -M, until it is flushed.
//
// An entry that was evicted leaves nothing behind. A replay of an older write
// of its key is then taken, since nothing says that there was a newer one:
// that is what a cache is. So a node that keeps its entries here can return
// less than what it acknowledged, or after an eviction what was written before,
// if it is written again; memcached -M evicts nothing, and refuses writes
// instead.
//
// Keys are spread by their hash over the servers in the order in which these
// are listed. Another list is refused, for it would hide entries, and the next
// list might show them again when they are old.
//
// # Limits
//
// Store is no [kv.Scanner], for Memcached cannot list: no listing, export or
// snapshot, no hand-over, no repair. Nor can it count or expire entries, and
// it is not [kv.Durable]. A full server that evicts nothing (-M) may refuse
// deletions like any other write: Memcached finds room for the new item before
// it frees the old one. Metadata that grow much may then be refused as well.
//
// In a cluster of nodes, one whose entries are here never asks the former
// owners of a partition that has moved to it: what it has not is no sign that
// it was not told. So what moved is a miss there until it is written again.
//
// A namespace belongs to one process at a time, by a lease that lapses 6 s
// after its process was last heard of.
//
// Memcached must offer cas (not -C), its text protocol (not -B binary, not -S),
// without TLS and passwords (not -Z, not -Y), and items of 128 KiB. Tests run
// against 1.6, which purging needs; all else that is used is older.
package memcachekv
