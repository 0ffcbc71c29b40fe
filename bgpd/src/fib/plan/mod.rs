//! The plan: what the kernel should have, what it has of ours, and the difference as an ordered list of operations.
//!
//! One [`Slot`] a prefix holds both sides: what is wanted (the newest desire, as the number of a [`FibRoute`]) and what is
//! held (every route of ours that the kernel is known to have, as numbers of [`Target`]s). A change on either side queues
//! the prefix; [`Plan::next`] judges queued prefixes and says what to do, [`Plan::settle`] takes in what became of it.
//! Nothing else decides: a desire, a notification, a walk through the kernel and a next hop that moved all end in "judge
//! this prefix again", and a prefix whose two sides agree yields nothing.
//!
//! **Ownership.** Ours is what carries our protocol number in our table, at whatever metric. At a [`Place`] (table, metric)
//! where a foreign route lies, nothing of ours is put: the kernel's replace would hit whichever route comes first there,
//! and in IPv6 an addition would become one more path of the foreign route. So a route goes to an empty place by a create
//! that fails if the place is taken, and to a place of ours by a replace; the foreign route wins until it goes. One thing
//! cannot be told apart: an IPv6 path that somebody appends at our place becomes part of our route, and no dump says
//! whose it is. It counts as an alteration of ours and is undone.
//!
//! **Never a hole.** A change at the place is one atomic replace. A route that moves (another metric, another table) is
//! added at its new place first; the old one goes only when the kernel has acknowledged the new one.
//!
//! **Adoption.** Routes of ours found before the sweep of their family are inherited: used as they are if they are right,
//! replaced if they are wanted otherwise, never deleted. [`Plan::sweep`] ends that.
//!
//! **Refusal.** A refused prefix is tried again after 1, 2, 4 .. 64 seconds, or at once when something about it changes.
//! A route that cannot be changed to what is wanted is deleted: yesterday's next hop is not an answer. Without permission
//! nothing is tried but one operation a minute.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bgp_proto::attr::MacAddr;
use bgp_proto::{Prefix, Version};
use reflector::events::{FibChange, FibRoute, Hop, Naming};

use super::facts::{KernelRoute, Path, Place, Target};
use super::hops::Hops;
use super::intern::{Id, Interner};
use super::refusal::Refusal;
use super::resolve::{Resolution, Underlay, Unresolved};
use super::tunnel::{self, Exit, ExitKind, FarEnds};
use crate::config::tunnel::{Lane, Overlay, When};

mod held;
mod judge;
mod report;
mod slot;
mod slots;

pub use report::{HeldRoute, RouteReport};
use slot::{Entry, Slot};
pub use slot::{State, States};
use slots::{SlotId, Slots};

/// Which routes go where. Part of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) install: bool,
    pub(super) owner: Ownership,
    pub(super) metric: u32,
    pub(super) multipath: usize,
    pub(super) protect: Vec<Prefix>,
    pub(super) overlay: Overlay,
}

/// The mark of our routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ownership {
    pub(super) table: u32,
    pub(super) protocol: u8,
}

/// One request to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Op {
    pub(super) prefix: Prefix,
    pub(super) place: Place,
    pub(super) protocol: u8,
    pub(super) action: Action,
    /// How the plan finds what this is about.
    pub(super) token: Token,
}

/// A slot, and the number of the target that the operation puts or deletes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Token {
    slot: SlotId,
    target: Option<Id>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Put it at a place where nothing lies.
    Add(Arc<Target>),
    /// Put it in the place of our own route.
    Replace(Arc<Target>),
    /// Delete our route; the one with this target if one is given.
    Delete(Option<Arc<Target>>),
}

/// A refusal that stands, and when it is put to the test again.
#[derive(Debug)]
struct Refused {
    refusal: Refusal,
    attempt: Attempt,
    attempts: u32,
    /// `None`: whenever the prefix is judged next.
    retry_at: Option<Instant>,
}

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    Put,
    Delete,
}

