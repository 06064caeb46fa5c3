"""Both wheels are built without a network, installed, and used with nothing else of this tree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import ovl
from conftest import HERE, need

LIBRARY = ovl.library().path

SMOKE = """
import io, pathlib, sys
import ovl
print(*ovl.library()[:2], ovl.__file__)
with ovl.Store(sys.argv[1]) as store:
    store.create("base")
    data = store.diff("base").read()
    print(store.apply("copy", io.BytesIO(data)).entries)
    try:
        store.stat("none")
    except FileNotFoundError as error:
        print(error.filename)
"""


def environment(**more: str) -> dict[str, str]:
    """No module and no library of this tree, and no network."""
    ours = ("PYTHONPATH", "OVL_LIBRARY", "LD_LIBRARY_PATH", "OVL_WHEEL_LIBRARY")
    rest = {name: value for name, value in os.environ.items() if name not in ours}
    return {**rest, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **more}


def run(*command: str | Path, **more: str) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env=environment(**more)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def backend() -> str:
    """A Python that has what builds wheels: this one, or Debian's."""
    for python in (sys.executable, "/usr/bin/python3"):
        tried = subprocess.run(
            [
                python,
                "-c",
                "import setuptools, wheel, sys; sys.exit(setuptools.__version__ < '66')",
            ],
            capture_output=True,
        )
        if tried.returncode == 0:
            return python
    need("python3-setuptools", "python3-wheel")
    pytest.fail("no setuptools")


def build(backend: str, place: Path, what: str, **more: str) -> Path:
    """Runs the build's hook as pip and Debian do, on a copy: a build leaves files."""
    source = place / "source"
    if not source.exists():
        # The licence is a link to that of the project.
        run("cp", "-rL", HERE.parent, source)
        for left in ("build", "dist"):
            run("rm", "-rf", source / left)
    out = place / "dist"
    out.mkdir(exist_ok=True)
    before = set(out.iterdir())
    code = f"import setuptools.build_meta as b; b.build_{what}({str(out)!r})"
    subprocess.run(
        [backend, "-c", code],
        cwd=source,
        check=True,
        capture_output=True,
        env=environment(**more),
    )
    run("rm", "-rf", source / "build")
    (made,) = set(out.iterdir()) - before
    return made


def venv(place: Path, wheel: Path) -> Path:
    """A new environment with the wheel in it, and no more."""
    run(sys.executable, "-m", "venv", "--without-pip", place / "venv")
    python = place / "venv" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", wheel)
    return python


def test_the_wheel_for_a_distribution(backend: str, place: Path) -> None:
    need("python3-pip")
    wheel = build(backend, place, "wheel")
    assert wheel.name == f"libovl-{ovl.__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    assert "ovl/py.typed" in names
    assert not [name for name in names if ".so" in name or "test" in name]
    assert [name for name in names if name.endswith("LICENSE")]
    python = venv(place, wheel)
    out = run(python, "-I", "-c", SMOKE, place / "store", LD_LIBRARY_PATH=str(LIBRARY.parent))
    said = out.splitlines()
    assert said[0].startswith(f"{LIBRARY} system {place}/venv/")
    assert said[1:] == ["1", "none"]


def test_the_wheel_that_holds_the_library(backend: str, place: Path) -> None:
    need("python3-pip", "objdump")
    wheel = build(backend, place, "wheel", OVL_WHEEL_LIBRARY=str(LIBRARY))
    tag = re.fullmatch(
        rf"libovl-{re.escape(ovl.__version__)}-py3-none-manylinux_(\d+)_(\d+)_(\w+)\.whl",
        wheel.name,
    )
    assert tag, wheel.name
    # No symbol of the library is newer than the tag says, and one is that new.
    symbols = run("objdump", "-T", LIBRARY)
    versions = re.findall(r"GLIBC_(\d+)\.(\d+)", symbols)
    assert max((int(major), int(minor)) for major, minor in versions) == (int(tag[1]), int(tag[2]))
    with zipfile.ZipFile(wheel) as content:
        assert "ovl/lib/libovl.so.0" in content.namelist()
        assert (
            f"Tag: py3-none-manylinux_{tag[1]}_{tag[2]}_{tag[3]}"
            in content.read(f"libovl-{ovl.__version__}.dist-info/WHEEL").decode()
        )
    python = venv(place, wheel)
    said = run(python, "-I", "-c", SMOKE, place / "store").splitlines()
    assert re.match(rf"{place}/venv/.*/ovl/lib/libovl\.so\.0 wheel {place}/venv/", said[0])
    assert said[1:] == ["1", "none"]


def test_a_library_that_is_not_there(backend: str, place: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        build(backend, place, "wheel", OVL_WHEEL_LIBRARY="/none")
    assert b"OVL_WHEEL_LIBRARY=/none" in failed.value.stderr


def test_the_source_archive_builds_the_same_wheel(backend: str, place: Path) -> None:
    archive = build(backend, place, "sdist")
    with tarfile.open(archive) as content:
        names = content.getnames()
        for member in content:
            content.extract(member, place)
    top = archive.name[: -len(".tar.gz")]
    assert {f"{top}/LICENSE", f"{top}/README.md", f"{top}/setup.py"} <= set(names)
    one = build(backend, place, "wheel")
    (place / "again").mkdir()
    os.rename(place / top, place / "again" / "source")
    other = build(backend, place / "again", "wheel")
    assert zipfile.ZipFile(one).namelist() == zipfile.ZipFile(other).namelist()
