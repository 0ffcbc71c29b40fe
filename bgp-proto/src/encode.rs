//! Writing UPDATEs: attributes encoded once, any number of prefixes behind them.
//!
//! An [`AttrBlock`] is a route's attributes as one session context wants them. Writing a run of prefixes copies the block
//! into each message and fills the message to the context's limit; lengths are filled in when a message is full. IPv4
//! unicast with an IPv4 next hop uses the NLRI field of RFC 4271, everything else MP_REACH_NLRI, which stands first
//! (RFC 7606 section 5.1). A two-octet session gets AS_TRANS, AS4_PATH and AS4_AGGREGATOR where they are needed (RFC 6793).

use crate::attr::{AsPath, AttrSet, Flags, NextHop, RawAttr, attr_header};
use crate::context::{AsnWidth, WireContext};
use crate::error::EncodeError;
use crate::family::Family;
use crate::iana::{AttrCode, MessageKind};
use crate::id::{Asn, PathId};
use crate::nlri::{AsNlri, NlriRef};
use crate::prefix::{Prefix, Version};
use crate::writer::{self, Frame, HEADER_OCTETS, patch};
use alloc::vec::Vec;
use bytes::BytesMut;

/// The attributes of a route, encoded for one family and context.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttrBlock {
    family: Family,
    /// A message without NLRI: what stands before them, lengths open, then what stands behind.
    template: Vec<u8>,
    /// Octets before the NLRI.
    before: usize,
    form: Form,
    add_path: bool,
    max: usize,
    hop_fits: bool,
}

/// Where the NLRI stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    /// In the NLRI field, behind the attributes.
    Classic,
    /// In MP_REACH_NLRI, before the attributes.
    Multiprotocol,
}

/// Octets before the attributes: header, no withdrawn routes, length of the attributes.
const FIXED: usize = HEADER_OCTETS + 4;

impl AttrBlock {
    /// Encodes attributes. With a next hop that does not [fit](NextHop::fits) the family and context the block writes nothing.
    pub fn new(attrs: &AttrSet, family: Family, ctx: &WireContext) -> AttrBlock {
        let hop = attrs.next_hop();
        let classic = family == Family::IPV4_UNICAST && matches!(hop, NextHop::V4(_));
        let mut template = Vec::with_capacity(FIXED + 48 + attrs.octets().len());
        template.extend_from_slice(&writer::header(MessageKind::Update));
        template.extend_from_slice(&[0, 0, 0, 0]);
        if classic {
            put_attrs(&mut template, attrs, Some(&hop), ctx.asn_width);
            let len = (template.len() - FIXED) as u16;
            patch(&mut template, FIXED - 2, len);
        } else {
            put_mp_reach(&mut template, family, &hop);
        }
        let before = template.len();
        if !classic {
            put_attrs(&mut template, attrs, None, ctx.asn_width);
        }
        let form = if classic { Form::Classic } else { Form::Multiprotocol };
        let (add_path, max) = (ctx.add_path.contains(family), ctx.message_max.octets());
        let hop_fits = hop.fits(family, ctx);
        AttrBlock { family, template, before, form, add_path, max, hop_fits }
    }

    /// The encoded attributes, MP_REACH_NLRI apart.
    pub fn octets(&self) -> &[u8] {
        let start = match self.form {
            Form::Classic => FIXED,
            Form::Multiprotocol => self.before,
        };
        self.template.get(start..).unwrap_or(&[])
    }

    /// The family that the block was encoded for.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Appends as many UPDATEs as it takes to announce these NLRI, and returns how many. If one does not fit in a message
    /// of its own, or the next hop does not fit the session, nothing is appended.
    #[inline(always)]
    pub fn encode_updates<N: AsNlri>(
        &self,
        nlri: impl IntoIterator<Item = (PathId, N)>,
        out: &mut BytesMut,
    ) -> Result<usize, EncodeError> {
        if !self.hop_fits {
            return Err(EncodeError::NextHop);
        }
        let start = out.len();
        let (before, behind) = self.template.split_at_checked(self.before).unwrap_or((&[], &[]));
        let mut nlri = nlri.into_iter();
        let mut next = nlri.next();
        let mut count = 0;
        while let Some((id, first)) = next.take() {
            // What goes behind the NLRI counts as written from the start.
            let frame = Frame::at(out).reserving(behind.len());
            out.extend_from_slice(before);
            put_nlri(out, id, &first.as_nlri(), self.add_path);
            let needed = frame.len(out);
            if needed > self.max {
                out.truncate(start);
                return Err(EncodeError::TooLong { needed, max: self.max });
            }
            next = fill(&mut nlri, out, &frame, self.add_path, self.max);
            if self.form == Form::Multiprotocol {
                let message = frame.octets(out);
                let (reach, attrs) = (message.len() - FIXED, message.len() - FIXED + behind.len());
                patch(message, FIXED + 2, (reach - 4) as u16);
                patch(message, FIXED - 2, attrs as u16);
                out.extend_from_slice(behind);
            }
            frame.end(out);
            count += 1;
        }
        Ok(count)
    }
}

