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

// ofPods is the section of the main file by which new pods are on libovl, as a drop-in for containerd 1 says.
func ofPods(t *testing.T, dropIn string) string {
	_, after, ok := strings.Cut(string(read(t, "containerd/"+dropIn)), "all of the main file's.\n")
	if !ok {
		t.Fatal("the file does not say what the main file needs")
	}
	section, _, _ := strings.Cut(after, "\nversion")
	return "version = 2\n" + strings.ReplaceAll(section, "#  ", "") + "\n"
}

// one is what the drop-ins of containerd 1.6 and 1.7 have in common.
func one(t *testing.T, path, dropIn string) map[string]any {
	t.Helper()
	config, warned := dump(t, path, ofPods(t, dropIn), dropIn)
	if strings.Contains(warned, "nknown") {
		t.Error(warned)
	}
	same(t, config, "snapshot", "proxy_plugins", "ovl", "type")
	same(t, config, socket, "proxy_plugins", "ovl", "address")
	same(t, config, "ovl", "plugins", "io.containerd.grpc.v1.cri", "containerd", "snapshotter")
	// Without that section it is containerd's own.
	without, _ := dump(t, path, "version = 2\n", dropIn)
	same(t, without, "overlayfs", "plugins", "io.containerd.grpc.v1.cri", "containerd", "snapshotter")
	return config
}

func version(t *testing.T, path, begins string) {
	t.Helper()
	out, ok := run(exec.Command(path, "--version"))
	if !ok || !strings.Contains(out, " "+begins) && !strings.Contains(out, " v"+begins) {
		lacks(t, "containerd-"+begins, path+" is "+out)
	}
}

// Debian's containerd is a 1.6.
func TestContainerd16(t *testing.T) {
	path, err := exec.LookPath("containerd")
	if err != nil {
		lacks(t, "containerd", "no containerd in PATH")
	}
	version(t, path, "1.6")
	one(t, path, "containerd-1.6.toml")
}

// OVL_TEST_CONTAINERD_17 is where one is.
func TestContainerd17(t *testing.T) {
	path := os.Getenv("OVL_TEST_CONTAINERD_17")
	if path == "" {
		lacks(t, "containerd-1.7", "OVL_TEST_CONTAINERD_17 names none")
	}
	version(t, path, "1.7")
	config := one(t, path, "containerd-1.7.toml")
	same(t, config, "/var/lib/ovl-snapshotter", "proxy_plugins", "ovl", "exports", "root")
	differs(t, config)
}

// differs: libovl's own, and containerd's for what that does not do.
func differs(t *testing.T, config map[string]any) {
	t.Helper()
	same(t, config, "diff", "proxy_plugins", "ovldiff", "type")
	same(t, config, socket, "proxy_plugins", "ovldiff", "address")
	list, _ := at(config, "plugins", "io.containerd.service.v1.diff-service", "default").([]any)
	if !slices.Equal(list, []any{"ovldiff", "walking"}) {
		t.Error(list)
	}
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
		differs(t, config)
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
