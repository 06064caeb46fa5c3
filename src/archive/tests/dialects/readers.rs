//! libovl and the tools, each as a reader that tells entries in the same words.

use super::{Seen, Told};
use crate::archive::tests::{content, read_all};
use crate::archive::{Digest, Kind, path};
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

pub struct Tool {
    pub name: &'static str,
    program: &'static str,
    /// The version that the table is about.
    version: &'static str,
    pub read: fn(&[u8]) -> Told,
}

pub const TOOLS: [Tool; 3] = [
    Tool {
        name: "gnu",
        program: "tar",
        version: "tar (GNU tar) 1.34",
        read: gnu,
    },
    Tool {
        name: "bsd",
        program: "bsdtar",
        version: "bsdtar 3.6.2",
        read: bsd,
    },
    Tool {
        name: "python",
        program: "python3",
        version: "Python 3.11",
        read: python,
    },
];

/// Whether the tool is there, in the version that the table knows; else it is skipped by name.
pub fn have(tool: &Tool) -> bool {
    let output = Command::new(tool.program).arg("--version").output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let said = said.unwrap_or_default();
    let there = said.starts_with(tool.version);
    if !there {
        let first = said.lines().next().unwrap_or("nothing");
        eprintln!(
            "\nSKIP every_disagreement_is_explained: lacks {} (there is {first})",
            tool.version
        );
    }
    there
}

pub fn run(program: &str, args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // A tool that has seen enough closes its end.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().unwrap()
    })
}

fn refusal(output: &Output) -> Option<String> {
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then_some(message)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bare(name: &[u8]) -> Vec<u8> {
    let end = name
        .iter()
        .rposition(|&byte| byte != b'/')
        .map_or(0, |at| at + 1);
    name[..end].to_vec()
}

/// libovl; compressed or not.
pub fn ours(archive: &[u8]) -> Told {
    let mut decoder = crate::archive::Decoder::new(archive, Default::default());
    // As apply does: all of the blob is read and checked.
    let items = read_all(&mut decoder).and_then(|items| decoder.finish().map(|_| items));
    let items = match items {
        Ok(items) => items,
        Err(error) => {
            let refused = Some(error.to_string());
            return Told {
                refused,
                ..Told::default()
            };
        }
    };
    let mut all = Vec::new();
    let mut told = Told::default();
    for item in &items {
        let entry = &item.0;
        let kind = match entry.kind {
            Kind::File => "file",
            Kind::HardLink => "hard link",
            Kind::Symlink => "symlink",
            Kind::Directory => "directory",
            Kind::Fifo => "fifo",
            Kind::CharDevice => "char",
            Kind::BlockDevice => "block",
        };
        let mut seen = Seen {
            name: bare(&entry.path),
            ..Seen::default()
        };
        let mut put = |field, value: String| seen.fields.insert(field, value);
        put("type", kind.into());
        put("mode", format!("{:o}", entry.mode));
        put("uid", entry.uid.to_string());
        put("gid", entry.gid.to_string());
        put("mtime", time(entry.mtime.sec, entry.mtime.nsec));
        put("size", entry.size.to_string());
        put("link", hex(&entry.link));
        put("device", format!("{},{}", entry.major, entry.minor));
        let xattrs = entry.xattrs.iter().map(|(name, value)| (hex(name), value));
        put(
            "xattrs",
            xattrs
                .clone()
                .map(|(name, value)| format!("{name}={} ", hex(value)))
                .collect(),
        );
        put(
            "lengths",
            xattrs
                .map(|(name, value)| format!("{name}:{} ", value.len()))
                .collect(),
        );
        let data = content(item);
        let digest = if entry.kind == Kind::File {
            Digest::of(&data).hex()
        } else {
            String::new()
        };
        put("content", digest);
        all.extend(data);
        told.entries.push(seen);
    }
    told.content = Some(Digest::of(&all).hex());
    told
}

fn time(sec: i64, nsec: u32) -> String {
    format!("{sec}.{nsec:09}")
}

const SHOW: &str = r#"
import sys, tarfile, hashlib, io
from decimal import Decimal
raw = lambda s: s.encode('utf-8', 'surrogateescape').hex()
def kind(m):
    for name, test in (('hard link', m.islnk()), ('symlink', m.issym()), ('directory', m.isdir()), ('fifo', m.isfifo()),
                       ('char', m.ischr()), ('block', m.isblk()), ('file', m.isreg())):
        if test: return name
    return 'type ' + m.type.decode('latin-1')
data = sys.stdin.buffer.read()
with tarfile.open(fileobj=io.BytesIO(data), encoding='utf-8', errors='surrogateescape') as archive:
    for m in archive:
        dev = (m.devmajor, m.devminor) if m.ischr() or m.isblk() else (0, 0)
        x = sorted((raw(k[13:]), raw(v)) for k, v in m.pax_headers.items() if k.startswith('SCHILY.xattr.'))
        t = Decimal(m.pax_headers['mtime']) if m.pax_headers.get('mtime') else Decimal(m.mtime)
        s = int(t // 1) - (1 if t < 0 and t % 1 else 0)
        n = int((t - s) * 1000000000)
        content = hashlib.sha256(archive.extractfile(m).read()).hexdigest() if m.isreg() else ''
        link = raw(m.linkname) if m.islnk() or m.issym() else ''
        size = m.size if m.isreg() else 0
        print(raw(m.name), kind(m), '%o' % (m.mode & 0o7777), m.uid, m.gid, '%d.%09d' % (s, n), size, link, '%d,%d' % dev,
              ''.join(k + '=' + v + ' ' for k, v in x), content, sep='|')
"#;

fn python(archive: &[u8]) -> Told {
    let output = run("python3", &["-c", SHOW], archive);
    let mut told = Told {
        refused: refusal(&output),
        ..Told::default()
    };
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let parts: Vec<&str> = line.split('|').collect();
        let name = (0..parts[0].len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&parts[0][at..at + 2], 16).unwrap());
        let mut seen = Seen {
            name: bare(&name.collect::<Vec<_>>()),
            ..Seen::default()
        };
        let fields = [
            "type", "mode", "uid", "gid", "mtime", "size", "link", "device", "xattrs", "content",
        ];
        for (field, value) in fields.into_iter().zip(&parts[1..]) {
            seen.fields.insert(field, value.to_string());
        }
        told.entries.push(seen);
    }
    told
}

