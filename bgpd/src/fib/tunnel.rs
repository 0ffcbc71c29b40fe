//! Tunnel devices: those that the configuration asks for, those that the kernel has, and the difference.
//!
//! A route of a pool goes through a device of this module, [`Exit`] by name: IPIP takes the BGP next hop as the gateway (on-link,
//! because the tunnel is one hop wherever it leads), VXLAN the far end that the route names (RFC 9012). For each far end a VXLAN device
//! has two permanent entries: a neighbour with the hardware address there, and behind that address the far end, as the
//! destination of the outer packet. So nothing is ever asked or learned by packets. The neighbour is the far end's own address for
//! IPv4. For IPv6 Linux takes no gateway that another link leads to, on-link or not, so there it is the link-local
//! address that follows from the hardware address (RFC 4291 appendix A).
//!
//! A device of ours is ours altogether: addresses and entries that are not wanted go. It is found by its name and kind, so a restart adopts it
//! as it is, with all its entries, and touches nothing that is right; entries go only when the routes through them have gone.
//! Somebody else's device (`tunnel.owner: external`) is looked at and never touched. What the kernel refuses is told
//! once, and tried again by the clock; meanwhile the pool's routes wait and all others go on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bgp_proto::Version;
use bgp_proto::attr::MacAddr;

use super::facts::{Link, LinkKind, Neighbour};
use super::refusal::{Outcome, Refusal};
use super::resolve::Underlay;
use crate::config::tunnel::{Device, DeviceKind, Owner};

/// What the outer headers take (RFC 2003 section 3.1; RFC 7348 section 5 with IPv4 and IPv6 outside).
const OVERHEAD_IPIP: u32 = 20;
const OVERHEAD_VXLAN: [u32; 2] = [50, 70];
/// Below this a device is of no use, whatever the links say.
const MTU_MIN: [u32; 2] = [576, 1280];
/// Far ends of all VXLAN devices together: more than ten times the nodes of the largest clusters.
pub(super) const FAR_ENDS_MAX: usize = 1 << 16;
/// Waits after a refusal, doubled each time.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(64);

/// How a route leaves through a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exit {
    /// The version of IP that it carries.
    pub(super) version: Version,
    /// How it names the far end.
    pub(super) kind: ExitKind,
    /// Its number, if it is there and up.
    pub(super) ifindex: Option<u32>,
}

/// How a device names the far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExitKind {
    /// By the next hop.
    NextHop,
    /// By the VXLAN tunnel of the route, in this virtual network.
    Vxlan(u32),
    /// Not at all: the device's owner installs these routes.
    Theirs,
}

/// Far ends of VXLAN devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FarEnds {
    /// By the device's place in the configuration and the end's address, the hardware address there.
    ends: BTreeMap<(usize, IpAddr), MacAddr>,
    /// Devices some of whose far ends are not here, because there are too many.
    crowded: BTreeSet<usize>,
}

impl FarEnds {
    /// Adds one, if there is room.
    pub(super) fn add(&mut self, device: usize, end: IpAddr, mac: MacAddr) {
        if self.ends.len() < FAR_ENDS_MAX || self.ends.contains_key(&(device, end)) {
            self.ends.insert((device, end), mac);
        } else {
            self.crowded.insert(device);
        }
    }
}

/// One request to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TunnelOp {
    /// The device's place in the configuration; `None`: one that is configured no more.
    pub(super) device: Option<usize>,
    pub(super) action: Action,
}

impl TunnelOp {
    /// Whether it leaves interfaces and addresses as they are.
    pub(super) fn is_about_entries(&self) -> bool {
        matches!(self.action, Action::AddNeighbour(_) | Action::DropNeighbour(_))
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Make the device.
    Create { name: String, kind: DeviceKind, version: Version, mtu: Option<u32> },
    /// Unmake it.
    Delete { ifindex: u32 },
    /// Put right what is given.
    Adjust { ifindex: u32, mtu: Option<u32>, mac: Option<MacAddr>, up: bool },
    /// Give it an address.
    AddAddress { ifindex: u32, addr: IpAddr },
    /// Take one from it.
    DropAddress { ifindex: u32, addr: IpAddr },
    /// Give it an entry.
    AddNeighbour(Neighbour),
    /// Take one from it.
    DropNeighbour(Neighbour),
}

/// Wanted devices, and what of them the kernel has.
#[derive(Debug, Default)]
pub(super) struct Tunnels {
    slots: Vec<Slot>,
    /// Devices of ours that are configured no more.
    retired: Vec<Device>,
    /// Entries of our devices in the kernel.
    held: BTreeSet<Neighbour>,
    wanted: FarEnds,
    /// Entries to be added, or none of these and entries to be dropped, worked out in one go.
    entries: VecDeque<TunnelOp>,
    /// The entries to be added and dropped may be others by now.
    stale: bool,
    /// Something may be left to do.
    dirty: bool,
}

/// One configured device.
#[derive(Debug)]
struct Slot {
    device: Device,
    problem: Option<String>,
    problem_told: Option<String>,
    is_crowded: bool,
    attempts: u32,
    retry_at: Option<Instant>,
}

impl Slot {
    fn new(device: Device) -> Slot {
        Slot { device, problem: None, problem_told: None, is_crowded: false, attempts: 0, retry_at: None }
    }

