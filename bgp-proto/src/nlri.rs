//! Network layer reachability information: what a route leads to.
//!
//! The unicast and multicast families carry prefixes, read into [`Prefix`] values. NLRI of other families are delimited
//! and kept as octets, which is all that reflecting them takes. A field of NLRI is checked once when its message is
//! decoded; the iterators here cannot fail and do not allocate.
//!
//! With ADD-PATH (RFC 7911) each NLRI has a path identifier before it; without, the identifier is zero.

use crate::context::WireContext;
use crate::family::{Family, Shape};
use crate::id::PathId;
use crate::prefix::{Prefix, Version};
use crate::reader::plain::{
    Parsed, Parser, be_u8, be_u16, counted, counted_long, length_data, map_opt, recognize,
};
use bytes::Bytes;
use core::fmt;

/// One NLRI, owned. Octets of an opaque one are without path identifier and as they stood on the wire.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nlri {
    /// Of a unicast or multicast family.
    Prefix(Prefix),
    /// Of another family.
    Opaque(Bytes),
}

impl Nlri {
    /// Borrows it.
    pub fn as_view(&self) -> NlriRef<'_> {
        match self {
            Nlri::Prefix(prefix) => NlriRef::Prefix(*prefix),
            Nlri::Opaque(octets) => NlriRef::Opaque(octets),
        }
    }

    /// The prefix, if it is one.
    pub fn prefix(&self) -> Option<Prefix> {
        match self {
            Nlri::Prefix(prefix) => Some(*prefix),
            Nlri::Opaque(_) => None,
        }
    }
}

impl From<Prefix> for Nlri {
    fn from(prefix: Prefix) -> Self {
        Nlri::Prefix(prefix)
    }
}

impl fmt::Display for Nlri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_view().fmt(f)
    }
}

impl fmt::Debug for Nlri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One NLRI, borrowed from a message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NlriRef<'a> {
    /// Of a unicast or multicast family.
    Prefix(Prefix),
    /// Of another family.
    Opaque(&'a [u8]),
}

impl NlriRef<'_> {
    /// Copies it.
    pub fn to_owned(&self) -> Nlri {
        match self {
            NlriRef::Prefix(prefix) => Nlri::Prefix(*prefix),
            NlriRef::Opaque(octets) => Nlri::Opaque(Bytes::copy_from_slice(octets)),
        }
    }

    /// The prefix, if it is one.
    pub fn prefix(&self) -> Option<Prefix> {
        match self {
            NlriRef::Prefix(prefix) => Some(*prefix),
            NlriRef::Opaque(_) => None,
        }
    }
}

impl fmt::Display for NlriRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NlriRef::Prefix(prefix) => prefix.fmt(f),
            NlriRef::Opaque(octets) => octets.iter().try_for_each(|octet| write!(f, "{octet:02x}")),
        }
    }
}

impl fmt::Debug for NlriRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What can be written as NLRI.
pub trait AsNlri {
    /// Borrows it as NLRI.
    fn as_nlri(&self) -> NlriRef<'_>;
}

impl AsNlri for Prefix {
    #[inline]
    fn as_nlri(&self) -> NlriRef<'_> {
        NlriRef::Prefix(*self)
    }
}

impl AsNlri for Nlri {
    #[inline]
    fn as_nlri(&self) -> NlriRef<'_> {
        self.as_view()
    }
}

impl AsNlri for NlriRef<'_> {
    #[inline]
    fn as_nlri(&self) -> NlriRef<'_> {
        *self
    }
}

impl<T: AsNlri + ?Sized> AsNlri for &T {
    #[inline]
    fn as_nlri(&self) -> NlriRef<'_> {
        (**self).as_nlri()
    }
}

/// The NLRI of a checked field, with their path identifiers.
#[derive(Clone, Debug)]
pub struct NlriIter<'a> {
    rest: &'a [u8],
    shape: Shape,
    add_path: bool,
}

