//! Uppers that were written under other mount options than libovl's: read right, or refused by
//! name; never read wrong.

use crate::lab::{Lab, Tree, assert_same_but_splits, assert_tree, end, look, patient};
use crate::random::{self, Rng};
use crate::support::{fsys, have};
use crate::tar::{self, Entry};
use crate::truth;
use crate::work::{self, Step};
use ovl::error::{Errno, Result};
use ovl::store::*;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// Mounts a layer's own directories by hand, does `change` there, and looks at what there is then.
pub fn elsewhere(lab: &Lab, id: &str, options: &str, change: impl FnOnce(&Path)) -> Tree {
    let layer = lab.home.join("layer").join(id);
    let mut lowers = Vec::new();
    let mut below = id.to_string();
    while let Ok(next) =
        std::fs::read_to_string(lab.home.join("layer").join(&below).join("lower-id"))
    {
        below = next.trim().to_string();
        let tree = lab.home.join("layer").join(&below);
        let upper = tree.join("upper");
        let tree = if upper.exists() {
            upper
        } else {
            tree.join("root")
        };
        lowers.push(tree.to_str().unwrap().to_string());
    }
    let at = layer.join("merged");
    let mount = || {
        let options = format!(
            "lowerdir={},upperdir={1}/upper,workdir={1}/work,{options}",
            lowers.join(":"),
            layer.display()
        );
        let mut mount = Command::new("mount");
        have::run(mount.args(["-t", "overlay", "-o", &options, "o"]).arg(&at)).unwrap();
    };
    let unmount = || fsys::unmount(&at);
    mount();
    change(&at);
    unmount();
    mount();
    let tree = look(&at);
    unmount();
    tree
}

/// A diff of the layer makes its tree again, or is refused with a path. Gives whether it was read.
fn read_right(
    lab: &Lab,
    id: &str,
    parent: &str,
    truth: &Tree,
) -> std::result::Result<bool, String> {
    let (tar, _) = match lab.try_diff(id, Against::Parent, DiffFlags::empty()) {
        Ok(done) => done,
        Err(error) => {
            return match (error.errno(), error.path()) {
                (Errno::OPNOTSUPP, path) if !path.is_empty() && path != id.as_bytes() => Ok(false),
                _ => Err(format!("diff: {error}")),
            };
        }
    };
    let below = lab.look(parent);
    let should = truth::changes(&below, truth);
    let is = lab.changes(id, Against::Parent);
    if is != should {
        return Err(format!("changes: {is:?}, should be {should:?}"));
    }
    for kind in [Kind::Overlay, Kind::Root] {
        lab.apply("again", parent, kind, &tar)
            .map_err(|e| e.to_string())?;
        assert_same_but_splits(&format!("{kind:?}"), &lab.look("again"), truth, &below);
        if lab.diff("again", Against::Parent) != tar {
            return Err(format!("{kind:?}: the diff of its diff differs"));
        }
        lab.remove("again");
    }
    Ok(true)
}

/// What libovl would show of the layer is what it is, or it is not shown.
fn shown_right(lab: &Lab, id: &str, truth: &Tree, read: bool) -> std::result::Result<bool, String> {
    let named = |result: Result<()>| match result {
        Ok(()) => Ok(true),
        Err(error) if error.errno() == Errno::OPNOTSUPP && error.path() != id.as_bytes() => {
            Ok(false)
        }
        Err(error) => Err(error.to_string()),
    };
    let options = MountOptions::default();
    let mount = patient(|| lab.store.mount(id.as_bytes(), &options));
    let mounted = named(mount.map(crate::lab::end))?;
    let commit = || {
        let (flags, mut watch) = (CommitFlags::empty(), Default::default());
        lab.store
            .commit(id.as_bytes(), Durability::None, flags, &mut watch)
    };
    let committed = named(patient(commit))?;
    if committed && !mounted {
        return Err("committed, but not mounted".into());
    }
    // A second link to a metacopy file may be refused by the kernel alone.
    if committed {
        assert_tree("mounted", &lab.look(id), truth);
        if !read {
            return Err("it was mounted, but not told".into());
        }
    }
    Ok(committed)
}

/// Mount options of other programs, and whether every upper written under them can be told.
const OPTIONS: [(&str, bool); 6] = [
    ("redirect_dir=on,metacopy=on,index=off,xino=on", true),
    ("redirect_dir=on,metacopy=off,index=off,xino=off", true),
    ("redirect_dir=nofollow,metacopy=off,index=off,xino=on", true),
    (
        "redirect_dir=off,metacopy=off,index=off,nfs_export=off",
        true,
    ),
    ("redirect_dir=on,metacopy=on,index=on", false),
    (
        "redirect_dir=off,metacopy=off,index=on,nfs_export=on",
        false,
    ),
];

/// One container over a random chain.
#[derive(Clone)]
struct Case {
    seed: u64,
    layers: Vec<Vec<Entry>>,
    steps: Vec<Step>,
    options: &'static str,
}

impl Case {
    fn new(seed: u64, options: &'static str) -> Case {
        let mut rng = Rng(seed ^ 0x5eed);
        let mut layers = random::chain(seed);
        layers.truncate(1 + rng.below(3));
        let count = 5 + rng.below(40);
        Case {
            seed,
            layers,
            steps: work::steps(&mut rng, count),
            options,
        }
    }

    /// Whether it was told, and mounted again; or what went wrong.
    fn run(&self, dir: &Path) -> std::result::Result<(bool, bool), String> {
        random::caught(dir, || {
            let lab = Lab::new(dir);
            let parent = random::build(&lab, self.seed, &self.layers)?;
            lab.create("box", &parent);
            let truth = elsewhere(&lab, "box", self.options, |at| work::run(at, &self.steps));
            let read = read_right(&lab, "box", &parent, &truth)?;
            let shown = shown_right(&lab, "box", &truth, read)?;
            Ok((read, shown))
        })
    }

