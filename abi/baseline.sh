#!/bin/sh
# Writes the baseline of the ABI, abi/libovl-X.Y.abi for the map's last node, or compares with all of
# them:  abi/baseline.sh write | check [HEADER [MAP]]
#
# `check` fails when a program that was built against any baseline could misbehave. What is new is
# no difference: functions, constants, and members at the end of the structs that are handed over
# with their size.
set -eu

abi=$(dirname "$0")
what=${1:-}
header=${2:-$abi/../include/ovl.h} map=${3:-$abi/libovl.map}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The header $2 without the members that lie behind the last one that the baseline $1 has. (abidiff
# can be told to let such members pass, but then lets pass what changes before them, too.)
without_new_members() {
    awk '
        NR == FNR {
            if (/<class-decl name=/) { split($0, part, "\047"); type = part[2] }
            if (/<\/class-decl>/) type = ""
            if (type != "" && /<var-decl name=/) { split($0, part, "\047"); last[type] = part[2] }
            next
        }
        /^struct [a-z_]+ \{$/ { type = $2; known = !(type in last) }
        /^}/ { type = "" }
        type != "" && /;$/ {
            if (known && type in last) next
            name = $NF
            gsub(/[*;]|\[.*/, "", name)
            if (name == last[type]) known = 1
        }
        { print }
    ' "$1" "$2"
}

case $what in
write)
    sh "$abi/interface.sh" "${CC:-cc}" "$work/libovl.so.0" "$header" "$map"
    node=$(sed -n 's/^LIBOVL_\([0-9.]*\) {$/\1/p' "$map" | tail -n 1)
    # Nothing of the machine it was made on.
    abidw --no-corpus-path --no-comp-dir-path --no-show-locs --no-elf-needed --out-file "$work/abi" \
        "$work/libovl.so.0"
    cat "$work/abi" >"$abi/libovl-$node.abi"
    ;;
check)
    status=0
    for baseline in "$abi"/libovl-*.abi; do
        without_new_members "$baseline" "$header" >"$work/ovl.h"
        sh "$abi/interface.sh" "${CC:-cc}" "$work/libovl.so.0" "$work/ovl.h" "$map"
        # Whatever is left is a difference: abidiff's "incompatible" bit (8) stands for what is
        # certain, as a function that is gone; a parameter of another type is but a "change" (4).
        abidiff --no-added-syms "$baseline" "$work/libovl.so.0" || {
            echo "$0: the interface differs from $baseline" >&2
            status=1
        }
    done
    exit "$status"
    ;;
*)
    echo "usage: $0 write | check [HEADER [MAP]]" >&2
    exit 2
    ;;
esac
