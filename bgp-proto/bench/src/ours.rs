//! This crate.

use crate::Sum;
use bgp_proto::context::AsSets;
use bgp_proto::*;

/// The context of a message.
pub fn context(four: bool) -> WireContext {
    WireContext {
        asn_width: if four { AsnWidth::Four } else { AsnWidth::Two },
        peer: PeerKind::Confederation,
        as_sets: AsSets::Accepted,
        ..WireContext::modern(PeerKind::Internal)
    }
}

/// Frames, checks, and walks every attribute and prefix.
pub fn full(message: &[u8], ctx: &WireContext) -> Option<Sum> {
    let mut sum = Sum::default();
    let frame = Frame::first(message, ctx).ok()??;
    let update = Update::decode(frame.body(), ctx).ok()?;
    walk_nlri(&update, &mut sum);
    sum.add(update.origin() as u64);
    update.as_path().iter().for_each(|asn| sum.add(u64::from(asn.0)));
    for reach in update.reach() {
        match reach.next_hop {
            NextHop::V4(v4) => sum.add(u64::from(u32::from(v4))),
            NextHop::V6 { global, .. } => sum.add(u64::from(u128::from(global) as u32)),
            NextHop::Opaque(_) => {}
        }
    }
    sum.add(u64::from(update.med().unwrap_or(0)));
    sum.add(u64::from(update.local_pref().unwrap_or(0)));
    sum.add(u64::from(update.originator_id().map_or(0, |id| id.0)));
    update.communities().iter().for_each(|community| sum.add(u64::from(community.0)));
    update.cluster_list().iter().for_each(|cluster| sum.add(u64::from(cluster.0)));
    Some(sum)
}

/// Frames, checks, and walks the prefixes.
pub fn nlri(message: &[u8], ctx: &WireContext) -> Option<Sum> {
    let mut sum = Sum::default();
    let frame = Frame::first(message, ctx).ok()??;
    let update = Update::decode(frame.body(), ctx).ok()?;
    walk_nlri(&update, &mut sum);
    Some(sum)
}

#[inline]
fn walk_nlri(update: &Update<'_>, sum: &mut Sum) {
    for unreach in update.unreach() {
        unreach.nlri.prefixes().for_each(|(_, prefix)| sum.prefix((prefix.bits() >> 64) as u64, prefix.len()));
    }
    for reach in update.reach() {
        reach.nlri.prefixes().for_each(|(_, prefix)| sum.prefix((prefix.bits() >> 64) as u64, prefix.len()));
    }
}
