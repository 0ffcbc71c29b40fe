//! Attributes that are lists of items of one size: communities of every kind, and the cluster list.
//!
//! A [`List`] is a view over the attribute's octets; its items are read when asked for. The four kinds of community
//! differ in size and text form only; the extended ones, which have many text forms, stand in a file of their own.

use crate::id::ClusterId;
use crate::text::ParseError;
use core::fmt;
use core::marker::PhantomData;
use core::str::FromStr;

/// COMMUNITIES (RFC 1997).
pub type Communities<'a> = List<'a, Community>;
/// Large communities (RFC 8092).
pub type LargeCommunities<'a> = List<'a, LargeCommunity>;
/// CLUSTER_LIST (RFC 4456), the latest reflector first.
pub type ClusterList<'a> = List<'a, ClusterId>;

/// An item of a list attribute.
pub trait Item: Copy + Eq + sealed::Sealed {
    /// The item's octets.
    type Octets: AsRef<[u8]>;
    /// How many octets an item has.
    const OCTETS: usize;

    /// The item's octets on the wire.
    fn to_octets(self) -> Self::Octets;

    /// The item of exactly [`Item::OCTETS`] octets.
    #[doc(hidden)]
    fn from_octets(octets: &[u8]) -> Option<Self>;
}

pub(super) mod sealed {
    #[allow(unreachable_pub, reason = "seals a public trait")]
    pub trait Sealed {}
}

/// A list of items of one size, in wire order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct List<'a, T> {
    octets: &'a [u8],
    item: PhantomData<T>,
}

impl<'a, T: Item> List<'a, T> {
    /// The list of these octets; a remainder that is no whole item is left out.
    #[inline]
    pub fn new(octets: &'a [u8]) -> List<'a, T> {
        let whole = octets.len() - octets.len() % T::OCTETS;
        List { octets: octets.get(..whole).unwrap_or(&[]), item: PhantomData }
    }

    /// The octets of the attribute.
    #[inline]
    pub const fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// How many items there are.
    #[inline]
    pub const fn len(&self) -> usize {
        self.octets.len() / T::OCTETS
    }

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// The items.
    #[inline]
    pub const fn iter(&self) -> ListIter<'a, T> {
        ListIter { octets: self.octets, item: PhantomData }
    }

    /// Whether the item is in the list.
    #[inline]
    pub fn contains(&self, item: T) -> bool {
        self.iter().any(|other| other == item)
    }
}

impl<'a, T: Item> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = ListIter<'a, T>;

    #[inline]
    fn into_iter(self) -> ListIter<'a, T> {
        self.iter()
    }
}

impl<T: Item + fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{item}")?;
        }
        Ok(())
    }
}

impl<T: Item + fmt::Display> fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

/// The items of a [`List`].
#[derive(Clone, Debug)]
pub struct ListIter<'a, T> {
    octets: &'a [u8],
    item: PhantomData<T>,
}

impl<T: Item> Iterator for ListIter<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        let (first, rest) = self.octets.split_at_checked(T::OCTETS)?;
        self.octets = rest;
        T::from_octets(first)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let n = self.octets.len() / T::OCTETS;
        (n, Some(n))
    }
}

impl<T: Item> ExactSizeIterator for ListIter<'_, T> {}

impl sealed::Sealed for ClusterId {}

impl Item for ClusterId {
    type Octets = [u8; 4];
    const OCTETS: usize = 4;

    fn to_octets(self) -> [u8; 4] {
        self.octets()
    }

    #[inline]
    fn from_octets(octets: &[u8]) -> Option<Self> {
        octets.first_chunk().map(|octets| ClusterId(u32::from_be_bytes(*octets)))
    }
}

/// A community (RFC 1997). Text form: `65001:100`, or a well-known name such as `no-export`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl Community {
    /// Not to other ASes (RFC 1997).
    pub const NO_EXPORT: Community = Community(0xFFFF_FF01);
    /// To nobody (RFC 1997).
    pub const NO_ADVERTISE: Community = Community(0xFFFF_FF02);
    /// Not to other members of the confederation (RFC 1997).
    pub const NO_EXPORT_SUBCONFED: Community = Community(0xFFFF_FF03);
    /// Not to bilateral peers (RFC 3765).
    pub const NO_PEER: Community = Community(0xFFFF_FF04);
    /// The session is about to go (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Community = Community(0xFFFF_0000);
    /// Kept although its peer is long gone (RFC 9494).
    pub const LLGR_STALE: Community = Community(0xFFFF_0006);
    /// Not to be kept so (RFC 9494).
    pub const NO_LLGR: Community = Community(0xFFFF_0007);
    /// Discard traffic (RFC 7999).
    pub const BLACKHOLE: Community = Community(0xFFFF_029A);

    const NAMES: [(Community, &'static str); 8] = [
        (Community::NO_EXPORT, "no-export"),
        (Community::NO_ADVERTISE, "no-advertise"),
        (Community::NO_EXPORT_SUBCONFED, "no-export-subconfed"),
        (Community::NO_PEER, "no-peer"),
        (Community::GRACEFUL_SHUTDOWN, "graceful-shutdown"),
        (Community::LLGR_STALE, "llgr-stale"),
        (Community::NO_LLGR, "no-llgr"),
        (Community::BLACKHOLE, "blackhole"),
    ];

    /// The community of an AS and a value.
    pub const fn new(asn: u16, value: u16) -> Community {
        Community((asn as u32) << 16 | value as u32)
    }
}

