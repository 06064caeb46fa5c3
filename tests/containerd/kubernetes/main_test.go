// Package kubernetes holds the files that users of Kubernetes are given to what Kubernetes and containerd
// read: strictly, by their own types and programs. bindings/go/containerd/test.sh runs it.
package kubernetes

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// packaging is where the files are.
const packaging = "../../../bindings/go/containerd/packaging"

// lacks skips a test, which fails where OVL_TEST_HAVE declares that it can be run.
func lacks(t *testing.T, thing, why string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("OVL_TEST_HAVE"), ","), thing) {
		t.Fatalf("OVL_TEST_HAVE declares %s, but: %s", thing, why)
	}
	t.Skipf("SKIP %s: lacks %s (%s)", t.Name(), thing, why)
}

// read is a file of packaging.
func read(t *testing.T, path string) []byte {
	t.Helper()
	return mustRead(t, filepath.Join(packaging, path))
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// run is what a command says, and whether it ended well.
func run(cmd *exec.Cmd) (string, bool) {
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}
