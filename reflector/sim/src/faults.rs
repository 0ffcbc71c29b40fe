//! What goes wrong, and when: drawn from the seed, and over before the run is judged.

use bgp_proto::Prefix;
use reflector::session::Stop;
use reflector::time::{Duration, Instant};
use std::fmt;

use crate::random::Random;
use crate::topology::{NodeId, Part, Topology, USUAL_PREF};

/// Something that goes wrong, or is done to the cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Connections between two nodes are reset.
    Cut(NodeId, NodeId),
    /// Nothing passes between two nodes for a while.
    Block(NodeId, NodeId, Duration),
    /// Nothing passes between a node and anybody for a while.
    Isolate(NodeId, Duration),
    /// A node's process ends, its kernel says so, and it is back after a while.
    Crash(NodeId, Duration),
    /// A node loses power: nobody is told.
    PowerLoss(NodeId, Duration),
    /// The connections between two nodes that exist now carry nothing any more, and nobody is told; new ones do.
    Silence(NodeId, NodeId),
    /// A node's process does not run for a while; its kernel does.
    Freeze(NodeId, Duration),
    /// A node's process does not read from a peer for a while.
    Stall(NodeId, NodeId, Duration),
    /// A node's process reads from a peer a few octets at a time for a while.
    Slow(NodeId, NodeId, Duration),
    /// The connections between two nodes are reset, and for a while octets take so different times that of the next ones
    /// one carries what overtakes another's.
    Jitter(NodeId, NodeId, Duration),
    /// All nodes crash together, and are back after a while, each after its own.
    Blackout(Duration),
    /// A node's policy for a peer lets nothing through in one direction for a while.
    Policy(NodeId, NodeId, Door, Duration),
    /// A node offers a peer another hold time, seconds.
    HoldTime(NodeId, NodeId, u16),
    /// A session is stopped, and started again if the reason does not do that.
    Stop(NodeId, NodeId, Stop),
    /// A node asks a peer for all routes again.
    Refresh(NodeId, NodeId),
    /// A node originates a prefix of its own no longer.
    Retract(NodeId, Prefix),
    /// A node originates another prefix.
    Originate(NodeId, Prefix, u32),
}

/// What a fault does when it really happens: one that is drawn where there is nothing to break does nothing. Counted, so that a
/// test can tell that each occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// A connection was reset.
    Cut,
    /// Octets were held back by a link that passes nothing.
    Withheld,
    /// Nobody answered an attempt to connect.
    Unanswered,
    /// Octets went into a connection that is silent.
    Silenced,
    /// A node lost power with connections open, and nobody was told.
    HalfOpen,
    /// Octets reached a node that does not know their connection any more.
    Bounced,
    /// Octets waited for a process that does not read.
    Stalled,
    /// A process read a few octets.
    Slowed,
    /// A writer found no room.
    Full,
    /// Octets dawdled while others waited in another connection between the same nodes.
    Overtaken,
    /// Something waited for a process that does not run.
    Frozen,
    /// A process started again and said so (RFC 4724).
    RestartedGracefully,
    /// A process started again.
    RestartedPlainly,
    /// Routes outlived their session.
    Kept,
    /// A policy changed.
    PolicyChanged,
    /// A configuration changed so that the session began anew.
    Reset,
    /// A hold timer expired.
    HoldExpired,
    /// A send hold timer expired (RFC 9687).
    SendHoldExpired,
}

impl Effect {
    /// All of them.
    pub const ALL: [Effect; 18] = [
        Effect::Cut,
        Effect::Withheld,
        Effect::Unanswered,
        Effect::Silenced,
        Effect::HalfOpen,
        Effect::Bounced,
        Effect::Stalled,
        Effect::Slowed,
        Effect::Full,
        Effect::Overtaken,
        Effect::Frozen,
        Effect::RestartedGracefully,
        Effect::RestartedPlainly,
        Effect::Kept,
        Effect::PolicyChanged,
        Effect::Reset,
        Effect::HoldExpired,
        Effect::SendHoldExpired,
    ];
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// What comes in.
    Import,
    /// What goes out.
    Export,
}

