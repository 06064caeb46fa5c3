"""Finds the shared library, and loads it."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import NamedTuple

from ._version import __version__

SONAME = "libovl.so.0"
HEADER_VERSION = tuple(int(number) for number in __version__.split("."))
"""The version of ovl.h that this module was written to."""

BUNDLED = Path(__file__).parent / "lib" / SONAME


class Library(NamedTuple):
    """The shared library that this module uses."""

    path: Path
    """The file."""
    origin: str
    """Who said so: "OVL_LIBRARY", "wheel" or "system"."""
    version: str
    """Its version, as "0.1.0"."""


def load() -> tuple[ctypes.CDLL, str]:
    """The library and where it came from; ImportError, which says what was tried."""
    named = os.environ.get("OVL_LIBRARY")
    if named:
        # A wrong one is told, and never passed over for another: who names it means it.
        return _open(named, "OVL_LIBRARY"), "OVL_LIBRARY"
    if BUNDLED.exists():
        return _open(os.fspath(BUNDLED), "wheel"), "wheel"
    return _open(SONAME, "system"), "system"


def _open(name: str, origin: str) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(name, use_errno=True)
    except OSError as error:
        hint = {
            "OVL_LIBRARY": "it is what the environment variable OVL_LIBRARY names",
            "wheel": "it came with this module",
            "system": "install it, or a wheel that holds it, or set OVL_LIBRARY to its path",
        }[origin]
        raise ImportError(f"ovl: cannot load {name}: {error} ({hint})", name="ovl") from error
    _check_version(library, name)
    return library


def version_of(library: ctypes.CDLL) -> str:
    """What the library says of itself."""
    function = library.ovl_version
    function.argtypes = []
    function.restype = ctypes.c_char_p
    version: bytes = function()
    return version.decode("ascii")


def _check_version(library: ctypes.CDLL, name: str) -> None:
    """The ABI only grows: any library that is not older than the header will do."""
    try:
        version = version_of(library)
        numbers = tuple(int(number) for number in version.split("-")[0].split(".")[:3])
    except (AttributeError, ValueError) as error:
        raise ImportError(f"ovl: {name} is not libovl: {error}", name="ovl") from error
    if numbers < HEADER_VERSION:
        raise ImportError(
            f"ovl: {name} is libovl {version}; this module needs {__version__} or newer", name="ovl"
        )


class _DlInfo(ctypes.Structure):
    _fields_ = [
        ("dli_fname", ctypes.c_char_p),
        ("dli_fbase", ctypes.c_void_p),
        ("dli_sname", ctypes.c_char_p),
        ("dli_saddr", ctypes.c_void_p),
    ]


def describe(library: ctypes.CDLL, origin: str) -> Library:
    """Tells which file the library is: where it was found by its SONAME, the linker knows."""
    info = _DlInfo()
    dladdr = ctypes.CDLL(None).dladdr
    dladdr.argtypes = [ctypes.c_void_p, ctypes.POINTER(_DlInfo)]
    dladdr.restype = ctypes.c_int
    address = ctypes.cast(library.ovl_version, ctypes.c_void_p)
    found = dladdr(address, ctypes.byref(info)) != 0 and info.dli_fname
    path = Path(os.fsdecode(info.dli_fname) if found else str(library._name))
    return Library(path, origin, version_of(library))
