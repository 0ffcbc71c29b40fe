//! One node of the simulation and a peer that is nobody's session: it dials, hangs up and says whatever is drawn, sound or not.
//!
//! The node is a real one, with its table, as everywhere here; only the other end of its one peering is played. What the
//! peer says comes from [`speech`], what else happens from [`Meeting::step`]: time, starts and stops, dials that succeed or
//! not, a writer that takes little, a configuration that changes. A script decides all of it, so the same code is a test by
//! seeds and the target of a fuzzer.
//!
//! What must hold after every step: the session orders nothing about a connection that is gone and forgets none; it is
//! Established exactly between Up and Down; its timers never stand still; an OPEN comes first over a connection, then a
//! KEEPALIVE, and routes only over the one that is Established; each octet decodes as the session agreed; and once
//! everything is written, the peer has heard what the table says it tells. At the end nothing of the peer is left.

mod speech;

use bgp_proto::{
    AttrSet, Family, Frame, Message, MessageMax, Nlri, PeerKind as Side, Prefix, Update, WireContext,
};
use bytes::Bytes;
use reflector::reflection::PeerKind;
use reflector::session::{
    Action, Backlog, Config, ConnId, Connect, Event, Failure, FirstAs, RestartPhase, RoleRule, Session,
    State, Strictness, Verdict,
};
use reflector::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::IpAddr;

use self::speech::Speech;
use crate::check::told;
use crate::faults::draw_stop;
use crate::node::{Node, Peer, Process, peer_id};
use crate::random::Random;
use crate::topology::{CLUSTER_ASN, End, Node as Plan, NodeId, Part, Peering, Restarts, Topology};

const US: NodeId = NodeId(0);
const THEM: NodeId = NodeId(1);
/// Timers that may be due one after the other at one time.
const DUE_MAX: usize = 64;
/// Families that may be agreed on.
const FAMILIES: [Family; 5] =
    [Family::IPV4_UNICAST, Family::IPV6_UNICAST, Family::VPNV4, Family::EVPN, Family::RT_CONSTRAINT];

/// Lets a node and a stranger meet for so many steps. The error says what did not hold.
pub fn meet(random: Random, steps: usize) -> Result<(), String> {
    let mut meeting = Meeting::new(random);
    for _ in 0..steps {
        meeting.step()?;
        meeting.follow()?;
        meeting.look()?;
    }
    meeting.part()
}

/// A connection, as the stranger sees it.
#[derive(Debug)]
struct Line {
    id: ConnId,
    /// Messages that came over it.
    heard: usize,
}

/// What the kernel holds for a connection.
struct Held {
    unread: bool,
    unsent: usize,
}

impl Backlog for Held {
    fn has_unread(&self, _: ConnId) -> bool {
        self.unread
    }

    fn unsent(&self, _: ConnId) -> usize {
        self.unsent
    }
}

struct Meeting {
    random: Random,
    topology: Topology,
    node: Node,
    now: Instant,
    lines: Vec<Line>,
    is_dialing: bool,
    /// Whether the session is up.
    is_up: bool,
    /// The connection that is the session, while it is up.
    up: Option<ConnId>,
    /// What the stranger was told in this session.
    told: BTreeMap<(Family, Nlri), AttrSet>,
    /// Whether all that was to be written is.
    is_written: bool,
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

impl Meeting {
    fn new(mut random: Random) -> Meeting {
        let kind = [PeerKind::NonClient, PeerKind::Client, PeerKind::External][random.below(3)];
        let topology = draw_topology(kind, &mut random);
        let mut node = Node::new(US, topology.node(US).clone());
        let now = Instant::EPOCH + Duration::from_secs(1);
        let phase = if random.chance(20) { RestartPhase::Restarting } else { RestartPhase::Normal };
        node.boot(&topology, phase, random.any(), now);
        let mut meeting = Meeting {
            random,
            topology,
            node,
            now,
            lines: Vec::new(),
            is_dialing: false,
            is_up: false,
            up: None,
            told: BTreeMap::new(),
            is_written: false,
        };
        meeting.reconfigure();
        meeting
    }

