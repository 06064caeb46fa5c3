package differ_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	ovl "github.com/libovl/libovl/bindings/go"
	"github.com/libovl/libovl/bindings/go/containerd/differ"
)

// containerd commits a snapshot while its database is locked, so Apply syncs what it wrote; where
// nothing is to be synced, nothing is.
func TestApplySyncs(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("SKIP apply: lacks strace")
	}
	for _, unsynced := range []bool{false, true} {
		b := newBench(t, &differ.Options{Unsynced: unsynced})
		mounts, err := b.Prepare(background, "key", "")
		ok(t, err)
		desc := b.blob(ocispec.MediaTypeImageLayer, base(t))
		log := filepath.Join(t.TempDir(), "log")
		tracer := exec.Command(strace, "-f", "-e", "trace=fsync,fdatasync,syncfs", "-o", log, "-p", fmt.Sprint(os.Getpid()))
		ok(t, tracer.Start())
		for traced := false; !traced; time.Sleep(10 * time.Millisecond) {
			status, err := os.ReadFile("/proc/self/status")
			ok(t, err)
			traced = !strings.Contains(string(status), "TracerPid:\t0\n")
		}
		time.Sleep(100 * time.Millisecond) // the other threads
		_, err = b.Apply(background, desc, mounts)
		tracer.Process.Signal(os.Interrupt)
		tracer.Wait()
		ok(t, err)
		traced, err := os.ReadFile(log)
		ok(t, err)
		if synced := strings.Contains(string(traced), "sync"); synced == unsynced {
			t.Errorf("unsynced %v, and of syncs there were: %q", unsynced, traced)
		}
	}
}

// How large a layer may be is a setting, and what is larger leaves nothing behind.
func TestApplyLimits(t *testing.T) {
	for limits, takes := range map[ovl.Limits]bool{
		{}: true, {Size: 1 << 40, Entries: 100}: true, {Size: 1000}: false, {Entries: 2}: false,
	} {
		b := newBench(t, &differ.Options{Limits: limits})
		mounts, err := b.Prepare(background, "key", "")
		ok(t, err)
		_, err = b.Apply(background, b.blob(ocispec.MediaTypeImageLayer, base(t)), mounts)
		if takes && err != nil || !takes && !errdefs.IsResourceExhausted(err) {
			t.Errorf("%+v: %v", limits, err)
		}
		if inside, err := os.ReadDir(mounts[0].Source); err != nil || (len(inside) > 0) != takes {
			t.Error(inside, err)
		}
	}
}
