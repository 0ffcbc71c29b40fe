//! OPEN: RFC 4271 section 6.2, RFC 4760, 5492, 6286, 6793, 7607, 9072, 9234.

use super::*;
use bgp_proto::capability::{AddPath, GracefulRestart, Role};
use bgp_proto::{AsnWidth, FamilySet};

/// An OPEN, octet by octet: version, AS, hold time, identifier, optional parameters with their length.
fn raw_open(version: u8, asn: u16, hold: u16, id: u32, parameters: &[u8]) -> Vec<u8> {
    let mut body = vec![version];
    body.extend_from_slice(&asn.to_be_bytes());
    body.extend_from_slice(&hold.to_be_bytes());
    body.extend_from_slice(&id.to_be_bytes());
    body.extend_from_slice(parameters);
    raw(1, &body)
}

fn assert_refused(open: &[u8], code: u8, subcode: u8, data: &[u8]) {
    assert_refused_with(|config| config.connect = Connect::Passive, open, code, subcode, data);
}

fn assert_refused_with(change: impl FnOnce(&mut Config), open: &[u8], code: u8, subcode: u8, data: &[u8]) {
    let mut bench = Bench::with(change);
    let conn = bench.accept();
    bench.give(conn, open);
    bench.assert_reset(conn, code, subcode, data);
}

fn negotiated(change: impl FnOnce(&mut Config), open: &[u8]) -> Negotiated {
    let mut bench = Bench::with(|config| {
        config.connect = Connect::Passive;
        change(config);
    });
    let conn = bench.accept();
    bench.give(conn, open);
    bench.give(conn, &keepalive());
    assert_eq!(bench.state(), State::Established, "{:?}", bench.sent(conn));
    bench.session.negotiated().unwrap().clone()
}

fn accepted(open: &Open) -> Negotiated {
    negotiated(|_| {}, &encoded(open))
}

const HERS: u32 = THEIRS.1.0;

#[test]
fn another_version_is_answered_with_ours() {
    for version in [3, 5] {
        assert_refused(&raw_open(version, 65002, 90, HERS, &[0]), 2, 1, &[0, 4]);
    }
}

#[test]
fn another_as_than_configured_is_refused() {
    assert_refused(&encoded(&Open { asn: Asn(65099), ..open_with([]) }), 2, 2, &[]);
    assert_refused(&encoded(&open_with([Capability::FourOctetAs(Asn(65099))])), 2, 2, &[]);
}

#[test]
fn as_zero_is_refused() {
    assert_refused(&raw_open(4, 0, 90, HERS, &[0]), 2, 2, &[]);
    assert_refused(&raw_open(4, 65002, 90, HERS, &[8, 2, 6, 65, 4, 0, 0, 0, 0]), 2, 2, &[]);
}

#[test]
fn as_trans_stands_for_the_capability_and_not_for_itself() {
    let open = raw_open(4, 23456, 90, HERS, &[8, 2, 6, 65, 4, 0, 0, 0xFD, 0xEA]);
    assert_eq!(negotiated(|_| {}, &open).peer_asn, Asn(65002));
    assert_refused(&raw_open(4, 23456, 90, HERS, &[0]), 2, 2, &[]);
}

#[test]
fn the_four_octet_capability_outweighs_the_fixed_field() {
    let open = raw_open(4, 64999, 90, HERS, &[8, 2, 6, 65, 4, 0, 0, 0xFD, 0xEA]);
    assert_eq!(negotiated(|_| {}, &open).peer_asn, Asn(65002));
}

#[test]
fn identifier_zero_is_refused_and_any_other_is_taken() {
    assert_refused(&raw_open(4, 65002, 90, 0, &[0]), 2, 3, &[]);
    for id in [0xE000_0001, 0xFFFF_FFFF] {
        assert_eq!(negotiated(|_| {}, &raw_open(4, 65002, 90, id, &[0])).peer_router_id, RouterId(id));
    }
}

#[test]
fn our_own_identifier_is_refused_from_an_internal_peer_only() {
    let internal = |config: &mut Config| {
        config.connect = Connect::Passive;
        config.peer_asn = OURS.0;
    };
    assert_refused_with(internal, &raw_open(4, 65001, 90, OURS.1.0, &[0]), 2, 3, &[]);
    assert_eq!(negotiated(|_| {}, &raw_open(4, 65002, 90, OURS.1.0, &[0])).peer_router_id, OURS.1);
}

