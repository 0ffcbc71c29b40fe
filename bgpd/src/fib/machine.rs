//! The whole of the FIB without its sockets: underlay, next hops and plan, and how an event in one reaches the others.
//!
//! In: desires and questions of the core, changes that the kernel announced, walks through the kernel, answers to
//! operations. Out, all pulled: operations ([`Machine::next`]), events for the core ([`Machine::poll_event`]), the wish to
//! walk ([`Machine::walk_due`]), the next deadline. Time is an argument. The task around it only moves bytes.
//!
//! **In doubt, look.** Notifications are enough to keep the picture exact as long as none is lost and each says all.
//! Where one does not (an overrun of the socket, several routes at one place of which one was replaced, an IPv6 path taken
//! out of a multipath route, an error that the picture does not explain) the machine asks for a walk. So does an interface
//! in use that went down: the kernel drops routes without a word. Walks keep a distance, so that a storm of doubts costs a
//! walk a second, and once a minute there is one anyway, the audit.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use bgp_proto::{Prefix, Version};
use reflector::events::FibChange;

use super::facts::{Address, Arrival, FoundRoutes, KernelChange, KernelRoute, Link, Neighbour, TABLE_MAIN};
use super::hops::{Hops, Way};
use super::plan::{Op, Ownership, Plan, RouteReport, Rules, States};
use super::refusal::{Outcome, Refusal};
use super::resolve::{Touched, Underlay};
use super::tunnel::{TunnelOp, Tunnels};
use crate::config::tunnel::{Device, Overlay};

/// Least time between two walks that doubt asks for.
const WALK_GAP: Duration = Duration::from_secs(1);
/// How long the kernel is given to finish what an interface's going down entails.
const SETTLE: Duration = Duration::from_millis(200);

/// What is installed and how it is marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FibConfig {
    /// Whether routes are installed at all; next hops are watched either way.
    pub install: bool,
    /// Routing table.
    pub table: u32,
    /// Protocol number that marks our routes.
    pub protocol: u8,
    /// Further protocol numbers in the same table whose routes are taken over as ours, read at start only.
    pub adopt: Vec<u8>,
    /// Metric.
    pub metric: u32,
    /// Most next hops of one route.
    pub multipath: u16,
    /// Prefixes that are not installed unless the import policy of the peer names exactly this one. Subnets of the node are
    /// such too.
    pub protect: Vec<Prefix>,
    /// Tunnels, and what goes through them.
    pub overlay: Overlay,
    /// How often the kernel is compared with what is wanted although nothing happened.
    pub audit: Duration,
    /// Whether the core hears of the routes that others put into the main table.
    pub learn: bool,
}

impl Default for FibConfig {
    fn default() -> Self {
        FibConfig {
            install: true,
            table: TABLE_MAIN,
            protocol: 12,
            adopt: Vec::new(),
            metric: 1024,
            multipath: 16,
            protect: vec![Prefix::DEFAULT_V4, Prefix::DEFAULT_V6],
            overlay: Overlay::default(),
            audit: Duration::from_secs(60),
            learn: false,
        }
    }
}

impl FibConfig {
    /// The tunnel devices; none where no route is installed.
    fn tunnels(&self) -> Vec<Device> {
        if self.install { self.overlay.devices.clone() } else { Vec::new() }
    }

    fn rules(&self) -> Rules {
        Rules {
            install: self.install,
            owner: Ownership { table: self.table, protocol: self.protocol },
            metric: self.metric,
            multipath: usize::from(self.multipath.max(1)),
            protect: self.protect.clone(),
            overlay: self.overlay.clone(),
        }
    }
}

