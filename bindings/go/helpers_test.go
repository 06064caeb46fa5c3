package ovl_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	ovl "github.com/libovl/libovl/bindings/go"
)

var background = context.Background()

// files makes a layer tar of regular files: name, content, name, content.
func files(t testing.TB, pairs ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for i := 0; i < len(pairs); i += 2 {
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: pairs[i], Size: int64(len(pairs[i+1])), Mode: 0o644,
			ModTime: time.Unix(1700000000, 0), Format: tar.FormatPAX,
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, pairs[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func openStore(t testing.TB, opts *ovl.OpenOptions) *ovl.Store {
	t.Helper()
	store, err := ovl.Open(filepath.Join(t.TempDir(), "store"), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func apply(t testing.TB, store *ovl.Store, id string, opts *ovl.ApplyOptions, pairs ...string) *ovl.Layer {
	t.Helper()
	if _, err := store.Apply(background, id, bytes.NewReader(files(t, pairs...)), opts); err != nil {
		t.Fatal(err)
	}
	return store.Layer(id)
}

func create(t testing.TB, store *ovl.Store, id, parent string) *ovl.Layer {
	t.Helper()
	layer, err := store.Create(background, id, parent, nil)
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

func mount(t testing.TB, layer *ovl.Layer, opts *ovl.MountOptions) *ovl.Mount {
	t.Helper()
	m, err := layer.Mount(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Unmount(&ovl.UnmountOptions{Lazy: true}) })
	return m
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// is fails the test unless err is an *ovl.Error in which each of the targets is found.
func is(t testing.TB, err error, targets ...error) *ovl.Error {
	t.Helper()
	var e *ovl.Error
	if !errors.As(err, &e) {
		t.Fatalf("%#v is no *ovl.Error", err)
	}
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Fatalf("%v (%#v): no %v in it", err, e, target)
		}
	}
	return e
}

func gone(t testing.TB, layer *ovl.Layer) {
	t.Helper()
	if there, err := layer.Exists(); err != nil || there {
		t.Fatalf("%v: there %v, %v", layer, there, err)
	}
}

// within keeps a test that would hang from hanging what runs it.
func within(t testing.TB, limit time.Duration, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("not done after %v", limit)
	}
}

func write(t testing.TB, path, content string) {
	t.Helper()
	ok(t, os.WriteFile(path, []byte(content), 0o644))
}
