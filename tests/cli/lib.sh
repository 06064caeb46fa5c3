# What the tests say things with.

skip() {
	case ,${OVL_TEST_HAVE:-}, in
	*,"$1",*) wrong "OVL_TEST_HAVE declares $1" ;;
	esac
	echo "SKIP $test: lacks $1"
	exit 0
}

need() {
	for program in "$@"; do
		command -v "$program" >/dev/null || skip "$program"
	done
}

# on_a_terminal COMMAND: runs it on one, and keeps what it said there in ./said.
on_a_terminal() {
	need script
	script -qec true /dev/null >/dev/null 2>&1 || skip devpts
	script -qec "$1" /dev/null </dev/null >said
}

# The machine's root, and not that of a user namespace alone.
is_root() {
	[ "$(id -u)" = 0 ] && [ "$(tr -s ' ' </proc/self/uid_map)" = ' 0 0 4294967295' ]
}

wrong() {
	echo "wrong: $*"
	exit 1
}

# same GOT WANTED
same() {
	[ "$1" = "$2" ] || wrong "got '$1', wanted '$2'"
}

ovl() {
	"$OVL" "$@"
}

# exits STATUS COMMAND...: and keeps what it said in ./out and ./err.
exits() {
	wanted=$1
	shift
	"$@" >out 2>err && got=0 || got=$?
	[ "$got" = "$wanted" ] || wrong "'$*' exits with $got, not $wanted; it says: $(cat out err)"
}

# refuses COMMAND: PATH: WORDS...: the tool fails with the one line that is promised.
refuses() {
	pattern=$1
	shift
	exits 1 "$OVL" "$@"
	one_line "$pattern"
}

# one_line PATTERN: ./err is one line, and it is "ovl: PATTERN".
one_line() {
	[ "$(wc -l <err)" = 1 ] && grep -qE "^ovl: $1" err || wrong "standard error is: $(cat err)"
}

has_layer() {
	ovl list | grep -qx "$1"
}

# A store with the tiny root file system as the committed layer `base`.
base() {
	ovl apply base "$BASE/rootfs.tar" >base.id
}

# ... and a container `c` on it.
container() {
	base
	ovl create c base
}

# in_container SCRIPT [ARG...]
in_container() {
	script=$1
	shift
	ovl run c -- /bin/sh -c "$script" sh "$@"
}

# Makes the layer tar $1 from the directory $2.
tar_of() {
	tar -C "$2" --owner=0 --group=0 --numeric-owner -cf "$1" .
}

sha256() {
	sha256sum | cut -d ' ' -f 1
}
