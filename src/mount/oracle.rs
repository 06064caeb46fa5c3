//! Does any process, in any mount namespace, have an overlay with this upper?
//!
//! No table can say: a detached mount is in none, and another namespace's are not ours. But the
//! kernel marks the inode of an upper while an overlay holds it, and an overlay with `index=on`
//! refuses a marked one with EBUSY, as its upper and as its lower. So it is asked for an overlay
//! that has the directory as its lower, with an upper of a moment in `scratch`: it is made where
//! nobody holds the directory, and ended at once. Nothing in the directory is written, it is not
//! marked itself, nothing is attached anywhere, and the kernel's log stays silent unless somebody
//! does hold it.
//!
//! Where such an overlay cannot be made (no room, a file system that cannot hold an upper), the
//! kernel is asked for one that cannot be: with the directory as its upper, and a work directory in
//! another mount, which is EINVAL, after the mark was looked at. This writes nothing at all, but
//! leaves a line in the kernel's log each time.
//!
//! # What it cannot see
//! While the kernel thinks about the second question it holds the mark itself for a moment. Two
//! such questions at the same time may see one another (a false "busy"), and an overlay that is
//! mounted in that moment with `index=off` goes without the mark (a later false "free"). So ask
//! only with the lock that keeps mounts of this upper away. Likewise, of two overlays on one upper
//! only the first has the mark, and it ends with it.
//!
//! The answer rests on the order of checks in the kernel: [`self_check`] tries both answers.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, StatVfsMountFlags, fstatvfs};

use super::context::{Context, Failure};
use super::fd_path;
use super::place::clone_detached;
use super::plan::{Lowers, Marks, Overlay, Upper};
use super::probe::room::Room;
use crate::error::{Errno, Error, Result, SysResult};

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InUse {
    /// No overlay holds it.
    Free,
    /// One does.
    Busy,
    /// The kernel could not be asked, and why. Treat it as busy.
    Unknown(String),
}

/// Asks about `upper`. In `scratch`, a directory outside it on the same file system, a directory is
/// made for a moment; one that a kill leaves there is `probe.*`.
///
/// An error where asking itself failed (no descriptors, no memory): that is no answer.
pub fn upper_in_use(upper: BorrowedFd<'_>, scratch: BorrowedFd<'_>, marks: Marks) -> Result<InUse> {
    // A read-only view of an upper is EINVAL before its mark is looked at.
    match fstatvfs(upper) {
        Ok(at) if at.f_flag.contains(StatVfsMountFlags::RDONLY) => {
            return Ok(InUse::Unknown(
                "the upper is seen through a read-only mount".into(),
            ));
        }
        Ok(_) => {}
        Err(errno) => return unknown(Error::sys(errno, "fstatvfs")),
    }
    let busy = match taken_as_lower(upper, scratch, marks) {
        Ok(true) => return Ok(InUse::Free),
        Ok(false) => false,
        // It is also said of what lies below an upper: the other question is of it alone.
        Err(error) => error.errno() == Errno::BUSY,
    };
    match as_upper(upper, scratch)? {
        InUse::Unknown(_) if busy => Ok(InUse::Busy),
        answer => Ok(answer),
    }
}

/// Whether an overlay over `upper` could be made, and the kernel looked at the mark.
fn taken_as_lower(upper: BorrowedFd<'_>, scratch: BorrowedFd<'_>, marks: Marks) -> Result<bool> {
    let room = Room::new(scratch)?;
    let tried = try_as_lower(upper, &room, marks);
    room.remove_these(&MADE)?;
    tried
}

/// What the overlay of a moment has and leaves, each before the directory that it is in.
const MADE: [(&str, AtFlags); 7] = [
    ("work/work/incompat/volatile/dirty", AtFlags::empty()),
    ("work/work/incompat/volatile", AtFlags::REMOVEDIR),
    ("work/work/incompat", AtFlags::REMOVEDIR),
    ("work/work", AtFlags::REMOVEDIR),
    ("work/index", AtFlags::REMOVEDIR),
    ("work", AtFlags::REMOVEDIR),
    ("upper", AtFlags::REMOVEDIR),
];

