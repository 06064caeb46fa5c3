#!/bin/sh
# Installs the manual pages, or removes them:  docs/man/install.sh [--remove] MANDIR
#
# A page that tells of several functions is found by the name of each: its NAME section lists them,
# and a link stands for each but its own.
set -eu

here=$(dirname "$0")
remove=
if [ "${1-}" = --remove ]; then
    remove=1
    shift
fi
if [ $# -ne 1 ]; then
    echo "usage: $0 [--remove] MANDIR" >&2
    exit 2
fi
mandir=$1

for page in "$here"/*.[1-9]; do
    file=$(basename "$page")
    section=${file##*.}
    dir=$mandir/man$section
    if [ -n "$remove" ]; then
        rm -f "$dir/$file"
    else
        install -d "$dir"
        install -m 644 "$page" "$dir"
    fi
    for name in $(sed -n '/^\.Sh NAME$/,/^\.Nd/s/^\.Nm \([^ ]*\).*/\1/p' "$page"); do
        link=$name.$section
        [ "$link" != "$file" ] || continue
        if [ -n "$remove" ]; then
            rm -f "$dir/$link"
        else
            ln -sf "$file" "$dir/$link"
        fi
    done
done
