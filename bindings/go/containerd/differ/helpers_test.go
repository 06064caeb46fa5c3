package differ_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins/content/local"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/libovl/libovl/bindings/go/containerd/differ"
	"github.com/libovl/libovl/bindings/go/containerd/internal/scratch"
	"github.com/libovl/libovl/bindings/go/containerd/snapshotter"
)

func TestMain(m *testing.M) { os.Exit(scratch.Run(m)) }

var background = namespaces.WithNamespace(context.Background(), "test")

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bench is a snapshotter and a differ with a content store.
type bench struct {
	*snapshotter.Snapshotter
	*differ.Differ
	blobs content.Store
	t     testing.TB
}

func newBench(t testing.TB, opts *differ.Options) *bench {
	t.Helper()
	s, err := snapshotter.New(t.TempDir(), nil)
	ok(t, err)
	t.Cleanup(func() { s.Close() })
	blobs, err := local.NewLabeledStore(t.TempDir(), memory{})
	ok(t, err)
	return &bench{s, differ.New(s.Store(), blobs, opts), blobs, t}
}

// memory keeps the labels of blobs.
type memory map[digest.Digest]map[string]string

func (m memory) Get(of digest.Digest) (map[string]string, error) { return m[of], nil }
func (m memory) Set(of digest.Digest, all map[string]string) error {
	m[of] = all
	return nil
}
func (m memory) Update(of digest.Digest, some map[string]string) (map[string]string, error) {
	if m[of] == nil {
		m[of] = map[string]string{}
	}
	for name, value := range some {
		m[of][name] = value
	}
	return m[of], nil
}

// blob puts a layer into the content store, compressed as its media type says.
func (b *bench) blob(mediaType string, layer []byte) ocispec.Descriptor {
	b.t.Helper()
	var packed bytes.Buffer
	how := compression.Uncompressed
	switch {
	case strings.HasSuffix(mediaType, "gzip"):
		how = compression.Gzip
	case strings.HasSuffix(mediaType, "zstd"):
		how = compression.Zstd
	}
	w, err := compression.CompressStream(&packed, how)
	ok(b.t, err)
	_, err = w.Write(layer)
	ok(b.t, err)
	ok(b.t, w.Close())
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(packed.Bytes()), Size: int64(packed.Len())}
	ok(b.t, content.WriteBlob(background, b.blobs, desc.Digest.String(), &packed, desc))
	return desc
}

// layer makes the committed snapshot name by an apply.
func (b *bench) layer(name, parent, mediaType string, tar []byte) {
	b.t.Helper()
	mounts, err := b.Prepare(background, name+" active", parent)
	ok(b.t, err)
	got, err := b.Apply(background, b.blob(mediaType, tar), mounts)
	ok(b.t, err)
	if got.Digest != digest.FromBytes(tar) || got.Size != int64(len(tar)) || got.MediaType != ocispec.MediaTypeImageLayer {
		b.t.Errorf("%s: applied %+v, not %s of %d bytes", name, got, digest.FromBytes(tar), len(tar))
	}
	ok(b.t, b.Commit(background, name, name+" active"))
}

func (b *bench) view(of string) []mount.Mount {
	b.t.Helper()
	mounts, err := b.View(background, fmt.Sprint("view of ", of, time.Now()), of)
	ok(b.t, err)
	return mounts
}

func (b *bench) mounted(mounts []mount.Mount) string {
	b.t.Helper()
	dir := b.t.TempDir()
	ok(b.t, mount.All(mounts, dir))
	b.t.Cleanup(func() { mount.Unmount(dir, 0) })
	return dir
}

// unpacked is the uncompressed content of a blob.
func (b *bench) unpacked(desc ocispec.Descriptor) []byte {
	b.t.Helper()
	packed, err := content.ReadBlob(background, b.blobs, desc)
	ok(b.t, err)
	r, err := compression.DecompressStream(bytes.NewReader(packed))
	ok(b.t, err)
	defer r.Close()
	all, err := io.ReadAll(r)
	ok(b.t, err)
	return all
}
