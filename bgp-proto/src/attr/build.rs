//! Making and changing attribute sets.
//!
//! The builder holds a working copy of a canonical block and splices every change into its place, so that the block is
//! canonical after each step and [`AttrSetBuilder::build`] only has to copy it. Blocks are some sixty octets; moving their
//! tail is cheaper than any cleverer structure.

use super::{Aggregator, Communities, Community, ExtCommunity, LargeCommunities, LargeCommunity};
use super::{
    AsPath, AttrSet, ClusterList, Flags, Item, List, NextHop, Origin, RawAttrs, Segment, SegmentKind,
    TunnelBuilder,
};
use crate::context::AsnWidth;
use crate::iana::AttrCode;
use crate::id::{Asn, ClusterId, RouterId};
use alloc::vec::Vec;
use core::ops::Range;

/// An attribute value is at most this long.
const VALUE_MAX: usize = 65535;

/// Makes an [`AttrSet`]. A change that would make an attribute longer than its length field can say is left out.
#[derive(Clone, Debug)]
pub struct AttrSetBuilder {
    block: Vec<u8>,
    next_hop: NextHop,
}

impl AttrSetBuilder {
    /// An empty set.
    pub fn new(next_hop: NextHop) -> AttrSetBuilder {
        AttrSetBuilder { block: Vec::with_capacity(96), next_hop }
    }

    pub(crate) fn from_set(set: &AttrSet) -> AttrSetBuilder {
        // Room for an originator and two clusters, or an AS and a few communities, without growing.
        let mut block = Vec::with_capacity(set.octets().len() + 48);
        block.extend_from_slice(set.octets());
        AttrSetBuilder { block, next_hop: set.next_hop() }
    }

    /// The set.
    pub fn build(&self) -> AttrSet {
        AttrSet::new(&self.next_hop, self.block.len(), |out| out.copy_from_slice(&self.block))
    }

    /// Sets the next hop.
    pub fn next_hop(&mut self, next_hop: NextHop) -> &mut Self {
        self.next_hop = next_hop;
        self
    }

    /// Sets ORIGIN.
    pub fn origin(&mut self, origin: Origin) -> &mut Self {
        self.put(Flags::WELL_KNOWN, AttrCode::ORIGIN, &[origin as u8])
    }

    /// Sets AS_PATH to one sequence, empty for a route of our own.
    pub fn as_path(&mut self, sequence: &[Asn]) -> &mut Self {
        self.as_path_segments(&[(SegmentKind::Sequence, sequence)])
    }

    /// Sets AS_PATH. Segments longer than 255 are split; empty ones are left out.
    pub fn as_path_segments(&mut self, segments: &[(SegmentKind, &[Asn])]) -> &mut Self {
        let mut value = Vec::new();
        for (kind, asns) in segments {
            for part in asns.chunks(255) {
                value.extend_from_slice(&[*kind as u8, part.len() as u8]);
                part.iter().for_each(|asn| value.extend_from_slice(&asn.0.to_be_bytes()));
            }
        }
        self.put(Flags::WELL_KNOWN, AttrCode::AS_PATH, &value)
    }

    /// Puts our number `n` times before the path, into the first sequence while it has room (RFC 4271 section 5.1.2).
    pub fn prepend(&mut self, asn: Asn, n: usize) -> &mut Self {
        self.prepend_as(SegmentKind::Sequence, asn, n)
    }

    /// Puts our number before the path as towards another member of the confederation (RFC 5065 section 4).
    pub fn prepend_confed(&mut self, asn: Asn, n: usize) -> &mut Self {
        self.prepend_as(SegmentKind::ConfedSequence, asn, n)
    }

