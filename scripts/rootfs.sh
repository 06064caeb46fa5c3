#!/bin/sh
# rootfs.sh DIR: a tiny root file system in DIR, made from this machine's own programs: a static
# busybox if there is one, else a shell and a few tools with the shared libraries that they need.
set -eu
umask 022

root=$1
tools="sh cat ls rm mkdir rmdir mv cp ln chmod touch uname id env sleep readlink head"

mkdir -p "$root"
for dir in bin etc proc dev sys tmp root; do
	mkdir -p "$root/$dir"
done
chmod 755 "$root" "$root"/*
chmod 1777 "$root/tmp"
echo "a tiny root file system" >"$root/etc/motd"

busybox=$(command -v busybox || true)
if [ -n "$busybox" ] && ! ldd "$busybox" >/dev/null 2>&1; then
	cp -L "$busybox" "$root/bin/busybox"
	for name in $tools; do
		ln -s busybox "$root/bin/$name"
	done
	exit 0
fi
for name in $tools; do
	# The file, also where the name is a shell's builtin or an alias.
	file=$(PATH=/usr/bin:/bin:$PATH; IFS=:; for dir in $PATH; do
		[ ! -x "$dir/$name" ] || { echo "$dir/$name"; break; }
	done)
	[ -n "$file" ] || continue
	cp -L "$file" "$root/bin/$name"
	# Its libraries, and the loader, each at its own path.
	for library in $(ldd "$file" 2>/dev/null | grep -o '/[^ ]*' || true); do
		[ ! -e "$root$library" ] || continue
		mkdir -p "$root$(dirname "$library")"
		cp -L "$library" "$root$library"
	done
done
