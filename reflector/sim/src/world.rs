//! The world: a clock that jumps from event to event, and everything that happens on it.
//!
//! One queue holds what is to come, ordered by time and, at the same time, by when it was put there, so a run is a
//! function of its seed. Whatever touches a session ends in [`World::pump`], which does what the session asks for.

use bgp_proto::{ErrorCode, Prefix};
use bytes::Bytes;
use reflector::events::Retention;
use reflector::feed::Feed;
use reflector::ids::PeerId;
use reflector::session::{
    Action, Backlog, ConnId, Epoch, Event as Told, Failure, Manner, RestartPhase, Verdict,
};
use reflector::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};

use crate::faults::{Effect, Fault};
use crate::node::{Node, peer_id};
use crate::random::Random;
use crate::topology::{NodeId, Part, Restarts, Topology};
use crate::trace::Trace;
use crate::wire::{Conn, Fin, Presence, WINDOW};

mod trouble;

/// Something that is to happen.
#[derive(Debug)]
enum Event {
    /// A session's timer.
    Wake(NodeId, PeerId, u32),
    /// An attempt to open a connection ends.
    Connected(NodeId, PeerId, u32, u32),
    /// A connection reaches the node that is to accept it.
    Arrived(usize),
    /// Octets reach an end.
    Deliver(usize, usize),
    /// The core of a node looks at its inbox.
    Turn(NodeId, u32),
    /// Feeds reach a session.
    Mail(NodeId, u32, PeerId, Epoch, Vec<Feed>),
    /// Newer views reach a node's sessions.
    Views(NodeId, u32),
    /// A fault begins.
    Fault(usize),
    /// A link is open again.
    Unblocked,
    /// A node starts.
    Boot(NodeId),
    /// A session that was shut down is started again.
    Start(NodeId, PeerId, u32),
    /// A policy lets everything through again.
    Reopen(NodeId, PeerId, u32),
}

/// The world.
#[derive(Debug)]
pub struct World {
    /// What does not change.
    pub topology: Topology,
    /// Nodes.
    pub nodes: Vec<Node>,
    /// The time.
    pub now: Instant,
    /// What happened last.
    pub trace: Trace,
    /// What should not have happened.
    pub broken: Option<String>,
    /// From this time on no kernel of a running node may lose a route, if there is one.
    pub loses_nothing_from: Option<Instant>,
    /// Events so far.
    pub steps: u64,
    /// What the faults did.
    pub effects: BTreeMap<Effect, u64>,
    seed: u64,
    random: Random,
    queue: BTreeMap<(Instant, u64), Event>,
    queued: u64,
    conns: Vec<Conn>,
    /// Connections of each node, so that nobody searches them all.
    of_node: Vec<BTreeSet<usize>>,
    faults: Vec<Fault>,
    blocked: BTreeMap<(NodeId, NodeId), Instant>,
    /// Links on which octets dawdle, until when.
    dawdling: BTreeMap<(NodeId, NodeId), Instant>,
    /// Processes that do not run, until when.
    frozen: BTreeMap<NodeId, Instant>,
    turning: BTreeSet<NodeId>,
    publishing: BTreeSet<NodeId>,
}

/// What the kernel of a node holds for the connections of one session.
struct Kernel<'a> {
    conns: &'a [Conn],
    of_node: &'a BTreeSet<usize>,
    owner: Owner,
    now: Instant,
}

/// Whose connections: a process, and with whom it has them. Only together with this does the session's name for a
/// connection mean one.
#[derive(Debug, Clone, Copy)]
struct Owner {
    node: NodeId,
    life: u32,
    peer: PeerId,
}

impl Owner {
    /// Which end of a connection is the owner's, if the session has one and calls it `id`.
    fn end_of(self, conn: &Conn, id: ConnId) -> Option<usize> {
        (0..2).find(|end| {
            let (own, other) = (&conn.ends[*end], &conn.ends[1 - end]);
            (own.node, own.life, own.id) == (self.node, self.life, Some(id))
                && own.presence == Presence::Here
                && peer_id(other.node) == self.peer
        })
    }
}