/// Desired, held, and the difference.
#[derive(Debug)]
pub(super) struct Plan {
    rules: Rules,
    /// Marks by which a held route is known as ours; [`Entry::mark`] is an index. The first is the one we install with
    /// unless the rules changed since.
    marks: Vec<Ownership>,
    mark: u8,
    slots: Slots,
    /// Slots to be judged.
    queue: VecDeque<SlotId>,
    wishes: Interner<Wish>,
    last_wish: Option<Id>,
    /// What each wish comes to with the next hops of now, by the wish's number.
    aims: Vec<Aim>,
    targets: Interner<Target>,
    /// Where routes of the overlay leave, by the device's place in it.
    exits: Vec<Exit>,
    /// The far ends of tunnels may be others than they were.
    far_ends_stale: bool,
    swept: [bool; 2],
    round: u8,
    refused: HashMap<Prefix, Refused>,
    retries: BTreeSet<(Instant, Prefix)>,
    denied: Option<Refused>,
    /// Prefixes that came to be refused, or no longer are, since that was last asked for.
    verdicts: BTreeSet<Prefix>,
    states: States,
    /// Routes of ours that were found missing or altered by somebody.
    pub(super) repairs: u64,
    /// What lies where is not certain: walk through the kernel. Until then nothing is replaced, because a replace takes
    /// whatever it finds; additions and deletions cannot touch what is not ours.
    pub(super) doubt: bool,
    /// Prefixes that wait for the walk.
    postponed: BTreeSet<Prefix>,
    /// Answers of the kernel were lost: as `doubt`, and nothing is done until the walk.
    pub(super) lost: bool,
}

/// A [`FibRoute`] and its metric, in a form that can be looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wish {
    want: Want,
    /// The metric of this route, unless it is the one that all have.
    metric: Option<u32>,
    /// Whether protected prefixes are put there too.
    guard: Guard,
}

/// What a wish is worth where its prefix is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Guard {
    /// Nothing.
    Obeyed,
    /// All: a policy named exactly this prefix.
    Lifted,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Want {
    Blackhole,
    /// Through these next hops, in the way of the prefix's pool.
    Via(Box<[Hop]>, Option<Lane>),
}

impl Wish {
    fn hops(&self) -> &[Hop] {
        match &self.want {
            Want::Blackhole => &[],
            Want::Via(hops, _) => hops,
        }
    }

    fn lane(&self) -> Option<Lane> {
        match &self.want {
            Want::Blackhole => None,
            Want::Via(_, lane) => *lane,
        }
    }
}

/// What a wish comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// This target; `v4_only` if an IPv6 route cannot go that way.
    Target { id: Id, v4_only: bool },
    /// None of its next hops can be reached.
    Unresolved(Unresolved),
}

/// What a prefix comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Nothing,
    Protected,
    Unresolved(Unresolved),
    Target(Id),
}

impl Plan {
    /// Nothing desired, nothing held. `adopt`: further protocol numbers whose routes are ours from now on.
    pub(super) fn new(rules: Rules, adopt: &[u8]) -> Plan {
        let table = rules.owner.table;
        let adopted = adopt.iter().map(|protocol| Ownership { table, protocol: *protocol });
        let mut marks: Vec<Ownership> = std::iter::once(rules.owner).chain(adopted).collect();
        marks.truncate(usize::from(u8::MAX));
        Plan {
            rules,
            marks,
            mark: 0,
            slots: Slots::default(),
            queue: VecDeque::new(),
            wishes: Interner::default(),
            last_wish: None,
            aims: Vec::new(),
            targets: Interner::default(),
            exits: Vec::new(),
            far_ends_stale: false,
            swept: [false; 2],
            round: 0,
            refused: HashMap::new(),
            retries: BTreeSet::new(),
            denied: None,
            verdicts: BTreeSet::new(),
            states: States::default(),
            repairs: 0,
            doubt: false,
            postponed: BTreeSet::new(),
            lost: false,
        }
    }

