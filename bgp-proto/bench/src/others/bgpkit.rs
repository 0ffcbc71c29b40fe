//! bgpkit-parser: a message becomes a tree of values.

use crate::{Encode, Sum};
use bgpkit_parser::models::*;
use bgpkit_parser::parser::bgp::messages::parse_bgp_message;
use bytes::{Bytes, BytesMut};

fn parse(message: &[u8], four: bool) -> Option<BgpMessage> {
    let width = if four { AsnLength::Bits32 } else { AsnLength::Bits16 };
    parse_bgp_message(&mut Bytes::copy_from_slice(message), false, &width).ok()
}

pub fn full(message: &[u8], four: bool) -> Option<Sum> {
    let BgpMessage::Update(update) = parse(message, four)? else { return None };
    let mut sum = Sum::default();
    for prefix in update.withdrawn_prefixes.iter().chain(&update.announced_prefixes) {
        sum.network(prefix.prefix.addr(), prefix.prefix.prefix_len());
    }
    for attribute in update.attributes.iter() {
        match attribute {
            AttributeValue::Origin(origin) => sum.add(*origin as u64),
            AttributeValue::AsPath(path) => {
                for segment in &path.segments {
                    let (AsPathSegment::AsSequence(asns)
                    | AsPathSegment::AsSet(asns)
                    | AsPathSegment::ConfedSequence(asns)
                    | AsPathSegment::ConfedSet(asns)) = segment;
                    asns.iter().for_each(|asn| sum.add(u64::from(asn.to_u32())));
                }
            }
            AttributeValue::NextHop(hop) => sum.hop(*hop),
            AttributeValue::MultiExitDiscriminator(n) | AttributeValue::LocalPreference(n) => {
                sum.add(u64::from(*n))
            }
            AttributeValue::Communities(communities) => {
                communities.iter().for_each(|community| sum.add(number(*community)));
            }
            AttributeValue::OriginatorId(id) => sum.add(u64::from(u32::from(*id))),
            AttributeValue::Clusters(ids) => ids.iter().for_each(|id| sum.add(u64::from(*id))),
            AttributeValue::MpReachNlri(nlri) | AttributeValue::MpUnreachNlri(nlri) => {
                match nlri.next_hop {
                    Some(NextHopAddress::Ipv4(v4)) => sum.hop(v4.into()),
                    Some(NextHopAddress::Ipv6(v6) | NextHopAddress::Ipv6LinkLocal(v6, _)) => {
                        sum.hop(v6.into())
                    }
                    _ => {}
                }
                for prefix in &nlri.prefixes {
                    sum.network(prefix.prefix.addr(), prefix.prefix.prefix_len());
                }
            }
            _ => {}
        }
    }
    Some(sum)
}

fn number(community: Community) -> u64 {
    match community {
        Community::NoExport => 0xFFFF_FF01,
        Community::NoAdvertise => 0xFFFF_FF02,
        Community::NoExportSubConfed => 0xFFFF_FF03,
        Community::Custom(asn, value) => u64::from(asn.to_u32()) << 16 | u64::from(value),
    }
}

pub fn prepare(message: &[u8], four: bool) -> Option<Encode> {
    let width = if four { AsnLength::Bits32 } else { AsnLength::Bits16 };
    let message = parse(message, four)?;
    message.encode(width).ok()?;
    Some(Box::new(move |out: &mut BytesMut| {
        if let Ok(octets) = message.encode(width) {
            out.extend_from_slice(&octets);
        }
    }))
}
