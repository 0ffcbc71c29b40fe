//! Graceful restart as the session sees it: RFC 4724 sections 3 to 5, RFC 8538.

use super::*;
use crate::events::{LongLived, LongLivedPeer, Retention};
use bgp_proto::FamilySet;
use bgp_proto::capability::{self, Forwarding, GracefulRestart};

/// Our capability, with the N bit.
pub(super) fn local() -> Restart {
    Restart {
        long_lived: None,
        restart_time: SEC * 120,
        families: FamilySet::UNICAST,
        forwarding: FamilySet::UNICAST,
        phase: RestartPhase::Normal,
        notification: NotificationRestart::On,
    }
}

/// A passive session with graceful restart.
pub(super) fn bench() -> Bench {
    Bench::with(|config| {
        config.connect = Connect::Passive;
        config.restart = Some(local());
    })
}

/// The tester's OPEN with a capability for IPv4.
pub(super) fn open(notification: bool) -> Open {
    let mut open = their_open();
    open.capabilities.push(Capability::GracefulRestart(GracefulRestart {
        restarting: false,
        notification,
        time_secs: 30,
        families: vec![(Family::IPV4_UNICAST, Forwarding::Kept)],
    }));
    open
}

const STALE: Retention =
    Retention::Stale { restart_time: Duration::from_secs(30), families: FamilySet::IPV4 };

fn retention_after(notification: bool, end: impl FnOnce(&mut Bench, ConnId)) -> Retention {
    let mut bench = bench();
    let conn = bench.establish_with(&open(notification));
    end(&mut bench, conn);
    bench.down().unwrap().1
}

#[test]
fn a_lost_connection_keeps_the_families_that_the_peer_listed() {
    for failure in [Failure::Ended, Failure::Reset, Failure::TimedOut] {
        assert_eq!(retention_after(false, |bench, conn| bench.lose(conn, failure)), STALE);
    }
}

#[test]
fn a_peer_that_restarts_again_and_again_is_dialed_at_once() {
    for (offered, is_late) in [(open(false), false), (their_open(), true)] {
        let mut bench = Bench::with(|config| config.restart = Some(local()));
        for _ in 0..5 {
            let conn = bench.dialed();
            bench.give(conn, &encoded(&offered));
            bench.give(conn, &keepalive());
            assert_eq!(bench.state(), State::Established);
            bench.actions.clear();
            bench.lose(conn, Failure::Reset);
            bench.pass(SEC * 5 / 4);
            if bench.actions != [Action::Dial] {
                break;
            }
        }
        assert_eq!(bench.actions != [Action::Dial], is_late, "{:?}", bench.actions);
    }
}

#[test]
fn without_the_capability_nothing_is_kept() {
    let mut bench = bench();
    let conn = bench.establish();
    bench.lose(conn, Failure::Ended);
    assert_eq!(bench.down().unwrap().1, Retention::Drop);
}

#[test]
fn an_empty_list_of_families_keeps_nothing() {
    let mut bench = bench();
    let mut open = their_open();
    open.capabilities.push(Capability::GracefulRestart(GracefulRestart::default()));
    let conn = bench.establish_with(&open);
    bench.lose(conn, Failure::Ended);
    assert_eq!(bench.down().unwrap().1, Retention::Drop);
}

#[test]
fn a_notification_removes_routes_without_the_n_bit_and_keeps_them_with_it() {
    for (n_bit, kept) in [(false, Retention::Drop), (true, STALE)] {
        let received = |bench: &mut Bench, conn| bench.give(conn, &notification(6, 4, &[]));
        assert_eq!(retention_after(n_bit, received), kept);
        let sent = |bench: &mut Bench, conn| bench.give(conn, &update(&[33, 1, 2, 3, 4, 5], &[], &[]));
        assert_eq!(retention_after(n_bit, sent), kept);
        let silent = |bench: &mut Bench, _| bench.pass(SEC * 91);
        assert_eq!(retention_after(n_bit, silent), kept);
    }
}

#[test]
fn a_hard_reset_removes_routes() {
    let received = |bench: &mut Bench, conn| bench.give(conn, &notification(6, 9, &[6, 2]));
    assert_eq!(retention_after(true, received), Retention::Drop);
}

#[test]
fn what_is_shut_down_for_good_is_a_hard_reset_around_the_reason() {
    let mut bench = bench();
    let conn = bench.establish_with(&open(true));
    bench.session.stop(&Stop::Shutdown("bye".to_owned()), bench.now);
    bench.drain();
    assert_eq!(bench.notified(conn), Some((6, 9, Bytes::from_static(b"\x06\x02\x03bye"))));
    assert_eq!(bench.down().unwrap().1, Retention::Drop);
}