    /// The same with less in it that still goes wrong as `wrong` says, and how.
    fn shrink(mut self, wrong: impl Fn(&Case) -> Option<String>) -> String {
        let mut why = wrong(&self).unwrap_or_default();
        loop {
            let mut less = Vec::new();
            less.extend((0..self.steps.len()).rev().map(|at| {
                let mut case = self.clone();
                case.steps.remove(at);
                case
            }));
            for layer in (0..self.layers.len()).rev() {
                less.extend((0..self.layers[layer].len()).rev().map(|at| {
                    let mut case = self.clone();
                    case.layers[layer].remove(at);
                    case
                }));
            }
            match less
                .into_iter()
                .find_map(|case| Some((wrong(&case)?, case)))
            {
                Some((now, case)) => (why, self) = (now, case),
                None => break,
            }
        }
        let layers: Vec<String> = self
            .layers
            .iter()
            .map(|layer| {
                layer
                    .iter()
                    .map(random::said)
                    .collect::<Vec<_>>()
                    .join("\n")
            })
            .collect();
        let (seed, options, steps) = (self.seed, self.options, &self.steps);
        let layers = layers.join("\n--\n");
        format!("seed {seed} {options}: {why}\n--- layers ---\n{layers}\n--- steps ---\n{steps:?}")
    }
}

#[test]
fn random_work_under_other_options_is_told_or_refused() {
    require!("root", "overlay", "tmpfs");
    fsys::on("tmpfs", |dir| {
        let (mut read, mut shown) = ([0; OPTIONS.len()], [0; OPTIONS.len()]);
        let mut runs = [0; OPTIONS.len()];
        for seed in random::seeds(60) {
            let at = (seed % OPTIONS.len() as u64) as usize;
            let (options, always) = OPTIONS[at];
            let wrong = |case: &Case| match case.run(dir) {
                Err(why) => Some(why),
                Ok((told, _)) => (always && !told).then(|| "it was refused".to_string()),
            };
            let case = Case::new(seed, options);
            match case.run(dir) {
                Ok((told, mounted)) if told || !always => {
                    runs[at] += 1;
                    read[at] += i32::from(told);
                    shown[at] += i32::from(mounted);
                }
                _ => panic!("{}", case.shrink(wrong)),
            }
        }
        println!("runs {runs:?}, told {read:?}, mounted {shown:?}");
        if runs.iter().sum::<i32>() >= 60 {
            assert!(
                shown[0] < runs[0],
                "nothing was renamed or copied up in {} runs",
                runs[0]
            );
            assert!(shown[3] == runs[3], "plain uppers were refused");
        }
    });
}

/// An upper is not searched for renamed directories where only the library mounted it. What shows is enough, and
/// what does not costs a call that failed, once, and never a wrong diff.
#[test]
fn renamed_where_nobody_looks() {
    require!("root", "overlay", "ext4", "tmpfs", "xfs");
    fsys::each(&["ext4", "tmpfs", "xfs"], |_, at| {
        let lab = Lab::new(at);
        let linked = [
            tar::dir("a"),
            tar::file("a/x", "content"),
            tar::dir("q"),
            tar::hard("q/x", "a/x"),
            tar::file("q/y", "another"),
        ];
        lab.apply("base", "", Kind::Root, &tar::bytes(&linked))
            .unwrap();
        lab.create("box", "base");
        let work = lab.home.join("layer/box/work/work");
        let believed = || work.metadata().unwrap().mode() & 0o4000 != 0;
        lab.change("box", |at| {
            std::fs::write(at.join("a/own"), "own").unwrap();
            assert!(believed(), "of a running layer, too");
        });
        assert!(believed());
        let options = MountOptions {
            flags: MountFlags::READ_ONLY,
            ..MountOptions::default()
        };
        end(patient(|| lab.store.mount(b"box", &options)).unwrap());
        assert!(believed());

        std::fs::create_dir(at.join("theirs")).unwrap();
        let theirs = format!("redirect_dir=on,workdir={}", at.join("theirs").display());
        let rename = |from: &str, to: &str| {
            let (from, to) = (from.to_string(), to.to_string());
            move |at: &Path| std::fs::rename(at.join(from), at.join(to)).unwrap()
        };
        let tree = elsewhere(&lab, "box", &theirs, rename("q", "r"));
        assert!(believed(), "another work directory");
        // One that may not write cannot note a doubt, and so looks.
        let reading = OpenOptions {
            flags: OpenFlags::READ_ONLY,
            ..OpenOptions::default()
        };
        let reader = Store::open(lab.home.as_os_str().as_bytes(), reading).unwrap();
        let (mut first, nothing) = (Vec::new(), DiffOptions::default());
        let mut watch = Default::default();
        let told = reader.diff(b"box", Against::Parent, &mut first, &nothing, &mut watch);
        told.unwrap();
        assert!(believed());
        let error = lab.try_diff("box", Against::Parent, DiffFlags::empty());
        let error = error.unwrap_err();
        assert_eq!((error.errno(), error.path()), (Errno::STALE, &b"r/x"[..]));
        assert!(!believed());
        assert!(read_right(&lab, "box", "base", &tree).unwrap());
        assert_eq!(lab.diff("box", Against::Parent), first);

        // With the layer's own work directory it is seen at once.
        lab.create("other", "base");
        lab.change("other", |_| ());
        let tree = elsewhere(&lab, "other", "redirect_dir=on", rename("q", "r"));
        assert!(read_right(&lab, "other", "base", &tree).unwrap());
    });
}
