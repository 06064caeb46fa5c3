# run: the status, the signals, what a command finds inside, and that nothing is left.

test_run_status() {
	container
	exits 0 "$OVL" run c -- /bin/sh -c 'exit 0'
	exits 7 "$OVL" run c /bin/sh -c 'exit 7'
	exits 137 "$OVL" run c -- /bin/sh -c 'kill -9 $$'
	exits 143 "$OVL" run c -- /bin/sh -c 'kill -15 $$'
	same "$(cat out err)" ""
	exits 127 "$OVL" run c -- nosuch
	one_line 'run: nosuch: '
	exits 127 "$OVL" run c -- /bin/nosuch
	exits 126 "$OVL" run c -- /etc/motd
	one_line 'run: /etc/motd: '
	exits 126 "$OVL" run c -- /etc
	exits 125 "$OVL" run nosuch -- true
	one_line 'run: nosuch: '
}

test_run_default_is_a_shell() {
	container
	same "$(echo 'echo hello' | "$OVL" run c)" hello
	same "$(echo 'echo hello' | "$OVL" run c --)" hello
}

test_run_hands_arguments_on() {
	container
	ovl run c -- /bin/sh -c 'for a; do echo "<$a>"; done' sh -- --json 'a b' '' '*' -x >out
	same "$(cat out)" "$(printf '<--json>\n<a b>\n<>\n<*>\n<-x>' | sed '1i <-->')"
	ovl run c /bin/sh -c 'echo "$1"' sh -- >out
	same "$(cat out)" --
}

test_run_finds_commands_in_the_layer() {
	container
	in_container 'mkdir -p /usr/local/bin; echo "echo mine" >/usr/local/bin/only-here; chmod 755 /usr/local/bin/only-here'
	same "$(PATH=/nowhere "$OVL" run c only-here)" mine
	mkdir outside
	printf '#!/bin/sh\necho outside\n' >outside/not-there
	chmod 755 outside/not-there
	exits 127 env PATH="$T/outside:$PATH" "$OVL" run c not-there
}

test_run_in_namespaces_of_its_own() {
	container
	for kind in mnt pid uts ipc; do
		[ "$(in_container "readlink /proc/self/ns/$kind")" != "$(readlink /proc/self/ns/$kind)" ] ||
			wrong "$kind is shared"
	done
	same "$(in_container 'readlink /proc/self/ns/net')" "$(readlink /proc/self/ns/net)"
	same "$(in_container 'uname -n')" c
	same "$(in_container 'echo $$')" 2
	same "$(in_container 'ls -d /proc/[0-9]* | head -n 1')" /proc/1
	same "$(in_container 'ls /')" "$(ls "$BASE/rootfs")"
}

test_run_has_dev_proc_sys() {
	container
	in_container '
		echo x >/dev/null && [ -c /dev/null ] && [ -c /dev/tty ] || exit 1
		[ "$(head -c 3 /dev/zero | cat -v 2>/dev/null | head -c 2)" != "" ] || [ -c /dev/zero ] || exit 2
		[ "$(head -c 8 /dev/urandom | head -c 8)" ] && [ -c /dev/random ] || exit 3
		{ echo x >/dev/full; } 2>/dev/null && exit 4
		echo x >/dev/shm/file && [ -d /dev/pts ] && [ -e /dev/pts/ptmx ] || exit 5
		[ -d /sys/kernel ] && [ -r /proc/self/status ] || exit 6
		mkdir /sys/mine 2>/dev/null && exit 7
		grep x /dev/fd/0 2>/dev/null; [ -e /dev/stdin ] || exit 8
		exit 0'
	same "$(in_container 'cd /dev; ls' | tr '\n' ' ')" \
		"fd full null ptmx pts random shm stderr stdin stdout tty urandom zero "
}

test_run_binds_resolv_conf_for_reading() {
	[ -f /etc/resolv.conf ] || skip resolv.conf
	container
	same "$(in_container 'cat /etc/resolv.conf')" "$(cat /etc/resolv.conf)"
	cp /etc/resolv.conf before
	in_container 'echo x >>/etc/resolv.conf' 2>/dev/null && wrong "the host's file can be written"
	cmp before /etc/resolv.conf
	same "$(ovl changes c)" ""
}

