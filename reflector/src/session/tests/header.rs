//! Headers and framing: RFC 4271 sections 4.1 and 6.1, RFC 8654.

use super::*;

fn established_and(octets: &[u8]) -> (Bench, ConnId) {
    let mut bench = Bench::passive();
    let conn = bench.establish();
    bench.give(conn, octets);
    (bench, conn)
}

#[test]
fn a_marker_with_one_bit_clear_is_not_synchronized() {
    let mut bench = Bench::passive();
    let conn = bench.accept();
    let mut open = encoded(&their_open());
    open[7] = 0xFE;
    bench.give(conn, &open);
    bench.assert_reset(conn, 1, 1, &[]);
}

#[test]
fn a_length_below_the_header_is_answered_with_the_length() {
    for len in [0u16, 18] {
        let mut octets = vec![0xFF; 16];
        octets.extend_from_slice(&len.to_be_bytes());
        octets.push(4);
        let (mut bench, conn) = established_and(&octets);
        bench.assert_reset(conn, 1, 2, &len.to_be_bytes());
    }
}

#[test]
fn a_length_above_the_limit_is_refused_at_the_header() {
    for kind in [1, 4] {
        let mut octets = vec![0xFF; 16];
        octets.extend_from_slice(&[0x10, 0x01, kind]);
        let mut bench = Bench::passive();
        let conn = bench.accept();
        bench.give(conn, &octets);
        bench.assert_reset(conn, 1, 2, &[0x10, 0x01]);
    }
}

#[test]
fn lengths_that_a_type_does_not_allow_are_refused() {
    for (kind, body) in [(4, 1), (2, 3), (1, 9)] {
        let octets = raw(kind, &vec![0; body]);
        let (mut bench, conn) = established_and(&octets);
        bench.assert_reset(conn, 1, 2, &(19 + body as u16).to_be_bytes());
    }
}

#[test]
fn a_bad_notification_gets_none_in_return() {
    let (mut bench, conn) = established_and(&raw(3, &[6]));
    assert_eq!(bench.sent(conn), []);
    assert_eq!(bench.closed(conn), Some(Manner::Orderly));
    assert_eq!(bench.down().map(|(reason, _)| reason), Some(Reason::Unreadable));
}

#[test]
fn an_unknown_type_is_refused_with_the_type_in_every_state() {
    for kind in [0, 6, 255] {
        let mut bench = Bench::passive();
        let conn = bench.accept();
        bench.give(conn, &raw(kind, &[]));
        bench.assert_reset(conn, 1, 3, &[kind]);
        let (mut bench, conn) = established_and(&raw(kind, &[]));
        bench.assert_reset(conn, 1, 3, &[kind]);
    }
}

#[test]
fn one_octet_at_a_time_is_as_good_as_all_at_once() {
    let stream = [encoded(&their_open()), keepalive(), announce(&[1, 2]), announce(&[3])].concat();
    let mut bench = Bench::passive();
    let conn = bench.accept();
    for octet in &stream {
        bench.give(conn, &[*octet]);
    }
    assert_eq!(bench.state(), State::Established);
    let changes = bench.take_events().into_iter().filter_map(|event| match event {
        Event::Routes(routes) => Some(routes.changes.len()),
        _ => None,
    });
    assert_eq!(changes.collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn every_cut_of_a_stream_is_as_good_as_all_at_once_and_ends_cleanly() {
    let stream = [encoded(&their_open()), keepalive(), announce(&[1, 2])].concat();
    for cut in 0..stream.len() {
        let mut bench = Bench::passive();
        let conn = bench.accept();
        bench.give(conn, &stream[..cut]);
        bench.give(conn, &stream[cut..]);
        assert_eq!(bench.state(), State::Established, "cut at {cut}");
        let mut bench = Bench::passive();
        let conn = bench.accept();
        bench.give(conn, &stream[..cut]);
        bench.lose(conn, Failure::Ended);
        assert_eq!(bench.state(), State::Active, "cut at {cut}");
        assert_eq!(bench.closed(conn), None);
    }
}

#[test]
fn many_messages_in_one_write_keep_their_order_and_share_batches() {
    let stream: Vec<u8> = (0..500).flat_map(|i| announce(&[(i % 250) as u8])).collect();
    let (mut bench, _) = established_and(&stream);
    let batches: Vec<_> = bench
        .take_events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Routes(routes) => Some(routes),
            _ => None,
        })
        .collect();
    let [routes] = &batches[..] else { panic!("{} batches", batches.len()) };
    assert_eq!(routes.changes.len(), 500);
    assert_eq!(routes.attrs.len(), 1);
    let third = routes.changes.iter().map(|change| change.nlri.to_string()).collect::<Vec<_>>();
    assert_eq!(third[..3], ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"]);
}

fn extended() -> Open {
    let mut open = their_open();
    open.capabilities.push(Capability::ExtendedMessage);
    open
}

/// An UPDATE padded by an unknown optional attribute to `len` octets.
fn padded(len: usize) -> Vec<u8> {
    let plain = announce(&[1]);
    let pad = len - plain.len() - 4;
    let mut attrs = vec![0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xFD, 0xEA, 0x40, 3, 4, 192, 0, 2, 1];
    attrs.extend_from_slice(&[0x90, 200]);
    attrs.extend_from_slice(&(pad as u16).to_be_bytes());
    attrs.resize(attrs.len() + pad, 0);
    let octets = update(&[], &attrs, &nlri(&[1]));
    assert_eq!(octets.len(), len);
    octets
}

#[test]
fn extended_messages_are_taken_if_both_sides_said_so() {
    let mut bench = Bench::passive();
    let conn = bench.establish_with(&extended());
    bench.take_events();
    for chunk in padded(65_535).chunks(4000) {
        bench.give(conn, chunk);
    }
    assert!(matches!(bench.take_events()[..], [Event::Routes(_)]));
    let long_keepalive = raw(4, &[0; 4090]);
    bench.give(conn, &long_keepalive);
    bench.assert_reset(conn, 1, 2, &(long_keepalive.len() as u16).to_be_bytes());
}

#[test]
fn extended_messages_are_refused_if_only_one_side_said_so() {
    let mut bench = Bench::with(|config| {
        config.connect = Connect::Passive;
        config.message_max = MessageMax::Standard;
    });
    let conn = bench.establish_with(&extended());
    bench.give(conn, &padded(4097));
    bench.assert_reset(conn, 1, 2, &[0x10, 0x01]);
    let mut bench = Bench::passive();
    let conn = bench.establish();
    bench.give(conn, &padded(4097));
    bench.assert_reset(conn, 1, 2, &[0x10, 0x01]);
}

#[test]
fn a_session_with_nobody_there_is_small() {
    let mut bench = Bench::passive();
    bench.establish();
    let fixed = size_of::<Session>() + size_of::<Conn>() + size_of::<Up>() + size_of::<Negotiated>() * 2;
    assert!(fixed + size_of::<Counters>() < 4096, "{fixed}");
}