impl Kernel<'_> {
    fn find(&self, id: ConnId) -> Option<(&Conn, usize)> {
        self.of_node.iter().find_map(|at| {
            let conn = &self.conns[*at];
            self.owner.end_of(conn, id).map(|end| (conn, end))
        })
    }
}

impl Backlog for Kernel<'_> {
    fn has_unread(&self, id: ConnId) -> bool {
        self.find(id).is_some_and(|(conn, end)| {
            conn.ends[end].idle_until > self.now && !conn.ends[end].pipe.is_empty()
        })
    }

    fn unsent(&self, id: ConnId) -> usize {
        self.find(id).map_or(0, |(conn, end)| conn.ends[1 - end].pipe.len())
    }
}

impl World {
    /// A world in which all nodes start at about the same time.
    pub fn new(topology: Topology, faults: Vec<(Instant, Fault)>, seed: u64) -> World {
        let ids = (0..topology.nodes.len()).map(|at| NodeId(at as u16));
        let nodes: Vec<Node> = ids.clone().map(|id| Node::new(id, topology.node(id).clone())).collect();
        let mut world = World {
            of_node: vec![BTreeSet::new(); nodes.len()],
            topology,
            nodes,
            now: Instant::EPOCH + Duration::from_secs(1),
            trace: Trace::default(),
            broken: None,
            loses_nothing_from: None,
            steps: 0,
            effects: BTreeMap::new(),
            seed,
            random: Random::new(seed),
            queue: BTreeMap::new(),
            queued: 0,
            conns: Vec::new(),
            faults: Vec::new(),
            blocked: BTreeMap::new(),
            dawdling: BTreeMap::new(),
            frozen: BTreeMap::new(),
            turning: BTreeSet::new(),
            publishing: BTreeSet::new(),
        };
        for id in ids {
            let delay = world.random.span(Duration::ZERO, Duration::from_secs(2));
            world.after(delay, Event::Boot(id));
        }
        for (at, fault) in faults {
            world.faults.push(fault);
            let index = world.faults.len() - 1;
            world.at(at, Event::Fault(index));
        }
        world
    }

    /// Lets time pass until `end`, or until something is broken.
    pub fn run_until(&mut self, end: Instant) {
        while self.broken.is_none()
            && let Some(entry) = self.queue.first_entry()
        {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.steps += 1;
            self.on(event);
        }
        self.now = self.now.max(end);
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.queued += 1;
        self.queue.insert((at.max(self.now), self.queued), event);
    }

    fn after(&mut self, span: Duration, event: Event) {
        self.at(self.now + span, event);
    }

    fn soon(&mut self, micros_max: u64) -> Duration {
        self.random.span(Duration::ZERO, Duration::from_micros(micros_max))
    }

    fn node(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[usize::from(id.0)]
    }

    fn life(&self, id: NodeId) -> u32 {
        self.nodes[usize::from(id.0)].life
    }

    fn on(&mut self, event: Event) {
        if let Some(thawed) = self.process_of(&event).and_then(|node| self.frozen.get(&node)).copied()
            && thawed > self.now
        {
            self.count(Effect::Frozen);
            return self.at(thawed, event);
        }
        match event {
            Event::Wake(node, peer, life) if life == self.life(node) => self.wake(node, peer),
            Event::Connected(node, peer, life, attempt) if life == self.life(node) => {
                self.connected(node, peer, attempt);
            }
            Event::Arrived(conn) => self.arrived(conn),
            Event::Deliver(conn, end) => self.deliver(conn, end),
            Event::Turn(node, life) if life == self.life(node) => self.turn(node),
            Event::Mail(node, life, peer, epoch, feeds) if life == self.life(node) => {
                self.mail(node, peer, epoch, feeds);
            }
            Event::Views(node, life) if life == self.life(node) => self.publish(node),
            Event::Fault(index) => self.fault(index),
            Event::Unblocked => self.unblocked(),
            Event::Boot(node) => self.boot(node),
            Event::Start(node, peer, life) if life == self.life(node) => self.start(node, peer),
            Event::Reopen(node, peer, life) if life == self.life(node) => self.set_doors(node, peer, None),
            // Of a process that is gone.
            Event::Wake(..)
            | Event::Connected(..)
            | Event::Turn(..)
            | Event::Mail(..)
            | Event::Views(..)
            | Event::Start(..)
            | Event::Reopen(..) => {}
        }
    }

