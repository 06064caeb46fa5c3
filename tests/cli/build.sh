# What a newcomer does: compile the examples, paste from the README, make run.

each_compiler() {
	for cc in gcc clang; do
		command -v $cc >/dev/null || { echo "SKIP $test: lacks $cc"; continue; }
		"$@"
	done
}

# strict PROGRAM SOURCE...
strict() {
	program=$1
	shift
	$cc -std=c99 -pedantic -Wall -Wextra -Wshadow -Werror -I"$TOP/include" "$@" -o "$program" \
		-L"$TOP/build" -lovl -Wl,-rpath,"$TOP/build"
}

compile_all() {
	for source in "$TOP"/examples-c/*.c; do
		strict "$(basename "$source" .c)-$cc" "$source"
	done
	strict "ovl-$cc" "$TOP"/examples-c/ovl/*.c
}

test_examples_compile_without_a_warning() {
	each_compiler compile_all
}

test_example_apply() {
	mkdir -p top/etc
	: >top/etc/.wh.motd
	tar_of top.tar top
	same "$("$TOP/build/examples/apply" store image "$BASE/rootfs.tar" top.tar)" \
		"$(printf 'image.1 sha256:%s\nimage.2 sha256:%s' "$(sha256 <"$BASE/rootfs.tar")" "$(sha256 <top.tar)")"
	ovl info image.2 | grep -qx 'parent: image.1'
	exits 1 "$TOP/build/examples/apply" store other nosuch.tar
	exits 1 "$TOP/build/examples/apply" store image "$BASE/rootfs.tar"
}

test_example_mount() {
	base
	"$TOP/build/examples/mount" store base c >out
	same "$(cat out)" "A /greeting"
	exits 1 "$TOP/build/examples/mount" store base c
}

test_example_copy() {
	mkdir src
	echo x >src/file
	same "$("$TOP/build/examples/copy" src dst 2>/dev/null)" "2 entries, 1 files copied, 0 shared"
	same "$(cat dst/file)" x
	exits 1 "$TOP/build/examples/copy" src dst
}

# The one program in the README, as it stands there.
test_readme_program_runs() {
	awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' "$TOP/README.md" >readme.c
	[ -s readme.c ]
	cc=$(command -v gcc || command -v clang)
	strict readme readme.c
	mkdir layer
	echo x >layer/file
	tar_of layer.tar layer
	./readme <layer.tar >out
	same "$(cat out)" "A /hello"
}

test_demo() {
	OVL=$OVL TMPDIR=$T sh "$TOP/scripts/demo.sh" >out 2>&1 || wrong "$(cat out)"
	grep -q '^Done: no layer, no mount and no process is left.$' out
	same "$(ls)" out
}

test_demo_with_an_image() {
	gzip -c "$BASE/rootfs.tar" >image.tar.gz
	OVL=$OVL TMPDIR=$T IMAGE=image.tar.gz sh "$TOP/scripts/demo.sh" >out 2>&1 || wrong "$(cat out)"
	grep -q 'deletes /etc/motd' out
	grep -q '^Done' out
}

test_demo_without_root() {
	is_root && command -v setpriv >/dev/null || skip root
	chmod 777 .
	setpriv --reuid=65534 --regid=65534 --clear-groups unshare --user true 2>/dev/null || skip userns
	setpriv --reuid=65534 --regid=65534 --clear-groups test -r "$TOP/scripts/demo.sh" || skip "a tree that nobody may read"
	OVL=$OVL TMPDIR=$T setpriv --reuid=65534 --regid=65534 --clear-groups sh "$TOP/scripts/demo.sh" >out 2>&1 ||
		wrong "$(cat out)"
	grep -q '^Done' out
	same "$(ls)" out
}

test_demo_says_what_is_missing() {
	need setpriv
	OVL=$OVL IMAGE=nosuch sh "$TOP/scripts/demo.sh" >out 2>&1 && wrong "it exits with 0"
	grep -q '^make run: IMAGE=nosuch cannot be read$' out
}
