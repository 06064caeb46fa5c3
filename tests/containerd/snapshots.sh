# Snapshots one by one, as `ctr snapshots` handles them.

# mounted KEY DIR: mounts what the snapshotter says, as containerd's clients do. (ctr writes a command
# for mount(8), which takes no more than a page of options.)
mounted() {
	mkdir -p "$2"
	"$ASK" mount -containerd "$T/c.sock" -namespace "${NS:-default}" -snapshotter "$SNAPSHOTTER" "$1" "$2"
}

# top_of IMAGE: the name of the snapshot that a container of an image is made on; it has no children.
top_of() {
	snapshots ls | tail -n +2 >all.snapshots
	awk '{ print $1 }' all.snapshots >names
	awk 'NF == 3 { print $2 }' all.snapshots | sort >parents
	sort names | comm -23 - parents | grep '^sha256:'
}

test_snapshots() {
	start
	import "$IMAGES/bb.tar"
	same "$(snapshots ls | tail -n +2 | wc -l)" 3
	top=$(top_of)
	same "$(echo "$top" | wc -l)" 1

	snapshots prepare key "$top"
	snapshots prepare key "$top" && wrong "a key was prepared twice" || true
	snapshots prepare other no-such-parent && wrong "prepared on nothing" || true
	# The mount command that ctr says is one, too.
	mkdir m
	eval "$(snapshots mounts "$T/m" key)"
	same_tree "$T/m" "$IMAGES/bb"
	echo added >m/added
	rm m/var/swap
	umount m
	snapshots info key >info
	jq -e --arg top "$top" '.Kind == "Active" and .Parent == $top' info || wrong "info is $(cat info)"
	snapshots usage key | grep -q "^key" || wrong "no usage of key"

	# What a differ makes of it is its changes alone.
	snapshots diff key >diff.tar.gz
	tar -tf diff.tar.gz | grep -v '/$' | sort >names
	same "$(cat names)" "$(printf 'added\nvar/.wh.swap')"

	snapshots commit name key
	snapshots info key && wrong "a committed key is still there" || true
	jq -e '.Kind == "Committed"' <<-END || wrong "the name is not committed"
		$(snapshots info name)
	END
	snapshots commit again name && wrong "what is committed was committed" || true
	# 1.6 and 2.x read the line of `label` alike.
	snapshots label name colour=green
	same "$(snapshots info name | jq -r .Labels.colour)" green
	# A view by ctr is nobody's, and containerd 2 may collect it at once: the judge has views there.
	if [ "$VERSION" = debian ]; then
		snapshots view look name
		mounted look "$T/m"
		same "$(cat m/added)" added
		[ ! -e m/var/swap ] || wrong "what was deleted is in the view"
		(: >m/written) 2>/dev/null && wrong "a view was written" || true
		umount m
		snapshots rm look
	fi
	snapshots prepare above name
	snapshots tree >tree
	grep -q name tree && grep -q above tree || wrong "the tree is $(cat tree)"
	snapshots rm name && wrong "removed below another" || true
	snapshots rm above
	snapshots rm name
	same "$(snapshots ls | tail -n +2 | wc -l)" 3

	# Without a parent there is nothing below.
	snapshots prepare empty
	mounted empty "$T/m"
	same "$(ls -A m)" ''
	echo first >m/first
	umount m
	snapshots commit base empty
	snapshots prepare second base
	mounted second "$T/m"
	same "$(cat m/first)" first
	umount m
	snapshots rm second
	snapshots rm base
	remove_all
	nothing_left
}

# Keys are whatever containerd's users want.
test_snapshot_keys() {
	start
	for key in 'a key' 'sha256:0123' /a/path ../../up a,b 'ünï' "$(head -c 400 /dev/zero | tr '\0' k)"; do
		snapshots prepare "$key"
		mounted "$key" "$T/m"
		echo "$key" >m/key
		umount m
		snapshots commit "$key of it" "$key"
		snapshots prepare "$key" "$key of it"
		mounted "$key" "$T/m"
		same "$(cat m/key)" "$key"
		umount m
		snapshots rm "$key"
		snapshots rm "$key of it"
	done
	remove_all
	nothing_left
}

# A chain that is longer than a mount's page of options.
test_snapshot_chain() {
	start
	parent=''
	for i in $(seq 1 100); do
		# shellcheck disable=SC2086
		snapshots prepare "k$i" $parent
		mounted "k$i" "$T/m"
		echo "$i" >"m/f$i"
		[ "$i" -lt 2 ] || rm "m/f$((i - 1))"
		umount m
		snapshots commit "n$i" "k$i"
		parent=n$i
	done
	# Nothing refers to a view: the collection that comes after a hundred changes takes it.
	for _ in 1 2 3; do
		snapshots view look n100
		! mounted look "$T/m" || break
	done
	same "$(cd m && cat ./*)" 100
	same "$(ls m)" f100
	umount m
	snapshots rm look
	for i in $(seq 100 -1 1); do snapshots rm "n$i"; done
	remove_all
	nothing_left
}