    /// Other rules: what they change is moved, new before old.
    pub(super) fn set_rules(&mut self, rules: Rules, hops: &mut Hops, underlay: &Underlay) {
        let recount = rules.multipath != self.rules.multipath;
        let relane = rules.overlay != self.rules.overlay;
        if let Some(known) = self.marks.iter().position(|mark| *mark == rules.owner) {
            self.mark = u8::try_from(known).unwrap_or(0);
        } else if self.marks.len() < usize::from(u8::MAX) {
            self.mark = u8::try_from(self.marks.len()).unwrap_or(0);
            self.marks.push(rules.owner);
        }
        self.rules = rules;
        self.denied = None;
        if relane {
            // Whoever sets the rules says next where the exits are.
            self.exits.clear();
            self.relane(hops, underlay);
        }
        if recount || relane {
            let every: Vec<Id> = self.wishes.iter().map(|(id, _)| id).collect();
            for id in every {
                self.take_aim(id, hops);
            }
        }
        self.poke_where(|_| true);
    }

    /// The pools are others: every wish goes the way of its prefix's pool now.
    fn relane(&mut self, hops: &mut Hops, underlay: &Underlay) {
        let wanted = self.slots.iter().filter_map(|(id, slot)| Some((id, slot.prefix, slot.want?)));
        let wanted: Vec<_> = wanted.collect();
        for (slot, prefix, old) in wanted {
            let lane = self.rules.overlay.lane(&prefix);
            let Some(Wish { want: Want::Via(list, _), metric, guard }) =
                self.wishes.value(old).filter(|wish| wish.lane() != lane).map(|wish| (**wish).clone())
            else {
                continue;
            };
            let wish = Wish { want: Want::Via(list, lane), metric, guard };
            let want = self.acquire_wish(wish, hops, underlay);
            if let Some(slot) = self.slots.get_mut(slot) {
                slot.want = want;
            }
            self.release_wish(old, hops);
        }
    }

    /// Whether any exit is known.
    pub(super) fn has_exits(&self) -> bool {
        !self.exits.is_empty()
    }

    /// Tunnel devices came or went: routes through them are judged again.
    pub(super) fn set_exits(&mut self, exits: Vec<Exit>, hops: &Hops) {
        if self.exits == exits {
            return;
        }
        self.exits = exits;
        let tunnelled: Vec<Id> =
            self.wishes.iter().filter(|(_, wish)| wish.lane().is_some()).map(|(id, _)| id).collect();
        let moved: BTreeSet<Id> = tunnelled.into_iter().filter(|id| self.take_aim(*id, hops)).collect();
        if !moved.is_empty() {
            self.poke_where(|slot| slot.want.is_some_and(|id| moved.contains(&id)));
        }
    }

    /// The far ends that routes need, if they may be others than they were.
    pub(super) fn far_ends(&mut self, hops: &Hops) -> Option<FarEnds> {
        if !std::mem::take(&mut self.far_ends_stale) {
            return None;
        }
        let mut ends = FarEnds::default();
        for (_, wish) in self.wishes.iter() {
            let Some(lane) = wish.lane() else { continue };
            for hop in wish.hops() {
                if let Ok(Out::Tunnel { far_end: Some((end, mac)), .. }) =
                    out(hop, wish.lane(), hops, &self.exits)
                {
                    ends.add(lane.device, end, mac);
                }
            }
        }
        Some(ends)
    }

    /// Whether all that is wanted of a version was said and done, so that nothing unwanted is in use.
    pub(super) fn is_settled(&self, version: Version) -> bool {
        self.swept[usize::from(version == Version::V6)] && self.queue.is_empty() && !self.lost && !self.doubt
    }

    /// The tables in which routes of ours may lie.
    pub(super) fn tables(&self) -> BTreeSet<u32> {
        self.marks.iter().map(|mark| mark.table).collect()
    }

    /// Whether a route is ours, by its mark.
    pub(super) fn owns(&self, route: &KernelRoute) -> bool {
        self.mark_of(route).is_some()
    }