/// MP_REACH_NLRI up to its NLRI, its length open (RFC 4760 section 3).
fn put_mp_reach(out: &mut Vec<u8>, family: Family, hop: &NextHop) {
    let [afi_high, afi_low] = family.afi.0.to_be_bytes();
    let flags = Flags::OPTIONAL.union(Flags::EXTENDED).0;
    out.extend_from_slice(&[flags, AttrCode::MP_REACH_NLRI.0, 0, 0]);
    out.extend_from_slice(&[afi_high, afi_low, family.safi.0, hop.octets_len() as u8]);
    hop.with_octets(|octets| out.extend_from_slice(octets));
    out.push(0);
}

/// The attributes in order of codes, NEXT_HOP among them if it is given.
fn put_attrs(out: &mut Vec<u8>, attrs: &AttrSet, mut hop: Option<&NextHop>, width: AsnWidth) {
    for attr in attrs.iter() {
        if attr.code > AttrCode::NEXT_HOP {
            put_next_hop(out, hop.take());
        }
        put_for(out, &attr, attrs, width);
    }
    put_next_hop(out, hop);
}

/// Appends UPDATEs that withdraw these NLRI, and returns how many.
pub fn encode_withdrawals<N: AsNlri>(
    family: Family,
    nlri: impl IntoIterator<Item = (PathId, N)>,
    ctx: &WireContext,
    out: &mut BytesMut,
) -> usize {
    let add_path = ctx.add_path.contains(family);
    let mut nlri = nlri.into_iter();
    let mut next = nlri.next();
    let mut count = 0;
    while let Some((id, first)) = next.take() {
        let frame = Frame::begin(MessageKind::Update, out);
        let start = out.len();
        if family == Family::IPV4_UNICAST {
            out.extend_from_slice(&[0, 0]);
            put_nlri(out, id, &first.as_nlri(), add_path);
            // Two octets must stay free for the length of the attributes.
            next = fill(&mut nlri, out, &frame, add_path, ctx.message_max.octets() - 2);
            let len = out.len() - start - 2;
            patch(out, start, len as u16);
            out.extend_from_slice(&[0, 0]);
        } else {
            put_mp_unreach(family, out);
            put_nlri(out, id, &first.as_nlri(), add_path);
            next = fill(&mut nlri, out, &frame, add_path, ctx.message_max.octets());
            patch_mp_unreach(start, out);
        }
        frame.end(out);
        count += 1;
    }
    count
}

/// Appends an End-of-RIB (RFC 4724 section 2).
pub fn encode_end_of_rib(family: Family, out: &mut BytesMut) {
    let frame = Frame::begin(MessageKind::Update, out);
    let start = out.len();
    if family == Family::IPV4_UNICAST {
        out.extend_from_slice(&[0, 0, 0, 0]);
    } else {
        put_mp_unreach(family, out);
        patch_mp_unreach(start, out);
    }
    frame.end(out);
}

/// Empty withdrawn routes, the length of the attributes, and MP_UNREACH_NLRI up to its NLRI.
fn put_mp_unreach(family: Family, out: &mut BytesMut) {
    let [afi_high, afi_low] = family.afi.0.to_be_bytes();
    let flags = Flags::OPTIONAL.union(Flags::EXTENDED).0;
    out.extend_from_slice(&[0, 0, 0, 0, flags, AttrCode::MP_UNREACH_NLRI.0, 0, 0]);
    out.extend_from_slice(&[afi_high, afi_low, family.safi.0]);
}

fn patch_mp_unreach(start: usize, out: &mut BytesMut) {
    let len = out.len() - start;
    patch(out, start + 2, (len - 4) as u16);
    patch(out, start + 6, (len - 8) as u16);
}

