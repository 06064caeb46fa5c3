"""Every kind of source of a layer, and of target of a diff."""

from __future__ import annotations

import errno
import gc
import gzip
import hashlib
import io
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

import ovl
from conftest import descriptors, large_tar, need, tar

DATA = tar("dir/", ("dir/file", b"content" * 1000), ("l\udcffast", b"x"))
DIFF_ID = "sha256:" + hashlib.sha256(DATA).hexdigest()


class Reader:
    """A file object that can read, and nothing else."""

    def __init__(self, data: bytes, most: int = 1000) -> None:
        self._file = io.BytesIO(data)
        self._most = most

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, self._most))


class Into(Reader):
    """One that keeps what it was given, which must not harm."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.kept: list[Any] = []

    def readinto(self, buffer: Any) -> int:
        self.kept.append(buffer)
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def pipe_of(data: bytes) -> int:
    reading, writing = os.pipe()

    def feed() -> None:
        with open(writing, "wb") as file:
            file.write(data)

    threading.Thread(target=feed).start()
    return reading


def sources(place: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    path = place / "layer.tar"
    path.write_bytes(DATA)
    yield "path", lambda: path
    yield "str", lambda: str(path)
    yield "bytes", lambda: os.fsencode(path)
    yield "fd", lambda: os.open(path, os.O_RDONLY)
    yield "pipe", lambda: pipe_of(DATA)
    yield "buffered file", lambda: open(path, "rb")
    yield "raw file", lambda: open(path, "rb", buffering=0)
    yield "gzip", lambda: io.BytesIO(gzip.compress(DATA))
    yield "GzipFile", lambda: gzip.open(io.BytesIO(gzip.compress(DATA)))
    yield "BytesIO", lambda: io.BytesIO(DATA)
    yield "read", lambda: Reader(DATA)
    yield "readinto", lambda: Into(DATA)
    yield "list", lambda: [DATA]
    yield "pieces", lambda: (DATA[at : at + 777] for at in range(0, len(DATA), 777))
    yield "with empty pieces", lambda: [b"", DATA[:5], b"", b"", DATA[5:], b""]
    yield "of other buffers", lambda: [bytearray(DATA[:99]), memoryview(DATA)[99:]]


def test_sources(store: ovl.Store, place: Path) -> None:
    for name, make in sources(place):
        source = make()
        info = store.apply("layer", source)
        assert info.diff_id == DIFF_ID, name
        if isinstance(source, int):
            os.close(source)  # it is still ours
        elif hasattr(source, "close") and hasattr(source, "read"):
            assert not source.closed, name
            source.close()
        store.remove("layer")


def test_sources_on_another_thread(store: ovl.Store, place: Path) -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            test_sources(store, place)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failed, failed


def test_a_buffered_file_is_read_from_where_it_stands(store: ovl.Store, place: Path) -> None:
    path = place / "layer.tar"
    path.write_bytes(b"12345" + DATA)
    with open(path, "rb") as file:
        assert file.read(5) == b"12345"  # its descriptor is far ahead now
        assert store.apply("layer", file).diff_id == DIFF_ID
        file.seek(0)
        assert file.read(5) == b"12345"


def test_what_is_no_source(store: ovl.Store, place: Path) -> None:
    (place / "layer.tar").write_bytes(DATA)
    with open(place / "layer.tar", encoding="latin-1") as text:
        for wrong in (None, 1.5, True, text, bytearray(DATA), ["text"], [5]):
            with pytest.raises(TypeError):
                store.apply("layer", wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="negative"):
        store.apply("layer", -1)
    with pytest.raises(OSError) as closed:
        store.apply("layer", 999_999)
    assert closed.value.errno == errno.EBADF
    with pytest.raises(FileNotFoundError):
        store.apply("layer", place / "none")
    with pytest.raises(BlockingIOError):
        store.apply("layer", NotReady())
    assert "layer" not in store


class NotReady:
    def read(self, size: int) -> None:
        return None


class Liar:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def read(self, size: int) -> Any:
        return bytes(size + 1)

    def write(self, data: bytes) -> Any:
        return self.answer


class LiarInto:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def readinto(self, buffer: memoryview) -> Any:
        return self.answer


def test_file_objects_that_lie(store: ovl.Store) -> None:
    with pytest.raises(ValueError, match="gave"):
        store.apply("layer", Liar(0))
    for answer in (-1, 1 << 40):
        with pytest.raises(ValueError, match="gave"):
            store.apply("layer", LiarInto(answer))  # type: ignore[arg-type]
    for answer in ("1", 2.5):
        with pytest.raises(TypeError):
            store.diff(store.create(f"n{answer}").id, Liar(answer))
    store.apply("layer", [DATA])
    for answer in (0, -1, 1 << 40):
        with pytest.raises(ValueError, match="took"):
            store.diff("layer", Liar(answer))
    with pytest.raises(BlockingIOError):
        store.diff("layer", Liar(None))


def test_a_cut_tar_leaves_no_layer(store: ovl.Store) -> None:
    for cut in (DATA[:600], DATA[:2000]):
        with pytest.raises(OSError) as broken:
            store.apply("layer", [cut])
        assert broken.value.errno == errno.EBADMSG
        assert broken.value.code is ovl.Code.TRUNCATED  # type: ignore[attr-defined]
    assert "layer" not in store


# ---- targets ----


class Writer:
    """Takes a little at a time."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> int:
        taken = data[:1000]
        self.data += taken
        return len(taken)


