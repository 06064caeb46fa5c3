"""A handle of the library's that is freed once, when nobody uses it any more."""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from types import TracebackType
from typing import Any, Callable

from ._owned import Owned


def _forgotten(owned: Owned, told: list[str], pid: int) -> None:
    """Nobody has the handle any more, and nobody closed it."""
    try:
        if owned and owned.thing and told and os.getpid() == pid:
            warnings.warn(told[0], ResourceWarning, stacklevel=2)
    finally:
        owned.free()


class Handle:
    """Owns the pointer in `cell`, which a call of the library fills in.

    The cell is owned before it is filled, so that an exception between the two, as Ctrl-C raises
    it, loses no handle. `with handle as pointer:` keeps it from being freed meanwhile: a close in
    another thread then takes effect at the end of the block.
    """

    def __init__(self, name: str, cell: Any, free: Callable[[Any], None]) -> None:
        self.cell = cell
        self._name = name
        self._pid = os.getpid()
        # Re-entrant: a signal's handler may close what the code under it is about to use.
        self._lock = threading.RLock()
        self._users = 0
        self._closed = False
        self._owned = Owned(free, cell)
        self._told: list[str] = []
        # Freed with this object at the latest. This net is taken away when it is freed before; a
        # `__del__` would stay, see CancelFlag. Not at exit: a daemon thread may be in a call then,
        # and the kernel takes everything back anyway.
        self._net = weakref.finalize(self, _forgotten, self._owned, self._told, self._pid)
        self._net.atexit = False

    def tell(self, warning: str) -> None:
        """Who forgets to close it is told."""
        self._told.append(warning)

    @property
    def closed(self) -> bool:
        return self._closed or not self._owned

    @property
    def inherited(self) -> bool:
        """Whether it came through a fork: then it is good for freeing alone."""
        return os.getpid() != self._pid

    def __enter__(self) -> Any:
        if self.inherited:
            # The library refuses it, by name. The lock may be held by a thread that is not here.
            if self.closed:
                raise ValueError(f"the {self._name} is closed")
            return self.cell
        with self._lock:
            if self.closed:
                raise ValueError(f"the {self._name} is closed")
            self._users += 1
        return self.cell

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.inherited:
            return
        with self._lock:
            self._users -= 1
            last = self._closed and self._users == 0
        if last:
            self._free_now()

    def close(self) -> None:
        """Frees the handle, as soon as no call uses it. Again is nothing."""
        if self.inherited:
            self._closed = True
            self._free_now()
            return
        with self._lock:
            self._closed = True
            busy = self._users > 0
        if not busy:
            self._free_now()

    def free_by(self, function: Callable[..., int], *arguments: Any) -> int:
        """Closes it by a function of the library, which may refuse: `function(pointer, ...)` has
        freed it where it says 0 or more. Until then nobody else may use the handle."""
        try:
            return self._owned.free_by(function, *arguments)
        except IndexError:
            raise ValueError(f"the {self._name} is closed") from None

    def _free_now(self) -> None:
        self._owned.free()
        self.cell.value = None
        self._net.detach()
