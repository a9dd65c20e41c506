// Package handoff remembers which replicas have missed which entries, until
// they were told.
//
// It promises that a hint is handed to Replay until it is done, too old, or one
// too many, and that remembering it never makes a write wait. It does not
// promise to remember: a crash or a failing disk may lose hints, which then are
// found by comparing replicas, only later. So a hint counts as no replica.
//
// A hint is a reference. Whoever leaves one holds the entry in its own store,
// and Replay's caller sends what the store holds by then, which is at least as
// new. The rules:
//
//  1. Of a target and a key there is one hint, with the newest version that was
//     missed. It is as old as that version's Add.
//  2. A hint is done when an entry at least that new was sent. One that was
//     added meanwhile, with a newer version, stays.
//  3. Beyond MaxBytes the new hint is dropped, for those that wait have waited
//     longer. Beyond MaxAge the old one is.
//  4. What is in memory is the truth, and the files follow. After a file could
//     not be written, nothing is assumed about it: it is written anew, as a
//     whole, from memory.
package handoff
