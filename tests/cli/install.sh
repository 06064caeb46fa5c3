# What is installed, and programs that are built against nothing but that.

# installed [VARIABLE=VALUE...]: `make install` into ./root.
installed() {
	# The tool is the same whatever it is tested with.
	make -C "$TOP" -s install DESTDIR="$T/root" "$@" >make.log 2>&1 || wrong "$(cat make.log)"
}

# pc [ARGUMENT...]: pkg-config for what is in ./root, installed for the prefix /opt/ovl.
pc() {
	PKG_CONFIG_SYSROOT_DIR="$T/root" PKG_CONFIG_PATH='' PKG_CONFIG_LIBDIR="$T/root/opt/ovl/lib/pkgconfig" \
		pkg-config "$@" ovl | sed 's/ *$//'
}

test_install_puts_files_where_they_belong() {
	(umask 077 && installed PREFIX=/opt/ovl)
	version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$TOP/Cargo.toml" | head -n 1)
	same "$(cd root && find . -not -type d -not -path '*/man3/*' -printf '%P %m %l\n' | sort)" "$(sort <<-END
		opt/ovl/bin/ovl 755 
		opt/ovl/include/ovl.h 644 
		opt/ovl/lib/libovl.a 644 
		opt/ovl/lib/libovl.so 777 libovl.so.0
		opt/ovl/lib/libovl.so.$version 644 
		opt/ovl/lib/libovl.so.0 777 libovl.so.$version
		opt/ovl/lib/pkgconfig/ovl.pc 644 
		opt/ovl/share/man/man1/ovl.1 644 
		opt/ovl/share/man/man5/ovl-store.5 644 
	END
	)"
	same "$(find root -type d -not -perm 755)" ""
	cmp "$TOP/include/ovl.h" root/opt/ovl/include/ovl.h
	# A page for each function, by its name.
	sed -n 's/^ *\(ovl_[a-z0-9_]*\);$/\1/p' "$TOP/abi/libovl.map" >functions
	while read -r function; do
		[ -s "root/opt/ovl/share/man/man3/$function.3" ] || wrong "no $function.3"
	done <functions
	! grep -rl "$TOP\|$T" root/opt/ovl/lib/pkgconfig root/opt/ovl/share || wrong "paths of the build"

	make -C "$TOP" -s uninstall DESTDIR="$T/root" PREFIX=/opt/ovl
	same "$(find root -not -type d)" ""
}

test_install_takes_the_usual_variables() {
	installed PREFIX=/usr LIBDIR=/usr/lib/triplet INCLUDEDIR=/usr/include/ovl BINDIR=/usr/libexec MANDIR=/usr/man
	for file in lib/triplet/libovl.so.0 lib/triplet/pkgconfig/ovl.pc include/ovl/ovl.h libexec/ovl man/man3/libovl.3; do
		[ -e "root/usr/$file" ] || wrong "no $file"
	done
	need pkg-config
	export PKG_CONFIG_LIBDIR="$T/root/usr/lib/triplet/pkgconfig"
	same "$(pkg-config --variable=libdir ovl)" /usr/lib/triplet
	same "$(pkg-config --cflags ovl | sed 's/ *$//')" -I/usr/include/ovl
	rm -r root
	# A library directory that is not below the prefix.
	installed PREFIX=/opt/ovl LIBDIR=/usr/lib/elsewhere
	export PKG_CONFIG_LIBDIR="$T/root/usr/lib/elsewhere/pkgconfig"
	same "$(pkg-config --variable=libdir ovl)" /usr/lib/elsewhere
}

# A prefix of one's own, by a user who cannot tell the loader of it.
test_a_user_installs_below_a_home() {
	need setpriv make
	is_root || skip root
	mkdir -m 777 home
	chmod a+rx "$BASE" .
	# Where make is not, and where a user has neither sbin nor /etc.
	as_user() {
		setpriv --reuid 65534 --regid 65534 --clear-groups env -i PATH=/usr/local/bin:/usr/bin:/bin HOME="$T/home" "$@"
	}
	as_user test -r "$TOP/build/libovl.so.0" || skip "a tree that a user may read"
	exits 0 as_user make -C "$TOP" -s install PREFIX="$T/home/.local"
	grep -q "LD_LIBRARY_PATH=$T/home/.local/lib" err || wrong "nothing is said of the loader: $(cat err)"
	same "$(as_user LD_LIBRARY_PATH="$T/home/.local/lib" home/.local/bin/ovl --version)" "$(ovl --version)"
	exits 0 as_user make -C "$TOP" -s uninstall PREFIX="$T/home/.local"
	same "$(find home -not -type d)" ""
	# Into a root for packages there is no loader to be told.
	exits 0 make -C "$TOP" -s install DESTDIR="$T/root" PREFIX=/opt/ovl
	same "$(cat err)" ""
}

