//! The views and a naive decoder agree on every message, damaged or not.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test program")]

mod common;

use bgp_proto::context::{AsSets, Features, PeerKind};
use bgp_proto::{AsnWidth, FamilySet, WireContext};
use common::naive;
use proptest::collection::vec;
use proptest::prelude::*;

fn context() -> impl Strategy<Value = WireContext> {
    let peer = prop_oneof![Just(PeerKind::External), Just(PeerKind::Internal), Just(PeerKind::Confederation)];
    (any::<[bool; 6]>(), peer).prop_map(|([four, sets, v6, add_path, hop6, features], peer)| WireContext {
        asn_width: if four { AsnWidth::Four } else { AsnWidth::Two },
        as_sets: if sets { AsSets::Accepted } else { AsSets::Refused },
        peer,
        families: if v6 { FamilySet::UNICAST } else { FamilySet::IPV4 },
        add_path: if add_path { FamilySet::UNICAST } else { FamilySet::EMPTY },
        extended_next_hop: if hop6 { FamilySet::IPV4 } else { FamilySet::EMPTY },
        features: match features {
            true => Features::ROLES.union(Features::AIGP).union(Features::PREFIX_SID),
            false => Features::NONE,
        },
        ..WireContext::PLAIN
    })
}

/// An attribute that is likely to be sound.
fn attribute() -> impl Strategy<Value = Vec<u8>> {
    let path = vec((1u8..5, vec(1u8..4, 1..4)), 0..3).prop_map(|segments| {
        let of = |(kind, asns): (u8, Vec<u8>)| {
            let numbers: Vec<u8> = asns.iter().flat_map(|asn| [0, 0, 0x5B, *asn]).collect();
            [vec![kind, asns.len() as u8], numbers].concat()
        };
        segments.into_iter().map(of).collect::<Vec<_>>().concat()
    });
    let known = prop_oneof![
        Just((0x40u8, 1u8, vec![0])),
        path.clone().prop_map(|path| (0x40, 2, path)),
        Just((0x40, 2, vec![2, 2, 0, 1, 0x5B, 0xA0])),
        Just((0x40, 3, vec![10, 0, 0, 1])),
        Just((0x80, 4, vec![0, 0, 0, 1])),
        Just((0x40, 5, vec![0, 0, 0, 1])),
        Just((0x40, 6, vec![])),
        Just((0xC0, 7, vec![0, 0, 0, 7, 10, 0, 0, 1])),
        Just((0xC0, 7, vec![0x5B, 0xA0, 10, 0, 0, 1])),
        Just((0xC0, 8, vec![1, 2, 3, 4])),
        Just((0x80, 9, vec![1, 2, 3, 4])),
        Just((0x80, 10, vec![1, 2, 3, 4])),
        vec(any::<u8>(), 0..12).prop_map(|nlri| (
            0x80,
            14,
            [&[0, 1, 1, 4, 10, 0, 0, 1, 0], &nlri[..]].concat()
        )),
        vec(any::<u8>(), 0..12).prop_map(|nlri| (
            0x80,
            14,
            [&[0, 2, 1, 16][..], &[0x20; 16], &[0], &nlri].concat()
        )),
        vec(any::<u8>(), 0..12).prop_map(|nlri| (0x80, 15, [&[0, 2, 1], &nlri[..]].concat())),
        path.prop_map(|path| (0xC0, 17, path)),
        Just((0xC0, 18, vec![0, 1, 0, 7, 10, 0, 0, 1])),
        Just((0x80, 26, vec![1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 1])),
        vec(any::<u8>(), 0..20).prop_map(|value| (0xC0, 32, value)),
        vec(any::<u8>(), 0..5).prop_map(|value| (0xC0, 35, value)),
        (any::<u8>(), any::<u8>(), vec(any::<u8>(), 0..5)),
    ];
    (known, any::<u8>()).prop_map(|((flags, code, value), noise)| {
        let n = value.len() as u8;
        // Now and then other flags, a longer length field, meaningless bits.
        let flags = if noise < 8 { flags ^ (noise << 5) } else { flags & 0xE0 };
        match noise % 4 {
            0 => [&[flags | 0x10 | (noise & 0x0F), code, 0, n][..], &value].concat(),
            _ => [&[flags & 0xEF, code, n][..], &value].concat(),
        }
    })
}

fn routes() -> impl Strategy<Value = Vec<u8>> {
    let one = (any::<bool>(), 0u8..34, any::<[u8; 5]>()).prop_map(|(id, bits, octets)| {
        let prefix = &octets[..usize::from(bits.div_ceil(8)).min(5)];
        [if id { &[0, 0, 0, 1][..] } else { &[] }, &[bits], prefix].concat()
    });
    vec(one, 0..4).prop_map(|routes| routes.concat())
}

prop_compose! {
    fn body()(
        withdrawn in routes(),
        attrs in vec(attribute(), 0..9),
        trail in prop_oneof![9 => Just(vec![]), 1 => vec(any::<u8>(), 1..4)],
        nlri in routes(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        keep in prop_oneof![4 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)],
    ) -> Vec<u8> {
        let attrs = [attrs.concat(), trail].concat();
        let mut body = (withdrawn.len() as u16).to_be_bytes().to_vec();
        body.extend_from_slice(&withdrawn);
        body.extend_from_slice(&(attrs.len() as u16).to_be_bytes());
        body.extend_from_slice(&attrs);
        body.extend_from_slice(&nlri);
        for (place, octet) in damage {
            let place = place.index(body.len());
            body[place] = octet;
        }
        if let Some(keep) = keep {
            body.truncate(keep.index(body.len()));
        }
        body
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn views_agree_with_the_naive_decoder(body in body(), ctx in context()) {
        prop_assert_eq!(naive::viewed(&body, &ctx), naive::read(&body, &ctx));
    }
}
