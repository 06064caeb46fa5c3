package ovl

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"runtime"

	"github.com/libovl/libovl/bindings/go/internal/capi"
)

// Version is the version of the library that runs, as "0.1.0".
func Version() string { return capi.Version() }

// Marks are the form of the whiteouts and opaque directories in a store, fixed when it is made.
type Marks uint32

// The forms.
const (
	MarksAuto    Marks = capi.MarksAuto    // what the store has; in a new one, what the caller may set
	MarksTrusted Marks = capi.MarksTrusted // trusted.overlay.*, which needs CAP_SYS_ADMIN
	MarksUser    Marks = capi.MarksUser    // user.overlay.*, which any owner may set
)

func (m Marks) String() string {
	switch m {
	case MarksAuto:
		return "auto"
	case MarksTrusted:
		return "trusted"
	case MarksUser:
		return "user"
	}
	return fmt.Sprintf("Marks(%d)", uint32(m))
}

// OpenOptions are the options of [Open].
type OpenOptions struct {
	// MustExist makes no store of a missing or empty directory: the error is [fs.ErrNotExist].
	MustExist bool
	// ReadOnly changes nothing in the store: calls that would fail with [syscall.EROFS].
	ReadOnly bool
	// Marks, where they are not those of the store, are an error.
	Marks Marks
	// Logger is told what the store does, by the goroutine that makes the call and while it makes it.
	// Its level is asked for once, here. nil logs nothing.
	Logger *slog.Logger
}

// Store is an open store. Any number of goroutines may use it at once.
type Store struct {
	home   string
	handle *storeHandle
	log    *logged
	net    runtime.Cleanup
}

// Open opens the store in the directory home. A directory that is missing or empty becomes a store,
// unless opts say otherwise; the directories that lead to it are made too. Many processes may have the
// same store open, and one process many times.
func Open(home string, opts *OpenOptions) (*Store, error) {
	if opts == nil {
		opts = &OpenOptions{}
	}
	s := &Store{home: home, log: &logged{}}
	raw := capi.StoreOpts{MustExist: opts.MustExist, ReadOnly: opts.ReadOnly, Marks: uint32(opts.Marks)}
	if logger := opts.Logger; logger != nil {
		raw.LogLevel = levelOf(logger)
		raw.Log = s.log.guard(func(level uint32, message string) {
			logger.Log(context.Background(), slogLevel(level), message)
		})
	}
	opened, e := capi.StoreOpen(home, raw)
	if e != nil {
		s.log.repanic()
		return nil, failure(context.Background(), "open", home, e, nil)
	}
	s.handle = &storeHandle{raw: opened}
	s.net = runtime.AddCleanup(s, func(h *storeHandle) { h.close() }, s.handle)
	s.log.repanic()
	return s, nil
}

// levelOf is the most talkative level that somebody listens to.
func levelOf(logger *slog.Logger) uint32 {
	for _, level := range []uint32{capi.LogDebug, capi.LogInfo, capi.LogWarning} {
		if logger.Enabled(context.Background(), slogLevel(level)) {
			return level
		}
	}
	return capi.LogError
}

func slogLevel(level uint32) slog.Level {
	switch level {
	case capi.LogError:
		return slog.LevelError
	case capi.LogWarning:
		return slog.LevelWarn
	case capi.LogInfo:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// Close closes the store. Calls that run go on to their end, and the last of them gives up what the
// store holds; later ones fail with [fs.ErrClosed], a second Close too. Mounts stay as they are, and so
// do sequences that are being ranged over.
func (s *Store) Close() error {
	if !s.handle.close() {
		return closed("close", s.home)
	}
	s.net.Stop()
	return nil
}

// Home is the directory that was given to [Open].
func (s *Store) Home() string { return s.home }

// Layer is the layer that is called id, there or not.
func (s *Store) Layer(id string) *Layer { return &Layer{store: s, id: id} }

// Layers are the layers of the store at one moment, by id in the order of bytes. Anything may be done
// to the store while they are ranged over.
func (s *Store) Layers() iter.Seq2[*Layer, error] {
	return items(context.Background(), s,
		func() *call { return newCall("list", s.home, nil) },
		func(raw *capi.Store, _ capi.Call) (*capi.Iter, *capi.Error) { return raw.List() },
		func(item capi.Item) *Layer { return s.Layer(item.Name) })
}

// Remove is [Layer.Remove].
func (s *Store) Remove(ctx context.Context, id string, opts *RemoveOptions) error {
	return s.Layer(id).Remove(ctx, opts)
}

// Capability is something that a store can do in one place and not in another.
type Capability struct {
	Name   string // as "reflink"
	Has    bool
	Detail string // why, where there is something to say
}

// Status tells what the store can do here: with this kernel, this file system, these privileges. It
// finds out by doing it.
func (s *Store) Status() ([]Capability, error) {
	return collect(items(context.Background(), s,
		func() *call { return newCall("status", s.home, nil) },
		func(raw *capi.Store, _ capi.Call) (*capi.Iter, *capi.Error) { return raw.Status() },
		func(item capi.Item) Capability {
			return Capability{Name: item.Name, Has: item.What != 0, Detail: item.Detail}
		}))
}
