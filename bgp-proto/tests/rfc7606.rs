//! RFC 7606: a malformed attribute has the same verdict wherever it stands and whatever is announced.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test program")]

mod common;

use bgp_proto::attr::Flags;
use bgp_proto::{AttrCode, Cause, PeerKind, Remedy, Update, Verdict, WireContext};

const WELL_KNOWN: u8 = 0x40;
const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0xC0;

fn attr(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![flags, code, value.len() as u8];
    out.extend_from_slice(value);
    out
}

fn body(attrs: &[Vec<u8>], nlri: &[u8]) -> Vec<u8> {
    let attrs = attrs.concat();
    let mut out = vec![0, 0];
    out.extend_from_slice(&(attrs.len() as u16).to_be_bytes());
    out.extend_from_slice(&attrs);
    out.extend_from_slice(nlri);
    out
}

fn sound(internal: bool) -> Vec<Vec<u8>> {
    let mut attrs = vec![
        attr(WELL_KNOWN, 1, &[0]),
        attr(WELL_KNOWN, 2, &[2, 1, 0, 0, 0xFD, 0xE9]),
        attr(WELL_KNOWN, 3, &[10, 0, 0, 1]),
        attr(OPTIONAL, 4, &[0, 0, 0, 10]),
        attr(TRANSITIVE, 8, &[0xFD, 0xE9, 0, 100]),
    ];
    if internal {
        attrs.push(attr(WELL_KNOWN, 5, &[0, 0, 0, 100]));
    }
    attrs
}

fn nlri(count: u8) -> Vec<u8> {
    (0..count).flat_map(|i| [24, 10, 244, i]).collect()
}

/// Attribute, whether the peer is internal, and what must be done.
fn faults() -> Vec<(Vec<u8>, bool, Remedy)> {
    use Remedy::{Discard, Withdraw};
    let long = |n: usize| vec![0x20; n];
    vec![
        (attr(WELL_KNOWN, 1, &[3]), false, Withdraw),
        (attr(WELL_KNOWN, 1, &[]), false, Withdraw),
        (attr(WELL_KNOWN, 1, &[0, 0]), false, Withdraw),
        (attr(TRANSITIVE, 1, &[0]), false, Withdraw),
        (attr(0, 1, &[0]), false, Withdraw),
        (attr(WELL_KNOWN, 2, &[9, 1, 0, 0, 0, 1]), false, Withdraw),
        (attr(WELL_KNOWN, 2, &[2, 9, 0, 0, 0, 1]), false, Withdraw),
        (attr(WELL_KNOWN, 2, &[2, 1, 0, 0, 0, 1, 0]), false, Withdraw),
        (attr(WELL_KNOWN, 2, &[2, 0]), false, Withdraw),
        (attr(WELL_KNOWN, 2, &[2, 1, 0, 0, 0, 0]), false, Withdraw),
        (attr(WELL_KNOWN, 2, &[1, 1, 0, 0, 0, 1]), false, Withdraw),
        (attr(WELL_KNOWN, 2, &[3, 1, 0, 0, 0, 1]), false, Withdraw),
        (attr(WELL_KNOWN, 3, &[10, 0, 0]), false, Withdraw),
        (attr(WELL_KNOWN, 3, &[10, 0, 0, 1, 0]), false, Withdraw),
        (attr(OPTIONAL, 4, &[0, 0, 10]), false, Withdraw),
        (attr(WELL_KNOWN, 5, &[0, 0, 0, 100]), false, Discard),
        (attr(WELL_KNOWN, 5, &[0, 0, 100]), false, Discard),
        (attr(WELL_KNOWN, 5, &[0, 0, 100]), true, Withdraw),
        (attr(WELL_KNOWN, 6, &[0]), false, Discard),
        (attr(TRANSITIVE, 7, &[0, 0, 0xFD, 0xE9, 10]), false, Discard),
        (attr(TRANSITIVE, 7, &[0, 0, 0, 0, 10, 0, 0, 1]), false, Discard),
        (attr(TRANSITIVE, 8, &[]), false, Withdraw),
        (attr(TRANSITIVE, 8, &long(3)), false, Withdraw),
        (attr(OPTIONAL, 9, &long(4)), false, Discard),
        (attr(OPTIONAL, 9, &long(3)), true, Withdraw),
        (attr(OPTIONAL, 10, &long(4)), false, Discard),
        (attr(OPTIONAL, 10, &long(6)), true, Withdraw),
        (attr(TRANSITIVE, 16, &[]), false, Withdraw),
        (attr(TRANSITIVE, 16, &long(7)), false, Withdraw),
        (attr(TRANSITIVE, 17, &[2, 1, 0, 0, 0, 1]), false, Discard),
        (attr(TRANSITIVE, 18, &long(8)), false, Discard),
        (attr(TRANSITIVE, 25, &long(19)), false, Withdraw),
        (attr(TRANSITIVE, 32, &[]), false, Withdraw),
        (attr(TRANSITIVE, 32, &long(11)), false, Withdraw),
    ]
}

