#!/bin/sh
# dist.sh [DIR]: what a release consists of, in DIR (dist):
#
#   libovl-VERSION.tar.xz           the sources, as they are committed
#   libovl-VERSION.vendor.tar.xz    vendor/: every crate that Cargo.lock names, for a build without network
#   SHA256SUMS
#
# The same commit gives the same bytes: names are sorted, times are the commit's (or
# SOURCE_DATE_EPOCH), owners are none. Crates come from cargo's cache or from the network, and cargo
# checks each against Cargo.lock.
set -eu
here=$PWD
cd "$(dirname "$0")/.."

out=${1:-$PWD/dist}
case $out in /*) ;; *) out=$here/$out ;; esac
cargo=${CARGO:-cargo}
for program in git tar xz sha256sum "$cargo"; do
	command -v "$program" >/dev/null || {
		echo "dist: $program is missing" >&2
		exit 1
	}
done
top=$(git rev-parse --show-toplevel 2>/dev/null) && [ "$top" = "$(pwd -P)" ] || {
	echo "dist: this is no git repository: sources are taken from a commit" >&2
	exit 1
}
[ -z "$(git status --porcelain)" ] ||
	echo "dist: not all is committed; what is packed is $(git rev-parse --short HEAD)" >&2

version=$(git show HEAD:Cargo.toml | sed -n 's/^version = "\(.*\)"/\1/p' | head -n 1)
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
name=libovl-$version
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# pack DIRECTORY FILE
pack() {
	tar -C "$work" --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner \
		--mode=u=rwX,go=rX --format=gnu -cf "$work/tar" "$1"
	xz -6 --threads=1 --check=crc64 -c "$work/tar" >"$out/$2.part"
	mv "$out/$2.part" "$out/$2"
}

mkdir -p "$out"
git archive --prefix="$name/" HEAD | tar -C "$work" -xf -
"$cargo" vendor --quiet --locked --versioned-dirs --manifest-path "$work/$name/Cargo.toml" \
	"$work/vendor" >/dev/null
pack "$name" "$name.tar.xz"
pack vendor "$name.vendor.tar.xz"
(cd "$out" && sha256sum "$name.tar.xz" "$name.vendor.tar.xz" >SHA256SUMS)
cat "$out/SHA256SUMS"
