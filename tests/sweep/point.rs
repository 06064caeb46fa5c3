//! One point: a store is made, the operation meets something in it, and the store is looked at.
//!
//! Every step that calls the library is a fork of its own, so that nothing is remembered from one
//! to the next, and a fault of one is no other's.

use crate::lab::Lab;
use crate::ops::Op;
use crate::trace::{self, Act, Call, Seen};
use crate::view::View;
use ovl::error::{Errno, describe};
use ovl::store::*;
use ovl::watch::Watch;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;

/// What the operation itself said.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// It came to an end.
    pub ended: bool,
    /// The errno, or 0.
    pub errno: i32,
    pub operation: String,
    pub path: String,
    /// The result, or the error's message.
    pub text: String,
    /// Descriptors and threads that were not there before.
    pub leaked: String,
}

/// The operation done without anything in its way.
pub struct Reference {
    pub calls: Vec<Call>,
    pub after: View,
    /// What it looks like when all is cleaned up.
    pub text: String,
}

/// What became of a point.
pub struct Outcome {
    pub seen: Seen,
    pub told: Told,
    /// It failed, and is done all the same.
    pub late: bool,
    pub wrong: Vec<String>,
}

/// What a child panicked with.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// Has the children of this process keep what they panic with.
pub fn keep_panics() {
    let default = std::panic::take_hook();
    let me = std::process::id();
    std::panic::set_hook(Box::new(move |info| {
        if std::process::id() == me {
            default(info);
        } else {
            let text = info.to_string();
            let at = text.find('\n').map_or(0, |at| at + 1);
            *PANIC.lock().unwrap() = text[at..].to_string();
        }
    }));
}

/// Does `step` in a fork; its panic is the error.
fn step(what: &str, step: impl FnOnce()) -> Result<(), String> {
    let (mut read, mut write) = trace::pipe();
    let status = trace::fork(|| {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(step));
        if done.is_ok() {
            return 0;
        }
        let mut text = PANIC.lock().unwrap().clone();
        text.truncate(30_000);
        let _ = write.write_all(text.as_bytes());
        1
    });
    drop(write);
    if status == 0 {
        return Ok(());
    }
    let mut text = String::new();
    let _ = read.read_to_string(&mut text);
    Err(format!("{what}: {text} (status {status})"))
}

/// What the open descriptors of this process lead to, and its threads; sorted.
fn holdings() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fd").unwrap();
    let targets = entries.map(|entry| fs::read_link(entry.unwrap().path()).unwrap_or_default());
    let mut all: Vec<String> = targets.map(|to| to.display().to_string()).collect();
    let threads = fs::read_dir("/proc/self/task").unwrap().count();
    all.extend((0..threads).map(|_| "a thread".to_string()));
    all.sort();
    all
}

/// What is in `now` more often than in `before`.
fn more(now: &[String], before: &[String]) -> Vec<String> {
    let mut left = before.to_vec();
    let mut more = Vec::new();
    for one in now {
        match left.iter().position(|other| other == one) {
            Some(at) => drop(left.swap_remove(at)),
            None => more.push(one.clone()),
        }
    }
    more
}

const FIELD: char = '\u{1f}';

/// The child that does it.
fn perform(op: &Op, dir: &Path, limit: &dyn Fn(bool), out: &mut fs::File) {
    let mut lab = match op.opens {
        true => Lab::new(dir),
        false => Lab::open(dir),
    };
    (op.enter)(&mut lab);
    let before = holdings();
    limit(true);
    trace::begin();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (op.run)(&mut lab)));
    trace::end();
    limit(false);
    let mut told = Told {
        ended: true,
        ..Told::default()
    };
    match result {
        Ok(Ok(text)) => {
            told.text = text;
            lab.mount = None;
            told.leaked = more(&holdings(), &before).join(", ");
        }
        Ok(Err(error)) => {
            // What `enter` mounted ends in order: what lies about then is the operation's.
            if let Some(mount) = lab.mount.take() {
                let _ = mount.unmount(UnmountFlags::empty());
            }
            told.errno = error.errno().raw_os_error();
            told.operation = error.operation().to_string();
            told.path = error.path().escape_ascii().to_string();
            told.text = error.message().to_string();
            told.leaked = more(&holdings(), &before).join(", ");
        }
        Err(_) => {
            told.errno = -1;
            told.text = format!("it panicked: {}", PANIC.lock().unwrap());
        }
    }
    let fields = [
        told.errno.to_string(),
        told.operation,
        told.path,
        told.leaked,
        told.text,
    ];
    let mut text = fields.join(&FIELD.to_string());
    text.truncate(60_000);
    out.write_all(text.as_bytes()).unwrap();
}