/// What the core is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FibEvent {
    /// The way to a tracked next hop, now and whenever it changes.
    NextHopChanged {
        /// The next hop.
        addr: IpAddr,
        /// The way, or why there is none.
        way: Way,
    },
    /// What others have in the main table for a prefix, now and whenever it changes. Said if asked for.
    RouteFound {
        /// The prefix.
        prefix: Prefix,
        /// What there is.
        found: FoundRoutes,
    },
    /// The kernel refuses a route, or does no longer.
    RouteJudged {
        /// The route's prefix.
        prefix: Prefix,
        /// The refusal; `None`: not refused any more.
        refusal: Option<Refusal>,
    },
    /// The process may not change routes: nothing is installed until that changes. Said once.
    NotPermitted(Refusal),
    /// Routes can be changed again.
    Permitted,
    /// An interface that next hops or routes use changed.
    LinkChanged {
        /// Its name.
        ifname: Box<str>,
        /// Whether it is up.
        up: bool,
    },
    /// A walk through the kernel found it other than believed, or was the first.
    Resynced {
        /// Why it was made.
        cause: WalkCause,
        /// Routes of ours that were missing.
        missing: usize,
        /// Routes of ours that were not known: at the first walk, those adopted.
        found: usize,
    },
    /// A tunnel device cannot be as it should be, or is again.
    TunnelJudged {
        /// Its name.
        ifname: Box<str>,
        /// What is wrong, and what to do; `None`: nothing any more.
        problem: Option<Box<str>>,
    },
    /// There is no netlink: nothing is known and nothing is installed. Tried again by itself.
    Unavailable(Box<str>),
}

/// Why the kernel was walked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WalkCause {
    /// The first walk.
    Start,
    /// Nothing special: it was time.
    Audit,
    /// Something happened that notifications do not tell in full.
    Doubt,
    /// Notifications were lost.
    Overrun,
}

/// The FIB without its sockets.
#[derive(Debug)]
pub(super) struct Machine {
    config: FibConfig,
    underlay: Underlay,
    hops: Hops,
    plan: Plan,
    tunnels: Tunnels,
    /// For each version, whether no route waited when that was last looked at.
    settled: [bool; 2],
    walk: Walk,
    /// Interfaces in use whose state changed since the core was told.
    links: BTreeMap<u32, (Box<str>, bool)>,
    /// Interfaces that went down while in use.
    down: BTreeSet<u32>,
    resynced: Option<FibEvent>,
    denied_told: bool,
}

/// Walks through the kernel: the next and the one under way.
#[derive(Debug)]
struct Walk {
    due: Instant,
    cause: WalkCause,
    last: Option<Instant>,
    found: usize,
}

impl Machine {
    /// Nothing known: the first walk is due.
    pub(super) fn new(config: FibConfig, now: Instant) -> Machine {
        let mut tunnels = Tunnels::default();
        tunnels.configure(&config.tunnels());
        Machine {
            tunnels,
            settled: [false; 2],
            plan: Plan::new(config.rules(), &config.adopt),
            underlay: Underlay::new(config.learn),
            hops: Hops::default(),
            walk: Walk { due: now, cause: WalkCause::Start, last: None, found: 0 },
            links: BTreeMap::new(),
            down: BTreeSet::new(),
            resynced: None,
            denied_told: false,
            config,
        }
    }

    /// The newest desire for a prefix.
    pub(super) fn desire(&mut self, change: FibChange) {
        self.plan.desire(change, &mut self.hops, &self.underlay);
    }

    /// The core wants to hear of a next hop.
    pub(super) fn track(&mut self, addr: IpAddr) {
        self.hops.track(addr, &self.underlay);
    }

    /// The core wants to hear of a next hop no longer.
    pub(super) fn untrack(&mut self, addr: IpAddr) {
        self.hops.untrack(addr);
    }

    /// On which interface a link-local next hop is.
    pub(super) fn hint(&mut self, addr: Ipv6Addr, ifindex: Option<u32>) {
        self.underlay.hint(addr, ifindex);
        self.hops.refresh(&self.underlay, &Touched::Within(Prefix::host(addr.into())));
    }

    /// Leftovers of this version may go.
    pub(super) fn sweep(&mut self, version: Version) {
        self.plan.sweep(version);
    }

    /// Another configuration.
    pub(super) fn reconfigure(&mut self, config: FibConfig, now: Instant) {
        if config == self.config {
            return;
        }
        let tables = self.plan.tables();
        self.config = config;
        self.plan.set_rules(self.config.rules(), &mut self.hops, &self.underlay);
        self.tunnels.configure(&self.config.tunnels());
        self.renew_exits();
        if self.plan.tables() != tables {
            self.doubt(WalkCause::Doubt, now, Duration::ZERO);
        }
    }

    /// All routes of ours go.
    pub(super) fn leave(&mut self) {
        self.plan.leave(&mut self.hops);
        self.tunnels.leave();
    }

    /// How many prefixes stand how.
    pub(super) fn states(&self) -> States {
        self.plan.states()
    }

    /// Times somebody took away or altered what was wanted.
    pub(super) fn repairs(&self) -> u64 {
        self.plan.repairs
    }

