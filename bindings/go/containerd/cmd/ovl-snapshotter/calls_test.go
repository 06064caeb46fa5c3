package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	diffapi "github.com/containerd/containerd/api/services/diff/v1"
	leasesapi "github.com/containerd/containerd/api/services/leases/v1"
	"github.com/containerd/containerd/v2/core/diff"
	diffproxy "github.com/containerd/containerd/v2/core/diff/proxy"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins/services/content/contentserver"
	"google.golang.org/grpc"
)

// busyDatabase is containerd while a transaction of its own is open: leases wait for its end.
type busyDatabase struct {
	leasesapi.UnimplementedLeasesServer
	asked chan struct{}
	ended chan struct{}
}

func (b busyDatabase) Create(ctx context.Context, _ *leasesapi.CreateRequest) (*leasesapi.CreateResponse, error) {
	select {
	case b.asked <- struct{}{}:
	default:
	}
	select {
	case <-b.ended:
	case <-ctx.Done():
	}
	return nil, fmt.Errorf("no lease")
}

// containerd commits a snapshot inside its transaction, on the connection on which any number of diffs
// wait for the end of that.
func TestDiffsKeepNoCommitWaiting(t *testing.T) {
	dir := t.TempDir()
	address := filepath.Join(dir, "containerd.sock")
	p := start(t, dir, "--containerd-address", address)
	busy := busyDatabase{asked: make(chan struct{}, 1), ended: make(chan struct{})}
	server := grpc.NewServer()
	contentapi.RegisterContentServer(server, contentserver.New(newBlobs(t)))
	leasesapi.RegisterLeasesServer(server, busy)
	listener, err := net.Listen("unix", address)
	ok(t, err)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	ctx, cancel := context.WithTimeout(namespaces.WithNamespace(context.Background(), "theirs"), time.Minute)
	defer cancel()
	s := p.snapshots()
	mounts, err := s.Prepare(ctx, "compared", "")
	ok(t, err)
	_, err = s.Prepare(ctx, "key", "")
	ok(t, err)
	d := diffproxy.NewDiffApplier(diffapi.NewDiffClient(p.conn)).(diff.Comparer)
	var all sync.WaitGroup
	for range 3 * snapshotCalls {
		all.Go(func() { d.Compare(ctx, nil, mounts) })
	}
	<-busy.asked
	time.Sleep(500 * time.Millisecond) // all of them are there
	soon, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	ok(t, s.Commit(soon, "committed", "key"))
	close(busy.ended)
	all.Wait()
}

// A panic ends the process: it is not swallowed, and nothing goes on half done.
func TestPanic(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a panic was swallowed")
		}
	}()
	told(context.Background(), nil, &grpc.UnaryServerInfo{FullMethod: "/a/b"},
		func(context.Context, any) (any, error) { panic("page 7 is freed already") })
}
