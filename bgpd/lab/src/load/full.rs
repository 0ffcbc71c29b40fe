//! Full tables: prefixes and attributes with the proportions of the Internet's, made up from a seed.
//!
//! Nothing is copied from a real table. What shapes the work of a daemon is kept: how long prefixes are (three of five are
//! /24), how many share one attribute set (six and a half on average, most few, some hundreds), how long paths are (two to
//! eight ASes), and that most carry communities. Prefixes ascend and do not overlap, so that a prefix has a number.
//!
//! Every speaker announces every prefix, by a path of its own; the speaker that wins a set has a path that is shorter by one AS,
//! so that the decision is the same in every daemon. A receiver must end with exactly the winner's path and next hop for
//! every prefix, and with nothing where it is the winner itself: a route is not told to its source.

use std::net::Ipv4Addr;
use std::ops::Range;

use anyhow::{Context, Result};
use bgp_proto::attr::{Community, Origin};
use bgp_proto::{Asn, AttrBlock, AttrSet, Family, NextHop, PathId, Prefix};
use bytes::{Bytes, BytesMut};

use super::swarm::Play;
use super::wire::{self, ASN};

/// The first prefix.
const BASE: u32 = 0x0100_0000;
/// Space that the scenarios need for themselves, or that some daemon refuses: shared address space, loopback, link-local.
const TAKEN: [(u32, u32); 3] =
    [(0x6440_0000, 0x6480_0000), (0x7F00_0000, 0x8000_0000), (0xA9FE_0000, 0xA9FF_0000)];

/// Of a thousand prefixes, so many have this length.
const LENGTHS: [(u8, u32); 9] =
    [(24, 610), (23, 105), (22, 120), (21, 60), (20, 50), (19, 33), (18, 12), (17, 6), (16, 4)];
/// ASes that sell transit.
const TRANSITS: u64 = 400;

/// A seeded generator (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Prefixes that share their attributes.
struct Set {
    prefixes: Range<usize>,
    path: Vec<Asn>,
    communities: Vec<Community>,
    med: Option<u32>,
    /// Whose path is the best.
    winner: u32,
}

/// A table, who announces it, and who listens.
pub(super) struct FullTable {
    clients: u32,
    speakers: u32,
    prefixes: Vec<Prefix>,
    sets: Vec<Set>,
    /// By the first 24 bits, the number of the prefix that begins there, plus one.
    numbers: Vec<u32>,
    /// For every prefix, the winner's path and next hop as a number, and the winner.
    best: Vec<(u32, u32)>,
}

impl FullTable {
    /// `count` prefixes that the first `speakers` of `clients` announce.
    pub(super) fn new(count: usize, clients: u32, speakers: u32) -> FullTable {
        let mut random = Random(count as u64);
        let prefixes = prefixes(count, &mut random);
        let mut sets = Vec::new();
        let mut from = 0;
        while from < count {
            let to = count.min(from + share(&mut random));
            let winner = random.below(u64::from(speakers)) as u32;
            sets.push(Set { prefixes: from..to, winner, ..set(&mut random) });
            from = to;
        }
        let mut numbers = vec![0; 1 << 24];
        for (number, prefix) in (1..).zip(&prefixes) {
            numbers[start(prefix) as usize >> 8] = number;
        }
        let mut best = Vec::with_capacity(count);
        for set in &sets {
            let path = path(set, set.winner).iter().flat_map(|asn| asn.0.to_be_bytes()).collect::<Vec<_>>();
            let path = [&[2, (path.len() / 4) as u8][..], &path].concat();
            let mark = mark(&path, u32::from(wire::next_hop_of(set.winner)));
            best.extend(set.prefixes.clone().map(|_| (mark, set.winner)));
        }
        FullTable { clients, speakers, prefixes, sets, numbers, best }
    }

    /// What a client must end with for a prefix; 0 for nothing.
    fn wanted(&self, client: u32, number: usize) -> u32 {
        match self.best[number] {
            (_, winner) if winner == client => 0,
            (mark, _) => mark,
        }
    }

    fn number(&self, addr: u32) -> Option<usize> {
        (self.numbers[addr as usize >> 8] as usize).checked_sub(1)
    }
}

/// What a receiver holds: a number for each prefix's path and next hop, and how many prefixes are not as they must be.
pub(super) struct Held {
    marks: Vec<u32>,
    wrong: usize,
}

impl Play for FullTable {
    type Heard = Held;

    fn clients(&self) -> u32 {
        self.clients
    }

    fn announcement(&self, client: u32) -> Result<Bytes> {
        let mut out = BytesMut::new();
        for set in self.sets.iter().filter(|_| client < self.speakers) {
            let mut attrs = AttrSet::builder(NextHop::from(wire::next_hop_of(client)));
            attrs.origin(Origin::Igp).as_path(&path(set, client)).local_pref(Some(100)).med(set.med);
            attrs.communities(&set.communities);
            let block = AttrBlock::new(&attrs.build(), Family::IPV4_UNICAST, &wire::context());
            let prefixes = self.prefixes[set.prefixes.clone()].iter().map(|p| (PathId(0), *p));
            block.encode_updates(prefixes, &mut out)?;
        }
        Ok(out.freeze())
    }

    fn nothing(&self, client: u32) -> Held {
        let marks = vec![0; self.prefixes.len()];
        let wrong = (0..marks.len()).filter(|number| self.wanted(client, *number) != 0).count();
        Held { marks, wrong }
    }