    /// What is wrong with it.
    fn trouble(&self) -> Option<String> {
        let name = &self.device.name;
        let crowd = || {
            format!(
                "more than {FAR_ENDS_MAX} far ends of tunnels: routes to the others through {name} lead nowhere"
            )
        };
        self.problem.clone().or_else(|| self.is_crowded.then(crowd))
    }

    fn waits(&self, now: Instant) -> bool {
        self.retry_at.is_some_and(|at| at > now)
    }
}

impl Tunnels {
    /// Other devices are wanted.
    pub(super) fn configure(&mut self, devices: &[Device]) {
        let old = std::mem::take(&mut self.slots);
        for slot in old {
            let stays = devices.iter().any(|device| device.name == slot.device.name);
            if !stays && slot.device.owner == Owner::Own {
                self.retired.push(slot.device);
            }
        }
        self.retired.retain(|gone| devices.iter().all(|device| device.name != gone.name));
        self.slots = devices.iter().cloned().map(Slot::new).collect();
        self.look_again();
    }

    /// Nothing is wanted any more: the daemon takes its devices with it.
    pub(super) fn leave(&mut self) {
        self.wanted = FarEnds::default();
        self.configure(&[]);
    }

    /// Other far ends are wanted.
    pub(super) fn want(&mut self, far_ends: FarEnds) {
        if self.wanted == far_ends {
            return;
        }
        self.wanted = far_ends;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            slot.is_crowded = self.wanted.crowded.contains(&index);
        }
        self.look_again();
    }

    /// The underlay changed.
    pub(super) fn poke(&mut self) {
        self.look_again();
    }

    fn look_again(&mut self) {
        self.dirty = true;
        self.stale = true;
    }

    /// Where routes can leave now, in the order of the configuration.
    pub(super) fn exits(&self, underlay: &Underlay) -> Vec<Exit> {
        let exit = |Slot { device, .. }: &Slot| {
            let link = underlay.link_named(&device.name).filter(|link| link.up && is_kind(link, device.kind));
            let kind = match (device.kind, device.owner) {
                (DeviceKind::Ipip, _) => ExitKind::NextHop,
                (DeviceKind::Vxlan { vni, .. }, Owner::Own) => ExitKind::Vxlan(vni),
                (DeviceKind::Vxlan { .. }, Owner::External) => ExitKind::Theirs,
            };
            Exit { version: device.version, kind, ifindex: link.map(|link| link.ifindex) }
        };
        self.slots.iter().map(exit).collect()
    }

    /// VXLAN devices of ours that are there, whose entries are to be read.
    pub(super) fn to_read(&self, underlay: &Underlay) -> Vec<u32> {
        let own = self.slots.iter().filter(|slot| slot.device.owner == Owner::Own);
        let links = own.filter_map(|slot| {
            let link = underlay.link_named(&slot.device.name)?;
            matches!(link.kind, LinkKind::Vxlan { .. }).then_some(link.ifindex)
        });
        links.collect()
    }

    /// All entries of our devices, as read.
    pub(super) fn holds(&mut self, held: BTreeSet<Neighbour>) {
        self.held = held;
        self.look_again();
    }

    /// A device went, with its entries.
    pub(super) fn link_went(&mut self, ifindex: u32) {
        self.held.retain(|entry| entry.ifindex != ifindex);
        self.look_again();
    }

    /// Whether there may be something to do right now.
    pub(super) fn is_busy(&self) -> bool {
        self.dirty && !(self.slots.is_empty() && self.retired.is_empty())
    }

    /// When there is something to do although nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.slots.iter().filter_map(|slot| slot.retry_at).min()
    }

    /// A problem that came or went since it was last told, with its device's name.
    pub(super) fn poll_problem(&mut self) -> Option<(String, Option<String>)> {
        let slot = self.slots.iter_mut().find(|slot| slot.trouble() != slot.problem_told)?;
        slot.problem_told = slot.trouble();
        Some((slot.device.name.clone(), slot.problem_told.clone()))
    }
}