@pytest.fixture
def layer(store: ovl.Store) -> ovl.Layer:
    store.apply("layer", [DATA])
    return store.layer("layer")


@pytest.fixture
def wanted(layer: ovl.Layer) -> bytes:
    out = io.BytesIO()
    layer.diff(out)
    return out.getvalue()


def test_targets(layer: ovl.Layer, place: Path, wanted: bytes) -> None:
    digest = "sha256:" + hashlib.sha256(wanted).hexdigest()
    path = place / "out.tar"
    for target in (path, str(path), os.fsencode(path)):
        info = layer.diff(target)
        assert (info.diff_id, info.tar_size) == (digest, len(wanted))
        assert path.read_bytes() == wanted
        path.unlink()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    layer.diff(fd)
    os.close(fd)
    assert path.read_bytes() == wanted
    for buffering in (0, -1):
        with open(path, "wb", buffering=buffering) as file:
            file.write(b"12345")
            layer.diff(file)
            assert not file.closed
        assert path.read_bytes() == b"12345" + wanted
    writer = Writer()
    layer.diff(writer)
    assert writer.data == wanted
    one, other = socket.socketpair()
    with one, other:
        layer.diff(one.fileno())
        one.close()
        with other.makefile("rb") as file:
            assert file.read() == wanted


def test_the_diff_as_a_file(layer: ovl.Layer, wanted: bytes, place: Path) -> None:
    with layer.diff() as stream:
        assert stream.readable()
        assert not stream.writable()
        assert stream.read() == wanted
        assert stream.read(1) == b""
        info = stream.result()
        assert info.tar_size == len(wanted)
    assert stream.result() is info
    with pytest.raises(ValueError, match="closed"):
        stream.read(1)
    assert b"".join(layer.diff()) == wanted
    with layer.diff() as stream, open(place / "copy.tar", "wb") as file:
        shutil.copyfileobj(stream, file)
    assert (place / "copy.tar").read_bytes() == wanted
    with layer.diff() as stream:
        said = subprocess.run(["tar", "-t"], stdin=stream.fileno(), capture_output=True, check=True)
        assert b"dir/file\n" in said.stdout
        assert stream.result().tar_size == len(wanted)


def test_a_diff_as_a_source(layer: ovl.Layer, store: ovl.Store, wanted: bytes) -> None:
    with layer.diff() as stream:
        info = store.apply("again", stream)
        assert info.diff_id == stream.result().diff_id
    copied = io.BytesIO()
    store.diff("again", copied)
    assert copied.getvalue() == wanted


def test_a_diff_that_fails_has_no_end(store: ovl.Store) -> None:
    with store.diff("none") as stream:
        with pytest.raises(FileNotFoundError):
            stream.read()
        with pytest.raises(FileNotFoundError):
            stream.result()
    # Also for who only iterates.
    with pytest.raises(FileNotFoundError):
        list(store.diff("none"))


