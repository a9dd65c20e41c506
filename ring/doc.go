// Package ring maps a key to the members that hold it.
//
// It promises that two rings made of the same record, or of records that
// differ only in the order of their members, hold the same table on every
// machine: nothing in it depends on time, on chance, on the iteration order of
// maps or on floating-point rounding.
package ring
