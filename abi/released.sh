#!/bin/sh
# The nodes of the symbol map that are released never change:
#     abi/released.sh check [MAP [LIST]]       every node of abi/released.sha256 is what it was
#     abi/released.sh freeze NODE              adds a node to the list: a step of a release
#
# What counts of a node are its names and the node before it; "local:" moves on to the last node.
set -eu

abi=$(dirname "$0")
what=${1:-}

digest() {
    awk -v node="$1" '
        $1 == node && $2 == "{" { on = 1; next }
        on && /^}/ { sub(/^} */, ""); print "after " $0; exit }
        on && /^ *[a-z0-9_]+;$/ { print $1 }
    ' "$2" | sort | sha256sum | cut -d ' ' -f 1
}

case $what in
check)
    map=${2:-$abi/libovl.map} list=${3:-$abi/released.sha256}
    status=0
    while read -r sum node; do
        case $sum in '' | '#'*) continue ;; esac
        if ! grep -q "^$node {" "$map"; then
            echo "$map: $node is released, and is not there" >&2
            status=1
        elif [ "$(digest "$node" "$map")" != "$sum" ]; then
            echo "$map: $node is released, and is not what it was: what is new goes to a new node" >&2
            status=1
        fi
    done <"$list"
    exit "$status"
    ;;
freeze)
    node=${2:?a node}
    grep -q "^$node {" "$abi/libovl.map" || {
        echo "$0: no $node in $abi/libovl.map" >&2
        exit 1
    }
    ! grep -q " $node\$" "$abi/released.sha256" || {
        echo "$0: $node is released already" >&2
        exit 1
    }
    echo "$(digest "$node" "$abi/libovl.map")  $node" >>"$abi/released.sha256"
    ;;
*)
    echo "usage: $0 check [MAP [LIST]] | freeze NODE" >&2
    exit 2
    ;;
esac
