package snapshotter_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"

	"github.com/libovl/libovl/bindings/go/containerd/snapshotter"
)

// The forms that containerd's and BuildKit's code takes apart.
func TestMounts(t *testing.T) {
	s, root := opened(t, "")
	at := func(id, tree string) string { return filepath.Join(root, "store", "layer", id, tree) }
	one := func(mounts []mount.Mount, err error) mount.Mount {
		t.Helper()
		ok(t, err)
		if len(mounts) != 1 || mounts[0].Target != "" {
			t.Fatal(mounts)
		}
		return mounts[0]
	}
	bind := func(m mount.Mount, source, access string) {
		t.Helper()
		if m.Type != "bind" || m.Source != source || !slices.Equal(m.Options, []string{"rbind", access}) {
			t.Error(m)
		}
	}
	overlay := func(m mount.Mount, want ...string) {
		t.Helper()
		var got []string
		for _, option := range m.Options {
			if strings.Contains(option, "dir=/") {
				got = append(got, option)
			}
		}
		if m.Type != "overlay" || m.Source != "overlay" || !slices.Equal(got, want) {
			t.Errorf("%v\nis not %v", m, want)
		}
	}
	bind(one(s.View(background, "view of nothing", "")), at("1", "root"), "ro")
	bind(one(s.Prepare(background, "a1", "")), at("2", "root"), "rw")
	ok(t, s.Commit(background, "c1", "a1"))
	bind(one(s.View(background, "view of one", "c1")), at("2", "root"), "ro")
	overlay(one(s.Prepare(background, "a2", "c1")), "lowerdir="+at("2", "root"),
		"upperdir="+at("4", "upper"), "workdir="+at("4", "work"))
	ok(t, s.Commit(background, "c2", "a2"))
	overlay(one(s.View(background, "view of two", "c2")), "lowerdir="+at("4", "upper")+":"+at("2", "root"))
	m := one(s.Prepare(background, "a3", "c2"))
	overlay(m, "lowerdir="+at("4", "upper")+":"+at("2", "root"), "upperdir="+at("6", "upper"), "workdir="+at("6", "work"))
	if again := one(s.Mounts(background, "a3")); !slices.Equal(again.Options, m.Options) {
		t.Error(again)
	}
	_, err := s.Mounts(background, "c2")
	is(t, err, errdefs.IsFailedPrecondition, "c2")
	_, err = s.Mounts(background, "nobody")
	is(t, err, errdefs.IsNotFound, "nobody")
}

func TestMountOptions(t *testing.T) {
	root := t.TempDir()
	for _, bad := range []string{"volatile", "index=on", "metacopy=on", ""} {
		_, err := snapshotter.New(root, &snapshotter.Options{MountOptions: []string{bad}})
		is(t, err, errdefs.IsInvalidArgument, "noatime")
	}
	s, err := snapshotter.New(root, &snapshotter.Options{MountOptions: []string{"noatime"}})
	ok(t, err)
	defer s.Close()
	committed(t, s, "base", "")
	mounts, err := s.Prepare(background, "key", "base")
	ok(t, err)
	if !slices.Contains(mounts[0].Options, "noatime") {
		t.Error(mounts)
	}
	file(t, mounts, "a", "b")
}

// BuildKit's overlay differ and its merges take a mount apart, and know these options alone.
func TestBuildKitKnowsTheOptions(t *testing.T) {
	for _, name := range []string{"metacopy", "xino_auto", "nfs_export"} {
		if text, err := os.ReadFile("/sys/module/overlay/parameters/" + name); err != nil || string(text) != "N\n" {
			t.Skipf("SKIP %s is %q (%v): the option must be said", name, text, err)
		}
	}
	s, _ := opened(t, "")
	committed(t, s, "one", "")
	committed(t, s, "two", "one")
	for _, make := range []func() ([]mount.Mount, error){
		func() ([]mount.Mount, error) { return s.Prepare(background, "active", "two") },
		func() ([]mount.Mount, error) { return s.View(background, "view", "two") },
	} {
		mounts, err := make()
		ok(t, err)
		for _, option := range mounts[0].Options {
			key, _, _ := strings.Cut(option, "=")
			if !slices.Contains([]string{"lowerdir", "upperdir", "workdir", "redirect_dir"}, key) &&
				option != "index=off" && option != "userxattr" {
				t.Errorf("BuildKit refuses %q of %q", option, mounts[0].Options)
			}
		}
	}
	// What is left out was no more than the kernel's own: nothing can be written to a view.
	mounts, err := s.Mounts(background, "view")
	ok(t, err)
	dir, _ := mounted(t, mounts)
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); err == nil {
		t.Error("a view was written to")
	}
}
