package ovl

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"

	"github.com/libovl/libovl/bindings/go/internal/capi"
)

// MountOptions are the options of [Layer.Mount].
type MountOptions struct {
	// Target is the directory to mount at; "" is one in the store.
	Target string
	// ReadOnly refuses writes. A committed layer is mounted in no other way.
	ReadOnly bool
	// Keep leaves the mount where it is when its last handle is closed, until it is unmounted.
	Keep bool
	// Detached mounts at no path: the mount is a descriptor, and ends with the last copy of it.
	Detached bool
	// Volatile never syncs the changes: for layers that are thrown away.
	Volatile bool
	// Label is an SELinux label for every file.
	Label string
}

// Mount is a handle on a mounted layer. The layer counts as mounted while the handle is open. Any
// number of goroutines may use it.
type Mount struct {
	id  string
	raw *mountHandle
	net runtime.Cleanup
}

// mountHandle is nil inside when it has ended. The library takes one call on it at a time.
type mountHandle struct {
	mu   sync.Mutex
	open *capi.Mount
}

// Mount mounts the layer: the merged tree of the layer and all below it. A layer that is mounted
// already, in this mount namespace and with the same options, gives the mount there is, and its mount at
// another target is that mount too; with other options it is [ErrMounted].
//
// A mount is held by its handles, and ends with the [Mount.Unmount] of the last one. Keep and Detached
// say otherwise.
func (l *Layer) Mount(opts *MountOptions) (*Mount, error) {
	if opts == nil {
		opts = &MountOptions{}
	}
	var raw *capi.Mount
	err := l.store.do("mount", l.id, func(st *capi.Store) (e *capi.Error) {
		raw, e = st.Mount(l.id, capi.MountOpts{
			ReadOnly: opts.ReadOnly,
			Keep:     opts.Keep,
			Detached: opts.Detached,
			Volatile: opts.Volatile,
			Target:   opts.Target,
			Label:    opts.Label,
		})
		return e
	})
	if err != nil {
		return nil, err
	}
	m := &Mount{id: l.id, raw: &mountHandle{open: raw}}
	m.net = runtime.AddCleanup(m, func(h *mountHandle) { h.free() }, m.raw)
	return m, nil
}

func (h *mountHandle) free() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open == nil {
		return false
	}
	h.open.Free()
	h.open = nil
	return true
}

// Path is the absolute path of the mount; "" for a detached one, and when the handle is closed.
func (m *Mount) Path() string {
	defer runtime.KeepAlive(m)
	m.raw.mu.Lock()
	defer m.raw.mu.Unlock()
	if m.raw.open == nil {
		return ""
	}
	return m.raw.open.Path()
}

// use runs f on the handle, alone.
func (m *Mount) use(op string, f func(*capi.Mount) *capi.Error) error {
	defer runtime.KeepAlive(m)
	m.raw.mu.Lock()
	defer m.raw.mu.Unlock()
	if m.raw.open == nil {
		return closed(op, m.id)
	}
	return failure(context.Background(), op, m.id, f(m.raw.open), nil)
}

// File is a new descriptor of the root of the mount, the caller's to close: for openat(2) and its like
// below it, to attach a detached mount by move_mount(2), or to hand it to another process. It is opened
// with O_PATH. It keeps the mount in use: close it before [Mount.Unmount].
func (m *Mount) File() (*os.File, error) {
	var fd int
	var failed error
	err := m.use("file", func(raw *capi.Mount) *capi.Error {
		of, e := raw.FD()
		if e == nil {
			fd, failed = duplicate(uintptr(of))
		}
		return e
	})
	switch {
	case err != nil:
		return nil, err
	case failed != nil:
		return nil, system("file", m.id, failed)
	}
	return os.NewFile(uintptr(fd), m.id), nil
}

// Root is the mounted tree as an [os.Root]: no name in it, and no symbolic link of the layer, leads out
// of it. It needs /proc. It keeps the mount in use: close it before [Mount.Unmount].
func (m *Mount) Root() (root *os.Root, err error) {
	var failed error
	err = m.use("root", func(raw *capi.Mount) *capi.Error {
		fd, e := raw.FD()
		if e == nil {
			root, failed = os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", fd))
		}
		return e
	})
	if err == nil && failed != nil {
		err = system("root", m.id, failed)
	}
	return root, err
}

// UnmountOptions are the options of [Mount.Unmount] and [Store.Unmount].
type UnmountOptions struct {
	// Lazy detaches the mount now; it ends when its last user is gone.
	Lazy bool
}

// Unmount gives the mount up, and closes the handle. The last handle of a mount ends it. A kept mount
// ends with any handle, if it is the only one; a detached one when its last descriptor is closed.
//
// After a failure nothing has changed, and the handle is still open. [syscall.EBUSY] says that files on
// the mount are open or that it is somebody's working directory.
func (m *Mount) Unmount(opts *UnmountOptions) error {
	if opts == nil {
		opts = &UnmountOptions{}
	}
	err := m.use("unmount", func(raw *capi.Mount) *capi.Error {
		unmount := func() *capi.Error { return raw.Unmount(opts.Lazy) }
		e := unmount()
		if e != nil && e.Code == capi.EMounted {
			// The library closes the descriptor of the mount's root for it, but a program that is
			// started in that moment has a copy.
			e = patient(context.Background(), false, func() *capi.Error { return unforked(unmount) })
		}
		if e == nil {
			m.raw.open = nil
		}
		return e
	})
	if err == nil {
		m.net.Stop()
	}
	return err
}

// Close closes the handle and unmounts nothing: a mount that no handle holds any more is ended by the
// next call on the store that meets it, unless it was made to be kept; a detached one ends when its
// last descriptor is closed. A second Close, or one after [Mount.Unmount], fails with [fs.ErrClosed].
func (m *Mount) Close() error {
	defer runtime.KeepAlive(m)
	if !m.raw.free() {
		return closed("close", m.id)
	}
	m.net.Stop()
	return nil
}

// Unmount ends the kept mounts of a layer, given by its id, or the one at a path, which has a slash in
// it, whoever made them.
func (s *Store) Unmount(idOrPath string, opts *UnmountOptions) error {
	if opts == nil {
		opts = &UnmountOptions{}
	}
	return s.do("unmount", idOrPath,
		func(st *capi.Store) *capi.Error { return st.UnmountAt(idOrPath, opts.Lazy) })
}
