//! Outbound runs and route refresh: RFC 2918, RFC 4724 section 2, RFC 7313.

use super::*;
use crate::feed::Run;

const V4: Family = Family::IPV4_UNICAST;
const V6: Family = Family::IPV6_UNICAST;

fn messages(count: u8) -> Vec<Bytes> {
    (0..count).map(|x| announce(&[x]).into()).collect()
}

/// A session that was told `count` UPDATE messages of IPv4.
fn told(open: &Open, count: u8) -> (Bench, ConnId) {
    let mut bench = Bench::passive();
    let conn = bench.establish_with(open);
    let epoch = bench.epoch();
    bench.session.attach(epoch, [feed(V4, &messages(count))]);
    let sent = bench.sent(conn);
    assert_eq!(sent.len(), usize::from(count) + 1);
    assert_eq!(sent.last(), Some(&Sent::EndOfRib(V4)));
    bench.take_events();
    bench.pass(SEC);
    (bench, conn)
}

/// Grants the refreshes that the session asks for, as the table would. Returns how many.
fn grant(bench: &mut Bench, count: u8) -> usize {
    bench.pass(Duration::ZERO);
    let epoch = bench.session.epoch;
    let wanted = bench.take_events().into_iter().filter(|event| matches!(event, Event::RefreshRequested(V4)));
    let wanted = wanted.count();
    for _ in 0..wanted {
        bench.session.attach(epoch, [Feed { run: Run::Refresh, ..feed(V4, &messages(count)) }]);
    }
    wanted
}

fn request(family: Family, subtype: u8) -> Vec<u8> {
    let [high, low] = family.afi.0.to_be_bytes();
    raw(5, &[high, low, subtype, family.safi.0])
}

#[test]
fn end_of_rib_follows_the_first_run_of_each_family_also_when_it_is_empty() {
    let mut bench = Bench::passive();
    let conn = bench.establish();
    let epoch = bench.epoch();
    bench.session.attach(epoch, [feed(V4, &messages(2)), feed(V6, &[])]);
    let sent = bench.sent(conn);
    assert!(sent.contains(&Sent::EndOfRib(V6)));
    let v4: Vec<_> = sent.into_iter().filter(|sent| *sent != Sent::EndOfRib(V6)).collect();
    assert_eq!(v4, [Sent::Update, Sent::Update, Sent::EndOfRib(V4)]);
    assert_eq!(bench.sent(conn), []);
}

#[test]
fn a_refresh_repeats_everything() {
    let plain = open_with([
        Capability::Multiprotocol(V4),
        Capability::RouteRefresh,
        Capability::FourOctetAs(THEIRS.0),
    ]);
    let (mut bench, conn) = told(&plain, 3);
    bench.give(conn, &request(V4, 0));
    assert_eq!(grant(&mut bench, 3), 1);
    assert_eq!(bench.sent(conn), [Sent::Update, Sent::Update, Sent::Update]);
}

#[test]
fn an_enhanced_refresh_stands_between_its_marks() {
    let (mut bench, conn) = told(&their_open(), 2);
    bench.give(conn, &request(V4, 0));
    assert_eq!(grant(&mut bench, 2), 1);
    let expected = [
        Sent::Refresh(V4, RefreshKind::Begin),
        Sent::Update,
        Sent::Update,
        Sent::Refresh(V4, RefreshKind::End),
    ];
    assert_eq!(bench.sent(conn), expected);
}