/// Appends NLRI while the message has room, and returns the first that did not fit.
#[inline]
fn fill<N: AsNlri>(
    nlri: &mut impl Iterator<Item = (PathId, N)>,
    out: &mut BytesMut,
    frame: &Frame,
    add_path: bool,
    max: usize,
) -> Option<(PathId, N)> {
    for (id, item) in nlri {
        let before = out.len();
        put_nlri(out, id, &item.as_nlri(), add_path);
        if frame.len(out) > max {
            out.truncate(before);
            return Some((id, item));
        }
    }
    None
}

#[inline(always)]
fn put_nlri(out: &mut BytesMut, id: PathId, nlri: &NlriRef<'_>, add_path: bool) {
    if add_path {
        out.extend_from_slice(&id.0.to_be_bytes());
    }
    match nlri {
        NlriRef::Prefix(prefix) => put_prefix(out, prefix),
        NlriRef::Opaque(octets) => out.extend_from_slice(octets),
    }
}

/// Copies of a fixed size are a few stores; what is too much is taken back.
#[inline(always)]
fn put_prefix(out: &mut BytesMut, prefix: &Prefix) {
    let end = out.len() + 1 + prefix.wire_octets().len();
    match prefix.version() {
        Version::V4 => {
            let [a, b, c, d] = ((prefix.bits() >> 96) as u32).to_be_bytes();
            out.extend_from_slice(&[prefix.len(), a, b, c, d]);
        }
        Version::V6 => {
            let mut octets = [prefix.len(); 17];
            octets[1..].copy_from_slice(&prefix.bits().to_be_bytes());
            out.extend_from_slice(&octets);
        }
    }
    out.truncate(end);
}

fn put_next_hop(out: &mut Vec<u8>, hop: Option<&NextHop>) {
    if let Some(hop) = hop {
        hop.with_octets(|octets| put(out, Flags::WELL_KNOWN, AttrCode::NEXT_HOP, octets));
    }
}

fn put(out: &mut Vec<u8>, flags: Flags, code: AttrCode, value: &[u8]) {
    let (header, header_len) = attr_header(flags, code, value.len());
    out.extend_from_slice(header.get(..header_len).unwrap_or(&[]));
    out.extend_from_slice(value);
}

/// Appends an attribute of a set as the session's AS number width wants it.
fn put_for(out: &mut Vec<u8>, attr: &RawAttr<'_>, attrs: &AttrSet, width: AsnWidth) {
    let trans = Flags::OPTIONAL_TRANSITIVE;
    match (width, attr.code) {
        (AsnWidth::Two, AttrCode::AS_PATH) => put(out, attr.flags, attr.code, &narrow(attrs.as_path())),
        (AsnWidth::Two, AttrCode::AGGREGATOR) => {
            let Some(aggregator) = attrs.aggregator() else { return };
            let [high, low] = aggregator.asn.to_two_octets().to_be_bytes();
            let [a, b, c, d] = aggregator.router_id.octets();
            put(out, attr.flags, attr.code, &[high, low, a, b, c, d]);
        }
        _ => put(out, attr.flags, attr.code, attr.value),
    }
    // The AS4 attributes belong behind the last attribute with a lower code.
    if width == AsnWidth::Two && attrs.iter().take_while(|other| other.code.0 < 17).last() == Some(*attr) {
        if needs_four(attrs.as_path().iter()) {
            put(out, trans, AttrCode::AS4_PATH, &without_confed(attrs.as_path()));
        }
        if let Some(aggregator) = attrs
            .get(AttrCode::AGGREGATOR)
            .filter(|_| needs_four(attrs.aggregator().map(|aggregator| aggregator.asn).into_iter()))
        {
            put(out, trans, AttrCode::AS4_AGGREGATOR, aggregator.value);
        }
    }
}

fn needs_four(mut asns: impl Iterator<Item = Asn>) -> bool {
    asns.any(|asn| asn.0 > 0xFFFF)
}

fn narrow(path: AsPath<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.octets().len());
    for segment in path.segments() {
        out.extend_from_slice(&[segment.kind as u8, segment.len() as u8]);
        segment.iter().for_each(|asn| out.extend_from_slice(&asn.to_two_octets().to_be_bytes()));
    }
    out
}

/// AS4_PATH has no confederation segments (RFC 6793 section 3).
fn without_confed(path: AsPath<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.octets().len());
    for segment in path.segments().filter(|segment| !segment.kind.is_confed()) {
        out.extend_from_slice(&[segment.kind as u8, segment.len() as u8]);
        segment.iter().for_each(|asn| out.extend_from_slice(&asn.0.to_be_bytes()));
    }
    out
}