    /// Draws another configuration of the session.
    fn reconfigure(&mut self) {
        let (random, now) = (&mut self.random, self.now);
        let Some(peer) = self.node.process.as_mut().and_then(|process| process.peers.get_mut(&peer_id(THEM)))
        else {
            return;
        };
        let mut config: Config = peer.session.config().clone();
        match random.below(6) {
            0 => {
                config.families = FAMILIES.into_iter().filter(|_| random.chance(60)).collect();
                config.families.insert(Family::IPV4_UNICAST);
                config.add_path_send = config.families.iter().filter(|_| random.chance(30)).collect();
                config.add_path_receive = config.families.iter().filter(|_| random.chance(30)).collect();
            }
            1 => {
                config.message_max =
                    if random.chance(50) { MessageMax::Standard } else { MessageMax::Extended }
            }
            2 => config.connect = if random.chance(50) { Connect::Active } else { Connect::Passive },
            3 => {
                let strictness = if random.chance(30) { Strictness::Strict } else { Strictness::Lenient };
                let role = speech::ROLES[random.below(speech::ROLES.len())];
                config.role = (!config.is_internal()).then_some(RoleRule { role, strictness });
            }
            4 => {
                config.timing.delay_open = random.chance(50).then_some(Duration::from_secs(5));
                config.timing.send_hold = random.chance(50).then_some(Duration::from_secs(20));
                config.first_as = if random.chance(50) { FirstAs::Any } else { FirstAs::Enforced };
            }
            _ => config.timing.hold_secs = [0, 3, 9, 90][random.below(4)],
        }
        peer.session.configure(config, now);
    }

    fn session(&mut self) -> Result<&mut Session, String> {
        self.peer().map(|peer| &mut peer.session)
    }

    fn peer(&mut self) -> Result<&mut Peer, String> {
        self.process()?.peers.get_mut(&peer_id(THEM)).ok_or_else(|| "the peer is gone".to_owned())
    }

    fn process(&mut self) -> Result<&mut Process, String> {
        self.node.process.as_mut().ok_or_else(|| "the process is gone".to_owned())
    }

    fn step(&mut self) -> Result<(), String> {
        let now = self.now;
        match self.random.below(18) {
            0 => self.session()?.start(now),
            1 if self.random.chance(30) => {
                let stop = draw_stop(&mut self.random);
                self.session()?.stop(&stop, now);
            }
            1 => self.reconfigure(),
            2 => {
                let verdict = self.session()?.accepted(now);
                self.admit(verdict)?;
            }
            3 => return self.answer_dial(),
            4 | 5 => return self.greet(),
            6..=10 => return self.speak(),
            11 | 12 => return self.pass(),
            13 if self.random.chance(30) => self.hang_up()?,
            14 => {
                let family = FAMILIES[self.random.below(FAMILIES.len())];
                self.session()?.request_refresh(family);
            }
            _ => {
                let room = [0, 100, 4096, usize::MAX][self.random.below(4)];
                return self.write(room);
            }
        }
        Ok(())
    }

    fn admit(&mut self, verdict: Verdict) -> Result<(), String> {
        match verdict {
            Verdict::Accepted(id) => self.lines.push(Line { id, heard: 0 }),
            Verdict::Refused(farewell) => is_farewell(&farewell)?,
        }
        Ok(())
    }

    fn answer_dial(&mut self) -> Result<(), String> {
        let now = self.now;
        if !std::mem::take(&mut self.is_dialing) {
            return Ok(());
        }
        if self.random.chance(30) {
            let failure =
                [Failure::Refused, Failure::TimedOut, Failure::HostUnreachable][self.random.below(3)];
            self.session()?.dial_failed(failure, now);
            return Ok(());
        }
        let verdict = self.session()?.dialed(now);
        self.admit(verdict)
    }

    /// A connection of those that there are.
    fn line(&mut self) -> Option<ConnId> {
        let at = self.random.below(self.lines.len());
        self.lines.get(at).map(|line| line.id)
    }

    /// What a peer says that wants the session: all that it takes to be Established, if nothing is in the way.
    fn greet(&mut self) -> Result<(), String> {
        let now = self.now;
        if self.lines.is_empty() {
            self.session()?.start(now);
            self.follow()?;
            let verdict = self.session()?.accepted(now);
            self.admit(verdict)?;
            self.follow()?;
        }
        let Some(id) = self.line() else { return Ok(()) };
        let config = self.session()?.config().clone();
        let plan = self.topology.node(THEM).clone();
        let octets = Speech { random: &mut self.random, config: &config, us: &plan }.greeting();
        self.say(id, &octets)
    }

