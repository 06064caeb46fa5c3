package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/containerd/continuity/fs"
	"github.com/containerd/continuity/fs/fstest"
)

// tool runs the command line tool that OVL names.
func tool(store string, args ...string) ([]byte, error) {
	cmd := exec.Command(os.Getenv("OVL"), append([]string{"--store", store}, args...)...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if failed := cmd.Run(); failed != nil {
		return nil, fmt.Errorf("ovl %v: %w: %s", args, failed, err.String())
	}
	return out.Bytes(), nil
}

// chain is a chain of layers in a store, each the diff of what the suite did in a copy of the one
// before, applied.
type chain struct {
	t    *testing.T
	kind string
	// Whether containerd tells the changes.
	theirs bool
	store  string
	count  int
}

func (c *chain) TestContext(ctx context.Context) (context.Context, func(), error) {
	c.store, c.count = filepath.Join(c.t.TempDir(), "store"), 0
	return ctx, func() {}, nil
}

// seen mounts a committed layer.
func (c *chain) seen(id string) (string, func(), error) {
	dir, err := os.MkdirTemp(filepath.Dir(c.store), "seen")
	if err != nil {
		return "", nil, err
	}
	_, err = tool(c.store, "mount", id, dir, "--ro")
	return dir, func() {
		if _, err := tool(c.store, "unmount", dir); err != nil {
			c.t.Error(err)
		}
	}, err
}

func (c *chain) Apply(_ context.Context, change fstest.Applier) (string, func(), error) {
	id, parent := strconv.Itoa(c.count), strconv.Itoa(c.count-1)
	// A layer of its own, without a parent, holds the changed copy.
	tree := "tree" + id
	if _, err := tool(c.store, "create", tree); err != nil {
		return "", nil, err
	}
	said, err := tool(c.store, "mount", tree)
	if err != nil {
		return "", nil, err
	}
	work := string(bytes.TrimSuffix(said, []byte("\n")))
	tar, err := c.tell(work, tree, parent, change)
	if _, failed := tool(c.store, "unmount", tree); err != nil || failed != nil {
		return "", nil, errors.Join(err, failed)
	}
	file := filepath.Join(filepath.Dir(c.store), "layer.tar")
	if err := os.WriteFile(file, tar, 0o600); err != nil {
		return "", nil, err
	}
	args := []string{"apply", id, file}
	if c.count > 0 {
		args = []string{"apply", id, "--parent", parent, "--kind", c.kind, file}
	}
	c.count++
	if _, err := tool(c.store, args...); err != nil {
		return "", nil, err
	}
	return c.seen(id)
}

// tell makes the changed copy of the last layer in work, and the layer that leads there.
func (c *chain) tell(work, tree, parent string, change fstest.Applier) (tar []byte, err error) {
	old := filepath.Join(filepath.Dir(c.store), "none")
	if c.count == 0 {
		parent = ""
		if err := os.Mkdir(old, 0o755); err != nil {
			return nil, err
		}
	} else {
		var done func()
		if old, done, err = c.seen(parent); err != nil {
			return nil, err
		}
		defer done()
		if err := fs.CopyDir(work, old); err != nil {
			return nil, err
		}
	}
	if err := change.Apply(work); err != nil {
		return nil, err
	}
	if !c.theirs {
		return tool(c.store, "diff", tree, parent)
	}
	var out bytes.Buffer
	err = differs["containerd"](old, work, &out)
	return out.Bytes(), err
}

// Continuity's suite for what applies and tells layers.
func TestSuite(t *testing.T) {
	if os.Getenv("OVL") == "" {
		t.Fatal("OVL names no tool")
	}
	for _, kind := range []string{"overlay", "root"} {
		t.Run(kind, func(t *testing.T) { fstest.FSSuite(t, &chain{t: t, kind: kind}) })
		t.Run(kind+" of others' layers", func(t *testing.T) {
			fstest.FSSuite(t, &chain{t: t, kind: kind, theirs: true})
		})
	}
}
