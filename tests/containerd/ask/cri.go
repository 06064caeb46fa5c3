package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// podLife asks of containerd what a kubelet asks for a pod of one container: all by the CRI.
func podLife(ctx context.Context, args []string) error {
	var at ends
	set := flag.NewFlagSet("cri", flag.ExitOnError)
	at.flags(set)
	stop := set.String("until", "", "running: leave the pod running; or end: begin with a pod that was left so")
	set.Parse(args)
	if set.NArg() != 1 {
		return errors.New("usage: ask cri [flags] IMAGE")
	}
	conn, err := dial(at.containerd)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	p := pod{runtime: cri.NewRuntimeServiceClient(conn), images: cri.NewImageServiceClient(conn), image: set.Arg(0)}
	if err := p.ready(ctx); err != nil {
		return err
	}
	if *stop == "end" {
		if err := p.find(ctx); err != nil {
			return err
		}
	} else if err := p.begin(ctx, at.snapshotter); err != nil {
		return err
	}
	if err := p.use(ctx); err != nil {
		return err
	}
	if *stop == "running" {
		return nil
	}
	return p.end(ctx)
}

type pod struct {
	runtime       cri.RuntimeServiceClient
	images        cri.ImageServiceClient
	image         string
	id, container string
	podConfig     *cri.PodSandboxConfig
}

// ready waits for a containerd that has just been started.
func (p *pod) ready(ctx context.Context) error {
	for {
		_, err := p.runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the CRI is not ready: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// begin makes and starts the pod and its container, as the host's network needs no plugin.
func (p *pod) begin(ctx context.Context, snapshotter string) error {
	namespace := &cri.NamespaceOption{Network: cri.NamespaceMode_NODE, Pid: cri.NamespaceMode_CONTAINER, Ipc: cri.NamespaceMode_POD}
	unconfined := &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Unconfined}
	p.podConfig = &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: "pod", Uid: "uid-1", Namespace: "default"},
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent:    "/pods",
			SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: namespace, Seccomp: unconfined},
		},
	}
	if _, err := p.images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: p.image}}); err != nil {
		return fmt.Errorf("image status: %w", err)
	}
	started, err := p.runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: p.podConfig})
	if err != nil {
		return fmt.Errorf("run pod: %w", err)
	}
	p.id = started.PodSandboxId
	made, err := p.runtime.CreateContainer(ctx, &cri.CreateContainerRequest{
		PodSandboxId:  p.id,
		SandboxConfig: p.podConfig,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: "container"},
			Image:    &cri.ImageSpec{Image: p.image},
			Command:  []string{"/bin/sh", "-c", "echo started >/started; sleep 100000 & wait"},
			Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
				NamespaceOptions: namespace, Seccomp: unconfined,
			}},
		},
	})
	if err != nil {
		return fmt.Errorf("create container: %w", err)
	}
	p.container = made.ContainerId
	if _, err := p.runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: p.container}); err != nil {
		return fmt.Errorf("start container: %w", err)
	}
	return nil
}

// find takes up a pod that an earlier call left.
func (p *pod) find(ctx context.Context) error {
	pods, err := p.runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	containers, err := p.runtime.ListContainers(ctx, &cri.ListContainersRequest{})
	if err != nil {
		return err
	}
	if len(pods.Items) != 1 || len(containers.Containers) != 1 {
		return fmt.Errorf("%d pods and %d containers, not one of each", len(pods.Items), len(containers.Containers))
	}
	p.id, p.container = pods.Items[0].Id, containers.Containers[0].Id
	return nil
}

// use looks into the container, and at what its changes take.
func (p *pod) use(ctx context.Context) error {
	said, err := p.exec(ctx, "cat /started /var/swap; ls /var/old; echo data >/data")
	if err != nil {
		return err
	}
	if said != "started\nagain\nc\n" {
		return fmt.Errorf("the container says %q", said)
	}
	status, err := p.runtime.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: p.container})
	if err != nil {
		return err
	}
	if status.Status.State != cri.ContainerState_CONTAINER_RUNNING {
		return fmt.Errorf("the container is %v", status.Status.State)
	}
	// The kubelet's garbage collector of images goes by these; containerd looks every few seconds.
	for {
		fs, err := p.images.ImageFsInfo(ctx, &cri.ImageFsInfoRequest{})
		if err != nil {
			return fmt.Errorf("image fs info: %w", err)
		}
		if len(fs.ImageFilesystems) > 0 && fs.ImageFilesystems[0].GetUsedBytes().GetValue() > 1<<20 {
			fmt.Printf("cri: images take %d bytes at %s\n", fs.ImageFilesystems[0].UsedBytes.Value, fs.ImageFilesystems[0].FsId.GetMountpoint())
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("image fs info never tells what the images take: %v", fs)
		case <-time.After(time.Second):
		}
	}
	for {
		stats, err := p.runtime.ContainerStats(ctx, &cri.ContainerStatsRequest{ContainerId: p.container})
		if err != nil {
			return fmt.Errorf("container stats: %w", err)
		}
		if stats.Stats.GetWritableLayer().GetUsedBytes().GetValue() > 0 {
			break
		}
		select {
		case <-ctx.Done():
			return errors.New("container stats never tell what its changes take")
		case <-time.After(time.Second):
		}
	}
	return nil
}

func (p *pod) exec(ctx context.Context, script string) (string, error) {
	said, err := p.runtime.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: p.container, Cmd: []string{"/bin/sh", "-c", script}, Timeout: 20})
	if err != nil {
		return "", fmt.Errorf("exec: %w", err)
	}
	if said.ExitCode != 0 {
		return "", fmt.Errorf("exec: status %d: %s", said.ExitCode, strings.TrimSpace(string(said.Stderr)))
	}
	return string(said.Stdout), nil
}

// end stops and removes it all, twice where the kubelet may ask twice.
func (p *pod) end(ctx context.Context) error {
	for range 2 {
		if _, err := p.runtime.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: p.container}); err != nil {
			return fmt.Errorf("stop container: %w", err)
		}
	}
	for range 2 {
		if _, err := p.runtime.RemoveContainer(ctx, &cri.RemoveContainerRequest{ContainerId: p.container}); err != nil {
			return fmt.Errorf("remove container: %w", err)
		}
	}
	if _, err := p.runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: p.id}); err != nil {
		return fmt.Errorf("stop pod: %w", err)
	}
	if _, err := p.runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.id}); err != nil {
		return fmt.Errorf("remove pod: %w", err)
	}
	left, err := p.runtime.ListContainers(ctx, &cri.ListContainersRequest{})
	if err != nil {
		return err
	}
	if len(left.Containers) > 0 {
		return fmt.Errorf("%d containers are left", len(left.Containers))
	}
	return nil
}
