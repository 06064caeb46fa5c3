package ovl_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ovl "github.com/libovl/libovl/bindings/go"
)

// thread is what a thread must be like, before and after.
type thread struct{ mnt, user, pid, net, cwd, root, status string }

// threads are the different kinds of threads that the process has.
func threads(t *testing.T) map[thread]int {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*")
	ok(t, err)
	kinds := map[thread]int{}
	for _, task := range tasks {
		link := func(name string) string {
			to, _ := os.Readlink(task + "/" + name)
			return to
		}
		status, err := os.ReadFile(task + "/status")
		if err != nil {
			continue // it has ended
		}
		var kept []string
		for line := range strings.Lines(string(status)) {
			switch name, _, _ := strings.Cut(line, ":"); name {
			case "Umask", "Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "SigBlk", "SigIgn", "SigCgt",
				"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb":
				kept = append(kept, line)
			}
		}
		kinds[thread{
			mnt: link("ns/mnt"), user: link("ns/user"), pid: link("ns/pid"), net: link("ns/net"),
			cwd: link("cwd"), root: link("root"), status: strings.Join(kept, ""),
		}]++
	}
	return kinds
}

func fds(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	ok(t, err)
	var all []string
	for _, entry := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil {
			all = append(all, entry.Name()+" "+to)
		}
	}
	return all
}

// 64 goroutines at work on one store and on several leave the process as it was: every thread's
// namespaces, directories, credentials and signals, the descriptors, the goroutines. Nothing locks a
// goroutine to a thread.
func TestGuest(t *testing.T) {
	need(t, "overlay")
	const goroutineCount, rounds = 64, 4
	r, w, err := os.Pipe() // the runtime's own descriptors are there from here on
	ok(t, err)
	ok(t, r.Close())
	ok(t, w.Close())
	top := t.TempDir()
	kindsBefore, fdsBefore, goroutinesBefore := threads(t), fds(t), runtime.NumGoroutine()
	if len(kindsBefore) != 1 {
		t.Fatalf("threads differ before: %v", kindsBefore)
	}

	stores := make([]*ovl.Store, 4)
	for i := range stores {
		if stores[i], err = ovl.Open(fmt.Sprintf("%s/store%d", top, i), nil); err != nil {
			t.Fatal(err)
		}
		apply(t, stores[i], "base", nil, "a", "one", "b", strings.Repeat("x", 100_000))
	}
	inherited, err := exec.Command("ls", "/proc/self/fd").Output()
	ok(t, err)
	within(t, 5*time.Minute, func() {
		var workers sync.WaitGroup
		var done atomic.Bool
		starting := make(chan struct{})
		go func() {
			defer close(starting)
			for !done.Load() { // what is started meanwhile is in nobody's way, and inherits nothing of the library's
				if now, err := exec.Command("ls", "/proc/self/fd").Output(); err != nil || !bytes.Equal(now, inherited) {
					t.Errorf("a program has the descriptors %q, %q before: %v", now, inherited, err)
					return
				}
			}
		}()
		for n := range goroutineCount {
			workers.Add(1)
			go func() {
				defer workers.Done()
				for round := range rounds {
					// Half of them share one store, the rest have some.
					store := stores[max(0, n-goroutineCount/2)%len(stores)]
					if err := hammer(store, fmt.Sprintf("n%d.%d", n, round), top); err != nil {
						t.Error(err)
						return
					}
				}
			}()
		}
		workers.Wait()
		done.Store(true)
		<-starting
	})
	for _, store := range stores {
		for problem, err := range store.Check(background, nil) {
			if ok(t, err); problem.Kind != ovl.Note {
				t.Error(problem)
			}
		}
		ok(t, store.Close())
	}

	goroutines(t, goroutinesBefore)
	if now := fds(t); !slices.Equal(now, fdsBefore) {
		t.Errorf("descriptors: %q, %q before", now, fdsBefore)
	}
	before := thread{}
	for before = range kindsBefore {
	}
	var kinds map[thread]int
	for range 20 { // a thread that is being born has all signals blocked
		if kinds = threads(t); len(kinds) == 1 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if kinds[before] < 2 || len(kinds) != 1 {
		t.Errorf("threads: %v, %v before", kinds, kindsBefore)
	}
	t.Logf("%d threads", kinds[before])
}

// hammer is the life of a layer, with everything called back; each line of it may be running beside any
// other.
func hammer(store *ovl.Store, id, top string) error {
	told := 0
	progress := func(ovl.Progress) error { told++; return nil }
	var blob bytes.Buffer
	if _, err := store.Layer("base").Diff(background, &blob, &ovl.DiffOptions{Base: ovl.Base{Whole: true}}); err != nil {
		return err
	}
	own := id + ".base"
	if _, err := store.Apply(background, own, &blob, &ovl.ApplyOptions{
		Durability: ovl.DurabilityNone, Progress: progress,
	}); err != nil {
		return err
	}
	box, err := store.Create(background, id, own, nil)
	if err != nil {
		return err
	}
	for _, detached := range []bool{true, false} {
		m, err := box.Mount(&ovl.MountOptions{Detached: detached, Volatile: true})
		if err != nil {
			return err
		}
		root, err := m.Root()
		if err != nil {
			return err
		}
		file, err := root.Create(fmt.Sprint("new", detached))
		if err != nil {
			return err
		}
		if err := errors.Join(file.Close(), root.Close()); err != nil {
			return err
		}
		if err := m.Unmount(nil); err != nil {
			return err
		}
	}
	changes := 0
	for _, err := range box.Changes(background, &ovl.ChangesOptions{Progress: progress}) {
		if err != nil {
			return err
		}
		changes++
	}
	if changes != 2 {
		return fmt.Errorf("%s: %d changes", id, changes)
	}
	if _, err := box.Diff(background, io.Discard, &ovl.DiffOptions{Progress: progress}); err != nil {
		return err
	}
	if err := box.Commit(background, &ovl.CommitOptions{Durability: ovl.DurabilityNone}); err != nil {
		return err
	}
	if _, err := store.Create(background, id, own, nil); err == nil {
		return fmt.Errorf("%s: made twice", id)
	}
	if _, err := box.Usage(background, nil); err != nil {
		return err
	}
	if _, err := ovl.CopyDir(background, filepath.Join(store.Home(), "layer", own, "root"), filepath.Join(top, id), nil); err != nil {
		return err
	}
	if err := box.Remove(background, nil); err != nil {
		return err
	}
	return store.Layer(own).Remove(background, nil)
}
