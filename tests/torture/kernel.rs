//! What the kernel knows: its log, the mounts of a namespace, loop devices.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

/// The kernel's log from now on.
pub struct Log(Option<File>);

impl Log {
    pub fn from_now() -> Log {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg");
        Log(file.ok().and_then(|mut file| {
            file.seek(SeekFrom::End(0)).ok()?;
            Some(file)
        }))
    }

    /// What it said of overlayfs since; `None` where it cannot be read.
    pub fn of_overlays(&mut self) -> Option<Vec<String>> {
        let file = self.0.as_mut()?;
        let mut said = Vec::new();
        let mut record = [0; 8192];
        loop {
            match file.read(&mut record) {
                Ok(length) if length > 0 => {
                    let text = String::from_utf8_lossy(&record[..length]).into_owned();
                    let message = text.split_once(';').map_or("", |(_, message)| message);
                    if message.starts_with("overlayfs:") {
                        said.push(message.lines().next().unwrap_or_default().to_string());
                    }
                }
                // Records that were overwritten before they were read.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                _ => return Some(said),
            }
        }
    }
}

/// One mount of a namespace.
pub struct Mounted {
    id: String,
    pub device: String,
    pub point: String,
    pub source: String,
    upper: Option<String>,
}

/// The mounts that a process sees: a pid, or `thread-self`.
pub fn mounts(of: &str) -> Vec<Mounted> {
    let table = fs::read_to_string(format!("/proc/{of}/mountinfo")).unwrap_or_default();
    let lines = table.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mount: Vec<&str> = mount.split(' ').collect();
        let file_system: Vec<&str> = file_system.split(' ').collect();
        let upper = file_system.get(2)?.split(',');
        Some(Mounted {
            id: mount.first()?.to_string(),
            device: mount.get(2)?.to_string(),
            point: mount.get(4)?.to_string(),
            source: file_system.get(1)?.to_string(),
            upper: upper
                .filter_map(|option| option.strip_prefix("upperdir="))
                .next()
                .map(Into::into),
        })
    });
    lines.collect()
}

/// Uppers that two overlays have at one moment, in two namespaces that are seen by these.
pub fn shared_uppers(one: &str, other: &str) -> Vec<String> {
    let first = mounts(one);
    let second = mounts(other);
    // What was there before and after was there meanwhile.
    let mut there = second;
    let third = mounts(one);
    there.extend(first.into_iter().filter(|a| {
        third
            .iter()
            .any(|b| (&a.id, &a.device) == (&b.id, &b.device))
    }));
    let mut devices: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for mount in there {
        if let Some(upper) = mount.upper {
            let known = devices.entry(upper).or_default();
            if !known.contains(&mount.device) {
                known.push(mount.device);
            }
        }
    }
    let shared = devices.into_iter().filter(|(_, devices)| devices.len() > 1);
    shared
        .map(|(upper, devices)| format!("{upper} in overlays {devices:?}"))
        .collect()
}

/// Descriptors, threads and mounts of the calling process.
pub fn counts() -> String {
    let many = |path: &str| fs::read_dir(path).map_or(0, Iterator::count);
    format!(
        "{} descriptors, {} threads, {} mounts",
        many("/proc/self/fd"),
        many("/proc/self/task"),
        mounts("thread-self").len(),
    )
}

/// Loop devices of images below a path.
pub fn loops(images: &str) -> usize {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let ours = devices.filter(|device| {
        fs::read_to_string(device.path().join("loop/backing_file"))
            .is_ok_and(|file| file.starts_with(images))
    });
    ours.count()
}
