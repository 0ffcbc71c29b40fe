//! What a configuration says, resolved: protocols in the order of their definition, templates taken in, filters compiled.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bgp_proto::Prefix;
use reflector::policy::Policy;

/// One configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// `router id`; the last one counts.
    pub router_id: Option<Ipv4Addr>,
    /// `listen bgp address`.
    pub listen_address: Option<IpAddr>,
    /// `listen bgp port`.
    pub listen_port: Option<u16>,
    /// AS numbers of `local as` in BGP templates, in order: the node's own, whatever its sessions say.
    pub template_asns: Vec<u32>,
    /// Protocols in the order of their definition.
    pub protocols: Vec<Protocol>,
    /// Filters that have names.
    pub filters: BTreeMap<String, Arc<Policy>>,
}

/// One protocol instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// `disabled`.
    pub disabled: bool,
    /// What is logged of it.
    pub debug: Debug,
    /// `preference`.
    pub preference: Option<u16>,
    /// What passes.
    pub channel: Channel,
    /// The rest.
    pub kind: Kind,
}

/// What is logged of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Debug {
    /// Nothing beside what is always.
    #[default]
    Off,
    /// State changes.
    States,
    /// Routes too.
    All,
}

/// What passes between a protocol and the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Into the table.
    pub import: FilterChoice,
    /// Out of it.
    pub export: FilterChoice,
    /// `import limit`.
    pub import_limit: Option<u32>,
}

impl Default for Channel {
    fn default() -> Channel {
        Channel { import: FilterChoice::All, export: FilterChoice::None, import_limit: None }
    }
}

/// A filter on a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterText {
    /// What stands behind `where`.
    Where(String),
    /// What stands behind `filter`: a name, or statements in braces.
    Filter(String),
}

/// A filter where one may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterChoice {
    /// Everything.
    All,
    /// Nothing.
    None,
    /// What this accepts.
    Filter(Arc<Policy>),
}

impl FilterChoice {
    /// As `show protocols all` calls it.
    pub fn name(&self) -> &str {
        match self {
            FilterChoice::All => "ACCEPT",
            FilterChoice::None => "REJECT",
            FilterChoice::Filter(policy) if policy.name.is_empty() => "(unnamed)",
            FilterChoice::Filter(policy) => &policy.name,
        }
    }
}

/// Kinds of protocols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The kernel's routes.
    Kernel(Kernel),
    /// Interfaces.
    Device,
    /// Connected networks.
    Direct(Direct),
    /// Routes of the configuration.
    Static(Vec<StaticRoute>),
    /// A BGP session.
    Bgp(Box<Bgp>),
}

impl Kind {
    /// As `show protocols` calls it, and the beginning of the names of unnamed ones.
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Kernel(_) => "Kernel",
            Kind::Device => "Device",
            Kind::Direct(_) => "Direct",
            Kind::Static(_) => "Static",
            Kind::Bgp(_) => "BGP",
        }
    }
}

/// `protocol kernel`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// `learn`.
    pub learn: bool,
    /// `persist`.
    pub persist: bool,
    /// `merge paths`, and how many.
    pub paths_max: u16,
    /// `kernel table`.
    pub table: u32,
}

impl Default for Kernel {
    fn default() -> Kernel {
        Kernel { learn: false, persist: false, paths_max: 1, table: 254 }
    }
}

/// `protocol direct`: patterns of interfaces, with a minus or without; the first that matches decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Direct {
    /// Whether the pattern takes interfaces, and the pattern.
    pub patterns: Vec<(bool, String)>,
}

/// One route of `protocol static`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticRoute {
    /// The destination.
    pub prefix: Prefix,
    /// What happens to packets.
    pub target: StaticTarget,
}

/// What happens to packets of a static route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaticTarget {
    /// They are dropped.
    Blackhole,
    /// This neighbour gets them.
    Via(IpAddr),
}

/// How far away a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hops {
    /// On the link.
    #[default]
    Direct,
    /// Anywhere, at most this far if given.
    Multihop(Option<u8>),
}

/// `next hop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NextHopChoice {
    /// As the protocol has it.
    #[default]
    Auto,
    /// `self`.
    Own,
    /// `keep`.
    Keep,
}

/// `protocol bgp`.
#[derive(Clone, PartialEq, Eq)]
pub struct Bgp {
    /// `local as`.
    pub local_asn: Option<u32>,
    /// The address of `neighbor`.
    pub neighbor: Option<IpAddr>,
    /// Its port.
    pub port: u16,
    /// Its AS number.
    pub asn: Option<u32>,
    /// `source address`.
    pub source: Option<IpAddr>,
    /// `multihop`.
    pub hops: Hops,
    /// `ttl security`.
    pub ttl_security: bool,
    /// `passive`.
    pub passive: bool,
    /// `password`.
    pub password: Option<String>,
    /// `next hop`.
    pub next_hop: NextHopChoice,
    /// `rr client`.
    pub rr_client: bool,
    /// `rr cluster id`.
    pub rr_cluster_id: Option<Ipv4Addr>,
    /// `allow local as`.
    pub own_as_max: u8,
    /// `add paths`.
    pub add_paths_rx: bool,
    /// `add paths`.
    pub add_paths_tx: bool,
    /// `graceful restart`: whether this speaker restarts gracefully.
    pub graceful_restart: bool,
    /// `graceful restart time`.
    pub restart_secs: u16,
    /// `hold time`.
    pub hold_secs: u16,
    /// `connect retry time`.
    pub connect_retry_secs: u16,
    /// `connect delay time`.
    pub connect_delay_secs: u16,
    /// `error wait time`.
    pub error_wait_secs: (u16, u16),
}

impl Default for Bgp {
    fn default() -> Bgp {
        Bgp {
            local_asn: None,
            neighbor: None,
            port: 179,
            asn: None,
            source: None,
            hops: Hops::Direct,
            ttl_security: false,
            passive: false,
            password: None,
            next_hop: NextHopChoice::Auto,
            rr_client: false,
            rr_cluster_id: None,
            own_as_max: 0,
            add_paths_rx: false,
            add_paths_tx: false,
            graceful_restart: false,
            restart_secs: 120,
            hold_secs: 240,
            connect_retry_secs: 120,
            connect_delay_secs: 5,
            error_wait_secs: (60, 300),
        }
    }
}

/// A password is in no log.
impl std::fmt::Debug for Bgp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bgp")
            .field("neighbor", &self.neighbor)
            .field("asn", &self.asn)
            .finish_non_exhaustive()
    }
}
