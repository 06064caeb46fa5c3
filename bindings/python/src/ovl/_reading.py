"""Looking at layers, and comparing them."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from ctypes import byref, c_uint64
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Union, overload

from . import _capi, _streams
from ._base import StoreBase, watched
from ._call import Call, ProgressFn
from ._constants import ChangeKind, DiffFlag
from ._items import Item
from ._streams import Target
from ._text import Name, encode, encode_optional
from .cancel import CancelLike
from .diffstream import DiffStream
from .results import Change, LayerInfo

if TYPE_CHECKING:
    from .layer import Layer

Clamp = Union[int, datetime.datetime]
"""A time: nanoseconds since 1970, or a datetime, which must have a time zone."""


class Reading(StoreBase):
    """The calls that change nothing."""

    def list(self) -> Iterator[str]:
        """The ids of the layers, in the order of bytes: those of one moment."""
        return self._list(self._short(), _name, _capi.lib.ovl_list, _capi.ListOpts())

    def layers(self) -> Iterator[Layer]:
        """The layers, in the order of their ids."""
        from .layer import Layer

        return (Layer(self, id) for id in self.list())

    def __iter__(self) -> Iterator[str]:
        return self.list()

    def exists(self, id: Name) -> bool:
        """Whether the layer is there. EINVAL for what cannot be an id."""
        return self._run(self._short(), _capi.lib.ovl_exists, encode(id), _capi.ExistsOpts()) > 0

    def __contains__(self, id: object) -> bool:
        return isinstance(id, (str, bytes)) and self.exists(id)

    def stat(self, id: Name) -> LayerInfo:
        """What is known of a layer. FileNotFoundError where it is not there."""
        info = _capi.LayerInfo()
        self._run(self._short(), _capi.lib.ovl_stat, encode(id), info)
        return LayerInfo._of(info)

    @overload
    def diff(
        self,
        id: Name,
        target: None = None,
        *,
        parent: Name | None = None,
        strict: bool = False,
        sparse: bool = False,
        clamp: Clamp | None = None,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> DiffStream: ...

    @overload
    def diff(
        self,
        id: Name,
        target: Target,
        *,
        parent: Name | None = None,
        strict: bool = False,
        sparse: bool = False,
        clamp: Clamp | None = None,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> LayerInfo: ...

    def diff(
        self,
        id: Name,
        target: Target | None = None,
        *,
        parent: Name | None = None,
        strict: bool = False,
        sparse: bool = False,
        clamp: Clamp | None = None,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> LayerInfo | DiffStream:
        """Writes the layer tar that leads from `parent` to `id`, uncompressed, to `target`, and
        tells its diff ID and size.

        `parent` None is the layer's own parent, `NOTHING` is nothing: the whole tree. Equal trees
        give equal bytes. `target` is a path, a descriptor or a binary file object; a regular file
        is replaced when the diff is complete, and left as it was when it fails. Without a target
        the diff is a file object to read from.

        What a tar cannot say is left out and counted, and refused with `strict`. `sparse` keeps
        holes; else files are written dense. No time is later than `clamp`.

        Raises FileNotFoundError; EBUSY where somebody works on the layer; BrokenPipeError, and no
        signal, where the reader of `target` went away; and what `target` raises, as it is.
        """
        name, below = encode(id), encode_optional(parent)
        call = Call(cancel, progress, piped=target is None and cancel is None)
        opts = _capi.DiffOpts(**call.control())
        opts.flags = (DiffFlag.STRICT if strict else 0) | (DiffFlag.SPARSE if sparse else 0)
        if clamp is not None:
            opts.flags |= DiffFlag.CLAMP
            seconds, opts.clamp_nsec = divmod(_nanoseconds(clamp), 1_000_000_000)
            if not -(1 << 63) <= seconds < 1 << 63:
                raise ValueError("a time to clamp to is 64 bits of seconds")
            opts.clamp_sec = seconds
        info = _capi.LayerInfo()

        def write_to(fd: int) -> LayerInfo:
            if fd < 0:
                opts.write, opts.write_user = _streams.on_write, call.key
            self._run(call, _capi.lib.ovl_diff, name, below, fd, opts, info)
            return LayerInfo._of(info)

        if target is None:
            return DiffStream(write_to, call, self._handle)
        with _streams.target(target, call) as fd:
            return write_to(fd)

    def changes(
        self,
        id: Name,
        parent: Name | None = None,
        *,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> Iterator[Change]:
        """What leads from `parent` to `id`, in the order of the paths. `parent` is as in `diff`."""
        call = watched(cancel, progress)
        opts = _capi.ChangesOpts(**call.control())
        function = _capi.lib.ovl_changes
        return self._list(call, _change, function, encode(id), encode_optional(parent), opts)

    def diff_size(
        self,
        id: Name,
        parent: Name | None = None,
        *,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> int:
        """How many bytes of files lead from `parent` to `id`. `parent` is as for `diff`."""
        call = watched(cancel, progress)
        opts = _capi.DiffSizeOpts(**call.control())
        size = c_uint64()
        function = _capi.lib.ovl_diff_size
        self._run(call, function, encode(id), encode_optional(parent), opts, byref(size))
        return size.value


def _name(item: Item) -> str:
    return os.fsdecode(item.name)


def _change(item: Item) -> Change:
    return Change(ChangeKind(item.what), PurePosixPath(os.fsdecode(item.name)))


def _nanoseconds(time: Clamp) -> int:
    if isinstance(time, int):
        return time
    if time.tzinfo is None:
        raise ValueError("a time to clamp to has a time zone")
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return (time - epoch) // datetime.timedelta(microseconds=1) * 1000
