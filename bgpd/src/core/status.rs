//! The instance and its peers, in the words of the control socket.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use bgp_proto::{AsnWidth, Family, FamilySet, MessageMax, Notification};
use reflector::events::{Negotiated, RefreshMode};
use reflector::ids::PeerId;
use reflector::session::{Messages, State};
use reflector::table::PeerCounts;
use reflector::time::Instant;

use super::Core;
use super::answers::Context;
use super::peers::Peer;
use crate::config::desired::{self, ConnectRole, Passage, PeerKind, Remote};
use crate::control::protocol::{
    self, Config, FamilyCounts, Incident, Instance, KernelCounts, Range, Session,
};
use crate::net::Snapshot;

impl Core {
    /// The instance as a whole.
    pub(super) fn instance(&self, context: &Context<'_>) -> Instance {
        let since = |at| context.since(at);
        let refused =
            self.refused.as_ref().map(|(at, text)| Incident { since: since(*at), text: text.clone() });
        let ranges = self.desired.peers.values().filter_map(|p| match p.remote {
            Remote::Range(range) => {
                Some(Range { name: p.name.clone(), range, peers: self.of_entry(p.remote).len() as u64 })
            }
            Remote::Address(_) => None,
        });
        let families = self.table.families().map(|family| {
            let (prefixes, paths) = self.table.totals(family);
            FamilyCounts { family: family.to_string(), prefixes: prefixes as u64, paths: paths as u64 }
        });
        Instance {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            asn: self.desired.asn.0,
            router_id: Ipv4Addr::from(self.desired.router_id),
            cluster_id: Ipv4Addr::from(self.desired.cluster_id),
            started: since(Instant::EPOCH),
            syncing: self.startup.is_some(),
            config: Config { source: self.source.clone(), loaded: since(self.loaded), refused },
            peers_configured: self.desired.peers.keys().filter(|r| matches!(r, Remote::Address(_))).count()
                as u64,
            peers_established: self.peers.values().filter(|p| p.up.is_some()).count() as u64,
            ranges: ranges.collect(),
            families: families.collect(),
            kernel: self.fib.as_ref().map(|fib| {
                let states = fib.stats().states;
                KernelCounts {
                    desired: states.pending + states.installed + states.unresolved + states.refused,
                    installed: states.installed,
                    refused: states.refused,
                }
            }),
        }
    }

    /// All peers, or the one with this address.
    pub(super) fn peer_rows(&self, address: Option<IpAddr>, context: &Context<'_>) -> Vec<protocol::Peer> {
        let counts: Counts =
            self.table.families().map(|family| (family, self.table.counts(family))).collect();
        let mut rows: Vec<protocol::Peer> = self
            .peers
            .iter()
            .filter(|(_, peer)| address.is_none_or(|a| a == peer.addr))
            .filter_map(|(id, peer)| self.peer_row(*id, peer, &counts, context))
            .collect();
        rows.sort_by_key(|row| row.address);
        rows
    }

    fn peer_row(
        &self,
        id: PeerId,
        peer: &Peer,
        counts: &Counts,
        context: &Context<'_>,
    ) -> Option<protocol::Peer> {
        let config = self.desired.peers.get(&peer.remote)?;
        let snapshot = peer.handle.snapshot();
        let since = |at: Instant| context.since(at);
        let (state, entered) = snapshot.state.unwrap_or((State::Idle, Instant::EPOCH));
        let seen = |(n, at): &(Notification, Instant)| protocol::NotificationSeen {
            since: since(*at),
            code: n.error.code,
            subcode: n.error.subcode,
            text: n.to_string(),
        };
        let trouble = match (&snapshot.trouble, state) {
            (_, State::Established) => config.closed_note().map(str::to_owned),
            (trouble, _) if snapshot.is_kept_down => {
                let reason = trouble.as_ref().map_or("shut down", |(text, _)| text);
                Some(format!("{reason}; it is kept down until `bgpd start {}`", peer.addr))
            }
            (Some((text, _)), _) => Some(text.clone()),
            (None, _) => None,
        };
        Some(protocol::Peer {
            name: peer.name.clone(),
            description: config.description.clone(),
            address: peer.addr,
            asn: config.asn.0,
            local_asn: config.local_asn.0,
            kind: kind(config.kind),
            state: self::state(state),
            since: since(entered),
            passive: config.connect == ConnectRole::Passive,
            trouble,
            import: policy_name(&config.import),
            export: policy_name(&config.export),
            session: peer.up.as_ref().and_then(|up| session(&up.negotiated, &snapshot, config)),
            families: family_rows(id, peer, counts),
            received: messages(&snapshot.counters.received),
            sent: messages(&snapshot.counters.sent),
            flaps: snapshot.counters.established.saturating_sub(u64::from(state == State::Established)),
            notification_received: snapshot.received.as_ref().map(seen),
            notification_sent: snapshot.sent.as_ref().map(seen),
        })
    }
}

