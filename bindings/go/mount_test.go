package ovl_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	ovl "github.com/libovl/libovl/bindings/go"
)

func TestMount(t *testing.T) {
	need(t, "overlay")
	store := openStore(t, nil)
	base := apply(t, store, "base", nil, "a", "one")
	web := create(t, store, "web", "base")

	_, err := base.Mount(nil)
	is(t, err, syscall.EROFS, ovl.ErrCommitted)
	target := t.TempDir()
	view := mount(t, base, &ovl.MountOptions{Target: target, ReadOnly: true})
	if view.Path() != target {
		t.Fatal(view.Path())
	}
	if err := os.WriteFile(target+"/x", nil, 0o644); !errors.Is(err, syscall.EROFS) {
		t.Fatal(err)
	}
	ok(t, view.Unmount(nil))

	m := mount(t, web, nil)
	same := mount(t, web, nil)
	if !filepath.IsAbs(m.Path()) || same.Path() != m.Path() {
		t.Fatal(m.Path(), same.Path())
	}
	_, err = web.Mount(&ovl.MountOptions{Volatile: true})
	is(t, err, ovl.ErrMounted, syscall.EBUSY)
	is(t, web.Commit(background, nil), ovl.ErrMounted)
	ok(t, same.Unmount(nil))

	// A file that is open keeps the mount, and the handle, until it is closed.
	file, err := os.Create(filepath.Join(m.Path(), "b"))
	ok(t, err)
	is(t, m.Unmount(nil), syscall.EBUSY)
	if m.Path() == "" {
		t.Fatal("the handle is gone")
	}
	ok(t, file.Close())
	ok(t, m.Unmount(nil))

	// A kept mount stays when its handle is closed.
	kept := mount(t, web, &ovl.MountOptions{Keep: true})
	path := kept.Path()
	ok(t, kept.Close())
	if _, err := os.Stat(path + "/b"); err != nil {
		t.Fatal(err)
	}
	ok(t, store.Unmount("web", nil))
	is(t, store.Unmount("web", nil), syscall.EINVAL)
	is(t, store.Unmount("./none", &ovl.UnmountOptions{Lazy: true}), fs.ErrNotExist)

	// A held one does not: the next call that meets it ends it.
	held := mount(t, web, nil)
	ok(t, held.Close())
	ok(t, web.Commit(background, nil))
}

func TestDetached(t *testing.T) {
	need(t, "overlay")
	store := openStore(t, nil)
	apply(t, store, "base", nil, "a", "one")
	web := create(t, store, "web", "base")
	m := mount(t, web, &ovl.MountOptions{Detached: true})
	if m.Path() != "" {
		t.Fatal(m.Path())
	}
	root, err := m.Root()
	ok(t, err)
	file, err := root.Create("b")
	ok(t, err)
	ok(t, file.Close())
	ok(t, root.Close())

	dir, err := m.File()
	ok(t, err)
	if flags, _, _ := syscall.Syscall(syscall.SYS_FCNTL, dir.Fd(), syscall.F_GETFD, 0); flags&syscall.FD_CLOEXEC == 0 {
		t.Fatal("not close-on-exec")
	}
	fd, err := syscall.Openat(int(dir.Fd()), "a", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	ok(t, err)
	ok(t, syscall.Close(fd))
	// The handle ends; the mount when the last descriptor does.
	ok(t, m.Unmount(nil))
	is(t, web.Commit(background, nil), ovl.ErrMounted)
	ok(t, dir.Close())
	ok(t, web.Commit(background, nil))
}

func TestMountSpec(t *testing.T) {
	need(t, "overlay")
	store := openStore(t, nil)
	apply(t, store, "base", nil, "a", "one")
	web := create(t, store, "web", "base")
	spec, err := web.MountSpec(nil)
	ok(t, err)
	if spec.Type != "overlay" || spec.Source == "" || !slices.ContainsFunc(spec.Options, func(option string) bool {
		return strings.HasPrefix(option, "upperdir="+store.Home())
	}) {
		t.Fatalf("%+v", spec)
	}
	// It is what mount(2) takes.
	target := t.TempDir()
	ok(t, syscall.Mount(spec.Source, target, spec.Type, 0, strings.Join(spec.Options, ",")))
	write(t, target+"/b", "two")
	ok(t, syscall.Unmount(target, 0))
	if size, err := web.DiffSize(background, nil); err != nil || size != 3 {
		t.Fatal(size, err)
	}

	spec, err = store.Layer("base").MountSpec(&ovl.SpecOptions{ReadOnly: true})
	ok(t, err)
	if !slices.Contains(spec.Options, "ro") || !slices.Contains(spec.Options, "bind") && !slices.Contains(spec.Options, "rbind") {
		t.Fatalf("%+v", spec)
	}
	var entry struct {
		Destination, Type, Source string
		Options                   []string
	}
	raw, err := web.OCIMount("/data", nil)
	ok(t, err)
	if ok(t, json.Unmarshal(raw, &entry)); entry.Destination != "/data" || entry.Type != "overlay" || len(entry.Options) == 0 {
		t.Fatalf("%s", raw)
	}
	_, err = store.Layer("none").MountSpec(nil)
	is(t, err, fs.ErrNotExist, ovl.ErrNoLayer)
	_, err = store.Layer("none").OCIMount("", nil)
	is(t, err, fs.ErrNotExist)
}

func TestCopyDir(t *testing.T) {
	top := t.TempDir()
	ok(t, os.MkdirAll(top+"/src/sub", 0o755))
	write(t, top+"/src/a", "one")
	ok(t, os.Link(top+"/src/a", top+"/src/sub/b"))
	stats, err := ovl.CopyDir(background, top+"/src", top+"/dst", nil)
	ok(t, err)
	if stats.Entries != 4 || stats.Directories != 2 || stats.Grouped != 1 || stats.Bytes != 3 {
		t.Fatalf("%+v", stats)
	}
	dir, err := os.Open(top)
	ok(t, err)
	defer dir.Close()
	stats, err = ovl.CopyDir(background, "src", "links", &ovl.CopyOptions{SrcDir: dir, DstDir: dir, HardLink: true})
	ok(t, err)
	if stats.Linked != 2 {
		t.Fatalf("%+v", stats)
	}
	_, err = ovl.CopyDir(background, "src", "links", &ovl.CopyOptions{SrcDir: dir, DstDir: dir})
	is(t, err, ovl.ErrNotEmpty, fs.ErrExist)
	_, err = ovl.CopyDir(background, top+"/none", top+"/more", nil)
	if e := is(t, err, fs.ErrNotExist); e.Op != "copydir" {
		t.Fatalf("%#v", e)
	}
	ok(t, dir.Close())
	_, err = ovl.CopyDir(background, "src", "more", &ovl.CopyOptions{SrcDir: dir})
	is(t, err, fs.ErrClosed)

}
