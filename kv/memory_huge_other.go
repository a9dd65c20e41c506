//go:build !linux

package kv

// askHuge does nothing where there is no such hint.
func askHuge(uintptr) {}
