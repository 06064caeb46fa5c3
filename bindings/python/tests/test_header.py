"""The module against ovl.h: functions, structs, callbacks, constants; none missing, none wrong."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
from pathlib import Path

import pytest

from conftest import TOP, need
from ovl import _capi, _constants, _library

HEADER = Path(os.environ.get("OVL_HEADER", TOP / "include" / "ovl.h"))
TEXT = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)

POINTERS = {
    "ovl_store": _capi.StorePtr,
    "ovl_mnt": _capi.MntPtr,
    "ovl_iter": _capi.IterPtr,
    "ovl_cancel": _capi.CancelPtr,
    "ovl_error": _capi.ErrorPtr,
}
PLAIN = {
    "int": ctypes.c_int,
    "size_t": ctypes.c_size_t,
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "int64_t": ctypes.c_int64,
    "const char *": ctypes.c_char_p,
    "void *": ctypes.c_void_p,
    "const void *": ctypes.c_void_p,
    "void": None,
    "ovl_log_fn": _capi.LogFn,
    "ovl_progress_fn": _capi.ProgressFn,
    "ovl_read_fn": _capi.ReadFn,
    "ovl_write_fn": _capi.WriteFn,
}


def struct_class(name: str) -> type[ctypes.Structure]:
    camel = "".join(word.capitalize() for word in name[len("ovl_") :].split("_"))
    found: type[ctypes.Structure] = getattr(_capi, camel)
    return found


def ctype(text: str) -> object:
    """The ctypes of a C type."""
    text = re.sub(r"\s+", " ", text.replace("*", " * ")).replace("* *", "**").strip()
    if text in PLAIN:
        return PLAIN[text]
    match = re.fullmatch(r"(?:const )?(?:struct )?(\w+) (\*+)", text)
    assert match, text
    name, stars = match.groups()
    if name in POINTERS:
        pointer = POINTERS[name]
        return pointer if stars == "*" else ctypes.POINTER(pointer)
    if name in PLAIN:
        return ctypes.POINTER(PLAIN[name])  # type: ignore[type-var]
    return ctypes.POINTER(struct_class(name))


def parameter(text: str) -> object:
    """The ctypes of a parameter: its name is the last word."""
    text = text.strip()
    return ctype(re.sub(r"\w+$", "", text))


def functions() -> dict[str, tuple[object, list[object]]]:
    body = TEXT[TEXT.index('extern "C" {') :]
    found = {}
    for result, name, parameters in re.findall(
        r"^([\w ]+[ *])(ovl_\w+)\(([^)]*)\);", body, flags=re.M
    ):
        # cbindgen writes (void) for none.
        several = [] if parameters.strip() == "void" else parameters.split(",")
        found[name] = (ctype(result), [parameter(one) for one in several])
    return found


def structs() -> dict[str, list[str]]:
    """The members of each struct that has some, by the struct's name."""
    found = {}
    for name, body in re.findall(r"^struct (ovl_\w+) \{(.*?)^\};", TEXT, flags=re.M | re.S):
        found[name] = re.findall(r"(\w+)(?:\[\w+\])?;", body)
    return found


def constants() -> dict[str, int]:
    return {
        name: int(value)
        for name, value in re.findall(r"^#define (OVL_[A-Z0-9_]+) (\d+)$", TEXT, flags=re.M)
    }


def test_the_header_was_read() -> None:
    # Else a comparison of nothing with nothing would pass.
    assert len(functions()) >= 37
    assert len(structs()) >= 24
    assert len(constants()) >= 80


def wanted() -> dict[str, tuple[object, list[object]]]:
    """What the module declares: the header's functions, but for one that is taken as an address,
    as the string may hold a NUL."""
    found = functions()
    assert found["ovl_error_path"][0] is ctypes.c_char_p
    found["ovl_error_path"] = (ctypes.c_void_p, found["ovl_error_path"][1])
    return found


def test_functions() -> None:
    assert wanted() == _capi.PROTOTYPES


def test_functions_are_declared() -> None:
    for name, (result, arguments) in wanted().items():
        function = getattr(_capi.lib, name)
        assert function.restype == result, name
        assert list(function.argtypes) == arguments, name


def test_structs() -> None:
    for name, members in structs().items():
        fields = [field[0] for field in struct_class(name)._fields_]
        assert fields == members, name
    ours = {
        value
        for value in vars(_capi).values()
        if isinstance(value, type)
        and issubclass(value, ctypes.Structure)
        and value is not ctypes.Structure
    }
    assert ours == {struct_class(name) for name in structs()}


