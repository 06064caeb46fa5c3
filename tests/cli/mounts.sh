# mount and unmount: a mount stays after the tool has ended, and goes when it is told to.

mounts_of() {
	grep -c "$T" /proc/self/mountinfo || true
}

test_mount_stays_and_unmount_ends_it() {
	container
	path=$(ovl mount c)
	mountpoint -q "$path"
	same "$(cat "$path/etc/motd")" "a tiny root file system"
	echo x >"$path/new"
	ovl info c | grep -qx 'mounted: 1'
	ovl unmount c
	same "$(mounts_of)" 0
	ovl info c | grep -qx 'mounted: 0'
	ovl changes c | grep -qx 'A /new'
	refuses 'unmount: ' unmount c
}

test_mount_at_a_directory() {
	container
	mkdir "$T/at"
	same "$(ovl mount c "$T/at")" "$T/at"
	echo x >at/new
	ovl unmount "$T/at"
	same "$(mounts_of)" 0
	refuses 'mount: ' mount c "$T/nosuch"
	mkdir "relative dir"
	ovl mount c "relative dir" >out
	[ -e "relative dir/new" ]
	ovl unmount "./relative dir"
	same "$(mounts_of)" 0
}

test_mount_ro() {
	container
	path=$(ovl mount c --ro)
	(echo x >"$path/new") 2>/dev/null && wrong "it can be written"
	ovl unmount c
	path=$(ovl mount --ro base)
	(echo x >"$path/new") 2>/dev/null && wrong "it can be written"
	ovl unmount base
	refuses 'mount: ' mount base
}

test_mount_ro_is_not_volatile() {
	ovl create c
	ovl commit c
	refuses 'mount: --volatile: cannot be combined with --ro' mount c --ro --volatile
}

test_mount_json() {
	need jq
	container
	mkdir "$T/at"
	same "$(ovl --json mount c "$T/at" | jq -r .path)" "$T/at"
	ovl unmount c
}

test_a_mounted_layer_is_in_use() {
	container
	ovl mount c >out
	refuses 'rm: ' rm c
	refuses 'commit: ' commit c
	ovl unmount c
	ovl rm c
}

test_unmount_while_a_file_is_open() {
	container
	path=$(ovl mount c)
	exec 9>"$path/file"
	refuses 'unmount: ' unmount c
	exec 9>&-
	ovl unmount c
}
