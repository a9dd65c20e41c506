package kv

import (
	"sync"
	"unsafe"
)

// hugePage is the size of a huge page, in bytes.
const hugePage = 2 << 20

// huge asks for huge pages where slabs stand. With pages of 4 KiB, a read of a
// large store waits for the address of a page as long as for its bytes. It is
// asked before most of such a stretch of memory is used for the first time, so
// that nothing has to be moved; what the runtime gives back of it later becomes
// small pages again.
type huge struct {
	mu    sync.Mutex           // guards asked
	asked map[uintptr]struct{} // addresses of stretches of hugePage bytes
}

// note asks for a huge page around a new slab.
func (h *huge) note(slab []byte) {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(slab))) &^ (hugePage - 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.asked[at]; ok {
		return
	}
	if h.asked == nil {
		h.asked = map[uintptr]struct{}{}
	}
	h.asked[at] = struct{}{}
	askHuge(at)
}
