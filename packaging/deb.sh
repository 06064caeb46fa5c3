#!/bin/sh
# deb.sh DIR: the Debian packages of the tarballs that scripts/dist.sh left in DIR, beside them.
#
# The source package is the two tarballs, as upstream's and the component "vendor", with
# packaging/debian as its debian directory. Build dependencies are not checked where cargo is not a
# package (rustup): dpkg-buildpackage is given -d then. DEB_FLAGS is passed on to it.
set -eu

rust=
dir=$(cd "${1:?a directory}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
command -v dpkg-buildpackage >/dev/null || {
	echo "deb: dpkg-buildpackage is missing: install build-essential, debhelper" >&2
	exit 1
}
source=$(ls "$dir"/libovl-*.tar.xz | grep -v '\.vendor\.')
[ "$(echo "$source" | wc -l)" = 1 ] || {
	echo "deb: not one source tarball in $dir" >&2
	exit 1
}
name=$(basename "$source" .tar.xz)
version=${name#libovl-}
flags="-us -uc ${DEB_FLAGS-}"
if [ -z "$(dpkg-query -W -f '${Status}' cargo cargo-web 2>/dev/null | grep 'ok installed')" ]; then
	flags="$flags -d"
	# debhelper gives the build a home of its own, in which rustup knows no toolchain.
	! command -v rustup >/dev/null || rust=$(dirname "$(rustup which cargo)")
fi
# The system's own programs, as in a clean build, whatever else is installed here.
export PATH="${rust:+$rust:}/usr/sbin:/usr/bin:/sbin:/bin:$PATH"

rm -rf "$dir/${name:?}"
cp "$source" "$dir/libovl_$version.orig.tar.xz"
cp "$dir/$name.vendor.tar.xz" "$dir/libovl_$version.orig-vendor.tar.xz"
tar -C "$dir" -xf "$source"
tar -C "$dir/$name" -xf "$dir/$name.vendor.tar.xz"
cp -R "$here/debian" "$dir/$name/debian"
cd "$dir/$name"
# $flags is a list of words.
# shellcheck disable=SC2086
dpkg-buildpackage $flags
rm -rf "$dir/${name:?}"
