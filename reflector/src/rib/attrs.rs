//! Attribute sets, interned: each distinct set is kept once, counted, with what the decision reads from it.
//!
//! Labels are no part of what makes two NLRI the same route (RFC 8277 section 2.4), nor is an EVPN route's gateway: they belong
//! to the path. So a path of such a family keeps its NLRI as it was said beside its attributes, and is sent on with it.

use bgp_proto::{AttrSet, Family, Nlri};
use core::hash::BuildHasher;
use core::num::NonZeroU32;
use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use super::merits::Merits;

/// An interned attribute set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttrId(NonZeroU32);

impl AttrId {
    /// The id of a slot. A table of 2^32 sets does not fit in memory.
    fn of(slot: u32) -> AttrId {
        AttrId(NonZeroU32::MIN.saturating_add(slot))
    }

    fn slot(self) -> u32 {
        self.0.get() - 1
    }
}

#[derive(Debug)]
struct Slot {
    attrs: AttrSet,
    said: Option<Box<Nlri>>,
    merits: Merits,
    uses: u32,
}

/// The attribute sets in use.
#[derive(Debug, Default)]
pub struct AttrTable {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    index: HashTable<u32>,
}

impl AttrTable {
    /// Distinct sets in use.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether no set is in use.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The id of `attrs`, with one use counted for the caller.
    pub fn intern(&mut self, attrs: &AttrSet) -> AttrId {
        self.intern_said(attrs, None)
    }

    /// The same for a path whose NLRI says more than which route it is.
    pub fn intern_said(&mut self, attrs: &AttrSet, said: Option<&Nlri>) -> AttrId {
        let hash = hash(attrs, said);
        let slots = &mut self.slots;
        if let Some(at) = self.index.find(hash, |i| is(slots, *i, attrs, said)) {
            if let Some(slot) = &mut slots[*at as usize] {
                slot.uses += 1;
            }
            return AttrId::of(*at);
        }
        let said = said.map(|nlri| Box::new(nlri.clone()));
        let slot = Some(Slot { attrs: attrs.clone(), said, merits: Merits::of(attrs), uses: 1 });
        let at = match self.free.pop() {
            Some(at) => {
                slots[at as usize] = slot;
                at
            }
            None => {
                slots.push(slot);
                (slots.len() - 1) as u32
            }
        };
        let slots = &self.slots;
        self.index.insert_unique(hash, at, |i| slots[*i as usize].as_ref().map_or(0, Slot::hash));
        AttrId::of(at)
    }

    /// Counts one more use.
    pub fn hold(&mut self, id: AttrId) {
        if let Some(slot) = &mut self.slots[id.slot() as usize] {
            slot.uses += 1;
        }
    }

    /// Counts one use less; the last one forgets the set.
    pub fn release(&mut self, id: AttrId) {
        let Some(slot) = &mut self.slots[id.slot() as usize] else { return };
        slot.uses -= 1;
        if slot.uses > 0 {
            return;
        }
        let hash = slot.hash();
        if let Ok(entry) = self.index.find_entry(hash, |i| *i == id.slot()) {
            entry.remove();
        }
        self.slots[id.slot() as usize] = None;
        self.free.push(id.slot());
    }

    /// The set behind `id`.
    ///
    /// # Panics
    ///
    /// If `id` was released, which is an error of this crate.
    pub fn get(&self, id: AttrId) -> &AttrSet {
        &self.slot(id).attrs
    }

    /// The NLRI as the path says it, where that is more than which route it is.
    pub fn said(&self, id: AttrId) -> Option<&Nlri> {
        self.slot(id).said.as_deref()
    }

    /// What the decision reads from the set.
    pub fn merits(&self, id: AttrId) -> &Merits {
        &self.slot(id).merits
    }

    fn slot(&self, id: AttrId) -> &Slot {
        self.slots[id.slot() as usize].as_ref().expect("an attribute id in use")
    }
}

impl Slot {
    fn hash(&self) -> u64 {
        hash(&self.attrs, self.said.as_deref())
    }
}

/// `nlri`, if it says more than which route of `family` it is.
pub fn said(nlri: &Nlri, family: Family) -> Option<&Nlri> {
    let Nlri::Opaque(octets) = nlri else { return None };
    (nlri.key(family).octets() != &octets[..]).then_some(nlri)
}

fn is(slots: &[Option<Slot>], at: u32, attrs: &AttrSet, said: Option<&Nlri>) -> bool {
    slots[at as usize].as_ref().is_some_and(|s| s.attrs == *attrs && s.said.as_deref() == said)
}

fn hash(attrs: &AttrSet, said: Option<&Nlri>) -> u64 {
    match said {
        None => FxBuildHasher.hash_one(attrs),
        Some(nlri) => FxBuildHasher.hash_one((attrs, nlri)),
    }
}
