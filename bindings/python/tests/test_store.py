"""The store's methods: arguments in, results out."""

from __future__ import annotations

import datetime
import errno
import os
import time
from pathlib import Path, PurePosixPath

import pytest

import ovl
from conftest import need, tar
from ovl import ChangeKind, CheckKind, Durability, Kind, Marks, State


def test_paths_of_every_kind(place: Path) -> None:
    odd = os.fsencode(place) + b"/st\xffre"
    for given in (place / "path", str(place / "text"), odd):
        with ovl.Store(given) as store:
            assert store.path == Path(os.fsdecode(given))
            store.create("a")
        assert sorted(ovl.Store(given).list()) == ["a"]
    assert os.path.isdir(odd)


def test_arguments_with_a_nul(store: ovl.Store) -> None:
    """C would take what is before it, which is something else."""
    store.create("a")
    for call in (
        lambda: ovl.Store("a\0b"),
        lambda: store.stat("a\0b"),
        lambda: store.create("b", "a\0b"),
        lambda: store.apply("b", [], parent="a\0"),
        lambda: store.apply("b", [], diff_id="sha256:\0"),
        lambda: store.mount("a", "/\0"),
        lambda: store.unmount("a\0b"),
        lambda: ovl.copy_dir("/a\0b", "/c"),
    ):
        with pytest.raises(ValueError, match="null byte"):
            call()
    assert list(store) == ["a"]


def test_wrong_types(store: ovl.Store) -> None:
    for call in (
        lambda: ovl.Store(3),  # type: ignore[arg-type]
        lambda: store.stat(None),  # type: ignore[arg-type]
        lambda: store.create("b", 5),  # type: ignore[arg-type]
        lambda: store.create("b", cancel=5),  # type: ignore[arg-type]
        lambda: store.apply("b", 5.0),  # type: ignore[arg-type]
        lambda: store.apply("b", bytearray(b"x")),  # type: ignore[arg-type]
        lambda: store.diff("b", 5.0),  # type: ignore[call-overload]
    ):
        with pytest.raises(TypeError):
            call()
    assert list(store) == []


def test_options(place: Path) -> None:
    ovl.Store(place / "s", marks=Marks.USER).close()
    with pytest.raises(OSError) as other:
        ovl.Store(place / "s", marks=Marks.TRUSTED)
    assert other.value.errno == errno.EINVAL
    with ovl.Store(place / "s", read_only=True) as store:
        with pytest.raises(OSError) as refused:
            store.create("a")
        assert refused.value.errno == errno.EROFS


def test_closed(place: Path) -> None:
    store = ovl.Store(place / "s")
    layer = store.create("a")
    listing = store.list()
    assert "closed" not in repr(store)
    store.close()
    store.close()
    assert store.closed
    assert "closed" in repr(store)
    assert list(listing) == ["a"]  # it is as it was
    for call in (
        lambda: store.exists("a"),
        lambda: store.list(),
        lambda: store.create("b"),
        lambda: store.diff("a"),
        lambda: store.apply("b", [tar()]),
        lambda: layer.stat(),
        lambda: store.mount("a"),
        lambda: store.__enter__(),
    ):
        with pytest.raises(ValueError, match="the store is closed"):
            call()


def test_layers(store: ovl.Store) -> None:
    before = time.time_ns()
    info = store.apply("base", [tar("dir/", ("dir/file", b"content"))])
    assert (info.id, info.kind, info.state) == ("base", Kind.ROOT, State.COMMITTED)
    assert info.committed
    assert (info.size, info.entries, info.parent, info.copied_from) == (7, 2, None, None)
    assert info.diff_id is not None
    assert info.diff_id.startswith("sha256:")
    assert info.diff_id == info.blob_digest
    assert before - 10**9 < info.created_ns <= time.time_ns()
    assert info.created.tzinfo is datetime.timezone.utc
    assert abs(info.created.timestamp() * 10**9 - info.created_ns) < 2000
    box = store.create("box", b"base")
    assert (box.id, box.exists(), box.parent) == ("box", True, store.layer("base"))
    assert store.layer("base").parent is None
    assert {box, store.layer("box")} == {box}
    assert box != "box"
    assert box.stat().state is State.WRITABLE
    assert not box.stat().committed
    assert list(store) == ["base", "box"]
    assert [layer.id for layer in store.layers()] == ["base", "box"]
    assert "box" in store
    assert "none" not in store
    assert 5 not in store
    box.commit(durability=Durability.NONE)
    assert box.stat().committed
    with pytest.raises(OSError) as busy:
        store.remove("base")
    assert busy.value.code is ovl.Code.HAS_CHILDREN  # type: ignore[attr-defined]
    box.remove()
    store.remove("base", defer=True)
    assert store.cleanup(budget=10).removed == 1
    assert not box.exists()


def test_create_options(store: ovl.Store) -> None:
    store.apply("base", [tar(("file", b"x"))])
    flat = store.create("flat", "base", flat=True, sync=True)
    assert flat.stat().kind is Kind.ROOT
    assert flat.stat().committed


