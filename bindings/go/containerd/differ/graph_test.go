package differ_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/mount"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What the suite of moby's graph drivers asks of a driver, asked of snapshots.

// change makes the committed snapshot name by work in a mount of it.
func (b *bench) change(name, parent string, work func(dir string)) {
	b.t.Helper()
	mounts, err := b.Prepare(background, name+" active", parent)
	ok(b.t, err)
	dir := b.t.TempDir()
	ok(b.t, mount.All(mounts, dir))
	work(dir)
	ok(b.t, mount.Unmount(dir, 0))
	ok(b.t, b.Commit(background, name, name+" active"))
}

// diff is the plain tar that leads from one snapshot to another, which may be mounted.
func (b *bench) diff(lower, upper []mount.Mount) []byte {
	b.t.Helper()
	desc, err := b.Compare(background, lower, upper, diff.WithMediaType(ocispec.MediaTypeImageLayer))
	ok(b.t, err)
	return b.unpacked(desc)
}

func names(t testing.TB, layer []byte) []string {
	t.Helper()
	var all []string
	for r := tar.NewReader(bytes.NewReader(layer)); ; {
		h, err := r.Next()
		if err == io.EOF {
			slices.Sort(all)
			return all
		}
		ok(t, err)
		all = append(all, strings.TrimSuffix(h.Name, "/"))
	}
}

// tree is each path with what it is.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	ok(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		rest := strings.TrimPrefix(path, dir)
		all[rest] = info.Mode().String()
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(path)
			all[rest] += " " + string(text)
			return err
		}
		return nil
	}))
	return all
}

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	ok(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
	ok(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
}

func TestEmpty(t *testing.T) {
	b := newBench(t, nil)
	mounts, err := b.Prepare(background, "empty", "")
	ok(t, err)
	if got := tree(t, b.mounted(mounts)); len(got) != 1 || got[""] != "drwxr-xr-x" {
		t.Error(got)
	}
}

// A child's changes are not the parent's, nor another child's.
func TestSiblings(t *testing.T) {
	b := newBench(t, nil)
	b.change("base", "", func(dir string) { write(t, dir, "sub/file", "base") })
	before := tree(t, b.mounted(b.view("base")))
	for _, name := range []string{"one", "two"} {
		b.change(name, "base", func(dir string) {
			if got := tree(t, dir); got["/sub/file"] != "-rw-r--r-- base" {
				t.Error(name, got)
			}
			write(t, dir, "sub/file", name)
			write(t, dir, name, "")
		})
	}
	if after := tree(t, b.mounted(b.view("base"))); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error(before, after)
	}
	if got := tree(t, b.mounted(b.view("two"))); got["/sub/file"] != "-rw-r--r-- two" || got["/one"] != "" {
		t.Error(got)
	}
}

// Every layer of a chain is seen from its top, and a diff from any of them leads there.
func TestDeep(t *testing.T) {
	b := newBench(t, nil)
	const depth = 60
	parent := ""
	for i := range depth {
		name := fmt.Sprint("layer", i)
		b.change(name, parent, func(dir string) {
			write(t, dir, fmt.Sprint("file", i), fmt.Sprint(i))
			write(t, dir, "top", fmt.Sprint(i))
			if i > 0 {
				ok(t, os.RemoveAll(filepath.Join(dir, fmt.Sprint("dir", i-1))))
			}
			write(t, dir, fmt.Sprintf("dir%d/in", i), "")
		})
		parent = name
	}
	want := tree(t, b.mounted(b.view(parent)))
	if len(want) != 1+depth+1+2 || want["/top"] != fmt.Sprint("-rw-r--r-- ", depth-1) {
		t.Error(want)
	}
	for _, below := range []int{0, depth / 2, depth - 2} {
		from := fmt.Sprint("layer", below)
		layer := b.diff(b.view(from), b.view(parent))
		again := "again from " + from
		b.layer(again, from, ocispec.MediaTypeImageLayer, layer)
		if got := tree(t, b.mounted(b.view(again))); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Error(from, got)
		}
	}
}

