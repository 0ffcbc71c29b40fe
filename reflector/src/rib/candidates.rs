//! The paths to one prefix.

use bgp_proto::PathId;

use super::{AttrId, Few};
use crate::events::Naming;
use crate::ids::PeerId;

/// One path to a prefix, after import policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Who announced it.
    pub peer: PeerId,
    /// The path identifier that the peer gave it (RFC 7911), 0 without add-path.
    pub path_id: PathId,
    /// The path identifier that this speaker gives it: unique among the prefix's paths, stable for its lifetime.
    pub local_id: PathId,
    /// Its attributes.
    pub attrs: AttrId,
    /// Its rank before anything else counts.
    pub preference: u16,
    /// Whether the import policy spoke of its prefix.
    pub naming: Naming,
    /// Whether the peer has yet to confirm it.
    pub freshness: Freshness,
    /// When it was announced in this form, seconds since the driver's epoch.
    pub since_secs: u32,
}

/// Whether a peer stands by what it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It does.
    Fresh,
    /// The session restarted, or a refresh is under way, and the path was not announced again yet.
    Stale,
    /// The peer's restart time is over, and the path waits on as a last resort, marked LLGR_STALE (RFC 9494).
    LongLived,
}

/// The paths to one prefix.
pub type Candidates = Few<Candidate>;

impl Candidates {
    /// The path that `peer` calls `path_id`.
    pub fn find_mut(&mut self, peer: PeerId, path_id: PathId) -> Option<&mut Candidate> {
        self.as_mut_slice().iter_mut().find(|c| c.peer == peer && c.path_id == path_id)
    }

    /// The lowest local path identifier that none of the paths has.
    pub fn free_local_id(&self) -> PathId {
        let used = self.as_slice();
        let mut id = 1;
        while used.iter().any(|c| c.local_id.0 == id) {
            id += 1;
        }
        PathId(id)
    }
}
