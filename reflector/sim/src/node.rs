//! A node: its table, its sessions, and what the daemon's core does between them.
//!
//! The core of the daemon is a thread; here it is [`Process::turn`], which the world calls a little later than something was
//! put into the inbox, so that batches, and feeds that come late for their session, are part of every run.

use bgp_proto::{AttrSet, Family, FamilySet, Nlri, PathId, Prefix};
use reflector::events::{FibRoute, Reachability, Routes};
use reflector::feed::{Feed, LogView};
use reflector::group::{Local, LongLivedRule, NextHopRule, PolicyChoice, TunnelScope};
use reflector::ids::{EntryId, GroupId, PeerId};
use reflector::rib::nexthop::{Resolution, Tracking};
use reflector::session::{self, Epoch, NotificationRestart, Restart, RestartPhase, Session};
use reflector::table::{self, Attachment, Notice, Origination, OwnAddrs, OwnRoute, PeerConfig, Table};
use reflector::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::faults::Door;
use crate::topology::{Node as Plan, NodeId, Part, Peering, Restarts, Topology};

/// How long others keep a node's routes while it restarts.
pub const RESTART_TIME: Duration = Duration::from_secs(120);
/// Without End-of-RIB, stale routes go after this long.
const STALE_PATH_TIME: Duration = Duration::from_secs(60);

/// The send hold time of every other node: less than the longest fault, and than the usual hold time.
const SEND_HOLD: Duration = Duration::from_secs(60);

/// A node.
#[derive(Debug)]
pub struct Node {
    /// Who it is.
    pub id: NodeId,
    /// What does not change.
    pub plan: Plan,
    /// Counts its processes.
    pub life: u32,
    /// Its process; `None` while it is down.
    pub process: Option<Process>,
    /// What it is to originate, with LOCAL_PREF.
    pub originates: BTreeMap<Prefix, u32>,
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    /// The table.
    pub table: Table,
    /// Peers.
    pub peers: BTreeMap<PeerId, Peer>,
    /// Routes of the kernel.
    pub fib: BTreeMap<Prefix, FibRoute>,
    /// The groups' newest views.
    pub views: BTreeMap<GroupId, Arc<LogView>>,
    /// What the core has not looked at.
    inbox: Vec<(PeerId, session::Event)>,
    /// Whom it waits for before it tells anything, after a graceful restart.
    waits: BTreeMap<PeerId, Wait>,
}

/// What a peer is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// To be up, until then.
    Up(Instant),
    /// To say End-of-RIB in these families.
    Ends(FamilySet),
}

/// How long a restarted node waits for a peer that is not up: a connect-retry time, and a little.
const PATIENCE: Duration = Duration::from_secs(8);

/// A peer of a node.
#[derive(Debug)]
pub struct Peer {
    /// Who it is.
    pub node: NodeId,
    /// The session.
    pub session: Session,
    /// What the table was told of it, when no fault has changed that.
    pub config: PeerConfig,
    /// The epoch that is up, as the core knows it.
    pub epoch: Option<Epoch>,
    /// What the peer has told and not taken back, of the session that is up.
    pub heard: BTreeMap<(Family, PathId, Nlri), AttrSet>,
    /// Groups that the session reads.
    pub groups: BTreeMap<Family, GroupId>,
    /// Counts attempts to dial, so that one that was given up is known.
    pub attempt: u32,
    /// When the session is woken, if that is scheduled.
    pub wake_at: Option<Instant>,
    /// When its last mail arrives: later mail does not overtake it.
    pub mail_at: Instant,
}

/// What a turn of the core leads to.
#[derive(Debug, Default)]
pub struct Turn {
    /// Feeds for sessions.
    pub feeds: Vec<(PeerId, Epoch, Vec<Feed>)>,
    /// Whether groups have new views.
    pub is_published: bool,
    /// Peers to ask for everything again.
    pub refreshes: Vec<(PeerId, Family)>,
    /// Whether a restart is over: the node says no longer that it is restarting.
    pub is_released: bool,
    /// Prefixes that the kernel lost.
    pub lost: Vec<Prefix>,
    /// What the peers sent and should not have.
    pub broken: Vec<String>,
}

