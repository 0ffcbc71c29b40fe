//! Rows that `bgpd` does not pass yet, each with what is missing. The list may only shrink: a row on it that passes makes
//! the run fail.

/// Row and reason.
const FAILING: &[(&str, &str)] = &[
    ("c19", "there is no BFD"),
    ("e16", "its own IPv6 address is not recognised as a next hop on a session over IPv4"),
    (
        "e25",
        "IPv6 routes have no next hop of its own on an external session over IPv4, so they are not told there",
    ),
    ("e30", "an IPv6 next hop that is link-local only is accepted on a session that is not"),
];

/// Why a row is expected to fail, if it is.
pub(crate) fn reason(row: &str) -> Option<&'static str> {
    FAILING.iter().find(|(known, _)| *known == row).map(|(_, reason)| *reason)
}
