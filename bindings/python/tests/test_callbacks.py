"""Progress, cancel, log: told in time, and what they raise comes out unchanged."""

from __future__ import annotations

import errno
import io
import os
import sqlite3
import threading
import time
import traceback
from pathlib import Path
from typing import Any, Callable

import pytest

import ovl
from conftest import large_tar, mount, need, tar, unmount
from ovl import LogLevel, Progress, _capi

LARGE = large_tar()


class Mine(Exception):
    """What the tests raise."""


class Worst(BaseException):
    """What is no Exception."""


def on_main(work: Callable[[], None]) -> None:
    work()


def on_thread(work: Callable[[], None]) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


where = pytest.mark.parametrize("where", [on_main, on_thread])


@where
def test_progress(store: ovl.Store, where: Any) -> None:
    told: list[Progress] = []
    threads = set()

    def progress(now: Progress) -> bool:
        told.append(now)
        threads.add(threading.get_ident())
        return True  # which stops nothing

    def work() -> None:
        me = threading.get_ident()
        store.apply("large", [LARGE], progress=progress)
        assert told
        assert told == sorted(told)
        assert 0 < told[-1].bytes <= len(LARGE)
        assert threads == {me}

    where(work)


def calls(store: ovl.Store, place: Path) -> dict[str, Callable[..., Any]]:
    """Every method that takes progress and cancel, on enough work for it to be told."""
    store.apply("large", [LARGE])
    many = tar(*((f"{number:05}", b"x") for number in range(3000)))
    store.apply("many", [many], parent="large", writable=True)
    source = place / "source"
    source.mkdir()
    (source / "file").write_bytes(LARGE)
    return {
        "apply": lambda **how: store.apply("new", [LARGE], **how),
        "apply of a path": lambda **how: store.apply("new", source / "file", **how),
        "create": lambda **how: store.create("new", "many", **how),
        "create flat": lambda **how: store.create("new", "large", flat=True, **how),
        "diff": lambda **how: store.diff("large", io.BytesIO(), **how),
        "diff to a path": lambda **how: store.diff("large", place / "out", **how),
        "diff as a file": lambda **how: store.diff("large", **how).read(),
        "changes": lambda **how: list(store.changes("many", ovl.NOTHING, **how)),
        "diff_size": lambda **how: store.diff_size("many", ovl.NOTHING, **how),
        "usage": lambda **how: store.usage(**how),
        "check": lambda **how: list(store.check(**how)),
        "copy_dir": lambda **how: ovl.copy_dir(source, place / "copy", **how),
        "cleanup": lambda **how: store.cleanup(**how),
        "commit": lambda **how: store.commit("many", durability=ovl.Durability.VERIFIED, **how),
        "remove": lambda **how: store.remove("large", **how),
    }


@where
@pytest.mark.parametrize("error", [Mine("words"), Worst("words"), KeyboardInterrupt()])
def test_what_progress_raises(
    store: ovl.Store, place: Path, where: Any, error: BaseException
) -> None:
    raised = set()

    def progress(now: Progress) -> None:
        raise error

    def work() -> None:
        for name, call in calls(store, place).items():
            if name == "remove":
                continue  # a cancel of it, or a failure, leaves the rest to a cleanup
            try:
                call(progress=progress)
                if "new" in store:
                    store.remove("new")
            except type(error) as caught:
                assert caught is error, name
                lines = traceback.format_tb(caught.__traceback__)
                assert any("in progress" in line for line in lines), name
                raised.add(name)
                assert "new" not in store, name
                assert not (place / "copy").exists()
                assert not (place / "out").exists()

    where(work)
    # Those that told nothing had too little to do; these have enough.
    assert {"apply", "apply of a path", "diff", "diff to a path", "diff as a file"} <= raised
    assert {"changes", "copy_dir", "commit"} <= raised


@where
def test_a_cancel_that_is_up_stops_every_call(store: ovl.Store, place: Path, where: Any) -> None:
    cancel = ovl.Cancel()
    cancel.trigger()
    assert cancel.triggered

    def work() -> None:
        for name, call in calls(store, place).items():
            for how in (cancel, lambda: True):
                if name in ("remove", "cleanup"):
                    continue
                with pytest.raises(ovl.OvlCancelledError) as stopped:
                    call(cancel=how)
                assert stopped.value.errno == errno.ECANCELED, name
                assert stopped.value.code is ovl.Code.CANCELLED, name
        assert "new" not in store

    where(work)


@where
def test_a_cancel_from_another_thread(store: ovl.Store, where: Any) -> None:
    """It ends a read that would wait for ever."""
    reading, writing = os.pipe()
    cancel = ovl.Cancel()
    assert not cancel.triggered

    def work() -> None:
        timer = threading.Timer(0.2, cancel.trigger)
        timer.start()
        begin = time.monotonic()
        with pytest.raises(ovl.OvlCancelledError):
            store.apply("new", reading, cancel=cancel)
        assert 0.1 < time.monotonic() - begin < 10
        timer.join()

    where(work)
    os.close(reading)
    os.close(writing)
    assert not cancel._flags  # it remembers no call that is over


