#!/bin/sh
# The benchmark runs through on tiny inputs, its reports are whole, and what is wrong fails it. Asserts
# no time. It works where it stands, and with root on ext4 and xfs for some jobs.
set -u
cd "$(dirname "$0")/../.." || exit 1
top=$PWD

base=$(mktemp -d "${TMPDIR:-/tmp}/ovl-bench.XXXXXX")
trap 'rm -rf "$base"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
chmod 755 "$base"
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
		assert report["version"] == 1 and report["rounds"] == 1 and report["machine"]["cpus"] > 0
		for job in report["jobs"]:
		    assert job["title"] in text and job["entries"] > 0 and job["rows"][0]["who"] == "ovl", job
		    assert any("peak" in verdict["what"] for verdict in job["verdicts"]), job
		    for row in job["rows"]:
		        assert 0 < row["wall"]["min"] <= row["wall"]["median"] <= row["wall"]["max"] < 300, row
		        assert row["who"] != "ovl" or (row["flaw"] is None and row["rss_kib"] > 0), row
		        assert row["who"] == "ovl" or row["wall_ratio"]["median"] > 0, row
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

# Everything, where it stands.
jobs="clone-hardlink clone-content apply-tar apply-tar-synced apply-gz remove-space"
if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
	jobs="$jobs diff-many diff-one cycle-1-volatile cycle-3-synced remove-gone open"
	FS=here run && whole $jobs
	result where_it_stands $?
	for kind in ext4 xfs; do
		if command -v mkfs.$kind >/dev/null || [ -x /sbin/mkfs.$kind ]; then
			FS=$kind run clone apply-tar-synced && whole apply-tar-synced
			result on_$kind $?
		else
			skip on_$kind $kind "no mkfs.$kind"
		fi
	done
	losetup -a 2>/dev/null | grep -q "$base" || grep -q "$base" /proc/self/mounts
	[ $? = 1 ]
	result leaves_nothing $?
else
	skip where_it_stands root "only root can mount"
fi

# Somebody else, for whom nothing can be mounted.
mkdir "$base/theirs"
chmod 777 "$base/theirs"
nobody=
[ "$(id -u)" != 0 ] || nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
if $nobody test -x "$bench" && $nobody test -r "$top/benches/calls/open.c"; then
	rm -rf "$base/out"
	OVL_BENCH_DIR="$base/theirs" OVL_BENCH_OUT="$base/theirs/out" timeout -k 5 200 \
		$nobody "$bench" --bench clone apply-tar >"$base/log" 2>&1 &&
		mv "$base/theirs/out" "$base/out" && whole clone-hardlink apply-tar
	result without_root $?
else
	echo "SKIP bench_without_root: lacks a tree that others may read"
fi

# A tool that loses something fails the run.
cat >"$base/lossy" <<-END
	#!/bin/sh
	"$top/build/ovl" "\$@" || exit
	case \$1 in copy) for last; do :; done; touch -d @1 "\$last/dev/null" "\$last/dev/initctl" ;; esac
END
chmod 755 "$base/lossy"
! OVL="$base/lossy" FS=here run clone-content && grep -q 'wrong: got /dev/' "$base/log"
result a_wrong_result_fails $?

# Bad words are told, and begin nothing.
! ENTRIES=many run && grep -q '^bench: ENTRIES: many: not a number' "$base/log" &&
	! TREE=/nowhere run && grep -q '^bench: TREE: /nowhere: not a directory' "$base/log" &&
	! run --fast && grep -q '^bench: --fast: unknown option' "$base/log" && [ ! -e "$base/out" ]
result bad_words $?

echo "bench: $passed passed, $failed failed"
[ $failed = 0 ]
