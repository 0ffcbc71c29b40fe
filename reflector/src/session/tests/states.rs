//! States and timers: RFC 4271 section 8, RFC 4486, 6608, 9003, 9687.

use super::*;

#[test]
fn a_peer_that_says_nothing_gets_our_open_and_four_minutes() {
    let mut bench = Bench::passive();
    let conn = bench.accept();
    assert_eq!(bench.sent(conn), [Sent::Open]);
    bench.pass(SEC * 239);
    assert_eq!(bench.state(), State::OpenSent);
    bench.pass(SEC * 2);
    bench.assert_reset(conn, 4, 0, &[]);
}

#[test]
fn messages_before_the_open_are_unexpected_in_open_sent() {
    for message in [keepalive(), announce(&[1]), raw(5, &[0, 1, 0, 1])] {
        let mut bench = Bench::passive();
        let conn = bench.accept();
        bench.give(conn, &message);
        bench.assert_reset(conn, 5, 1, &[]);
    }
}

#[test]
fn anything_but_a_keepalive_is_unexpected_in_open_confirm() {
    for message in [announce(&[1]), encoded(&their_open()), raw(5, &[0, 1, 0, 1])] {
        let mut bench = Bench::passive();
        let conn = bench.confirm_with(&their_open());
        bench.give(conn, &message);
        bench.assert_reset(conn, 5, 2, &[]);
    }
}

#[test]
fn a_second_open_is_unexpected_when_established() {
    let mut bench = Bench::passive();
    let conn = bench.establish();
    bench.give(conn, &encoded(&their_open()));
    bench.assert_reset(conn, 5, 3, &[]);
}

#[test]
fn a_notification_closes_without_an_answer_in_every_state() {
    let long = vec![0xAA; 2048];
    for (code, subcode, data) in [(6, 2, &[][..]), (99, 99, &[]), (99, 99, &long)] {
        for steps in 0..3 {
            let mut bench = Bench::passive();
            let conn = bench.accept();
            let before = [encoded(&their_open()), keepalive()];
            before.iter().take(steps).for_each(|message| bench.give(conn, message));
            bench.sent(conn);
            bench.give(conn, &notification(code, subcode, data));
            assert_eq!(bench.sent(conn), []);
            assert_eq!(bench.closed(conn), Some(Manner::Orderly));
            assert_eq!(bench.state(), State::Active);
        }
    }
}

#[test]
fn an_active_session_dials_again_after_a_notification() {
    let mut bench = Bench::with(|_| {});
    let conn = bench.dialed();
    bench.give(conn, &notification(6, 2, &[]));
    bench.actions.clear();
    assert_eq!(bench.state(), State::Idle);
    bench.pass(SEC * 2);
    assert_eq!(bench.actions, [Action::Dial]);
}

#[test]
fn an_unsupported_version_is_not_held_against_the_peer() {
    let mut bench = Bench::with(|_| {});
    for _ in 0..6 {
        let conn = bench.dialed();
        bench.give(conn, &notification(2, 1, &[0, 4]));
        assert_eq!(bench.state(), State::Idle);
        bench.pass(SEC * 5 / 4);
        assert_eq!(bench.state(), State::Connect);
    }
}

#[test]
fn silence_for_the_hold_time_ends_the_session() {
    let mut bench = Bench::with(|config| {
        config.connect = Connect::Passive;
        config.timing.hold_secs = 9;
    });
    let conn = bench.establish();
    bench.pass(SEC * 8);
    bench.give(conn, &keepalive());
    bench.pass(SEC * 8);
    bench.give(conn, &announce(&[1]));
    bench.pass(SEC * 8);
    // Half a message is not a message.
    bench.give(conn, &keepalive()[..10]);
    assert_eq!(bench.state(), State::Established);
    bench.pass(SEC);
    bench.assert_reset(conn, 4, 0, &[]);
}

