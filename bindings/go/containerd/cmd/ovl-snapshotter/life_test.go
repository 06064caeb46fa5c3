package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A SIGTERM ends it also while it waits for its database.
func TestEndWhileOpening(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	ok(t, os.Mkdir(root, 0o700))
	file, err := os.Create(filepath.Join(root, "metadata.db"))
	ok(t, err)
	defer file.Close()
	ok(t, syscall.Flock(int(file.Fd()), syscall.LOCK_EX))
	cmd := command("--root", root, "--address", filepath.Join(dir, "a.sock"), "--config", "/dev/null")
	ok(t, cmd.Start())
	time.Sleep(time.Second)
	begin := time.Now()
	ok(t, cmd.Process.Signal(syscall.SIGTERM))
	ok(t, cmd.Wait())
	if took := time.Since(begin); took > 3*time.Second {
		t.Error("it ended after ", took)
	}
}

// A server that has no room for one more connection lives, and keeps its socket.
func TestBusySocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	connect := func() error {
		fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
		ok(t, err)
		t.Cleanup(func() { syscall.Close(fd) })
		return syscall.Connect(fd, &syscall.SockaddrUnix{Name: path})
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	ok(t, err)
	ok(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}))
	ok(t, syscall.Listen(fd, 0))
	for connect() == nil {
	}
	if listener, err := listenAt(path); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Error(listener, err)
	}
	_, err = os.Lstat(path)
	ok(t, err)
	// Nobody listens any more: the socket is free.
	ok(t, syscall.Close(fd))
	listener, err := listenAt(path)
	ok(t, err)
	ok(t, listener.Close())
}

// systemd restarts it after a crash, and not after a configuration that is wrong.
func TestMisconfigured(t *testing.T) {
	unit, err := os.ReadFile("../../packaging/ovl-snapshotter.service")
	ok(t, err)
	if !strings.Contains(string(unit), fmt.Sprintf("\nRestartPreventExitStatus=%d\n", misconfigured)) {
		t.Error("the unit does not say so")
	}
	for _, args := range [][]string{{"--config", configFile(t, "durability = 'some'")}, {"--config", "/dev/null", "--log-level", "loud"}, {"more"}} {
		err := command(args...).Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != misconfigured {
			t.Error(args, err)
		}
	}
}