/// The counters of all peers, by family.
type Counts = BTreeMap<Family, BTreeMap<PeerId, PeerCounts>>;

fn family_rows(id: PeerId, peer: &Peer, counts: &Counts) -> Vec<protocol::PeerFamily> {
    let Some(up) = &peer.up else { return Vec::new() };
    let row = |family: Family| {
        let counts = counts.get(&family).and_then(|all| all.get(&id)).copied().unwrap_or_default();
        protocol::PeerFamily {
            family: family.to_string(),
            received: u64::from(counts.accepted) + counts.rejected,
            accepted: u64::from(counts.accepted),
            best: u64::from(counts.best),
            stale: u64::from(counts.stale),
            advertised: u64::from(counts.advertised),
            end_of_rib: up.ended.contains(family),
        }
    };
    up.negotiated.families.iter().map(row).collect()
}

fn policy_name(passage: &Passage) -> Option<String> {
    match passage {
        Passage::Policy(name) => Some(name.clone()),
        Passage::Compiled(policy) => Some(policy.name.clone()),
        Passage::Open | Passage::Closed => None,
    }
}

fn kind(kind: PeerKind) -> protocol::PeerKind {
    match kind {
        PeerKind::External => protocol::PeerKind::External,
        PeerKind::Internal => protocol::PeerKind::Internal,
        PeerKind::Client => protocol::PeerKind::Client,
    }
}

fn state(state: State) -> protocol::State {
    match state {
        State::Idle => protocol::State::Idle,
        State::Connect => protocol::State::Connect,
        State::Active => protocol::State::Active,
        State::OpenSent => protocol::State::OpenSent,
        State::OpenConfirm => protocol::State::OpenConfirm,
        State::Established => protocol::State::Established,
    }
}

fn messages(m: &Messages) -> protocol::Messages {
    protocol::Messages {
        open: m.opens,
        update: m.updates,
        notification: m.notifications,
        keepalive: m.keepalives,
        refresh: m.refreshes,
    }
}

fn session(negotiated: &Negotiated, snapshot: &Snapshot, config: &desired::Peer) -> Option<Session> {
    let (local, remote) = snapshot.ends?;
    let names = |set: FamilySet| set.iter().map(|f| f.to_string()).collect();
    Some(Session {
        router_id: Ipv4Addr::from(negotiated.peer_router_id),
        local_address: local.ip(),
        local_port: local.port(),
        remote_port: remote.port(),
        hold_secs: negotiated.hold_secs,
        keepalive_secs: negotiated.hold_secs / 3,
        capabilities: capabilities(negotiated),
        add_paths_send: names(negotiated.transmit.add_path),
        add_paths_receive: names(negotiated.receive.add_path),
        restart_secs: negotiated.restart.map(|r| r.restart_time.as_secs() as u16),
        md5: config.password.is_some(),
    })
}

/// What both sides have, by the names that operators know.
fn capabilities(n: &Negotiated) -> Vec<String> {
    let mut all: Vec<String> = n.families.iter().map(|f| f.to_string()).collect();
    let others = [
        (n.transmit.asn_width == AsnWidth::Four, "4-octet AS"),
        (n.refresh != RefreshMode::None, "route refresh"),
        (n.refresh == RefreshMode::Enhanced, "enhanced route refresh"),
        (n.transmit.message_max == MessageMax::Extended, "extended messages"),
        (!n.transmit.extended_next_hop.is_empty(), "extended next hop"),
        (n.restart.is_some(), "graceful restart"),
    ];
    all.extend(others.into_iter().filter(|(has, _)| *has).map(|(_, name)| name.to_owned()));
    all
}
