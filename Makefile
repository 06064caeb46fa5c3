# libovl: `make run` shows it at work, `make test` tests it.
#
#   make            build/ovl, build/libovl.so, build/libovl.a, build/ovl.pc, build/examples/*
#   make run        a container from two image layers, and what the library says of it
#   make run IMAGE=rootfs.tar.gz                      the same with a root file system of yours
#   make demo-containerd   containerd, started privately, with an image and a container on libovl (root, Go)
#   make test       what a change must pass; installs what the tests need (apt, when root)
#   make test-all   what needs minutes, too
#   make fuzz       fuzzes every parser, and apply, ten minutes each (docs/fuzzing.md)
#   make power      cuts the power of a store's disk, CUTS=10000 times (docs/power-cuts.md)
#   make chains     the random tests of layers, CHAINS=10000 seeds each
#   make torture    many processes on one store, killed at any moment, for SECONDS=300
#   make sweep      every system call of every operation killed, and failed (docs/sweep.md)
#   make bench      the measurements, JOBS="clone apply" of them, QUICK=1 (docs/performance.md)
#   make header     write include/ovl.h anew
#   make abi        write the baseline of the ABI anew, as after an addition to it
#   make install    DESTDIR=, PREFIX=/usr/local, LIBDIR=$(PREFIX)/lib, INCLUDEDIR=, BINDIR=, MANDIR=
#   make uninstall  the same variables
#   make dist       dist/: the source and vendor tarballs        make deb        Debian packages of them
#   make clean
#
# A build that is up to date is left alone: someone who may only read this tree can use it.

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
CARGO ?= cargo
CFLAGS ?= -O2 -g
# Empty for a distribution, whose compiler may know warnings that ours does not.
WERROR ?= -Werror
WARNINGS = -std=c99 -pedantic -Wall -Wextra -Wshadow $(WERROR)
TARGET_DIR = $(or $(CARGO_TARGET_DIR),target)

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
RUST := $(shell find src -name '*.rs') Cargo.toml Cargo.lock $(wildcard build.rs .cargo/config.toml)
EXAMPLES := $(patsubst examples-c/%.c,build/examples/%,$(wildcard examples-c/*.c))
TOOL := $(wildcard examples-c/ovl/*.c)
TOOL_HEADERS := include/ovl.h $(wildcard examples-c/ovl/*.h)
# What lies below the prefix is told relative to it, so that a tree that was moved can be used where it
# is (pkg-config --define-prefix).
below_prefix = $(patsubst $(PREFIX)/%,$${prefix}/%,$(1))
WRITE_PC = sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(call below_prefix,$(LIBDIR))|' \
	-e 's|^includedir=.*|includedir=$(call below_prefix,$(INCLUDEDIR))|' -e 's|@VERSION@|$(VERSION)|' pkgconfig/ovl.pc.in
LINK = -Iinclude -Lbuild -lovl -Wl,-rpath,'$$ORIGIN$(1)'

all: build/ovl build/libovl.so build/libovl.a build/ovl.pc build/install/ovl $(EXAMPLES)

build/libovl.a: $(RUST)
	$(CARGO) build --release --lib --locked
	@mkdir -p build
	cp -f $(TARGET_DIR)/release/libovl.a $@

build/libovl.so.0: build/libovl.a $(wildcard abi/*) pkgconfig/ovl.pc.in
	sh abi/link.sh '$(CC)' $< $@

build/libovl.so: build/libovl.so.0
	ln -sf libovl.so.0 $@

build/ovl.pc: pkgconfig/ovl.pc.in Makefile Cargo.toml
	@mkdir -p build
	$(WRITE_PC) >$@

build/ovl: $(TOOL) $(TOOL_HEADERS) | build/libovl.so
	$(CC) $(CPPFLAGS) $(WARNINGS) $(CFLAGS) $(TOOL) -o $@ $(call LINK) $(LDFLAGS)

# The tool as it is installed, without the path of this tree in it.
build/install/ovl: $(TOOL) $(TOOL_HEADERS) | build/libovl.so
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(WARNINGS) $(CFLAGS) $(TOOL) -o $@ -Iinclude -Lbuild -lovl $(LDFLAGS)

build/examples/%: examples-c/%.c include/ovl.h | build/libovl.so
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(WARNINGS) $(CFLAGS) $< -o $@ $(call LINK,/..) $(LDFLAGS)

run: build/ovl
	@OVL=build/ovl IMAGE='$(IMAGE)' sh scripts/demo.sh

demo-containerd: build/ovl
	@sh tests/containerd/demo.sh

test: all
	@sh scripts/test.sh

test-all: all
	@sh scripts/test.sh all

CHAINS ?= 10000
chains:
	@sh scripts/chains.sh $(CHAINS)

SECONDS ?= 300
torture:
	@sh scripts/torture.sh $(SECONDS) $(SEED)

CUTS ?= 10000
power:
	@sh scripts/power.sh $(CUTS)

# Other stores under the same cuts; installs them (apt, when root).
power-peers:
	@sh scripts/power.sh peers

fuzz:
	@sh scripts/fuzz.sh

sweep:
	@sh scripts/sweep.sh

bench: all
	$(CARGO) bench --locked --bench bench

# The baseline that the interface is compared with; see abi/baseline.sh.
abi:
	sh abi/baseline.sh write

header:
	$(CARGO) build --lib --locked --features header

# What goes into ovl.pc is an absolute path, and has nothing in it that sed or pkg-config reads otherwise.
install: all
	@for path in '$(PREFIX)' '$(LIBDIR)' '$(INCLUDEDIR)'; do case $$path in \
		[!/]* | '') echo "install: '$$path' is not an absolute path" >&2; exit 1 ;; \
		*[[:space:]\&\|\\\"\$$\#]*) echo "install: pkg-config cannot say '$$path'" >&2; exit 1 ;; \
	esac; done
	install -d '$(DESTDIR)$(LIBDIR)/pkgconfig' '$(DESTDIR)$(INCLUDEDIR)' '$(DESTDIR)$(BINDIR)'
	install -m 644 build/libovl.so.0 '$(DESTDIR)$(LIBDIR)/libovl.so.$(VERSION)'
	ln -sf libovl.so.$(VERSION) '$(DESTDIR)$(LIBDIR)/libovl.so.0'
	ln -sf libovl.so.0 '$(DESTDIR)$(LIBDIR)/libovl.so'
	install -m 644 build/libovl.a '$(DESTDIR)$(LIBDIR)'
	$(WRITE_PC) >'$(DESTDIR)$(LIBDIR)/pkgconfig/ovl.pc'
	chmod 644 '$(DESTDIR)$(LIBDIR)/pkgconfig/ovl.pc'
	install -m 644 include/ovl.h '$(DESTDIR)$(INCLUDEDIR)'
	install -m 755 build/install/ovl '$(DESTDIR)$(BINDIR)'
	sh docs/man/install.sh '$(DESTDIR)$(MANDIR)'
	test -n '$(DESTDIR)' || sh scripts/loader.sh '$(LIBDIR)'

uninstall:
	rm -f '$(DESTDIR)$(LIBDIR)/libovl.so' '$(DESTDIR)$(LIBDIR)/libovl.so.0' \
		'$(DESTDIR)$(LIBDIR)/libovl.so.$(VERSION)' '$(DESTDIR)$(LIBDIR)/libovl.a' \
		'$(DESTDIR)$(LIBDIR)/pkgconfig/ovl.pc' '$(DESTDIR)$(INCLUDEDIR)/ovl.h' '$(DESTDIR)$(BINDIR)/ovl'
	sh docs/man/install.sh --remove '$(DESTDIR)$(MANDIR)'
	test -n '$(DESTDIR)' || sh scripts/loader.sh '$(LIBDIR)'

dist:
	@sh scripts/dist.sh dist

deb: dist
	@sh packaging/deb.sh dist

clean:
	rm -rf build dist
	$(CARGO) clean

.PHONY: all run demo-containerd test test-all chains power power-peers torture sweep bench header abi install uninstall dist deb clean fuzz
.DELETE_ON_ERROR:
