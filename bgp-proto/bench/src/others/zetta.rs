//! zettabgp: a message becomes a tree of values; communities are sorted into a set on the way.

use crate::{Encode, Sum};
use bytes::BytesMut;
use std::net::Ipv4Addr;
use std::sync::LazyLock;
use zettabgp::prelude::*;

static FOUR: LazyLock<BgpSessionParams> = LazyLock::new(|| params(true));
static TWO: LazyLock<BgpSessionParams> = LazyLock::new(|| params(false));

fn params(four: bool) -> BgpSessionParams {
    let families = vec![BgpCapability::SafiIPv4u, BgpCapability::SafiIPv6u];
    let mut params =
        BgpSessionParams::new(64512, 180, BgpTransportMode::IPv4, Ipv4Addr::new(10, 0, 0, 1), families);
    params.has_as32bit = four;
    // It would guess whether path identifiers are there.
    params.fuzzy_pathid = false;
    params
}

fn of(four: bool) -> &'static BgpSessionParams {
    if four { &FOUR } else { &TWO }
}

fn parse(message: &[u8], four: bool) -> Option<BgpUpdateMessage> {
    let params = of(four);
    let (_, len) = params.decode_message_head(message).ok()?;
    let mut update = BgpUpdateMessage::new();
    update.decode_from(params, message.get(19..19 + len)?).ok()?;
    Some(update)
}

pub fn full(message: &[u8], four: bool) -> Option<Sum> {
    let update = parse(message, four)?;
    let mut sum = Sum::default();
    add_routes(&update.withdraws, &mut sum);
    add_routes(&update.updates, &mut sum);
    for attribute in &update.attrs {
        match attribute {
            BgpAttrItem::Origin(origin) => sum.add(match origin.value {
                BgpAttrOrigin::Igp => 0,
                BgpAttrOrigin::Egp => 1,
                BgpAttrOrigin::Incomplete => 2,
            }),
            BgpAttrItem::ASPath(path) => path.value.iter().for_each(|item| match item {
                BgpASitem::Seq(asns) => asns.value.iter().for_each(|asn| sum.add(u64::from(asn.value))),
                BgpASitem::Set(asns) => asns.value.iter().for_each(|asn| sum.add(u64::from(asn.value))),
            }),
            BgpAttrItem::NextHop(hop) => sum.hop(hop.value),
            BgpAttrItem::MED(med) => sum.add(u64::from(med.value)),
            BgpAttrItem::LocalPref(preference) => sum.add(u64::from(preference.value)),
            BgpAttrItem::CommunityList(list) => {
                list.value.iter().for_each(|community| sum.add(u64::from(community.value)));
            }
            BgpAttrItem::OriginatorID(id) => sum.hop(id.value),
            BgpAttrItem::ClusterList(list) => list.value.iter().for_each(|id| sum.hop(*id)),
            BgpAttrItem::MPUpdates(updates) => {
                if let BgpAddr::V6(v6) = updates.nexthop {
                    sum.hop(v6.into());
                }
                add_routes(&updates.addrs, &mut sum);
            }
            BgpAttrItem::MPWithdraws(withdraws) => add_routes(&withdraws.addrs, &mut sum),
            _ => {}
        }
    }
    Some(sum)
}

fn add_routes(routes: &BgpAddrs, sum: &mut Sum) {
    match routes {
        BgpAddrs::IPV4U(routes) => routes.iter().for_each(|net| sum.network(net.addr.into(), net.prefixlen)),
        BgpAddrs::IPV6U(routes) => routes.iter().for_each(|net| sum.network(net.addr.into(), net.prefixlen)),
        _ => {}
    }
}

pub fn prepare(message: &[u8], four: bool) -> Option<Encode> {
    let update = parse(message, four)?;
    let params = of(four);
    update.encode_to(params, &mut [0; 4096]).ok()?;
    Some(Box::new(move |out: &mut BytesMut| {
        let start = out.len();
        // It writes into a slice that is long enough.
        out.resize(start + 512, 0);
        let body = update.encode_to(params, &mut out[start + 19..]).unwrap_or(0);
        let whole = params.prepare_message_buf(&mut out[start..], BgpMessageType::Update, body);
        out.truncate(start + whole.unwrap_or(0));
    }))
}
