//! The stories that are told.

use super::scene::Step;
use super::story::Call;
use super::tars::Which;
use ovl::store::{CreateFlags, Durability, Kind, MountFlags, RemoveFlags};

/// A story: what is there before, and what threads do to it, each its own calls.
pub struct Script {
    pub name: &'static str,
    /// On the disk before the log begins. It opens the store, unless it is empty.
    pub before: Vec<Call>,
    pub threads: Vec<Vec<Call>>,
}

impl Script {
    /// All calls of the window; their places are their numbers.
    pub fn calls(&self) -> Vec<&Call> {
        self.threads.iter().flatten().collect()
    }
}

const FULL: Durability = Durability::Default;
const EMPTY: CreateFlags = CreateFlags::empty();

fn apply(id: &'static str, parent: Option<&'static str>, tar: Which) -> Call {
    apply_as(id, parent, None, FULL, tar)
}

fn apply_as(
    id: &'static str,
    parent: Option<&'static str>,
    kind: Option<Kind>,
    durability: Durability,
    tar: Which,
) -> Call {
    Call::Apply {
        id,
        parent,
        kind,
        durability,
        tar,
    }
}

fn create(id: &'static str, parent: Option<&'static str>, flags: CreateFlags) -> Call {
    Call::Create { id, parent, flags }
}

fn commit(id: &'static str, durability: Durability) -> Call {
    Call::Commit { id, durability }
}

fn remove(id: &'static str) -> Call {
    let flags = RemoveFlags::empty();
    Call::Remove { id, flags }
}

const fn import(name: &'static str, layers: &'static [Which], keep: bool) -> Call {
    Call::Import { name, layers, keep }
}

fn rmi(name: &'static str) -> Call {
    Call::RemoveImage { name }
}

fn container(id: &'static str, flags: MountFlags, steps: &'static [Step]) -> Call {
    Call::Container { id, flags, steps }
}

const WORK: &[Step] = &[
    Step::Dir("data"),
    Step::File("data/plain", 30_000),
    Step::Synced("data/synced", 50_000),
    Step::Append("etc/f4", 3000),
    Step::Delete("usr/f5"),
    Step::File("etc/new", 200),
    Step::Synced("etc/f2", 9000),
    Step::Rename("data/plain", "data/renamed"),
    Step::Link("data/renamed", "data/linked"),
    Step::Delete("var/sub/g0"),
];

/// What fills an upper that is copied.
const FILL: &[Step] = &[
    Step::Dir("init"),
    Step::File("init/a", 120_000),
    Step::File("init/b", 10),
    Step::File("init/c", 40_000),
    Step::Append("etc/f1", 100),
    Step::Delete("usr/f4"),
    Step::Link("init/c", "init/d"),
];

/// What fills a layer without a parent.
const PLAIN: &[Step] = &[
    Step::Dir("init"),
    Step::File("init/a", 120_000),
    Step::File("init/b", 10),
    Step::File("init/c", 40_000),
];

/// What is synced in a layer whose name was not.
const WORK_LOOSE: &[Step] = &[
    Step::Dir("data"),
    Step::Synced("data/synced", 30_000),
    Step::Append("init/b", 100),
];

/// The same in place. Of a file that is copied up fdatasync(2) syncs no name: these were.
const LOOSE_MORE: &[Step] = &[
    Step::Data("data/synced", 20_000),
    Step::Over("init/b", 11),
    Step::File("data/more", 5000),
];

/// What is done in place, in a layer that was mounted before.
const IN_PLACE: &[Step] = &[
    Step::Over("init/a", 100_000),
    Step::Data("init/c", 40_000),
    Step::Over("init/b", 9),
];

/// The same after that.
const MORE: &[Step] = &[
    Step::Data("init/a", 60_000),
    Step::Over("init/c", 20_000),
    Step::File("init/more", 7000),
];

