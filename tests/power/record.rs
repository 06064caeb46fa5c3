//! A story told on a real file system: its log and what may be seen at each cut of it. It can be
//! kept in a file, so that one cut can be looked at again.

use super::disk::{BLOCK, Content, Disk, Entry};
use super::fuse::Server;
use super::lies::{self, Lies};
use super::machine::Mounted;
use super::noise::Noise;
use super::scripts::Script;
use super::story::{self, Call, Done, Notes, Promise, Shown, Synced, Teller, Version};
use ovl::store::OpenFlags;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

/// See the module's text.
pub struct Record {
    pub kind: String,
    pub script: String,
    /// What the disk held when the log began.
    pub base: Content,
    pub log: Vec<Entry>,
    pub notes: Notes,
}

/// How a story is told.
#[derive(Clone, Copy)]
pub struct How {
    /// Which of its syncs are none.
    pub lies: Option<Lies>,
    /// The seed of what neighbours do meanwhile; none where nobody is.
    pub neighbours: Option<u64>,
}

/// Tells a story on an empty file system of this kind, `fresh`.
pub fn record(
    server: &Server,
    dir: &Path,
    (kind, fresh): (&str, &Content),
    script: &Script,
    how: How,
) -> Record {
    let disk = Disk::new(fresh.clone(), true);
    let mounted = Mounted::new(server, disk.clone(), kind, dir).unwrap();
    let home = dir.join("home");
    let teller = Teller {
        disk: &disk,
        home: &home,
        notes: Mutex::default(),
    };
    let opened = OnceLock::new();
    if !script.before.is_empty() {
        let store = story::open(&home, OpenFlags::empty()).unwrap();
        for call in &script.before {
            teller.tell(&store, call, None);
        }
        let _ = opened.set(store);
        let root = File::open(dir).unwrap();
        rustix::fs::syncfs(&root).unwrap();
    }
    let base = disk.begin();
    // What was before the log began was before everything in it.
    for version in teller.notes.lock().unwrap().versions.values_mut().flatten() {
        (version.begin, version.end) = (0, Some(0));
        version.promise = Promise::Stays;
    }
    teller.notes.lock().unwrap().synced.clear();
    let noise = how.neighbours.map(|seed| Noise::start(dir, &home, seed));
    std::thread::scope(|scope| {
        let mut number = 0;
        for calls in &script.threads {
            let first = number;
            number += calls.len();
            let (teller, opened, home) = (&teller, &opened, &home);
            scope.spawn(move || {
                if let Some(lies) = how.lies {
                    lies::tell(lies);
                }
                for (at, call) in calls.iter().enumerate() {
                    let begin = teller.disk.position();
                    let store =
                        opened.get_or_init(|| story::open(home, OpenFlags::empty()).unwrap());
                    teller.tell(store, call, Some(first + at));
                    if let Call::Open = call {
                        let done = &mut teller.notes.lock().unwrap().done;
                        done.last_mut().unwrap().begin = begin;
                    }
                }
            });
        }
    });
    // What was not synced may still come.
    std::thread::sleep(std::time::Duration::from_millis(30));
    drop(noise);
    let log = disk.end();
    let notes = std::mem::take(&mut *teller.notes.lock().unwrap());
    drop(opened);
    mounted.unmount().unwrap();
    Record {
        kind: kind.to_string(),
        script: script.name.to_string(),
        base,
        log,
        notes,
    }
}

/// Where the log of a story is kept.
pub fn path(kind: &str, script: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let dir = std::env::var_os("OVL_POWER_LOGS").map_or(dir.to_path_buf(), PathBuf::from);
    dir.join(format!("power-{kind}-{script}.log"))
}

const MAGIC: &str = "ovl-power 1";

