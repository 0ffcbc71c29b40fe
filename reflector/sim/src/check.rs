//! What must be true once nothing goes wrong any more: a plain model of the cluster, and what every node must know.
//!
//! The model does not speak BGP. It knows who originates what, with which preference, and that everybody can reach
//! everybody; from that follows what each kernel must have. Between two peers it asks that what one's table says it tells
//! is what the other heard, octet for octet through both sessions, the log and the wire.

use bgp_proto::{AttrSet, Family, FamilySet, Nlri, Prefix};
use reflector::events::{FibRoute, Hop};
use reflector::reflection::PeerKind;
use reflector::session::State;
use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::node::{Node, Process, peer_id};
use crate::topology::{CLUSTER_ASN, NodeId, Part};
use crate::wire::WINDOW;
use crate::world::World;

/// Octets of a group's log, at most: many times what all routes of a run take once.
const LOG_MAX: usize = 4 * 1024 * 1024;

/// Looks for something that is not as it must be. `None`: all is well.
pub fn check(world: &World) -> Option<String> {
    let owners = owners(world);
    for node in &world.nodes {
        let Some(process) = &node.process else { return Some(format!("{} is not running", node.id.0)) };
        let wrong = sessions(world, node, process)
            .or_else(|| kernel(world, node, process, &owners))
            .or_else(|| round(node, process).map(|nlri| format!("{} has {nlri} from itself", node.id.0)));
        if wrong.is_some() {
            return wrong;
        }
    }
    None
}

/// What holds at any time, whatever goes wrong.
pub fn check_bounds(world: &World) -> Option<String> {
    for node in &world.nodes {
        let Some(process) = &node.process else { continue };
        for (group, view) in &process.views {
            if view.len() > LOG_MAX {
                return Some(format!(
                    "{}: the log of group {} holds {} octets",
                    node.id.0,
                    group.0,
                    view.len()
                ));
            }
        }
    }
    let room = 2 * WINDOW + reflector::limits::SEGMENT_BYTES_MAX * 2;
    world.longest_pipe().filter(|len| *len > room).map(|len| format!("{len} octets wait in one connection"))
}

/// Who originates what, with which preference.
fn owners(world: &World) -> BTreeMap<Prefix, Vec<(u32, NodeId)>> {
    let mut owners: BTreeMap<Prefix, Vec<(u32, NodeId)>> = BTreeMap::new();
    for node in &world.nodes {
        for (prefix, pref) in &node.originates {
            owners.entry(*prefix).or_default().push((*pref, node.id));
        }
    }
    owners
}

/// Every session is up, and each side heard what the other tells.
fn sessions(world: &World, node: &Node, process: &Process) -> Option<String> {
    for peer in process.peers.values() {
        let (state, _) = peer.session.state();
        if state != State::Established {
            return Some(format!("{} is {state} with {}", node.id.0, peer.node.0));
        }
        let other = &world.nodes[usize::from(peer.node.0)];
        let Some(sender) = &other.process else { continue };
        let wrong = misled(sender, node.id);
        if let Some(nlri) = wrong {
            return Some(format!("{} passes {nlri} from one internal peer on to {}", peer.node.0, node.id.0));
        }
        let told = told(sender, node.id);
        let heard =
            peer.heard.iter().map(|((family, _, nlri), attrs)| ((*family, nlri.clone()), attrs.clone()));
        let heard: BTreeMap<(Family, Nlri), AttrSet> = heard.collect();
        if told != heard {
            let missing = told.iter().find(|(key, attrs)| heard.get(*key) != Some(attrs));
            let extra = heard.iter().find(|(key, attrs)| told.get(*key) != Some(attrs));
            return Some(format!(
                "{} did not hear from {} what it tells: missing {missing:?}, too much {extra:?}",
                node.id.0, peer.node.0
            ));
        }
    }
    None
}

