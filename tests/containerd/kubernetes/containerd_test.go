package kubernetes

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	toml "github.com/pelletier/go-toml/v2"
)

// dump is what a containerd makes of a main file and the drop-ins beside it, and what it warned of.
func dump(t *testing.T, containerd, main string, dropIns ...string) (map[string]any, string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range dropIns {
		write(t, filepath.Join(dir, "conf.d", name), string(read(t, "containerd/"+name)), 0o644)
	}
	write(t, dir+"/config.toml", "imports = [\""+dir+"/conf.d/*.toml\"]\n"+main, 0o644)
	cmd := exec.Command(containerd, "-c", dir+"/config.toml", "config", "dump")
	var warned strings.Builder
	cmd.Stderr = &warned
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err, warned.String())
	}
	var all map[string]any
	if err := toml.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	return all, warned.String()
}

// at is what is under keys, nil where nothing is.
func at(in any, keys ...string) any {
	for _, key := range keys {
		table, _ := in.(map[string]any)
		in = table[key]
	}
	return in
}

func same(t *testing.T, config map[string]any, want any, keys ...string) {
	t.Helper()
	if got := at(config, keys...); got != want {
		t.Errorf("%s is %v, not %v", strings.Join(keys, "."), got, want)
	}
}

const socket = "/run/ovl-snapshotter/ovl-snapshotter.sock"

// Debian's containerd is a 1.6. The snapshotter of pods is in the main file, as the drop-in says.
func TestContainerd1(t *testing.T) {
	path, err := exec.LookPath("containerd")
	if err != nil {
		lacks(t, "containerd", "no containerd in PATH")
	}
	version, _ := run(exec.Command(path, "--version"))
	if !strings.Contains(version, " 1.") && !strings.Contains(version, " v1.") {
		lacks(t, "containerd", "it is no containerd 1: "+version)
	}
	text := string(read(t, "containerd/containerd-1.toml"))
	_, after, ok := strings.Cut(text, "all of the main file's.\n")
	if !ok {
		t.Fatal("the file does not say what the main file needs")
	}
	section, _, _ := strings.Cut(after, "\nversion")
	config, warned := dump(t, path, "version = 2\n"+strings.ReplaceAll(section, "#  ", ""), "containerd-1.toml")
	if strings.Contains(warned, "gnoring unknown key") {
		t.Error(warned)
	}
	same(t, config, "snapshot", "proxy_plugins", "ovl", "type")
	same(t, config, socket, "proxy_plugins", "ovl", "address")
	same(t, config, "ovl", "plugins", "io.containerd.grpc.v1.cri", "containerd", "snapshotter")
	// Without that section it is containerd's own.
	config, _ = dump(t, path, "version = 2\n", "containerd-1.toml")
	same(t, config, "overlayfs", "plugins", "io.containerd.grpc.v1.cri", "containerd", "snapshotter")
}

// built is the containerd 2 that tests/containerd builds.
func built(t *testing.T) string {
	target := os.Getenv("CARGO_TARGET_DIR")
	if target == "" {
		target = "../../../target"
	}
	path, err := filepath.Abs(filepath.Join(target, "containerd", "containerd"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		lacks(t, "containerd-built", "tests/containerd/build.sh target/containerd makes one")
	}
	return path
}

func TestContainerd2(t *testing.T) {
	path := built(t)
	const mine = "version = 3\n[plugins.\"io.containerd.cri.v1.images\"]\nmax_concurrent_downloads = 7\n"
	for _, pods := range []bool{false, true} {
		dropIns, snapshotter := []string{"containerd-2.toml"}, "overlayfs"
		if pods {
			dropIns, snapshotter = append(dropIns, "containerd-2-cri.toml"), "ovl"
		}
		config, warned := dump(t, path, mine, dropIns...)
		if strings.Contains(warned, "gnoring unknown key") {
			t.Error(warned)
		}
		same(t, config, snapshotter, "plugins", "io.containerd.cri.v1.images", "snapshotter")
		// What the main file says of the same plugin stays.
		same(t, config, int64(7), "plugins", "io.containerd.cri.v1.images", "max_concurrent_downloads")
		same(t, config, "snapshot", "proxy_plugins", "ovl", "type")
		same(t, config, socket, "proxy_plugins", "ovl", "address")
		same(t, config, "/var/lib/ovl-snapshotter", "proxy_plugins", "ovl", "exports", "root")
		same(t, config, "diff", "proxy_plugins", "ovldiff", "type")
		differs, _ := at(config, "plugins", "io.containerd.service.v1.diff-service", "default").([]any)
		if !slices.Equal(differs, []any{"ovldiff", "walking"}) {
			t.Error(differs)
		}
		unpack, _ := at(config, "plugins", "io.containerd.transfer.v1.local", "unpack_config").([]any)
		var pairs []string
		for _, one := range unpack {
			s, _ := at(one, "snapshotter").(string)
			d, _ := at(one, "differ").(string)
			pairs = append(pairs, s+" "+d)
		}
		if !slices.Equal(pairs, []string{"overlayfs walking", "ovl ovldiff"}) {
			t.Error(pairs)
		}
	}
}

// A misspelled key is noticed in the way that the tests above look for.
func TestUnknownKeysAreNoticed(t *testing.T) {
	path := built(t)
	_, warned := dump(t, path, "version = 3\n[plugins.\"io.containerd.cri.v1.images\"]\nsnapshoter = \"ovl\"\n")
	if !strings.Contains(warned, "gnoring unknown key") {
		t.Error(warned)
	}
}

// The addresses and the root of containerd's files are those of the plugin's and of systemd's.
func TestAddressesAgree(t *testing.T) {
	var plugin map[string]any
	if err := toml.Unmarshal(read(t, "config.toml"), &plugin); err != nil {
		t.Fatal(err)
	}
	same(t, plugin, socket, "address")
	same(t, plugin, "/var/lib/ovl-snapshotter", "root")
	if !strings.Contains(string(read(t, "ovl-snapshotter.socket")), "\nListenStream="+socket+"\n") {
		t.Error("systemd's socket is another")
	}
}
