//! The marks that overlays of other programs leave in an upper.
//!
//! libovl mounts with every such feature off, so that an upper says all by itself. Another
//! program may have mounted the same directories otherwise: a directory renamed under
//! `redirect_dir` has its content at another place below, a file copied up under `metacopy` has
//! its bytes there, `index` shows a changed file under names that the upper does not have, and
//! whiteouts may be attributes of empty files. [`super::view`] reads the first two and the last;
//! what nobody can read from the upper alone is refused here, by name.

use super::view::Stack;
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::dir::{DirBuf, Hint};
use crate::sys::fs::{Kind, Meta};
use crate::sys::xattr::{self, Marks};
use crate::sys::{BorrowedFd, OwnedFd, fs};
use crate::tree::attrs::Inode;
use crate::tree::chain::{Chain, GONE, walk};
use crate::watch::Watch;
use std::os::fd::AsFd;

/// What the marks of a directory say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DirMarks {
    /// Nothing below it is seen.
    pub opaque: bool,
    /// What lies below it is called this: a name beside it, or a path from the root with a slash
    /// in front.
    pub redirect: Option<Vec<u8>>,
    /// Something in it came from below by copy-up, as far as overlayfs noted it.
    impure: bool,
    /// Whiteouts in it may be attributes.
    attributes: bool,
    /// An attribute that would be a mark under the other spelling.
    pub misspelt: Option<Vec<u8>>,
}

/// What the marks of anything else say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FileMarks {
    /// Its content is that of the file below.
    pub metacopy: bool,
    /// As for a directory.
    pub redirect: Option<Vec<u8>>,
    /// It has names that only overlayfs's index knows.
    pub indexed: bool,
    whiteout: bool,
    /// As for a directory.
    pub misspelt: Option<Vec<u8>>,
}

/// Reads the marks of an open directory.
pub fn of_directory(dir: BorrowedFd<'_>, marks: Marks) -> Result<DirMarks> {
    of_directory_among(dir, &xattr::list(dir).call("flistxattr")?, marks)
}

/// The same, of a directory whose attributes are called `names`.
pub fn of_directory_among(
    dir: BorrowedFd<'_>,
    names: &[Vec<u8>],
    marks: Marks,
) -> Result<DirMarks> {
    let mut found = DirMarks::default();
    for name in names {
        if speaks(name, marks.other()) {
            found.misspelt = Some(name.clone());
            continue;
        }
        let get = || Ok::<_, Error>(xattr::get(dir, name).call("fgetxattr")?.unwrap_or_default());
        match marks.name_of(name) {
            Some(b"opaque") => match get()?.as_slice() {
                b"y" => found.opaque = true,
                b"x" => found.attributes = true,
                _ => {}
            },
            Some(b"redirect") => found.redirect = Some(redirect(get()?)?),
            Some(b"impure") => found.impure = true,
            _ => {}
        }
    }
    Ok(found)
}

/// Reads the marks of `name` in `dir`, which is no directory.
pub fn of_file(dir: BorrowedFd<'_>, name: &[u8], marks: Marks) -> Result<FileMarks> {
    let names = xattr::list_at(dir, name).call("llistxattr")?;
    of_file_among(Inode::Named(dir, name), &names, marks)
}

/// The same, of an inode whose attributes are called `names`.
pub fn of_file_among(inode: Inode<'_>, names: &[Vec<u8>], marks: Marks) -> Result<FileMarks> {
    let mut found = FileMarks::default();
    for attribute in names {
        if speaks(attribute, marks.other()) {
            found.misspelt = Some(attribute.clone());
            continue;
        }
        let get = || {
            let value = inode.xattr(attribute).call("getxattr")?;
            Ok::<_, Error>(value.unwrap_or_default())
        };
        match marks.name_of(attribute) {
            Some(b"metacopy") => found.metacopy = true,
            Some(b"redirect") => found.redirect = Some(redirect(get()?)?),
            // The union's link count from the upper inode's, one of whose names is in the index.
            Some(b"nlink") => found.indexed = get()? != b"U-1",
            Some(b"whiteout") => found.whiteout = true,
            _ => {}
        }
    }
    Ok(found)
}

/// Whether `name` in `dir` hides what is below: a device, or an empty file with a mark.
pub fn is_whiteout(dir: BorrowedFd<'_>, name: &[u8], meta: &Meta, marks: Marks) -> Result<bool> {
    if meta.is_whiteout() {
        return Ok(true);
    }
    if meta.kind != Kind::File || meta.size > 0 {
        return Ok(false);
    }
    let mark = xattr::get_at(dir, name, &marks.attribute("whiteout"));
    Ok(mark.call("lgetxattr")?.is_some())
}

