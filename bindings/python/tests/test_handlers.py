"""What a signal's handler raises loses nothing and frees nothing twice, whenever it comes."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

import ovl
from conftest import HEAD, descriptors, need

ALARM = """
class Alarm(Exception):
    pass
def raises(number, frame):
    raise Alarm
signal.signal(signal.SIGALRM, raises)
"""


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", HEAD + ALARM + program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


STORM = """
import gc, queue, random
class Timer:
    "Sends the signal to the process."
    threads = 0
    def start(self, seconds):
        signal.setitimer(signal.ITIMER_REAL, seconds)
    def stop(self):
        signal.setitimer(signal.ITIMER_REAL, 0)
class Thread(threading.Thread):
    "Takes the signal itself, as it may any: the main thread's signal mask does not matter then."
    threads = 1
    def __init__(self):
        super().__init__(daemon=True)
        self.asked, self.idle = queue.SimpleQueue(), threading.Event()
        super().start()
    def run(self):
        while True:
            time.sleep(self.asked.get())
            signal.pthread_kill(threading.get_ident(), signal.SIGALRM)
            self.idle.set()
    def start(self, seconds):
        self.idle.clear()
        self.asked.put(seconds)
    def stop(self):
        try:
            self.idle.wait()
        except Alarm:
            self.idle.wait()
            raise
timer = Timer() if sys.argv[2] == "timer" else Thread()
def settled():
    gc.collect()
    while len(os.listdir("/proc/self/task")) > 1 + timer.threads:
        time.sleep(0.001)
store.close()
before = len(os.listdir("/proc/self/fd"))
def once():
    with ovl.Store(place + "/s") as store:
        store.exists("base")
        list(store)
        store.diff("base").close()
        store.diff("base", place + "/out.tar")
        store.apply("new", place + "/out.tar")
end = time.monotonic() + 5
while time.monotonic() < end:
    try:
        timer.start(random.uniform(0.00005, 0.003))
        try:
            once()
        finally:
            timer.stop()
    except (Alarm, FileExistsError):
        pass
    except OSError as error:
        if error.errno != 30:  # "new" was made before the signal came
            raise
    try:
        settled()  # not under the next signal
    except Alarm:  # the interpreter may notice one late
        settled()
assert len(os.listdir("/proc/self/fd")) == before, os.listdir("/proc/self/fd")
assert not [name for name in os.listdir(place) if name.startswith(".")], os.listdir(place)
print("over", flush=True)
"""


@pytest.mark.parametrize("sender", ["timer", "thread"])
def test_handlers_that_raise_lose_no_descriptor_and_no_file(prepared: Path, sender: str) -> None:
    """A signal at any moment, many times."""
    done = run(STORM, prepared, sender)
    assert (done.stdout, done.returncode) == ("over\n", 0), done.stderr
    # What a handler raises in a finalizer is printed; a descriptor closed twice would be there too.
    assert "Bad file descriptor" not in done.stderr, done.stderr


ALARMS = """
import random
met = 0
def alarmed(work, most):
    "Calls it, with a signal at some moment; whether it came."
    global met
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00001, most))
            work()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except Alarm:
        met += 1
end = time.monotonic() + 3
"""

UNMOUNTS = (
    ALARMS
    + """
store.create("upper", "base")
while time.monotonic() < end:
    mount = busy = None
    try:
        mount = store.mount("upper")
        busy = open(mount.path / "file", "wb")
        def refused():
            try:
                mount.unmount()
            except OSError as error:
                assert error.errno == 16, error
            else:
                raise AssertionError("it is busy")
        alarmed(refused, 0.0003)
        assert not mount.closed
        os.stat("file", dir_fd=mount.fileno())
        busy.close()
        alarmed(mount.unmount, 0.0003)
    except Alarm:  # late
        met += 1
    if busy is not None:
        busy.close()
    if mount is not None and not mount.closed:
        mount.unmount()
assert met
print("over", flush=True)
"""
)

CLOSES = (
    ALARMS
    + """
import gc
gc.disable()
store.close()
before = os.listdir("/proc/self/fd")
def uses():
    for _ in range(20):
        store.exists("base")
        list(store)
while time.monotonic() < end:
    try:
        store = ovl.Store(place + "/s")
        alarmed(uses, 0.001)
        store.close()
        assert os.listdir("/proc/self/fd") == before, os.listdir("/proc/self/fd")
    except Alarm:  # late
        met += 1
        store.close()
assert met
print("over", flush=True)
"""
)


@pytest.mark.parametrize("program", [UNMOUNTS, CLOSES], ids=["unmount", "close"])
def test_a_handle_is_freed_once_whenever_a_handler_raises(prepared: Path, program: str) -> None:
    """A refused unmount leaves it as it was, and a close after a handler raised closes."""
    need("overlay")
    done = run(program, prepared)
    assert (done.stdout, done.returncode) == ("over\n", 0), done.stderr
    assert not done.stderr


RESULT = """
store.apply("large", place + "/large.tar")
stream = store.diff("large")
signal.setitimer(signal.ITIMER_REAL, 0.2)
try:
    stream.result()  # nobody reads
except Alarm:
    stream.close()
    print("over", flush=True)
"""


def test_a_handler_ends_the_wait_for_a_result(prepared: Path) -> None:
    done = run(RESULT, prepared)
    assert (done.stdout, done.returncode, done.stderr) == ("over\n", 0, "")


def test_nothing_waits_for_the_garbage_collector(prepared: Path) -> None:
    """Descriptors go with their last user."""
    gc.collect()
    gc.disable()
    try:
        before = descriptors()
        store = ovl.Store(prepared / "s")
        store.diff("base").close()
        store.diff("base").read()
        for number in range(3):
            with open(prepared / "large.tar", "rb") as file:
                store.apply(f"new{number}", file)
        del store
        assert descriptors() == before
    finally:
        gc.enable()