    fn prepend_as(&mut self, kind: SegmentKind, asn: Asn, n: usize) -> &mut Self {
        let old = self.value(AttrCode::AS_PATH).unwrap_or(&[]);
        let mut segments = AsPath::trusted(old, AsnWidth::Four).segments();
        let first: Option<Segment<'_>> = segments.next().filter(|first| first.kind == kind);
        let tail = if first.is_some() { segments.rest() } else { old };
        let joined = first.map_or(&[][..], |first| first.octets());
        let n = n.min(VALUE_MAX / 4);
        let mut numbers = Vec::with_capacity(n * 4 + joined.len());
        (0..n).for_each(|_| numbers.extend_from_slice(&asn.0.to_be_bytes()));
        numbers.extend_from_slice(joined);
        let mut value = Vec::with_capacity(numbers.len() + tail.len() + 4);
        // The short segment leads, so that it takes the next prepend.
        let (short, full) = numbers.split_at(numbers.len() % (255 * 4));
        for part in core::iter::once(short).chain(full.chunks(255 * 4)).filter(|part| !part.is_empty()) {
            value.extend_from_slice(&[kind as u8, (part.len() / 4) as u8]);
            value.extend_from_slice(part);
        }
        value.extend_from_slice(tail);
        self.put(Flags::WELL_KNOWN, AttrCode::AS_PATH, &value)
    }

    /// Takes confederation segments out of the path, as when a route leaves the confederation (RFC 5065 section 4).
    pub fn strip_confed(&mut self) -> &mut Self {
        let old = self.value(AttrCode::AS_PATH).unwrap_or(&[]);
        let mut value = Vec::with_capacity(old.len());
        for segment in
            AsPath::trusted(old, AsnWidth::Four).segments().filter(|segment| !segment.kind.is_confed())
        {
            value.extend_from_slice(&[segment.kind as u8, segment.len() as u8]);
            value.extend_from_slice(segment.octets());
        }
        self.put(Flags::WELL_KNOWN, AttrCode::AS_PATH, &value)
    }

    /// Sets or removes MULTI_EXIT_DISC.
    pub fn med(&mut self, med: Option<u32>) -> &mut Self {
        self.put_number(Flags::OPTIONAL, AttrCode::MED, med)
    }

    /// Sets or removes LOCAL_PREF.
    pub fn local_pref(&mut self, local_pref: Option<u32>) -> &mut Self {
        self.put_number(Flags::WELL_KNOWN, AttrCode::LOCAL_PREF, local_pref)
    }

    /// Sets ATOMIC_AGGREGATE.
    pub fn atomic_aggregate(&mut self) -> &mut Self {
        self.put(Flags::WELL_KNOWN, AttrCode::ATOMIC_AGGREGATE, &[])
    }

    /// Sets AGGREGATOR.
    pub fn aggregator(&mut self, aggregator: Aggregator) -> &mut Self {
        let mut value = [0; 8];
        value[..4].copy_from_slice(&aggregator.asn.0.to_be_bytes());
        value[4..].copy_from_slice(&aggregator.router_id.octets());
        self.put(Flags::OPTIONAL_TRANSITIVE, AttrCode::AGGREGATOR, &value)
    }

    /// Sets or removes ORIGINATOR_ID.
    pub fn originator_id(&mut self, id: Option<RouterId>) -> &mut Self {
        self.put_number(Flags::OPTIONAL, AttrCode::ORIGINATOR_ID, id.map(|id| id.0))
    }

    /// Puts our cluster before the cluster list (RFC 4456 section 8).
    pub fn cluster_prepend(&mut self, cluster: ClusterId) -> &mut Self {
        let Some(range) = self.find(AttrCode::CLUSTER_LIST) else {
            return self.put(Flags::OPTIONAL, AttrCode::CLUSTER_LIST, &cluster.octets());
        };
        let old: ClusterList<'_> = List::new(self.value_of(&range));
        let mut value = Vec::with_capacity(old.octets().len() + 4);
        value.extend_from_slice(&cluster.octets());
        value.extend_from_slice(old.octets());
        self.put(Flags::OPTIONAL, AttrCode::CLUSTER_LIST, &value)
    }

    /// Sets the communities; an empty list removes the attribute.
    pub fn communities(&mut self, communities: &[Community]) -> &mut Self {
        self.set_list(AttrCode::COMMUNITIES, communities.iter().copied())
    }