#[test]
fn hold_times_of_one_and_two_seconds_are_refused_without_a_keepalive() {
    for hold in [1, 2] {
        let mut bench = Bench::passive();
        let conn = bench.accept();
        bench.give(conn, &raw_open(4, 65002, hold, HERS, &[0]));
        let sent = bench.sent(conn);
        assert!(!sent.contains(&Sent::Keepalive));
        assert_eq!(sent.last(), Some(&Sent::Notification(ErrorCode::OPEN_HOLD_TIME, Bytes::new())));
    }
}

#[test]
fn a_hold_time_below_the_configured_minimum_is_refused() {
    let least = |config: &mut Config| {
        config.connect = Connect::Passive;
        config.timing.hold_secs_min = 10;
    };
    assert_refused_with(least, &raw_open(4, 65002, 3, HERS, &[0]), 2, 6, &[]);
}

#[test]
fn the_smaller_hold_time_is_used() {
    assert_eq!(negotiated(|_| {}, &raw_open(4, 65002, 3, HERS, &[0])).hold_secs, 3);
    assert_eq!(negotiated(|c| c.timing.hold_secs = 9, &raw_open(4, 65002, 90, HERS, &[0])).hold_secs, 9);
    assert_eq!(negotiated(|_| {}, &raw_open(4, 65002, 0, HERS, &[0])).hold_secs, 0);
}

#[test]
fn an_unknown_optional_parameter_is_refused() {
    assert_refused(&raw_open(4, 65002, 90, HERS, &[3, 77, 1, 0]), 2, 4, &[]);
}

#[test]
fn parameters_that_overrun_are_refused() {
    for parameters in [&[200, 2, 2, 2, 0][..], &[4, 2, 9, 2, 0], &[4, 2, 2, 2, 9], &[4, 2, 2, 2]] {
        assert_refused(&raw_open(4, 65002, 90, HERS, parameters), 2, 0, &[]);
    }
    // RFC 9072, cut short.
    assert_refused(&raw_open(4, 65002, 90, HERS, &[255, 255, 0]), 2, 0, &[]);
}

#[test]
fn unknown_capabilities_are_ignored() {
    let mut open = their_open();
    open.capabilities.push(Capability::Unknown { code: 200, value: Bytes::from_static(&[1, 2, 3]) });
    assert_eq!(accepted(&open).families, FamilySet::UNICAST);
}

#[test]
fn an_open_without_capabilities_is_rfc_4271_alone() {
    let agreed = negotiated(|_| {}, &raw_open(4, 65002, 90, HERS, &[0]));
    assert_eq!(agreed.families, FamilySet::IPV4);
    assert_eq!(agreed.transmit.asn_width, AsnWidth::Two);
    assert_eq!(agreed.refresh, RefreshMode::None);
    assert_eq!(agreed.restart, None);
}

#[test]
fn capabilities_without_a_family_mean_ipv4() {
    assert_eq!(accepted(&open_with([Capability::RouteRefresh])).families, FamilySet::IPV4);
}

#[test]
fn no_family_in_common_is_refused_with_those_we_need() {
    let open = open_with([Capability::Multiprotocol(Family::EVPN)]);
    assert_refused(&encoded(&open), 2, 7, &[1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1]);
}

#[test]
fn repeated_capabilities_leave_one_state() {
    let mut open = their_open();
    open.capabilities.extend(their_open().capabilities);
    open.capabilities.push(Capability::FourOctetAs(Asn(65099)));
    let agreed = accepted(&open);
    assert_eq!((agreed.families, agreed.peer_asn), (FamilySet::UNICAST, THEIRS.0));
}

#[test]
fn known_capabilities_of_a_wrong_length_are_ignored() {
    for capability in
        [&[65, 2, 0xFD, 0xEA][..], &[1, 3, 0, 1, 0], &[64, 1, 0], &[64, 3, 0, 120, 0], &[73, 1, 9]]
    {
        let mut parameters = vec![capability.len() as u8 + 2, 2, capability.len() as u8];
        parameters.extend_from_slice(capability);
        let agreed = negotiated(|_| {}, &raw_open(4, 65002, 90, HERS, &parameters));
        assert_eq!((agreed.families, agreed.restart), (FamilySet::IPV4, None));
    }
}

#[test]
fn the_long_form_of_parameters_is_taken_also_when_it_is_short() {
    let long = [255, 255, 0, 9, 2, 0, 6, 65, 4, 0, 0, 0xFD, 0xEA];
    assert_eq!(negotiated(|_| {}, &raw_open(4, 65002, 90, HERS, &long)).transmit.asn_width, AsnWidth::Four);
}

