package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	diffapi "github.com/containerd/containerd/api/services/diff/v1"
	leasesapi "github.com/containerd/containerd/api/services/leases/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/contrib/diffservice"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	contentproxy "github.com/containerd/containerd/v2/core/content/proxy"
	leasesproxy "github.com/containerd/containerd/v2/core/leases/proxy"
	containerd "github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/log"
	"github.com/coreos/go-systemd/v22/daemon"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthapi "google.golang.org/grpc/health/grpc_health_v1"

	ovl "github.com/libovl/libovl/bindings/go"
	"github.com/libovl/libovl/bindings/go/containerd/differ"
	"github.com/libovl/libovl/bindings/go/containerd/snapshotter"
)

// run serves until ctx is done, and then ends in order. again gives the signals their usual effect back:
// a second one ends the process at once.
func run(ctx context.Context, again func(), c *config) (err error) {
	// Before the socket: its lock says whether another process serves the same root.
	s, err := open(ctx, c)
	if err != nil || s == nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	metrics := newMetrics(s)
	if err := metrics.serve(c.MetricsAddress); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	defer metrics.close()
	listener, err := listen(c.Address)
	if err != nil {
		return err
	}
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(containerd.DefaultMaxRecvMsgSize),
		grpc.MaxSendMsgSize(containerd.DefaultMaxSendMsgSize),
		// The store is closed after the last of them.
		grpc.WaitForHandlers(true),
		grpc.ChainUnaryInterceptor(metrics.calls.UnaryServerInterceptor(), told, limited(c.limits())),
		grpc.ChainStreamInterceptor(metrics.calls.StreamServerInterceptor(), toldStream),
	)
	snapshotsapi.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(s))
	if c.ContainerdAddress != "" {
		conn, err := dial(c.ContainerdAddress)
		if err != nil {
			return err
		}
		defer conn.Close()
		d := differ.New(s.Store(), contentproxy.NewContentStore(conn), &differ.Options{
			Handlers: c.handlers(),
			Leases:   leasesproxy.NewLeaseManager(leasesapi.NewLeasesClient(conn)),
			// containerd commits in a transaction of its own: what is synced by then keeps nobody waiting.
			Unsynced: c.Durability == "none",
			Limits:   ovl.Limits{Size: c.MaxLayerSize, Entries: c.MaxLayerEntries},
		})
		diffapi.RegisterDiffServer(server, diffservice.FromApplierAndComparer(d, d))
	}
	healthy := health.NewServer()
	healthapi.RegisterHealthServer(server, healthy)
	for service := range server.GetServiceInfo() {
		healthy.SetServingStatus(service, healthapi.HealthCheckResponse_SERVING)
	}
	metrics.calls.InitializeMetrics(server)

	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	notify(daemon.SdNotifyReady)
	log.L.WithFields(log.Fields{"address": listener.Addr().String(), "root": c.Root}).Info("serving")
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	again()
	notify(daemon.SdNotifyStopping)
	log.L.WithField("timeout", time.Duration(c.ShutdownTimeout)).Info("ending")
	healthy.Shutdown()
	end(server, time.Duration(c.ShutdownTimeout))
	return nil
}

// open opens the snapshots. It is nil where ctx is done first, for the end of the process needs no more:
// whatever is kept waiting by a lock or a disk then ends with it.
func open(ctx context.Context, c *config) (*snapshotter.Snapshotter, error) {
	type opened struct {
		s   *snapshotter.Snapshotter
		err error
	}
	done := make(chan opened, 1)
	go func() {
		s, err := snapshotter.New(c.Root, &snapshotter.Options{
			Durability:   durabilities[c.Durability],
			MountOptions: c.MountOptions,
			Logger:       slog.Default(),
		})
		done <- opened{s, err}
	}()
	select {
	case o := <-done:
		return o.s, o.err
	case <-ctx.Done():
		log.L.Info("ended before the snapshots were open")
		return nil, nil
	}
}

// end lets the calls that run come to their end, for a while; then their contexts are done, and what
// they had begun is undone.
func end(server *grpc.Server, patience time.Duration) {
	timer := time.AfterFunc(patience, server.Stop)
	defer timer.Stop()
	server.GracefulStop()
}

// dial connects when it is needed: containerd may start later than its plugin, and be started anew.
func dial(address string) (*grpc.ClientConn, error) {
	slow := backoff.DefaultConfig
	slow.MaxDelay = 3 * time.Second
	return grpc.NewClient("unix://"+strings.TrimPrefix(address, "unix://"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: slow, MinConnectTimeout: 3 * time.Second}),
		grpc.WithDefaultCallOptions(
			grpc.WaitForReady(true),
			grpc.MaxCallRecvMsgSize(containerd.DefaultMaxRecvMsgSize),
			grpc.MaxCallSendMsgSize(containerd.DefaultMaxSendMsgSize),
		),
	)
}

func notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.L.WithError(err).WithField("state", state).Warn("cannot tell systemd")
	}
}
