//! Runs of the rig: stories are told, cut, and judged; figures are added up.

use super::cut::{self, States};
use super::disk::{Content, Disk, Entry};
use super::fuse::Server;
use super::judge::{self, Verdict};
use super::lies::Lies;
use super::machine;
use super::record::{self, How, Record};
use super::scripts::{self, Script};
use crate::support::fsys;
use std::collections::BTreeMap;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a run came to.
#[derive(Default, Debug)]
pub struct Sum {
    pub cuts: usize,
    pub layers: usize,
    pub wrong: usize,
    pub unmountable: usize,
    pub loose: usize,
    pub unseen: usize,
    pub flushes: usize,
}

/// One run over one file system.
pub struct Run<'r> {
    kind: &'r str,
    cuts: usize,
    seed: u64,
}

impl<'r> Run<'r> {
    pub fn new(kind: &'r str, cuts: usize) -> Self {
        let seed = std::env::var("OVL_POWER_SEED").ok();
        let seed = seed.map_or(1, |seed| seed.parse().expect("OVL_POWER_SEED: a number"));
        Run { kind, cuts, seed }
    }

    /// All stories; tells what is wrong, and keeps the log of it.
    pub fn honest(&self) -> Sum {
        let all = scripts::all();
        let stories = std::env::var("OVL_POWER_STORIES").ok();
        let wanted = |script: &Script| {
            let named = |names: &String| names.split(',').any(|name| name == script.name);
            stories.as_ref().is_none_or(named)
        };
        let all: Vec<Script> = all.into_iter().filter(wanted).collect();
        self.run(&all, None)
    }

    /// The plainest story, or those asked for, with syncs that are lies.
    pub fn lying(&self, lies: Lies) -> Sum {
        let stories = std::env::var("OVL_POWER_STORIES").unwrap_or_else(|_| "apply".to_string());
        let mut all = scripts::all();
        all.retain(|script| stories.split(',').any(|name| name == script.name));
        self.run(&all, Some(lies))
    }

    /// The moments at which a container had synced a file.
    pub fn synced(&self) {
        for (name, count) in [("container", 2), ("again", 5)] {
            self.synced_in(name, count);
        }
    }

    fn synced_in(&self, name: &str, count: usize) {
        let all = scripts::all();
        let script = all.iter().find(|script| script.name == name).unwrap();
        fsys::with_mounts(|base| {
            let server = serve(&base.join("disks"));
            let fresh = machine::make(self.kind, base).unwrap();
            let (dir, disk) = (base.join("told"), (self.kind, &fresh));
            // Neighbours might have the rest written out too.
            let how = How {
                lies: None,
                neighbours: None,
            };
            let record = record::record(&server, &dir, disk, script, how);
            let synced = &record.notes.synced;
            assert_eq!(synced.len(), count);
            for one in synced {
                let (number, mode) = (0, cut::Mode::All);
                let cut = cut::Cut {
                    number,
                    at: one.at,
                    mode,
                };
                let content = States::new(&record.base, &record.log).at(cut, self.seed);
                let verdict = judge::judge(&server, &dir, &record, script, cut, content);
                assert_eq!(verdict.wrong, [""; 0], "{}, {}", self.kind, one.path);
                assert_eq!(verdict.unmountable, None);
            }
        });
    }

    fn run(&self, scripts: &[Script], lies: Option<Lies>) -> Sum {
        let begun = std::time::Instant::now();
        let mut sum = Sum::default();
        fsys::with_mounts(|base| {
            let server = serve(&base.join("disks"));
            let fresh = machine::make(self.kind, base).unwrap();
            for (number, script) in scripts.iter().enumerate() {
                let share =
                    self.cuts * (number + 1) / scripts.len() - self.cuts * number / scripts.len();
                let disk = (self.kind, &fresh);
                let how = How {
                    lies,
                    neighbours: Some(self.seed),
                };
                let dir = base.join("told");
                let record = record::record(&server, &dir, disk, script, how);
                self.cut(base, &record, script, share, lies, &mut sum);
            }
        });
        let what = lies.map_or(String::new(), |lies| {
            format!(", its syncs being lies ({lies:?})")
        });
        let Sum {
            cuts,
            layers,
            wrong,
            unmountable,
            loose,
            unseen,
            flushes,
        } = &sum;
        tell(&format!(
            "power: {}{what}: {cuts} cuts ({flushes} flushes), {layers} layers looked at, {wrong} wrong; \
             {loose} (and {unseen} that check cannot see) damaged where nothing was promised, \
             {unmountable} unmountable; {:.1} s",
            self.kind,
            begun.elapsed().as_secs_f64(),
        ));
        sum
    }

