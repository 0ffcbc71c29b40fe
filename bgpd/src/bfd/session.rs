//! One BFD session as a pure machine (RFC 5880 section 6): asynchronous mode, no echo, no authentication.
//!
//! The driver hands over packets and the time, sends what [`Session::poll_transmit`] yields, and wakes the machine at
//! [`Session::deadline`]. Until the session is up it sends once a second at most (section 6.8.3); then as often as
//! both sides agreed, a little less regularly, so that many sessions do not beat together (section 6.8.7).

use std::time::Duration;

use reflector::time::Instant;

use super::packet::{Diagnostic, Packet, State};

/// How often is sent before the session is up (RFC 5880 section 6.8.3).
const SLOW: Duration = Duration::from_secs(1);

/// How quickly a failure is noticed: `multiplier` packets missed, each `interval` after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between packets, both ways.
    pub interval: Duration,
    /// Packets missed that make the path dead.
    pub multiplier: u8,
}

/// A change that somebody may want to act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Both sides hear each other.
    Up,
    /// The path that worked does not: the peer fell silent, or does not hear us.
    Failed {
        /// Whether the peer's forwarding lives apart from its control plane, so that silence is no mere restart.
        is_independent: bool,
    },
    /// The peer's operator ended BFD, which says nothing of the path (RFC 5882 section 3.2).
    Withdrawn,
}

/// What the peer said last.
#[derive(Debug, Clone, Copy)]
struct Heard {
    packet: Packet,
    /// When its silence is too long.
    until: Instant,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    pace: Pace,
    name: u32,
    state: State,
    diagnostic: Diagnostic,
    heard: Option<Heard>,
    /// The new interval is not confirmed yet (section 6.5).
    polls: bool,
    /// A poll is to be answered at once.
    answers: bool,
    send_at: Instant,
    random: u32,
}

impl Session {
    /// A session, down. `name` is its discriminator, unique on this node and not 0.
    pub fn new(pace: Pace, name: u32, now: Instant) -> Session {
        Session {
            pace,
            name,
            state: State::Down,
            diagnostic: Diagnostic::None,
            heard: None,
            polls: false,
            answers: false,
            send_at: now,
            random: name,
        }
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// When [`Session::poll_transmit`] or [`Session::timeout`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let silence = self.heard.map(|heard| heard.until);
        [silence, self.is_wanted().then_some(self.send_at)].into_iter().flatten().min()
    }

