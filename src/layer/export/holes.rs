//! Where a file has data, as a tar can say it.

use crate::archive::{MAX_REGIONS, Region};
use crate::error::{Result, SysResult};
use crate::sys::{BorrowedFd, fs};

/// The parts of a file that hold data. They are no more than a tar may say: where the disk knows
/// more, the smaller holes count as data.
pub(super) fn regions(file: BorrowedFd<'_>, size: u64) -> Result<Vec<Region>> {
    collect_regions(MAX_REGIONS, |at| {
        let next = fs::next_data(file, at, size).call("lseek")?;
        Ok(next.map(|(start, end)| Region {
            offset: start,
            len: end - start,
        }))
    })
}

fn collect_regions(
    most: usize,
    mut next: impl FnMut(u64) -> Result<Option<Region>>,
) -> Result<Vec<Region>> {
    let mut regions: Vec<Region> = Vec::new();
    let mut at = 0;
    // Smaller holes than this are none.
    let mut hole = 1;
    while let Some(region) = next(at)? {
        at = region.offset + region.len;
        append(&mut regions, region, hole);
        while regions.len() > most {
            hole *= 2;
            for region in std::mem::take(&mut regions) {
                append(&mut regions, region, hole);
            }
        }
    }
    Ok(regions)
}

/// Appends `region`; with too small a hole between, the last one grows.
fn append(regions: &mut Vec<Region>, region: Region, hole: u64) {
    match regions.last_mut() {
        Some(last) if region.offset - (last.offset + last.len) < hole => {
            last.len = region.offset + region.len - last.offset;
        }
        _ => regions.push(region),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(most: usize, ends: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let next = |at| {
            let found = ends.iter().find(|(start, _)| *start >= at);
            Ok(found.map(|&(offset, end)| Region {
                offset,
                len: end - offset,
            }))
        };
        let regions = collect_regions(most, next).unwrap();
        regions
            .iter()
            .map(|r| (r.offset, r.offset + r.len))
            .collect()
    }

    #[test]
    fn the_smallest_holes_go_first() {
        let ends = [(0, 4), (8, 12), (112, 116), (120, 124), (1000, 1004)];
        assert_eq!(collect(5, &ends), ends);
        assert_eq!(collect(4, &ends), [(0, 12), (112, 124), (1000, 1004)]);
        assert_eq!(collect(2, &ends), [(0, 124), (1000, 1004)]);
        assert_eq!(collect(1, &ends), [(0, 1004)]);
        assert_eq!(collect(3, &[]), []);
        // What touches is one, whatever the disk says.
        assert_eq!(collect(3, &[(2, 4), (4, 6)]), [(2, 6)]);
    }

    #[test]
    fn large_holes_stay() {
        // A hundred clusters of fifty pieces.
        let start = |n: u64| 2 * n + (n / 50) * (1 << 20);
        let ends: Vec<_> = (0..5000).map(|n| (start(n), start(n) + 1)).collect();
        let regions = collect(150, &ends);
        let clusters: Vec<_> = (0..100)
            .map(|n| (start(50 * n), start(50 * n + 49) + 1))
            .collect();
        assert_eq!(regions, clusters);
    }
}
