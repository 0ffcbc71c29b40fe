//! What UPDATE messages become: RFC 4271 section 6.3, RFC 7606. The codec's own tests have the details.

use super::*;
use crate::events::Routes;

fn routes(change: impl FnOnce(&mut Config), octets: &[u8]) -> (Bench, Vec<Routes>) {
    let mut bench = Bench::with(|config| {
        config.connect = Connect::Passive;
        change(config);
    });
    let conn = bench.establish();
    bench.take_events();
    bench.give(conn, octets);
    let routes = bench
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Routes(routes) => Some(routes.clone()),
            _ => None,
        })
        .collect();
    (bench, routes)
}

/// The prefixes of a batch, with whether they are announced.
fn flat(batches: &[Routes]) -> Vec<(String, bool)> {
    let changes = batches.iter().flat_map(|batch| &batch.changes);
    changes.map(|change| (change.nlri.to_string(), change.attrs.is_some())).collect()
}

#[test]
fn a_fault_withdraws_exactly_the_prefixes_announced_and_keeps_the_session() {
    // ORIGIN 3.
    let attrs = [0x40, 1, 1, 3, 0x40, 2, 6, 2, 1, 0, 0, 0xFD, 0xEA, 0x40, 3, 4, 192, 0, 2, 1];
    let (bench, batches) = routes(|_| {}, &update(&nlri(&[9]), &attrs, &nlri(&[1, 2])));
    let expected = [("10.0.9.0/24", false), ("10.0.1.0/24", false), ("10.0.2.0/24", false)];
    assert_eq!(flat(&batches), expected.map(|(prefix, announced)| (prefix.to_owned(), announced)));
    assert_eq!(bench.state(), State::Established);
    assert_eq!(bench.session.counters().treated_as_withdrawn, 1);
    assert!(bench.events.iter().any(|event| matches!(event, Event::Faulted(_))));
}

#[test]
fn a_path_that_does_not_begin_with_the_peer_is_withdrawn_unless_anything_goes() {
    let attrs = [0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xFD, 0xEB, 0x40, 3, 4, 192, 0, 2, 1];
    let message = update(&[], &attrs, &nlri(&[1]));
    let (bench, batches) = routes(|_| {}, &message);
    assert_eq!(flat(&batches), [("10.0.1.0/24".to_owned(), false)]);
    assert_eq!(bench.session.counters().treated_as_withdrawn, 1);
    let (bench, batches) = routes(|config| config.first_as = FirstAs::Any, &message);
    assert_eq!(flat(&batches), [("10.0.1.0/24".to_owned(), true)]);
    assert_eq!(bench.session.counters().treated_as_withdrawn, 0);
}

#[test]
fn a_fault_that_cannot_be_contained_resets_with_the_codecs_answer() {
    let (mut bench, _) = routes(|_| {}, &raw(2, &[0, 9, 0, 0]));
    let conn = ConnId(0);
    bench.assert_reset(conn, 3, 1, &[]);
    assert!(bench.down().is_some());
}

#[test]
fn withdrawn_and_announced_in_one_message_is_announced() {
    let mut message = announce(&[1]);
    message.splice(19..21, [0, 4, 24, 10, 0, 1]);
    let len = message.len() as u16;
    message[16..18].copy_from_slice(&len.to_be_bytes());
    let (_, batches) = routes(|_| {}, &message);
    let last = flat(&batches).pop();
    assert_eq!(last, Some(("10.0.1.0/24".to_owned(), true)));
}

#[test]
fn end_of_rib_comes_after_the_routes_before_it() {
    let stream = [announce(&[1]), update(&[], &[], &[])].concat();
    let (bench, _) = routes(|_| {}, &stream);
    let events: Vec<&Event> = bench.events.iter().collect();
    assert!(matches!(events[..], [Event::Routes(_), Event::EndOfRib(Family::IPV4_UNICAST)]), "{events:?}");
}

#[test]
fn batches_are_bounded() {
    let prefixes: Vec<u8> = (0..=255).collect();
    let stream: Vec<u8> = (0..40).flat_map(|_| announce(&prefixes)).collect();
    let (_, batches) = routes(|_| {}, &stream);
    assert_eq!(flat(&batches).len(), 40 * 256);
    assert!(batches.iter().all(|batch| batch.changes.len() <= crate::limits::BATCH_CHANGES_MAX));
    for batch in &batches {
        assert!(batch.changes.iter().all(|c| c.attrs.is_some_and(|i| (i as usize) < batch.attrs.len())));
    }
}

#[test]
fn routes_before_the_end_of_a_session_come_before_it() {
    let (bench, _) = routes(|_| {}, &[announce(&[1]), notification(6, 2, &[])].concat());
    let routes = bench.events.iter().position(|event| matches!(event, Event::Routes(_)));
    let down = bench.events.iter().position(|event| matches!(event, Event::Down { .. }));
    assert!(routes.is_some() && routes < down);
}
