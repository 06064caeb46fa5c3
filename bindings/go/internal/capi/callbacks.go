package capi

// #include <stddef.h>
// #include <stdint.h>
import "C"

import (
	"runtime/cgo"
	"unsafe"
)

// Hooks are what the library calls while a call runs, on the goroutine that made it. They must
// return: neither a panic nor runtime.Goexit may pass through the library's frames.
type Hooks struct {
	Progress func(entries, bytes uint64) int // not 0 stops the call
	Read     func(p []byte) int64            // how many bytes, 0 at the end, or -errno
	Write    func(p []byte) int64            // how many bytes, at least 1, or -errno
}

// Call is what goes with a call beside its arguments.
type Call struct {
	Cancel *Cancel
	Hooks  *Hooks
}

// begin gives the number that C hands back to the hooks, good until end.
func (c Call) begin() (call C.uintptr_t, end func()) {
	if c.Hooks == nil {
		return 0, func() {}
	}
	h := cgo.NewHandle(c.Hooks)
	return C.uintptr_t(h), h.Delete
}

func hooks(call C.uintptr_t) *Hooks { return cgo.Handle(call).Value().(*Hooks) }

//export ovlgo_on_progress
func ovlgo_on_progress(call C.uintptr_t, entries, bytes C.uint64_t) C.int {
	if h := hooks(call); h.Progress != nil {
		return C.int(h.Progress(uint64(entries), uint64(bytes)))
	}
	return 0
}

//export ovlgo_on_read
func ovlgo_on_read(call C.uintptr_t, buf unsafe.Pointer, n C.size_t) C.int64_t {
	return C.int64_t(hooks(call).Read(unsafe.Slice((*byte)(buf), n)))
}

//export ovlgo_on_write
func ovlgo_on_write(call C.uintptr_t, buf unsafe.Pointer, n C.size_t) C.int64_t {
	return C.int64_t(hooks(call).Write(unsafe.Slice((*byte)(buf), n)))
}

//export ovlgo_on_log
func ovlgo_on_log(log C.uintptr_t, level C.uint32_t, message *C.char) {
	cgo.Handle(log).Value().(func(uint32, string))(uint32(level), C.GoString(message))
}
