//! What we write, another codec reads; what it writes, we read; and no bytes whatever are more than ignored.

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteProtocol, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, link, route};
use proptest::prelude::*;

use super::*;

fn path() -> impl Strategy<Value = Path> {
    (any::<IpAddr>(), 1..u32::MAX, 1..=256u16, any::<bool>()).prop_map(
        |(gateway, ifindex, weight, onlink)| Path { gateway: Some(gateway), ifindex, weight, onlink },
    )
}

fn route() -> impl Strategy<Value = (Prefix, Place, u8, Target)> {
    let paths = prop::collection::vec(path(), 0..5);
    (any::<IpAddr>(), 0..=128u8, any::<u32>(), 1..u32::MAX, any::<u8>(), paths).prop_filter_map(
        "an IPv4 gateway cannot carry an IPv6 route",
        |(addr, len, metric, table, protocol, paths)| {
            let fits = |path: &Path| addr.is_ipv4() || path.gateway.is_some_and(|gateway| gateway.is_ipv6());
            let prefix = Prefix::new(addr, if addr.is_ipv4() { len % 33 } else { len }).ok()?;
            let target = if paths.is_empty() { Target::Blackhole } else { Target::via(paths, 16) };
            target.paths().iter().all(fits).then_some((prefix, Place { table, metric }, protocol, target))
        },
    )
}

fn one(bytes: &[u8]) -> Content<'_> {
    let mut all = messages(bytes);
    let content = all.next().map_or(Content::Ignored, |message| message.content());
    assert!(all.next().is_none());
    content
}

