"""What must be given back once, though a signal's handler may raise at any moment.

Python runs handlers on the main thread, between two instructions of Python code, and holding the
signals of that thread back does not keep it from that: another thread may have taken the signal. So
`fd = os.open(...)` may open a file and assign nothing. C functions that call one another have no
such moment between them: what makes a thing is called by the list that keeps it, and what takes it
out of there is called by what gives it back.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
from collections.abc import Iterable
from typing import Any, Callable

_run = collections.deque[object](maxlen=0).extend
"""Calls the functions of an iterator one after the other, and keeps nothing of what they return."""


class Owned:
    """Things, most often one, that `free` gives back: once each, whoever asks and how often."""

    def __init__(self, free: Callable[[Any], object], *things: Any) -> None:
        self._free = free
        self._things = list(things)

    def __bool__(self) -> bool:
        return bool(self._things)

    @property
    def thing(self) -> Any:
        """The only one."""
        (thing,) = self._things
        return thing

    def make(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Owns what the function returns."""
        self._things.extend(itertools.starmap(function, (arguments,)))

    def make_each(self, function: Callable[[], Iterable[Any]]) -> None:
        """Owns each thing of what the function returns."""
        self._things.extend(itertools.chain.from_iterable(itertools.starmap(function, ((),))))

    def take_last(self, other: Owned) -> None:
        """Owns what the other one got last."""
        self._things.extend(map(other._things.pop, (-1,)))

    def free(self) -> None:
        """Gives back all there is."""
        with contextlib.suppress(IndexError):  # another thread was first
            while self._things:
                _run(map(self._free, map(self._things.pop, (-1,))))

    def free_by(self, function: Callable[..., int], *arguments: Any) -> int:
        """Gives the only one to a function, which refuses it by a negative answer; the answer.
        IndexError where there is none."""
        things = self._things[:]
        said: list[int] = []
        pop = map(self._things.pop, (-1,))
        try:
            said.extend(map(function, pop, *((argument,) for argument in arguments)))
        finally:
            if said and said[0] < 0:
                self._things.extend(things)
        return said[0]
