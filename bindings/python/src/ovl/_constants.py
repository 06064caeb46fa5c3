"""The constants of ovl.h, as enumerations. A member's name is the header's without its prefix."""

from __future__ import annotations

import enum


class Code(enum.IntEnum):
    """What failed, more closely than an errno tells it: `OVL_E_...`, in `OvlError.code`."""

    SYSTEM = 1
    INVALID = 2
    NO_LAYER = 3
    LAYER_EXISTS = 4
    HAS_CHILDREN = 5
    MOUNTED = 6
    LOCKED = 7
    COMMITTED = 8
    NOT_COMMITTED = 9
    ARCHIVE = 10
    TRUNCATED = 11
    DIGEST = 12
    LIMIT = 13
    ESCAPE = 14
    UNSUPPORTED = 15
    CANCELLED = 16
    BUG = 17
    FORKED = 18
    FORMAT = 19
    DAMAGED = 20
    MARKS = 21
    STRICT = 22
    NOT_EMPTY = 23
    CALLBACK = 24
    UNCLEAN = 25
    NO_IMAGE = 26
    CHANGED = 27


class Marks(enum.IntEnum):
    """How a store writes overlayfs's marks; fixed when it is made."""

    AUTO = 0
    """What the store has; for a new one, what the caller may set."""
    TRUSTED = 1
    """`trusted.overlay.*`, which needs CAP_SYS_ADMIN."""
    USER = 2
    """`user.overlay.*`, which any owner may set."""


class LogLevel(enum.IntEnum):
    """How much a store's log is told."""

    ERROR = 1
    WARNING = 2
    INFO = 3
    DEBUG = 4


class Kind(enum.IntEnum):
    """How a layer's content is kept."""

    DEFAULT = 0
    """For apply: overlay where there is a parent and the store can hold an upper, else root."""
    ROOT = 1
    """A complete tree."""
    OVERLAY = 2
    """Only the changes, over the parent."""


class State(enum.IntEnum):
    """Whether a layer can still be changed."""

    WRITABLE = 1
    COMMITTED = 2


class Durability(enum.IntEnum):
    """What a power cut may take of a layer that was just made."""

    DEFAULT = 0
    """What is usual for the call; FULL for what becomes committed."""
    NONE = 1
    """Nothing is synced: all of it, or part of it."""
    FULL = 2
    """Nothing: the layer is on the disk when the call returns."""
    VERIFIED = 3
    """As FULL; and the content is read back, and its digests are kept."""


class ChangeKind(enum.IntEnum):
    """What became of a path. `chr()` of it is the letter that the tool prints."""

    ADD = 65
    MODIFY = 67
    DELETE = 68


class CheckKind(enum.IntEnum):
    """What a finding of a check is."""

    DAMAGE = 0
    REPAIRED = 1
    """Damage that was mended."""
    NOTE = 2
    """No damage, but something that could not be looked at."""


class Reflink(enum.IntEnum):
    """Whether a copy shares the content of files with its source."""

    AUTO = 0
    """Where the file system can."""
    ALWAYS = 1
    """Or fail."""
    NEVER = 2


class StoreFlag(enum.IntFlag):
    MUST_EXIST = 1
    READ_ONLY = 2


class CreateFlag(enum.IntFlag):
    LIVE = 1
    FLAT = 2
    SYNC = 4


class ApplyFlag(enum.IntFlag):
    WRITABLE = 1
    STRICT = 2
    NO_DEVICES = 4
    EXISTING = 8


class CommitFlag(enum.IntFlag):
    SALVAGE = 1
    MOUNTED = 2


class RemoveFlag(enum.IntFlag):
    DEFER = 1


class MountFlag(enum.IntFlag):
    READ_ONLY = 1
    KEEP = 2
    DETACHED = 4
    VOLATILE = 8


class UnmountFlag(enum.IntFlag):
    LAZY = 1


class SpecFlag(enum.IntFlag):
    READ_ONLY = 1
    OCI_JSON = 2
    LONG = 4


class SpecItem(enum.IntEnum):
    TYPE = 1
    SOURCE = 2
    OPTION = 3
    JSON = 4


class DiffFlag(enum.IntFlag):
    STRICT = 1
    SPARSE = 2
    CLAMP = 4


class CheckFlag(enum.IntFlag):
    REPAIR = 1


class CopyFlag(enum.IntFlag):
    HARD_LINK = 1
    STRICT = 2
    NO_OVERLAY_XATTRS = 4
    SYNC = 8


class ImportFlag(enum.IntFlag):
    KEEP_BLOBS = 1
    STRICT = 2
    NO_DEVICES = 4


class ConfigItem(enum.IntEnum):
    JSON = 1
    ENV = 2
    ENTRYPOINT = 3
    CMD = 4
    WORKING_DIR = 5
    USER = 6
    LABEL = 7
    LAYER = 8
