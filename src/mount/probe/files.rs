//! Trials that need no mount.

use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, ResolveFlags, XattrFlags, fgetxattr,
    fremovexattr, fsetxattr, ioctl_ficlone, linkat, makedev, mknodat, renameat_with, statat,
};
use rustix::io::Errno;

use super::room::{Room, file, make, names};
use crate::error::{Code, Error, Result, SysResult};
use crate::mount::fd_path;
use crate::mount::plan::Marks;
use crate::sys::fd::above_standard;
use crate::sys::fs::open_at;

/// It was done, and the result is not what it must be.
pub(super) fn wrong(what: impl Into<String>) -> Error {
    Error::new(Code::Unsupported, Errno::OPNOTSUPP, what)
}

pub(super) fn xattr(room: &Room<'_>, marks: Marks) -> Result<()> {
    let dir = room.make(&format!("xattr-{marks:?}"))?;
    let name = marks.attribute("opaque");
    fsetxattr(&dir, name.as_slice(), b"y", XattrFlags::CREATE).call("fsetxattr")?;
    let mut value = [0u8; 8];
    let length = fgetxattr(&dir, name.as_slice(), &mut value).call("fgetxattr")?;
    if value.get(..length) != Some(b"y") {
        return Err(wrong("an attribute reads back different"));
    }
    fremovexattr(&dir, name.as_slice()).call("fremovexattr")
}

pub(super) fn whiteout(room: &Room<'_>) -> Result<()> {
    let dir = room.make("whiteout")?;
    mknodat(
        &dir,
        "gone",
        FileType::CharacterDevice,
        Mode::empty(),
        makedev(0, 0),
    )
    .call("mknod")?;
    is_whiteout(&dir, "gone")
}

/// Whether an entry is a whiteout.
pub(super) fn is_whiteout(dir: &OwnedFd, name: &str) -> Result<()> {
    let found = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).call_at("stat", name)?;
    let is = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice;
    if !is || found.st_rdev != makedev(0, 0) {
        return Err(wrong(format!("{name} is not a character device 0:0")));
    }
    Ok(())
}

pub(super) fn reflink(room: &Room<'_>) -> Result<()> {
    let dir = room.make("reflink")?;
    let from = file(&dir, "from", &[7; 8192])?;
    let to = file(&dir, "to", b"")?;
    ioctl_ficlone(&to, &from).call("ioctl(FICLONE)")?;
    same_content(&from, &to)
}

pub(super) fn copy_range(room: &Room<'_>) -> Result<()> {
    let dir = room.make("copy-range")?;
    let from = file(&dir, "from", &[7; 8192])?;
    let to = file(&dir, "to", b"")?;
    let mut at = 0;
    while at < 8192 {
        let (mut off_in, mut off_out) = (at, at);
        let left = usize::try_from(8192 - at).unwrap_or_default();
        let copied =
            rustix::fs::copy_file_range(&from, Some(&mut off_in), &to, Some(&mut off_out), left)
                .call("copy_file_range")?;
        if copied == 0 {
            return Err(wrong("copy_file_range stops before the end"));
        }
        at += copied as u64;
    }
    same_content(&from, &to)
}

fn same_content(one: &OwnedFd, other: &OwnedFd) -> Result<()> {
    let (mut left, mut right) = (vec![0u8; 8193], vec![0u8; 8193]);
    let left_length = rustix::io::pread(one, &mut left, 0).call("pread")?;
    let right_length = rustix::io::pread(other, &mut right, 0).call("pread")?;
    if left_length != 8192 || left_length != right_length || left != right {
        return Err(wrong("the copy reads different"));
    }
    Ok(())
}

pub(super) fn tmpfile(room: &Room<'_>) -> Result<()> {
    let dir = room.make("tmpfile")?;
    let flags = OFlags::TMPFILE | OFlags::RDWR;
    let fd = open_at(&dir, ".", flags, Mode::RUSR | Mode::WUSR).call("open(O_TMPFILE)")?;
    let path = fd_path(&fd);
    linkat(CWD, path.as_str(), &dir, "named", AtFlags::SYMLINK_FOLLOW).call("linkat")?;
    statat(&dir, "named", AtFlags::SYMLINK_NOFOLLOW).call_at("stat", "named")?;
    Ok(())
}

fn two_directories(room: &Room<'_>, name: &str) -> Result<OwnedFd> {
    let dir = room.make(name)?;
    make(make(&dir, "one")?, "first")?;
    make(make(&dir, "two")?, "second")?;
    Ok(dir)
}

pub(super) fn exchange(room: &Room<'_>) -> Result<()> {
    let dir = two_directories(room, "exchange")?;
    renameat_with(&dir, "one", &dir, "two", RenameFlags::EXCHANGE)
        .call("renameat2(RENAME_EXCHANGE)")?;
    for moved in ["one/second", "two/first"] {
        statat(&dir, moved, AtFlags::SYMLINK_NOFOLLOW).call_at("stat", moved)?;
    }
    Ok(())
}

pub(super) fn no_replace(room: &Room<'_>) -> Result<()> {
    let dir = two_directories(room, "no-replace")?;
    // Empty, so that a plain rename would replace it.
    make(&dir, "empty")?;
    let rename = |to: &str| renameat_with(&dir, "one", &dir, to, RenameFlags::NOREPLACE);
    match rename("empty") {
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::sys(errno, "renameat2(RENAME_NOREPLACE)")),
        Ok(()) => return Err(wrong("RENAME_NOREPLACE replaced a directory")),
    }
    rename("three").call("renameat2(RENAME_NOREPLACE)")
}

pub(super) fn d_type(room: &Room<'_>) -> Result<()> {
    let dir = room.make("d-type")?;
    make(&dir, "dir")?;
    file(&dir, "file", b"")?;
    let types: Vec<FileType> = names(&dir)?.into_iter().map(|(_, kind)| kind).collect();
    if types != [FileType::Directory, FileType::RegularFile] {
        return Err(wrong("readdir does not tell the types of entries"));
    }
    Ok(())
}

pub(super) fn openat2(room: &Room<'_>) -> Result<()> {
    let dir = room.make("openat2")?;
    file(&dir, "file", b"")?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let open = |path: &str| {
        above_standard(|| rustix::fs::openat2(&dir, path, flags, Mode::empty(), beneath))
    };
    open("file").call("openat2")?;
    match open("../openat2/file") {
        Err(Errno::XDEV) => Ok(()),
        Err(errno) => Err(Error::sys(errno, "openat2(RESOLVE_BENEATH)")),
        Ok(_) => Err(wrong("RESOLVE_BENEATH let a path out")),
    }
}
