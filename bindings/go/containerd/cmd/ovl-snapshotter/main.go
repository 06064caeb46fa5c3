// Ovl-snapshotter is a proxy plugin of containerd's: it serves snapshots, and the differ that fills and
// reads them, from a libovl store, on a unix socket. See docs/containerd.md.
//
// SIGTERM and SIGINT end it in order; SIGHUP does nothing, for there is nothing to be read again without
// a restart. A restart at any time is safe: containers run on, for their mounts are not its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/containerd/log"
)

// misconfigured is how it exits where a restart would come to the same, which the unit says to systemd.
// It is EX_CONFIG of sysexits.h; a Go program that crashes exits with 2.
const misconfigured = 78

func main() {
	c, err := configure(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "ovl-snapshotter:", err)
		os.Exit(misconfigured)
	}
	if err := logging(&c); err != nil {
		fmt.Fprintln(os.Stderr, "ovl-snapshotter:", err)
		os.Exit(misconfigured)
	}
	signal.Ignore(syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err = run(ctx, stop, &c)
	if err != nil {
		log.L.WithError(err).Error("ovl-snapshotter ends")
		os.Exit(1)
	}
}

// levels are those of slog. What containerd's packages say goes there too.
var levels = map[string]slog.Level{
	"trace": slog.LevelDebug - 4,
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"error": slog.LevelError,
}

func logging(c *config) error {
	level, ok := levels[c.LogLevel]
	if !ok {
		return fmt.Errorf("log level %q is none of trace, debug, info, warn, error", c.LogLevel)
	}
	if err := log.SetLevel(c.LogLevel); err != nil {
		return err
	}
	opts := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewTextHandler(os.Stderr, opts)
	if c.LogFormat == "json" {
		handler = slog.NewJSONHandler(os.Stderr, opts)
	}
	slog.SetDefault(slog.New(handler))
	log.UseSlog()
	return nil
}