/// All stories.
pub fn all() -> Vec<Script> {
    let base = || vec![Call::Open, apply("base", None, Which::Base(1))];
    let with = |more: Vec<Call>| [base(), more].concat();
    let (none, verified) = (Durability::None, Durability::Verified);
    vec![
        Script {
            name: "new",
            before: vec![],
            threads: vec![vec![
                Call::Open,
                apply("base", None, Which::Base(1)),
                create("first", None, EMPTY),
                Call::Wait(20),
                remove("base"),
                apply("base", None, Which::Base(2)),
            ]],
        },
        Script {
            name: "apply",
            before: base(),
            threads: vec![vec![
                apply("over", Some("base"), Which::Over(1)),
                apply_as("root", Some("base"), Some(Kind::Root), FULL, Which::Over(2)),
                create("place", None, CreateFlags::SYNC),
                apply("place", None, Which::Base(3)),
                apply_as("sure", Some("over"), None, verified, Which::Over(3)),
                apply_as("flat", Some("over"), Some(Kind::Root), FULL, Which::Over(4)),
                remove("sure"),
                remove("root"),
                Call::Remove {
                    id: "flat",
                    flags: RemoveFlags::DEFER,
                },
                Call::Cleanup,
                apply("root", Some("over"), Which::Over(5)),
            ]],
        },
        Script {
            name: "create",
            before: with(vec![
                apply("over", Some("base"), Which::Over(1)),
                create("init", Some("base"), CreateFlags::SYNC),
                container("init", MountFlags::empty(), FILL),
            ]),
            threads: vec![vec![
                create("empty", None, EMPTY),
                create("upper", Some("base"), EMPTY),
                create("copy", Some("init"), EMPTY),
                Call::Wait(40),
                create("stack", Some("over"), EMPTY),
                create("copied", Some("init"), CreateFlags::SYNC),
                create("flat", Some("over"), CreateFlags::FLAT),
                create("on", Some("empty"), EMPTY),
                create("copy2", Some("copied"), EMPTY),
                Call::Wait(60),
                remove("upper"),
                commit("copy", FULL),
                create("upper", Some("copy"), CreateFlags::SYNC),
            ]],
        },
        Script {
            name: "container",
            before: base(),
            threads: vec![vec![
                create("run", Some("base"), CreateFlags::SYNC),
                container("run", MountFlags::empty(), WORK),
                commit("run", FULL),
                create("more", Some("run"), EMPTY),
                container("more", MountFlags::VOLATILE, FILL),
                commit("more", verified),
                create("loose", Some("more"), CreateFlags::SYNC),
                container("loose", MountFlags::VOLATILE, &[Step::File("etc/x", 9000)]),
                remove("loose"),
                create("again", Some("base"), EMPTY),
                container("again", MountFlags::empty(), FILL),
                Call::Wait(20),
                commit("again", FULL),
            ]],
        },
        Script {
            name: "again",
            before: with(vec![
                create("run", Some("base"), CreateFlags::SYNC),
                container("run", MountFlags::empty(), FILL),
                create("plain", None, CreateFlags::SYNC),
                container("plain", MountFlags::empty(), PLAIN),
            ]),
            threads: vec![vec![
                container("run", MountFlags::empty(), IN_PLACE),
                Call::Wait(10),
                container("plain", MountFlags::empty(), IN_PLACE),
                container("run", MountFlags::empty(), MORE),
                Call::Wait(10),
                commit("run", FULL),
                create("loose", Some("run"), EMPTY),
                container("loose", MountFlags::empty(), WORK_LOOSE),
                Call::Wait(10),
                container("loose", MountFlags::empty(), LOOSE_MORE),
            ]],
        },
        Script {
            name: "images",
            before: vec![
                Call::Open,
                import("old", &[Which::Base(1), Which::Over(1)], true),
            ],
            threads: vec![vec![
                import("app", &[Which::Base(1), Which::Over(2)], true),
                Call::Wait(10),
                import(
                    "app",
                    &[Which::Base(1), Which::Over(3), Which::Over(4)],
                    true,
                ),
                rmi("old"),
                import("old", &[Which::Base(5)], false),
                Call::Wait(10),
                rmi("app"),
                import("app", &[Which::Base(1), Which::Over(2)], false),
                import("app", &[Which::Base(1)], true),
            ]],
        },
        Script {
            name: "threads",
            before: with(vec![apply("old", Some("base"), Which::Over(9))]),
            threads: vec![
                vec![
                    apply("a1", Some("base"), Which::Over(1)),
                    apply("a2", Some("a1"), Which::Over(2)),
                    apply("a3", Some("base"), Which::Over(3)),
                    remove("a2"),
                    create("a4", Some("a3"), CreateFlags::SYNC),
                ],
                vec![
                    apply("b1", Some("base"), Which::Over(4)),
                    remove("old"),
                    apply_as("b2", Some("b1"), Some(Kind::Root), FULL, Which::Over(5)),
                    create("b3", Some("base"), EMPTY),
                    apply("b4", None, Which::Base(6)),
                ],
            ],
        },
        Script {
            name: "none",
            before: with(vec![apply("firm", Some("base"), Which::Over(7))]),
            threads: vec![vec![
                apply_as("n1", Some("base"), None, none, Which::Over(1)),
                apply_as("n2", None, None, none, Which::Base(2)),
                Call::Wait(50),
                apply("s1", Some("base"), Which::Over(3)),
                create("w", Some("firm"), CreateFlags::SYNC),
                container("w", MountFlags::empty(), FILL),
                commit("w", none),
                apply_as("n3", Some("base"), Some(Kind::Root), none, Which::Over(4)),
                Call::Wait(50),
                remove("n1"),
                apply("s2", Some("firm"), Which::Over(5)),
            ]],
        },
    ]
}
