//! Peers of the table: what they are, whether they are up, and which groups they hear.

use bgp_proto::capability::Role;
use bgp_proto::{Asn, Family, FamilySet, NextHop, Nlri, RouterId, WireContext};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::rejected::Rejected;
use super::{Notice, Table};
use crate::decide::Source;
use crate::events::{LongLived, LongLivedPeer, Negotiated, RefreshMode, Retention};
use crate::feed::Feed;
use crate::group::{GroupKey, Interest, LongLivedRule, NextHopRule, PolicyChoice, TunnelScope};
use crate::ids::{EntryId, GroupId, PeerId};
use crate::limits::REJECTIONS_KEPT_MAX;
use crate::reflection::PeerKind;
use crate::rib::PrefixId;
use crate::time::{Duration, Instant};

/// What the table needs to know of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// The configuration entry that the peer comes from.
    pub entry: EntryId,
    /// What the peer is to this speaker.
    pub kind: PeerKind,
    /// What may enter.
    pub import: PolicyChoice,
    /// What may leave.
    pub export: PolicyChoice,
    /// Whose address the next hop of what it is told becomes.
    pub next_hop: NextHopRule,
    /// Prefixes of one family that it may announce.
    pub prefix_limit: Option<PrefixLimit>,
    /// The AS number that the peer knows this speaker by.
    pub local_asn: Asn,
    /// What this speaker is to the peer (RFC 9234), if it is external.
    pub role: Option<Role>,
    /// What it is told of long-lived stale routes if it does not know RFC 9494.
    pub long_lived_unaware: LongLivedRule,
    /// How often this speaker's own AS may stand in its paths; usually 0.
    pub own_as_max: u8,
    /// Whether tunnels that its routes name are used, and ours are told, if it is external.
    pub tunnels: TunnelScope,
    /// Paths a prefix that it is told where add-path is negotiated.
    pub paths_max: usize,
    /// How long its routes stay stale once it is back and says no End-of-RIB (RFC 4724 section 4.2 leaves that to us).
    pub stale_path_time: Duration,
}

/// A bound for a peer's prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixLimit {
    /// Prefixes of one family.
    pub prefixes: u32,
    /// What more lead to.
    pub excess: Excess,
}

/// What too many prefixes lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// A word to the operator, once until there are few enough again. The routes are taken.
    Warned,
    /// The end of the session, until somebody starts it again or this long has passed.
    Closed {
        /// When it starts again.
        restart: Option<Duration>,
    },
}

/// A session's addresses, as the daemon knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The peer's address.
    pub peer_addr: IpAddr,
    /// This speaker's addresses towards the peer.
    pub own: OwnAddrs,
}

/// This speaker's addresses on a session: what `self` means as a next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnAddrs {
    /// The IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// The global IPv6 address.
    pub v6: Option<Ipv6Addr>,
}

impl OwnAddrs {
    /// The next hop for routes of `family` that point here.
    pub fn of(&self, family: Family) -> Option<NextHop> {
        match family {
            Family::IPV4_UNICAST => self.v4.map(|a| NextHop::from(IpAddr::V4(a))),
            Family::IPV6_UNICAST => self.v6.map(|a| NextHop::from(IpAddr::V6(a))),
            // RFC 4684 section 4: of either version.
            Family::RT_CONSTRAINT => {
                let (v4, v6) = (self.v4.map(IpAddr::V4), self.v6.map(IpAddr::V6));
                v4.or(v6).map(NextHop::from)
            }
            _ => None,
        }
    }

    /// As [`OwnAddrs::of`], for a peer that takes IPv6 next hops for IPv4 routes (RFC 8950) if there is no other.
    fn next_hop(&self, family: Family, wire: &WireContext) -> Option<NextHop> {
        let extended = || self.v6.map(|a| NextHop::from(IpAddr::V6(a)));
        self.of(family).or_else(|| wire.extended_next_hop.contains(family).then(extended)?)
    }

    /// Whether `addr` is one of them.
    pub fn contains(&self, addr: IpAddr) -> bool {
        match addr {
            IpAddr::V4(a) => self.v4 == Some(a),
            IpAddr::V6(a) => self.v6 == Some(a),
        }
    }
}

/// A peer's counters in one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerCounts {
    /// Paths of it among the candidates.
    pub accepted: u32,
    /// Of these, best ones.
    pub best: u32,
    /// Of these, ones it has yet to confirm.
    pub stale: u32,
    /// Paths that were not accepted, all told.
    pub rejected: u64,
    /// Paths that its group is told, its own included.
    pub advertised: u32,
}

/// Whether what is selected is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Selection {
    /// As it changes.
    #[default]
    Running,
    /// Not yet (RFC 4724 section 4.1).
    Deferred,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) config: PeerConfig,
    pub(super) addr: IpAddr,
    pub(super) router_id: RouterId,
    pub(super) up: Option<Up>,
    accepted: Vec<(Family, u32)>,
    pub(super) is_over_limit: bool,
    /// Its address, where its import policy looks at ways and it is up: the way there is followed.
    pub(super) watched: Option<IpAddr>,
    rejected: BTreeMap<Rejected, u64>,
    rejections: VecDeque<(Nlri, Rejected)>,
}

