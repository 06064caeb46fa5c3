"""Looking after a store."""

from __future__ import annotations

import os
from collections.abc import Iterator

from . import _capi
from ._base import StoreBase, watched
from ._call import ProgressFn
from ._constants import CheckFlag, CheckKind
from ._items import Item
from ._text import Name, encode_optional
from .cancel import CancelLike
from .results import Capability, CleanupStats, Finding, Usage, plain


class Upkeep(StoreBase):
    """The calls on a store as a whole."""

    def status(self) -> Iterator[Capability]:
        """What the store can do here: with this kernel, this file system, these privileges. It
        finds out by doing it."""
        return self._list(self._short(), _capability, _capi.lib.ovl_status, _capi.StatusOpts())

    def usage(
        self,
        id: Name | None = None,
        *,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> Usage:
        """What the layer `id` takes on the disk, or the whole store, in which nothing counts
        twice."""
        call = watched(cancel, progress)
        opts = _capi.UsageOpts(**call.control())
        info = _capi.UsageInfo()
        self._run(call, _capi.lib.ovl_usage, encode_optional(id), opts, info)
        return Usage(**plain(Usage, info))

    def check(
        self,
        *,
        repair: bool = False,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> Iterator[Finding]:
        """Reads the whole store and looks for damage. Findings of the kind NOTE alone are good
        news; damage is no error of this call.

        With `repair` what can be mended without losing anything is mended; the store must not be
        open elsewhere then, in this process neither (EBUSY).
        """
        call = watched(cancel, progress)
        opts = _capi.CheckOpts(flags=CheckFlag.REPAIR if repair else 0, **call.control())
        return self._list(call, _finding, _capi.lib.ovl_check, opts)

    def cleanup(
        self,
        *,
        budget: float | None = None,
        cancel: CancelLike | None = None,
        progress: ProgressFn | None = None,
    ) -> CleanupStats:
        """Removes what killed processes and power cuts left behind, and ends the mounts of killed
        processes. Nobody must call this: remains only take room. With a `budget`, in seconds, it
        stops in time, and the next one goes on.
        """
        call = watched(cancel, progress)
        opts = _capi.CleanupOpts(**call.control())
        if budget is not None:
            if not 0 < budget < 1 << 53:
                raise ValueError("a budget is a number of seconds above 0")
            opts.budget_ms = max(1, int(budget * 1000))
        stats = _capi.CleanupStats()
        self._run(call, _capi.lib.ovl_cleanup, opts, stats)
        return CleanupStats(**plain(CleanupStats, stats))


def _capability(item: Item) -> Capability:
    return Capability(os.fsdecode(item.name), bool(item.what), os.fsdecode(item.detail))


def _finding(item: Item) -> Finding:
    what, _, detail = os.fsdecode(item.detail).partition(": ")
    return Finding(CheckKind(item.what), os.fsdecode(item.name), what, detail)