    fn mark_of(&self, route: &KernelRoute) -> Option<u8> {
        let owner = Ownership { table: route.place.table, protocol: route.protocol };
        self.marks.iter().position(|mark| *mark == owner).and_then(|mark| u8::try_from(mark).ok())
    }

    fn place_of(&self, prefix: &Prefix, entry: &Entry) -> Place {
        let mark = self.marks.get(usize::from(entry.mark)).unwrap_or(&self.rules.owner);
        Place::of(prefix.version(), mark.table, entry.metric)
    }

    /// Where a route of ours belongs.
    fn home(&self, prefix: &Prefix, wish: Option<Id>) -> Place {
        let own = wish.and_then(|id| self.wishes.value(id)).and_then(|wish| wish.metric);
        Place::of(prefix.version(), self.rules.owner.table, own.unwrap_or(self.rules.metric))
    }
}

/// What is wanted.
impl Plan {
    /// The newest desire for a prefix.
    pub(super) fn desire(
        &mut self,
        FibChange { prefix, route, metric, naming }: FibChange,
        hops: &mut Hops,
        underlay: &Underlay,
    ) {
        let guard = if naming == Naming::Exact { Guard::Lifted } else { Guard::Obeyed };
        let want = route.map(|route| match route {
            FibRoute::Blackhole => Want::Blackhole,
            FibRoute::Via(mut hops) => {
                hops.sort_unstable();
                Want::Via(hops.into_boxed_slice(), self.rules.overlay.lane(&prefix))
            }
        });
        let wish = want.map(|want| Wish { want, metric, guard });
        let want = wish.and_then(|wish| self.acquire_wish(wish, hops, underlay));
        let id = match want {
            Some(_) => self.slots.find_or_make(prefix, &mut self.states),
            None => self.slots.find(&prefix),
        };
        let Some((id, slot)) = id.and_then(|id| Some((id, self.slots.get_mut(id)?))) else { return };
        let old = std::mem::replace(&mut slot.want, want);
        if old != want {
            enqueue(&mut self.queue, id, slot);
            forgive(&mut self.refused, &mut self.retries, &prefix);
        }
        if let Some(old) = old {
            self.release_wish(old, hops);
        }
    }

    fn acquire_wish(&mut self, wish: Wish, hops: &mut Hops, underlay: &Underlay) -> Option<Id> {
        // Neighbouring routes mostly want the same.
        let same = |id: &Id| self.wishes.value(*id).is_some_and(|last| **last == wish);
        if let Some(id) = self.last_wish.filter(same).or_else(|| self.wishes.find(&wish)) {
            self.wishes.retain(id);
            self.last_wish = Some(id);
            return Some(id);
        }
        for hop in wish.hops() {
            hops.acquire(hop.addr, hop.device, underlay);
        }
        let id = self.wishes.insert(wish)?;
        self.take_aim(id, hops);
        Some(id)
    }

    fn release_wish(&mut self, id: Id, hops: &mut Hops) {
        let Some(wish) = self.wishes.release(id) else { return };
        self.far_ends_stale |= wish.lane().is_some();
        for hop in wish.hops() {
            hops.release(hop.addr);
        }
        self.set_aim(id, Aim::FREE);
    }

    /// Works out what a wish comes to with the next hops of now; whether that is something else than before.
    fn take_aim(&mut self, id: Id, hops: &Hops) -> bool {
        let Some(wish) = self.wishes.value(id).cloned() else { return false };
        let aim = match &wish.want {
            Want::Blackhole => Ok(Target::Blackhole),
            Want::Via(list, lane) => combine(list, *lane, hops, &self.exits, self.rules.multipath),
        };
        self.far_ends_stale |= wish.lane().is_some();
        let aim = match aim {
            Ok(target) => {
                let v4_only =
                    target.paths().iter().any(|path| path.gateway.is_some_and(|addr| addr.is_ipv4()));
                let id = self.targets.acquire(target);
                id.map_or(Aim::FREE, |id| Aim::Target { id, v4_only })
            }
            Err(reason) => Aim::Unresolved(reason),
        };
        self.set_aim(id, aim)
    }

