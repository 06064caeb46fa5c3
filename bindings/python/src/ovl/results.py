"""What calls tell."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass, fields
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from . import _capi
from ._constants import ChangeKind, CheckKind, Kind, State
from ._text import text_of

_NS = 1_000_000_000


def to_datetime(ns: int) -> datetime.datetime:
    """A time in nanoseconds since 1970 as a datetime in UTC, cut to microseconds."""
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return epoch + datetime.timedelta(microseconds=ns // 1000)


@dataclass(frozen=True)
class LayerInfo:
    """What is known of a layer."""

    id: str
    parent: str | None
    """The layer that it is built on."""
    diff_id: str | None
    """"sha256:" and 64 digits: the digest of the uncompressed layer tar, where it is known."""
    blob_digest: str | None
    """The digest of the bytes that it was applied from, compressed or not, where it is known."""
    copied_from: str | None
    """The layer whose changes this one began with."""
    kind: Kind
    state: State
    size: int
    """Bytes of its own: regular files and targets of symbolic links, each link group once."""
    entries: int
    """Entries of its own."""
    tar_size: int
    """Bytes of the uncompressed layer tar, where a tar was read or written."""
    blob_size: int
    """Bytes that it was applied from."""
    created_ns: int
    """When it was made, in nanoseconds since 1970."""
    lowers: int
    """How many layers it lies on."""
    mounted: bool
    """Whether it is mounted, or a mount handle is open."""
    unclean: bool
    """Whether the machine went down while it was mounted writable."""
    skipped_devices: int
    """Left out by the call that told this: device nodes that could not be made."""
    skipped_owners: int
    """Left out: owners that could not be set."""
    skipped_xattrs: int
    """Left out: extended attributes that could not be set, or, of a diff, that are overlayfs's."""
    skipped_sockets: int
    """Left out: sockets, which a tar cannot say."""
    skipped_names: int
    """Left out: files whose names begin with ".wh."."""

    @property
    def created(self) -> datetime.datetime:
        """When it was made, in UTC, cut to microseconds."""
        return to_datetime(self.created_ns)

    @property
    def committed(self) -> bool:
        """Whether it never changes again."""
        return self.state is State.COMMITTED

    @classmethod
    def _of(cls, info: _capi.LayerInfo) -> LayerInfo:
        return cls(
            id=text_of(info.id) or "",
            parent=text_of(info.parent),
            diff_id=text_of(info.diff_id),
            blob_digest=text_of(info.blob_digest),
            copied_from=text_of(info.copied_from),
            kind=Kind(info.kind),
            state=State(info.state),
            size=info.size,
            entries=info.entries,
            tar_size=info.tar_size,
            blob_size=info.blob_size,
            created_ns=info.created_sec * _NS + info.created_nsec,
            lowers=info.lowers,
            mounted=bool(info.mounted),
            unclean=bool(info.unclean),
            skipped_devices=info.skipped_devices,
            skipped_owners=info.skipped_owners,
            skipped_xattrs=info.skipped_xattrs,
            skipped_sockets=info.skipped_sockets,
            skipped_names=info.skipped_names,
        )


@dataclass(frozen=True)
class ImageInfo:
    """What is known of an image."""

    layer: str | None
    """The id of its topmost layer, which a container is created over; None where it has none."""
    manifest: str | None
    """"sha256:" and 64 digits: the manifest that it was imported from, where there was one."""
    config: str | None
    """"sha256:" and 64 digits: the config, which is the image ID."""
    size: int
    """Bytes: the sizes of its layers, as `LayerInfo.size` counts them."""
    layers: int
    """How many layers it has."""
    created_ns: int
    """When it was imported, in nanoseconds since 1970."""
    blobs: bool
    """Whether the blobs are kept as they came."""
    skipped_devices: int
    """Left out by the import that told this: device nodes that could not be made."""
    skipped_owners: int
    skipped_xattrs: int
    made: int
    """Layers that this import made; the others were there."""

    @property
    def created(self) -> datetime.datetime:
        """When it was imported, in UTC, cut to microseconds."""
        return to_datetime(self.created_ns)

    @classmethod
    def _of(cls, info: _capi.ImageInfo) -> ImageInfo:
        return cls(
            layer=text_of(info.layer),
            manifest=text_of(info.manifest),
            config=text_of(info.config),
            size=info.size,
            layers=info.layers,
            created_ns=info.created_sec * _NS + info.created_nsec,
            blobs=bool(info.blobs),
            skipped_devices=info.skipped_devices,
            skipped_owners=info.skipped_owners,
            skipped_xattrs=info.skipped_xattrs,
            made=info.made,
        )


class ImageEntry(NamedTuple):
    """One image of a list."""

    name: str
    layer: str | None
    """The id of its topmost layer."""
    layers: int
    """How many layers it has."""


