package kv

import "syscall"

// askHuge asks for huge pages from this address on. It is a hint: memory may be too
// scattered for it, or the administrator of the machine may not want it.
func askHuge(at uintptr) {
	_, _, _ = syscall.RawSyscall(syscall.SYS_MADVISE, at, heapStep, syscall.MADV_HUGEPAGE)
}