    fn set_aim(&mut self, id: Id, aim: Aim) -> bool {
        if self.aims.len() <= id.index() {
            self.aims.resize(id.index() + 1, Aim::FREE);
        }
        let Some(place) = self.aims.get_mut(id.index()) else { return false };
        let old = std::mem::replace(place, aim);
        if let Aim::Target { id, .. } = old {
            self.targets.release(id);
        }
        old != aim
    }

    /// The way to these next hops changed: all routes that use them are judged again.
    pub(super) fn hops_changed(&mut self, changed: &BTreeSet<IpAddr>, hops: &Hops) {
        if changed.is_empty() {
            return;
        }
        let concerned = |wish: &Wish| wish.hops().iter().any(|hop| changed.contains(&hop.addr));
        let ids: Vec<Id> = self.wishes.iter().filter(|(_, wish)| concerned(wish)).map(|(id, _)| id).collect();
        let moved: BTreeSet<Id> = ids.into_iter().filter(|id| self.take_aim(*id, hops)).collect();
        if moved.is_empty() {
            return;
        }
        self.poke_where(|slot| slot.want.is_some_and(|id| moved.contains(&id)));
    }

    /// Judges a prefix again, refused or not: something about it changed.
    pub(super) fn poke(&mut self, prefix: &Prefix) {
        let Some(id) = self.slots.find(prefix) else { return };
        if let Some(slot) = self.slots.get_mut(id) {
            enqueue(&mut self.queue, id, slot);
            forgive(&mut self.refused, &mut self.retries, prefix);
        }
    }

    fn poke_where(&mut self, concerned: impl Fn(&Slot) -> bool) {
        for (id, slot) in self.slots.iter_mut().filter(|(_, slot)| concerned(slot)) {
            enqueue(&mut self.queue, id, slot);
            forgive(&mut self.refused, &mut self.retries, &slot.prefix);
        }
    }

    /// Leftovers of this version may go from now on.
    pub(super) fn sweep(&mut self, version: Version) {
        if !self.rules.install {
            return;
        }
        self.swept[usize::from(version == Version::V6)] = true;
        for (id, slot) in self.slots.iter_mut() {
            if slot.prefix.version() == version && slot.inherited {
                slot.inherited = false;
                enqueue(&mut self.queue, id, slot);
            }
        }
    }

    /// Nothing is wanted any more and nothing is kept: the daemon takes its routes with it.
    pub(super) fn leave(&mut self, hops: &mut Hops) {
        self.swept = [true; 2];
        let mut wants = Vec::new();
        for (id, slot) in self.slots.iter_mut() {
            wants.extend(slot.want.take());
            slot.inherited = false;
            enqueue(&mut self.queue, id, slot);
        }
        for id in wants {
            self.release_wish(id, hops);
        }
    }
}

/// What a slot comes to if its prefix is not protected.
fn goal(rules: &Rules, aims: &[Aim], slot: &Slot) -> Goal {
    let Some(want) = slot.want else { return Goal::Nothing };
    if !rules.install {
        return Goal::Nothing;
    }
    match aims.get(want.index()) {
        Some(Aim::Target { v4_only: true, .. }) if slot.prefix.version() == Version::V6 => {
            Goal::Unresolved(Unresolved::WrongFamily)
        }
        Some(Aim::Target { id, .. }) => Goal::Target(*id),
        Some(Aim::Unresolved(reason)) => Goal::Unresolved(*reason),
        None => Goal::Nothing,
    }
}

/// Whether a held route lies at a place, by table and metric.
fn lies_at(marks: &[Ownership], entry: &Entry, place: Place) -> bool {
    entry.metric == place.metric
        && marks.get(usize::from(entry.mark)).is_some_and(|mark| mark.table == place.table)
}

