//! The store's own small files: key=value lines, read whole and replaced whole.

use super::maker::Maker;
use crate::archive::Digest;
use crate::error::{Code, Errno, Error, Result, SysResult};
use crate::sys::fs::{self, RenameFlags, Time};
use crate::sys::{AsFd, BorrowedFd, SysCall};

/// No file of the store's is larger.
const MAX: usize = 1 << 20;

const PAGE: usize = 4096;

/// Reads the small file `name` whole.
pub fn read(dir: impl AsFd, name: &str) -> SysCall<Vec<u8>> {
    read_to(dir, name, MAX)
}

/// Reads the file `name` whole; EFBIG for one of more than `max` bytes.
pub fn read_to(dir: impl AsFd, name: &str, max: usize) -> SysCall<Vec<u8>> {
    let file = fs::open_file(dir, name.as_bytes())?;
    let mut data = vec![0; PAGE];
    let mut len = 0;
    loop {
        if len == data.len() {
            if len > max {
                return Err(Errno::FBIG);
            }
            data.resize(len * 2, 0);
        }
        match fs::read(&file, &mut data[len..])? {
            0 => break,
            // What is not as long as a page is read whole or not at all.
            n if len + n < PAGE => {
                len += n;
                break;
            }
            n => len += n,
        }
    }
    if len > max {
        return Err(Errno::FBIG);
    }
    data.truncate(len);
    Ok(data)
}

/// Writes the new small file `name`; what cannot be written whole goes again.
pub fn create(dir: impl AsFd, maker: Maker, name: &str, data: &[u8]) -> SysCall<()> {
    let file = maker.file(&dir, name)?;
    let done = fs::write_all(&file, data);
    if done.is_err() {
        let _ = fs::unlink(&dir, name.as_bytes());
    }
    done
}

/// Writes new small files so that a power cut leaves none of them empty under a name that their
/// directory gets later.
pub fn create_whole(dir: BorrowedFd<'_>, maker: Maker, texts: &[(&str, &[u8])]) -> Result<()> {
    let mut files = Vec::with_capacity(texts.len());
    for (at, (name, data)) in texts.iter().enumerate() {
        let write = || {
            let file = maker.file(dir, name)?;
            fs::write_all(&file, data)?;
            match at + 1 < texts.len() {
                true => fs::begin_to_write_through(&file)?,
                false => fs::write_through(&file)?,
            }
            Ok(file)
        };
        files.push(write().call_at("write", name)?);
    }
    files.pop();
    for (file, (name, _)) in files.iter().zip(texts) {
        fs::write_through(file).call_at("write", name)?;
    }
    Ok(())
}

/// Replaces `name` whole: a reader sees the old text or the new, also after a power cut.
pub fn replace(dir: BorrowedFd<'_>, name: &str, data: &[u8], sync: bool) -> Result<()> {
    let way = if sync { Way::Synced } else { Way::Whole };
    replace_by(dir, Maker::of(dir), name, data, way)
}

/// What is on the disk when.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// All of it, when the call returns.
    Synced,
    /// The text before its name.
    Whole,
    /// The name when the call returns, the text in the kernel's own time.
    Named,
    /// Both in the kernel's own time.
    Soon,
}

/// As [`replace`], where it is known whose it is, and with more of a choice: a text that need not come before
/// its name may be found cut short after a power cut.
pub fn replace_by(
    dir: BorrowedFd<'_>,
    maker: Maker,
    name: &str,
    data: &[u8],
    way: Way,
) -> Result<()> {
    let temp = format!(".{name}.{}", fs::random_name().call("getrandom")?);
    let result = (|| {
        let file = maker.file(dir, &temp)?;
        fs::write_all(&file, data)?;
        match way {
            Way::Synced => fs::sync(&file)?,
            // Not even then may a power cut leave an empty file where a whole one was.
            Way::Whole if keeps_order(dir)? => fs::write_through(&file)?,
            // A directory that was synced brings its later names to the disk by itself, with the next
            // sync of anything: btrfs has them in its log, and nothing of what they name.
            Way::Whole => fs::sync(&file)?,
            Way::Named | Way::Soon => {}
        }
        fs::rename(
            dir,
            temp.as_bytes(),
            dir,
            name.as_bytes(),
            RenameFlags::empty(),
        )?;
        match way {
            Way::Synced | Way::Named => fs::sync(dir),
            Way::Whole | Way::Soon => Ok(()),
        }
    })();
    if result.is_err() {
        let _ = fs::unlink(dir, temp.as_bytes());
    }
    let result = result.call_at("replace", name);
    result.map_err(|error| super::may_be_stuck(error, dir, name.as_bytes()))
}