    /// One prefix.
    pub(super) fn report(&self, prefix: &Prefix) -> Option<RouteReport> {
        self.plan.report(prefix)
    }

    /// Prefixes in order.
    pub(super) fn report_page(&self, after: Option<Prefix>, max: usize) -> Vec<RouteReport> {
        self.plan.report_page(after, max)
    }
}

/// What the kernel says by itself.
impl Machine {
    /// One notification that is not the echo of an operation of ours.
    pub(super) fn kernel_changed(&mut self, change: KernelChange, now: Instant) {
        let touched = match change {
            KernelChange::RouteCame(route, arrival) => self.route_came(route, arrival),
            KernelChange::RouteWent(route) => self.route_went(&route),
            KernelChange::LinkCame(link) => {
                self.tunnels.poke();
                self.underlay.link_came(link)
            }
            KernelChange::LinkWent(ifindex) => {
                self.tunnels.link_went(ifindex);
                self.underlay.link_went(ifindex)
            }
            KernelChange::AddressCame(address) => {
                self.tunnels.poke();
                self.underlay.address_came(&address)
            }
            KernelChange::AddressWent(address) => {
                self.tunnels.poke();
                self.underlay.address_went(&address)
            }
            KernelChange::NeighbourSeen(_) => Touched::Nothing,
        };
        self.link_changed(&touched, now);
        self.renew_exits();
        self.hops.refresh(&self.underlay, &touched);
        if self.plan.doubt || self.plan.lost {
            self.doubt(WalkCause::Doubt, now, Duration::ZERO);
        }
    }

    /// Notifications were lost.
    pub(super) fn overrun(&mut self, now: Instant) {
        self.plan.doubt = true;
        self.doubt(WalkCause::Overrun, now, Duration::ZERO);
    }

    fn route_came(&mut self, route: KernelRoute, arrival: Arrival) -> Touched {
        if !self.concerns(&route) {
            return Touched::Nothing;
        }
        let (prefix, place) = (route.prefix, route.place);
        let there = (self.plan.count_at(&prefix, place), self.underlay.count_at(&prefix, place));
        let mut touched = Touched::Nothing;
        match (arrival, there) {
            (Arrival::Added, (0, 0)) => {}
            // Beside ours; of several foreign ones it is not said which is first, and in IPv6 they are now one.
            (Arrival::Added, (_, 0)) if prefix.version() == Version::V4 => {}
            (Arrival::Replaced, (1, 0)) => self.plan.oust(&prefix, place),
            (Arrival::Replaced, (0, 1)) => touched = self.underlay.oust(&prefix, place),
            (Arrival::Added | Arrival::Replaced, _) => self.plan.doubt = true,
        }
        if self.plan.owns(&route) {
            self.plan.own_came(&route, arrival);
        } else {
            touched = self.underlay.route_came(route);
            self.plan.poke(&prefix);
        }
        touched
    }

    fn route_went(&mut self, route: &KernelRoute) -> Touched {
        if !self.concerns(route) {
            return Touched::Nothing;
        }
        if self.plan.owns(route) {
            self.plan.own_went(route);
            return Touched::Nothing;
        }
        let touched = self.underlay.route_went(route);
        self.plan.poke(&route.prefix);
        self.plan.doubt |= touched.is_none() && self.underlay.count_at(&route.prefix, route.place) > 0;
        touched.unwrap_or(Touched::Nothing)
    }

    /// Routes in other tables have no bearing on ours or on next hops.
    fn concerns(&self, route: &KernelRoute) -> bool {
        route.place.table == TABLE_MAIN || self.plan.tables().contains(&route.place.table)
    }

    /// What the kernel does to routes when an interface changes, which it does not say.
    fn link_changed(&mut self, touched: &Touched, now: Instant) {
        match touched {
            Touched::Nothing | Touched::Within(_) => {}
            Touched::LinkUp(ifindex) => {
                if self.down.remove(ifindex) {
                    self.links.insert(*ifindex, (self.underlay.name(*ifindex), true));
                    self.doubt(WalkCause::Doubt, now, SETTLE);
                }
            }
            Touched::LinkDown { link, flushed } => {
                flushed.iter().for_each(|prefix| self.plan.poke(prefix));
                if self.in_use(link.ifindex) {
                    self.plan.flushed(link.ifindex, &self.underlay);
                    self.down.insert(link.ifindex);
                    self.links.insert(link.ifindex, (link.name.clone(), false));
                    self.doubt(WalkCause::Doubt, now, SETTLE);
                }
            }
            Touched::Unnumbered { ifindex, flushed, .. } => {
                flushed.iter().for_each(|prefix| self.plan.poke(prefix));
                if self.in_use(*ifindex) {
                    self.plan.flushed(*ifindex, &self.underlay);
                    self.doubt(WalkCause::Doubt, now, SETTLE);
                }
            }
        }
    }