    /// One message, or octets that are none.
    fn speak(&mut self) -> Result<(), String> {
        let Some(id) = self.line() else { return Ok(()) };
        let session = self.session()?;
        let ctx = session.negotiated().map(|agreed| agreed.receive);
        let config = session.config().clone();
        let plan = self.topology.node(THEM).clone();
        let octets = Speech { random: &mut self.random, config: &config, us: &plan }.anything(ctx);
        self.say(id, &octets)
    }

    /// Delivers octets, whole or in pieces, as long as the connection is there.
    fn say(&mut self, id: ConnId, mut octets: &[u8]) -> Result<(), String> {
        let (now, is_whole) = (self.now, self.random.chance(60));
        while !octets.is_empty() && self.lines.iter().any(|line| line.id == id) {
            let len = if is_whole { octets.len() } else { self.random.between(1, 60).min(octets.len()) };
            let (piece, rest) = octets.split_at(len);
            octets = rest;
            self.session()?.received(id, piece, now);
            self.follow()?;
        }
        Ok(())
    }

    fn hang_up(&mut self) -> Result<(), String> {
        let now = self.now;
        let Some(id) = self.line() else { return Ok(()) };
        let failure = if self.random.chance(50) { Failure::Ended } else { Failure::Reset };
        self.lines.retain(|line| line.id != id);
        self.session()?.closed(id, failure, now);
        Ok(())
    }

    /// Lets time pass: to the next timer, or for a while in which all that are due come.
    fn pass(&mut self) -> Result<(), String> {
        let deadline = self.session()?.deadline().map(|(at, _)| at);
        let span = self.random.span(Duration::from_millis(1), Duration::from_secs(100));
        let end = match deadline {
            Some(at) if self.random.chance(60) => at.max(self.now),
            Some(_) | None => self.now + span,
        };
        let held = Held { unread: self.random.chance(10), unsent: self.random.below(2) * 100 };
        for _ in 0..DUE_MAX {
            let due = self.session()?.deadline().filter(|(at, _)| *at <= end);
            let Some((at, _)) = due else {
                self.now = end;
                return Ok(());
            };
            self.now = self.now.max(at);
            let now = self.now;
            self.session()?.timeout(now, &held);
            self.follow()?;
        }
        let due = self.session()?.deadline();
        // Many seconds have many timers; at one time there are few.
        ensure(due.is_none_or(|(at, _)| at > self.now), || format!("timers stand still: {due:?}"))
    }

    /// Takes what the session has to write.
    fn write(&mut self, room: usize) -> Result<(), String> {
        let now = self.now;
        let ids: Vec<ConnId> = self.lines.iter().map(|line| line.id).collect();
        for id in ids {
            let mut slices = Vec::new();
            let octets = self.session()?.poll_transmit(id, room, now, |octets| slices.push(octets));
            self.session()?.wrote(id, octets);
            ensure(octets == slices.iter().map(Bytes::len).sum(), || "octets are counted wrong".to_owned())?;
            if self.up == Some(id) {
                self.is_written = octets == 0;
            }
            for slice in slices {
                self.hear(id, &slice)?;
            }
        }
        Ok(())
    }

    /// Reads what the session wrote, as a peer would that agreed on the same.
    fn hear(&mut self, id: ConnId, mut octets: &[u8]) -> Result<(), String> {
        let agreed = self.session()?.negotiated().map(|agreed| agreed.transmit);
        let ctx = agreed.filter(|_| self.up == Some(id)).unwrap_or(WireContext::PLAIN);
        while !octets.is_empty() {
            let frame = Frame::first(octets, &ctx).map_err(|reset| format!("a header: {reset}"))?;
            let frame = frame.ok_or("half a message in a slice")?;
            octets = octets.get(frame.octets.len()..).unwrap_or(&[]);
            let Some(line) = self.lines.iter_mut().find(|line| line.id == id) else { return Ok(()) };
            line.heard += 1;
            let nth = line.heard;
            let message = Message::decode(&frame, &ctx).map_err(|reset| format!("a message: {reset}"))?;
            let is_up = self.up == Some(id);
            let is_in_order = match &message {
                Message::Open(_) => nth == 1,
                Message::Keepalive => nth > 1,
                Message::Update(_) | Message::RouteRefresh(_) => is_up && nth > 2,
                Message::Notification(_) => false,
            };
            ensure(is_in_order, || format!("message {nth} is {message:?}"))?;
            if let Message::Update(update) = &message {
                self.note(update);
            }
        }
        Ok(())
    }

