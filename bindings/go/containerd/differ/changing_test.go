package differ_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/libovl/libovl/bindings/go/containerd/differ"
)

// watched is a content store that tells of the first bytes that are written.
type watched struct {
	content.Store
	first func()
}

type watchedWriter struct {
	content.Writer
	first func()
}

func (w watched) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	to, err := w.Store.Writer(ctx, opts...)
	return watchedWriter{to, w.first}, err
}

func (w watchedWriter) Write(b []byte) (int, error) {
	w.first()
	return w.Writer.Write(b)
}

// leaseBook keeps the leases that there are.
type leaseBook struct {
	leases.Manager
	there map[string]bool
}

func (l leaseBook) Create(_ context.Context, opts ...leases.Opt) (leases.Lease, error) {
	var made leases.Lease
	for _, opt := range opts {
		if err := opt(&made); err != nil {
			return made, err
		}
	}
	l.there[made.ID] = true
	return made, nil
}

func (l leaseBook) Delete(_ context.Context, made leases.Lease, _ ...leases.DeleteOpt) error {
	delete(l.there, made.ID)
	return nil
}

// A file that gets shorter while it is read, or a directory that goes: the caller is told to try again,
// and nothing is left of the attempt.
func TestCompareChanging(t *testing.T) {
	// Deeper than what stays open.
	deep := strings.Repeat("d/", 40)
	for _, change := range []func(root string) error{
		func(root string) error { return os.Truncate(filepath.Join(root, deep, "log"), 10) },
		func(root string) error {
			if err := os.Rename(filepath.Join(root, deep[:20]), filepath.Join(root, "z")); err != nil {
				return err
			}
			return os.RemoveAll(filepath.Join(root, "d"))
		},
	} {
		compareChanging(t, deep, change)
	}
}

func compareChanging(t *testing.T, deep string, change func(root string) error) {
	b := newBench(t, nil)
	mounts, err := b.Prepare(background, "busy", "")
	ok(t, err)
	root := b.mounted(mounts)
	ok(t, os.MkdirAll(filepath.Join(root, deep), 0o755))
	ok(t, os.WriteFile(filepath.Join(root, deep, "log"), make([]byte, 64<<20), 0o600))
	var once sync.Once
	book := leaseBook{there: map[string]bool{}}
	d := differ.New(b.Store(), watched{b.blobs, func() { once.Do(func() { ok(t, change(root)) }) }},
		&differ.Options{Leases: book})
	plain := diff.WithMediaType(ocispec.MediaTypeImageLayer)
	if _, err := d.Compare(background, nil, mounts, plain); !errdefs.IsUnavailable(err) {
		t.Error(err)
	}
	left, err := b.blobs.ListStatuses(background)
	if err != nil || len(left) > 0 || len(book.there) > 0 {
		t.Error("of the attempt stay: ", left, book.there, err)
	}
	_, err = d.Compare(background, nil, mounts, plain)
	ok(t, err)
	if len(book.there) != 1 {
		t.Error("what was written is not kept: ", book.there)
	}
}