    /// The node whose process must run for something to happen.
    fn process_of(&self, event: &Event) -> Option<NodeId> {
        match event {
            Event::Wake(node, ..) | Event::Connected(node, ..) | Event::Turn(node, _) => Some(*node),
            Event::Mail(node, ..) | Event::Views(node, _) => Some(*node),
            Event::Start(node, ..) | Event::Reopen(node, ..) => Some(*node),
            Event::Arrived(conn) => Some(self.conns[*conn].ends[1].node),
            Event::Deliver(conn, end) => Some(self.conns[*conn].ends[*end].node),
            Event::Fault(_) | Event::Unblocked | Event::Boot(_) => None,
        }
    }

    /// Does what a session wants, and comes back when it wants.
    fn pump(&mut self, node: NodeId, peer: PeerId) {
        loop {
            let Some(p) = self.peer(node, peer) else { return };
            if let Some(action) = p.session.poll_action() {
                self.act(node, peer, action);
                continue;
            }
            let Some(event) = p.session.poll_event() else { break };
            if let Told::Up { .. } | Told::Down { .. } = &event {
                self.trace.session(self.now, node, peer, &event);
            }
            self.count_told(&event);
            if let Told::NotificationSent(n) = &event
                && matches!(n.error.code, 1 | 2 | 3 | 5 | 7)
            {
                self.broken = Some(format!("{} answered {peer} with {n}", node.0));
            }
            if let Some(process) = &mut self.node(node).process {
                process.tell(peer, event);
                self.schedule_turn(node);
            }
        }
        self.write(node, peer);
        self.schedule_wake(node, peer);
    }

    fn count_told(&mut self, event: &Told) {
        match event {
            Told::Down { retention: Retention::Stale { .. }, .. } => self.count(Effect::Kept),
            Told::NotificationSent(n) if n.error == ErrorCode::HOLD_TIMER_EXPIRED => {
                self.count(Effect::HoldExpired)
            }
            Told::NotificationSent(n) if n.error == ErrorCode::SEND_HOLD_TIMER_EXPIRED => {
                self.count(Effect::SendHoldExpired);
            }
            _ => {}
        }
    }

    fn peer(&mut self, node: NodeId, peer: PeerId) -> Option<&mut crate::node::Peer> {
        self.node(node).process.as_mut()?.peers.get_mut(&peer)
    }

    fn schedule_turn(&mut self, node: NodeId) {
        if self.turning.insert(node) {
            let (delay, life) = (self.soon(3000), self.life(node));
            self.after(delay, Event::Turn(node, life));
        }
    }

    fn schedule_wake(&mut self, node: NodeId, peer: PeerId) {
        let life = self.life(node);
        let Some(p) = self.peer(node, peer) else { return };
        let Some((at, _)) = p.session.deadline() else { return };
        if p.wake_at.is_none_or(|scheduled| at < scheduled) {
            p.wake_at = Some(at);
            self.at(at, Event::Wake(node, peer, life));
        }
    }

    fn wake(&mut self, node: NodeId, peer: PeerId) {
        let (now, life) = (self.now, self.life(node));
        let Some(process) = &mut self.nodes[usize::from(node.0)].process else { return };
        let Some(p) = process.peers.get_mut(&peer) else { return };
        if p.wake_at.is_some_and(|at| at > now) {
            return;
        }
        p.wake_at = None;
        if p.session.deadline().is_some_and(|(at, _)| at <= now) {
            let of_node = &self.of_node[usize::from(node.0)];
            let owner = Owner { node, life, peer };
            p.session.timeout(now, &Kernel { conns: &self.conns, of_node, owner, now });
        }
        self.pump(node, peer);
    }

