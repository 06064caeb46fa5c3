# Layers come, are looked at, and go.

test_create_list_info_rm() {
	ovl create b
	ovl create a
	same "$(ovl list)" "$(printf 'a\nb')"
	ovl info a >info
	grep -qx 'id: a' info
	grep -qx 'kind: root' info
	grep -qx 'state: writable' info
	grep -qxE 'created: [0-9]+\.[0-9]{9}' info
	ovl rm a
	same "$(ovl list)" b
	refuses 'info: ' info a
	refuses 'rm: ' rm a
	refuses 'create: ' create b
}

test_commands_that_change_are_silent() {
	base
	exits 0 "$OVL" create c base
	same "$(cat out err)" ""
	exits 0 "$OVL" commit c
	same "$(cat out err)" ""
	exits 0 "$OVL" rm c
	same "$(cat out err)" ""
}

# How often "$@" syncs.
syncs() {
	strace -f -qq -e trace=fsync,fdatasync,syncfs -o trace "$OVL" "$@" >/dev/null
	grep -cE ' (fsync|fdatasync|syncfs)\(' trace || :
}

test_durability() {
	need strace
	[ -z "${SANITIZE:-}" ] || OVL=$TOP/build/ovl # A leak check cannot be traced.
	ovl apply base "$BASE/rootfs.tar" >/dev/null    # which makes the store
	same "$(syncs apply none --durability none "$BASE/rootfs.tar")" 0
	same "$(syncs create c --durability=none)" 0
	same "$(syncs commit c --durability none)" 0
	same "$(syncs copy --durability none "$BASE/rootfs" copied)" 0
	[ "$(syncs apply full --durability full "$BASE/rootfs.tar")" -gt 0 ]
	[ "$(syncs create d --durability full)" -gt 0 ]
	[ "$(syncs copy --durability full "$BASE/rootfs" synced)" -gt 0 ]
	same "$(syncs apply usual "$BASE/rootfs.tar")" "$(syncs apply again --durability full "$BASE/rootfs.tar")"
	ovl apply verified --durability verified "$BASE/rootfs.tar" >/dev/null
	ovl create e
	ovl commit e --durability verified
	ovl check >out
	! grep -qE '^(verified|e): not recorded' out || wrong "digests were not kept: $(cat out)"
	grep -q '^full: not recorded' out
}

test_commit() {
	container
	ovl commit c
	ovl info c | grep -qx 'state: committed'
	refuses 'commit: ' commit c
	ovl create d c
	ovl info d | grep -qx 'parent: c'
}

test_rm_of_a_parent_is_refused() {
	container
	refuses 'rm: ' rm base
	ovl rm c
	ovl rm base
	same "$(ovl list)" ""
}

test_create_on_nothing() {
	refuses 'create: ' create a nosuch
	ovl create a ''
	ovl info a | grep -qx 'kind: root'
}

test_apply_prints_the_diff_id() {
	same "$(ovl apply a "$BASE/rootfs.tar")" "sha256:$(sha256 <"$BASE/rootfs.tar")"
	gzip -c "$BASE/rootfs.tar" >z.tar.gz
	same "$(ovl apply b z.tar.gz)" "sha256:$(sha256 <"$BASE/rootfs.tar")"
	same "$(ovl apply c - <"$BASE/rootfs.tar")" "sha256:$(sha256 <"$BASE/rootfs.tar")"
	same "$(cat "$BASE/rootfs.tar" | "$OVL" apply d -)" "sha256:$(sha256 <"$BASE/rootfs.tar")"
	ovl info a | grep -qx "diff_id: sha256:$(sha256 <"$BASE/rootfs.tar")"
}

test_apply_zstd() {
	need zstd
	zstd -qc "$BASE/rootfs.tar" >z.tar.zst
	same "$(ovl apply b z.tar.zst)" "sha256:$(sha256 <"$BASE/rootfs.tar")"
}

test_apply_checks_the_diff_id() {
	ovl apply a --diff-id "sha256:$(sha256 <"$BASE/rootfs.tar")" "$BASE/rootfs.tar"
	refuses 'apply: ' apply b --diff-id="sha256:$(echo | sha256)" "$BASE/rootfs.tar"
	refuses 'apply: ' apply b --diff-id=sha256:12 "$BASE/rootfs.tar"
	same "$(ovl list)" a
}

test_apply_is_all_or_nothing() {
	base
	head -c 100000 "$BASE/rootfs.tar" >short.tar
	refuses 'apply: ' apply a short.tar
	echo "no tar at all" >text
	refuses 'apply: ' apply a text
	refuses 'apply: nosuch.tar: ' apply a nosuch.tar
	refuses 'apply: ' apply a --parent nosuch "$BASE/rootfs.tar"
	refuses 'apply: ' apply base "$BASE/rootfs.tar"
	same "$(ovl list)" base
}

test_apply_on_a_parent_deletes_and_adds() {
	base
	mkdir -p top/etc
	: >top/etc/.wh.motd
	echo new >top/etc/new
	tar_of top.tar top
	for kind in root overlay; do
		ovl apply $kind --parent base --kind $kind top.tar
		ovl info $kind | grep -qx "kind: $kind"
		ovl run $kind -- /bin/sh -c 'cat /etc/new && [ ! -e /etc/motd ]' >out
		same "$(cat out)" new
	done
	refuses 'apply: ' apply x --kind overlay top.tar
}

test_json_of_a_layer() {
	need jq
	container
	ovl --json info c | jq -e '.id == "c" and .parent == "base" and .kind == "overlay"
		and .state == "writable" and .mounted == 0 and (.size | type) == "number"
		and (.created | test("^[0-9]+\\.[0-9]{9}$"))' >/dev/null
	ovl --json list | jq -e 'map(.id) == ["base", "c"]' >/dev/null
	ovl --json create d base | jq -e '.id == "d"' >/dev/null
	ovl --json commit d | jq -e '.state == "committed"' >/dev/null
	ovl --json apply e "$BASE/rootfs.tar" | jq -e '.diff_id | startswith("sha256:")' >/dev/null
	mkdir none
	same "$(ovl --store empty create x && ovl --store empty rm x && ovl --store empty --json list | jq -c .)" "[]"
}

test_status_check_gc() {
	need jq
	container
	ovl status | grep -qE '^(yes|no ) '
	ovl --json status | jq -e 'length > 0 and all(.[]; has("name") and has("detail") and has("what"))' >/dev/null
	exits 0 "$OVL" check
	# Its files have no digests: that is said, and no damage.
	same "$(cut -d : -f 1,2 out; cat err)" "base: not recorded"
	grep -q '(note)$' out
	ovl --json check | jq -e 'length == 1 and .[0].what == 2' >/dev/null
	ovl gc | grep -qx 'removed: 0'
	ovl --json gc | jq -e '.removed == 0 and .busy == 0 and .unmounted == 0 and .dropped == 0 and .left == 0' >/dev/null
}

test_check_tells_damage_and_exits_1() {
	ovl apply base "$BASE/rootfs.tar"
	rm store/layer/base/root/etc/motd
	refuses 'check: .*: [0-9]+ found' check
	grep -q '^base: ' out
}

test_warnings_of_what_was_left_out() {
	need python3
	container
	in_container 'mkdir /d && chmod 777 /d'
	python3 - store/layer/c/upper/d/socket <<'PY'
import os, socket, sys
os.chdir(os.path.dirname(sys.argv[1]))
socket.socket(socket.AF_UNIX).bind("socket")
PY
	exits 0 "$OVL" diff c
	one_line 'diff: c: 1 sockets left out'
}
