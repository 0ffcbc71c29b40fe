//! What the decision reads from an attribute set, and the names of its steps.

use bgp_proto::attr::{Community, Origin};
use bgp_proto::{Asn, AttrSet, RouterId};

/// LOCAL_PREF of a path that has none (RFC 4271 section 9.1.1 leaves the value to local policy; 100 is what
/// everybody takes).
pub const LOCAL_PREF_DEFAULT: u32 = 100;

/// The attributes that the decision compares, read once from an attribute set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merits {
    /// Whether the path is long-lived stale (RFC 9494), marked so here or by an earlier speaker.
    pub staleness: Staleness,
    /// LOCAL_PREF, or the default.
    pub local_pref: u32,
    /// AS_PATH length as RFC 4271 section 9.1.2.2 a counts it.
    pub as_path_len: u32,
    /// ORIGIN.
    pub origin: Origin,
    /// MULTI_EXIT_DISC, if there is one.
    pub med: Option<u32>,
    /// The neighbouring AS that `med` belongs to; `None` for a path from within.
    pub neighbor_as: Option<Asn>,
    /// ORIGINATOR_ID, which stands for the BGP Identifier.
    pub originator_id: Option<RouterId>,
    /// Entries of CLUSTER_LIST.
    pub cluster_list_len: u32,
}

/// Whether a path may be older than its sender's knowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staleness {
    /// As good as any other, also during a graceful restart (RFC 4724 section 4.1).
    Usual,
    /// Long-lived stale: the last resort (RFC 9494 section 4.3).
    LongLived,
}

/// The step that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The next hop is not reachable.
    Reachable,
    /// The highest preference that policy gave.
    Preference,
    /// This speaker's own origination wins.
    LocalOrigin,
    /// Long-lived stale paths lose.
    Fresh,
    /// The highest LOCAL_PREF.
    LocalPref,
    /// The shortest AS_PATH.
    AsPathLength,
    /// The lowest ORIGIN.
    Origin,
    /// The lowest MED of a neighbouring AS.
    Med,
    /// External over internal.
    External,
    /// The nearest next hop.
    InteriorCost,
    /// The oldest of external paths, by choice.
    Oldest,
    /// The lowest BGP Identifier or ORIGINATOR_ID.
    RouterId,
    /// The shortest CLUSTER_LIST.
    ClusterListLength,
    /// The lowest peer address.
    PeerAddress,
    /// The lowest path identifier.
    PathId,
    /// There was no other path.
    OnlyPath,
}

impl Step {
    /// The step in the words of `show` commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Reachable => "next hop unreachable",
            Step::Preference => "preference",
            Step::LocalOrigin => "local origin",
            Step::Fresh => "long-lived stale",
            Step::LocalPref => "LOCAL_PREF",
            Step::AsPathLength => "AS_PATH length",
            Step::Origin => "ORIGIN",
            Step::Med => "MED",
            Step::External => "external over internal",
            Step::InteriorCost => "interior cost",
            Step::Oldest => "oldest",
            Step::RouterId => "BGP Identifier",
            Step::ClusterListLength => "CLUSTER_LIST length",
            Step::PeerAddress => "peer address",
            Step::PathId => "path identifier",
            Step::OnlyPath => "only path",
        }
    }
}

impl Merits {
    /// Reads them.
    pub fn of(attrs: &AttrSet) -> Merits {
        let path = attrs.as_path();
        let is_stale = attrs.communities().contains(Community::LLGR_STALE);
        Merits {
            staleness: if is_stale { Staleness::LongLived } else { Staleness::Usual },
            local_pref: attrs.local_pref().unwrap_or(LOCAL_PREF_DEFAULT),
            as_path_len: path.decision_len() as u32,
            origin: attrs.origin(),
            med: attrs.med(),
            neighbor_as: path.neighbour_as(),
            originator_id: attrs.originator_id(),
            cluster_list_len: attrs.cluster_list().len() as u32,
        }
    }
}