/// What is to be done.
impl Tunnels {
    /// The next operations, about `max`. `is_settled`: for each version, whether no route waits, so that entries without one may go.
    pub(super) fn next(
        &mut self,
        underlay: &Underlay,
        is_settled: [bool; 2],
        now: Instant,
        max: usize,
        ops: &mut Vec<TunnelOp>,
    ) {
        for slot in &mut self.slots {
            if slot.retry_at.is_some_and(|at| at <= now) {
                slot.retry_at = None;
                self.dirty = true;
                self.stale = true;
            }
        }
        if !self.dirty {
            return;
        }
        let names: Vec<&str> = self.slots.iter().map(|slot| slot.device.name.as_str()).collect();
        let room = [Version::V4, Version::V6].map(|version| underlay.mtu(version, &names));
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.device.owner == Owner::Own && !slot.waits(now) {
                put_right(index, slot, underlay, room, ops);
            }
        }
        if ops.is_empty() {
            self.next_entries(underlay, is_settled, now, max, ops);
        }
        if ops.is_empty() && is_settled == [true; 2] {
            self.retire(underlay, ops);
        }
        // Done until something changes; entries that wait for routes to go are looked at with the next change.
        self.dirty = !ops.is_empty();
    }

    /// The next of the entries; what is left of them is worked out anew when all are done, because drops follow additions.
    fn next_entries(
        &mut self,
        underlay: &Underlay,
        is_settled: [bool; 2],
        now: Instant,
        max: usize,
        ops: &mut Vec<TunnelOp>,
    ) {
        if self.stale {
            self.stale = false;
            self.entries = self.missing(underlay, now);
            if self.entries.is_empty() {
                self.entries = self.surplus(underlay, now);
            }
        }
        let may_go = |op: &TunnelOp| match (&op.action, op.device.and_then(|index| self.slots.get(index))) {
            (Action::DropNeighbour(_), Some(slot)) => {
                is_settled[usize::from(slot.device.version == Version::V6)]
            }
            _ => true,
        };
        let ready = self.entries.iter().take(max).take_while(|op| may_go(op)).count();
        ops.extend(self.entries.drain(..ready));
        // What waits for routes to go is looked at with the next change.
        self.stale |= self.entries.is_empty() == (ready > 0);
    }

    /// VXLAN devices of ours that are there, with their places and numbers.
    fn own<'a>(&'a self, underlay: &'a Underlay, now: Instant) -> impl Iterator<Item = (usize, u32)> + 'a {
        self.slots.iter().enumerate().filter_map(move |(index, slot)| {
            let is_vxlan = matches!(slot.device.kind, DeviceKind::Vxlan { .. });
            let is_ours = slot.device.owner == Owner::Own && is_vxlan && !slot.waits(now);
            let link = underlay.link_named(&slot.device.name).filter(|_| is_ours)?;
            Some((index, link.ifindex))
        })
    }

    /// The entries that a device should have.
    fn due(&self, index: usize, ifindex: u32) -> BTreeSet<Neighbour> {
        let of_device =
            self.wanted.ends.range((index, LOWEST)..).take_while(|((device, _), _)| *device == index);
        let mut due = BTreeSet::new();
        let mut macs = BTreeSet::new();
        for ((_, end), mac) in of_device {
            let mac = *mac;
            due.insert(Neighbour { ifindex, is_forwarding: false, addr: gateway(*end, mac), mac });
            // A node with two addresses is behind the first.
            if macs.insert(mac) {
                due.insert(Neighbour { ifindex, is_forwarding: true, addr: *end, mac });
            }
        }
        due
    }

    fn missing(&self, underlay: &Underlay, now: Instant) -> VecDeque<TunnelOp> {
        let of_device = |(index, ifindex)| {
            let due = self.due(index, ifindex);
            let missing = due.into_iter().filter(|entry| !self.held.contains(entry));
            missing.map(move |entry| TunnelOp { device: Some(index), action: Action::AddNeighbour(entry) })
        };
        self.own(underlay, now).flat_map(of_device).collect()
    }

    fn surplus(&self, underlay: &Underlay, now: Instant) -> VecDeque<TunnelOp> {
        let of_device = |(index, ifindex)| {
            let due = self.due(index, ifindex);
            let held = self.held.range(first_of(ifindex)..).take_while(move |entry| entry.ifindex == ifindex);
            let surplus = held.filter(move |entry| !due.contains(entry));
            surplus.map(move |entry| TunnelOp { device: Some(index), action: Action::DropNeighbour(*entry) })
        };
        self.own(underlay, now).flat_map(of_device).collect()
    }

    /// Devices that are configured no more: one that Linux made by itself cannot be unmade, only emptied.
    fn retire(&mut self, underlay: &Underlay, ops: &mut Vec<TunnelOp>) {
        for device in std::mem::take(&mut self.retired) {
            let link = underlay.link_named(&device.name).filter(|link| is_kind(link, device.kind));
            let Some(link) = link else { continue };
            let ifindex = link.ifindex;
            let op = |action| TunnelOp { device: None, action };
            match device.kind {
                DeviceKind::Vxlan { .. } => ops.push(op(Action::Delete { ifindex })),
                DeviceKind::Ipip => {
                    ops.extend(
                        device.addresses.iter().map(|addr| op(Action::DropAddress { ifindex, addr: *addr })),
                    );
                    ops.push(op(Action::Adjust { ifindex, mtu: None, mac: None, up: false }));
                }
            }
        }
    }

    /// What became of an operation.
    pub(super) fn settle(&mut self, op: &TunnelOp, outcome: &Outcome, now: Instant) {
        self.dirty = true;
        self.stale |= !op.is_about_entries() || *outcome != Outcome::Done;
        match (&op.action, outcome) {
            (Action::AddNeighbour(entry), Outcome::Done) => {
                // The new entry took the place of one for the same neighbour or the same hardware address.
                let others =
                    self.held.range(first_of_place(entry)..).take_while(|old| is_in_place_of(entry, old));
                for old in others.copied().collect::<Vec<_>>() {
                    self.held.remove(&old);
                }
                self.held.insert(*entry);
            }
            (Action::DropNeighbour(entry), Outcome::Done | Outcome::Absent) => drop(self.held.remove(entry)),
            _ => {}
        }
        let Some(slot) = op.device.and_then(|index| self.slots.get_mut(index)) else { return };
        match outcome {
            // It went meanwhile; that is about to be heard.
            Outcome::Refused(Refusal { errno: libc::ENODEV, .. })
                if !matches!(op.action, Action::Create { .. }) => {}
            Outcome::Refused(refusal) => slot.refuse(problem(&slot.device, &op.action, refusal), now),
            Outcome::Absent if !is_removal(&op.action) => {
                slot.refuse(format!("the device {} went while it was set up", slot.device.name), now);
            }
            Outcome::Done | Outcome::Absent => slot.acquit(),
            Outcome::Lost => {}
        }
    }
}

