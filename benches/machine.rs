//! What the run was on, and which programs it had: no names of hosts or people.

use crate::run::{ask, has};
use serde::Serialize;

/// The machine, as the report describes it.
#[derive(Serialize)]
pub struct Machine {
    /// The CPU's model.
    pub cpu: String,
    /// How many of it there are.
    pub cpus: usize,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// The kernel's release.
    pub kernel: String,
    /// What the images lie on.
    pub disk: String,
    /// The programs, and what they say of themselves.
    pub programs: Vec<(String, String)>,
    /// The ones that are not there, and their Debian packages.
    pub missing: Vec<(String, String)>,
}

const PROGRAMS: [(&str, &str, &str); 15] = [
    ("cp", "coreutils", "cp --version"),
    ("tar", "tar", "tar --version"),
    ("gzip", "gzip", "gzip --version"),
    ("zstd", "zstd", "zstd --version"),
    ("bsdtar", "libarchive-tools", "bsdtar --version"),
    ("rsync", "rsync", "rsync --version"),
    (
        "containers-storage",
        "containers-storage",
        "dpkg-query -Wf '${Version}' containers-storage",
    ),
    ("buildah", "buildah", "buildah --version"),
    ("umoci", "umoci", "umoci --version"),
    ("containerd", "containerd", "containerd --version"),
    ("mkfs.ext4", "e2fsprogs", "mkfs.ext4 -V 2>&1"),
    ("mkfs.xfs", "xfsprogs", "mkfs.xfs -V"),
    ("strace", "strace", "strace --version"),
    ("valgrind", "valgrind", "valgrind --version"),
    ("pigz", "pigz", "pigz --version 2>&1"),
];

impl Machine {
    /// This one.
    pub fn here(dir: &std::path::Path) -> Machine {
        let cpu = ask("sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1");
        let of = |there: bool| {
            PROGRAMS
                .iter()
                .filter(move |(program, ..)| has(program) == there)
        };
        Machine {
            cpu: if cpu.is_empty() { ask("uname -m") } else { cpu },
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: ask("sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo")
                .parse()
                .unwrap_or(0)
                / 1024,
            kernel: ask("uname -r"),
            disk: kind_of(dir),
            programs: of(true)
                .map(|(program, _, ask_it)| {
                    let said = ask(&format!("PATH=$PATH:/usr/sbin:/sbin; {ask_it}"));
                    (
                        program.to_string(),
                        said.lines().next().unwrap_or("").to_string(),
                    )
                })
                .collect(),
            missing: of(false)
                .map(|(program, package, _)| (program.to_string(), package.to_string()))
                .collect(),
        }
    }
}

/// The kind of the file system that a directory is on.
pub fn kind_of(dir: &std::path::Path) -> String {
    let dir = dir.display();
    ask(&format!(
        "findmnt -n -o FSTYPE -T '{dir}' || stat -fc %T '{dir}'"
    ))
}

/// The load average of the last minute.
pub fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(f64::NAN)
}
