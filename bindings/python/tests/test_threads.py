"""Many threads on one store; nothing that the module does is left behind."""

from __future__ import annotations

import gc
import io
import os
import threading
import time
from pathlib import Path
from typing import Callable

import pytest

import ovl
from conftest import descriptors, large_tar, need, tar


def in_threads(count: int, work: Callable[[int], None]) -> None:
    failed: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def test_eight_threads(store: ovl.Store) -> None:
    """Each makes, mounts, compares and removes layers of its own, and meets its own errors."""
    need("overlay")
    store.apply("base", [tar(("file", b"below"))])
    told = [0] * 8

    def work(number: int) -> None:
        def progress(now: ovl.Progress) -> None:
            told[number] += 1

        for turn in range(10):
            name = f"t{number}-{turn}"
            content = name.encode() * 1000
            store.apply(name, Pieces(tar(("own", content))), parent="base", progress=progress)
            out = io.BytesIO()
            store.diff(name, out)
            assert content in out.getvalue()
            box = store.create(name + "-box", name)
            with box.mount() as path:
                assert (path / "own").read_bytes() == content
                (path / "new").touch()
            assert [str(change.path) for change in box.changes()] == ["/new"]
            with pytest.raises(FileNotFoundError) as missing:
                store.stat("none-" + name)
            assert missing.value.filename == "none-" + name
            box.remove()
            store.remove(name)

    in_threads(8, work)
    assert list(store) == ["base"]


class Pieces:
    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self.file.read(min(size, 700))


def test_one_cancel_for_many_calls(store: ovl.Store) -> None:
    cancel = ovl.Cancel()
    pipes = [os.pipe() for _ in range(8)]

    def work(number: int) -> None:
        with pytest.raises(ovl.OvlCancelledError):
            store.apply(f"layer{number}", pipes[number][0], cancel=cancel)

    timer = threading.Timer(0.2, cancel.trigger)
    timer.start()
    in_threads(8, work)
    timer.join()
    for reading, writing in pipes:
        os.close(reading)
        os.close(writing)
    assert list(store) == []


def test_close_while_another_thread_is_in_a_call(place: Path) -> None:
    """The call goes on to its end, and the handle is freed behind it."""
    store = ovl.Store(place / "s")
    began, closed = threading.Event(), threading.Event()

    class Waiting:
        file = io.BytesIO(tar(("file", b"x")))

        def read(self, size: int) -> bytes:
            began.set()
            assert closed.wait(10)
            return self.file.read(size)

    def work(number: int) -> None:
        if number == 0:
            assert store.apply("layer", Waiting()).entries == 1
        else:
            assert began.wait(10)
            store.close()
            assert store._handle._owned  # not yet freed
            with pytest.raises(ValueError, match="closed"):
                store.exists("layer")
            closed.set()

    in_threads(2, work)
    assert not store._handle._owned
    with ovl.Store(place / "s") as again:
        assert again.exists("layer")


def test_a_cancel_is_triggered_while_calls_come_and_go(store: ovl.Store) -> None:
    """The flag of a call that is over is not touched."""
    store.create("layer")

    def work(number: int) -> None:
        for _ in range(100):
            cancel = ovl.Cancel()
            if number % 2:
                cancels.append(cancel)
            try:
                store.diff_size("layer", cancel=cancel)
            except ovl.OvlCancelledError:
                pass

    cancels: list[ovl.Cancel] = []
    over = threading.Event()

    def trigger() -> None:
        while not over.is_set():
            if cancels:
                cancels.pop().trigger()

    thread = threading.Thread(target=trigger)
    thread.start()
    in_threads(4, work)
    over.set()
    thread.join()


# ---- nothing is left ----


def churn(store: ovl.Store, data: bytes) -> None:
    """One round of everything, failures among it."""
    store.apply("layer", io.BytesIO(data))
    store.diff("layer", io.BytesIO())
    with store.diff("layer") as stream:
        stream.read(100)
    list(store.diff("layer"))
    list(store.changes("layer", ovl.NOTHING))
    list(store.list())
    store.changes("layer")  # never begun
    for call in (
        lambda: store.stat("none"),
        lambda: store.apply("bad", [b"no tar"]),
        lambda: store.apply("bad", io.BytesIO(data), cancel=lambda: True),
        lambda: list(store.diff("none")),
    ):
        with pytest.raises(OSError):
            call()
    store.remove("layer")


def test_no_descriptor_and_no_thread_is_left(store: ovl.Store, place: Path) -> None:
    data = tar(("file", b"content"))
    churn(store, data)
    gc.collect()
    before, tasks = descriptors(), os.listdir("/proc/self/task")
    for turn in range(100):
        churn(store, data)
        if turn % 10 == 0:
            with ovl.Store(place / "store") as other:
                other.exists("x")
            ovl.Store(place / "store")  # forgotten
    gc.collect()
    assert descriptors() == before
    assert os.listdir("/proc/self/task") == tasks
    assert not ovl._call._calls


def test_a_thousand_mounts(store: ovl.Store) -> None:
    need("overlay")
    store.apply("base", [tar(("file", b"below"))])
    box = store.create("box", "base")
    before = descriptors()
    for turn in range(1000):
        if turn % 2:
            with box.mount_detached() as fd:
                os.stat("file", dir_fd=fd)
        else:
            box.mount().unmount()
    assert descriptors() == before


def test_every_descriptor_is_closed_on_exec(store: ovl.Store) -> None:
    need("overlay")
    store.apply("large", [large_tar(4)])
    box = store.create("box", "large")
    before = set(descriptors())
    with box.mount(), store.diff("large") as stream:
        stream.read(1)
        for fd in set(descriptors()) - before:
            try:
                assert not os.get_inheritable(int(fd))
            except OSError:
                pass  # it is gone


def memory() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory(store: ovl.Store) -> None:
    """Errors, calls and lists leave nothing: 10,000 of them would show."""
    for number in range(20):
        store.create(f"layer{number}")

    def some(count: int) -> None:
        for _ in range(count):
            try:
                store.stat("none" * 30)
            except FileNotFoundError:
                pass
            for _ in store.list():
                pass
        for _ in range(count // 50):
            store.diff_size("layer0", cancel=ovl.Cancel())

    some(2000)
    gc.collect()
    before = memory()
    some(5000)
    gc.collect()
    assert memory() - before < 2 << 20


def test_lists_are_as_fast_as_one_would_wish(store: ovl.Store) -> None:
    """20,000 changes in seconds."""
    many = tar(*((f"{number:06}", b"") for number in range(20_000)))
    store.apply("many", [many], durability=ovl.Durability.NONE)
    begin = time.monotonic()
    assert sum(1 for _ in store.changes("many")) == 20_000
    assert time.monotonic() - begin < 20
