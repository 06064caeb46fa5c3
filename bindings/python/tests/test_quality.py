"""mypy and ruff have nothing to say, and Python 3.9 can read all of it."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import ovl
from conftest import HERE, need

ALL = sorted([*(HERE.parent / "src").rglob("*.py"), *HERE.glob("*.py"), HERE.parent / "setup.py"])


def test_mypy() -> None:
    need("python3-mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir=/dev/null", "--no-error-summary"],
        cwd=HERE.parent,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.returncode) == ("", 0), done.stderr


def test_ruff() -> None:
    need("python3-ruff")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "."],
        cwd=HERE.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_grammar_is_that_of_3_9() -> None:
    assert len(ALL) > 20
    for path in ALL:
        ast.parse(path.read_text(), str(path), feature_version=(3, 9))


def test_everything_public_is_described() -> None:
    for name in ovl.__all__:
        what = getattr(ovl, name)
        if isinstance(what, type) or inspect.isfunction(what):
            assert what.__doc__, name
        for member, value in vars(what).items() if isinstance(what, type) else ():
            if callable(value) and not member.startswith("_"):
                described = any(
                    getattr(vars(cls).get(member), "__doc__", None) for cls in what.__mro__
                )
                assert described, f"{name}.{member}"


def test_files_are_small() -> None:
    for path in ALL:
        assert len(path.read_text().splitlines()) <= 420, path


def test_py_typed() -> None:
    assert (Path(ovl.__file__).parent / "py.typed").exists()
