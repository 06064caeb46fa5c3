"""A thread for one piece of work.

threading.Thread is not made for a caller who may be interrupted at any moment: Ctrl-C in its
start() can leave a thread that never runs and never ends. The call beneath it either starts a
thread or does not.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import itertools
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any, Callable

from ._owned import raised_here

# What a fault of the thread itself raises.
_FAULTS = (
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGABRT,
    signal.SIGSYS,
    signal.SIGTRAP,
)

# signal.pthread_sigmask() makes an enumeration of each of sixty signals, which takes longer than
# the call that it is to protect, and runs handlers.
_SignalSet = ctypes.c_ubyte * 128
_libc = ctypes.PyDLL(None)
_sigmask = _libc.pthread_sigmask
_sigmask.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
_sigmask.restype = ctypes.c_int


def _all_but_faults() -> Any:
    held_back = _SignalSet()
    _libc.sigfillset(ctypes.byref(held_back))
    for number in _FAULTS:
        _libc.sigdelset(ctypes.byref(held_back), int(number))
    return held_back


_HELD_BACK = _all_but_faults()


class NoThread(RuntimeError):
    """No thread can be had."""


def _nothing() -> None:
    pass


class Worker:
    """Runs `work`, which must not raise, and holds signals back: they are for other threads."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._task = ""
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._ident = 0
        self._pid = os.getpid()
        self._threads: list[int] = []
        self.done = False

    def start(self) -> None:
        """NoThread where none can be had: there are too many, or the interpreter exits."""
        # Whatever a handler raises, it is known whether there is a thread; see Owned.
        try:
            self._threads.extend(itertools.starmap(_thread.start_new_thread, ((self._run, ()),)))
        except RuntimeError as error:
            if raised_here(error):
                raise NoThread(str(error)) from error
            raise

    @property
    def started(self) -> bool:
        """Whether there is a thread, or was."""
        return bool(self._threads)

    def _run(self) -> None:
        try:
            self._ident = _thread.get_ident()
            _sigmask(signal.SIG_BLOCK, ctypes.byref(_HELD_BACK), None)
            self._task = f"/proc/self/task/{_thread.get_native_id()}"
            self._work()
        finally:
            # It may have whoever has this.
            self._work = _nothing
            self.done = True
            self._ended.put(None)

    @property
    def inherited(self) -> bool:
        """Whether it came through a fork: the thread is not here."""
        return os.getpid() != self._pid

    @property
    def current(self) -> bool:
        """Whether it is the thread that asks."""
        # A thread that ended may have given its number to another.
        return self._ident == _thread.get_ident() and not (self.done or self.inherited)

    def wait(self, seconds: float) -> bool:
        """Whether the work ends in that time."""
        if not self.done:
            with contextlib.suppress(queue.Empty):
                self._ended.get(timeout=seconds)
        return self.done

    def join(self) -> None:
        """Waits for the end of the work, and until the thread is gone for the kernel as well: until
        then unshare(2) of a user namespace fails, which a single thread alone may do. What a
        handler raises meanwhile is raised after that."""
        raised: BaseException | None = None
        while True:
            try:
                self._wait_until_gone()
                break
            except BaseException as error:
                raised = raised or error
        if raised is not None:
            raise raised

    def _wait_until_gone(self) -> None:
        while not self.wait(1):
            pass
        for turn in range(1000):
            if not os.path.exists(self._task):
                break
            time.sleep(0 if turn < 20 else 0.0005)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """The signals of this thread wait until the end of the block, but for those that another
    thread takes. On other threads than the main one no handler runs anyway."""
    if _thread.get_ident() != threading.main_thread().ident:
        yield
        return
    before = _SignalSet()
    # Asked for first: the handler of a signal that has come may raise when the others are blocked.
    _sigmask(signal.SIG_BLOCK, None, ctypes.byref(before))
    try:
        _sigmask(signal.SIG_BLOCK, ctypes.byref(_HELD_BACK), None)
        yield
    finally:
        _sigmask(signal.SIG_SETMASK, ctypes.byref(before), None)
