#!/bin/sh
# torture.sh [SECONDS [SEED]]: many processes in two mount namespaces on one store, killed at any moment,
# for SECONDS (300) in all, a part of it on each of OVL_TORTURE_KINDS (tmpfs,ext4,xfs,btrfs). Everything is
# judged while it runs and at the end; what calls said and how long they took is printed.
#
# Nothing else on the machine may use overlayfs meanwhile: the kernel's log is judged, too.
# OVL_TORTURE_ALONE= (empty) says that something may.
set -u
cd "$(dirname "$0")/.." || exit 1

seconds=${1:-300}
seed=${2:-$(date +%s)}
kinds=${OVL_TORTURE_KINDS-tmpfs,ext4,xfs,btrfs}
parts=$(echo "$kinds" | tr ',' '\n' | grep -c .)
[ "$parts" -gt 0 ] || exit 2

# What is missing here is no pass.
export OVL_TEST_HAVE="${OVL_TEST_HAVE-root,overlay,unshare,nsenter,$kinds}"
[ -n "${OVL_TORTURE_ALONE-1}" ] && export OVL_TORTURE_ALONE=1 || unset OVL_TORTURE_ALONE
OVL_TORTURE_KINDS=$kinds OVL_TORTURE_SECONDS=$(((seconds + parts - 1) / parts)) OVL_TEST_SEED=$seed \
	exec "${CARGO:-cargo}" test --locked --test torture many_processes -- --exact --nocapture