test_install_refuses_what_pkg_config_cannot_say() {
	for prefix in relative '' '/opt/a b' '/opt/a&b' '/opt/a|b'; do
		exits 2 make -C "$TOP" -s install DESTDIR="$T/root" PREFIX="$prefix"
		grep -q '^install: ' err || wrong "$prefix: $(cat err)"
		[ ! -e root ] || wrong "$prefix: something was installed"
	done
	exits 2 make -C "$TOP" -s install DESTDIR="$T/root" PREFIX=/opt/ovl LIBDIR=lib
	exits 0 make -C "$TOP" -s install DESTDIR="$T/root" PREFIX=/opt/ovl-0.1+x~1
}

test_installed_files_know_no_build_tree() {
	need readelf
	installed PREFIX=/opt/ovl
	for file in bin/ovl lib/libovl.so.0; do
		! readelf -Wd "root/opt/ovl/$file" | grep -E 'RPATH|RUNPATH' || wrong "$file has a path"
	done
	readelf -Wd root/opt/ovl/lib/libovl.so.0 | grep -q 'soname: \[libovl.so.0\]'
	readelf -Wd root/opt/ovl/bin/ovl | grep -q 'NEEDED.*\[libovl.so.0\]'
	same "$(LD_LIBRARY_PATH="$T/root/opt/ovl/lib" root/opt/ovl/bin/ovl --version)" "$(ovl --version)"
}

test_pkg_config() {
	need pkg-config
	installed PREFIX=/opt/ovl
	version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$TOP/Cargo.toml" | head -n 1)
	same "$(pc --modversion)" "$version"
	same "$(pc --cflags)" "-I$T/root/opt/ovl/include"
	same "$(pc --libs)" "-L$T/root/opt/ovl/lib -lovl"
	same "$(pc --print-requires --print-requires-private)" ""
	pc --exists --print-errors
	case $(pc --libs --static) in
	*"-lovl -l"*" -lc"*) ;;
	*) wrong "$(pc --libs --static)" ;;
	esac
	# A tree that was moved.
	mv root/opt/ovl moved
	export PKG_CONFIG_LIBDIR="$T/moved/lib/pkgconfig"
	same "$(pkg-config --define-prefix --cflags --libs ovl | sed 's/ *$//')" "-I$T/moved/include -L$T/moved/lib -lovl"
}

