//! Any history of events, against the model kernel: in the end the kernel has exactly what is wanted, nothing of anybody
//! else was touched on the way, and what is right already costs no operation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bgp_proto::{Prefix, Version};
use proptest::prelude::*;
use proptest::sample::select;
use reflector::events::{FibRoute, Hop};

use crate::fib::facts::{Path, Place, Target};
use crate::fib::machine::{FibConfig, Machine};
use crate::fib::refusal::Outcome;
use crate::fib::tests::wish;

mod kernel;

use kernel::{Create, Kernel, OURS, Row};

const PREFIXES: [&str; 6] =
    ["10.1.0.0/24", "10.1.0.0/16", "0.0.0.0/0", "fd00:a::/64", "fd00:b::/64", "fd00:c::/64"];
const HOPS_V4: [&str; 4] = ["10.0.1.2", "10.0.1.3", "10.0.2.2", "10.0.9.9"];
const HOPS_V6: [&str; 4] = ["fd00:1::2", "fd00:1::3", "fd00:2::2", "fd00:9::9"];
const FOREIGN: u8 = 4;

#[derive(Debug, Clone)]
enum Event {
    Desire(Prefix, Option<FibRoute>),
    /// Somebody else's route, or one with our mark.
    Put(Prefix, u8, u32, Target, Create),
    Take(Prefix, u8),
    Down(u32),
    Up(u32),
    /// Notifications that wait are lost.
    Overrun,
    /// The next operations are refused for this reason.
    Refuse(i32),
    /// The daemon hears what there is and does some operations.
    Work(usize),
    /// It looks at everything while notifications still wait.
    Look,
    Sweep,
    /// `kill -9` and a new start: what BGP wants is told anew, without pause.
    Restart,
    Wait(u64),
}

fn prefix() -> impl Strategy<Value = Prefix> {
    select(&PREFIXES[..]).prop_map(|text| text.parse().unwrap())
}

fn hops(version: Version) -> &'static [&'static str] {
    match version {
        Version::V4 => &HOPS_V4,
        Version::V6 => &HOPS_V6,
    }
}

fn desire() -> impl Strategy<Value = Event> {
    let route = (any::<[bool; 4]>(), 0..6u8);
    (prefix(), route).prop_map(|(prefix, (chosen, kind))| {
        let chosen = hops(prefix.version()).iter().zip(chosen).filter(|(_, chosen)| *chosen);
        let hops: Vec<Hop> = chosen
            .map(|(addr, _)| Hop { addr: addr.parse().unwrap(), weight: 1, vxlan: None, device: None })
            .collect();
        let route = match kind {
            0 => Some(FibRoute::Blackhole),
            _ if hops.is_empty() => None,
            _ => Some(FibRoute::Via(hops)),
        };
        Event::Desire(prefix, route)
    })
}

fn put() -> impl Strategy<Value = Event> {
    let how = select(&[Create::Exclusive, Create::Exclusive, Create::Replace, Create::Append][..]);
    let whose = select(&[FOREIGN, FOREIGN, OURS][..]);
    let metric = select(&[1024u32, 1024, 100, 2000][..]);
    (prefix(), whose, metric, any::<[bool; 3]>(), how).prop_map(|(prefix, protocol, metric, chosen, how)| {
        let links = [1, 1, 2];
        let chosen = hops(prefix.version()).iter().zip(links).zip(chosen).filter(|(_, chosen)| *chosen);
        let path = |(addr, ifindex): (&&str, u32)| Path {
            gateway: Some(addr.parse().unwrap()),
            ifindex,
            weight: 1,
            onlink: false,
        };
        let paths: Vec<Path> = chosen.map(|(hop, _)| path(hop)).collect();
        let target = if paths.is_empty() { Target::Blackhole } else { Target::via(paths, 16) };
        // In IPv6 an append makes one route of two owners' paths, of which no dump can tell whose is which.
        let how = match (how, prefix.version()) {
            (Create::Append, Version::V6) => Create::Exclusive,
            (how, _) => how,
        };
        Event::Put(prefix, protocol, metric, target, how)
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => desire(),
        4 => put(),
        3 => (prefix(), select(&[FOREIGN, OURS][..])).prop_map(|(prefix, protocol)| Event::Take(prefix, protocol)),
        1 => select(&Kernel::LINKS[..]).prop_map(Event::Down),
        2 => select(&Kernel::LINKS[..]).prop_map(Event::Up),
        1 => Just(Event::Overrun),
        1 => select(&[libc::EINVAL, libc::ENOBUFS, libc::EPERM, libc::ENETUNREACH][..]).prop_map(Event::Refuse),
        8 => (1..4usize).prop_map(Event::Work),
        1 => Just(Event::Look),
        1 => Just(Event::Sweep),
        1 => Just(Event::Restart),
        2 => (1..5000u64).prop_map(Event::Wait),
    ]
}

/// When the daemon looks at everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walks {
    /// When it wants to.
    AsWanted,
    /// Only when it knows that it cannot know: notifications must do for the rest.
    InDoubtOnly,
}

