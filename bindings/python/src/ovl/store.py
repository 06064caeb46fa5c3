"""An open store."""

from __future__ import annotations

from ._images import Images
from ._making import Making
from ._mounting import Mounting
from ._reading import Reading
from ._upkeep import Upkeep


class Store(Making, Reading, Mounting, Upkeep, Images):
    """An open store of container layers. Threads may share it, and so may processes share the
    directory, each with a Store of its own. A forked child opens it anew (EOWNERDEAD).

    It is a context manager, which closes it at the end. Calls that can take long have two
    arguments: `progress` is a function that is told how far the call is (`Progress`), `cancel` a
    `Cancel` or a function that is asked whether to stop. Exceptions that these raise end the call
    and come out of it, and so does KeyboardInterrupt at any time; the call undoes what it had
    begun.
    """
