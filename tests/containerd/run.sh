#!/bin/sh
# Tests under real containerds: run.sh [quick|all|TEST...]
#
# Each test_* function of the *.sh files here runs in a shell of its own, in a world of its own
# (world.sh), with `set -eu` and an empty directory $T as its working directory. `quick` is those that
# take seconds, under Debian's containerd with runc. `all` is each under Debian's and under a containerd
# 2 built here, with runc and with crun; test_built_* are of the latter, and test_long_* take minutes.
# With VERSION=debian|built and RUNTIME=runc|crun the tests that are named run under that one.
#
# A test that lacks something says `skip WHAT`; if OVL_TEST_HAVE declares WHAT, it has failed.
#
# OVL_TEST_SNAPSHOTTER=overlayfs runs them on containerd's own snapshotter: what fails then, too, is
# the test. VERBOSE=1 says what passed, KEEP=1 keeps the directory of a test that failed.
set -u

HERE=$(cd "$(dirname "$0")" && pwd)
TOP=$(cd "$HERE/../.." && pwd)
PATH=$PATH:/usr/sbin:/sbin:/usr/local/go/bin
export HERE TOP PATH LC_ALL=C
umask 022
. "$HERE/../cli/lib.sh"
for file in "$HERE"/*.sh; do
	case $file in */run.sh | */world.sh | */build.sh | */demo.sh) ;; *) . "$file" ;; esac
done

# In its world, with everything that the runner below exports.
if [ -n "${OVL_TEST_ONE:-}" ]; then
	test=$OVL_TEST_ONE
	set -eu
	cd "$T"
	containerd_of "$VERSION"
	"$test"
	exit 0
fi

nothing() { # nothing WHY: of it all can run
	echo "SKIP containerd: lacks $1"
	echo "containerd: 0 passed, 0 failed"
	case ,${OVL_TEST_HAVE:-}, in *,containerd,*) exit 1 ;; esac
	exit 0
}
is_root || nothing root
command -v go >/dev/null || nothing go
for program in unshare getfattr busybox; do
	command -v $program >/dev/null || nothing $program
done
[ -x "$TOP/build/ovl" ] || { echo "containerd: build/ovl is not there: run make first" && exit 1; }

BASE=$(mktemp -d "${TMPDIR:-/var/tmp}/ovl-ctd.XXXXXX") || exit 1
# A container's root that is not the machine's goes through it to its tree.
chmod 711 "$BASE"
trap '[ -n "${kept:-}" ] || rm -rf "$BASE"' EXIT
# The shell hears signals only while it waits.
stop() {
	[ -z "${child:-}" ] || { kill -TERM "$child" 2>/dev/null && wait "$child"; }
	exit "$1"
}
trap 'stop 130' INT
trap 'stop 143' TERM HUP
BUILT=${CARGO_TARGET_DIR:-$TOP/target}/containerd
IMAGES=$BASE/images PLUGIN=$BUILT/ovl-snapshotter ASK=$BUILT/ask OVL=$TOP/build/ovl
export BASE BUILT IMAGES PLUGIN ASK OVL

passed=0 failed=0 kept= given_version=${VERSION:-debian} given_runtime=${RUNTIME:-runc}
one() { # one TEST VERSION RUNTIME
	T=$BASE/t
	mkdir "$T"
	export T OVL_TEST_ONE="$1" VERSION="$2" RUNTIME="$3"
	started=$(date +%s)
	timeout -k 20 "${OVL_TEST_SECONDS:-1200}" sh "$HERE/world.sh" sh "$HERE/run.sh" >"$BASE/log" 2>&1 </dev/null &
	child=$!
	wait $child
	status=$?
	took=$(($(date +%s) - started))
	if grep -q '^SKIP ' "$BASE/log" && [ $status = 0 ]; then
		sed -n "s/^SKIP $1:/SKIP containerd $1 ($2, $3):/p" "$BASE/log"
	elif [ $status = 0 ]; then
		passed=$((passed + 1))
		[ -z "${VERBOSE:-}" ] || echo "ok $1 ($2, $3, $took s)"
		sed -n 's/^NOTE /    /p' "$BASE/log"
	else
		failed=$((failed + 1))
		echo "FAILED $1 ($2, $3: status $status after $took s)"
		grep -v DEPRECATION "$BASE/log" | tail -n 60 | sed 's/^/    /'
		for daemon in plugin containerd; do
			echo "    ---- $daemon:"
			[ ! -e "$T/$daemon.log" ] || grep -v -e 'level=debug' -e 'level=info' "$T/$daemon.log" | tail -n 20 | sed 's/^/    /'
		done
		if [ -n "${KEEP:-}" ]; then
			kept=1
			mv "$T" "$BASE/$1.$2.$3"
			echo "    kept: $BASE/$1.$2.$3"
		fi
	fi
	rm -rf "$T"
}

tests_named() { # tests_named PATTERN
	sed -n 's/^\(test_[a-z0-9_]*\)() {$/\1/p' "$HERE"/*.sh | grep -x "$1"
}

what=${1:-quick}
short='test_[^bl].*' built='test_built_.*' long='test_long_.*'
case $what in
quick) need_built=quick ;;
*) need_built=all ;;
esac
sh "$HERE/build.sh" "$BUILT" $need_built || { echo "containerd: not built" && echo "containerd: 0 passed, 1 failed" && exit 1; }
if [ "$SNAPSHOTTER" = ovl ] && [ ! -x "$PLUGIN" ]; then
	echo "containerd: there is no plugin to test" && exit 1
fi
make_images "$IMAGES" && make_nothing "$IMAGES/nothing.tar" && make_pause "$IMAGES/pause.tar" localhost/pause:1 || exit 1

case $what in
quick)
	for test in $(tests_named "$short"); do one "$test" debian runc; done
	;;
all)
	for test in $(tests_named "$short"); do
		for version in debian built; do
			for runtime in runc crun; do one "$test" $version $runtime; done
		done
	done
	for test in $(tests_named "$built"); do one "$test" built runc; done
	for test in $(tests_named "$long"); do
		for version in debian built; do one "$test" $version runc; done
	done
	;;
*)
	for test; do
		version=$given_version
		case $test in test_built_*) version=built ;; esac
		one "$test" "$version" "$given_runtime"
	done
	;;
esac
echo "containerd: $passed passed, $failed failed"
[ $failed = 0 ]
