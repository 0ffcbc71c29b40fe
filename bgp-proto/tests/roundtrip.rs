//! What is written reads back: attribute sets, NLRI of every family, all messages, in every context.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test program")]

use bgp_proto::attr::{Aggregator, Community, ExtCommunity, Flags, LargeCommunity, Origin, SegmentKind};
use bgp_proto::capability::{AddPath, Capability, Forwarding, GracefulRestart, LongLived, Role};
use bgp_proto::context::{AsSets, Features, MessageMax};
use bgp_proto::*;
use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv6Addr};

fn asn() -> impl Strategy<Value = Asn> {
    prop_oneof![(1u32..65536).prop_map(Asn), (1u32..).prop_map(Asn)]
}

fn segments() -> impl Strategy<Value = Vec<(SegmentKind, Vec<Asn>)>> {
    let kind = prop_oneof![4 => Just(SegmentKind::Sequence), 1 => Just(SegmentKind::Set)];
    vec((kind, vec(asn(), 1..12)), 0..4)
}

fn next_hop() -> impl Strategy<Value = NextHop> {
    prop_oneof![
        any::<[u8; 3]>().prop_map(|[a, b, c]| NextHop::V4([10, a, b, c].into())),
        any::<u64>().prop_map(|n| NextHop::from(Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(n)))),
        any::<u64>().prop_map(|n| NextHop::V6 {
            global: Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(n)),
            link_local: Some(Ipv6Addr::from(0xfe80_u128 << 112 | u128::from(n))),
        }),
    ]
}

prop_compose! {
    fn attr_set()(
        hop in next_hop(),
        origin in prop_oneof![Just(Origin::Igp), Just(Origin::Egp), Just(Origin::Incomplete)],
        path in segments(),
        numbers in any::<(Option<u32>, u32, Option<u32>, bool)>(),
        aggregator in proptest::option::of((asn(), any::<u32>())),
        communities in vec(any::<u32>().prop_map(Community), 0..5),
        large in vec(any::<[u32; 3]>(), 0..3),
        ext in vec(any::<[u8; 8]>().prop_map(ExtCommunity), 0..3),
        clusters in vec(any::<u32>().prop_map(ClusterId), 0..3),
        unknown in vec((41u8..128, vec(any::<u8>(), 0..300)), 0..3),
    ) -> AttrSet {
        let mut builder = AttrSet::builder(hop);
        let path: Vec<(SegmentKind, &[Asn])> = path.iter().map(|(kind, asns)| (*kind, asns.as_slice())).collect();
        let (med, local_pref, originator, atomic) = numbers;
        builder.origin(origin).as_path_segments(&path).med(med).local_pref(Some(local_pref));
        builder.originator_id(originator.map(RouterId)).communities(&communities).ext_communities(&ext);
        if atomic {
            builder.atomic_aggregate();
        }
        if let Some((asn, id)) = aggregator {
            builder.aggregator(Aggregator { asn, router_id: RouterId(id) });
        }
        for [global, local1, local2] in large {
            builder.add_large_community(LargeCommunity { global, local1, local2 });
        }
        clusters.iter().for_each(|cluster| { builder.cluster_prepend(*cluster); });
        for (code, value) in &unknown {
            let flags = Flags::OPTIONAL_TRANSITIVE.union(Flags::PARTIAL);
            builder.set_raw(flags, AttrCode(*code), value);
        }
        builder.build()
    }
}

fn prefix(family: Family) -> BoxedStrategy<Prefix> {
    if family.afi == Afi::IPV4 {
        (any::<[u8; 4]>(), 0u8..=32).prop_map(|(a, n)| Prefix::new(IpAddr::from(a), n).unwrap()).boxed()
    } else {
        (any::<[u8; 16]>(), 0u8..=128).prop_map(|(a, n)| Prefix::new(IpAddr::from(a), n).unwrap()).boxed()
    }
}

