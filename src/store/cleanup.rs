//! Taking away what does not belong in the store, for as long as the caller has time.

use super::damaged::is_temporary;
use super::layer::{Layer, is_absent};
use super::lock::{self, Mode};
use super::pin::Pins;
use super::session::{self, Session};
use super::{CleanupOptions, CleanupReport, State, Store, format, id, manifest};
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::mount;
use crate::sys::dir::DirBuf;
use crate::sys::fs;
use crate::sys::{AsFd, OwnedFd};
use crate::tree::remove_tree;
use crate::watch::Watch;
use std::time::{Duration, Instant};

impl Store {
    /// [`Store::cleanup_with`] with all the time that it takes.
    pub fn cleanup(&self, watch: &mut Watch<'_>) -> Result<CleanupReport> {
        self.cleanup_with(&CleanupOptions::default(), watch)
    }

    /// Takes away what killed processes left: work in progress, removed layers, layers that were
    /// never made, held mounts, and what is out of date in layers. No layer that has an id and
    /// anything to lose is touched. What cannot be taken away is counted, and told to the log.
    pub fn cleanup_with(
        &self,
        options: &CleanupOptions,
        watch: &mut Watch<'_>,
    ) -> Result<CleanupReport> {
        let done = self.clean(options.budget, watch);
        watch.until(None);
        done.map_err(|e| e.at(self.path().unwrap_or_default()).op("cleanup"))
    }

    fn clean(&self, budget: Option<Duration>, watch: &mut Watch<'_>) -> Result<CleanupReport> {
        self.writable()?;
        watch.check()?;
        let start = Instant::now();
        let end = budget.and_then(|budget| start.checked_add(budget));
        let half = budget.and_then(|budget| start.checked_add(budget / 2));
        let mut report = CleanupReport::default();
        let mut ids = self.ids()?;
        if end.is_some() && !ids.is_empty() {
            // Each layer has its turn, however short the time always is.
            let at = super::now().nsec as usize % ids.len();
            ids.rotate_left(at);
        }
        // The names first: what can be said of each is little work. But neither half is to wait
        // for ever for the other.
        watch.until(half);
        self.sweep_names(&mut report);
        match self.sweep_blobs() {
            Ok(Some(dropped)) => report.dropped += dropped,
            Ok(None) => report.busy += 1,
            Err(error) => {
                report.busy += 1;
                self.warn(&format!("blob: {error}"));
            }
        }
        self.sweep_layers(&mut ids, &mut report, watch)?;
        watch.until(end);
        let mut trash = self.sweep(&self.stage, "stage", &mut report, watch)?;
        trash.add(self.sweep(&self.trash, "trash", &mut report, watch)?);
        if !ids.is_empty() {
            self.sweep_layers(&mut ids, &mut report, watch)?;
            // Layers that were never made lie there now.
            trash = self.sweep(&self.stage, "stage", &mut report, watch)?;
            trash.add(self.sweep(&self.trash, "trash", &mut report, watch)?);
        }
        report.busy += trash.busy;
        report.left += trash.left + ids.len() as u64;
        Ok(report)
    }

    /// Files that were to become `ovl-store`, which is there: an open store has read it.
    fn sweep_names(&self, report: &mut CleanupReport) {
        let Ok(home) = super::again(&self.home) else {
            return;
        };
        for name in DirBuf::default().sorted_names(home).unwrap_or_default() {
            if format::is_temporary(&name) && fs::unlink(&self.home, &name).is_ok() {
                report.dropped += 1;
            }
        }
    }

    fn sweep(
        &self,
        dir: &OwnedFd,
        what: &str,
        report: &mut CleanupReport,
        watch: &mut Watch<'_>,
    ) -> Result<Remaining> {
        let mut remaining = Remaining::default();
        let names = DirBuf::default().sorted_names(super::again(dir)?);
        for name in names.call_at("getdents64", what)? {
            match watch.check() {
                // The first is begun in any case: a short time is of use too.
                Err(_) if watch.is_late() && !remaining.begun => {}
                Err(_) if watch.is_late() => {
                    remaining.left += 1;
                    continue;
                }
                checked => checked?,
            }
            let _lock = match leftover(dir, &name)? {
                Leftover::Free(lock) => lock,
                Leftover::Gone => continue,
                Leftover::Held => {
                    remaining.busy += 1;
                    continue;
                }
                Leftover::Unreadable(error) => {
                    remaining.busy += 1;
                    self.warn(&format!("{what}/{}: {error}", name.escape_ascii()));
                    continue;
                }
            };
            remaining.begun = true;
            let gone = match what {
                "stage" => remove_abandoned(dir, &name, watch),
                _ => remove_tree(dir, &name, watch),
            };
            match gone {
                Ok(()) => report.removed += 1,
                // It became a layer, or another cleanup had it.
                Err(error) if error.errno() == Errno::NOENT => {}
                Err(_) if watch.is_late() => remaining.left += 1,
                Err(error) if error.code() == Code::Cancelled => return Err(error),
                Err(error) => {
                    remaining.busy += 1;
                    self.warn(&format!("{what}/{}: {error}", name.escape_ascii()));
                }
            }
        }
        Ok(remaining)
    }