/// The name that a node has for another.
pub fn peer_id(node: NodeId) -> PeerId {
    PeerId(u32::from(node.0) + 1)
}

impl Node {
    /// A node that is not running.
    pub fn new(id: NodeId, plan: Plan) -> Node {
        let originates = plan.originates.clone();
        Node { id, plan, life: 0, process: None, originates }
    }

    /// Starts its process with sessions that are not started yet.
    pub fn boot(&mut self, topology: &Topology, phase: RestartPhase, seed: u64, now: Instant) {
        self.life += 1;
        let local =
            Local { asn: self.plan.asn, router_id: self.plan.router_id, cluster_id: self.plan.cluster_id };
        let resolution = match self.plan.part {
            Part::Worker | Part::Outside => Resolution::Kernel,
            Part::Reflector => Resolution::Assumed,
        };
        let kernel_export = PolicyChoice::Everything;
        let config =
            table::Config { local, resolution, multipath_max: 1, kernel_export, rules: Default::default() };
        let mut process = Process {
            table: Table::new(config),
            peers: BTreeMap::new(),
            fib: BTreeMap::new(),
            views: BTreeMap::new(),
            inbox: Vec::new(),
            waits: BTreeMap::new(),
        };
        if phase == RestartPhase::Restarting {
            process.table.defer();
        }
        for (prefix, pref) in &self.originates {
            process.originate(*prefix, *pref, now);
        }
        for peering in &topology.peerings {
            let Some(at) = peering.ends.iter().position(|end| end.node == self.id) else { continue };
            process.add_peer(topology, peering, at, phase, seed, now);
        }
        self.process = Some(process);
    }
}

impl Process {
    fn add_peer(
        &mut self,
        topology: &Topology,
        peering: &Peering,
        at: usize,
        phase: RestartPhase,
        seed: u64,
        now: Instant,
    ) {
        let [own, other] = [peering.ends[at], peering.ends[1 - at]];
        let (us, them) = (topology.node(own.node), topology.node(other.node));
        let mut config = session::Config::new(us.asn, us.router_id, them.asn);
        config.connect = own.connect;
        config.timing.hold_secs = peering.hold_secs;
        config.timing.idle_hold_max = Duration::from_secs(20);
        config.timing.send_hold = (own.node.0 % 2 == 1).then_some(SEND_HOLD);
        config.timing.refresh_end = STALE_PATH_TIME;
        config.restart = (topology.restarts == Restarts::Graceful).then_some(Restart {
            long_lived: topology.long_lived,
            restart_time: RESTART_TIME,
            families: FamilySet::UNICAST,
            forwarding: FamilySet::UNICAST,
            phase,
            notification: NotificationRestart::On,
        });
        let id = peer_id(other.node);
        if phase == RestartPhase::Restarting {
            self.waits.insert(id, Wait::Up(now + PATIENCE));
        }
        let table = PeerConfig {
            entry: EntryId(id.0),
            kind: own.kind,
            import: PolicyChoice::Everything,
            export: PolicyChoice::Everything,
            next_hop: NextHopRule::Auto,
            prefix_limit: None,
            local_asn: us.asn,
            role: None,
            long_lived_unaware: LongLivedRule::Withheld,
            own_as_max: 0,
            tunnels: TunnelScope::Outside,
            stale_path_time: STALE_PATH_TIME,
            paths_max: 1,
        };
        self.table.set_peer(id, table.clone());
        let seed = seed ^ (u64::from(own.node.0) << 32 | u64::from(other.node.0)).wrapping_mul(0x9E37_79B9);
        let peer = Peer {
            node: other.node,
            session: Session::new(id, config, seed),
            config: table,
            epoch: None,
            heard: BTreeMap::new(),
            groups: BTreeMap::new(),
            attempt: 0,
            wake_at: None,
            mail_at: now,
        };
        self.peers.insert(id, peer);
    }