fn read_told(mut from: fs::File) -> Told {
    let mut text = String::new();
    let _ = from.read_to_string(&mut text);
    let fields: Vec<&str> = text.splitn(5, FIELD).collect();
    let [errno, operation, path, leaked, text] = fields[..] else {
        return Told::default();
    };
    Told {
        ended: true,
        errno: errno.parse().unwrap_or(-1),
        operation: operation.to_string(),
        path: path.to_string(),
        text: text.to_string(),
        leaked: leaked.to_string(),
    }
}

/// Makes the store in the empty directory `dir`.
pub fn prepare(op: &Op, dir: &Path) -> Result<(), String> {
    step("preparing", || {
        fs::create_dir(dir.join("target")).unwrap();
        let lab = match op.opens {
            true => Lab::new(dir),
            false => Lab::open(dir),
        };
        (op.prepare)(&lab);
    })
}

/// Does the operation in a fork, traced.
pub fn perform_traced(op: &Op, dir: &Path, act: Act) -> (Seen, Told) {
    let (read, mut write) = trace::pipe();
    let seen = trace::run(act, || {
        perform(op, dir, &|_| {}, &mut write);
        0
    });
    drop(write);
    (seen, read_told(read))
}

/// How little an operation is left.
pub struct Room<'a> {
    /// Sets the limit, in the process that does it; or takes it back.
    pub set: &'a dyn Fn(bool),
    /// What the operation may say.
    pub errnos: &'a [i32],
}

/// Does the operation with little room; gives its errno, and what is wrong then.
pub fn squeeze(
    op: &Op,
    dir: &Path,
    reference: &Reference,
    room: &Room<'_>,
) -> Result<(i32, Vec<String>), String> {
    prepare(op, dir)?;
    let before = View::of(dir);
    let (read, mut write) = trace::pipe();
    let status = trace::fork(|| {
        perform(op, dir, room.set, &mut write);
        0
    });
    drop(write);
    (room.set)(false);
    let told = read_told(read);
    let mut wrong = Vec::new();
    if status != 0 || !told.ended {
        wrong.push(format!("it ended, status {status}"));
    }
    wrong.extend(faults(&told, room.errnos, reference, op.name == "check"));
    let succeeded = told.ended && told.errno == 0;
    let torn = op.in_place && !succeeded;
    if let Err(why) = look(op, dir, &before, reference, torn, succeeded) {
        wrong.push(why);
    }
    Ok((told.errno, wrong))
}

/// The operation with nothing in its way; it must succeed, and its store be right.
pub fn reference(op: &Op, dir: &Path) -> Result<Reference, String> {
    prepare(op, dir)?;
    let before = View::of(dir);
    let (seen, told) = perform_traced(op, dir, Act::Count);
    if !seen.ended || seen.status != 0 || !told.ended || told.errno != 0 {
        return Err(format!("without any fault: {seen:?} {told:?}"));
    }
    let after = View::of(dir);
    let reference = Reference {
        calls: seen.calls,
        after: after.clone(),
        text: told.text,
    };
    let wrong = look(op, dir, &before, &reference, false, true);
    match wrong {
        Ok(_) => Ok(reference),
        Err(wrong) => Err(format!("without any fault: {wrong}")),
    }
}

