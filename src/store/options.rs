//! What callers may ask of a store, and what they are told.

use crate::archive::Digest;
use crate::sys::fs::Time;
use crate::sys::thread::Threads;
use bitflags::bitflags;

/// How a layer's content is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A complete plain tree, sharing inodes with its parent's.
    Root,
    /// Its changes alone, over its parent.
    Overlay,
}

/// Whether a layer may still change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It may.
    Writable,
    /// It never does again.
    Committed,
}

/// What must be on the disk when a call returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// What is usual for the call: `Full` for what becomes committed.
    #[default]
    Default,
    /// Nothing: a power cut may take the layer away, or what it holds.
    None,
    /// The layer, whole.
    Full,
    /// As `Full`, and its content is read back and compared.
    Verified,
}

bitflags! {
    /// Choices of [`Store::open`](super::Store::open).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct OpenFlags: u64 {
        /// ENOENT where there is no store; otherwise a missing or empty directory becomes one.
        const MUST_EXIST = 1;
        /// Change nothing: every call that would is EROFS.
        const READ_ONLY = 2;
    }

    /// Choices of [`Store::create`](super::Store::create).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct CreateFlags: u64 {
        /// Copy the upper of a mounted layer too, though it may change meanwhile.
        const LIVE = 1;
        /// Make a committed `root` layer of the parent's merged tree, by hard links.
        const FLAT = 2;
        /// Have the new layer on the disk when the call returns.
        const SYNC = 4;
    }

    /// Choices of [`Store::apply`](super::Store::apply).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ApplyFlags: u64 {
        /// Leave the layer writable.
        const WRITABLE = 1;
        /// Fail where otherwise something is done in part and counted.
        const STRICT = 2;
        /// Leave device nodes out and count them; EPERM when strict.
        const NO_DEVICES = 4;
        /// ENOENT where the layer is not there: none is made.
        const EXISTING = 8;
    }

    /// Choices of [`Store::commit`](super::Store::commit).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct CommitFlags: u64 {
        /// Take what there is of a layer that was mounted writable when the machine went down.
        const SALVAGE = 1;
        /// The layer may be mounted, and nobody is asked: the caller sees to it that nobody writes to it
        /// any more.
        const MOUNTED = 2;
    }

    /// Choices of [`Store::mount`](super::Store::mount).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct MountFlags: u64 {
        /// A view that cannot be written.
        const READ_ONLY = 1;
        /// Stays until somebody unmounts it, whatever becomes of the handle.
        const KEEP = 2;
        /// At no path: a descriptor alone.
        const DETACHED = 4;
        /// Never sync the upper: for layers that are thrown away.
        const VOLATILE = 8;
    }

    /// Choices of unmounting.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct UnmountFlags: u64 {
        /// Detach at once; the mount ends with its last user.
        const LAZY = 1;
    }

    /// Choices of [`Store::remove`](super::Store::remove).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct RemoveFlags: u64 {
        /// Leave the content in `trash/` for a later cleanup.
        const DEFER = 1;
    }

    /// Choices of [`Store::diff`](super::Store::diff).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct DiffFlags: u64 {
        /// Refuse what a layer tar cannot say instead of counting it.
        const STRICT = 1;
        /// Keep holes of files.
        const SPARSE = 2;
        /// No time later than the one given.
        const CLAMP = 4;
    }

    /// Choices of [`Store::mount_spec`](super::Store::mount_spec).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SpecFlags: u64 {
        /// A view that cannot be written.
        const READ_ONLY = 1;
        /// One item: the entry of an OCI runtime's `mounts`, as JSON.
        const OCI_JSON = 2;
        /// Longer than the one page of mount(2) too.
        const LONG = 4;
    }

    /// Choices of [`Store::check`](super::Store::check).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct CheckFlags: u64 {
        /// Mend what can be mended without losing anything.
        const REPAIR = 1;
    }

    /// Choices of [`Store::cleanup`](super::Store::cleanup); none yet.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct CleanupFlags: u64 {}
}

/// Which spelling of overlayfs's marks a new store uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MarksChoice {
    /// `trusted` where the maker may set it, else `user`.
    #[default]
    Auto,
    /// `trusted.overlay.*`.
    Trusted,
    /// `user.overlay.*`.
    User,
}

/// How much a message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum LogLevel {
    Error = 1,
    Warning = 2,
    Info = 3,
    Debug = 4,
}

/// Is told what a store does, on the thread that called it.
pub type LogFn = dyn Fn(LogLevel, &str) + Send + Sync;

/// How to open a store.
#[derive(Default)]
pub struct OpenOptions {
    /// Choices.
    pub flags: OpenFlags,
    /// The marks of a store that is made.
    pub marks: MarksChoice,
    /// Is told of what cannot be an error.
    pub log: Option<Box<LogFn>>,
}

/// What a tar may ask for; 0 is the default of each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Uncompressed bytes, and as many of files and link targets, holes included.
    pub max_size: u64,
    /// Entries. Directories that no entry names may be as many, but not more than 65,536 and 64
    /// for each entry.
    pub max_entries: u64,
    /// Bytes of one PAX or long-name header.
    pub max_meta: u64,
    /// Bytes of one entry's extended attributes.
    pub max_xattrs: u64,
    /// Bytes of one path.
    pub max_path: u64,
    /// The largest zstd window, as a power of two; at most 31.
    pub zstd_window_log: u32,
}

