//! Peers as the core keeps them: configured ones, and those that came through a listen range.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bgp_proto::{Family, FamilySet};
use reflector::events::{Negotiated, Retention};
use reflector::feed::Feed;
use reflector::ids::PeerId;
use reflector::session::{self, Epoch, State, Stop};
use reflector::table::{Attachment, OwnAddrs};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::answers::Name;
use super::compile::OwnRestart;
use super::startup::Ending;
use super::{Core, compile};
use crate::bfd;
use crate::config::desired::{self, Farewell, Remote};
use crate::fib;
use crate::net::{self, Attached, PeerHandle};

/// Peers beyond which nobody is let in through a listen range.
const PEERS_MAX: usize = 20_000;

/// How long the node's addresses are taken to be what the kernel said.
const ADDRESSES_KEPT: Duration = Duration::from_secs(1);

/// A peer.
pub(super) struct Peer {
    /// The configuration entry that it comes from.
    pub(super) remote: Remote,
    /// What operators call it.
    pub(super) name: String,
    pub(super) addr: IpAddr,
    pub(super) handle: PeerHandle,
    /// The session that is up.
    pub(super) up: Option<Up>,
    /// Whether an operator has shut it down, and so nothing is kept for its return.
    pub(super) is_shut: bool,
}

/// An established session.
pub(super) struct Up {
    pub(super) epoch: Epoch,
    pub(super) negotiated: Box<Negotiated>,
    /// Families of which it has said End-of-RIB.
    pub(super) ended: FamilySet,
}

impl Core {
    /// Adds a configured peer; a listen range only tells the listeners.
    pub(super) fn add_peer(&mut self, config: &desired::Peer) {
        match config.remote {
            Remote::Range(range) => self.net.allow_range(range, config.password.as_ref()),
            Remote::Address(addr) => {
                self.spawn_peer(config, addr, config.name.clone());
            }
        }
    }

    fn spawn_peer(&mut self, config: &desired::Peer, addr: IpAddr, name: String) -> PeerId {
        self.next_peer += 1;
        let id = PeerId(self.next_peer);
        let table = compile::peer(config, &self.desired, &mut self.entries);
        self.table.set_peer(id, table);
        let handle =
            self.net.spawn(compile::spec(id, &name, addr, config, &self.desired, self.own_restart()));
        self.bfd.watch(addr, config.local_address, config.bfd);
        self.by_addr.insert(addr, id);
        self.peers.insert(id, Peer { remote: config.remote, name, addr, handle, up: None, is_shut: false });
        id
    }

    /// Forgets the peers of a configuration entry.
    pub(super) fn remove_entry(&mut self, remote: Remote) {
        if let Remote::Range(range) = remote {
            self.net.forbid_range(range);
        }
        let gone: Vec<PeerId> = self.of_entry(remote);
        for id in gone {
            self.remove_peer(id, Stop::Deconfigured);
        }
    }

    pub(super) fn of_entry(&self, remote: Remote) -> Vec<PeerId> {
        self.peers.iter().filter(|(_, p)| p.remote == remote).map(|(id, _)| *id).collect()
    }

    fn remove_peer(&mut self, id: PeerId, stop: Stop) {
        if let Some(peer) = self.peers.remove(&id) {
            self.by_addr.remove(&peer.addr);
            self.bfd.watch(peer.addr, None, None);
            if let (IpAddr::V6(addr), Some(fib)) = (peer.addr, &self.fib)
                && addr.is_unicast_link_local()
            {
                fib.hint(addr, None);
            }
            self.net.remove(peer.addr, stop);
        }
        self.table.remove_peer(id);
        for start in [&mut self.startup, &mut self.deferral].into_iter().flatten() {
            start.forget(id);
        }
        self.drop_unused_groups();
    }

    /// Takes over a changed configuration of a peer, or of all that came through a range.
    pub(super) fn change_entry(&mut self, config: &desired::Peer) {
        if let Remote::Range(range) = config.remote {
            self.net.allow_range(range, config.password.as_ref());
        }
        for id in self.of_entry(config.remote) {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            if let Remote::Address(_) = config.remote {
                peer.name.clone_from(&config.name);
            }
            let (name, addr) = (peer.name.clone(), peer.addr);
            self.bfd.watch(addr, config.local_address, config.bfd);
            self.net.configure(compile::spec(id, &name, addr, config, &self.desired, self.own_restart()));
            let table = compile::peer(config, &self.desired, &mut self.entries);
            let feeds = self.table.set_peer(id, table);
            self.attach(id, feeds);
        }
        self.drop_unused_groups();
    }