/// Whether an attribute hides or moves something under these marks.
fn speaks(attribute: &[u8], marks: Marks) -> bool {
    matches!(
        marks.name_of(attribute),
        Some(b"opaque" | b"redirect" | b"metacopy" | b"whiteout")
    )
}

/// EOPNOTSUPP where something is marked in the spelling that the store does not use. To overlayfs
/// and to a container it is an attribute like any other; but if another overlay wrote it, what it
/// hides would come back. `user.*`, which every program may set, is content where there is nothing
/// to hide: where nothing is `below`.
pub fn need_own_spelling(misspelt: Option<&[u8]>, marks: Marks, below: bool) -> Result<()> {
    match misspelt {
        Some(attribute) if below || marks == Marks::User => Err(Error::new(
            Code::Marks,
            Errno::OPNOTSUPP,
            format!(
                "it carries {}, but the marks of this store are {}*",
                attribute.escape_ascii(),
                marks.prefix().escape_ascii()
            ),
        )),
        _ => Ok(()),
    }
}

/// Refuses a redirect that leads nowhere that overlayfs would go.
fn redirect(value: Vec<u8>) -> Result<Vec<u8>> {
    let path = value.strip_prefix(b"/");
    let bad = |part: &[u8]| matches!(part, b"" | b"." | b"..") || part.contains(&0);
    let ok = match path {
        Some(path) => !path.split(|&b| b == b'/').any(bad),
        None => !value.contains(&b'/') && !bad(&value),
    };
    if ok {
        return Ok(value);
    }
    let message = format!("its redirect mark is malformed: {}", value.escape_ascii());
    Err(Error::new(Code::Damaged, Errno::INVAL, message))
}

/// EOPNOTSUPP when overlayfs's index has a file under more names than the upper: what became of
/// the others only the index knows. `work` is the work directory of the upper.
pub fn need_no_index(work: &OwnedFd, marks: Marks) -> Result<()> {
    let index = match fs::open_dir(work, b"index") {
        Ok(index) => index,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno).call_at("open", "work/index"),
    };
    let mut names = Vec::new();
    let read = DirBuf::default().for_each(&index, |name, _| {
        let meta = fs::stat_at(&index, name)?;
        if meta.kind != Kind::Directory && !meta.is_whiteout() {
            names.push(name.to_vec());
        }
        Ok::<_, Errno>(())
    });
    read.call_at("getdents64", "work/index")?;
    for name in names {
        let path = [b"work/index/", &name[..]].concat();
        let marks = match of_file(index.as_fd(), &name, marks) {
            Err(error) if error.errno() == Errno::NOENT => continue,
            marks => marks.map_err(|e| e.at(&path))?,
        };
        need_names(&marks).map_err(|e| e.at(path))?;
    }
    Ok(())
}

/// EOPNOTSUPP for an inode whose other names only an index knows.
pub fn need_names(marks: &FileMarks) -> Result<()> {
    if marks.indexed {
        return Err(foreign(
            "it was changed under overlayfs's index, which shows it under names that the upper \
             does not have",
        ));
    }
    Ok(())
}

/// EOPNOTSUPP for a file with these attributes when its content is not in its inode.
pub fn need_own_content(attributes: &[Vec<u8>], marks: Marks) -> Result<()> {
    let metacopy = |name: &Vec<u8>| marks.name_of(name) == Some(b"metacopy");
    if attributes.iter().any(metacopy) {
        return Err(foreign(COPIED_UP));
    }
    Ok(())
}

const COPIED_UP: &str = "it was copied up under overlayfs's metacopy";

fn foreign(message: &str) -> Error {
    Error::new(Code::Unsupported, Errno::OPNOTSUPP, message)
}

/// EOPNOTSUPP, with the path, when an upper holds what an overlay mounted by libovl, or a layer
/// built on this one, would read otherwise than it was written.
///
/// Before a mount not every file is looked at: the price would grow with what a container made.
/// Overlayfs notes in each directory that something was copied up into it, and only those are
/// searched. A second link to a metacopy file may be in another; the kernel refuses to open it.
pub fn refuse(
    upper: OwnedFd,
    work: &OwnedFd,
    below: &Stack,
    files: Files,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let mut buf = DirBuf::default();
    walk(upper, &GONE, watch, |chain, _| {
        refuse_in(chain, below, files, &mut buf).map(Some)
    })?;
    need_no_index(work, below.marks())
}