fn nlri(family: Family) -> BoxedStrategy<Nlri> {
    let opaque =
        |strategy: BoxedStrategy<Vec<u8>>| strategy.prop_map(|v| Nlri::Opaque(Bytes::from(v))).boxed();
    match family.shape().unwrap() {
        Shape::PrefixV4 | Shape::PrefixV6 => prefix(family).prop_map(Nlri::Prefix).boxed(),
        Shape::Bits(max) => opaque(
            (0..=max as u8, vec(any::<u8>(), 32))
                .prop_map(|(bits, mut octets)| {
                    octets.truncate(usize::from(bits.div_ceil(8)));
                    octets.insert(0, bits);
                    octets
                })
                .boxed(),
        ),
        Shape::TypeLength8 => {
            let with = |(kind, value): (u8, Vec<u8>)| [&[kind, value.len() as u8], &value[..]].concat();
            opaque((any::<u8>(), vec(any::<u8>(), 0..256)).prop_map(with).boxed())
        }
        Shape::TypeLength16 => {
            let with = |(kind, value): (u16, Vec<u8>)| {
                [&kind.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), &value].concat()
            };
            opaque((any::<u16>(), vec(any::<u8>(), 0..300)).prop_map(with).boxed())
        }
        Shape::Length16 => {
            let with = |value: Vec<u8>| [&(value.len() as u16).to_be_bytes()[..], &value].concat();
            opaque(vec(any::<u8>(), 0..40).prop_map(with).boxed())
        }
        Shape::FlowSpec => {
            let with = |value: Vec<u8>| match value.len() {
                short @ 0..0xF0 => [&[short as u8], &value[..]].concat(),
                long => [&(0xF000 | long as u16).to_be_bytes()[..], &value].concat(),
            };
            opaque(vec(any::<u8>(), 0..300).prop_map(with).boxed())
        }
    }
}

fn routes() -> impl Strategy<Value = (Family, Vec<(PathId, Nlri)>)> {
    let families: Vec<Family> = FamilySet::ALL.iter().collect();
    let family = prop_oneof![
        4 => prop_oneof![Just(Family::IPV4_UNICAST), Just(Family::IPV6_UNICAST)],
        1 => proptest::sample::select(families)
    ];
    family.prop_flat_map(|family| {
        let one = (any::<u32>().prop_map(PathId), nlri(family));
        (Just(family), prop_oneof![3 => vec(one.clone(), 1..20), 1 => vec(one, 500..1500)])
    })
}

fn context() -> impl Strategy<Value = WireContext> {
    any::<(bool, bool, bool)>().prop_map(|(four, extended, add_path)| WireContext {
        asn_width: if four { AsnWidth::Four } else { AsnWidth::Two },
        message_max: if extended { MessageMax::Extended } else { MessageMax::Standard },
        peer: PeerKind::Internal,
        as_sets: AsSets::Accepted,
        features: Features::NONE,
        families: FamilySet::ALL,
        add_path: if add_path { FamilySet::ALL } else { FamilySet::EMPTY },
        extended_next_hop: FamilySet::ALL,
    })
}

/// The next hop that the family can carry.
fn fitting(family: Family, hop: &NextHop, ctx: &WireContext) -> NextHop {
    let candidates = [*hop, NextHop::V6 { global: Ipv6Addr::LOCALHOST, link_local: None }];
    let vpn = NextHop::from_octets(&[1; 24]).unwrap();
    candidates.into_iter().find(|hop| hop.fits(family, ctx)).unwrap_or(vpn)
}

