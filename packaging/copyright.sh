#!/bin/sh
# copyright.sh VENDOR: writes packaging/debian/copyright, with the crates in the directory VENDOR (as
# scripts/dist.sh packs it). To be done when Cargo.lock names a new crate; tests/package finds one that
# is not told of.
#
# Who holds the copyright is what a crate's licence files say, else whom its manifest names.
set -eu

vendor=${1:?a directory of vendored crates}
here=$(cd "$(dirname "$0")" && pwd)

# SPDX as debian/copyright spells it.
licence() {
	sed -n 's/^license = "\(.*\)"/\1/p' "$1/Cargo.toml" | head -n 1 | sed \
		-e 's|/| or |g' -e 's/ OR / or /g' -e 's/ AND / and /g' -e 's/ WITH / with /g' \
		-e 's/\bMIT\b/Expat/g' -e 's/LGPL-2.1-or-later/LGPL-2.1+/g' -e 's/BSD-\([23]\)-Clause/BSD-\1-clause/g' \
		-e 's/with LLVM-exception/with LLVM exception/g' -e 's/[()]//g'
}

holders() {
	{
		find "$1" -maxdepth 1 -type f | grep -iE '/(licen[cs]e|copy|authors)[^/]*$' | sort | while read -r file; do
			grep -hiE '^[[:space:]]*copyright (\(c\)|©|[0-9])' "$file" || true
		done | grep -viE '\[yyyy\]|\{yyyy\}' | sed -E \
			-e 's/^[[:space:]]*[Cc]opyright[[:space:]]*//' -e 's/(\([cC]\)|©)[[:space:]]*//' \
			-e 's/[[:space:]]*All rights reserved\.?//' -e 's/[[:space:].]*$//' | grep -v '^[-0-9 ]*$' | sort -u
	} >"$work/holders"
	if [ ! -s "$work/holders" ]; then
		sed -n '/^authors = \[/,/\]/p' "$1/Cargo.toml" | grep -o '"[^"]*"' | tr -d '"' >"$work/holders"
	fi
	[ -s "$work/holders" ] || echo "The developers of $2" >"$work/holders"
	sed -e '1s/^/Copyright: /' -e '2,$s/^/           /' "$work/holders"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{
	cat "$here/copyright/head"
	for dir in "$vendor"/*/; do
		dir=${dir%/}
		name=$(sed -n 's/^name = "\(.*\)"/\1/p' "$dir/Cargo.toml" | head -n 1)
		# Two versions of a crate are one.
		[ "$name" != "${last:-}" ] || continue
		last=$name
		echo
		echo "Files: vendor/$name-*"
		holders "$dir" "$name"
		echo "License: $(licence "$dir")"
	done
	cat "$here/copyright/tail"
} >"$work/copyright"
cat "$work/copyright" >"$here/debian/copyright"
