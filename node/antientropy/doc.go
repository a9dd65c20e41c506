// Package antientropy is how replicas find out where they differ, and how they
// become alike again: digests of partitions, the exchange that moves what one
// has and the other lacks, and the repairer that does it in the background.
//
// It promises that whatever a replica held of a partition when its exchange
// began, the other one holds, or something newer, once that partition is
// reported as done; and that no difference stays unseen, however it came about,
// for longer than it takes the repairer to scrub everything. It never removes
// an entry and never replaces one by an older one.
package antientropy
