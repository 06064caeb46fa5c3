#!/bin/sh
# test.sh: the tests of the containerd plugin, containerd's own suite among them, with the library in
# build/ and the race detector.
set -u
cd "$(dirname "$0")" || exit 1
top=$(cd ../../.. && pwd)

skip() {
	case ,${OVL_TEST_HAVE:-}, in
	*,containerd,*) echo "containerd: OVL_TEST_HAVE declares containerd, but: $1" && exit 1 ;;
	esac
	echo "SKIP containerd: lacks containerd ($1)"
	echo "containerd: 0 passed, 0 failed"
	exit 0
}
# Go may be installed where only a login shell finds it.
PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null || skip "no program go in PATH"
export GOTOOLCHAIN=local
case $(go list ./... 2>&1) in
*"requires go >="*) skip "$(go version); go.mod says $(sed -n 's/^go /go/p' go.mod) or newer" ;;
esac
go mod download 2>/dev/null || skip "the modules of go.sum are not here and cannot be fetched"
[ -e "$top/build/libovl.so" ] || { echo "containerd: build/libovl.so is not there: run make first" && exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The library as pkg-config finds it where it is installed.
sh "$top/scripts/build-pc.sh" "$work" || exit 1
export PKG_CONFIG_PATH="$work" LD_LIBRARY_PATH="$top/build"

# As in ../test.sh: the go command does not see that the library changed, but for a file that says so.
library=$(cat "$top/build/libovl.so.0" "$top/include/ovl.h" "$work/ovl.pc" | sha256sum)
echo "const char ovlgo_library[] = \"${library%% *}\";" >"$work/library.c"
capi=$(cd ../internal/capi && pwd)
echo "{\"Replace\": {\"$capi/library_tested.c\": \"$work/library.c\"}}" >"$work/overlay.json"
GOFLAGS="$(go env GOFLAGS) -overlay=$work/overlay.json"
export GOFLAGS

failed=
step() {
	echo "---- containerd: $*"
	"$@" || failed="$failed; $*"
}

formatted() { [ -z "$(gofmt -l . | tee /dev/stderr)" ]; }
tidy() { go mod tidy -diff; }

# Runs go test with "$@", shows what matters of it, and keeps what it says of each test. A failure shows
# all: containerd's suite logs what it did.
tests() {
	if go test -count=1 -v -timeout 8m "$@" ./... >"$work/said" 2>&1; then
		grep -e '^SKIP' -e '^ *--- SKIP' -e '^ok' "$work/said"
		result=0
	else
		result=1
		cat "$work/said"
	fi
	cat "$work/said" >>"$work/all"
	return $result
}

units() {
	command -v systemd-analyze >/dev/null || { echo "SKIP units: lacks systemd-analyze" && return 0; }
	mkdir -p "$work/units/bin"
	sed "s|^ExecStart=.*|ExecStart=$work/units/bin/ovl-snapshotter|" packaging/ovl-snapshotter.service \
		>"$work/units/ovl-snapshotter.service"
	cp packaging/ovl-snapshotter.socket "$work/units/"
	cp /bin/true "$work/units/bin/ovl-snapshotter"
	# What it says of this machine's other units is not about these.
	said=$(systemd-analyze verify --man=no --recursive-errors=no "$work/units/ovl-snapshotter.service" \
		"$work/units/ovl-snapshotter.socket" 2>&1) || { echo "$said" && return 1; }
	! echo "$said" | grep ovl-snapshotter
}

# What formatters say of the manual page, which is to be nothing.
page() {
	for program in 'mandoc -T lint -W warning' 'groff -mandoc -ww -z -Tutf8'; do
		command -v "${program%% *}" >/dev/null || { echo "SKIP page: lacks ${program%% *}" && continue; }
		said=$($program packaging/ovl-snapshotter.8 2>&1) && [ -z "$said" ] || { echo "$said" && return 1; }
	done
}

# What users of Kubernetes are given, in a module of its own: it takes Kubernetes' types.
kubernetes() (
	cd "$top/tests/containerd/kubernetes" && formatted || return 1
	if ! go mod download 2>/dev/null; then
		echo "SKIP kubernetes: lacks kubernetes (the modules of its go.sum are not here and cannot be fetched)"
		case ,${OVL_TEST_HAVE:-}, in *,kubernetes,*) return 1 ;; esac
		return 0
	fi
	{ go vet ./... && tidy && go test -count=1 -v -timeout 4m ./...; } >"$work/manifests" 2>&1
	result=$?
	if [ $result = 0 ]; then
		sed -n -e 's/^ *[a-z_]*\.go:[0-9]*: SKIP/SKIP/p' -e '/^ok/p' "$work/manifests"
	else
		cat "$work/manifests"
	fi
	cat "$work/manifests" >>"$work/all"
	return $result
)

step formatted
step go vet ./...
step tidy
step units
step page
step kubernetes
step tests -race

awk '/^ *--- PASS/ { passed++ } /^ *--- FAIL/ { failed++ }
	END { printf "containerd: %d passed, %d failed\n", passed, failed }' "$work/all"
[ -z "$failed" ] || { echo "containerd: FAILED${failed#;}" && exit 1; }
