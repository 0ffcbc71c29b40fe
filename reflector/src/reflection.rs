//! Who may be told of a path, and what reflection adds to it: RFC 4456, with RFC 4271 section 9.2 around it.
//!
//! | learned from | client | non-client | external |
//! |---|---|---|---|
//! | this speaker | as is | as is | as is |
//! | external peer | as is | as is | as is |
//! | client | reflected | reflected | as is |
//! | non-client | reflected | no | as is |
//!
//! Loop protection on the way in (section 8): a path whose ORIGINATOR_ID is this speaker's BGP Identifier, or
//! whose CLUSTER_LIST names its cluster, has been here before.

use bgp_proto::{AttrSet, ClusterId, RouterId};

pub use crate::rib::reflected::mark;

/// What a peer is to this speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerKind {
    /// In another AS.
    External,
    /// In this AS, and a client that this speaker reflects for.
    Client,
    /// In this AS, an ordinary internal peer.
    NonClient,
}

/// Where a path was learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LearnedFrom {
    /// This speaker originates it.
    Local,
    /// A peer of this kind.
    Peer(PeerKind),
}

/// Whether a path may go from a source to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It may not: an internal path stays where it is (RFC 4271 section 9.2.1).
    No,
    /// It may, without reflection's marks.
    Plain,
    /// It may, with ORIGINATOR_ID and CLUSTER_LIST (RFC 4456 section 8).
    Reflected,
}

/// Whether a path learned `from` may be told to a peer of kind `to`.
pub fn passage(from: LearnedFrom, to: PeerKind) -> Passage {
    match (from, to) {
        (LearnedFrom::Local | LearnedFrom::Peer(PeerKind::External), _) => Passage::Plain,
        (LearnedFrom::Peer(_), PeerKind::External) => Passage::Plain,
        (LearnedFrom::Peer(PeerKind::NonClient), PeerKind::NonClient) => Passage::No,
        (LearnedFrom::Peer(PeerKind::Client | PeerKind::NonClient), _) => Passage::Reflected,
    }
}

/// Whether an internal path has been here before (RFC 4456 section 8).
pub fn is_loop(attrs: &AttrSet, own: RouterId, cluster: ClusterId) -> bool {
    attrs.originator_id() == Some(own) || attrs.cluster_list().contains(cluster)
}
