#!/bin/sh
# world.sh COMMAND...: COMMAND with mounts, processes, network, /run and control groups of its own. Whatever it
# starts ends with it, and whatever it mounts goes; daemons that are killed can leave nothing behind.
#
# It starts itself three times: to make the control groups, to leave the machine's namespaces, and to
# set up its own.
set -eu

# The hierarchies of control groups that are mounted, as "TYPE OPTIONS DIRECTORY".
hierarchies() {
	awk '$3 == "cgroup" || $3 == "cgroup2" { print $3, $4, $2 }' /proc/mounts
}

# A group of our own in every hierarchy; what is started in there makes its groups below it.
enter_groups() {
	hierarchies | while read -r kind _ dir; do
		mkdir -p "$dir/$1"
		if [ "$kind" = cgroup ] && [ -e "$dir/cpuset.cpus" ]; then
			cat "$dir/cpuset.cpus" >"$dir/$1/cpuset.cpus"
			cat "$dir/cpuset.mems" >"$dir/$1/cpuset.mems"
		fi
		echo $$ >"$dir/$1/cgroup.procs"
	done
}

leave_groups() {
	for dir in $(hierarchies | cut -d ' ' -f 3); do
		echo $$ >"$dir/cgroup.procs"
		# The kernel ends a killed process in its own time.
		for _ in 1 2 3 4 5 6 7 8 9 10; do
			[ -d "$dir/$1" ] || break
			find "$dir/$1" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.2
		done
	done
}

# In the new namespaces: the control groups again, now with our own group as their root. What has both
# versions keeps the first one alone, as crun knows only one of them at a time.
mount_groups() {
	mine=$(hierarchies)
	umount -R /sys/fs/cgroup 2>/dev/null || umount -l /sys/fs/cgroup
	case $mine in
	cgroup2*)
		mount -t cgroup2 cgroup2 /sys/fs/cgroup
		# A group that has processes passes nothing on: the daemons get one beside the containers'.
		mkdir /sys/fs/cgroup/daemons
		for process in $(cat /sys/fs/cgroup/cgroup.procs); do
			echo "$process" >/sys/fs/cgroup/daemons/cgroup.procs 2>/dev/null || true
		done
		sed 's/[^ ]*/+&/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
		;;
	*)
		mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
		echo "$mine" | while read -r kind options dir; do
			[ "$kind" = cgroup ] || continue
			mkdir -p "$dir"
			options=$(echo "$options" | tr , '\n' | grep -vx -e rw -e ro -e nosuid -e nodev -e noexec -e relatime | paste -sd,)
			mount -t cgroup -o "$options" cgroup "$dir"
		done
		;;
	esac
}

case ${OVL_WORLD:-} in
'')
	group=ovl-test.$$
	trap 'leave_groups $group' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	enter_groups "$group"
	OVL_WORLD=inside unshare --mount --pid --net --cgroup --ipc --uts --propagation private --fork --kill-child --mount-proc \
		sh "$0" "$@"
	;;
inside)
	mount_groups
	# Shims have their sockets in /run/containerd, runtimes their state in /run/runc and /run/crun.
	mount -t tmpfs -o mode=755 tmpfs /run
	busybox ip link set lo up
	unset OVL_WORLD
	"$@"
	;;
esac