fn try_as_lower(upper: BorrowedFd<'_>, room: &Room<'_>, marks: Marks) -> Result<bool> {
    let (over, work) = (room.mkdir("upper")?, room.mkdir("work")?);
    let context = Context::open()?;
    context.set_string("lowerdir", fd_path(upper).as_bytes())?;
    context.set_string("upperdir", over.as_bytes())?;
    context.set_string("workdir", work.as_bytes())?;
    context.set_string("index", b"on")?;
    // Otherwise its end syncs the whole file system.
    context.set_flag("volatile")?;
    if marks == Marks::User {
        context.set_flag("userxattr")?;
    }
    context.create()?;
    // A kernel that cannot keep an index here goes on without one, and does not look at marks.
    Ok(room.has("work/index"))
}

/// Asks for an overlay that cannot be: see the module's text.
fn as_upper(upper: BorrowedFd<'_>, scratch: BorrowedFd<'_>) -> Result<InUse> {
    // A clone is a mount of its own, whatever it shows. One of the upper, because overlayfs clones
    // that too before it looks at the mark, and where that cannot be the answer is EINVAL as well.
    let elsewhere = match clone_detached(upper) {
        Ok(mount) => mount,
        Err(errno) => return unknown(Error::sys(errno, "open_tree")),
    };
    match prepare(upper, scratch, elsewhere.as_fd()) {
        Err(failure) => unknown(failure),
        Ok(context) => match context.create() {
            Err(failure) if failure.errno == Errno::BUSY => Ok(InUse::Busy),
            Err(failure) if failure.errno == Errno::INVAL => Ok(InUse::Free),
            Err(failure) => unknown(failure),
            Ok(()) => Ok(InUse::Unknown(
                "the kernel accepted an impossible overlay".into(),
            )),
        },
    }
}

/// One lower as a plain string, which every kernel with fsopen takes.
fn prepare(
    upper: BorrowedFd<'_>,
    lower: BorrowedFd<'_>,
    work: BorrowedFd<'_>,
) -> std::result::Result<Context, Failure> {
    let context = Context::open()?;
    context.set_string("lowerdir", fd_path(lower).as_bytes())?;
    context.set_string("upperdir", fd_path(upper).as_bytes())?;
    context.set_string("workdir", fd_path(work).as_bytes())?;
    context.set_string("index", b"on")?;
    Ok(context)
}

fn unknown(error: impl Into<Error>) -> Result<InUse> {
    let error = error.into();
    match error.errno() {
        // Of this moment, or of this caller: another time there is an answer.
        Errno::MFILE
        | Errno::NFILE
        | Errno::NOMEM
        | Errno::IO
        | Errno::NOSPC
        | Errno::DQUOT
        | Errno::AGAIN
        | Errno::INTR => Err(error.context("whether the layer is in use")),
        _ => Ok(InUse::Unknown(error.message().to_string())),
    }
}

/// Tries both answers with three empty directories of one file system that can hold an upper, which
/// are not as they were afterwards: free, busy while a detached overlay is there, free again.
pub fn self_check(
    lower: BorrowedFd<'_>,
    upper: BorrowedFd<'_>,
    work: BorrowedFd<'_>,
    marks: Marks,
) -> Result<()> {
    let expect = |when: &str, answer: InUse, wanted: InUse| {
        if answer == wanted {
            return Ok(());
        }
        Err(Errno::OPNOTSUPP)
            .call("oracle")
            .map_err(|error| error.context(format!("{when}: {answer:?} instead of {wanted:?}")))
    };
    expect(
        "before a mount",
        upper_in_use(upper, lower, marks)?,
        InUse::Free,
    )?;
    let lower_again = crate::sys::fd::duplicate(lower).call("dup")?;
    let lowers = [lower_again];
    let held = super::overlay(&Overlay {
        upper: Some(Upper { upper, work }),
        scratch: Some(lower),
        ..Overlay::new(Lowers::open_already(&lowers), marks)
    })?;
    expect(
        "while mounted",
        upper_in_use(upper, lower, marks)?,
        InUse::Busy,
    )?;
    drop(held);
    expect(
        "after the mount",
        upper_in_use(upper, lower, marks)?,
        InUse::Free,
    )
}
