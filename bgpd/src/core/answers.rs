//! What the core tells operators: the table in the words of the control socket.
//!
//! Pure: a table, names and a clock go in, rows come out. A page of rows costs at most [`SCANNED_MAX`] prefixes of
//! work, so that an operator's full dump never holds up routing; a page may be short and not the last.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use bgp_proto::{AttrSet, Family, NextHop, Nlri, PathId, Prefix};
use reflector::events::FibRoute;
use reflector::ids::PeerId;
use reflector::rib::{Freshness, PrefixId};
use reflector::table::{Explanation, PathAnswer, Table};
use reflector::time::Instant;

use crate::control::Page;
use crate::control::protocol::{
    Attributes, Destination, Export, Rejection, Route, RoutesQuery, Since, View, Why,
};

/// Prefixes looked at for one page.
const SCANNED_MAX: usize = 20_000;
/// Members of a group named in `why`.
const NAMED_MAX: usize = 10;
/// The unicast families, in the order of lists.
const FAMILIES: [Family; 2] = [Family::IPV4_UNICAST, Family::IPV6_UNICAST];

/// A peer as operators know it.
#[derive(Debug, Clone)]
pub(super) struct Name {
    /// Its address; `None` for this speaker itself.
    pub(super) addr: Option<IpAddr>,
    /// What it is called.
    pub(super) name: String,
}

/// What an answer needs beside the table.
pub(super) struct Context<'a> {
    pub(super) table: &'a Table,
    /// What a peer is called.
    pub(super) names: &'a dyn Fn(PeerId) -> Name,
    /// All peers, for what they said and we did not accept.
    pub(super) peers: &'a [PeerId],
    /// The peer of an address.
    pub(super) find: &'a dyn Fn(IpAddr) -> Option<PeerId>,
    pub(super) now: Instant,
    pub(super) wall: SystemTime,
}

/// A place in the table's order, as a number: family in the high half, one more than the prefix below.
fn place(cursor: u64) -> (usize, Option<usize>) {
    let (family, prefix) = ((cursor >> 32) as usize, (cursor & 0xFFFF_FFFF) as usize);
    (family, prefix.checked_sub(1))
}

fn cursor(family: usize, after: Option<PrefixId>) -> u64 {
    ((family as u64) << 32) | after.map_or(0, |id| id.index() as u64 + 1)
}