    /// Adds a community at the end, if it is not there.
    pub fn add_community(&mut self, community: Community) -> &mut Self {
        self.add_item(AttrCode::COMMUNITIES, community)
    }

    /// Takes a community out.
    pub fn remove_community(&mut self, community: Community) -> &mut Self {
        self.retain_communities(|other| other != community)
    }

    /// Keeps the communities that the test is true of.
    pub fn retain_communities(&mut self, mut keep: impl FnMut(Community) -> bool) -> &mut Self {
        let old: Communities<'_> = List::new(self.value(AttrCode::COMMUNITIES).unwrap_or(&[]));
        if old.iter().all(&mut keep) {
            return self;
        }
        let kept: Vec<Community> = old.iter().filter(|community| keep(*community)).collect();
        self.communities(&kept)
    }

    /// Sets the large communities; an empty list removes the attribute.
    pub fn large_communities(&mut self, communities: &[LargeCommunity]) -> &mut Self {
        self.set_list(AttrCode::LARGE_COMMUNITIES, communities.iter().copied())
    }

    /// Adds a large community at the end, if it is not there.
    pub fn add_large_community(&mut self, community: LargeCommunity) -> &mut Self {
        self.add_item(AttrCode::LARGE_COMMUNITIES, community)
    }

    /// Takes a large community out.
    pub fn remove_large_community(&mut self, community: LargeCommunity) -> &mut Self {
        self.retain_large_communities(|other| other != community)
    }

    /// Keeps the large communities that the test is true of.
    pub fn retain_large_communities(&mut self, mut keep: impl FnMut(LargeCommunity) -> bool) -> &mut Self {
        let old: LargeCommunities<'_> = List::new(self.value(AttrCode::LARGE_COMMUNITIES).unwrap_or(&[]));
        if old.iter().all(&mut keep) {
            return self;
        }
        let kept: Vec<LargeCommunity> = old.iter().filter(|community| keep(*community)).collect();
        self.large_communities(&kept)
    }

    /// Sets the extended communities; an empty list removes the attribute.
    pub fn ext_communities(&mut self, communities: &[ExtCommunity]) -> &mut Self {
        self.set_list(AttrCode::EXT_COMMUNITIES, communities.iter().copied())
    }

    /// Adds an extended community at the end, if it is not there.
    pub fn add_ext_community(&mut self, community: ExtCommunity) -> &mut Self {
        self.add_item(AttrCode::EXT_COMMUNITIES, community)
    }

    /// Adds a tunnel to TUNNEL_ENCAP, behind those that are there (RFC 9012).
    pub fn add_tunnel(&mut self, tunnel: &TunnelBuilder) -> &mut Self {
        let mut value = self.value(AttrCode::TUNNEL_ENCAP).unwrap_or(&[]).to_vec();
        tunnel.encode(&mut value);
        self.put(Flags::OPTIONAL_TRANSITIVE, AttrCode::TUNNEL_ENCAP, &value)
    }

    /// Takes an attribute out.
    pub fn remove(&mut self, code: AttrCode) -> &mut Self {
        if let Some(range) = self.find(code) {
            self.block.drain(range);
        }
        self
    }

    /// Sets an attribute of any code to these octets. Attributes that an [`AttrSet`] never holds (next hop, NLRI, AS4) are
    /// left out, and so is a value that its definition does not allow.
    pub fn set_raw(&mut self, flags: Flags, code: AttrCode, value: &[u8]) -> &mut Self {
        if is_outside_sets(code) || !super::check::is_sound(code, value) {
            return self;
        }
        self.put(flags, code, value)
    }

    /// Takes out the optional attributes that are neither known nor to be passed on (RFC 4271 section 5).
    pub fn strip_non_transitive_unknown(&mut self) -> &mut Self {
        let is_unknown = |flags: Flags, code: AttrCode| {
            flags.class() == Flags::OPTIONAL && super::check::definition(code).is_none()
        };
        while let Some(code) =
            RawAttrs::new(&self.block).find(|attr| is_unknown(attr.flags, attr.code)).map(|attr| attr.code)
        {
            self.remove(code);
        }
        self
    }

