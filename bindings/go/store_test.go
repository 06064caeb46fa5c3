package ovl_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	ovl "github.com/libovl/libovl/bindings/go"
)

func TestLife(t *testing.T) {
	need(t, "overlay")
	store := openStore(t, nil)
	before := time.Now()
	base := apply(t, store, "base", nil, "a", "one", "b", "two")
	web := create(t, store, "web", "base")

	m := mount(t, web, nil)
	write(t, filepath.Join(m.Path(), "c"), "three!")
	ok(t, os.Remove(filepath.Join(m.Path(), "a")))
	ok(t, m.Unmount(nil))

	var changes []string
	for change, err := range web.Changes(background, nil) {
		ok(t, err)
		changes = append(changes, change.String())
	}
	if want := []string{"D /a", "A /c"}; !slices.Equal(changes, want) {
		t.Fatalf("%q, not %q", changes, want)
	}
	size, err := web.DiffSize(background, nil)
	if ok(t, err); size != 6 {
		t.Fatal(size)
	}
	var diff bytes.Buffer
	written, err := web.Diff(background, &diff, &ovl.DiffOptions{Strict: true})
	ok(t, err)
	ok(t, web.Commit(background, &ovl.CommitOptions{Durability: ovl.DurabilityVerified}))
	again, err := store.Apply(background, "again", &diff,
		&ovl.ApplyOptions{Parent: "base", DiffID: written.DiffID, Kind: ovl.KindRoot})
	ok(t, err)
	if again.DiffID != written.DiffID || again.Kind != ovl.KindRoot || again.Size != 6 {
		t.Fatalf("%+v", again)
	}

	info, err := web.Stat()
	ok(t, err)
	if info.ID != "web" || info.Parent != "base" || info.Kind != ovl.KindOverlay ||
		info.State != ovl.StateCommitted || info.Lowers != 1 || info.Mounted || info.Skipped != (ovl.Skipped{}) {
		t.Fatalf("%+v", info)
	}
	if info.Created.Before(before) || info.Created.After(time.Now()) || info.Created.Nanosecond() == 0 {
		t.Fatalf("made %v", info.Created)
	}
	is(t, base.Remove(background, nil), ovl.ErrHasChildren, syscall.EBUSY)
	ok(t, store.Remove(background, "again", &ovl.RemoveOptions{Defer: true}))
	ok(t, web.Remove(background, nil))
	gone(t, web)
	stats, err := store.Cleanup(background, &ovl.CleanupOptions{Budget: time.Minute})
	ok(t, err)
	if stats.Removed != 1 || stats.Left != 0 {
		t.Fatalf("%+v", stats)
	}
	for problem, err := range store.Check(background, nil) {
		if ok(t, err); problem.Kind != ovl.Note {
			t.Fatal(problem)
		}
	}
}

func TestBase(t *testing.T) {
	store := openStore(t, nil)
	apply(t, store, "one", nil, "a", "1")
	apply(t, store, "two", &ovl.ApplyOptions{Parent: "one", Kind: ovl.KindRoot}, "b", "2")
	three := apply(t, store, "three", &ovl.ApplyOptions{Parent: "two", Kind: ovl.KindRoot}, "c", "3")
	for _, test := range []struct {
		base ovl.Base
		want string
	}{
		{ovl.Base{}, "A /c"},
		{ovl.Base{Parent: "one"}, "A /b, A /c"},
		{ovl.Base{Whole: true}, "A /a, A /b, A /c"},
	} {
		var got []string
		for change, err := range three.Changes(background, &ovl.ChangesOptions{Base: test.base}) {
			ok(t, err)
			got = append(got, change.String())
		}
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%+v: %q", test.base, got)
		}
	}
	both := ovl.Base{Parent: "one", Whole: true}
	_, err := three.DiffSize(background, &ovl.ChangesOptions{Base: both})
	is(t, err, syscall.EINVAL, ovl.ErrInvalid)
	_, err = three.Diff(background, &bytes.Buffer{}, &ovl.DiffOptions{Base: both})
	is(t, err, syscall.EINVAL, ovl.ErrInvalid)
	for _, err := range three.Changes(background, &ovl.ChangesOptions{Base: both}) {
		is(t, err, syscall.EINVAL, ovl.ErrInvalid)
	}
}

func TestListsAreOfOneMoment(t *testing.T) {
	store := openStore(t, nil)
	for i := range 5 {
		apply(t, store, fmt.Sprint("layer", i), nil)
	}
	seen := 0
	for layer, err := range store.Layers() {
		ok(t, err)
		if info, err := layer.Stat(); err != nil || info.ID != layer.ID() {
			t.Fatal(info.ID, err)
		}
		ok(t, layer.Remove(background, nil))
		if seen++; seen == 3 {
			break
		}
	}
	all := store.Layers()
	for range 2 { // a sequence may be ranged over again
		var left []string
		for layer, err := range all {
			ok(t, err)
			left = append(left, layer.ID())
		}
		if !slices.Equal(left, []string{"layer3", "layer4"}) {
			t.Fatal(left)
		}
	}
	// What is being ranged over outlives the store.
	seen = 0
	for _, err := range all {
		ok(t, err)
		store.Close()
		seen++
	}
	if seen != 2 {
		t.Fatal(seen)
	}
	for layer, err := range all {
		if is(t, err, fs.ErrClosed); layer != nil {
			t.Fatal(layer)
		}
	}
}