impl Slot {
    fn refuse(&mut self, problem: String, now: Instant) {
        let wait = BACKOFF_MIN.saturating_mul(1 << self.attempts.min(16)).min(BACKOFF_MAX);
        self.attempts = self.attempts.saturating_add(1);
        self.retry_at = Some(now + wait);
        self.problem = Some(problem);
    }

    fn acquit(&mut self) {
        self.attempts = 0;
        self.retry_at = None;
        self.problem = None;
    }
}

/// The neighbour by which a route names a VXLAN far end.
pub(super) fn gateway(end: IpAddr, mac: MacAddr) -> IpAddr {
    match end {
        IpAddr::V4(_) => end,
        IpAddr::V6(_) => {
            let MacAddr([a, b, c, d, e, f]) = mac;
            let octets = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f];
            IpAddr::V6(octets.into())
        }
    }
}

/// What comes before all entries of a device.
fn first_of(ifindex: u32) -> Neighbour {
    Neighbour { ifindex, is_forwarding: false, addr: LOWEST, mac: MacAddr([0; 6]) }
}

/// What comes before all entries of which the kernel keeps only one, this among them.
fn first_of_place(entry: &Neighbour) -> Neighbour {
    match entry.is_forwarding {
        true => Neighbour { addr: LOWEST, ..*entry },
        false => Neighbour { mac: MacAddr([0; 6]), ..*entry },
    }
}

/// The first address in order.
const LOWEST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

