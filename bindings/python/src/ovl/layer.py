"""A layer as an object: its store and its id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast, overload

from ._call import ProgressFn
from ._constants import Durability
from ._streams import Target
from ._text import Name, PathLike
from .cancel import CancelLike
from .diffstream import DiffStream
from .results import Change, LayerInfo, Usage

if TYPE_CHECKING:
    from ._reading import Clamp
    from .mount import DetachedMount, Mount
    from .store import Store


class Layer:
    """A layer of a store, by its id: nothing is known of it before it is asked. The
    arguments of its methods are those of the store's."""

    __slots__ = ("id", "store")

    def __init__(self, store: Any, id: str) -> None:
        self.store = cast("Store", store)
        self.id = id

    def exists(self) -> bool:
        """Whether it is there."""
        return self.store.exists(self.id)

    def stat(self) -> LayerInfo:
        """What is known of it."""
        return self.store.stat(self.id)

    @property
    def parent(self) -> Layer | None:
        """The layer that it is built on."""
        parent = self.stat().parent
        return None if parent is None else Layer(self.store, parent)

    def mount(
        self,
        target: PathLike | None = None,
        *,
        read_only: bool = False,
        keep: bool = False,
        volatile: bool = False,
        label: str | None = None,
    ) -> Mount:
        """Mounts it: `with layer.mount() as path: ...`"""
        return self.store.mount(
            self.id, target, read_only=read_only, keep=keep, volatile=volatile, label=label
        )

    def mount_detached(
        self, *, read_only: bool = False, volatile: bool = False, label: str | None = None
    ) -> DetachedMount:
        """Mounts it at no path: `with layer.mount_detached() as fd: ...`"""
        return self.store.mount_detached(
            self.id, read_only=read_only, volatile=volatile, label=label
        )

    def changes(
        self,
        parent: Name | None = None,
        *,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> Iterator[Change]:
        """What leads from its parent, or another one, to it."""
        return self.store.changes(self.id, parent, cancel=cancel, progress=progress)

    @overload
    def diff(
        self,
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
        target: Target,
        *,
        parent: Name | None = None,
        strict: bool = False,
        sparse: bool = False,
        clamp: Clamp | None = None,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> LayerInfo: ...

    def diff(self, target: Target | None = None, **how: Any) -> LayerInfo | DiffStream:
        """Its layer tar, to `target` or as a file object to read from."""
        return self.store.diff(self.id, target, **how)

    def diff_size(
        self,
        parent: Name | None = None,
        *,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> int:
        """How many bytes of files lead from its parent, or another one, to it."""
        return self.store.diff_size(self.id, parent, cancel=cancel, progress=progress)

    def usage(
        self, *, cancel: CancelLike | None = None, progress: ProgressFn | None = None
    ) -> Usage:
        """What it takes on the disk."""
        return self.store.usage(self.id, cancel=cancel, progress=progress)

    def commit(
        self,
        *,
        durability: Durability = Durability.DEFAULT,
        salvage: bool = False,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> None:
        """Commits it: it never changes again."""
        self.store.commit(
            self.id, durability=durability, salvage=salvage, cancel=cancel, progress=progress
        )

    def remove(
        self,
        *,
        defer: bool = False,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> None:
        """Removes it."""
        self.store.remove(self.id, defer=defer, cancel=cancel, progress=progress)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Layer):
            return NotImplemented
        return self.store is other.store and self.id == other.id

    def __hash__(self) -> int:
        return hash((id(self.store), self.id))

    def __repr__(self) -> str:
        return f"<Layer {self.id!r} of {self.store!r}>"
