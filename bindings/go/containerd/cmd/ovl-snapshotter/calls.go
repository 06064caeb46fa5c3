package main

import (
	"context"
	"strings"
	"time"

	diffapi "github.com/containerd/containerd/api/services/diff/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/log"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// told logs each call. A panic in one ends the process, which is safe at any time, and systemd starts it
// again: whoever went on would not know what was left half done.
func told(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	begin := time.Now()
	answer, err := handler(ctx, req)
	tell(ctx, info.FullMethod, begin, err)
	return answer, err
}

func toldStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	begin := time.Now()
	err := handler(srv, stream)
	tell(stream.Context(), info.FullMethod, begin, err)
	return err
}

func tell(ctx context.Context, method string, begin time.Time, err error) {
	entry := log.G(ctx).WithFields(log.Fields{"method": method, "took": time.Since(begin)})
	if namespace, ok := namespaces.Namespace(ctx); ok {
		entry = entry.WithField("namespace", namespace)
	}
	switch {
	case err != nil && loud[status.Code(err)]:
		entry.WithError(err).Warn("call failed")
	case err != nil:
		// Clients try things, and go on.
		entry.WithError(err).Debug("call failed")
	default:
		entry.Debug("call")
	}
}

// loud are the failures that someone should look at.
var loud = map[codes.Code]bool{
	codes.Unknown:           true,
	codes.Internal:          true,
	codes.DataLoss:          true,
	codes.ResourceExhausted: true,
	codes.PermissionDenied:  true,
}

// limited keeps more than so many calls of a service from running at once, each of which has a thread,
// and in the differ buffers, too, while it is in the store. Each service has room of its own, and what a
// connection carries is not limited: a diff may wait for containerd's database, which is locked until a
// snapshot is committed, whose call then must not wait for the diff.
func limited(most map[string]int) grpc.UnaryServerInterceptor {
	rooms := map[string]chan struct{}{}
	for service, n := range most {
		rooms[service] = make(chan struct{}, n)
	}
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		service, _, _ := strings.Cut(strings.TrimPrefix(info.FullMethod, "/"), "/")
		room := rooms[service]
		if room == nil {
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

// limits are how many calls of each service run at a time.
func (c *config) limits() map[string]int {
	return map[string]int{
		snapshotsapi.Snapshots_ServiceDesc.ServiceName: snapshotCalls,
		diffapi.Diff_ServiceDesc.ServiceName:           c.MaxDiffs,
	}
}

// snapshotCalls is more than the processors can do at once; most of what one takes is waiting for the
// disk, which is shared.
const snapshotCalls = 128
