//! AS_PATH: the autonomous systems a route has passed (RFC 4271 section 5.1.2, RFC 5065, RFC 6793).
//!
//! A path is a run of segments, each a kind, a count and that many numbers, two or four octets wide. The view holds the
//! checked bytes and the width; segments and numbers are read as they are asked for.

use crate::context::AsnWidth;
use crate::id::Asn;
use core::fmt;

/// An AS path. Text form: `65001 65002 {65003,65004} (65005)`, sets in braces, confederation segments in parentheses,
/// confederation sets in brackets.
#[derive(Clone, Copy)]
pub struct AsPath<'a> {
    octets: &'a [u8],
    width: AsnWidth,
}

impl<'a> AsPath<'a> {
    /// The path of these octets, if they are well-formed: known kinds, no empty segment, none that runs past the end.
    pub fn new(octets: &'a [u8], width: AsnWidth) -> Option<AsPath<'a>> {
        let path = AsPath { octets, width };
        path.is_well_formed().then_some(path)
    }

    /// The path of octets that were checked before.
    #[inline]
    pub(crate) const fn trusted(octets: &'a [u8], width: AsnWidth) -> AsPath<'a> {
        AsPath { octets, width }
    }

    fn is_well_formed(&self) -> bool {
        let mut segments = self.segments();
        segments.by_ref().all(|segment| !segment.octets.is_empty()) && segments.octets.is_empty()
    }

    /// The octets of the attribute.
    #[inline]
    pub const fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// Octets of one number.
    #[inline]
    pub const fn width(&self) -> AsnWidth {
        self.width
    }

    /// Whether there is no segment, as in a route of our own AS.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// The segments.
    #[inline]
    pub const fn segments(&self) -> Segments<'a> {
        Segments { octets: self.octets, width: self.width }
    }

    /// Every number, in the order of the wire, whatever its segment.
    #[inline]
    pub const fn iter(&self) -> PathAsns<'a> {
        PathAsns { current: Asns { octets: &[], width: self.width }, rest: self.segments() }
    }

    /// The length that the decision process compares: a set counts one, confederation segments nothing (RFC 4271
    /// section 9.1.2.2, RFC 5065 section 5.3).
    #[inline]
    pub fn decision_len(&self) -> usize {
        self.segments().map(|segment| segment.decision_len()).sum()
    }

    /// The first number, that of the neighbour that sent the route, if the path starts with a sequence (of a
    /// confederation or not). This is what "enforce the first AS" compares with the peer's number.
    #[inline]
    pub fn first_as(&self) -> Option<Asn> {
        let first = self.segments().next()?;
        match first.kind {
            SegmentKind::Sequence | SegmentKind::ConfedSequence => first.iter().next(),
            SegmentKind::Set | SegmentKind::ConfedSet => None,
        }
    }

    /// The AS from which the route entered our AS or confederation: the first number outside confederation segments, if
    /// it stands in a sequence. This is what MED is compared within (RFC 4271 section 9.1.2.2 (c), RFC 5065 section 5.3).
    pub fn neighbour_as(&self) -> Option<Asn> {
        let first = self.segments().find(|segment| !segment.kind.is_confed())?;
        match first.kind {
            SegmentKind::Sequence => first.iter().next(),
            _ => None,
        }
    }

    /// The last number, that of the originating AS, if the path ends with a sequence.
    pub fn origin_as(&self) -> Option<Asn> {
        let last = self.segments().last()?;
        match last.kind {
            SegmentKind::Sequence => last.iter().last(),
            _ => None,
        }
    }

    /// Whether the number stands anywhere in the path.
    #[inline]
    pub fn contains(&self, asn: Asn) -> bool {
        self.iter().any(|other| other == asn)
    }

    /// How often the number stands in the path.
    #[inline]
    pub fn count(&self, asn: Asn) -> usize {
        self.iter().filter(|other| *other == asn).count()
    }
}

impl PartialEq for AsPath<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.segments().eq(other.segments())
    }
}

impl Eq for AsPath<'_> {}

impl fmt::Display for AsPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.segments().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            segment.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for AsPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsPath({self})")
    }
}

/// Every number of a path.
#[derive(Clone, Debug)]
pub struct PathAsns<'a> {
    current: Asns<'a>,
    rest: Segments<'a>,
}

impl Iterator for PathAsns<'_> {
    type Item = Asn;

    #[inline]
    fn next(&mut self) -> Option<Asn> {
        loop {
            if let Some(asn) = self.current.next() {
                return Some(asn);
            }
            self.current = self.rest.next()?.iter();
        }
    }

    #[inline]
    fn fold<B, F: FnMut(B, Asn) -> B>(self, init: B, mut f: F) -> B {
        let acc = self.current.fold(init, &mut f);
        self.rest.fold(acc, |acc, segment| segment.iter().fold(acc, &mut f))
    }
}

/// What a segment's numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SegmentKind {
    /// AS_SET: in no order.
    Set = 1,
    /// AS_SEQUENCE: the latest first.
    Sequence = 2,
    /// AS_CONFED_SEQUENCE (RFC 5065).
    ConfedSequence = 3,
    /// AS_CONFED_SET (RFC 5065).
    ConfedSet = 4,
}

impl SegmentKind {
    /// The kind for an octet.
    #[inline]
    pub const fn from_octet(octet: u8) -> Option<SegmentKind> {
        match octet {
            1 => Some(SegmentKind::Set),
            2 => Some(SegmentKind::Sequence),
            3 => Some(SegmentKind::ConfedSequence),
            4 => Some(SegmentKind::ConfedSet),
            _ => None,
        }
    }

