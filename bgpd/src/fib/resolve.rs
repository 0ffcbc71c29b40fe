//! The underlay: what the kernel has beside our own routes, and the way to a next hop through it.
//!
//! A BGP next hop is an address somewhere; a kernel route needs a neighbour on a link. [`Underlay`] mirrors the node's
//! interfaces, addresses and the routes of everybody else (connected, static, DHCP, router advertisements, other
//! daemons), and [`Underlay::resolve`] does what the kernel would do for a packet to that address, with one difference:
//! routes of our own protocol take no part. A next hop that is reachable through a BGP route only would make the routes
//! carry each other, and a route covering its own next hop would take itself away. The kernel's own routes name
//! neighbours, never further addresses to be looked up, so one step always suffices and no recursion needs a bound.
//!
//! Two things the kernel does without a word are done here on the event beside them: when an interface goes down, or its
//! last IPv4 address goes, all IPv4 routes through it are gone.
//!
//! The same table answers whether a place in the kernel is somebody else's ([`Underlay::owner`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};

use bgp_proto::{Prefix, Version};

use super::facts::{Address, FoundRoute, FoundRoutes, KernelRoute, Link, Path, Place, TABLE_MAIN, Target};

/// The protocol number of routes that the kernel makes by itself.
const RTPROT_KERNEL: u8 = 2;

/// The way to a next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// Neighbours and interfaces, never empty: several if the kernel's own route has several.
    pub paths: Box<[Path]>,
    /// Name of the first path's interface.
    pub ifname: Box<str>,
    /// Metric of the kernel route that leads there, the interior cost of the next hop.
    pub metric: u32,
    /// Whether the next hop is itself on the link rather than behind a gateway.
    pub on_link: bool,
}

/// Why there is no way to a next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unresolved {
    /// No route of the kernel leads there.
    NoRoute,
    /// It is an address of this node.
    Local,
    /// The kernel route that leads there drops packets, or is of a kind that nothing can be sent through.
    Rejected,
    /// The interface on the way is down.
    LinkDown,
    /// An IPv6 link-local address, and it is not known on which interface.
    NoInterface,
    /// An IPv4 next hop cannot carry an IPv6 route.
    WrongFamily,
    /// The kernel's routes are not known yet.
    Blind,
    /// The tunnel device that the pool's routes go through is not there, or not up.
    NoDevice,
    /// The route names no tunnel that the pool's device could use.
    NoTunnel,
    /// Somebody else owns the pool's tunnel, and installs its routes.
    Theirs,
}

impl std::fmt::Display for Unresolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Unresolved::NoRoute => "no kernel route leads to the next hop",
            Unresolved::Local => "the next hop is an address of this node",
            Unresolved::Rejected => "the kernel route to the next hop drops packets",
            Unresolved::LinkDown => "the interface towards the next hop is down",
            Unresolved::NoInterface => "the next hop is link-local and its interface is not known",
            Unresolved::WrongFamily => "an IPv4 next hop cannot carry an IPv6 route",
            Unresolved::Blind => "the kernel's routes are not known yet",
            Unresolved::NoDevice => "the tunnel device is not there or not up",
            Unresolved::NoTunnel => "the route names no tunnel of the pool's kind and virtual network",
            Unresolved::Theirs => "left to the owner of the tunnel device (tunnel.owner: external)",
        })
    }
}

/// Somebody else's route at a place where we want ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    /// Its protocol number.
    pub(super) protocol: u8,
}

/// What of the underlay a change may have altered, for those who depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Touched {
    /// Nothing that matters.
    Nothing,
    /// The way to addresses within this prefix.
    Within(Prefix),
    /// The way through an interface that came up.
    LinkUp(u32),
    /// The way through an interface that can no longer be used.
    LinkDown {
        /// The interface as it was.
        link: Link,
        /// Prefixes of the IPv4 routes that went with it.
        flushed: Vec<Prefix>,
    },
    /// The IPv4 routes of an interface that lost its last IPv4 address.
    Unnumbered {
        /// The interface.
        ifindex: u32,
        /// The address that it lost.
        addr: IpAddr,
        /// Prefixes of the routes that went with it.
        flushed: Vec<Prefix>,
    },
}

