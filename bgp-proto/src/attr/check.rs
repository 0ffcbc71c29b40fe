//! Whether an attribute's flags and value are what its definition says, and what must be done if not.
//!
//! One table and one function for RFC 7606 section 7 and the RFCs that define later attributes. An attribute that the
//! session does not use ([`Features`]) has no definition here; its value is not looked at.

use super::{AsPath, Flags, NextHop, SegmentKind, Segments};
use crate::context::{AsSets, AsnWidth, Features, PeerKind, WireContext};
use crate::error::{Cause, Remedy};
use crate::family::Family;
use crate::iana::AttrCode;

/// The Optional and Transitive bits of a known attribute.
#[inline(always)]
pub(crate) const fn definition(code: AttrCode) -> Option<Flags> {
    match code {
        AttrCode::ORIGIN
        | AttrCode::AS_PATH
        | AttrCode::NEXT_HOP
        | AttrCode::LOCAL_PREF
        | AttrCode::ATOMIC_AGGREGATE => Some(Flags::WELL_KNOWN),
        AttrCode::MED
        | AttrCode::ORIGINATOR_ID
        | AttrCode::CLUSTER_LIST
        | AttrCode::MP_REACH_NLRI
        | AttrCode::MP_UNREACH_NLRI
        | AttrCode::AIGP
        | AttrCode::LINK_STATE
        | AttrCode::BGPSEC_PATH => Some(Flags::OPTIONAL),
        AttrCode::AGGREGATOR
        | AttrCode::COMMUNITIES
        | AttrCode::EXT_COMMUNITIES
        | AttrCode::AS4_PATH
        | AttrCode::AS4_AGGREGATOR
        | AttrCode::IPV6_EXT_COMMUNITIES
        | AttrCode::LARGE_COMMUNITIES
        | AttrCode::ONLY_TO_CUSTOMER
        | AttrCode::PREFIX_SID => Some(Flags::OPTIONAL_TRANSITIVE),
        _ => None,
    }
}

/// As [`definition`], without the attributes of features that the session does not use.
#[inline(always)]
pub(crate) fn definition_in(code: AttrCode, ctx: &WireContext) -> Option<Flags> {
    let used = match code {
        AttrCode::AIGP => ctx.features.contains(Features::AIGP),
        AttrCode::ONLY_TO_CUSTOMER => ctx.features.contains(Features::ROLES),
        AttrCode::PREFIX_SID => ctx.features.contains(Features::PREFIX_SID),
        AttrCode::BGPSEC_PATH => ctx.features.contains(Features::BGPSEC),
        AttrCode::LINK_STATE => {
            ctx.families.contains(Family::LINK_STATE) || ctx.families.contains(Family::LINK_STATE_VPN)
        }
        _ => true,
    };
    if used { definition(code) } else { None }
}

/// Whether an attribute has no meaning from this peer and is dropped unread.
#[inline(always)]
pub(crate) const fn is_out_of_place(code: AttrCode, ctx: &WireContext) -> bool {
    match code {
        AttrCode::LOCAL_PREF | AttrCode::ORIGINATOR_ID | AttrCode::CLUSTER_LIST => {
            matches!(ctx.peer, PeerKind::External)
        }
        AttrCode::AS4_PATH | AttrCode::AS4_AGGREGATOR => matches!(ctx.asn_width, AsnWidth::Four),
        _ => false,
    }
}

