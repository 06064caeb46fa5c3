# Cases of other stores, said with the tool.

# A diff makes no mount, whatever it reads: nothing of the layers is seen by two mounts at once.
test_diff_makes_no_mount() {
	need strace
	[ -z "${SANITIZE:-}" ] || OVL=$TOP/build/ovl # A leak check cannot be traced.
	container
	in_container 'echo x >/new; rm /etc/motd'
	path=$(ovl mount c)
	for command in 'diff c' 'changes c' 'diff c base' "diff c ''" 'info c' check; do
		: >trace
		eval "strace -f -qq -o trace -e trace=mount,fsopen,fsmount,move_mount,open_tree \"\$OVL\" $command" >out
		! grep -E '(fsmount|move_mount|mount)\(' trace | grep -v ENOSYS || wrong "$command mounts: $(cat trace)"
	done
	echo y >"$path/later"
	ovl unmount c
	ovl changes c | grep -qx 'A /later'
}

# An apply that is killed at each of its last system calls, from before the layer's rename on, and at
# many before them: the layer is not there, or it is there and whole; the next call is none the wiser.
test_apply_killed_at_a_call() {
	need strace
	[ -z "${SANITIZE:-}" ] || OVL=$TOP/build/ovl # A leak check cannot be traced.
	base
	mkdir -p top/etc top/some/dir
	: >top/etc/.wh.motd
	echo new >top/etc/new
	echo more >top/some/dir/file
	tar_of top.tar top
	digest=sha256:$(sha256 <top.tar)
	for kind in root overlay; do
		strace -f -qq -o trace "$OVL" apply probe --parent base --kind $kind top.tar >out
		ovl rm probe
		# The calls in their order, each with how many of its name came before it.
		sed -n 's/^[0-9]* *\([a-z_0-9]*\)(.*/\1/p' trace | awk '{ print $1, ++count[$1] }' >calls
		last=$(wc -l <calls)
		rename=$(awk '$1 == "renameat2" { at = NR } END { print at }' calls)
		[ -n "$rename" ] || wrong "no rename in $(cat trace)"
		points=$(seq $((rename - 2)) $((last - 1)); seq 40 12 "$rename")
		made=0 lost=0
		for at in $points; do
			set -- $(sed -n "${at}p" calls)
			strace -f -qq -o /dev/null -e trace="$1" -e inject="$1:signal=KILL:when=$2" \
				"$OVL" apply killed --parent base --kind $kind top.tar >out 2>err || :
			if has_layer killed; then
				made=$((made + 1))
				ovl info killed >info
				grep -qx 'state: committed' info || wrong "$kind at $at ($*): $(cat info)"
				grep -qx "diff_id: $digest" info || wrong "$kind at $at ($*): $(cat info)"
				same "$(ovl changes killed)" "$(printf 'C /etc\nD /etc/motd\nA /etc/new\nA /some\nA /some/dir\nA /some/dir/file')"
				ovl rm killed
			else
				lost=$((lost + 1))
				same "$(ovl list)" base
			fi
			ovl gc >out
			exits 0 "$OVL" check
			same "$(ls -A store/stage)$(ls -A store/trash)" ""
		done
		# Before the rename and after it.
		[ $lost -gt 10 ] && [ $made -gt 2 ] || wrong "$kind: made $made times, lost $lost times"
		same "$(ovl apply killed --parent base --kind $kind top.tar)" "$digest"
		ovl rm killed
	done
}