    fn note(&mut self, update: &Update<'_>) {
        for unreach in update.unreach() {
            for (_, nlri) in unreach.nlri {
                self.told.remove(&(unreach.family, nlri.to_owned()));
            }
        }
        for reach in update.reach() {
            for (_, nlri) in reach.nlri {
                self.told.insert((reach.family, nlri.to_owned()), update.attr_set(reach.next_hop));
            }
        }
    }

    /// Does what the session asks for, and lets the core work.
    fn follow(&mut self) -> Result<(), String> {
        while let Some(action) = self.session()?.poll_action() {
            self.act(action)?;
        }
        while let Some(event) = self.session()?.poll_event() {
            self.on(&event)?;
            self.process()?.tell(peer_id(THEM), event);
        }
        let (now, topology) = (self.now, self.topology.clone());
        let turn = self.process()?.turn(&topology, US, now);
        let peer = self.peer()?;
        for (_, epoch, feeds) in turn.feeds {
            peer.groups.extend(feeds.iter().map(|feed| (feed.family, feed.group)));
            peer.session.attach(epoch, feeds);
        }
        for (_, family) in turn.refreshes {
            peer.session.request_refresh(family);
        }
        if turn.is_released {
            let mut config = peer.session.config().clone();
            config.restart = config
                .restart
                .map(|restart| reflector::session::Restart { phase: RestartPhase::Normal, ..restart });
            peer.session.configure(config, now);
        }
        let process = self.process()?;
        for peer in process.peers.values_mut() {
            for view in peer.groups.values().filter_map(|group| process.views.get_key_value(group)) {
                peer.session.publish(*view.0, view.1);
            }
        }
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Dial => {
                ensure(!self.is_dialing, || "dials twice".to_owned())?;
                self.is_dialing = true;
            }
            Action::CancelDial => {
                // An attempt that has just ended may be given up as well.
                self.is_dialing = false;
            }
            Action::Close { conn, farewell, .. } => {
                let before = self.lines.len();
                self.lines.retain(|line| line.id != conn);
                ensure(self.lines.len() + 1 == before, || format!("closes {conn:?}, which is gone"))?;
                farewell.as_deref().map_or(Ok(()), is_farewell)?;
            }
        }
        Ok(())
    }

    fn on(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Up { .. } => {
                ensure(!std::mem::replace(&mut self.is_up, true), || "up twice".to_owned())?;
                // None, where the same octets ended it at once.
                let ids: Vec<ConnId> = self.session()?.connections().map(|(id, _)| id).collect();
                ensure(ids.len() <= 1, || format!("up with {} connections", ids.len()))?;
                self.up = ids.first().copied();
                self.told.clear();
            }
            Event::Down { .. } => {
                ensure(std::mem::take(&mut self.is_up), || "down without up".to_owned())?;
                self.up = None;
            }
            Event::Routes(_) | Event::EndOfRib(_) | Event::RefreshRequested(_) => {
                ensure(self.is_up, || format!("{event:?} while down"))?;
            }
            Event::RefreshBegun(_) | Event::RefreshEnded(_) => {
                ensure(self.is_up, || format!("{event:?} while down"))?;
            }
            Event::StateChanged { .. }
            | Event::NotificationSent(_)
            | Event::NotificationReceived(_)
            | Event::ConnectionFailed(_)
            | Event::Faulted(_) => {}
        }
        Ok(())
    }

    /// What holds after every step.
    fn look(&mut self) -> Result<(), String> {
        let is_up = self.is_up;
        let known: Vec<ConnId> = self.lines.iter().map(|line| line.id).collect();
        let session = self.session()?;
        let state = session.state().0;
        ensure((state == State::Established) == is_up, || format!("{state}, and up: {is_up}"))?;
        let mut has: Vec<ConnId> = session.connections().map(|(id, _)| id).collect();
        has.sort_unstable();
        ensure(has.len() <= 2 && has == known, || format!("has {has:?}, was told of {known:?}"))?;
        if !is_up || self.process()?.table.is_deferring() {
            return Ok(());
        }
        self.write(usize::MAX)?;
        self.write(usize::MAX)?;
        ensure(self.is_written, || "there is no end of what it writes".to_owned())?;
        let heard = self.told.clone();
        let process = self.process()?;
        let tells = told(process, THEM);
        let is_same = tells.len() == heard.len()
            && tells
                .iter()
                .all(|((family, nlri), attrs)| heard.get(&(*family, (*nlri).clone())) == Some(attrs));
        ensure(is_same, || format!("tells {tells:?}, and the peer heard {heard:?}"))
    }

    /// Everybody leaves, and nothing is left of it.
    fn part(mut self) -> Result<(), String> {
        let now = self.now;
        self.session()?.stop(&reflector::session::Stop::Deconfigured, now);
        self.follow()?;
        self.look()?;
        ensure(self.lines.is_empty() && !self.is_dialing, || "a connection outlives the session".to_owned())?;
        let deadline = self.session()?.deadline();
        ensure(deadline.is_none(), || format!("a session that is stopped waits for {deadline:?}"))?;
        let own = self.topology.node(US).originates.len();
        let process = self.process()?;
        process.table.remove_peer(peer_id(THEM));
        process.table.commit();
        let left: usize = FAMILIES.iter().map(|family| process.table.prefixes(*family, None).count()).sum();
        ensure(left == own, || format!("{left} prefixes are left, {own} are our own"))?;
        let deadline = process.table.deadline();
        ensure(deadline.is_none(), || "the table waits for a peer that is removed".to_owned())
    }
}