#[test]
fn roles_must_fit() {
    let provider = |strictness| {
        move |config: &mut Config| {
            config.connect = Connect::Passive;
            config.role = Some(RoleRule { role: Role::Provider, strictness });
        }
    };
    let with = |roles: &[Role]| {
        let mut open = their_open();
        open.capabilities.extend(roles.iter().copied().map(Capability::Role));
        encoded(&open)
    };
    assert_refused_with(provider(Strictness::Lenient), &with(&[Role::Provider]), 2, 11, &[]);
    assert_refused_with(provider(Strictness::Strict), &with(&[]), 2, 11, &[]);
    assert_refused_with(provider(Strictness::Lenient), &with(&[Role::Customer, Role::Peer]), 2, 11, &[]);
    negotiated(provider(Strictness::Strict), &with(&[Role::Customer]));
    negotiated(provider(Strictness::Lenient), &with(&[]));
}

#[test]
fn our_open_says_what_is_configured_and_no_more() {
    let mut config = Config::new(Asn(70_000), OURS.1, THEIRS.0);
    let open = negotiate::offer(&config);
    let mut families = open.multiprotocol().collect::<Vec<_>>();
    families.sort();
    assert_eq!(families, [Family::IPV4_UNICAST, Family::IPV6_UNICAST]);
    assert!(open.capabilities.contains(&Capability::FourOctetAs(Asn(70_000))));
    assert!(open.graceful_restart().is_none() && open.role().is_none());
    assert_eq!(open.add_path(), (FamilySet::EMPTY, FamilySet::EMPTY));
    config.families = FamilySet::IPV4;
    config.add_path_send = FamilySet::UNICAST;
    let open = negotiate::offer(&config);
    assert_eq!(open.multiprotocol().count(), 1);
    assert_eq!(open.add_path(), (FamilySet::IPV4, FamilySet::EMPTY));
}

#[test]
fn add_path_is_agreed_by_direction() {
    let directions = [None, Some(AddPath::Receive), Some(AddPath::Send), Some(AddPath::Both)];
    for ours in directions {
        for theirs in directions {
            let mut open = their_open();
            open.capabilities.extend(theirs.map(|d| Capability::AddPath(vec![(Family::IPV4_UNICAST, d)])));
            let agreed = negotiated(
                |config| {
                    let set = |on: bool| if on { FamilySet::IPV4 } else { FamilySet::EMPTY };
                    config.add_path_send = set(ours.is_some_and(AddPath::sends));
                    config.add_path_receive = set(ours.is_some_and(AddPath::receives));
                },
                &encoded(&open),
            );
            let sends = ours.is_some_and(AddPath::sends) && theirs.is_some_and(AddPath::receives);
            let receives = ours.is_some_and(AddPath::receives) && theirs.is_some_and(AddPath::sends);
            assert_eq!(agreed.transmit.add_path.contains(Family::IPV4_UNICAST), sends);
            assert_eq!(agreed.receive.add_path.contains(Family::IPV4_UNICAST), receives);
        }
    }
}

#[test]
fn graceful_restart_counts_if_both_sides_said_so() {
    let mut open = their_open();
    open.capabilities.push(Capability::GracefulRestart(GracefulRestart {
        restarting: true,
        notification: true,
        time_secs: 4095,
        families: vec![(Family::IPV4_UNICAST, bgp_proto::capability::Forwarding::Kept); 2],
    }));
    assert_eq!(accepted(&open).restart, None);
    let agreed = negotiated(|config| config.restart = Some(restart::local()), &encoded(&open));
    let peer = agreed.restart.unwrap();
    assert_eq!(peer.restart_time, SEC * 4095);
    assert_eq!((peer.families, peer.forwarding), (FamilySet::IPV4, FamilySet::IPV4));
    assert!(peer.restarting && peer.notification);
}

#[test]
fn a_peer_that_refuses_our_open_is_left_alone_longer_each_time() {
    let mut bench = Bench::with(|_| {});
    let mut gaps = Vec::new();
    for _ in 0..8 {
        assert_eq!(bench.actions.pop_back(), Some(Action::Dial));
        let conn = bench.dialed();
        bench.give(conn, &notification(2, 7, &[]));
        bench.actions.clear();
        let failed = bench.now;
        while bench.actions.is_empty() {
            bench.pass(10 * MS);
        }
        gaps.push(bench.now - failed);
    }
    assert!(gaps[0] >= SEC);
    assert!(gaps.windows(2).all(|pair| pair[1] > pair[0]), "{gaps:?}");
}
