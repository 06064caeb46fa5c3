# The progress bar: on a terminal and for long work only.

# A tar of many entries that takes a second and a half to come.
slow_tar() {
	mkdir many
	(cd many && for i in $(seq 1500); do : >"$i"; done)
	tar -C many -cf many.tar .
	python3 - <<'PY' >slow.sh
import os
size = os.path.getsize("many.tar")
step = size // 15 // 512 * 512
print("\n".join(f"tail -c +{at + 1} many.tar | head -c {step}; sleep 0.1" for at in range(0, size, step)))
PY
}

test_no_bar_in_a_pipe() {
	need python3
	slow_tar
	sh slow.sh | "$OVL" apply many - >out 2>err
	same "$(cat err)" ""
}

test_a_bar_on_a_terminal() {
	need python3
	slow_tar
	on_a_terminal "sh slow.sh | $OVL apply many -"
	grep -q 'apply .*entries' said
	grep -q 'sha256:' said
}

test_no_bar_for_short_work() {
	on_a_terminal "$OVL apply base $BASE/rootfs.tar"
	grep -q entries said && wrong "$(cat -v said)"
	return 0
}

test_an_interrupt_cancels() {
	need python3
	slow_tar
	mkfifo pipe
	sh slow.sh >pipe &
	"$OVL" apply many - <pipe >out 2>err &
	process=$!
	sleep 0.6
	kill -TERM $process
	wait $process && got=0 || got=$?
	[ $got != 0 ] || wrong "it exits with 0"
	wait || true
	same "$(ovl list)" ""
}