/// What is wrong with a value, for all attributes but those that carry NLRI.
#[inline(always)]
pub(crate) fn value_fault(code: AttrCode, value: &[u8], ctx: &WireContext) -> Option<(Cause, Remedy)> {
    let n = value.len();
    let list = |item: usize| {
        (n == 0 || !n.is_multiple_of(item)).then_some((Cause::AttributeLength, Remedy::Withdraw))
    };
    let exactly = |len: usize| (n != len).then_some((Cause::AttributeLength, Remedy::Withdraw));
    match code {
        AttrCode::ORIGIN => match value {
            [0..=2] => None,
            [_] => Some((Cause::AttributeValue, Remedy::Withdraw)),
            _ => Some((Cause::AttributeLength, Remedy::Withdraw)),
        },
        AttrCode::AS_PATH if is_plain_path(value, ctx.asn_width) => None,
        AttrCode::AS_PATH => path_fault(value, ctx).map(|cause| (cause, Remedy::Withdraw)),
        AttrCode::NEXT_HOP => match n {
            4 => (!NextHop::are_host(value)).then_some((Cause::NextHop, Remedy::Withdraw)),
            _ => Some((Cause::AttributeLength, Remedy::Withdraw)),
        },
        AttrCode::MED | AttrCode::LOCAL_PREF | AttrCode::ORIGINATOR_ID | AttrCode::ONLY_TO_CUSTOMER => {
            exactly(4)
        }
        AttrCode::ATOMIC_AGGREGATE => (n != 0).then_some((Cause::AttributeLength, Remedy::Discard)),
        AttrCode::AGGREGATOR => aggregator_fault(value, ctx.asn_width),
        AttrCode::COMMUNITIES | AttrCode::CLUSTER_LIST => list(4),
        AttrCode::EXT_COMMUNITIES => list(8),
        AttrCode::LARGE_COMMUNITIES => list(12),
        AttrCode::IPV6_EXT_COMMUNITIES => list(20),
        AttrCode::AS4_PATH => as4_path_fault(value, ctx),
        AttrCode::AS4_AGGREGATOR => aggregator_fault(value, AsnWidth::Four),
        AttrCode::AIGP => (!is_aigp(value)).then_some((Cause::AttributeValue, Remedy::Discard)),
        AttrCode::PREFIX_SID => (!is_tlvs(value, 1)).then_some((Cause::AttributeValue, Remedy::Discard)),
        AttrCode::LINK_STATE => (!is_tlvs(value, 2)).then_some((Cause::AttributeValue, Remedy::Discard)),
        _ => None,
    }
}

/// Whether a value in canonical form, with four-octet numbers, may stand in an attribute set.
pub(crate) fn is_sound(code: AttrCode, value: &[u8]) -> bool {
    const OWN: WireContext = WireContext {
        as_sets: AsSets::Accepted,
        peer: PeerKind::Confederation,
        ..WireContext::modern(PeerKind::Internal)
    };
    value_fault(code, value, &OWN).is_none()
}

/// Whether the path is empty or one sequence with nothing wrong, as most are.
#[inline(always)]
fn is_plain_path(value: &[u8], width: AsnWidth) -> bool {
    let [kind, count, numbers @ ..] = value else { return value.is_empty() };
    let whole = *count != 0 && numbers.len() == usize::from(*count) * width.octets();
    if *kind != SegmentKind::Sequence as u8 || !whole {
        return false;
    }
    match width {
        AsnWidth::Four => has_no_zero_of_four(numbers),
        AsnWidth::Two => has_no_zero::<2>(numbers),
    }
}

/// Paths of four to eight numbers, the usual ones, are two windows that may overlap: no loop whose end must be guessed.
#[inline(always)]
fn has_no_zero_of_four(numbers: &[u8]) -> bool {
    match (numbers.first_chunk::<16>(), numbers.last_chunk::<16>()) {
        (Some(first), Some(last)) if numbers.len() <= 32 => !(has_zero(first) | has_zero(last)),
        _ => has_no_zero::<4>(numbers),
    }
}

/// Whether one of four numbers is zero.
#[inline(always)]
fn has_zero(four: &[u8; 16]) -> bool {
    four.as_chunks::<4>().0.iter().fold(false, |zero, number| zero | (*number == [0; 4]))
}

#[inline(always)]
fn has_no_zero<const N: usize>(mut numbers: &[u8]) -> bool {
    while let Some((number, rest)) = numbers.split_first_chunk::<N>() {
        if *number == [0; N] {
            return false;
        }
        numbers = rest;
    }
    true
}

/// RFC 7606 section 7.2, with the AS numbers and segments that later RFCs forbid.
#[inline(never)]
fn path_fault(value: &[u8], ctx: &WireContext) -> Option<Cause> {
    let mut segments = AsPath::trusted(value, ctx.asn_width).segments();
    while let Some(segment) = segments.next() {
        if segment.octets().is_empty() {
            return Some(Cause::PathSegment);
        }
        if segment.kind != SegmentKind::Sequence {
            if segment.kind.is_set() && ctx.as_sets == AsSets::Refused {
                return Some(later(segments, Cause::AsSet));
            }
            if segment.kind.is_confed() && ctx.peer == PeerKind::External {
                return Some(later(segments, Cause::ConfedSegment));
            }
        }
        if segment.iter().any(|asn| asn.0 == 0) {
            return Some(later(segments, Cause::AsZero));
        }
    }
    if !segments.rest().is_empty() {
        return Some(Cause::PathSegment);
    }
    // A two-octet path doubles when it is kept with four.
    (ctx.asn_width == AsnWidth::Two && value.len() > 0x7FFF).then_some(Cause::PathTooLong)
}