def test_apply_options(store: ovl.Store) -> None:
    data = tar(("file", b"x"))
    info = store.apply("w", [data], writable=True, durability=Durability.VERIFIED)
    assert info.state is State.WRITABLE
    with pytest.raises(OSError) as other:
        store.apply("bad", [data], diff_id="sha256:" + 64 * "0")
    assert (other.value.errno, other.value.code) == (errno.EBADMSG, ovl.Code.DIGEST)  # type: ignore[attr-defined]
    store.apply("good", [data], diff_id=info.diff_id)
    top = store.apply("top", [data], parent="good", kind=Kind.ROOT)
    assert (top.parent, top.kind) == ("good", Kind.ROOT)
    for wrong in ({"size": -1}, {"entries": 1 << 64}, {"path": -1 << 64}, {"zstd_window_log": 32}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            store.apply("bad", [data], limits=ovl.Limits(**wrong))
    for limits in (ovl.Limits(size=600), ovl.Limits(path=3)):
        with pytest.raises(OSError) as limit:
            store.apply("bad", [data], limits=limits)
        assert limit.value.errno == errno.EFBIG
    assert "bad" not in store


def test_changes_and_sizes(store: ovl.Store) -> None:
    store.apply("base", [tar(("kept", b"x"), ("changed", b"x"), ("gone", b"x"))])
    store.apply(
        "top", [tar(("changed", b"yy"), (".wh.gone", b""), ("new\udcff", b"zzz"))], parent="base"
    )
    changes = list(store.changes("top"))
    assert changes == [
        (ChangeKind.MODIFY, PurePosixPath("/changed")),
        (ChangeKind.DELETE, PurePosixPath("/gone")),
        (ChangeKind.ADD, PurePosixPath("/new\udcff")),
    ]
    assert [chr(change.kind) for change in changes] == ["C", "D", "A"]
    assert os.fsencode(changes[2].path) == b"/new\xff"
    assert list(store.changes("top", "top")) == []
    whole = [change.path.name for change in store.changes("top", ovl.NOTHING)]
    assert whole == ["changed", "kept", "new\udcff"]
    top = store.layer("top")
    assert top.diff_size() == 5
    assert top.diff_size(ovl.NOTHING) == 6
    assert list(top.changes()) == changes


def test_usage(store: ovl.Store) -> None:
    store.apply("base", [tar(("file", 10_000 * b"x"))])
    one, whole = store.layer("base").usage(), store.usage()
    assert 10_000 <= one.own_size <= whole.own_size
    assert one.own_bytes >= 8192
    assert one.shared_bytes == one.shared_inodes == one.shared_size == 0


def test_status_and_check(store: ovl.Store, place: Path) -> None:
    said = {capability.name: capability for capability in store.status()}
    assert said["openat2"].ok
    assert all(one.ok or one.reason for one in said.values())
    store.apply("base", [tar(("file", b"x"))])
    assert all(finding.kind is CheckKind.NOTE for finding in store.check())
    (place / "store" / "layer" / "base" / "root" / "file").write_bytes(b"longer")
    damage = [finding for finding in store.check() if finding.kind is CheckKind.DAMAGE]
    assert [finding.place for finding in damage] == ["base"]
    assert "file" in damage[0].detail
    assert damage[0].what
    assert ":" not in damage[0].what


def test_repair_needs_the_store_alone(place: Path) -> None:
    with ovl.Store(place / "s") as store, ovl.Store(place / "s"):
        with pytest.raises(OSError) as busy:
            store.check(repair=True)
        assert busy.value.errno == errno.EBUSY


def test_cleanup_takes_a_budget(store: ovl.Store) -> None:
    assert store.cleanup(budget=0.0001).left >= 0
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="budget"):
            store.cleanup(budget=wrong)


def test_an_abandoned_list_is_freed(store: ovl.Store) -> None:
    for number in range(3):
        store.create(f"layer{number}")
    begun = store.list()
    assert next(begun) == "layer0"
    begun.close()  # type: ignore[attr-defined]
    assert list(begun) == []
    store.list()  # never begun
    del begun


def test_copy_dir(place: Path) -> None:
    source = place / "source"
    (source / "dir").mkdir(parents=True)
    (source / "dir" / "file").write_bytes(b"content")
    (source / "link").symlink_to("nowhere")
    os.utime(source / "dir" / "file", ns=(1, 1_234_567_891))
    stats = ovl.copy_dir(source, place / "copy", sync=True)
    assert (stats.entries, stats.directories, stats.bytes) == (4, 2, 7)
    assert (place / "copy" / "dir" / "file").stat().st_mtime_ns == 1_234_567_891
    with pytest.raises(OSError) as full:
        ovl.copy_dir(source, place / "copy")
    assert full.value.errno == errno.ENOTEMPTY
    linked = ovl.copy_dir(os.fsencode(source), os.fsencode(place) + b"/l\xff", hard_link=True)
    assert linked.linked >= 1
    assert os.path.samefile(source / "dir" / "file", os.fsencode(place) + b"/l\xff/dir/file")
    fd = os.open(place, os.O_RDONLY)
    try:
        ovl.copy_dir("source", "again", src_dir_fd=fd, dst_dir_fd=fd)
    finally:
        os.close(fd)
    assert (place / "again" / "dir" / "file").read_bytes() == b"content"
    with pytest.raises(FileNotFoundError):
        ovl.copy_dir(place / "none", place / "x")


def test_a_fork(place: Path) -> None:
    """A forked child is refused by name, frees its copies, and harms nobody."""
    need("overlay")
    store = ovl.Store(place / "s")
    store.create("a")
    mount = store.mount("a")
    pid = os.fork()
    if pid == 0:
        try:
            with pytest.raises(OSError) as refused:
                store.stat("a")
            assert refused.value.errno == errno.EOWNERDEAD
            with pytest.raises(OSError):
                mount.unmount()
            mount.release()
            store.close()
            with ovl.Store(place / "s") as own:
                assert own.stat("a").mounted
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert store.stat("a").mounted
    mount.unmount()
    store.close()
