#!/bin/sh
# build-pc.sh DIR: writes DIR/ovl.pc, by which pkg-config finds the library in build/ as it finds an
# installed one.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
version=$(sed -n 's/^Version: //p' "$top/build/ovl.pc")
sed -e "s|@PREFIX@|$top|" -e "s|@LIBDIR@|$top/build|" -e "s|@VERSION@|$version|" \
	"$top/pkgconfig/ovl.pc.in" >"$1/ovl.pc"
