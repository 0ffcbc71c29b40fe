//! Next hops that candidates name, and what is known of the way there.
//!
//! The table asks for each next hop once and is told when something changes. A reflector that forwards nothing
//! takes every next hop as reachable at cost 0, as its clients do the forwarding.

use std::collections::BTreeMap;

use core::net::IpAddr;

use crate::events::Reachability;
use crate::ids::IfName;

/// Whether next hops are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resolution {
    /// Every next hop is reachable at cost 0.
    #[default]
    Assumed,
    /// A next hop is reachable when the kernel has a way to it.
    Kernel,
}

/// The next hops in use.
#[derive(Debug, Default)]
pub struct NextHops {
    resolution: Resolution,
    known: BTreeMap<IpAddr, Known>,
    asked: Vec<Tracking>,
}

#[derive(Debug)]
struct Known {
    uses: u32,
    link: Option<Link>,
    reachability: Reachability,
}

/// The first step on the way to a next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The interface.
    pub interface: IfName,
    /// The neighbour on it; the next hop itself where it is on the link.
    pub gateway: IpAddr,
}

/// What the table wants to know, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracking {
    /// Tell the way to this address, now and when it changes.
    Wanted(IpAddr),
    /// No candidate names this address any more.
    Unwanted(IpAddr),
}

impl NextHops {
    /// With `resolution` for all next hops.
    pub fn new(resolution: Resolution) -> NextHops {
        NextHops { resolution, ..NextHops::default() }
    }

    /// Counts a use of `addr`.
    pub fn hold(&mut self, addr: IpAddr) {
        if self.resolution == Resolution::Assumed {
            return;
        }
        let asked = &mut self.asked;
        let known = self.known.entry(addr).or_insert_with(|| {
            asked.push(Tracking::Wanted(addr));
            Known { uses: 0, link: None, reachability: Reachability::Unknown }
        });
        known.uses += 1;
    }

    /// Counts a use less.
    pub fn release(&mut self, addr: IpAddr) {
        let Some(known) = self.known.get_mut(&addr) else { return };
        known.uses -= 1;
        if known.uses == 0 {
            self.known.remove(&addr);
            self.asked.push(Tracking::Unwanted(addr));
        }
    }

    /// Records what is known of `addr`. Returns whether a decision may depend on it.
    pub fn set(&mut self, addr: IpAddr, reachability: Reachability) -> bool {
        match self.known.get_mut(&addr) {
            Some(known) if known.reachability != reachability => {
                known.reachability = reachability;
                true
            }
            _ => false,
        }
    }

    /// Records the first step on the way to `addr`. Returns whether it is another one.
    pub fn set_link(&mut self, addr: IpAddr, link: Option<Link>) -> bool {
        match self.known.get_mut(&addr) {
            Some(known) => core::mem::replace(&mut known.link, link) != link,
            None => false,
        }
    }

    /// The first step on the way to `addr`.
    pub fn link(&self, addr: IpAddr) -> Option<Link> {
        self.known.get(&addr)?.link
    }

    /// The interior cost to `addr`, `None` where it is not known to be reachable.
    pub fn cost(&self, addr: IpAddr) -> Option<u32> {
        if self.resolution == Resolution::Assumed {
            return Some(0);
        }
        match self.known.get(&addr)?.reachability {
            Reachability::Reachable { metric } => Some(metric),
            Reachability::Unknown | Reachability::Unreachable => None,
        }
    }

    /// Whether something was asked and not answered yet.
    pub fn has_unknown(&self) -> bool {
        self.known.values().any(|k| k.reachability == Reachability::Unknown)
    }

    /// What to ask the daemon, in order.
    pub fn take_asked(&mut self) -> Vec<Tracking> {
        core::mem::take(&mut self.asked)
    }
}
