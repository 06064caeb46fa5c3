#!/bin/sh
# power.sh [CUTS|peers]: cuts the power of a store's disk so many times, a third on each of ext4, xfs
# and btrfs, and looks at what is left; or puts other stores through the same (docs/power-cuts.md).
#
# OVL_POWER_SEED chooses other cuts, OVL_POWER_STORIES=apply,create fewer stories, OVL_POWER_JOBS how
# many disks are looked at at once. What is wrong is told as it is found, with how to see it again.
set -u
cd "$(dirname "$0")/.." || exit 1

what=${1:-10000}
cargo=${CARGO:-cargo}
export OVL_TEST_HAVE="${OVL_TEST_HAVE-root,overlay,fuse,ext4,xfs,btrfs}"
PATH=$PATH:/usr/sbin:/sbin

case $what in
peers)
	missing=
	for one in ostree containers-storage; do
		command -v "$one" >/dev/null 2>&1 || missing="$missing $one"
	done
	if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "power: installing$missing"
		DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null 2>&1 ||
			echo "power: not installed, and so left out:$missing"
	fi
	exec "$cargo" test --locked --test power peers -- --ignored --nocapture
	;;
*[!0-9]* | '')
	echo "power.sh: $what: a number of cuts, or peers" >&2
	exit 2
	;;
esac
export OVL_POWER_CUTS="$what"
exec "$cargo" test --locked --test power -- --nocapture
