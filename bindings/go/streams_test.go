package ovl_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	ovl "github.com/libovl/libovl/bindings/go"
)

var errOwn = errors.New("the caller's own error")

func TestReaders(t *testing.T) {
	store := openStore(t, nil)
	tar := files(t, "a", strings.Repeat("x", 100_000), "b", "y")
	want, err := store.Apply(background, "want", bytes.NewReader(tar), nil)
	ok(t, err)
	for name, r := range map[string]io.Reader{
		"byte":    iotest.OneByteReader(bytes.NewReader(tar)),
		"half":    iotest.HalfReader(bytes.NewReader(tar)),
		"dataerr": iotest.DataErrReader(bytes.NewReader(tar)), // EOF comes with the last bytes
		"limited": io.LimitReader(bytes.NewReader(tar), int64(len(tar))),
		"gaps":    &gaps{r: bytes.NewReader(tar)},
	} {
		got, err := store.Apply(background, name, r, nil)
		if ok(t, err); got.DiffID != want.DiffID || got.TarSize != int64(len(tar)) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, r := range map[string]io.Reader{
		"error":   iotest.ErrReader(errOwn),
		"late":    io.MultiReader(bytes.NewReader(tar[:3000]), iotest.ErrReader(errOwn)),
		"witherr": &withError{tar[:3000]},
	} {
		_, err := store.Apply(background, name, r, nil)
		if e := is(t, err, errOwn, ovl.ErrCallback, syscall.EIO); e.Op != "apply" {
			t.Errorf("%#v", e)
		}
		gone(t, store.Layer(name))
	}
	_, err = store.Apply(background, "errno", iotest.ErrReader(&fs.PathError{Op: "read", Err: syscall.ENOSPC}), nil)
	is(t, err, syscall.ENOSPC, ovl.ErrCallback)
	_, err = store.Apply(background, "none", &gaps{}, nil)
	is(t, err, io.ErrNoProgress)
	_, err = store.Apply(background, "liar", liar(1<<40), nil)
	is(t, err, ovl.ErrCallback)
	_, err = store.Apply(background, "liar", liar(-1), nil)
	is(t, err, ovl.ErrCallback)
}

// gaps reads nothing every other time, without an error.
type gaps struct {
	r   io.Reader
	odd bool
}

func (g *gaps) Read(p []byte) (int, error) {
	if g.odd = !g.odd; g.odd || g.r == nil {
		return 0, nil
	}
	return g.r.Read(p)
}

// withError reads some bytes and fails with them.
type withError struct{ data []byte }

func (w *withError) Read(p []byte) (int, error) {
	n := copy(p, w.data)
	w.data = w.data[n:]
	return n, errOwn
}

// liar says that it moved so many bytes.
type liar int

func (l liar) Read([]byte) (int, error)  { return int(l), nil }
func (l liar) Write([]byte) (int, error) { return int(l), nil }

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestWriters(t *testing.T) {
	store := openStore(t, nil)
	layer := apply(t, store, "base", nil, "a", strings.Repeat("x", 300_000))
	var buf bytes.Buffer
	info, err := layer.Diff(background, &buf, nil)
	if ok(t, err); info.TarSize != int64(buf.Len()) {
		t.Fatalf("%d bytes, %+v", buf.Len(), info)
	}
	for want, w := range map[error]io.Writer{
		errOwn:           writer(func([]byte) (int, error) { return 0, errOwn }),
		io.ErrShortWrite: writer(func(p []byte) (int, error) { return len(p) - 1, nil }),
		syscall.ENOSPC:   writer(func(p []byte) (int, error) { return 1, syscall.ENOSPC }),
		ovl.ErrCallback:  liar(1 << 40),
	} {
		_, err := layer.Diff(background, w, nil)
		is(t, err, want, ovl.ErrCallback)
	}
}

// An *os.File goes by its descriptor: from where it stands, still in its blocking mode, and not closed.
func TestFiles(t *testing.T) {
	store := openStore(t, nil)
	tar := files(t, "a", strings.Repeat("x", 300_000))
	path := filepath.Join(t.TempDir(), "tar")
	write(t, path, "skipped"+string(tar))
	file, err := os.Open(path)
	ok(t, err)
	defer file.Close()
	_, err = file.Seek(7, io.SeekStart)
	ok(t, err)
	_, err = store.Apply(background, "file", file, nil)
	ok(t, err)
	if at, err := file.Seek(0, io.SeekCurrent); err != nil || at != int64(7+len(tar)) {
		t.Fatal("the file stands at", at, err)
	}
	_, err = store.Apply(background, "directory", must(os.Open(t.TempDir())), nil)
	is(t, err, syscall.EISDIR)
	_, err = store.Layer("file").Diff(background, file, nil)
	is(t, err, syscall.EBADF) // open for reading only
	ok(t, file.Close())
	_, err = store.Apply(background, "closed", file, nil)
	is(t, err, fs.ErrClosed, syscall.EBADF)

	r, w, err := os.Pipe()
	ok(t, err)
	defer r.Close()
	written := make(chan ovl.LayerInfo, 1)
	go func() {
		defer w.Close()
		info, err := store.Layer("file").Diff(background, w, nil)
		if err != nil {
			t.Error(err)
		}
		written <- info
	}()
	piped, err := store.Apply(background, "pipe", r, nil)
	if ok(t, err); piped.DiffID != (<-written).DiffID {
		t.Fatal(piped)
	}
	var flags uintptr
	conn, err := r.SyscallConn()
	ok(t, err)
	ok(t, conn.Control(func(fd uintptr) { flags, _, _ = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0) }))
	if flags&syscall.O_NONBLOCK == 0 {
		t.Fatal("the pipe is not non-blocking any more")
	}

	// A connection is a Reader and a Writer like any other.
	here, there := net.Pipe()
	go func() {
		store.Layer("file").Diff(background, there, nil)
		there.Close()
	}()
	sent, err := store.Apply(background, "conn", here, nil)
	if ok(t, err); sent.DiffID != piped.DiffID {
		t.Fatal(sent)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func TestProgress(t *testing.T) {
	store := openStore(t, nil)
	var last ovl.Progress
	calls := 0
	progress := func(p ovl.Progress) error {
		if p.Bytes < last.Bytes || p.Entries < last.Entries {
			t.Errorf("%+v after %+v", p, last)
		}
		last = p
		calls++
		return nil
	}
	_, err := store.Apply(background, "base", newEndless(t, 64<<20), &ovl.ApplyOptions{Progress: progress})
	ok(t, err)
	if calls == 0 || last.Bytes == 0 {
		t.Fatal(calls, last)
	}
	// It may close the file that is being read; that stops nothing, and hangs nothing.
	r, w, err := os.Pipe()
	ok(t, err)
	go func() {
		io.Copy(w, newEndless(t, 8<<20))
		w.Close()
	}()
	closing := func(ovl.Progress) error { r.Close(); return nil }
	within(t, time.Minute, func() {
		_, err = store.Apply(background, "closing", r, &ovl.ApplyOptions{Progress: closing})
		ok(t, err)
	})
	_, err = store.Apply(background, "closed", r, nil)
	is(t, err, fs.ErrClosed)
	stop := func(ovl.Progress) error { return errOwn }
	_, err = store.Apply(background, "stopped", newEndless(t, 32<<30), &ovl.ApplyOptions{Progress: stop})
	is(t, err, errOwn, syscall.ECANCELED, ovl.ErrCancelled)
	gone(t, store.Layer("stopped"))
}

// What a callback panics with comes out of the call, and the store is as if the call had failed.
func TestPanics(t *testing.T) {
	need(t, "overlay")
	store := openStore(t, nil)
	base := apply(t, store, "base", nil, "a", "1")
	for name, f := range map[string]func(){
		"read": func() {
			store.Apply(background, "new", &hook{f: func() { panic(errOwn) }}, nil)
		},
		"write": func() { base.Diff(background, writer(func([]byte) (int, error) { panic(errOwn) }), nil) },
		"progress": func() {
			store.Apply(background, "new", newEndless(t, 32<<30), &ovl.ApplyOptions{Progress: func(ovl.Progress) error { panic(errOwn) }})
		},
		"error method": func() {
			store.Apply(background, "new", iotest.ErrReader(panicking{}), nil)
		},
	} {
		if value := caught(f); value != errOwn {
			t.Errorf("%s: %v", name, value)
		}
		gone(t, store.Layer("new"))
	}
	// No lock is left.
	apply(t, store, "new", &ovl.ApplyOptions{Parent: "base"}, "b", "2")
	ok(t, store.Layer("new").Remove(background, nil))
	ok(t, base.Remove(background, nil))
}

// panicking is an error that errors.As cannot look into.
type panicking struct{}

func (panicking) Error() string { return "" }
func (panicking) As(any) bool   { panic(errOwn) }

func caught(f func()) (value any) {
	defer func() { value = recover() }()
	f()
	return nil
}

// A callback may use the store that calls it, and close it.
func TestCallbacksUseTheStore(t *testing.T) {
	store := openStore(t, nil)
	tar := files(t, "a", "1")
	r := &hook{r: bytes.NewReader(tar), f: func() {
		apply(t, store, "inner", nil, "b", "2")
		for layer, err := range store.Layers() {
			if ok(t, err); layer.ID() != "inner" {
				t.Error(layer)
			}
		}
		ok(t, store.Close())
		_, err := store.Layer("inner").Stat()
		is(t, err, fs.ErrClosed)
	}}
	_, err := store.Apply(background, "outer", r, nil)
	ok(t, err)
	is(t, store.Close(), fs.ErrClosed)
	store, err = ovl.Open(store.Home(), nil)
	ok(t, err)
	defer store.Close()
	info, err := store.Layer("outer").Stat()
	if ok(t, err); info.State != ovl.StateCommitted {
		t.Fatal(info)
	}
}

// hook does f before the first read.
type hook struct {
	r io.Reader
	f func()
}

func (h *hook) Read(p []byte) (int, error) {
	if h.f != nil {
		h.f()
		h.f = nil
	}
	return h.r.Read(p)
}
