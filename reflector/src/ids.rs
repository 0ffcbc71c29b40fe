//! Small names for things the two machines share.

use core::fmt;

/// A configured or accepted peer, as the daemon numbers them. [`PeerId::LOCAL`] stands for this speaker itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

impl PeerId {
    /// The source of routes that this speaker originates.
    pub const LOCAL: PeerId = PeerId(0);
    /// The source of routes that somebody else put into the kernel.
    pub const KERNEL: PeerId = PeerId(u32::MAX);
    /// The source of the networks that the node is connected to.
    pub const DIRECT: PeerId = PeerId(u32::MAX - 1);

    /// Whether this is no peer but a part of this speaker.
    pub fn is_own(self) -> bool {
        self == PeerId::LOCAL || self == PeerId::KERNEL || self == PeerId::DIRECT
    }
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

/// The name of an interface, which has 15 octets at most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfName {
    octets: [u8; 15],
    len: u8,
}

impl IfName {
    /// The name; `None` where no interface can be called so.
    pub fn new(name: &str) -> Option<IfName> {
        let mut octets = [0; 15];
        let len = u8::try_from(name.len()).ok().filter(|len| (1..=15).contains(len))?;
        octets[..name.len()].copy_from_slice(name.as_bytes());
        Some(IfName { octets, len })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.octets[..usize::from(self.len)]).unwrap_or("")
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}
