//! Numbers that a seed decides, and the seeds.

pub use crate::support::rng::Rng;

/// `OVL_TEST_CHAINS=N` says how many, `OVL_TEST_SEED=N` the first.
pub fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let first = number("OVL_TEST_SEED").unwrap_or(1);
    first..first + number("OVL_TEST_CHAINS").unwrap_or(usual)
}
