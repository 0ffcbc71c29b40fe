//! Who there is, who peers with whom, and who originates what: drawn from the seed.
//!
//! A cluster of nodes in one AS, as a full mesh if it is small, else around two to four reflectors; and zero to three
//! routers of other ASes, each with external sessions to a few nodes. Every node has blocks of its own, as nodes
//! have for their Pods; a few more prefixes are originated by several nodes with different LOCAL_PREF, so that everybody
//! can tell who is best without asking how ties are broken.

use bgp_proto::{Asn, ClusterId, Prefix, RouterId};
use reflector::reflection::PeerKind;
use reflector::session::Connect;
use reflector::time::Duration;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::random::Random;

/// The AS of the cluster.
pub const CLUSTER_ASN: Asn = Asn(64512);
/// LOCAL_PREF of a block that one node originates.
pub const USUAL_PREF: u32 = 100;
/// How long stale routes are kept after the restart time, in runs that do.
const LONG_LIVED: Duration = Duration::from_secs(60);
/// A full mesh has this many nodes, at most.
const MESH_MAX: usize = 14;

/// A node of the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Carries Pods: originates, forwards.
    Worker,
    /// Reflects, forwards nothing.
    Reflector,
    /// A router of another AS.
    Outside,
}

/// Whether sessions survive restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restarts {
    /// RFC 4724 and RFC 8538 are in use.
    Graceful,
    /// They are not.
    Plain,
}

/// A node.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its part.
    pub part: Part,
    /// Its AS.
    pub asn: Asn,
    /// Its BGP Identifier, also its IPv4 address.
    pub router_id: RouterId,
    /// The cluster that it reflects for.
    pub cluster_id: ClusterId,
    /// What it originates at first, with LOCAL_PREF.
    pub originates: BTreeMap<Prefix, u32>,
}

impl Node {
    /// Its IPv4 address, over which sessions run.
    pub fn v4(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.router_id)
    }

    /// Its IPv6 address.
    pub fn v6(&self) -> Ipv6Addr {
        let [a, b, c, d] = self.router_id.octets().map(u16::from);
        Ipv6Addr::new(0xFD00, 0, 0, 0, a, b, c, d)
    }

    /// Its address in the family of a prefix.
    pub fn addr(&self, prefix: &Prefix) -> IpAddr {
        if prefix.addr().is_ipv4() { IpAddr::V4(self.v4()) } else { IpAddr::V6(self.v6()) }
    }
}

/// One end of a peering.
#[derive(Debug, Clone, Copy)]
pub struct End {
    /// Whose end.
    pub node: NodeId,
    /// Whether it dials.
    pub connect: Connect,
    /// What the other is to it.
    pub kind: PeerKind,
}

/// Two nodes with a session.
#[derive(Debug, Clone, Copy)]
pub struct Peering {
    /// Both ends.
    pub ends: [End; 2],
    /// The hold time that both offer, seconds.
    pub hold_secs: u16,
}

/// Everything that does not change during a run.
#[derive(Debug, Clone)]
pub struct Topology {
    /// Nodes, by [`NodeId`].
    pub nodes: Vec<Node>,
    /// Sessions.
    pub peerings: Vec<Peering>,
    /// Whether sessions survive restarts.
    pub restarts: Restarts,
    /// How long stale routes are kept after the restart time (RFC 9494), if at all.
    pub long_lived: Option<Duration>,
}

impl Topology {
    /// Draws a topology of about `size` nodes.
    pub fn draw(size: usize, random: &mut Random) -> Topology {
        let size = size.max(2);
        let restarts = if random.chance(50) { Restarts::Graceful } else { Restarts::Plain };
        let long_lived = random.chance(50).then_some(LONG_LIVED);
        let mut topology = Topology { nodes: Vec::new(), peerings: Vec::new(), restarts, long_lived };
        let reflectors = if size <= MESH_MAX && random.chance(50) { 0 } else { random.between(2, 4) };
        let one_cluster = random.chance(30);
        for at in 0..size {
            let part = if at < reflectors { Part::Reflector } else { Part::Worker };
            topology.add_node(part, CLUSTER_ASN, one_cluster);
        }
        topology.connect_cluster(reflectors, one_cluster, random);
        for at in 0..random.below(4) {
            let outside = topology.add_node(Part::Outside, Asn(65100 + at as u32), false);
            let count = random.between(1, 3);
            for worker in random.sample(&topology.of(Part::Worker), count) {
                topology.peer(outside, worker, [PeerKind::External; 2], random);
            }
        }
        topology.originate(random);
        topology
    }

