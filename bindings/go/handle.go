package ovl

import "sync"

// handle is what the library gave, with a count of the calls that use it: it is freed when it is
// closed and no call runs on it any more, in whatever order that happens. Close waits for nobody, so
// that a Reader or Progress may close what it is called for.
type handle[T interface{ Free() }] struct {
	raw    T
	mu     sync.Mutex
	users  int
	closed bool
}

func newHandle[T interface{ Free() }](raw T) *handle[T] { return &handle[T]{raw: raw} }

// acquire is false when the handle is closed. Otherwise raw is good until release.
func (h *handle[T]) acquire() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.users++
	return true
}

func (h *handle[T]) release() {
	h.mu.Lock()
	h.users--
	last := h.closed && h.users == 0
	h.mu.Unlock()
	if last {
		h.raw.Free()
	}
}

// close is false when the handle is closed already.
func (h *handle[T]) close() bool {
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
