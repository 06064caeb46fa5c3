#!/bin/sh
# Makes the interface as a C compiler sees it:  abi/interface.sh CC OUT [HEADER [MAP]]
#
# OUT is a shared library with every function of the header and the symbols and versions of the map,
# with debug information and without content: what abidw and abidiff compare. The debug information
# of the library itself will not do: it is Rust's, 590 KB of abidw's XML of the insides of every
# crate, which change with the compiler, and nothing of how C sees a function. That header, map and
# library are one is for other tests (tests/header, tests/abi).
set -eu

if [ $# -lt 2 ]; then
    echo "usage: $0 CC OUT [HEADER [MAP]]" >&2
    exit 2
fi
abi=$(dirname "$0")
cc=$1 out=$2 header=${3:-$abi/../include/ovl.h} map=${4:-$abi/libovl.map}

# A function begins at the left margin; its declaration becomes a definition. Structs and typedefs
# begin there too, and comments (" *") do not.
{
    cat "$header"
    awk '
        /^(struct [a-z_]+ \{|struct [a-z_]+;|typedef)/ { next }
        /^[a-z].*ovl_[a-z0-9_]+\(/ { inside = 1 }
        inside { ended = sub(/;$/, " { __builtin_trap(); }"); print; if (ended) inside = 0 }
    ' "$header"
} | $cc -std=gnu11 -x c -g -O0 -fno-lto -fPIC -shared -nostdlib -o "$out" \
    -Wl,-soname,libovl.so.0 -Wl,--version-script="$map" -
