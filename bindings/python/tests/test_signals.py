"""Signals: Ctrl-C ends any call at any moment, SIGPIPE ends nobody.

Each is a program of its own, with a real signal, on the main thread.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import ovl
from conftest import HEAD, need
from ovl._worker import Worker

CALLS = {
    # Nothing is read, and no callback is due.
    "a pipe that stalls": """
        reading, writing = os.pipe()
        ready()
        store.apply("new", reading)
    """,
    "the end of a pipe that nobody reads": """
        store.apply("large", place + "/large.tar")
        reading, writing = os.pipe()
        ready()
        store.diff("large", writing)
    """,
    "a reader in Python that waits": """
        reading, writing = os.pipe()
        ready()
        store.apply("new", os.fdopen(reading, "rb"))
    """,
    "a reader in Python": """
        ready()
        store.apply("new", Slow())
    """,
    "a reader that catches what it can": """
        class Catching:
            def read(self, size):
                try:
                    time.sleep(60)
                except Exception:
                    pass
                return b""
        ready()
        store.apply("new", Catching())
    """,
    "an endless iterable": """
        def pieces():
            header = io.BytesIO(open(place + "/large.tar", "rb").read(1536))
            yield header.getvalue()
            while True:
                yield bytes(4096)
        ready()
        store.apply("new", pieces())
    """,
    "a progress function": """
        ready()
        while True:
            store.apply("new", place + "/large.tar", progress=lambda now: time.sleep(60))
    """,
    "a cancel function": """
        reading, writing = os.pipe()
        ready()
        store.apply("new", reading, cancel=lambda: time.sleep(60))
    """,
    "a lock that another one holds": """
        import fcntl
        store.create("held")
        lock = os.open(place + "/s/layer/held", os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready()
        store.commit("held")
    """,
    "a diff that is read as a file": """
        store.apply("large", place + "/large.tar")
        with store.diff("large") as stream:
            ready()
            while True:
                if not stream.read(1 << 20):
                    time.sleep(60)
    """,
    "many short calls": """
        ready()
        while True:
            store.exists("new")
            store.diff_size("base")
    """,
    "copies": """
        ready()
        number = 0
        while True:
            ovl.copy_dir(place + "/s/layer/base", place + f"/copy{number}")
            number += 1
    """,
}


def start(place: Path, body: str) -> subprocess.Popen[str]:
    program = HEAD + (
        "\ntry:\n"
        + textwrap.indent(textwrap.dedent(body), "    ")
        + "\nexcept KeyboardInterrupt:\n    over()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(place)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], 30)[0]:
        process.kill()
    if process.stdout.readline() != "ready\n":
        process.kill()
        pytest.fail(process.communicate()[1])
    return process


@pytest.mark.parametrize("name", sorted(CALLS))
def test_ctrl_c(prepared: Path, name: str) -> None:
    with start(prepared, CALLS[name]) as process:
        time.sleep(0.3)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            pytest.fail(f"{name}: Ctrl-C does not end it")
        took = time.monotonic() - begin
    assert (out, process.returncode) == ("over\n", 0), err
    assert not err, "something was lost on the way: " + err
    # A lock is waited for ten seconds, and a tenth of a second is between two looks.
    assert took < 5


def test_ctrl_c_at_any_moment(prepared: Path) -> None:
    """Many moments of the same calls; none hangs, loses the interrupt or leaves anything."""
    body = """
        from signal import setitimer, ITIMER_REAL
        import random
        class Alarm(BaseException):
            pass
        def on_alarm(number, frame):
            raise Alarm
        signal.signal(signal.SIGALRM, on_alarm)
        piece = open(place + "/large.tar", "rb").read(100_000)
        ready()
        caught = completed = 0
        end = time.monotonic() + 6
        while time.monotonic() < end:
            try:
                setitimer(ITIMER_REAL, random.uniform(0.00005, 0.004))
                try:
                    store.apply("new", [piece[at:at + 512] for at in range(0, len(piece), 512)])
                except OSError as error:
                    assert error.code is ovl.Code.TRUNCATED, error
                completed += 1
                setitimer(ITIMER_REAL, 0)
            except Alarm:
                caught += 1
                setitimer(ITIMER_REAL, 0)
        assert not ovl._call._calls
        assert caught > 50, (caught, completed)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    """
    with start(prepared, body) as process:
        try:
            out, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            pytest.fail("it hangs: " + process.communicate()[1])
    assert (out, process.returncode) == ("over\n", 0), err
    assert not err


def test_a_handler_that_raises_nothing_changes_nothing(prepared: Path) -> None:
    body = """
        seen = []
        signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
        reading, writing = os.pipe()
        def feed():
            while not seen:
                time.sleep(0.01)
            with os.fdopen(writing, "wb") as file:
                file.write(open(place + "/large.tar", "rb").read())
        thread = threading.Thread(target=feed)
        thread.start()
        ready()
        store.apply("large", reading)
        assert seen
        thread.join()
        alone()
        raise KeyboardInterrupt
    """
    with start(prepared, body) as process:
        time.sleep(0.3)
        process.send_signal(signal.SIGUSR1)
        out, err = process.communicate(timeout=30)
    assert (out, process.returncode) == ("over\n", 0), err
    assert not err


@pytest.mark.parametrize("thread", [False, True])
def test_a_reader_that_goes_away_is_an_error_and_no_signal(prepared: Path, thread: bool) -> None:
    body = f"""
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)   # so that it would kill
        store.apply("large", place + "/large.tar")
        reading, writing = os.pipe()
        os.close(reading)
        seen = []
        def work():
            try:
                store.diff("large", writing)
            except BrokenPipeError as error:
                seen.append(error)
        if {thread}:
            one = threading.Thread(target=work)
            one.start()
            one.join()
            alone()
        else:
            work()
        assert isinstance(seen[0], ovl.OvlError)
        store.diff("large").close()
        ready()
        raise KeyboardInterrupt
    """
    with start(prepared, body) as process:
        out, err = process.communicate(timeout=30)
    assert (out, process.returncode) == ("over\n", 0), err
    assert not err


def test_a_replaced_file_stays_when_a_handler_raises(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def interrupted(*paths: bytes) -> None:
        replace(*paths)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with ovl.Store(prepared / "s") as store, pytest.raises(KeyboardInterrupt):
        store.diff("base", prepared / "out.tar")
    assert (prepared / "out.tar").stat().st_size > 0


def test_at_exit_no_thread_can_be_had(prepared: Path) -> None:
    """Since Python 3.12; the calls are made all the same."""
    program = HEAD + (
        "import atexit\n"
        "def last():\n"
        "    store.apply('new', io.BytesIO(open(place + '/large.tar', 'rb').read()),\n"
        "                progress=lambda now: None)\n"
        "    store.remove('new')\n"
        "    over()\n"
        "atexit.register(last)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(prepared)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("over\n", "", 0)


def test_a_user_namespace_after_a_call(prepared: Path) -> None:
    """unshare(2) wants a single thread: that of a call is gone when the call is over."""
    need("userns")
    body = """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        for _ in range(20):
            store.diff_size("base")
            if libc.unshare(0x10000000) != 0:
                raise OSError(ctypes.get_errno(), "unshare")
            for name, words in ("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1"):
                with open("/proc/self/" + name, "w") as file:
                    file.write(words)
        ready()
        raise KeyboardInterrupt
    """
    with start(prepared, body) as process:
        out, err = process.communicate(timeout=30)
    assert (out, process.returncode) == ("over\n", 0), err
    assert not err


def test_no_handler_ends_the_wait_for_a_thread() -> None:
    class Again(Exception):
        pass

    def handler(*_: object) -> None:
        raise Again

    worker = Worker(lambda: time.sleep(0.2))
    worker.start()
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(Again):
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
            try:
                worker.join()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        assert worker.done
        assert not os.path.exists(worker._task)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