/// Names as both tars show them: `\n`, `\ooo`, `\\`.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        let (byte, used) = match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), 3)
            }
            [b'n', ..] => (b'\n', 1),
            [b't', ..] => (b'\t', 1),
            [b'r', ..] => (b'\r', 1),
            [b'a', ..] => (7, 1),
            [b'b', ..] => (8, 1),
            [b'v', ..] => (11, 1),
            [b'f', ..] => (12, 1),
            [other, ..] => (*other, 1),
            [] => (b'\\', 0),
        };
        bytes.push(byte);
        rest = &tail[used..];
    }
    bytes
}

/// `drwxr-sr-t` as numbers.
fn permissions(text: &[u8]) -> String {
    let mut mode = 0;
    for (at, &letter) in text[1..10].iter().enumerate() {
        let set = !matches!(letter, b'-' | b'S' | b'T');
        mode |= u32::from(set) << (8 - at);
        if matches!(letter, b's' | b'S' | b't' | b'T') {
            mode |= [0o4000, 0o2000, 0o1000][at / 3];
        }
    }
    format!("{mode:o}")
}

fn letter(letter: u8) -> String {
    match letter {
        b'-' => "file".into(),
        b'h' => "hard link".into(),
        b'l' => "symlink".into(),
        b'd' => "directory".into(),
        b'p' => "fifo".into(),
        b'c' => "char".into(),
        b'b' => "block".into(),
        other => format!("type {}", other as char),
    }
}

/// The next word of a line, and what follows the one space after it.
fn word(line: &[u8]) -> (&[u8], &[u8]) {
    let start = line
        .iter()
        .position(|&byte| byte != b' ')
        .unwrap_or(line.len());
    let line = &line[start..];
    let end = line
        .iter()
        .position(|&byte| byte == b' ')
        .unwrap_or(line.len());
    (&line[..end], &line[(end + 1).min(line.len())..])
}