/// Interfaces, addresses and the routes of others.
#[derive(Debug, Default)]
pub(super) struct Underlay {
    links: HashMap<u32, Link>,
    addresses: BTreeMap<IpAddr, Vec<Held>>,
    routes: HashMap<Prefix, Vec<Foreign>>,
    /// How many prefixes of each length `routes` has, so that a lookup tries only lengths that exist.
    lengths: [BTreeMap<u8, usize>; 2],
    hints: HashMap<Ipv6Addr, u32>,
    round: Round,
    walked: bool,
    /// Prefixes where something changed since it was last told; `None` where nobody wants to know.
    news: Option<BTreeSet<Prefix>>,
}

/// Marks what a walk through the kernel has seen.
pub(super) type Round = u32;

#[derive(Debug, Clone, Copy)]
struct Held {
    ifindex: u32,
    round: Round,
}

#[derive(Debug)]
struct Foreign {
    place: Place,
    protocol: u8,
    target: Target,
    round: Round,
}

impl Underlay {
    /// Nothing known. `learn`: whether [`Underlay::poll_found`] is asked.
    pub(super) fn new(learn: bool) -> Underlay {
        Underlay { news: learn.then(BTreeSet::new), ..Underlay::default() }
    }

    /// A prefix where something changed, and what is there now.
    pub(super) fn poll_found(&mut self) -> Option<(Prefix, FoundRoutes)> {
        let prefix = self.news.as_mut().filter(|_| self.walked)?.pop_first()?;
        Some((prefix, self.found(&prefix)))
    }

    fn found(&self, prefix: &Prefix) -> FoundRoutes {
        let routes = self.routes.get(prefix).map_or(&[][..], Vec::as_slice);
        let main = || routes.iter().filter(|route| route.place.table == TABLE_MAIN);
        let show = |route: &Foreign| {
            let path = route.target.paths().first();
            FoundRoute {
                protocol: route.protocol,
                metric: route.place.metric,
                ifname: path.map(|path| self.name(path.ifindex)),
                gateway: path.and_then(|path| path.gateway),
            }
        };
        let is_alien = |protocol: u8| {
            !matches!(protocol, libc::RTPROT_UNSPEC | libc::RTPROT_REDIRECT | libc::RTPROT_KERNEL)
        };
        let alien = main().filter(|r| is_alien(r.protocol)).min_by_key(|r| r.place.metric);
        let connected = main().find(|r| {
            r.protocol == libc::RTPROT_KERNEL && r.target.paths().iter().any(|path| path.gateway.is_none())
        });
        FoundRoutes { alien: alien.map(show), connected: connected.map(show) }
    }

    fn note(&mut self, prefix: &Prefix) {
        if let Some(news) = &mut self.news {
            news.insert(*prefix);
        }
    }

    /// The number of an interface that is up.
    pub(super) fn device(&self, name: &str) -> Option<u32> {
        self.links.values().find(|link| link.up && &*link.name == name).map(|link| link.ifindex)
    }

    /// The way to a next hop.
    pub(super) fn resolve(&self, addr: IpAddr) -> Result<Resolution, Unresolved> {
        if !self.walked {
            return Err(Unresolved::Blind);
        }
        if self.addresses.contains_key(&addr) {
            return Err(Unresolved::Local);
        }
        if let IpAddr::V6(v6) = addr
            && v6.is_unicast_link_local()
        {
            return self.resolve_link_local(v6);
        }
        let mut verdict = Unresolved::NoRoute;
        for len in self.lengths[slot(version_of(addr))].keys().rev() {
            let Ok(prefix) = Prefix::new(addr, *len) else { continue };
            let Some(route) = self.routes.get(&prefix).and_then(|routes| self.forwarding(routes)) else {
                continue;
            };
            match self.through(addr, route) {
                Ok(resolution) => return Ok(resolution),
                // The kernel goes on to a shorter prefix past a route whose links are down.
                Err(Unresolved::LinkDown) => verdict = Unresolved::LinkDown,
                Err(reason) => return Err(reason),
            }
        }
        Err(verdict)
    }

    /// Remembers (or forgets) on which interface a link-local next hop is: the one its session runs on.
    pub(super) fn hint(&mut self, addr: Ipv6Addr, ifindex: Option<u32>) {
        match ifindex {
            Some(ifindex) => self.hints.insert(addr, ifindex),
            None => self.hints.remove(&addr),
        };
    }

