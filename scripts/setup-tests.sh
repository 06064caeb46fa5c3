#!/bin/sh
# Installs what the tests use, by apt when root on a Debian or Ubuntu machine, and only what is
# missing. Without it the tests still run: each says by name what it lacks and is counted as skipped.
set -u

# program:package[,package...]
wanted="
mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs mkfs.ext4:e2fsprogs setfacl:acl setfattr:attr
bsdtar:libarchive-tools strace:strace busybox:busybox-static clang:clang gcc:gcc g++:g++
python3:python3 zstd:zstd pigz:pigz jq:jq unshare:util-linux losetup:mount newuidmap:uidmap setcap:libcap2-bin
pytest-3:python3-pytest mypy:mypy pip3:python3-pip
valgrind:valgrind ld.lld:lld pkg-config:pkg-config abidiff:abigail-tools script:bsdutils
umoci:umoci skopeo:skopeo buildah:buildah podman:podman
mandoc:mandoc groff:groff man:man-db abidw:abigail-tools dpkg-buildpackage:dpkg-dev dh:debhelper lintian:lintian
dh_python3:dh-python pyproject-build:pybuild-plugin-pyproject,python3-all,python3-setuptools,python3-wheel
setpriv:util-linux crun:crun runc:runc containerd:containerd ctr:containerd
"
PATH=$PATH:/usr/sbin:/sbin
missing=
for one in $wanted; do
	command -v "${one%%:*}" >/dev/null 2>&1 || missing="$missing $(echo "${one#*:}" | tr , ' ')"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "tests: not installed here, and so some tests will be skipped:$missing"
	exit 0
fi
echo "tests: installing$missing"
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get install -qq -y --no-install-recommends $missing ||
	{ apt-get update -qq && apt-get install -qq -y --no-install-recommends $missing; }; } >/dev/null 2>&1; then
	# One package that this release does not have must not cost the others.
	for one in $missing; do
		apt-get install -qq -y --no-install-recommends "$one" >/dev/null 2>&1 ||
			echo "tests: $one could not be installed; some tests will be skipped"
	done
fi
