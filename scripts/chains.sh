#!/bin/sh
# chains.sh [COUNT [FIRST]]: the random tests of layers with COUNT seeds each (10000) from FIRST (1),
# in several processes. Each test makes a chain of layers or containers from its seed and compares
# trees; one that fails prints the smallest case that it found and the seed to run it again with:
#     OVL_TEST_SEED=SEED OVL_TEST_CHAINS=1 cargo test --test layer NAME
set -u
cd "$(dirname "$0")/.." || exit 1

count=${1:-10000}
first=${2:-1}
jobs=${OVL_TEST_JOBS:-$(($(nproc) * 2))}
each=$(((count + jobs - 1) / jobs))

# What is missing here is no pass.
export OVL_TEST_HAVE="${OVL_TEST_HAVE-root,overlay,tmpfs}"
build=$(${CARGO:-cargo} test --locked --test layer --no-run 2>&1) || {
	echo "$build" >&2
	exit 1
}
binary=$(echo "$build" | sed -n 's/.*Executable.*(\(.*\))$/\1/p')
[ -n "$binary" ] || {
	echo "chains: no test program was built" >&2
	exit 1
}
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
# A copy: another build does not change what runs.
cp "$binary" "$log/layer"

echo "chains: $((each * jobs)) seeds from $first for each of the random tests, in $jobs processes"
job=0
while [ "$job" -lt "$jobs" ]; do
	OVL_TEST_CHAINS=$each OVL_TEST_SEED=$((first + job * each)) \
		"$log/layer" --nocapture --test-threads=4 random::chains containers::random foreign::random \
		view::a_stack >"$log/$job" 2>&1 &
	echo $! >>"$log/pids"
	job=$((job + 1))
done
trap 'kill $(cat "$log/pids") 2>/dev/null; grep -h " done$" "$log"/[0-9]* | sort | tail -n 40; exit 130' INT TERM
failed=0
while read -r pid; do
	wait "$pid" || failed=1
done <"$log/pids"
grep -h '^runs\|^test .* \.\.\.' "$log"/[0-9]* | sort | uniq -c
[ "$failed" = 0 ] || {
	cat "$log"/[0-9]*
	exit 1
}