fn by_oracle(message: RouteMessage) -> Vec<u8> {
    let mut message = NetlinkMessage::from(RouteNetlinkMessage::NewRoute(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn oracle_gateway(prefix: &Prefix, gateway: IpAddr) -> RouteAttribute {
    match (prefix.version(), gateway) {
        (Version::V4, IpAddr::V6(gateway)) => RouteAttribute::Via(RouteVia::Inet6(gateway)),
        (_, IpAddr::V4(gateway)) => RouteAttribute::Gateway(RouteAddress::Inet(gateway)),
        (_, IpAddr::V6(gateway)) => RouteAttribute::Gateway(RouteAddress::Inet6(gateway)),
    }
}

/// The route as the other crate would write it.
fn oracle(prefix: &Prefix, place: Place, protocol: u8, target: &Target) -> RouteMessage {
    let mut message = RouteMessage::default();
    let mut header = RouteHeader {
        address_family: if prefix.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
        destination_prefix_length: prefix.len(),
        table: u8::try_from(place.table).unwrap_or(0),
        protocol: RouteProtocol::from(protocol),
        kind: if *target == Target::Blackhole { RouteType::BlackHole } else { RouteType::Unicast },
        ..RouteHeader::default()
    };
    message.attributes.push(RouteAttribute::Destination(prefix.addr().into()));
    if header.table == 0 {
        message.attributes.push(RouteAttribute::Table(place.table));
    }
    message.attributes.push(RouteAttribute::Priority(place.metric));
    match target.paths() {
        [] => {}
        [path] => {
            message.attributes.extend(path.gateway.map(|gateway| oracle_gateway(prefix, gateway)));
            message.attributes.push(RouteAttribute::Oif(path.ifindex));
            if path.onlink {
                header.flags = route::RouteFlags::Onlink;
            }
        }
        paths => {
            let hop = |path: &Path| {
                let mut hop = RouteNextHop::default();
                hop.hops = (path.weight - 1) as u8;
                hop.interface_index = path.ifindex;
                hop.attributes =
                    path.gateway.map(|gateway| oracle_gateway(prefix, gateway)).into_iter().collect();
                if path.onlink {
                    hop.flags = route::RouteNextHopFlags::Onlink;
                }
                hop
            };
            message.attributes.push(RouteAttribute::MultiPath(paths.iter().map(hop).collect()));
        }
    }
    message.header = header;
    message
}

proptest! {
    #[test]
    fn what_we_write_the_other_codec_reads((prefix, place, protocol, target) in route(), seq: u32) {
        let mut bytes = Vec::new();
        let verb = Verb::New(&target);
        RouteRequest { flags: F_CREATE | F_EXCL, seq, prefix, place, protocol, verb }.write(&mut bytes);
        let read = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes).unwrap();
        prop_assert_eq!(read.header.sequence_number, seq);
        prop_assert_eq!(read.header.flags, F_REQUEST | F_CREATE | F_EXCL);
        let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(read)) = read.payload else {
            return Err(TestCaseError::fail("another kind"));
        };
        let mut expected = oracle(&prefix, place, protocol, &target);
        expected.header.scope = read.header.scope;
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn what_the_other_codec_writes_we_read((prefix, place, protocol, target) in route()) {
        let bytes = by_oracle(oracle(&prefix, place, protocol, &target));
        let expected = KernelRoute { prefix, place, protocol, target, plain: true };
        prop_assert_eq!(one(&bytes), Content::Change(KernelChange::RouteCame(expected, Arrival::Added)));
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for message in messages(&bytes) {
            message.content();
        }
    }

    #[test]
    fn any_damage_is_read_without_harm(
        (prefix, place, protocol, target) in route(), at: prop::sample::Index, value: u8, cut: prop::sample::Index,
    ) {
        let mut bytes = by_oracle(oracle(&prefix, place, protocol, &target));
        *at.get_mut(&mut bytes) = value;
        bytes.truncate(cut.index(bytes.len() + 1));
        for message in messages(&bytes) {
            message.content();
        }
    }
}

#[test]
fn routes_with_what_we_never_write_are_not_plain() {
    let prefix: Prefix = "10.1.0.0/24".parse().unwrap();
    let target = Target::via(vec![Path { gateway: None, ifindex: 3, weight: 1, onlink: false }], 1);
    let place = Place { table: 254, metric: 7 };
    for (extra, plain) in [
        (RouteAttribute::PrefSource("10.0.0.1".parse::<IpAddr>().unwrap().into()), false),
        (RouteAttribute::NhId(5), false),
        (RouteAttribute::Preference(route::RoutePreference::Medium), true),
        (RouteAttribute::Preference(route::RoutePreference::High), false),
    ] {
        let mut message = oracle(&prefix, place, 12, &target);
        message.attributes.push(extra);
        let Content::Change(KernelChange::RouteCame(route, _)) = one(&by_oracle(message)) else { panic!() };
        assert_eq!((route.plain, &route.target), (plain, &target));
        assert_eq!(route.own_target() == target, plain);
    }
}

#[test]
fn routes_that_are_none_of_ours_are_ignored() {
    let prefix: Prefix = "10.1.0.0/24".parse().unwrap();
    let make = |change: fn(&mut RouteHeader)| {
        let mut message = oracle(&prefix, Place { table: 254, metric: 0 }, 4, &Target::Blackhole);
        change(&mut message.header);
        by_oracle(message)
    };
    assert_eq!(one(&make(|header| header.tos = 8)), Content::Ignored);
    assert_eq!(one(&make(|header| header.flags = route::RouteFlags::Cloned)), Content::Ignored);
    assert_eq!(one(&make(|header| header.address_family = AddressFamily::Bridge)), Content::Ignored);
}

#[test]
fn a_bridge_port_that_leaves_is_not_an_interface_that_goes() {
    let make = |family: AddressFamily| {
        let mut message = link::LinkMessage::default();
        message.header.interface_family = family;
        message.header.index = 7;
        message.attributes.push(link::LinkAttribute::IfName("eth0".into()));
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::DelLink(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    };
    assert_eq!(one(&make(AddressFamily::Bridge)), Content::Ignored);
    assert_eq!(one(&make(AddressFamily::Unspec)), Content::Change(KernelChange::LinkWent(7)));
}

#[test]
fn the_kernels_words_are_found_behind_a_short_and_a_whole_request() {
    let words = b"Nexthop has invalid gateway\0";
    for (flags, request) in [(F_CAPPED | F_ACK_TLVS, 16u32), (F_ACK_TLVS, 48)] {
        let mut body = (-libc::EINVAL).to_ne_bytes().to_vec();
        body.extend_from_slice(&request.to_ne_bytes());
        body.resize(4 + request as usize, 0);
        put(&mut body, ERR_ATTR_MSG, words.len());
        body.extend_from_slice(words);
        let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&ERROR.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&body);
        assert_eq!(one(&bytes), Content::Ack(libc::EINVAL, Some("Nexthop has invalid gateway")));
    }
}