    /// Changes, or restores, what may pass between the node and a peer. Returns the feeds to hand over.
    pub fn set_doors(&mut self, id: PeerId, closed: Option<Door>) -> Option<(Epoch, Vec<Feed>)> {
        let peer = self.peers.get(&id)?;
        let mut config = peer.config.clone();
        match closed {
            Some(Door::Import) => config.import = PolicyChoice::Nothing,
            Some(Door::Export) => config.export = PolicyChoice::Nothing,
            None => {}
        }
        let feeds = self.table.set_peer(id, config);
        peer.epoch.map(|epoch| (epoch, feeds))
    }

    /// Originates a prefix.
    pub fn originate(&mut self, prefix: Prefix, pref: u32, now: Instant) {
        let origination = Origination {
            prefix,
            communities: Vec::new(),
            large_communities: Vec::new(),
            local_pref: Some(pref),
            med: None,
            vxlan: None,
            kernel: OwnRoute::Blackhole,
        };
        self.table.originate(origination, now);
    }

    /// Puts something into the core's inbox.
    pub fn tell(&mut self, peer: PeerId, event: session::Event) {
        self.inbox.push((peer, event));
    }

    /// Lets the core work off its inbox and commit.
    pub fn turn(&mut self, topology: &Topology, own: NodeId, now: Instant) -> Turn {
        let mut turn = Turn::default();
        for (peer, event) in std::mem::take(&mut self.inbox) {
            self.on_event(topology, own, peer, event, now, &mut turn);
        }
        self.table.timeout(now);
        self.waits.retain(|_, wait| !matches!(wait, Wait::Up(until) if *until <= now));
        if self.table.is_deferring() && self.waits.is_empty() {
            self.commit(&mut turn);
            for (peer, feeds) in self.table.release() {
                let epoch = self.peers.get(&peer).and_then(|p| p.epoch);
                turn.feeds.extend(epoch.map(|epoch| (peer, epoch, feeds)));
            }
            turn.is_released = true;
        }
        self.commit(&mut turn);
        turn
    }

    /// When the core has something to do without being told.
    pub fn deadline(&self) -> Option<Instant> {
        let waits = self.waits.values().filter_map(|wait| match wait {
            Wait::Up(until) => Some(*until),
            Wait::Ends(_) => None,
        });
        self.table.deadline().into_iter().chain(waits).min()
    }

    fn on_event(
        &mut self,
        topology: &Topology,
        own: NodeId,
        id: PeerId,
        event: session::Event,
        now: Instant,
        turn: &mut Turn,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match event {
            session::Event::Up { epoch, negotiated } => {
                peer.epoch = Some(epoch);
                peer.heard.clear();
                let us = topology.node(own);
                let attachment = Attachment {
                    peer_addr: IpAddr::V4(topology.node(peer.node).v4()),
                    own: OwnAddrs { v4: Some(us.v4()), v6: Some(us.v6()) },
                };
                if let Some(wait) = self.waits.get_mut(&id) {
                    *wait = Wait::Ends(negotiated.families);
                }
                // One that restarts itself says End-of-RIB only after us (RFC 4724 section 4.1).
                if negotiated.restart.is_none_or(|peer| peer.restarting) {
                    self.waits.remove(&id);
                }
                let feeds = self.table.peer_up(id, &negotiated, &attachment, now);
                turn.feeds.push((id, epoch, feeds));
            }
            session::Event::Routes(routes) => {
                turn.broken.extend(peer.hear(&routes, topology.node(own)));
                self.table.routes(id, &routes, now);
            }
            session::Event::EndOfRib(family) => {
                self.table.end_of_rib(id, family);
                if let Some(Wait::Ends(families)) = self.waits.get_mut(&id) {
                    families.remove(family);
                    if families.is_empty() {
                        self.waits.remove(&id);
                    }
                }
            }
            session::Event::RefreshRequested(family) => {
                if let (Some(epoch), Some(feed)) = (peer.epoch, self.table.refresh(id, family)) {
                    turn.feeds.push((id, epoch, vec![feed]));
                }
            }
            session::Event::RefreshBegun(family) => self.table.refresh_begun(id, family),
            session::Event::RefreshEnded(family) => self.table.refresh_ended(id, family),
            session::Event::Down { retention, .. } => {
                peer.epoch = None;
                peer.heard.clear();
                if let Some(wait) = self.waits.get_mut(&id) {
                    *wait = Wait::Up(now + PATIENCE);
                }
                self.table.peer_down(id, retention, now);
            }
            session::Event::Faulted(fault) => turn.broken.push(format!("{id} sent something wrong: {fault}")),
            session::Event::StateChanged { .. }
            | session::Event::NotificationSent(_)
            | session::Event::NotificationReceived(_)
            | session::Event::ConnectionFailed(_) => {}
        }
    }

