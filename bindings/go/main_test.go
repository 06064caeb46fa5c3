package ovl_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// The tests run in a mount namespace of their own (a user namespace too, without root), on a tmpfs that
// is mounted there: what they leave ends with them.
const (
	insideEnv = "OVL_GO_TEST_SCRATCH" // set in the child: the directory to work in
	childEnv  = "OVL_GO_TEST_CHILD"   // set in a child of a test: what it is to do
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
	}
	scratch := os.Getenv(insideEnv)
	if scratch == "" {
		os.Exit(outside())
	}
	flag.Parse()
	os.Setenv("TMPDIR", scratch)
	if err := syscall.Mount("tmpfs", scratch, "tmpfs", 0, "mode=700"); err != nil {
		lacks["root"] = fmt.Errorf("no root that may mount, and no user namespace: %w", err)
	}
	if why := lack("overlay"); why != nil {
		skip("Example", "overlay", why)
		flag.Set("test.skip", "^Example")
	}
	os.Exit(m.Run())
}

// outside runs this program again inside.
func outside() int {
	scratch, err := os.MkdirTemp("", "ovl-go-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.Remove(scratch)
	own := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	group := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	ways := []*syscall.SysProcAttr{
		{Unshareflags: syscall.CLONE_NEWNS},
		{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: own, GidMappings: group},
		{},
	}
	for _, way := range ways {
		way.Pdeathsig = syscall.SIGKILL
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Args[0] = os.Args[0]
		cmd.Env = append(os.Environ(), insideEnv+"="+scratch)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr = way
		if err = cmd.Start(); err != nil {
			continue
		}
		var exit *exec.ExitError
		if err = cmd.Wait(); errors.As(err, &exit) {
			return max(exit.ExitCode(), 1)
		}
		break
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

var (
	lacks   = map[string]error{}
	lacksMu sync.Mutex
)

// lack is why the machine has no such thing; tried once.
func lack(thing string) error {
	lacksMu.Lock()
	defer lacksMu.Unlock()
	why, tried := lacks[thing]
	if !tried {
		switch thing {
		case "overlay":
			why = lacks["root"]
			if why == nil {
				why = tryOverlay()
			}
		default:
			_, why = exec.LookPath(thing)
		}
		lacks[thing] = why
	}
	return why
}

func tryOverlay() error {
	top, err := os.MkdirTemp("", "")
	if err != nil {
		return err
	}
	defer os.RemoveAll(top)
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(top+"/"+name, 0o755); err != nil {
			return err
		}
	}
	data := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", top)
	if err := syscall.Mount("overlay", top+"/merged", "overlay", 0, data); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	return syscall.Unmount(top+"/merged", 0)
}

// need skips the test when the machine has no such thing, and fails it when OVL_TEST_HAVE declares that
// it has.
func need(t testing.TB, things ...string) {
	t.Helper()
	for _, thing := range things {
		if why := lack(thing); why != nil {
			skip(t.Name(), thing, why)
			t.SkipNow()
		}
	}
}

func skip(name, thing string, why error) {
	for declared := range strings.SplitSeq(os.Getenv("OVL_TEST_HAVE"), ",") {
		if strings.TrimSpace(declared) == thing {
			fmt.Fprintf(os.Stderr, "%s: OVL_TEST_HAVE declares %s, but: %v\n", name, thing, why)
			os.Exit(1)
		}
	}
	fmt.Fprintf(os.Stderr, "\nSKIP %s: lacks %s (%v)\n", name, thing, why)
}