#[test]
fn octets_that_wait_to_be_read_put_the_hold_timer_off() {
    let mut bench = Bench::passive();
    let conn = bench.establish();
    bench.kernel.unread = true;
    bench.pass(SEC * 900);
    assert_eq!(bench.state(), State::Established);
    bench.kernel.unread = false;
    bench.pass(SEC * 2);
    bench.assert_reset(conn, 4, 0, &[]);
}

#[test]
fn hold_time_zero_sends_one_keepalive_and_never_expires() {
    let mut bench = Bench::passive();
    let conn = bench.accept();
    bench.give(conn, &encoded(&Open { hold_secs: 0, ..their_open() }));
    bench.give(conn, &keepalive());
    assert_eq!(bench.sent(conn), [Sent::Open, Sent::Keepalive]);
    bench.pass(SEC * 10_000);
    assert_eq!(bench.sent(conn), []);
    assert_eq!(bench.state(), State::Established);
}

/// Feeds the session a KEEPALIVE a second for `secs` and returns the gaps between its own.
fn keepalive_gaps(hold_secs: u16, secs: u32) -> Vec<Duration> {
    let mut bench = Bench::passive();
    let conn = bench.establish_with(&Open { hold_secs, ..their_open() });
    let (mut last, mut gaps) = (bench.now, Vec::new());
    for tick in 1..secs * 20 {
        bench.pass(50 * MS);
        if tick % 20 == 0 {
            bench.give(conn, &keepalive());
        }
        for sent in bench.sent(conn) {
            assert_eq!(sent, Sent::Keepalive);
            gaps.push(bench.now - last);
            last = bench.now;
        }
    }
    gaps
}

