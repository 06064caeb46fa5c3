# The daemons of a test, and what its checks say things with. All is in the test's directory $T.

# What is under test: libovl's plugin, or containerd's own overlayfs to see that a test is right.
SNAPSHOTTER=${OVL_TEST_SNAPSHOTTER:-ovl}

plugin_used() {
	[ "$SNAPSHOTTER" = ovl ]
}

# containerd_of VERSION: the programs that the next daemons are: debian, or those built here.
containerd_of() {
	case $1 in
	debian)
		CONTAINERD=/usr/bin/containerd CTR=/usr/bin/ctr
		[ -x $CONTAINERD ] && [ -x $CTR ] || skip containerd
		;;
	built)
		CONTAINERD=$BUILT/containerd CTR=$BUILT/ctr PATH=$BUILT:$PATH
		[ -x "$CONTAINERD" ] || skip containerd-built
		;;
	esac
	VERSION=$1
	if [ "$1.${RUNTIME:=runc}" = built.crun ]; then
		old_crun
	fi
	command -v "${RUNTIME:=runc}" >/dev/null || skip "$RUNTIME"
}

# Debian's crun refuses a version of the specification that it has not heard of, as containerd 2 names
# it. The containers here ask for nothing that is new in it.
old_crun() {
	mkdir "$T/bin"
	cat >"$T/bin/crun" <<-'END'
		#!/bin/sh
		config= before=
		for word; do
			[ "$before" != --bundle ] || config=$word/config.json
			before=$word
		done
		[ -z "$config" ] || sed -i 's/"ociVersion":"[^"]*"/"ociVersion":"1.0.2"/' "$config"
		exec /usr/bin/crun "$@"
	END
	chmod +x "$T/bin/crun"
	PATH=$T/bin:$PATH
}

# wait_for SECONDS WHAT COMMAND...
wait_for() {
	tries=$(($1 * 10)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || wrong "$what: not within the time"
		sleep 0.1
	done
}

write_config() {
	mkdir -p "$T/tmp"
	printf 'version = 2\nroot = "%s"\nstate = "%s"\ntemp = "%s"\ndisabled_plugins = [%s]\n[grpc]\naddress = "%s"\n[ttrpc]\naddress = "%s"\n' \
		"$T/root" "$T/state" "$T/tmp" "${CRI-\"io.containerd.grpc.v1.cri\"}" "$T/c.sock" "$T/t.sock" >"$T/config.toml"
	if plugin_used; then
		printf '[proxy_plugins.ovl]\ntype = "snapshot"\naddress = "%s"\n' "$T/ovl.sock"
		[ "$VERSION" = debian ] ||
			printf 'capabilities = ["remap-ids"]\n[proxy_plugins.ovl.exports]\nroot = "%s"\n[proxy_plugins.ovldiff]\ntype = "diff"\naddress = "%s"\n' \
				"$T/ovl" "$T/ovl.sock"
	fi >>"$T/config.toml"
	if [ "$VERSION" != debian ]; then
		differ=walking
		! plugin_used || differ=ovldiff
		# The second is for snapshots of other snapshotters, which the plugin leaves to it.
		printf '[plugins."io.containerd.service.v1.diff-service"]\ndefault = ["%s", "walking"]\n' "$differ"
		printf '[[plugins."io.containerd.transfer.v1.local".unpack_config]]\nplatform = "linux/%s"\nsnapshotter = "%s"\ndiffer = "%s"\n' \
			"$(go_arch)" "$SNAPSHOTTER" "$differ"
	fi >>"$T/config.toml"
	[ -z "${CRI+x}" ] || cri_config >>"$T/config.toml"
}

start_plugin() {
	plugin_used || return 0
	"$PLUGIN" --root "$T/ovl" --address "$T/ovl.sock" --containerd-address "$T/c.sock" --log-level debug \
		>>"$T/plugin.log" 2>&1 &
	PLUGIN_PID=$!
	wait_for 20 "the plugin's socket" "$ASK" serving "$T/ovl.sock"
}

start_containerd() {
	TMPDIR=$T/tmp "$CONTAINERD" -c "$T/config.toml" >>"$T/containerd.log" 2>&1 &
	CONTAINERD_PID=$!
	wait_for 30 "containerd" ctr version
}

# Daemons of the version that containerd_of chose.
start() {
	write_config
	start_plugin
	start_containerd
}

# end PID SIGNAL: and it is gone.
end() {
	kill -"${2:-TERM}" "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
}

ctr() {
	timeout -k 5 "${CTR_SECONDS:-120}" "$CTR" -a "$T/c.sock" -n "${NS:-default}" "$@"
}

snapshots() {
	ctr snapshots --snapshotter "$SNAPSHOTTER" "$@"
}

import() {
	for archive; do
		ctr images import --snapshotter "$SNAPSHOTTER" "$archive"
	done
}

# run ID IMAGE [COMMAND...], with OPTIONS
run() {
	# shellcheck disable=SC2086
	in_image=$2 id=$1
	shift 2
	ctr run --snapshotter "$SNAPSHOTTER" --runc-binary "$(command -v "$RUNTIME")" ${OPTIONS:-} "$in_image" "$id" "$@"
}

# background ID IMAGE: a container that waits. MORE has more options.
background() {
	OPTIONS="-d ${MORE:-}" run "$1" "$2" /bin/sh -c 'sleep 100000 & wait'
	wait_for 20 "the container $1" running "$1"
}

running() {
	ctr tasks ls | grep -q "^$1 .*RUNNING"
}

# tree_in ID: the path of a running container's tree.
tree_in() {
	echo "/proc/$(ctr tasks ls | awk -v id="$1" '$1 == id { print $2 }')/root"
}

# inside ID SCRIPT
inside() {
	execs=$((${execs:-0} + 1))
	ctr tasks exec --exec-id "e$execs" "$1" /bin/sh -c "$2"
}

stop_container() {
	ctr tasks kill -s KILL "$1" || true
	wait_for 20 "the end of container $1" ended "$1"
	ctr tasks rm "$1" || true
	ctr containers rm "$1"
}

ended() {
	! ctr tasks ls | grep "^$1 " | grep -q RUNNING
}

# Everything of a namespace but its snapshots, whose end is the garbage collector's work.
remove_all() {
	for id in $(ctr tasks ls -q); do
		ctr tasks kill -s KILL "$id" 2>/dev/null || true
		wait_for 20 "the end of container $id" ended "$id"
		ctr tasks rm --force "$id" 2>/dev/null || true
	done
	for id in $(ctr containers ls -q); do ctr containers rm "$id"; done
	for id in $(ctr leases ls -q); do ctr leases rm --sync "$id"; done
	for id in $(ctr images ls -q); do ctr images rm --sync "$id" >/dev/null; done
	collect
}

# collect: a garbage collection, of all namespaces, which is over when this is: an image that goes
# brings it. It is one of a namespace of its own, where the CRI adds no names to it.
collect() (
	NS=collect
	import "$IMAGES/nothing.tar" >/dev/null
	ctr images rm --sync localhost/nothing:1 >/dev/null
)

layers() {
	"$OVL" --store "$T/ovl/store" list
}

# nothing_left: neither containerd nor the store has anything.
nothing_left() {
	same "$(snapshots ls | tail -n +2)" ''
	! plugin_used || same "$(layers)" ''
	check_store
}

check_store() {
	! plugin_used || same "$("$OVL" --store "$T/ovl/store" check)" ''
}
