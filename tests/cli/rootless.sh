# Without root: as an ordinary user, who is root of a user namespace with one id, or with a range besides
# as newuidmap(1) makes it from /etc/subuid. And how that user and the machine's root meet in one store.

# What every test here begins with. The tool may lie where only root can go.
rootless_setup() {
	is_root || skip root
	need setpriv unshare
	as_user unshare --user --mount true 2>/dev/null || skip userns
	mkdir bin
	chmod 755 bin
	cp "$TOP/build/ovl" "$TOP/build/libovl.so.0" bin/
	OVL=$T/bin/ovl
	export LD_LIBRARY_PATH="$T/bin"
	mkdir -m 777 sync
	mkfifo -m 666 sync/ready sync/go
	mkdir -p home
	chown 1000:1000 home
	export OVL_STORE="$T/home/store"
}

as_user() {
	setpriv --reuid=1000 --regid=1000 --clear-groups "$@"
}

# rootless one|range COMMAND [ARG...]
rootless() {
	maps=$1
	shift
	setpriv --reuid=1000 --regid=1000 --clear-groups unshare --user --mount --propagation private sh -c '
		echo >"$0/ready"
		read -r maps <"$0/go"
		exec "$@"' "$T/sync" "$@" &
	child=$!
	timeout 20 cat sync/ready >/dev/null || wrong "no user namespace was made"
	case $maps in
	one)
		echo 0 1000 1 >/proc/$child/uid_map
		echo 0 1000 1 >/proc/$child/gid_map
		;;
	range)
		printf '0 1000 1\n1 100000 65536\n' >/proc/$child/uid_map
		printf '0 1000 1\n1 100000 65536\n' >/proc/$child/gid_map
		;;
	esac
	echo "$maps" >sync/go
	wait $child
}

# Something of all that a user may lack the right to make.
odd_tar() {
	need setfattr setfacl setcap python3
	mkdir odd
	mknod odd/null c 1 3
	mknod odd/disk b 8 0
	mkfifo odd/pipe
	echo x >odd/plain
	echo x >odd/owned
	chown 5:6 odd/owned
	ln odd/owned odd/linked
	ln -s plain odd/link
	chown -h 5:6 odd/link
	cp odd/plain odd/setuid
	chown 7:7 odd/setuid
	chmod 6755 odd/setuid
	cp odd/plain odd/acl
	setfacl -m u:4321:rw odd/acl
	mkdir odd/acls
	setfacl -d -m g:4321:rwx odd/acls
	cp odd/plain odd/cap
	setcap cap_net_raw+ep odd/cap
	cp odd/plain odd/cap3
	python3 -c 'import os, struct
os.setxattr("odd/cap3", "security.capability", struct.pack("<6I", 0x03000001, 1 << 13, 0, 0, 0, 4321))'
	cp odd/plain odd/trusted
	setfattr -n trusted.note -v x odd/trusted
	cp odd/plain odd/user
	setfattr -n user.note -v x odd/user
	tar -C odd --xattrs --xattrs-include='*' --acls --numeric-owner --sort=name -cf odd.tar .
}

# counts KEY... of the JSON in ./out
counts() {
	for key in "$@"; do
		printf '%s ' "$(sed -n "s/.*\"skipped_$key\":\([0-9]*\).*/\1/p" out)"
	done
}

test_rootless_counts_what_it_cannot_make() {
	rootless_setup
	odd_tar
	for id in plain root overlay; do
		options=
		[ $id = plain ] || options="--parent plain --kind $id"
		rm -rf home/store2
		for maps in one range; do
			export OVL_STORE="$T/home/$maps"
			# shellcheck disable=SC2086
			rootless $maps "$OVL" --json apply $id $options odd.tar >out 2>err || wrong "$(cat err)"
			case $maps in
			# owned (one inode with two names), link, setuid; acl, acls, cap3, trusted.
			one) same "$(counts devices owners xattrs)" '2 3 4 ' ;;
			range) same "$(counts devices owners xattrs)" '2 0 1 ' ;;
			esac
		done
	done
	content=home/one/layer/root/root
	same "$(stat -c %u:%g:%a $content/setuid)" 1000:1000:755
	same "$(stat -c %u:%g:%h $content/owned)" 1000:1000:2
	[ ! -e $content/null ] && [ -p $content/pipe ]
	same "$(getfattr --only-values -n user.note $content/user)" x
	content=home/range/layer/overlay/upper
	same "$(stat -c %u:%g:%a $content/setuid)" 100006:100006:6755
	same "$(stat -c %u:%g:%h $content/linked)" 100004:100005:2
	rootless range "$OVL" check >out 2>err || wrong "$(cat out err)"
	export OVL_STORE="$T/home/one"
	rootless one "$OVL" check >out 2>err || wrong "$(cat out err)"
	# All that the namespace has comes out again; what was counted is what is missing.
	export OVL_STORE="$T/home/range"
	rootless range "$OVL" diff overlay '' >range.tar
	OVL_STORE=$T/mine ovl apply again range.tar >out 2>err
	same "$(cat err)" ""
	rm odd/null odd/disk
	setfattr -x trusted.note odd/trusted
	listing() {
		(
			cd "$1"
			find . | sort | while read -r path; do
				stat -c '%n %F %a %u:%g %s %h' "$path"
				getfacl -n "$path" 2>/dev/null
				getfattr -h -d -m - -e hex "$path"
			done
		)
	}
	listing odd >wanted
	listing mine/layer/again/root >got
	diff wanted got || wrong "they differ"
	copy_counts
}

