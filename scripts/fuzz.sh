#!/bin/sh
# fuzz.sh [SECONDS] [TARGET...]: fuzzes each target for so long (600), one after the other, all of
# them unless some are named. Says what was run, how much of the code was reached, and what was
# found; fails when something was. See docs/fuzzing.md.
set -u
cd "$(dirname "$0")/.." || exit 1

seconds=600
case ${1-} in
[0-9]*)
	seconds=$1
	shift
	;;
esac
TOOLCHAIN=${FUZZ_TOOLCHAIN-+nightly}
BUILD=${CARGO_TARGET_DIR:-fuzz/target}/fuzz
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz || exit 1
if [ $# = 0 ]; then
	# shellcheck disable=SC2046
	set -- $(cargo $TOOLCHAIN fuzz list)
fi
cargo $TOOLCHAIN fuzz build --target-dir "$BUILD" || exit 1
host=$(rustc $TOOLCHAIN -vV | sed -n 's/^host: //p')

# Stores of the targets that apply layers; where there is one, on a tmpfs.
where=${TMPDIR:-/tmp}
[ ! -w /dev/shm ] || where=/dev/shm
OVL_FUZZ_DIR=$(mktemp -d "$where/ovl-fuzz.XXXXXX") || exit 1
export OVL_FUZZ_DIR
trap 'rm -rf "$OVL_FUZZ_DIR"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

log=$OVL_FUZZ_DIR/log
summary=$OVL_FUZZ_DIR/summary
status=0
for target; do
	corpus=fuzz/corpus/$target
	found=fuzz/artifacts/$target
	mkdir -p "$corpus" "$found"
	set -- "$corpus"
	for seeds in "fuzz/seeds/$target" "fuzz/regressions/$target"; do
		[ ! -d "$seeds" ] || set -- "$@" "$seeds"
	done
	[ ! -f "fuzz/$target.dict" ] || set -- "$@" "-dict=fuzz/$target.dict"
	echo "fuzz: $target, $seconds seconds"
	# No single allocation may be large, whatever the input claims.
	nice -n 19 "$BUILD/$host/release/$target" "$@" -max_total_time="$seconds" -timeout=60 \
		-rss_limit_mb=2048 -malloc_limit_mb=64 -max_len=16384 -print_final_stats=1 \
		-artifact_prefix="$found/" >"$log" 2>&1
	result=$?
	[ $result = 0 ] || {
		status=1
		cut -c 1-400 "$log" | tail -n 60
	}
	awk -v target="$target" -v result=$result '
		/ cov: / { for (i = 1; i < NF; i++) { if ($i == "cov:") cov = $(i + 1); if ($i == "corp:") corpus = $(i + 1) } }
		/^stat::number_of_executed_units/ { runs = $2 }
		/^stat::peak_rss_mb/ { rss = $2 }
		/Test unit written to/ { file = $NF }
		END { printf "%-10s %12d executions, %6d edges, corpus %s, %d MiB, %s\n", target, runs, cov, corpus, rss,
			result ? "FOUND: " file : "no findings" }' "$log" | tee -a "$summary"
	rm -rf "$OVL_FUZZ_DIR"/world-*
done
echo "---- all ----"
cat "$summary"
exit $status
