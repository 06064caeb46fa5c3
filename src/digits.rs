//! Numbers as digits. What formats anything takes several times as long, and a layer's entries have half a
//! dozen numbers each.

use std::ops::Deref;

/// As many as 64 bits have in octal.
const MOST: usize = 22;

/// The digits of a number, in ASCII.
pub(crate) struct Digits {
    room: [u8; MOST],
    start: usize,
}

impl Digits {
    /// In base 10.
    pub(crate) fn decimal(value: u64) -> Self {
        Digits::of::<10>(value, 1)
    }

    /// In base `BASE`, which is 10 at most; with zeros in front where there are fewer than `least`.
    pub(crate) fn of<const BASE: u64>(mut value: u64, least: usize) -> Self {
        let mut room = [b'0'; MOST];
        let mut start = MOST;
        for digit in room.iter_mut().rev() {
            if value == 0 {
                break;
            }
            *digit = b'0' + (value % BASE) as u8;
            value /= BASE;
            start -= 1;
        }
        let start = start.min(MOST.saturating_sub(least));
        Digits { room, start }
    }
}

impl Deref for Digits {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.room.get(self.start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Digits;

    #[test]
    fn they_are_what_formatting_gives() {
        for value in [0, 1, 7, 8, 9, 10, 99, 100, 0o7777, 999_999_999, u64::MAX] {
            for least in [1, 4, 9, 22] {
                assert_eq!(
                    *Digits::of::<8>(value, least),
                    *format!("{value:0least$o}").as_bytes()
                );
                assert_eq!(
                    *Digits::of::<10>(value, least),
                    *format!("{value:0least$}").as_bytes()
                );
            }
            assert_eq!(*Digits::decimal(value), *value.to_string().as_bytes());
        }
    }
}