/// How to apply a tar.
#[derive(Clone, Debug, Default)]
pub struct ApplyOptions<'a> {
    /// Choices.
    pub flags: ApplyFlags,
    /// The layer to build on.
    pub parent: Option<&'a [u8]>,
    /// How to keep the content; `overlay` is usual where there is a parent.
    pub kind: Option<Kind>,
    /// What the uncompressed tar must hash to.
    pub diff_id: Option<Digest>,
    /// What must be on the disk at the end.
    pub durability: Durability,
    /// What the tar may ask for.
    pub limits: Limits,
    /// Whether parts of the work go on at the same time.
    pub threads: Threads,
}

/// How to mount a layer.
#[derive(Clone, Copy, Debug, Default)]
pub struct MountOptions<'a> {
    /// Choices.
    pub flags: MountFlags,
    /// Where; the layer's own `merged` otherwise.
    pub target: Option<&'a [u8]>,
    /// SELinux label of every file (`context=`).
    pub label: Option<&'a [u8]>,
}

/// How to write a diff.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiffOptions {
    /// Choices.
    pub flags: DiffFlags,
    /// The latest time, with [`DiffFlags::CLAMP`].
    pub clamp: Time,
    /// Whether the call may have a thread of its own.
    pub threads: Threads,
}

/// What a layer is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against<'a> {
    /// Its own parent.
    Parent,
    /// Nothing: the whole tree is new.
    Nothing,
    /// Another layer.
    Layer(&'a [u8]),
}

/// What is known of a layer, and for the call that made or read it what could be done in part.
#[derive(Clone, Debug)]
pub struct LayerInfo {
    /// Its id.
    pub id: String,
    /// The layer directly below.
    pub parent: Option<String>,
    /// How its content is kept.
    pub kind: Kind,
    /// Whether it may change.
    pub state: State,
    /// SHA-256 of the uncompressed tar that it was made of, or that was just written.
    pub diff_id: Option<Digest>,
    /// SHA-256 of the blob that it was made of.
    pub blob_digest: Option<Digest>,
    /// Content of regular files and targets of symbolic links, each link group once, in bytes.
    pub size: u64,
    /// Entries of its tar.
    pub entries: u64,
    /// Bytes of its tar, uncompressed.
    pub tar_size: u64,
    /// Bytes of the blob.
    pub blob_size: u64,
    /// When it was made.
    pub created: Time,
    /// Trees below its own.
    pub lowers: u32,
    /// The layer whose upper was copied to make it.
    pub copied_from: Option<String>,
    /// A handle holds it, or it is mounted where the caller can see it.
    pub mounted: bool,
    /// The machine went down, or the disk was mounted anew, while it was mounted writable: what was
    /// not synced may be lost.
    pub unclean: bool,
    /// Devices left out.
    pub skipped_devices: u64,
    /// Owners that could not be set, or told.
    pub skipped_owners: u64,
    /// Extended attributes left out.
    pub skipped_xattrs: u64,
    /// Sockets left out.
    pub skipped_sockets: u64,
    /// Names that begin with `.wh.` left out.
    pub skipped_names: u64,
}

/// A path that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its path, with a slash in front.
    pub path: Vec<u8>,
    /// What became of it.
    pub kind: crate::layer::diff::ChangeKind,
}

/// Something that the kernel, the file system or the caller's privilege can or cannot do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Its name.
    pub name: &'static str,
    /// Whether it works here.
    pub ok: bool,
    /// Why not, or how.
    pub reason: String,
}

/// What a cleanup did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanupReport {
    /// Leftovers removed.
    pub removed: u64,
    /// Leftovers that somebody is still working on, or that cannot be taken away now.
    pub busy: u64,
    /// Mounts ended that killed processes left.
    pub unmounted: u64,
    /// Small things taken out of layers: pins of mounts that have ended, hints of children that
    /// are gone, files that were to replace others.
    pub dropped: u64,
    /// What the budget left for the next cleanup: leftovers, and layers not looked at.
    pub left: u64,
}

/// What a layer, or the whole store, takes on the disk. An inode is counted once, however many
/// names it has; it is shared when it has names elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in blocks of what nobody else has: what removing would give back.
    pub own_bytes: u64,
    /// Bytes in blocks of what others have too.
    pub shared_bytes: u64,
    /// Inodes that nobody else has, directories and the store's own files among them.
    pub own_inodes: u64,
    /// Inodes that others have too.
    pub shared_inodes: u64,
    /// Lengths of files and targets of symbolic links that nobody else has.
    pub own_size: u64,
    /// The same of what others have too.
    pub shared_size: u64,
}

/// How to clean up.
#[derive(Clone, Copy, Debug, Default)]
pub struct CleanupOptions {
    /// Choices.
    pub flags: CleanupFlags,
    /// How long to work at most; what is not done then is left for the next time.
    pub budget: Option<std::time::Duration>,
}

/// Something that is wrong in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The layer, or the place in the store.
    pub layer: String,
    /// What kind of damage.
    pub kind: &'static str,
    /// In words.
    pub detail: String,
    /// It was mended.
    pub repaired: bool,
    /// It is no damage, but something that could not be looked at.
    pub note: bool,
}