    fn act(&mut self, node: NodeId, peer: PeerId, action: Action) {
        match action {
            Action::Dial => {
                let (delay, life) = (self.soon(4000), self.life(node));
                let Some(p) = self.peer(node, peer) else { return };
                p.attempt += 1;
                let event = Event::Connected(node, peer, life, p.attempt);
                self.after(delay, event);
            }
            Action::CancelDial => {
                if let Some(p) = self.peer(node, peer) {
                    p.attempt += 1;
                }
            }
            Action::Close { conn, farewell, manner } => self.close(node, peer, conn, farewell, manner),
        }
    }

    /// Finds a connection by the name that a session has for it, with the end that is the session's.
    fn find(&self, node: NodeId, peer: PeerId, id: ConnId) -> Option<(usize, usize)> {
        let owner = Owner { node, life: self.life(node), peer };
        let of_node = &self.of_node[usize::from(node.0)];
        of_node.iter().find_map(|at| owner.end_of(&self.conns[*at], id).map(|end| (*at, end)))
    }

    fn close(&mut self, node: NodeId, peer: PeerId, id: ConnId, farewell: Option<Bytes>, manner: Manner) {
        let Some((at, end)) = self.find(node, peer, id) else { return };
        let pipe = &mut self.conns[at].ends[1 - end].pipe;
        match manner {
            Manner::Orderly => {
                farewell.into_iter().for_each(|octets| pipe.push(octets));
                pipe.fin = pipe.fin.or(Some(Fin::Closed));
            }
            Manner::Abort => pipe.reset(),
        }
        self.leave(at, end);
        self.schedule_delivery(at, 1 - end);
    }

    /// An end is gone for its process.
    fn leave(&mut self, at: usize, end: usize) {
        self.conns[at].ends[end].presence = Presence::Gone;
        if self.conns[at].is_over() {
            for end in 0..2 {
                let node = self.conns[at].ends[end].node;
                self.of_node[usize::from(node.0)].remove(&at);
                self.conns[at].ends[end].pipe.clear();
            }
        }
    }

    /// Writes what a session has to say, as far as its connections have room.
    fn write(&mut self, node: NodeId, peer: PeerId) {
        let now = self.now;
        let Some(p) = self.peer(node, peer) else { return };
        let ids: Vec<ConnId> = p.session.connections().map(|(id, _)| id).collect();
        for id in ids {
            let Some((at, end)) = self.find(node, peer, id) else { continue };
            let Some(process) = &mut self.nodes[usize::from(node.0)].process else { return };
            let Some(p) = process.peers.get_mut(&peer) else { return };
            let pipe = &mut self.conns[at].ends[1 - end].pipe;
            let room = pipe.room();
            let octets = match room {
                0 => 0,
                _ => p.session.poll_transmit(id, room, now, |octets| pipe.push(octets)),
            };
            p.session.wrote(id, octets);
            pipe.is_awaited = pipe.room() == 0;
            if room == 0 {
                self.count(Effect::Full);
            }
            if octets > 0 {
                self.schedule_delivery(at, 1 - end);
            }
        }
    }

    fn schedule_delivery(&mut self, at: usize, end: usize) {
        let pipe = &mut self.conns[at].ends[end].pipe;
        if !pipe.is_scheduled {
            pipe.is_scheduled = true;
            let delay = self.latency(at, end);
            self.after(delay, Event::Deliver(at, end));
        }
    }

    /// How long the next octets towards an end take.
    fn latency(&mut self, at: usize, end: usize) -> Duration {
        let [one, other] = [0, 1].map(|end| self.conns[at].ends[end].node);
        let key = (one.min(other), one.max(other));
        if self.conns[at].ends[end].slow_until > self.now {
            return Duration::from_millis(20) + self.soon(20_000);
        }
        if self.dawdling.get(&key).is_some_and(|until| *until > self.now) {
            let node = self.conns[at].ends[end].node;
            let mut others = self.between(one, other).into_iter().filter(|other| *other != at);
            let waits = |conn: usize| {
                self.conns[conn].ends.iter().any(|end| end.node == node && !end.pipe.is_empty())
            };
            if others.any(waits) {
                self.count(Effect::Overtaken);
            }
            return self.soon(400_000);
        }
        self.soon(2000)
    }

