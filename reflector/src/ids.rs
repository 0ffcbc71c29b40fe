//! Small names for things the two machines share.

use core::fmt;

/// A configured or accepted peer, as the daemon numbers them. [`PeerId::LOCAL`] stands for this speaker itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

impl PeerId {
    /// The source of routes that this speaker originates.
    pub const LOCAL: PeerId = PeerId(0);
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == PeerId::LOCAL { f.write_str("local") } else { write!(f, "peer-{}", self.0) }
    }
}

/// The configuration entry that a peer comes from: many peers may come from one listen range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u32);

impl EntryId {
    /// What this speaker originates comes from no entry.
    pub const LOCAL: EntryId = EntryId(0);
}

/// A group of peers that are told the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// A position in a group's log. 0 stands before everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first entry.
    pub const START: Seq = Seq(0);

    /// The position after this one.
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}