impl sealed::Sealed for Community {}

impl Item for Community {
    type Octets = [u8; 4];
    const OCTETS: usize = 4;

    fn to_octets(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    #[inline]
    fn from_octets(octets: &[u8]) -> Option<Self> {
        octets.first_chunk().map(|octets| Community(u32::from_be_bytes(*octets)))
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Community::NAMES.iter().find(|(known, _)| known == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{}:{}", self.0 >> 16, self.0 & 0xFFFF),
        }
    }
}

impl fmt::Debug for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Community {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        const WRONG: ParseError =
            ParseError("a community is AS:VALUE, each 0 to 65535, or a name such as no-export");
        if let Some((known, _)) = Community::NAMES.iter().find(|(_, name)| *name == s) {
            return Ok(*known);
        }
        let (asn, value) = s.split_once(':').ok_or(WRONG)?;
        Ok(Community::new(asn.parse().map_err(|_| WRONG)?, value.parse().map_err(|_| WRONG)?))
    }
}

/// A large community (RFC 8092). Text form: `65001:1:2`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// Global administrator, an AS number.
    pub global: u32,
    /// First part of the local data.
    pub local1: u32,
    /// Second part of the local data.
    pub local2: u32,
}

impl sealed::Sealed for LargeCommunity {}

impl Item for LargeCommunity {
    type Octets = [u8; 12];
    const OCTETS: usize = 12;

    fn to_octets(self) -> [u8; 12] {
        let value = u128::from(self.global) << 64 | u128::from(self.local1) << 32 | u128::from(self.local2);
        let [_, _, _, _, octets @ ..] = value.to_be_bytes();
        octets
    }

    #[inline]
    fn from_octets(octets: &[u8]) -> Option<Self> {
        let (global, rest) = octets.split_first_chunk()?;
        let (local1, rest) = rest.split_first_chunk()?;
        let (local2, _) = rest.split_first_chunk()?;
        let [global, local1, local2] = [global, local1, local2].map(|octets| u32::from_be_bytes(*octets));
        Some(LargeCommunity { global, local1, local2 })
    }
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}

impl fmt::Debug for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for LargeCommunity {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        const WRONG: ParseError = ParseError("a large community is AS:VALUE:VALUE, each 0 to 4294967295");
        let mut parts = s.split(':').map(|part| part.parse::<u32>().map_err(|_| WRONG));
        let mut part = || parts.next().unwrap_or(Err(WRONG));
        let (global, local1, local2) = (part()?, part()?, part()?);
        match parts.next() {
            None => Ok(LargeCommunity { global, local1, local2 }),
            Some(_) => Err(WRONG),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn communities_read_back_from_text() {
        for text in ["65001:100", "no-export", "llgr-stale", "blackhole", "0:0"] {
            assert_eq!(text.parse::<Community>().unwrap().to_string(), text);
        }
        assert_eq!("65535:666".parse(), Ok(Community::BLACKHOLE));
        assert!("65536:1".parse::<Community>().is_err());
        assert_eq!("1:2:4294967295".parse::<LargeCommunity>().unwrap().to_string(), "1:2:4294967295");
        assert!("1:2".parse::<LargeCommunity>().is_err() && "1:2:3:4".parse::<LargeCommunity>().is_err());
    }

    #[test]
    fn octets_read_back() {
        let large = LargeCommunity { global: 1, local1: 0xFFFF_FFFF, local2: 3 };
        assert_eq!(LargeCommunity::from_octets(&large.to_octets()), Some(large));
        let list: ClusterList<'_> = List::new(&[9, 9, 9, 9, 1, 1, 1, 1, 7]);
        assert_eq!(list.len(), 2);
        assert!(list.contains(ClusterId(0x0101_0101)));
        assert_eq!(list.to_string(), "9.9.9.9 1.1.1.1");
    }
}