def test_a_diff_closed_early_ends(store: ovl.Store) -> None:
    store.apply("large", [large_tar()])
    gc.collect()
    before = descriptors()
    threads = len(os.listdir("/proc/self/task"))
    stream = store.diff("large")
    assert len(stream.read(1000)) == 1000
    stream.close()
    stream.close()
    assert stream.closed
    assert len(os.listdir("/proc/self/task")) == threads
    with pytest.raises(OSError) as stopped:
        stream.result()
    assert stopped.value.errno in (errno.EPIPE, errno.ECANCELED)
    forgotten = store.diff("large")
    del forgotten
    assert len(os.listdir("/proc/self/task")) == threads
    assert descriptors() == before


def test_closing_the_store_lets_a_diff_end(place: Path) -> None:
    store = ovl.Store(place / "s")
    store.apply("large", [large_tar()])
    stream = store.diff("large")
    store.close()
    assert len(stream.read()) > 32 << 20
    stream.close()


def test_an_open_diff_does_not_keep_the_interpreter(place: Path) -> None:
    store = ovl.Store(place / "s")
    store.apply("large", [large_tar()])
    store.close()
    program = (
        "import ovl, sys\n"
        "store = ovl.Store(sys.argv[1], log=print, log_level=ovl.LogLevel.DEBUG)\n"
        "stream = store.diff('large', progress=print)\n"
        "stream.read(1)\n"
    )
    subprocess.run([sys.executable, "-c", program, place / "s"], check=True, timeout=30)


def test_a_file_is_replaced_when_the_diff_is_complete(layer: ovl.Layer, place: Path) -> None:
    path, link = place / "out.tar", place / "link"
    path.write_bytes(b"before")
    path.chmod(0o640)
    link.symlink_to("out.tar")
    before = sorted(os.listdir(place))

    def fail() -> bool:
        raise KeyError("mine")

    with pytest.raises(KeyError):
        layer.diff(path, cancel=fail)
    with pytest.raises(FileNotFoundError):
        layer.store.diff("none", path)
    assert path.read_bytes() == b"before"
    assert sorted(os.listdir(place)) == before
    layer.diff(link)
    assert link.is_symlink()
    assert path.read_bytes() != b"before"
    assert path.stat().st_mode & 0o7777 == 0o640
    assert sorted(os.listdir(place)) == before
    path.unlink()
    umask = os.umask(0o027)
    try:
        layer.diff(link)  # to where it points
    finally:
        os.umask(umask)
    assert path.stat().st_mode & 0o7777 == 0o640
    with pytest.raises(FileNotFoundError):
        layer.diff(place / "none" / "out.tar")
    with pytest.raises(IsADirectoryError):
        layer.diff(place)


def test_a_device_or_pipe_is_no_file_to_replace(
    layer: ovl.Layer, place: Path, wanted: bytes
) -> None:
    layer.diff("/dev/null")
    assert Path("/dev/null").is_char_device()
    fifo = place / "fifo"
    os.mkfifo(fifo)
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    thread.start()
    layer.diff(fifo)
    thread.join()
    assert got == [wanted]
    assert fifo.is_fifo()


def test_what_is_no_target(layer: ovl.Layer, place: Path) -> None:
    with open(place / "text", "w", encoding="ascii") as text:
        for wrong in (1.5, False, text, [], object()):
            with pytest.raises(TypeError):
                layer.diff(wrong)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="negative"):
        layer.diff(-1)
    with pytest.raises(ValueError, match="descriptor"):
        layer.diff(1 << 32)


def test_options(store: ovl.Store, place: Path) -> None:
    need("tar")
    store.apply("layer", [tar(("file", b"x"))])
    out = place / "out.tar"
    one = store.diff("layer", out, clamp=1_000_000_000_000_000_001)
    listing = subprocess.run(
        ["tar", "-tvf", out, "--full-time", "--utc"], capture_output=True, text=True, check=True
    )
    assert "2001-09-09 01:46:40" in listing.stdout
    from datetime import datetime, timedelta, timezone

    then = datetime(2001, 9, 9, 3, 46, 40, tzinfo=timezone(timedelta(hours=2)))
    other = store.diff("layer", out, clamp=then, sparse=True, strict=True)
    assert one.diff_id != other.diff_id  # by a nanosecond
    assert other.diff_id == store.diff("layer", out, clamp=10**18).diff_id
    with pytest.raises(ValueError, match="time zone"):
        store.diff("layer", out, clamp=datetime(2001, 9, 9))
    with pytest.raises(ValueError, match="64 bits"):
        store.diff("layer", out, clamp=1 << 93)