/// The last octets over a connection are one NOTIFICATION.
fn is_farewell(octets: &[u8]) -> Result<(), String> {
    let frame = Frame::first(octets, &WireContext::PLAIN).map_err(|reset| format!("a farewell: {reset}"))?;
    let frame =
        frame.filter(|frame| frame.octets.len() == octets.len()).ok_or("a farewell is one message")?;
    match Message::decode(&frame, &WireContext::PLAIN) {
        Ok(Message::Notification(_)) => Ok(()),
        other => Err(format!("a farewell is {other:?}")),
    }
}

/// Two nodes: ours has routes of its own, the other none.
fn draw_topology(kind: PeerKind, random: &mut Random) -> Topology {
    let is_external = kind == PeerKind::External;
    let plan = |at: u8, asn| {
        let router_id = bgp_proto::RouterId::from([10, 0, 0, at]);
        let cluster_id = bgp_proto::ClusterId::from(router_id);
        Plan { part: Part::Worker, asn, router_id, cluster_id, originates: BTreeMap::new() }
    };
    // Ours is in the middle, so that either may win a collision.
    let (mut us, mut them) = (plan(7, CLUSTER_ASN), plan(if random.chance(50) { 3 } else { 9 }, CLUSTER_ASN));
    if is_external {
        them.asn = bgp_proto::Asn(65100);
    }
    let own = ["100.64.0.0/26", "100.64.0.64/26", "fd10::/64"];
    us.originates.extend(own.iter().filter_map(|text| Some((text.parse::<Prefix>().ok()?, 100))));
    let restarts = if random.chance(60) { Restarts::Graceful } else { Restarts::Plain };
    let end = |node, kind| End { node, connect: Connect::Active, kind };
    let peering = Peering { ends: [end(US, kind), end(THEM, kind)], hold_secs: 90 };
    let long_lived = random.chance(50).then_some(Duration::from_secs(60));
    Topology { nodes: vec![us, them], peerings: vec![peering], restarts, long_lived }
}

/// How the wire calls a kind of peer.
fn side(config: &Config) -> Side {
    if config.is_internal() { Side::Internal } else { Side::External }
}

/// The address of the stranger.
fn hop(plan: &Plan) -> IpAddr {
    IpAddr::V4(plan.v4())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_does_no_harm_whatever_it_says() {
        // 6563: octets that establish and end it at once.
        for seed in (0..400).chain([6563]) {
            if let Err(what) = meet(Random::new(seed), 300) {
                panic!("seed {seed}: {what}");
            }
        }
    }

    /// A generator that never gets anywhere tests nothing.
    #[test]
    fn strangers_are_mostly_established_and_learned_from() {
        let (mut ups, mut routes, mut told) = (0, 0, 0);
        for seed in 0..50 {
            let mut meeting = Meeting::new(Random::new(seed));
            for _ in 0..100 {
                let was_up = meeting.up.is_some();
                meeting.step().and_then(|()| meeting.follow()).unwrap();
                ups += usize::from(!was_up && meeting.up.is_some());
                meeting.look().unwrap();
                told += meeting.told.len();
            }
            let table = &meeting.process().unwrap().table;
            routes +=
                usize::from(FAMILIES.iter().any(|family| table.counts(*family).contains_key(&peer_id(THEM))));
        }
        assert!(
            ups > 100 && routes > 10 && told > 500,
            "{ups} sessions, {routes} tables, {told} routes told"
        );
    }
}
