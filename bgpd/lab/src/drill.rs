//! What two or three daemons must be able to do with each other, whatever their make: said once, for our own tests and
//! for the proof that the lab itself is sound.

use std::net::IpAddr;

use anyhow::{Result, ensure};

use crate::net::{Family, Node};
use crate::speaker::Speaker;
use crate::wait::SOON;

/// What the first and the second side of a drill announce, IPv4 and IPv6.
pub const PREFIXES: [[&str; 2]; 2] =
    [["10.244.1.0/24", "fd00:10:244:1::/64"], ["10.244.2.0/24", "fd00:10:244:2::/64"]];

/// Each side and the other one.
const SIDES: [(usize, usize); 2] = [(0, 1), (1, 0)];

/// Two daemons with a session for each family between them.
pub struct Pair {
    /// Where they run.
    pub nodes: [Node; 2],
    /// In which AS they are.
    pub asns: [u32; 2],
    /// The daemons.
    pub speakers: [Box<dyn Speaker>; 2],
}

impl Pair {
    /// Both sessions are up, as both sides say.
    pub fn wait_established(&self) -> Result<()> {
        for (here, there) in SIDES {
            for family in Family::BOTH {
                self.speakers[here].wait_established(self.nodes[there].address(family))?;
            }
        }
        Ok(())
    }

    /// Both sides announce both families.
    pub fn announce(&mut self) -> Result<()> {
        for (speaker, prefixes) in self.speakers.iter_mut().zip(PREFIXES) {
            prefixes.iter().try_for_each(|prefix| speaker.announce(prefix))?;
        }
        Ok(())
    }

    /// Both sides stop announcing.
    pub fn withdraw(&mut self) -> Result<()> {
        for (speaker, prefixes) in self.speakers.iter_mut().zip(PREFIXES) {
            prefixes.iter().try_for_each(|prefix| speaker.withdraw(prefix))?;
        }
        Ok(())
    }

    /// Each side shows the other's prefixes, with its address as the next hop and the AS path it should have.
    pub fn wait_routes(&self) -> Result<()> {
        for (here, there) in SIDES {
            for (family, prefix) in Family::BOTH.into_iter().zip(PREFIXES[there]) {
                let route = self.speakers[here].wait_route_via(prefix, self.nodes[there].address(family))?;
                let external = self.asns[0] != self.asns[1];
                let path: &[u32] = if external { &self.asns[there..=there] } else { &[] };
                ensure!(route.as_path == path, "{prefix} has the wrong path: {route:?}");
                ensure!(route.originator.is_none(), "{prefix} was not reflected: {route:?}");
                ensure!(route.cluster_list.is_empty(), "{prefix} was not reflected: {route:?}");
            }
        }
        Ok(())
    }

    /// Neither side shows any of the other's prefixes.
    pub fn wait_no_routes(&self) -> Result<()> {
        for (here, there) in SIDES {
            PREFIXES[there].iter().try_for_each(|prefix| self.speakers[here].wait_no_route(prefix, SOON))?;
        }
        Ok(())
    }

    /// Sessions, routes both ways, and their withdrawal.
    pub fn exchange(&mut self) -> Result<()> {
        self.wait_established()?;
        self.announce()?;
        self.wait_routes()?;
        self.withdraw()?;
        self.wait_no_routes()
    }
}

/// Two clients of a reflector show each other's prefixes as RFC 4456 wants: the next hop untouched, ORIGINATOR_ID the
/// client that announced, CLUSTER_LIST the reflector's cluster.
pub fn wait_reflected(
    cluster: std::net::Ipv4Addr,
    nodes: [&Node; 2],
    speakers: [&dyn Speaker; 2],
) -> Result<()> {
    for (here, there) in SIDES {
        for (family, prefix) in Family::BOTH.into_iter().zip(PREFIXES[there]) {
            let next_hop: IpAddr = nodes[there].address(family);
            let route = speakers[here].wait_route_via(prefix, next_hop)?;
            let side = &nodes[here].name;
            ensure!(route.originator == Some(nodes[there].v4), "{side} sees {prefix} as {route:?}");
            ensure!(route.cluster_list == [cluster], "{side} sees {prefix} as {route:?}");
        }
    }
    Ok(())
}
