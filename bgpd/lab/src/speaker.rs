//! What all BGP daemons have in common: a [`Plan`] to configure them by and a [`Speaker`] to talk to them.
//!
//! A test names two daemons and states facts; each daemon's module knows how to write that down in its own
//! configuration and how to read the answer from its own client. A [`Route`] is always what the daemon *learnt*, never
//! what it announces itself.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};

use crate::daemon::Daemon;
use crate::net::{Family, Node};
use crate::wait;

/// Everything a daemon is told at start.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its AS number.
    pub asn: u32,
    /// Its BGP identifier.
    pub router_id: Ipv4Addr,
    /// Its sessions.
    pub neighbors: Vec<Neighbor>,
    /// The prefixes it announces from the start.
    pub networks: Vec<String>,
}

impl Plan {
    /// A speaker without sessions; its node's IPv4 address is its identifier.
    pub fn new(node: &Node, asn: u32) -> Self {
        Plan { asn, router_id: node.v4, neighbors: Vec::new(), networks: Vec::new() }
    }

    /// Adds a session.
    pub fn neighbor(mut self, neighbor: Neighbor) -> Self {
        self.neighbors.push(neighbor);
        self
    }

    /// Adds one session for each family, over that family's addresses.
    pub fn neighbors(self, local: &Node, remote: &Node, asn: u32) -> Self {
        let [v4, v6] = Family::BOTH.map(|family| Neighbor::new(local, remote, family, asn));
        self.neighbor(v4).neighbor(v6)
    }

    /// Announces a prefix.
    pub fn network(mut self, prefix: &str) -> Self {
        self.networks.push(prefix.to_owned());
        self
    }

    /// The same plan with each session changed.
    pub fn each(mut self, change: impl Fn(Neighbor) -> Neighbor) -> Self {
        self.neighbors = self.neighbors.into_iter().map(change).collect();
        self
    }

    /// Adds or removes a prefix, keeping each once.
    pub fn set(&mut self, prefix: &str, presence: Presence) {
        self.networks.retain(|network| network != prefix);
        if presence == Presence::Announced {
            self.networks.push(prefix.to_owned());
        }
    }
}

/// Whether a prefix is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Announced,
    /// It is not.
    Withdrawn,
}

/// What the other side is to a route reflector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An ordinary peer.
    Peer,
    /// A client of this reflector.
    Client,
}

/// One session, carrying the one family of its addresses.
#[derive(Clone, Debug)]
pub struct Neighbor {
    /// A word every configuration language accepts as a name.
    pub name: String,
    /// The other side's address.
    pub address: IpAddr,
    /// Our address.
    pub local: IpAddr,
    /// The other side's AS number.
    pub asn: u32,
    /// What it is to us.
    pub role: Role,
    /// The TCP-MD5 key.
    pub password: Option<String>,
    /// The proposed hold time.
    pub hold_secs: u16,
    /// Whether BFD watches the path.
    pub watched: bool,
}

impl Neighbor {
    /// A session from `local` to `remote`, which is in AS `asn`, over the addresses of `family`.
    pub fn new(local: &Node, remote: &Node, family: Family, asn: u32) -> Self {
        Neighbor {
            name: format!("to_{}_{}", remote.name, family.word()),
            address: remote.address(family),
            local: local.address(family),
            asn,
            role: Role::Peer,
            password: None,
            hold_secs: 90,
            watched: false,
        }
    }

    /// The family of the addresses, and the one the session carries.
    pub fn family(&self) -> Family {
        Family::of_address(self.address)
    }

    /// With a TCP-MD5 key.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// With BFD.
    pub fn watched(mut self) -> Self {
        self.watched = true;
        self
    }

    /// As a client of this reflector.
    pub fn client(mut self) -> Self {
        self.role = Role::Client;
        self
    }

    /// With another hold time.
    pub fn hold(mut self, secs: u16) -> Self {
        self.hold_secs = secs;
        self
    }
}

/// A route as a daemon learnt it, from its own output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The next hop attribute.
    pub next_hop: IpAddr,
    /// The AS path, left first.
    pub as_path: Vec<u32>,
    /// LOCAL_PREF, where the daemon shows one.
    pub local_pref: Option<u32>,
    /// ORIGINATOR_ID.
    pub originator: Option<Ipv4Addr>,
    /// CLUSTER_LIST, nearest reflector first.
    pub cluster_list: Vec<Ipv4Addr>,
    /// Standard communities as `asn:value`, where the daemon shows them.
    pub communities: Vec<String>,
}

impl Route {
    /// A route with nothing but a next hop.
    pub fn via(next_hop: IpAddr) -> Self {
        Route {
            next_hop,
            as_path: Vec::new(),
            local_pref: None,
            originator: None,
            cluster_list: Vec::new(),
            communities: Vec::new(),
        }
    }
}

/// A running BGP daemon of any make.
pub trait Speaker {
    /// The process, for logs and signals.
    fn daemon(&self) -> &Daemon;

    /// All processes of the daemon.
    fn pids(&self) -> Vec<u32> {
        vec![self.daemon().pid()]
    }

    /// Starts or stops announcing a prefix.
    fn set(&mut self, prefix: &str, presence: Presence) -> Result<()>;

    /// The state of a session, in the daemon's own word; `Established` in exactly that spelling.
    fn state(&self, neighbor: IpAddr) -> Result<String>;

    /// Every path it learnt for exactly this prefix.
    fn routes(&self, prefix: &str) -> Result<Vec<Route>>;

    /// Closes a session and lets it come back, as the daemon's own command does.
    fn reset(&self, neighbor: IpAddr) -> Result<()>;

    /// Announces a prefix.
    fn announce(&mut self, prefix: &str) -> Result<()> {
        self.set(prefix, Presence::Announced)
    }

    /// Stops announcing a prefix.
    fn withdraw(&mut self, prefix: &str) -> Result<()> {
        self.set(prefix, Presence::Withdrawn)
    }

    /// Waits for a session to be established.
    fn wait_established(&self, neighbor: IpAddr) -> Result<()> {
        wait::until(&format!("session with {neighbor}"), wait::SOON, || {
            self.daemon().alive()?;
            let state = self.state(neighbor)?;
            ensure!(state == "Established", "{state}");
            Ok(())
        })
    }

    /// Waits until a learnt path for `prefix` satisfies `check`, and returns it.
    fn wait_route(&self, prefix: &str, check: &dyn Fn(&Route) -> bool) -> Result<Route> {
        wait::until(&format!("a path for {prefix}"), wait::SOON, || {
            self.daemon().alive()?;
            let routes = self.routes(prefix)?;
            let found = routes.iter().find(|route| check(route)).cloned();
            found.ok_or_else(|| anyhow!("{} paths: {routes:?}", routes.len()))
        })
    }

    /// Waits until a path for `prefix` with this next hop was learnt.
    fn wait_route_via(&self, prefix: &str, next_hop: IpAddr) -> Result<Route> {
        self.wait_route(prefix, &|route| route.next_hop == next_hop)
    }

    /// Waits until no path for `prefix` is left.
    fn wait_no_route(&self, prefix: &str, within: Duration) -> Result<()> {
        wait::until(&format!("no path for {prefix}"), within, || {
            self.daemon().alive()?;
            let routes = self.routes(prefix)?;
            if !routes.is_empty() {
                bail!("still {routes:?}");
            }
            Ok(())
        })
    }
}
