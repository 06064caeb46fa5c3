"""Mounting layers."""

from __future__ import annotations

import json
import os
from ctypes import byref
from typing import Any, TypeVar

from . import _capi
from ._base import StoreBase
from ._constants import MountFlag, SpecFlag, SpecItem, UnmountFlag
from ._handle import Handle
from ._items import Item
from ._text import Name, PathLike, encode, encode_optional
from .mount import DetachedMount, Mount, MountHandle
from .results import MountSpec

M = TypeVar("M", bound=MountHandle)


class Mounting(StoreBase):
    """The calls that mount and unmount."""

    def mount(
        self,
        id: Name,
        target: PathLike | None = None,
        *,
        read_only: bool = False,
        keep: bool = False,
        volatile: bool = False,
        label: str | None = None,
    ) -> Mount:
        """Mounts a layer, the merged tree of it and all below it, at the directory `target` or at a
        place in the store.

        A layer that is mounted there already, in this mount namespace and with the same options,
        gives the mount there is. A committed layer is mounted with `read_only` alone. With `keep`
        the mount stays until somebody unmounts it. A `volatile` one never syncs: for layers that
        are thrown away. `label` is an SELinux label for every file.

        Raises FileNotFoundError; EROFS where the layer is committed; EBUSY where it is mounted
        otherwise or elsewhere; PermissionError where the caller may not mount.
        """
        flags = MountFlag.KEEP if keep else MountFlag(0)
        return self._mount(Mount, id, target, label, flags, read_only, volatile)

    def mount_detached(
        self,
        id: Name,
        *,
        read_only: bool = False,
        volatile: bool = False,
        label: str | None = None,
    ) -> DetachedMount:
        """Mounts a layer at no path: the mount is a descriptor, for the calls that take `dir_fd`,
        for move_mount(2), or for another process."""
        return self._mount(DetachedMount, id, None, label, MountFlag.DETACHED, read_only, volatile)

    def _mount(
        self,
        cls: type[M],
        id: Name,
        target: PathLike | None,
        label: str | None,
        flags: MountFlag,
        read_only: bool,
        volatile: bool,
    ) -> M:
        flags |= MountFlag.READ_ONLY if read_only else MountFlag(0)
        flags |= MountFlag.VOLATILE if volatile else MountFlag(0)
        opts = _capi.MountOpts(
            flags=flags, target=encode_optional(target), label=encode_optional(label)
        )
        handle = Handle("mount", _capi.MntPtr(), _capi.lib.ovl_mnt_free)
        handle.cell.log = self._handle.cell.log
        call = self._short()
        try:
            function = _capi.lib.ovl_mount
            self._run(call, function, encode(id), opts, byref(handle.cell))
            return cls(handle, bool(flags & MountFlag.KEEP), self._log is not None)
        except BaseException:
            # It may have been made, and then a callback or a signal's handler raised.
            if call.over and handle.cell:
                handle.free_by(_capi.lib.ovl_unmount, None, 0, None)
            raise

    def unmount(self, id_or_path: PathLike, *, lazy: bool = False) -> None:
        """Ends the kept mounts of a layer, given by its id, or the one at a path, which has a slash
        in it, whoever made them. EINVAL where it is not mounted, EBUSY where handles or files on it
        are open."""
        opts = _capi.UnmountOpts(flags=UnmountFlag.LAZY if lazy else 0)
        self._run(self._short(), _capi.lib.ovl_unmount_at, encode(id_or_path), opts)

    def mount_spec(
        self, id: Name, *, read_only: bool = False, label: str | None = None
    ) -> MountSpec:
        """How a layer is mounted, for mount(8) or containerd; mounts nothing. The caller sees to it
        that the layer is neither committed nor removed meanwhile."""
        opts = _capi.SpecOpts(
            flags=SpecFlag.READ_ONLY if read_only else 0, label=encode_optional(label)
        )
        said: dict[int, list[str]] = {what: [] for what in SpecItem}
        for item in self._spec(id, opts):
            said.setdefault(item.what, []).append(os.fsdecode(item.name))
        return MountSpec(
            "".join(said[SpecItem.TYPE]),
            "".join(said[SpecItem.SOURCE]),
            tuple(said[SpecItem.OPTION]),
        )

    def oci_mount(
        self,
        id: Name,
        destination: PathLike | None = None,
        *,
        read_only: bool = False,
        label: str | None = None,
    ) -> dict[str, Any]:
        """The same as an entry of `mounts` in an OCI runtime's configuration. `destination` is
        where the layer goes in the container, "/" by default."""
        opts = _capi.SpecOpts(
            flags=SpecFlag.OCI_JSON | (SpecFlag.READ_ONLY if read_only else 0),
            label=encode_optional(label),
            destination=encode_optional(destination),
        )
        entry: dict[str, Any] = {}
        for item in self._spec(id, opts):
            entry = json.loads(item.name)
        return entry

    def _spec(self, id: Name, opts: _capi.SpecOpts) -> Any:
        return self._list(self._short(), _same, _capi.lib.ovl_mount_spec, encode(id), opts)


def _same(item: Item) -> Item:
    return item