#[test]
fn a_refresh_of_a_family_not_negotiated_is_ignored() {
    let (mut bench, conn) = told(&their_open(), 1);
    bench.give(conn, &request(Family::EVPN, 0));
    bench.give(conn, &request(V4, 9));
    assert_eq!(bench.sent(conn), []);
    assert_eq!(bench.session.counters().ignored, 2);
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn a_refresh_asked_for_during_the_first_run_follows_it() {
    let mut bench = Bench::passive();
    let conn = bench.establish();
    let epoch = bench.epoch();
    bench.give(conn, &request(V4, 0));
    bench.session.attach(epoch, [feed(V4, &messages(2))]);
    // One message at a time.
    let mut octets = BytesMut::new();
    for _ in 0..20 {
        grant(&mut bench, 2);
        bench.session.poll_transmit(conn, 1, bench.now, |slice| octets.extend_from_slice(&slice));
    }
    let sent = bench.read(&octets);
    let expected = [
        Sent::Update,
        Sent::Update,
        Sent::EndOfRib(V4),
        Sent::Refresh(V4, RefreshKind::Begin),
        Sent::Update,
        Sent::Update,
        Sent::Refresh(V4, RefreshKind::End),
    ];
    assert_eq!(sent, expected);
}

#[test]
fn refreshes_are_answered_once_a_second_however_many_are_asked_for() {
    let (mut bench, conn) = told(&their_open(), 1);
    let mut runs = 0;
    for _ in 0..1000 {
        bench.give(conn, &request(V4, 0));
        grant(&mut bench, 1);
        runs += bench.sent(conn).iter().filter(|sent| **sent == Sent::Update).count();
        bench.pass(MS);
    }
    assert!(runs <= 2, "{runs}");
    bench.give(conn, &request(V4, 0));
    bench.pass(SEC);
    grant(&mut bench, 1);
    assert!(bench.sent(conn).contains(&Sent::Update), "the last request is answered too");
}

#[test]
fn marks_of_the_peer_are_reported_around_its_routes() {
    let (mut bench, conn) = told(&their_open(), 0);
    bench.give(conn, &[request(V4, 1), announce(&[1]), request(V4, 2)].concat());
    let events = bench.take_events();
    assert!(
        matches!(events[..], [Event::RefreshBegun(V4), Event::Routes(_), Event::RefreshEnded(V4)]),
        "{events:?}"
    );
}

#[test]
fn an_end_without_a_beginning_is_ignored_and_a_second_beginning_starts_over() {
    let (mut bench, conn) = told(&their_open(), 0);
    bench.give(conn, &request(V4, 2));
    assert_eq!(bench.take_events(), []);
    bench.give(conn, &[request(V4, 1), request(V4, 1), request(V4, 2), request(V4, 2)].concat());
    let expected = [Event::RefreshBegun(V4), Event::RefreshBegun(V4), Event::RefreshEnded(V4)];
    assert_eq!(bench.take_events(), expected);
}

#[test]
fn a_refresh_that_never_ends_is_ended_by_a_timer() {
    let (mut bench, conn) = told(&their_open(), 0);
    bench.give(conn, &request(V4, 1));
    bench.take_events();
    for _ in 0..36 {
        bench.pass(SEC * 10);
        bench.give(conn, &keepalive());
    }
    assert_eq!(bench.take_events(), [Event::RefreshEnded(V4)]);
}

#[test]
fn marks_without_enhanced_refresh_are_ignored() {
    let plain = open_with([Capability::RouteRefresh, Capability::FourOctetAs(THEIRS.0)]);
    let (mut bench, conn) = told(&plain, 0);
    bench.give(conn, &[request(V4, 1), request(V4, 2)].concat());
    assert_eq!(bench.take_events(), []);
}

#[test]
fn a_mark_of_a_wrong_length_is_answered_with_the_whole_message() {
    for body in [&[0, 1, 1][..], &[0, 1, 2, 1, 0]] {
        let (mut bench, conn) = told(&their_open(), 0);
        let message = raw(5, body);
        bench.give(conn, &message);
        bench.assert_reset(conn, 7, 1, &message);
    }
}

#[test]
fn we_ask_for_a_refresh_if_the_peer_can() {
    let (mut bench, conn) = told(&their_open(), 0);
    assert!(bench.session.request_refresh(V4));
    assert!(bench.session.request_refresh(V4));
    assert_eq!(bench.sent(conn), [Sent::Refresh(V4, RefreshKind::Request)]);
    assert!(!bench.session.request_refresh(Family::EVPN));
    let (mut bench, _) = told(&open_with([Capability::FourOctetAs(THEIRS.0)]), 0);
    assert!(!bench.session.request_refresh(V4));
}

#[test]
fn a_refresh_granted_during_the_first_run_leaves_both_marks() {
    let mut bench = Bench::passive();
    let conn = bench.establish();
    let epoch = bench.epoch();
    bench.session.attach(epoch, [feed(V4, &messages(2))]);
    bench.session.attach(epoch, [Feed { run: Run::Refresh, ..feed(V4, &messages(2)) }]);
    let expected = [
        Sent::Refresh(V4, RefreshKind::Begin),
        Sent::Update,
        Sent::Update,
        Sent::EndOfRib(V4),
        Sent::Refresh(V4, RefreshKind::End),
    ];
    assert_eq!(bench.sent(conn), expected);
}

#[test]
fn feeds_of_an_earlier_session_are_dropped() {
    let (mut bench, conn) = told(&their_open(), 0);
    let old = bench.session.epoch;
    bench.lose(conn, Failure::Ended);
    let conn = bench.establish();
    bench.session.attach(old, [feed(V4, &messages(3))]);
    assert_eq!(bench.sent(conn), []);
}

#[test]
fn another_group_goes_on_after_its_prelude_without_another_end_of_rib() {
    let (mut bench, conn) = told(&their_open(), 2);
    let epoch = bench.session.epoch;
    let withdrawal = Bytes::from(update(&[24, 10, 0, 9], &[], &[]));
    bench.session.attach(epoch, [Feed { prelude: vec![withdrawal], ..feed(V4, &messages(1)) }]);
    assert_eq!(bench.sent(conn), [Sent::Update, Sent::Update]);
}

#[test]
fn control_messages_go_before_routes() {
    let (mut bench, conn) = told(&their_open(), 1);
    let epoch = bench.session.epoch;
    bench.session.attach(epoch, [feed(V6, &messages(9))]);
    bench.session.request_refresh(V4);
    let sent = bench.sent(conn);
    assert_eq!(sent[0], Sent::Refresh(V4, RefreshKind::Request));
    assert_eq!(sent.len(), 11);
}
