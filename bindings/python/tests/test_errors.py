"""Errors: their classes, what they tell, and that they are freed."""

from __future__ import annotations

import builtins
import copy
import errno
import os
import pickle
from pathlib import Path

import pytest

import ovl
from conftest import tar
from ovl import Code, OvlError, _capi, errors


def test_classes_by_errno(store: ovl.Store) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        store.stat("nothing")
    error = missing.value
    assert isinstance(error, OvlError)
    assert (error.errno, error.filename, error.code) == (errno.ENOENT, "nothing", Code.NO_LAYER)
    assert error.code is Code.NO_LAYER
    assert error.operation == "stat"
    assert "layer" in str(error.strerror)
    store.create("there")
    with pytest.raises(FileExistsError) as exists:
        store.create("there")
    assert exists.value.code is Code.LAYER_EXISTS  # type: ignore[attr-defined]
    with pytest.raises(OSError) as invalid:
        store.create("no/id")
    assert (type(invalid.value), invalid.value.errno) == (OvlError, errno.EINVAL)


def test_str_tells_operation_message_and_name(store: ovl.Store) -> None:
    with pytest.raises(OvlError) as raised:
        store.stat("nothing")
    words = str(raised.value)
    assert words == f"stat: [Errno 2] {raised.value.strerror}: 'nothing'"
    assert "OvlFileNotFoundError" in repr(raised.value)


def test_every_class_that_python_has() -> None:
    """Whatever class OSError picks for an errno, ours is one too."""
    for number in errno.errorcode:
        theirs = type(OSError(number, "words"))
        ours = OvlError(number, "words", "path", code=1, operation="stat")
        assert isinstance(ours, OvlError)
        assert isinstance(ours, theirs), errno.errorcode[number]
        assert (ours.errno, ours.strerror, ours.filename) == (number, "words", "path")
        assert ours.args == (number, "words")
        if theirs is not OSError:
            assert type(ours).__name__ == "Ovl" + theirs.__name__
        # and of no other
        for name in dir(builtins):
            cls = getattr(builtins, name)
            if isinstance(cls, type) and issubclass(cls, OSError):
                assert isinstance(ours, cls) == issubclass(theirs, cls), (number, name)


def test_cancelled_has_a_class() -> None:
    assert type(OvlError(errno.ECANCELED, "words")) is ovl.OvlCancelledError


@pytest.mark.parametrize("name", ["path", b"\xff", None])
def test_pickle_and_copy(name: str | bytes | None) -> None:
    for number in (errno.ENOENT, errno.EINVAL):
        error = OvlError(number, "words", name, code=Code.ARCHIVE, operation="diff")
        for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
            assert type(again) is type(error)
            assert str(again) == str(error)
            assert (again.args, again.filename) == (error.args, name)
            assert (again.code, again.operation) == (Code.ARCHIVE, "diff")


def test_a_path_of_any_bytes(store: ovl.Store) -> None:
    with pytest.raises(OvlError) as raised:
        store.apply("bad", [tar(("\udcff/../../outside", b"x"))])
    assert (raised.value.errno, raised.value.code) == (errno.EINVAL, Code.ARCHIVE)
    assert os.fsencode(raised.value.filename) == b"\xff/../../outside"
    assert not store.exists("bad")


def test_an_unknown_code_is_a_number() -> None:
    assert errors.known_code(3) is Code.NO_LAYER
    assert errors.known_code(9999) == 9999


def test_a_failure_without_an_error_object() -> None:
    error = errors.error_of(-errno.ENOENT, _capi.ErrorPtr())
    assert isinstance(error, FileNotFoundError)
    assert error.strerror == os.strerror(errno.ENOENT)


def test_errors_are_freed(store: ovl.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each error object that the library gave is freed, once, before the exception is seen."""
    freed: list[int] = []
    real = _capi.lib.ovl_error_free

    def count(pointer: _capi.ErrorPtr) -> None:
        if pointer.value is not None:
            freed.append(pointer.value)
        real(pointer)

    monkeypatch.setattr(_capi.lib, "ovl_error_free", count)
    for number in range(1000):
        with pytest.raises(FileNotFoundError):
            store.stat("nothing")
        assert len(freed) == number + 1
    store.exists("nothing")
    assert len(freed) == 1000


def test_opening(place: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        ovl.Store(place / "none", create=False)
    assert missing.value.filename == str(place / "none")
    (place / "full").mkdir()
    (place / "full" / "file").touch()
    with pytest.raises(OSError) as full:
        ovl.Store(place / "full")
    assert full.value.errno == errno.ENOTEMPTY
    (place / "file").touch()
    with pytest.raises(NotADirectoryError):
        ovl.Store(place / "file")