/// The sound attributes with this one at a place, instead of its sound namesake.
fn with_at(bad: &[u8], internal: bool, place: usize) -> Vec<Vec<u8>> {
    let mut attrs: Vec<Vec<u8>> = sound(internal).into_iter().filter(|attr| attr[1] != bad[1]).collect();
    attrs.insert(place.min(attrs.len()), bad.to_vec());
    attrs
}

#[test]
fn the_place_of_a_malformed_attribute_does_not_matter() {
    for (bad, internal, remedy) in faults() {
        let peer = if internal { PeerKind::Internal } else { PeerKind::External };
        let ctx = WireContext::modern(peer);
        for (place, count) in [0, 2, usize::MAX].into_iter().flat_map(|place| [(place, 1), (place, 50)]) {
            let body = body(&with_at(&bad, internal, place), &nlri(count));
            let update = Update::decode(&body, &ctx).unwrap();
            let expected = if remedy == Remedy::Discard { Verdict::Trimmed } else { Verdict::Withdrawn };
            assert_eq!(update.verdict(), expected, "{bad:02x?} at {place}");
            let fault = update.faults().next().unwrap();
            assert_eq!((fault.attribute, fault.remedy), (AttrCode(bad[1]), remedy), "{bad:02x?} at {place}");
            let reach = update.reach().next().unwrap();
            assert_eq!(reach.nlri.prefixes().count(), usize::from(count), "{bad:02x?} at {place}");
            assert_eq!(update.reach().count(), 1);
            let set = update.attr_set(reach.next_hop);
            let kept = set.get(AttrCode(bad[1])).is_some();
            assert_eq!(kept, fault.cause == Cause::AttributeFlags, "{bad:02x?} at {place}");
        }
    }
}

#[test]
fn without_reachable_nlri_only_what_is_discarded_is_forgiven() {
    for (bad, internal, remedy) in faults() {
        let peer = if internal { PeerKind::Internal } else { PeerKind::External };
        let body = body(&with_at(&bad, internal, 1), &[]);
        let result = Update::decode(&body, &WireContext::modern(peer));
        match remedy {
            Remedy::Discard => assert_eq!(result.unwrap().verdict(), Verdict::Trimmed),
            _ => assert_eq!(result.unwrap_err().fault.remedy, Remedy::Reset, "{bad:02x?}"),
        }
    }
}

#[test]
fn order_and_extended_lengths_do_not_change_the_meaning() {
    let ctx = WireContext::modern(PeerKind::Internal);
    let mut attrs = sound(true);
    attrs.push(attr(TRANSITIVE, 200, &[1, 2, 3]));
    let straight = body(&attrs, &nlri(3));
    let straight = Update::decode(&straight, &ctx).unwrap();
    let set = straight.attr_set(straight.reach().next().unwrap().next_hop);
    for turn in 0..attrs.len() {
        attrs.rotate_left(turn);
        let long: Vec<Vec<u8>> = attrs
            .iter()
            .map(|attr| [&[attr[0] | Flags::EXTENDED.0, attr[1], 0, attr[2]], &attr[3..]].concat())
            .collect();
        for attrs in [&attrs, &long] {
            let body = body(attrs, &nlri(3));
            let update = Update::decode(&body, &ctx).unwrap();
            let reach = update.reach().next().unwrap();
            assert_eq!(update.attr_set(reach.next_hop), set);
            assert_eq!(reach.nlri.octets(), nlri(3));
            assert_eq!(update.verdict(), Verdict::Sound);
        }
    }
}

#[test]
fn a_block_of_as_many_codes_as_there_are_is_sorted() {
    let mut attrs: Vec<Vec<u8>> = (41..=255).rev().map(|code| attr(TRANSITIVE, code, &[code])).collect();
    attrs.extend(sound(false));
    let body = body(&attrs, &nlri(1));
    let update = Update::decode(&body, &WireContext::modern(PeerKind::External)).unwrap();
    let set = update.attr_set(update.reach().next().unwrap().next_hop);
    let codes: Vec<u8> = set.iter().map(|attr| attr.code.0).collect();
    assert!(codes.is_sorted() && codes.len() == attrs.len() - 1, "{codes:?}");
    assert!(
        set.iter().skip(4).all(|attr| attr.value == [attr.code.0] && attr.flags.contains(Flags::PARTIAL))
    );
}