    /// Cuts one log, on several threads.
    fn cut(
        &self,
        base: &Path,
        record: &Record,
        script: &Script,
        count: usize,
        lies: Option<Lies>,
        sum: &mut Sum,
    ) {
        let mut cuts = cut::cuts(&record.log, &record.notes.marks(), self.seed, 0..count);
        cuts.sort_by_key(|cut| cut.at);
        let states = Mutex::new((States::new(&record.base, &record.log), cuts.iter()));
        let verdicts = Mutex::new(BTreeMap::new());
        let job = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..jobs() {
                scope.spawn(|| {
                    let place = base.join(format!("job{}", job.fetch_add(1, Ordering::Relaxed)));
                    let server = serve(&place.join("disks"));
                    loop {
                        let (cut, content) = {
                            let (states, cuts) = &mut *states.lock().unwrap();
                            let Some(cut) = cuts.next() else { break };
                            (*cut, states.at(*cut, self.seed))
                        };
                        let dir = place.join("cut");
                        let verdict = judge::judge(&server, &dir, record, script, cut, content);
                        verdicts.lock().unwrap().insert(cut.number, (cut, verdict));
                    }
                });
            }
        });
        let flush = |entry: &&Entry| matches!(entry, Entry::Flush);
        sum.flushes += record.log.iter().filter(flush).count();
        let mut kept = std::env::var_os("OVL_POWER_KEEP").is_some() && record.save().is_ok();
        // What lies lead to is no news.
        let told = std::env::var_os("OVL_POWER_TELL").is_some();
        for (number, (cut, verdict)) in verdicts.into_inner().unwrap() {
            sum.cuts += 1;
            sum.layers += verdict.layers;
            sum.loose += verdict.loose;
            sum.unseen += verdict.unseen;
            sum.unmountable += usize::from(verdict.unmountable.is_some());
            sum.wrong += usize::from(!verdict.wrong.is_empty() || verdict.unmountable.is_some());
            let noteworthy = !verdict.wrong.is_empty() || verdict.unmountable.is_some();
            if noteworthy && (lies.is_none() || told) {
                if !kept && lies.is_none() {
                    kept = record.save().is_ok();
                }
                let name = format!("{}/{}/{}/{number}", record.kind, record.script, self.seed);
                report(&name, cut, &verdict, record);
            }
        }
    }
}

/// How many disks are looked at at once.
fn jobs() -> usize {
    let told = std::env::var("OVL_POWER_JOBS").ok();
    told.map_or(2, |jobs| jobs.parse().expect("OVL_POWER_JOBS: a number"))
}

fn serve(dir: &Path) -> Server {
    std::fs::create_dir_all(dir).unwrap();
    Server::start(dir).unwrap()
}

/// Says a line that the harness does not swallow.
pub fn tell(line: &str) {
    use std::io::Write;
    let _ = std::io::stderr().write_all(format!("\n{line}\n").as_bytes());
}

fn report(name: &str, cut: cut::Cut, verdict: &Verdict, record: &Record) {
    let state = if verdict.wrong.is_empty() {
        "UNMOUNTABLE"
    } else {
        "WRONG"
    };
    tell(&format!(
        "{state} {name}: {:?} at {} of {}; look at it again with \
         OVL_POWER_ONLY={name} cargo test --test power nothing_is_lost",
        cut.mode,
        cut.at,
        record.log.len(),
    ));
    for what in verdict.wrong.iter().chain(&verdict.unmountable) {
        tell(&format!("    {what}"));
    }
}

/// Looks at the one cut that OVL_POWER_ONLY names. OVL_POWER_IMAGE: writes the disk to a file too.
pub fn only() {
    let name = std::env::var("OVL_POWER_ONLY").unwrap();
    let words: Vec<&str> = name.split('/').collect();
    let [kind, script, seed, number] = words[..] else {
        panic!("OVL_POWER_ONLY: FILE SYSTEM/STORY/SEED/NUMBER");
    };
    let (seed, number) = (seed.parse().unwrap(), number.parse().unwrap());
    let record = Record::load(kind, script)
        .unwrap_or_else(|e| panic!("{}: {e}", record::path(kind, script).display()));
    let all = scripts::all();
    let script = all
        .iter()
        .find(|one| one.name == script)
        .expect("the story");
    let cut = cut::cuts(&record.log, &record.notes.marks(), seed, number..number + 1)[0];
    for done in &record.notes.done {
        tell(&format!(
            "{:>6} {:>6} {:?}",
            done.begin,
            done.end,
            script.calls()[done.call]
        ));
    }
    let content = States::new(&record.base, &record.log).at(cut, seed);
    if let Some(image) = std::env::var_os("OVL_POWER_IMAGE") {
        write_image(&PathBuf::from(image), &content);
    }
    let verdict = fsys::with_mounts(|base| {
        let server = serve(&base.join("disks"));
        judge::judge(&server, &base.join("cut"), &record, script, cut, content)
    });
    report(&name, cut, &verdict, &record);
    assert!(verdict.wrong.is_empty(), "wrong, as told above");
}

fn write_image(path: &Path, content: &Content) {
    let file = std::fs::File::create(path).unwrap();
    file.set_len(content.size()).unwrap();
    for (at, block) in content.blocks() {
        file.write_all_at(block, (at * block.len()) as u64).unwrap();
    }
}

/// What a device above a disk is asked comes to it: writes at once, a flush for each sync, and
/// holes.
pub fn flushes() {
    fsys::with_mounts(|base| {
        let server = serve(&base.join("disks"));
        let disk = Disk::new(Content::new(1 << 20), true);
        let served = server.serve(disk.clone());
        let (device, name) = machine::attach(&served.path()).unwrap();
        let sync = libc::O_DIRECT | libc::O_DSYNC;
        let file = std::fs::File::options()
            .write(true)
            .custom_flags(sync)
            .open(&name)
            .unwrap();
        #[repr(align(4096))]
        struct Page([u8; 4096]);
        disk.begin();
        file.write_all_at(&Page([7; 4096]).0, 8192).unwrap();
        file.write_all_at(&Page([8; 4096]).0, 0).unwrap();
        let log = disk.end();
        let mut shown: Vec<String> = log.iter().map(shown).collect();
        // One for the request itself, and one that the device's own sync asks for.
        shown.dedup();
        assert_eq!(shown, ["8192+4096", "flush", "0+4096", "flush"]);
        let mut page = [0; 4096];
        disk.read(8192, &mut page);
        assert_eq!(page, [7; 4096]);
        drop((file, device));
    });
}

fn shown(entry: &Entry) -> String {
    match entry {
        Entry::Write(at, data) => format!("{at}+{}", data.len()),
        Entry::Zero(at, len) => format!("{at}-{len}"),
        Entry::Flush => "flush".to_string(),
    }
}
