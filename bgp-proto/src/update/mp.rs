//! The attributes that carry NLRI: MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760 sections 3 and 4).

use crate::context::WireContext;
use crate::family::{Afi, Family, Safi, Shape};

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
pub(super) fn family(value: &[u8]) -> Option<(Family, &[u8])> {
    let ([high, low, safi], rest) = value.split_first_chunk::<3>()?;
    Some((Family::new(Afi(u16::from_be_bytes([*high, *low])), Safi(*safi)), rest))
}

/// How the family's NLRI are delimited, if it was negotiated.
#[inline]
pub(super) fn shape(family: Family, ctx: &WireContext) -> Option<Shape> {
    if ctx.families.contains(family) { family.shape() } else { None }
}
