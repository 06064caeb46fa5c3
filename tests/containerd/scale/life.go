package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	runcoptions "github.com/containerd/containerd/api/types/runc/options"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
)

// life is what containers are made with, by one client.
type life struct {
	client      *containerd.Client
	snapshotter string
	images      []containerd.Image
	token       string
	logs        string // directory of what containers print
	runtime     string // the program
}

// living is a container that runs.
type living struct {
	container containerd.Container
	task      containerd.Task
	exit      <-chan containerd.ExitStatus
	image     int
}

// steps are the times of a container's life.
type steps struct{ create, task, start, end, deleteTask, remove, all times }

func (s *steps) add(other *steps) {
	mine, others := s.named(), other.named()
	for i := range mine {
		mine[i].of.took = append(mine[i].of.took, others[i].of.took...)
	}
}

type step struct {
	name string
	of   *times
}

func (s *steps) named() []step {
	return []step{
		{"create, with its snapshot", &s.create}, {"task (mount)", &s.task}, {"start", &s.start}, {"run to its end", &s.end},
		{"delete the task (unmount)", &s.deleteTask}, {"remove, with its snapshot", &s.remove}, {"all of it", &s.all},
	}
}

// report keeps the times of what was done, under a name each.
func (s *steps) report(report *report, server, where string) {
	for _, one := range s.named() {
		if len(one.of.took) > 0 {
			kept := report.times(server, where+": "+one.name, 0)
			kept.took, kept.wall = one.of.took, one.of.wall
		}
	}
}

func (l *life) log(id string) string { return filepath.Join(l.logs, id) }

// plainSpec names a version that older runtimes know: Debian's crun refuses those that it has not heard of.
func plainSpec(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
	s.Version = "1.0.2"
	return nil
}

// begin makes a container of an image and starts it. After an error it is not there.
func (l *life) begin(ctx context.Context, id string, image int, command string, s *steps) (made *living, err error) {
	made = &living{image: image}
	if err := s.create.take(func() (err error) {
		made.container, err = l.client.NewContainer(ctx, id,
			containerd.WithSnapshotter(l.snapshotter),
			containerd.WithImage(l.images[image]),
			containerd.WithNewSnapshot(id, l.images[image]),
			containerd.WithNewSpec(oci.WithImageConfig(l.images[image]), oci.WithProcessArgs("/bin/sh", "-c", command, id), plainSpec),
			containerd.WithRuntime("io.containerd.runc.v2", &runcoptions.Options{BinaryName: l.runtime}))
		return err
	}); err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.kill(ctx, made))
		}
	}()
	if err := s.task.take(func() (err error) {
		made.task, err = made.container.NewTask(ctx, cio.LogFile(l.log(id)))
		return err
	}); err != nil {
		return made, fmt.Errorf("task: %w", err)
	}
	if made.exit, err = made.task.Wait(ctx); err != nil {
		return made, fmt.Errorf("wait: %w", err)
	}
	if err := s.start.take(func() error { return made.task.Start(ctx) }); err != nil {
		return made, fmt.Errorf("start: %w", err)
	}
	return made, nil
}

// end waits for the process, which has to end as wanted, and removes the container.
func (l *life) end(ctx context.Context, made *living, wanted uint32, s *steps) error {
	var code uint32
	if err := s.end.take(func() error {
		select {
		case status := <-made.exit:
			code = status.ExitCode()
			return status.Error()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}); err != nil {
		return fmt.Errorf("end: %w", err)
	}
	if code != wanted {
		said, _ := os.ReadFile(l.log(made.container.ID()))
		return fmt.Errorf("exit status %d: %s", code, said)
	}
	if err := s.deleteTask.take(func() error {
		_, err := made.task.Delete(ctx)
		return err
	}); err != nil {
		return fmt.Errorf("delete the task: %w", err)
	}
	// What it printed is complete when its task is gone.
	if err := l.proved(made); err != nil {
		return err
	}
	if err := s.remove.take(func() error {
		return made.container.Delete(ctx, containerd.WithSnapshotCleanup)
	}); err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	return os.Remove(l.log(made.container.ID()))
}

// kill removes what a failure has left of a container, so that the daemons can end.
func (l *life) kill(ctx context.Context, made *living) error {
	ctx = namespaces.WithNamespace(context.WithoutCancel(ctx), l.snapshotter)
	if made.task != nil {
		if _, err := made.task.Delete(ctx, containerd.WithProcessKill); err != nil {
			return err
		}
	}
	return made.container.Delete(ctx, containerd.WithSnapshotCleanup)
}

// proved tells whether a container printed what one on its image does.
func (l *life) proved(made *living) error {
	id := made.container.ID()
	said, err := os.ReadFile(l.log(id))
	if err != nil {
		return err
	}
	if wanted := says(l.token, made.image, id); string(said) != wanted {
		return fmt.Errorf("%s on %s says %q, not %q", id, imageName(made.image), said, wanted)
	}
	return nil
}

// runs tells whether a container that stays is there, with what it wrote and what its image has.
func (l *life) runs(ctx context.Context, made *living) error {
	status, err := made.task.Status(ctx)
	if err != nil {
		return err
	}
	if status.Status != containerd.Running {
		return fmt.Errorf("%s is %s", made.container.ID(), status.Status)
	}
	if err := l.proved(made); err != nil {
		return err
	}
	root := fmt.Sprintf("/proc/%d/root", made.task.Pid())
	for name, wanted := range map[string]string{
		"written": made.container.ID() + "\n", "image": fmt.Sprintf("image %d %s\n", made.image, l.token),
	} {
		if text, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(text) != wanted {
			return fmt.Errorf("%s: /%s is %q (%v), not %q", made.container.ID(), name, text, err, wanted)
		}
	}
	return nil
}

// stop kills a container that stays, and removes it.
func (l *life) stop(ctx context.Context, made *living, s *steps) error {
	if err := made.task.Kill(ctx, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill: %w", err)
	}
	return l.end(ctx, made, 128+uint32(syscall.SIGKILL), s)
}
