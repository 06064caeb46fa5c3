#!/bin/sh
# sweep.sh [--fs KIND] ['OPERATION [POINT]']: every operation of the library killed at each of its
# system calls, and each of its calls failed with every errno that such a call can have; then real
# limits (docs/sweep.md). All of it takes the better part of an hour on two cores.
#
#   --fs KIND           ext4, xfs or btrfs instead of tmpfs
#   'create-copy'       one operation
#   'create-copy kill:17', 'create-copy EIO:17', 'create-copy EIO+:17'
#                       one point: killed at the 17th call; that call failed; it and all later ones
#                       of the same number ('EIO*2:17': it and the next one)
#
# OVL_SWEEP=kills: the kills alone.
set -u
cd "$(dirname "$0")/.." || exit 1

OVL_SWEEP=${OVL_SWEEP:-all}
OVL_SWEEP_FS=tmpfs
if [ "${1-}" = --fs ]; then
	OVL_SWEEP_FS=${2:?a file system}
	shift 2
fi
OVL_SWEEP_ONLY=${1-}
# What is missing here is no pass.
OVL_TEST_HAVE="${OVL_TEST_HAVE-root,overlay,tmpfs,$OVL_SWEEP_FS}"
export OVL_SWEEP OVL_SWEEP_FS OVL_SWEEP_ONLY OVL_TEST_HAVE

log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
{
	${CARGO:-cargo} test --locked --test sweep -- --nocapture
	echo "$?" >"$log.status"
} 2>&1 | tee "$log" | grep --line-buffered '^sweep: \|^SKIP \|^error'
status=$(cat "$log.status")
rm -f "$log.status"
awk '
	/^sweep: .* calls, .* points/ {
		for (i = 3; i <= NF; i++) {
			if ($i == "points") points += $(i - 1)
			if ($i == "kills),") { sub(/\(/, "", $(i - 1)); kills += $(i - 1) }
			if ($i == "borne,") borne += $(i - 1)
			if ($i == "failures,") failures += $(i - 1)
		}
		operations++
	}
	/^sweep: .* times too little/ {
		for (i = 3; i <= NF; i++) {
			if ($i == "times") short += $(i - 1)
			if ($i == "failures") failures += $(i - 1)
		}
	}
	END {
		printf "%d operations, %d points: %d kills, %d errors (%d of them borne); %d times a real limit; %d failures\n",
			operations, points, kills, points - kills, borne, short, failures
	}' "$log"
exit "$status"
