//! Two sessions and the wires between them: they always come together, whatever the order of things.
//!
//! The world is a pair of active speakers that start within a millisecond, connections with random delays, octets cut at
//! random, a drop of connections now and then. It is done when both have one Established session over the same
//! connection. And one session alone, fed with anything in every state.

use super::*;
use proptest::prelude::*;

/// One direction of a connection: octets on their way, in order.
#[derive(Default)]
struct Wire {
    octets: VecDeque<u8>,
    fin: bool,
}

/// A connection, from the dialing end to the other.
struct Link {
    dialer: usize,
    /// The name that each end gave it, once it knows of it.
    ends: [Option<ConnId>; 2],
    /// Whether the end has closed it.
    shut: [bool; 2],
    /// What travels to each end.
    to: [Wire; 2],
    /// When the accepting end learns of it.
    arrives: Instant,
}

struct World {
    sessions: [Session; 2],
    up: [Option<usize>; 2],
    ups: [u32; 2],
    links: Vec<Link>,
    dialing: [Option<Instant>; 2],
    now: Instant,
    random: u64,
    /// NOTIFICATIONs received, and sent right after.
    answered: bool,
}

impl World {
    fn new(seed: u64, change: impl Fn(usize, &mut Config)) -> World {
        let ends = [OURS, THEIRS];
        let sessions = [0, 1].map(|end: usize| {
            let (local, remote) = (ends[end], ends[1 - end]);
            let mut config = Config::new(local.0, local.1, remote.0);
            change(end, &mut config);
            Session::new(PeerId(end as u32 + 1), config, seed ^ (end as u64 + 1) << 32)
        });
        World {
            sessions,
            up: [None; 2],
            ups: [0; 2],
            links: Vec::new(),
            dialing: [None; 2],
            now: Instant::EPOCH + SEC,
            random: seed,
            answered: false,
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below.max(1)
    }

    fn start(&mut self) {
        for end in 0..2 {
            self.sessions[end].start(self.now);
            self.drain(end);
            self.now = self.now + Duration::from_micros(self.draw(1000));
        }
    }

    fn drain(&mut self, end: usize) {
        while let Some(action) = self.sessions[end].poll_action() {
            match action {
                Action::Dial => self.dialing[end] = Some(self.now + Duration::from_micros(self.draw(20_000))),
                Action::CancelDial => self.dialing[end] = None,
                Action::Close { conn, farewell, .. } => self.shut(end, conn, farewell.as_deref()),
            }
        }
        let mut received = false;
        while let Some(event) = self.sessions[end].poll_event() {
            match event {
                Event::Up { .. } => {
                    self.ups[end] += 1;
                    let conn = self.sessions[end].connections().next().map(|(conn, _)| conn);
                    self.up[end] =
                        self.links.iter().position(|link| link.ends[end] == conn && !link.shut[end]);
                    assert!(self.up[end].is_some(), "established over no connection");
                }
                Event::Down { .. } => self.up[end] = None,
                Event::NotificationReceived(_) => received = true,
                Event::NotificationSent(n) => {
                    self.answered |= received && n.error != ErrorCode::CEASE_COLLISION;
                }
                _ => {}
            }
        }
    }

    fn shut(&mut self, end: usize, conn: ConnId, farewell: Option<&[u8]>) {
        let Some(link) = self.links.iter_mut().find(|link| link.ends[end] == Some(conn)) else { return };
        link.shut[end] = true;
        link.to[1 - end].octets.extend(farewell.unwrap_or(&[]));
        link.to[1 - end].fin = true;
    }

    /// Completes what was dialed, and shows it to the other end.
    fn connect(&mut self) {
        for end in 0..2 {
            if self.dialing[end].is_none_or(|at| at > self.now) {
                continue;
            }
            self.dialing[end] = None;
            let arrives = self.now + Duration::from_micros(self.draw(20_000));
            let verdict = self.sessions[end].dialed(self.now);
            let mut link =
                Link { dialer: end, ends: [None; 2], shut: [false; 2], to: Default::default(), arrives };
            match verdict {
                Verdict::Accepted(conn) => link.ends[end] = Some(conn),
                Verdict::Refused(farewell) => {
                    link.shut[end] = true;
                    link.to[1 - end].octets.extend(&farewell[..]);
                    link.to[1 - end].fin = true;
                }
            }
            self.links.push(link);
            self.drain(end);
        }
        for at in 0..self.links.len() {
            let link = &self.links[at];
            let end = 1 - link.dialer;
            if link.arrives > self.now || link.ends[end].is_some() || link.shut[end] {
                continue;
            }
            match self.sessions[end].accepted(self.now) {
                Verdict::Accepted(conn) => self.links[at].ends[end] = Some(conn),
                Verdict::Refused(farewell) => {
                    self.links[at].shut[end] = true;
                    self.links[at].to[1 - end].octets.extend(&farewell[..]);
                    self.links[at].to[1 - end].fin = true;
                }
            }
            self.drain(end);
        }
    }

    /// Moves some octets over each connection.
    fn carry(&mut self) {
        for at in 0..self.links.len() {
            for end in 0..2 {
                let Some(conn) = self.links[at].ends[end] else { continue };
                if self.links[at].shut[end] {
                    continue;
                }
                let (session, wire) = (&mut self.sessions[end], &mut self.links[at].to[1 - end]);
                let octets =
                    session.poll_transmit(conn, 4096, self.now, |slice| wire.octets.extend(&slice[..]));
                session.wrote(conn, octets);
                let some = self.draw(100) as usize;
                let wire = &mut self.links[at].to[end];
                let some = some.min(wire.octets.len());
                let octets: Vec<u8> = wire.octets.drain(..some).collect();
                let ended = wire.octets.is_empty() && wire.fin;
                if !octets.is_empty() {
                    self.sessions[end].received(conn, &octets, self.now);
                    self.drain(end);
                }
                if ended && !self.links[at].shut[end] {
                    self.links[at].shut[end] = true;
                    self.links[at].to[1 - end].fin = true;
                    self.sessions[end].closed(conn, Failure::Ended, self.now);
                    self.drain(end);
                }
            }
        }
    }

    /// Kills a connection: both ends learn of it.
    fn cut(&mut self, at: usize) {
        for end in 0..2 {
            if let Some(conn) = self.links[at].ends[end].filter(|_| !self.links[at].shut[end]) {
                self.sessions[end].closed(conn, Failure::Reset, self.now);
                self.links[at].shut[end] = true;
                self.drain(end);
            }
            self.links[at].shut[end] = true;
        }
    }

    fn step(&mut self) {
        self.now = self.now + Duration::from_micros(200 + self.draw(800));
        for end in 0..2 {
            if self.sessions[end].deadline().is_some_and(|(at, _)| at <= self.now) {
                self.sessions[end].timeout(self.now, &Held::default());
                self.drain(end);
            }
        }
        self.connect();
        self.carry();
    }

    fn together(&self) -> bool {
        let [Some(ours), Some(theirs)] = self.up else { return false };
        let live = self.links.iter().filter(|link| !link.shut[0] || !link.shut[1]).count();
        ours == theirs && live == 1
    }

    /// Steps until both are Established over one connection; panics after `limit`.
    fn settle(&mut self, limit: Duration) -> Duration {
        let start = self.now;
        while !self.together() {
            self.step();
            let states = [0, 1].map(|end: usize| self.sessions[end].state().0);
            assert!(self.now - start < limit, "not together after {limit:?}: {states:?}");
        }
        assert!(!self.answered, "a NOTIFICATION was answered by one");
        self.now - start
    }

    /// Steps for a while, in which nothing may change.
    fn hold(&mut self, span: Duration) {
        let end = self.now + span;
        let ups = self.ups;
        while self.now < end {
            self.step();
        }
        assert!(self.together() && self.ups == ups, "the session did not last");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn two_speakers_that_start_together_are_established_within_five_seconds(seed: u64, restart: bool) {
        let mut world = World::new(seed, |_, config| {
            config.restart = restart.then(restart::local);
        });
        world.start();
        world.settle(SEC * 5);
        prop_assert_eq!(world.ups, [1, 1], "the session flapped");
        world.hold(SEC);
    }

    #[test]
    fn speakers_come_together_again_after_connections_were_cut(seed: u64, cuts in 1usize..6) {
        let mut world = World::new(seed, |end, config| config.timing.hold_secs = [0, 90][end]);
        world.start();
        for _ in 0..cuts {
            for _ in 0..world.draw(200) {
                world.step();
            }
            if let Some(last) = world.links.len().checked_sub(1) {
                let at = world.draw(last as u64 + 1) as usize;
                world.cut(at);
            }
        }
        world.settle(SEC * 30);
        world.hold(SEC);
    }

    #[test]
    fn a_passive_and_an_active_speaker_come_together(seed: u64) {
        let mut world = World::new(seed, |end, config| {
            config.connect = [Connect::Passive, Connect::Active][end];
            config.timing.delay_open = (end == 0).then_some(SEC);
        });
        world.start();
        world.settle(SEC * 5);
    }

    #[test]
    fn any_octets_in_any_state_do_no_harm(
        steps in 0usize..4,
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20),
        valid_header: bool,
        kind in 0u8..7,
    ) {
        let mut bench = Bench::passive();
        let conn = bench.accept();
        let before = [encoded(&their_open()), keepalive(), announce(&[1])];
        before.iter().take(steps).for_each(|message| bench.give(conn, message));
        for chunk in &chunks {
            let message = if valid_header { raw(kind, chunk) } else { chunk.clone() };
            bench.give(conn, &message);
            bench.sent(conn);
        }
        bench.pass(SEC * 1000);
        prop_assert!(bench.session.connections().next().is_none());
    }

    #[test]
    fn mutated_updates_do_no_harm(at in 19usize..60, value: u8, cut in 0usize..60) {
        let mut bench = Bench::passive();
        let conn = bench.establish();
        let mut message = announce(&[1, 2, 3]);
        if let Some(octet) = message.get_mut(at) {
            *octet = value;
        }
        let cut = cut.min(message.len());
        bench.give(conn, &message[..cut]);
        bench.give(conn, &message[cut..]);
        bench.sent(conn);
    }
}

#[test]
fn a_thousand_simultaneous_starts_end_in_one_session_each() {
    let mut slowest = Duration::ZERO;
    for seed in 0..1000 {
        let mut world = World::new(seed * 7919 + 1, |_, config| {
            config.restart = (seed % 2 == 0).then(restart::local);
        });
        world.start();
        slowest = slowest.max(world.settle(SEC * 5));
        assert_eq!(world.ups, [1, 1]);
    }
    assert!(slowest < SEC * 5);
}
