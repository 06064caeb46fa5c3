package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
)

// listen is the socket that systemd hands over, or one of our own, which root alone may use: whoever may
// speak here has the files of every container.
func listen(address string) (net.Listener, error) {
	given, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("sockets from systemd: %w", err)
	}
	switch len(given) {
	case 0:
		return listenAt(address)
	case 1:
		if given[0] == nil {
			return nil, errors.New("what systemd handed over is no listening stream socket")
		}
		return given[0], nil
	}
	return nil, fmt.Errorf("systemd handed over %d sockets, and one is used", len(given))
}

func listenAt(address string) (net.Listener, error) {
	path := strings.TrimPrefix(address, "unix://")
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("address %q is not the absolute path of a socket", address)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return nil, err
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeSocket == 0:
		return nil, fmt.Errorf("%s is there and is no socket", path)
	default:
		// What a killed process left refuses. One that is slow to answer lives.
		conn, err := net.DialTimeout("unix", path, time.Second)
		if err == nil {
			conn.Close()
			return nil, fmt.Errorf("another process serves on %s", path)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("another process may serve on %s: %w", path, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	// No moment in which others may connect.
	old := syscall.Umask(0o177)
	listener, err := net.Listen("unix", path)
	syscall.Umask(old)
	return listener, err
}