impl Fault {
    /// When a fault that began `at` is over.
    pub fn end(&self, at: Instant) -> Instant {
        match self {
            Fault::Block(_, _, span) | Fault::Isolate(_, span) | Fault::Stall(_, _, span) => at + *span,
            Fault::Slow(_, _, span) | Fault::Jitter(_, _, span) | Fault::Freeze(_, span) => at + *span,
            Fault::Crash(_, span) | Fault::PowerLoss(_, span) | Fault::Blackout(span) => at + *span,
            Fault::Policy(_, _, _, span) => at + *span,
            Fault::Stop(..) => at + Duration::from_secs(3),
            Fault::Cut(..) | Fault::Silence(..) | Fault::HoldTime(..) => at,
            Fault::Refresh(..) | Fault::Retract(..) | Fault::Originate(..) => at,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Cut(a, b) => write!(f, "connections between {} and {} are reset", a.0, b.0),
            Fault::Block(a, b, d) => write!(f, "nothing passes between {} and {} for {d:?}", a.0, b.0),
            Fault::Isolate(n, d) => write!(f, "{} is cut off for {d:?}", n.0),
            Fault::Crash(n, d) => write!(f, "{} crashes, back after {d:?}", n.0),
            Fault::PowerLoss(n, d) => write!(f, "{} loses power, back after {d:?}", n.0),
            Fault::Stall(a, b, d) => write!(f, "{} does not read from {} for {d:?}", a.0, b.0),
            Fault::Silence(a, b) => write!(f, "connections between {} and {} go silent", a.0, b.0),
            Fault::Freeze(n, d) => write!(f, "{} does not run for {d:?}", n.0),
            Fault::Slow(a, b, d) => write!(f, "{} reads slowly from {} for {d:?}", a.0, b.0),
            Fault::Jitter(a, b, d) => {
                write!(f, "connections between {} and {} are reset, octets dawdle for {d:?}", a.0, b.0)
            }
            Fault::Blackout(d) => write!(f, "all crash, the last is back after {d:?}"),
            Fault::Policy(a, b, door, d) => write!(f, "{} closes its {door:?} with {} for {d:?}", a.0, b.0),
            Fault::HoldTime(a, b, secs) => write!(f, "{} offers {} a hold time of {secs} s", a.0, b.0),
            Fault::Stop(a, b, stop) => write!(f, "{} stops the session with {}: {stop:?}", a.0, b.0),
            Fault::Refresh(a, b) => write!(f, "{} asks {} for a refresh", a.0, b.0),
            Fault::Retract(n, p) => write!(f, "{} retracts {p}", n.0),
            Fault::Originate(n, p, pref) => write!(f, "{} originates {p} with preference {pref}", n.0),
        }
    }
}

/// When faults begin.
pub const FAULTS_FROM: Duration = Duration::from_secs(10);
/// When the last one begins.
const FAULTS_TO: Duration = Duration::from_secs(240);
/// The longest fault.
pub const FAULT_MAX: Duration = Duration::from_secs(150);

/// Draws some faults, in order of time.
pub fn draw(topology: &Topology, random: &mut Random) -> Vec<(Instant, Fault)> {
    let mut faults = Vec::new();
    let count = random.below(4 + topology.nodes.len() / 5);
    for _ in 0..count {
        let at = Instant::EPOCH + random.span(FAULTS_FROM, FAULTS_TO);
        let Some(fault) = draw_one(topology, random) else { continue };
        if let Fault::Crash(node, span) | Fault::PowerLoss(node, span) = &fault
            && random.chance(40)
        {
            // What it does not say again when it is back must go.
            let own: Vec<Prefix> = topology.node(*node).originates.keys().copied().collect();
            let meanwhile = at + *span / 2;
            faults.extend(random.pick(&own).map(|prefix| (meanwhile, Fault::Retract(*node, *prefix))));
        }
        faults.push((at, fault));
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}

fn draw_one(topology: &Topology, random: &mut Random) -> Option<Fault> {
    let peering = random.pick(&topology.peerings)?;
    let turned = random.below(2);
    let [one, other] = [peering.ends[turned].node, peering.ends[1 - turned].node];
    let node = NodeId(random.below(topology.nodes.len()) as u16);
    let span = if random.chance(50) {
        random.span(Duration::from_millis(1), Duration::from_secs(5))
    } else {
        random.span(Duration::from_secs(1), FAULT_MAX)
    };
    Some(match random.below(23) {
        0 | 1 => Fault::Cut(one, other),
        2 | 3 => Fault::Block(one, other, span),
        4 => Fault::Isolate(node, span),
        5 | 6 => Fault::Crash(node, span),
        7 => Fault::PowerLoss(node, span),
        8 => Fault::Stall(one, other, span),
        9 => Fault::Stop(one, other, draw_stop(random)),
        10 | 11 => Fault::Refresh(one, other),
        12 => Fault::Silence(one, other),
        13 => Fault::Freeze(node, span),
        14 | 15 => Fault::Slow(one, other, span),
        16 => Fault::Jitter(one, other, span),
        17 if random.chance(20) => Fault::Blackout(span),
        17 | 18 => Fault::Policy(one, other, Door::Import, span),
        19 => Fault::Policy(one, other, Door::Export, span),
        20 => Fault::HoldTime(one, other, random.between(3, 180) as u16),
        21 => {
            let worker = *random.pick(&topology.of(Part::Worker))?;
            let own: Vec<Prefix> = topology.node(worker).originates.keys().copied().collect();
            Fault::Retract(worker, *random.pick(&own)?)
        }
        _ => {
            let worker = *random.pick(&topology.of(Part::Worker))?;
            let shared = random.below(3) as u8;
            let prefix = Prefix::new(std::net::IpAddr::from([203, 0, 113, shared << 5]), 27).ok()?;
            // Different for every node, so that everybody agrees who is best.
            Fault::Originate(worker, prefix, USUAL_PREF + u32::from(worker.0))
        }
    })
}

pub(crate) fn draw_stop(random: &mut Random) -> Stop {
    match random.below(3) {
        0 => Stop::Shutdown("maintenance".to_owned()),
        1 => Stop::Reset(String::new()),
        _ => Stop::OutOfResources,
    }
}
