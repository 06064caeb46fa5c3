//! Making an overlay: the newest way that the kernel has, and the failure that matters.
//!
//! A way that is not there must not be confused with a plan that cannot be. So each step tells
//! which it was: [`Refusal::Absent`] goes on to the next way, [`Refusal::Failed`] is the answer.
//! EINVAL for the first lower can be either; then the same is asked about `/`, which is a good
//! lower everywhere: if that passes too, the way is there and the caller's directory was refused.
//!
//! | what says "not there" | why |
//! |---|---|
//! | ENOSYS, EPERM from fsopen or the first fsconfig | a filter that does not know the call |
//! | EOPNOTSUPP for a descriptor | up to Linux 6.4 overlayfs is mounted through a shim of strings, which takes `lowerdir+` and chokes on it later: strings are not tried |
//! | EINVAL for a descriptor | Linux 6.5 to 6.12 |
//! | EBADF for a descriptor | an O_PATH one, Linux 6.13 and 6.14 |
//! | EINVAL for `lowerdir+` | Linux 6.5 and 6.6 |

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};

use super::context::{Context, Failure};
use super::fd_path;
use super::place::Place;
use super::plan::{Api, Detached, OFF, Overlay};
use super::point::errno_of;
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::fd::short_path;
use crate::sys::fs::open_at;

/// mount(2) takes one page of options; at 19 bytes a lower this many fit beside the rest. (At the 26 of a
/// thread that has descriptors of its own some 150 do.)
const LEGACY_LOWERS: usize = 200;
/// The page, less its NUL.
pub(super) const OPTIONS_MAX: usize = 4095;

/// Why one way did not make the mount.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The kernel, or a filter before it, does not know this way.
    Absent {
        why: Error,
        /// Nor any other that uses a context.
        no_context: bool,
    },
    /// The kernel knows the way and refuses the overlay.
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Failed(error)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Refusal::Failed(failure.into())
    }
}

/// Makes the overlay, detached. On failure errno is what the kernel said and the message holds its
/// words. EOPNOTSUPP when only mount(2) is there and it cannot say this overlay: more than 200
/// lowers, or no `scratch`.
pub fn overlay(plan: &Overlay<'_>) -> Result<Detached> {
    plan.check()?;
    let mut missing: Vec<Error> = Vec::new();
    let mut contexts = true;
    for api in [Api::Descriptors, Api::Strings, Api::Legacy] {
        if api == Api::Strings && !contexts {
            continue;
        }
        match overlay_by(api, plan) {
            Ok(fd) => return Ok(Detached { fd, api }),
            Err(Refusal::Failed(error)) => return Err(with_missing(error, &missing)),
            Err(Refusal::Absent { why, no_context }) => {
                contexts &= !no_context;
                missing.push(why);
            }
        }
    }
    // EPERM is far more often a caller without privilege than a filter.
    match missing
        .iter()
        .position(|error| error.errno() == Errno::PERM)
    {
        Some(at) => Err(missing.swap_remove(at)),
        None => match missing.pop() {
            Some(last) => Err(with_missing(last, &missing)),
            None => Err(Error::invalid("no way to mount was tried")),
        },
    }
}

/// Says beside `error` which newer ways were not there.
fn with_missing(error: Error, missing: &[Error]) -> Error {
    if missing.is_empty() {
        return error;
    }
    let told: Vec<&str> = missing.iter().map(Error::message).collect();
    let (code, errno) = (error.code(), error.errno());
    let message = format!("{} [not there: {}]", error.message(), told.join("; "));
    Error::new(code, errno, message).at(error.path())
}

/// Makes the overlay in one way only.
pub(super) fn overlay_by(api: Api, plan: &Overlay<'_>) -> std::result::Result<OwnedFd, Refusal> {
    match api {
        Api::Descriptors | Api::Strings => by_context(api, plan),
        Api::Legacy => by_mount(plan),
    }
}

