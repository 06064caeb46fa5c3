package main

import (
	"archive/tar"
	"bytes"
	"context"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	diffapi "github.com/containerd/containerd/api/services/diff/v1"
	leasesapi "github.com/containerd/containerd/api/services/leases/v1"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	diffproxy "github.com/containerd/containerd/v2/core/diff/proxy"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/services/content/contentserver"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc"
)

// blobs is the part of containerd that the differ speaks to: its content store, and leases.
type blobs struct {
	content.Store
	mu    sync.Mutex
	seen  map[string]bool // "call namespace lease"
	made  []*leasesapi.CreateRequest
	names map[digest.Digest]map[string]string
}

func (b *blobs) note(ctx context.Context, call string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	namespace, _ := namespaces.Namespace(ctx)
	lease, _ := leases.FromContext(ctx)
	b.seen[call+" "+namespace+" "+lease] = true
}

func (b *blobs) ReaderAt(ctx context.Context, desc ocispec.Descriptor) (content.ReaderAt, error) {
	b.note(ctx, "read")
	return b.Store.ReaderAt(ctx, desc)
}

func (b *blobs) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	b.note(ctx, "write")
	return b.Store.Writer(ctx, opts...)
}

type leaseServer struct {
	leasesapi.UnimplementedLeasesServer
	b *blobs
}

func (l leaseServer) Create(ctx context.Context, r *leasesapi.CreateRequest) (*leasesapi.CreateResponse, error) {
	l.b.note(ctx, "lease")
	l.b.made = append(l.b.made, r)
	return &leasesapi.CreateResponse{Lease: &leasesapi.Lease{ID: "made"}}, nil
}

func (b *blobs) Get(of digest.Digest) (map[string]string, error) { return b.names[of], nil }
func (b *blobs) Set(of digest.Digest, all map[string]string) error {
	b.names[of] = all
	return nil
}

type labelStore struct{ *blobs }

func (l labelStore) Update(of digest.Digest, some map[string]string) (map[string]string, error) {
	if l.names[of] == nil {
		l.names[of] = map[string]string{}
	}
	for name, value := range some {
		l.names[of][name] = value
	}
	return l.names[of], nil
}

func newBlobs(t *testing.T) *blobs {
	t.Helper()
	b := &blobs{seen: map[string]bool{}, names: map[digest.Digest]map[string]string{}}
	var err error
	b.Store, err = local.NewLabeledStore(t.TempDir(), labelStore{b})
	ok(t, err)
	return b
}

func (b *blobs) serve(t *testing.T, address string) {
	t.Helper()
	server := grpc.NewServer(grpc.MaxRecvMsgSize(16 << 20))
	contentapi.RegisterContentServer(server, contentserver.New(b))
	leasesapi.RegisterLeasesServer(server, leaseServer{b: b})
	listener, err := net.Listen("unix", address)
	ok(t, err)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
}

// A layer of many megabytes goes from containerd's content store into a snapshot and back, with the
// namespace and the lease of whoever asked.
func TestDiffer(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, "--containerd-address", filepath.Join(dir, "containerd.sock"))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ctx = namespaces.WithNamespace(ctx, "theirs")
	s := p.snapshots()
	mounts, err := s.Prepare(ctx, "key", "")
	ok(t, err)

	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	body := bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16)
	for _, name := range []string{"a", "b"} {
		ok(t, w.WriteHeader(&tar.Header{Name: name, Size: int64(len(body)), Mode: 0o600, Typeflag: tar.TypeReg}))
		_, err = w.Write(body)
		ok(t, err)
	}
	ok(t, w.Close())
	d := diffproxy.NewDiffApplier(diffapi.NewDiffClient(p.conn)).(interface {
		diff.Applier
		diff.Comparer
	})
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(layer.Bytes()), Size: int64(layer.Len())}
	// containerd comes later than its plugin, and is waited for.
	applied := make(chan error, 1)
	go func() {
		got, err := d.Apply(leases.WithLease(ctx, "mine"), desc, mounts)
		if err == nil && (got.Digest != desc.Digest || got.Size != desc.Size) {
			t.Error(got)
		}
		applied <- err
	}()
	time.Sleep(300 * time.Millisecond)
	b := newBlobs(t)
	ok(t, content.WriteBlob(ctx, b.Store, "x", bytes.NewReader(layer.Bytes()), desc))
	b.serve(t, filepath.Join(dir, "containerd.sock"))
	ok(t, <-applied)
	ok(t, s.Commit(ctx, "layer", "key"))
	view, err := s.View(ctx, "view", "layer")
	ok(t, err)
	for _, lease := range []string{"", "mine"} {
		asked := ctx
		if lease != "" {
			asked = leases.WithLease(ctx, lease)
		}
		made, err := d.Compare(asked, nil, view, diff.WithMediaType(ocispec.MediaTypeImageLayerZstd))
		ok(t, err)
		info, err := b.Info(ctx, made.Digest)
		ok(t, err)
		if info.Labels[labels.LabelUncompressed] == "" || made.Size != info.Size {
			t.Errorf("%+v %+v", made, info)
		}
	}
	for _, want := range []string{"read theirs mine", "write theirs mine", "write theirs made", "lease theirs "} {
		if !b.seen[want] {
			t.Errorf("no %q in %v", want, b.seen)
		}
	}
	if len(b.made) != 1 || b.made[0].Labels["containerd.io/gc.expire"] == "" {
		t.Error(b.made)
	}
	left, err := b.ListStatuses(ctx)
	if err != nil || len(left) > 0 {
		t.Error("uploads stay: ", left, err)
	}
}