    /// Nodes with a part.
    pub fn of(&self, part: Part) -> Vec<NodeId> {
        let ids = (0..self.nodes.len()).map(|at| NodeId(at as u16));
        ids.filter(|id| self.node(*id).part == part).collect()
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[usize::from(id.0)]
    }

    /// Whether two nodes peer.
    pub fn are_peers(&self, one: NodeId, other: NodeId) -> bool {
        self.peerings.iter().any(|p| {
            let [a, b] = p.ends.map(|end| end.node);
            (a, b) == (one, other) || (b, a) == (one, other)
        })
    }

    /// By how many nodes of the cluster what a node originates comes in.
    pub fn ways_in(&self, id: NodeId) -> usize {
        match self.node(id).part {
            Part::Worker | Part::Reflector => 1,
            Part::Outside => self.peerings.iter().filter(|p| p.ends.iter().any(|end| end.node == id)).count(),
        }
    }

    fn add_node(&mut self, part: Part, asn: Asn, one_cluster: bool) -> NodeId {
        let at = self.nodes.len() as u16;
        let [high, low] = at.to_be_bytes();
        let router_id = RouterId::from([10, 0, high, low.wrapping_add(1)]);
        let shared = one_cluster && part == Part::Reflector;
        let cluster_id = if shared { ClusterId(1) } else { ClusterId::from(router_id) };
        self.nodes.push(Node { part, asn, router_id, cluster_id, originates: BTreeMap::new() });
        NodeId(at)
    }

    /// A mesh of all without reflectors; else a mesh of reflectors, and clients of some of them. Reflectors of one cluster
    /// hear nothing of clients from one another, so then clients need them all (RFC 4456 section 7). Now and then reflectors
    /// take each other for clients: then routes go around until CLUSTER_LIST ends it.
    fn connect_cluster(&mut self, reflectors: usize, one_cluster: bool, random: &mut Random) {
        let (all, workers) = (self.of(Part::Reflector), self.of(Part::Worker));
        let mesh = if reflectors == 0 { workers.clone() } else { all.clone() };
        let is_loop = reflectors > 0 && random.chance(30);
        let kinds = [if is_loop { PeerKind::Client } else { PeerKind::NonClient }; 2];
        for (at, one) in mesh.iter().enumerate() {
            for other in &mesh[at + 1..] {
                self.peer(*one, *other, kinds, random);
            }
        }
        if reflectors == 0 {
            return;
        }
        for worker in workers {
            let count = if one_cluster { all.len() } else { random.between(1, 2) };
            for reflector in random.sample(&all, count) {
                self.peer(worker, reflector, [PeerKind::NonClient, PeerKind::Client], random);
            }
        }
    }

    /// `kinds`: what the other is to each.
    fn peer(&mut self, one: NodeId, other: NodeId, kinds: [PeerKind; 2], random: &mut Random) {
        let connect = match random.below(4) {
            0 => [Connect::Active, Connect::Passive],
            1 => [Connect::Passive, Connect::Active],
            _ => [Connect::Active; 2],
        };
        let end = |node, at: usize| End { node, connect: connect[at], kind: kinds[at] };
        let hold_secs = if random.chance(10) { 9 } else { 90 };
        self.peerings.push(Peering { ends: [end(one, 0), end(other, 1)], hold_secs });
    }

    fn originate(&mut self, random: &mut Random) {
        let (workers, outside) = (self.of(Part::Worker), self.of(Part::Outside));
        for id in workers.iter().chain(&outside) {
            let [high, low] = id.0.to_be_bytes();
            for block in 0..random.between(1, 3) as u8 {
                let v4 =
                    Ipv4Addr::new(if outside.contains(id) { 172 } else { 100 }, 64 + high, low, block << 6);
                let v6 = Ipv6Addr::new(
                    0xFD10,
                    u16::from(block),
                    id.0,
                    u16::from(outside.contains(id)),
                    0,
                    0,
                    0,
                    0,
                );
                self.own(*id, IpAddr::V4(v4), 26, USUAL_PREF);
                self.own(*id, IpAddr::V6(v6), 64, USUAL_PREF);
            }
        }
        for shared in 0..random.below(4) as u8 {
            let count = random.between(2, 4);
            for (rank, id) in random.sample(&workers, count).into_iter().enumerate() {
                let pref = USUAL_PREF + 10 * rank as u32;
                self.own(id, IpAddr::V4(Ipv4Addr::new(198, 51, 100, shared << 4)), 28, pref);
            }
        }
    }

    fn own(&mut self, id: NodeId, addr: IpAddr, len: u8, pref: u32) {
        if let (Ok(prefix), Some(node)) = (Prefix::new(addr, len), self.nodes.get_mut(usize::from(id.0))) {
            node.originates.insert(prefix, pref);
        }
    }
}
