#!/bin/sh
# test.sh [all]: the tests of the Go package, with the library in build/ and the race detector, and the
# same linked statically. `all` adds the tests with Go's strictest check of pointers that go to C, which
# has a standard library to build.
set -u
cd "$(dirname "$0")" || exit 1
top=$(cd ../.. && pwd)
what=${1:-quick}

skip() {
	case ,${OVL_TEST_HAVE:-}, in
	*,go,*) echo "go: OVL_TEST_HAVE declares go, but: $1" && exit 1 ;;
	esac
	echo "SKIP go: lacks go ($1)"
	echo "go: 0 passed, 0 failed"
	exit 0
}
# Go may be installed where only a login shell finds it.
PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null || skip "no such program in PATH"
export GOTOOLCHAIN=local
go list . >/dev/null 2>&1 || skip "$(go version); go.mod says $(sed -n 's/^go /go/p' go.mod) or newer"
[ -e "$top/build/libovl.so" ] || { echo "go: build/libovl.so is not there: run make first" && exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The library as pkg-config finds it where it is installed.
sh "$top/scripts/build-pc.sh" "$work" || exit 1
export PKG_CONFIG_PATH="$work" LD_LIBRARY_PATH="$top/build"

# The go command does not look at the library, and would take its cached results for another one. A file
# that is in the package for these tests alone says which it is; the rest of the cache stays good.
library=$(cat "$top/build/libovl.so.0" "$top/build/libovl.a" "$top/include/ovl.h" "$work/ovl.pc" | sha256sum)
echo "const char ovlgo_library[] = \"${library%% *}\";" >"$work/library.c"
echo "{\"Replace\": {\"$PWD/internal/capi/library_tested.c\": \"$work/library.c\"}}" >"$work/overlay.json"
GOFLAGS="$(go env GOFLAGS) -overlay=$work/overlay.json"
export GOFLAGS

failed=
step() {
	echo "---- go: $*"
	"$@" || failed="$failed; $*"
}

formatted() { [ -z "$(gofmt -l . | tee /dev/stderr)" ]; }

# Runs go test with "$@", shows what matters of it, and keeps what it says of each test.
tests() {
	go test -count=1 -v -timeout 5m "$@" . >"$work/said" 2>&1
	result=$?
	cat "$work/said" >>"$work/all"
	grep -v -e '^=== ' -e '^--- PASS' -e '^PASS$' "$work/said"
	return $result
}

# A program that is linked with libovl.a needs no libovl.so; one that is wholly static needs nothing.
static() {
	go test -c -tags ovl_static -o "$work/static" "$@" . 2>"$work/said" ||
		{ cat "$work/said" && return 1; }
	! ldd "$work/static" 2>&1 | grep libovl || return 1
	"$work/static" -test.count=1 >"$work/said" 2>&1 || { cat "$work/said" && return 1; }
}

step formatted
step go vet ./...
step tests -race
step static
step static -ldflags "-extldflags -static"
ldd "$work/static" >/dev/null 2>&1 && failed="$failed; the static program is dynamic"
if [ "$what" = all ]; then
	step env GOEXPERIMENT=cgocheck2 go test -count=1 -timeout 5m .
fi

awk '/^ *--- PASS/ { passed++ } /^ *--- FAIL/ { failed++ }
	END { printf "go: %d passed, %d failed\n", passed, failed }' "$work/all"
[ -z "$failed" ] || { echo "go: FAILED${failed#;}" && exit 1; }
