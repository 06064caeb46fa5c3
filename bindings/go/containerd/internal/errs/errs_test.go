package errs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ovl "github.com/libovl/libovl/bindings/go"
)

// What a client on the other side of gRPC sees.
func TestOf(t *testing.T) {
	for _, test := range []struct {
		err  *ovl.Error
		want codes.Code
	}{
		{&ovl.Error{Errno: syscall.ENOENT, Code: ovl.ErrNoLayer}, codes.NotFound},
		{&ovl.Error{Errno: syscall.ENOENT, Code: ovl.ErrSystem}, codes.Unknown},
		{&ovl.Error{Errno: syscall.EEXIST, Code: ovl.ErrLayerExists}, codes.AlreadyExists},
		{&ovl.Error{Errno: syscall.EBUSY, Code: ovl.ErrMounted}, codes.FailedPrecondition},
		{&ovl.Error{Errno: syscall.EBUSY, Code: ovl.ErrHasChildren}, codes.FailedPrecondition},
		{&ovl.Error{Errno: syscall.EBUSY, Code: ovl.ErrLocked}, codes.Unavailable},
		{&ovl.Error{Errno: syscall.EBADMSG, Code: ovl.ErrTruncated}, codes.InvalidArgument},
		{&ovl.Error{Errno: syscall.EINVAL, Code: ovl.ErrInvalid}, codes.InvalidArgument},
		{&ovl.Error{Errno: syscall.EOPNOTSUPP, Code: ovl.ErrUnsupported}, codes.Unimplemented},
		{&ovl.Error{Errno: syscall.EFBIG, Code: ovl.ErrLimit}, codes.ResourceExhausted},
		{&ovl.Error{Errno: syscall.EMLINK, Code: ovl.ErrLimit}, codes.OutOfRange},
		{&ovl.Error{Errno: syscall.ENOSPC, Code: ovl.ErrSystem}, codes.ResourceExhausted},
		{&ovl.Error{Errno: syscall.EPERM, Code: ovl.ErrMarks}, codes.PermissionDenied},
		{&ovl.Error{Errno: syscall.EIO, Code: ovl.ErrSystem}, codes.Unknown},
		{&ovl.Error{Errno: syscall.ESTALE, Code: ovl.ErrChanged}, codes.Unavailable},
		{&ovl.Error{Errno: syscall.ENOENT, Code: ovl.ErrChanged}, codes.Unavailable},
		{&ovl.Error{Errno: syscall.ESTALE, Code: ovl.ErrSystem}, codes.Unknown},
		{&ovl.Error{Errno: syscall.EUCLEAN, Code: ovl.ErrDamaged}, codes.DataLoss},
		{&ovl.Error{Errno: syscall.EBADF, Err: fs.ErrClosed}, codes.Unavailable},
		{&ovl.Error{Errno: syscall.ECANCELED, Code: ovl.ErrCancelled, Err: context.Canceled}, codes.Canceled},
		{&ovl.Error{Errno: syscall.ECANCELED, Code: ovl.ErrCancelled, Err: context.DeadlineExceeded}, codes.DeadlineExceeded},
		{&ovl.Error{Errno: syscall.ECANCELED, Code: ovl.ErrCancelled}, codes.Canceled},
		{&ovl.Error{Errno: syscall.EIO, Code: ovl.ErrCallback, Err: fmt.Errorf("blob: %w", errdefs.ErrNotFound)}, codes.NotFound},
	} {
		test.err.Op, test.err.Message = "test", "the words"
		err := errgrpc.ToGRPC(fmt.Errorf("more: %w", Of(test.err)))
		if got := status.Code(err); got != test.want {
			t.Errorf("%v (%v): %v, not %v", test.err.Errno, test.err.Code, got, test.want)
		}
		if !strings.Contains(err.Error(), "the words") {
			t.Error(err)
		}
		if !errors.Is(Of(test.err), test.err.Errno) {
			t.Errorf("%v is lost", test.err.Errno)
		}
	}
	if Of(nil) != nil {
		t.Error("nil is no error")
	}
	other := errors.New("x")
	if Of(other) != other {
		t.Error("another error is left alone")
	}
}
