//! Rows that `bgpd` does not pass yet, each with what is missing. The list may only shrink: a row on it that passes makes
//! the run fail.

/// Row and reason.
const FAILING: &[(&str, &str)] = &[];

/// Why a row is expected to fail, if it is.
pub(crate) fn reason(row: &str) -> Option<&'static str> {
    FAILING.iter().find(|(known, _)| *known == row).map(|(_, reason)| *reason)
}
