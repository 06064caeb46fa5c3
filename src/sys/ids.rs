//! Which users and groups the caller's user namespace has.
//!
//! Elsewhere, owners are what the disk says. In a user namespace those that it does not map are told
//! as one number for all (65534, mostly), and none of them can be given to a file.

use super::fs;

/// First id and how many, as the namespace itself calls them.
type Range = (u64, u64);

/// The ids of the calling thread's user namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMaps {
    users: String,
    groups: String,
    user_ranges: Vec<Range>,
    group_ranges: Vec<Range>,
}

impl IdMaps {
    /// As they are now. Without procfs all ids are taken to be there.
    pub fn read() -> Self {
        let (users, groups) = (read_map("uid_map"), read_map("gid_map"));
        IdMaps {
            user_ranges: ranges(&users),
            group_ranges: ranges(&groups),
            users,
            groups,
        }
    }

    /// Whether a file can belong to this user.
    pub fn has_user(&self, id: u32) -> bool {
        has(&self.user_ranges, id)
    }

    /// Whether a file can belong to this group.
    pub fn has_group(&self, id: u32) -> bool {
        has(&self.group_ranges, id)
    }

    /// How ids in here and outside correspond, as one word; nothing where they are the same.
    pub fn word(&self) -> Option<String> {
        const ALL: &str = "0:0:4294967295";
        match (&*self.users, &*self.groups) {
            (ALL, ALL) => None,
            (users, groups) => Some(format!("{users}/{groups}")),
        }
    }
}

/// The lines of a map as `first:outside:count,...`; that of the first namespace where there is none.
fn read_map(name: &str) -> String {
    let text = fs::read_whole(&format!("/proc/thread-self/{name}"));
    let text = text.unwrap_or_else(|_| b"0 0 4294967295".to_vec());
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.join(":")
    });
    lines.collect::<Vec<_>>().join(",")
}

fn ranges(map: &str) -> Vec<Range> {
    let range = |line: &str| {
        let mut words = line.split(':');
        let first = words.next()?.parse().ok()?;
        let count = words.nth(1)?.parse().ok()?;
        Some((first, count))
    };
    map.split(',').filter_map(range).collect()
}

fn has(ranges: &[Range], id: u32) -> bool {
    let id = u64::from(id);
    ranges
        .iter()
        .any(|(first, count)| id >= *first && id - first < *count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_their_ranges() {
        let ranges = ranges("0:1000:1,1:100000:65536");
        assert_eq!(ranges, [(0, 1), (1, 65536)]);
        for (id, is) in [(0, true), (1, true), (65536, true), (65537, false)] {
            assert_eq!(has(&ranges, id), is, "{id}");
        }
        assert!(!has(&[], 0));
    }
}