    /// Hands feeds to the session that is up.
    pub(super) fn attach(&mut self, id: PeerId, feeds: Vec<Feed>) {
        let Some(epoch) = self.peers.get(&id).and_then(|p| p.up.as_ref()).map(|up| up.epoch) else { return };
        let attached: Vec<Attached> = feeds
            .into_iter()
            .map(|feed| {
                let sender =
                    self.groups.entry(feed.group).or_insert_with(|| watch::Sender::new(feed.view.clone()));
                // A feed is granted on a view that may be newer than the last one published; usually it is that one, and
                // nobody is woken.
                sender.send_if_modified(|published| {
                    let is_newer = !Arc::ptr_eq(published, &feed.view);
                    if is_newer {
                        published.clone_from(&feed.view);
                    }
                    is_newer
                });
                Attached { views: sender.subscribe(), feed }
            })
            .collect();
        if let Some(peer) = self.peers.get(&id).filter(|_| !attached.is_empty()) {
            peer.handle.attach(epoch, attached);
        }
    }

    /// The peer asks for other VPN routes (RFC 4684).
    pub(super) fn follow_interest(&mut self, id: PeerId) {
        let feeds = self.table.follow_interest(id);
        self.attach(id, feeds);
        self.drop_unused_groups();
    }

    fn drop_unused_groups(&mut self) {
        let table = &self.table;
        self.groups.retain(|id, _| table.view(*id).is_some());
    }

    pub(super) fn on_net(&mut self, event: net::Event) {
        let (peer, changes) = match &event {
            net::Event::Session { peer, event: session::Event::Routes(routes), .. } => {
                (*peer, routes.changes.len())
            }
            net::Event::Up { peer, .. } | net::Event::Session { peer, .. } | net::Event::Retired { peer } => {
                (*peer, 1)
            }
            net::Event::Incoming { .. } => (PeerId::LOCAL, 1),
        };
        self.pace.changed(peer, changes, self.clock.now());
        match event {
            net::Event::Up { peer, epoch, negotiated, local, remote } => {
                self.on_up(peer, epoch, negotiated, local, remote);
            }
            net::Event::Session { peer, event, credit } => {
                self.on_session(peer, event);
                drop(credit);
            }
            net::Event::Retired { peer } => self.on_retired(peer),
            net::Event::Incoming { remote, stream } => self.on_incoming(remote, stream),
        }
    }

    fn on_up(
        &mut self,
        id: PeerId,
        epoch: Epoch,
        negotiated: Box<Negotiated>,
        local: SocketAddr,
        remote: SocketAddr,
    ) {
        let now = self.clock.now();
        let own = self.own_addrs(local.ip(), negotiated.families);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        info!(peer = %peer.name, addr = %remote, asn = negotiated.peer_asn.0, hold = negotiated.hold_secs, "established");
        if let (SocketAddr::V6(v6), Some(fib)) = (remote, &self.fib)
            && v6.ip().is_unicast_link_local()
        {
            // Its next hops are on the interface of the session, which the address alone does not say.
            fib.hint(*v6.ip(), Some(v6.scope_id()));
        }
        let ending = if negotiated.restart.is_some() { Ending::Said } else { Ending::Unsaid };
        for start in [&mut self.startup, &mut self.deferral].into_iter().flatten() {
            start.up(id, negotiated.families, ending, now);
        }
        let waits_itself = negotiated.restart.is_none_or(|peer| peer.restarting);
        if let (true, Some(deferral)) = (waits_itself, &mut self.deferral) {
            // RFC 4724 section 4.1: it waits itself, or knows nothing of this.
            deferral.forget(id);
        }
        let attachment = Attachment { peer_addr: remote.ip(), own };
        let feeds = self.table.peer_up(id, &negotiated, &attachment, now);
        peer.up = Some(Up { epoch, negotiated, ended: FamilySet::EMPTY });
        self.attach(id, feeds);
    }

