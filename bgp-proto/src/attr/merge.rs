//! From a received block of attributes to a canonical one.
//!
//! Two jobs: sort the attributes into one shared block, in one allocation, and undo what a two-octet AS session did to
//! them (RFC 6793 section 4.2.3): AS numbers are widened, and AS4_PATH and AS4_AGGREGATOR replace what their originals
//! could not say.

use super::{AsPath, AttrSet, Flags, NextHop, RawAttr, Segment, number};
use crate::attr::build::header;
use crate::id::Asn;
use alloc::vec::Vec;

/// The path of a two-octet session in four octets, merged with its AS4_PATH.
pub(crate) fn merged_path(as_path: AsPath<'_>, as4_path: Option<AsPath<'_>>) -> Vec<u8> {
    let merged = merge(as_path, as4_path);
    // An AS4_PATH of many small segments can make the whole too long for an attribute; the widened path never is.
    if merged.len() > 0xFFFF { merge(as_path, None) } else { merged }
}

fn merge(as_path: AsPath<'_>, as4_path: Option<AsPath<'_>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(as_path.octets().len() * 2);
    let as4_len = as4_path.map_or(0, |as4| as4.decision_len());
    let len = as_path.decision_len();
    let Some(as4_path) = as4_path.filter(|_| as4_len <= len && as4_len > 0) else {
        as_path.segments().for_each(|segment| push(&mut out, segment, usize::MAX));
        return out;
    };
    // The leading numbers that only AS_PATH has, and confederation segments before or between them.
    let mut lead = len - as4_len;
    for segment in as_path.segments() {
        if lead == 0 && !segment.kind.is_confed() {
            break;
        }
        push(&mut out, segment, lead);
        lead -= segment.decision_len().min(lead);
    }
    for segment in as4_path.segments().filter(|segment| !segment.kind.is_confed()) {
        push(&mut out, segment, usize::MAX);
    }
    out
}

/// Appends a segment in four octets; of a sequence, at most so many numbers.
fn push(out: &mut Vec<u8>, segment: Segment<'_>, at_most: usize) {
    let whole = segment.kind.is_set() || segment.kind.is_confed();
    let n = if whole { segment.len() } else { segment.len().min(at_most) };
    out.extend_from_slice(&[segment.kind as u8, n as u8]);
    segment.iter().take(n).for_each(|asn| out.extend_from_slice(&asn.0.to_be_bytes()));
}

/// The AGGREGATOR of a two-octet session in eight octets, and whether the AS4 attributes count (RFC 6793 section 4.2.3):
/// an AGGREGATOR that is not AS_TRANS shows that a two-octet speaker aggregated after they were written.
pub(crate) fn merged_aggregator(aggregator: Option<&[u8]>, as4: Option<&[u8]>) -> (Option<[u8; 8]>, As4) {
    let Some([a, b, id @ ..]) = aggregator else { return (None, As4::Counts) };
    let two = u32::from(u16::from_be_bytes([*a, *b]));
    let widened = number(id).map(|id| (u64::from(two) << 32 | u64::from(id)).to_be_bytes());
    match as4.and_then(|as4| as4.first_chunk::<8>()) {
        Some(_) if Asn(two) != Asn::TRANS => (widened, As4::Ignored),
        Some(as4) => (Some(*as4), As4::Counts),
        None => (widened, As4::Counts),
    }
}

/// Whether the AS4 attributes of a message say anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum As4 {
    Counts,
    Ignored,
}

/// Writes attributes in the order of codes as one shared block, in one allocation.
pub(crate) struct Sorted<'a> {
    attrs: [Option<RawAttr<'a>>; INLINE],
    len: usize,
    /// All attributes, once there are more than fit above.
    spill: Vec<RawAttr<'a>>,
}

/// More attributes than any known message has.
const INLINE: usize = 20;

impl<'a> Sorted<'a> {
    #[inline]
    pub(crate) fn new() -> Sorted<'a> {
        Sorted { attrs: [None; INLINE], len: 0, spill: Vec::new() }
    }

    /// Adds an attribute of a code that was not added before.
    #[inline]
    pub(crate) fn add(&mut self, attr: RawAttr<'a>) {
        if self.len == INLINE {
            if self.spill.is_empty() {
                self.spill.extend(self.attrs.iter().flatten());
            }
            let at = self.spill.partition_point(|other| other.code < attr.code);
            self.spill.insert(at, attr);
            return;
        }
        let mut at = self.len;
        while at > 0 && self.attrs[at - 1].is_some_and(|before| before.code > attr.code) {
            self.attrs[at] = self.attrs[at - 1];
            at -= 1;
        }
        self.attrs[at] = Some(attr);
        self.len += 1;
    }

    fn iter(&self) -> impl Iterator<Item = &RawAttr<'a>> {
        let inline = if self.spill.is_empty() { self.attrs.get(..self.len) } else { None };
        inline.unwrap_or(&[]).iter().flatten().chain(&self.spill)
    }

    pub(crate) fn to_set(&self, next_hop: &NextHop) -> AttrSet {
        let octets =
            |attr: &RawAttr<'_>| header(attr.flags, attr.code, attr.value.len()).1 + attr.value.len();
        let total: usize = self.iter().map(octets).sum();
        AttrSet::new(next_hop, total, |mut out| {
            for attr in self.iter() {
                let (header, header_len) = header(attr.flags, attr.code, attr.value.len());
                out = copy(copy(out, header.get(..header_len).unwrap_or(&[])), attr.value);
            }
        })
    }
}

/// Copies to the start and returns what is left.
#[inline]
fn copy<'o>(out: &'o mut [u8], octets: &[u8]) -> &'o mut [u8] {
    match out.split_at_mut_checked(octets.len()) {
        Some((to, rest)) => {
            to.copy_from_slice(octets);
            rest
        }
        None => &mut [],
    }
}

/// Flags in canonical form: Partial only where it can mean something.
#[inline]
pub(crate) const fn canonical_flags(flags: Flags) -> Flags {
    match flags.class() {
        Flags::OPTIONAL_TRANSITIVE => Flags(flags.0 & 0xE0),
        class => class,
    }
}
