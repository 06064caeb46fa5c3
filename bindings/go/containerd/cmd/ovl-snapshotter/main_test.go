package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	diffapi "github.com/containerd/containerd/api/services/diff/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/proxy"
	"github.com/containerd/containerd/v2/core/snapshots/testsuite"
	"github.com/containerd/errdefs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthapi "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/libovl/libovl/bindings/go/containerd/internal/scratch"
)

// asDaemon has the test's program be ovl-snapshotter.
const asDaemon = "OVL_SNAPSHOTTER_TEST_DAEMON"

func TestMain(m *testing.M) {
	if os.Getenv(asDaemon) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(scratch.Run(m))
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// plugin is a process of ovl-snapshotter.
type plugin struct {
	cmd    *exec.Cmd
	conn   *grpc.ClientConn
	notify net.PacketConn
	said   *strings.Builder
}

func command(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), asDaemon+"=1")
	return cmd
}

// start starts it, and waits until it tells systemd that it is ready.
func start(t testing.TB, dir string, args ...string) *plugin {
	t.Helper()
	socket := filepath.Join(dir, "run", "a.sock")
	said := filepath.Join(t.TempDir(), "notify")
	listener, err := net.ListenPacket("unixgram", said)
	ok(t, err)
	t.Cleanup(func() { listener.Close() })
	p := &plugin{notify: listener, said: &strings.Builder{}}
	p.cmd = command(append([]string{"--root", filepath.Join(dir, "root"), "--address", socket,
		"--config", "/dev/null", "--log-level", "debug"}, args...)...)
	p.cmd.Env = append(p.cmd.Env, "NOTIFY_SOCKET="+said)
	p.cmd.Stderr = p.said
	ok(t, p.cmd.Start())
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	p.expect(t, "READY=1")
	p.conn, err = dial(socket)
	ok(t, err)
	t.Cleanup(func() { p.conn.Close() })
	return p
}

func (p *plugin) expect(t testing.TB, state string) {
	t.Helper()
	buf := make([]byte, 100)
	p.notify.SetReadDeadline(time.Now().Add(30 * time.Second))
	n, _, err := p.notify.ReadFrom(buf)
	if err != nil || string(buf[:n]) != state {
		t.Fatalf("%q is not %q: %v", buf[:n], state, err)
	}
}

func (p *plugin) snapshots() snapshots.Snapshotter {
	return proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(p.conn), "ovl")
}

// containerd's suite over gRPC, as its daemon speaks to the plugin.
func TestConformance(t *testing.T) {
	testsuite.SnapshotterSuite(t, "overlayfs", func(_ context.Context, root string) (snapshots.Snapshotter, func() error, error) {
		p := start(t, root)
		return p.snapshots(), func() error {
			if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				return err
			}
			return p.cmd.Wait()
		}, nil
	})
}