    fn is_blocked(&self, one: NodeId, other: NodeId) -> bool {
        let key = (one.min(other), one.max(other));
        self.blocked.get(&key).is_some_and(|until| *until > self.now)
    }

    /// An attempt to open a connection ends.
    fn connected(&mut self, node: NodeId, peer: PeerId, attempt: u32) {
        let now = self.now;
        let Some(p) = self.peer(node, peer).filter(|p| p.attempt == attempt) else { return };
        let other = p.node;
        if self.is_blocked(node, other) {
            // No answer: the session gives up by itself.
            self.count(Effect::Unanswered);
            return;
        }
        let is_running = self.node(other).process.is_some();
        let (life, other_life) = (self.life(node), self.life(other));
        let Some(p) = self.peer(node, peer) else { return };
        if !is_running {
            p.session.dial_failed(Failure::Refused, now);
            return self.pump(node, peer);
        }
        let verdict = p.session.dialed(now);
        let window = if self.random.chance(40) { self.random.between(100, 3000) } else { WINDOW };
        let mut conn = Conn::new((node, life), (other, other_life), window);
        let farewell = match verdict {
            Verdict::Accepted(id) => {
                conn.ends[0].id = Some(id);
                None
            }
            Verdict::Refused(farewell) => Some(farewell),
        };
        let at = self.conns.len();
        self.conns.push(conn);
        for end in [node, other] {
            self.of_node[usize::from(end.0)].insert(at);
        }
        if let Some(farewell) = farewell {
            self.conns[at].ends[1].pipe.push(farewell);
            self.conns[at].ends[1].pipe.fin = Some(Fin::Closed);
            self.leave(at, 0);
        }
        let delay = self.soon(4000);
        self.after(delay, Event::Arrived(at));
        self.pump(node, peer);
    }

    /// A connection reaches the node that is to accept it.
    fn arrived(&mut self, at: usize) {
        let end = &self.conns[at].ends[1];
        if end.presence != Presence::Coming || end.life != self.life(end.node) {
            return;
        }
        let (node, peer) = (end.node, peer_id(self.conns[at].ends[0].node));
        if self.is_blocked(node, self.conns[at].ends[0].node) {
            let delay = Duration::from_millis(200);
            return self.after(delay, Event::Arrived(at));
        }
        let now = self.now;
        let Some(p) = self.peer(node, peer) else { return };
        match p.session.accepted(now) {
            Verdict::Accepted(id) => {
                let end = &mut self.conns[at].ends[1];
                (end.id, end.presence) = (Some(id), Presence::Here);
                self.schedule_delivery(at, 1);
            }
            Verdict::Refused(farewell) => {
                let pipe = &mut self.conns[at].ends[0].pipe;
                pipe.push(farewell);
                pipe.fin = Some(Fin::Closed);
                self.leave(at, 1);
                self.schedule_delivery(at, 0);
            }
        }
        self.pump(node, peer);
    }

