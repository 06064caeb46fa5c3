#!/bin/sh
# The story of examples/story in each of its languages, each built as its users build it and linked to
# the library in build/; all must print the same.
set -u
cd "$(dirname "$0")/../.." || exit 1
top=$PWD
passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What the machine was declared to have must not be missing.
skip() { # skip STORY THING WHY
	case ,${OVL_TEST_HAVE:-}, in
	*,"$2",*) echo "story $1: OVL_TEST_HAVE declares $2, but: $3" && failed=$((failed + 1)) ;;
	*) echo "SKIP story $1: lacks $2 ($3)" ;;
	esac
}
lacks() { # lacks STORY PROGRAM...
	for one in $2; do
		command -v "$one" >/dev/null 2>&1 || { skip "$1" "$one" "no such program in PATH" && return 0; }
	done
	return 1
}

# A mount namespace of its own: with what is mounted in it, it goes.
if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
	apart="unshare --mount --propagation private"
elif unshare --user --map-root-user --mount true 2>/dev/null; then
	apart="unshare --user --map-root-user --mount --propagation private"
else
	skip all userns "neither root nor user namespaces"
	echo "story: $passed passed, $failed failed"
	exit 0
fi

# The library as pkg-config finds it where it is installed.
sh scripts/build-pc.sh "$work" || exit 1
export PKG_CONFIG_PATH="$work" LD_LIBRARY_PATH="$top/build"

# Two image layers, of fixed bytes.
mkdir -p "$work/base/etc" "$work/app/opt"
echo welcome >"$work/base/etc/motd"
echo app >"$work/app/opt/app"
fixed="--sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --mtime=@1600000000"
tar $fixed -C "$work/base" -cf "$work/base.tar" etc
tar $fixed -C "$work/app" -cf "$work/app.tar" opt

# tell STORY COMMAND...: the story by this program; the first that is told is what the others are held to.
tell() {
	story=$1
	shift
	lines=$(wc -l <"examples/story/$story")
	if ! timeout -k 5 60 $apart "$@" "$work/store.$story" "$work/base.tar" "$work/app.tar" >"$work/said" 2>"$work/errors"; then
		echo "story $story: it failed" && cat "$work/said" "$work/errors"
		failed=$((failed + 1))
	elif [ "$lines" -ge 80 ]; then
		echo "story $story: $lines lines" && failed=$((failed + 1))
	elif [ -e "$work/first" ] && ! diff "$work/first" "$work/said"; then
		echo "story $story: not what the first one said" && failed=$((failed + 1))
	else
		[ -e "$work/first" ] || cp "$work/said" "$work/first"
		echo "story $story ... ok"
		passed=$((passed + 1))
	fi
}
built() { # built STORY COMMAND...: builds it
	story=$1
	shift
	"$@" >"$work/errors" 2>&1 && return 0
	echo "story $story: it is not built" && cat "$work/errors"
	failed=$((failed + 1))
	return 1
}

lacks story.c "cc pkg-config" || {
	# shellcheck disable=SC2046
	built story.c cc -std=c99 -pedantic -Wall -Wextra -Werror -o "$work/c" examples/story/story.c \
		$(pkg-config --cflags --libs ovl) && tell story.c "$work/c"
}
lacks story.cc "c++ pkg-config" || {
	# shellcheck disable=SC2046
	built story.cc c++ -std=c++17 -pedantic -Wall -Wextra -Werror -o "$work/cc" examples/story/story.cc \
		$(pkg-config --cflags --libs ovl) && tell story.cc "$work/cc"
}
PATH=$PATH:/usr/local/go/bin
export GOTOOLCHAIN=local
if ! lacks story.go "go pkg-config"; then
	if (cd bindings/go && go list . >/dev/null 2>&1); then
		# shellcheck disable=SC2016
		built story.go sh -c 'cd bindings/go && go build -o "$1" ../../examples/story/story.go' sh "$work/go" &&
			tell story.go "$work/go"
	else
		skip story.go go "$(go version) is too old for bindings/go/go.mod"
	fi
fi
lacks story.py python3 ||
	PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=bindings/python/src OVL_LIBRARY=$top/build/libovl.so.0 \
		tell story.py python3 examples/story/story.py
lacks story.rs "${CARGO:-cargo}" || {
	built story.rs "${CARGO:-cargo}" build --locked --quiet --example story &&
		tell story.rs "${CARGO_TARGET_DIR:-target}/debug/examples/story"
}

echo "story: $passed passed, $failed failed"
[ "$failed" = 0 ]