/// One point; `Err` where nothing could be tried.
pub fn play(op: &Op, dir: &Path, act: Act, reference: &Reference) -> Result<Outcome, String> {
    prepare(op, dir)?;
    let before = View::of(dir);
    let lay = clutter(dir);
    let (seen, told) = perform_traced(op, dir, act);
    let mut outcome = Outcome {
        seen,
        told,
        late: false,
        wrong: Vec::new(),
    };
    judge(op, dir, (&before, &lay), reference, act, &mut outcome);
    Ok(outcome)
}

fn judge(
    op: &Op,
    dir: &Path,
    (before, clutter_before): (&View, &[String]),
    reference: &Reference,
    act: Act,
    out: &mut Outcome,
) {
    let killed = matches!(act, Act::Kill(_)) && out.seen.hit.is_some();
    let status = out.seen.status;
    if killed {
        if out.seen.ended || libc::WTERMSIG(status) != libc::SIGKILL {
            out.wrong
                .push(format!("killed, but its status is {status}"));
        }
    } else if !out.seen.ended || status != 0 || !out.told.ended {
        let hung = !out.seen.ended && libc::WTERMSIG(status) == libc::SIGALRM;
        let why = if hung { "it hangs" } else { "it ended" };
        out.wrong.push(format!("{why}, status {status}"));
    } else {
        let mut injected = match act {
            Act::Fail(_, errno) | Act::FailOn(_, errno) | Act::FailRun(_, errno, _) => vec![errno],
            _ => Vec::new(),
        };
        if op.name == "status" && matches!(act, Act::FailOn(..) | Act::FailRun(..)) {
            // What it tried and cannot end keeps its place busy.
            injected.push(libc::EBUSY);
        }
        out.wrong
            .extend(faults(&out.told, &injected, reference, op.name == "check"));
    }
    let succeeded = out.told.ended && out.told.errno == 0;
    let now = clutter(dir);
    // What puts a directory of the caller's back may be what fails from now on.
    let more_fails = matches!(act, Act::FailOn(..) | Act::FailRun(..));
    let torn = killed || (more_fails && !succeeded);
    match look(op, dir, before, reference, torn, succeeded) {
        Ok(changed) => {
            out.late = changed && out.told.ended && !succeeded;
            // What failed once takes away what it made; what failed late cannot.
            let held = op.name == "unmount" || op.name == "unmount-lazy";
            if matches!(act, Act::Fail(..)) && out.told.errno > 0 && !out.late && !held {
                let mut left = more(&now, clutter_before);
                // A hint that was missing is mended for good.
                left.retain(|left| op.name != "repair" || !left.contains("/child/"));
                if !left.is_empty() {
                    out.wrong.push(format!("it leaves {}", left.join(", ")));
                }
            }
            let name = out.seen.hit.map(|hit| crate::calls::name(hit.number));
            let known = |name: &str| op.late.iter().any(|one| *one == name || *one == "any");
            if out.late && !name.is_some_and(|name| known(&name)) {
                out.wrong.push("it failed, and is done".into());
            }
        }
        Err(wrong) => out.wrong.push(wrong),
    }
}

/// What lies about: work in progress, temporary files, mounts, and in layers what tells of work, of
/// children and of mounts. What is in trash is there by design.
fn clutter(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let home = dir.join("home");
    let mut list = |place: &Path, wanted: &dyn Fn(&str) -> bool| {
        for entry in fs::read_dir(place).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if wanted(&name) {
                found.push(path.strip_prefix(dir).unwrap().display().to_string());
            }
        }
    };
    list(&home.join("stage"), &|_| true);
    let hidden = |name: &str| name.starts_with('.');
    list(&home, &hidden);
    list(dir, &hidden);
    list(&dir.join("out"), &|_| true);
    list(&home.join("layer"), &|_| true);
    list(&home.join("blob/sha256"), &|_| true);
    for entry in fs::read_dir(home.join("layer")).into_iter().flatten() {
        let layer = entry.unwrap().path();
        list(&layer, &hidden);
        list(&layer, &|name| matches!(name, "manifest" | "running"));
        list(&layer.join("child"), &|_| true);
        list(&layer.join("pin"), &|_| true);
    }
    found.extend(mounts_below(dir));
    found
}

