//! The name of an interned attribute set.

use core::num::NonZeroU32;

/// An interned attribute set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttrId(NonZeroU32);

impl AttrId {
    /// The id of a slot. A table of 2^32 sets does not fit in memory.
    pub(super) fn of(slot: u32) -> AttrId {
        AttrId(NonZeroU32::MIN.saturating_add(slot))
    }

    pub(super) fn slot(self) -> u32 {
        self.0.get() - 1
    }

    /// The id of a set that is kept as an edit of another.
    pub(super) fn of_reflected(slot: u32) -> AttrId {
        AttrId::of(slot | REFLECTED)
    }

    /// The slot of a set that is kept as an edit of another.
    pub(super) fn reflected(self) -> Option<u32> {
        (self.slot() & REFLECTED != 0).then_some(self.slot() & !REFLECTED)
    }
}

/// In a slot's number: it is among the reflected ones.
const REFLECTED: u32 = 1 << 31;