    fn set_list<T: Item>(&mut self, code: AttrCode, items: impl Iterator<Item = T>) -> &mut Self {
        let mut value = Vec::new();
        items.for_each(|item| value.extend_from_slice(item.to_octets().as_ref()));
        if value.is_empty() {
            return self.remove(code);
        }
        self.put(Flags::OPTIONAL_TRANSITIVE, code, &value)
    }

    fn add_item<T: Item>(&mut self, code: AttrCode, item: T) -> &mut Self {
        let old: List<'_, T> = List::new(self.value(code).unwrap_or(&[]));
        if old.contains(item) {
            return self;
        }
        let mut value = Vec::with_capacity(old.octets().len() + T::OCTETS);
        value.extend_from_slice(old.octets());
        value.extend_from_slice(item.to_octets().as_ref());
        self.put(Flags::OPTIONAL_TRANSITIVE, code, &value)
    }

    fn put_number(&mut self, flags: Flags, code: AttrCode, number: Option<u32>) -> &mut Self {
        match number {
            Some(number) => self.put(flags, code, &number.to_be_bytes()),
            None => self.remove(code),
        }
    }

    /// Writes the attribute in its place, over the old one if there is one.
    fn put(&mut self, flags: Flags, code: AttrCode, value: &[u8]) -> &mut Self {
        if value.len() > VALUE_MAX {
            return self;
        }
        let range = self.place(code);
        let (header, header_len) = header(flags, code, value.len());
        let header = header.get(..header_len).unwrap_or(&[]);
        self.block.splice(range, header.iter().chain(value).copied());
        self
    }

    fn value(&self, code: AttrCode) -> Option<&[u8]> {
        RawAttrs::new(&self.block).find(|attr| attr.code == code).map(|attr| attr.value)
    }

    fn value_of(&self, range: &Range<usize>) -> &[u8] {
        let attr = self.block.get(range.clone()).unwrap_or(&[]);
        RawAttrs::new(attr).next().map_or(&[], |attr| attr.value)
    }

    fn find(&self, code: AttrCode) -> Option<Range<usize>> {
        Some(self.place(code)).filter(|range| !range.is_empty())
    }

    /// Where the attribute stands, or the empty range where it belongs.
    fn place(&self, code: AttrCode) -> Range<usize> {
        let mut attrs = RawAttrs::new(&self.block);
        let end = self.block.len();
        loop {
            let start = end - attrs.rest().len();
            match attrs.next() {
                Some(attr) if attr.code < code => continue,
                Some(attr) if attr.code == code => return start..end - attrs.rest().len(),
                _ => return start..start,
            }
        }
    }
}

impl AttrSet {
    /// Starts an empty set.
    pub fn builder(next_hop: NextHop) -> AttrSetBuilder {
        AttrSetBuilder::new(next_hop)
    }

    /// Starts from this set's attributes.
    pub fn edit(&self) -> AttrSetBuilder {
        AttrSetBuilder::from_set(self)
    }
}

/// Attributes that belong to one message or one session.
pub(crate) const fn is_outside_sets(code: AttrCode) -> bool {
    matches!(
        code,
        AttrCode::NEXT_HOP
            | AttrCode::MP_REACH_NLRI
            | AttrCode::MP_UNREACH_NLRI
            | AttrCode::AS4_PATH
            | AttrCode::AS4_AGGREGATOR
    )
}

/// A canonical attribute header and its length, three octets or four.
#[inline]
pub(crate) fn header(flags: Flags, code: AttrCode, value_len: usize) -> ([u8; 4], usize) {
    let flags = flags.0 & 0xE0;
    match u8::try_from(value_len) {
        Ok(short) => ([flags, code.0, short, 0], 3),
        Err(_) => {
            let [high, low] = (value_len as u16).to_be_bytes();
            ([flags | Flags::EXTENDED.0, code.0, high, low], 4)
        }
    }
}