func TestErrors(t *testing.T) {
	store := openStore(t, nil)
	apply(t, store, "base", nil, "a", "1")
	_, err := store.Create(background, "base", "", nil)
	if e := is(t, err, fs.ErrExist, syscall.EEXIST, ovl.ErrLayerExists); e.Op != "create" || e.Path != "base" ||
		e.Errno != syscall.EEXIST || e.Code != ovl.ErrLayerExists || e.Message == "" || e.Err != nil {
		t.Fatalf("%#v", e)
	}
	if err.Error() != "ovl: create base: the layer exists" {
		t.Fatal(err)
	}
	_, err = store.Layer("none").Stat()
	is(t, err, fs.ErrNotExist, ovl.ErrNoLayer)
	_, err = store.Layer("a/b").Exists()
	is(t, err, syscall.EINVAL, ovl.ErrInvalid)
	_, err = store.Layer("").Usage(background, nil)
	is(t, err, syscall.EINVAL)
	_, err = store.Layer("base\x00x").Stat()
	if e := is(t, err, syscall.EINVAL, ovl.ErrInvalid); strings.ContainsRune(e.Error(), 0) {
		t.Fatalf("%q", e.Error())
	}
	_, err = store.Apply(background, "bad", strings.NewReader("this is no tar"), nil)
	is(t, err, syscall.EBADMSG)
	tar := files(t, "f", strings.Repeat("x", 4096))
	_, err = store.Apply(background, "short", bytes.NewReader(tar[:2000]), nil)
	is(t, err, syscall.EBADMSG, ovl.ErrTruncated)
	_, err = store.Apply(background, "other", bytes.NewReader(tar), &ovl.ApplyOptions{DiffID: "sha256:" + strings.Repeat("0", 64)})
	is(t, err, syscall.EBADMSG, ovl.ErrDigest)
	_, err = store.Apply(background, "big", bytes.NewReader(tar), &ovl.ApplyOptions{Limits: ovl.Limits{Size: 100}})
	is(t, err, syscall.EFBIG, ovl.ErrLimit)
	_, err = store.Apply(background, "big", bytes.NewReader(tar), &ovl.ApplyOptions{Limits: ovl.Limits{Size: -1}})
	is(t, err, syscall.EINVAL)
	_, err = store.Apply(background, "kind", bytes.NewReader(tar), &ovl.ApplyOptions{Kind: 77})
	is(t, err, syscall.EINVAL, ovl.ErrInvalid)
	_, err = store.Apply(background, "nil", nil, nil)
	is(t, err, syscall.EINVAL)
	_, err = store.Apply(background, "nil", (*os.File)(nil), nil)
	is(t, err, syscall.EINVAL)
	_, err = store.Layer("base").Diff(background, nil, nil)
	is(t, err, syscall.EINVAL)
	_, err = store.Cleanup(background, &ovl.CleanupOptions{Budget: -1})
	is(t, err, syscall.EINVAL)
	for _, id := range []string{"bad", "short", "other", "big", "kind", "nil"} {
		gone(t, store.Layer(id))
	}
	if ovl.Code(9999).Error() != "ovl: code 9999" || ovl.ErrUnclean.Error() == "ovl: code 25" {
		t.Fatal(ovl.Code(9999), ovl.ErrUnclean)
	}
}

func TestOpen(t *testing.T) {
	_, err := ovl.Open(t.TempDir()+"/none", &ovl.OpenOptions{MustExist: true})
	is(t, err, fs.ErrNotExist)
	store := openStore(t, nil)
	apply(t, store, "base", nil)
	reader, err := ovl.Open(store.Home(), &ovl.OpenOptions{ReadOnly: true})
	ok(t, err)
	_, err = reader.Create(background, "x", "base", nil)
	is(t, err, syscall.EROFS)
	ok(t, reader.Close())
	other, err := ovl.Open(store.Home(), &ovl.OpenOptions{Marks: 9})
	if is(t, err, syscall.EINVAL); other != nil {
		t.Fatal("a store with an error")
	}
	status, err := store.Status()
	if ok(t, err); len(status) == 0 || status[0].Name == "" {
		t.Fatalf("%+v", status)
	}
	usage, err := store.Usage(background, nil)
	if ok(t, err); usage.OwnInodes == 0 || usage.SharedInodes != 0 {
		t.Fatalf("%+v", usage)
	}
	usage, err = store.Layer("base").Usage(background, nil)
	if ok(t, err); usage.OwnInodes == 0 {
		t.Fatalf("%+v", usage)
	}
	if len(strings.Split(ovl.Version(), ".")) != 3 {
		t.Fatal(ovl.Version())
	}
}

func TestStrings(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{ovl.MarksUser.String(), "user"}, {ovl.Marks(9).String(), "Marks(9)"},
		{ovl.KindOverlay.String(), "overlay"}, {ovl.Kind(9).String(), "Kind(9)"},
		{ovl.StateWritable.String(), "writable"}, {ovl.State(9).String(), "State(9)"},
		{ovl.DurabilityFull.String(), "full"}, {ovl.Durability(9).String(), "Durability(9)"},
		{ovl.ReflinkAlways.String(), "always"}, {ovl.Reflink(9).String(), "Reflink(9)"},
		{ovl.Note.String(), "note"}, {ovl.ProblemKind(9).String(), "ProblemKind(9)"},
		{ovl.Deleted.String(), "D"}, {ovl.ChangeKind(9).String(), "ChangeKind(9)"},
		{ovl.Change{Kind: ovl.Added, Path: "/a\nb"}.String(), `A "/a\nb"`},
	} {
		if test.got != test.want {
			t.Errorf("%q, not %q", test.got, test.want)
		}
	}
	if !errors.Is(&ovl.Error{Code: ovl.ErrMarks}, ovl.ErrMarks) || errors.Is(&ovl.Error{}, syscall.Errno(0)) {
		t.Error("Unwrap")
	}
}
