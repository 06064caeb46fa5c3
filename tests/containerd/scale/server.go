package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/containerd/v2/core/snapshots"
	snapshotsproxy "github.com/containerd/containerd/v2/core/snapshots/proxy"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// serve is containerd's overlayfs snapshotter with its usual settings, as a plugin of its own.
func serve(ctx context.Context, root, socket string) error {
	snapshotter, err := overlay.NewSnapshotter(root, overlay.AsynchronousRemove)
	if err != nil {
		return err
	}
	defer snapshotter.Close()
	server := grpc.NewServer()
	snapshotsapi.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(snapshotter))
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	go func() {
		<-ctx.Done()
		server.GracefulStop()
	}()
	return server.Serve(listener)
}

// server is one of the two processes that are measured.
type server struct {
	name   string
	cmd    *exec.Cmd
	conn   *grpc.ClientConn
	snap   snapshots.Snapshotter
	images []string // names of the snapshots that containers are made on
	made   int      // snapshots that there are
}

func startAll(s settings) ([]*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var servers []*server
	for _, one := range []struct {
		name    string
		command func(root, socket string) []string
	}{
		{"overlayfs", func(root, socket string) []string { return []string{self, "serve", root, socket} }},
		{"ovl", func(root, socket string) []string {
			return []string{s.plugin, "--root", root, "--address", socket, "--containerd-address", "", "--log-level", "warn"}
		}},
	} {
		socket := filepath.Join(s.root, one.name+".sock")
		command := one.command(filepath.Join(s.root, one.name), socket)
		started, err := start(one.name, socket, command)
		if started != nil {
			servers = append(servers, started)
		}
		if err != nil {
			return servers, fmt.Errorf("%s: %w", one.name, err)
		}
	}
	return servers, nil
}

func start(name, socket string, command []string) (*server, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	one := &server{name: name, cmd: cmd}
	for range 100 {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return one, err
	}
	one.conn = conn
	one.snap = snapshotsproxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(conn), name)
	return one, nil
}

func (s *server) end() {
	if s.conn != nil {
		s.conn.Close()
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(20*time.Second, func() { s.cmd.Process.Kill() })
	defer timer.Stop()
	s.cmd.Wait()
}
