//! Numbers that a seed decides.

pub struct Rng(pub u64);

impl Rng {
    /// One of the first `n` numbers (splitmix64).
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// `OVL_TEST_CHAINS=N` says how many, `OVL_TEST_SEED=N` the first.
pub fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let first = number("OVL_TEST_SEED").unwrap_or(1);
    first..first + number("OVL_TEST_CHAINS").unwrap_or(usual)
}