#[test]
fn keepalives_are_a_jittered_third_of_the_hold_time_apart() {
    let gaps = keepalive_gaps(90, 1000);
    assert!(gaps.iter().all(|gap| *gap <= SEC * 30 + 50 * MS && *gap >= SEC * 22), "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap < SEC * 28));
    let gaps = keepalive_gaps(3, 30);
    assert!(gaps.iter().all(|gap| *gap >= SEC && *gap <= SEC + 50 * MS), "{gaps:?}");
}

#[test]
fn updates_sent_do_for_keepalives() {
    let mut bench = Bench::passive();
    let conn = bench.establish();
    let epoch = bench.epoch();
    let messages: Vec<Bytes> = (1..200).map(|x| announce(&[x]).into()).collect();
    bench.session.attach(epoch, [feed(Family::IPV4_UNICAST, &messages[..1])]);
    for end in 1..100 {
        bench.session.publish(GroupId(1), &view(&messages[..end]));
        bench.pass(SEC * 10);
        let sent = bench.sent(conn);
        assert!(!sent.contains(&Sent::Keepalive) && sent.contains(&Sent::Update), "{sent:?}");
        bench.give(conn, &keepalive());
    }
}

#[test]
fn a_peer_that_takes_nothing_is_dropped_by_a_reset() {
    let mut bench = Bench::passive();
    let conn = bench.establish();
    bench.kernel.unsent = 19;
    for second in 0..600u32 {
        bench.pass(SEC);
        bench.give(conn, &keepalive());
        let octets = bench.session.poll_transmit(conn, usize::MAX, bench.now, |_| {});
        bench.session.wrote(conn, octets);
        // What is written piles up in the kernel.
        bench.kernel.unsent += octets;
        if bench.closed(conn).is_some() {
            assert!((480..=600).contains(&second), "{second}");
            break;
        }
    }
    assert_eq!(bench.closed(conn), Some(Manner::Abort));
    let reason = bench.down().unwrap().0;
    assert_eq!(reason, Reason::Sent(Notification::new(ErrorCode::SEND_HOLD_TIMER_EXPIRED)));
}

#[test]
fn a_reset_connection_ends_in_a_retry_from_every_state() {
    for steps in 0..3 {
        let mut bench = Bench::with(|_| {});
        let conn = bench.dialed();
        let before = [encoded(&their_open()), keepalive()];
        before.iter().take(steps).for_each(|message| bench.give(conn, message));
        bench.actions.clear();
        bench.lose(conn, Failure::Reset);
        assert_eq!(bench.down().is_some(), steps == 2);
        assert_eq!(bench.session.ended().unwrap().reason.to_string(), "Socket: Connection reset by peer");
        bench.pass(SEC * 2);
        assert_eq!(bench.actions, [Action::Dial]);
    }
}

#[test]
fn a_stable_session_starts_the_waits_over() {
    let mut bench = Bench::with(|_| {});
    for round in 0..10 {
        let conn = bench.dialed();
        bench.give(conn, &encoded(&their_open()));
        bench.give(conn, &keepalive());
        bench.pass(SEC * 61);
        assert_eq!(bench.state(), State::Established);
        bench.lose(conn, Failure::Ended);
        bench.pass(SEC * 5 / 4);
        assert_eq!(bench.state(), State::Connect, "round {round}");
    }
}

#[test]
fn a_passive_session_never_dials() {
    let mut bench = Bench::passive();
    let conn = bench.accept();
    bench.lose(conn, Failure::Reset);
    bench.pass(SEC * 1000);
    assert_eq!(bench.actions, []);
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn an_active_session_dials_every_connect_retry() {
    let mut bench = Bench::with(|_| {});
    assert_eq!(bench.state(), State::Connect);
    for _ in 0..50 {
        assert_eq!(bench.actions, [Action::Dial]);
        bench.actions.clear();
        let dialed = bench.now;
        bench.session.dial_failed(Failure::Refused, bench.now);
        bench.drain();
        assert_eq!(bench.state(), State::Active);
        while bench.actions.is_empty() {
            bench.pass(10 * MS);
        }
        let gap = bench.now - dialed;
        assert!(gap >= 3750 * MS && gap <= 5010 * MS, "{gap:?}");
    }
    assert_eq!(bench.session.ended().unwrap().reason.to_string(), "Socket: Connection refused");
}

#[test]
fn an_attempt_without_an_answer_is_given_up_and_counted() {
    let mut bench = Bench::with(|_| {});
    bench.actions.clear();
    bench.pass(SEC * 5);
    assert_eq!(bench.actions, [Action::CancelDial, Action::Dial]);
    bench.pass(SEC * 5);
    assert_eq!(bench.session.counters().dials_unanswered, 2);
    bench.dialed();
    assert_eq!(bench.session.counters().dials_unanswered, 0);
}

#[test]
fn a_delayed_open_waits_for_the_peers() {
    let delayed = || {
        Bench::with(|config| {
            config.connect = Connect::Passive;
            config.timing.delay_open = Some(SEC * 10);
        })
    };
    let mut bench = delayed();
    let conn = bench.accept();
    bench.pass(SEC * 9);
    assert_eq!(bench.sent(conn), []);
    bench.pass(SEC);
    assert_eq!(bench.sent(conn), [Sent::Open]);
    let mut bench = delayed();
    let conn = bench.accept();
    bench.give(conn, &encoded(&their_open()));
    assert_eq!(bench.sent(conn), [Sent::Open, Sent::Keepalive]);
    let mut bench = delayed();
    let conn = bench.accept();
    bench.give(conn, &keepalive());
    bench.assert_reset(conn, 5, 0, &[]);
}

fn stopped(stop: Stop) -> (Bench, ConnId) {
    let mut bench = Bench::with(|_| {});
    let conn = bench.establish();
    bench.session.stop(&stop, bench.now);
    bench.drain();
    (bench, conn)
}

#[test]
fn each_stop_says_why() {
    let limit = Stop::PrefixLimit { family: Family::IPV6_UNICAST, limit: 7, restart: None };
    let text = "x".repeat(400);
    let cut: Vec<u8> = [255].into_iter().chain([b'x'; 255]).collect();
    for (stop, subcode, data) in [
        (Stop::Shutdown(String::new()), 2, &[][..]),
        (Stop::Shutdown("maintenance".to_owned()), 2, b"\x0bmaintenance"),
        (Stop::Shutdown(text), 2, &cut),
        (Stop::Reset("again".to_owned()), 4, b"\x05again"),
        (Stop::Deconfigured, 3, &[]),
        (Stop::ConfigChanged, 6, &[]),
        (limit, 1, &[0, 2, 1, 0, 0, 0, 7]),
        (Stop::OutOfResources, 8, &[]),
        (Stop::BfdDown, 10, &[]),
        (Stop::Exit, 2, &[]),
    ] {
        let (mut bench, conn) = stopped(stop);
        bench.assert_reset(conn, 6, subcode, data);
    }
}

#[test]
fn a_session_that_is_shut_down_refuses_connections_until_it_is_started() {
    let (mut bench, _) = stopped(Stop::Shutdown(String::new()));
    bench.actions.clear();
    bench.pass(SEC * 1000);
    assert_eq!((bench.state(), bench.actions.len()), (State::Idle, 0));
    let Verdict::Refused(farewell) = bench.try_accept() else { panic!("accepted") };
    assert_eq!(bench.read(&farewell), [Sent::Notification(ErrorCode::CEASE_REJECTED, Bytes::new())]);
    bench.session.start(bench.now);
    bench.drain();
    assert_eq!(bench.actions, [Action::Dial]);
}

#[test]
fn a_session_that_is_reset_starts_again() {
    let (mut bench, _) = stopped(Stop::Reset(String::new()));
    bench.actions.clear();
    bench.pass(SEC * 2);
    assert_eq!(bench.actions, [Action::Dial]);
}

#[test]
fn too_many_prefixes_wait_for_the_restart_time() {
    let restart = Some(SEC * 60);
    let (mut bench, _) = stopped(Stop::PrefixLimit { family: Family::IPV4_UNICAST, limit: 1, restart });
    bench.actions.clear();
    bench.pass(SEC * 59);
    assert_eq!(bench.actions, []);
    assert!(matches!(bench.try_accept(), Verdict::Refused(_)));
    bench.pass(SEC);
    assert_eq!(bench.actions, [Action::Dial]);
}

#[test]
fn a_changed_configuration_resets_only_if_the_open_changes() {
    let mut bench = Bench::passive();
    let conn = bench.establish();
    let mut config = bench.session.config().clone();
    config.timing.connect_retry = SEC;
    assert_eq!(bench.session.configure(config.clone(), bench.now), Reconfigured::Kept);
    config.peer_asn = Asn(65003);
    assert_eq!(bench.session.configure(config, bench.now), Reconfigured::Reset);
    bench.drain();
    bench.assert_reset(conn, 6, 6, &[]);
}

#[test]
fn shutdown_communications_are_taken_whatever_they_hold() {
    let mut long = vec![255];
    long.resize(256, b'x');
    for data in [&long[..], &[200, b'a'], &[3, 0xFF, b'\n', b'"']] {
        let mut bench = Bench::passive();
        let conn = bench.establish();
        bench.give(conn, &notification(6, 2, data));
        let text = bench.session.ended().unwrap().reason.to_string();
        assert!(text.starts_with("Received: Cease/Administrative Shutdown"));
        assert!(!text.contains('\n'), "{text}");
    }
}

#[test]
fn the_state_is_reported_step_by_step() {
    let mut bench = Bench::with(|_| {});
    let conn = bench.dialed();
    bench.give(conn, &encoded(&their_open()));
    bench.give(conn, &keepalive());
    bench.lose(conn, Failure::Ended);
    let states = bench.take_events().into_iter().filter_map(|event| match event {
        Event::StateChanged { to, .. } => Some(to),
        _ => None,
    });
    use State::*;
    assert_eq!(states.collect::<Vec<_>>(), [Connect, OpenSent, OpenConfirm, Established, Idle]);
}