/// The daemon, the kernel and what is expected.
struct World {
    walks: Walks,
    kernel: Kernel,
    machine: Machine,
    now: Instant,
    wanted: BTreeMap<Prefix, FibRoute>,
    refusal: Option<i32>,
    /// Prefixes with routes of ours that this process found and may not delete yet.
    inherited: BTreeSet<Prefix>,
    ops: usize,
}

impl World {
    fn new(walks: Walks) -> World {
        let now = Instant::now();
        World {
            walks,
            kernel: Kernel::new(),
            machine: Machine::new(config(), now),
            now,
            wanted: BTreeMap::new(),
            refusal: None,
            inherited: BTreeSet::new(),
            ops: 0,
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Desire(prefix, route) => {
                match &route {
                    Some(route) => self.wanted.insert(prefix, route.clone()),
                    None => self.wanted.remove(&prefix),
                };
                self.machine.desire(wish(prefix, route));
            }
            Event::Put(prefix, protocol, metric, target, create) => {
                if target.paths().iter().all(|path| self.kernel.is_up(path.ifindex)) {
                    let place = Place { table: 254, metric };
                    self.kernel.put(prefix, Row { place, protocol, target }, create);
                }
            }
            Event::Take(prefix, protocol) => self.kernel.take(prefix, protocol),
            Event::Down(link) => self.kernel.link_down(link),
            Event::Up(link) => self.kernel.link_up(link),
            Event::Overrun => {
                self.kernel.queue.clear();
                self.machine.overrun(self.now);
            }
            Event::Refuse(errno) => self.refusal = Some(errno),
            Event::Work(batches) => {
                for _ in 0..batches {
                    self.turn(2)?;
                }
                self.refusal = None;
            }
            Event::Look => self.look(),
            Event::Sweep => self.sweep(),
            Event::Restart => {
                self.machine = Machine::new(config(), self.now);
                self.kernel.queue.clear();
                self.inherited = self.kernel.held().collect();
                self.look();
                for (prefix, route) in &self.wanted {
                    self.machine.desire(wish(*prefix, Some(route.clone())));
                }
            }
            Event::Wait(millis) => self.now += Duration::from_millis(millis),
        }
        Ok(())
    }

    fn sweep(&mut self) {
        self.inherited.clear();
        self.machine.sweep(Version::V4);
        self.machine.sweep(Version::V6);
    }

    fn look(&mut self) {
        self.machine.walk_begins(self.kernel.links(), &self.kernel.addresses());
        for route in self.kernel.dump() {
            self.machine.walk_route(route);
        }
        self.machine.walk_ends(self.now);
    }

    fn turn(&mut self, max: usize) -> Result<(), String> {
        for change in std::mem::take(&mut self.kernel.queue) {
            self.machine.kernel_changed(change, self.now);
        }
        if self.machine.walk_due(self.now) && (self.walks == Walks::AsWanted || self.machine.in_doubt()) {
            self.look();
        }
        // What somebody else took away in the meantime is no inheritance any more.
        let held: BTreeSet<Prefix> = self.kernel.held().collect();
        self.inherited.retain(|prefix| held.contains(prefix));
        let mut ops = Vec::new();
        self.machine.next_tunnel(self.now, 1, &mut Vec::new());
        self.machine.next(self.now, max, &mut ops);
        self.ops += ops.len();
        for op in ops {
            let outcome = match self.refusal {
                Some(errno) => Outcome::new(errno, None),
                None => self.kernel.request(&op)?,
            };
            if self.inherited.contains(&op.prefix) && !self.kernel.held().any(|prefix| prefix == op.prefix) {
                return Err(format!("{op} took an inherited route away before the sweep"));
            }
            self.machine.settle(&op, outcome, self.now);
        }
        while self.machine.poll_event().is_some() {}
        Ok(())
    }

