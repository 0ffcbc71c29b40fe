//! This crate.

use crate::{Encode, Sum};
use bgp_proto::context::AsSets;
use bgp_proto::*;
use bytes::BytesMut;

const CONFEDERATION: WireContext = WireContext {
    asn_width: AsnWidth::Four,
    peer: PeerKind::Confederation,
    as_sets: AsSets::Accepted,
    ..WireContext::modern(PeerKind::Internal)
};

/// The contexts of the messages, as a session would have them.
static FOUR: WireContext = CONFEDERATION;
static TWO: WireContext = WireContext { asn_width: AsnWidth::Two, ..CONFEDERATION };

fn context(four: bool) -> &'static WireContext {
    if four { &FOUR } else { &TWO }
}

/// Frames, checks, and walks every attribute and prefix.
pub fn full(message: &[u8], four: bool) -> Option<Sum> {
    let ctx = context(four);
    let mut sum = Sum::default();
    let frame = Frame::first(message, ctx).ok()??;
    let update = Update::decode(frame.body(), ctx).ok()?;
    update.as_path().iter().for_each(|asn| sum.add(u64::from(asn.0)));
    sum.add(u64::from(update.med().unwrap_or(0)));
    sum.add(u64::from(update.local_pref().unwrap_or(0)));
    sum.add(u64::from(update.originator_id().map_or(0, |id| id.0)));
    update.communities().iter().for_each(|community| sum.add(u64::from(community.0)));
    update.cluster_list().iter().for_each(|cluster| sum.add(u64::from(cluster.0)));
    for unreach in update.unreach() {
        unreach.nlri.prefixes().for_each(|(_, prefix)| sum.prefix(prefix.bits(), prefix.len()));
    }
    for reach in update.reach() {
        sum.add(update.origin() as u64);
        match reach.next_hop {
            NextHop::V4(v4) => sum.add(u64::from(u32::from(v4))),
            NextHop::V6 { global, .. } => sum.add(u64::from(u128::from(global) as u32)),
            NextHop::Opaque(_) => {}
        }
        reach.nlri.prefixes().for_each(|(_, prefix)| sum.prefix(prefix.bits(), prefix.len()));
    }
    Some(sum)
}

/// Frames, and walks the prefixes past unread attributes.
pub fn nlri(message: &[u8], four: bool) -> Option<Sum> {
    let ctx = context(four);
    let mut sum = Sum::default();
    let frame = Frame::first(message, ctx).ok()??;
    let skim = Skim::new(frame.body(), ctx)?;
    for (_, nlri) in skim.unreach() {
        nlri.prefixes().for_each(|(_, prefix)| sum.prefix(prefix.bits(), prefix.len()));
    }
    for (_, nlri) in skim.reach() {
        nlri.prefixes().for_each(|(_, prefix)| sum.prefix(prefix.bits(), prefix.len()));
    }
    Some(sum)
}

/// The first routes of a message, decoded for writing.
fn routes(message: &[u8], four: bool) -> Option<(AttrBlock, Vec<(PathId, Prefix)>)> {
    let ctx = context(four);
    let frame = Frame::first(message, ctx).ok()??;
    let update = Update::decode(frame.body(), ctx).ok()?;
    let reach = update.reach().next()?;
    let block = AttrBlock::new(&update.attr_set(reach.next_hop), reach.family, ctx);
    Some((block, reach.nlri.prefixes().collect()))
}

/// Attributes encoded once, prefixes behind them.
pub fn prepare(message: &[u8], four: bool) -> Option<Encode> {
    let (block, prefixes) = routes(message, four)?;
    Some(Box::new(move |out: &mut BytesMut| {
        let written = block.encode_updates(prefixes.iter().copied(), out);
        assert!(written.is_ok());
    }))
}

/// Attributes, next hop if it stands with the prefixes, and prefixes, for writing by hand.
#[allow(clippy::type_complexity, reason = "three parts of one message")]
pub fn parts(message: &[u8], four: bool) -> Option<(Vec<u8>, Option<Vec<u8>>, Vec<(u8, [u8; 16])>)> {
    let ctx = context(four);
    let frame = Frame::first(message, ctx).ok()??;
    let reach = Update::decode(frame.body(), ctx).ok()?.reach().next()?;
    let (block, prefixes) = routes(message, four)?;
    let hop = match reach.next_hop {
        NextHop::V6 { global, link_local } => Some(
            [global.octets().to_vec(), link_local.map(|v6| v6.octets().to_vec()).unwrap_or_default()]
                .concat(),
        ),
        NextHop::V4(_) | NextHop::Opaque(_) => None,
    };
    let prefixes = prefixes.iter().map(|(_, prefix)| (prefix.len(), prefix.bits().to_be_bytes())).collect();
    Some((block.octets().to_vec(), hop, prefixes))
}
