package main

import (
	"context"
	"errors"
	"flag"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/snapshots"
	snapshotsproxy "github.com/containerd/containerd/v2/core/snapshots/proxy"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// ends are the sockets that commands are about.
type ends struct {
	containerd, plugin, namespace, snapshotter, store, ovl string
}

func (e *ends) flags(set *flag.FlagSet) {
	set.StringVar(&e.containerd, "containerd", "", "containerd's socket")
	set.StringVar(&e.plugin, "plugin", "", "the plugin's socket; empty when a snapshotter of containerd's own is used")
	set.StringVar(&e.namespace, "namespace", "default", "containerd's namespace")
	set.StringVar(&e.snapshotter, "snapshotter", "ovl", "the snapshotter's name in containerd")
	set.StringVar(&e.store, "store", "", "the libovl store")
	set.StringVar(&e.ovl, "ovl", "", "the tool of libovl")
}

func (e *ends) client() (*containerd.Client, error) {
	return containerd.New(e.containerd, containerd.WithDefaultNamespace(e.namespace), containerd.WithTimeout(10*time.Second))
}

func dial(socket string) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// snapshotterAt speaks to a plugin with nothing between.
func snapshotterAt(socket, name string) (snapshots.Snapshotter, func() error, error) {
	conn, err := dial(socket)
	if err != nil {
		return nil, nil, err
	}
	return snapshotsproxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(conn), name), conn.Close, nil
}

// serving tells whether a plugin answers.
func serving(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: ask serving SOCKET")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	snapshotter, end, err := snapshotterAt(args[0], "ovl")
	if err != nil {
		return err
	}
	defer end()
	return snapshotter.Walk(ctx, func(context.Context, snapshots.Info) error { return nil })
}