impl<'a> NlriIter<'a> {
    /// `None` for a family that is not known, or octets that are not whole NLRI of it.
    pub fn new(family: Family, octets: &'a [u8], ctx: &WireContext) -> Option<NlriIter<'a>> {
        let (shape, add_path) = (family.shape()?, ctx.add_path.contains(family));
        are_well_formed(octets, shape, add_path).then_some(NlriIter { rest: octets, shape, add_path })
    }

    /// Of octets that were checked, or are about to be.
    #[inline]
    pub(crate) const fn trusted(octets: &'a [u8], shape: Shape, add_path: bool) -> NlriIter<'a> {
        NlriIter { rest: octets, shape, add_path }
    }

    /// The octets not yet read.
    #[inline]
    pub const fn octets(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether there are none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Only the prefixes, for families that have nothing else; faster than matching on each.
    #[inline]
    pub fn prefixes(self) -> Prefixes<'a> {
        match self.shape {
            Shape::PrefixV4 => Prefixes { rest: self.rest, version: Version::V4, add_path: self.add_path },
            Shape::PrefixV6 => Prefixes { rest: self.rest, version: Version::V6, add_path: self.add_path },
            _ => Prefixes { rest: &[], version: Version::V4, add_path: false },
        }
    }
}

/// Whether the octets are whole NLRI.
#[inline(always)]
pub(crate) fn are_well_formed(octets: &[u8], shape: Shape, add_path: bool) -> bool {
    match (shape, add_path) {
        _ if octets.is_empty() => true,
        (Shape::PrefixV4, false) => are_prefixes(octets, Version::V4),
        (Shape::PrefixV6, false) => are_prefixes(octets, Version::V6),
        _ => are_items(NlriIter { rest: octets, shape, add_path }),
    }
}

#[inline(never)]
fn are_items(mut iter: NlriIter<'_>) -> bool {
    while iter.next().is_some() {}
    iter.rest.is_empty()
}

/// Whether the octets are whole prefixes of at most so many bits, without path identifiers.
///
/// Where a prefix ends depends on its first octet, so a plain walk waits for each octet before it can ask for the next. The
/// lengths that tables are full of have branches of their own with a fixed step, which the processor follows ahead, and a run
/// of four IPv4 prefixes of the commonest is one step.
#[inline(always)]
fn are_prefixes(mut rest: &[u8], version: Version) -> bool {
    loop {
        if version == Version::V4 {
            if let Some((four, next)) = rest.split_first_chunk::<16>() {
                // Of numbers below eight, and of no others, the bits together are below eight.
                let above = |i: usize| four[i].wrapping_sub(17);
                if (above(0) | above(4) | above(8) | above(12)) < 8 {
                    rest = next;
                    continue;
                }
            }
            if let Some(([17..=24, ..], next)) = rest.split_first_chunk::<4>() {
                rest = next;
                continue;
            }
            if let Some(([25..=32, ..], next)) = rest.split_first_chunk::<5>() {
                rest = next;
                continue;
            }
        } else {
            if let Some(([41..=48, ..], next)) = rest.split_first_chunk::<7>() {
                rest = next;
                continue;
            }
            if let Some(([25..=32, ..], next)) = rest.split_first_chunk::<5>() {
                rest = next;
                continue;
            }
        }
        let Some((bits, tail)) = rest.split_first() else { return true };
        let Some(next) = tail.get(octets_for(*bits)..) else { return false };
        if *bits > version.bits() {
            return false;
        }
        rest = next;
    }
}

impl<'a> Iterator for NlriIter<'a> {
    type Item = (PathId, NlriRef<'a>);

    #[inline]
    fn next(&mut self) -> Option<(PathId, NlriRef<'a>)> {
        let (id, rest) = path_id(self.rest, self.add_path)?;
        let (nlri, rest) = match self.shape {
            Shape::PrefixV4 => prefix_v4(rest).map(|(prefix, rest)| (NlriRef::Prefix(prefix), rest))?,
            Shape::PrefixV6 => prefix_v6(rest).map(|(prefix, rest)| (NlriRef::Prefix(prefix), rest))?,
            shape => {
                let (rest, octets) = opaque(rest, shape)?;
                (NlriRef::Opaque(octets), rest)
            }
        };
        self.rest = rest;
        Some((id, nlri))
    }
}

/// The prefixes of a checked field, with their path identifiers.
#[derive(Clone, Debug)]
pub struct Prefixes<'a> {
    rest: &'a [u8],
    version: Version,
    add_path: bool,
}

impl Iterator for Prefixes<'_> {
    type Item = (PathId, Prefix);

    #[inline]
    fn next(&mut self) -> Option<(PathId, Prefix)> {
        let (id, rest) = path_id(self.rest, self.add_path)?;
        let (prefix, rest) = match self.version {
            Version::V4 => prefix_v4(rest)?,
            Version::V6 => prefix_v6(rest)?,
        };
        self.rest = rest;
        Some((id, prefix))
    }

    #[inline]
    fn fold<B, F: FnMut(B, (PathId, Prefix)) -> B>(self, init: B, f: F) -> B {
        match (self.version, self.add_path) {
            (Version::V4, false) => fold_plain(self.rest, prefix_v4, init, f),
            (Version::V6, false) => fold_plain(self.rest, prefix_v6, init, f),
            (version, true) => fold_numbered(self.rest, version, init, f),
        }
    }
}

/// Reads prefixes behind path identifiers. Out of line, to keep the usual case small.
#[inline(never)]
fn fold_numbered<B, F: FnMut(B, (PathId, Prefix)) -> B>(rest: &[u8], version: Version, init: B, f: F) -> B {
    let mut prefixes = Prefixes { rest, version, add_path: true };
    core::iter::from_fn(|| prefixes.next()).fold(init, f)
}

/// Reads prefixes of one version without path identifiers.
#[inline(always)]
fn fold_plain<B, F: FnMut(B, (PathId, Prefix)) -> B>(
    mut rest: &[u8],
    read: impl Fn(&[u8]) -> Option<(Prefix, &[u8])>,
    init: B,
    mut f: F,
) -> B {
    let mut acc = init;
    while let Some((prefix, next)) = read(rest) {
        acc = f(acc, (PathId(0), prefix));
        rest = next;
    }
    acc
}

#[inline]
fn path_id(rest: &[u8], add_path: bool) -> Option<(PathId, &[u8])> {
    if !add_path {
        return Some((PathId(0), rest));
    }
    let (id, rest) = rest.split_first_chunk::<4>()?;
    Some((PathId(u32::from_be_bytes(*id)), rest))
}

/// Octets that hold so many bits. Wider than the length on purpose: this sum is what a walk waits for.
#[inline(always)]
const fn octets_for(bits: u8) -> usize {
    (bits as usize + 7) >> 3
}

/// The first prefix. Lengths that are common have a fixed step, see [`are_prefixes`]. Away from the end four octets are read at
/// once; the prefix masks what is not its own.
#[inline(always)]
fn prefix_v4(rest: &[u8]) -> Option<(Prefix, &[u8])> {
    if let Some((octets, rest)) = rest.split_first_chunk::<4>() {
        let word = u32::from_be_bytes(*octets);
        if let bits @ 17..=24 = (word >> 24) as u8 {
            return Some((Prefix::from_v4_bits(word << 8, bits), rest));
        }
    }
    let (bits, tail) = rest.split_first()?;
    if *bits > 32 {
        return None;
    }
    let n = octets_for(*bits);
    let address = match tail.first_chunk::<4>() {
        Some(all) => u32::from_be_bytes(*all),
        None => (high_octets(tail.get(..n)?) >> 32) as u32,
    };
    Some((Prefix::from_v4_bits(address, *bits), tail.get(n..)?))
}

/// The first prefix. Away from the end sixteen octets are read at once; the prefix masks what is not its own.
#[inline(always)]
fn prefix_v6(rest: &[u8]) -> Option<(Prefix, &[u8])> {
    if let Some(([bits @ 41..=48, octets @ ..], _)) = rest.split_first_chunk::<17>() {
        return Some((Prefix::from_v6_bits(u128::from_be_bytes(*octets), *bits), rest.get(7..)?));
    }
    let (bits, tail) = rest.split_first()?;
    if *bits > 128 {
        return None;
    }
    let n = octets_for(*bits);
    let address = match tail.first_chunk::<16>() {
        Some(all) => u128::from_be_bytes(*all),
        None => high_octets_v6(tail.get(..n)?),
    };
    Some((Prefix::from_v6_bits(address, *bits), tail.get(n..)?))
}

/// At most sixteen octets as the high ones of an address.
#[inline(never)]
fn high_octets_v6(octets: &[u8]) -> u128 {
    let (high, low) = octets.split_at_checked(8).unwrap_or((octets, &[]));
    u128::from(high_octets(high)) << 64 | u128::from(high_octets(low))
}

/// At most eight octets as the high ones of a word. No buffer: reading a word over octets just written makes the processor
/// wait.
#[inline(always)]
fn high_octets(octets: &[u8]) -> u64 {
    let value = octets.iter().fold(0, |value, octet| value << 8 | u64::from(*octet));
    value.checked_shl(64 - 8 * octets.len() as u32).unwrap_or(0)
}

/// The first NLRI, its own length field included, behind what it left.
#[inline]
fn opaque(input: &[u8], shape: Shape) -> Option<(&[u8], &[u8])> {
    let parsed: Parsed<'_, _> = match shape {
        Shape::PrefixV4 | Shape::PrefixV6 => return None,
        Shape::Bits(max) => {
            let len = map_opt(be_u8, |bits| (u16::from(bits) <= max).then_some(octets_for(bits)));
            recognize(length_data(len)).parse(input)
        }
        Shape::TypeLength8 => recognize((be_u8, counted)).parse(input),
        Shape::TypeLength16 => recognize((be_u16, counted_long)).parse(input),
        Shape::Length16 => recognize(counted_long).parse(input),
        // RFC 8955 section 4.1.
        Shape::FlowSpec if input.first().is_some_and(|first| *first >= 0xF0) => {
            recognize(length_data(be_u16.map(|len| len & 0x0FFF))).parse(input)
        }
        Shape::FlowSpec => recognize(counted).parse(input),
    };
    parsed.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Runs of prefixes of the commonest length with one of another length among them: read as written, and refused if that one
    /// is too long or the last is cut.
    #[test]
    fn a_run_of_prefixes_ends_where_another_length_stands() {
        let ctx = WireContext::modern(crate::PeerKind::External);
        let read = |octets: &[u8]| {
            let nlri = NlriIter::new(Family::IPV4_UNICAST, octets, &ctx)?;
            Some(nlri.prefixes().map(|(_, prefix)| (prefix.len(), prefix.bits())).collect::<Vec<_>>())
        };
        for (place, bits) in (0..9).flat_map(|place| (0..=255).map(move |bits| (place, bits))) {
            let bits = |i| if i == place { bits } else { 17 + i as u8 % 8 };
            let octets = (0..9).flat_map(|i| [&[bits(i)], &[0xFF; 32][..octets_for(bits(i))]].concat());
            let octets: Vec<u8> = octets.collect();
            let wanted = (0..9).map(|i| (bits(i), !u128::MAX.checked_shr(u32::from(bits(i))).unwrap_or(0)));
            let wanted = (bits(place) <= 32).then(|| wanted.collect());
            assert_eq!(read(&octets), wanted, "{} bits in place {place}", bits(place));
            // Without its only octet a last prefix of no bits is not there.
            if (place, bits(place)) != (8, 0) {
                assert_eq!(read(&octets[..octets.len() - 1]), None);
            }
        }
    }
}
