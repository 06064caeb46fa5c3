// Package errs says libovl's errors in containerd's classes, which cross gRPC where an errno does not.
package errs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/containerd/errdefs"

	ovl "github.com/libovl/libovl/bindings/go"
)

// classes are the codes that mean one thing to a client of containerd, whatever call they come from.
var classes = map[ovl.Code]error{
	ovl.ErrNoLayer:      errdefs.ErrNotFound,
	ovl.ErrLayerExists:  errdefs.ErrAlreadyExists,
	ovl.ErrInvalid:      errdefs.ErrInvalidArgument,
	ovl.ErrArchive:      errdefs.ErrInvalidArgument,
	ovl.ErrTruncated:    errdefs.ErrInvalidArgument,
	ovl.ErrEscape:       errdefs.ErrInvalidArgument,
	ovl.ErrHasChildren:  errdefs.ErrFailedPrecondition,
	ovl.ErrMounted:      errdefs.ErrFailedPrecondition,
	ovl.ErrCommitted:    errdefs.ErrFailedPrecondition,
	ovl.ErrNotCommitted: errdefs.ErrFailedPrecondition,
	ovl.ErrNotEmpty:     errdefs.ErrFailedPrecondition,
	ovl.ErrUnclean:      errdefs.ErrFailedPrecondition,
	ovl.ErrStrict:       errdefs.ErrFailedPrecondition,
	ovl.ErrDigest:       errdefs.ErrFailedPrecondition,
	ovl.ErrMarks:        errdefs.ErrPermissionDenied,
	ovl.ErrLocked:       errdefs.ErrUnavailable,
	ovl.ErrChanged:      errdefs.ErrUnavailable,
	ovl.ErrLimit:        errdefs.ErrResourceExhausted,
	ovl.ErrUnsupported:  errdefs.ErrNotImplemented,
	ovl.ErrDamaged:      errdefs.ErrDataLoss,
	ovl.ErrFormat:       errdefs.ErrFailedPrecondition,
	ovl.ErrBug:          errdefs.ErrInternal,
	ovl.ErrForked:       errdefs.ErrInternal,
	ovl.ErrCancelled:    context.Canceled,
}

// errnos are what a system call said where the code is no more than that.
var errnos = map[syscall.Errno]error{
	syscall.ENOSPC:  errdefs.ErrResourceExhausted,
	syscall.EDQUOT:  errdefs.ErrResourceExhausted,
	syscall.EMFILE:  errdefs.ErrResourceExhausted,
	syscall.ENFILE:  errdefs.ErrResourceExhausted,
	syscall.ENOMEM:  errdefs.ErrResourceExhausted,
	syscall.EMLINK:  errdefs.ErrOutOfRange,
	syscall.EPERM:   errdefs.ErrPermissionDenied,
	syscall.EACCES:  errdefs.ErrPermissionDenied,
	syscall.EROFS:   errdefs.ErrFailedPrecondition,
	syscall.EBUSY:   errdefs.ErrFailedPrecondition,
	syscall.EBADMSG: errdefs.ErrDataLoss,
}

// Of gives err the class that it has for containerd, and leaves its words as they are. What has none
// stays an unknown error, which is what it is to a client.
func Of(err error) error {
	class := classOf(err)
	if class == nil {
		return err
	}
	return fmt.Errorf("%w: %w", err, class)
}

func classOf(err error) error {
	var e *ovl.Error
	switch {
	case !errors.As(err, &e):
		return nil
	// containerd knows these two by themselves.
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return nil
	// What the caller's Reader or Writer said is about the content store, not about a layer.
	case e.Code == ovl.ErrCallback:
		return nil
	case errors.Is(err, fs.ErrClosed):
		return errdefs.ErrUnavailable
	}
	// EMLINK comes with the code of a limit, and is the more precise of the two.
	if class, ok := errnos[e.Errno]; ok && (e.Code == ovl.ErrSystem || e.Code == ovl.ErrLimit) {
		return class
	}
	return classes[e.Code]
}
