//! One process of the torture: two threads that do whatever the dice say to the same few layers.

use crate::judge::{self, Register};
use crate::recipe::{self, Dice};
use ovl::error::{Error, Result};
use ovl::store::{OpenOptions as Opening, *};
use ovl::watch::Watch;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So few that they collide all the time.
pub const IDS: u64 = 9;
const THREADS: u64 = 2;
/// Nobody waits as long: several locks, each up to ten seconds, and work between them.
pub const HANG: Duration = Duration::from_secs(90);
/// Worth a line in the report.
const SLOW: Duration = Duration::from_secs(1);

/// The files by which the processes of one run know and tell each other things.
pub struct Desk {
    pub base: PathBuf,
}

impl Desk {
    pub fn home(&self) -> PathBuf {
        self.base.join("home")
    }

    pub fn register(&self) -> Register {
        Register(self.base.join("register"))
    }

    /// One write each: lines of several processes do not mix.
    fn append(&self, file: &str, line: &str) {
        let path = self.base.join(file);
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }

    /// What must not be.
    pub fn finding(&self, what: &str) {
        self.append("findings", &format!("{what}\n"));
    }

    /// What a call said, once for each process.
    fn note(&self, what: &str) {
        self.append("said", &format!("{what}\n"));
    }
}

struct Worker<'a> {
    desk: &'a Desk,
    store: &'a Store,
    slot: u64,
    dice: Dice,
    held: Vec<Mount>,
    /// When the call began that goes on, in milliseconds since `start`; 0 for none.
    since: &'a AtomicU64,
    start: Instant,
    said: &'a Mutex<BTreeSet<String>>,
    done: File,
}

/// Works until its standard input ends.
pub fn work(base: &Path, slot: u64, seed: u64) {
    let desk = Desk {
        base: base.to_path_buf(),
    };
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    let sinces: Vec<AtomicU64> = (0..THREADS).map(|_| AtomicU64::new(0)).collect();
    let said = Mutex::new(BTreeSet::new());
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let store = Store::open(desk.home().as_os_str().as_bytes(), Opening::default());
    let store = match store {
        Ok(store) => store,
        Err(error) => {
            desk.finding(&format!("open: {error}"));
            return;
        }
    };
    std::thread::scope(|scope| {
        for (thread, since) in sinces.iter().enumerate() {
            let (desk, store, stop, said) = (&desk, &store, &stop, &said);
            scope.spawn(move || {
                let _caught = Findings(desk);
                let done = desk.base.join(format!("done/{slot}"));
                let done = OpenOptions::new().append(true).create(true).open(done);
                let mut worker = Worker {
                    desk,
                    store,
                    slot,
                    dice: Dice::new(seed * THREADS + thread as u64 + 1),
                    held: Vec::new(),
                    since,
                    start,
                    said,
                    done: done.unwrap(),
                };
                while !stop.load(Ordering::Relaxed) {
                    worker.step();
                }
                worker.release();
            });
        }
        // A call that never returns is seen from outside it.
        let (desk, stop, sinces) = (&desk, &stop, &sinces);
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(50));
                let now = start.elapsed().as_millis() as u64;
                for since in sinces {
                    let since = since.load(Ordering::Relaxed);
                    if since > 0 && now.saturating_sub(since) > HANG.as_millis() as u64 {
                        desk.finding(&format!("a call hangs in process {slot}: {}", stacks()));
                        std::process::exit(3);
                    }
                }
            }
        });
        let _ = std::io::stdin().read(&mut [0; 1]);
        stop.store(true, Ordering::Relaxed);
    });
    drop(store);
    let after = descriptors();
    if after != before {
        desk.finding(&format!("descriptors: {before} before, {after} after"));
    }
}

/// A panic is a finding.
struct Findings<'a>(&'a Desk);

impl Drop for Findings<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.finding("a thread of a worker panicked");
        }
    }
}

/// In which system calls the threads are.
fn stacks() -> String {
    let mut all = String::new();
    for task in fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
    {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        all += &format!("[{} | {}] ", read("syscall").trim(), read("wchan").trim());
    }
    all
}

