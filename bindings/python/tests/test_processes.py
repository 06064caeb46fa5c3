"""Other processes with copies of descriptors: forked children, and programs that are started."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ovl
from conftest import large_tar, need


@pytest.fixture
def large(store: ovl.Store) -> ovl.Store:
    store.apply("large", [large_tar()])
    return store


def run(program: str, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Python 3.12 and later warn of any fork beside a thread.
    command = [sys.executable, "-W", "ignore", "-c", program, str(place), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


FORKED = """
import errno, os, signal, sys
import ovl
store = ovl.Store(sys.argv[1])
stream = store.diff("large")
stream.read(1)
child = os.fork()
if child == 0:
    signal.alarm(10)  # ends it where it waits for ever
    try:
        stream.result()
    except ovl.OvlError as error:
        assert (error.errno, error.code) == (errno.EOWNERDEAD, ovl.Code.FORKED)
        {leave}
    os._exit(3)
assert os.waitpid(child, 0)[1] == 0
assert len(stream.read()) > 32 << 20
stream.close()
store.close()
"""


@pytest.mark.parametrize(
    "leave", ["sys.exit()", "stream.close(); os._exit(0)", "del stream; os._exit(0)"]
)
def test_a_diff_in_a_forked_child_ends(large: ovl.Store, place: Path, leave: str) -> None:
    """Its thread is in the parent, and nobody waits for it elsewhere; the parent's diff goes on."""
    done = run(FORKED.format(leave=leave), place / "store")
    assert (done.returncode, done.stderr) == (0, "")


READ_BY_CHILD = """
import os, signal, sys
import ovl
signal.alarm(30)
store = ovl.Store(sys.argv[1])
stream = store.diff("large")
down, up = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    os.close(down[1])
    if sys.argv[2] == "child":
        while os.read(stream.fileno(), 1 << 20):
            pass
    os.write(up[1], b"x")
    os.read(down[0], 1)  # until the parent has done
    os._exit(0)
if sys.argv[2] == "parent":
    while stream.read(1 << 20):
        pass
os.read(up[0], 1)
os.close(down[1])
assert os.waitpid(child, 0)[1] == 0
if sys.argv[2] == "parent":
    stream.result()
stream.close()
"""


@pytest.mark.parametrize("reader", ["child", "parent"])
def test_a_forked_child_is_no_writer_of_a_diff(large: ovl.Store, place: Path, reader: str) -> None:
    """Who reads it to its end sees the end, although the child is there."""
    done = run(READ_BY_CHILD, place / "store", reader)
    assert (done.returncode, done.stderr) == (0, "")


FORKED_IN_CALLBACK = """
import errno, os, signal, sys
import ovl
signal.alarm(30)
store = ovl.Store(sys.argv[1])
child = None
def tell(now):
    global child
    if child is None:
        child = os.fork()
        if child == 0 and sys.argv[2] == "raises":
            sys.exit(7)
try:
    store.diff("large", "/dev/null", progress=tell)
except ovl.OvlError as error:
    assert (child, error.errno, error.code) == (0, errno.EOWNERDEAD, ovl.Code.FORKED), error
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""


@pytest.mark.parametrize("how", ["raises", "returns"])
def test_a_fork_in_a_callback_has_no_call(large: ovl.Store, place: Path, how: str) -> None:
    """The call and its thread are the parent's; the child is told, and ends."""
    done = run(FORKED_IN_CALLBACK, place / "store", how)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_diff_closed_early_does_not_wait_for_other_readers(large: ovl.Store) -> None:
    stream = large.diff("large")
    with subprocess.Popen(["sleep", "30"], stdin=stream.fileno()) as other:
        before = time.monotonic()
        stream.close()
        took = time.monotonic() - before
        other.kill()
    assert took < 10
    with pytest.raises(OSError) as stopped:
        stream.result()
    assert stopped.value.errno in (errno.EPIPE, errno.ECANCELED)


CLOSED_WITHIN = """
import errno, signal, sys, time
import ovl
signal.alarm(20)
store = ovl.Store(sys.argv[1])
def tell(now):
    try:
        stream.result()
    except RuntimeError:
        stream.close()
stream = store.diff("large", progress=tell)
try:
    while stream.read(1 << 16):
        time.sleep(0.005)  # longer than a look at the clock
except (OSError, ValueError):
    pass
assert stream.closed
try:
    stream.result()
except OSError as error:
    assert error.errno in (errno.EPIPE, errno.ECANCELED), error
else:
    assert False
store.close()
"""


def test_a_function_of_a_diff_closes_it(large: ovl.Store, place: Path) -> None:
    """It runs on the thread that a close would wait for."""
    done = run(CLOSED_WITHIN, place / "store")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_is_started_is_waited_for(store: ovl.Store) -> None:
    """Until its exec it has copies of all descriptors, that of a mount's root too."""
    need("overlay")
    store.create("base").commit()
    mount = store.create("layer", "base").mount()
    with subprocess.Popen(["sleep", "0.05"], pass_fds=[mount.fileno()]):
        mount.unmount()
    mount = store.layer("layer").mount()
    with subprocess.Popen(["sleep", "30"], pass_fds=[mount.fileno()]) as other:
        with pytest.raises(OSError) as busy:
            mount.unmount()
        other.kill()
    assert busy.value.errno == errno.EBUSY
    mount.unmount()
    assert not os.path.ismount(mount)