@where
def test_a_cancel_function(store: ovl.Store, where: Any) -> None:
    """It is asked though nothing moves, by the calling thread."""
    reading, writing = os.pipe()
    asked: list[int] = []

    def cancel() -> bool:
        asked.append(threading.get_ident())
        return len(asked) > 3

    def fail() -> bool:
        if len(asked) > 6:
            raise Mine
        asked.append(0)
        return False

    def work() -> None:
        with pytest.raises(ovl.OvlCancelledError):
            store.apply("new", reading, cancel=cancel)
        assert set(asked) == {threading.get_ident()}
        with pytest.raises(Mine):
            store.apply("new", reading, cancel=fail)

    where(work)
    os.close(reading)
    os.close(writing)


class Failing:
    """A file object that fails after a while."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.calls = 0

    def read(self, size: int) -> bytes:
        self.fail()
        return LARGE[(self.calls - 1) * 1000 : self.calls * 1000]

    def write(self, data: bytes) -> int:
        self.fail()
        return min(1000, len(data))

    def fail(self) -> None:
        self.calls += 1
        if self.calls > 10:
            raise self.error


@where
@pytest.mark.parametrize("error", [Mine("words"), Worst("words"), KeyboardInterrupt(), OSError(5)])
def test_what_a_reader_and_a_writer_raise(
    store: ovl.Store, where: Any, error: BaseException
) -> None:
    def work() -> None:
        with pytest.raises(type(error)) as read:
            store.apply("new", Failing(error))
        assert read.value is error
        assert "in fail" in "".join(traceback.format_tb(error.__traceback__))
        assert error.__context__ is None
        assert "new" not in store
        store.apply("large", [LARGE])
        writer = Failing(error)
        with pytest.raises(type(error)) as written:
            store.diff("large", writer)
        assert written.value is error
        assert writer.calls == 11  # and no more

    where(work)


@where
def test_what_an_iterable_raises(store: ovl.Store, where: Any) -> None:
    def pieces() -> Any:
        yield LARGE[:5000]
        raise Mine

    def work() -> None:
        with pytest.raises(Mine):
            store.apply("new", pieces())
        assert "new" not in store

    where(work)


@where
def test_callbacks_may_call_the_store(store: ovl.Store, where: Any) -> None:
    store.create("other")
    seen: list[Any] = []

    def progress(now: Progress) -> None:
        seen.append((store.exists("other"), store.diff_size("other")))

    def work() -> None:
        store.apply("large", [LARGE], progress=progress)
        assert (True, 0) in seen

    where(work)


def test_callbacks_are_where_the_caller_is(store: ovl.Store) -> None:
    """What belongs to one thread can be used in them: a database, for one."""
    database = sqlite3.connect(":memory:")
    database.execute("create table progress (entries, bytes)")
    store.apply(
        "large",
        [LARGE],
        progress=lambda now: database.execute("insert into progress values (?, ?)", now),
    )
    assert database.execute("select count(*) from progress").fetchone()[0] > 0
    database.close()


# ---- log ----


def in_the_way(place: Path) -> None:
    """Puts something to the remains that cannot be removed: a cleanup tells the log of it."""
    need("overlay")
    mounted = place / "s" / "trash" / "0123456789abcdef" / "mounted"
    mounted.mkdir(parents=True)
    mount("tmpfs", str(mounted), "tmpfs", 0)


@where
def test_log(place: Path, where: Any) -> None:
    lines: list[tuple[LogLevel, str, int]] = []

    def log(level: LogLevel, line: str) -> None:
        lines.append((level, line, threading.get_ident()))

    def work() -> None:
        with ovl.Store(place / "s", log=log, log_level=LogLevel.DEBUG) as store:
            in_the_way(place)
            assert store.cleanup().busy == 1
        assert [(level, ident) for level, _, ident in lines] == [
            (LogLevel.WARNING, threading.get_ident())
        ]
        assert "0123456789abcdef" in lines[0][1]
        with ovl.Store(place / "s", log=log, log_level=LogLevel.ERROR) as store:
            assert store.cleanup().busy == 1
        assert len(lines) == 1

    where(work)
    unmount(place / "s" / "trash" / "0123456789abcdef" / "mounted")


@where
@pytest.mark.parametrize("error", [Mine("words"), Worst("words"), KeyboardInterrupt()])
def test_what_a_log_raises(place: Path, where: Any, error: BaseException) -> None:
    def log(level: LogLevel, line: str) -> None:
        raise error

    def work() -> None:
        with ovl.Store(place / "s", log=log) as store:
            in_the_way(place)
            with pytest.raises(type(error)) as caught:
                store.cleanup()
            assert caught.value is error
            assert "in log" in "".join(traceback.format_tb(error.__traceback__))
            store.create("layer")  # it is as good as ever

    where(work)
    unmount(place / "s" / "trash" / "0123456789abcdef" / "mounted")


@where
def test_an_exception_behind_a_mount_leaves_none(
    store: ovl.Store, where: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ctrl-C may raise it, or a log."""
    need("overlay")
    real = _capi.lib.ovl_mount

    def mount_and_raise(*arguments: Any) -> int:
        assert real(*arguments) == 0
        assert store.stat("box").mounted
        raise Mine

    monkeypatch.setattr(_capi.lib, "ovl_mount", mount_and_raise)
    store.apply("base", [tar(("file", b"x"))])
    box = store.create("box", "base")

    def work() -> None:
        with pytest.raises(Mine):
            box.mount()
        assert not box.stat().mounted

    where(work)
