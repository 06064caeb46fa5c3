//! A stack read without a mount against the kernel's own view of it.

use crate::lab::{Seen, Tree, assert_tree, look};
use crate::random::{self, Rng};
use crate::support::{fsys, have};
use crate::work;
use ovl::layer::view::{self, Stack};
use ovl::sys::Own;
use ovl::sys::dir::DirBuf;
use ovl::sys::fs::{self, Kind};
use ovl::sys::xattr::{self, Marks};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Reads a stack as [`look`] reads a mount.
fn read(stack: &Stack) -> Tree {
    let mut tree = Tree::new();
    let mut ids = BTreeMap::new();
    let root = stack.root().unwrap().unwrap();
    let mut buf = DirBuf::default();
    let mut todo = vec![(Vec::new(), root)];
    while let Some((path, found)) = todo.pop() {
        let Some(mut dir) = found.dir else { continue };
        let fd = dir.nearest(stack).unwrap();
        let pairs = xattr::get_all(fd).unwrap();
        tree.insert(path.clone(), seen(&found.meta, 'd', Vec::new(), pairs));
        ids.insert(path.clone(), (found.meta.dev, found.meta.ino));
        for name in stack.names(&mut dir, &mut buf).unwrap() {
            let below = ovl::tree::chain::join(&path, &name);
            let found = stack.lookup(&mut dir, &name).unwrap().unwrap();
            if found.dir.is_some() {
                todo.push((below, found));
                continue;
            }
            let content = stack.content(&mut dir, &name, &found, None).unwrap();
            let from = stack.provider(&mut dir, &found).unwrap();
            let device = format!("{}:{}", found.meta.rdev.0, found.meta.rdev.1);
            let (kind, data) = match found.meta.kind {
                Kind::File => {
                    let file = content.unwrap_or_else(|| fs::open_file(from, &name).unwrap());
                    let mut data = vec![0; found.meta.size as usize + 1];
                    let len = fs::read_at(&file, &mut data, 0).unwrap();
                    data.truncate(len);
                    ('f', data)
                }
                Kind::Symlink => ('l', fs::read_link(from, &name).unwrap()),
                Kind::Fifo => ('p', Vec::new()),
                Kind::CharDevice => ('c', device.into()),
                kind => panic!("{kind:?}"),
            };
            let pairs = xattr::get_all_at(from, &name).unwrap();
            tree.insert(below.clone(), seen(&found.meta, kind, data, pairs));
            ids.insert(below, (found.meta.dev, found.meta.ino));
        }
    }
    let mut leaders = HashMap::new();
    for (path, id) in ids {
        let leader: &mut Vec<u8> = leaders.entry(id).or_insert_with(|| path.clone());
        tree.get_mut(&path).unwrap().leader = leader.clone();
    }
    tree
}

fn seen(meta: &fs::Meta, kind: char, data: Vec<u8>, pairs: xattr::Pairs) -> Seen {
    let own = pairs
        .into_iter()
        .filter(|(name, _)| !xattr::is_overlay(name));
    Seen {
        kind,
        mode: if kind == 'l' { 0o777 } else { meta.mode },
        uid: meta.uid,
        gid: meta.gid,
        mtime: (meta.mtime.sec, meta.mtime.nsec),
        data,
        xattrs: own.collect(),
        leader: Vec::new(),
    }
}

/// Makes some of the whiteouts of a tree empty files with a mark, as composed images have them.
fn by_attribute(at: &Path, rng: &mut Rng) {
    for entry in walkdir::WalkDir::new(at).into_iter().map(Result::unwrap) {
        let whiteout = std::os::unix::fs::MetadataExt::rdev(&entry.metadata().unwrap()) == 0
            && std::os::unix::fs::FileTypeExt::is_char_device(&entry.file_type());
        let parent = entry.path().parent().unwrap();
        // Of an opaque directory nothing below is seen, and its mark is taken.
        let marked = ::xattr::get(parent, "trusted.overlay.opaque").unwrap();
        if whiteout && marked.is_none_or(|mark| mark == b"x") && rng.below(2) == 0 {
            std::fs::remove_file(entry.path()).unwrap();
            std::fs::write(entry.path(), "").unwrap();
            ::xattr::set(entry.path(), "trusted.overlay.whiteout", b"y").unwrap();
            ::xattr::set(parent, "trusted.overlay.opaque", b"x").unwrap();
        }
    }
}

/// Four uppers on a plain tree, each written under redirect_dir and metacopy over those before.
fn chain(dir: &Path, seed: u64) -> Result<(), String> {
    let mut rng = Rng(seed);
    let base = dir.join("home");
    for name in ["0", "merged"] {
        std::fs::create_dir_all(base.join(name)).unwrap();
    }
    work::run(&base.join("0"), &work::steps(&mut rng, 60));
    let mut trees = vec!["0".to_string()];
    let merged = base.join("merged");
    let mount = |trees: &[String], upper: Option<&str>| {
        let path = |name: &String| base.join(name).display().to_string();
        let lowers: Vec<String> = trees.iter().rev().map(path).collect();
        let mut options = format!(
            "lowerdir={},redirect_dir=on,metacopy=on,index=off",
            lowers.join(":")
        );
        if let Some(upper) = upper {
            let base = base.display();
            options += &format!(",upperdir={base}/{upper},workdir={base}/{upper}.work");
        }
        let mut mount = Command::new("mount");
        have::run(
            mount
                .args(["-t", "overlay", "-o", &options, "o"])
                .arg(&merged),
        )
        .unwrap();
    };
    let unmount = || fsys::unmount(&merged);
    for at in 1..=4 {
        let upper = at.to_string();
        for name in [upper.clone(), format!("{upper}.work")] {
            std::fs::create_dir(base.join(name)).unwrap();
        }
        mount(&trees, Some(&upper));
        work::run(&merged, &work::steps(&mut rng, 25));
        unmount();
        by_attribute(&base.join(&upper), &mut rng);
        trees.push(upper);
        mount(&trees, None);
        let kernel = look(&merged);
        unmount();
        let below = fs::open_dir_trusted(rustix::fs::CWD, base.as_os_str().as_encoded_bytes());
        let below = Arc::new(Own::new(below.unwrap()));
        let tree =
            |name: &String| view::Tree::new(below.clone(), name.clone().into_bytes(), name != "0");
        let stack = Stack::new(trees.iter().rev().map(tree).collect(), Marks::Trusted);
        assert_tree(&format!("{at} uppers"), &read(&stack), &kernel);
    }
    Ok(())
}

#[test]
fn a_stack_is_what_the_kernel_mounts() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        for seed in random::seeds(40) {
            if let Err(why) = random::caught(dir, || chain(dir, seed)) {
                panic!("seed {seed}: {why}");
            }
        }
    });
}
