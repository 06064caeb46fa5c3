#!/bin/sh
# `make run`: a container from two image layers, shown step by step.
#
#   OVL=build/ovl [IMAGE=rootfs.tar.gz] sh scripts/demo.sh
#
# All of it happens in a mount namespace of its own (and a user namespace, without root) and in one
# temporary directory: when the script ends, however it ends, no mount and no file of it is left.
set -eu

HERE=$(cd "$(dirname "$0")" && pwd)
OVL=$(cd "$(dirname "${OVL:=build/ovl}")" && pwd)/$(basename "$OVL")
IMAGE=${IMAGE:-}

stop() {
	printf '\nmake run: %s\n' "$*" >&2
	exit 1
}

# ---- Outside: find a way to mount, and start again in there ----

outside() {
	[ -z "$IMAGE" ] || [ -r "$IMAGE" ] || stop "IMAGE=$IMAGE cannot be read"
	[ -z "$IMAGE" ] || IMAGE=$(cd "$(dirname "$IMAGE")" && pwd)/$(basename "$IMAGE")
	command -v unshare >/dev/null || stop "unshare is missing: install util-linux"
	if [ "$(id -u)" = 0 ] && why=$(unshare --mount true 2>&1); then
		set -- unshare --mount --propagation private
	elif why=$(unshare --user --map-root-user --mount true 2>&1); then
		set -- unshare --user --map-root-user --mount --propagation private
	else
		stop "this needs root or user namespaces, and has neither here ($why);" \
			"try it as root, or allow user namespaces (sysctl user.max_user_namespaces," \
			"kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)"
	fi
	WORK=$(mktemp -d "${TMPDIR:-/tmp}/ovl-demo.XXXXXX")
	trap 'chmod -R u+rwX "$WORK" 2>/dev/null || true; rm -rf "$WORK"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	OVL=$OVL IMAGE=$IMAGE OVL_DEMO=$WORK "$@" sh "$HERE/demo.sh" && status=0 || status=$?
	exit $status
}

# Whether an overlay with its upper in $1 can be mounted and written.
overlay_works() {
	mkdir "$1/try" && (
		cd "$1/try" && mkdir lower upper work merged || exit
		mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged ||
		mount -t overlay -o userxattr,lowerdir=lower,upperdir=upper,workdir=work overlay merged || exit
		: >merged/file
		said=$?
		umount merged
		exit $said
	) 2>"$1/why"
	said=$?
	rm -rf "$1/try"
	return $said
}

# A directory whose file system can hold a container's changes.
find_place() {
	place=$1/disk
	mkdir "$place"
	if overlay_works "$place"; then
		echo "The layers are in $place."
		return
	fi
	mount -t tmpfs tmpfs "$place" ||
		stop "overlayfs does not work on $place, and a tmpfs is not allowed here"
	overlay_works "$place" ||
		stop "overlayfs does not work here ($(tail -n 1 "$place/why")): it needs a kernel with" \
			"overlayfs that lets this user mount it (Linux 5.10 as root, 5.11 without)"
	echo "The file system of $1 cannot hold a container's changes; the layers are in a tmpfs on it."
}

# ---- The image: two layer tars ----

make_tar() {
	tar -C "$1" --owner=0 --group=0 --numeric-owner -cf "$2" .
}

# A regular file of the image that the second layer can delete.
deletable() {
	tar -tf "$1" | sed 's|^\./||' | awk '
		/^etc\/[^\/]+$/ && !/(passwd|group|shadow|nsswitch.conf|ld.so.conf|ld.so.cache|resolv.conf)$/ {
			if (!first) first = $0
			if ($0 == "etc/motd" || $0 == "etc/issue") { best = $0 }
		}
		END { print best ? best : first }'
}

make_image() {
	if [ -n "$IMAGE" ]; then
		cp "$IMAGE" "$1/1.tar"
		GONE=$(deletable "$1/1.tar")
		[ -n "$GONE" ] || stop "IMAGE=$IMAGE has no file in /etc: is it a tar of a root file system?"
	else
		sh "$HERE/rootfs.sh" "$1/base"
		echo "only in the first layer" >"$1/base/etc/old.conf"
		make_tar "$1/base" "$1/1.tar"
		GONE=etc/old.conf
	fi
	mkdir -p "$1/top/srv"
	echo "hello from the second layer" >"$1/top/srv/greeting"
	mkdir -p "$1/top/$(dirname "$GONE")"
	: >"$1/top/$(dirname "$GONE")/.wh.$(basename "$GONE")"
	make_tar "$1/top" "$1/2.tar"
}

# ---- The show ----

say() {
	printf '\n%s\n' "$*"
}

# Shows a command of the tool, runs it, and indents what it says.
ovl() {
	printf '  $ ovl'
	for word in "$@"; do
		case $word in
		*[!A-Za-z0-9_./:=@+-]*) printf " '%s'" "$word" ;;
		*) printf ' %s' "$word" ;;
		esac
	done
	echo
	"$OVL" "$@" >"$DIR/said" 2>&1 && status=0 || status=$?
	sed 's/^/      /' "$DIR/said"
	[ $status = 0 ] || stop "ovl $1 failed (status $status)"
}

tree_digest() {
	"$OVL" diff "$1" '' >"$DIR/tree.tar"
	sha256sum <"$DIR/tree.tar" | cut -d ' ' -f 1
}

inside() {
	umask 022
	trap 'cd /; rm -rf "$DIR"/* 2>/dev/null || true' EXIT
	DIR=$OVL_DEMO
	echo "libovl: container layers in a directory, without a daemon."
	find_place "$OVL_DEMO"
	DIR=$place
	export OVL_STORE="$DIR/store"
	cd "$DIR"
	before=$(wc -l </proc/self/mountinfo)
	make_image "$DIR"

	say "An image of two layers. The second adds /srv/greeting and deletes /$GONE."
	ovl apply base 1.tar
	ovl apply app --parent base 2.tar

	say "A container on it: a layer of its own, which takes no time and no space."
	ovl create web app

	say "A command in the container. It adds /data/note and deletes /srv/greeting."
	ovl run web -- /bin/sh -c \
		"set -e; cat /srv/greeting; [ -e /$GONE ] || echo /$GONE is gone; mkdir -p /data; echo note >/data/note; rm /srv/greeting"

	say "What it changed:"
	ovl changes web

	say "The change as a layer tar, applied to a fresh layer on the same image:"
	printf '  $ ovl diff web >web.tar\n'
	"$OVL" diff web >web.tar || stop "ovl diff failed"
	ovl apply copy --parent app web.tar
	[ "$(tree_digest web)" = "$(tree_digest copy)" ] || stop "the two trees differ: this is a bug"
	echo "  Both whole trees are the same, to the byte (ovl diff web '' | sha256sum)."

	say "Everything is removed, children before parents:"
	for id in web copy app base; do
		ovl rm "$id"
	done
	ovl list
	[ -z "$("$OVL" list)" ] || stop "layers are left: this is a bug"
	[ "$(wc -l </proc/self/mountinfo)" = "$before" ] || stop "a mount is left: this is a bug"
	say "Done: no layer, no mount and no process is left."
	if [ -z "$IMAGE" ]; then
		echo "Next: make run IMAGE=rootfs.tar.gz for a root file system of yours, build/ovl --help," \
			"README.md for the C interface, make test."
	else
		echo "Next: build/ovl --help, README.md for the C interface, make test."
	fi
}

if [ -z "${OVL_DEMO:-}" ]; then
	outside
else
	inside
fi
