"""Paths, names and strings on their way to the library and back."""

from __future__ import annotations

import ctypes
import os
from typing import Any, Union

PathLike = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
"""A path: text, bytes or an object that stands for one."""

Name = Union[str, bytes]
"""A layer's id."""

NOTHING = ""
"""As the `parent` of a comparison: nothing, so that the whole tree is what differs."""


def encode(path: PathLike) -> bytes:
    """The bytes of a path or a name, which C ends with a NUL."""
    data = os.fsencode(path)
    if b"\0" in data:
        raise ValueError("embedded null byte")
    return data


def encode_optional(path: PathLike | None) -> bytes | None:
    return None if path is None else encode(path)


def text_of(array: bytes) -> str | None:
    """A string of a result struct; None for an empty one."""
    return array.decode("ascii", "backslashreplace") or None


def bytes_at(address: Any, length: int) -> bytes:
    return ctypes.string_at(address, length)