#[derive(Debug)]
pub(super) struct Up {
    pub(super) peer_asn: Asn,
    /// Families that a graceful restart keeps.
    pub(super) restarts: FamilySet,
    pub(super) long_lived: LongLived,
    pub(super) families: FamilySet,
    pub(super) transmit: WireContext,
    pub(super) refresh: RefreshMode,
    pub(super) own: OwnAddrs,
    pub(super) groups: Vec<(Family, GroupId)>,
    /// The route targets that it asked for, if it has to (RFC 4684).
    pub(super) interest: Option<Arc<Interest>>,
}

impl Peer {
    fn new(config: PeerConfig) -> Peer {
        Peer {
            config,
            addr: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            router_id: RouterId(0),
            up: None,
            accepted: Vec::new(),
            is_over_limit: false,
            watched: None,
            rejected: BTreeMap::new(),
            rejections: VecDeque::new(),
        }
    }

    pub(super) fn source(&self) -> Source {
        match self.config.kind {
            PeerKind::External => Source::External,
            PeerKind::Client | PeerKind::NonClient => Source::Internal,
        }
    }

    /// Counts a new path; returns the limit if this one goes beyond it: once a session, or, where that only warns, once
    /// until there are few enough again.
    pub(super) fn count_path(&mut self, family: Family) -> Option<PrefixLimit> {
        let count = match self.accepted.iter_mut().find(|(f, _)| *f == family) {
            Some((_, count)) => count,
            None => {
                self.accepted.push((family, 0));
                &mut self.accepted.last_mut()?.1
            }
        };
        *count += 1;
        let limit = self.config.prefix_limit?;
        let is_news = match limit.excess {
            Excess::Warned => *count == limit.prefixes.saturating_add(1),
            Excess::Closed { .. } => {
                *count > limit.prefixes && !core::mem::replace(&mut self.is_over_limit, true)
            }
        };
        is_news.then_some(limit)
    }

    pub(super) fn uncount_path(&mut self, family: Family) {
        if let Some((_, count)) = self.accepted.iter_mut().find(|(f, _)| *f == family) {
            *count = count.saturating_sub(1);
        }
    }

    pub(super) fn accepted(&self, family: Family) -> u32 {
        self.accepted.iter().find(|(f, _)| *f == family).map_or(0, |(_, n)| *n)
    }

    pub(super) fn note_rejection(&mut self, nlri: &Nlri, reason: Rejected) {
        *self.rejected.entry(reason).or_default() += 1;
        if self.rejections.len() == REJECTIONS_KEPT_MAX {
            self.rejections.pop_front();
        }
        self.rejections.push_back((nlri.clone(), reason));
    }

    pub(super) fn rejected(&self) -> impl Iterator<Item = (Rejected, u64)> + '_ {
        self.rejected.iter().map(|(r, n)| (*r, *n))
    }

    /// Why the peer's latest path to `nlri` was not accepted, if that was lately.
    pub(super) fn rejection(&self, nlri: &Nlri) -> Option<Rejected> {
        self.rejections.iter().rev().find(|(n, _)| n == nlri).map(|(_, r)| *r)
    }

    pub(super) fn key(&self, up: &Up, family: Family) -> GroupKey {
        GroupKey {
            family,
            kind: self.config.kind,
            export: self.config.export.clone(),
            next_hop: self.config.next_hop,
            own: up.own.next_hop(family, &up.transmit),
            wire: up.transmit,
            paths_max: self.config.paths_max,
            local_asn: self.config.local_asn,
            role: self.config.role,
            tunnels: self.config.tunnels,
            long_lived: match up.long_lived.peer {
                LongLivedPeer::Aware => LongLivedRule::Told,
                LongLivedPeer::Unaware => self.config.long_lived_unaware,
            },
            interest: up.interest.clone(),
        }
    }
}

impl Table {
    /// Adds a peer, or changes one. An established peer whose group changes gets new feeds; one whose import
    /// policy changes is asked for its routes again ([`Notice::RefreshWanted`]).
    pub fn set_peer(&mut self, id: PeerId, config: PeerConfig) -> Vec<Feed> {
        let peer = self.peers.entry(id).or_insert_with(|| Peer::new(config.clone()));
        let import_changed = peer.config.import != config.import
            || (peer.config.own_as_max, peer.config.role, peer.config.tunnels)
                != (config.own_as_max, config.role, config.tunnels);
        let kind_changed = peer.config.kind != config.kind;
        peer.config = config;
        self.watch_way(id);
        let Some((peer, up)) = self.peers.get(&id).and_then(|p| Some((p, p.up.as_ref()?))) else {
            return Vec::new();
        };
        if import_changed {
            let wanted = up.families.iter().map(|family| Notice::RefreshWanted { peer: id, family });
            self.pending.notices.extend(wanted);
        }
        let moves: Vec<(GroupId, GroupKey)> =
            up.groups.iter().map(|(family, group)| (*group, peer.key(up, *family))).collect();
        if kind_changed {
            self.mark_paths_of(id);
        }
        let feeds: Vec<Feed> =
            moves.into_iter().filter_map(|(from, key)| self.move_group(id, from, key)).collect();
        self.note_groups(id, &feeds);
        feeds
    }