    /// Whether the segment is within a confederation.
    #[inline]
    pub const fn is_confed(self) -> bool {
        matches!(self, SegmentKind::ConfedSequence | SegmentKind::ConfedSet)
    }

    /// Whether the segment is a set.
    #[inline]
    pub const fn is_set(self) -> bool {
        matches!(self, SegmentKind::Set | SegmentKind::ConfedSet)
    }
}

/// One segment of a path.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    /// What the numbers mean.
    pub kind: SegmentKind,
    octets: &'a [u8],
    width: AsnWidth,
}

impl<'a> Segment<'a> {
    /// The numbers.
    #[inline]
    pub const fn iter(&self) -> Asns<'a> {
        Asns { octets: self.octets, width: self.width }
    }

    /// How many numbers there are.
    #[inline]
    #[allow(clippy::len_without_is_empty, reason = "a segment is never empty")]
    pub const fn len(&self) -> usize {
        self.octets.len() / self.width.octets()
    }

    /// What the segment adds to the length that the decision process compares.
    #[inline]
    pub const fn decision_len(&self) -> usize {
        match self.kind {
            SegmentKind::Sequence => self.len(),
            SegmentKind::Set => 1,
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => 0,
        }
    }

    /// The numbers as they stand on the wire.
    #[inline]
    pub(crate) const fn octets(&self) -> &'a [u8] {
        self.octets
    }
}

impl PartialEq for Segment<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.iter().eq(other.iter())
    }
}

impl Eq for Segment<'_> {}

impl fmt::Display for Segment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, between, close) = match self.kind {
            SegmentKind::Sequence => ("", " ", ""),
            SegmentKind::Set => ("{", ",", "}"),
            SegmentKind::ConfedSequence => ("(", " ", ")"),
            SegmentKind::ConfedSet => ("[", ",", "]"),
        };
        f.write_str(open)?;
        for (i, asn) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(between)?;
            }
            write!(f, "{asn}")?;
        }
        f.write_str(close)
    }
}

impl fmt::Debug for Segment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.kind)
    }
}

/// The segments of a path.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    octets: &'a [u8],
    width: AsnWidth,
}

impl<'a> Segments<'a> {
    /// Octets not read; after the last segment, those that are no segment.
    #[inline]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.octets
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    #[inline]
    fn next(&mut self) -> Option<Segment<'a>> {
        let [kind, count, rest @ ..] = self.octets else { return None };
        let kind = SegmentKind::from_octet(*kind)?;
        let (octets, rest) = rest.split_at_checked(usize::from(*count) * self.width.octets())?;
        self.octets = rest;
        Some(Segment { kind, octets, width: self.width })
    }
}

/// The numbers of a segment.
#[derive(Clone, Debug)]
pub struct Asns<'a> {
    octets: &'a [u8],
    width: AsnWidth,
}

impl Iterator for Asns<'_> {
    type Item = Asn;

    #[inline]
    fn next(&mut self) -> Option<Asn> {
        match self.width {
            AsnWidth::Four => {
                let (first, rest) = self.octets.split_first_chunk()?;
                self.octets = rest;
                Some(Asn(u32::from_be_bytes(*first)))
            }
            AsnWidth::Two => {
                let (first, rest) = self.octets.split_first_chunk()?;
                self.octets = rest;
                Some(Asn(u32::from(u16::from_be_bytes(*first))))
            }
        }
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let n = self.octets.len() / self.width.octets();
        (n, Some(n))
    }

    #[inline]
    fn fold<B, F: FnMut(B, Asn) -> B>(self, init: B, mut f: F) -> B {
        match self.width {
            AsnWidth::Four => self
                .octets
                .chunks_exact(4)
                .fold(init, |acc, n| f(acc, Asn(n.first_chunk().map_or(0, |n| u32::from_be_bytes(*n))))),
            AsnWidth::Two => self.octets.chunks_exact(2).fold(init, |acc, n| {
                f(acc, Asn(n.first_chunk().map_or(0, |n| u32::from(u16::from_be_bytes(*n)))))
            }),
        }
    }
}

impl ExactSizeIterator for Asns<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    const MIXED: &[u8] = &[3, 1, 0xFD, 0xE8, 2, 2, 0, 1, 0, 2, 1, 2, 0, 3, 0, 4];

    #[test]
    fn lengths_and_neighbours_follow_the_kinds() {
        let path = AsPath::new(MIXED, AsnWidth::Two).unwrap();
        assert_eq!(path.to_string(), "(65000) 1 2 {3,4}");
        assert_eq!(path.decision_len(), 3);
        assert_eq!(path.first_as(), Some(Asn(65000)));
        assert_eq!(path.neighbour_as(), Some(Asn(1)));
        assert_eq!(path.origin_as(), None);
        assert!(path.contains(Asn(4)) && !path.contains(Asn(5)));
        assert_eq!(path.iter().count(), 5);
        assert!(AsPath::new(&[], AsnWidth::Four).unwrap().is_empty());
    }

    #[test]
    fn damaged_paths_are_refused() {
        for bad in [&[9, 1, 0, 1][..], &[2, 2, 0, 1], &[2, 1, 0, 1, 0], &[2, 0], &[2], &[2, 1, 0, 1, 2, 0]] {
            assert!(AsPath::new(bad, AsnWidth::Two).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn paths_of_either_width_compare_by_meaning() {
        let two = AsPath::new(&[2, 1, 0, 7], AsnWidth::Two).unwrap();
        let four = AsPath::new(&[2, 1, 0, 0, 0, 7], AsnWidth::Four).unwrap();
        assert_eq!(two, four);
    }
}
