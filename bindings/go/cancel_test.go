package ovl_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	ovl "github.com/libovl/libovl/bindings/go"
)

// newEndless is a tar of one file of so many zeros.
func newEndless(t testing.TB, size int64) io.Reader {
	t.Helper()
	var head bytes.Buffer
	ok(t, tar.NewWriter(&head).WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: "endless", Size: size, Mode: 0o600, Format: tar.FormatGNU,
	}))
	return io.MultiReader(&head, io.LimitReader(zeros{}, size+1024))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// stops checks that a call that would not end is stopped by its context, and that the error has why.
func stops(t *testing.T, call func(ctx context.Context) error) {
	t.Helper()
	within(t, time.Minute, func() {
		ctx, cancel := context.WithCancelCause(background)
		time.AfterFunc(50*time.Millisecond, func() { cancel(errOwn) })
		is(t, call(ctx), context.Canceled, errOwn, syscall.ECANCELED, ovl.ErrCancelled)
		ctx, stop := context.WithTimeout(background, 50*time.Millisecond)
		defer stop()
		is(t, call(ctx), context.DeadlineExceeded, ovl.ErrCancelled)
		ctx, stop = context.WithTimeoutCause(background, 50*time.Millisecond, errOwn)
		defer stop()
		is(t, call(ctx), context.DeadlineExceeded, errOwn)
		// Not begun.
		err := call(ctx)
		is(t, err, context.DeadlineExceeded, errOwn, syscall.ECANCELED, ovl.ErrCancelled)
		if !strings.HasSuffix(err.Error(), "cancelled: "+errOwn.Error()) {
			t.Error(err)
		}
	})
}

func TestCancelApply(t *testing.T) {
	store := openStore(t, nil)
	stops(t, func(ctx context.Context) error {
		_, err := store.Apply(ctx, "new", newEndless(t, 32<<30), &ovl.ApplyOptions{Limits: ovl.Limits{Size: 1 << 41}})
		gone(t, store.Layer("new"))
		return err
	})
	// A pipe that nobody writes to is not waited for.
	r, w, err := os.Pipe()
	ok(t, err)
	defer r.Close()
	defer w.Close()
	stops(t, func(ctx context.Context) error {
		_, err := store.Apply(ctx, "new", r, nil)
		return err
	})
	apply(t, store, "new", nil)
}

func TestCancelDiff(t *testing.T) {
	store := openStore(t, nil)
	layer := apply(t, store, "base", nil, "a", strings.Repeat("x", 1<<20))
	slow := writer(func(p []byte) (int, error) {
		time.Sleep(20 * time.Millisecond)
		return len(p), nil
	})
	stops(t, func(ctx context.Context) error {
		_, err := layer.Diff(ctx, slow, nil)
		return err
	})
	// A pipe that nobody reads.
	r, w, err := os.Pipe()
	ok(t, err)
	defer r.Close()
	defer w.Close()
	stops(t, func(ctx context.Context) error {
		_, err := layer.Diff(ctx, w, nil)
		return err
	})
}

// Every call with a context looks at it.
func TestCancelAll(t *testing.T) {
	store := openStore(t, nil)
	layer := apply(t, store, "base", nil, "a", "1")
	ctx, cancel := context.WithCancel(background)
	cancel()
	for name, call := range map[string]func() error{
		"create":   func() error { _, err := store.Create(ctx, "new", "base", nil); return err },
		"apply":    func() error { _, err := store.Apply(ctx, "new", zeros{}, nil); return err },
		"commit":   func() error { return layer.Commit(ctx, nil) },
		"remove":   func() error { return layer.Remove(ctx, nil) },
		"diff":     func() error { _, err := layer.Diff(ctx, io.Discard, nil); return err },
		"diffsize": func() error { _, err := layer.DiffSize(ctx, nil); return err },
		"usage":    func() error { _, err := layer.Usage(ctx, nil); return err },
		"usages":   func() error { _, err := store.Usage(ctx, nil); return err },
		"cleanup":  func() error { _, err := store.Cleanup(ctx, nil); return err },
		"copydir":  func() error { _, err := ovl.CopyDir(ctx, "/proc/self/fdinfo", "/none", nil); return err },
		"changes": func() error {
			for _, err := range layer.Changes(ctx, nil) {
				return err
			}
			return nil
		},
		"check": func() error {
			for _, err := range store.Check(ctx, nil) {
				return err
			}
			return nil
		},
	} {
		if e := is(t, call(), context.Canceled, ovl.ErrCancelled); e.Message != "cancelled" {
			t.Errorf("%s: %#v", name, e)
		}
	}
	if there, err := layer.Exists(); err != nil || !there {
		t.Fatal(there, err)
	}
}

// A context that is done too late changes nothing, and nothing stays of any.
func TestContextsLeaveNothing(t *testing.T) {
	store := openStore(t, nil)
	layer := apply(t, store, "base", nil, "a", "1")
	before := runtime.NumGoroutine()
	for i := range 500 {
		ctx, cancel := context.WithCancel(background)
		if i%2 == 0 {
			time.AfterFunc(time.Duration(i)*time.Microsecond, cancel)
		}
		_, err := layer.Diff(ctx, io.Discard, nil)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		cancel()
	}
	goroutines(t, before)
}

// goroutines waits for those above the number to end.
func goroutines(t testing.TB, before int) {
	t.Helper()
	var now int
	for range 200 {
		if now = runtime.NumGoroutine(); now <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%d goroutines, %d before\n%s", now, before, stacks[:runtime.Stack(stacks, true)])
}
