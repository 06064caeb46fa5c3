"""A handle of the library's that is freed once, when nobody uses it any more."""

from __future__ import annotations

import errno
import os
import threading
import warnings
import weakref
from typing import Any, Callable, TypeVar

from ._owned import Owned

T = TypeVar("T")


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
    it, loses no handle. While a call uses it, it is not freed: a close in another thread then takes
    effect at the call's end.
    """

    def __init__(self, name: str, cell: Any, free: Callable[[Any], None]) -> None:
        self.cell = cell
        self._name = name
        self._pid = os.getpid()
        # Those that are locked are uses. Their `with` is C code: no handler raises in it. Who uses
        # it locks one and then looks whether it is closed; who closes it says so and then looks for
        # uses: one of them sees the other, without a lock that a handler could meet half-way.
        self._uses: list[threading.Lock] = []
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

    def call(self, function: Callable[[Any], T]) -> T:
        """Calls it with the pointer; ValueError where it is closed. What came through a fork the
        library refuses, by name."""
        use = threading.Lock()
        self._uses.append(use)
        try:
            with use:
                self._check_open()
                return function(self.cell)
        finally:
            # Python 3.9 can leave a `with` without its end.
            self.let_go(use)

    def hold(self, use: threading.Lock) -> None:
        """It is used until `let_go`, which may be called whatever this one came to."""
        self._uses.append(use)
        use.acquire()
        self._check_open()

    def let_go(self, use: threading.Lock) -> None:
        """Ends a use."""
        if use.locked():
            use.release()
        if use in self._uses:
            self._uses.remove(use)
        if self._closed:
            self._settle()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"the {self._name} is closed")

    def close(self) -> None:
        """Frees the handle, as soon as no call uses it. Again is nothing."""
        self._closed = True
        self._settle()

    def _used(self) -> bool:
        return any(use.locked() for use in list(self._uses))

    def _settle(self) -> None:
        """It is closed: frees it unless it is used."""
        # In a forked child those who use it are not there.
        if self.inherited or not self._used():
            self._owned.free()
            self._net.detach()

    def free_by(self, function: Callable[..., int], *arguments: Any) -> int:
        """Closes it by a function of the library, which may refuse: `function(pointer, ...)` has
        freed it where it says 0 or more. EBUSY while another call uses it."""
        if self._used():
            raise OSError(errno.EBUSY, f"another call uses the {self._name}")
        try:
            return self._owned.free_by(function, *arguments)
        except IndexError as error:
            if self._owned:
                raise
            raise ValueError(f"the {self._name} is closed") from error
        finally:
            # It was closed meanwhile, and the function refused it.
            if self._closed:
                self._settle()
