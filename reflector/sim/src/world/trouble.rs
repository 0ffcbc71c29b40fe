//! What goes wrong, carried out.

use reflector::ids::PeerId;
use reflector::session::Reconfigured;
use reflector::time::Duration;

use super::{Event, World};
use crate::faults::{Door, Effect, Fault};
use crate::node::peer_id;
use crate::topology::NodeId;
use crate::wire::{Fin, Presence};

impl World {
    pub(super) fn fault(&mut self, index: usize) {
        let fault = self.faults[index].clone();
        let now = self.now;
        self.trace.say(now, fault.to_string());
        match fault {
            Fault::Cut(one, other) => self.cut(one, other),
            Fault::Block(one, other, span) => self.block(one, other, span),
            Fault::Isolate(node, span) => self.isolate(node, span),
            Fault::Crash(node, span) => self.crash(node, span, Some(Fin::Reset)),
            Fault::PowerLoss(node, span) => self.crash(node, span, None),
            Fault::Blackout(span) => self.blackout(span),
            Fault::Silence(one, other) => {
                for at in self.between(one, other) {
                    self.conns[at].is_silent = true;
                }
            }
            Fault::Freeze(node, span) => {
                let until = self.frozen.get(&node).map_or(now + span, |known| (*known).max(now + span));
                self.frozen.insert(node, until);
            }
            Fault::Stall(reader, writer, span) => {
                self.reading(reader, writer, |end| end.idle_until = now + span);
            }
            Fault::Slow(reader, writer, span) => {
                self.reading(reader, writer, |end| end.slow_until = now + span);
            }
            Fault::Jitter(one, other, span) => {
                self.dawdling.insert((one.min(other), one.max(other)), now + span);
                self.cut(one, other);
            }
            Fault::Stop(node, other, stop) => {
                let peer = peer_id(other);
                if let Some(p) = self.peer(node, peer) {
                    p.session.stop(&stop, now);
                    self.pump(node, peer);
                    let (delay, life) = (Duration::from_secs(3), self.life(node));
                    self.after(delay, Event::Start(node, peer, life));
                }
            }
            Fault::Refresh(node, other) => self.refresh(node, peer_id(other)),
            Fault::Policy(node, other, door, span) => {
                let (peer, life) = (peer_id(other), self.life(node));
                self.set_doors(node, peer, Some(door));
                self.after(span, Event::Reopen(node, peer, life));
            }
            Fault::HoldTime(node, other, secs) => self.offer_hold_time(node, peer_id(other), secs),
            Fault::Retract(node, prefix) => {
                self.node(node).originates.remove(&prefix);
                if let Some(process) = &mut self.node(node).process {
                    process.table.retract(prefix, now);
                    self.schedule_turn(node);
                }
            }
            Fault::Originate(node, prefix, pref) => {
                self.node(node).originates.insert(prefix, pref);
                if let Some(process) = &mut self.node(node).process {
                    process.originate(prefix, pref, now);
                    self.schedule_turn(node);
                }
            }
        }
    }

    fn offer_hold_time(&mut self, node: NodeId, peer: PeerId, secs: u16) {
        let now = self.now;
        let Some(p) = self.peer(node, peer) else { return };
        let mut config = p.session.config().clone();
        config.timing.hold_secs = secs;
        if p.session.configure(config, now) == Reconfigured::Reset {
            self.count(Effect::Reset);
        }
        self.pump(node, peer);
    }

    fn isolate(&mut self, node: NodeId, span: Duration) {
        let others: Vec<NodeId> = self.nodes.iter().map(|n| n.id).filter(|id| *id != node).collect();
        for other in others {
            if self.topology.are_peers(node, other) {
                self.block(node, other, span);
            }
        }
    }

    fn blackout(&mut self, span: Duration) {
        let ids: Vec<NodeId> = self.nodes.iter().map(|n| n.id).collect();
        for id in ids {
            let down = self.random.span(Duration::from_millis(1), span.max(Duration::from_millis(2)));
            self.crash(id, down, Some(Fin::Reset));
        }
    }

    fn refresh(&mut self, node: NodeId, peer: PeerId) {
        if let Some(p) = self.peer(node, peer) {
            for family in bgp_proto::FamilySet::UNICAST.iter() {
                p.session.request_refresh(family);
            }
            self.pump(node, peer);
        }
    }

    /// The ends at which `reader` reads what `writer` sends.
    fn reading(&mut self, reader: NodeId, writer: NodeId, mut change: impl FnMut(&mut crate::wire::End)) {
        for at in self.between(reader, writer) {
            self.conns[at].ends.iter_mut().filter(|end| end.node == reader).for_each(&mut change);
        }
    }

    /// Changes what may pass between a node and a peer.
    pub(super) fn set_doors(&mut self, node: NodeId, peer: PeerId, closed: Option<Door>) {
        let life = self.life(node);
        let Some(process) = &mut self.node(node).process else { return };
        if let Some((epoch, feeds)) = process.set_doors(peer, closed) {
            self.count(Effect::PolicyChanged);
            self.post(node, life, peer, epoch, feeds);
        }
        self.schedule_turn(node);
    }

    pub(super) fn count(&mut self, effect: Effect) {
        *self.effects.entry(effect).or_insert(0) += 1;
    }

    /// Connections between two nodes.
    pub(super) fn between(&self, one: NodeId, other: NodeId) -> Vec<usize> {
        let of_one = self.of_node[usize::from(one.0)].iter().copied();
        of_one.filter(|at| self.conns[*at].ends.iter().any(|end| end.node == other)).collect()
    }

    fn cut(&mut self, one: NodeId, other: NodeId) {
        for at in self.between(one, other) {
            self.count(Effect::Cut);
            for end in 0..2 {
                self.conns[at].ends[end].pipe.reset();
                self.schedule_delivery(at, end);
            }
        }
    }

    fn block(&mut self, one: NodeId, other: NodeId, span: Duration) {
        let key = (one.min(other), one.max(other));
        let until = self.now + span;
        let blocked = self.blocked.entry(key).or_insert(until);
        *blocked = until.max(*blocked);
        self.at(until, Event::Unblocked);
    }

    /// Whatever was on its way over links that are open again goes on.
    pub(super) fn unblocked(&mut self) {
        let now = self.now;
        let open: Vec<(NodeId, NodeId)> =
            self.blocked.iter().filter(|(_, until)| **until <= now).map(|(key, _)| *key).collect();
        for key in open {
            self.blocked.remove(&key);
            for at in self.between(key.0, key.1) {
                for end in 0..2 {
                    let pipe = &self.conns[at].ends[end].pipe;
                    if !pipe.is_empty() || pipe.fin.is_some() {
                        self.schedule_delivery(at, end);
                    }
                }
            }
        }
    }

    /// A process ends. With a `fin` its kernel tells the peers; without, nobody does.
    fn crash(&mut self, node: NodeId, span: Duration, fin: Option<Fin>) {
        if self.node(node).process.take().is_none() {
            return;
        }
        self.after(span, Event::Boot(node));
        let ids: Vec<usize> = self.of_node[usize::from(node.0)].iter().copied().collect();
        for at in ids {
            for end in 0..2 {
                if self.conns[at].ends[end].node != node {
                    continue;
                }
                let other = &mut self.conns[at].ends[1 - end];
                if fin.is_none() && other.presence == Presence::Here {
                    self.count(Effect::HalfOpen);
                } else if other.presence == Presence::Here {
                    other.pipe.reset();
                    self.schedule_delivery(at, 1 - end);
                }
                self.leave(at, end);
            }
        }
    }
}
