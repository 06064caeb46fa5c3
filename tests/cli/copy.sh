# copy needs no store.

tree() {
	mkdir -p src/dir
	echo content >src/dir/file
	ln src/dir/file src/link
	ln -s dir/file src/symlink
	chmod 640 src/dir/file
	unset OVL_STORE
}

test_copy() {
	tree
	exits 0 "$OVL" copy src dst
	same "$(cat out err)" ""
	same "$(cat dst/dir/file)" content
	same "$(stat -c %i dst/dir/file)" "$(stat -c %i dst/link)"
	[ "$(stat -c %i dst/dir/file)" != "$(stat -c %i src/dir/file)" ]
	same "$(readlink dst/symlink) $(stat -c %a dst/dir/file)" "dir/file 640"
	refuses 'copy: ' copy src dst
	refuses 'copy: ' copy nosuch other
	[ ! -e other ]
}

test_copy_hardlink() {
	tree
	ovl copy --hardlink src dst
	same "$(stat -c %i dst/dir/file)" "$(stat -c %i src/dir/file)"
}

test_copy_reflink() {
	tree
	ovl copy --reflink=never src never
	ovl copy --reflink auto src auto
	# The tests are on a tmpfs, which cannot share content.
	refuses 'copy: ' copy --reflink=always src always
	[ ! -e always ]
}

test_copy_json() {
	need jq
	tree
	ovl --json copy src dst | jq -e '.entries == 5 and .copied == 1 and .grouped == 1
		and .directories == 2 and .reflinked == 0' >/dev/null
}

test_copy_of_names_like_options() {
	tree
	mv src -- --src
	ovl copy -- --src --dst
	[ -e ./--dst/link ]
}