    /// This node's addresses as next hops on a session: the session's own, and for the other family one of the same
    /// interface.
    fn own_addrs(&mut self, local: IpAddr, families: FamilySet) -> OwnAddrs {
        let mut own = OwnAddrs::default();
        match local {
            IpAddr::V4(addr) => own.v4 = Some(addr),
            IpAddr::V6(addr) => own.v6 = Some(addr),
        }
        let other = if local.is_ipv4() { Family::IPV6_UNICAST } else { Family::IPV4_UNICAST };
        if !families.contains(other) {
            return own;
        }
        match self.beside(local) {
            Ok(Some(IpAddr::V4(addr))) => own.v4 = Some(addr),
            Ok(Some(IpAddr::V6(addr))) => own.v6 = Some(addr),
            Ok(None) => {
                debug!(%local, family = %other, "the session's interface has no address of this family")
            }
            Err(error) => warn!(%local, %error, "cannot ask the kernel for this node's addresses"),
        }
        own
    }

    /// The first address of the other family on the interface that has `local`. The kernel is asked once for all
    /// sessions that come up together.
    fn beside(&mut self, local: IpAddr) -> io::Result<Option<IpAddr>> {
        let now = self.clock.now();
        let all = match self.addresses.take().filter(|(asked, _)| now - *asked < ADDRESSES_KEPT) {
            Some(known) => known,
            None => (now, fib::node_addresses()?),
        };
        let (_, addresses) = self.addresses.insert(all);
        let Some(interface) = addresses.iter().find(|a| a.addr == local).map(|a| a.ifindex) else {
            return Ok(None);
        };
        let mut others =
            addresses.iter().filter(|a| a.ifindex == interface && a.addr.is_ipv4() != local.is_ipv4());
        Ok(others.next().map(|a| a.addr))
    }

    fn on_session(&mut self, id: PeerId, event: session::Event) {
        let now = self.clock.now();
        match event {
            session::Event::Routes(routes) => {
                for start in [&mut self.startup, &mut self.deferral].into_iter().flatten() {
                    start.heard(id, now);
                }
                self.table.routes(id, &routes, now);
            }
            session::Event::EndOfRib(family) => {
                for start in [&mut self.startup, &mut self.deferral].into_iter().flatten() {
                    start.ended(id, family);
                }
                if let Some(up) = self.peers.get_mut(&id).and_then(|p| p.up.as_mut()) {
                    up.ended.insert(family);
                }
                self.table.end_of_rib(id, family);
            }
            session::Event::RefreshRequested(family) => {
                let feed = self.table.refresh(id, family);
                self.attach(id, feed.into_iter().collect());
            }
            session::Event::RefreshBegun(family) => self.table.refresh_begun(id, family),
            session::Event::RefreshEnded(family) => self.table.refresh_ended(id, family),
            session::Event::Down { reason, retention } => self.on_down(id, &reason, retention),
            session::Event::StateChanged { from, to } => {
                debug!(peer = %self.name(id), %from, %to, "state");
                if from > State::Active && to <= State::Active {
                    self.forget_visitor(id);
                }
            }
            session::Event::NotificationSent(notification) => {
                info!(peer = %self.name(id), %notification, "notification sent");
            }
            session::Event::NotificationReceived(notification) => {
                info!(peer = %self.name(id), %notification, "notification received");
            }
            session::Event::ConnectionFailed(failure) => {
                debug!(peer = %self.name(id), %failure, "connection failed");
            }
            session::Event::Faulted(fault) => {
                debug!(peer = %self.name(id), %fault, "malformed UPDATE");
            }
            session::Event::Up { .. } => {
                debug_assert!(false, "the connection task says it as net::Event::Up")
            }
        }
    }

    /// Whoever came through a range, has no session, and is not waited for, leaves nothing behind. Only its task knows
    /// whether it is back already: a connection may have been handed over that nothing was told of yet.
    pub(super) fn forget_visitor(&mut self, id: PeerId) {
        let is_visitor = |p: &&Peer| matches!(p.remote, Remote::Range(_)) && p.up.is_none();
        if let Some(peer) = self.peers.get(&id).filter(is_visitor).filter(|_| !self.table.awaits(id)) {
            peer.handle.retire();
        }
    }

    /// A visitor is gone. One that came back while its task was ending is let in anew.
    fn on_retired(&mut self, id: PeerId) {
        let Some(addr) = self.peers.get(&id).map(|peer| peer.addr) else { return };
        let back = self.net.retired(addr);
        self.remove_peer(id, Stop::Leave);
        if let Some((stream, remote)) = back {
            self.on_incoming(remote, stream);
        }
    }