impl Aim {
    /// The aim of a number that is not in use.
    const FREE: Aim = Aim::Unresolved(Unresolved::NoRoute);
}

/// The paths to a set of BGP next hops together; those out of reach are left out.
fn combine(
    list: &[Hop],
    lane: Option<Lane>,
    hops: &Hops,
    exits: &[Exit],
    paths_max: usize,
) -> Result<Target, Unresolved> {
    let mut paths = Vec::new();
    let mut reason = Unresolved::NoRoute;
    for hop in list {
        let weigh = |path: &Path| {
            let weight = path.weight.saturating_mul(u16::from(hop.weight.max(1)));
            Path { weight, ..*path }
        };
        if let Some(device) = hop.device {
            match hops.device(device) {
                Some(ifindex) => {
                    paths.push(Path { gateway: Some(hop.addr), ifindex, weight: 1, onlink: true });
                }
                None => reason = Unresolved::LinkDown,
            }
            continue;
        }
        match out(hop, lane, hops, exits) {
            Ok(Out::Direct(resolution)) => paths.extend(resolution.paths.iter().map(weigh)),
            Ok(Out::Tunnel { path, .. }) => paths.push(weigh(&path)),
            Err(why) => reason = why,
        }
    }
    if paths.is_empty() { Err(reason) } else { Ok(Target::via(paths, paths_max)) }
}

/// How packets leave towards a next hop.
enum Out<'a> {
    /// As they are.
    Direct(&'a Resolution),
    /// In a tunnel, with the far end that the device must know and the hardware address there, if it needs such.
    Tunnel { path: Path, far_end: Option<(IpAddr, MacAddr)> },
}

/// The way towards a next hop that a pool prescribes. The next hop must be in reach of the underlay either way.
fn out<'a>(hop: &Hop, lane: Option<Lane>, hops: &'a Hops, exits: &[Exit]) -> Result<Out<'a>, Unresolved> {
    let way = hops.way(hop.addr).ok_or(Unresolved::NoRoute)?;
    let resolution = way.as_ref().map_err(|why| *why)?;
    let Some(lane) = lane.filter(|lane| lane.when == When::Always || !resolution.on_link) else {
        return Ok(Out::Direct(resolution));
    };
    let exit = exits.get(lane.device).ok_or(Unresolved::NoDevice)?;
    let (end, mac) = match exit.kind {
        ExitKind::Theirs => return Err(Unresolved::Theirs),
        ExitKind::NextHop => (hop.addr, None),
        ExitKind::Vxlan(vni) => {
            let vxlan = hop.vxlan.filter(|vxlan| vxlan.vni.is_none_or(|other| other == vni));
            let vxlan = vxlan.ok_or(Unresolved::NoTunnel)?;
            (vxlan.addr.unwrap_or(hop.addr), Some(vxlan.mac))
        }
    };
    if end.is_ipv6() != (exit.version == Version::V6) {
        return Err(Unresolved::NoTunnel);
    }
    let ifindex = exit.ifindex.ok_or(Unresolved::NoDevice)?;
    let gateway = mac.map_or(end, |mac| tunnel::gateway(end, mac));
    let path = Path { gateway: Some(gateway), ifindex, weight: 1, onlink: gateway.is_ipv4() };
    Ok(Out::Tunnel { path, far_end: mac.map(|mac| (end, mac)) })
}

fn enqueue(queue: &mut VecDeque<SlotId>, id: SlotId, slot: &mut Slot) {
    if !slot.queued {
        slot.queued = true;
        queue.push_back(id);
    }
}

/// A refusal stands no longer than until the next try, which is now.
fn forgive(
    refused: &mut HashMap<Prefix, Refused>,
    retries: &mut BTreeSet<(Instant, Prefix)>,
    prefix: &Prefix,
) {
    if refused.is_empty() {
        return;
    }
    let Some(refused) = refused.get_mut(prefix) else { return };
    refused.attempts = 0;
    if let Some(at) = refused.retry_at.take() {
        retries.remove(&(at, *prefix));
    }
}
