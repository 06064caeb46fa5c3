package kubernetes

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
)

// node is a directory in a node's place; what would be run on it is written down, but for the plugin.
type node struct {
	image, host, said string
	env               []string
}

func newNode(t *testing.T) *node {
	dir := t.TempDir()
	n := &node{image: dir + "/image", host: dir + "/host", said: dir + "/said"}
	for _, name := range []string{"ovl-snapshotter.service", "ovl-snapshotter.socket", "containerd/containerd-1.6.toml", "containerd/containerd-2.toml"} {
		write(t, filepath.Join(n.image, filepath.Base(name)), string(read(t, name)), 0o644)
	}
	write(t, dir+"/config.toml", "log_level = \"info\"\n", 0o644)
	write(t, dir+"/on-node", `#!/bin/sh
echo "$*" >>"`+n.said+`"
case $1 in */ovl-snapshotter*) exec "`+n.host+`$@" ;; esac
`, 0o755)
	n.env = append(os.Environ(), "FROM="+n.image, "HOST="+n.host, "CONFIG="+dir+"/config.toml", "ON_NODE="+dir+"/on-node", "CONTAINERD=2")
	n.program(t, 0)
	return n
}

// program is the image's plugin, which ends as told.
func (n *node) program(t *testing.T, status int, more ...string) {
	write(t, n.image+"/ovl-snapshotter", "#!/bin/sh\n"+strings.Join(more, "")+"exit "+string(rune('0'+status))+"\n", 0o755)
}

// install runs the installer, and is what it ran on the node.
func (n *node) install(t *testing.T) (ran string, ok bool) {
	os.Remove(n.said)
	cmd := exec.Command("/bin/sh", filepath.Join(packaging, "kubernetes/install.sh"))
	cmd.Env = n.env
	out, ok := run(cmd)
	t.Log(out)
	text, err := os.ReadFile(n.said)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), ok
}

func (n *node) has(t *testing.T, path, like string, mode os.FileMode) {
	t.Helper()
	got, want := mustRead(t, n.host+path), mustRead(t, like)
	if info, err := os.Stat(n.host + path); err != nil || info.Mode() != mode || string(got) != string(want) {
		t.Errorf("%s: %v, %v, and it says:\n%s", path, info.Mode(), err, got)
	}
	if _, err := os.Lstat(n.host + path + ".new"); err == nil {
		t.Errorf("%s.new is left", path)
	}
}

func TestInstall(t *testing.T) {
	n := newNode(t)
	const (
		check   = "/usr/local/bin/ovl-snapshotter.new --version\n"
		enable  = "systemctl daemon-reload\nsystemctl enable ovl-snapshotter.socket ovl-snapshotter.service\nsystemctl start ovl-snapshotter.socket\n"
		start   = "systemctl start ovl-snapshotter.service\n"
		restart = "systemctl restart ovl-snapshotter.service\n"
	)
	step := func(why, want string) {
		t.Helper()
		if ran, ok := n.install(t); !ok || ran != want {
			t.Errorf("%s: %v, it ran\n%s", why, ok, ran)
		}
	}
	step("anew", check+enable+restart)
	n.has(t, "/usr/local/bin/ovl-snapshotter", n.image+"/ovl-snapshotter", 0o755)
	n.has(t, "/etc/ovl-snapshotter/config.toml", filepath.Dir(n.said)+"/config.toml", 0o644)
	n.has(t, "/etc/systemd/system/ovl-snapshotter.service", n.image+"/ovl-snapshotter.service", 0o644)
	n.has(t, "/etc/systemd/system/ovl-snapshotter.socket", n.image+"/ovl-snapshotter.socket", 0o644)
	n.has(t, "/etc/containerd/conf.d/10-ovl.toml", n.image+"/containerd-2.toml", 0o644)
	step("once more", enable+start)
	n.program(t, 0, "# newer\n")
	write(t, n.image+"/old", string(mustRead(t, n.host+"/usr/local/bin/ovl-snapshotter")), 0o755)
	step("a new program", check+enable+restart)
	n.has(t, "/usr/local/bin/ovl-snapshotter", n.image+"/ovl-snapshotter", 0o755)
	n.has(t, "/usr/local/bin/ovl-snapshotter.old", n.image+"/old", 0o755)
	n.env = append(n.env, "CONTAINERD=1.6")
	step("a file for containerd alone", enable+start)
	n.has(t, "/etc/containerd/conf.d/10-ovl.toml", n.image+"/containerd-1.6.toml", 0o644)

	// One that does not run there is not installed, and nothing is restarted.
	before := mustRead(t, n.host+"/usr/local/bin/ovl-snapshotter")
	n.program(t, 1)
	if ran, ok := n.install(t); ok || ran != check {
		t.Errorf("a program that does not run: %v, it ran\n%s", ok, ran)
	}
	write(t, n.image+"/ovl-snapshotter", string(before), 0o755)
	n.has(t, "/usr/local/bin/ovl-snapshotter", n.image+"/ovl-snapshotter", 0o755)
}

// Where the installer writes, the DaemonSet has the node's directories; what it needs, the image has.
func TestInstallerHasItsFiles(t *testing.T) {
	set := only[*appsv1.DaemonSet](t, "kubernetes/daemonset.yaml")
	installer := set.Spec.Template.Spec.InitContainers[0]
	paths := map[string]string{}
	for _, volume := range set.Spec.Template.Spec.Volumes {
		if volume.HostPath != nil {
			paths[volume.Name] = volume.HostPath.Path
		}
	}
	mounted := map[string]bool{}
	for _, one := range installer.VolumeMounts {
		mounted[one.MountPath] = true
		if on := paths[one.Name]; on != "" && one.MountPath != "/host"+on {
			t.Errorf("%s is mounted on %s", on, one.MountPath)
		}
	}
	for _, dir := range []string{"/usr/local/bin", "/etc/ovl-snapshotter", "/etc/systemd/system", "/etc/containerd"} {
		if !mounted["/host"+dir] {
			t.Errorf("the installer lacks %s", dir)
		}
	}
	dockerfile := string(read(t, "kubernetes/Dockerfile"))
	for _, name := range []string{"ovl-snapshotter.service", "ovl-snapshotter.socket", "containerd/", "kubernetes/install.sh"} {
		if _, err := os.Stat(filepath.Join(packaging, name)); err != nil {
			t.Error(err)
		}
		if !strings.Contains(dockerfile, "bindings/go/containerd/packaging/"+name+" ") {
			t.Errorf("the image lacks %s", name)
		}
	}
	version := ""
	for _, one := range installer.Env {
		if one.Name == "CONTAINERD" {
			version = one.Value
		}
	}
	read(t, "containerd/containerd-"+version+".toml")
}