/// Whether a stack has anything at a path.
fn has(stack: &Stack, path: &[u8]) -> Result<bool> {
    let mut found = stack.root()?;
    for name in path.split(|&b| b == b'/') {
        let Some(mut dir) = found.and_then(|found| found.dir) else {
            return Ok(false);
        };
        found = stack.lookup(&mut dir, name)?;
    }
    Ok(found.is_some())
}

/// Which files [`refuse`] looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// All.
    Every,
    /// Those in directories into which overlayfs copied something up.
    Noted,
}

/// Whether an upper has directories that were renamed under `redirect_dir`.
pub fn has_renamed(upper: OwnedFd, marks: Marks, watch: &mut Watch<'_>) -> Result<bool> {
    let mut buf = DirBuf::default();
    let mut renamed = false;
    let counted = fs::links_count_directories(&upper);
    // A layer that is running may lose any of them meanwhile.
    let seen = walk(upper, &GONE, watch, |chain, _| {
        let own = of_directory(chain.fd()?, marks).map_err(|e| e.at(chain.path()))?;
        renamed = own.redirect.is_some();
        if renamed {
            return Ok(None);
        }
        if counted {
            // Most have none in them: less than to read their names.
            let own = fs::stat(chain.fd()?).call("statx");
            if own.map_err(|e| e.at(chain.path()))?.nlink == 2 {
                return Ok(Some(Vec::new()));
            }
        }
        match below(chain, &mut buf, |_| ()) {
            Err(error) if error.errno() == Errno::NOENT => Ok(Some(Vec::new())),
            below => below.map(Some),
        }
    });
    match seen {
        Err(error) if error.errno() != Errno::STALE => Err(error),
        _ => Ok(renamed),
    }
}

/// The directories in one, after a call of `other` for each name that is neither one nor a whiteout.
fn below(chain: &Chain, buf: &mut DirBuf, mut other: impl FnMut(&[u8])) -> Result<Vec<Vec<u8>>> {
    let dir = chain.fd()?;
    let mut below = Vec::new();
    let read = buf.for_each(dir, |name, hint| {
        let directory = match hint {
            // A whiteout says all by itself.
            Hint::Other { char_device: true } if fs::stat_at(dir, name)?.is_whiteout() => {
                return Ok(());
            }
            Hint::Directory => true,
            Hint::Unknown => fs::stat_at(dir, name)?.kind == Kind::Directory,
            _ => false,
        };
        match directory {
            true => below.push(name.to_vec()),
            false => other(name),
        }
        Ok::<_, Errno>(())
    });
    // A path takes time as the tree is deep: only for who reads it.
    match read {
        Ok(()) => Ok(below),
        Err(errno) => Err(Error::sys(errno, "getdents64").at(chain.path())),
    }
}

/// One directory; gives those in it.
fn refuse_in(chain: &Chain, stack: &Stack, which: Files, buf: &mut DirBuf) -> Result<Vec<Vec<u8>>> {
    let dir = chain.fd()?;
    let marks = stack.marks();
    let own = of_directory(dir, marks).map_err(|e| e.at(chain.path()))?;
    let spelling = |misspelt: Option<&[u8]>, path: Vec<u8>| match misspelt {
        Some(_) if !path.is_empty() => {
            need_own_spelling(misspelt, marks, has(stack, &path)?).map_err(|e| e.at(path))
        }
        _ => Ok(()),
    };
    spelling(own.misspelt.as_deref(), chain.path())?;
    if own.redirect.is_some() {
        let error = foreign("it was renamed under overlayfs's redirect_dir");
        return Err(error.at(chain.path()));
    }
    let look = which == Files::Every || own.impure || own.attributes;
    let mut files = Vec::new();
    let below = below(chain, buf, |name| {
        if look {
            files.push(name.to_vec());
        }
    })?;
    for name in files {
        let marks = of_file(dir, &name, marks).map_err(|e| e.at(chain.path_of(&name)))?;
        spelling(marks.misspelt.as_deref(), chain.path_of(&name))?;
        let message = if marks.metacopy {
            COPIED_UP
        } else if marks.whiteout {
            "it is a whiteout by attribute, which this store does not mount"
        } else {
            need_names(&marks).map_err(|e| e.at(chain.path_of(&name)))?;
            continue;
        };
        return Err(foreign(message).at(chain.path_of(&name)));
    }
    Ok(below)
}
