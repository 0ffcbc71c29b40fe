//! Routes that others put into the kernel, as far as the configuration takes them into the table.

use bgp_proto::Prefix;
use reflector::ids::{IfName, PeerId};
use reflector::policy::is_like_pattern;
use reflector::rib::nexthop::Link;
use reflector::table::Learned;

use super::Core;
use crate::fib::{FoundRoute, FoundRoutes, Way};

impl Core {
    /// What others have for a prefix.
    pub(super) fn on_found(&mut self, prefix: Prefix, found: &FoundRoutes) {
        let Some(learn) = self.desired.kernel.as_ref().and_then(|k| k.learn.as_ref()) else { return };
        if !is_told(&prefix) {
            return;
        }
        let takes = |route: &&FoundRoute| {
            let name = route.ifname.as_deref().unwrap_or_default();
            let first = learn.connected.iter().find(|(_, pattern)| is_like_pattern(name, pattern));
            first.is_some_and(|(is_taken, _)| *is_taken)
        };
        let alien = found.alien.as_ref().filter(|_| learn.alien).map(|r| learned(r, Some(r.metric)));
        let connected = found.connected.as_ref().filter(takes).map(|r| learned(r, None));
        let now = self.clock.now();
        self.table.learn(PeerId::KERNEL, prefix, alien, now);
        self.table.learn(PeerId::DIRECT, prefix, connected, now);
    }
}

fn learned(route: &FoundRoute, metric: Option<u32>) -> Learned {
    Learned {
        metric,
        protocol: metric.map(|_| route.protocol),
        interface: route.ifname.as_deref().and_then(IfName::new),
        gateway: route.gateway,
    }
}

/// Whether a destination means anything beyond this node and its links.
fn is_told(prefix: &Prefix) -> bool {
    match prefix.addr() {
        std::net::IpAddr::V4(addr) => !addr.is_loopback() && !addr.is_link_local() && !addr.is_multicast(),
        std::net::IpAddr::V6(addr) => {
            !addr.is_unicast_link_local() && !addr.is_multicast() && !addr.is_loopback()
        }
    }
}

/// The first step on the way to a next hop.
pub(super) fn link(way: &Way) -> Option<Link> {
    let resolution = way.as_ref().ok()?;
    let interface = IfName::new(&resolution.ifname)?;
    let gateway = resolution.paths.first()?.gateway?;
    Some(Link { interface, gateway })
}