/// Whether no name reaches the disk before those that were made earlier.
pub fn keeps_order(dir: impl AsFd) -> SysCall<bool> {
    // ext4, xfs: one journal (ext2 and an ext4 without one cannot be told from ext4, and keep no
    // order of anything). tmpfs: no disk.
    Ok([fs::EXT, fs::XFS, fs::TMPFS].contains(&fs::magic(dir)?))
}

/// Whether `name` is one under which a text is written that is to become `file`.
pub fn is_temporary(name: &[u8], file: &str) -> bool {
    name.strip_prefix(b".")
        .and_then(|name| name.strip_prefix(file.as_bytes()))
        .is_some_and(|rest| rest.starts_with(b"."))
}

/// The pairs of a text, in order. A line without `=` is damage; empty lines are not there.
pub fn pairs(text: &[u8]) -> Result<Vec<(String, String)>> {
    let text = std::str::from_utf8(text).map_err(|_| damaged("it is not text"))?;
    let mut pairs = Vec::new();
    for line in text.split('\n').filter(|line| !line.is_empty()) {
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| damaged("a line without ="))?;
        pairs.push((key.to_string(), value.to_string()));
    }
    Ok(pairs)
}

/// A line for [`pairs`].
pub fn line(text: &mut String, key: &str, value: &str) {
    for part in [key, "=", value, "\n"] {
        text.push_str(part);
    }
}

/// Ends a text with a line that is the checksum of those before.
pub fn seal(mut text: String) -> String {
    let sum = Digest::of(text.as_bytes());
    line(&mut text, "checksum", &sum.to_string());
    text
}

/// The text before the checksum, which must be right; `what` is the file, for the message.
pub fn sealed<'a>(data: &'a [u8], what: &str) -> Result<&'a [u8]> {
    let short = || damaged(format!("{what} is cut short"));
    let text = data.strip_suffix(b"\n").ok_or_else(short)?;
    let at = text.iter().rposition(|&b| b == b'\n').ok_or_else(short)? + 1;
    let sum = text[at..].strip_prefix(b"checksum=").ok_or_else(short)?;
    match sum == Digest::of(&data[..at]).to_string().as_bytes() {
        true => Ok(&data[..at]),
        false => Err(damaged(format!("{what} does not match its checksum"))),
    }
}

/// A time as it stands in a text.
pub fn write_time(time: Time) -> String {
    format!("{}.{:09}", time.sec, time.nsec)
}

/// Reads a time.
pub fn time(value: &str) -> Result<Time> {
    let (sec, nsec) = value
        .split_once('.')
        .ok_or_else(|| damaged("a time without ."))?;
    Ok(Time {
        sec: number(sec)?,
        nsec: number(nsec)?,
    })
}

/// Reads a number.
pub fn number<T: std::str::FromStr>(value: &str) -> Result<T> {
    value
        .parse()
        .map_err(|_| damaged(format!("not a number: {value}")))
}

/// Reads a digest.
pub fn digest(value: &str) -> Result<Digest> {
    Digest::parse(value).map_err(|_| damaged(format!("not a digest: {value}")))
}

/// The store is not as it must be.
pub fn damaged(what: impl Into<String>) -> Error {
    Error::new(Code::Damaged, Errno::IO, what)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn files_of_all_lengths_are_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().as_os_str().as_encoded_bytes();
        let fd = fs::open_dir_trusted(rustix::fs::CWD, path).unwrap();
        for length in [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 3 * PAGE, 1 << 16] {
            let data: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            std::fs::write(dir.path().join("file"), &data).unwrap();
            assert_eq!(read(&fd, "file").unwrap(), data, "{length}");
            let less = length.saturating_sub(1);
            let told = read_to(&fd, "file", less);
            assert_eq!(told.is_err(), length > less, "{length}");
        }
    }
}
