# Daemons that are restarted while containers run.

restart_plugin() {
	plugin_used || return 0
	end "$PLUGIN_PID" "$1"
	start_plugin
}

restart_containerd() {
	end "$CONTAINERD_PID" "$1"
	start_containerd
}

# works ID: the container is as usable as on its first day.
works() {
	running "$1"
	same "$(inside "$1" 'cat /var/swap; echo more >>/more; wc -l </more')" "again
$2"
}

test_restart() {
	start
	import "$IMAGES/bb.tar"
	background bb localhost/bb:1
	works bb 1
	restart_plugin TERM
	works bb 2
	restart_containerd TERM
	works bb 3
	restart_plugin KILL
	works bb 4
	restart_containerd KILL
	works bb 5
	end "$CONTAINERD_PID" KILL
	restart_plugin KILL
	start_containerd
	works bb 6
	judge

	# What the container changed is there for a commit, and a new one starts on the old image.
	commit_container bb localhost/changed:1
	background new localhost/bb:1
	stop_container bb
	restart_plugin TERM
	run third localhost/bb:1 /bin/sh -c true
	ctr containers rm third
	stop_container new
	remove_all
	nothing_left
}

# A plugin that is not there is an error that says so, and everything goes on when it is back.
test_plugin_absent() {
	plugin_used || skip plugin
	start
	import "$IMAGES/bb.tar"
	background bb localhost/bb:1
	end "$PLUGIN_PID" TERM
	[ ! -e ovl.sock ] || wrong "the socket is left after a clean end"
	CTR_SECONDS=15 run other localhost/bb:1 /bin/sh -c true 2>err && wrong "a container ran without its snapshotter" || true
	grep -qiE 'unavailable|connection|connect|timeout|deadline' err || wrong "the error is: $(cat err)"
	same "$(inside bb 'cat /var/swap')" again
	start_plugin
	wait_for 30 "containerd's way back to the plugin" snapshots ls
	ctr containers rm other 2>/dev/null || true
	run again localhost/bb:1 /bin/sh -c true
	ctr containers rm again
	stop_container bb
	remove_all
	nothing_left
}

# A machine that is started again: nothing is mounted, no process is there, the files are.
test_restart_machine() {
	start
	import "$IMAGES/bb.tar"
	background bb localhost/bb:1
	inside bb 'echo mine >/mine'
	end "$CONTAINERD_PID" KILL
	! plugin_used || end "$PLUGIN_PID" KILL
	# All but this shell and init: shims and containers.
	for pid in $(ps -e -o pid= -o comm= | awk '/containerd-shim|sleep/ { print $1 }'); do kill -KILL "$pid"; done
	for point in $(awk -v t="$T/" 'index($5, t) == 1 { print $5 }' /proc/self/mountinfo | tac); do umount -l "$point"; done
	rm -rf state /run/containerd c.sock* t.sock
	start_plugin
	start_containerd
	judge
	# The container's record is there; its task is started again on the same snapshot.
	ctr tasks start -d bb
	wait_for 20 "the container" running bb
	same "$(inside bb 'cat /mine /var/swap')" "mine
again"
	stop_container bb
	remove_all
	nothing_left
}
