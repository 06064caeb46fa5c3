#!/bin/sh
# Tests of what is released: run.sh [TEST...]
#
# Each test_* function of the *.sh files here runs in a shell of its own with `set -eu` and an empty
# directory $T as its working directory, as those of tests/cli do. They build: it takes minutes. The
# directories are on a disk (TMPDIR, or /var/tmp), and go when this script ends.
#
# A test that lacks something says `skip WHAT`; if OVL_TEST_HAVE declares WHAT, it has failed.
set -u

HERE=$(cd "$(dirname "$0")" && pwd)
TOP=$(cd "$HERE/../.." && pwd)
export HERE TOP LC_ALL=C
umask 022

BASE=$(mktemp -d "${TMPDIR:-/var/tmp}/ovl-package.XXXXXX") || exit 1
export BASE
# Once more where a build that was stopped was still writing.
trap 'rm -rf "$BASE" 2>/dev/null || { sleep 2; rm -rf "$BASE"; }' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
. "$HERE/../cli/lib.sh"
for file in "$HERE"/*.sh; do
	case $file in */run.sh) ;; *) . "$file" ;; esac
done

passed=0 failed=0
tests=${*:-$(sed -n 's/^\(test_[a-z0-9_]*\)() {$/\1/p' "$HERE"/*.sh)}
for test in $tests; do
	T=$BASE/$test
	mkdir "$T"
	(
		set -eu
		cd "$T"
		export T
		"$test"
	) >"$BASE/log" 2>&1 </dev/null
	status=$?
	grep '^SKIP ' "$BASE/log"
	if [ $status = 0 ]; then
		passed=$((passed + 1))
		[ -z "${VERBOSE:-}" ] || echo "ok $test"
	else
		failed=$((failed + 1))
		echo "FAILED $test (status $status)"
		tail -n 100 "$BASE/log" | sed 's/^/    /'
	fi
	rm -rf "$T"
done
echo "package: $passed passed, $failed failed"
[ $failed = 0 ]
