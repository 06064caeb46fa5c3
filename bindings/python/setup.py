"""Builds the wheel; everything else is in pyproject.toml.

OVL_WHEEL_LIBRARY=PATH puts that libovl.so.0 into the wheel, whose tag then says what it needs.
Without it the wheel is for every platform, and uses the system's library.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # before setuptools 70.1 it is wheel's
    from wheel.bdist_wheel import bdist_wheel

LIBRARY = os.environ.get("OVL_WHEEL_LIBRARY") or None

# What a manylinux wheel may ask of the system (PEP 600), of that which the library uses.
SYSTEM = re.compile(r"lib(c|m|gcc_s|pthread|dl|rt|util)\.so\.\d+|ld-linux[-\w]*\.so\.\d+")


def platform_tag(library: str) -> str:
    """The lowest glibc that has every symbol version that the library needs, as a manylinux tag; or
    the plain platform, which promises nothing, where that cannot be told."""
    plain = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    try:
        said = subprocess.run(
            ["objdump", "-p", library], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return plain
    needed = re.findall(r"^\s*NEEDED\s+(\S+)$", said, flags=re.M)
    versions = [
        (int(major), int(minor)) for major, minor in re.findall(r"\bGLIBC_(\d+)\.(\d+)\b", said)
    ]
    if not versions or not all(SYSTEM.fullmatch(name) for name in needed):
        return plain
    major, minor = max(versions)
    machine = plain[len("linux_") :]
    return f"manylinux_{major}_{minor}_{machine}"


class BuildWithLibrary(build_py):
    def run(self) -> None:
        super().run()
        if LIBRARY:
            place = Path(self.build_lib) / "ovl" / "lib" / "libovl.so.0"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(LIBRARY, place)
            # Debugging information is ten times the rest.
            if shutil.which("strip"):
                subprocess.run(["strip", "--strip-unneeded", place], check=True)

    def get_outputs(self, include_bytecode: bool = True) -> Any:
        library = [str(Path(self.build_lib) / "ovl" / "lib" / "libovl.so.0")] if LIBRARY else []
        return [*super().get_outputs(include_bytecode), *library]


class Platform(Distribution):
    """What is in the wheel belongs to one platform."""

    def has_ext_modules(self) -> bool:
        return LIBRARY is not None


class TaggedWheel(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        # It is no extension module: any Python 3 loads it.
        return ("py3", "none", platform_tag(LIBRARY)) if LIBRARY else ("py3", "none", "any")


if LIBRARY and not Path(LIBRARY).is_file():
    raise SystemExit(f"OVL_WHEEL_LIBRARY={LIBRARY}: there is no such file")

setup(distclass=Platform, cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": TaggedWheel})
