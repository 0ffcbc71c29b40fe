//! What BIRD's commands ask of the core: sessions and routes in their terms.
//!
//! Rows, not text: what a reply looks like is `bird`'s. A page of routes costs at most [`SCANNED_MAX`] prefixes of work, as for our own
//! commands.

use std::net::IpAddr;
use std::time::Duration;

use bgp_proto::{AsnWidth, Family, FamilySet, MessageMax, Nlri};
use reflector::events::RefreshMode;
use reflector::ids::PeerId;
use reflector::policy::program::Provenance;
use reflector::rib::{Freshness, PrefixId};
use reflector::session::{State, Stop};
use reflector::table::PathAnswer;
use reflector::time::Instant;
use tokio::sync::oneshot;

use super::Core;
use super::peers::Peer;
use crate::control::bird::{
    Answer, BgpState, Counts, Established, Instance, Origin, Question, RouteQuery, RouteRow, RoutesPage,
    SessionRow, Step,
};

/// Prefixes looked at for one page.
const SCANNED_MAX: usize = 5_000;

impl Core {
    /// Answers one of BIRD's questions.
    pub(super) fn answer_bird(&mut self, question: &Question, reply: oneshot::Sender<Answer>) {
        let answer = match question {
            Question::Instance => Answer::Instance(self.bird_instance()),
            Question::Sessions => Answer::Sessions(self.bird_sessions()),
            Question::Routes(query) => Answer::Routes(self.bird_routes(query)),
            Question::Restart(addr) => {
                if let Some(peer) = self.by_addr.get(addr).and_then(|id| self.peers.get(id)) {
                    peer.handle.stop(Stop::Reset(String::new()));
                }
                Answer::Done
            }
            Question::Reload(addr) => {
                self.bird_reload(*addr);
                Answer::Done
            }
        };
        // Whoever asked may have left.
        drop(reply.send(answer));
    }

    fn bird_reload(&mut self, addr: IpAddr) {
        let Some(id) = self.by_addr.get(&addr).copied() else { return };
        let Some(up) = self.peers.get(&id).and_then(|peer| peer.up.as_ref()) else { return };
        for family in up.negotiated.families.iter().collect::<Vec<_>>() {
            if let Some(peer) = self.peers.get(&id).filter(|_| self.table.can_refresh(id)) {
                peer.handle.refresh(family);
            }
            let feed = self.table.refresh(id, family);
            self.attach(id, feed.into_iter().collect());
        }
    }

    fn ago(&self, at: Instant) -> Duration {
        Duration::from_nanos(self.clock.now().as_nanos().saturating_sub(at.as_nanos()))
    }

    fn bird_instance(&self) -> Instance {
        let [kernel, direct, own] = self.bird_counts([PeerId::KERNEL, PeerId::DIRECT, PeerId::LOCAL]);
        let waiting = self.deferral.as_ref().filter(|_| self.table.is_deferring());
        Instance {
            router_id: self.desired.router_id,
            up_for: self.ago(Instant::EPOCH),
            configured_for: self.ago(self.loaded),
            recovering: waiting.map(|d| {
                let left =
                    d.deadline().map_or(0, |at| at.as_nanos().saturating_sub(self.clock.now().as_nanos()));
                (d.waiting(), Duration::from_nanos(left))
            }),
            recovery_total: self.desired.restart.selection_deferral,
            kernel,
            direct,
            own,
            installed: self.fib.as_ref().map_or(0, |fib| fib.stats().states.installed),
        }
    }

    /// How many paths each of these parts of this speaker gives, and how many of them are best: once through the table.
    fn bird_counts<const N: usize>(&self, sources: [PeerId; N]) -> [Counts; N] {
        let mut all = [Counts::default(); N];
        for family in self.table.families() {
            for (id, _) in self.table.prefixes(family, None) {
                for path in self.table.paths(family, id) {
                    let of_it = sources.iter().zip(&mut all).find(|(source, _)| **source == path.peer);
                    let Some((_, counts)) = of_it else { continue };
                    counts.imported += 1;
                    counts.preferred += u32::from(path.best.is_some());
                }
            }
        }
        all
    }

    fn bird_sessions(&self) -> Vec<SessionRow> {
        let counts: Vec<_> = self.table.families().map(|family| self.table.counts(family)).collect();
        let row = |(id, peer): (&PeerId, &Peer)| {
            let mut sum = Counts::default();
            for counts in counts.iter().filter_map(|all| all.get(id)) {
                sum.imported += counts.accepted;
                sum.preferred += counts.best;
                sum.exported += counts.advertised;
                sum.rejected += counts.rejected;
            }
            let snapshot = peer.handle.snapshot();
            let (state, since) = snapshot.state.unwrap_or((State::Idle, Instant::EPOCH));
            SessionRow {
                addr: peer.addr,
                state: state_of(state),
                state_for: self.ago(since),
                trouble: snapshot.trouble.as_ref().map(|(text, _)| text.clone()),
                stale: self.table.awaits(*id),
                updates_received: snapshot.counters.received.updates,
                updates_sent: snapshot.counters.sent.updates,
                counts: sum,
                is_waiting: self.table.is_deferring() && peer.up.is_some(),
                up: peer.up.as_ref().map(|up| {
                    let n = &up.negotiated;
                    Established {
                        router_id: n.peer_router_id,
                        source: snapshot.ends.map(|(local, _)| local.ip()),
                        hold_secs: n.hold_secs,
                        as4: n.transmit.asn_width == AsnWidth::Four,
                        refresh: n.refresh != RefreshMode::None,
                        enhanced: n.refresh == RefreshMode::Enhanced,
                        extended: n.transmit.message_max == MessageMax::Extended,
                        restart_able: n.restart.is_some(),
                        add_path_rx: !n.receive.add_path.is_empty(),
                        add_path_tx: !n.transmit.add_path.is_empty(),
                    }
                }),
            }
        };
        self.peers.iter().map(row).collect()
    }