    /// Time passes until nothing is left to do, an audit included.
    fn rest(&mut self) -> Result<(), String> {
        for _ in 0..200 {
            self.turn(8)?;
            if !self.machine.is_busy(self.now) && self.kernel.queue.is_empty() {
                self.now = self.machine.deadline().max(self.now + Duration::from_secs(1));
            }
        }
        if self.machine.is_busy(self.now) { Err("never at rest".into()) } else { Ok(()) }
    }

    /// What the kernel should have of ours for a prefix, worked out anew from nothing but the kernel.
    fn expected(&self, prefix: &Prefix) -> Option<Target> {
        match self.wanted.get(prefix)? {
            FibRoute::Blackhole => Some(Target::Blackhole),
            FibRoute::Via(hops) => {
                let paths: Vec<Path> = hops.iter().flat_map(|hop| self.way(hop)).collect();
                (!paths.is_empty()).then(|| Target::via(paths, 16))
            }
        }
    }

    fn way(&self, hop: &Hop) -> Vec<Path> {
        let host = Prefix::host(hop.addr);
        let mut covering: Vec<_> = self.kernel.dump();
        covering.retain(|route| route.protocol != OURS && route.prefix.contains(&host));
        covering.sort_by_key(|route| (std::cmp::Reverse(route.prefix.len()), route.place.metric));
        for route in covering {
            let Target::Via(paths) = &route.target else { return Vec::new() };
            let up = paths.iter().filter(|path| self.kernel.is_up(path.ifindex));
            let paths: Vec<Path> =
                up.map(|path| Path { gateway: path.gateway.or(Some(hop.addr)), ..*path }).collect();
            if !paths.is_empty() {
                return paths;
            }
        }
        Vec::new()
    }

    fn check(&self) -> Result<(), String> {
        for prefix in PREFIXES.iter().map(|text| text.parse::<Prefix>().unwrap()) {
            let shown = self.kernel.dump();
            let ours: Vec<_> =
                shown.iter().filter(|route| route.prefix == prefix && route.protocol == OURS).collect();
            let found: Vec<_> = ours.iter().map(|route| (route.place.metric, route.target.clone())).collect();
            let expected: Vec<_> = self.expected(&prefix).map(|target| (1024, target)).into_iter().collect();
            // Where a foreign route lies ours is not put; one that leads where it should may stay, there or elsewhere.
            let home = Place { table: 254, metric: 1024 };
            let foreign = |row: &Row| row.place == home && row.protocol != OURS;
            let taken = self.kernel.rows(&prefix).iter().any(foreign);
            let fitting = found.iter().all(|(_, target)| expected.iter().any(|(_, wanted)| wanted == target));
            if found != expected && !(taken && fitting) {
                let report = self.machine.report(&prefix);
                return Err(format!("{prefix}: found {found:?}\nexpected {expected:?}\n{report:#?}"));
            }
        }
        Ok(())
    }
}

fn config() -> FibConfig {
    FibConfig { protect: Vec::new(), ..FibConfig::default() }
}

fn history(events: Vec<Event>, walks: Walks) -> Result<(), String> {
    let mut world = World::new(walks);
    for event in events {
        world.happen(event)?;
    }
    world.refusal = None;
    world.sweep();
    world.rest()?;
    world.check()?;
    let (ops, wanted) = (world.ops, world.wanted.clone());
    for (prefix, route) in wanted {
        world.machine.desire(wish(prefix, Some(route)));
    }
    world.look();
    world.rest()?;
    if world.ops != ops {
        return Err(format!("{} operations for nothing", world.ops - ops));
    }
    // A new process finds everything right.
    world.happen(Event::Restart)?;
    world.sweep();
    world.rest()?;
    if world.ops != ops {
        return Err(format!("{} operations after a restart", world.ops - ops));
    }
    world.check()
}

proptest! {

    #[test]
    fn any_history_ends_with_the_kernel_as_wanted(events in prop::collection::vec(event(), 1..40)) {
        history(events, Walks::AsWanted).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn notifications_alone_suffice_where_they_tell_all(events in prop::collection::vec(event(), 1..40)) {
        history(events, Walks::InDoubtOnly).map_err(TestCaseError::fail)?;
    }
}
