//! netgauze-bgp-pkt: a message becomes a tree of values.

use crate::{Encode, Sum};
use bytes::{BufMut, BytesMut};
use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::path_attribute::{AsPath, MpReach, MpUnreach, PathAttributeValue};
use netgauze_bgp_pkt::wire::deserializer::BgpParsingContext;
use netgauze_parse_utils::WritablePdu;
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFromWithOneInput;
use std::cell::RefCell;
use std::collections::HashMap;

thread_local! {
    /// A session has its context for as long as it lives.
    static CONTEXTS: RefCell<[BgpParsingContext; 2]> =
        RefCell::new([BgpParsingContext::asn2_default(), four_octets()]);
}

fn four_octets() -> BgpParsingContext {
    BgpParsingContext::new(true, HashMap::new(), HashMap::new(), false, false, false, false)
}

fn parse(message: &[u8], four: bool) -> Option<BgpMessage> {
    CONTEXTS.with_borrow_mut(|contexts| {
        BgpMessage::parse(&mut SliceReader::new(message), &mut contexts[usize::from(four)]).ok()
    })
}

pub fn full(message: &[u8], four: bool) -> Option<Sum> {
    let BgpMessage::Update(update) = parse(message, four)? else { return None };
    let mut sum = Sum::default();
    for address in update.withdraw_routes().iter().chain(update.nlri()) {
        let net = address.network().address();
        sum.network(net.addr().into(), net.prefix_len());
    }
    update.path_attributes().iter().for_each(|attribute| add(attribute.value(), &mut sum));
    Some(sum)
}

fn add(value: &PathAttributeValue, sum: &mut Sum) {
    match value {
        PathAttributeValue::Origin(origin) => sum.add(*origin as u64),
        PathAttributeValue::AsPath(AsPath::As4PathSegments(segments)) => {
            segments.iter().flat_map(|segment| segment.as_numbers()).for_each(|asn| sum.add(u64::from(*asn)));
        }
        PathAttributeValue::AsPath(AsPath::As2PathSegments(segments)) => {
            segments.iter().flat_map(|segment| segment.as_numbers()).for_each(|asn| sum.add(u64::from(*asn)));
        }
        PathAttributeValue::NextHop(hop) => sum.hop(hop.next_hop().into()),
        PathAttributeValue::MultiExitDiscriminator(med) => sum.add(u64::from(med.metric())),
        PathAttributeValue::LocalPreference(preference) => sum.add(u64::from(preference.metric())),
        PathAttributeValue::Communities(communities) => {
            communities.communities().iter().for_each(|community| sum.add(u64::from(community.value())));
        }
        PathAttributeValue::Originator(originator) => sum.hop(originator.id().into()),
        PathAttributeValue::ClusterList(list) => {
            list.cluster_list().iter().for_each(|cluster| sum.hop(cluster.id().into()));
        }
        PathAttributeValue::MpReach(MpReach::Ipv6Unicast { next_hop_global, nlri, .. }) => {
            sum.hop((*next_hop_global).into());
            for address in nlri {
                let net = address.network().address();
                sum.network(net.addr().into(), net.prefix_len());
            }
        }
        PathAttributeValue::MpUnreach(MpUnreach::Ipv6Unicast { nlri }) => {
            for address in nlri {
                let net = address.network().address();
                sum.network(net.addr().into(), net.prefix_len());
            }
        }
        _ => {}
    }
}

pub fn prepare(message: &[u8], four: bool) -> Option<Encode> {
    let message = parse(message, four)?;
    message.write(&mut BytesMut::new().writer()).ok()?;
    Some(Box::new(move |out: &mut BytesMut| {
        let written = message.write(&mut out.writer());
        assert!(written.is_ok());
    }))
}