# Each example and the tool, as a program of somebody else: build NAME FLAGS...
build() {
	program=$1
	shift
	case $program in
	ovl) set -- "$TOP"/examples-c/ovl/*.c "$@" ;;
	*) set -- "$TOP/examples-c/$program.c" "$@" ;;
	esac
	# Flags are lists of words.
	# shellcheck disable=SC2046
	$cc -std=c99 -pedantic -Wall -Wextra -Wshadow -Werror $(pc --cflags) -o "./$program" "$@"
}

runs() {
	export LD_LIBRARY_PATH="$T/root/opt/ovl/lib"
	rm -rf store dst
	same "$(./ovl --version)" "ovl $(pc --modversion)"
	./copy src dst 2>/dev/null
	cmp src/file dst/file
	./apply store image "$BASE/rootfs.tar" >out
	same "$(cat out)" "image.1 sha256:$(sha256 <"$BASE/rootfs.tar")"
	same "$(./mount store image.1 c)" "A /greeting"
	same "$(./ovl list | wc -l)" 2
	unset LD_LIBRARY_PATH
}

with_each_compiler() {
	for program in apply copy mount ovl; do
		build $program $(pc --libs)
	done
	runs
	readelf -Wd copy | grep -q 'NEEDED.*\[libovl.so.0\]'
	for link in -static -static-pie; do
		for program in apply copy mount ovl; do
			build $program $link $(pc --libs --static)
		done
		! readelf -Wd copy | grep -q NEEDED || wrong "$link needs libraries"
		runs
	done
	# A dynamic program with a static libovl.
	build copy "$T/root/opt/ovl/lib/libovl.a" $(pc --libs --static | sed 's/-L[^ ]* -lovl//')
	! readelf -Wd copy | grep -q libovl || wrong "it needs libovl.so"
	./copy src dst3 2>/dev/null
	rm -r dst3
}

test_programs_link_with_what_is_installed() {
	need pkg-config readelf
	installed PREFIX=/opt/ovl
	mkdir src
	echo x >src/file
	each_compiler with_each_compiler
}

test_cplusplus_programs_link_with_what_is_installed() {
	need pkg-config g++
	installed PREFIX=/opt/ovl
	cat >program.cc <<-'END'
		#include <ovl.h>
		#include <iostream>
		#include <stdexcept>

		static int stop(void *, const ovl_progress *, size_t)
		{
			return 7;
		}

		int main()
		{
			ovl_error *error = nullptr;
			ovl_copy_opts opts = {};
			ovl_copy_stats stats = {};

			opts.progress = stop;
			/* Exceptions of the program's own, with the library's unwinder beside them. */
			try {
				int rc = ovl_copy_dir(-100, "nosuch", -100, "dst", &opts, sizeof opts, &stats, sizeof stats, &error);
				if (rc < 0)
					throw std::runtime_error(ovl_error_message(error));
			} catch (const std::exception &e) {
				std::cout << ovl_error_operation(error) << ' ' << ovl_error_errno(error) << '\n';
			}
			ovl_error_free(error);
			return 0;
		}
	END
	for link in '' -static -static-pie; do
		g++ -std=c++17 -pedantic -Wall -Wextra -Werror $link $(pc --cflags) program.cc -o program \
			$(pc --libs ${link:+--static})
		same "$(LD_LIBRARY_PATH="$T/root/opt/ovl/lib" ./program)" "copy_dir 2"
	done
}

# Two archives, each with the Rust standard library in it.
test_the_archive_links_beside_another_rust_archive() {
	need pkg-config rustc
	installed PREFIX=/opt/ovl
	cat >other.rs <<-'END'
		//! Allocates, formats, panics and catches: what pulls in most of the standard library.
		#[unsafe(no_mangle)]
		pub extern "C" fn other_sum(up_to: u32) -> u64 {
			let caught = std::panic::catch_unwind(|| {
				let numbers: Vec<u64> = (1..=u64::from(up_to)).collect();
				assert!(numbers.len() < 1000, "{} are too many", numbers.len());
				std::thread::spawn(move || numbers.iter().sum()).join().unwrap_or(0)
			});
			caught.unwrap_or(u64::MAX)
		}
	END
	cat >both.c <<-'END'
		#include <ovl.h>
		#include <stdint.h>
		#include <stdio.h>

		uint64_t other_sum(uint32_t up_to);

		int main(void)
		{
			struct ovl_error *error = NULL;
			int rc = ovl_copy_dir(-100, "nosuch", -100, "dst", NULL, 0, NULL, 0, &error);

			printf("%d %d %d\n", (int)other_sum(10), rc, ovl_error_errno(error));
			printf("%d\n", other_sum(5000) == UINT64_MAX);
			ovl_error_free(error);
			return 0;
		}
	END
	rustc --edition 2024 -O --crate-type staticlib other.rs -o libother.a
	for order in "other ovl" "ovl other"; do
		for link in '' -static -static-pie; do
			set --
			for library in $order; do
				case $library in
				other) set -- "$@" ./libother.a ;;
				ovl) set -- "$@" "$T/root/opt/ovl/lib/libovl.a" ;;
				esac
			done
			gcc $link $(pc --cflags) both.c -o both "$@" $(pc --libs --static | sed 's/-L[^ ]* -lovl//')
			same "$(./both 2>/dev/null)" "$(printf '55 -2 2\n1')"
		done
	done
}

test_manual_pages_are_found() {
	need man
	installed PREFIX=/opt/ovl
	for page in 'libovl 3' 'ovl_exists 3' 'ovl_error_message 3' 'ovl 1' 'ovl-store 5'; do
		man -M root/opt/ovl/share/man ${page#* } ${page% *} >out 2>err || wrong "$(cat err)"
		grep -q NAME out
	done
}
