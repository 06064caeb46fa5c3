package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
)

// node is a containerd that containers run under, and how many.
type node struct {
	socket, work, busybox, runtime string
	images, containers, storm      int
	clients                        int
	token                          string
	pids                           processes
	report                         report
}

// runContainers is the command `containers`: for each snapshotter in turn, images are imported, containers
// are started on them and stay, clients start others and remove them in a storm, and all goes.
func runContainers(ctx context.Context, args []string) error {
	n := node{token: rand.Text()}
	set := flag.NewFlagSet("containers", flag.ExitOnError)
	set.StringVar(&n.socket, "containerd", "", "containerd's socket")
	set.StringVar(&n.work, "work", "", "an empty directory")
	set.StringVar(&n.busybox, "busybox", "/bin/busybox", "a static busybox")
	set.StringVar(&n.runtime, "runtime", "runc", "the OCI runtime's program")
	names := set.String("snapshotters", "overlayfs,ovl", "what to measure, in this order")
	set.IntVar(&n.images, "images", 100, "images, of three layers")
	set.IntVar(&n.containers, "containers", 1000, "containers that run all the time")
	set.IntVar(&n.storm, "storm", 1000, "containers that are made, run and removed in the storm")
	set.IntVar(&n.clients, "clients", 32, "clients of the storm")
	set.IntVar(&n.pids.containerd, "containerd-pid", 0, "its process, of which the memory is told")
	set.IntVar(&n.pids.plugin, "plugin-pid", 0, "and the plugin's")
	json := set.String("json", "", "a file for the figures")
	set.Parse(args)
	if n.socket == "" || n.work == "" {
		return errors.New("say -containerd SOCKET and -work DIR")
	}
	n.report.Settings = map[string]any{
		"images": n.images, "containers": n.containers, "storm": n.storm, "clients": n.clients, "runtime": n.runtime,
	}
	if err := writeImages(n.archive(), n.images, n.busybox, n.token); err != nil {
		return err
	}
	for name := range strings.SplitSeq(*names, ",") {
		// Each has a namespace of its name, so that the images of one are nothing to the other.
		if err := n.run(namespaces.WithNamespace(ctx, name), name); err != nil {
			n.report.print(os.Stdout)
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	n.report.print(os.Stdout)
	return n.report.write(*json)
}

func (n *node) archive() string { return filepath.Join(n.work, "images.tar") }

func (n *node) run(ctx context.Context, name string) error {
	lives, end, err := n.connect(name)
	defer end()
	if err != nil {
		return err
	}
	for _, phase := range []struct {
		what string
		do   func(context.Context, []*life) error
	}{
		{"images", n.unpack}, {"containers", n.live}, {"removal of the images", n.clear},
	} {
		load := loadAverage()
		if err := phase.do(ctx, lives); err != nil {
			return fmt.Errorf("%s: %w", phase.what, err)
		}
		n.report.Load = append(n.report.Load, fmt.Sprintf("%s: %s: load %s, then %s", name, phase.what, load, loadAverage()))
	}
	return nil
}

// connect makes the clients, each with a connection of its own.
func (n *node) connect(name string) (lives []*life, end func(), err error) {
	end = func() {
		for _, one := range lives {
			one.client.Close()
		}
	}
	logs := filepath.Join(n.work, name)
	if err := os.Mkdir(logs, 0o755); err != nil {
		return nil, end, err
	}
	for range n.clients {
		client, err := containerd.New(n.socket)
		if err != nil {
			return lives, end, err
		}
		lives = append(lives, &life{client: client, snapshotter: name, token: n.token, logs: logs, runtime: n.runtime})
	}
	return lives, end, nil
}

func (n *node) unpack(ctx context.Context, lives []*life) error {
	first := lives[0]
	tar, err := os.Open(n.archive())
	if err != nil {
		return err
	}
	defer tar.Close()
	imported, err := first.client.Import(ctx, tar)
	if err != nil {
		return err
	}
	if len(imported) != n.images {
		return fmt.Errorf("%d images came of %d", len(imported), n.images)
	}
	unpack := n.report.times(first.snapshotter, "unpack an image", n.images)
	for i := range n.images {
		image, err := first.client.GetImage(ctx, imageName(i))
		if err != nil {
			return err
		}
		if err := unpack.take(func() error { return image.Unpack(ctx, first.snapshotter) }); err != nil {
			return err
		}
		for _, one := range lives {
			one.images = append(one.images, image)
		}
	}
	return nil
}

// alone is how many containers are started one by one, before the clients start the rest of those that stay.
const alone = 100

// live starts the containers that stay, has the storm pass, and removes them.
func (n *node) live(ctx context.Context, lives []*life) (err error) {
	first := lives[0]
	var lock sync.Mutex
	var stay []*living
	defer func() {
		for _, one := range stay {
			err = errors.Join(err, first.kill(ctx, one))
		}
	}()
	start := func(l *life, i int, s *steps) error {
		id := fmt.Sprintf("stays-%d", i)
		made, err := l.begin(ctx, id, i%n.images, command+"; exec sleep 1000000", s)
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		lock.Lock()
		defer lock.Unlock()
		stay = append(stay, made)
		return nil
	}
	one := min(n.containers, alone)
	if err := n.atOnce(first.snapshotter, "one by one", 0, one, lives[:1], start); err != nil {
		return err
	}
	if err := n.atOnce(first.snapshotter, fmt.Sprintf("%d start", n.clients), one, n.containers, lives, start); err != nil {
		return err
	}
	if err := first.allRun(ctx, stay); err != nil {
		return err
	}
	n.remember(fmt.Sprintf("%d containers on %s", n.containers, first.snapshotter))

	if err := n.atOnce(first.snapshotter, fmt.Sprintf("storm of %d", n.clients), 0, n.storm, lives, func(l *life, i int, s *steps) error {
		made, err := l.begin(ctx, fmt.Sprintf("storm-%d", i), i%n.images, command, s)
		if err != nil {
			return err
		}
		if err := l.end(ctx, made, 0, s); err != nil {
			return errors.Join(err, l.kill(ctx, made))
		}
		return nil
	}); err != nil {
		return err
	}
	n.remember("after the storm on " + first.snapshotter)
	if err := first.allRun(ctx, stay); err != nil {
		return fmt.Errorf("after the storm: %w", err)
	}
	all := stay
	err = n.atOnce(first.snapshotter, fmt.Sprintf("%d stop", n.clients), 0, n.containers, lives, func(l *life, i int, s *steps) error {
		return l.stop(ctx, all[i], s)
	})
	if err == nil {
		stay = nil
	}
	return err
}

// allRun waits for each container to have printed all it will, and tells whether they run.
func (l *life) allRun(ctx context.Context, stay []*living) error {
	for _, one := range stay {
		for tries := 0; l.proved(one) != nil && tries < 100; tries++ {
			time.Sleep(100 * time.Millisecond)
		}
		if err := l.runs(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

// atOnce does the things from one number to another, by all these clients together.
func (n *node) atOnce(server, what string, from, to int, lives []*life, do func(l *life, i int, s *steps) error) error {
	numbers := make(chan int, to-from)
	for i := from; i < to; i++ {
		numbers <- i
	}
	close(numbers)
	all, failed := make([]steps, len(lives)), make([]error, len(lives))
	started := time.Now()
	var wait sync.WaitGroup
	for client, l := range lives {
		wait.Go(func() {
			for i := range numbers {
				s := &all[client]
				if err := s.all.take(func() error { return do(l, i, s) }); err != nil {
					failed[client] = fmt.Errorf("%s: %d: %w", what, i, err)
					return
				}
			}
		})
	}
	wait.Wait()
	var sum steps
	for i := range all {
		sum.add(&all[i])
	}
	sum.all.wall = time.Since(started)
	sum.report(&n.report, server, what)
	return errors.Join(failed...)
}

// clear removes the images; containerd's collector has removed their snapshots when the last is gone.
func (n *node) clear(ctx context.Context, lives []*life) error {
	first := lives[0]
	for i := range n.images {
		var opts []images.DeleteOpt
		if i == n.images-1 {
			opts = append(opts, images.SynchronousDelete())
		}
		if err := first.client.ImageService().Delete(ctx, imageName(i), opts...); err != nil {
			return err
		}
	}
	return n.left(ctx, first)
}

// left tells what is left of it all, which is to be nothing.
func (n *node) left(ctx context.Context, l *life) error {
	var wrong []string
	if err := l.client.SnapshotService(l.snapshotter).Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		wrong = append(wrong, "snapshot "+info.Name)
		return nil
	}); err != nil {
		return err
	}
	// A shim ends by itself, after its task.
	var shims []string
	for range 100 {
		if shims = n.pids.shims(); len(shims) == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	wrong = slices.Concat(wrong, shims, mountsOf(filepath.Dir(n.socket)))
	logs, err := os.ReadDir(l.logs)
	if err != nil {
		return err
	}
	for _, one := range logs {
		wrong = append(wrong, "output "+one.Name())
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d are left: %q", len(wrong), wrong[:min(len(wrong), 20)])
	}
	return nil
}
