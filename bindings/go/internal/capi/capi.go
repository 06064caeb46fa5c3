// Package capi is ovl.h in Go's types: one function for each of its functions, and nothing more.
// Whoever calls it keeps the header's rules: what may be used by whom at once, and what is freed when.
//
// No other package of this module knows C.
package capi

// #include <stdlib.h>
// #include <ovl.h>
import "C"

import (
	"strings"
	"syscall"
	"unsafe"
)

// Version is ovl_version.
func Version() string { return C.GoString(C.ovl_version()) }

// Error is an ovl_error, copied.
type Error struct {
	Errno     syscall.Errno
	Code      uint32
	Operation string
	Path      string
	Message   string
	Callback  int // what the caller's callback returned, if it was that which ended the call
}

// failure is what a call returned: nil for success. *e is what the call left there, and is freed.
func failure(said C.int, e **C.struct_ovl_error) *Error {
	if said >= 0 {
		return nil
	}
	err := *e
	if err == nil {
		errno := syscall.Errno(-said)
		return &Error{Errno: errno, Code: ESystem, Message: errno.Error()}
	}
	defer C.ovl_error_free(err)
	var n C.size_t
	path := C.ovl_error_path(err, &n)
	return &Error{
		Errno:     syscall.Errno(C.ovl_error_errno(err)),
		Code:      uint32(C.ovl_error_code(err)),
		Operation: C.GoString(C.ovl_error_operation(err)),
		Path:      bytes(path, C.uint64_t(n)),
		Message:   C.GoString(C.ovl_error_message(err)),
		Callback:  int(C.ovl_error_callback_result(err)),
	}
}

func bytes(s *C.char, n C.uint64_t) string {
	return string(unsafe.Slice((*byte)(unsafe.Pointer(s)), n))
}

func flag(is bool, bit uint64) C.uint64_t {
	if is {
		return C.uint64_t(bit)
	}
	return 0
}

// inputs are the strings of one call, freed together.
type inputs struct {
	all []*C.char
	bad *Error
}

// text is s for C. A NUL in it would make another string of it there: the call is not made.
func (in *inputs) text(s string) *C.char {
	if strings.IndexByte(s, 0) >= 0 {
		in.bad = &Error{Errno: syscall.EINVAL, Code: EInvalid, Path: s, Message: "a string has a NUL byte in it"}
		return nil
	}
	p := C.CString(s)
	in.all = append(in.all, p)
	return p
}

// optional is NULL for "".
func (in *inputs) optional(s string) *C.char {
	if s == "" {
		return nil
	}
	return in.text(s)
}

// pointer is NULL for nil.
func (in *inputs) pointer(s *string) *C.char {
	if s == nil {
		return nil
	}
	return in.text(*s)
}

func (in *inputs) free() {
	for _, p := range in.all {
		C.free(unsafe.Pointer(p))
	}
}
