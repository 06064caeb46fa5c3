package ovl

import (
	"context"
	"syscall"
	"time"

	"github.com/libovl/libovl/bindings/go/internal/capi"
)

// call is one call of the library: how its context stops it, and what it calls back.
type call struct {
	op, path string
	once     bool // not to be made a second time: a stream is read
	guard    guard
	hooks    capi.Hooks
}

func newCall(op, path string, progress func(Progress) error) *call {
	c := &call{op: op, path: path}
	if progress != nil {
		c.hooks.Progress = c.guard.progress(progress)
	}
	return c
}

// run makes the call. A panic of what it called back goes on from here.
func (c *call) run(ctx context.Context, f func(capi.Call) *capi.Error) error {
	if ctx.Err() != nil {
		return cancelled(ctx, c.op, c.path)
	}
	var raw capi.Call
	if c.hooks.Progress != nil || c.hooks.Read != nil || c.hooks.Write != nil {
		raw.Hooks = &c.hooks
	}
	if ctx.Done() != nil {
		raw.Cancel = capi.NewCancel()
		defer cancelWith(ctx, raw.Cancel)()
	}
	e := patient(ctx, c.once, func() *capi.Error { return f(raw) })
	c.guard.repanic()
	return failure(ctx, c.op, c.path, e, c.guard.said)
}

// patience is how long a layer that is said to be mounted may be so for nothing.
const patience = 128 * time.Millisecond

// patient makes a call again that says that the layer is mounted, for a moment. A program that another
// goroutine starts has copies of this process's descriptors between its fork and its exec, and what
// they are open on, which was unmounted or closed here, is in use until then.
func patient(ctx context.Context, once bool, f func() *capi.Error) *capi.Error {
	for wait := time.Millisecond; ; wait *= 2 {
		e := f()
		if e == nil || e.Code != capi.EMounted || once || wait >= patience {
			return e
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		settle()
	}
}

// settle waits until the programs that are being started now have got to their exec: package syscall
// holds this lock until then. Only one that gets a user namespace of its own may still be on its way.
func settle() { unforked(func() *capi.Error { return nil }) }

// unforked runs f while no program is being started.
func unforked(f func() *capi.Error) *capi.Error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return f()
}

// cancelWith raises the flag when ctx is done. What it returns frees the flag, when nobody can raise it
// any more.
func cancelWith(ctx context.Context, flag *capi.Cancel) (end func()) {
	raised := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		flag.Trigger()
		close(raised)
	})
	return func() {
		if !stop() {
			<-raised
		}
		flag.Free()
	}
}

// run makes a call on the store.
func (s *Store) run(ctx context.Context, c *call, f func(*capi.Store, capi.Call) *capi.Error) error {
	if !s.handle.acquire() {
		return closed(c.op, c.path)
	}
	defer s.handle.release()
	defer s.log.repanic()
	return c.run(ctx, func(raw capi.Call) *capi.Error { return f(s.handle.raw, raw) })
}

// do makes a call on the store that nothing stops and that calls nothing back.
func (s *Store) do(op, path string, f func(*capi.Store) *capi.Error) error {
	return s.run(context.Background(), newCall(op, path, nil),
		func(raw *capi.Store, _ capi.Call) *capi.Error { return f(raw) })
}
