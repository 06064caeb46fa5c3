# Images as a whole: shared, committed, exported, removed.

# The store's layers, and the bytes of its files.
store_state() {
	if plugin_used; then layers | wc -l; else snapshots ls | tail -n +2 | wc -l; fi
}

test_images_share() {
	start
	import "$IMAGES/bb.tar"
	one=$(store_state)
	import "$IMAGES/other.tar"
	same "$(($(store_state) - one))" 1
	import "$IMAGES/bb.tar" "$IMAGES/other.tar"
	same "$(($(store_state) - one))" 1
	ctr images rm --sync localhost/bb:1
	same "$(store_state)" "$one"
	background other localhost/other:1
	same_tree "$(tree_in other)" "$IMAGES/other"
	stop_container other
	remove_all
	nothing_left
}

# What a container of a removed image needs stays until the container goes.
test_images_used() {
	start
	import "$IMAGES/bb.tar"
	background bb localhost/bb:1
	ctr images rm --sync localhost/bb:1
	same_tree "$(tree_in bb)" "$IMAGES/bb"
	judge
	stop_container bb
	remove_all
	nothing_left
}

# judge [FLAG...]: containerd, the plugin and the store agree.
judge() {
	set -- judge -containerd "$T/c.sock" -snapshotter "$SNAPSHOTTER" "$@"
	! plugin_used || set -- "$@" -plugin "$T/ovl.sock" -store "$T/ovl/store" -ovl "$OVL"
	TMPDIR=$T/tmp "$ASK" "$@"
}

commit_container() { # commit_container ID IMAGE
	"$ASK" commit -containerd "$T/c.sock" -namespace "${NS:-default}" -snapshotter "$SNAPSHOTTER" "$1" "$2"
}

# A changed container becomes an image, is exported, and is the same elsewhere: with the same
# snapshotter and with containerd's own.
test_images_commit() {
	start
	import "$IMAGES/bb.tar"
	background bb localhost/bb:1
	inside bb 'set -e; echo changed >/etc/motd; rm /opt/kinds/old; mkdir /new; echo new >/new/file; ln /new/file /new/link
		rm -r /var/old; mkdir /var/old; echo fresh >/var/old/fresh; mkfifo /new/fifo; chown 7:8 /new/file; chmod 4711 /new/link'
	# Whole seconds: containerd's own differ writes no others.
	inside bb 'touch -d @1700000000 /etc/motd /new/file /new/fifo /var/old/fresh'
	cp -a "$IMAGES/bb" wanted
	(
		cd wanted
		echo changed >etc/motd
		rm -r opt/kinds/old var/old
		mkdir new var/old
		echo new >new/file
		ln new/file new/link
		mkfifo new/fifo
		echo fresh >var/old/fresh
		chown 7:8 new/file
		chmod 4711 new/file
		touch -d @1700000000 etc/motd new/file new/fifo var/old/fresh
	)
	same_tree "$(tree_in bb)" wanted
	commit_container bb localhost/changed:1
	ctr images export changed.tar localhost/changed:1
	stop_container bb
	background changed localhost/bb:1
	same_tree "$(tree_in changed)" "$IMAGES/bb"
	stop_container changed
	remove_all
	nothing_left

	import changed.tar
	background changed localhost/changed:1
	same_tree "$(tree_in changed)" wanted
	stop_container changed
	remove_all
	nothing_left

	SNAPSHOTTER_BEFORE=$SNAPSHOTTER SNAPSHOTTER=overlayfs
	[ "$VERSION" = debian ] || local=--local
	# shellcheck disable=SC2086
	ctr images import ${local:-} --snapshotter overlayfs changed.tar
	background changed localhost/changed:1
	same_tree "$(tree_in changed)" wanted
	stop_container changed
	SNAPSHOTTER=$SNAPSHOTTER_BEFORE
}

# Two of containerd's namespaces know nothing of each other's names, and take nothing from each other.
test_namespaces() {
	start
	NS=one import "$IMAGES/bb.tar"
	NS=two import "$IMAGES/bb.tar" "$IMAGES/other.tar"
	(NS=one && background c localhost/bb:1)
	(NS=two && background c localhost/other:1)
	(NS=one && same_tree "$(tree_in c)" "$IMAGES/bb")
	(NS=two && same_tree "$(tree_in c)" "$IMAGES/other")
	judge
	(NS=one && stop_container c && remove_all && same "$(snapshots ls | tail -n +2)" '')
	(NS=two && same_tree "$(tree_in c)" "$IMAGES/other" && inside c 'cat /another')
	judge
	(NS=two && stop_container c && remove_all && nothing_left)
}
