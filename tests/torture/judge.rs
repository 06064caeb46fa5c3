//! What must hold of whatever is seen: which errors each call may give, what layers show.

use crate::recipe::{self, Node, Tree};
use ovl::error::{Code, Errno, Error, Result};
use ovl::store::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whether a call may say so, when others make, mount, commit and remove the same layers.
pub fn may_say(call: &str, error: &Error, took: Duration) -> bool {
    let (errno, code) = (error.errno(), error.code());
    // Of any call that names layers: it is not there, or another caller works on it for longer than
    // anybody waits.
    let gone = (errno, code) == (Errno::NOENT, Code::NoLayer);
    let locked = (errno, code) == (Errno::BUSY, Code::Locked)
        && (took >= patience(call) || at_once(error.message()));
    let own: &[(Errno, Code)] = match call {
        "create" => &[
            (Errno::EXIST, Code::LayerExists),
            (Errno::BUSY, Code::Mounted),
            (Errno::BUSY, Code::NotCommitted),
        ],
        "apply" => &[
            (Errno::EXIST, Code::LayerExists),
            (Errno::ROFS, Code::Committed),
            (Errno::NOTEMPTY, Code::NotEmpty),
            (Errno::BUSY, Code::Mounted),
            (Errno::BUSY, Code::NotCommitted),
            // Another parent than it has.
            (Errno::INVAL, Code::Invalid),
        ],
        "commit" => &[(Errno::ROFS, Code::Committed), (Errno::BUSY, Code::Mounted)],
        "mount" => &[
            (Errno::ROFS, Code::Committed),
            (Errno::BUSY, Code::Mounted),
            // Its volatile mount was not ended well.
            (Errno::INVAL, Code::Unsupported),
        ],
        "unmount" => &[(Errno::BUSY, Code::Mounted)],
        "unmount_at" => &[(Errno::BUSY, Code::Mounted), (Errno::INVAL, Code::System)],
        "remove" => &[
            (Errno::BUSY, Code::HasChildren),
            (Errno::BUSY, Code::Mounted),
        ],
        // Of what is in a layer that is mounted and written to; ENOENT as the kernel says of what goes.
        "diff" | "changes" => &[(Errno::STALE, Code::Changed), (Errno::NOENT, Code::Changed)],
        "stat" | "mount_spec" => &[],
        // They say it of no layer in particular.
        _ => return false,
    };
    locked || (gone && call != "unmount") || own.contains(&(errno, code))
}

/// How long a call waits before it says that another works on the layer (docs/concurrency.md): what
/// says so sooner has not waited. `mount` is short with those who keep mounts away for a moment.
fn patience(call: &str) -> Duration {
    match call {
        "remove" | "mount" => Duration::from_millis(200),
        _ => Duration::from_secs(10),
    }
}

/// What is no lock, and nothing to wait for.
fn at_once(message: &str) -> bool {
    let said = ["replaced the layer", "ends the mount", "cleanups take away"];
    said.iter().any(|words| message.contains(words))
}

/// A visible tree, and a digest of all that a tar could say of it.
pub struct Seen {
    pub tree: Tree,
    pub digest: String,
}

/// Walks a mounted layer. Every file that says what it holds must hold it; `Err` tells what is wrong.
/// With `moving`, others may change the tree meanwhile.
pub fn look(root: impl AsRawFd, moving: bool) -> std::result::Result<Seen, String> {
    let root = PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd()));
    let mut seen = Seen {
        tree: Tree::new(),
        digest: String::new(),
    };
    let mut lines = Vec::new();
    walk(&root, "", moving, &mut seen.tree, &mut lines)?;
    lines.sort();
    let mut hash = Sha256::new();
    for line in lines {
        hash.update(line);
    }
    for byte in hash.finalize() {
        let _ = write!(seen.digest, "{byte:02x}");
    }
    Ok(seen)
}

fn walk(
    root: &Path,
    below: &str,
    moving: bool,
    tree: &mut Tree,
    lines: &mut Vec<String>,
) -> std::result::Result<(), String> {
    let gone = |error: &std::io::Error| {
        moving && matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE))
    };
    // A trailing slash: the root is a link in /proc.
    let entries = match fs::read_dir(root.join(format!("{below}/").trim_start_matches('/'))) {
        Ok(entries) => entries,
        Err(error) if gone(&error) => return Ok(()),
        Err(error) => return Err(format!("{below}: {error}")),
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if gone(&error) => continue,
            Err(error) => return Err(format!("{below}: {error}")),
        };
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = match below {
            "" => name.clone(),
            below => format!("{below}/{name}"),
        };
        let told = (|| {
            let meta = fs::symlink_metadata(entry.path())?;
            let node = if meta.is_dir() {
                Node::Dir
            } else if meta.is_symlink() {
                Node::Link(fs::read_link(entry.path())?.display().to_string())
            } else {
                let holds = fs::read(entry.path())?;
                if recipe::promised(&name).is_some_and(|right| right != holds) {
                    return Ok(Err(format!("{path}: {} wrong bytes", holds.len())));
                }
                let sum = Sha256::digest(&holds);
                lines.push(format!("{path} holds {sum:?}\n"));
                Node::File
            };
            let mode = meta.permissions().mode();
            let times = (meta.mtime(), meta.mtime_nsec());
            lines.push(format!(
                "{path} {node:?} {mode:o} {} {times:?}\n",
                meta.uid()
            ));
            Ok(Ok(node))
        })();
        match told {
            Ok(Ok(node)) => {
                let inside = node == Node::Dir;
                tree.insert(path.clone(), node);
                if inside {
                    walk(root, &path, moving, tree, lines)?;
                }
            }
            Ok(Err(wrong)) => return Err(wrong),
            Err(error) if gone(&error) => {}
            Err(error) => return Err(format!("{path}: {error}")),
        }
    }
    Ok(())
}

