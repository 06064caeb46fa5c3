"""What must be given back once, though a signal's handler may raise at any moment.

Python runs handlers on the main thread, between two instructions of Python code, and holding the
signals of that thread back does not keep it from that: another thread may have taken the signal. So
`fd = os.open(...)` may open a file and assign nothing. C functions that call one another have no
such moment between them: what makes a thing is called by the list that keeps it, and what takes it
out of there is called by what gives it back.

What nobody gave back goes with its owner, in a finalizer. That is Python code: what a handler
raises in there is printed, and may lose the thing.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable
from itertools import chain, compress, starmap, tee
from typing import Any, Callable

_run = collections.deque[object](maxlen=0).extend
"""Calls the functions of an iterator one after the other, and keeps nothing of what they return."""


def raised_here(error: BaseException) -> bool:
    """Whether a C function raised it that was called where it is caught, and no handler."""
    return error.__traceback__ is None or error.__traceback__.tb_next is None


class Owned:
    """Things, most often one, that `free` gives back: once each, whoever asks and how often."""

    def __init__(self, free: Callable[[Any], object], *things: Any) -> None:
        self._free = free
        self._things = collections.deque(things)

    def __bool__(self) -> bool:
        return bool(self._things)

    @property
    def thing(self) -> Any:
        """The only one."""
        (thing,) = self._things
        return thing

    def _pop(self) -> Iterable[Any]:
        """The last one, which is taken out when it is asked for; IndexError where there is none."""
        return starmap(self._things.pop, ((),))

    def make(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Owns what the function returns."""
        self._things.extend(starmap(function, (arguments,)))

    def make_each(self, function: Callable[[], Iterable[Any]]) -> None:
        """Owns each thing of what the function returns."""
        self._things.extend(chain.from_iterable(starmap(function, ((),))))

    def make_of_first(self, function: Callable[[Any], Any], other: Owned) -> None:
        """Owns what the function makes of what the other one got first, which is in there now."""
        self._things.extend(map(function, starmap(other._things.popleft, ((),))))

    def free(self) -> None:
        """Gives back all there is."""
        while self._things:
            try:
                _run(map(self._free, self._pop()))
            except IndexError as error:
                if not raised_here(error):
                    raise
                return  # another thread was first

    def free_by(self, function: Callable[..., int], *arguments: Any) -> int:
        """Gives the only one to a function, which refuses it by a negative answer: then it is here
        again. The answer; IndexError where there is none."""
        things = tuple(self._things)
        if not things:
            raise IndexError
        answers = map(function, self._pop(), *((argument,) for argument in arguments))
        seen, said = tee(answers)
        self._things.extend(compress(things, map((0).__gt__, seen)))
        return next(said)
