//! Attribute sets, interned: each distinct set is kept once, counted, with what the decision reads from it.
//!
//! Labels are no part of what makes two NLRI the same route (RFC 8277 section 2.4), nor is an EVPN route's gateway: they belong
//! to the path. So a path of such a family keeps its NLRI as it was said beside its attributes, and is sent on with it.

use bgp_proto::{AttrSet, Family, Nlri};
use core::hash::BuildHasher;
use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use std::borrow::Cow;

use super::attr_id::AttrId;
use super::merits::Merits;
use super::reflected::{Reflected, Reflections};

#[derive(Debug)]
struct Slot {
    attrs: AttrSet,
    said: Option<Box<Nlri>>,
    merits: Merits,
    uses: u32,
    hash: Hash,
}

/// Half a hash, kept so that the index grows and shrinks without a look at any set's octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hash(u32);

impl Hash {
    fn of(attrs: &AttrSet, said: Option<&Nlri>) -> Hash {
        let whole = match said {
            None => FxBuildHasher.hash_one(attrs),
            Some(nlri) => FxBuildHasher.hash_one((attrs, nlri)),
        };
        Hash((whole >> 32) as u32 ^ whole as u32)
    }

    /// As the index wants it: it takes buckets from the low bits and tags from the high ones.
    fn whole(self) -> u64 {
        u64::from(self.0) << 32 | u64::from(self.0)
    }
}

/// The attribute sets in use.
#[derive(Debug, Default)]
pub struct AttrTable {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    index: HashTable<u32>,
    reflections: Reflections,
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
        let hash = Hash::of(attrs, said);
        let slots = &mut self.slots;
        if let Some(at) = self.index.find(hash.whole(), |i| is(slots, *i, hash, attrs, said)) {
            if let Some(slot) = &mut slots[*at as usize] {
                slot.uses += 1;
            }
            return AttrId::of(*at);
        }
        if self.index.len() == self.index.capacity() {
            self.grow();
        }
        let slots = &mut self.slots;
        let said = said.map(|nlri| Box::new(nlri.clone()));
        let slot = Some(Slot { attrs: attrs.clone(), said, merits: Merits::of(attrs), uses: 1, hash });
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
        self.index.insert_unique(hash.whole(), at, |i| whole_hash(slots, *i));
        AttrId::of(at)
    }

    /// A larger index, filled in the order of the slots: in that of the old one every slot would be a cache miss.
    fn grow(&mut self) {
        let capacity = (self.index.len() * 2).max(16);
        self.index = HashTable::with_capacity(capacity);
        for (at, slot) in self.slots.iter().enumerate() {
            if let Some(slot) = slot {
                self.index.insert_unique(slot.hash.whole(), at as u32, |i| whole_hash(&self.slots, *i));
            }
        }
    }

    /// The id of a set as this speaker reflects it, with one use counted for the caller.
    pub fn intern_reflected(&mut self, reflected: Reflected) -> AttrId {
        let (at, is_new) = self.reflections.intern(reflected);
        if is_new {
            self.hold(reflected.base);
        }
        AttrId::of_reflected(at)
    }

    /// Counts one more use.
    pub fn hold(&mut self, id: AttrId) {
        if let Some(at) = id.reflected() {
            return self.reflections.hold(at);
        }
        if let Some(slot) = &mut self.slots[id.slot() as usize] {
            slot.uses += 1;
        }
    }

    /// Counts one use less; the last one forgets the set.
    pub fn release(&mut self, id: AttrId) {
        if let Some(at) = id.reflected() {
            if let Some(base) = self.reflections.release(at) {
                self.release(base);
            }
            return;
        }
        let Some(slot) = &mut self.slots[id.slot() as usize] else { return };
        slot.uses -= 1;
        if slot.uses > 0 {
            return;
        }
        let hash = slot.hash;
        if let Ok(entry) = self.index.find_entry(hash.whole(), |i| *i == id.slot()) {
            entry.remove();
        }
        self.slots[id.slot() as usize] = None;
        self.free.push(id.slot());
    }

    /// The set behind `id`.
    ///
    /// # Panics
    ///
    /// If `id` was released, or is kept as an edit, which is an error of this crate.
    pub fn get(&self, id: AttrId) -> &AttrSet {
        &self.slot(id).attrs
    }

    /// The set behind `id`, which may be one that is kept as an edit.
    pub fn told(&self, id: AttrId) -> Cow<'_, AttrSet> {
        match id.reflected() {
            Some(at) => {
                let reflected = self.reflections.get(at);
                Cow::Owned(reflected.of(self.get(reflected.base)))
            }
            None => Cow::Borrowed(self.get(id)),
        }
    }

    /// The NLRI as the path says it, where that is more than which route it is.
    pub fn said(&self, id: AttrId) -> Option<&Nlri> {
        let id = id.reflected().map_or(id, |at| self.reflections.get(at).base);
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

/// `nlri`, if it says more than which route of `family` it is.
pub fn said(nlri: &Nlri, family: Family) -> Option<&Nlri> {
    let Nlri::Opaque(octets) = nlri else { return None };
    (nlri.key(family).octets() != &octets[..]).then_some(nlri)
}

fn is(slots: &[Option<Slot>], at: u32, hash: Hash, attrs: &AttrSet, said: Option<&Nlri>) -> bool {
    let is = |s: &Slot| s.hash == hash && s.attrs == *attrs && s.said.as_deref() == said;
    slots[at as usize].as_ref().is_some_and(is)
}

fn whole_hash(slots: &[Option<Slot>], at: u32) -> u64 {
    slots[at as usize].as_ref().map_or(0, |slot| slot.hash.whole())
}
