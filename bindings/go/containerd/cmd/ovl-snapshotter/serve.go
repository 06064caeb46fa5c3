package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
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
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/log"
	"github.com/coreos/go-systemd/v22/daemon"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthapi "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/libovl/libovl/bindings/go/containerd/differ"
	"github.com/libovl/libovl/bindings/go/containerd/snapshotter"
)

// streams is how many calls of one connection run at a time; containerd has one connection, and keeps
// the rest waiting. Each occupies a thread while it is in the store.
const streams = 128

// run serves until ctx is done, and then ends in order. again gives the signals their usual effect back:
// a second one ends the process at once.
func run(ctx context.Context, again func(), c *config) (err error) {
	// Before the socket: its lock says whether another process serves the same root.
	s, err := snapshotter.New(c.Root, &snapshotter.Options{
		Durability:   durabilities[c.Durability],
		MountOptions: c.MountOptions,
		Logger:       slog.Default(),
	})
	if err != nil {
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
		grpc.MaxConcurrentStreams(streams),
		// The store is closed after the last of them.
		grpc.WaitForHandlers(true),
		grpc.ChainUnaryInterceptor(metrics.calls.UnaryServerInterceptor(), told, limited(c.MaxDiffs)),
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

// told logs each call, and keeps a panic in one from ending the others.
func told(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (_ any, err error) {
	begin := time.Now()
	defer func() { err = tell(ctx, info.FullMethod, begin, recover(), err) }()
	return handler(ctx, req)
}

func toldStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	begin := time.Now()
	defer func() { err = tell(stream.Context(), info.FullMethod, begin, recover(), err) }()
	return handler(srv, stream)
}

func tell(ctx context.Context, method string, begin time.Time, panicked any, err error) error {
	entry := log.G(ctx).WithFields(log.Fields{"method": method, "took": time.Since(begin)})
	if namespace, ok := namespaces.Namespace(ctx); ok {
		entry = entry.WithField("namespace", namespace)
	}
	switch {
	case panicked != nil:
		entry.WithField("stack", string(debug.Stack())).Errorf("panic: %v", panicked)
		return status.Errorf(codes.Internal, "%s: panic: %v", method, panicked)
	case err != nil && loud[status.Code(err)]:
		entry.WithError(err).Warn("call failed")
	case err != nil:
		// Clients try things, and go on.
		entry.WithError(err).Debug("call failed")
	default:
		entry.Debug("call")
	}
	return err
}

// loud are the failures that someone should look at.
var loud = map[codes.Code]bool{
	codes.Unknown:           true,
	codes.Internal:          true,
	codes.DataLoss:          true,
	codes.ResourceExhausted: true,
	codes.PermissionDenied:  true,
}

// limited keeps more than n calls of the differ from running at once: each has threads and buffers of
// its own for as long as a blob takes.
func limited(n int) grpc.UnaryServerInterceptor {
	room := make(chan struct{}, n)
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if !strings.HasPrefix(info.FullMethod, "/"+diffapi.Diff_ServiceDesc.ServiceName+"/") {
			return handler(ctx, req)
		}
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
		defer func() { <-room }()
		return handler(ctx, req)
	}
}