# Marks, and all that a user may make, are copied by one who is root of a user namespace alone.
test_copy_of_whiteouts_in_a_user_namespace() {
	unshare --user --map-root-user true 2>/dev/null || skip userns
	need setfattr getfattr
	unset OVL_STORE
	mkdir -p src/dir
	unshare --user --map-root-user sh -ec '
		cd src
		mknod gone c 0 0
		ln gone dir/gone
		mkfifo pipe
		setfattr -n user.overlay.opaque -v y dir
		echo x >file'
	unshare --user --map-root-user "$OVL" copy src dst 2>err || wrong "$(cat err)"
	same "$(cat err)" ""
	same "$(stat -c '%F %t:%T' dst/gone)" 'character special file 0:0'
	same "$(stat -c %i dst/gone)" "$(stat -c %i dst/dir/gone)"
	same "$(stat -c %F dst/pipe)" fifo
	same "$(getfattr --only-values -n user.overlay.opaque dst/dir)" y
	same "$(cat dst/file)" x
}

# A store by a relative path, used from other directories.
test_relative_store() {
	mkdir here there
	cd here
	ovl --store ../shop create a
	ovl --store ../shop create b a
	cd ../there
	same "$(ovl --store ../shop list)" "$(printf 'a\nb')"
	path=$(ovl --store ../shop mount b)
	same "${path#/}" "${path#?}"
	echo x >"$path/new"
	cd ..
	ovl --store shop/. unmount b
	same "$(ovl --store there/../shop changes b)" 'A /new'
}

# Owners that a user namespace has not: told, and the rest of the layer is there.
test_owners_that_a_namespace_has_not() {
	unshare --user --map-root-user true 2>/dev/null || skip userns
	mkdir top
	echo x >top/file
	tar -C top --owner=1000 --group=1001 --numeric-owner -cf top.tar .
	tar_of own.tar top
	unshare --user --map-root-user --mount sh -ec '"$OVL" apply a top.tar; "$OVL" apply b own.tar; "$OVL" diff a' >out 2>err
	one_line 'apply: a: 2 owners not kept'
	grep -qx 'marks=user' store/ovl-store
	same "$(stat -c %u:%g store/layer/a/root/file)" "$(stat -c %u:%g store/layer/b/root/file)"
	same "$(cat store/layer/a/root/file)" x
}

# Without a mounted /proc: modes of every type, as they are with it. An extended attribute cannot be
# set: an error, and nothing is left.
test_apply_without_proc() {
	need setfattr
	# What a user namespace was given at its beginning cannot be taken off again.
	unshare --mount --propagation private umount -l /proc 2>/dev/null || skip root
	[ -z "${SANITIZE:-}" ] || OVL=$TOP/build/ovl # A leak check needs /proc.
	base
	mkdir -p top/etc
	echo x >top/file
	ln -s file top/link
	mkfifo top/pipe
	: >top/etc/.wh.motd
	chmod 4711 top/file
	chmod 1467 top/pipe
	chmod 2750 top/etc
	if mknod top/null c 1 3 2>/dev/null; then
		mknod top/loop b 7 0
		chmod 7 top/null
		chmod 640 top/loop
	fi
	tar_of top.tar top
	modes() {
		(cd "store/layer/$1/$2" && find . -mindepth 1 ! -name motd ! -type l -printf '%P %y %m %U:%G\n' | sort)
	}
	without_proc() {
		LIBRARY=$TOP/build unshare --mount --propagation private sh -ec '
			umount -l /proc
			LD_LIBRARY_PATH=$LIBRARY exec "$OVL" "$@"' sh "$@"
	}
	ovl apply with --parent base --kind overlay top.tar >out
	without_proc apply without --parent base --kind overlay top.tar >out
	without_proc apply alone top.tar >out
	same "$(modes without upper)" "$(modes with upper)"
	same "$(modes alone root)" "$(modes with upper)"
	modes alone root | grep -q '^file f 4711 '
	modes alone root | grep -q '^pipe p 1467 '
	setfattr -n user.note -v x top/file
	tar --xattrs -C top -cf noted.tar .
	exits 1 without_proc apply noted noted.tar
	one_line 'apply: '
	same "$(ovl list | tr '\n' ' ')" 'alone base with without '
	same "$(ls -A store/stage)$(ls -A store/trash)" ""
	ovl apply noted noted.tar >out
	exits 0 "$OVL" check
}
