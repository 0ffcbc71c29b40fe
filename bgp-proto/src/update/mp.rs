//! The attributes that carry NLRI: MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760 sections 3 and 4).

use crate::attr::{NextHop, is_hop_len};
use crate::context::WireContext;
use crate::error::Cause;
use crate::family::{Afi, Family, Safi, Shape};
use crate::nlri::are_well_formed;

/// Family, next hop and NLRI of MP_REACH_NLRI; `None` if it is too short for them.
#[inline]
pub(super) fn reach(value: &[u8]) -> Option<(Family, &[u8], &[u8])> {
    let (family, rest) = family(value)?;
    let (hop_len, rest) = rest.split_first()?;
    let (hop, rest) = rest.split_at_checked(usize::from(*hop_len))?;
    let (_reserved, nlri) = rest.split_first()?;
    Some((family, hop, nlri))
}

/// Family and NLRI of MP_UNREACH_NLRI; `None` if it is too short for a family.
#[inline]
pub(super) fn unreach(value: &[u8]) -> Option<(Family, &[u8])> {
    family(value)
}

#[inline]
fn family(value: &[u8]) -> Option<(Family, &[u8])> {
    let ([high, low, safi], rest) = value.split_first_chunk::<3>()?;
    Some((Family::new(Afi(u16::from_be_bytes([*high, *low])), Safi(*safi)), rest))
}

/// How the family's NLRI are delimited, if it was negotiated.
#[inline]
pub(super) fn shape(family: Family, ctx: &WireContext) -> Option<Shape> {
    if ctx.families.contains(family) { family.shape() } else { None }
}

/// What is to be done with an attribute that carries NLRI.
#[derive(Clone, Copy)]
pub(super) enum MpVerdict {
    /// Read it.
    Sound,
    /// Its family was not negotiated and it is too short for its parts; nobody misses its routes.
    Unread,
    /// Its next hop is no host's address.
    NoHost,
    /// Reset the session.
    Malformed(Cause),
}

/// RFC 4760 section 3, RFC 7606 sections 5.3 and 7.11.
#[inline(never)]
pub(super) fn judge_reach(value: &[u8], ctx: &WireContext) -> MpVerdict {
    let Some((family, hop, nlri)) = reach(value) else { return judge_short_reach(value, ctx) };
    let Some(shape) = shape(family, ctx) else { return MpVerdict::Sound };
    if !is_hop_len(family, hop.len(), ctx) {
        return MpVerdict::Malformed(Cause::NextHopLength);
    }
    if !are_well_formed(nlri, shape, ctx.add_path.contains(family)) {
        return MpVerdict::Malformed(Cause::Nlri);
    }
    if NextHop::are_host(hop) { MpVerdict::Sound } else { MpVerdict::NoHost }
}

#[cold]
fn judge_short_reach(value: &[u8], ctx: &WireContext) -> MpVerdict {
    match family(value) {
        Some((family, [_hop_len, ..])) if shape(family, ctx).is_none() => MpVerdict::Unread,
        Some((_, [_hop_len, ..])) => MpVerdict::Malformed(Cause::NextHopLength),
        _ => MpVerdict::Malformed(Cause::AttributeLength),
    }
}

/// RFC 4760 section 4, RFC 7606 section 5.3.
#[inline(never)]
pub(super) fn judge_unreach(value: &[u8], ctx: &WireContext) -> MpVerdict {
    let Some((family, nlri)) = unreach(value) else { return MpVerdict::Malformed(Cause::AttributeLength) };
    match shape(family, ctx) {
        Some(shape) if !are_well_formed(nlri, shape, ctx.add_path.contains(family)) => {
            MpVerdict::Malformed(Cause::Nlri)
        }
        _ => MpVerdict::Sound,
    }
}