/// Name and link target.
fn ends(seen: &mut Seen, rest: &[u8]) {
    let split = |by: &[u8]| {
        rest.windows(by.len())
            .position(|w| w == by)
            .map(|at| (at, at + by.len()))
    };
    let found = match seen.fields["type"].as_str() {
        "symlink" => split(b" -> "),
        "hard link" => split(b" link to "),
        _ => None,
    };
    let (name, link) = found.map_or((rest, &b""[..]), |(end, from)| {
        (&rest[..end], &rest[from..])
    });
    seen.name = bare(&unescape(name));
    seen.fields.insert("link", hex(&unescape(link)));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Size, or the numbers of a device.
fn amount(seen: &mut Seen, said: &[u8]) {
    let device = said.contains(&b',');
    let (size, device) = if device {
        (b"0".to_vec(), text(said))
    } else {
        (said.to_vec(), "0,0".into())
    };
    let is_file = seen.fields["type"] == "file";
    seen.fields
        .insert("size", if is_file { text(&size) } else { "0".into() });
    seen.fields.insert("device", device);
}

fn gnu(archive: &[u8]) -> Told {
    // Its list of a compressed archive wants to know how; all else is found out by itself.
    let how = match archive {
        [0x1f, 0x8b, ..] => "-z",
        [0x28, 0xb5, ..] => "--zstd",
        _ => "--no-recursion",
    };
    let list = [
        "--xattrs",
        "--numeric-owner",
        "--full-time",
        "--quoting-style=escape",
        how,
        "-tvvf",
        "-",
    ];
    let output = run("tar", &list, archive);
    let mut told = Told {
        refused: refusal(&output),
        ..Told::default()
    };
    for line in lines(&output.stdout) {
        if let Some(attribute) = line.strip_prefix(b"  x: ") {
            let (len, name) = word(attribute);
            let said = format!("{}:{} ", hex(&unescape(name)), text(len));
            if let Some(last) = told.entries.last_mut() {
                last.fields.get_mut("lengths").unwrap().push_str(&said);
            }
            continue;
        }
        if line.starts_with(b"  a: ") || line.starts_with(b"  s: ") {
            continue;
        }
        let mut seen = Seen::default();
        let (mode, rest) = word(line);
        let (owner, rest) = word(rest);
        let (size, rest) = word(rest);
        let (date, rest) = word(rest);
        seen.fields.insert("type", letter(mode[0]));
        seen.fields.insert("mode", permissions(mode));
        let owner = text(owner);
        let (uid, gid) = owner.split_once('/').unwrap();
        seen.fields.insert("uid", uid.into());
        seen.fields.insert("gid", gid.into());
        amount(&mut seen, size);
        // A time that no calendar knows is one number.
        let date = text(date);
        let (mtime, rest) = match date.split('-').filter(|part| !part.is_empty()).count() {
            3 => {
                let (clock, rest) = word(rest);
                // The clock's column is padded.
                (calendar(&date, &text(clock)), rest)
            }
            _ => (format!("{date}.000000000"), rest),
        };
        seen.fields.insert("mtime", mtime);
        seen.fields.insert("lengths", String::new());
        let start = rest.iter().position(|&byte| byte != b' ').unwrap_or(0);
        ends(&mut seen, &rest[start..]);
        told.entries.push(seen);
    }
    // Attributes of ours are sorted.
    for seen in &mut told.entries {
        let mut said: Vec<_> = seen.fields["lengths"].split_inclusive(' ').collect();
        said.sort_unstable();
        let said = said.concat();
        seen.fields.insert("lengths", said);
    }
    if told.refused.is_none() {
        let all = run("tar", &[how, "-xOf", "-"], archive);
        told.content = Some(Digest::of(&all.stdout).hex());
    }
    told
}

/// `YYYY-MM-DD` and `HH:MM:SS[.FRACTION]` as seconds since 1970.
fn calendar(date: &str, clock: &str) -> String {
    let (negative, digits) = date
        .strip_prefix('-')
        .map_or((false, date), |rest| (true, rest));
    let mut parts = digits.split('-').map(|part| part.parse::<i64>().unwrap());
    let (year, month, day) = (
        parts.next().unwrap(),
        parts.next().unwrap(),
        parts.next().unwrap(),
    );
    let year = if negative { -year } else { year };
    let (year, month) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days =
        year.div_euclid(400) * 146_097 + year.rem_euclid(400) * 365 + year.rem_euclid(400) / 4
            - year.rem_euclid(400) / 100
            + (153 * month + 2) / 5
            + day
            - 1
            - 719_468;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let clock = clock
        .split(':')
        .fold(0, |sum, part| sum * 60 + part.parse::<i64>().unwrap());
    format!("{}.{fraction:0<9}", days * 86_400 + clock)
}

/// The lines of what a program said, but empty ones.
fn lines(said: &[u8]) -> impl Iterator<Item = &[u8]> {
    said.split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
}

/// bsdtar's list has names and links, its mtree the rest.
fn bsd(archive: &[u8]) -> Told {
    let output = run("bsdtar", &["--numeric-owner", "-tvf", "-"], archive);
    let mut told = Told {
        refused: refusal(&output),
        ..Told::default()
    };
    for line in lines(&output.stdout) {
        let mut seen = Seen::default();
        let (mode, rest) = word(line);
        let (_, rest) = word(rest);
        let (uid, rest) = word(rest);
        let (gid, rest) = word(rest);
        let (size, rest) = word(rest);
        let (_, rest) = word(rest);
        let (_, rest) = word(rest);
        let (_, rest) = word(rest);
        seen.fields.insert("type", letter(mode[0]));
        seen.fields.insert("mode", permissions(mode));
        seen.fields.insert("uid", text(uid));
        seen.fields.insert("gid", text(gid));
        amount(&mut seen, size);
        ends(&mut seen, rest);
        told.entries.push(seen);
    }
    if told.refused.is_some() {
        return told;
    }
    let keys = "mtree:!all,mtree:time";
    let output = run(
        "bsdtar",
        &["-cf", "-", "--format=mtree", "--options", keys, "@-"],
        archive,
    );
    for line in output
        .stdout
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.starts_with(b"#"))
    {
        let (name, rest) = word(line);
        let name = path::clean(&unescape(name)).unwrap_or_default();
        let mut same = told
            .entries
            .iter_mut()
            .filter(|seen| path::clean(&seen.name).is_ok_and(|n| n == name));
        let (Some(seen), None) = (same.next(), same.next()) else {
            continue;
        };
        for pair in text(rest).split(' ') {
            if let Some(("time", value)) = pair.split_once('=') {
                let (sec, nsec) = value.split_once('.').unwrap();
                let value = time(sec.parse().unwrap(), nsec.parse().unwrap());
                seen.fields.insert("mtime", value);
            }
        }
    }
    let all = run("bsdtar", &["-xOf", "-"], archive);
    told.content = Some(Digest::of(&all.stdout).hex());
    told
}
