# changes and diff, and the pipes between them.

changed() {
	container
	in_container 'echo x >/added; echo y >>/etc/motd; rm /bin/touch; mkdir /dir; echo z >/dir/in'
}

test_changes() {
	changed
	same "$(ovl changes c)" "$(printf 'A /added\nC /bin\nD /bin/touch\nA /dir\nA /dir/in\nC /etc\nC /etc/motd')"
}

test_changes_of_nothing_changed() {
	container
	exits 0 "$OVL" changes c
	same "$(cat out err)" ""
}

test_changes_against_another_parent() {
	changed
	ovl changes c '' | grep -qx 'A /bin/cat'
	ovl changes c '' | grep -q '^D' && wrong "nothing can be deleted from nothing"
	ovl apply top --parent base --kind root "$BASE/rootfs.tar"
	ovl changes c top | grep -qx 'A /added'
	refuses 'changes: ' changes c nosuch
}

# Names with a newline, a tab, a backslash, 127, a quote, UTF-8, and a byte that is not UTF-8.
odd_names() {
	container
	in_container "$(printf "cd /root; : >'new\nline'; : >'ta\tb'; : >'back\\\\slash'; : >'del\177'; \
		: >'quo\"te'; : >'\303\251'; : >'bad\377'")"
}

test_changes_escapes_odd_names() {
	odd_names
	ovl changes c | LC_ALL=C sort >got
	cat >wanted <<-'END'
		A /root/back\134slash
		A /root/del\177
		A /root/new\012line
		A /root/quo"te
		A /root/ta\011b
	END
	printf 'A /root/bad\377\nA /root/\303\251\n' >>wanted
	LC_ALL=C sort -o wanted wanted
	grep -v '^C /root$' got >got.names
	cmp wanted got.names || wrong "$(cat got)"
}

test_changes_z_escapes_nothing() {
	need python3
	odd_names
	ovl changes c -z >got
	python3 - <<'PY'
records = open("got", "rb").read().split(b"\0")
assert records.pop() == b"", records
records = sorted(r for r in records if r != b"C /root")
names = [b"new\nline", b"ta\tb", b"back\\slash", b"del\177", b'quo"te', b"\303\251", b"bad\377"]
assert records == sorted(b"A /root/" + n for n in names), records
PY
	refuses 'changes: -z: ' --json changes c -z
}

test_changes_json() {
	need python3
	odd_names
	ovl --json changes c >got
	python3 - <<'PY'
import json
items = json.loads(open("got", "rb").read().decode("utf-8"))
names = sorted(i["name"] for i in items if i["what"] == "A")
wanted = ["new\nline", "ta\tb", "back\\slash", "del\177", 'quo"te', "\u00e9", "bad\\377"]
assert names == sorted("/root/" + n for n in wanted), names
PY
}

test_diff_pipes_into_apply() {
	changed
	ovl diff c | "$OVL" apply copy --parent base - >out
	same "$(cat out)" "sha256:$(ovl diff c | sha256)"
	same "$(ovl diff copy | sha256)" "$(ovl diff c | sha256)"
	same "$(ovl diff copy '' | sha256)" "$(ovl diff c '' | sha256)"
	same "$(ovl changes copy)" "$(ovl changes c)"
}

test_diff_is_a_layer_tar() {
	changed
	ovl diff c >c.tar
	tar -tf c.tar >names
	grep -qx 'bin/.wh.touch' names
	grep -qx 'added' names
	same "$(tar -xOf c.tar added)" x
	grep -q 'bin/cat' names && wrong "an unchanged file is in it"
	ovl diff c '' >all.tar
	tar -tf all.tar | grep -qx 'bin/cat'
	tar -tf all.tar | grep -q '\.wh\.' && wrong "a whiteout of nothing"
	return 0
}

test_diff_refuses_a_terminal() {
	container
	on_a_terminal "$OVL diff c" && wrong "it exits with 0"
	grep -q 'ovl: diff: standard output: is a terminal' said
}

test_diff_of_a_closed_pipe_ends() {
	base
	(ovl diff base '' || true) | head -c 1 >/dev/null
	ovl check
}

test_diff_keeps_to_source_date_epoch() {
	changed
	in_container 'touch -d @1000000000 /added'
	ovl diff c >plain.tar
	SOURCE_DATE_EPOCH=1234567890 ovl diff c >clamped.tar
	TZ=UTC tar -tvf clamped.tar --full-time | grep -v /.wh. | awk '{ print $4, $5, $6 }' | sort >got
	grep -q '^2001-09-09 01:46:40 added$' got || wrong "an older time was changed: $(cat got)"
	grep -q '^2009-02-13 23:31:30 dir/in$' got || wrong "a newer time was kept: $(cat got)"
	awk '$1 > "2009-02-13" { print; bad = 1 } END { exit bad }' got || wrong "later than the clamp"
	SOURCE_DATE_EPOCH='' ovl diff c | cmp - plain.tar || wrong "empty is not unset"
	for bad in x -1 12x 1.5 99999999999999999999; do
		SOURCE_DATE_EPOCH=$bad exits 1 "$OVL" diff c
		grep -q '^ovl: diff: SOURCE_DATE_EPOCH: ' err || wrong "$bad: $(cat err)"
	done
}