    /// Looks after layers until the time is up; those that were looked at leave the list.
    fn sweep_layers(
        &self,
        ids: &mut Vec<String>,
        report: &mut CleanupReport,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let (mut covered, mut unmounted) = (Vec::new(), report.unmounted);
        while let Some(id) = ids.last() {
            match watch.check() {
                Err(_) if watch.is_late() => break,
                checked => checked?,
            }
            let result = match self.layer(id) {
                Ok(layer) => {
                    let mut done = Tidied::default();
                    let tidied = self.tidy(&layer, &mut done);
                    done.add_to(report);
                    match tidied {
                        // It went meanwhile.
                        Err(_) if matches!(self.is_there(&layer), Ok(false)) => Ok(()),
                        tidied => tidied,
                    }
                }
                Err(error) if is_absent(&error) => match self.discard(id) {
                    // Somebody made it meanwhile, or it is damaged and has something to lose.
                    Err(error) if error.errno() == Errno::EXIST => Ok(()),
                    done => done.map(drop),
                },
                // A later version knows what to do with it.
                Err(error) if error.code() == Code::Format => Ok(()),
                Err(error) => Err(error),
            };
            let id = ids.pop().unwrap_or_default();
            match result {
                // Its mount may be under another layer's, which may end.
                Err(error) if error.code() == Code::Mounted => covered.push((id, error)),
                Err(error) => {
                    report.busy += 1;
                    self.warn(&format!("layer/{id}: {error}"));
                }
                Ok(()) => {}
            }
            if ids.is_empty() && report.unmounted > unmounted && !covered.is_empty() {
                unmounted = report.unmounted;
                ids.extend(covered.drain(..).map(|(id, _)| id));
            }
        }
        for (id, error) in covered {
            report.busy += 1;
            self.warn(&format!("layer/{id}: {error}"));
        }
        Ok(())
    }

    /// Takes out of a layer what is out of date, as far as nobody is working on it.
    pub(super) fn tidy(&self, layer: &Layer, done: &mut Tidied) -> Result<()> {
        let pins = self.tidy_pins(layer, done);
        self.tidy_session(layer)?;
        let gone = self.stale_hints(layer)?;
        let rest = self.unfinished(layer)?;
        if !gone.is_empty() || !rest.is_empty() {
            // Whoever makes a child holds the layer locked, and relies on the hint.
            if let Some(_alone) = self.alone(layer)? {
                self.tidy_locked(layer, done)?;
            }
        }
        pins
    }

    /// Hints and files out of date; the caller has the layer locked, alone.
    pub(super) fn tidy_locked(&self, layer: &Layer, done: &mut Tidied) -> Result<()> {
        // Read again: what is told now is so.
        let layer = self.read_layer(&layer.id, super::again(&layer.fd)?)?;
        if let Ok(dir) = layer.open("child") {
            for child in self.stale_hints(&layer)? {
                fs::unlink(&dir, child.as_bytes()).call_at("unlink", &child)?;
                done.dropped += 1;
            }
        }
        for name in self.unfinished(&layer)? {
            fs::unlink(&layer.fd, &name).call_at("unlink", &name)?;
            done.dropped += 1;
        }
        Ok(())
    }

    /// The layer locked alone, if nobody has it and it is still there.
    fn alone(&self, layer: &Layer) -> Result<Option<OwnedFd>> {
        let fd = super::again(&layer.fd)?;
        if !lock::try_lock(&fd, Mode::Exclusive)? {
            return Ok(None);
        }
        let mine = fs::stat(&fd).call("statx")?;
        let there = fs::stat_at(&self.layers, layer.id.as_bytes());
        Ok(there
            .is_ok_and(|there| there.same_inode(&mine))
            .then_some(fd))
    }

    /// The names in `child/` of layers that are not there, or have another parent. Only who holds
    /// the layer alone may believe it.
    pub(super) fn stale_hints(&self, layer: &Layer) -> Result<Vec<String>> {
        let Ok(dir) = layer.open("child") else {
            return Ok(Vec::new());
        };
        let mut stale = Vec::new();
        for name in DirBuf::default().sorted_names(dir).call("getdents64")? {
            let Ok(child) = id::check(&name) else {
                continue;
            };
            if self.is_stale(&layer.id, child) {
                stale.push(child.to_string());
            }
        }
        Ok(stale)
    }

    /// Files of calls that never ended: of `meta`, and the manifest of a layer that was to be
    /// committed.
    pub(super) fn unfinished(&self, layer: &Layer) -> Result<Vec<Vec<u8>>> {
        let mut names = DirBuf::default()
            .sorted_names(super::again(&layer.fd)?)
            .call_at("getdents64", &layer.id)?;
        let writable = layer.meta.state == State::Writable;
        names.retain(|name| {
            let unused = is_temporary(name) || (writable && name == manifest::FILE.as_bytes());
            unused && fs::stat_at(&layer.fd, name).is_ok_and(|meta| meta.kind == fs::Kind::File)
        });
        Ok(names)
    }