/// The lines of the mounts below a directory.
fn mounts_below(dir: &Path) -> Vec<String> {
    let table = fs::read("/proc/thread-self/mountinfo").unwrap();
    let below = [dir.as_os_str().as_bytes(), b"/"].concat();
    let lines = table.split(|&b| b == b'\n').filter(|line| {
        let point = line.split(|&b| b == b' ').nth(4).unwrap_or_default();
        point.starts_with(&below)
    });
    lines.map(|line| line.escape_ascii().to_string()).collect()
}

/// What is wrong with what a call said that met these errnos.
/// `tells`: what it could not read it may have told instead.
pub fn faults(told: &Told, given: &[i32], reference: &Reference, tells: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    if !told.leaked.is_empty() {
        wrong.push(format!("it leaks {}", told.leaked));
    }
    match told.errno {
        0 if told.text != reference.text && !(tells && blamed(&told.text, given)) => {
            let (is, should) = (&told.text, &reference.text);
            wrong.push(format!("it says {is:?}, and should {should:?}"));
        }
        0 => {}
        -1 => wrong.push(told.text.clone()),
        errno => {
            if told.operation.is_empty() || told.path.is_empty() {
                wrong.push(format!(
                    "an error without operation or path: {:?} {:?}: {}",
                    told.operation, told.path, told.text
                ));
            }
            if !given.contains(&errno) {
                let (name, text) = (crate::calls::errno_name(errno), &told.text);
                wrong.push(format!("its error is {name}: {text}"));
            }
        }
    }
    wrong
}

/// Problems, each of which says that something could not be read because of one of these.
fn blamed(text: &str, errnos: &[i32]) -> bool {
    let words = |&errno: &i32| describe(Errno::from_raw_os_error(errno));
    let blame: usize = errnos.iter().map(|e| text.matches(&words(e)).count()).sum();
    let problems = text.matches("kind: ").count();
    problems > 0 && blame >= problems
}

/// Looks at the store whole, in a fresh process, and uses it: all that was there is there, the
/// operation can be done again, and nothing stays. Gives whether it is as the operation makes it.
pub fn look(
    op: &Op,
    dir: &Path,
    before: &View,
    reference: &Reference,
    torn: bool,
    succeeded: bool,
) -> Result<bool, String> {
    let now = View::of(dir);
    let mut now_judged = now.clone();
    if op.in_place && torn {
        now_judged.copy = before.copy.clone();
    }
    let (wrong, changed) = now_judged.judge(before, &reference.after, succeeded);
    if !wrong.is_empty() {
        return Err(format!("the store is wrong: {}", wrong.join("\n    ")));
    }
    let visible = !before.judge(before, &reference.after, true).0.is_empty();
    let done = changed || !visible;
    let used = || {
        if !op.opens {
            (op.look)(&Lab::open(dir), succeeded);
        }
        use_it(op, dir, before, reference, torn, done);
    };
    step("afterwards", used).map(|()| changed)
}

/// Problems that an interrupted operation may leave.
const LEFTOVERS: [&str; 4] = ["leftover", "temporary", "stale hint", "mount"];

