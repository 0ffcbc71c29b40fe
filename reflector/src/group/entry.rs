//! The words of a group's log.

use bgp_proto::PathId;

use crate::ids::PeerId;
use crate::rib::{AttrId, AttrTable, PrefixId, Rib};

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogKey {
    /// The prefix.
    pub prefix: PrefixId,
    /// The path's local identifier; 0 without add-path.
    pub path_id: PathId,
}

/// What a group was told last about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// That it is gone; some cursor may not know yet.
    Tombstone,
    /// These attributes.
    Live(AttrId),
}

/// Whether an entry's source may hold a path that another source gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Takeover {
    Settled,
    Pending,
}

/// An entry to encode. Sorted, those that go into the same messages stand together, tombstones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    pub(super) state: State,
    pub(super) source: PeerId,
    pub(super) takeover: Takeover,
    pub(super) key: LogKey,
}

/// The tables that a log's entries refer to.
#[derive(Debug)]
pub struct Store<'a> {
    /// The attribute sets; each live entry counts one use.
    pub attrs: &'a mut AttrTable,
    /// The prefixes of the log's family; each entry holds one.
    pub rib: &'a mut Rib,
}