    fn bird_routes(&self, query: &RouteQuery) -> RoutesPage {
        let mut page = RoutesPage::default();
        let peer = |addr: &IpAddr| self.by_addr.get(addr).copied();
        let exported = query.exported.as_ref().and_then(peer);
        let mut scanned = 0;
        for family in self.table.families().filter(|f| FamilySet::UNICAST.contains(*f)) {
            let after = query.after.map(PrefixId::from_index);
            for (id, nlri) in self.table.prefixes(family, after) {
                if page.rows.len() >= query.rows_max || scanned >= SCANNED_MAX {
                    return page;
                }
                scanned += 1;
                page.next = Some(id.index());
                let Nlri::Prefix(prefix) = nlri else { continue };
                if query.prefix.is_some_and(|p| p != *prefix) {
                    continue;
                }
                if query.covering.is_some_and(|addr| !prefix.contains_addr(addr)) {
                    continue;
                }
                let mut paths: Vec<RouteRow> = Vec::new();
                match exported {
                    Some(peer) => {
                        let told: Vec<_> = self
                            .table
                            .told(peer, family, id)
                            .map(|(_, attrs, source)| (attrs.clone(), source))
                            .collect();
                        for (attrs, source) in told {
                            let path = self.table.paths(family, id).find(|p| p.peer == source);
                            if let Some(path) = path {
                                let mut row = self.bird_row(family, id, &path);
                                row.attrs = Some(attrs);
                                paths.push(row);
                            }
                        }
                    }
                    None => paths.extend(self.table.paths(family, id).map(|p| self.bird_row(family, id, &p))),
                }
                if let Some(origin) = &query.of {
                    paths.retain(|row| row.origin == *origin);
                }
                // The best one first, as BIRD keeps them.
                paths.sort_by_key(|row| !row.is_best);
                page.rows.append(&mut paths);
            }
        }
        page.next = None;
        page
    }

    fn bird_row(&self, family: Family, id: PrefixId, path: &PathAnswer<'_>) -> RouteRow {
        let facts = self.table.facts_of(family, id, path);
        let since = Instant::EPOCH + Duration::from_secs(u64::from(path.since_secs));
        let prefix = match path.nlri {
            Nlri::Prefix(prefix) => *prefix,
            Nlri::Opaque(_) => bgp_proto::Prefix::DEFAULT_V4,
        };
        let is_bgp = facts.provenance == Provenance::Bgp;
        let step = match (facts.provenance, facts.interface, facts.gateway) {
            (Provenance::Static, _, None) => Step::Blackhole,
            (_, Some(interface), Some(gateway)) => {
                Step::Via { gateway, interface: interface.as_str().to_owned() }
            }
            (_, Some(interface), None) => Step::Device(interface.as_str().to_owned()),
            (Provenance::Inherited, None, _) => Step::Blackhole,
            (_, None, _) => Step::Unreachable,
        };
        let next_hop = path.attrs.next_hop().addr();
        let hops = self.multipath(family, path);
        RouteRow {
            prefix,
            origin: match path.peer {
                PeerId::LOCAL => Origin::Static,
                PeerId::KERNEL => Origin::Kernel,
                PeerId::DIRECT => Origin::Direct,
                _ => Origin::Peer(facts.from.unwrap_or(IpAddr::from([0, 0, 0, 0]))),
            },
            is_best: path.best.is_some(),
            is_stale: path.freshness == Freshness::Stale,
            for_: self.ago(since),
            preference: facts.preference,
            cost: next_hop.filter(|_| is_bgp).and_then(|addr| self.table.next_hop_cost(addr)),
            from: facts.from.filter(|from| Some(*from) != next_hop),
            kernel_metric: facts.metric,
            kernel_source: facts.kernel_source,
            attrs: is_bgp.then(|| path.attrs.clone()),
            step,
            hops,
        }
    }

    /// The ways of a best path that the kernel's route has beside its own.
    fn multipath(&self, family: Family, path: &PathAnswer<'_>) -> Vec<Step> {
        if path.best.is_none() || path.peer.is_own() {
            return Vec::new();
        }
        let Some(reflector::events::FibRoute::Via(hops)) = self.table.fib_route(family, path.nlri) else {
            return Vec::new();
        };
        let own = path.attrs.next_hop().addr();
        let others = hops.iter().filter(|hop| Some(hop.addr) != own);
        let step = |addr: IpAddr| {
            let link = self.table.link_of(addr)?;
            Some(Step::Via { gateway: link.gateway, interface: link.interface.as_str().to_owned() })
        };
        others.filter_map(|hop| step(hop.addr)).collect()
    }
}

fn state_of(state: State) -> BgpState {
    match state {
        State::Idle => BgpState::Idle,
        State::Connect => BgpState::Connect,
        State::Active => BgpState::Active,
        State::OpenSent => BgpState::OpenSent,
        State::OpenConfirm => BgpState::OpenConfirm,
        State::Established => BgpState::Established,
    }
}
