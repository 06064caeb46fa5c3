//! What a store can do, as both of its surfaces say it: [`Api`] in plain words and plain results,
//! so that a case cannot tell on which side it runs.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What failed, as a caller sees it.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    pub errno: i32,
    pub code: u32,
    pub operation: String,
    pub path: Vec<u8>,
    pub message: String,
    /// What the caller's own callback returned.
    pub said: i32,
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.escape_ascii();
        write!(
            f,
            "errno {} code {}: {}: {path}: {} ({})",
            self.errno, self.code, self.operation, self.message, self.said
        )
    }
}

pub type Done<T> = Result<T, Failure>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Root,
    Overlay,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    #[default]
    Default,
    None,
    Full,
    Verified,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Marks {
    #[default]
    Auto,
    Trusted,
    User,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reflink {
    #[default]
    Auto,
    Always,
    Never,
}

/// What is known of a layer; strings are empty where there is nothing to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub id: String,
    pub parent: String,
    pub diff_id: String,
    pub blob_digest: String,
    pub copied_from: String,
    pub kind: Kind,
    pub committed: bool,
    pub size: u64,
    pub entries: u64,
    pub tar_size: u64,
    pub blob_size: u64,
    pub created: (i64, u32),
    pub lowers: u32,
    pub mounted: bool,
    /// Devices, owners, extended attributes, sockets, names.
    pub skipped: [u64; 5],
}

/// What a copy did; the last three are what was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    pub entries: u64,
    pub directories: u64,
    pub copied: u64,
    pub reflinked: u64,
    pub linked: u64,
    pub grouped: u64,
    pub bytes: u64,
    pub link_fallbacks: u64,
    pub mounts_skipped: u64,
    pub vanished: u64,
    /// Owners, extended attributes, devices.
    pub skipped: [u64; 3],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    pub removed: u64,
    pub busy: u64,
    pub unmounted: u64,
    pub dropped: u64,
    pub left: u64,
}

/// Bytes on the disk, inodes, and lengths of what nobody else has, and of what others have too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub own: [u64; 3],
    pub shared: [u64; 3],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: String,
    pub words: String,
    pub repaired: bool,
    pub note: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    pub name: String,
    pub ok: bool,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub fs_type: String,
    pub source: Vec<u8>,
    pub options: Vec<Vec<u8>>,
}

/// Entries and bytes.
pub type Progress = (u64, u64);

/// How a caller watches a call.
pub struct Control<'a, A: Api> {
    pub cancel: Option<&'a A::Cancel>,
    pub progress: Option<&'a mut dyn FnMut(Progress) -> i32>,
}

/// Nobody watches.
pub fn calm<'a, A: Api>() -> Control<'a, A> {
    Control {
        cancel: None,
        progress: None,
    }
}

/// Where a tar comes from. A callback gives how many bytes it read, or an errno.
pub enum Input<'a> {
    Fd(BorrowedFd<'a>),
    Read(&'a mut dyn FnMut(&mut [u8]) -> Result<usize, i32>),
}

/// Where a tar goes. A callback gives how many bytes it took, or an errno.
pub enum Output<'a> {
    Fd(BorrowedFd<'a>),
    Write(&'a mut dyn FnMut(&[u8]) -> Result<usize, i32>),
}

/// What a layer is compared with.
#[derive(Clone, Copy)]
pub enum Against<'a> {
    Parent,
    Nothing,
    Layer(&'a str),
}

/// What a store told: levels and lines.
pub type Log = Arc<Mutex<Vec<(u32, String)>>>;

#[derive(Clone, Default)]
pub struct Open {
    pub must_exist: bool,
    pub read_only: bool,
    pub marks: Marks,
    pub log: Option<Log>,
}

#[derive(Clone, Copy, Default)]
pub struct Create {
    pub live: bool,
    pub flat: bool,
    pub sync: bool,
}

#[derive(Clone, Copy, Default)]
pub struct Apply<'a> {
    pub parent: Option<&'a str>,
    pub kind: Option<Kind>,
    pub diff_id: Option<&'a str>,
    pub durability: Durability,
    pub writable: bool,
    pub strict: bool,
    pub no_devices: bool,
    pub max_size: u64,
    pub max_entries: u64,
    pub max_meta: u64,
    pub max_xattrs: u64,
    pub max_path: u64,
    pub zstd_window_log: u32,
}

#[derive(Clone, Copy, Default)]
pub struct Mounting<'a> {
    pub read_only: bool,
    pub keep: bool,
    pub detached: bool,
    pub volatile: bool,
    pub target: Option<&'a Path>,
}

