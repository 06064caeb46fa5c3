//! What the environment and the command line ask for.

use std::ffi::OsString;
use std::path::PathBuf;

/// Sizes and places; each has an environment variable of its own.
pub struct Options {
    /// The tool that is measured (OVL).
    pub ovl: PathBuf,
    /// The directory that images, and trees where nothing can be mounted, lie in (OVL_BENCH_DIR).
    pub dir: PathBuf,
    /// Where the report goes (OVL_BENCH_OUT).
    pub out: PathBuf,
    /// A tree of the caller's (TREE).
    pub tree: Option<PathBuf>,
    /// A plain tar of the caller's (TAR).
    pub tar: Option<PathBuf>,
    /// Entries of the large tree (ENTRIES).
    pub entries: u64,
    /// Files of 1 KiB in the small tar (SMALL).
    pub small: u64,
    /// Megabytes in the tars that are compressed (BIG).
    pub big: u64,
    /// Files that the large diff finds changed (CHANGED).
    pub changed: u64,
    /// How many layers a store has when it is opened (LAYERS).
    pub layers: Vec<u64>,
    /// How long the chains are that are mounted (CHAINS).
    pub chains: Vec<u64>,
    /// Cycles of the calls below a millisecond in a round (CYCLES).
    pub cycles: u64,
    /// Rounds (ROUNDS).
    pub rounds: usize,
    /// The file systems (FS); `here` is the one that the images would lie on.
    pub kinds: Vec<String>,
    /// Jobs whose names begin with one of these; all where there is none (JOBS).
    pub jobs: Vec<String>,
}

impl Options {
    /// Reads them; else what is wrong.
    pub fn read() -> Result<Options, String> {
        let quick = std::env::var("QUICK").is_ok_and(|word| !word.is_empty() && word != "0");
        let size = |full: u64, small: u64| if quick { small } else { full };
        let top = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let entries = number("ENTRIES", size(128_000, 8_000))?;
        // cargo's own words come first.
        let mut jobs: Vec<String> = std::env::args()
            .skip(1)
            .filter(|word| word != "--bench")
            .collect();
        if let Some(option) = jobs.iter().find(|word| word.starts_with('-')) {
            return Err(format!("{option}: unknown option; name jobs"));
        }
        jobs.extend(words("JOBS", ""));
        let options = Options {
            ovl: path("OVL").unwrap_or_else(|| top.join("build/ovl")),
            dir: path("OVL_BENCH_DIR").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into()),
            out: path("OVL_BENCH_OUT").unwrap_or_else(|| top.join("build/bench")),
            tree: given("TREE", std::path::Path::is_dir, "a directory")?,
            tar: given("TAR", std::path::Path::is_file, "a plain tar file")?,
            entries,
            small: number("SMALL", size(200_000, 8_000))?,
            big: number("BIG", size(200, 16))?,
            changed: number("CHANGED", (entries / 6).min(20_000))?,
            layers: numbers("LAYERS", if quick { "10,1000" } else { "10,1000,100000" })?,
            chains: numbers("CHAINS", if quick { "1,10" } else { "1,10,120,400" })?,
            cycles: number("CYCLES", size(100, 10))?,
            rounds: number("ROUNDS", size(5, 3))? as usize,
            kinds: words("FS", "ext4,xfs,tmpfs"),
            jobs,
        };
        if !options.ovl.is_file() {
            return Err(format!("{}: not built; run make", options.ovl.display()));
        }
        for path in [&options.ovl, &options.dir] {
            // Command lines are split at spaces.
            if path
                .to_string_lossy()
                .contains(|c: char| c.is_whitespace() || c == '\'')
            {
                return Err(format!(
                    "{}: a path without spaces and quotes, please",
                    path.display()
                ));
            }
        }
        if let Some(long) = options.chains.iter().find(|chain| **chain > 500) {
            return Err(format!("CHAINS: {long}: a chain is at most 500 long"));
        }
        Ok(options)
    }

    /// Whether a job of this name is asked for.
    pub fn wants(&self, job: &str) -> bool {
        self.jobs.is_empty() || self.jobs.iter().any(|word| job.starts_with(word.as_str()))
    }
}

fn path(name: &str) -> Option<PathBuf> {
    let text: OsString = std::env::var_os(name).filter(|text| !text.is_empty())?;
    std::path::absolute(text).ok()
}

fn given(
    name: &str,
    is: fn(&std::path::Path) -> bool,
    what: &str,
) -> Result<Option<PathBuf>, String> {
    match path(name) {
        Some(path) if !is(&path) => Err(format!("{name}: {}: not {what}", path.display())),
        path => Ok(path),
    }
}

fn words(name: &str, usual: &str) -> Vec<String> {
    std::env::var(name)
        .ok()
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| usual.to_string())
        .split([',', ' '])
        .filter(|word| !word.is_empty())
        .map(str::to_string)
        .collect()
}

fn numbers(name: &str, usual: &str) -> Result<Vec<u64>, String> {
    let read = |word: String| match word.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{name}: {word}: not a number above 0")),
    };
    words(name, usual).into_iter().map(read).collect()
}

fn number(name: &str, usual: u64) -> Result<u64, String> {
    match numbers(name, &usual.to_string())?.as_slice() {
        [number] => Ok(*number),
        _ => Err(format!("{name}: one number, please")),
    }
}