    fn hear(&self, client: u32, held: &mut Held, message: &[u8]) -> Result<()> {
        let (withdrawn, attrs, nlri) = wire::parts(message)?;
        let mut put = |addr: u32, mark: u32| {
            let number =
                self.number(addr).with_context(|| format!("{} is no prefix", Ipv4Addr::from(addr)))?;
            let wanted = self.wanted(client, number);
            let before = std::mem::replace(&mut held.marks[number], mark);
            held.wrong = held.wrong + usize::from(mark != wanted) - usize::from(before != wanted);
            Ok(())
        };
        wire::each_prefix(withdrawn, |addr| put(addr, 0))?;
        if nlri.is_empty() {
            return Ok(());
        }
        let path = wire::attribute(attrs, 2).context("no AS_PATH")?;
        let hop = wire::attribute(attrs, 3).and_then(|hop| hop.try_into().ok()).context("no NEXT_HOP")?;
        let mark = mark(path, u32::from_be_bytes(hop));
        wire::each_prefix(nlri, |addr| put(addr, mark))
    }

    fn has_all(&self, _client: u32, held: &Held) -> bool {
        held.wrong == 0
    }
}

/// A path and a next hop as a number that is not 0 (FNV-1a).
fn mark(path: &[u8], next_hop: u32) -> u32 {
    let octets = path.iter().chain(&next_hop.to_be_bytes()).copied().collect::<Vec<_>>();
    octets.iter().fold(0x811C_9DC5u32, |hash, octet| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193)) | 1
}

fn start(prefix: &Prefix) -> u32 {
    match prefix.addr() {
        std::net::IpAddr::V4(addr) => u32::from(addr),
        std::net::IpAddr::V6(_) => 0,
    }
}

fn prefixes(count: usize, random: &mut Random) -> Vec<Prefix> {
    let mut prefixes = Vec::with_capacity(count);
    let mut at = BASE;
    while prefixes.len() < count {
        let mut draw = random.below(1000) as u32;
        let mut len = 24;
        for (length, share) in LENGTHS {
            if draw < share {
                len = length;
                break;
            }
            draw -= share;
        }
        let size = 1u32 << (32 - len);
        at = at.next_multiple_of(size);
        if let Some((_, end)) = TAKEN.iter().find(|(from, to)| at < *to && at + size > *from) {
            at = *end;
            continue;
        }
        prefixes.extend(Prefix::new(Ipv4Addr::from(at).into(), len));
        at += size;
    }
    prefixes
}

/// How many prefixes the next set has: one in two sets has one or two, one in a hundred has hundreds.
fn share(random: &mut Random) -> usize {
    let most = match random.below(100) {
        0 => 320,
        1..=9 => 44,
        10..=49 => 9,
        _ => 2,
    };
    1 + random.below(most) as usize
}

fn set(random: &mut Random) -> Set {
    let mut path: Vec<Asn> = (0..1 + random.below(4)).map(|_| transit(random.below(TRANSITS))).collect();
    let origin = Asn(100_000 + random.below(80_000) as u32);
    let times = if random.below(10) == 0 { 3 } else { 1 };
    path.extend(std::iter::repeat_n(origin, times));
    let communities = match random.below(10) {
        0..=2 => 0,
        3..=7 => 1 + random.below(5),
        _ => 4 + random.below(12),
    };
    let community = |random: &mut Random| {
        let (high, low) = (3000 + random.below(TRANSITS) as u32, random.below(2000) as u32);
        Community(high << 16 | low)
    };
    let communities = (0..communities).map(|_| community(random)).collect();
    let med = (random.below(4) == 0).then(|| random.below(200) as u32);
    Set { prefixes: 0..0, path, communities, med, winner: 0 }
}

fn transit(number: u64) -> Asn {
    Asn(3000 + number as u32)
}

/// By way of a speaker: its own transit first, and another AS unless it wins.
fn path(set: &Set, speaker: u32) -> Vec<Asn> {
    let mut path = vec![Asn(ASN + 100 + speaker)];
    if speaker != set.winner {
        path.push(Asn(ASN + 99));
    }
    path.extend(&set.path);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(mut octets: &[u8]) -> Vec<&[u8]> {
        let mut all = Vec::new();
        while let Some((_, length)) = wire::next_message(octets).expect("a header") {
            all.push(&octets[..length]);
            octets = &octets[length..];
        }
        all
    }

    #[test]
    fn a_table_has_the_proportions_it_promises() {
        let table = FullTable::new(100_000, 2, 1);
        let slash_24 = table.prefixes.iter().filter(|p| p.len() == 24).count();
        assert!((59_000..63_000).contains(&slash_24), "{slash_24}");
        let share = table.prefixes.len() as f64 / table.sets.len() as f64;
        assert!((5.5..7.5).contains(&share), "{share} prefixes a set");
        assert!(table.prefixes.windows(2).all(|w| start(&w[0]) < start(&w[1])));
    }

    #[test]
    fn a_million_prefixes_are_all_unicast() {
        // Multicast and what is reserved: nobody takes it.
        const END: u32 = 0xE000_0000;
        let last = prefixes(1_000_000, &mut Random(1_000_000)).last().map(start);
        assert!(last.is_some_and(|last| last < END), "{last:?}");
    }

    #[test]
    fn a_receiver_is_content_with_the_winners_paths_only() {
        let table = FullTable::new(2000, 3, 2);
        let said = [0, 1].map(|speaker| table.announcement(speaker).expect("an announcement"));
        let mut held = table.nothing(2);
        for message in said.iter().flat_map(|octets| messages(octets)) {
            table.hear(2, &mut held, message).expect("sound");
        }
        assert!(!table.has_all(2, &held), "the second speaker does not win everything");
        for (message, set) in messages(&said[0]).into_iter().zip(&table.sets) {
            if set.winner == 0 {
                table.hear(2, &mut held, message).expect("sound");
            }
        }
        assert!(table.has_all(2, &held));
        assert!(!table.has_all(0, &table.nothing(0)), "a speaker hears what the other wins");
    }
}
