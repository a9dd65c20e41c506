package kv

import "syscall"

// askHuge asks for a huge page at this address. It is a hint: memory may be too
// scattered for it, or the administrator of the machine may not want it.
func askHuge(at uintptr) {
	_, _, _ = syscall.RawSyscall(syscall.SYS_MADVISE, at, hugePage, syscall.MADV_HUGEPAGE)
}