    /// Says where routes of the overlay leave now.
    fn renew_exits(&mut self) {
        if !self.config.overlay.devices.is_empty() || self.plan.has_exits() {
            self.plan.set_exits(self.tunnels.exits(&self.underlay), &self.hops);
        }
    }

    fn in_use(&self, ifindex: u32) -> bool {
        self.plan.uses(ifindex) || self.hops.uses(ifindex)
    }

    fn doubt(&mut self, cause: WalkCause, now: Instant, after: Duration) {
        let earliest = self.walk.last.map_or(now, |last| last + WALK_GAP);
        let due = (now + after).max(earliest);
        self.walk.due = self.walk.due.min(due);
        self.walk.cause = match self.walk.cause {
            WalkCause::Start => WalkCause::Start,
            WalkCause::Overrun => WalkCause::Overrun,
            WalkCause::Audit | WalkCause::Doubt => cause,
        };
    }
}

/// A walk through everything the kernel has.
impl Machine {
    /// Whether the kernel should be walked through now.
    pub(super) fn walk_due(&self, now: Instant) -> bool {
        self.walk.due <= now
    }

    /// Whether the picture is known to be incomplete.
    #[cfg(test)]
    pub(super) fn in_doubt(&self) -> bool {
        self.plan.doubt || self.plan.lost || self.walk.cause == WalkCause::Start
    }

    /// The tables to walk through.
    pub(super) fn tables(&self) -> Vec<u32> {
        let mut tables = self.plan.tables();
        tables.insert(TABLE_MAIN);
        tables.into_iter().collect()
    }

    /// The walk begins, with all interfaces and addresses.
    pub(super) fn walk_begins(&mut self, links: Vec<Link>, addresses: &[Address]) {
        self.plan.walk_begins();
        self.underlay.walk_begins(links);
        self.walk.found = 0;
        for address in addresses {
            self.underlay.address_came(address);
        }
    }

    /// The walk met a route.
    pub(super) fn walk_route(&mut self, route: KernelRoute) {
        if self.plan.owns(&route) {
            self.walk.found += usize::from(self.plan.walk_own(&route));
        } else {
            let prefix = route.prefix;
            if self.underlay.walk_route(route) {
                self.plan.poke(&prefix);
            }
        }
    }

    /// Devices whose neighbours are to be read during the walk.
    pub(super) fn tunnels_to_read(&self) -> Vec<u32> {
        self.tunnels.to_read(&self.underlay)
    }

    /// The walk met these neighbours.
    pub(super) fn walk_neighbours(&mut self, held: BTreeSet<Neighbour>) {
        self.tunnels.holds(held);
    }

    /// The walk is complete.
    pub(super) fn walk_ends(&mut self, now: Instant) {
        for prefix in self.underlay.walk_ends() {
            self.plan.poke(&prefix);
        }
        let missing = self.plan.walk_ends();
        self.hops.refresh_all(&self.underlay);
        self.renew_exits();
        let (cause, found) = (self.walk.cause, self.walk.found);
        if cause != WalkCause::Audit || missing > 0 || found > 0 {
            self.resynced = Some(FibEvent::Resynced { cause, missing, found });
        }
        self.walk = Walk { due: now + self.config.audit, cause: WalkCause::Audit, last: Some(now), found: 0 };
    }

    /// The walk broke off; another is due.
    pub(super) fn walk_failed(&mut self, now: Instant) {
        self.walk.last = Some(now);
        self.walk.due = now + WALK_GAP;
        if self.walk.cause == WalkCause::Audit {
            self.walk.cause = WalkCause::Doubt;
        }
    }
}

