"""Which library is used, and that a wrong one is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ovl
from conftest import lacks, need

LIBRARY = ovl.library().path
SAYS = "import ovl; print(*ovl.library())"


def run(code: str, package: Path | None = None, **environment: str) -> tuple[str, str]:
    """What a fresh Python says, with no library named unless it is here."""
    rest = {
        name: value
        for name, value in os.environ.items()
        if name not in ("OVL_LIBRARY", "LD_LIBRARY_PATH")
    }
    if package is not None:
        rest["PYTHONPATH"] = str(package)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**rest, **environment}
    )
    return done.stdout.strip(), done.stderr


def test_this_one() -> None:
    assert LIBRARY.is_file()
    assert ovl.library().version == ovl.__version__


def test_by_environment(place: Path) -> None:
    copy = place / "any name.so"
    shutil.copy(LIBRARY, copy)
    out, err = run(SAYS, OVL_LIBRARY=str(copy))
    assert out == f"{copy} OVL_LIBRARY {ovl.__version__}", err


def test_by_soname(place: Path) -> None:
    shutil.copy(LIBRARY, place / "libovl.so.0")
    out, err = run(SAYS, LD_LIBRARY_PATH=str(place))
    if " wheel " in out:
        pytest.skip("the module is one that holds the library")
    assert out == f"{place}/libovl.so.0 system {ovl.__version__}", err


def test_in_the_wheel(place: Path) -> None:
    """The module's own copy is taken before the system's."""
    shutil.copytree(Path(ovl.__file__).parent, place / "ovl", dirs_exist_ok=True)
    (place / "ovl" / "lib").mkdir(exist_ok=True)
    own = place / "ovl" / "lib" / "libovl.so.0"
    shutil.copy(LIBRARY, own)
    out, err = run(SAYS, place, LD_LIBRARY_PATH=str(LIBRARY.parent))
    assert out == f"{own} wheel {ovl.__version__}", err
    out, err = run(SAYS, place, OVL_LIBRARY=str(LIBRARY))
    assert out == f"{LIBRARY} OVL_LIBRARY {ovl.__version__}", err


def test_none(place: Path) -> None:
    out, err = run(SAYS)
    if out:
        lacks("a system without libovl.so.0", out)
    assert "ImportError: ovl: cannot load libovl.so.0" in err
    assert "OVL_LIBRARY" in err


def test_a_wrong_one_is_refused(place: Path) -> None:
    need("cc")
    for text, words in (
        ("int other(void) { return 0; }", "is not libovl"),
        ('const char *ovl_version(void) { return "0.0.9"; }', "is libovl 0.0.9; this module needs"),
        ('const char *ovl_version(void) { return "x"; }', "is not libovl"),
        ('const char *ovl_version(void) { return "99.1.0-rc1"; }', "lacks ovl_error_errno"),
    ):
        (place / "wrong.c").write_text(text)
        wrong = place / "wrong.so"
        subprocess.run(["cc", "-shared", "-fPIC", place / "wrong.c", "-o", wrong], check=True)
        out, err = run(SAYS, OVL_LIBRARY=str(wrong))
        assert not out
        assert words in err.splitlines()[-1]
        wrong.unlink()
    out, err = run(SAYS, OVL_LIBRARY="/none/libovl.so.0")
    assert "it is what the environment variable OVL_LIBRARY names" in err