# As of an apply, so of a copy.
copy_counts() {
	chmod 755 odd
	mknod odd/null c 1 3
	setfattr -n trusted.note -v x odd/trusted
	rootless one "$OVL" --json copy odd home/copy-one >out 2>err || wrong "$(cat err)"
	# All are files of root and others that are nobody in there. acl, acls and cap3 name such; the
	# trusted attribute is not seen.
	same "$(counts devices owners xattrs)" '1 12 3 '
	rootless range "$OVL" --json copy odd home/copy-range >out 2>err || wrong "$(cat err)"
	same "$(counts devices xattrs)" '1 3 '
}

# Changes of every kind, with all their times set, in the mounted layer $1.
work_in() {
	cat >work <<-'END'
		set -e
		cd "$1"
		rm etc/motd
		rm -r etc/gone
		rm -r etc/again
		mkdir etc/again
		echo new >etc/again/new
		mv name renamed
		mv dir dir2
		chmod 2750 dir2
		# With one id, nobody else can be an owner.
		chown 5:6 changed || true
		chmod 4711 changed
		ln changed changed-too
		ln -s changed link
		chown -h 7:8 link || true
		mkfifo pipe
		chown 65534:65534 pipe || true
		setfattr -n user.note -v x changed
		setfacl -m u:4321:r etc/again/new || true
		find . -exec touch -h -d '2020-02-02 02:02:02.020202020 UTC' {} +
	END
	# overlayfs renames no directory of a lower as it is, mv(1) copies it then.
	sh ./work "$1"
}

lower_tree() {
	need setfattr setfacl
	mkdir -p low/etc/gone low/etc/again low/dir
	echo x >low/etc/motd
	echo x >low/etc/gone/file
	echo x >low/etc/again/old
	echo x >low/name
	echo x >low/changed
	echo x >low/dir/file
	chown -R 3:4 low/dir
	tar -C low --numeric-owner --owner=0 --group=0 --sort=name -cf low.tar etc name changed
	tar -C low --numeric-owner --sort=name -rf low.tar dir
}

# round: the whole life of a layer; the diff is in ./diff.tar of the directory $2.
round() {
	"$OVL" apply base low.tar >/dev/null &&
		"$OVL" create box base &&
		path=$("$OVL" mount box) &&
		work_in "$path" &&
		"$OVL" unmount box &&
		"$OVL" diff box >"$1/diff.tar" &&
		"$OVL" changes box >"$1/changes" &&
		"$OVL" commit box &&
		for kind in root overlay; do
			"$OVL" apply $kind --parent base --kind $kind "$1/diff.tar" >/dev/null &&
				"$OVL" diff $kind base >"$1/$kind.tar" && cmp "$1/diff.tar" "$1/$kind.tar" || return 1
		done &&
		"$OVL" create live box &&
		"$OVL" copy "$OVL_STORE/layer/root/root" "$1/copy" &&
		"$OVL" check >/dev/null
}

# The functions above, for a shell that is started anew.
as_script() {
	{
		echo "set -eu"
		sed -n '/^work_in() {$/,/^}$/p; /^round() {$/,/^}$/p' "$HERE/rootless.sh"
		echo "$1"
	} >script
	chmod 644 script
}

test_rootless_gives_the_same_bytes() {
	rootless_setup
	lower_tree
	chmod 777 .
	mkdir -m 777 root-did user-did
	as_script 'round "$1"'
	rootless range sh script user-did >log 2>&1 || wrong "$(cat log)"
	grep -qx marks=user home/store/ovl-store
	# A store of root's that has these marks too: what an unprivileged user made, handed over.
	export OVL_STORE="$T/home/roots"
	rootless one "$OVL" create x
	rootless one "$OVL" rm x
	mv home/roots roots
	chown -R 0:0 roots
	export OVL_STORE="$T/roots"
	grep -qx marks=user roots/ovl-store
	sh script root-did >log 2>&1 || wrong "$(cat log)"
	cmp root-did/diff.tar user-did/diff.tar || wrong "the diffs differ"
	cmp root-did/changes user-did/changes || wrong "the changes differ"
	grep -qx 'D /etc/motd' user-did/changes
	TZ=UTC tar --numeric-owner -tvf user-did/diff.tar >listing
	grep -q ' 65534/65534 .* pipe$' listing && grep -q '^-rws--x--x 5/6 ' listing || wrong "$(cat listing)"
	tar -tf user-did/diff.tar | grep -q 'etc/again/.wh.old' || wrong "the old file came back"
	for id in live root overlay box base; do ovl rm $id; done
	export OVL_STORE="$T/home/store"
	rootless range sh -c 'for id in live root overlay box base; do "$0" rm $id || exit 1; done' "$OVL"
	same "$(ovl list)" ""
	same "$(ls -A home/store/trash home/store/stage | grep -v :)" ""
}

