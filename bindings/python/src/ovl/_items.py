"""Lists of results: struct ovl_iter as an iterator."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from typing import Callable, NamedTuple, TypeVar

from . import _capi
from ._handle import Handle
from ._text import bytes_at

T = TypeVar("T")


class Item(NamedTuple):
    what: int
    name: bytes
    detail: bytes


def new() -> Handle:
    """An iterator that a call is to fill in."""
    return Handle("iterator", _capi.IterPtr(), _capi.lib.ovl_iter_free)


def each(handle: Handle, make: Callable[[Item], T]) -> Iterator[T]:
    """The items, one at a time; the list is freed behind the last, or with the iterator."""
    item = _capi.Item()
    with_item = ctypes.byref(item), ctypes.sizeof(item)

    def step(pointer: _capi.IterPtr) -> Item | None:
        said = _capi.lib.ovl_iter_next(pointer, *with_item, None)
        if said < 0:
            raise OSError(-said, os.strerror(-said))
        if said == 0:
            return None
        name = bytes_at(item.name, item.name_len)
        return Item(item.what, name, bytes_at(item.detail, item.detail_len))

    try:
        while True:
            now = handle.call(step)
            if now is None:
                return
            yield make(now)
    finally:
        handle.close()