func TestServes(t *testing.T) {
	dir := t.TempDir()
	metrics := filepath.Join(dir, "metrics.sock")
	p := start(t, dir, "--metrics-address", "unix:"+metrics, "--containerd-address", filepath.Join(dir, "nobody.sock"))
	for path, mode := range map[string]os.FileMode{"run/a.sock": 0o600, "metrics.sock": 0o600, "root": 0o700} {
		info, err := os.Stat(filepath.Join(dir, path))
		ok(t, err)
		if info.Mode().Perm() != mode {
			t.Error(path, info.Mode())
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, service := range []string{"", snapshotsapi.Snapshots_ServiceDesc.ServiceName, diffapi.Diff_ServiceDesc.ServiceName} {
		answer, err := healthapi.NewHealthClient(p.conn).Check(ctx, &healthapi.HealthCheckRequest{Service: service})
		if err != nil || answer.Status != healthapi.HealthCheckResponse_SERVING {
			t.Error(service, answer, err)
		}
	}
	s := p.snapshots()
	if _, err := s.Stat(ctx, "nobody"); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
	_, err := s.Prepare(ctx, "key", "")
	ok(t, err)
	ok(t, s.(snapshots.Cleaner).Cleanup(ctx))
	// Mounts that are not its own are for another differ, and no containerd need be there for that.
	_, err = diffapi.NewDiffClient(p.conn).Diff(ctx, &diffapi.DiffRequest{
		Right: mount.ToProto([]mount.Mount{{Type: "bind", Source: "/", Options: []string{"ro"}}}),
	})
	if status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", metrics)
	}}}
	answer, err := client.Get("http://x/metrics")
	ok(t, err)
	text, err := io.ReadAll(answer.Body)
	ok(t, err)
	answer.Body.Close()
	for _, line := range []string{
		`grpc_server_handled_total{grpc_code="NotFound",grpc_method="Stat",grpc_service="containerd.services.snapshots.v1.Snapshots",grpc_type="unary"} 1`,
		"ovl_snapshotter_pending_removals 0", "process_open_fds", "ovl_snapshotter_info{",
	} {
		if !strings.Contains(string(text), line) {
			t.Errorf("no %s", line)
		}
	}

	// A second one on the same root, or on the same socket, goes away and does no harm.
	for _, args := range [][]string{
		{"--root", dir + "/root", "--address", dir + "/other.sock"},
		{"--root", dir + "/other", "--address", dir + "/run/a.sock"},
	} {
		out, err := command(append(args, "--config", "/dev/null")...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "another process") {
			t.Errorf("%v: %s", err, out)
		}
	}

	// It lives through a SIGHUP, and a SIGTERM ends it in order.
	ok(t, p.cmd.Process.Signal(syscall.SIGHUP))
	_, err = s.Stat(ctx, "key")
	ok(t, err)
	ok(t, p.cmd.Process.Signal(syscall.SIGTERM))
	p.expect(t, "STOPPING=1")
	ok(t, p.cmd.Wait())
	if _, err := os.Lstat(filepath.Join(dir, "run", "a.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the socket stays: ", err)
	}
	if strings.Contains(p.said.String(), "DATA RACE") {
		t.Error(p.said)
	}
}

// A restart, in order or not, with a snapshot mounted: what is in it goes on, and all is there.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	ctx := context.Background()
	at := t.TempDir()
	p := start(t, dir)
	mounts, err := p.snapshots().Prepare(ctx, "key", "")
	ok(t, err)
	ok(t, mount.All(mounts, at))
	defer mount.Unmount(at, syscall.MNT_DETACH)
	for _, signal := range []os.Signal{os.Kill, syscall.SIGTERM, os.Interrupt} {
		ok(t, p.cmd.Process.Signal(signal))
		p.cmd.Wait()
		ok(t, os.WriteFile(filepath.Join(at, signal.String()), nil, 0o600))
		p = start(t, dir)
		again, err := p.snapshots().Mounts(ctx, "key")
		ok(t, err)
		if len(again) != 1 || again[0].Source != mounts[0].Source {
			t.Error(again)
		}
		_, err = os.Stat(filepath.Join(again[0].Source, signal.String()))
		ok(t, err)
	}
}

// systemd has the socket, and starts the plugin with it.
func TestSocketActivation(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "given.sock")
	listener, err := net.Listen("unix", socket)
	ok(t, err)
	file, err := listener.(*net.UnixListener).File()
	ok(t, err)
	// The listener says in its environment whose the descriptors are, which only the process itself knows.
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"`, "/proc/self/exe",
		"--root", filepath.Join(dir, "root"), "--config", "/dev/null", "--address", filepath.Join(dir, "unused.sock"))
	self, err := os.Executable()
	ok(t, err)
	cmd.Args[3] = self
	cmd.Env = append(os.Environ(), asDaemon+"=1")
	cmd.ExtraFiles = []*os.File{file}
	var said strings.Builder
	cmd.Stderr = &said
	ok(t, cmd.Start())
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	conn, err := dial(socket)
	ok(t, err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err = proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(conn), "ovl").Prepare(ctx, "key", "")
	if err != nil {
		t.Fatal(err, said.String())
	}
	ok(t, cmd.Process.Signal(syscall.SIGTERM))
	ok(t, cmd.Wait())
	if _, err := os.Lstat(socket); err != nil {
		t.Error("systemd's socket is gone: ", err)
	}
}
