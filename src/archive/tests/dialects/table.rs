//! Where readers of tar disagree, and why libovl reads as it does.

/// A disagreement.
pub struct Row {
    pub case: &'static str,
    /// Who reads otherwise.
    pub tools: &'static [&'static str],
    /// `refuses` or `accepts` (what libovl does not), `names`, or the field that differs.
    pub what: &'static str,
    pub why: &'static str,
}

pub const ROWS: &[Row] = &[];
