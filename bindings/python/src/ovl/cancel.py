"""Stopping calls from elsewhere."""

from __future__ import annotations

import threading
import weakref
from typing import Callable, Union

from . import _capi
from ._owned import Owned


class CancelFlag:
    """One flag of the library's (`struct ovl_cancel`): that of one call, which frees it.

    There is no `__del__`: what a signal's handler raises in one, as Ctrl-C does, is printed and
    lost.
    """

    def __init__(self) -> None:
        self._owned = Owned(_capi.lib.ovl_cancel_free)
        self._net = weakref.finalize(self, self._owned.free)
        self._net.atexit = False
        self._owned.make(_capi.lib.ovl_cancel_new)
        self.pointer = self._owned.thing
        if not self.pointer:
            raise MemoryError("ovl_cancel_new")
        # Re-entrant: a signal's handler may trigger what the code under it frees.
        self._lock = threading.RLock()

    def trigger(self) -> None:
        with self._lock:
            if self._owned:
                _capi.lib.ovl_cancel_trigger(self.pointer)

    def free(self) -> None:
        with self._lock:
            self._owned.free()
            self._net.detach()


class Cancel:
    """Stops calls. It may be given to any number of calls, on any threads, at once.

    A call that it stops raises `OvlCancelledError`, and has undone what it had begun.
    """

    def __init__(self) -> None:
        self._triggered = False
        self._flags: set[CancelFlag] = set()

    @property
    def triggered(self) -> bool:
        """Whether `trigger()` was called."""
        return self._triggered

    def trigger(self) -> None:
        """Stops every call that was given this, now or later, for good. Any thread may do it, and a
        signal's handler too."""
        self._triggered = True
        for flag in list(self._flags):
            flag.trigger()

    # No lock, which a signal's handler could meet half-way: trigger() first says so and then looks
    # for calls, a call first shows itself and then looks whether it was said. One of them sees the
    # other.

    def _attach(self, flag: CancelFlag) -> None:
        self._flags.add(flag)
        if self._triggered:
            flag.trigger()

    def _detach(self, flag: CancelFlag) -> None:
        self._flags.discard(flag)


CancelLike = Union[Cancel, Callable[[], object]]
"""What stops a call: a `Cancel`, or a function that is asked ten times a second whether to stop."""