impl Context<'_> {
    /// One page of `routes in`, `best` or `out`.
    pub(super) fn page(&self, query: &RoutesQuery, from: u64, rows_max: usize) -> Result<Page, String> {
        let peer = match query.peer {
            Some(addr) => {
                Some((self.find)(addr).ok_or_else(|| format!("{addr} is no peer of this speaker"))?)
            }
            None if query.view == View::Out => {
                return Err("routes out are a peer's: name it with --peer ADDRESS".to_owned());
            }
            None => None,
        };
        let (mut family_at, mut after) = place(from);
        let mut rows = Vec::new();
        let mut scanned = 0;
        while let Some(family) = FAMILIES.get(family_at) {
            for (id, nlri) in self.table.prefixes(*family, after.map(PrefixId::from_index)) {
                if rows.len() >= rows_max || scanned >= SCANNED_MAX {
                    return Ok(Page { rows, next: Some(cursor(family_at, after.map(PrefixId::from_index))) });
                }
                after = Some(id.index());
                scanned += 1;
                let Nlri::Prefix(prefix) = nlri else { continue };
                if query.wants(&prefix) {
                    self.rows(query.view, peer, *family, id, prefix, &mut rows);
                }
            }
            (family_at, after) = (family_at + 1, None);
        }
        Ok(Page { rows, next: None })
    }

    fn rows(
        &self,
        view: View,
        peer: Option<PeerId>,
        family: Family,
        id: PrefixId,
        prefix: Prefix,
        rows: &mut Vec<Route>,
    ) {
        if let (View::Out, Some(peer)) = (view, peer) {
            let told = self.table.told(peer, family, id);
            rows.extend(told.map(|(path_id, attrs, source)| self.told(prefix, path_id, &attrs, source)));
            return;
        }
        let paths = self.table.paths(family, id);
        let wanted = paths.filter(|p| peer.is_none_or(|peer| p.peer == peer));
        rows.extend(wanted.filter(|p| view != View::Best || p.best.is_some()).map(|p| self.path(prefix, &p)));
    }

    fn path(&self, prefix: Prefix, path: &PathAnswer<'_>) -> Route {
        let since = Duration::from_secs(u64::from(path.since_secs));
        let mut route = self.told(prefix, path.path_id, path.attrs, path.peer);
        route.best = path.best.is_some();
        route.step = path.best.map(|step| step.as_str().to_owned());
        route.stale = path.freshness != Freshness::Fresh;
        route.since = self.since(Instant::EPOCH + since);
        route
    }

    fn told(&self, prefix: Prefix, path_id: PathId, attrs: &AttrSet, source: PeerId) -> Route {
        let Name { addr, name } = (self.names)(source);
        Route {
            prefix,
            peer: addr,
            peer_name: name,
            path_id: (path_id.0 != 0).then_some(path_id.0),
            next_hops: next_hops(&attrs.next_hop()),
            attributes: Some(attributes(attrs)),
            best: false,
            step: None,
            stale: false,
            since: self.since(self.now),
            kernel: None,
        }
    }

    /// When `then` was.
    pub(super) fn since(&self, then: Instant) -> Since {
        Since::ago(self.wall, self.now.since(then))
    }

    /// Everything about one destination.
    pub(super) fn why(&self, destination: &Destination) -> Result<Why, String> {
        let Some((family, prefix)) = self.known(destination) else {
            return Err(self.unknown(destination));
        };
        let nlri = Nlri::Prefix(prefix);
        let Some(explained) = self.table.explain(family, &nlri) else {
            return Err(self.unknown(destination));
        };
        let candidates = explained
            .paths
            .iter()
            .map(|(path, fell)| {
                let mut route = self.path(prefix, path);
                route.step = route.step.or(fell.map(|step| step.as_str().to_owned()));
                route
            })
            .collect();
        let rejected = self.rejections(&nlri);
        Ok(Why { prefix, candidates, rejected, exports: self.exports(&explained), kernel: None })
    }

    /// The most specific prefix that is known and covers the destination, or is it.
    fn known(&self, destination: &Destination) -> Option<(Family, Prefix)> {
        match destination {
            Destination::Prefix(prefix) => {
                let (family, nlri) = (prefix.family(), Nlri::Prefix(*prefix));
                self.table.explain(family, &nlri).is_some().then_some((family, *prefix))
            }
            Destination::Address(addr) => FAMILIES
                .into_iter()
                .flat_map(|family| self.table.prefixes(family, None).map(move |(_, nlri)| (family, nlri)))
                .filter_map(|(family, nlri)| nlri.prefix().map(|p| (family, p)))
                .filter(|(_, prefix)| prefix.contains_addr(*addr))
                .max_by_key(|(_, prefix)| prefix.len()),
        }
    }

    fn unknown(&self, destination: &Destination) -> String {
        let Destination::Prefix(prefix) = destination else {
            return format!("{destination} is in no prefix that this speaker knows");
        };
        let rejected = self.rejections(&Nlri::Prefix(*prefix));
        if rejected.is_empty() {
            return format!("no peer announces {destination}");
        }
        let each = rejected.iter().map(|r| format!("{} ({}): {}", r.peer, r.name, r.reason));
        format!("{destination} was not accepted from {}", each.collect::<Vec<_>>().join("; "))
    }

    fn rejections(&self, nlri: &Nlri) -> Vec<Rejection> {
        let mut rejected = Vec::new();
        for peer in self.peers {
            let Some(reason) = self.table.rejection(*peer, nlri) else { continue };
            let Name { addr: Some(addr), name } = (self.names)(*peer) else { continue };
            rejected.push(Rejection { peer: addr, name, reason: reason.as_str().to_owned() });
        }
        rejected
    }

    fn exports(&self, explained: &Explanation<'_>) -> Vec<Export> {
        let exports = explained.groups.iter().map(|group| {
            let told: Vec<PeerId> =
                group.members.iter().copied().filter(|p| group.source != Some(*p)).collect();
            let peers = told.iter().take(NAMED_MAX).map(|p| (self.names)(*p).name).collect();
            let reason = group.told.as_ref().err().map(|withheld| withheld.as_str().to_owned());
            Export { peers, count: told.len() as u64, sent: reason.is_none(), reason }
        });
        exports.filter(|export| export.count > 0).collect()
    }
}

/// The next hops of a kernel route, as far as BGP is concerned.
pub(super) fn fib_next_hops(route: &FibRoute) -> Vec<IpAddr> {
    match route {
        FibRoute::Via(hops) => hops.iter().map(|h| h.addr).collect(),
        FibRoute::Blackhole => Vec::new(),
    }
}

fn next_hops(next_hop: &NextHop) -> Vec<IpAddr> {
    next_hop.addr().into_iter().filter(|a| !a.is_unspecified()).collect()
}

fn attributes(attrs: &AttrSet) -> Attributes {
    Attributes {
        origin: attrs.origin().to_string(),
        as_path: attrs.as_path().to_string(),
        local_pref: attrs.local_pref(),
        med: attrs.med(),
        communities: attrs.communities().iter().map(|c| c.to_string()).collect(),
        large_communities: attrs.large_communities().iter().map(|c| c.to_string()).collect(),
        extended_communities: attrs.ext_communities().iter().map(|c| c.to_string()).collect(),
        originator_id: attrs.originator_id().map(Ipv4Addr::from),
        cluster_list: attrs.cluster_list().iter().map(Ipv4Addr::from).collect(),
        others: attrs.opaque().map(|a| format!("{:02x?}", a.value)).collect(),
    }
}
