package ovl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"github.com/libovl/libovl/bindings/go/internal/capi"
)

// Error is the error of every function of this package that fails. [errors.As] finds it; [errors.Is]
// finds in it the errno and so [fs.ErrNotExist], [fs.ErrExist], [fs.ErrPermission] and
// [errors.ErrUnsupported]; the [Code]; and what Err holds.
type Error struct {
	Op      string        // the operation, as "apply"
	Path    string        // the path or name that it failed at; it need not be UTF-8
	Errno   syscall.Errno // what the kernel said, or would have
	Code    Code          // tells conditions apart that share an errno
	Message string        // what failed, and why, in words
	Err     error         // what stopped the call from outside: the context's cause, the error of a Reader, Writer or Progress; or nil
}

// Error tells all of it in one line, unless the kernel's own words have more. Control characters in
// the path are quoted.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("ovl: ")
	b.WriteString(e.Op)
	if e.Path != "" {
		b.WriteByte(' ')
		b.WriteString(printable(e.Path))
	}
	b.WriteString(": ")
	b.WriteString(e.Message)
	if e.Err != nil {
		if e.Message != "" {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

func printable(path string) string {
	if strings.ContainsFunc(path, unicode.IsControl) {
		return strconv.Quote(path)
	}
	return path
}

// Unwrap gives the errno, the code and Err.
func (e *Error) Unwrap() []error {
	all := make([]error, 0, 3)
	if e.Errno != 0 {
		all = append(all, e.Errno)
	}
	if e.Code != 0 {
		all = append(all, e.Code)
	}
	if e.Err != nil {
		all = append(all, e.Err)
	}
	return all
}

// Code is the stable code of a failure. As an error it is what [errors.Is] looks for:
//
//	if errors.Is(err, ovl.ErrMounted) {
//
// A newer library may give codes that are not listed here.
type Code uint32

// The codes.
const (
	ErrSystem       Code = capi.ESystem       // a system call failed; the errno says how
	ErrInvalid      Code = capi.EInvalid      // an argument or option that is not allowed
	ErrNoLayer      Code = capi.ENoLayer      // the layer is not there
	ErrLayerExists  Code = capi.ELayerExists  // the layer is there already
	ErrHasChildren  Code = capi.EHasChildren  // other layers are built on this one
	ErrMounted      Code = capi.EMounted      // the layer is mounted, or a mount handle is open
	ErrLocked       Code = capi.ELocked       // another caller is working on the layer
	ErrCommitted    Code = capi.ECommitted    // the layer is committed and never changes again
	ErrNotCommitted Code = capi.ENotCommitted // the layer, or its parent, is not committed yet
	ErrArchive      Code = capi.EArchive      // the archive is malformed
	ErrTruncated    Code = capi.ETruncated    // the archive ends before its end
	ErrDigest       Code = capi.EDigest       // a digest differs from the one given
	ErrLimit        Code = capi.ELimit        // a limit of the options was reached
	ErrEscape       Code = capi.EEscape       // a path leaves its root, or another mount is in the way
	ErrUnsupported  Code = capi.EUnsupported  // the kernel or the file system cannot do it
	ErrCancelled    Code = capi.ECancelled    // the caller cancelled
	ErrBug          Code = capi.EBug          // a bug of the library was caught
	ErrForked       Code = capi.EForked       // a handle was used in a forked child
	ErrFormat       Code = capi.EFormat       // the store has a format that this library does not know
	ErrDamaged      Code = capi.EDamaged      // the directory is not a store, or part of it is damaged
	ErrMarks        Code = capi.EMarks        // the caller may not use the store's marks
	ErrStrict       Code = capi.EStrict       // a strict call met something that it can only do in part
	ErrNotEmpty     Code = capi.ENotEmpty     // the destination exists and is not empty
	ErrCallback     Code = capi.ECallback     // a Reader, a Writer or Progress failed
	ErrUnclean      Code = capi.EUnclean      // the machine went down while the layer was mounted writable
	ErrNoImage      Code = capi.ENoImage      // the image is not there
	ErrChanged      Code = capi.EChanged      // somebody changed what was being read: try again
)

var codes = map[Code]string{
	ErrSystem:       "a system call failed",
	ErrInvalid:      "an argument or option is not allowed",
	ErrNoLayer:      "there is no such layer",
	ErrLayerExists:  "the layer exists",
	ErrHasChildren:  "other layers are built on this one",
	ErrMounted:      "the layer is mounted",
	ErrLocked:       "another caller is working on the layer",
	ErrCommitted:    "the layer is committed",
	ErrNotCommitted: "the layer is not committed",
	ErrArchive:      "the archive is malformed",
	ErrTruncated:    "the archive ends early",
	ErrDigest:       "a digest differs",
	ErrLimit:        "a limit was reached",
	ErrEscape:       "a path leaves its root",
	ErrUnsupported:  "not supported here",
	ErrCancelled:    "cancelled",
	ErrBug:          "a bug of the library was caught",
	ErrForked:       "the handle came through a fork",
	ErrFormat:       "an unknown format",
	ErrDamaged:      "not a store, or damaged",
	ErrMarks:        "the store's marks cannot be used",
	ErrStrict:       "something can only be done in part",
	ErrNotEmpty:     "not empty",
	ErrCallback:     "a callback failed",
	ErrUnclean:      "the machine went down while the layer was mounted writable",
	ErrNoImage:      "there is no such image",
	ErrChanged:      "it changed while it was read",
}

// Error says in general what the code is for; the [Error] that has it says more.
func (c Code) Error() string {
	if text, ok := codes[c]; ok {
		return "ovl: " + text
	}
	return fmt.Sprintf("ovl: code %d", uint32(c))
}

// failure is what the library said of op, which is about path unless the library knows better. said is
// what the caller's own function failed with.
func failure(ctx context.Context, op, path string, e *capi.Error, said error) error {
	if e == nil {
		return nil
	}
	err := &Error{Op: op, Path: e.Path, Errno: e.Errno, Code: Code(e.Code), Message: e.Message}
	if err.Path == "" {
		err.Path = path
	}
	switch {
	case e.Callback != 0:
		err.Err = said
	case err.Code == ErrCancelled:
		err.Err = cause(ctx)
	}
	return err
}

// cause is why ctx is done: its cause, and its error too where that is another one.
func cause(ctx context.Context) error {
	why, err := context.Cause(ctx), ctx.Err()
	if why == nil || errors.Is(why, err) {
		return why
	}
	return stopped{why, err}
}

// stopped is a cause that is the context's error too.
type stopped struct{ cause, err error }

func (s stopped) Error() string   { return s.cause.Error() }
func (s stopped) Unwrap() []error { return []error{s.cause, s.err} }

// cancelled is the failure of a call that was not begun, for its context is done.
func cancelled(ctx context.Context, op, path string) error {
	return &Error{
		Op: op, Path: path, Errno: syscall.ECANCELED, Code: ErrCancelled,
		Message: "cancelled", Err: cause(ctx),
	}
}

// closed is the failure of a call on a handle that was closed.
func closed(op, path string) error {
	return &Error{Op: op, Path: path, Errno: syscall.EBADF, Err: fs.ErrClosed}
}

func invalid(op, path, message string) error {
	return &Error{Op: op, Path: path, Errno: syscall.EINVAL, Code: ErrInvalid, Message: message}
}

// system is the failure of a system call of this package's own.
func system(op, path string, err error) error {
	e := &Error{Op: op, Path: path, Code: ErrSystem, Message: err.Error()}
	errors.As(err, &e.Errno)
	return e
}
