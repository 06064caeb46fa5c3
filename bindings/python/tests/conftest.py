"""What the tests need of the machine, and what they share.

The tests run in a mount namespace of their own, on a tmpfs in it: when the process ends, however it
ends, no mount and no file is left. A test that needs something asks `need` for it. What is missing
is a skip, by name, unless OVL_TEST_HAVE declares that the machine has it: then it is a failure.
"""

from __future__ import annotations

import ctypes
import importlib.util
import io
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

TOP = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
_built = TOP / "build" / "libovl.so.0"
if _built.exists():
    os.environ.setdefault("OVL_LIBRARY", str(_built))

import ovl  # noqa: E402  (which library it is, had to be said first)

# Programs that the tests start use the same module.
os.environ["PYTHONPATH"] = str(Path(ovl.__file__).resolve().parents[1])

CLONE_NEWNS = 0x20000
CLONE_NEWUSER = 0x10000000
MS_REC_PRIVATE = 0x4000 | 0x40000
_libc = ctypes.CDLL(None, use_errno=True)


def _call(function: Callable[..., int], *arguments: object) -> None:
    if function(*arguments) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    _call(
        _libc.mount, source.encode(), target.encode(), kind.encode(), flags, data.encode() or None
    )


def unmount(target: Path) -> None:
    _call(_libc.umount2, os.fsencode(target), 0)


def _leave() -> tuple[Path | None, str]:
    """Leaves the machine's mount namespace: an empty directory on a tmpfs, or why there is none."""
    try:
        if os.getuid() == 0:
            _call(_libc.unshare, CLONE_NEWNS)
        else:
            uid, gid = os.getuid(), os.getgid()
            _call(_libc.unshare, CLONE_NEWNS | CLONE_NEWUSER)
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        mount("none", "/", "none", MS_REC_PRIVATE)
        # One fixed directory that every system has.
        base = Path("/mnt")
        if base in TOP.parents or base in Path(sys.prefix).parents:
            return None, "/mnt is in use"
        mount("tmpfs", str(base), "tmpfs", 0, "mode=755")
    except OSError as error:
        return None, str(error)
    return base, ""


_was_root = os.getuid() == 0
BASE, _why_not = _leave()


def _try_overlay() -> str:
    if BASE is None:
        return _why_not
    place = BASE / "try"
    for name in ("lower", "upper", "work", "merged"):
        (place / name).mkdir(parents=True)
    try:
        layers = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
        marks = "" if _was_root else ",userxattr"
        mount("overlay", f"{place}/merged", "overlay", 0, layers + marks)
        _call(_libc.umount2, f"{place}/merged".encode(), 0)
    except OSError as error:
        return str(error)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return ""


def _lack(thing: str) -> str:
    """Why the thing is not there, or ""."""
    if thing == "root":
        return "" if _was_root else "not root"
    if thing == "userns":
        return "" if _was_root or BASE is not None else _why_not
    if thing == "overlay":
        return _OVERLAY
    if thing.startswith("python3-"):
        module = thing[len("python3-") :]
        return "" if importlib.util.find_spec(module) else f"no module {module}"
    return "" if shutil.which(thing) else "no such program in PATH"


_OVERLAY = _try_overlay()
_skips: list[str] = []


def declared(thing: str) -> bool:
    return thing in os.environ.get("OVL_TEST_HAVE", "").split(",")


def lacks(thing: str, why: str) -> None:
    """The running test cannot run here."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "?").split(" ")[0].split("/")[-1]
    if declared(thing):
        pytest.fail(f"OVL_TEST_HAVE declares {thing}, but: {why}")
    _skips.append(f"SKIP python {test}: lacks {thing} ({why})")
    pytest.skip(f"lacks {thing} ({why})")


def need(*things: str) -> None:
    for thing in things:
        why = _lack(thing)
        if why:
            lacks(thing, why)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    said = terminalreporter.stats
    failed = len(said.get("failed", [])) + len(said.get("error", []))
    print()
    for line in _skips:
        print(line)
    print(f"python: {len(said.get('passed', []))} passed, {failed} failed")


# ---- what tests share ----


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty directory: on the tmpfs where there is one."""
    if BASE is None:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
        return
    directory = BASE / "test"
    directory.mkdir()
    yield directory
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    left = [path for path in mounts if path.startswith(f"{directory}/")]
    for path in reversed(left):
        _libc.umount2(os.fsencode(path), 2)
    shutil.rmtree(directory)
    assert not left, f"{request.node.name} left mounts: {left}"


@pytest.fixture
def store(place: Path) -> Iterator[ovl.Store]:
    with ovl.Store(place / "store") as store:
        yield store


def tar(*entries: str | tuple[str, bytes]) -> bytes:
    """A tar of directories ("name/") and files (name, content), their names by os.fsencode."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            name, content = entry if isinstance(entry, tuple) else (entry, b"")
            info = tarfile.TarInfo(name)
            info.mtime = 1_700_000_000
            if name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def large_tar(megabytes: int = 32) -> bytes:
    """A tar that takes long enough for several looks at the clock."""
    piece = bytes(range(256)) * 4096
    return tar(*((f"{number:04}", piece) for number in range(megabytes)))


def descriptors() -> dict[str, str]:
    """The open descriptors of this process, and what they are."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # the one that the listing was read from
    return found


@pytest.fixture
def prepared(place: Path) -> Path:
    (place / "large.tar").write_bytes(large_tar())
    with ovl.Store(place / "s") as store:
        store.create("base")
    return place


HEAD = """
import io, os, signal, sys, threading, time
import ovl
place = sys.argv[1]
store = ovl.Store(place + "/s")
def ready():
    print("ready", flush=True)
class Slow:
    def read(self, size):
        time.sleep(0.01)
        return bytes(512)
def alone():
    "Waits until a thread of the test is gone: join() returns a moment before that."
    while len(os.listdir("/proc/self/task")) > 1:
        time.sleep(0.001)
def over():
    "What must hold after Ctrl-C."
    assert "new" not in store
    assert not os.listdir(place + "/s/stage"), os.listdir(place + "/s/stage")
    assert len(os.listdir("/proc/self/task")) == 1, "a thread is left"
    store.create("after")
    store.remove("after")
    print("over", flush=True)
"""
