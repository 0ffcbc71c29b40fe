//! Destinations, interned: a dense id for each, found by hash, reused once forgotten.

use bgp_proto::Nlri;
use core::hash::BuildHasher;
use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

/// A destination of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrefixId(u32);

impl PrefixId {
    /// The id at an index of a dense table.
    pub fn from_index(index: usize) -> PrefixId {
        PrefixId(index as u32)
    }

    /// As an index into a dense table.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug)]
struct Slot {
    nlri: Option<Nlri>,
    holds: u32,
}

/// The interned destinations of one family.
#[derive(Debug, Default)]
pub struct Prefixes {
    slots: Vec<Slot>,
    free: Vec<u32>,
    index: HashTable<u32>,
}

impl Prefixes {
    /// Destinations known.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The id of `nlri`, made if need be.
    pub fn intern(&mut self, nlri: &Nlri) -> PrefixId {
        if let Some(id) = self.find(nlri) {
            return id;
        }
        let slot = Slot { nlri: Some(nlri.clone()), holds: 0 };
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                // A table of 2^32 prefixes does not fit in memory.
                (self.slots.len() - 1) as u32
            }
        };
        let slots = &self.slots;
        self.index.insert_unique(hash(nlri), at, |i| slots[*i as usize].nlri.as_ref().map_or(0, hash));
        PrefixId(at)
    }

    /// The id of `nlri`, if known.
    pub fn find(&self, nlri: &Nlri) -> Option<PrefixId> {
        let slots = &self.slots;
        self.index.find(hash(nlri), |i| slots[*i as usize].nlri.as_ref() == Some(nlri)).map(|i| PrefixId(*i))
    }

    /// The destination behind `id`.
    ///
    /// # Panics
    ///
    /// If `id` was forgotten, which is an error of this crate.
    pub fn nlri(&self, id: PrefixId) -> &Nlri {
        self.slots[id.index()].nlri.as_ref().expect("a prefix id in use")
    }

    /// The destination behind `id`, unless it was forgotten.
    pub fn find_nlri(&self, id: PrefixId) -> Option<&Nlri> {
        self.slots.get(id.index())?.nlri.as_ref()
    }

    /// All ids in use, ascending.
    pub fn ids(&self) -> impl Iterator<Item = PrefixId> + '_ {
        self.slots.iter().enumerate().filter(|(_, s)| s.nlri.is_some()).map(|(i, _)| PrefixId(i as u32))
    }

    pub(super) fn hold(&mut self, id: PrefixId) {
        self.slots[id.index()].holds += 1;
    }

    pub(super) fn unhold(&mut self, id: PrefixId) {
        let holds = &mut self.slots[id.index()].holds;
        debug_assert!(*holds > 0);
        *holds = holds.saturating_sub(1);
    }

    pub(super) fn forget_unheld(&mut self, id: PrefixId) {
        let slot = &mut self.slots[id.index()];
        if slot.holds > 0 {
            return;
        }
        let Some(nlri) = slot.nlri.take() else { return };
        if let Ok(entry) = self.index.find_entry(hash(&nlri), |i| *i == id.0) {
            entry.remove();
        }
        self.free.push(id.0);
    }
}

fn hash(nlri: &Nlri) -> u64 {
    FxBuildHasher.hash_one(nlri)
}