    /// Who has a route of ours in the way: the same prefix, table and metric, another protocol.
    pub(super) fn owner(&self, prefix: &Prefix, place: Place) -> Option<Owner> {
        let route = self.at(prefix).iter().find(|route| route.place == place)?;
        Some(Owner { protocol: route.protocol })
    }

    /// An interface's name, or its number if it is not known.
    pub(super) fn name(&self, ifindex: u32) -> Box<str> {
        self.links.get(&ifindex).map_or_else(|| ifindex.to_string().into(), |link| link.name.clone())
    }

    /// An interface by its name.
    pub(super) fn link_named(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| &*link.name == name)
    }

    /// The addresses of an interface.
    pub(super) fn addresses_of(&self, ifindex: u32) -> Vec<IpAddr> {
        let has = |held: &Vec<Held>| held.iter().any(|held| held.ifindex == ifindex);
        self.addresses.iter().filter(|(_, held)| has(held)).map(|(addr, _)| *addr).collect()
    }

    /// Every address with its interface.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (IpAddr, u32)> {
        self.addresses.iter().flat_map(|(addr, held)| held.iter().map(|held| (*addr, held.ifindex)))
    }

    /// The numbers of all interfaces.
    pub(super) fn ifindexes(&self) -> impl Iterator<Item = u32> {
        self.links.keys().copied()
    }

    /// The largest packet that all of the node's own links take, of those that have an address of this version and are
    /// none of `tunnels`.
    pub(super) fn mtu(&self, version: Version, tunnels: &[&str]) -> Option<u32> {
        let of_version =
            self.addresses().filter(|(addr, _)| version_of(*addr) == version && is_routable(*addr));
        let links = of_version.filter_map(|(_, ifindex)| self.links.get(&ifindex));
        let own = links.filter(|link| {
            link.up && !link.loopback && link.is_the_nodes() && !tunnels.contains(&&*link.name)
        });
        own.map(|link| link.mtu).min()
    }

    /// Whether a prefix is a subnet that this node is in.
    pub(super) fn is_connected(&self, prefix: &Prefix) -> bool {
        let is_link = |route: &Foreign| {
            let paths = route.target.paths();
            route.protocol == RTPROT_KERNEL && !paths.is_empty() && paths.iter().all(|p| p.gateway.is_none())
        };
        self.at(prefix).iter().any(is_link)
    }

    /// The routes of others to exactly this prefix. Most prefixes that are asked for are of a length that nobody else has.
    fn at(&self, prefix: &Prefix) -> &[Foreign] {
        if !self.lengths[slot(prefix.version())].contains_key(&prefix.len()) {
            return &[];
        }
        self.routes.get(prefix).map_or(&[], Vec::as_slice)
    }

    fn resolve_link_local(&self, addr: Ipv6Addr) -> Result<Resolution, Unresolved> {
        let ifindex = *self.hints.get(&addr).ok_or(Unresolved::NoInterface)?;
        let path = Path { gateway: Some(addr.into()), ifindex, weight: 1, onlink: false };
        if !self.is_up(ifindex) {
            return Err(Unresolved::LinkDown);
        }
        Ok(Resolution { paths: Box::new([path]), ifname: self.name(ifindex), metric: 0, on_link: true })
    }

    /// The route of one prefix that the kernel uses: the lowest metric of those in the main table that have a link.
    fn forwarding<'a>(&self, routes: &'a [Foreign]) -> Option<&'a Foreign> {
        let usable = |route: &&Foreign| match &route.target {
            Target::Via(paths) => paths.iter().any(|path| self.is_up(path.ifindex)),
            Target::Blackhole | Target::Other => true,
        };
        let main = || routes.iter().filter(|route| route.place.table == TABLE_MAIN);
        main().filter(usable).min_by_key(|route| route.place.metric).or_else(|| main().next())
    }

    fn through(&self, addr: IpAddr, route: &Foreign) -> Result<Resolution, Unresolved> {
        let Target::Via(paths) = &route.target else { return Err(Unresolved::Rejected) };
        let up = paths.iter().filter(|path| self.is_up(path.ifindex));
        let paths: Box<[Path]> =
            up.map(|path| Path { gateway: Some(path.gateway.unwrap_or(addr)), ..*path }).collect();
        let first = paths.first().ok_or(Unresolved::LinkDown)?;
        if self.links.get(&first.ifindex).is_some_and(|link| link.loopback) {
            return Err(Unresolved::Local);
        }
        let on_link = first.gateway == Some(addr);
        Ok(Resolution { ifname: self.name(first.ifindex), metric: route.place.metric, on_link, paths })
    }

    /// Whether an interface is there and up.
    pub(super) fn is_up(&self, ifindex: u32) -> bool {
        self.links.get(&ifindex).is_some_and(|link| link.up)
    }

    /// How many routes of others lie at a place.
    pub(super) fn count_at(&self, prefix: &Prefix, place: Place) -> usize {
        self.routes.get(prefix).map_or(0, |routes| routes.iter().filter(|route| route.place == place).count())
    }

    /// A route of another protocol came.
    pub(super) fn route_came(&mut self, route: KernelRoute) -> Touched {
        let touched = Touched::Within(route.prefix);
        self.enter(route);
        touched
    }

    /// What lay at a place was replaced.
    pub(super) fn oust(&mut self, prefix: &Prefix, place: Place) -> Touched {
        self.drop_routes(prefix, |route| route.place == place)
    }

    /// A route of another protocol went. `None`: it was not known as such, so something was missed.
    pub(super) fn route_went(&mut self, route: &KernelRoute) -> Option<Touched> {
        let mut found = false;
        let touched = self.drop_routes(&route.prefix, |old| {
            let same =
                old.place == route.place && old.protocol == route.protocol && old.target == route.target;
            let first = same && !found;
            found |= first;
            first
        });
        found.then_some(touched)
    }

    /// An interface came or changed.
    pub(super) fn link_came(&mut self, link: Link) -> Touched {
        let (ifindex, up) = (link.ifindex, link.up);
        match self.links.insert(ifindex, link).filter(|old| old.up) {
            None if up => Touched::LinkUp(ifindex),
            Some(old) if !up => Touched::LinkDown { link: old, flushed: self.flush_v4(ifindex) },
            Some(_) | None => Touched::Nothing,
        }
    }

    /// An interface went, with all that lay on it.
    pub(super) fn link_went(&mut self, ifindex: u32) -> Touched {
        let Some(old) = self.links.remove(&ifindex) else { return Touched::Nothing };
        Touched::LinkDown { link: old, flushed: self.flush_v4(ifindex) }
    }

    /// An address came.
    pub(super) fn address_came(&mut self, address: &Address) -> Touched {
        let round = self.round;
        let held = self.addresses.entry(address.addr).or_default();
        match held.iter_mut().find(|held| held.ifindex == address.ifindex) {
            Some(held) => {
                held.round = round;
                Touched::Nothing
            }
            None => {
                held.push(Held { ifindex: address.ifindex, round });
                Touched::Within(Prefix::host(address.addr))
            }
        }
    }

    /// An address went. With the last IPv4 address of an interface its IPv4 routes go, and no notification says so.
    pub(super) fn address_went(&mut self, address: &Address) -> Touched {
        let Some(held) = self.addresses.get_mut(&address.addr) else { return Touched::Nothing };
        held.retain(|held| held.ifindex != address.ifindex);
        if held.is_empty() {
            self.addresses.remove(&address.addr);
        }
        if address.addr.is_ipv4() && !self.is_numbered_v4(address.ifindex) {
            let (ifindex, addr) = (address.ifindex, address.addr);
            return Touched::Unnumbered { ifindex, addr, flushed: self.flush_v4(ifindex) };
        }
        Touched::Within(Prefix::host(address.addr))
    }

    fn is_numbered_v4(&self, ifindex: u32) -> bool {
        let mut v4 = self.addresses.iter().take_while(|(addr, _)| addr.is_ipv4());
        v4.any(|(_, held)| held.iter().any(|held| held.ifindex == ifindex))
    }

    /// IPv4 routes whose last usable interface this was: the kernel drops them. Of others it only marks the path dead.
    fn flush_v4(&mut self, ifindex: u32) -> Vec<Prefix> {
        let links = std::mem::take(&mut self.links);
        let is_up = |other: u32| links.get(&other).is_some_and(|link| link.up);
        let lost = |prefix: &Prefix, route: &Foreign| {
            prefix.version() == Version::V4 && route.target.ends_with(ifindex, is_up)
        };
        let flushed = self.retain(|prefix, route| !lost(prefix, route));
        self.links = links;
        flushed
    }

    /// Drops routes; the prefixes where some went.
    fn retain(&mut self, keep: impl Fn(&Prefix, &Foreign) -> bool) -> Vec<Prefix> {
        let mut gone = Vec::new();
        let lengths = &mut self.lengths;
        let news = &mut self.news;
        self.routes.retain(|prefix, routes| {
            let before = routes.len();
            routes.retain(|route| keep(prefix, route));
            if routes.len() != before {
                gone.push(*prefix);
                if let Some(news) = news.as_mut() {
                    news.insert(*prefix);
                }
            }
            if routes.is_empty() {
                uncount(lengths, prefix);
            }
            !routes.is_empty()
        });
        gone
    }

    fn enter(&mut self, route: KernelRoute) {
        let KernelRoute { prefix, place, protocol, target, plain: _ } = route;
        self.note(&prefix);
        let routes = self.routes.entry(prefix).or_insert_with(|| {
            *self.lengths[slot(prefix.version())].entry(prefix.len()).or_default() += 1;
            Vec::with_capacity(1)
        });
        routes.push(Foreign { place, protocol, target, round: self.round });
    }

    fn drop_routes(&mut self, prefix: &Prefix, mut gone: impl FnMut(&Foreign) -> bool) -> Touched {
        let Some(routes) = self.routes.get_mut(prefix) else { return Touched::Nothing };
        let before = routes.len();
        routes.retain(|route| !gone(route));
        let changed = routes.len() != before;
        if routes.is_empty() {
            self.routes.remove(prefix);
            uncount(&mut self.lengths, prefix);
        }
        if changed {
            self.note(prefix);
        }
        if changed { Touched::Within(*prefix) } else { Touched::Nothing }
    }
}