/// Tunnel devices.
impl Machine {
    /// The next operations on tunnel devices, to be carried out and settled before those on routes: a route needs its
    /// device, and a far end that can be found.
    pub(super) fn next_tunnel(&mut self, now: Instant, max: usize, ops: &mut Vec<TunnelOp>) {
        if self.walk.cause == WalkCause::Start {
            return;
        }
        self.hear_hops();
        if let Some(far_ends) = self.plan.far_ends(&self.hops) {
            self.tunnels.want(far_ends);
        }
        let settled = [Version::V4, Version::V6].map(|version| self.plan.is_settled(version));
        if settled != self.settled {
            self.settled = settled;
            self.tunnels.poke();
        }
        self.tunnels.next(&self.underlay, settled, now, max, ops);
    }

    /// What became of an operation on a tunnel device.
    pub(super) fn settle_tunnel(&mut self, op: &TunnelOp, outcome: &Outcome, now: Instant) {
        self.tunnels.settle(op, outcome, now);
    }

    /// All interfaces and addresses, read after operations of ours, whose echoes are not heard.
    pub(super) fn links_read(&mut self, links: Vec<Link>, addresses: Vec<Address>, now: Instant) {
        let gone: Vec<u32> = self
            .underlay
            .ifindexes()
            .filter(|ifindex| links.iter().all(|link| link.ifindex != *ifindex))
            .collect();
        let lost: Vec<Address> = self
            .underlay
            .addresses()
            .filter(|(addr, ifindex)| addresses.iter().all(|a| (a.addr, a.ifindex) != (*addr, *ifindex)))
            .map(|(addr, ifindex)| Address { ifindex, addr, global: true, settled: true })
            .collect();
        let changes = gone.into_iter().map(KernelChange::LinkWent);
        let changes = changes.chain(lost.into_iter().map(KernelChange::AddressWent));
        let changes = changes.chain(links.into_iter().map(KernelChange::LinkCame));
        for change in changes.chain(addresses.into_iter().map(KernelChange::AddressCame)) {
            self.kernel_changed(change, now);
        }
    }

    fn hear_hops(&mut self) {
        let changed = self.hops.take_for_plan();
        self.plan.hops_changed(&changed, &self.hops);
    }
}

/// What is to be done.
impl Machine {
    /// The next operations, about `max` of them. Each must be carried out and settled before this is asked again.
    pub(super) fn next(&mut self, now: Instant, max: usize, ops: &mut Vec<Op>) {
        self.hear_hops();
        self.plan.tick(now);
        if self.walk.cause != WalkCause::Start {
            self.plan.next(&self.underlay, now, max, ops);
        }
    }

    /// What became of an operation.
    pub(super) fn settle(&mut self, op: &Op, outcome: Outcome, now: Instant) {
        self.plan.settle(op, outcome, now);
        if self.plan.doubt || self.plan.lost {
            self.doubt(WalkCause::Doubt, now, Duration::ZERO);
        }
    }

    /// Whether [`Machine::next`] has something right now.
    pub(super) fn is_busy(&self, now: Instant) -> bool {
        self.walk.cause != WalkCause::Start && (self.plan.is_busy(now) || self.tunnels.is_busy())
    }

    /// When something is to be done although nothing happens.
    pub(super) fn deadline(&self) -> Instant {
        let deadlines = [self.plan.deadline(), self.tunnels.deadline()];
        deadlines.into_iter().flatten().fold(self.walk.due, Instant::min)
    }

    /// Something for the core. What is not fetched is merged: at most one event a next hop, a prefix, an interface.
    pub(super) fn poll_event(&mut self) -> Option<FibEvent> {
        if let Some(event) = self.resynced.take() {
            return Some(event);
        }
        if self.plan.denied().is_some() != self.denied_told {
            self.denied_told = !self.denied_told;
            return Some(
                self.plan
                    .denied()
                    .map_or(FibEvent::Permitted, |refusal| FibEvent::NotPermitted(refusal.clone())),
            );
        }
        if let Some((ifname, problem)) = self.tunnels.poll_problem() {
            let (ifname, problem) = (ifname.into(), problem.map(Into::into));
            return Some(FibEvent::TunnelJudged { ifname, problem });
        }
        if let Some((_, (ifname, up))) = self.links.pop_first() {
            return Some(FibEvent::LinkChanged { ifname, up });
        }
        if let Some((addr, way)) = self.hops.poll_core() {
            return Some(FibEvent::NextHopChanged { addr, way });
        }
        if let Some((prefix, found)) = self.underlay.poll_found() {
            return Some(FibEvent::RouteFound { prefix, found });
        }
        let (prefix, refusal) = self.plan.poll_verdict()?;
        Some(FibEvent::RouteJudged { prefix, refusal })
    }
}
