package kv

import (
	"sync"
	"unsafe"
)

// heapStep is what the runtime has the heap grow by, in bytes, at multiples of
// it. It is two huge pages.
const heapStep = 4 << 20

// huge asks for huge pages where slabs and tables stand. With pages of 4 KiB, a
// read of a large store waits for the address of a page as long as for its
// bytes. It is asked for the whole step that the heap grew by, and for the first
// thing that stands there: what is used before is in small pages, until the
// kernel finds the time to move it. What the runtime gives back later becomes
// small pages again.
type huge struct {
	mu    sync.Mutex           // guards asked
	asked map[uintptr]struct{} // addresses of stretches of heapStep bytes
}

// note asks for huge pages around a new slab or table.
func (h *huge) note(p unsafe.Pointer) {
	at := uintptr(p) &^ (heapStep - 1)
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
