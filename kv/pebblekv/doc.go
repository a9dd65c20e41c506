// Package pebblekv is a store on disk: what [Store.Apply] has acknowledged
// survives a crash of the process and of its machine, is never shown before it
// does, and no failure of the disk ends the process.
//
// The entries live in a Pebble database in a directory of their own:
//
//	FORMAT   what the directory is: format version and number of partitions
//	LOCK     locked while a process has the directory open
//	HOLDER   who that is, for the message that others get
//	pebble/  the database
//
// Large values are kept in Pebble's tables like others: its separation of
// values into files of their own is still called experimental.
package pebblekv
