package ovl_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"

	ovl "github.com/libovl/libovl/bindings/go"
)

// layerTar is a layer tar with one file.
func layerTar(name, content string) io.Reader {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
	io.WriteString(w, content)
	w.Close()
	return &buf
}

// temporary is a store for an example, and what removes it.
func temporary() (*ovl.Store, func()) {
	dir, err := os.MkdirTemp("", "ovl")
	if err != nil {
		log.Fatal(err)
	}
	store, err := ovl.Open(filepath.Join(dir, "store"), nil)
	if err != nil {
		log.Fatal(err)
	}
	return store, func() {
		store.Close()
		os.RemoveAll(dir)
	}
}

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "ovl")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	store, err := ovl.Open(filepath.Join(dir, "store"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	// An image layer, and a container's own layer on it.
	if _, err := store.Apply(ctx, "base", layerTar("greeting", "hello\n"), nil); err != nil {
		log.Fatal(err)
	}
	web, err := store.Create(ctx, "web", "base", nil)
	if err != nil {
		log.Fatal(err)
	}

	mount, err := web.Mount(nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mount.Path(), "answer"), []byte("hi\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	if err := mount.Unmount(nil); err != nil {
		log.Fatal(err)
	}

	for change, err := range web.Changes(ctx, nil) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(change)
	}
	// Output: A /answer
}

func ExampleOpen() {
	_, err := ovl.Open("/nowhere/store", &ovl.OpenOptions{MustExist: true})
	fmt.Println(errors.Is(err, fs.ErrNotExist))
	// Output: true
}

func ExampleError() {
	store, remove := temporary()
	defer remove()

	err := store.Layer("web").Commit(context.Background(), nil)
	var e *ovl.Error
	if errors.As(err, &e) {
		fmt.Println(e.Op, e.Path, e.Errno)
	}
	fmt.Println(errors.Is(err, fs.ErrNotExist), errors.Is(err, ovl.ErrNoLayer))
	fmt.Println(err)
	// Output:
	// commit web no such file or directory
	// true true
	// ovl: commit web: there is no such layer
}

func ExampleStore_Apply() {
	store, remove := temporary()
	defer remove()
	ctx := context.Background()

	// The layer is there whole, or not at all: here its digest is another.
	_, err := store.Apply(ctx, "base", layerTar("a", "1"), &ovl.ApplyOptions{
		DiffID: "sha256:0000000000000000000000000000000000000000000000000000000000000000",
	})
	there, _ := store.Layer("base").Exists()
	fmt.Println(errors.Is(err, ovl.ErrDigest), there)

	info, err := store.Apply(ctx, "base", layerTar("a", "1"), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.Kind, info.State, info.Size)
	// Output:
	// true false
	// root committed 1
}

func ExampleStore_Apply_progress() {
	store, remove := temporary()
	defer remove()

	enough := errors.New("that is enough")
	_, err := store.Apply(context.Background(), "base", layerTar("a", "1"), &ovl.ApplyOptions{
		Progress: func(p ovl.Progress) error {
			if p.Bytes > 1<<30 {
				return enough
			}
			return nil
		},
	})
	fmt.Println(err, errors.Is(err, enough))
	// Output: <nil> false
}

func ExampleStore_Layers() {
	store, remove := temporary()
	defer remove()
	ctx := context.Background()
	for _, id := range []string{"one", "two"} {
		if _, err := store.Create(ctx, id, "", nil); err != nil {
			log.Fatal(err)
		}
	}
	for layer, err := range store.Layers() {
		if err != nil {
			log.Fatal(err)
		}
		info, err := layer.Stat()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(info.ID, info.State)
	}
	// Output:
	// one writable
	// two writable
}

// A detached mount is at no path: it is a descriptor, and what is in it is reached below that.
func ExampleMount_Root() {
	store, remove := temporary()
	defer remove()
	box, err := store.Create(context.Background(), "box", "", nil)
	if err != nil {
		log.Fatal(err)
	}
	mount, err := box.Mount(&ovl.MountOptions{Detached: true})
	if err != nil {
		log.Fatal(err)
	}
	root, err := mount.Root()
	if err != nil {
		log.Fatal(err)
	}
	file, err := root.Create("greeting")
	if err != nil {
		log.Fatal(err)
	}
	file.Close()
	_, err = root.Open("../etc/passwd") // nothing leads out of the layer, symbolic links neither
	fmt.Println(err)
	root.Close()
	fmt.Println(mount.Unmount(nil))
	// Output:
	// openat ../etc/passwd: path escapes from parent
	// <nil>
}

func ExampleLayer_Diff() {
	store, remove := temporary()
	defer remove()
	ctx := context.Background()
	if _, err := store.Apply(ctx, "base", layerTar("a", "1"), nil); err != nil {
		log.Fatal(err)
	}
	var out bytes.Buffer
	info, err := store.Layer("base").Diff(ctx, &out, nil)
	if err != nil {
		log.Fatal(err)
	}
	again, err := store.Apply(ctx, "again", &out, &ovl.ApplyOptions{DiffID: info.DiffID})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(again.DiffID == info.DiffID)
	// Output: true
}

func ExampleLayer_MountSpec() {
	store, remove := temporary()
	defer remove()
	ctx := context.Background()
	if _, err := store.Apply(ctx, "base", layerTar("a", "1"), nil); err != nil {
		log.Fatal(err)
	}
	spec, err := store.Layer("base").MountSpec(&ovl.SpecOptions{ReadOnly: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(spec.Type, spec.Options)
	// Output: bind [rbind ro]
}

func ExampleCopyDir() {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("the user pressed a key"))
	_, err := ovl.CopyDir(ctx, "/usr", "/tmp/copy", nil)
	fmt.Println(err)
	fmt.Println(errors.Is(err, context.Canceled))
	// Output:
	// ovl: copydir /usr: cancelled: the user pressed a key
	// true
}
