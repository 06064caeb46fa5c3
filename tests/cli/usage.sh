# The command line itself: help, what is refused and how, and where the store comes from.

test_help_names_every_command() {
	ovl --help >help
	for command in create apply commit rm list info status mount unmount run diff changes copy check gc usage import export images rmi; do
		grep -q "^  $command" help || wrong "no $command"
		ovl $command --help >one
		grep -q "^usage: ovl .*$command" one || wrong "no help of $command"
		ovl $command -h | cmp - one
		! grep ' $' one || wrong "blanks at the end of a line"
	done
	! grep ' $' help || wrong "blanks at the end of a line"
	ovl run --help | grep -q "no sandbox"
}

test_version() {
	ovl --version | grep -qE '^ovl [0-9]+\.[0-9]+\.[0-9]+$'
}

test_bad_usage_is_one_line_and_1() {
	refuses 'usage: COMMAND: '
	refuses 'usage: frobnicate: ' frobnicate
	refuses 'usage: --frob: ' --frob list
	refuses 'usage: --store: ' --store
	refuses 'create: usage: ' create
	refuses 'create: c: one argument too many' create a b c
	refuses 'list: x: ' list x
	refuses 'list: --ro: unknown option' list --ro
	refuses 'apply: --parent: needs a value' apply a --parent
	refuses 'apply: --kind: must be root or overlay' apply a --kind tree /dev/null
	refuses 'mount: --ro=1: takes no value' mount a --ro=1
	refuses 'gc: --repair: unknown option' gc --repair
	refuses 'check: --budget: unknown option' check --budget 1
	refuses 'apply: --durability: must be none, full or verified' apply a --durability fast /dev/null
	refuses 'import: --durability: must be' import --durability= /dev/null a
	refuses 'create: --durability: must be none or full' create a --durability verified
	refuses 'copy: --durability: must be none or full' copy --durability=verified a b
	refuses 'copy: --reflink: must be' copy --reflink=maybe a b
	refuses 'copy: --hardlink: ' copy --hardlink --reflink=auto a b
	[ ! -e store ] || wrong "a refused command made a store"
}

test_bad_usage_of_run_is_125() {
	exits 125 "$OVL" run
	one_line 'run: usage: '
	exits 125 "$OVL" run --frob c
	one_line 'run: --frob: unknown option'
	exits 125 env -u OVL_STORE "$OVL" run c
	one_line 'run: store: '
}

test_store_by_option_or_environment() {
	ovl --store one create a
	ovl --store=two create b
	OVL_STORE=three ovl create c
	same "$(ovl --store one list) $(ovl --store=two list) $(OVL_STORE=three ovl list)" "a b c"
	OVL_STORE=three ovl --store one list | grep -qx a
	exits 1 env -u OVL_STORE "$OVL" list
	one_line 'list: store: none given'
}

test_only_create_and_apply_make_a_store() {
	for command in list status check gc usage "info a" "rm a" "commit a" "diff a" "changes a" "mount a" "unmount a"; do
		refuses "${command%% *}: " $command
		[ ! -e store ] || wrong "$command made a store"
	done
	exits 125 "$OVL" run a
	[ ! -e store ] || wrong "run made a store"
}

test_a_directory_that_is_no_store_is_refused_and_left_alone() {
	mkdir store
	echo mine >store/file
	refuses 'create: ' create a
	refuses 'list: ' list
	same "$(ls -A store)" file
}

test_ids_that_are_refused() {
	container
	for id in '' . .. a/b /a -a a:b a,b 'a b' "$(printf 'a\nb')"; do
		refuses 'create: ' create -- "$id"
	done
	same "$(ovl list)" "$(printf 'base\nc')"
}

test_what_cannot_be_written_is_a_failure() {
	base
	"$OVL" list >/dev/full 2>err && wrong "it exits with 0" || same $? 1
	one_line 'list: standard output: '
	"$OVL" diff base >/dev/full 2>err && wrong "it exits with 0" || same $? 1
	one_line 'diff: '
}

test_paths_in_errors_are_escaped() {
	refuses 'apply: no\\012such\\134: ' apply a "$(printf 'no\nsuch\\')"
}