/// What a committed layer must show, where it and all below it are made of recipes.
pub fn expected(store: &Store, info: &LayerInfo) -> Option<Tree> {
    let number = recipe::number_of(&info.diff_id?.to_string())?;
    let below = match &info.parent {
        None => Tree::new(),
        Some(parent) => {
            let parent = store.stat(parent.as_bytes()).ok()?;
            expected(store, &parent)?
        }
    };
    Some(recipe::applied(number, &below))
}

/// What was seen of each committed layer, by whomever: it never changes. A file for each, named by
/// the layer's id and the moment when it was made.
pub struct Register(pub PathBuf);

impl Register {
    /// `Err` when somebody saw it differently.
    pub fn same(
        &self,
        info: &LayerInfo,
        what: &str,
        digest: &str,
    ) -> std::result::Result<(), String> {
        let made = info.created;
        let name = format!("{what}-{}-{}.{}", info.id, made.sec, made.nsec);
        // This thread's own: another of this process may be looking at the same layer.
        let own = format!(
            ".{}-{}-{name}",
            std::process::id(),
            rustix::thread::gettid().as_raw_nonzero()
        );
        let (file, new) = (self.0.join(&name), self.0.join(own));
        // Written aside: whoever finds it, finds it whole.
        let here = fs::write(&new, digest).and_then(|()| fs::hard_link(&new, &file));
        let _ = fs::remove_file(&new);
        match here {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let before = fs::read_to_string(&file).map_err(|e| e.to_string())?;
                match before == digest {
                    true => Ok(()),
                    false => Err(format!("{}: {what} was {before}, is {digest}", info.id)),
                }
            }
            Err(error) => Err(format!("the register: {name}: {error}")),
        }
    }
}

/// Mounts a committed layer and holds it against all that is known of it. `Ok(false)` where it was
/// not there, not committed, or another one came meanwhile.
pub fn verify(
    store: &Store,
    id: &str,
    register: &Register,
) -> Result<std::result::Result<bool, String>> {
    let before = store.stat(id.as_bytes())?;
    if before.state != State::Committed {
        return Ok(Ok(false));
    }
    let options = MountOptions {
        flags: MountFlags::READ_ONLY | MountFlags::DETACHED,
        ..Default::default()
    };
    let mount = store.mount(id.as_bytes(), &options)?;
    // Held, it stays; so this tells whether it is the one from before.
    let after = store.stat(id.as_bytes())?;
    if after.created != before.created {
        return Ok(Ok(false));
    }
    Ok((|| {
        let root = mount.fd().ok_or("a detached mount without a descriptor")?;
        let seen = look(root, false).map_err(|why| format!("{id}: {why}"))?;
        register.same(&after, "tree", &seen.digest)?;
        if let Some(tree) = expected(store, &after) {
            if tree != seen.tree {
                return Err(format!("{id}: {}", difference(&tree, &seen.tree)));
            }
        }
        Ok(true)
    })())
}

fn difference(expected: &Tree, seen: &Tree) -> String {
    let only = |a: &BTreeMap<String, Node>, b: &BTreeMap<String, Node>| {
        let not = a.iter().filter(|(path, node)| b.get(*path) != Some(node));
        not.map(|(path, _)| path.clone()).collect::<Vec<_>>()
    };
    format!(
        "missing {:?}, not expected {:?}",
        only(expected, seen),
        only(seen, expected)
    )
}

/// One line for the table of what was said.
pub fn said(call: &str, error: &Error) -> String {
    let known = [
        (Errno::NOENT, "ENOENT"),
        (Errno::EXIST, "EEXIST"),
        (Errno::BUSY, "EBUSY"),
        (Errno::ROFS, "EROFS"),
        (Errno::NOTEMPTY, "ENOTEMPTY"),
        (Errno::INVAL, "EINVAL"),
        (Errno::IO, "EIO"),
        (Errno::STALE, "ESTALE"),
        (Errno::NOSPC, "ENOSPC"),
    ];
    let errno = error.errno();
    let name = known.iter().find(|known| known.0 == errno);
    let number = format!("errno {}", errno.raw_os_error());
    format!(
        "{call} {} {:?}",
        name.map_or(&number[..], |known| known.1),
        error.code()
    )
}