test_run_leaves_a_link_alone() {
	container
	in_container 'mkdir /run' || true
	ovl run c -- /bin/sh -c 'true'
	path=$(ovl mount c)
	ln -sf ../run/resolv.conf "$path/etc/resolv.conf"
	ln -s /etc "$path/link"
	rmdir "$path/sys"
	ln -s ../../../../../.. "$path/sys"
	ovl unmount c
	exits 0 "$OVL" run c -- /bin/sh -c '[ ! -e /etc/resolv.conf ] && ls /sys/etc/motd'
	same "$(cat err)" ""
}

test_run_changes_nothing_of_its_own_accord() {
	container
	exits 0 "$OVL" run c -- /bin/sh -c true
	same "$(cat err)" ""
	same "$(ovl changes c)" ""
}

test_run_makes_no_mount_points() {
	mkdir -p small
	cp -r "$BASE/rootfs/bin" small/
	[ ! -d "$BASE/rootfs/lib" ] || cp -r "$BASE/rootfs"/lib* small/
	tar_of small.tar small
	ovl apply base small.tar >out
	ovl create c base
	exits 0 "$OVL" run c -- /bin/sh -c '[ ! -e /dev ] && [ ! -e /proc ] && [ ! -e /sys ]'
	same "$(cat err)" ""
	same "$(ovl changes c)" ""
}

test_run_of_a_committed_layer_is_read_only() {
	base
	exits 0 "$OVL" run base -- /bin/sh -c 'cat /etc/motd'
	ovl run base -- /bin/sh -c 'echo x >/new' 2>/dev/null && wrong "it can be written"
	ovl check
}

test_run_in_a_mounted_layer() {
	container
	path=$(ovl mount c)
	in_container 'echo x >/new'
	same "$(cat "$path/new")" x
	mountpoint -q "$path"
	ovl unmount c
}

test_run_twice_at_once_is_busy() {
	container
	"$OVL" run c -- /bin/sh -c 'echo up; sleep 1' >said &
	while [ ! -s said ]; do sleep 0.05; done
	exits 125 "$OVL" run c -- /bin/sh -c true
	one_line 'run: c: '
	wait
	exits 0 "$OVL" run c -- /bin/sh -c true
}

test_run_hands_signals_on() {
	container
	for signal in TERM USR1 USR2; do
		"$OVL" run c -- /bin/sh -c "trap 'echo got; exit 9' $signal; echo up; while :; do sleep 0.05; done" >said &
		process=$!
		for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
			[ -s said ] && break
			sleep 0.1
		done
		kill -$signal $process
		wait $process && got=0 || got=$?
		same "$(tr '\n' ' ' <said)$got" "up got 9"
		rm said
	done
}

test_run_ends_with_its_command() {
	container
	exits 3 "$OVL" run c -- /bin/sh -c 'sleep 1000 & exit 3'
}

test_run_killed_leaves_nothing() {
	container
	"$OVL" run c -- /bin/sh -c 'echo up >/up; sleep 1000' &
	process=$!
	sleep 1
	kill -9 $process
	wait $process 2>/dev/null || true
	sleep 0.5
	same "$(grep -c "$T" /proc/self/mountinfo || true)" 0
	exits 0 "$OVL" run c -- /bin/sh -c 'cat /up'
	same "$(cat out)" up
	ovl rm c
}

test_run_reaps() {
	container
	# The orphans become children of pid 1, which must not keep them as zombies.
	in_container '(sleep 0.1 & ) ; (sleep 0.1 & ); sleep 0.6; cat /proc/[0-9]*/stat' >out
	grep -q ' Z ' out && wrong "zombies: $(cat out)"
	return 0
}

test_run_writes_show_up() {
	container
	in_container 'echo x >/new; rm /etc/motd; mkdir /dir'
	ovl changes c | grep -qx 'A /new'
	ovl changes c | grep -qx 'D /etc/motd'
	same "$(in_container 'cat /new')" x
}

test_run_on_a_terminal() {
	container
	on_a_terminal "$OVL run c -- /bin/sh -c 'test -t 0 && echo is-a-terminal'"
	grep -q is-a-terminal said
}