    /// Some of the octets on their way to an end arrive, or its end.
    fn deliver(&mut self, at: usize, end: usize) {
        let now = self.now;
        let [from, to] = [&self.conns[at].ends[1 - end], &self.conns[at].ends[end]];
        let (sender, node, presence, idle_until) = (from.node, to.node, to.presence, to.idle_until);
        self.conns[at].ends[end].pipe.is_scheduled = false;
        if self.conns[at].is_silent {
            // Full pipes stay full: nothing is acknowledged either.
            self.count(Effect::Silenced);
            return;
        }
        if self.is_blocked(sender, node) || presence == Presence::Coming {
            // Scheduled again when the link is open, or the connection accepted.
            if presence == Presence::Here {
                self.count(Effect::Withheld);
            }
            return;
        }
        if presence == Presence::Gone {
            return self.bounce(at, end);
        }
        if idle_until > now {
            self.count(Effect::Stalled);
            self.conns[at].ends[end].pipe.is_scheduled = true;
            return self.at(idle_until, Event::Deliver(at, end));
        }
        let is_slow = self.conns[at].ends[end].slow_until > now;
        if is_slow {
            self.count(Effect::Slowed);
        }
        let max = match self.random.chance(20) || is_slow {
            true => self.random.between(1, 40),
            false => self.random.between(1, 32_768),
        };
        let pipe = &mut self.conns[at].ends[end].pipe;
        let octets = pipe.take(max);
        let fin = pipe.fin.filter(|_| pipe.is_empty());
        let wakes_writer = pipe.is_awaited && pipe.room() > 0;
        let is_left = !pipe.is_empty() || fin.is_some();
        let peer = peer_id(sender);
        let Some(id) = self.conns[at].ends[end].id else { return };
        if octets.is_empty()
            && let Some(fin) = fin
        {
            self.leave(at, end);
            let failure = if fin == Fin::Reset { Failure::Reset } else { Failure::Ended };
            if fin == Fin::Closed {
                // This end closes too.
                let other = &mut self.conns[at].ends[1 - end].pipe;
                other.fin = other.fin.or(Some(Fin::Closed));
                self.schedule_delivery(at, 1 - end);
            }
            if let Some(p) = self.peer(node, peer) {
                p.session.closed(id, failure, now);
            }
            return self.pump(node, peer);
        }
        if let Some(p) = self.peer(node, peer) {
            p.session.received(id, &octets, now);
        }
        self.pump(node, peer);
        if is_left {
            self.schedule_delivery(at, end);
        }
        if wakes_writer {
            self.write(sender, peer_id(node));
        }
    }

    /// Octets reach an end that is gone: its kernel answers with a reset.
    fn bounce(&mut self, at: usize, end: usize) {
        let had_octets = !self.conns[at].ends[end].pipe.is_empty();
        self.conns[at].ends[end].pipe.clear();
        let other = &mut self.conns[at].ends[1 - end];
        if had_octets && other.presence == Presence::Here && other.pipe.fin.is_none() {
            other.pipe.reset();
            self.count(Effect::Bounced);
            self.schedule_delivery(at, 1 - end);
        }
    }

    fn turn(&mut self, node: NodeId) {
        self.turning.remove(&node);
        let (now, life) = (self.now, self.life(node));
        let tidies = self.random.chance(20);
        let Some(process) = &mut self.nodes[usize::from(node.0)].process else { return };
        let mut turn = process.turn(&self.topology, node, now);
        if tidies {
            process.tidy(&mut turn);
        }
        let deadline = process.deadline();
        for (peer, epoch, feeds) in turn.feeds {
            self.post(node, life, peer, epoch, feeds);
        }
        for (peer, family) in turn.refreshes {
            if let Some(p) = self.peer(node, peer) {
                p.session.request_refresh(family);
                self.pump(node, peer);
            }
        }
        if turn.is_released {
            self.restarted(node);
        }
        if turn.is_published && self.publishing.insert(node) {
            let delay = self.soon(2000);
            self.after(delay, Event::Views(node, life));
        }
        if self.loses_nothing_from.is_some_and(|from| from <= now)
            && let Some(prefix) = turn.lost.iter().find(|prefix| !self.may_hunt(prefix))
        {
            self.broken = Some(format!("the kernel of {} lost {prefix}", node.0));
        }
        if let Some(what) = turn.broken.into_iter().next() {
            self.broken = Some(format!("at {}: {what}", node.0));
        }
        if let Some(at) = deadline
            && self.turning.insert(node)
        {
            // Taken out again by whatever else makes a turn; then this one finds nothing to do.
            self.turning.remove(&node);
            self.at(at, Event::Turn(node, life));
        }
    }

    /// Whether a path may be taken back before its better arrives, although nothing is lost. When a better path comes to
    /// one of three reflectors, from its client, a second takes back from the third what its own client said, for it has
    /// nothing else to tell a peer that is no client (RFC 4456 section 6); and that may be there before the first one's.
    fn may_hunt(&self, prefix: &Prefix) -> bool {
        let owners = self.nodes.iter().filter(|node| node.originates.contains_key(prefix));
        // A router outside says it to each node that it peers with.
        let ways: usize = owners.map(|node| self.topology.ways_in(node.id)).sum();
        ways > 1 && self.topology.of(Part::Reflector).len() > 2
    }

