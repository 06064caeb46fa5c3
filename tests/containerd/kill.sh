# The plugin, containerd, or both, killed at any moment of imports and runs.
#
# OVL_KILLS is the number of kills, OVL_KILL_SEED what chooses them.

random() { # random N: into $r, 0 to N-1
	seed=$(((seed * 1103515245 + 12345) % 2147483648))
	r=$((seed / 8 % $1))
}

# What happens meanwhile, for as long as nobody ends it; much of it fails.
work() { # work SEED
	seed=$1
	while :; do
		sleep 0.05
		random 4
		image=$((r + 1))
		random 8
		case $r in
		0 | 1 | 2) import "$T/many/$image.tar" ;;
		3 | 4) run "w$seed" "localhost/many:$image" /bin/sh -c 'echo a >/a; rm -r /usr/3; cat /usr/4/4' && ctr containers rm "w$seed" ;;
		5) OPTIONS=-d run "d$seed" "localhost/many:$image" /bin/sh -c 'sleep 100000' ;;
		6) ctr images rm --sync "localhost/many:$image" ;;
		7) snapshots prepare "p$seed" && snapshots commit "n$seed" "p$seed" ;;
		esac
	done
}

# begin_work: two of them, each with its children in a session that can be ended as one.
begin_work() {
	workers=
	for _ in 1 2; do
		random 1000000
		setsid sh -c 'set -u; . "$HERE/../cli/lib.sh"; for file in images lib kill; do . "$HERE/$file.sh"; done; containerd_of "$VERSION"
			CTR_SECONDS=20 work "$1"' sh "$r" >>work.log 2>&1 &
		workers="$workers $!"
	done
}

end_work() {
	for worker in $workers; do pkill -KILL -s "$worker" || true; done
	for worker in $workers; do wait "$worker" 2>/dev/null || true; done
}

# kill_round KIND: both work again after it, and agree.
kill_round() {
	# Else there is often no image yet when a container would begin.
	random 4
	# An import that was killed leaves its half of a blob under the name that it has in the archive; the next
	# one goes on with it, though it may be of another image, fails ("content digest ...: not found") and
	# has cleared it away. That is containerd's and has no snapshot in it.
	import "$T/many/$((r + 1)).tar" >>work.log 2>&1 || import "$T/many/$((r + 1)).tar" >>work.log 2>&1 ||
		wrong "no image can be imported: $(tail -n 3 work.log)"
	begin_work
	random 2500
	sleep "$(printf '%d.%03d' $((r / 1000)) $((r % 1000)))"
	case $1 in
	plugin)
		end "$PLUGIN_PID" KILL
		# Some of the work goes on and finds nobody.
		random 2
		[ "$r" = 0 ] || sleep 0.3
		start_plugin
		sleep 0.3
		end_work
		;;
	containerd)
		end "$CONTAINERD_PID" KILL
		end_work
		start_containerd
		;;
	both)
		random 2
		if [ "$r" = 0 ]; then
			end "$PLUGIN_PID" KILL
			end "$CONTAINERD_PID" KILL
		else
			end "$CONTAINERD_PID" KILL
			end "$PLUGIN_PID" KILL
		fi
		end_work
		start_plugin
		start_containerd
		;;
	esac
	wait_for 30 "containerd's way back to the plugin" snapshots ls
	collect
	judge
}

test_long_kills() {
	kills=${OVL_KILLS:-60}
	seed=${OVL_KILL_SEED:-$(date +%s)}
	echo "NOTE seed $seed, $kills kills"
	make_many "$T/many" 4
	start
	done=0
	while [ $done -lt "$kills" ]; do
		done=$((done + 1))
		random 3
		kind=containerd
		! plugin_used || case $r in 0) kind=plugin ;; 1) kind=both ;; esac
		echo "kill $done of $kills: $kind"
		kill_round $kind
		if [ $((done % 10)) = 0 ] || [ $done = "$kills" ]; then
			remove_all
			remove_snapshots
			nothing_left
		fi
	done
	# The work was work: it imported and ran, and not all of it failed.
	grep -q '^4 4$' work.log || wrong "no container ran: $(tail work.log)"
	# And all is well still.
	import "$IMAGES/bb.tar"
	background bb localhost/bb:1
	same_tree "$(tree_in bb)" "$IMAGES/bb"
	stop_container bb
	remove_all
	nothing_left
}

# Snapshots that ctr made by name are collected with no image: they are removed as they were made.
remove_snapshots() {
	while [ -n "$(snapshots ls | tail -n +2)" ]; do
		before=$(snapshots ls | wc -l)
		for key in $(snapshots ls | awk 'NR > 1 { print $1 }'); do snapshots rm "$key" 2>/dev/null || true; done
		[ "$(snapshots ls | wc -l)" -lt "$before" ] || wrong "snapshots are not removed: $(snapshots ls)"
	done
	collect
}
