#!/bin/sh
# loader.sh LIBDIR: what `make install` and `make uninstall` do last, where they are no package's: the
# loader looks again, if root is here, and who installed where it does not look is told.
set -eu

libdir=$1
PATH=$PATH:/usr/sbin:/sbin
command -v ldconfig >/dev/null || exit 0
# Of a user namespace's root the system's cache is none.
[ "$(id -u)" != 0 ] || ldconfig || :
[ -e "$libdir/libovl.so.0" ] || exit 0
for file in $(ldconfig -p 2>/dev/null | sed -n 's/.*libovl\.so\.0 .*=> //p'); do
	[ ! "$file" -ef "$libdir/libovl.so.0" ] || exit 0
done
cat >&2 <<END
install: the loader does not look in $libdir by itself (ldconfig, when root, where it does):
install: set LD_LIBRARY_PATH=$libdir, or link programs with -Wl,-rpath,$libdir
END