    /// Decides, and answers for the kernel: every next hop is one hop away.
    fn commit(&mut self, turn: &mut Turn) {
        loop {
            let commit = self.table.commit();
            turn.is_published |= !commit.advanced.is_empty();
            self.views.extend(commit.advanced);
            for change in commit.fib {
                match change.route {
                    Some(route) => drop(self.fib.insert(change.prefix, route)),
                    None => {
                        self.fib.remove(&change.prefix);
                        turn.lost.push(change.prefix);
                    }
                }
            }
            for notice in commit.notices {
                match notice {
                    Notice::RefreshWanted { peer, family } => turn.refreshes.push((peer, family)),
                    Notice::TooLong { nlri, .. } => turn.broken.push(format!("{nlri} fits into no message")),
                    // A simulated cluster is too small for that.
                    Notice::TooSlow { peer } => turn.broken.push(format!("{peer} is given up as too slow")),
                    Notice::InterestChanged { peer } => {
                        let feeds = self.table.follow_interest(peer);
                        let epoch = self.peers.get(&peer).and_then(|p| p.epoch);
                        turn.feeds.extend(epoch.map(|epoch| (peer, epoch, feeds)));
                    }
                    Notice::PrefixLimit { .. } | Notice::StaleExpired { .. } => {}
                }
            }
            if commit.tracking.is_empty() {
                break;
            }
            for tracking in commit.tracking {
                if let Tracking::Wanted(addr) = tracking {
                    self.table.next_hop(addr, Reachability::Reachable { metric: 0 });
                }
            }
        }
        // A prefix that was lost and found again within a turn was never lost.
        turn.lost.retain(|prefix| !self.fib.contains_key(prefix));
    }

    /// What the core does in a quiet moment.
    pub fn tidy(&mut self, turn: &mut Turn) {
        let tidied = self.table.tidy();
        turn.is_published |= !tidied.is_empty();
        self.views.extend(tidied);
    }
}

impl Peer {
    /// Keeps what was heard; returns what should not have been said.
    fn hear(&mut self, routes: &Routes, us: &Plan) -> Vec<String> {
        let mut broken = Vec::new();
        for change in &routes.changes {
            let key = (change.family, change.path_id, change.nlri.clone());
            let Some(attrs) = change.attrs.and_then(|at| routes.attrs.get(at as usize)) else {
                self.heard.remove(&key);
                continue;
            };
            let ours = [IpAddr::V4(us.v4()), IpAddr::V6(us.v6())];
            let is_ours = attrs.next_hop().addr().is_some_and(|addr| ours.contains(&addr));
            if is_ours && attrs.originator_id() != Some(us.router_id) {
                broken.push(format!("{} told {} back to its originator, unmarked", self.node.0, change.nlri));
            }
            self.heard.insert(key, attrs.clone());
        }
        broken
    }
}
