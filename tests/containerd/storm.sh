# Many containers at once, that really run: on libovl and on containerd's own snapshotter in one run.
#
# OVL_STORM_STAY is how many containers run all the time, OVL_STORM how many come and go in the storm,
# OVL_STORM_JSON a file for the figures.

# storm IMAGES STAY STORM CLIENTS: and nothing is left; the figures are in storm.out.
storm() {
	mkdir "$T/storm"
	both=overlayfs
	! plugin_used || both=overlayfs,ovl
	start
	status=0
	TMPDIR=$T/tmp "$BUILT/scale" containers -containerd "$T/c.sock" -work "$T/storm" -snapshotters "$both" \
		-busybox "$(command -v busybox)" -runtime "$(command -v "$RUNTIME")" -containerd-pid "$CONTAINERD_PID" \
		-plugin-pid "${PLUGIN_PID:-0}" -images "$1" -containers "$2" -storm "$3" -clients "$4" \
		-json "${OVL_STORM_JSON:-$T/storm.json}" >storm.out || status=$?
	[ $status = 0 ] || wrong "the storm ended with $status"
	collect
	nothing_left
	# Of containerd's own, too: its collector takes the directories when it can.
	wait_for 20 "the end of overlayfs's directories" no_entries "$T/root/io.containerd.snapshotter.v1.overlayfs/snapshots"
	judge
}

no_entries() {
	[ -z "$(ls -A "$1")" ]
}

test_storm() {
	storm 12 12 32 8
}

# 1,000 containers on 100 images, 32 clients. A container takes some 5 MB, most of it its shim's: where
# there is less memory, fewer stay.
test_long_storm() {
	stay=$(awk '/^MemAvailable:/ { n = int($2 / 10000); print n < 1000 ? n : 1000 }' /proc/meminfo)
	storm 100 "${OVL_STORM_STAY:-$stay}" "${OVL_STORM:-400}" 32
	sed 's/^/NOTE /' storm.out
}