impl Record {
    /// Keeps it in its file.
    pub fn save(&self) -> io::Result<PathBuf> {
        let path = path(&self.kind, &self.script);
        let mut out = BufWriter::new(File::create(&path)?);
        let blocks: Vec<_> = self.base.blocks().collect();
        writeln!(
            out,
            "{MAGIC}\n{} {} {}",
            self.base.size(),
            blocks.len(),
            self.log.len()
        )?;
        for (at, block) in blocks {
            out.write_all(&(at as u64).to_le_bytes())?;
            out.write_all(block)?;
        }
        for entry in &self.log {
            let (what, at, len, data): (u64, u64, u64, &[u8]) = match entry {
                Entry::Write(at, data) => (0, *at, data.len() as u64, data),
                Entry::Zero(at, len) => (1, *at, *len, &[]),
                Entry::Flush => (2, 0, 0, &[]),
            };
            for word in [what, at, len] {
                out.write_all(&word.to_le_bytes())?;
            }
            out.write_all(data)?;
        }
        for done in &self.notes.done {
            writeln!(out, "done\t{}\t{}\t{}", done.call, done.begin, done.end)?;
        }
        for one in &self.notes.synced {
            writeln!(
                out,
                "synced\t{}\t{}\t{}\t{}",
                one.at, one.id, one.path, one.digest
            )?;
        }
        for (id, versions) in &self.notes.versions {
            for version in versions {
                let end = version.end.map_or("-".to_string(), |end| end.to_string());
                let (state, lines) = match &version.shown {
                    Shown::Absent => ("absent", None),
                    Shown::Anything => ("anything", None),
                    Shown::Tree {
                        committed: true,
                        lines,
                    } => ("committed", Some(lines)),
                    Shown::Tree { lines, .. } => ("writable", Some(lines)),
                };
                let (begin, promise) = (version.begin, version.promise);
                writeln!(out, "version\t{id}\t{begin}\t{end}\t{promise:?}\t{state}")?;
                for (path, line) in lines.into_iter().flatten() {
                    writeln!(out, "line\t{path}\t{line}")?;
                }
            }
        }
        out.flush()?;
        Ok(path)
    }

    /// Reads one that was kept.
    pub fn load(kind: &str, script: &str) -> io::Result<Record> {
        let mut from = BufReader::new(File::open(path(kind, script))?);
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_string());
        let mut head = Vec::new();
        while head.iter().filter(|&&b| b == b'\n').count() < 2 {
            let mut byte = [0];
            from.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).map_err(|_| bad("its head"))?;
        let words: Vec<u64> = head
            .lines()
            .nth(1)
            .unwrap_or("")
            .split(' ')
            .flat_map(str::parse)
            .collect();
        let (true, [size, blocks, entries]) = (head.starts_with(MAGIC), &words[..]) else {
            return Err(bad("its head"));
        };
        let word = |from: &mut BufReader<File>| {
            let mut word = [0; 8];
            from.read_exact(&mut word)
                .map(|()| u64::from_le_bytes(word))
        };
        let mut base = Content::new(*size);
        for _ in 0..*blocks {
            let at = word(&mut from)? * BLOCK as u64;
            let mut block = vec![0; BLOCK];
            from.read_exact(&mut block)?;
            base.write(at, &block);
        }
        let mut log = Vec::new();
        for _ in 0..*entries {
            let (what, at, len) = (word(&mut from)?, word(&mut from)?, word(&mut from)?);
            log.push(match what {
                0 => {
                    let mut data = vec![0; usize::try_from(len).map_err(|_| bad("a length"))?];
                    from.read_exact(&mut data)?;
                    Entry::Write(at, data.into())
                }
                1 => Entry::Zero(at, len),
                _ => Entry::Flush,
            });
        }
        let mut text = String::new();
        from.read_to_string(&mut text)?;
        let mut notes = Notes::default();
        let mut last = String::new();
        for line in text.lines() {
            read_note(line, &mut notes, &mut last).ok_or_else(|| bad(line))?;
        }
        Ok(Record {
            kind: kind.to_string(),
            script: script.to_string(),
            base,
            log,
            notes,
        })
    }
}

/// Reads a line of notes; `last` is the layer that it may go on with.
fn read_note(line: &str, notes: &mut Notes, last: &mut String) -> Option<()> {
    let words: Vec<&str> = line.splitn(6, '\t').collect();
    match words[..] {
        ["done", call, begin, end] => notes.done.push(Done {
            call: call.parse().ok()?,
            begin: begin.parse().ok()?,
            end: end.parse().ok()?,
        }),
        ["synced", at, id, path, digest] => notes.synced.push(Synced {
            at: at.parse().ok()?,
            id: id.to_string(),
            path: path.to_string(),
            digest: digest.to_string(),
        }),
        ["version", id, begin, end, promise, state] => {
            *last = id.to_string();
            let tree = |committed| Shown::Tree {
                committed,
                lines: Default::default(),
            };
            let promises = [Promise::Stays, Promise::Whole, Promise::Nothing];
            let named = |one: &Promise| format!("{one:?}") == promise;
            notes
                .versions
                .entry(id.to_string())
                .or_default()
                .push(Version {
                    begin: begin.parse().ok()?,
                    end: end.parse().ok(),
                    promise: promises.into_iter().find(named)?,
                    shown: match state {
                        "absent" => Shown::Absent,
                        "anything" => Shown::Anything,
                        "committed" => tree(true),
                        _ => tree(false),
                    },
                });
        }
        ["line", path, line] => {
            let version = notes.versions.get_mut(last)?.last_mut()?;
            let Shown::Tree { lines, .. } = &mut version.shown else {
                return None;
            };
            lines.insert(path.to_string(), line.to_string());
        }
        _ => return None,
    }
    Some(())
}
