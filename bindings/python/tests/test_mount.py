"""Mounts: held, kept, detached, refused."""

from __future__ import annotations

import errno
import gc
import os
import sys
from pathlib import Path

import pytest

import ovl
from conftest import need, tar


@pytest.fixture
def box(store: ovl.Store) -> ovl.Layer:
    need("overlay")
    store.apply("base", [tar(("file", b"below"))])
    return store.create("box", "base")


def test_with_gives_the_path(box: ovl.Layer) -> None:
    mount = box.mount()
    with mount as path:
        assert isinstance(path, Path)
        assert path == mount.path == Path(os.fspath(mount))
        assert (path / "file").read_bytes() == b"below"
        (path / "new").write_bytes(b"above")
        assert box.stat().mounted
        assert os.path.samestat(os.stat(mount.fileno()), os.stat(path))
        assert str(path) in repr(mount)
    assert mount.closed
    assert not box.stat().mounted
    assert [str(change.path) for change in box.changes()] == ["/new"]
    for call in (mount.unmount, mount.fileno, mount.__enter__):
        with pytest.raises(ValueError, match="the mount is closed"):
            call()
    mount.release()
    assert mount.path == path  # what it was


def test_at_a_target_of_any_bytes(box: ovl.Layer, place: Path) -> None:
    target = os.fsencode(place) + b"/t\xffrget"
    os.mkdir(target)
    with box.mount(target) as path:
        assert os.fsencode(path) == target
        assert os.listdir(target) == [b"file"]
    assert os.listdir(target) == []
    with pytest.raises(FileNotFoundError):
        box.mount(place / "none")


def test_detached(box: ovl.Layer) -> None:
    with box.mount_detached(volatile=True) as fd:
        file = os.open("new", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd)
        os.close(file)
        with pytest.raises(OSError) as busy:
            box.remove()
        assert busy.value.errno == errno.EBUSY
    assert [str(change.path) for change in box.changes()] == ["/new"]


def test_busy_changes_nothing(box: ovl.Layer) -> None:
    mount = box.mount()
    with open(mount.path / "file", "rb") as file:
        with pytest.raises(OSError) as busy:
            mount.unmount()
        assert busy.value.errno == errno.EBUSY
        assert not mount.closed
        assert file.read() == b"below"
        mount.unmount(lazy=True)
    assert mount.closed


def test_an_exception_in_the_block_comes_out(box: ovl.Layer) -> None:
    with pytest.raises(KeyError), box.mount():
        raise KeyError("mine")
    assert not box.stat().mounted


def test_ctrl_c_in_the_block_comes_out_of_a_busy_mount(box: ovl.Layer) -> None:
    mount = box.mount()
    with pytest.raises(KeyboardInterrupt) as stopped, mount as path:
        file = open(path / "file", "rb")
        raise KeyboardInterrupt
    assert not mount.closed
    if sys.version_info >= (3, 11):
        assert "busy" in stopped.value.__notes__[0]
    with pytest.raises(OSError) as busy, mount:
        raise ValueError
    assert busy.value.errno == errno.EBUSY
    assert isinstance(busy.value.__context__, ValueError)
    file.close()
    mount.unmount()


def test_kept(box: ovl.Layer, store: ovl.Store) -> None:
    with box.mount(keep=True) as path:
        pass
    assert (path / "file").exists()
    store.unmount("box")
    assert not (path / "file").exists()
    with pytest.raises(OSError) as refused:
        store.unmount(b"box")
    assert refused.value.errno == errno.EINVAL


def test_read_only(box: ovl.Layer, store: ovl.Store) -> None:
    with pytest.raises(OSError) as refused:
        store.mount("base")
    assert refused.value.errno == errno.EROFS
    with store.mount("base", read_only=True) as path, pytest.raises(OSError) as read_only:
        (path / "x").touch()
    assert read_only.value.errno == errno.EROFS


def test_a_forgotten_mount_is_told(box: ovl.Layer, store: ovl.Store) -> None:
    mount = box.mount()
    path = mount.path
    with pytest.warns(ResourceWarning, match="unclosed <Mount at"):
        del mount
        gc.collect()
    # The handle is gone, and the next call that meets the mount ends it.
    store.cleanup()
    assert not (path / "file").exists()


def test_specs(box: ovl.Layer, store: ovl.Store) -> None:
    spec = store.mount_spec("box")
    assert (spec.type, spec.source) == ("overlay", "overlay")
    assert any(option.startswith("upperdir=") for option in spec.options)
    assert "ro" not in spec.options
    assert "ro" in store.mount_spec("box", read_only=True).options
    entry = store.oci_mount("box", "/target")
    assert (entry["destination"], entry["type"]) == ("/target", "overlay")
    assert set(spec.options) <= set(entry["options"])