// A diff has what changed and no more, deletions once each, and applied it gives the same tree.
func TestChanges(t *testing.T) {
	b := newBench(t, nil)
	b.change("base", "", func(dir string) {
		for i := range 50 {
			write(t, dir, fmt.Sprintf("d%d/file%d", i%5, i), fmt.Sprint(i))
		}
		ok(t, os.Symlink("d0", filepath.Join(dir, "link")))
	})
	mounts, err := b.Prepare(background, "container", "base")
	ok(t, err)
	dir := b.mounted(mounts)
	if got := names(t, b.diff(b.view("base"), mounts)); len(got) != 0 {
		t.Error("nothing changed: ", got)
	}
	write(t, dir, "d0/file0", "other")
	write(t, dir, "d9/new", "new")
	ok(t, os.Remove(filepath.Join(dir, "d1/file1")))
	ok(t, os.RemoveAll(filepath.Join(dir, "d2")))
	ok(t, os.Remove(filepath.Join(dir, "link")))
	ok(t, os.Mkdir(filepath.Join(dir, "link"), 0o700))
	ok(t, os.Chmod(filepath.Join(dir, "d3/file3"), 0o600))
	write(t, dir, "d4/file4", "4") // as it was: content says nothing, but its time
	layer := b.diff(b.view("base"), mounts)
	got := names(t, layer)
	for _, want := range []string{"d0/file0", "d9", "d9/new", "d1/.wh.file1", ".wh.d2", "link", "d3/file3"} {
		if n := slices.Index(got, want); n < 0 {
			t.Errorf("no %s in %q", want, got)
		}
	}
	for _, no := range []string{".wh.link", "d0/file5", "d2/file2", "d2"} {
		if slices.Contains(got, no) {
			t.Errorf("%s in %q", no, got)
		}
	}
	b.layer("same", "base", ocispec.MediaTypeImageLayer, layer)
	if want, got := tree(t, dir), tree(t, b.mounted(b.view("same"))); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v\n%v", want, got)
	}
}

// A directory that goes at some depth and comes back has nothing of the old one in it.
func TestEcho(t *testing.T) {
	b := newBench(t, nil)
	const depth = 5
	path := ""
	b.change("full", "", func(dir string) {
		at := ""
		for i := range depth {
			at = filepath.Join(at, fmt.Sprint("d", i))
			write(t, dir, filepath.Join(at, "old"), fmt.Sprint(i))
		}
	})
	for i := range depth {
		path = filepath.Join(path, fmt.Sprint("d", i))
		gone, back := fmt.Sprint("gone", i), fmt.Sprint("back", i)
		b.change(gone, "full", func(dir string) { ok(t, os.RemoveAll(filepath.Join(dir, path))) })
		b.change(back, gone, func(dir string) { write(t, dir, filepath.Join(path, "new"), "") })
		want := []string{filepath.Join(filepath.Dir(path), ".wh."+filepath.Base(path))}
		got := slices.DeleteFunc(names(t, b.diff(b.view("full"), b.view(gone))), func(name string) bool {
			return !strings.Contains(name, ".wh.")
		})
		if !slices.Equal(got, want) {
			t.Errorf("%d: %q, not %q", i, got, want)
		}
		dir := b.mounted(b.view(back))
		if _, err := os.Lstat(filepath.Join(dir, path, "old")); !errors.Is(err, fs.ErrNotExist) {
			t.Error(i, err)
		}
		for _, from := range []string{"full", gone} {
			layer := b.diff(b.view(from), b.view(back))
			again := fmt.Sprint(back, " from ", from)
			b.layer(again, from, ocispec.MediaTypeImageLayer, layer)
			if want, got := tree(t, dir), tree(t, b.mounted(b.view(again))); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %v\n%v", again, want, got)
			}
		}
	}
}
