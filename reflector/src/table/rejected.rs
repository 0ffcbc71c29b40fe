//! Why a path was not accepted, by name.

/// Why a path was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejected {
    /// This speaker's AS is in AS_PATH (RFC 4271 section 9.1.2).
    OwnAsInPath,
    /// ORIGINATOR_ID or CLUSTER_LIST is this speaker's: it was here before (RFC 4456 section 8).
    ReflectionLoop,
    /// The next hop is no usable address: unspecified, multicast, or this speaker's own (RFC 4271 section 6.3).
    BadNextHop,
    /// An external peer without an import policy (RFC 8212).
    NoPolicy,
    /// It may only go to customers, and comes from one, or from beside (RFC 9234 section 5).
    RouteLeak,
    /// The import policy rejected it.
    Policy,
    /// A default route, or this node's own prefix, that no rule accepted by name.
    NotNamed,
}

impl Rejected {
    /// The reason in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Rejected::OwnAsInPath => "own AS in AS_PATH",
            Rejected::ReflectionLoop => "own ORIGINATOR_ID or cluster in the path",
            Rejected::BadNextHop => "next hop is not usable",
            Rejected::NoPolicy => "external peer without import policy (RFC 8212)",
            Rejected::RouteLeak => "a route leak: marked as only for customers (RFC 9234)",
            Rejected::Policy => "rejected by import policy",
            Rejected::NotNamed => "default route or own prefix, accepted only by a rule that names it",
        }
    }

    /// All reasons.
    pub const ALL: [Rejected; 7] = [
        Rejected::OwnAsInPath,
        Rejected::ReflectionLoop,
        Rejected::BadNextHop,
        Rejected::NoPolicy,
        Rejected::RouteLeak,
        Rejected::Policy,
        Rejected::NotNamed,
    ];
}
