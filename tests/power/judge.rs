//! What is found after a cut, held against what may be there.

use super::cut::Cut;
use super::disk::{Content, Disk};
use super::fuse::Server;
use super::images;
use super::machine::Mounted;
use super::record::Record;
use super::scripts::Script;
use super::story::{self, Call, Promise, Shown, Synced, Version};
use super::trees;
use ovl::store::*;
use ovl::watch::Watch;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// What was found after one cut.
#[derive(Default)]
pub struct Verdict {
    /// Layers that were looked at.
    pub layers: usize,
    /// What is wrong, in words.
    pub wrong: Vec<String>,
    /// The file system itself could not be mounted: nothing to say about the store.
    pub unmountable: Option<String>,
    /// What was promised nothing and was found damaged, as `check` said.
    pub loose: usize,
    /// The same, only that `check` could not see it: the manifest has no digests.
    pub unseen: usize,
}

/// Looks at the state of `cut`, which is `content`.
pub fn judge(
    server: &Server,
    dir: &Path,
    record: &Record,
    script: &Script,
    cut: Cut,
    content: Content,
) -> Verdict {
    let mut verdict = Verdict::default();
    let disk = Disk::new(content, false);
    let mounted = match Mounted::new(server, disk, &record.kind, dir) {
        Ok(mounted) => mounted,
        Err(error) => {
            verdict.unmountable = Some(error);
            return verdict;
        }
    };
    let home = dir.join("home");
    reboot(&home);
    let mut look = Look {
        record,
        script,
        at: cut.at,
        home: &home,
        verdict: &mut verdict,
    };
    let done = catch_unwind(AssertUnwindSafe(|| look.all()));
    if let Err(panic) = done {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let text = format!("it could not be looked at: {}", text.unwrap_or("a panic"));
        verdict.wrong.push(text);
    }
    if let Err(error) = mounted.unmount() {
        verdict.wrong.push(error);
    }
    verdict
}

/// One who looks.
pub struct Look<'l> {
    pub record: &'l Record,
    pub script: &'l Script,
    pub at: usize,
    pub home: &'l Path,
    verdict: &'l mut Verdict,
}