def test_layout(place: Path) -> None:
    """What a C compiler says of each member's offset and size, and of each struct's size."""
    need("cc")
    lines = []
    for name, members in structs().items():
        lines.append(f'printf("{name} %zu\\n", sizeof(struct {name}));')
        for member in members:
            where = f"offsetof(struct {name}, {member}), sizeof(((struct {name} *)0)->{member})"
            lines.append(f'printf("{name}.{member} %zu %zu\\n", {where});')
    source = place / "layout.c"
    source.write_text(
        '#include "ovl.h"\n#include <stdio.h>\nint main(void) {\n%s\nreturn 0; }\n'
        % "\n".join(lines)
    )
    program = place / "layout"
    subprocess.run(["cc", "-I", HEADER.parent, source, "-o", program], check=True)
    said = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    ours = []
    for name in structs():
        cls = struct_class(name)
        ours.append(f"{name} {ctypes.sizeof(cls)}")
        for field in cls._fields_:
            member = getattr(cls, field[0])
            ours.append(f"{name}.{field[0]} {member.offset} {member.size}")
    assert said.splitlines() == ours


CALLBACKS = {
    "ovl_log_fn": (None, [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_char_p]),
    "ovl_progress_fn": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.POINTER(_capi.Progress), ctypes.c_size_t],
    ),
    "ovl_read_fn": (ctypes.c_int64, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]),
    "ovl_write_fn": (ctypes.c_int64, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]),
}


def test_callbacks() -> None:
    found = {}
    for result, name, parameters in re.findall(
        r"typedef (\w+) \(\*(ovl_\w+)\)\(([^)]*)\);", TEXT, flags=re.S
    ):
        found[name] = (ctype(result), [parameter(one) for one in parameters.split(",")])
    assert found == CALLBACKS
    for name, (result, arguments) in found.items():
        cls = PLAIN[name]
        assert (cls._restype_, list(cls._argtypes_)) == (result, arguments), name  # type: ignore[union-attr]


# Each prefix of the header's constants, and the enumeration that has them without it. The longest
# prefix of a name is its own.
ENUMS = {
    "OVL_E_": _constants.Code,
    "OVL_STORE_": _constants.StoreFlag,
    "OVL_MARKS_": _constants.Marks,
    "OVL_LOG_": _constants.LogLevel,
    "OVL_CREATE_": _constants.CreateFlag,
    "OVL_APPLY_": _constants.ApplyFlag,
    "OVL_KIND_": _constants.Kind,
    "OVL_STATE_": _constants.State,
    "OVL_DURABILITY_": _constants.Durability,
    "OVL_COMMIT_": _constants.CommitFlag,
    "OVL_REMOVE_": _constants.RemoveFlag,
    "OVL_MOUNT_": _constants.MountFlag,
    "OVL_UNMOUNT_": _constants.UnmountFlag,
    "OVL_DIFF_": _constants.DiffFlag,
    "OVL_CHANGE_": _constants.ChangeKind,
    "OVL_COPY_": _constants.CopyFlag,
    "OVL_REFLINK_": _constants.Reflink,
    "OVL_IMPORT_": _constants.ImportFlag,
    "OVL_CONFIG_": _constants.ConfigItem,
}
# Where the header has flags and values under one prefix.
APART = {
    "OVL_SPEC_READ_ONLY": _constants.SpecFlag,
    "OVL_SPEC_OCI_JSON": _constants.SpecFlag,
    "OVL_SPEC_LONG": _constants.SpecFlag,
    "OVL_SPEC_": _constants.SpecItem,
    "OVL_CHECK_REPAIR": _constants.CheckFlag,
    "OVL_CHECK_": _constants.CheckKind,
}


def test_constants() -> None:
    found = constants()
    version = tuple(found.pop(f"OVL_VERSION_{part}") for part in ("MAJOR", "MINOR", "PATCH"))
    assert version == _library.HEADER_VERSION
    ours: dict[str, int] = {}
    for name in found:
        if name in APART:
            prefix, enum = name[: name.index("_", 4) + 1], APART[name]
        else:
            prefix = name[: name.index("_", 4) + 1]
            enum = {**ENUMS, **APART}[prefix]
        ours[name] = enum[name[len(prefix) :]].value
    assert ours == found
    members = sum(len(enum.__members__) for enum in {*ENUMS.values(), *APART.values()})
    assert members == len(found), "the module has constants that the header has not"


@pytest.mark.parametrize("name", sorted(_capi.PROTOTYPES))
def test_every_prototype_has_types(name: str) -> None:
    result, arguments = _capi.PROTOTYPES[name]
    assert result is None or isinstance(result, type)
    assert all(isinstance(argument, type) for argument in arguments)
