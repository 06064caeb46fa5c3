#!/bin/sh
# install.sh: puts ovl-snapshotter on a node, from a container, and has the node's systemd run it. It may be
# run again at any time: what is the same already is left alone, and nothing is restarted then.
#
# It never touches containerd: neither its main configuration nor its process. See docs/kubernetes.md.
#
#   FROM        where the files are, in the image
#   HOST        where the node's directories are mounted
#   CONFIG      the plugin's configuration
#   CONTAINERD  1.6, 1.7 or 2: which file goes to /etc/containerd/conf.d; empty: none
#   ON_NODE     what runs a command on the node itself
set -eu
from=${FROM:-/opt/ovl-snapshotter}
host=${HOST:-/host}
config=${CONFIG:-/config/config.toml}
on_node=${ON_NODE:-nsenter --target 1 --mount --uts --ipc --net --}
bin=/usr/local/bin/ovl-snapshotter

# put MODE FILE PLACE: by a rename, so that nobody ever reads half a file, nor runs half a program.
put() {
	! cmp -s "$2" "$host$3" || return 0
	mkdir -p "$host${3%/*}"
	cp "$2" "$host$3.new"
	chmod "$1" "$host$3.new"
	${4:-true}
	sync "$host$3.new"
	mv "$host$3.new" "$host$3"
	echo "installed $3"
	changed=1
}

# A program that needs a newer C library than the node has must not replace one that runs.
runs() {
	$on_node $bin.new --version || {
		rm -f "$host$bin.new"
		echo "install.sh: the program of this image does not run on this node; what was there before stays" >&2
		exit 1
	}
	# For who has to go back by hand, when no pod starts here any more.
	[ ! -e "$host$bin" ] || cp -p "$host$bin" "$host$bin.old"
}

changed=
put 755 "$from/ovl-snapshotter" $bin runs
put 644 "$config" /etc/ovl-snapshotter/config.toml
put 644 "$from/ovl-snapshotter.service" /etc/systemd/system/ovl-snapshotter.service
put 644 "$from/ovl-snapshotter.socket" /etc/systemd/system/ovl-snapshotter.socket
restart=$changed
# containerd reads it when somebody restarts it.
[ -z "${CONTAINERD:-}" ] || put 644 "$from/containerd-$CONTAINERD.toml" /etc/containerd/conf.d/10-ovl.toml

$on_node systemctl daemon-reload
$on_node systemctl enable ovl-snapshotter.socket ovl-snapshotter.service
# The socket stays through a restart of the service: calls wait, and containers run on.
$on_node systemctl start ovl-snapshotter.socket
if [ -n "$restart" ]; then
	$on_node systemctl restart ovl-snapshotter.service
else
	$on_node systemctl start ovl-snapshotter.service
fi
