//! What can be done after a cut: the interrupted call again, a stopped container, removing it all.

use super::judge::Look;
use super::story::{self, Call, Shown};
use super::trees;
use ovl::error::{Code, Error};
use ovl::store::*;
use ovl::watch::Watch;
use std::collections::BTreeSet;

/// What is said of a call that cannot be made again.
pub fn wrong_again(call: &Call, error: &Error) -> String {
    format!("again {call:?}: {error}")
}

impl Look<'_> {
    /// Makes the calls again that the cut interrupted: each ends as it would have.
    pub fn repeat(&mut self, store: &Store, visible: &BTreeSet<String>) {
        let record = self.record;
        let calls = self.script.calls();
        for done in &record.notes.done {
            if done.begin > self.at || done.end <= self.at {
                continue;
            }
            let call = calls[done.call];
            if let Some(name) = call.image() {
                self.repeat_image(store, call, name);
                continue;
            }
            let Some(id) = call.id() else {
                continue;
            };
            let was = visible.contains(id);
            if let Call::Container { flags, .. } = call {
                if was {
                    self.go_on(store, id, flags.contains(MountFlags::VOLATILE));
                }
                continue;
            }
            let unclean = was && store.stat(id.as_bytes()).is_ok_and(|info| info.unclean);
            // What it needs may have been lost, where that was allowed.
            let lacks = call
                .parent()
                .is_some_and(|parent| !visible.contains(parent));
            match story::make(store, call) {
                Ok(()) => {}
                Err(error) => {
                    if unclean
                        && matches!(call, Call::Commit { .. })
                        && error.code() == Code::Unclean
                    {
                        self.salvage(store, id);
                        continue;
                    }
                    let fine = match error.code() {
                        Code::LayerExists | Code::Committed => was,
                        Code::NoLayer => lacks || !was,
                        _ => false,
                    };
                    if !fine {
                        self.wrong(wrong_again(call, &error));
                        continue;
                    }
                    if lacks || (!was && !matches!(call, Call::Remove { .. })) {
                        continue;
                    }
                }
            }
            let wanted = record.notes.versions[id].iter().rev();
            let Some(wanted) = wanted.into_iter().find(|one| one.begin == done.begin) else {
                continue;
            };
            let after_anything = self
                .versions(id)
                .iter()
                .any(|one| one.shown == Shown::Anything);
            if after_anything || self.is_loose(id) {
                continue;
            }
            match (&wanted.shown, story::look(store, self.home, id)) {
                (
                    Shown::Tree { committed, lines },
                    Shown::Tree {
                        committed: is,
                        lines: found,
                    },
                ) if *committed == is => {
                    let told = trees::differences(lines, &found, false);
                    if !told.is_empty() {
                        let told = told[..told.len().min(3)].join("; ");
                        self.wrong(format!("again {call:?}: {told}"));
                    }
                }
                (wanted, found) if *wanted == found => {}
                (_, found) => self.wrong(format!("again {call:?}: it is {found:?}")),
            }
        }
    }

    /// A container that the cut stopped is told to be one, can be started again unless it never
    /// synced, and is committed by who knows of it.
    fn go_on(&mut self, store: &Store, id: &str, volatile: bool) {
        let unclean = store.stat(id.as_bytes()).is_ok_and(|info| info.unclean);
        match store.mount(id.as_bytes(), &MountOptions::default()) {
            Ok(_) if unclean && volatile => {
                self.wrong(format!(
                    "mount of {id}, which was volatile, was not refused"
                ));
            }
            Ok(mount) => {
                if let Err((_, error)) = mount.unmount(UnmountFlags::empty()) {
                    self.wrong(format!("unmount of {id}: {error}"));
                }
            }
            Err(error) if unclean && volatile && error.code() == Code::Unclean => {}
            Err(error) => self.wrong(format!("mount of {id}: {error}")),
        }
        self.salvage(store, id);
    }

    fn salvage(&mut self, store: &Store, id: &str) {
        let (none, salvage) = (Durability::None, CommitFlags::SALVAGE);
        if let Err(error) = store.commit(id.as_bytes(), none, salvage, &mut Watch::default()) {
            self.wrong(format!("salvage of {id}: {error}"));
        }
    }

    /// Every layer can be removed, children before their parents, and nothing is left.
    pub fn remove_all(&mut self, store: &Store) {
        self.remove_images(store);
        let mut left = store.list().unwrap();
        let mut last = None;
        while !left.is_empty() {
            let before = left.len();
            left.retain(|id| {
                let flags = RemoveFlags::empty();
                match store.remove(id.as_bytes(), flags, &mut Watch::default()) {
                    Ok(()) => false,
                    Err(error) => {
                        last = Some(error);
                        true
                    }
                }
            });
            if left.len() == before {
                let why = last.map_or(String::new(), |error| error.to_string());
                return self.wrong(format!("{left:?} cannot be removed: {why}"));
            }
        }
        if let Err(error) = store.cleanup(&mut Watch::default()) {
            self.wrong(format!("the last cleanup: {error}"));
        }
        for place in ["layer", "stage", "trash"] {
            let left = std::fs::read_dir(self.home.join(place)).unwrap().count();
            if left > 0 {
                self.wrong(format!("of all that was removed {left} stay in {place}/"));
            }
        }
    }
}
