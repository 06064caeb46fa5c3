#!/bin/sh
# The benchmark runs through on tiny inputs, its reports are whole, and what is wrong fails it. Asserts
# no time.
set -u
case $0 in /*) ;; *) exec sh "$PWD/$0" ;; esac
cd "$(dirname "$0")/../.." || exit 1
top=$PWD

# As root it works on a tmpfs of its own, where no sync waits for others.
if [ -z "${OVL_BENCH_TEST:-}" ]; then
	disk=$(mktemp -d "${TMPDIR:-/tmp}/ovl-bench.XXXXXX")
	trap 'rm -rf "$disk"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	mkdir -m 777 "$disk/base" "$disk/theirs"
	chmod 755 "$disk"
	if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
		OVL_BENCH_TEST=$disk unshare --mount --propagation private sh "$0"
	else
		OVL_BENCH_TEST=$disk sh "$0"
	fi
	exit
fi
disk=$OVL_BENCH_TEST
base=$disk/base
fs=here
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o mode=755 tmpfs "$base" 2>/dev/null &&
	{ command -v mkfs.ext4 || [ -x /sbin/mkfs.ext4 ]; } >/dev/null; then
	fs=ext4
fi
passed=0 failed=0

result() {
	if [ "$2" = 0 ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED bench_$1"
		[ ! -e "$base/log" ] || tail -n 30 "$base/log" | sed 's/^/    /'
	fi
}

skip() {
	case ,${OVL_TEST_HAVE:-}, in
	*,"$2",*) echo "bench_$1: OVL_TEST_HAVE declares $2, but: $3" >"$base/log"; result "$1" 1 ;;
	*) echo "SKIP bench_$1: lacks $2 ($3)" ;;
	esac
}

command -v python3 >/dev/null || { skip all python3 "no such program in PATH"; exit $failed; }
"${CARGO:-cargo}" bench --locked --no-run --bench bench >"$base/log" 2>&1 || { result build 1; exit 1; }
bench=$(sed -n 's/.*Executable.*(\(.*\))$/\1/p' "$base/log")

export ENTRIES=300 SMALL=200 BIG=1 CHANGED=20 ROUNDS=1 CYCLES=2 LAYERS=2,4 CHAINS=1,3
export OVL_BENCH_DIR="$base" OVL_BENCH_OUT="$base/out"
unset TREE TAR JOBS QUICK OVL

# A run of the program with these jobs; its reports anew.
run() {
	rm -rf "$base/out"
	timeout -k 5 200 "$bench" --bench "$@" >"$base/log" 2>&1
}

# The reports of the last run, which must have these jobs.
whole() {
	python3 - "$base/out" "$@" >>"$base/log" 2>&1 <<-'END'
		import json, math, sys, xml.dom.minidom
		out, wanted = sys.argv[1], set(sys.argv[2:])
		report = json.load(open(out + "/report.json"))
		names = {job["name"] for job in report["jobs"]}
		assert wanted <= names, (wanted - names, report["left_out"])
		text = open(out + "/report.md").read()
		assert not report["failed"], report["failed"]
		assert report["version"] == 1 and report["rounds"] == 1 and report["machine"]["cpus"] > 0
		for job in report["jobs"]:
		    assert job["title"] in text and job["entries"] > 0 and job["rows"][0]["who"] == "ovl", job
		    assert any("peak" in verdict["what"] for verdict in job["verdicts"]), job
		    for row in job["rows"]:
		        assert 0 < row["wall"]["min"] <= row["wall"]["median"] <= row["wall"]["max"] < 300, row
		        assert row["who"] != "ovl" or (row["flaw"] is None and row["rss_kib"] > 0), row
		        assert row["who"] != "floor" or row["flaw"] is None, row
		        assert row["who"] == "ovl" or row["wall_ratio"]["median"] > 0, row
		    floored = "clone" in job["name"] or job["name"] in ("apply-tar", "remove-space")
		    if floored and not job["name"].endswith("-synced"):
		        assert job["rows"][-1]["who"] == "floor", job
		        assert any("to floor" in verdict["what"] for verdict in job["verdicts"]), job
		    for calls in job["calls"]:
		        assert calls["total"] > 20 and calls["names"], calls
		    for verdict in job["verdicts"]:
		        assert math.isfinite(verdict["got"]), verdict
		        assert verdict["reached"] == (verdict["got"] <= verdict["target"]), verdict
		for name in ("wall.svg", "cpu.svg"):
		    svg = xml.dom.minidom.parse(out + "/" + name)
		    assert len(svg.getElementsByTagName("rect")) > len(names), name
	END
}

# Everything.
jobs="clone-hardlink clone-content apply-tar apply-tar-synced apply-gz remove-space"
if [ $fs = ext4 ]; then
	jobs="$jobs diff-many diff-one cycle-1-volatile cycle-3-synced remove-gone open"
else
	skip on_ext4 ext4 "not root, or no mkfs.ext4"
fi
FS=$fs run && whole $jobs
result "on_$fs" $?
if [ $fs = ext4 ] && { command -v mkfs.xfs || [ -x /sbin/mkfs.xfs ]; } >/dev/null; then
	FS=xfs run clone apply-tar-synced && whole clone-content apply-tar-synced
	result on_xfs $?
else
	skip on_xfs xfs "not root, or no mkfs.xfs"
fi
FS=here OVL_BENCH_DIR="$disk" run clone-content && whole clone-content
result where_it_stands $?
! losetup -a 2>/dev/null | grep -q "$disk" && ! grep -q "$base/" /proc/self/mounts &&
	[ -z "$(find "$base/ovl-bench" "$disk/ovl-bench" -mindepth 1)" ]
result leaves_nothing $?

# Somebody else, for whom nothing can be mounted.
nobody=
[ "$(id -u)" != 0 ] || nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
if $nobody test -x "$bench" && $nobody test -r "$top/benches/calls/open.c"; then
	rm -rf "$base/out"
	OVL_BENCH_DIR="$disk/theirs" OVL_BENCH_OUT="$disk/theirs/out" timeout -k 5 200 \
		$nobody "$bench" --bench clone apply-tar >"$base/log" 2>&1 &&
		mv "$disk/theirs/out" "$base/out" && whole clone-hardlink apply-tar
	result without_root $?
else
	echo "SKIP bench_without_root: lacks a tree that others may read"
fi

# A tool that loses anything of a copy fails the run. Each line changes one thing in the copy, the
# current directory; the time of the directory that it is in is put back.
losses() {
	cat <<-'END'
		content printf Q | dd of="$f" conv=notrunc status=none; touch -d "$t" "$f"
		size printf Q >>"$f"; touch -d "$t" "$f"
		mode chmod 640 "$f"
		owner chown 12:34 "$f"
		nanoseconds touch -d "${t%%.*}.123456789" "$f"
		absence rm "$f"
		name mv "$f" "$f.other"
		link f=$(find . -type f -links +1 | sort | head -n 1); at; cp -a "$f" ref2; mv ref2 "$f"
		symlink f=$(find . -type l | sort | head -n 1); at; t=$(stat -c %y "$f"); ln -sfn elsewhere "$f"; touch -hd "$t" "$f"
		attribute f=$(getfattr -Rhm user.origin . | sed -n 's/^# file: //p' | head -n 1); at; setfattr -x user.origin "$f"
		device f=dev/zero; at; t=$(stat -c %y $f); rm $f; mknod -m 666 $f c 1 8; touch -d "$t" $f
		directory touch -d @7 dev; d=
	END
}
cat >"$base/lossy" <<-END
	#!/bin/sh
	"$top/build/ovl" "\$@" || exit
	[ "\$1" = copy ] || exit 0
	for last; do :; done
	cd "\$last" || exit 1
	at() { d=\$(dirname "\$f"); touch -r "\$d" "$base/ref"; touch -r . "$base/top"; }
	f=\$(find . -name '*.conf' -size +0 -links 1 ! -newermt '2100-01-01' | sort | head -n 1)
	t=\$(stat -c %y "\$f")
	at
	. "$base/loss"
	[ -z "\$d" ] || touch -r "$base/ref" "\$d"
	[ "\$d" = . ] || touch -r "$base/top" .
END
chmod 755 "$base/lossy"
export OVL="$base/lossy"
: >"$base/loss"
FS=$fs run clone-content
result nothing_lost $?
losses >"$base/losses"
while read -r what how; do
	[ "$(id -u)" = 0 ] || case $what in owner | device) continue ;; esac
	command -v setfattr >/dev/null || [ "$what" != attribute ] || continue
	echo "$how" >"$base/loss"
	! FS=$fs run clone-content </dev/null && grep -q 'ovl: wrong: got ' "$base/log"
	result "lost_$what" $?
done <"$base/losses"
unset OVL

# Bad words are told, and begin nothing.
! ENTRIES=many run && grep -q '^bench: ENTRIES: many: not a number' "$base/log" &&
	! TREE=/nowhere run && grep -q '^bench: TREE: /nowhere: not a directory' "$base/log" &&
	! run --fast && grep -q '^bench: --fast: unknown option' "$base/log" && [ ! -e "$base/out" ]
result bad_words $?

echo "bench: $passed passed, $failed failed"
[ $failed = 0 ]