class ImageLayer(NamedTuple):
    """One layer of an image."""

    id: str
    diff_id: str


@dataclass(frozen=True)
class Image:
    """An image: what it runs, and its layers."""

    name: str
    info: ImageInfo
    config_json: bytes
    """The config as it came, byte for byte; `config` is what it says."""
    env: tuple[str, ...]
    """Each is "KEY=value"."""
    entrypoint: tuple[str, ...]
    """The words with which the command begins."""
    cmd: tuple[str, ...]
    """The words of the rest of the command."""
    working_dir: str
    user: str
    """Whom the command runs as: "user", "uid", "user:group" or "uid:gid"; "" for nothing said."""
    labels: dict[str, str]
    layers: tuple[ImageLayer, ...]
    """The lowest first."""

    @property
    def config(self) -> Any:
        """The config as it is parsed: an OCI image configuration."""
        return json.loads(self.config_json)

    @property
    def command(self) -> tuple[str, ...]:
        """What runs by default: the entrypoint and the command."""
        return self.entrypoint + self.cmd


class Change(NamedTuple):
    """One path that differs."""

    kind: ChangeKind
    path: PurePosixPath
    """In the layer, from "/". `os.fsencode()` gives its bytes back."""


class Capability(NamedTuple):
    """One thing that a store can do here, or cannot."""

    name: str
    ok: bool
    reason: str
    """Why not, or ""."""


class Finding(NamedTuple):
    """One thing that a check found."""

    kind: CheckKind
    place: str
    """The layer or the path."""
    what: str
    """The kind of damage: words that stay as they are."""
    detail: str
    """The damage in words."""


@dataclass(frozen=True)
class Usage:
    """What a layer, or a whole store, takes on the disk. Each inode counts once. It is the layer's
    own when all its names are in the layer's directory, else shared."""

    own_bytes: int
    """Bytes on the disk of its own: what removing the layer gives back."""
    shared_bytes: int
    """Bytes on the disk of what it shares."""
    own_inodes: int
    shared_inodes: int
    own_size: int
    """Lengths of files and of targets of symbolic links of its own, together."""
    shared_size: int


@dataclass(frozen=True)
class CleanupStats:
    """What a cleanup did."""

    removed: int
    """Remains that were removed."""
    busy: int
    """Remains that are in use, or cannot be removed now; the log tells which."""
    unmounted: int
    """Mounts that a killed process left behind, and that were ended."""
    dropped: int
    """Small things taken out of layers."""
    left: int
    """What there was no time for; 0 is all done."""


@dataclass(frozen=True)
class CopyStats:
    """What a copy did."""

    entries: int
    """Entries of the source, its root included."""
    directories: int
    copied: int
    """Regular files whose content was copied."""
    reflinked: int
    """Regular files whose content is shared."""
    linked: int
    """Names linked to an inode of the source."""
    grouped: int
    """Names linked to an inode that the copy made, as they are in the source."""
    bytes: int
    """Bytes of files copied or shared, holes included."""
    link_fallbacks: int
    """Names that could not be linked, and were copied."""
    mounts_skipped: int
    """Other mounts in the source, which were not entered."""
    vanished: int
    """Names that vanished, and files that changed, while the source was read."""
    skipped_owners: int
    skipped_xattrs: int
    skipped_devices: int


class MountSpec(NamedTuple):
    """How a layer is mounted, for mount(8) or a runtime."""

    type: str
    source: str
    options: tuple[str, ...]


class Limits(NamedTuple):
    """What applying a layer may take; reaching one is EFBIG. 0 is the library's own limit."""

    size: int = 0
    """Bytes of the uncompressed tar; 64 GiB."""
    entries: int = 0
    """Entries; 16,777,216."""
    meta: int = 0
    """Bytes of one header of an entry; 1 MiB."""
    xattrs: int = 0
    """Bytes of the extended attributes of one entry; 1 MiB."""
    path: int = 0
    """Bytes of one path; 64 KiB as it is written, 16 KiB as it is on the disk."""
    zstd_window_log: int = 0
    """The window of a zstd stream, as a power of two; 27, at most 31."""

    def _members(self) -> dict[str, int]:
        """As the members of an option struct. ctypes would cut what does not fit."""
        for name, value in zip(self._fields, self):
            highest = 31 if name == "zstd_window_log" else (1 << 64) - 1
            if not 0 <= value <= highest:
                raise ValueError(f"a limit is 0 to {highest}, and {name} is {value}")
        return {
            "max_size": self.size,
            "max_entries": self.entries,
            "max_meta": self.meta,
            "max_xattrs": self.xattrs,
            "max_path": self.path,
            "zstd_window_log": self.zstd_window_log,
        }


def plain(cls: Any, struct: object) -> dict[str, int]:
    """The members of a result struct that are those of a dataclass."""
    return {field.name: getattr(struct, field.name) for field in fields(cls)}