/// A walk through everything the kernel has, which corrects whatever was missed. What is the same is only marked, so a
/// walk through a million routes needs no second table.
impl Underlay {
    /// The walk begins: nothing is known to be there.
    pub(super) fn walk_begins(&mut self, links: Vec<Link>) {
        self.round = self.round.wrapping_add(1);
        self.links = links.into_iter().map(|link| (link.ifindex, link)).collect();
    }

    /// A route of another protocol is there; whether that is news. Of several to one prefix the kernel uses the first, so
    /// their order becomes that of the walk.
    pub(super) fn walk_route(&mut self, route: KernelRoute) -> bool {
        let round = self.round;
        let same = |old: &Foreign| {
            old.place == route.place
                && old.protocol == route.protocol
                && old.target == route.target
                && old.round != round
        };
        if let Some(routes) = self.routes.get_mut(&route.prefix)
            && let Some(index) = routes.iter().position(same)
        {
            let old = routes.remove(index);
            routes.push(Foreign { round, ..old });
            return false;
        }
        self.enter(route);
        true
    }

    /// The walk is complete: what it did not meet is gone. The prefixes where something went.
    pub(super) fn walk_ends(&mut self) -> Vec<Prefix> {
        let round = self.round;
        self.walked = true;
        self.addresses.retain(|_, held| {
            held.retain(|held| held.round == round);
            !held.is_empty()
        });
        self.retain(|_, route| route.round == round)
    }
}

fn uncount(lengths: &mut [BTreeMap<u8, usize>; 2], prefix: &Prefix) {
    let counts = &mut lengths[slot(prefix.version())];
    if let Some(count) = counts.get_mut(&prefix.len()) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&prefix.len());
        }
    }
}

fn slot(version: Version) -> usize {
    match version {
        Version::V4 => 0,
        Version::V6 => 1,
    }
}

fn is_routable(addr: IpAddr) -> bool {
    !matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local())
}

fn version_of(addr: IpAddr) -> Version {
    match addr {
        IpAddr::V4(_) => Version::V4,
        IpAddr::V6(_) => Version::V6,
    }
}
