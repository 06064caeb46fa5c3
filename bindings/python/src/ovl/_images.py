"""Images: chains of layers that archives bring, with what they run."""

from __future__ import annotations

import os
from collections.abc import Iterator

from . import _capi, _streams
from ._base import StoreBase, watched
from ._call import ProgressFn
from ._constants import ConfigItem, Durability, ImportFlag, Kind
from ._items import Item
from ._making import NO_LIMITS
from ._streams import Source, Target
from ._text import Name, encode, encode_optional
from .cancel import CancelLike
from .results import Image, ImageEntry, ImageInfo, ImageLayer, Limits


class Images(StoreBase):
    """The calls on images. A name is 1 to 200 of `A-Z a-z 0-9 . _ - + @ /` and at most one colon,
    and begins with a letter or a digit."""

    def import_image(
        self,
        source: Source,
        name: Name,
        *,
        ref: str | None = None,
        platform: str | None = None,
        kind: Kind = Kind.DEFAULT,
        durability: Durability = Durability.DEFAULT,
        keep_blobs: bool = False,
        strict: bool = False,
        devices: bool = True,
        limits: Limits = NO_LIMITS,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> ImageInfo:
        """Makes the image `name` of an archive: an OCI layout, or what docker save writes.

        `source` is a directory, or the tar of one, plain or compressed by gzip or zstd: a path, a
        descriptor, a binary file object or an iterable of bytes. Nothing is fetched from anywhere.
        Every digest is verified. The layers are named by their chain IDs, and shared between
        images. The image appears, or takes the place of one of its name, at once; after a failure
        it is as it was.

        `ref` says which of several images, `platform` ("os/arch[/variant]") which one of an index.
        `keep_blobs` keeps the originals, so that an export is byte-exact. The rest is as for
        `apply`.

        Raises EINVAL where `ref` and `platform` mean no image, or several, and lists those that
        there are; EBADMSG for what is malformed or not what its digest says; EOPNOTSUPP for what
        is not handled; and what `apply` raises.
        """
        what = encode(name)
        call = watched(cancel, progress)
        flags = ImportFlag.KEEP_BLOBS if keep_blobs else ImportFlag(0)
        flags |= ImportFlag.STRICT if strict else ImportFlag(0)
        flags |= ImportFlag(0) if devices else ImportFlag.NO_DEVICES
        opts = _capi.ImageImportOpts(
            flags=flags,
            ref=encode_optional(ref),
            platform=encode_optional(platform),
            kind=kind,
            durability=durability,
            **limits._members(),
            **call.control(),
        )
        info = _capi.ImageInfo()
        with _streams.source(source, call) as fd:
            if fd < 0:
                opts.read, opts.read_user = _streams.on_read, call.key
            self._run(call, _capi.lib.ovl_image_import, what, fd, opts, info)
        return ImageInfo._of(info)

    def export_image(
        self,
        name: Name,
        target: Target,
        *,
        ref: str | None = None,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> ImageInfo:
        """Writes an image as an OCI layout: into `target` where that is a directory, which must be
        empty; else as a tar of one, to a path, a descriptor or a binary file object.

        `ref` is the reference in the layout; by default the tag of `name`, else "latest". An image
        that was imported with `keep_blobs` is written byte for byte; else its layer tars are made
        anew, and their digests differ from the originals'. The manifest and config that are told
        are those that were written.

        Raises FileNotFoundError; ENOTEMPTY; and what `diff` raises.
        """
        what = encode(name)
        call = watched(cancel, progress)
        opts = _capi.ImageExportOpts(ref=encode_optional(ref), **call.control())
        info = _capi.ImageInfo()
        with _streams.target(target, call, directory=True) as fd:
            if fd < 0:
                opts.write, opts.write_user = _streams.on_write, call.key
            self._run(call, _capi.lib.ovl_image_export, what, fd, opts, info)
        return ImageInfo._of(info)

    def images(self) -> Iterator[ImageEntry]:
        """The images, by name. One that is damaged is left out, and told by `check`."""
        opts = _capi.ImageListOpts()
        return self._list(self._short(), _entry, _capi.lib.ovl_image_list, opts)

    def image(self, name: Name) -> Image:
        """What an image runs, and its layers. FileNotFoundError where it is not there."""
        what = encode(name)
        info = _capi.ImageInfo()
        opts = _capi.ImageStatOpts()
        self._run(self._short(), _capi.lib.ovl_image_stat, what, opts, info)
        said: dict[int, list[Item]] = {kind: [] for kind in ConfigItem}
        function = _capi.lib.ovl_image_config
        for item in self._list(self._short(), _same, function, what, _capi.ImageConfigOpts()):
            said.setdefault(item.what, []).append(item)

        def words(kind: ConfigItem) -> tuple[str, ...]:
            return tuple(os.fsdecode(item.name) for item in said[kind])

        return Image(
            name=os.fsdecode(what),
            info=ImageInfo._of(info),
            config_json=b"".join(item.name for item in said[ConfigItem.JSON]),
            env=words(ConfigItem.ENV),
            entrypoint=words(ConfigItem.ENTRYPOINT),
            cmd=words(ConfigItem.CMD),
            working_dir="".join(words(ConfigItem.WORKING_DIR)),
            user="".join(words(ConfigItem.USER)),
            labels={
                os.fsdecode(item.detail): os.fsdecode(item.name) for item in said[ConfigItem.LABEL]
            },
            layers=tuple(
                ImageLayer(os.fsdecode(item.name), os.fsdecode(item.detail))
                for item in said[ConfigItem.LAYER]
            ),
        )

    def remove_image(
        self,
        name: Name,
        *,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> None:
        """Removes an image, and those of its layers that no other image lists, that no layer is
        built on, and that are not in use. FileNotFoundError where it is not there."""
        call = watched(cancel, progress)
        opts = _capi.ImageRemoveOpts(**call.control())
        self._run(call, _capi.lib.ovl_image_remove, encode(name), opts)


def _entry(item: Item) -> ImageEntry:
    return ImageEntry(os.fsdecode(item.name), os.fsdecode(item.detail) or None, item.what)


def _same(item: Item) -> Item:
    return item
