package ovl

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
)

// Progress is how far a call is. Both only grow.
type Progress struct {
	Entries int64 // files, directories and all else that has a name
	Bytes   int64
}

// guard stands between the library and a caller's function: what that returns and what it panics with
// is kept, and comes out of the call. Nothing unwinds through the library's frames.
type guard struct {
	said     error // what the caller's function failed with
	errno    int64 // what to tell the library of that, negative
	panicked *any
}

// shield runs f, unless an earlier one ended the call. It is false if f did not return an answer.
func (g *guard) shield(f func() error) (ok bool) {
	if g.errno != 0 {
		return false
	}
	g.errno = -int64(syscall.EIO)
	returned := false
	defer func() {
		if returned {
			return
		}
		value := recover()
		if value == nil {
			goexit()
		}
		g.panicked = &value
	}()
	g.said = f()
	var errno syscall.Errno
	switch {
	case g.said == nil:
		g.errno = 0
	case errors.As(g.said, &errno) && errno > 0:
		g.errno = -int64(errno)
	}
	returned = true
	return g.said == nil
}

// goexit ends the process: a goroutine that ends here, as by runtime.Goexit or testing's FailNow, would
// leave the library's call half-way, with its threads at work on a stack that is given to others.
func goexit() {
	go panic("ovl: runtime.Goexit, or a test's FailNow, in a Reader, Writer, Progress or Logger")
	select {}
}

func (g *guard) repanic() {
	if g.panicked != nil {
		panic(*g.panicked)
	}
}

func (g *guard) progress(f func(Progress) error) func(entries, bytes uint64) int {
	return func(entries, bytes uint64) int {
		if g.shield(func() error { return f(Progress{Entries: int64(entries), Bytes: int64(bytes)}) }) {
			return 0
		}
		return 1
	}
}

// reader reads for the library. An error that comes with bytes is told after them, once.
func (g *guard) reader(r io.Reader) func(p []byte) int64 {
	var kept error
	return func(p []byte) int64 {
		n := 0
		ok := g.shield(func() (err error) {
			if kept == nil {
				n, kept = readSome(r, p)
			}
			if n == 0 && kept != io.EOF {
				return kept
			}
			return nil
		})
		if !ok {
			return g.errno
		}
		return int64(n)
	}
}

// readSome reads at least one byte, or gives an error.
func readSome(r io.Reader, p []byte) (int, error) {
	for range 100 {
		n, err := r.Read(p)
		if n < 0 || n > len(p) {
			return 0, fmt.Errorf("%T.Read returned %d for %d bytes", r, n, len(p))
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

func (g *guard) writer(w io.Writer) func(p []byte) int64 {
	return func(p []byte) int64 {
		ok := g.shield(func() error {
			n, err := w.Write(p)
			switch {
			case n < 0 || n > len(p):
				return fmt.Errorf("%T.Write returned %d for %d bytes", w, n, len(p))
			case err == nil && n < len(p):
				return io.ErrShortWrite
			}
			return err
		})
		if !ok {
			return g.errno
		}
		return int64(len(p))
	}
}

// logged keeps what a Logger panicked with while several calls may log at once: one of them panics with
// it.
type logged struct{ panicked atomic.Pointer[any] }

func (l *logged) guard(f func(level uint32, message string)) func(uint32, string) {
	return func(level uint32, message string) {
		var g guard
		g.shield(func() error { f(level, message); return nil })
		if g.panicked != nil {
			l.panicked.Store(g.panicked)
		}
	}
}

func (l *logged) repanic() {
	if value := l.panicked.Swap(nil); value != nil {
		panic(*value)
	}
}
