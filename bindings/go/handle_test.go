package ovl_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	ovl "github.com/libovl/libovl/bindings/go"
)

// descriptors are the open files of the process below a directory, and how often each.
func descriptors(t testing.TB, below string) int {
	t.Helper()
	count := 0
	entries, err := os.ReadDir("/proc/self/fd")
	ok(t, err)
	for _, entry := range entries {
		if to, _ := os.Readlink("/proc/self/fd/" + entry.Name()); strings.HasPrefix(to, below) {
			count++
		}
	}
	return count
}

func TestClose(t *testing.T) {
	need(t, "overlay")
	store := openStore(t, nil)
	layer := create(t, store, "box", "")
	m := mount(t, layer, &ovl.MountOptions{Detached: true})
	if descriptors(t, store.Home()) == 0 {
		t.Fatal("nothing is open")
	}
	ok(t, store.Close())
	if open := descriptors(t, filepath.Join(store.Home(), "stage")); open != 0 {
		t.Fatal(open)
	}
	e := is(t, store.Close(), fs.ErrClosed, os.ErrClosed)
	if e.Error() != "ovl: close "+store.Home()+": file already closed" {
		t.Fatal(e)
	}
	_, err := store.Create(background, "more", "", nil)
	is(t, err, fs.ErrClosed)
	_, err = layer.Stat()
	is(t, err, fs.ErrClosed)
	_, err = layer.Mount(nil)
	is(t, err, fs.ErrClosed)
	_, err = store.Status()
	is(t, err, fs.ErrClosed)

	// The mount is another handle.
	ok(t, m.Unmount(nil))
	is(t, m.Close(), fs.ErrClosed)
	is(t, m.Unmount(nil), fs.ErrClosed)
	if _, err = m.File(); m.Path() != "" {
		t.Fatal(m.Path())
	}
	is(t, err, fs.ErrClosed)
	_, err = m.Root()
	is(t, err, fs.ErrClosed)
	if open := descriptors(t, store.Home()); open != 0 {
		t.Fatal(open, "descriptors are left")
	}
}

// Calls and closes at once: each call works, or says that the store is closed.
func TestCloseWhileCalled(t *testing.T) {
	home := filepath.Join(t.TempDir(), "store")
	for range 20 {
		store, err := ovl.Open(home, nil)
		ok(t, err)
		var workers sync.WaitGroup
		for range 8 {
			workers.Add(1)
			go func() {
				defer workers.Done()
				for {
					if _, err := store.Layer("none").Exists(); err != nil {
						is(t, err, fs.ErrClosed)
						return
					}
				}
			}()
		}
		var closed atomic.Int32
		for range 4 {
			workers.Add(1)
			go func() {
				defer workers.Done()
				if store.Close() == nil {
					closed.Add(1)
				}
			}()
		}
		workers.Wait()
		if closed.Load() != 1 {
			t.Fatal(closed.Load(), "of the closes succeeded")
		}
	}
	if open := descriptors(t, home); open != 0 {
		t.Fatal(open, "descriptors are left")
	}
}

// A handle that is forgotten is closed; one that is used meanwhile is not.
func TestForgotten(t *testing.T) {
	need(t, "overlay")
	home := filepath.Join(t.TempDir(), "store")
	func() {
		store, err := ovl.Open(home, nil)
		ok(t, err)
		_, err = create(t, store, "box", "").Mount(&ovl.MountOptions{Detached: true})
		ok(t, err)
	}()
	for range 200 {
		runtime.GC()
		if descriptors(t, home) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal(descriptors(t, home), "descriptors are left")
}

// handler counts, and panics when it is told to.
type handler struct {
	lines  []string
	panics bool
}

func (h *handler) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (h *handler) WithAttrs([]slog.Attr) slog.Handler               { return h }
func (h *handler) WithGroup(string) slog.Handler                    { return h }
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	h.lines = append(h.lines, r.Level.String()+" "+r.Message)
	if h.panics {
		panic(errOwn)
	}
	return nil
}

// The log of a store that has something to say: a layer that cannot be removed whole.
func TestLogger(t *testing.T) {
	need(t, "overlay")
	h := &handler{}
	store := openStore(t, &ovl.OpenOptions{Logger: slog.New(h)})
	for i, panics := range []bool{false, true} {
		layer := create(t, store, fmt.Sprint("box", i), "")
		inner := filepath.Join(store.Home(), "layer", layer.ID(), "root", "inner")
		ok(t, os.Mkdir(inner, 0o755))
		ok(t, syscall.Mount("tmpfs", inner, "tmpfs", 0, ""))
		h.panics = panics
		value := caught(func() { ok(t, layer.Remove(background, nil)) })
		h.panics = false
		if (value == errOwn) != panics || len(h.lines) != i+1 || !strings.HasPrefix(h.lines[i], "WARN ") {
			t.Fatal(value, h.lines)
		}
		gone(t, layer)
		trash, err := filepath.Glob(store.Home() + "/trash/*/root/inner")
		ok(t, err)
		for _, at := range trash {
			ok(t, syscall.Unmount(at, 0))
		}
		stats, err := store.Cleanup(background, nil)
		if ok(t, err); stats.Removed != 1 || stats.Busy != 0 {
			t.Fatalf("%+v", stats)
		}
	}
}

func BenchmarkExists(b *testing.B) {
	store := openStore(b, nil)
	layer := store.Layer("none")
	for b.Loop() {
		if _, err := layer.Exists(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDiff(b *testing.B) {
	store := openStore(b, nil)
	_, err := store.Apply(background, "base", newEndless(b, 256<<20), nil)
	ok(b, err)
	null, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	ok(b, err)
	defer null.Close()
	for name, w := range map[string]io.Writer{"Writer": writer(func(p []byte) (int, error) { return len(p), nil }), "File": null} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(256 << 20)
			for b.Loop() {
				_, err := store.Layer("base").Diff(background, w, nil)
				ok(b, err)
			}
		})
	}
}