    /// Remembers the groups that a peer was moved to.
    pub(super) fn note_groups(&mut self, id: PeerId, feeds: &[Feed]) {
        let Some(up) = self.peers.get_mut(&id).and_then(|p| p.up.as_mut()) else { return };
        for feed in feeds {
            up.groups.retain(|(family, _)| *family != feed.family);
            up.groups.push((feed.family, feed.group));
        }
    }

    /// Forgets a peer and its routes.
    pub fn remove_peer(&mut self, id: PeerId) {
        self.peer_down(id, Retention::Drop, Instant::EPOCH);
        self.peers.remove(&id);
    }

    /// The peer's session is established: the feeds to attach to it.
    pub fn peer_up(
        &mut self,
        id: PeerId,
        negotiated: &Negotiated,
        attachment: &Attachment,
        now: Instant,
    ) -> Vec<Feed> {
        if self.peers.get(&id).is_some_and(|p| p.up.is_some()) {
            // The daemon lost a Down; the new session is what counts.
            self.peer_down(id, Retention::Drop, now);
        }
        self.peer_back(id, negotiated, now);
        let Some(peer) = self.peers.get_mut(&id) else { return Vec::new() };
        peer.addr = attachment.peer_addr;
        peer.router_id = negotiated.peer_router_id;
        peer.is_over_limit = false;
        let has_to_ask = negotiated.families.contains(Family::RT_CONSTRAINT);
        if has_to_ask {
            self.askers.begin(id, now);
        }
        let up = Up {
            peer_asn: negotiated.peer_asn,
            restarts: negotiated.restart.map_or(FamilySet::EMPTY, |restart| restart.families),
            long_lived: negotiated.long_lived.clone(),
            families: negotiated.families,
            transmit: negotiated.transmit,
            refresh: negotiated.refresh,
            own: attachment.own,
            groups: Vec::new(),
            interest: has_to_ask.then(Arc::default),
        };
        peer.up = Some(up);
        self.watch_way(id);
        match self.selection {
            Selection::Deferred => Vec::new(),
            Selection::Running => self.grant(id),
        }
    }

    /// The feeds of a peer that is up and has none.
    fn grant(&mut self, id: PeerId) -> Vec<Feed> {
        let Some(peer) = self.peers.get(&id) else { return Vec::new() };
        let Some(up) = peer.up.as_ref() else { return Vec::new() };
        let heard = up.families.iter().filter(|family| !self.askers.holds_back(id, *family));
        let keys: Vec<GroupKey> = heard.map(|family| peer.key(up, family)).collect();
        let feeds: Vec<Feed> = keys.into_iter().filter_map(|key| self.join_group(id, key)).collect();
        if let Some(up) = self.peers.get_mut(&id).and_then(|p| p.up.as_mut()) {
            up.groups = feeds.iter().map(|f| (f.family, f.group)).collect();
        }
        feeds
    }

    /// This speaker has restarted and its peers keep its routes: until [`Table::release`] they are told nothing, not
    /// even End-of-RIB, which would have them drop what is not announced yet (RFC 4724 section 4.1).
    pub fn defer(&mut self) {
        self.selection = Selection::Deferred;
    }

    /// Whether peers are told nothing yet.
    pub fn is_deferring(&self) -> bool {
        self.selection == Selection::Deferred
    }

    /// All who should have said End-of-RIB, or had time to: tells every peer that is up. Returns the feeds to attach.
    pub fn release(&mut self) -> Vec<(PeerId, Vec<Feed>)> {
        if core::mem::replace(&mut self.selection, Selection::Running) == Selection::Running {
            return Vec::new();
        }
        let up: Vec<PeerId> = self.peers.iter().filter(|(_, p)| p.up.is_some()).map(|(id, _)| *id).collect();
        up.into_iter().map(|id| (id, self.grant(id))).collect()
    }

    /// Whether the peer can be asked for its routes again.
    pub fn can_refresh(&self, id: PeerId) -> bool {
        let up = self.peers.get(&id).and_then(|p| p.up.as_ref());
        up.is_some_and(|up| up.refresh != RefreshMode::None)
    }

    /// A peer's kind changed: its paths pass differently. Forgetting that one was best has the groups told again.
    fn mark_paths_of(&mut self, id: PeerId) {
        for at in 0..self.ribs.len() {
            let rib = &self.ribs[at];
            let is_theirs = |p: &PrefixId| rib.candidates(*p).iter().any(|c| c.peer == id);
            let ids: Vec<PrefixId> = rib.ids().filter(is_theirs).collect();
            ids.into_iter().for_each(|prefix| self.retell(at, prefix));
        }
    }
}