fn by_context(api: Api, plan: &Overlay<'_>) -> std::result::Result<OwnedFd, Refusal> {
    let context = Context::open().map_err(filtered)?;
    context
        .set_string("source", &plan.source)
        .map_err(filtered)?;
    for index in 0..plan.lowers.count() {
        let lower = plan.lowers.open(index)?;
        give(&context, api, "lowerdir+", lower.as_fd()).map_err(|failure| match index {
            0 => judge_first(api, failure),
            _ => Refusal::from(failure),
        })?;
    }
    if let Some(upper) = &plan.upper {
        for (key, dir) in [("upperdir", upper.upper), ("workdir", upper.work)] {
            give(&context, api, key, dir).map_err(|failure| match (api, failure.errno) {
                (Api::Descriptors, Errno::BADF) => absent(failure),
                _ => Refusal::from(failure),
            })?;
        }
    }
    for (key, value) in OFF {
        match context.set_string(key, value.as_bytes()) {
            Ok(()) => {}
            // Not known: nothing to turn off.
            Err(failure) if failure.errno == Errno::INVAL => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    for flag in plan.flags() {
        context.set_flag(flag)?;
    }
    if let Some(label) = &plan.label {
        context.set_string("context", label)?;
    }
    if plan.read_only {
        context.set_flag("ro")?;
    }
    context.create()?;
    Ok(context.mount(plan.read_only)?)
}

fn give(
    context: &Context,
    api: Api,
    key: &str,
    dir: BorrowedFd<'_>,
) -> std::result::Result<(), Failure> {
    match api {
        Api::Descriptors => context.set_fd(key, dir),
        Api::Strings | Api::Legacy => context.set_string(key, fd_path(dir).as_bytes()),
    }
}

fn absent(failure: Failure) -> Refusal {
    Refusal::Absent {
        why: failure.into(),
        no_context: false,
    }
}

fn filtered(failure: Failure) -> Refusal {
    match failure.errno {
        Errno::NOSYS | Errno::PERM => Refusal::Absent {
            why: failure.into(),
            no_context: true,
        },
        _ => failure.into(),
    }
}

fn judge_first(api: Api, failure: Failure) -> Refusal {
    match failure.errno {
        Errno::OPNOTSUPP => Refusal::Absent {
            why: failure.into(),
            no_context: true,
        },
        Errno::NOSYS => absent(failure),
        Errno::BADF if api == Api::Descriptors => absent(failure),
        Errno::INVAL if !takes_root(api) => absent(failure),
        _ => failure.into(),
    }
}

/// Whether this way takes `/` as a lower.
fn takes_root(api: Api) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let Ok(root) = open_at(CWD, "/", flags, Mode::empty()) else {
        return false;
    };
    Context::open().is_ok_and(|context| give(&context, api, "lowerdir+", root.as_fd()).is_ok())
}

fn by_mount(plan: &Overlay<'_>) -> std::result::Result<OwnedFd, Refusal> {
    let count = plan.lowers.count();
    if count > LEGACY_LOWERS {
        return Err(cannot(format!(
            "{count} lowers need Linux 6.7 (fsconfig lowerdir+); mount(2) takes {LEGACY_LOWERS}"
        )));
    }
    let Some(scratch) = plan.scratch else {
        return Err(cannot(
            "an overlay without a place needs Linux 6.7 (fsconfig lowerdir+), or a scratch directory"
                .into(),
        ));
    };
    let lowers = (0..count)
        .map(|index| plan.lowers.open(index))
        .collect::<Result<Vec<OwnedFd>>>()?;
    let options = legacy_options(plan, &lowers)?;
    if options.len() > OPTIONS_MAX {
        return Err(cannot(format!(
            "{count} lowers and their options need {} bytes; mount(2) takes {OPTIONS_MAX}, Linux 6.7 (fsconfig lowerdir+) has no such limit",
            options.len()
        )));
    }
    let flags = if plan.read_only {
        nix::mount::MsFlags::MS_RDONLY
    } else {
        nix::mount::MsFlags::empty()
    };
    let mut place = Place::new(scratch)?;
    nix::mount::mount(
        Some(plan.source.as_slice()),
        place.path().as_str(),
        Some("overlay"),
        flags,
        Some(options.as_slice()),
    )
    .map_err(errno_of)
    .call("mount(overlay) (its reason is in the system log)")?;
    place.is_mounted();
    Ok(place.take()?)
}

fn cannot(message: String) -> Refusal {
    Refusal::Absent {
        why: Error::new(Code::Unsupported, Errno::OPNOTSUPP, message),
        no_context: false,
    }
}

fn legacy_options(plan: &Overlay<'_>, lowers: &[OwnedFd]) -> Result<Vec<u8>> {
    let paths: Vec<String> = lowers.iter().map(short_path).collect();
    let mut options = vec![format!("lowerdir={}", paths.join(":")).into_bytes()];
    if let Some(upper) = &plan.upper {
        options.push(format!("upperdir={}", short_path(upper.upper)).into_bytes());
        options.push(format!("workdir={}", short_path(upper.work)).into_bytes());
    }
    options.extend(
        OFF.iter()
            .map(|(key, value)| format!("{key}={value}").into_bytes()),
    );
    options.extend(plan.flags().iter().map(|flag| flag.as_bytes().to_vec()));
    if let Some(label) = &plan.label {
        options.push(context_option(label)?);
    }
    Ok(options.join(&b','))
}

/// `context="LABEL"`: quoted, because the categories of a label are joined by commas.
pub(super) fn context_option(label: &[u8]) -> Result<Vec<u8>> {
    if label.iter().any(|byte| matches!(byte, b'"' | b'\\' | 0)) {
        return Err(Error::invalid(format!(
            "a label cannot hold a quote, a backslash or NUL: {}",
            label.escape_ascii()
        )));
    }
    Ok([b"context=\"", label, b"\""].concat())
}