/// Splits a stream into frames and calls with each update.
fn each_update(mut stream: &[u8], ctx: &WireContext, mut then: impl FnMut(&Update<'_>)) -> usize {
    let mut count = 0;
    while let Some(frame) = Frame::first(stream, ctx).unwrap() {
        stream = &stream[frame.octets.len()..];
        let Message::Update(update) = Message::decode(&frame, ctx).unwrap() else { panic!("no update") };
        assert_eq!(update.verdict(), Verdict::Sound, "{:?}", update.faults().collect::<Vec<_>>());
        then(&update);
        count += 1;
    }
    assert!(stream.is_empty());
    count
}

/// What the session delivers of a path identifier.
fn seen(routes: &[(PathId, Nlri)], family: Family, ctx: &WireContext) -> Vec<(PathId, Nlri)> {
    let with = ctx.add_path.contains(family);
    routes.iter().map(|(id, nlri)| (if with { *id } else { PathId(0) }, nlri.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn updates_read_back(set in attr_set(), (family, routes) in routes(), ctx in context()) {
        let set = set.with_next_hop(fitting(family, &set.next_hop(), &ctx));
        let mut out = BytesMut::new();
        let block = AttrBlock::new(&set, family, &ctx);
        let written = block.encode_updates(routes.iter().cloned(), &mut out).unwrap();
        let mut found = Vec::new();
        let read = each_update(&out, &ctx, |update| {
            for reach in update.reach() {
                assert_eq!(reach.family, family);
                assert_eq!(update.attr_set(reach.next_hop), set);
                found.extend(reach.nlri.map(|(id, nlri)| (id, nlri.to_owned())));
            }
        });
        prop_assert_eq!(read, written);
        prop_assert_eq!(found, seen(&routes, family, &ctx));
    }

    #[test]
    fn withdrawals_read_back((family, routes) in routes(), ctx in context()) {
        let mut out = BytesMut::new();
        let written = encode_withdrawals(family, routes.iter().cloned(), &ctx, &mut out);
        let mut found = Vec::new();
        let read = each_update(&out, &ctx, |update| {
            for unreach in update.unreach() {
                assert_eq!(unreach.family, family);
                found.extend(unreach.nlri.map(|(id, nlri)| (id, nlri.to_owned())));
            }
        });
        prop_assert_eq!(read, written);
        prop_assert_eq!(found, seen(&routes, family, &ctx));
    }

    #[test]
    fn messages_are_filled(set in attr_set(), routes in vec(prefix(Family::IPV4_UNICAST), 1..4000), ctx in context()) {
        let set = set.with_next_hop(NextHop::V4([10, 0, 0, 1].into()));
        let mut out = BytesMut::new();
        let block = AttrBlock::new(&set, Family::IPV4_UNICAST, &ctx);
        block.encode_updates(routes.iter().map(|prefix| (PathId(1), prefix)), &mut out).unwrap();
        let mut stream = &out[..];
        while let Some(frame) = Frame::first(stream, &ctx).unwrap() {
            stream = &stream[frame.octets.len()..];
            // Of the last message nothing is asked; the others have no room for the longest prefix.
            prop_assert!(stream.is_empty() || frame.octets.len() + 9 > ctx.message_max.octets());
        }
    }

    #[test]
    fn edits_keep_a_set_canonical(set in attr_set(), asn in asn(), n in 0usize..600, id in any::<u32>()) {
        let before: Vec<Asn> = set.as_path().iter().collect();
        let mut builder = set.edit();
        builder.prepend(asn, n).cluster_prepend(ClusterId(id)).originator_id(Some(RouterId(id)));
        builder.add_community(Community::NO_EXPORT).med(None).local_pref(Some(7));
        let edited = builder.build();
        let codes: Vec<AttrCode> = edited.iter().map(|attr| attr.code).collect();
        prop_assert!(codes.is_sorted() && codes.windows(2).all(|pair| pair[0] != pair[1]));
        let after: Vec<Asn> = edited.as_path().iter().collect();
        prop_assert_eq!(&after[n..], &before[..]);
        prop_assert!(after[..n].iter().all(|other| *other == asn));
        prop_assert!(bgp_proto::attr::AsPath::new(edited.as_path().octets(), AsnWidth::Four).is_some());
        prop_assert_eq!(edited.cluster_list().iter().next(), Some(ClusterId(id)));
        prop_assert_eq!((edited.med(), edited.local_pref()), (None, Some(7)));
        let mut back = edited.edit();
        back.remove(AttrCode::CLUSTER_LIST).originator_id(None).remove_community(Community::NO_EXPORT);
        prop_assert!(back.build().cluster_list().is_empty());
        prop_assert!(!back.build().communities().contains(Community::NO_EXPORT));
    }

    #[test]
    fn opens_read_back(
        asn in asn().prop_filter("not AS_TRANS", |asn| *asn != Asn::TRANS),
        hold in prop_oneof![Just(0u16), 3u16..],
        id in 1u32..,
        capabilities in vec(capability(), 0..40),
    ) {
        let mut capabilities = capabilities;
        capabilities.push(Capability::FourOctetAs(asn));
        let open = Open { asn, hold_secs: hold, router_id: RouterId(id), capabilities };
        let mut out = BytesMut::new();
        open.encode(&mut out);
        let frame = Frame::first(&out, &WireContext::PLAIN).unwrap().unwrap();
        prop_assert_eq!(frame.octets.len(), out.len());
        prop_assert_eq!(Open::decode(frame.body()), Ok(open));
    }

    #[test]
    fn notifications_read_back(code in any::<u8>(), subcode in any::<u8>(), data in vec(any::<u8>(), 0..300)) {
        let notification = Notification::with_data(ErrorCode::new(code, subcode), &data);
        let mut out = BytesMut::new();
        notification.encode(&mut out);
        let frame = Frame::first(&out, &WireContext::PLAIN).unwrap().unwrap();
        let _ = notification.to_string();
        prop_assert_eq!(Notification::decode(frame.body()), Some(notification));
    }
}

fn capability() -> impl Strategy<Value = Capability> {
    let family = || any::<(u16, u8)>().prop_map(|(afi, safi)| Family::new(Afi(afi), Safi(safi)));
    let kept = || prop_oneof![Just(Forwarding::Kept), Just(Forwarding::Lost)];
    let text = || vec(any::<u8>(), 0..60).prop_map(Bytes::from);
    let direction = prop_oneof![Just(AddPath::Receive), Just(AddPath::Send), Just(AddPath::Both)];
    prop_oneof![
        family().prop_map(Capability::Multiprotocol),
        Just(Capability::RouteRefresh),
        Just(Capability::EnhancedRefresh),
        Just(Capability::ExtendedMessage),
        Just(Capability::Role(Role::Peer)),
        text().prop_map(Capability::OutboundFilter),
        vec((family(), any::<u16>().prop_map(Afi)), 0..5).prop_map(Capability::ExtendedNextHop),
        vec((family(), any::<u8>()), 0..5).prop_map(Capability::MultipleLabels),
        vec((family(), direction), 0..5).prop_map(Capability::AddPath),
        (any::<bool>(), any::<bool>(), 0u16..4096, vec((family(), kept()), 0..5)).prop_map(
            |(restarting, notification, time_secs, families)| {
                Capability::GracefulRestart(GracefulRestart { restarting, notification, time_secs, families })
            }
        ),
        vec((family(), kept(), 0u32..0x0100_0000), 0..5).prop_map(|tuples| {
            let long = |(family, forwarding, time_secs)| LongLived { family, forwarding, time_secs };
            Capability::LongLivedRestart(tuples.into_iter().map(long).collect())
        }),
        (text(), text()).prop_map(|(host, domain)| Capability::Fqdn { host, domain }),
        text().prop_map(Capability::SoftwareVersion),
        (100u8..200, text()).prop_map(|(code, value)| Capability::Unknown { code, value }),
    ]
}

#[test]
fn a_route_that_cannot_fit_is_refused_and_leaves_no_trace() {
    let mut builder = AttrSet::builder(NextHop::V4([10, 0, 0, 1].into()));
    builder.origin(Origin::Igp).as_path(&[]).set_raw(Flags::OPTIONAL_TRANSITIVE, AttrCode(99), &[7; 4055]);
    let block = AttrBlock::new(&builder.build(), Family::IPV4_UNICAST, &WireContext::PLAIN);
    let mut out = BytesMut::from(&b"before"[..]);
    let short = [(PathId(0), Prefix::DEFAULT_V4)];
    assert_eq!(block.encode_updates(short, &mut out), Err(EncodeError::TooLong { needed: 4097, max: 4096 }));
    assert_eq!(&out[..], b"before");
    assert_eq!(block.encode_updates([] as [(PathId, Prefix); 0], &mut out), Ok(0));
}

#[test]
fn a_next_hop_that_the_session_does_not_take_is_not_written() {
    let attrs = AttrSet::builder(NextHop::from(Ipv6Addr::LOCALHOST)).origin(Origin::Igp).as_path(&[]).build();
    let route = [(PathId(0), Prefix::DEFAULT_V4)];
    let mut out = BytesMut::new();
    let plain = WireContext::modern(PeerKind::External);
    let block = AttrBlock::new(&attrs, Family::IPV4_UNICAST, &plain);
    assert_eq!(block.encode_updates(route, &mut out), Err(EncodeError::NextHop));
    assert!(out.is_empty());
    // RFC 8950 section 4.
    let extended = WireContext { extended_next_hop: FamilySet::IPV4, ..plain };
    assert_eq!(
        AttrBlock::new(&attrs, Family::IPV4_UNICAST, &extended).encode_updates(route, &mut out),
        Ok(1)
    );
}

#[test]
fn end_of_rib_reads_back_for_every_family() {
    for family in FamilySet::ALL.iter() {
        let mut out = BytesMut::new();
        encode_end_of_rib(family, &mut out);
        let frame = Frame::first(&out, &WireContext::PLAIN).unwrap().unwrap();
        let update = Update::decode(frame.body(), &WireContext::PLAIN).unwrap();
        assert_eq!(update.end_of_rib(), Some(family));
    }
}