impl Worker<'_> {
    /// Makes a call, and looks at what it says.
    fn call<T>(
        &mut self,
        name: &'static str,
        call: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Option<T> {
        let began = Instant::now();
        let now = began.duration_since(self.start).as_millis() as u64;
        self.since.store(now.max(1), Ordering::Relaxed);
        let done = call(self);
        self.since.store(0, Ordering::Relaxed);
        let took = began.elapsed();
        let line = format!("{name} {}\n", u8::from(done.is_ok()));
        let _ = self.done.write_all(line.as_bytes());
        if took > SLOW {
            let how = done
                .as_ref()
                .err()
                .map_or(String::new(), |e| judge::said(name, e));
            self.desk
                .append("slow", &format!("{name} {} ms {how}\n", took.as_millis()));
        }
        match done {
            Ok(done) => Some(done),
            Err(error) => {
                self.say(name, &error, took);
                None
            }
        }
    }

    fn say(&self, name: &'static str, error: &Error, took: Duration) {
        let line = judge::said(name, error);
        if self.said.lock().unwrap().insert(line.clone()) {
            self.desk.note(&line);
        }
        if !judge::may_say(name, error, took) {
            self.desk.finding(&format!("{line}: {error}"));
        }
    }

    fn id(&mut self) -> String {
        format!("id{}", self.dice.roll(IDS))
    }

    fn parent(&mut self, id: &str) -> Option<String> {
        let parent = self.id();
        (parent != id && self.dice.roll(3) > 0).then_some(parent)
    }

    fn step(&mut self) {
        match self.dice.roll(50) {
            0..=6 => self.create(),
            7..=13 => self.apply(),
            14..=16 => self.commit(),
            17..=22 => self.mount(),
            23..=26 => self.write(),
            27..=29 => self.unmount(),
            30..=31 => self.unmount_at(),
            32..=41 => self.remove(),
            42 => self.verify(),
            43..=44 => self.diff(),
            45..=47 => self.ask(),
            48 => {
                self.call("cleanup", |w| w.store.cleanup(&mut Watch::default()));
            }
            _ => self.check(),
        }
        while self.held.len() > 1 {
            self.unmount();
        }
    }

    fn create(&mut self) {
        let id = self.id();
        let parent = self.parent(&id);
        let mut flags = CreateFlags::empty();
        let (live, flat, sync) = (self.dice.roll(3), self.dice.roll(6), self.dice.roll(12));
        flags.set(CreateFlags::LIVE, live == 0);
        flags.set(CreateFlags::FLAT, flat == 0 && parent.is_some());
        flags.set(CreateFlags::SYNC, sync == 0);
        self.call("create", |w| {
            let parent = parent.as_ref().map(|parent| parent.as_bytes());
            w.store
                .create(id.as_bytes(), parent, flags, &mut Watch::default())
        });
    }

    fn durability(&mut self) -> Durability {
        match self.dice.roll(12) {
            0 => Durability::Default,
            1 => Durability::Verified,
            _ => Durability::None,
        }
    }

    fn apply(&mut self) {
        let id = self.id();
        let parent = self.parent(&id);
        let tar = recipe::tar(self.dice.roll(recipe::COUNT));
        let kind = match (self.dice.roll(3), &parent) {
            (0, _) => Some(Kind::Root),
            (1, Some(_)) => Some(Kind::Overlay),
            _ => None,
        };
        let mut flags = ApplyFlags::empty();
        flags.set(ApplyFlags::WRITABLE, self.dice.roll(3) == 0);
        let options = ApplyOptions {
            flags,
            parent: parent.as_ref().map(|parent| parent.as_bytes()),
            kind,
            durability: self.durability(),
            ..Default::default()
        };
        self.call("apply", |w| {
            let mut tar = &tar[..];
            w.store
                .apply(id.as_bytes(), &mut tar, &options, &mut Watch::default())
        });
    }

    fn commit(&mut self) {
        let id = self.id();
        let durability = self.durability();
        self.call("commit", |w| {
            let watch = &mut Watch::default();
            w.store
                .commit(id.as_bytes(), durability, CommitFlags::empty(), watch)
        });
    }

    fn mount(&mut self) {
        let id = self.id();
        let mut flags = MountFlags::empty();
        flags.set(MountFlags::READ_ONLY, self.dice.roll(3) == 0);
        match self.dice.roll(6) {
            0 => flags |= MountFlags::KEEP,
            1 | 2 => flags |= MountFlags::DETACHED,
            _ => {}
        }
        flags.set(MountFlags::VOLATILE, self.dice.roll(4) == 0);
        let at = self
            .desk
            .base
            .join(format!("at/{}-{}", self.slot, self.dice.roll(2)));
        let target = self.dice.roll(4) == 0 && !flags.contains(MountFlags::DETACHED);
        let options = MountOptions {
            flags,
            target: target.then_some(at.as_os_str().as_bytes()),
            label: None,
        };
        if let Some(mount) = self.call("mount", |w| w.store.mount(id.as_bytes(), &options)) {
            self.held.push(mount);
        }
    }

    /// Changes in one of the mounts, each such that a kill leaves nothing that a file's name belies.
    fn write(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let at = self.dice.roll(self.held.len() as u64) as usize;
        let Some(fd) = self.held[at].fd() else { return };
        let fd = fd.as_raw_fd();
        let root = PathBuf::from(format!("/proc/self/fd/{fd}"));
        let dir = match self.dice.roll(2) {
            0 => root.join(format!("d{}", self.dice.roll(4))),
            _ => root.clone(),
        };
        for _ in 0..self.dice.roll(6) {
            let (seed, length) = (self.dice.number(), self.dice.roll(60_000) as usize);
            let done = match self.dice.roll(7) {
                0..=2 => {
                    let new = dir.join(format!(".tmp-{seed:x}"));
                    let name = dir.join(recipe::name("w", seed, length));
                    fs::write(&new, recipe::content(seed, length))
                        .and_then(|()| fs::rename(new, name))
                }
                3 => fs::create_dir(&dir),
                4 => fs::remove_dir_all(&dir),
                5 => first(&dir).map_or(Ok(()), fs::remove_file),
                _ => first(&dir).map_or(Ok(()), |file| {
                    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
                    fs::set_permissions(file, mode)
                }),
            };
            if let Err(error) = done {
                // Others write there too, the view may be for reading, the disk full.
                let broken = [libc::EIO, libc::EUCLEAN, libc::EBADMSG, libc::EFAULT];
                if error
                    .raw_os_error()
                    .is_some_and(|errno| broken.contains(&errno))
                {
                    self.desk.finding(&format!("writing in a mount: {error}"));
                }
            }
        }
        if let Err(wrong) = judge::look(fd, true) {
            self.desk.finding(&format!("in a mount: {wrong}"));
        }
    }

    fn unmount(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let at = self.dice.roll(self.held.len() as u64) as usize;
        let mount = self.held.swap_remove(at);
        let (way, flags) = match self.dice.roll(8) {
            0 => (1, UnmountFlags::empty()),
            1 => (0, UnmountFlags::LAZY),
            _ => (0, UnmountFlags::empty()),
        };
        if way == 1 {
            // As one who dies.
            drop(mount);
            return;
        }
        self.call("unmount", |_| {
            // The handle of one that is busy goes, too.
            mount.unmount(flags).map_err(|(_, error)| error)
        });
    }

    fn release(&mut self) {
        while !self.held.is_empty() {
            self.unmount();
        }
    }

    fn unmount_at(&mut self) {
        let id = self.id();
        let flags = match self.dice.roll(4) {
            0 => UnmountFlags::LAZY,
            _ => UnmountFlags::empty(),
        };
        self.call("unmount_at", |w| w.store.unmount_at(id.as_bytes(), flags));
    }

    fn remove(&mut self) {
        let id = self.id();
        let flags = match self.dice.roll(4) {
            0 => RemoveFlags::DEFER,
            _ => RemoveFlags::empty(),
        };
        self.call("remove", |w| {
            w.store.remove(id.as_bytes(), flags, &mut Watch::default())
        });
    }

    fn verify(&mut self) {
        let id = self.id();
        let register = self.desk.register();
        // What a mount may say, this may.
        if let Some(Err(wrong)) = self.call("mount", |w| judge::verify(w.store, &id, &register)) {
            self.desk.finding(&wrong);
        }
    }

    fn diff(&mut self) {
        let (id, other) = (self.id(), self.id());
        let against = match self.dice.roll(4) {
            0 => Against::Nothing,
            1 => Against::Layer(other.as_bytes()),
            _ => Against::Parent,
        };
        let before = self.store.stat(id.as_bytes()).ok();
        let mut tar = Vec::new();
        let info = self.call("diff", |w| {
            let options = DiffOptions::default();
            w.store.diff(
                id.as_bytes(),
                against,
                &mut tar,
                &options,
                &mut Watch::default(),
            )
        });
        let after = self.store.stat(id.as_bytes()).ok();
        let (Some(info), Some(before), Some(after)) = (info, before, after) else {
            return;
        };
        let same = before.state == State::Committed && before.created == after.created;
        if same && against == Against::Parent {
            let digest = info.diff_id.map(|id| id.to_string()).unwrap_or_default();
            if let Err(wrong) = self.desk.register().same(&after, "diff", &digest) {
                self.desk.finding(&wrong);
            }
        }
    }

    fn ask(&mut self) {
        let (id, other) = (self.id(), self.id());
        let watch = &mut Watch::default();
        match self.dice.roll(6) {
            0 | 1 => {
                let info = self.call("stat", |w| w.store.stat(id.as_bytes()));
                if info.is_some_and(|info| info.id != id) {
                    self.desk
                        .finding(&format!("stat of {id} tells of another layer"));
                }
            }
            2 => drop(self.call("list", |w| w.store.list())),
            3 => drop(self.call("exists", |w| w.store.exists(id.as_bytes()))),
            4 => drop(self.call("changes", |w| {
                w.store
                    .changes(id.as_bytes(), Against::Layer(other.as_bytes()), watch)
            })),
            _ => drop(self.call("mount_spec", |w| {
                w.store.mount_spec(id.as_bytes(), SpecFlags::empty(), None)
            })),
        }
    }

    /// While others work there may be leftovers, but no layer that is not whole.
    fn check(&mut self) {
        let found = self.call("check", |w| {
            w.store.check(CheckFlags::empty(), &mut Watch::default())
        });
        for problem in found.into_iter().flatten() {
            // What a kill leaves until the next cleanup.
            let stale = ["leftover", "stale hint", "dead pin", "mount", "temporary"];
            if !problem.note && !stale.contains(&problem.kind) {
                self.desk.finding(&format!("check: {problem:?}"));
            }
        }
    }
}

fn first(dir: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(dir).ok()?.flatten();
    entries
        .find(|entry| entry.path().is_file())
        .map(|entry| entry.path())
}
