//! routecore: views over the octets; an attribute is checked whenever it is met. One walk over the attributes is the
//! kindest use of it: its accessors walk from the start each time.

use crate::{Encode, Sum};
use bytes::BytesMut;
use routecore::bgp::aspath::AsPath;
use routecore::bgp::message::update::{SessionConfig, UpdateMessage};
use routecore::bgp::message::update_builder::UpdateBuilder;
use routecore::bgp::nlri::afisafi::{Ipv4UnicastNlri, Ipv6UnicastNlri, IsPrefix, Nlri};
use routecore::bgp::path_attributes::WireformatPathAttribute;
use std::sync::LazyLock;

static FOUR: LazyLock<SessionConfig> = LazyLock::new(SessionConfig::modern);
static TWO: LazyLock<SessionConfig> = LazyLock::new(SessionConfig::legacy);

fn of(four: bool) -> &'static SessionConfig {
    if four { &FOUR } else { &TWO }
}

pub fn full(message: &[u8], four: bool) -> Option<Sum> {
    let update = UpdateMessage::from_octets(message, of(four)).ok()?;
    let mut sum = Sum::default();
    for attribute in update.path_attributes().ok()? {
        use WireformatPathAttribute as Attribute;
        match attribute.ok()? {
            Attribute::Origin(value) => sum.add(u64::from(value.value_into_parser().parse_u8().ok()?)),
            Attribute::AsPath(value) => {
                let mut parser = value.value_into_parser();
                let octets = parser.parse_octets(parser.remaining()).ok()?;
                for segment in AsPath::new(octets, four).ok()?.segments() {
                    segment.asns().for_each(|asn| sum.add(u64::from(asn.into_u32())));
                }
            }
            Attribute::ConventionalNextHop(value)
            | Attribute::MultiExitDisc(value)
            | Attribute::LocalPref(value)
            | Attribute::OriginatorId(value) => {
                sum.add(u64::from(value.value_into_parser().parse_u32_be().ok()?));
            }
            Attribute::StandardCommunities(value) | Attribute::ClusterList(value) => {
                let mut parser = value.value_into_parser();
                while parser.remaining() > 0 {
                    sum.add(u64::from(parser.parse_u32_be().ok()?));
                }
            }
            _ => {}
        }
    }
    if let Some(hop) = update.mp_next_hop().ok()? {
        use routecore::bgp::types::NextHop;
        match hop {
            NextHop::Unicast(address) => sum.hop(address),
            NextHop::Ipv6LL { global, .. } => sum.hop(global.into()),
            _ => {}
        }
    }
    add_routes(&update, &mut sum)?;
    Some(sum)
}

pub fn nlri(message: &[u8], four: bool) -> Option<Sum> {
    let update = UpdateMessage::from_octets(message, of(four)).ok()?;
    let mut sum = Sum::default();
    add_routes(&update, &mut sum)?;
    Some(sum)
}

fn add_routes(update: &UpdateMessage<&[u8]>, sum: &mut Sum) -> Option<()> {
    for nlri in update.withdrawals().ok()?.chain(update.announcements().ok()?) {
        let prefix = match nlri.ok()? {
            Nlri::Ipv4Unicast(nlri) => nlri.prefix(),
            Nlri::Ipv6Unicast(nlri) => nlri.prefix(),
            _ => continue,
        };
        let (address, bits) = prefix.addr_and_len();
        sum.network(address, bits);
    }
    Some(())
}

pub fn prepare(message: &[u8], four: bool) -> Option<Encode> {
    let config = of(four);
    let update = UpdateMessage::from_octets(message.to_vec(), config).ok()?;
    let attributes =
        UpdateBuilder::<Vec<u8>, Ipv4UnicastNlri>::from_update_message(&update, config, Vec::new());
    let attributes = attributes.ok()?.attributes().clone();
    let hop = update.mp_next_hop().ok()?;
    let prefixes: Vec<_> = update
        .announcements()
        .ok()?
        .map_while(|nlri| match nlri.ok()? {
            Nlri::Ipv4Unicast(nlri) => Some(nlri.prefix()),
            Nlri::Ipv6Unicast(nlri) => Some(nlri.prefix()),
            _ => None,
        })
        .collect();
    if prefixes.is_empty() {
        return None;
    }
    Some(Box::new(move |out: &mut BytesMut| {
        macro_rules! write {
            ($nlri:ty) => {{
                let mut builder =
                    UpdateBuilder::<Vec<u8>, $nlri>::from_attributes_builder(attributes.clone());
                if let Some(hop) = hop {
                    let _ = builder.set_mp_nexthop(hop);
                }
                let nlri = prefixes.iter().filter_map(|prefix| <$nlri>::try_from(*prefix).ok());
                let _ = builder.announcements_from_iter(nlri);
                if let Ok(message) = builder.into_message(config) {
                    out.extend_from_slice(message.as_ref());
                }
            }};
        }
        if hop.is_some() { write!(Ipv6UnicastNlri) } else { write!(Ipv4UnicastNlri) }
    }))
}