    /// Mounts that ended without us, as detached ones do, ended in order all the same.
    fn tidy_session(&self, layer: &Layer) -> Result<()> {
        if session::of(layer)? != (Session::Current { volatile: false }) {
            return Ok(());
        }
        // One that is removed meanwhile is not deleted while the kernel is asked about it.
        let lock = super::again(&layer.fd)?;
        let pins = layer.open("pin")?;
        if lock::try_lock(&lock, Mode::Shared)? && lock::try_lock(&pins, Mode::Exclusive)? {
            session::end_by_pins(&pins, self.marks);
        }
        Ok(())
    }

    /// Pins of mounts that have ended, mounts that killed processes left, and the places of a
    /// moment in which older kernels mount.
    pub(super) fn tidy_pins(&self, layer: &Layer, done: &mut Tidied) -> Result<()> {
        let count = || match layer.open("pin") {
            Ok(dir) => DirBuf::default().sorted_names(dir).call("getdents64"),
            Err(_) => Ok(Vec::new()),
        };
        let before = count()?;
        if before.is_empty() && mount::mounted_at(layer.fd.as_fd(), b"merged")?.is_none() {
            return Ok(());
        }
        if !lock::try_lock(layer.open("pin")?, Mode::Exclusive)? {
            return Ok(());
        }
        let mut pins = self.pins(layer)?;
        let scratch = end_scratch(&pins);
        let ended = pins.end_what_can();
        drop(pins);
        let (ended, busy) = match ended {
            Ok((ended, busy)) => (ended, busy.map_or(Ok(()), Err)),
            Err(error) => (0, Err(error)),
        };
        done.unmounted += ended;
        let gone = before.len().saturating_sub(count()?.len()) as u64;
        done.dropped += gone.saturating_sub(done.unmounted);
        scratch?;
        busy
    }
}

/// Ends what is mounted at places of a moment, and takes these away. Whoever uses one has the pins
/// locked, as the caller has.
fn end_scratch(pins: &Pins) -> Result<()> {
    let names = DirBuf::default().sorted_names(super::again(&pins.dir)?);
    let mut failed = Ok(());
    for name in names.call_at("getdents64", "pin")? {
        if !mount::is_scratch(&name) {
            continue;
        }
        let gone = remove_abandoned(&pins.dir, &name, &mut Watch::default());
        if gone.as_ref().is_err_and(|e| e.errno() != Errno::NOENT) {
            failed = gone;
        }
    }
    failed
}

/// Removes a directory of the store's in which its maker may have been killed while something of
/// his was mounted there; that ends first. Nobody else mounts anything in such a directory.
pub(super) fn remove_abandoned(dir: &OwnedFd, name: &[u8], watch: &mut Watch<'_>) -> Result<()> {
    match remove_tree(dir, name, watch) {
        Err(error) if error.errno() == Errno::BUSY => {}
        done => return done,
    }
    let place = [&super::path_of(dir.as_fd())?, &b"/"[..], name].concat();
    for mounted in mount::mounts_below(dir.as_fd())?.iter().rev() {
        let rest = mounted.path.strip_prefix(&place[..]);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")) {
            mount::unmount_path(&mounted.path, mounted.id, true)?;
        }
    }
    remove_tree(dir, name, watch)
}

/// What an entry of `stage/` or `trash/` is.
pub(super) enum Leftover {
    /// Nobody's: locked by this, if it is something to lock.
    Free(Option<OwnedFd>),
    /// Its maker, or another cleanup, is at work on it.
    Held,
    /// It went.
    Gone,
    /// It cannot be told.
    Unreadable(Error),
}

/// Looks at an entry of `stage/` or `trash/`, and takes it if it is nobody's.
pub(super) fn leftover(dir: &OwnedFd, name: &[u8]) -> Result<Leftover> {
    match fs::open_dir(dir, name) {
        Ok(entry) => Ok(match lock::try_lock(&entry, Mode::Exclusive)? {
            true => Leftover::Free(Some(entry)),
            false => Leftover::Held,
        }),
        Err(Errno::NOENT) => Ok(Leftover::Gone),
        // No directory, or one that its owner shut: nobody can hold it.
        Err(Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => Ok(Leftover::Free(None)),
        Err(errno) => Ok(Leftover::Unreadable(Error::sys(errno, "open"))),
    }
}

/// What was done in one layer.
#[derive(Default)]
pub(super) struct Tidied {
    pub dropped: u64,
    pub unmounted: u64,
}

impl Tidied {
    fn add_to(&self, report: &mut CleanupReport) {
        report.dropped += self.dropped;
        report.unmounted += self.unmounted;
    }
}

/// What a pass through `stage/` or `trash/` did not take away.
#[derive(Default)]
struct Remaining {
    busy: u64,
    left: u64,
    begun: bool,
}

impl Remaining {
    fn add(&mut self, other: Remaining) {
        self.busy += other.busy;
        self.left += other.left;
    }
}