    /// A packet of the peer, in the order of section 6.8.6.
    pub fn received(&mut self, packet: Packet, now: Instant) -> Option<Change> {
        if packet.yours != 0 && packet.yours != self.name {
            return None;
        }
        let interval = self.pace.interval.max(packet.desired_tx);
        let until = now + interval.saturating_mul(u32::from(packet.multiplier));
        self.heard = Some(Heard { packet, until });
        self.polls &= !packet.is_final;
        self.answers |= packet.poll;
        match (self.state, packet.state) {
            (State::AdminDown, _) | (State::Down, State::AdminDown | State::Up) => None,
            (State::Init | State::Up, State::AdminDown) => {
                let was_up = self.state == State::Up;
                self.enter(State::Down, Diagnostic::Signaled, now);
                was_up.then_some(Change::Withdrawn)
            }
            (State::Down, State::Down) => {
                self.enter(State::Init, self.diagnostic, now);
                None
            }
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                self.enter(State::Up, Diagnostic::None, now);
                // From slow to the configured pace: the peer confirms it (section 6.8.3).
                self.polls = true;
                Some(Change::Up)
            }
            (State::Up, State::Down) => {
                self.enter(State::Down, Diagnostic::Signaled, now);
                Some(Change::Failed { is_independent: packet.is_independent })
            }
            (State::Init, State::Down) | (State::Up, State::Init | State::Up) => None,
        }
    }

    /// Notices that the peer has been silent for too long (section 6.8.4).
    pub fn timeout(&mut self, now: Instant) -> Option<Change> {
        let heard = self.heard.take_if(|heard| heard.until <= now)?;
        let was_up = self.state == State::Up;
        if matches!(self.state, State::Init | State::Up) {
            self.enter(State::Down, Diagnostic::Expired, now);
        }
        was_up.then_some(Change::Failed { is_independent: heard.packet.is_independent })
    }

    /// The packet that is due, if one is.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Packet> {
        let is_final = std::mem::take(&mut self.answers);
        let is_due = self.is_wanted() && self.send_at <= now;
        if !is_final && !is_due {
            return None;
        }
        if is_due {
            self.send_at = now + self.jittered(self.tx_interval());
        }
        Some(Packet {
            state: self.state,
            diagnostic: self.diagnostic as u8,
            // A packet never polls and answers (section 6.5).
            poll: self.polls && !is_final,
            is_final,
            // It ends with the process that also speaks BGP (RFC 5882 section 4.3.2).
            is_independent: false,
            multiplier: self.pace.multiplier,
            mine: self.name,
            yours: self.heard.map_or(0, |heard| heard.packet.mine),
            desired_tx: self.desired_tx(),
            required_rx: self.pace.interval,
        })
    }

    /// The last packet of a session that is ended here: the path may well be alive (RFC 5880 section 6.8.16).
    pub fn withdraw(&mut self, now: Instant) -> Option<Packet> {
        self.enter(State::AdminDown, Diagnostic::AdminDown, now);
        self.poll_transmit(now)
    }

    fn enter(&mut self, state: State, diagnostic: Diagnostic, now: Instant) {
        (self.state, self.diagnostic) = (state, diagnostic);
        self.polls = false;
        // The peer should know at once.
        self.send_at = now;
    }

    /// Whether the peer takes packets at all (section 6.8.7).
    fn is_wanted(&self) -> bool {
        self.heard.is_none_or(|heard| !heard.packet.required_rx.is_zero())
    }

    fn desired_tx(&self) -> Duration {
        if self.state == State::Up { self.pace.interval } else { self.pace.interval.max(SLOW) }
    }

    fn tx_interval(&self) -> Duration {
        self.heard.map_or(Duration::ZERO, |heard| heard.packet.required_rx).max(self.desired_tx())
    }

    /// 75 to 100 % of the interval, or to 90 % where one missed packet is one too many (section 6.8.7).
    fn jittered(&mut self, interval: Duration) -> Duration {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let range = if self.pace.multiplier == 1 { 15 } else { 25 };
        interval / 100 * (75 + (self.random >> 16) % range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { interval: Duration::from_millis(100), multiplier: 3 };

    /// Two ends of a path that may be cut, and what each noticed, with the time.
    struct Path {
        now: Instant,
        ends: [Session; 2],
        cut: [bool; 2],
        noticed: [Vec<(Duration, Change)>; 2],
        sent: [u32; 2],
    }

    impl Path {
        fn new() -> Path {
            let now = Instant::EPOCH + Duration::from_secs(1);
            Path {
                now,
                ends: [Session::new(PACE, 1, now), Session::new(PACE, 2, now)],
                cut: [false; 2],
                noticed: Default::default(),
                sent: [0; 2],
            }
        }

        fn run(&mut self, time: Duration) {
            let end = self.now + time;
            while let Some(at) = self.ends.iter().filter_map(Session::deadline).min().filter(|at| *at <= end)
            {
                self.now = self.now.max(at);
                for from in 0..2 {
                    let change = self.ends[from].timeout(self.now);
                    self.note(from, change);
                    while let Some(packet) = self.ends[from].poll_transmit(self.now) {
                        self.sent[from] += 1;
                        let read = Packet::read(&packet.octets()).expect("a packet that is no packet");
                        if !self.cut[from] {
                            let change = self.ends[1 - from].received(read, self.now);
                            self.note(1 - from, change);
                        }
                    }
                }
            }
            self.now = end;
        }

        fn note(&mut self, end: usize, change: Option<Change>) {
            let at = self.now.since(Instant::EPOCH);
            self.noticed[end].extend(change.map(|change| (at, change)));
        }

        fn changes(&self, end: usize) -> Vec<Change> {
            self.noticed[end].iter().map(|(_, change)| *change).collect()
        }
    }

    #[test]
    fn both_come_up_and_then_send_at_the_configured_pace() {
        let mut path = Path::new();
        path.run(Duration::from_secs(3));
        assert_eq!([path.changes(0), path.changes(1)], [[Change::Up], [Change::Up]]);
        path.sent = [0; 2];
        path.run(Duration::from_secs(10));
        assert!(path.sent.iter().all(|sent| (100..=134).contains(sent)), "{:?}", path.sent);
        assert!(path.ends.iter().all(|end| !end.polls), "the peer confirmed the pace");
    }

    #[test]
    fn a_path_that_is_cut_one_way_fails_on_both_ends_in_time() {
        let mut path = Path::new();
        path.run(Duration::from_secs(3));
        path.cut[0] = true;
        let began = path.now.since(Instant::EPOCH);
        path.run(Duration::from_secs(2));
        for end in 0..2 {
            let (at, change) = path.noticed[end][1];
            assert_eq!(change, Change::Failed { is_independent: false });
            assert!(at - began <= Duration::from_millis(300), "{:?}", at - began);
        }
        path.cut[0] = false;
        path.run(Duration::from_secs(5));
        assert!(path.ends.iter().all(|end| end.state() == State::Up));
    }

    #[test]
    fn silence_before_the_session_is_up_is_no_failure_and_is_sent_to_slowly() {
        let mut path = Path::new();
        path.cut = [true; 2];
        path.run(Duration::from_secs(20));
        assert_eq!(path.changes(0), []);
        assert!(path.sent.iter().all(|sent| *sent <= 27), "{:?}", path.sent);
    }

    #[test]
    fn an_operators_word_is_no_failure() {
        let mut path = Path::new();
        path.run(Duration::from_secs(3));
        let mut packet = path.ends[1].poll_transmit(path.now + PACE.interval).unwrap();
        packet.state = State::AdminDown;
        assert_eq!(path.ends[0].received(packet, path.now), Some(Change::Withdrawn));
    }

    #[test]
    fn a_packet_for_another_session_changes_nothing() {
        let mut path = Path::new();
        path.run(Duration::from_secs(3));
        let mut packet = path.ends[1].poll_transmit(path.now + PACE.interval).unwrap();
        (packet.yours, packet.state) = (77, State::Down);
        assert_eq!(path.ends[0].received(packet, path.now), None);
        assert_eq!(path.ends[0].state(), State::Up);
    }

    #[test]
    fn a_peer_that_wants_nothing_is_sent_nothing_but_answers() {
        let now = Instant::EPOCH + Duration::from_secs(1);
        let mut session = Session::new(PACE, 1, now);
        let mut packet = Session::new(PACE, 2, now).poll_transmit(now).unwrap();
        (packet.required_rx, packet.poll) = (Duration::ZERO, true);
        session.received(packet, now);
        let answer = session.poll_transmit(now).unwrap();
        assert!(answer.is_final && !answer.poll);
        assert_eq!(session.poll_transmit(now + SLOW * 9), None);
    }
}
