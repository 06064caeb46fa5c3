# Whether a container sees what its image says.

# same_tree GOT WANTED: their listings; shows where they differ.
same_tree() {
	tree_of "$1" | sort >got.tree
	tree_of "$2" | sort >wanted.tree
	[ "$(wc -l <wanted.tree)" -gt 80 ] || wrong "the wanted tree is too small to say anything"
	diff got.tree wanted.tree || wrong "the tree of $1 is not that of $2"
}

test_content() {
	start
	import "$IMAGES/bb.tar" "$IMAGES/other.tar"
	MORE=--allow-new-privs background bb localhost/bb:1
	background other localhost/other:1
	same_tree "$(tree_in bb)" "$IMAGES/bb"
	same_tree "$(tree_in other)" "$IMAGES/other"

	# From the inside, too: what is gone is gone, and set-uid is heeded.
	same "$(inside bb 'ls /var/old; ls /opt/far; cat /var/swap /var/file/inside; ls -a /opt | grep gone || true')" \
		"c
near
again
in what was a file"
	same "$(inside bb 'stat -c %a:%u /opt/kinds/setuid')" 4755:0
	same "$(ctr tasks exec --exec-id user --user 1000:1000 bb /opt/kinds/setuid)" 0
	stop_container bb
	stop_container other
	remove_all
	nothing_left
}

# Every command's status and streams are the container's.
test_commands() {
	start
	import "$IMAGES/bb.tar"
	same "$(run hello localhost/bb:1 /bin/sh -c 'echo hello; id -u')" "hello
0"
	ctr containers rm hello
	(run fails localhost/bb:1 /bin/sh -c 'exit 3') && wrong "status 3 was lost" || same $? 3
	ctr containers rm fails
	# A read-only container is one.
	OPTIONS=--read-only run ro localhost/bb:1 /bin/sh -c 'echo a >/a' && wrong "a read-only container was written" || true
	ctr containers rm ro
	remove_all
	nothing_left
}

# What a container changes is its own, and goes with it.
test_changes() {
	start
	import "$IMAGES/bb.tar"
	background one localhost/bb:1
	background two localhost/bb:1
	inside one 'echo changed >/etc/motd; rm /opt/kinds/one; mkdir /new; echo new >/new/file; rm -r /var/old; mkdir /var/old'
	inside two 'cat /etc/motd /opt/kinds/one; ls /var/old; test ! -e /new' >said
	same "$(cat said)" "a tiny root file system
linked
c"
	same "$(inside one 'cat /etc/motd /new/file; ls /var/old; cat /opt/kinds/two')" "changed
new
linked"
	stop_container one
	stop_container two
	background again localhost/bb:1
	same_tree "$(tree_in again)" "$IMAGES/bb"
	stop_container again
	remove_all
	nothing_left
}