/// Something that a peer is told although RFC 4271 section 9.2.1 forbids it: of one peer that is no client, to another.
fn misled(process: &Process, to: NodeId) -> Option<Nlri> {
    let is_plain = |id| process.peers.get(&id).is_some_and(|peer| peer.config.kind == PeerKind::NonClient);
    if !is_plain(peer_id(to)) {
        return None;
    }
    let table = &process.table;
    let mut nlri = FamilySet::UNICAST.iter().flat_map(|family| {
        table.prefixes(family, None).filter(move |(id, _)| {
            table.told(peer_id(to), family, *id).any(|(_, _, source)| is_plain(source))
        })
    });
    nlri.next().map(|(_, nlri)| nlri)
}

/// What a table says that it tells a peer.
pub(crate) fn told(process: &Process, to: NodeId) -> BTreeMap<(Family, Nlri), AttrSet> {
    let table = &process.table;
    let families = FamilySet::UNICAST.iter();
    let prefixes =
        families.flat_map(|family| table.prefixes(family, None).map(move |(id, nlri)| (family, id, nlri)));
    let told = prefixes.filter_map(|(family, id, nlri)| {
        let (_, attrs, _) = table.told(peer_id(to), family, id).next()?;
        Some(((family, nlri), attrs))
    });
    told.collect()
}

/// A path that has been here before: its AS_PATH, ORIGINATOR_ID or CLUSTER_LIST says so (RFC 4271 section 9.1.2, RFC 4456
/// section 8).
fn round(node: &Node, process: &Process) -> Option<Nlri> {
    let table = &process.table;
    let was_here = |attrs: &AttrSet| {
        attrs.as_path().count(node.plan.asn) > 0
            || attrs.originator_id() == Some(node.plan.router_id)
            || attrs.cluster_list().contains(node.plan.cluster_id)
    };
    let mut all = FamilySet::UNICAST.iter().flat_map(|f| table.prefixes(f, None).map(move |p| (f, p)));
    all.find_map(|(family, (id, nlri))| table.paths(family, id).any(|p| was_here(p.attrs)).then_some(nlri))
}

/// The kernel has a way to everything, and it is the right one.
fn kernel(
    world: &World,
    node: &Node,
    process: &Process,
    owners: &BTreeMap<Prefix, Vec<(u32, NodeId)>>,
) -> Option<String> {
    if node.plan.part == Part::Reflector {
        return None;
    }
    for (prefix, owners) in owners {
        let allowed = routes(world, node, prefix, owners);
        let have = process.fib.get(prefix);
        let is_right = have.map_or(allowed.is_empty(), |have| allowed.contains(have));
        if !is_right {
            return Some(format!("{}: {prefix} is {have:?}, should be one of {allowed:?}", node.id.0));
        }
    }
    let stray = process.fib.keys().find(|prefix| !owners.contains_key(prefix));
    stray.map(|prefix| format!("{}: {prefix} is in the kernel, and nobody originates it", node.id.0))
}

/// The routes that a node may have to a prefix.
fn routes(world: &World, node: &Node, prefix: &Prefix, owners: &[(u32, NodeId)]) -> Vec<FibRoute> {
    if owners.iter().any(|(_, owner)| *owner == node.id) {
        return vec![FibRoute::Blackhole];
    }
    let Some((_, best)) = owners.iter().max() else { return Vec::new() };
    let best = world.topology.node(*best);
    let is_inside = |asn| asn == CLUSTER_ASN;
    if is_inside(node.plan.asn) {
        // Also to what is outside: the next hop is the router that said it.
        return vec![via(best.addr(prefix))];
    }
    // From outside, any node of the cluster that it peers with.
    let doors = world.topology.peerings.iter().filter_map(|peering| {
        let [one, other] = peering.ends.map(|end| end.node);
        match (one == node.id, other == node.id) {
            (true, _) => Some(other),
            (_, true) => Some(one),
            _ => None,
        }
    });
    doors.map(|door| via(world.topology.node(door).addr(prefix))).collect()
}

fn via(addr: IpAddr) -> FibRoute {
    FibRoute::Via(vec![Hop { addr, weight: 1, vxlan: None, device: None }])
}