# on_disk KIND: a file system of that kind at ./disk, for the user.
on_disk() {
	mkdir -p disk
	case $1 in
	tmpfs) mount -t tmpfs tmpfs disk ;;
	*)
		PATH=$PATH:/sbin:/usr/sbin
		command -v mkfs.$1 >/dev/null || skip "$1"
		truncate -s 400M image
		case $1 in ext4) quick='-q -F' ;; xfs) quick='-q -f' ;; *) quick=-qf ;; esac
		# shellcheck disable=SC2086
		mkfs.$1 $quick image || skip "$1"
		mount -o loop -t $1 image disk || skip "$1"
		rm image
		;;
	esac
	trap 'umount -l disk' EXIT
	mkdir disk/home
	chown 1000:1000 disk/home
	export OVL_STORE="$T/disk/home/store"
}

on_each_disk() {
	rootless_setup
	on_disk $1
	lower_tree
	chmod 777 .
	as_script 'round "$1"; for id in live root overlay box base; do "$OVL" rm $id; done; "$OVL" gc'
	for maps in one range; do
		mkdir -m 777 $maps
		rootless $maps sh script $maps >log 2>&1 || wrong "$maps: $(cat log)"
		same "$(ls -A disk/home/store/layer disk/home/store/trash disk/home/store/stage | grep -v :)" ""
	done
	grep -q '^D /etc/motd' one/changes
}

test_rootless_on_tmpfs() {
	on_each_disk tmpfs
}

test_rootless_on_ext4() {
	on_each_disk ext4
}

test_rootless_on_xfs() {
	on_each_disk xfs
}

test_rootless_on_btrfs() {
	on_each_disk btrfs
}

# The user's own tmpfs, which nobody outside sees.
test_rootless_on_a_tmpfs_of_its_own() {
	rootless_setup
	lower_tree
	mkdir -m 777 out.d mine
	as_script 'mount -t tmpfs tmpfs mine; export OVL_STORE=$PWD/mine/store; round "$1"'
	chmod 777 .
	rootless range sh script out.d >log 2>&1 || wrong "$(cat log)"
	grep -q '^D /etc/motd' out.d/changes
}

test_rootless_run() {
	rootless_setup
	cp "$BASE/rootfs.tar" .
	chmod 644 rootfs.tar
	for maps in one range; do
		export OVL_STORE="$T/home/$maps"
		rootless $maps "$OVL" apply base rootfs.tar >out 2>err || wrong "$(cat err)"
		rootless $maps "$OVL" create c base
		rootless $maps "$OVL" run c -- /bin/sh -c 'id -u && echo x >/new && rm /etc/motd && echo y >/dev/null &&
			[ -r /proc/self/status ] && [ -c /dev/urandom ] && exit 7' >out 2>err && got=0 || got=$?
		same "$got $(cat out)" '7 0'
		same "$(cat err)" ""
		same "$(rootless $maps "$OVL" changes c)" "$(printf 'C /etc\nD /etc/motd\nA /new')"
		same "$(stat -c %u:%g "home/$maps/layer/c/upper/new")" 1000:1000
	done
}

# A runtime without root, on a mount of ours.
test_rootless_crun() {
	rootless_setup
	need crun
	cp "$BASE/rootfs.tar" .
	chmod 644 rootfs.tar
	chmod 777 .
	mkdir -m 777 bundle state
	cat >bundle/config.json <<-END
		{"ociVersion": "1.0.2", "root": {"path": "$T/home/store/layer/c/merged", "readonly": false},
		 "process": {"terminal": false, "user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin:/usr/bin"],
		  "args": ["/bin/sh", "-c", "id -u; echo made >/made; rm /etc/motd; mkdir /dir; echo x >/dir/file"]},
		 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
		  {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755", "size=65536k"]}],
		 "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]}}
	END
	for maps in one range; do
		# Where the version 2 hierarchy of control groups has controllers besides the first one's, crun
		# declines; it is content with none at all.
		rootless $maps sh -ec '
			"$0" apply base rootfs.tar >/dev/null
			"$0" create c base
			"$0" mount c >/dev/null
			mount -t tmpfs tmpfs /sys/fs/cgroup
			XDG_RUNTIME_DIR=$PWD/state crun --root "$PWD/state" --cgroup-manager=disabled run -b "$PWD/bundle" c
			"$0" unmount c
			"$0" changes c >changes
			"$0" diff c >/dev/null
			"$0" rm c
			"$0" rm base' "$OVL" >out 2>err || wrong "$maps: $(cat out err)"
		same "$(cat out)" 0
		grep -qx 'A /made' changes && grep -qx 'D /etc/motd' changes && grep -qx 'A /dir/file' changes ||
			wrong "$(cat changes)"
	done
}