    /// Sends feeds to a session; they arrive a little later, in order.
    fn post(&mut self, node: NodeId, life: u32, peer: PeerId, epoch: Epoch, feeds: Vec<Feed>) {
        let at = self.now + self.soon(5000);
        let Some(p) = self.peer(node, peer) else { return };
        p.mail_at = p.mail_at.max(at);
        let at = p.mail_at;
        self.at(at, Event::Mail(node, life, peer, epoch, feeds));
    }

    fn mail(&mut self, node: NodeId, peer: PeerId, epoch: Epoch, feeds: Vec<Feed>) {
        let Some(p) = self.peer(node, peer) else { return };
        p.groups.extend(feeds.iter().map(|feed| (feed.family, feed.group)));
        p.session.attach(epoch, feeds);
        self.hand_views(node, peer);
        self.pump(node, peer);
    }

    fn publish(&mut self, node: NodeId) {
        self.publishing.remove(&node);
        let Some(process) = &self.node(node).process else { return };
        let peers: Vec<PeerId> = process.peers.keys().copied().collect();
        for peer in peers {
            self.hand_views(node, peer);
            self.pump(node, peer);
        }
    }

    fn hand_views(&mut self, node: NodeId, peer: PeerId) {
        let Some(process) = &mut self.nodes[usize::from(node.0)].process else { return };
        let Some(p) = process.peers.get_mut(&peer) else { return };
        for group in p.groups.values() {
            if let Some(view) = process.views.get(group) {
                p.session.publish(*group, view);
            }
        }
    }

    fn boot(&mut self, id: NodeId) {
        if self.node(id).process.is_some() {
            return;
        }
        let graceful = self.topology.restarts == Restarts::Graceful;
        let phase = match (graceful, self.life(id)) {
            (true, 1..) => RestartPhase::Restarting,
            (true, 0) | (false, _) => RestartPhase::Normal,
        };
        match (phase, self.life(id)) {
            (RestartPhase::Restarting, _) => self.count(Effect::RestartedGracefully),
            (RestartPhase::Normal, 1..) => self.count(Effect::RestartedPlainly),
            (RestartPhase::Normal, 0) => {}
        }
        let seed = self.seed ^ u64::from(self.life(id)).wrapping_mul(0x1234_5678_9ABC_DEF1);
        let now = self.now;
        self.nodes[usize::from(id.0)].boot(&self.topology, phase, seed, now);
        self.trace.say(now, format!("{} starts", id.0));
        let life = self.life(id);
        self.turning.remove(&id);
        self.publishing.remove(&id);
        self.schedule_turn(id);
        let peers: Vec<PeerId> = self.node(id).process.iter().flat_map(|p| p.peers.keys().copied()).collect();
        for peer in peers {
            let delay = self.soon(1000);
            self.after(delay, Event::Start(id, peer, life));
        }
    }

    fn start(&mut self, node: NodeId, peer: PeerId) {
        let now = self.now;
        if let Some(p) = self.peer(node, peer) {
            p.session.start(now);
        }
        self.pump(node, peer);
    }

    /// A node's restart is over: it says so no longer.
    fn restarted(&mut self, node: NodeId) {
        let now = self.now;
        let Some(process) = &mut self.node(node).process else { return };
        let peers: Vec<PeerId> = process.peers.keys().copied().collect();
        for peer in peers {
            let Some(p) = self.peer(node, peer) else { continue };
            let mut config = p.session.config().clone();
            if let Some(restart) = &mut config.restart {
                restart.phase = RestartPhase::Normal;
            }
            p.session.configure(config, now);
            self.pump(node, peer);
        }
    }

    /// Octets on their way in one direction of a connection, at most.
    pub fn longest_pipe(&self) -> Option<usize> {
        let live = self.of_node.iter().flatten();
        live.flat_map(|at| &self.conns[*at].ends).map(|end| end.pipe.len()).max()
    }
}
