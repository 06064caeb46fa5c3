"""One call of the library: its callbacks, its cancel flag, and the exception that it ends with.

Python runs the handlers of signals on the main thread, between two instructions of Python code. So
while that thread is in a C function, Ctrl-C waits. Calling back into Python does not help: the
handler runs before the first instruction of the callback, where nothing can catch what it raises,
and ctypes prints the exception and drops it (CPython 3.11 and later). Therefore, where signals may
come, the C function runs on a thread that the call starts and joins, and the calling thread waits
for it in Python: it runs the callbacks when they are due, which is where the caller expects them,
and when something is raised there, by a callback or by a handler, it cancels the call, waits for
its end, and raises that.

On other threads no signal is handled, and the function is called directly.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import queue
import threading
import time
from typing import Any, Callable, NamedTuple, TypeVar

from . import _capi
from ._constants import Code
from ._worker import NoThread, Worker, undisturbed
from .cancel import Cancel, CancelFlag, CancelLike
from .errors import OvlError, error_of

T = TypeVar("T")

Operation = Callable[[Any], int]
"""Calls the library, with its argument as `err`, and returns what it said."""

EVERY = 0.1
"""How often a cancel function is asked, in seconds."""

_WAITS = [0.001 * 2**turn for turn in range(8)]
"""How long a layer may be mounted, as it seems: a program that another thread starts has copies of
this process's descriptors between its fork and its exec, and what they are open on is in use."""


class Progress(NamedTuple):
    """How far a call is. Both members only grow."""

    entries: int
    """Files, directories and all else that has a name."""
    bytes: int


ProgressFn = Callable[[Progress], object]
"""Is told how far a call is, at most about ten times a second. What it returns does not matter;
what it raises stops the call, and comes out of it."""


class _Request:
    """Work that the calling thread is to do for the library."""

    def __init__(self, work: Callable[[], Any], stop: Any) -> None:
        self.work = work
        self.value = stop
        self.answered = False
        self.ready: queue.SimpleQueue[None] = queue.SimpleQueue()

    def answer(self, value: Any) -> None:
        self.value = value
        self.refuse()

    def refuse(self) -> None:
        self.answered = True
        self.ready.put(None)


