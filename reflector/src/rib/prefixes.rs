//! Destinations, interned: a dense id for each, found by hash, reused once forgotten.
//!
//! A full table's prefixes are neighbours of each other: they differ in a few middle bits. A hash that does not mix
//! these into the bits that choose the bucket makes every look-up a walk, so a prefix is hashed by one wide
//! multiplication that does.

use bgp_proto::{Family, Nlri, Prefix};
use core::hash::BuildHasher;
use core::net::IpAddr;
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

/// The interned destinations of one family. NLRI that are the same route (RFC 8277 section 2.4, RFC 7432 section 7) are one.
///
/// A slot is a record of as many octets as the family's prefixes need, and of five more; what is not a prefix stands beside.
#[derive(Debug)]
pub struct Prefixes {
    family: Family,
    /// Octets of an address: 4, 16, or none where NLRI are not prefixes.
    width: usize,
    /// Records one behind the other: a mark, the address, the holds.
    records: Vec<u8>,
    /// NLRI that are not prefixes of the family, by slot.
    spoken: Vec<Option<Nlri>>,
    free: Vec<u32>,
    index: HashTable<u32>,
}

/// A record's mark: nothing is in the slot.
const FREE: u8 = 0;
/// The NLRI is not a prefix of the family. Others are a prefix's length and one more.
const SPOKEN: u8 = 0xFF;
/// Octets of the number of holds.
const HOLDS: usize = 4;
/// The longest address.
const WIDTH_MAX: usize = 16;

impl Prefixes {
    /// None of this family known.
    pub fn new(family: Family) -> Prefixes {
        let width = match family {
            Family::IPV4_UNICAST | Family::IPV4_MULTICAST => 4,
            Family::IPV6_UNICAST | Family::IPV6_MULTICAST => WIDTH_MAX,
            _ => 0,
        };
        let (records, spoken, free) = (Vec::new(), Vec::new(), Vec::new());
        Prefixes { family, width, records, spoken, free, index: HashTable::new() }
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
        if self.index.len() == self.index.capacity() {
            self.grow();
        }
        let id = self.free.pop().map_or_else(|| self.append(), PrefixId);
        self.write(id, nlri);
        // There is room: nothing is moved, and nothing hashed again.
        let mut index = core::mem::take(&mut self.index);
        let rehash = |at: &u32| self.nlri_at(*at).map_or(0, |nlri| self::hash(&nlri, self.family));
        index.insert_unique(hash, id.0, rehash);
        self.index = index;
        id
    }

    /// A larger index, filled in the order of the slots: in that of the old one every slot would be a cache miss.
    fn grow(&mut self) {
        let capacity = (self.index.len() * 2).max(16);
        self.index = HashTable::new();
        let mut index = HashTable::with_capacity(capacity);
        for at in 0..self.slots() as u32 {
            if let Some(nlri) = self.nlri_at(at) {
                index.insert_unique(hash(&nlri, self.family), at, |_| 0);
            }
        }
        self.index = index;
    }

    /// A new slot. A table of 2^32 prefixes does not fit in memory.
    fn append(&mut self) -> PrefixId {
        let at = self.slots();
        self.records.resize(self.records.len() + self.record(), FREE);
        PrefixId(at as u32)
    }

    fn write(&mut self, id: PrefixId, nlri: &Nlri) {
        let (at, width, record) = (id.index(), self.width, self.record());
        let out = &mut self.records[at * record..][..record];
        out.fill(0);
        match nlri {
            Nlri::Prefix(prefix) if usize::from(prefix.version().bits()) == width * 8 => {
                out[0] = prefix.len() + 1;
                out[1..1 + width].copy_from_slice(&prefix.bits().to_be_bytes()[..width]);
            }
            Nlri::Prefix(_) | Nlri::Opaque(_) => {
                out[0] = SPOKEN;
                if self.spoken.len() <= at {
                    self.spoken.resize(at + 1, None);
                }
                self.spoken[at] = Some(nlri.clone());
            }
        }
    }

