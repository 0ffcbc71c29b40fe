//! What BIRD's commands ask of the core: sessions and routes in their terms.
//!
//! Rows, not text: what a reply looks like is `bird`'s. A page of routes costs at most [`SCANNED_MAX`] prefixes of work, as for our own
//! commands.

use std::net::IpAddr;
use std::time::Duration;

use bgp_proto::{AsnWidth, Family, FamilySet, MessageMax, Nlri, Prefix};
use reflector::events::RefreshMode;
use reflector::ids::{EntryId, PeerId};
use reflector::policy::program::Provenance;
use reflector::policy::{Stage, Subject, Verdict};
use reflector::rib::{Freshness, PrefixId};
use reflector::session::State;
use reflector::table::{PathAnswer, PeerCounts};
use reflector::time::Instant;
use tokio::sync::oneshot;
use tracing::warn;

use super::Core;
use super::peers::Peer;
use crate::control::bird::{
    Answer, BgpState, Counting, Counts, Destination, Established, Instance, Origin, Question, RouteQuery,
    RouteRow, RoutesPage, SessionRow, Step,
};

/// Prefixes looked at for one page.
const SCANNED_MAX: usize = 5_000;

impl Core {
    /// Answers one of BIRD's questions.
    pub(super) fn answer_bird(&mut self, question: &Question, reply: oneshot::Sender<Answer>) {
        let answer = match question {
            Question::Instance => Answer::Instance(self.bird_instance()),
            Question::Sessions => Answer::Sessions(self.bird_sessions()),
            Question::Count(counting) => self.bird_count(counting.clone()),
            Question::Routes(query) => Answer::Routes(self.bird_routes(query)),
            Question::Order(addr, order) => {
                // A session that a range let in cannot be kept down; the order says so in the log and leaves it as it is.
                if let Some(id) = self.by_addr.get(addr).copied()
                    && let Err(error) = self.carry_out(id, *order, String::new())
                {
                    warn!(%addr, error, "not done");
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
            installed: self.fib.as_ref().map_or(0, |fib| fib.stats().states.installed),
        }
    }

    /// Counts on: how many routes everybody gave and was told, as far as the next [`SCANNED_MAX`] prefixes go. A
    /// daemon that is BIRD has one family.
    fn bird_count(&self, mut counting: Counting) -> Answer {
        let families = self.table.families().filter(|f| FamilySet::UNICAST.contains(*f));
        let next = families.last().and_then(|family| {
            let after = counting.after.map(PrefixId::from_index);
            self.table.count_some(family, after, SCANNED_MAX, &mut counting.counted)
        });
        if next.is_some() {
            counting.after = next.map(PrefixId::index);
            return Answer::Counting(counting);
        }
        let counts = counting.counted.into_iter().filter_map(|(id, counts)| {
            let origin = match id {
                PeerId::LOCAL => Origin::Static,
                PeerId::KERNEL => Origin::Kernel,
                PeerId::DIRECT => Origin::Direct,
                _ => Origin::Peer(self.peers.get(&id)?.addr),
            };
            let PeerCounts { accepted, best, advertised, rejected, .. } = counts;
            Some((origin, Counts { imported: accepted, preferred: best, exported: advertised, rejected }))
        });
        Answer::Counts(counts.collect())
    }

    fn bird_sessions(&self) -> Vec<SessionRow> {
        let row = |(id, peer): (&PeerId, &Peer)| {
            let snapshot = peer.handle.snapshot();
            let (state, since) = snapshot.state.unwrap_or((State::Idle, Instant::EPOCH));
            SessionRow {
                addr: peer.addr,
                state: state_of(state),
                state_for: self.ago(since),
                trouble: snapshot.trouble.as_ref().map(|(text, _)| text.clone()),
                is_disabled: snapshot.is_kept_down,
                stale: self.table.awaits(*id),
                updates_received: snapshot.counters.received.updates,
                updates_sent: snapshot.counters.sent.updates,
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
        let mut scanned = 0;
        for family in self.table.families().filter(|f| FamilySet::UNICAST.contains(*f)) {
            if let Some(destination) = query.destination {
                page.rows.extend(self.bird_routes_to(family, destination, query));
                continue;
            }
            let after = query.after.map(PrefixId::from_index);
            for (id, _) in self.table.prefixes(family, after) {
                if page.rows.len() >= query.rows_max || scanned >= SCANNED_MAX {
                    return page;
                }
                scanned += 1;
                page.next = Some(id.index());
                page.rows.append(&mut self.bird_rows(family, id, query));
            }
        }
        page.next = None;
        page
    }

    /// The routes to one destination, or of the longest prefix around it that has any.
    fn bird_routes_to(&self, family: Family, destination: Destination, query: &RouteQuery) -> Vec<RouteRow> {
        let rows = |prefix: Prefix| {
            let id = self.table.find(family, &Nlri::Prefix(prefix))?;
            Some(self.bird_rows(family, id, query)).filter(|rows| !rows.is_empty())
        };
        match destination {
            Destination::Prefix(prefix) => rows(prefix),
            Destination::Around(inner) => {
                let mut outer = (0..=inner.len()).rev().filter_map(|len| Prefix::new(inner.addr(), len).ok());
                outer.find_map(rows)
            }
        }
        .unwrap_or_default()
    }

    /// The routes to a prefix that are asked for, the best one first, as BIRD keeps them.
    fn bird_rows(&self, family: Family, id: PrefixId, query: &RouteQuery) -> Vec<RouteRow> {
        let mut rows: Vec<RouteRow> = match query.exported.map(|addr| self.by_addr.get(&addr)) {
            Some(None) => Vec::new(),
            Some(Some(peer)) => {
                let told = self.table.told(*peer, family, id).filter_map(|(_, attrs, source)| {
                    let path = self.table.paths(family, id).find(|p| p.peer == source)?;
                    let row = RouteRow { attrs: Some(attrs.clone()), ..self.bird_row(family, id, &path) };
                    self.bird_filtered(query, family, id, &PathAnswer { attrs: &attrs, ..path }, row)
                });
                told.collect()
            }
            None => {
                let paths = self.table.paths(family, id);
                let row = |p: PathAnswer<'_>| {
                    self.bird_filtered(query, family, id, &p, self.bird_row(family, id, &p))
                };
                paths.filter_map(row).collect()
            }
        };
        rows.retain(|row| query.of.is_none_or(|origin| row.origin == origin));
        rows.sort_by_key(|row| !row.is_best);
        rows
    }

    /// The row as the query's filter leaves it, if it lets it pass.
    fn bird_filtered(
        &self,
        query: &RouteQuery,
        family: Family,
        id: PrefixId,
        path: &PathAnswer<'_>,
        mut row: RouteRow,
    ) -> Option<RouteRow> {
        let Some(filter) = &query.filter else { return Some(row) };
        let subject = Subject {
            family,
            nlri: &path.nlri,
            attrs: path.attrs,
            source: EntryId::LOCAL,
            local_asn: self.desired.asn,
            local_addr: None,
            stage: Stage::ToInternal,
            facts: self.table.facts_of(family, id, path),
        };
        let Verdict::Accept { edited, marks, .. } = filter.evaluate(&subject) else { return None };
        row.attrs = edited.or(row.attrs);
        row.preference = marks.preference.unwrap_or(row.preference);
        row.kernel_metric = marks.metric.or(row.kernel_metric);
        Some(row)
    }

    fn bird_row(&self, family: Family, id: PrefixId, path: &PathAnswer<'_>) -> RouteRow {
        let facts = self.table.facts_of(family, id, path);
        let since = Instant::EPOCH + Duration::from_secs(u64::from(path.since_secs));
        let prefix = match path.nlri {
            Nlri::Prefix(prefix) => prefix,
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
        let Some(reflector::events::FibRoute::Via(hops)) = self.table.fib_route(family, &path.nlri) else {
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
