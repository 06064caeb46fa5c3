//! Files that say themselves what they must hold, and tars of which the resulting tree is known.
//!
//! A file's name ends in `.SEED-LENGTH`: whoever finds it, in whatever layer, can tell whether its
//! bytes are right. Each recipe is a small tar; which one a layer was made of its diff ID tells, and
//! what a chain of such layers shows follows from a model that knows nothing of the library.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// How many recipes there are.
pub const COUNT: u64 = 24;

/// A generator of numbers that need not be good.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        (self.number() >> 11) % sides
    }
}

/// The bytes of a seed.
pub fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&dice.number().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The name of a file of these bytes.
pub fn name(prefix: &str, seed: u64, length: usize) -> String {
    format!("{prefix}.{seed:016x}-{length}")
}

/// What a file of this name must hold; `None` where the name does not say.
pub fn promised(name: &str) -> Option<Vec<u8>> {
    let (_, told) = name.rsplit_once('.')?;
    let (seed, length) = told.split_once('-')?;
    let seed = u64::from_str_radix(seed, 16).ok()?;
    Some(content(seed, length.parse().ok()?))
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    Dir,
    File,
    Link(String),
}

/// A tree: paths without a slash in front.
pub type Tree = BTreeMap<String, Node>;

/// What one recipe does.
struct Recipe {
    /// Names of the parent that are gone; of directories, with all below them.
    gone: Vec<String>,
    /// Directories of which the parent's entries are gone.
    opaque: Vec<String>,
    /// What is new: directories, files by path, links.
    dirs: Vec<String>,
    files: Vec<(String, u64, usize)>,
    hard: Option<(String, String)>,
    soft: (String, String),
}

fn recipe(number: u64) -> Recipe {
    let mut dice = Dice::new(number + 1);
    let dir = format!("d{}", number % 4);
    let mut dirs = vec![dir.clone()];
    let mut gone = Vec::new();
    let mut opaque = Vec::new();
    match number % 3 {
        0 => gone.push(format!("d{}", (number + 1) % 4)),
        1 => {
            let other = format!("d{}", (number + 2) % 4);
            dirs.push(other.clone());
            opaque.push(other);
        }
        _ => {}
    }
    if number % 5 == 0 {
        dirs.push(format!("{dir}/deep"));
    }
    let mut files = Vec::new();
    for at in 0..3 {
        let seed = dice.number();
        let length = [0, 700, 30_000][dice.roll(3) as usize] + dice.roll(900) as usize;
        let place = dirs[at % dirs.len()].clone();
        files.push((
            format!("{place}/{}", name(&format!("r{number}"), seed, length)),
            seed,
            length,
        ));
    }
    let hard = (number % 2 == 0).then(|| {
        let (path, seed, length) = &files[0];
        (name(&format!("h{number}"), *seed, *length), path.clone())
    });
    Recipe {
        gone,
        opaque,
        dirs,
        files,
        hard,
        soft: (format!("s{number}"), format!("to/{number}")),
    }
}

/// The tree that a recipe makes of a parent's.
pub fn applied(number: u64, below: &Tree) -> Tree {
    let recipe = recipe(number);
    let mut tree = below.clone();
    for path in &recipe.gone {
        let inside = format!("{path}/");
        tree.retain(|at, _| at != path && !at.starts_with(&inside));
    }
    for path in &recipe.opaque {
        let inside = format!("{path}/");
        tree.retain(|at, _| !at.starts_with(&inside));
    }
    for path in recipe.dirs {
        tree.insert(path, Node::Dir);
    }
    for (path, _, _) in recipe.files {
        tree.insert(path, Node::File);
    }
    if let Some((path, _)) = recipe.hard {
        tree.insert(path, Node::File);
    }
    tree.insert(recipe.soft.0, Node::Link(recipe.soft.1));
    tree
}

/// The recipe of which this is the tar's digest (`sha256:...`).
pub fn number_of(diff_id: &str) -> Option<u64> {
    static ALL: OnceLock<BTreeMap<String, u64>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        (0..COUNT)
            .map(|number| {
                let mut text = "sha256:".to_string();
                for byte in Sha256::digest(tar(number)) {
                    text.push_str(&format!("{byte:02x}"));
                }
                (text, number)
            })
            .collect()
    });
    all.get(diff_id).copied()
}

/// The tar of a recipe.
pub fn tar(number: u64) -> Vec<u8> {
    let recipe = recipe(number);
    let mut tar = Vec::new();
    for path in &recipe.gone {
        entry(&mut tar, &format!(".wh.{path}"), b'0', "", &[]);
    }
    for path in &recipe.dirs {
        entry(&mut tar, &format!("{path}/"), b'5', "", &[]);
        if recipe.opaque.contains(path) {
            entry(&mut tar, &format!("{path}/.wh..wh..opq"), b'0', "", &[]);
        }
    }
    for (path, seed, length) in &recipe.files {
        entry(&mut tar, path, b'0', "", &content(*seed, *length));
    }
    if let Some((path, to)) = &recipe.hard {
        entry(&mut tar, path, b'1', to, &[]);
    }
    entry(&mut tar, &recipe.soft.0, b'2', &recipe.soft.1, &[]);
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn entry(tar: &mut Vec<u8>, path: &str, kind: u8, link: &str, data: &[u8]) {
    let mut header = [0u8; 512];
    let mut put = |at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    put(0, path);
    put(
        100,
        if kind == b'5' {
            "0000755\0"
        } else {
            "0000644\0"
        },
    );
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", data.len()));
    put(136, "07346545000\0");
    put(148, "        ");
    put(157, link);
    put(257, "ustar\x0000");
    header[156] = kind;
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&header);
    tar.extend_from_slice(data);
    tar.resize(tar.len().div_ceil(512) * 512, 0);
}