class Call:
    """See the module's text. `run` is called once."""

    def __init__(
        self,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
        *,
        brief: bool = False,
        piped: bool = False,
    ) -> None:
        """`brief`: it is soon over, cannot be cancelled and calls nothing back. `piped`: `stop` is
        seen by the progress callback. With a flag, the library looks at it between pages: for a
        pipe that is read at once, that is half the speed.
        """
        self.key = next(_keys)
        self._brief = brief
        self._progress = progress
        self._cancel: Cancel | None = None
        self._poll: Callable[[], object] | None = None
        if isinstance(cancel, Cancel):
            self._cancel = cancel
        elif cancel is None or callable(cancel):
            self._poll = cancel
        else:
            raise TypeError(f"cancel is a Cancel or a function, not {type(cancel).__name__}")
        self._flag = None if brief or piped else CancelFlag()
        self._piped = piped
        self._stopped = False
        # What its stream is read from or written to, where that is no descriptor, and what must
        # stay open until it is over.
        self.read: Callable[[int], Any] = _no_stream
        self.write: Callable[[bytes], int] = _no_stream
        self.kept: Any = None
        # Whether it has a stream, which is not there to be read or written a second time.
        self.once = False
        # Whether whoever makes it keeps the store from being freed.
        self.holds_store = False
        self._polled = 0.0
        self._said = 0
        self._error: OvlError | None = None
        self._failure: BaseException | None = None
        # Between the thread of the call and the calling thread. Every change of `_done` and
        # `_request` is followed by a token in `_wake`; a token too many does no harm.
        self._served = False
        self._done = False
        self._request: _Request | None = None
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()

    def control(self) -> dict[str, Any]:
        """The members of an option struct by which the call is watched."""
        members: dict[str, Any] = {"progress_user": self.key}
        if self._flag is not None:
            members["cancel"] = self._flag.pointer
        if self._progress is not None or self._piped:
            members["progress"] = _on_progress
        return members

    def run(self, operation: Operation) -> int:
        """Does it; what it said, 0 or more. Raises what a callback or a signal's handler raised,
        else the library's error."""
        try:
            if self._cancel is not None and self._flag is not None:
                self._cancel._attach(self._flag)
            if self._poll is not None or (not self._brief and _handles_signals()):
                self._serve(operation)
            else:
                self._direct(operation)
        finally:
            if self._flag is not None:
                if self._cancel is not None:
                    self._cancel._detach(self._flag)
                if self.over:
                    self._flag.free()
            if self.over:
                # What it was made with goes now, and not when the garbage collector comes.
                self._request = None
                self.read, self.write = _no_stream, _no_stream
        error = self._failure or self._error
        self._failure = self._error = None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback has this frame
        return self._said

    @property
    def over(self) -> bool:
        """Whether the library is out of it: always after `run`, but for a second Ctrl-C."""
        return self._done or not self._served

    def stop(self) -> None:
        """Cancels it, from any thread."""
        self._stopped = True
        if self._flag is not None:
            self._flag.trigger()

    # ---- on the thread of the C function ----

    def _direct(self, operation: Operation) -> None:
        """Calls the function; never raises."""
        outer = getattr(_here, "call", None)
        try:
            _here.call = _calls[self.key] = self
            for wait in (*_WAITS, None):
                self._error = self._once(operation)
                busy = self._error is not None and self._error.code == Code.MOUNTED
                if not busy or self.once or self._stopped or wait is None:
                    break
                time.sleep(wait)
        except BaseException as error:
            self._fail(error)
        finally:
            _here.call = outer
            _calls.pop(self.key, None)

    def _once(self, operation: Operation) -> OvlError | None:
        pointer = _capi.ErrorPtr()
        try:
            self._said = operation(ctypes.byref(pointer))
            return error_of(self._said, pointer) if self._said < 0 else None
        finally:
            _capi.lib.ovl_error_free(pointer)

    def enter(self, work: Callable[[], T], stop: T) -> T:
        """Runs a callback where it belongs; `stop` where it raises, or something did before."""
        if self._failure is not None:
            return stop
        if not self._served:
            try:
                return work()
            except BaseException as error:
                self._fail(error)
                return stop
        request = _Request(work, stop)
        self._request = request
        self._wake.put(None)
        while not request.answered:
            try:
                request.ready.get(timeout=1)
            except queue.Empty:
                # A second Ctrl-C can take the calling thread out of its wait for this one. It is
                # out of `work` when it has said that the call failed.
                if self._failure is not None:
                    return stop
        value: T = request.value
        return value

    def _work(self, operation: Operation) -> None:
        """The thread that a call starts."""
        if self._failure is None:
            self._direct(operation)
        self._done = True
        self._wake.put(None)

    # ---- on the calling thread ----

    def _serve(self, operation: Operation) -> None:
        """Has the function called by another thread, and is there for its callbacks."""
        self._served = True
        worker = Worker(lambda: self._work(operation))
        try:
            self._ask()
            try:
                worker.start()
            except NoThread:
                # Or none any more: the interpreter is about to exit.
                self._served = False
                with undisturbed():
                    self._direct(operation)
            else:
                self._answer(worker)
        except BaseException as error:
            self._fail(error)
            if not worker.started:
                self._done = True
            elif not worker.inherited:
                self._drain()
        if worker.started and not worker.inherited:
            worker.join()

    def _answer(self, worker: Worker) -> None:
        """Runs callbacks until the function has returned."""
        while not self._done:
            request = self._request
            if request is not None and not request.answered:
                request.answer(request.work())
                if worker.inherited:
                    what = "this process was forked in a callback: the call is its parent's"
                    raise OvlError(errno.EOWNERDEAD, what, code=Code.FORKED)
            elif self._poll is None:
                self._wake.get()
            else:
                with contextlib.suppress(queue.Empty):
                    self._wake.get(timeout=EVERY)
                self._ask()

    def _drain(self) -> None:
        """Refuses callbacks until the function has returned."""
        while not self._done:
            try:
                request = self._request
                if request is not None and not request.answered:
                    request.refuse()
                self._wake.get()
            except BaseException as error:
                if not isinstance(error, Exception):
                    self._failure = error  # a second Ctrl-C, or the first after a failed callback

    def _ask(self) -> None:
        """Asks the cancel function, if it is time."""
        if self._poll is not None and time.monotonic() - self._polled >= EVERY:
            if self._poll():
                self.stop()
            self._polled = time.monotonic()

    def _fail(self, error: BaseException) -> None:
        """The call is to end with this."""
        if self._failure is None:
            self._failure = error
        self.stop()


def _no_stream(_: Any) -> Any:
    raise TypeError("this call has no stream")


def _handles_signals() -> bool:
    return threading.get_ident() == threading.main_thread().ident


_keys = itertools.count(1)
_calls: dict[int, Call] = {}
_here = threading.local()


def called(user: int) -> Call:
    """The call that a callback belongs to."""
    return _calls[user]


def current() -> Call | None:
    """The call that this thread is in, if it is in one."""
    call: Call | None = getattr(_here, "call", None)
    return call


def _tell(user: int, progress: Any, size: int) -> int:
    call = called(user)
    if call._stopped:
        return -1
    now = _capi.Progress()
    ctypes.memmove(ctypes.byref(now), progress, min(size, ctypes.sizeof(now)))

    def work() -> int:
        if call._progress is not None:
            call._progress(Progress(now.entries, now.bytes))
        return 0

    return call.enter(work, -1)


_on_progress = _capi.ProgressFn(_tell)
