// One story, in Go: story STORE BASE.tar APP.tar (see story.c)
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"time"

	ovl "github.com/libovl/libovl/bindings/go"
)

func apply(ctx context.Context, store *ovl.Store, id, parent, tar string) error {
	file, err := os.Open(tar)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := store.Apply(ctx, id, file, &ovl.ApplyOptions{Parent: parent})
	fmt.Println(id, info.DiffID)
	return err
}

func tell(ctx context.Context, home, base, app string) error {
	store, err := ovl.Open(home, nil)
	if err != nil {
		return err
	}
	defer store.Close()
	if err := errors.Join(apply(ctx, store, "base", "", base), apply(ctx, store, "app", "base", app)); err != nil {
		return err
	}
	box, err := store.Create(ctx, "box", "app", nil)
	if err != nil {
		return err
	}
	if _, err := store.Create(ctx, "box", "app", nil); errors.Is(err, fs.ErrExist) {
		fmt.Println("box is there already")
	}

	mount, err := box.Mount(&ovl.MountOptions{Detached: true})
	if err != nil {
		return err
	}
	root, err := mount.Root()
	if err != nil {
		return err
	}
	err = errors.Join(root.WriteFile("hello", []byte("hello\n"), 0o644), root.Remove("etc/motd"), root.Close())
	if err := errors.Join(err, mount.Unmount(nil)); err != nil {
		return err
	}

	for change, err := range box.Changes(ctx, nil) {
		if err != nil {
			return err
		}
		fmt.Println(change)
	}
	info, err := box.Diff(ctx, io.Discard, &ovl.DiffOptions{Clamp: time.Unix(1700000000, 0)})
	if err != nil {
		return err
	}
	fmt.Println("box", info.DiffID)
	return box.Remove(ctx, nil)
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("story STORE BASE.tar APP.tar")
	}
	if err := tell(context.Background(), os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}
