"""A thread for one piece of work.

threading.Thread is not made for a caller who may be interrupted at any moment: Ctrl-C in its
start() can leave a thread that never runs and never ends. The call beneath it either starts a
thread or does not.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import queue
import signal
import time
from collections.abc import Iterator
from typing import Callable

_HELD_BACK = signal.valid_signals() - {
    # What a fault of the thread itself raises.
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGABRT,
    signal.SIGSYS,
    signal.SIGTRAP,
}


class Worker:
    """Runs `work`, which must not raise, and holds signals back: they are for other threads."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._task = ""
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.started = False
        self.done = False

    def start(self) -> None:
        """RuntimeError where no thread can be had: there are too many, or the interpreter exits."""
        _thread.start_new_thread(self._run, ())
        self.started = True

    def _run(self) -> None:
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
            self._task = f"/proc/self/task/{_thread.get_native_id()}"
            self._work()
        finally:
            self.done = True
            self._ended.put(None)

    def join(self) -> None:
        """Waits for the end of the work, and until the thread is gone for the kernel as well: until
        then unshare(2) of a user namespace fails, which a single thread alone may do."""
        while not self.done:
            with contextlib.suppress(queue.Empty):
                self._ended.get(timeout=1)
        for turn in range(1000):
            if not os.path.exists(self._task):
                break
            time.sleep(0 if turn < 20 else 0.0005)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """The signals of this thread wait until the end of the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
