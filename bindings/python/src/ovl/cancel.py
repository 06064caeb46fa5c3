"""Stopping calls from elsewhere."""

from __future__ import annotations

from typing import Any, Callable, Union

from . import _capi


class CancelFlag:
    """One flag of the library's (`struct ovl_cancel`): that of one call."""

    __slots__ = ("__weakref__", "pointer")

    def __init__(self) -> None:
        self.pointer = _capi.lib.ovl_cancel_new()
        if not self.pointer:
            raise MemoryError("ovl_cancel_new")

    def trigger(self) -> None:
        _capi.lib.ovl_cancel_trigger(self.pointer)

    def __del__(self, free: Any = _capi.lib.ovl_cancel_free) -> None:
        free(self.pointer)
        # In a cycle of garbage, what still has this may come after it.
        self.pointer.value = None


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
    # other. A flag lives while anybody has it.

    def _attach(self, flag: CancelFlag) -> None:
        self._flags.add(flag)
        if self._triggered:
            flag.trigger()

    def _detach(self, flag: CancelFlag) -> None:
        self._flags.discard(flag)


CancelLike = Union[Cancel, Callable[[], object]]
"""What stops a call: a `Cancel`, or a function that is asked ten times a second whether to stop."""
