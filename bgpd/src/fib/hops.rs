//! The next hops that somebody asks about, each with its way through the underlay.
//!
//! Two ask: the core, which compares interior costs and may use no route whose next hop is out of reach
//! (RFC 4271 section 9.1.2), and the plan, which needs neighbours and interfaces. An address is resolved once for both.
//! After a change of the underlay only the addresses that it can concern are looked at again, and what came out
//! differently is collected, so that a hundred changes in one go cost the core and the plan one look.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use reflector::ids::IfName;

use super::resolve::{Resolution, Touched, Underlay, Unresolved};

/// The way to a next hop, or why there is none.
pub type Way = Result<Resolution, Unresolved>;

/// Next hops and the way to each.
#[derive(Debug, Default)]
pub(super) struct Hops {
    hops: BTreeMap<IpAddr, NextHop>,
    /// Changed since the core was told.
    for_core: BTreeSet<IpAddr>,
    /// Changed since the plan was told.
    for_plan: BTreeSet<IpAddr>,
    /// Devices that routes name, each with its number while it is up, and the next hops that are reached through it.
    devices: BTreeMap<IfName, Device>,
}

#[derive(Debug, Default)]
struct Device {
    ifindex: Option<u32>,
    hops: BTreeSet<IpAddr>,
}

#[derive(Debug)]
struct NextHop {
    way: Way,
    tracked: bool,
    uses: usize,
}

impl Hops {
    /// A route uses the next hop.
    pub(super) fn acquire(&mut self, addr: IpAddr, device: Option<IfName>, underlay: &Underlay) {
        self.entry(addr, underlay).uses += 1;
        if let Some(device) = device {
            let ifindex = underlay.device(device.as_str());
            let device = self.devices.entry(device).or_default();
            device.ifindex = ifindex;
            device.hops.insert(addr);
        }
    }

    /// The number of a device that a route names, while it is up.
    pub(super) fn device(&self, device: IfName) -> Option<u32> {
        self.devices.get(&device)?.ifindex
    }

    fn refresh_devices(&mut self, underlay: &Underlay) {
        for (name, device) in &mut self.devices {
            let ifindex = underlay.device(name.as_str());
            if ifindex != device.ifindex {
                device.ifindex = ifindex;
                self.for_plan.extend(device.hops.iter().copied());
            }
        }
    }

    /// A route uses the next hop no longer.
    pub(super) fn release(&mut self, addr: IpAddr) {
        if let Some(hop) = self.hops.get_mut(&addr) {
            hop.uses = hop.uses.saturating_sub(1);
        }
        self.drop_unused(addr);
    }

    /// The core wants to know about the next hop, and is told at once.
    pub(super) fn track(&mut self, addr: IpAddr, underlay: &Underlay) {
        self.entry(addr, underlay).tracked = true;
        self.for_core.insert(addr);
    }

    /// The core no longer wants to know.
    pub(super) fn untrack(&mut self, addr: IpAddr) {
        if let Some(hop) = self.hops.get_mut(&addr) {
            hop.tracked = false;
        }
        self.for_core.remove(&addr);
        self.drop_unused(addr);
    }

    /// The way to a next hop in use.
    pub(super) fn way(&self, addr: IpAddr) -> Option<&Way> {
        self.hops.get(&addr).map(|hop| &hop.way)
    }

    /// Whether a tracked next hop, or a route, goes through the interface.
    pub(super) fn uses(&self, ifindex: u32) -> bool {
        self.hops.values().any(|hop| goes_through(&hop.way, ifindex))
    }

    /// Looks again at whatever a change of the underlay may concern.
    pub(super) fn refresh(&mut self, underlay: &Underlay, touched: &Touched) {
        self.refresh_devices(underlay);
        match touched {
            Touched::Nothing => {}
            Touched::Within(prefix) => self.reconsider(underlay, |addr, _| prefix.contains_addr(addr)),
            Touched::LinkUp(_) => self.refresh_all(underlay),
            Touched::LinkDown { link, .. } => {
                self.reconsider(underlay, |_, way| goes_through(way, link.ifindex));
            }
            Touched::Unnumbered { ifindex, addr: was, .. } => {
                self.reconsider(underlay, |addr, way| addr == *was || goes_through(way, *ifindex));
            }
        }
    }

    /// Looks again at all.
    pub(super) fn refresh_all(&mut self, underlay: &Underlay) {
        self.refresh_devices(underlay);
        self.reconsider(underlay, |_, _| true);
    }

    /// A next hop of the core's whose way changed since it was told.
    pub(super) fn poll_core(&mut self) -> Option<(IpAddr, Way)> {
        while let Some(addr) = self.for_core.pop_first() {
            if let Some(hop) = self.hops.get(&addr) {
                return Some((addr, hop.way.clone()));
            }
        }
        None
    }

    /// The next hops of the plan's whose way changed since it was told.
    pub(super) fn take_for_plan(&mut self) -> BTreeSet<IpAddr> {
        std::mem::take(&mut self.for_plan)
    }

    fn entry(&mut self, addr: IpAddr, underlay: &Underlay) -> &mut NextHop {
        self.hops.entry(addr).or_insert_with(|| NextHop {
            way: underlay.resolve(addr),
            tracked: false,
            uses: 0,
        })
    }

    fn drop_unused(&mut self, addr: IpAddr) {
        if self.hops.get(&addr).is_some_and(|hop| hop.uses == 0 && !hop.tracked) {
            self.hops.remove(&addr);
            self.for_plan.remove(&addr);
            for device in self.devices.values_mut() {
                device.hops.remove(&addr);
            }
            self.devices.retain(|_, device| !device.hops.is_empty());
        }
    }

    fn reconsider(&mut self, underlay: &Underlay, concerned: impl Fn(IpAddr, &Way) -> bool) {
        for (addr, hop) in self.hops.iter_mut().filter(|(addr, hop)| concerned(**addr, &hop.way)) {
            let way = underlay.resolve(*addr);
            if way == hop.way {
                continue;
            }
            hop.way = way;
            if hop.tracked {
                self.for_core.insert(*addr);
            }
            if hop.uses > 0 {
                self.for_plan.insert(*addr);
            }
        }
    }
}

fn goes_through(way: &Way, ifindex: u32) -> bool {
    way.as_ref().is_ok_and(|resolution| resolution.paths.iter().any(|path| path.ifindex == ifindex))
}
