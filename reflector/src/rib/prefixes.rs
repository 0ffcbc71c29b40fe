//! Destinations, interned: a dense id for each, found by hash, reused once forgotten.
//!
//! A full table's prefixes are neighbours of each other: they differ in a few middle bits. A hash that does not mix
//! these into the bits that choose the bucket makes every look-up a walk, so a prefix is hashed by one wide
//! multiplication that does.

use bgp_proto::{Family, Nlri, Prefix};
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

/// The interned destinations of one family. NLRI that are the same route (RFC 8277 section 2.4, RFC 7432 section 7) are one.
#[derive(Debug)]
pub struct Prefixes {
    family: Family,
    slots: Vec<Slot>,
    free: Vec<u32>,
    index: HashTable<u32>,
}

impl Prefixes {
    /// None of this family known.
    pub fn new(family: Family) -> Prefixes {
        Prefixes { family, slots: Vec::new(), free: Vec::new(), index: HashTable::new() }
    }

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
        let hash = hash(nlri, self.family);
        if let Some(id) = self.find_hashed(hash, nlri) {
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
        let (slots, family) = (&self.slots, self.family);
        let rehash = |i: &u32| slots[*i as usize].nlri.as_ref().map_or(0, |nlri| self::hash(nlri, family));
        self.index.insert_unique(hash, at, rehash);
        PrefixId(at)
    }

    /// The id of `nlri`, if known.
    pub fn find(&self, nlri: &Nlri) -> Option<PrefixId> {
        self.find_hashed(hash(nlri, self.family), nlri)
    }

    fn find_hashed(&self, hash: u64, nlri: &Nlri) -> Option<PrefixId> {
        let slots = &self.slots;
        let is =
            |i: &u32| slots[*i as usize].nlri.as_ref().is_some_and(|known| same(known, nlri, self.family));
        self.index.find(hash, is).map(|i| PrefixId(*i))
    }

    /// The destination behind `id`, as it was first said.
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
        self.ids_after(None)
    }

    /// Those of them behind `after`; the ones before it cost nothing.
    pub fn ids_after(&self, after: Option<PrefixId>) -> impl Iterator<Item = PrefixId> + '_ {
        let slots = self.slots.iter().enumerate().skip(after.map_or(0, |id| id.index() + 1));
        slots.filter(|(_, s)| s.nlri.is_some()).map(|(i, _)| PrefixId(i as u32))
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
        if let Ok(entry) = self.index.find_entry(hash(&nlri, self.family), |i| *i == id.0) {
            entry.remove();
        }
        self.free.push(id.0);
    }
}

fn same(one: &Nlri, other: &Nlri, family: Family) -> bool {
    match (one, other) {
        (Nlri::Prefix(one), Nlri::Prefix(other)) => one == other,
        _ => one.key(family) == other.key(family),
    }
}

fn hash(nlri: &Nlri, family: Family) -> u64 {
    match nlri {
        Nlri::Prefix(prefix) => hash_prefix(prefix),
        Nlri::Opaque(_) => FxBuildHasher.hash_one(nlri.key(family).octets()),
    }
}

/// The high half of a product knows of every bit, so both halves together spread neighbours over all buckets.
fn hash_prefix(prefix: &Prefix) -> u64 {
    const ODD: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xD1B5_4A32_D192_ED03];
    let bits = prefix.bits();
    let (high, low) = ((bits >> 64) as u64, bits as u64);
    let folded = (high ^ ODD[0]).rotate_left(u32::from(prefix.len())) ^ low.wrapping_mul(ODD[1]);
    let product = u128::from(folded ^ u64::from(prefix.len())) * u128::from(ODD[0]);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::collections::BTreeSet;

    /// How many of `count` neighbours fall into buckets of their own, by the bits that choose one and by the tag.
    fn spread(prefixes: impl Iterator<Item = Prefix>) -> (usize, usize) {
        let hashes: Vec<u64> = prefixes.map(|p| hash_prefix(&p)).collect();
        let distinct =
            |part: &dyn Fn(u64) -> u64| hashes.iter().map(|h| part(*h)).collect::<BTreeSet<_>>().len();
        (distinct(&|h| h & 0xFFFF), distinct(&|h| h >> 57))
    }

    #[test]
    fn neighbours_are_spread_over_all_buckets() {
        let v4 = |shift: u32| {
            (0..65_536u32).filter_map(move |i| {
                let addr = 0x0A00_0000u32.wrapping_add(i << (32 - shift));
                Prefix::new(IpAddr::V4(Ipv4Addr::from(addr)), shift as u8).ok()
            })
        };
        let v6 = (0..65_536u128).filter_map(|i| {
            Prefix::new(IpAddr::V6(Ipv6Addr::from((0x2001_0DB8u128 << 96) | i << 80)), 48).ok()
        });
        // At random, 65,536 balls leave some 63 % of as many buckets not empty.
        for (buckets, tags) in [spread(v4(24)), spread(v4(26)), spread(v4(32)), spread(v6)] {
            assert!(buckets > 38_000, "{buckets} buckets");
            assert_eq!(tags, 128);
        }
    }
}
