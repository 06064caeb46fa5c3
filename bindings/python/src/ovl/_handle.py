"""A handle of the library's that is freed once, when nobody uses it any more."""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from types import TracebackType
from typing import Any, Callable

from ._worker import undisturbed


def _free(cell: Any, free: Callable[[Any], None]) -> None:
    if cell:
        free(cell)
        cell.value = None


def _forgotten(cell: Any, free: Callable[[Any], None], told: list[str], pid: int) -> None:
    """Nobody has the handle any more, and nobody closed it."""
    if cell and told and os.getpid() == pid:
        warnings.warn(told[0], ResourceWarning, stacklevel=2)
    _free(cell, free)


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
        self._free = free
        self._told: list[str] = []
        # Freed with this object at the latest. This net is taken away when it is freed before; a
        # `__del__` would stay, see CancelFlag. Not at exit: a daemon thread may be in a call then,
        # and the kernel takes everything back anyway.
        self._net = weakref.finalize(self, _forgotten, cell, free, self._told, self._pid)
        self._net.atexit = False

    def tell(self, warning: str) -> None:
        """Who forgets to close it is told."""
        self._told.append(warning)

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def inherited(self) -> bool:
        """Whether it came through a fork: then it is good for freeing alone."""
        return os.getpid() != self._pid

    def __enter__(self) -> Any:
        if self.inherited:
            # The library refuses it, by name. The lock may be held by a thread that is not here.
            if self._closed:
                raise ValueError(f"the {self._name} is closed")
            return self.cell
        with self._lock:
            if self._closed:
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

    def disown(self) -> None:
        """The library has freed it already."""
        self._closed = True
        self._net.detach()
        self.cell.value = None

    def _free_now(self) -> None:
        with undisturbed():
            if self._net.detach() is not None:
                _free(self.cell, self._free)
