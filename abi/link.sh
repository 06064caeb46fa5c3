#!/bin/sh
# Links the shared library from the static one:  abi/link.sh CC ARCHIVE OUT
#
# rustc makes a shared library too, but it passes a version script of its own, which GNU ld and gold
# refuse to combine with ours and lld drops: its symbols have no versions. An archive linked by the
# C compiler has them with every linker, and exports what abi/libovl.map lists and nothing else.
# LDFLAGS is passed on (-fuse-ld=..., hardening). OUT is made; links to it are the caller's.
set -eu

if [ $# -ne 3 ]; then
    echo "usage: $0 CC ARCHIVE OUT" >&2
    exit 2
fi
cc=$1 archive=$2 out=$3
abi=$(dirname "$0")
map=$abi/libovl.map

# Each symbol is asked for by name: it pulls its object out of the archive, and keeps what it needs
# from --gc-sections.
wanted=$(sed -n 's/^ *\(ovl_[a-z0-9_]*\);$/-Wl,-u,\1/p' "$map")
if [ -z "$wanted" ]; then
    echo "$0: no symbols in $map" >&2
    exit 1
fi
libs=$(sed -n 's/^Libs.private: *//p' "$abi/../pkgconfig/ovl.pc.in")

# $cc, $wanted, $libs and LDFLAGS are lists of words.
# shellcheck disable=SC2086
exec $cc -shared -o "$out" \
    -Wl,-soname,libovl.so.0 \
    -Wl,--version-script="$map" \
    -Wl,--gc-sections -Wl,--as-needed \
    -Wl,-z,relro -Wl,-z,now -Wl,-z,defs -Wl,-z,nodelete -Wl,-z,noexecstack \
    $wanted "$archive" ${LDFLAGS-} $libs
