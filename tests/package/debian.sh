# The Debian packages: built from the tarballs of a release without a network, twice, and used.

# The tarballs, made once.
tarballs() {
	need git xz tar sha256sum cargo
	[ -d "$TOP/.git" ] || [ -f "$TOP/.git" ] || skip "a git repository"
	[ -d "$BASE/dist" ] || sh "$TOP/scripts/dist.sh" "$BASE/dist.new"
	[ ! -d "$BASE/dist.new" ] || mv "$BASE/dist.new" "$BASE/dist"
}

# debs DIR: the packages built in DIR, where there is no network.
debs() {
	need dpkg-buildpackage dh dpkg-checkbuilddeps
	# All but cargo and rustc, which may be rustup's.
	wanted=$(sed -n '/^Build-Depends:/,/^[^ ]/p' "$TOP/packaging/debian/control" | grep -v '|' | sed -n 's/^ \{2,\}//p' |
		tr -d '\n' | sed 's/,$//')
	dpkg-checkbuilddeps -d "$wanted" "$TOP/packaging/debian/control" 2>lacking || skip "$(sed 's/.*: *//' lacking)"
	tarballs
	mkdir -p "$1"
	cp "$BASE"/dist/*.tar.xz "$1"
	offline=
	! unshare --net true 2>/dev/null || offline="unshare --net"
	$offline sh "$TOP/packaging/deb.sh" "$1" >"$1/log" 2>&1 || wrong "$(tail -n 60 "$1/log")"
}

# The packages, built once.
built() {
	[ ! -d "$BASE/debs.new" ] || wrong "the packages were not built: see the first failure"
	[ -d "$BASE/debs" ] || {
		debs "$BASE/debs.new"
		mv "$BASE/debs.new" "$BASE/debs"
	}
}

# What ./NAME.deb holds, in ./root.
unpacked() {
	for package in "$BASE"/debs/*.deb; do
		case $package in *-dbgsym_*) ;; *) dpkg-deb -x "$package" root ;; esac
	done
}

test_tarballs_are_the_same_bytes_again() {
	tarballs
	sh "$TOP/scripts/dist.sh" again
	same "$(cat again/SHA256SUMS)" "$(cat "$BASE/dist/SHA256SUMS")"
	(cd again && sha256sum -c --quiet SHA256SUMS)
	tar -tf again/libovl-*.vendor.tar.xz >names
	# Every crate that the lock file names, and the copyright of each.
	sed -n 's/^name = "\(.*\)"/\1/p' "$TOP/Cargo.lock" | sort -u | grep -vx libovl | while read -r crate; do
		grep -q "^vendor/$crate-[0-9][^/]*/Cargo.toml$" names || wrong "$crate is not in the vendor tarball"
	done
}

test_packages_satisfy_lintian() {
	need lintian
	built
	lintian --allow-root --fail-on error,warning --tag-display-limit 0 -i -I "$BASE"/debs/*.changes >out 2>&1 ||
		wrong "$(cat out)"
	! grep '^[EW]:' out || wrong "$(cat out)"
}

test_packages_hold_what_belongs_in_them() {
	built
	contents() {
		dpkg-deb -c "$BASE"/debs/"$1"_*.deb | awk '{ print $6 }' | sed 's/\.gz$//' | grep -v '/$'
	}
	contents libovl0 | grep -qE '^./usr/lib/[^/]+/libovl\.so\.0$'
	contents libovl0 | grep -qE '^./usr/lib/[^/]+/libovl\.so\.[0-9]+\.[0-9]+\.[0-9]+$'
	! contents libovl0 | grep -vE '^./usr/(lib/[^/]+/libovl\.so\.|share/(doc|lintian)/)' || wrong "more in libovl0"
	for file in include/ovl.h share/man/man3/libovl.3 share/man/man3/ovl_exists.3; do
		contents libovl-dev | grep -qx "./usr/$file" || wrong "no $file"
	done
	for file in 'libovl\.a' 'libovl\.so' 'pkgconfig/ovl\.pc'; do
		contents libovl-dev | grep -qE "^./usr/lib/[^/]+/$file$" || wrong "no $file"
	done
	for file in bin/ovl share/man/man1/ovl.1 share/man/man5/ovl-store.5; do
		contents ovl-tools | grep -qx "./usr/$file" || wrong "no $file"
	done
	for package in libovl0 libovl-dev; do
		same "$(dpkg-deb -f "$BASE"/debs/${package}_*.deb Multi-Arch)" same
	done
	dpkg-deb -f "$BASE"/debs/ovl-tools_*.deb Depends | grep -q 'libovl0 (>= '
	# No path of the build; hardened.
	need readelf
	unpacked
	! grep -rlaF "$BASE" root || wrong "paths of the build"
	for file in root/usr/bin/ovl root/usr/lib/*/libovl.so.0; do
		readelf -Wdl "$file" >headers
		grep -q GNU_RELRO headers && grep -qE 'BIND_NOW|FLAGS.*NOW' headers || wrong "$file is not hardened"
		! grep -qE 'RPATH|RUNPATH' headers || wrong "$file has a path"
	done
}

test_programs_build_from_the_packages() {
	need pkg-config gcc g++
	built
	unpacked
	export PKG_CONFIG_SYSROOT_DIR="$T/root" PKG_CONFIG_PATH=''
	PKG_CONFIG_LIBDIR=$(echo "$T"/root/usr/lib/*/pkgconfig)
	LD_LIBRARY_PATH=${PKG_CONFIG_LIBDIR%/pkgconfig}
	PATH=$T/root/usr/bin:$PATH
	export PKG_CONFIG_LIBDIR LD_LIBRARY_PATH PATH
	same "$(sh -c 'command -v ovl')" "$T/root/usr/bin/ovl"
	# The tests that the packages come with.
	EXAMPLES=$T/root/usr/share/doc/libovl-dev/examples sh "$TOP/packaging/debian/tests/examples"
	sh "$TOP/packaging/debian/tests/tool"
	if [ -d root/usr/lib/python3 ]; then
		same "$(PYTHONPATH=$T/root/usr/lib/python3/dist-packages python3 -c 'import ovl; print(ovl.__file__)')" \
			"$T/root/usr/lib/python3/dist-packages/ovl/__init__.py"
		PYTHONPATH=$T/root/usr/lib/python3/dist-packages sh "$TOP/packaging/debian/tests/python"
	fi
	if [ "$(id -u)" = 0 ] && command -v busybox >/dev/null; then
		sh "$TOP/packaging/debian/tests/container" && status=0 || status=$?
		[ $status = 0 ] || [ $status = 77 ] || wrong "container: $status"
	fi
}

# Elsewhere, at another time.
test_packages_are_the_same_bytes_again() {
	built
	sleep 2
	debs "$T/elsewhere/in/another/directory"
	for package in "$BASE"/debs/*.deb; do
		name=$(basename "$package")
		same "$name $(sha256 <"elsewhere/in/another/directory/$name")" "$name $(sha256 <"$package")"
	done
}