/// The cause to report: that the rest is malformed says more than that a number is not allowed.
#[cold]
fn later(mut segments: Segments<'_>, cause: Cause) -> Cause {
    let sound = segments.by_ref().all(|segment| !segment.octets().is_empty());
    if sound && segments.rest().is_empty() { cause } else { Cause::PathSegment }
}

/// RFC 6793 section 6: a malformed AS4_PATH is dropped, and so is one with AS zero (RFC 7607 section 2). One that is whole
/// becomes part of the path, so a set in it is a set in the path (RFC 9774 section 3).
fn as4_path_fault(value: &[u8], ctx: &WireContext) -> Option<(Cause, Remedy)> {
    let Some(path) = AsPath::new(value, AsnWidth::Four) else {
        return Some((Cause::PathSegment, Remedy::Discard));
    };
    if path.is_empty() {
        return Some((Cause::AttributeLength, Remedy::Discard));
    }
    if path.iter().any(|asn| asn.0 == 0) {
        return Some((Cause::AsZero, Remedy::Discard));
    }
    let refused = ctx.as_sets == AsSets::Refused && path.segments().any(|segment| segment.kind.is_set());
    refused.then_some((Cause::AsSet, Remedy::Withdraw))
}

/// RFC 7606 section 7.7, RFC 7607.
fn aggregator_fault(value: &[u8], width: AsnWidth) -> Option<(Cause, Remedy)> {
    if value.len() != width.octets() + 4 {
        return Some((Cause::AttributeLength, Remedy::Discard));
    }
    let asn = value.get(..width.octets()).unwrap_or(&[]);
    asn.iter().all(|octet| *octet == 0).then_some((Cause::AsZero, Remedy::Discard))
}

/// RFC 7311 section 3: TLVs whose length counts the header too; the first AIGP TLV has eleven octets.
fn is_aigp(mut value: &[u8]) -> bool {
    let mut seen = false;
    while !value.is_empty() {
        let Some((header, _)) = value.split_first_chunk::<3>() else { return false };
        let len = usize::from(u16::from_be_bytes([header[1], header[2]]));
        let Some((tlv, rest)) = value.split_at_checked(len.max(3)) else { return false };
        if len < 3 || (header[0] == 1 && !seen && tlv.len() != 11) {
            return false;
        }
        seen |= header[0] == 1;
        value = rest;
    }
    seen
}

/// Whether the value is type-length-value triples with types of so many octets and lengths of two.
fn is_tlvs(mut value: &[u8], type_octets: usize) -> bool {
    while !value.is_empty() {
        let Some((_, rest)) = value.split_at_checked(type_octets) else { return false };
        let Some((len, rest)) = rest.split_first_chunk::<2>() else { return false };
        let Some((_, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len))) else {
            return false;
        };
        value = rest;
    }
    true
}

/// AIGP's metric: the first TLV of type 1 (RFC 7311 section 3).
pub(crate) fn aigp_metric(mut value: &[u8]) -> Option<u64> {
    loop {
        let (header, _) = value.split_first_chunk::<3>()?;
        let len = usize::from(u16::from_be_bytes([header[1], header[2]]));
        let (tlv, rest) = value.split_at_checked(len.max(3))?;
        if header[0] == 1 {
            return tlv.get(3..)?.first_chunk().map(|metric| u64::from_be_bytes(*metric));
        }
        value = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn as_zero_is_found_wherever_it_stands() {
        for (width, count) in
            [AsnWidth::Two, AsnWidth::Four].into_iter().flat_map(|w| (1..20).map(move |n| (w, n)))
        {
            let ctx = WireContext { asn_width: width, ..WireContext::modern(PeerKind::External) };
            let path = |zero: Option<u8>| -> Vec<u8> {
                let number = |i| if zero == Some(i) { [0; 4] } else { [0, 1, 0, 0] };
                let number = |i| match (width, number(i)) {
                    (AsnWidth::Four, number) => number.to_vec(),
                    (AsnWidth::Two, [_, high, low, _]) => alloc::vec![high, low],
                };
                [2, count].into_iter().chain((0..count).flat_map(number)).collect()
            };
            assert_eq!(value_fault(AttrCode::AS_PATH, &path(None), &ctx), None, "{count} of {width:?}");
            for zero in 0..count {
                let fault = value_fault(AttrCode::AS_PATH, &path(Some(zero)), &ctx);
                assert_eq!(fault, Some((Cause::AsZero, Remedy::Withdraw)), "{zero} of {count}, {width:?}");
            }
        }
    }
}
