#!/bin/sh
# test.sh [all|slow]: the tests of `make test`; `all` adds those that need minutes, `slow` is only them
# (or those of its parts that OVL_TEST_PARTS names).
#
# OVL_TEST_HAVE says what this machine has; a test that finds one of these missing fails, instead of
# being skipped. Set it to say otherwise; what is set here is what a machine of this kind should have.
set -u
cd "$(dirname "$0")/.." || exit 1

what=${1:-quick}
sh scripts/setup-tests.sh

# A kernel has a file system that it lists, or that it has a module for.
kernel_has() {
	grep -qw "$1" /proc/filesystems || PATH=$PATH:/sbin:/usr/sbin modprobe -qn "$1" 2>/dev/null
}

default_have() {
	have=
	if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
		have=root,tmpfs
		[ ! -c /dev/fuse ] || have=$have,fuse
		for kind in overlay ext4 xfs btrfs devpts; do
			! kernel_has $kind || have=$have,$kind
		done
	fi
	if [ "$(cat /proc/sys/user/max_user_namespaces 2>/dev/null || echo 0)" != 0 ] &&
		unshare --user --map-root-user true 2>/dev/null; then
		have=${have:+$have,}userns
	fi
	echo "$have"
}
export OVL_TEST_HAVE="${OVL_TEST_HAVE-$(default_have)}"
echo "tests: this machine has: ${OVL_TEST_HAVE:-nothing special}"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
failed=

# Runs "$@", shows and keeps what it says; a failure is remembered under the name $1.
part() {
	name=$1
	shift
	{ "$@" 2>&1; echo "$?" >"$log.status"; } | tee -a "$log"
	[ "$(cat "$log.status")" = 0 ] || failed="$failed $name"
	rm -f "$log.status"
}

# The names of the tool's tests in these files.
tests_in() {
	sed -n 's/^\(test_[a-z0-9_]*\)() {$/\1/p' "$@"
}

# The tool's tests with sanitizers. What is installed is the same whatever is tested.
tool_sanitized() {
	SANITIZE=1 timeout -k 10 600 sh tests/cli/run.sh \
		$(tests_in $(ls tests/cli/*.sh | grep -v /install.sh))
}

# The tool's tests by somebody who is root of a user namespace alone.
tool_without_root() {
	nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
	if ! $nobody unshare --user --map-root-user true 2>/dev/null; then
		echo "SKIP tool-rootless: lacks userns (setpriv and unshare make none)"
	elif ! $nobody test -x "$(pwd -P)/build/ovl"; then
		echo "SKIP tool-rootless: lacks a tree that others may read"
	else
		# These are of root and a user.
		tests=$(tests_in tests/cli/*.sh | grep -v ^test_rootless)
		OVL_TEST_HAVE=userns timeout -k 10 600 $nobody sh tests/cli/run.sh $tests
	fi
}

# What gets threads when it is long, with threads however short it is.
threads() {
	OVL_TEST_THREADS=always timeout -k 10 600 "$CARGO" test --locked --test layer -- \
		--skip random --skip race --skip peers --skip truth
}

CARGO=${CARGO:-cargo}
case $what in
quick | all)
	# Built first: how long that takes says nothing of the tests. They take some ten minutes, and the
	# tool's half a minute; one that hangs must not hang what runs this.
	"$CARGO" test --locked --no-run || exit 1
	part cargo timeout -k 10 "${OVL_TEST_SECONDS:-2400}" "$CARGO" test --locked --no-fail-fast
	part tool timeout -k 10 600 sh tests/cli/run.sh
	part threads threads
	[ "$(id -u)" != 0 ] || part tool-rootless tool_without_root
	part tool-sanitized tool_sanitized
	part go timeout -k 10 900 sh bindings/go/test.sh "$what"
	part plugin timeout -k 10 1800 sh bindings/go/containerd/test.sh
	part python timeout -k 10 600 sh bindings/python/tests/run.sh
	part containerd timeout -k 30 1800 sh tests/containerd/run.sh quick
	part story timeout -k 10 600 sh tests/story/run.sh
	part bench timeout -k 10 600 sh tests/bench/run.sh
	;;
slow) ;;
*)
	echo "test.sh: $what: all or slow" >&2
	exit 2
	;;
esac
case $what in
all | slow)
	# Ignored tests are children of others and no tests by themselves; what takes minutes is more
	# chains, more swaps under what reads and writes trees, many processes
	# for minutes, containerds that are killed (they take Go), other projects' layer code next to ours
	# (it takes Go), and the library under sanitizers (they take a nightly Rust).
	for one in ${OVL_TEST_PARTS:-chains swaps sweep sweep-disks power torture packages containerd peers address thread miri valgrind}; do
		case $one in
		chains) part chains env OVL_TEST_CHAINS="${OVL_TEST_CHAINS:-1000}" "$CARGO" test --locked --test layer random ;;
		swaps) part swaps env OVL_TEST_SWAPS="${OVL_TEST_SWAPS:-10000}" "$CARGO" test --locked --test layer race ;;
		torture) part torture timeout -k 10 1800 sh scripts/torture.sh "${OVL_TORTURE_SECONDS:-240}" ;;
		sweep) part sweep timeout -k 10 7200 sh scripts/sweep.sh ;;
		sweep-disks)
			for kind in ext4 xfs btrfs; do
				part "sweep-$kind" env OVL_SWEEP_FS=$kind "$CARGO" test --locked --test sweep -- --nocapture
			done
			;;
		power) part power sh scripts/power.sh "${OVL_TEST_CUTS:-3000}" ;;
		containerd) part containerd-all timeout -k 30 3600 sh tests/containerd/run.sh all ;;
		packages) part packages timeout -k 10 5400 sh tests/package/run.sh ;;
		peers) part peers "$CARGO" test --locked --test peers ;;
		*) part "$one" timeout -k 10 1800 sh scripts/sanitize.sh "$one" ;;
		esac
	done
	;;
esac

# The runners' own lines, added up.
awk -v failed="$failed" '
	/^test result:/ { passed += $4; broken += $6 }
	/^(cli|go|python|package|story|bench|containerd): [0-9]+ passed/ { passed += $2; broken += $4 }
	/^SKIP / { skipped++; print_skip[$0] = 1 }
	/^(test result:|(cli|go|python|package|story|bench|containerd): [0-9])/ { lines[++count] = $0 }
	END {
		print "\n---- what the runners said ----"
		for (i = 1; i <= count; i++) print lines[i]
		for (line in print_skip) print line
		printf "%d passed, %d failed, %d skipped\n", passed, broken, skipped
		if (failed) print "failed parts:" failed
	}' "$log"
[ -z "$failed" ]