#[derive(Clone, Copy, Default)]
pub struct Diff {
    pub strict: bool,
    pub sparse: bool,
    pub clamp: Option<(i64, u32)>,
}

#[derive(Clone, Copy, Default)]
pub struct Copying {
    pub hard_link: bool,
    pub strict: bool,
    pub no_overlay_xattrs: bool,
    pub sync: bool,
    pub reflink: Reflink,
}

/// What a side calls the operations that the two sides name differently.
pub struct Names {
    pub open: &'static str,
    pub apply: &'static str,
    pub unmount_at: &'static str,
}

/// One of the two surfaces.
pub trait Api: Sized + 'static + crate::images::Images {
    type Store: Send + Sync;
    /// Dropping it drops the handle alone.
    type Mount: Send;
    type Cancel: Send + Sync;

    const NAMES: Names;

    fn cancel() -> Self::Cancel;
    fn trigger(cancel: &Self::Cancel);

    fn open(home: &Path, how: &Open) -> Done<Self::Store>;
    fn list(store: &Self::Store) -> Done<Vec<String>>;
    fn status(store: &Self::Store) -> Done<Vec<Capability>>;
    /// Without a limit where that is 0.
    fn cleanup(store: &Self::Store, budget_ms: u64, control: Control<'_, Self>) -> Done<Cleaned>;
    fn check_all(
        store: &Self::Store,
        repair: bool,
        control: Control<'_, Self>,
    ) -> Done<Vec<Problem>>;
    /// The damage, without the notes.
    fn check(store: &Self::Store, repair: bool, control: Control<'_, Self>) -> Done<Vec<Problem>> {
        let mut found = Self::check_all(store, repair, control)?;
        found.retain(|one| !one.note);
        Ok(found)
    }
    fn usage(store: &Self::Store, id: Option<&str>, control: Control<'_, Self>) -> Done<Usage>;

    fn create(
        store: &Self::Store,
        id: &str,
        parent: Option<&str>,
        how: Create,
        control: Control<'_, Self>,
    ) -> Done<()>;
    fn apply(
        store: &Self::Store,
        id: &str,
        input: Input<'_>,
        how: &Apply<'_>,
        control: Control<'_, Self>,
    ) -> Done<Info>;
    fn commit(
        store: &Self::Store,
        id: &str,
        durability: Durability,
        control: Control<'_, Self>,
    ) -> Done<()>;
    fn remove(store: &Self::Store, id: &str, defer: bool, control: Control<'_, Self>) -> Done<()>;
    fn exists(store: &Self::Store, id: &str) -> Done<bool>;
    fn stat(store: &Self::Store, id: &str) -> Done<Info>;

    fn diff(
        store: &Self::Store,
        id: &str,
        against: Against<'_>,
        output: Output<'_>,
        how: &Diff,
        control: Control<'_, Self>,
    ) -> Done<Info>;
    /// The letters A, C and D, and the paths.
    fn changes(
        store: &Self::Store,
        id: &str,
        against: Against<'_>,
        control: Control<'_, Self>,
    ) -> Done<Vec<(char, Vec<u8>)>>;
    fn diff_size(
        store: &Self::Store,
        id: &str,
        against: Against<'_>,
        control: Control<'_, Self>,
    ) -> Done<u64>;

    fn mount(store: &Self::Store, id: &str, how: &Mounting<'_>) -> Done<Self::Mount>;
    fn mount_path(mount: &Self::Mount) -> Vec<u8>;
    fn mount_fd(mount: &Self::Mount) -> BorrowedFd<'_>;
    fn unmount(mount: Self::Mount, lazy: bool) -> Result<(), (Self::Mount, Failure)>;
    fn unmount_at(store: &Self::Store, id_or_path: &[u8], lazy: bool) -> Done<()>;
    fn spec(store: &Self::Store, id: &str, read_only: bool) -> Done<Spec>;
    fn spec_json(store: &Self::Store, id: &str, destination: &str) -> Done<String>;

    /// Directories are `None` for the working directory.
    fn copy_dir(
        src: (Option<BorrowedFd<'_>>, &Path),
        dst: (Option<BorrowedFd<'_>>, &Path),
        how: &Copying,
        control: Control<'_, Self>,
    ) -> Done<Copied>;
}