/// `done`: what the operation does may be done.
fn use_it(op: &Op, dir: &Path, before: &View, reference: &Reference, torn: bool, done: bool) {
    let watch = &mut Watch::default();
    let mut lab = Lab::new(dir);
    if !op.opens || torn || done {
        lab.store = Some(
            lab.try_open()
                .unwrap_or_else(|e| panic!("it does not open: {e}")),
        );
    }
    if let Some(store) = &lab.store {
        let ids = store.list().unwrap();
        let there: Vec<String> = View::of(dir).layers.into_keys().collect();
        assert_eq!(ids, there, "what is listed");
        for id in &ids {
            let info = store.stat(id.as_bytes()).unwrap();
            assert_eq!(&info.id, id);
        }
        let problems = store.check(CheckFlags::empty(), watch).unwrap();
        let worse =
            |p: &&Problem| !p.note && !LEFTOVERS.contains(&p.kind) && !op.damage.contains(&p.kind);
        let worse: Vec<_> = problems.iter().filter(worse).collect();
        assert!(worse.is_empty(), "check says {worse:?}");
    }
    if op.in_place && torn {
        fs::remove_dir_all(dir.join("copy")).unwrap();
        fs::create_dir(dir.join("copy")).unwrap();
    }
    // Again, with nothing in its way.
    if op.opens {
        lab.store = None;
    }
    (op.enter)(&mut lab);
    match (op.run)(&mut lab) {
        Ok(_) => {}
        Err(error) if done && op.again.contains(&error.errno()) => {}
        Err(error) => panic!("again it fails: {error}"),
    }
    lab.mount = None;
    if lab.store.is_none() {
        lab.store = Some(lab.try_open().unwrap());
    }
    lab.store().cleanup(watch).unwrap();
    let now = View::of(dir);
    let (wrong, _) = now.judge(before, &reference.after, true);
    assert!(wrong.is_empty(), "done again it is: {}", wrong.join("; "));
    let blobs = [&now, &reference.after].map(|view| view.images.blobs.keys().collect::<Vec<_>>());
    assert_eq!(blobs[0], blobs[1], "blobs after a cleanup");
    let names = now.names_differ(&reference.after);
    assert!(names.is_empty(), "done again: {}", names.join("; "));
    (op.undo)(&lab);
    end_mounts(&lab);
    lab.store().cleanup(watch).unwrap();
    nothing_left(&lab);
    let mut problems = lab.store().check(CheckFlags::empty(), watch).unwrap();
    problems.retain(|problem| !problem.note);
    assert_eq!(problems, [], "check after a cleanup");
    remove_all(&lab);
}

/// Ends what was mounted to stay.
fn end_mounts(lab: &Lab) {
    for id in lab.store().list().unwrap() {
        match lab.store().unmount_at(id.as_bytes(), UnmountFlags::empty()) {
            Ok(()) => {}
            Err(error) if error.errno() == Errno::INVAL => {}
            Err(error) => panic!("unmount {id}: {error}"),
        }
    }
    let stay = mounts_below(&lab.dir);
    assert!(stay.is_empty(), "a mount stays: {}", stay.join(" "));
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// No stage, no trash, no pins, no temporary files, no hints without a layer.
fn nothing_left(lab: &Lab) {
    let home = lab.home();
    for place in ["stage", "trash"] {
        assert_eq!(names(&home.join(place)), [""; 0], "{place} after a cleanup");
    }
    let ours = ["layer", "ovl-store", "stage", "trash"];
    let mut all = names(&home);
    all.retain(|name| !matches!(name.as_str(), "blob" | "image"));
    assert_eq!(all, ours, "the home after a cleanup");
    for id in names(&home.join("layer")) {
        let layer = home.join("layer").join(&id);
        assert_eq!(names(&layer.join("pin")), [""; 0], "{id}/pin");
        for name in names(&layer) {
            assert!(!name.starts_with('.'), "{id}/{name} after a cleanup");
        }
        for child in names(&layer.join("child")) {
            let there = home.join("layer").join(&child).exists();
            assert!(there, "{id}/child/{child} after a cleanup");
        }
    }
}

/// All can be removed: nothing is held.
fn remove_all(lab: &Lab) {
    let watch = &mut Watch::default();
    for image in lab.store().list_images().unwrap() {
        lab.store()
            .remove_image(image.name.as_bytes(), watch)
            .unwrap();
    }
    for place in ["image", "blob/sha256"] {
        let place = lab.home().join(place);
        if place.exists() {
            assert_eq!(names(&place), [""; 0], "{} after rmi", place.display());
        }
    }
    loop {
        let ids = lab.store().list().unwrap();
        if ids.is_empty() {
            break;
        }
        let mut gone = 0;
        let mut last = None;
        for id in &ids {
            match lab.remove(id, RemoveFlags::empty()) {
                Ok(()) => gone += 1,
                Err(error) => last = Some(error),
            }
        }
        assert!(gone > 0, "nothing can be removed: {}", last.unwrap());
    }
    for place in ["layer", "stage", "trash"] {
        let left = names(&lab.home().join(place));
        assert_eq!(left, [""; 0], "{place} after all is removed");
    }
}
