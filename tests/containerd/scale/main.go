// Program scale measures a snapshotter as containerd uses it, over gRPC on a unix socket: libovl's plugin
// beside containerd's own overlayfs snapshotter, each in a process of its own, in one run. It prints a
// table, and JSON with -json. It needs root, and a directory that can hold an overlay's upper.
//
//	scale -plugin FILE -root DIR [-counts 100,1000,10000] [-containers 1000] [-images 100] [-clients 32]
//	scale serve ROOT SOCKET        containerd's overlayfs snapshotter, served (the other side of it)
//	scale containers -containerd SOCKET -work DIR [-containers 1000] [-storm 1000] [-images 100] [-clients 32]
//	                               a storm of containers that run, under a containerd that is there
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

type settings struct {
	plugin, root, json          string
	counts                      []int
	containers, images, clients int
	rounds                      int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "serve":
		err = serve(ctx, os.Args[2], os.Args[3])
	case len(os.Args) > 1 && os.Args[1] == "containers":
		err = runContainers(ctx, os.Args[2:])
	default:
		err = run(ctx, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var s settings
	set := flag.NewFlagSet("scale", flag.ExitOnError)
	set.StringVar(&s.plugin, "plugin", "", "the ovl-snapshotter to measure")
	set.StringVar(&s.root, "root", "", "an empty directory for the snapshots")
	set.StringVar(&s.json, "json", "", "a file for the figures")
	counts := set.String("counts", "100,1000,10000", "numbers of snapshots at which operations are measured; there are never fewer than the images have")
	set.IntVar(&s.containers, "containers", 1000, "containers on the images")
	set.IntVar(&s.images, "images", 100, "images, of three layers")
	set.IntVar(&s.clients, "clients", 32, "clients of the storm")
	set.IntVar(&s.rounds, "rounds", 200, "times that each operation is measured")
	set.Parse(args)
	if s.plugin == "" || s.root == "" {
		return errors.New("say -plugin FILE and -root DIR")
	}
	for text := range strings.SplitSeq(*counts, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		s.counts = append(s.counts, n)
	}
	slices.Sort(s.counts)

	servers, err := startAll(s)
	defer func() {
		for _, one := range servers {
			one.end()
		}
	}()
	if err != nil {
		return err
	}
	report := report{Settings: map[string]any{
		"containers": s.containers, "images": s.images, "clients": s.clients, "rounds": s.rounds,
	}}
	for _, one := range servers {
		if err := one.node(ctx, s, &report); err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
	}
	// Turn by turn, so that what else the machine does falls on both.
	for _, count := range s.counts {
		for _, one := range servers {
			if err := one.grow(ctx, count); err != nil {
				return fmt.Errorf("%s: %w", one.name, err)
			}
			if err := one.measure(ctx, s.rounds, one.made, &report); err != nil {
				return fmt.Errorf("%s: %w", one.name, err)
			}
			report.Load = append(report.Load, fmt.Sprintf("%s: %d snapshots: load %s", one.name, one.made, loadAverage()))
		}
	}
	report.print(os.Stdout)
	return report.write(s.json)
}
