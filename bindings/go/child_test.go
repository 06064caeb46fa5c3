package ovl_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	ovl "github.com/libovl/libovl/bindings/go"
)

// What must be tried in a process of its own.
var children = map[string]func(store *ovl.Store) error{
	// The reader of a pipe has gone away: an error, whichever descriptor it is.
	"pipe": func(store *ovl.Store) error {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		r.Close()
		for _, out := range []*os.File{w, os.Stdout} {
			if _, err := store.Layer("base").Diff(background, out, nil); !errors.Is(err, syscall.EPIPE) {
				return fmt.Errorf("%s: %w", out.Name(), err)
			}
		}
		return nil
	},
	// A goroutine that ends in a callback ends the process, whatever is deferred or recovered.
	"goexit": func(store *ovl.Store) error {
		done := make(chan any)
		go func() {
			defer func() { done <- recover() }()
			store.Layer("base").Diff(background, writer(func([]byte) (int, error) {
				runtime.Goexit()
				return 0, nil
			}), nil)
		}()
		return fmt.Errorf("it went on: %v", <-done)
	},
}

// child does what it is told to and ends.
func child() {
	store, err := ovl.Open(os.Args[1], nil)
	if err == nil {
		err = children[os.Getenv(childEnv)](store)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprint(os.Stderr, "fine")
	os.Exit(0)
}

// runChild gives what the child said on its standard error.
func runChild(t *testing.T, what, home string, stdout *os.File) (string, error) {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.Command("/proc/self/exe", home)
	cmd.Env = append(os.Environ(), childEnv+"="+what)
	cmd.Stdout, cmd.Stderr = stdout, &said
	err := cmd.Run()
	return said.String(), err
}

func TestClosedPipe(t *testing.T) {
	store := openStore(t, nil)
	apply(t, store, "base", nil, "a", strings.Repeat("x", 1<<20))
	r, w, err := os.Pipe()
	ok(t, err)
	defer w.Close()
	ok(t, r.Close())
	if said, err := runChild(t, "pipe", store.Home(), w); err != nil || said != "fine" {
		t.Fatal(said, err)
	}
	// A Writer of Go's gives the same.
	_, err = store.Layer("base").Diff(background, io.MultiWriter(w), nil)
	is(t, err, syscall.EPIPE, ovl.ErrCallback)
}

func TestGoexit(t *testing.T) {
	store := openStore(t, nil)
	apply(t, store, "base", nil, "a", "1")
	said, err := runChild(t, "goexit", store.Home(), nil)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.HasPrefix(said, "panic: ovl: runtime.Goexit") {
		t.Fatal(said, err)
	}
	// Nothing is left of it but what the next one clears away.
	ok(t, store.Layer("base").Remove(background, nil))
}
