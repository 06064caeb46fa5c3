# What cargo-c makes of the metadata in Cargo.toml, beside what `make install` installs.

test_cargo_c_installs_the_same() {
	need cargo-cinstall pkg-config readelf
	# Its own target directory: nothing here waits for another build, nor makes one wait.
	cargo cinstall --release --locked --manifest-path "$TOP/Cargo.toml" --target-dir "$T/target" \
		--prefix /opt/ovl --libdir /opt/ovl/lib --destdir "$T/c" >log 2>&1 || wrong "$(tail -n 40 log)"
	make -C "$TOP" -s install DESTDIR="$T/make" PREFIX=/opt/ovl >log 2>&1 || wrong "$(tail -n 40 log)"

	cmp c/opt/ovl/include/ovl.h make/opt/ovl/include/ovl.h
	same "$(cd c/opt/ovl/lib && find . -name 'libovl*' | sort)" "$(cd make/opt/ovl/lib && find . -name 'libovl*' | sort)"
	same "$(readlink -f c/opt/ovl/lib/libovl.so.0)" "$(echo "$T"/c/opt/ovl/lib/libovl.so.*.*.*)"
	readelf -Wd c/opt/ovl/lib/libovl.so.0 >dynamic
	grep -q 'soname: \[libovl.so.0\]' dynamic
	grep -q NODELETE dynamic

	# The same functions; no versions.
	exported() {
		readelf -W --dyn-syms "$1/opt/ovl/lib/libovl.so.0" | awk '$7 ~ /^[0-9]+$/ && $5 != "LOCAL" { print $8 }' | sed 's/@.*//' | grep -v '^LIBOVL_' | sort
	}
	same "$(exported c)" "$(exported make)"

	# What a program is told. Libraries: the compiler's own run-time library is not told (docs/install.md).
	told() {
		PKG_CONFIG_PATH='' PKG_CONFIG_LIBDIR="$T/$1/opt/ovl/lib/pkgconfig" pkg-config "$2" $3 ovl |
			tr ' ' '\n' | grep -v '^$' | grep -vx -e -lgcc_s -e -lc | sort -u
	}
	for ask in "--modversion" "--cflags" "--libs" "--libs --static" "--print-requires" "--print-requires-private" \
		"--variable=prefix" "--variable=libdir" "--variable=includedir"; do
		# shellcheck disable=SC2086
		same "$ask: $(told c $ask ' ')" "$ask: $(told make $ask ' ')"
	done
	same "$(PKG_CONFIG_LIBDIR=c/opt/ovl/lib/pkgconfig pkg-config --list-all)" \
		"$(PKG_CONFIG_LIBDIR=make/opt/ovl/lib/pkgconfig pkg-config --list-all)"

	PKG_CONFIG_SYSROOT_DIR="$T/c" PKG_CONFIG_PATH='' PKG_CONFIG_LIBDIR="$T/c/opt/ovl/lib/pkgconfig"
	export PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_PATH PKG_CONFIG_LIBDIR
	cc "$TOP/examples-c/copy.c" -o copy $(pkg-config --cflags --libs ovl)
	mkdir src
	LD_LIBRARY_PATH=c/opt/ovl/lib ./copy src dst
}
