# Scale: many snapshots, many clients. Alone, `scale.sh [FLAG...]` measures and prints a table, with
# -counts 100,1000,10000,100000 for an hour or so; in the tests it is held to be flat.

measure_scale() { # measure_scale DIRECTORY [FLAG...]
	mkdir "$1"
	where=$1
	shift
	"$BUILT/scale" -plugin "$PLUGIN" -root "$where" "$@"
}

test_long_scale() {
	plugin_used || skip plugin
	[ "$VERSION" = debian ] || return 0
	measure_scale "$T/scale" -counts 300,1000,4000 -rounds 100 -json "$T/scale.json"
	# A thousand containers and a hundred images are among what was measured; it grows from there.
	jq -e '[.times[] | select(.server == "ovl" and .operation == "container: prepare and mounts")][0].times == 1000' scale.json ||
		wrong "the containers are not there"
	for operation in prepare mounts stat usage commit view remove; do
		jq -e --arg operation "$operation" '
			[.times[] | select(.server == "ovl" and .operation == $operation)] | length == 3 and .[-1].snapshots == 4000 and
			.[-1].median_us < 4 * .[0].median_us + 1000' scale.json ||
			wrong "$operation costs more with more snapshots: $(cat scale.json)"
	done
	# What each snapshot adds to the plugin's memory is small.
	jq -e '[.memory[] | select(.server == "ovl")] | (.[-1].resident - .[0].resident) / 3700 < 4096' scale.json ||
		wrong "memory grows: $(jq -c .memory scale.json)"
}

case ${0##*/} in
scale.sh)
	set -eu
	HERE=$(cd "$(dirname "$0")" && pwd)
	TOP=$(cd "$HERE/../.." && pwd)
	PATH=$PATH:/usr/local/go/bin
	BUILT=${CARGO_TARGET_DIR:-$TOP/target}/containerd
	PLUGIN=$BUILT/ovl-snapshotter
	sh "$HERE/build.sh" "$BUILT" quick
	work=$(mktemp -d "${TMPDIR:-/var/tmp}/ovl-scale.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	measure_scale "$work/scale" "$@"
	;;
esac
