# One store, and more than one user: its owner without root, the machine's root, somebody else.
# What they begin with is in rootless.sh.

# Root reads, mounts, commits and removes what a user has made, who goes on with it afterwards.
test_rootless_store_in_the_hands_of_root() {
	rootless_setup
	lower_tree
	chmod 777 .
	mkdir -m 777 user-did
	as_script 'round "$1"; "$OVL" create second base; "$OVL" create third base'
	rootless range sh script user-did >log 2>&1 || wrong "$(cat log)"
	same "$(ovl list | tr '\n' ' ')" 'base box live overlay root second third '
	exits 0 "$OVL" check
	grep -q '^box: not recorded: owners and attributes: ' out || wrong "$(cat out)"
	grep -v '(note)$' out && wrong "damage is told"
	ovl changes box | cmp - user-did/changes
	# With the owners as they are outside.
	ovl diff box >outside.tar
	tar --numeric-owner -tvf outside.tar | grep -q ' 100064\|/100005 ' || wrong "$(tar --numeric-owner -tvf outside.tar)"
	path=$(ovl mount second)
	same "$(cat "$path/etc/motd")" x
	rm "$path/etc/motd"
	for command in 'rm second' 'commit second' 'mount second'; do
		# shellcheck disable=SC2086
		exits 1 rootless range "$OVL" $command
		one_line "${command% *}: (second|.*/second/merged): .*(mounted|holds it|a copy of a mount)"
	done
	ovl unmount second
	path=$(ovl mount box --ro)
	[ ! -e "$path/etc/motd" ] && [ -f "$path/etc/again/new" ]
	ovl unmount box
	ovl commit third
	ovl create fourth third
	ovl rm overlay
	# Of the store's own files none is root's.
	find home/store -user 0 ! -path '*/upper/*' ! -path '*/work/work*' >owned
	same "$(cat owned)" ""
	rootless range sh -ec '
		path=$("$0" mount second)
		[ ! -e "$path/etc/motd" ]
		rm "$path/name"
		"$0" unmount second
		"$0" commit second
		"$0" mount fourth >/dev/null
		"$0" unmount fourth
		"$0" check
		for id in fourth third live box root second base; do "$0" rm $id; done
		"$0" gc' "$OVL" >log 2>&1 || wrong "$(cat log)"
	same "$(ls -A home/store/layer home/store/trash home/store/stage | grep -v :)" ""
}

# What the user has mounted, root cannot see, but for that it is in use.
test_rootless_mount_is_in_use_for_root() {
	rootless_setup
	lower_tree
	chmod 777 .
	rootless range "$OVL" apply base low.tar >log
	rootless range "$OVL" create box base
	mkfifo -m 666 up down
	rootless range sh -ec '"$0" mount box >/dev/null; echo >up; read -r x <down; "$0" unmount box' "$OVL" &
	user=$!
	timeout 20 cat up >/dev/null || wrong "it is not mounted"
	for command in 'rm box' 'commit box' 'mount box'; do
		# shellcheck disable=SC2086
		exits 1 "$OVL" $command
		one_line "${command% *}: box: .*(mounted|holds it)"
	done
	ovl gc >log
	exits 0 "$OVL" check
	echo >down
	wait $user
	ovl rm box
	ovl rm base
}

# A layer that a killed root left mounted is no trap for its owner.
test_rootless_store_left_mounted_by_root() {
	rootless_setup
	lower_tree
	rootless range "$OVL" apply base low.tar >log
	rootless range "$OVL" create box base
	unshare --mount --propagation private "$OVL" mount box >log
	rootless range "$OVL" mount box >log 2>err || wrong "$(cat err)"
	rootless range "$OVL" rm box 2>err || wrong "$(cat err)"
	rootless range "$OVL" rm base
}

# A store is for its owner: what others meet says so, and nothing is changed.
test_rootless_meets_a_store_of_root() {
	rootless_setup
	mkdir shared
	export OVL_STORE="$T/shared/store"
	base
	find shared -printf '%p %i %m %u %T@\n' | sort >before
	for command in list 'create x' 'apply x low.tar' 'mount base' 'rm base' check gc 'diff base'; do
		: >low.tar
		# shellcheck disable=SC2086
		exits 1 as_user "$OVL" $command
		one_line "${command%% *}: .*: a store is its owner.s alone, who is user 0; this is user 1000: "
	done
	exits 1 rootless range "$OVL" list
	one_line 'list: .*: a store is its owner.s alone, who is user 65534; this is user 0: '
	find shared -printf '%p %i %m %u %T@\n' | sort | cmp before - || wrong "something was changed"
}

# Two users' namespaces on one store: one id sees what the range made, and says what it cannot.
test_rootless_with_fewer_ids_than_before() {
	rootless_setup
	lower_tree
	rootless range "$OVL" apply base low.tar >log
	rootless range "$OVL" diff base '' >whole.tar 2>err
	same "$(cat err)" ""
	rootless one "$OVL" list >log
	same "$(cat log)" base
	# dir and dir/file are somebody's in the range.
	rootless one "$OVL" --json info base >log
	rootless one "$OVL" diff base '' >some.tar 2>err
	one_line 'diff: base: 2 owners not kept: not permitted here'
	rootless one "$OVL" check >out 2>err || wrong "$(cat out err)"
	grep -q '^base: not recorded: owners and attributes: ' out || wrong "$(cat out)"
}
