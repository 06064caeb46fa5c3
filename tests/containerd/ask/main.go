// Program ask asks containerd and snapshotters what the tests want to know and ctr does not say.
//
//	ask serving SOCKET                              whether somebody answers there
//	ask judge [flags]                               whether containerd and the plugin agree
//	ask mount [flags] KEY DIRECTORY                 mounts a snapshot, by containerd's code
//	ask commit [flags] CONTAINER IMAGE              an image of what a container changed
//	ask cri [flags] IMAGE                           a pod and a container through their lives
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

var commands = map[string]func(context.Context, []string) error{
	"serving": serving,
	"judge":   judge,
	"mount":   mountSnapshot,
	"commit":  commitContainer,
	"cri":     podLife,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := errors.New("usage: ask serving|judge|mount|commit|cri ...")
	if len(os.Args) > 1 && commands[os.Args[1]] != nil {
		err = commands[os.Args[1]](ctx, os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ask:", err)
		os.Exit(1)
	}
}
