//! All slots, by number and by prefix.
//!
//! A slot keeps its number while it exists, and slots that were made one after the other lie one behind the other. A batch
//! of a hundred thousand desires is therefore found by hashing once each, on the way in; judging and settling go by number
//! through memory in order. That is half the time of looking prefixes up again, which is mostly waiting for memory.

use std::hash::{BuildHasher, RandomState};

use bgp_proto::Prefix;
use hashbrown::HashTable;

use super::slot::{Slot, States};

/// The number of a slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::fib) struct SlotId(u32);

#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Option<Slot>>,
    numbers: HashTable<SlotId>,
    free: Vec<SlotId>,
    hasher: RandomState,
}

impl Slots {
    pub(super) fn find(&self, prefix: &Prefix) -> Option<SlotId> {
        self.find_hashed(self.hasher.hash_one(prefix), prefix)
    }

    fn find_hashed(&self, hash: u64, prefix: &Prefix) -> Option<SlotId> {
        self.numbers.find(hash, |id| has(&self.slots, *id, prefix)).copied()
    }

    /// The slot of a prefix, a new one if it has none. `None` if there are more prefixes than numbers.
    pub(super) fn find_or_make(&mut self, prefix: Prefix, states: &mut States) -> Option<SlotId> {
        let hash = self.hasher.hash_one(prefix);
        if let Some(id) = self.find_hashed(hash, &prefix) {
            return Some(id);
        }
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                let id = SlotId(u32::try_from(self.slots.len()).ok()?);
                self.slots.push(None);
                id
            }
        };
        *self.slots.get_mut(id.0 as usize)? = Some(Slot::new(prefix, states));
        let (slots, hasher) = (&self.slots, &self.hasher);
        let rehash = |id: &SlotId| prefix_of(slots, *id).map_or(0, |prefix| hasher.hash_one(prefix));
        self.numbers.insert_unique(hash, id, rehash);
        Some(id)
    }

    pub(super) fn get(&self, id: SlotId) -> Option<&Slot> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }

    pub(super) fn remove(&mut self, id: SlotId) {
        let Some(slot) = self.slots.get_mut(id.0 as usize).and_then(Option::take) else { return };
        let hash = self.hasher.hash_one(slot.prefix);
        if let Ok(entry) = self.numbers.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        self.free.push(id);
    }

    /// In order of number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotId, &Slot)> {
        self.slots.iter().zip(0..).filter_map(|(slot, id)| Some((SlotId(id), slot.as_ref()?)))
    }

    /// In order of number.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (SlotId, &mut Slot)> {
        self.slots.iter_mut().zip(0..).filter_map(|(slot, id)| Some((SlotId(id), slot.as_mut()?)))
    }
}

fn has(slots: &[Option<Slot>], id: SlotId, prefix: &Prefix) -> bool {
    prefix_of(slots, id) == Some(prefix)
}

fn prefix_of(slots: &[Option<Slot>], id: SlotId) -> Option<&Prefix> {
    slots.get(id.0 as usize)?.as_ref().map(|slot| &slot.prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(index: u32) -> Prefix {
        Prefix::new(std::net::Ipv4Addr::from(index << 8).into(), 24).unwrap()
    }

    #[test]
    fn slots_are_found_by_prefix_and_their_numbers_used_again() {
        let (mut slots, mut states) = (Slots::default(), States::default());
        let ids: Vec<SlotId> =
            (0..1000).map(|index| slots.find_or_make(prefix(index), &mut states).unwrap()).collect();
        assert_eq!(slots.find_or_make(prefix(7), &mut states), Some(ids[7]));
        ids.iter().step_by(2).for_each(|id| slots.remove(*id));
        assert_eq!(slots.find(&prefix(8)), None);
        assert_eq!(slots.find(&prefix(9)), Some(ids[9]));
        assert_eq!(slots.iter().count(), 500);
        let again = slots.find_or_make(prefix(5000), &mut states).unwrap();
        assert!(ids.contains(&again));
        assert_eq!(slots.get(again).map(|slot| slot.prefix), Some(prefix(5000)));
        assert_eq!(states.pending, 1001);
    }
}