    fn on_down(&mut self, id: PeerId, reason: &session::Reason, retention: Retention) {
        let now = self.clock.now();
        info!(peer = %self.name(id), %reason, ?retention, "session ended");
        let is_shut = self.peers.get(&id).is_some_and(|peer| peer.is_shut);
        self.table.peer_down(id, if is_shut { Retention::Drop } else { retention }, now);
        for start in [&mut self.startup, &mut self.deferral].into_iter().flatten() {
            start.down(id);
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.up = None;
        self.drop_unused_groups();
        self.forget_visitor(id);
    }

    /// The path to a peer changed (RFC 5882 section 4).
    pub(super) fn on_bfd(&mut self, bfd::Event { addr, change }: bfd::Event) {
        let known = self.by_addr.get(&addr).and_then(|id| Some((*id, self.peers.get(id)?)));
        let (Some((id, peer)), bfd::Change::Failed { is_independent }) = (known, change) else { return };
        if peer.up.is_some() {
            peer.handle.stop(Stop::BfdDown);
        } else if is_independent {
            // RFC 5882 section 4.3.2.1: its forwarding did not survive the restart. Where BFD shares the fate of its
            // control plane, silence is what a restart looks like (section 4.3.2.2).
            self.table.peer_down(id, Retention::Drop, self.clock.now());
        }
    }

    /// A connection from an address inside a listen range.
    fn on_incoming(&mut self, remote: SocketAddr, stream: TcpStream) {
        let addr = remote.ip().to_canonical();
        if let Some(peer) = self.by_addr.get(&addr).and_then(|id| self.peers.get(id)) {
            peer.handle.accept(stream, remote);
            return;
        }
        let range = self.desired.peers.values().filter_map(|p| match p.remote {
            Remote::Range(range) if range.contains_addr(addr) => Some((range.len(), p)),
            Remote::Range(_) | Remote::Address(_) => None,
        });
        let Some((_, config)) = range.max_by_key(|(len, _)| *len) else { return };
        let config = config.clone();
        if self.peers.len() >= PEERS_MAX {
            warn!(range = %config.remote, %addr, max = PEERS_MAX, "too many peers: connection closed");
            return;
        }
        let name = format!("{}/{addr}", config.name);
        let id = self.spawn_peer(&config, addr, name);
        if let Some(peer) = self.peers.get(&id) {
            peer.handle.accept(stream, remote);
        }
    }

    /// What operators call a peer.
    pub(super) fn name(&self, id: PeerId) -> &str {
        match self.peers.get(&id) {
            Some(peer) => &peer.name,
            None if id == PeerId::LOCAL => "local",
            None => "gone",
        }
    }

    pub(super) fn name_of(&self, id: PeerId) -> Name {
        Name { addr: self.peers.get(&id).map(|p| p.addr), name: self.name(id).to_owned() }
    }

    /// What this speaker says of its own restart at this moment.
    pub(super) fn own_restart(&self) -> OwnRestart {
        match (&self.desired.kernel, &self.deferral) {
            _ if self.table.is_deferring() => OwnRestart::Restarting,
            // Who is not in the path of what is forwarded cannot have lost it (RFC 4724 section 4.1 leaves the F bit of
            // such a speaker to configuration).
            (None, _) | (Some(_), None) => OwnRestart::Steady,
            (Some(_), Some(_)) => OwnRestart::Fresh,
        }
    }

    /// The start is over: peers that were held back are told everything, and sessions to come are told that it is.
    pub(super) fn release(&mut self) {
        let granted = self.table.release();
        // First, as a peer that has heard our End-of-RIB may be back at once: R is cleared by then (RFC 4724 section 3).
        let own = self.own_restart();
        for (id, peer) in &self.peers {
            if let Some(config) = self.desired.peers.get(&peer.remote) {
                self.net.configure(compile::spec(*id, &peer.name, peer.addr, config, &self.desired, own));
            }
        }
        for (id, feeds) in granted {
            self.attach(id, feeds);
        }
    }

    /// How each session ends with the daemon: one that restarts gracefully is left without a word, so that the neighbour
    /// keeps our routes; another is told.
    pub(super) fn last_words(&self) -> BTreeMap<IpAddr, Stop> {
        let keeps = self.desired.restart.farewell == Farewell::Silence;
        let stop = |peer: &Peer| match &peer.up {
            Some(up) if keeps && up.negotiated.restart.is_some() => Stop::Leave,
            Some(_) | None => Stop::Exit,
        };
        self.peers.values().map(|peer| (peer.addr, stop(peer))).collect()
    }
}
