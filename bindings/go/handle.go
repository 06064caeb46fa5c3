package ovl

import (
	"sync"

	"github.com/libovl/libovl/bindings/go/internal/capi"
)

// storeHandle is what the library gave, with a count of the calls that use it: it is freed when it is
// closed and no call runs on it any more, in whatever order that happens. Close waits for nobody, so
// that a Reader or Progress may close what it is called for.
type storeHandle struct {
	raw    *capi.Store
	mu     sync.Mutex
	users  int
	closed bool
}

// acquire is false when the handle is closed. Otherwise raw is good until release.
func (h *storeHandle) acquire() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.users++
	return true
}

func (h *storeHandle) release() {
	h.mu.Lock()
	h.users--
	last := h.closed && h.users == 0
	h.mu.Unlock()
	if last {
		h.raw.Free()
	}
}

// close is false when the handle is closed already.
func (h *storeHandle) close() bool {
	h.mu.Lock()
	was := h.closed
	h.closed = true
	last := !was && h.users == 0
	h.mu.Unlock()
	if last {
		h.raw.Free()
	}
	return !was
}
