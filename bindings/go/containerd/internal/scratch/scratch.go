// Package scratch runs the tests of a package in a mount namespace of their own, on a tmpfs that is
// mounted there: what they leave ends with them, and nobody gets copies of their mounts.
package scratch

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

const insideEnv = "OVL_CONTAINERD_TEST_SCRATCH" // set in the child: the directory to work in

// Run is for TestMain.
func Run(m *testing.M) int {
	if scratch := os.Getenv(insideEnv); scratch != "" {
		if err := syscall.Mount("tmpfs", scratch, "tmpfs", 0, "mode=700"); err != nil {
			return lack("root", err)
		}
		os.Setenv("TMPDIR", scratch)
		return m.Run()
	}
	if os.Geteuid() != 0 {
		return lack("root", errors.New("not root"))
	}
	scratch, err := os.MkdirTemp("", "ovl-containerd-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.Remove(scratch)
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), insideEnv+"="+scratch)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1)
	case err != nil:
		return lack("root", err)
	}
	return 0
}

// lack says that the tests were not run, and fails where OVL_TEST_HAVE declares that they can be.
func lack(thing string, why error) int {
	if slices.Contains(strings.Split(os.Getenv("OVL_TEST_HAVE"), ","), thing) {
		fmt.Fprintf(os.Stderr, "OVL_TEST_HAVE declares %s, but: %v\n", thing, why)
		return 1
	}
	fmt.Fprintf(os.Stderr, "SKIP %s: lacks %s (%v)\n", os.Args[0], thing, why)
	return 0
}
