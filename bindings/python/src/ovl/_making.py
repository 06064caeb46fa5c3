"""Making layers and removing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _capi, _streams
from ._base import StoreBase, watched
from ._call import ProgressFn
from ._constants import ApplyFlag, CommitFlag, CreateFlag, Durability, Kind, RemoveFlag
from ._streams import Source
from ._text import Name, encode, encode_optional
from .cancel import CancelLike
from .results import LayerInfo, Limits

if TYPE_CHECKING:
    from .layer import Layer

NO_LIMITS = Limits()


class Making(StoreBase):
    """The calls that make, change and remove layers."""

    def layer(self, id: Name) -> Layer:
        """The layer of that id, there or not yet: the disk is not looked at."""
        from .layer import Layer

        return Layer(self, encode(id).decode("utf-8", "surrogateescape"))

    def create(
        self,
        id: Name,
        parent: Name | None = None,
        *,
        live: bool = False,
        flat: bool = False,
        sync: bool = False,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> Layer:
        """Makes the writable layer `id` on `parent`, or on nothing.

        On nothing it is an empty tree, on a committed layer a set of changes, empty yet; a writable
        root layer is committed for that. On a writable overlay layer it begins with a copy of that
        layer's changes; `live` accepts that it moves while it is copied. `flat` makes a committed
        root layer of the parent's merged tree, by hard links. With `sync` the layer is on the disk
        when the call returns.

        Raises FileExistsError; FileNotFoundError where the parent is not there; EINVAL for what
        cannot be an id; EBUSY where the parent is in use; EMLINK where the chain is too long
        without `flat`.
        """
        call = watched(cancel, progress)
        flags = CreateFlag.LIVE if live else CreateFlag(0)
        flags |= CreateFlag.FLAT if flat else CreateFlag(0)
        flags |= CreateFlag.SYNC if sync else CreateFlag(0)
        opts = _capi.CreateOpts(flags=flags, **call.control())
        self._run(call, _capi.lib.ovl_create, encode(id), encode_optional(parent), opts)
        return self.layer(id)

    def apply(
        self,
        id: Name,
        source: Source,
        *,
        parent: Name | None = None,
        kind: Kind = Kind.DEFAULT,
        diff_id: str | None = None,
        durability: Durability = Durability.DEFAULT,
        writable: bool = False,
        strict: bool = False,
        devices: bool = True,
        existing: bool = False,
        limits: Limits = NO_LIMITS,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> LayerInfo:
        """Applies a layer tar, plain, gzip or zstd, to the layer `id`, and tells what it made.

        `source` is a path, a descriptor, a binary file object or an iterable of bytes. What is no
        path is read from where it stands, and stays open.

        If `id` is not there, it is made on `parent`, and all of it appears at once; after a failure
        it is not there. If it is there, it must be writable, empty and not mounted; after a failure
        it is as it was. Then it is committed and on the disk, unless `writable` or `durability` say
        otherwise. With `diff_id` ("sha256:" and 64 digits) the tar must be that one.

        What cannot be done (device nodes, owners, attributes that the caller may not set) is left
        out and counted, and refused with `strict`. `devices=False` leaves out all device nodes.
        With `existing` no layer is made: FileNotFoundError where it is not there.

        Raises EBADMSG where the tar is malformed, cut short or another one; EXDEV where a path
        leaves the layer; EFBIG where a limit is reached; FileExistsError; FileNotFoundError where
        the parent is not there; EROFS where the layer is committed; ENOTEMPTY; EBUSY; and what
        `source` raises, as it is.
        """
        name = encode(id)
        call = watched(cancel, progress)
        flags = ApplyFlag.WRITABLE if writable else ApplyFlag(0)
        flags |= ApplyFlag.STRICT if strict else ApplyFlag(0)
        flags |= ApplyFlag(0) if devices else ApplyFlag.NO_DEVICES
        flags |= ApplyFlag.EXISTING if existing else ApplyFlag(0)
        opts = _capi.ApplyOpts(
            flags=flags,
            parent=encode_optional(parent),
            diff_id=encode_optional(diff_id),
            kind=kind,
            durability=durability,
            **limits._members(),
            **call.control(),
        )
        info = _capi.LayerInfo()
        with _streams.source(source, call) as fd:
            if fd < 0:
                opts.read, opts.read_user = _streams.on_read, call.key
            self._run(call, _capi.lib.ovl_apply_layer, name, fd, opts, info)
        return LayerInfo._of(info)

    def commit(
        self,
        id: Name,
        *,
        durability: Durability = Durability.DEFAULT,
        salvage: bool = False,
        mounted: bool = False,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> None:
        """Commits a writable layer: it never changes again, and others may be built on it.

        A layer that was mounted writable when the machine went down is EUCLEAN; `salvage` accepts
        what it holds now. With `mounted` it may be mounted, by whoever: the caller sees to it that
        nobody writes to it any more.

        Raises FileNotFoundError; EROFS where it is committed already; EBUSY where it is mounted or
        in use.
        """
        call = watched(cancel, progress)
        flags = CommitFlag.SALVAGE if salvage else CommitFlag(0)
        flags |= CommitFlag.MOUNTED if mounted else CommitFlag(0)
        opts = _capi.CommitOpts(flags=flags, durability=durability, **call.control())
        self._run(call, _capi.lib.ovl_commit, encode(id), opts)

    def remove(
        self,
        id: Name,
        *,
        defer: bool = False,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> None:
        """Removes a layer. It is gone at once; deleting its files takes time, and `defer`, or a
        cancel, leaves them for `cleanup()`.

        Raises FileNotFoundError; EBUSY where it is mounted, in use, or has layers built on it.
        """
        call = watched(cancel, progress)
        opts = _capi.RemoveOpts(flags=RemoveFlag.DEFER if defer else 0, **call.control())
        self._run(call, _capi.lib.ovl_remove, encode(id), opts)
