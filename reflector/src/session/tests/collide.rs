//! Collisions: RFC 4271 section 6.8, RFC 6286 section 2.3, RFC 4724 section 5.

use super::*;

/// An active session with a connection that it dialed and one that it accepted.
fn both(router_id: RouterId) -> (Bench, ConnId, ConnId) {
    let mut bench = Bench::with(|config| config.router_id = router_id);
    let dialed = bench.dialed();
    let accepted = bench.accept();
    (bench, dialed, accepted)
}

const LOWER: RouterId = RouterId(THEIRS.1.0 - 1);
const HIGHER: RouterId = RouterId(THEIRS.1.0 + 1);

fn assert_kept(bench: &mut Bench, kept: ConnId, closed: ConnId) {
    bench.assert_reset(closed, 6, 7, &[]);
    bench.give(kept, &keepalive());
    assert_eq!(bench.state(), State::Established);
    assert_eq!(bench.session.connections().map(|(conn, _)| conn).collect::<Vec<_>>(), [kept]);
}

#[test]
fn the_lower_identifier_keeps_what_it_accepted() {
    for reversed in [false, true] {
        let (mut bench, dialed, accepted) = both(LOWER);
        let order = if reversed { [accepted, dialed] } else { [dialed, accepted] };
        order.iter().for_each(|conn| bench.give(*conn, &encoded(&their_open())));
        assert_kept(&mut bench, accepted, dialed);
    }
}

#[test]
fn the_higher_identifier_keeps_what_it_dialed() {
    for reversed in [false, true] {
        let (mut bench, dialed, accepted) = both(HIGHER);
        let order = if reversed { [accepted, dialed] } else { [dialed, accepted] };
        order.iter().for_each(|conn| bench.give(*conn, &encoded(&their_open())));
        assert_kept(&mut bench, dialed, accepted);
    }
}

#[test]
fn between_equal_identifiers_the_larger_as_keeps_what_it_dialed() {
    let (mut bench, dialed, accepted) = both(THEIRS.1);
    bench.give(dialed, &encoded(&their_open()));
    bench.give(accepted, &encoded(&their_open()));
    assert_kept(&mut bench, accepted, dialed);
}

#[test]
fn a_second_connection_to_an_established_session_is_refused() {
    let mut bench = Bench::passive();
    let conn = bench.establish();
    let Verdict::Refused(farewell) = bench.try_accept() else { panic!("accepted") };
    assert_eq!(bench.read(&farewell), [Sent::Notification(ErrorCode::CEASE_COLLISION, Bytes::new())]);
    assert_eq!(bench.state(), State::Established);
    // The old connection is probed, once a second at most.
    assert_eq!(bench.sent(conn), [Sent::Keepalive]);
    bench.try_accept();
    assert_eq!(bench.sent(conn), []);
}

#[test]
fn with_graceful_restart_a_new_connection_replaces_the_session() {
    let mut bench = restart::bench();
    let old = bench.establish_with(&restart::open(false));
    bench.give(old, &announce(&[1]));
    bench.sent(old);
    let new = bench.accept();
    assert_eq!(bench.sent(new), [Sent::Open]);
    bench.sent(old);
    bench.give(new, &encoded(&restart::open(false)));
    assert_eq!(bench.sent(old), []);
    assert_eq!(bench.closed(old), Some(Manner::Orderly));
    let (reason, retention) = bench.down().unwrap();
    assert_eq!(reason, Reason::Replaced);
    assert_ne!(retention, crate::events::Retention::Drop);
    bench.give(new, &keepalive());
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn a_silent_challenger_does_not_disturb_the_session() {
    let mut bench = restart::bench();
    let old = bench.establish_with(&restart::open(false));
    bench.give(old, &announce(&[1]));
    let new = bench.accept();
    let newer = bench.accept();
    assert_eq!(bench.closed(new), Some(Manner::Orderly));
    for _ in 0..250 {
        bench.pass(SEC);
        bench.give(old, &keepalive());
    }
    assert_eq!(bench.state(), State::Established);
    bench.assert_challenger_gone(newer);
}

impl Bench {
    fn assert_challenger_gone(&mut self, conn: ConnId) {
        assert_eq!(self.notified(conn), Some((4, 0, Bytes::new())));
    }
}

#[test]
fn what_a_collision_left_behind_does_not_replace_a_young_session() {
    let mut bench = restart::bench();
    let old = bench.establish_with(&restart::open(false));
    let Verdict::Refused(_) = bench.try_accept() else { panic!("accepted") };
    assert_eq!(bench.closed(old), None);
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn a_winner_that_is_dead_does_not_take_the_live_one_with_it() {
    let (mut bench, dialed, accepted) = both(HIGHER);
    bench.give(accepted, &encoded(&their_open()));
    bench.give(accepted, &keepalive());
    assert_eq!(bench.state(), State::OpenConfirm);
    bench.lose(dialed, Failure::Reset);
    assert_eq!(bench.state(), State::Established);
    // Its reset never comes.
    let (mut bench, dialed, accepted) = both(HIGHER);
    bench.give(accepted, &encoded(&their_open()));
    bench.give(accepted, &keepalive());
    bench.pass(SEC * 2);
    assert_eq!(bench.state(), State::Established);
    assert!(bench.closed(dialed).is_some() && bench.closed(accepted).is_none());
}

#[test]
fn an_update_over_a_held_connection_decides_for_it() {
    let (mut bench, dialed, accepted) = both(HIGHER);
    bench.give(accepted, &encoded(&their_open()));
    bench.give(accepted, &keepalive());
    bench.give(accepted, &announce(&[1]));
    assert_eq!(bench.state(), State::Established);
    bench.assert_closed_with_collision(dialed);
    assert!(bench.take_events().iter().any(|event| matches!(event, Event::Routes(_))));
}

impl Bench {
    fn assert_closed_with_collision(&mut self, conn: ConnId) {
        assert_eq!(self.notified(conn), Some((6, 7, Bytes::new())));
    }
}

#[test]
fn a_newer_accepted_connection_replaces_an_older_one_that_is_not_established() {
    let mut bench = Bench::passive();
    let old = bench.confirm_with(&their_open());
    let new = bench.accept();
    bench.assert_closed_with_collision(old);
    bench.give(new, &encoded(&their_open()));
    bench.give(new, &keepalive());
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn an_established_session_stops_dialing() {
    let mut bench = Bench::with(|_| {});
    bench.establish();
    assert!(bench.actions.contains(&Action::CancelDial));
    // The attempt had succeeded already.
    let Verdict::Refused(_) = bench.session.dialed(bench.now) else { panic!("accepted") };
    bench.actions.clear();
    bench.pass(SEC * 60);
    assert_eq!(bench.actions, []);
}

#[test]
fn a_session_with_ourselves_is_refused_and_backs_off() {
    let mut bench = Bench::with(|config| config.peer_asn = OURS.0);
    let mut dials = 0;
    for _ in 0..100 {
        if bench.actions.drain(..).any(|action| action == Action::Dial) {
            dials += 1;
            let dialed = bench.dialed();
            let accepted = bench.accept();
            let ours = encoded(&negotiate::offer(bench.session.config()));
            bench.give(dialed, &ours);
            bench.give(accepted, &ours);
            assert_eq!(bench.state(), State::Idle);
        }
        bench.pass(SEC);
    }
    assert!(dials < 10, "{dials}");
}