    fn record(&self) -> usize {
        1 + self.width + HOLDS
    }

    fn slots(&self) -> usize {
        self.records.len() / self.record()
    }

    /// The id of `nlri`, if known.
    pub fn find(&self, nlri: &Nlri) -> Option<PrefixId> {
        self.find_hashed(hash(nlri, self.family), nlri)
    }

    fn find_hashed(&self, hash: u64, nlri: &Nlri) -> Option<PrefixId> {
        let is = |at: &u32| self.nlri_at(*at).is_some_and(|known| same(&known, nlri, self.family));
        self.index.find(hash, is).map(|at| PrefixId(*at))
    }

    /// The destination behind `id`, as it was first said.
    ///
    /// # Panics
    ///
    /// If `id` was forgotten, which is an error of this crate.
    pub fn nlri(&self, id: PrefixId) -> Nlri {
        self.nlri_at(id.0).expect("a prefix id in use")
    }

    /// The destination behind `id`, unless it was forgotten.
    pub fn find_nlri(&self, id: PrefixId) -> Option<Nlri> {
        self.nlri_at(id.0)
    }

    #[inline]
    fn nlri_at(&self, at: u32) -> Option<Nlri> {
        let record = self.records.get(at as usize * self.record()..)?;
        match *record.first()? {
            FREE => None,
            SPOKEN => self.spoken.get(at as usize)?.clone(),
            len => {
                let addr = record.get(1..1 + self.width)?;
                let addr = match addr.first_chunk::<WIDTH_MAX>() {
                    Some(v6) => IpAddr::from(*v6),
                    None => IpAddr::from(*addr.first_chunk::<4>()?),
                };
                Prefix::new(addr, len - 1).ok().map(Nlri::Prefix)
            }
        }
    }

    /// All ids in use, ascending.
    pub fn ids(&self) -> impl Iterator<Item = PrefixId> + '_ {
        self.ids_after(None)
    }

    /// Those of them behind `after`; the ones before it cost nothing.
    pub fn ids_after(&self, after: Option<PrefixId>) -> impl Iterator<Item = PrefixId> + '_ {
        let first = after.map_or(0, |id| id.index() + 1);
        let records = self.records.get(first * self.record()..).unwrap_or(&[]).chunks_exact(self.record());
        let used = (first..).zip(records).filter(|(_, record)| record[0] != FREE);
        used.map(|(at, _)| PrefixId(at as u32))
    }

    fn holds(&mut self, id: PrefixId) -> &mut [u8; HOLDS] {
        let (record, width) = (self.record(), self.width);
        let record = &mut self.records[id.index() * record..][..record];
        record[1 + width..].first_chunk_mut().expect("a record ends with its holds")
    }

    pub(super) fn hold(&mut self, id: PrefixId) {
        let holds = self.holds(id);
        *holds = (u32::from_ne_bytes(*holds) + 1).to_ne_bytes();
    }

    pub(super) fn unhold(&mut self, id: PrefixId) {
        let holds = self.holds(id);
        debug_assert_ne!(*holds, [0; HOLDS]);
        *holds = u32::from_ne_bytes(*holds).saturating_sub(1).to_ne_bytes();
    }

    pub(super) fn forget_unheld(&mut self, id: PrefixId) {
        if *self.holds(id) != [0; HOLDS] {
            return;
        }
        let Some(nlri) = self.find_nlri(id) else { return };
        if let Ok(entry) = self.index.find_entry(hash(&nlri, self.family), |at| *at == id.0) {
            entry.remove();
        }
        let record = self.record();
        self.records[id.index() * record] = FREE;
        if let Some(spoken) = self.spoken.get_mut(id.index()) {
            *spoken = None;
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
    use core::net::{Ipv4Addr, Ipv6Addr};
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