#[test]
fn an_administrative_reset_is_none() {
    let mut bench = bench();
    let conn = bench.establish_with(&open(true));
    bench.session.stop(&Stop::Reset(String::new()), bench.now);
    bench.drain();
    assert_eq!(bench.notified(conn), Some((6, 4, Bytes::new())));
    assert_eq!(bench.down().unwrap().1, STALE);
}

#[test]
fn leaving_sends_nothing_so_that_helpers_keep_our_routes() {
    let mut bench = bench();
    let conn = bench.establish_with(&open(true));
    bench.session.stop(&Stop::Leave, bench.now);
    bench.drain();
    assert_eq!(bench.sent(conn), []);
    assert_eq!(bench.closed(conn), Some(Manner::Orderly));
    assert_eq!(bench.state(), State::Idle);
}

#[test]
fn our_open_tells_the_truth_about_our_restart() {
    let mut config = Config::new(OURS.0, OURS.1, THEIRS.0);
    let restarting = Restart { phase: RestartPhase::Restarting, forwarding: FamilySet::IPV4, ..local() };
    config.restart = Some(restarting);
    let offer = negotiate::offer(&config);
    let told = offer.graceful_restart().unwrap();
    assert!(told.restarting && told.notification);
    assert_eq!(told.time_secs, 120);
    let flags = [(Family::IPV4_UNICAST, Forwarding::Kept), (Family::IPV6_UNICAST, Forwarding::Lost)];
    assert_eq!(told.families, flags);
}

#[test]
fn the_end_of_our_restart_needs_no_new_session() {
    let mut bench = bench();
    bench.establish_with(&open(true));
    let mut config = bench.session.config().clone();
    config.restart = Some(Restart { phase: RestartPhase::Restarting, ..local() });
    assert_eq!(bench.session.configure(config, bench.now), Reconfigured::Kept);
    assert_eq!(bench.state(), State::Established);
}

/// The tester's OPEN, long-lived in IPv4 for this long; IPv6 it says nothing of.
fn long_lived_open(time_secs: u32) -> Open {
    let mut open = open(false);
    let forwarding = Forwarding::Kept;
    let family = Family::IPV4_UNICAST;
    let tuple = capability::LongLived { family, forwarding, time_secs };
    open.capabilities.push(Capability::LongLivedRestart(vec![tuple]));
    open
}

fn long_lived(ours: Option<Duration>, open: &Open) -> LongLived {
    let mut bench = Bench::with(|config| {
        config.connect = Connect::Passive;
        config.restart = Some(Restart { long_lived: ours, ..local() });
    });
    let conn = bench.accept();
    bench.give(conn, &encoded(open));
    bench.give(conn, &keepalive());
    bench.session.negotiated().expect("a session").long_lived.clone()
}

#[test]
fn long_lived_times_are_the_lesser_of_both_and_by_family() {
    let v4 = |time| vec![(Family::IPV4_UNICAST, time)];
    assert_eq!(long_lived(Some(SEC * 3600), &long_lived_open(60)).times, v4(SEC * 60));
    assert_eq!(long_lived(Some(SEC * 30), &long_lived_open(60)).times, v4(SEC * 30));
    let longest = (1 << 24) - 1;
    assert_eq!(long_lived(Some(SEC * longest), &long_lived_open(longest)).times, v4(SEC * longest));
    assert_eq!(long_lived(Some(SEC), &long_lived_open(0)).times, []);
}

#[test]
fn a_peer_may_know_long_lived_routes_that_we_do_not_keep() {
    let answer = long_lived(None, &long_lived_open(60));
    assert_eq!((answer.peer, answer.times), (LongLivedPeer::Aware, vec![]));
}

#[test]
fn the_long_lived_capability_alone_is_ignored() {
    let mut open = long_lived_open(60);
    open.capabilities.retain(|capability| !matches!(capability, Capability::GracefulRestart(_)));
    assert_eq!(long_lived(Some(SEC * 3600), &open), LongLived::default());
}

#[test]
fn our_open_says_how_long_others_may_keep_our_routes() {
    let mut config = Config::new(OURS.0, OURS.1, THEIRS.0);
    config.restart = Some(Restart { long_lived: Some(SEC * 3600), ..local() });
    let says = negotiate::offer(&config);
    let times: Vec<_> =
        says.long_lived_restart().iter().map(|tuple| (tuple.family, tuple.time_secs)).collect();
    assert_eq!(times, [(Family::IPV4_UNICAST, 3600), (Family::IPV6_UNICAST, 3600)]);
}
