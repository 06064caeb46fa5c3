#!/bin/sh
# Black-box tests of the tool: run.sh [TEST...]
#
# Each test_* function of the *.sh files here runs in a shell of its own with `set -eu`, an empty
# directory $T as its working directory, and OVL_STORE=$T/store. All run in one mount namespace that
# ends with this script, on a tmpfs. A test that leaves a mount or a process behind has failed.
#
# With SANITIZE=1 the tool is compiled anew with the address and undefined-behaviour sanitizers, and a
# leak fails the test too. LIBRARY is the directory of another libovl.so to link, such as one that is
# sanitized itself.
#
# A test that lacks something says `skip WHAT`; if OVL_TEST_HAVE declares WHAT, it has failed.
set -u

HERE=$(cd "$(dirname "$0")" && pwd)
TOP=$(cd "$HERE/../.." && pwd)
OVL=${OVL:-$TOP/build/ovl}
LIBRARY=${LIBRARY:-$TOP/build}
export HERE TOP OVL LIBRARY LC_ALL=C
umask 022

[ -x "$OVL" ] || {
	echo "cli: $OVL is not there: run make first" >&2
	exit 1
}

if [ -z "${OVL_CLI_INSIDE:-}" ]; then
	if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
		set -- unshare --mount --propagation private sh "$0" "$@"
	elif unshare --user --map-root-user --mount true 2>/dev/null; then
		set -- unshare --user --map-root-user --mount --propagation private sh "$0" "$@"
	else
		case ,${OVL_TEST_HAVE:-}, in *,root,* | *,userns,*) exit 1 ;; esac
		echo "SKIP cli: lacks root (and user namespaces)"
		echo "cli: 0 passed, 0 failed"
		exit 0
	fi
	BASE=$(mktemp -d "${TMPDIR:-/tmp}/ovl-cli.XXXXXX")
	trap 'rm -rf "$BASE"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	OVL_CLI_INSIDE=$BASE "$@" && status=0 || status=$?
	exit $status
fi

BASE=$OVL_CLI_INSIDE
mount -t tmpfs -o mode=755 tmpfs "$BASE" || exit 1
# A machine may have no pseudo-terminals mounted; the tests bring theirs.
mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts 2>/dev/null
export BASE
. "$HERE/lib.sh"
for file in "$HERE"/*.sh; do
	case $file in */run.sh | */lib.sh) ;; *) . "$file" ;; esac
done

# The fixtures that tests share, and must not write to.
sh "$TOP/scripts/rootfs.sh" "$BASE/rootfs" || exit 1
: >"$BASE/rootfs/etc/resolv.conf"
tar -C "$BASE/rootfs" --owner=0 --group=0 --numeric-owner -cf "$BASE/rootfs.tar" . || exit 1

# The leak check starts a thread, which a process that has made a pid namespace cannot.
if [ -n "${SANITIZE:-}" ]; then
	${CC:-cc} -fsanitize=address,undefined -fno-sanitize-recover -g -std=c99 -I"$TOP/include" \
		"$TOP"/examples-c/ovl/*.c -o "$BASE/sanitized" -L"$LIBRARY" -lovl -Wl,-rpath,"$LIBRARY" || exit 1
	cat >"$BASE/ovl" <<-END
		#!/bin/sh
		case " \$* " in *" run "*) leaks=0 ;; *) leaks=1 ;; esac
		export ASAN_OPTIONS=detect_leaks=\$leaks:log_path=$BASE/report UBSAN_OPTIONS=log_path=$BASE/report
		exec $BASE/sanitized "\$@"
	END
	chmod 755 "$BASE/ovl"
	OVL=$BASE/ovl
fi

state() {
	cut -d ' ' -f 5- /proc/self/mountinfo
	grep -lzxF "OVL_STORE=$T/store" /proc/[0-9]*/environ 2>/dev/null
}

passed=0 failed=0
tests=${*:-$(sed -n 's/^\(test_[a-z0-9_]*\)() {$/\1/p' "$HERE"/*.sh)}
for test in $tests; do
	T=$BASE/$test
	mkdir "$T"
	state >"$BASE/before"
	(
		set -eu
		cd "$T"
		export T OVL_STORE="$T/store"
		"$test"
	) >"$BASE/log" 2>&1 </dev/null
	status=$?
	state >"$BASE/after"
	if [ $status = 0 ] && ! cmp -s "$BASE/before" "$BASE/after"; then
		diff "$BASE/before" "$BASE/after" >>"$BASE/log"
		echo "it left this behind" >>"$BASE/log"
		status=1
	fi
	for report in "$BASE"/report.*; do
		[ -e "$report" ] || continue
		cat "$report" >>"$BASE/log"
		rm "$report"
		status=1
	done
	grep '^SKIP ' "$BASE/log"
	if [ $status = 0 ]; then
		passed=$((passed + 1))
		[ -z "${VERBOSE:-}" ] || echo "ok $test"
	else
		failed=$((failed + 1))
		echo "FAILED $test (status $status)"
		sed 's/^/    /' "$BASE/log"
	fi
	rm -rf "$T"
done
echo "cli: $passed passed, $failed failed"
[ $failed = 0 ]
