#!/bin/sh
# sanitize.sh address|thread|miri|valgrind: tests with the library itself under a sanitizer.
#
#   address   the C programs and the tool's tests, with a library built with -Zsanitizer=address
#   thread    the tests that use threads, with the library and the standard library built with
#             -Zsanitizer=thread
#   miri      the archive code and the C boundary, as far as they make no system calls
#   valgrind  the same with their system calls, compressors included; what opens a store needs openat2,
#             which valgrind 3.19 does not know
#
# All but the last take a nightly Rust. What is missing is said by name, and is a failure when OVL_TEST_HAVE
# declares it.
set -u
cd "$(dirname "$0")/.." || exit 1
step=${1:?address, thread, miri or valgrind}

skip() {
	case ,${OVL_TEST_HAVE:-}, in
	*,"$1",*) echo "sanitize-$step: OVL_TEST_HAVE declares $1, but: $2" && exit 1 ;;
	esac
	echo "SKIP sanitize-$step: lacks $1 ($2)"
	exit 0
}

# Leaks the payload of an odd panic, as it should.
odd=a_panic_without_a_handle_is_an_errno

if [ "$step" = valgrind ]; then
	command -v valgrind >/dev/null || skip valgrind "no such program in PATH"
	tests=$(cargo test --locked --lib --no-run 2>&1 | sed -n 's/.*Executable.*(\(.*\))$/\1/p')
	[ -x "$tests" ] || exit 1
	exec valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite \
		--show-leak-kinds=definite "$tests" ffi:: archive:: --skip "$odd"
fi

cargo +nightly --version >/dev/null 2>&1 || skip nightly "rustup toolchain install nightly"
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
# What is built for a sanitizer fits nothing else.
top=${CARGO_TARGET_DIR:-target}
case $top in /*) ;; *) top=$PWD/$top ;; esac
sysroot=$(rustc +nightly --print sysroot)

case $step in
address)
	flags="-fsanitize=address -fno-omit-frame-pointer"
	CARGO_TARGET_DIR=$top/address RUSTFLAGS=-Zsanitizer=address CFLAGS=$flags \
		cargo +nightly rustc --lib --crate-type staticlib --locked --target "$host" || exit 1
	archive=$top/address/$host/debug/libovl.a
	export ASAN_OPTIONS=detect_leaks=1
	OVL_TEST_ARCHIVE=$archive cargo test --locked --test c sanitized || exit 1
	# Some of the tests are done as somebody else.
	library=$(mktemp -d) && chmod 755 "$library" || exit 1
	trap 'rm -rf "$library"' EXIT
	LDFLAGS="-fsanitize=address,undefined" sh abi/link.sh "${CC:-cc}" "$archive" "$library/libovl.so.0" &&
		ln -s libovl.so.0 "$library/libovl.so" &&
		nm "$library/libovl.so.0" | grep -q __asan_report_load || exit 1
	SANITIZE=1 LIBRARY=$library timeout -k 10 900 sh tests/cli/run.sh
	;;
thread)
	[ -d "$sysroot/lib/rustlib/src/rust/library" ] || skip rust-src "rustup component add rust-src --toolchain nightly"
	export CARGO_TARGET_DIR=$top/thread RUSTFLAGS=-Zsanitizer=thread
	export TSAN_OPTIONS=exitcode=66
	run="cargo +nightly test --locked -Zbuild-std --target $host"
	# The C half of the conformance suite loads a library that is not built so. What counts memory would
	# count the sanitizer's.
	$run --lib -- ffi:: manifest:: relay:: crew:: filler:: && $run --test store races &&
		$run --test copy -- --skip what_waits_is_bounded &&
		OVL_TEST_THREADS=always $run --test layer -- threads:: output:: &&
		$run --test conformance rust::watch
	;;
miri)
	cargo +nightly miri --version >/dev/null 2>&1 || skip miri "rustup component add miri --toolchain nightly"
	# What makes no system calls that it does not know, and takes no minutes.
	export CARGO_TARGET_DIR=$top/miri MIRIFLAGS=-Zmiri-disable-isolation
	cargo +nightly miri test --locked --lib -- ffi::boundary ffi::opts ffi::text archive::header \
		archive::path archive::digest archive::whiteout archive::pax \
		--skip lengths --skip "$odd"
	;;
*)
	echo "sanitize.sh: $step: address, thread, miri or valgrind" >&2
	exit 2
	;;
esac