/// Makes a device as it should be, one step at a time.
fn put_right(
    index: usize,
    slot: &mut Slot,
    underlay: &Underlay,
    room: [Option<u32>; 2],
    ops: &mut Vec<TunnelOp>,
) {
    let Device { name, version, kind, mtu, addresses, .. } = &slot.device;
    let op = |action| TunnelOp { device: Some(index), action };
    let wide = room[usize::from(*version == Version::V6)].map(|room| inner_mtu(*kind, *version, room));
    let mtu = mtu.or(wide);
    let Some(link) = underlay.link_named(name) else {
        ops.push(op(Action::Create { name: name.clone(), kind: *kind, version: *version, mtu }));
        return;
    };
    let ifindex = link.ifindex;
    match (link.kind, kind) {
        (LinkKind::Ipip, DeviceKind::Ipip) => {}
        (LinkKind::Vxlan { vni, port }, DeviceKind::Vxlan { vni: wanted, port: at, .. }) => {
            if (vni, port) != (*wanted, *at) {
                ops.push(op(Action::Delete { ifindex }));
                return;
            }
        }
        (LinkKind::Other | LinkKind::Ipip | LinkKind::Vxlan { .. }, _) => {
            slot.problem = Some(format!(
                "there is a device {name} of another kind: remove it, give tunnel.name another name, or set tunnel.owner: external"
            ));
            return;
        }
    }
    let mac = match kind {
        DeviceKind::Vxlan { mac, .. } if link.mac != Some(*mac) => Some(*mac),
        DeviceKind::Vxlan { .. } | DeviceKind::Ipip => None,
    };
    let mtu = mtu.filter(|mtu| *mtu != link.mtu);
    if mac.is_some() || mtu.is_some() || !link.up {
        ops.push(op(Action::Adjust { ifindex, mtu, mac, up: true }));
    }
    let has = underlay.addresses_of(ifindex);
    let missing = addresses.iter().filter(|addr| !has.contains(addr));
    ops.extend(missing.map(|addr| op(Action::AddAddress { ifindex, addr: *addr })));
    let is_automatic = |addr: &IpAddr| matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local());
    let surplus = has.iter().filter(|addr| !addresses.contains(addr) && !is_automatic(addr));
    ops.extend(surplus.map(|addr| op(Action::DropAddress { ifindex, addr: *addr })));
    if ops.iter().all(|op| op.device != Some(index)) {
        slot.problem = None;
    }
}

fn is_kind(link: &Link, kind: DeviceKind) -> bool {
    match (link.kind, kind) {
        (LinkKind::Ipip, DeviceKind::Ipip) => true,
        (LinkKind::Vxlan { vni, port }, DeviceKind::Vxlan { vni: wanted, port: at, .. }) => {
            (vni, port) == (wanted, at)
        }
        (LinkKind::Other | LinkKind::Ipip | LinkKind::Vxlan { .. }, _) => false,
    }
}

fn is_removal(action: &Action) -> bool {
    matches!(action, Action::Delete { .. } | Action::DropAddress { .. } | Action::DropNeighbour(_))
}

/// Whether the kernel keeps only one of the two.
fn is_in_place_of(new: &Neighbour, old: &Neighbour) -> bool {
    let same_table = new.ifindex == old.ifindex && new.is_forwarding == old.is_forwarding;
    same_table && if new.is_forwarding { new.mac == old.mac } else { new.addr == old.addr }
}

fn inner_mtu(kind: DeviceKind, version: Version, room: u32) -> u32 {
    let slot = usize::from(version == Version::V6);
    let overhead = match kind {
        DeviceKind::Ipip => OVERHEAD_IPIP,
        DeviceKind::Vxlan { .. } => OVERHEAD_VXLAN[slot],
    };
    room.saturating_sub(overhead).max(MTU_MIN[slot])
}

/// One sentence: what is wrong with a device, and what to do.
fn problem(device: &Device, action: &Action, refusal: &Refusal) -> String {
    let Device { name, kind, .. } = device;
    match (refusal.errno, action, kind) {
        (libc::EPERM | libc::EACCES, _, _) => {
            format!("no permission to set up the tunnel device {name}: the daemon needs CAP_NET_ADMIN")
        }
        (libc::EOPNOTSUPP | libc::ENODEV, Action::Create { .. }, DeviceKind::Ipip) => {
            format!(
                "the kernel cannot make the tunnel device {name}: load its module on the host (modprobe ipip)"
            )
        }
        (libc::EOPNOTSUPP | libc::ENODEV, Action::Create { .. }, DeviceKind::Vxlan { .. }) => {
            format!(
                "the kernel cannot make the tunnel device {name}: load its module on the host (modprobe vxlan)"
            )
        }
        (libc::EEXIST, Action::Create { .. }, DeviceKind::Vxlan { vni, port, .. }) => format!(
            "another device has VNI {vni} on UDP port {port}: give tunnel.vni or tunnel.port another value for {name}, or set tunnel.owner: external"
        ),
        (libc::EADDRINUSE, _, DeviceKind::Vxlan { port, .. }) => format!(
            "UDP port {port} is somebody else's: give tunnel.port another value for {name}, the same on all nodes"
        ),
        _ => format!("the kernel refuses to set up the tunnel device {name}: {}", refusal.text),
    }
}
