#!/bin/sh
# `make demo-containerd`: containerd on libovl, started privately, with an image imported and run, step by
# step. It happens in namespaces of its own (world.sh) and in one temporary directory: when the script
# ends, however it ends, no process, no mount and no file of it is left.
set -eu

HERE=$(cd "$(dirname "$0")" && pwd)
TOP=$(cd "$HERE/../.." && pwd)
PATH=$PATH:/usr/sbin:/sbin:/usr/local/go/bin

stop() {
	printf '\nmake demo-containerd: %s\n' "$*" >&2
	exit 1
}

outside() {
	[ "$(id -u)" = 0 ] || stop "containerd needs root here: try it as root"
	for program in containerd ctr runc; do
		command -v $program >/dev/null || stop "$program is missing: on Debian, apt-get install containerd runc"
	done
	command -v go >/dev/null || stop "go is missing: the plugin is a Go program that is built first"
	BUILT=${CARGO_TARGET_DIR:-$TOP/target}/containerd
	sh "$HERE/build.sh" "$BUILT" plugin
	[ -x "$BUILT/ovl-snapshotter" ] || stop "the plugin was not built"
	WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/ovl-demo.XXXXXX")
	trap 'rm -rf "$WORK"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	OVL_CONTAINERD_DEMO=$WORK PLUGIN=$BUILT/ovl-snapshotter sh "$HERE/world.sh" sh "$HERE/demo.sh" && status=0 || status=$?
	exit $status
}

say() {
	printf '\n%s\n' "$*"
}

# Shows a command, runs it, and indents what it says.
show() {
	printf '  $ %s\n' "$1"
	sh -c "$1" >said 2>&1 && status=0 || status=$?
	# What ctr says of its progress is for a terminal; of cgroup versions it warns at each command.
	tr '\r' '\n' <said | grep -v -e DEPRECATION -e 'elapsed' | sed 's/^/      /'
	[ $status = 0 ] || { tail -n 5 containerd.log plugin.log && stop "that failed (status $status)"; }
}

started() { # started SECONDS COMMAND...
	tries=$(($1 * 10))
	shift
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || { tail -n 5 containerd.log plugin.log && stop "a daemon does not answer"; }
		sleep 0.1
	done
}

inside() {
	T=$OVL_CONTAINERD_DEMO
	cd "$T"
	. "$HERE/images.sh"
	# What is shown is what a reader would type.
	mkdir bin tmp
	printf '#!/bin/sh\nexec %s -a %s "$@"\n' "$(command -v ctr)" "$T/c.sock" >bin/ctr
	printf '#!/bin/sh\nexec %s --store %s "$@"\n' "$TOP/build/ovl" "$T/ovl/store" >bin/ovl
	chmod +x bin/*
	PATH=$T/bin:$PATH

	echo "libovl under containerd: its layers are libovl's, all else is containerd's own."
	say "The plugin serves snapshots out of a libovl store, and containerd is told of it:"
	cat >config.toml <<-END
		version = 2
		root = "$T/root"
		state = "$T/state"
		disabled_plugins = ["io.containerd.grpc.v1.cri"]
		[grpc]
		  address = "$T/c.sock"
		[ttrpc]
		  address = "$T/t.sock"
		[proxy_plugins.ovl]
		  type = "snapshot"
		  address = "$T/ovl.sock"
	END
	tail -n 3 config.toml | sed 's/^/      /'
	echo "  \$ ovl-snapshotter --root $T/ovl --address $T/ovl.sock --containerd-address $T/c.sock &"
	"$PLUGIN" --root "$T/ovl" --address "$T/ovl.sock" --containerd-address "$T/c.sock" >plugin.log 2>&1 &
	plugin=$!
	started 20 test -S ovl.sock
	echo "  \$ containerd --config config.toml &"
	TMPDIR=$T/tmp containerd --config config.toml >containerd.log 2>&1 &
	containerd=$!
	started 30 ctr version

	sh "$TOP/scripts/rootfs.sh" base
	echo "only in the first layer" >base/etc/old.conf
	mkdir -p top/etc top/srv
	: >top/etc/.wh.old.conf
	echo "hello from the second layer" >top/srv/greeting
	tar_of base.layer base
	tar_of top.layer top
	oci_image image.tar localhost/hello:1 base.layer top.layer

	say "An image of two layers, made here. The second adds /srv/greeting and deletes /etc/old.conf."
	show "ctr images import --snapshotter ovl image.tar"
	say "containerd has unpacked it: a snapshot for each layer, and a layer of the store for each snapshot."
	show "ctr snapshots --snapshotter ovl tree"
	show "ovl list"

	say "A container of it, by runc:"
	show "ctr run --snapshotter ovl -d localhost/hello:1 web /bin/sh -c 'sleep 1000'"
	show "ctr tasks exec --exec-id 1 web /bin/sh -c 'cat /srv/greeting; [ -e /etc/old.conf ] || echo /etc/old.conf is gone'"
	show "ctr tasks exec --exec-id 2 web /bin/sh -c 'echo note >/note; rm /srv/greeting'"
	say "What it changed is in a layer of its own, and nowhere else:"
	container=$(ovl list | sort -n | tail -n 1)
	show "ovl changes $container"

	say "The plugin may end and come back under a running container:"
	echo "  \$ kill %1; ovl-snapshotter ... &"
	kill "$plugin"
	wait "$plugin" || stop "the plugin did not end well"
	"$PLUGIN" --root "$T/ovl" --address "$T/ovl.sock" --containerd-address "$T/c.sock" >>plugin.log 2>&1 &
	plugin=$!
	started 20 test -S ovl.sock
	started 20 ctr snapshots --snapshotter ovl ls
	show "ctr tasks exec --exec-id 3 web /bin/cat /note"

	say "The container is stopped; it, then its image are removed, and containerd's garbage collection takes the rest:"
	show "ctr tasks kill -s KILL web"
	started 20 sh -c "! ctr tasks ls | grep RUNNING"
	ctr tasks rm web >/dev/null 2>&1 || true
	show "ctr containers rm web"
	show "ctr images rm --sync localhost/hello:1"
	show "ovl list"
	[ -z "$(ovl list)" ] || stop "layers are left: this is a bug"
	show "ovl check"

	kill "$containerd"
	wait "$containerd" || true
	kill "$plugin"
	wait "$plugin" || stop "the plugin did not end well"
	! grep " $T/" /proc/self/mountinfo || stop "a mount is left: this is a bug"
	say "Done: no layer, no mount and no process is left."
	echo "Next: docs/containerd.md for a containerd of yours."
}

if [ -z "${OVL_CONTAINERD_DEMO:-}" ]; then
	outside
else
	inside
fi