impl Look<'_> {
    pub fn wrong(&mut self, what: String) {
        self.verdict.wrong.push(what);
    }

    fn all(&mut self) {
        let Some(store) = self.open() else {
            return;
        };
        let visible = self.visible(&store);
        self.synced(&store, &visible);
        self.checked(
            &store,
            &["leftover", "not whole", "temporary", "stale hint"],
        );
        if let Err(error) = store.cleanup(&mut Watch::default()) {
            self.wrong(format!("cleanup: {error}"));
        }
        for place in ["stage", "trash"] {
            let left = std::fs::read_dir(self.home.join(place)).unwrap().count();
            if left > 0 {
                self.wrong(format!("{left} entries stay in {place}/"));
            }
        }
        for id in &visible {
            for entry in std::fs::read_dir(self.home.join("layer").join(id)).unwrap() {
                let name = entry.unwrap().file_name();
                if name.to_string_lossy().starts_with('.') {
                    self.wrong(format!("{name:?} stays in layer/{id}"));
                }
            }
        }
        let after: BTreeSet<String> = store.list().unwrap().into_iter().collect();
        if after != visible {
            self.wrong(format!("cleanup made of {visible:?}: {after:?}"));
        }
        self.checked(&store, &[]);
        self.repeat(&store, &visible);
        // One of the calls may have been to leave something.
        self.checked(&store, &["leftover"]);
        self.remove_all(&store);
    }

    /// Opens the store. One that was made before the cut is there; else it can be made.
    fn open(&mut self) -> Option<Store> {
        let calls = self.script.calls();
        let opens = |call: usize| matches!(calls[call], Call::Open);
        let done = &self.record.notes.done;
        let made = !self.script.before.is_empty()
            || done
                .iter()
                .any(|done| opens(done.call) && done.end <= self.at);
        let flags = match made {
            true => OpenFlags::MUST_EXIST,
            false => OpenFlags::empty(),
        };
        match story::open(self.home, flags) {
            Ok(store) => Some(store),
            Err(error) => {
                self.wrong(format!("the store does not open: {error}"));
                None
            }
        }
    }

    /// The versions of a layer that the cut may show; the first is the last that was promised.
    pub fn versions(&self, id: &str) -> Vec<Version> {
        let absent = Version {
            begin: 0,
            end: Some(0),
            promise: Promise::Stays,
            shown: Shown::Absent,
        };
        let mut may = vec![absent];
        for version in self.record.notes.versions.get(id).into_iter().flatten() {
            if version.begin > self.at {
                break;
            }
            if version.promise == Promise::Stays && version.end.is_some_and(|end| end <= self.at) {
                may.clear();
            }
            may.push(version.clone());
        }
        may
    }

    /// Whether damage of this layer is allowed if it is told.
    pub fn is_loose(&self, id: &str) -> bool {
        let loose = |version: &Version| version.promise == Promise::Nothing;
        self.versions(id).iter().any(loose)
    }

    /// Looks at all layers; gives those that are there.
    fn visible(&mut self, store: &Store) -> BTreeSet<String> {
        let list = match store.list() {
            Ok(list) => list,
            Err(error) => {
                self.wrong(format!("list: {error}"));
                return BTreeSet::new();
            }
        };
        let visible: BTreeSet<String> = list.into_iter().collect();
        let known = self.record.notes.versions.keys();
        let all: BTreeSet<&String> = known.chain(&visible).collect();
        for id in all {
            match images::name_of(id) {
                Some(name) => self.image(store, id, name),
                None => self.layer(store, id, &visible),
            }
        }
        visible
    }

    fn layer(&mut self, store: &Store, id: &String, visible: &BTreeSet<String>) {
        let may = self.versions(id);
        if !visible.contains(id) {
            if !may.iter().any(|version| {
                version.shown == Shown::Absent || version.promise == Promise::Nothing
            }) {
                self.wrong(format!("layer {id} is gone"));
            }
            return;
        }
        self.verdict.layers += 1;
        if may.iter().all(|version| version.shown == Shown::Absent) {
            return self.wrong(format!("layer {id} is there again, or too early"));
        }
        self.edge(store, id, visible);
        let running = may.iter().any(|version| version.shown == Shown::Anything);
        let unclean = store.stat(id.as_bytes()).is_ok_and(|info| info.unclean);
        if running && unclean {
            return;
        }
        if unclean {
            return self.wrong(format!(
                "layer {id}: its unmount had returned; it is unclean"
            ));
        }
        let found = catch_unwind(AssertUnwindSafe(|| story::look(store, self.home, id)));
        let Ok(found) = found else {
            return self.differs(store, id, "it cannot be read".to_string());
        };
        if may.iter().any(|version| version.shown == found) {
            return;
        }
        let Shown::Tree { committed, lines } = &found else {
            return self.differs(store, id, "it is listed, and not there".to_string());
        };
        // The version that is nearest.
        let told = may.iter().filter_map(|version| match &version.shown {
            Shown::Tree { lines: wanted, .. } => Some(trees::differences(wanted, lines, true)),
            _ => None,
        });
        let told = told.min_by_key(Vec::len).unwrap_or_default();
        if self.is_loose(id) && told.iter().all(|line| trees::is_of_content(line)) {
            let seen = problems(store).is_ok_and(|told| told.iter().any(|one| &one.layer == id));
            self.verdict.loose += usize::from(seen);
            self.verdict.unseen += usize::from(!seen);
            return;
        }
        let shown = told[..told.len().min(3)].join("; ");
        let clean = if running {
            "said to be shut down in order; "
        } else {
            ""
        };
        self.differs(
            store,
            id,
            format!(
                "{clean}committed={committed}, {} differences: {shown}",
                told.len()
            ),
        );
    }

    /// A layer is damaged: wrong, unless nothing was promised and `check` tells it.
    fn differs(&mut self, store: &Store, id: &str, how: String) {
        if self.is_loose(id) {
            let told = problems(store);
            if told.iter().flatten().any(|problem| problem.layer == id) {
                self.verdict.loose += 1;
                return;
            }
            return self.wrong(format!("layer {id}: {how}; and check says nothing of it"));
        }
        self.wrong(format!("layer {id}: {how}"));
    }

    /// The parent of a visible layer is there, and knows it.
    fn edge(&mut self, store: &Store, id: &str, visible: &BTreeSet<String>) {
        let info = match store.stat(id.as_bytes()) {
            Ok(info) => info,
            Err(error) => return self.differs(store, id, format!("stat: {error}")),
        };
        let Some(parent) = info.parent else {
            return;
        };
        if !visible.contains(&parent) {
            if !self.is_loose(&parent) {
                self.wrong(format!("layer {id}: its parent {parent} is not there"));
            }
            return;
        }
        let hint = self.home.join("layer").join(&parent).join("child").join(id);
        if std::fs::symlink_metadata(hint).is_err() {
            self.differs(store, id, format!("{parent} does not know it as a child"));
        }
    }

    /// What was synced in a container is in its layer.
    fn synced(&mut self, store: &Store, visible: &BTreeSet<String>) {
        let (record, at) = (self.record, self.at);
        for one in record.notes.synced.iter().filter(|one| one.at <= at) {
            if !visible.contains(&one.id) {
                let may = self.versions(&one.id);
                let removed =
                    |version: &Version| version.shown == Shown::Absent && version.begin >= one.at;
                if !may.iter().any(removed) && !self.is_loose(&one.id) {
                    self.wrong(format!(
                        "layer {} is gone, and with it {}, which was synced",
                        one.id, one.path
                    ));
                }
                continue;
            }
            // Written again since, in part, perhaps.
            if self.written_later(one) {
                continue;
            }
            let info = store.stat(one.id.as_bytes()).unwrap();
            let path = story::content(self.home, &info).join(&one.path);
            let dir = catch_unwind(|| trees::of(path.parent().unwrap()));
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let found = dir.ok().and_then(|lines| lines.get(&name).cloned());
            let found = found.as_deref().and_then(trees::digest);
            if found != Some(&one.digest[..]) {
                let is = found.unwrap_or("not there");
                self.wrong(format!(
                    "layer {}: {} was synced and is {is}",
                    one.id, one.path
                ));
            }
        }
    }

    /// Whether a later container of the layer, which had begun, writes the file too.
    fn written_later(&self, one: &Synced) -> bool {
        let calls = self.script.calls();
        let writes = |(number, call): (usize, &&Call)| match call {
            Call::Container { id, steps, .. } if *id == one.id => {
                let begun = self.record.notes.began(number);
                begun.is_some_and(|begin| one.at < begin && begin <= self.at)
                    && steps
                        .iter()
                        .any(|step| step.writes() == Some(&one.path[..]))
            }
            _ => false,
        };
        calls.iter().enumerate().any(writes)
    }

    /// What `check` says, but for what may be.
    fn checked(&mut self, store: &Store, fine: &[&str]) {
        let told = match problems(store) {
            Ok(told) => told,
            Err(error) => return self.wrong(format!("check: {error}")),
        };
        for problem in told {
            if problem.note || fine.contains(&problem.kind) || self.is_loose(&problem.layer) {
                continue;
            }
            let Problem {
                layer,
                kind,
                detail,
                ..
            } = &problem;
            // What is built on a layer that was promised nothing.
            if self.script.calls().iter().any(|call| {
                call.id() == Some(layer)
                    && call.parent().is_some_and(|parent| self.is_loose(parent))
            }) {
                continue;
            }
            self.wrong(format!("check: {layer}: {kind}: {detail}"));
        }
    }
}

/// What tells on the disk that the machine has not gone down is of another boot now.
fn reboot(home: &Path) {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let boot = boot.trim();
    let names = |dir: &Path| {
        let all = std::fs::read_dir(dir).into_iter().flatten().flatten();
        all.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    for layer in names(&home.join("layer")) {
        for file in [names(&layer.join("pin")), vec![layer.join("running")]].concat() {
            let Ok(text) = std::fs::read_to_string(&file) else {
                continue;
            };
            if text.contains(boot) {
                let other = "00000000-0000-4000-8000-000000000000";
                std::fs::write(&file, text.replace(boot, other)).unwrap();
            }
        }
    }
}

fn problems(store: &Store) -> ovl::error::Result<Vec<Problem>> {
    store.check(CheckFlags::empty(), &mut Watch::default())
}
