//! The configuration as it is written: names, shapes and, in [`defaults`], every default.
//!
//! This is the one schema, for the file and for the `spec` of the Kubernetes object. The types say what may be
//! written and nothing else; what it means together is for `resolve` to check. Unknown keys are refused everywhere.
//!
//! ```yaml
//! asn: 64512
//! routerId: 10.0.0.1
//! listen: { addresses: ["0.0.0.0", "::"], port: 179 }
//! peers:
//! - { name: node-b, address: 10.0.0.2, asn: 64512 }
//! - { name: clients, range: 10.1.0.0/16, asn: 64512, reflectorClient: true }
//! - { name: tor, address: 10.0.0.254, asn: 65001, password: { file: /run/secrets/tor }, import: from-fabric, export: to-fabric }
//! advertise: [ { prefixes: [10.244.1.0/24, "fd00:10:244:1::/64"] } ]
//! policy:
//!   from-fabric: [ { match: { prefix: 0.0.0.0/0, exact: true }, action: accept, set: { localPref: 50 } } ]
//!   to-fabric: [ { match: { prefix: 10.244.0.0/16 }, action: accept } ]
//! ```

pub mod defaults;
mod peer;
mod policy;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bgp_proto::attr::{Community, LargeCommunity};
use bgp_proto::{Asn, ClusterId, Prefix, RouterId};
use serde::Deserialize;

use super::text::{Any, FilePath, Seconds, SecondsOrOff, Text};
use super::tunnel;
pub use peer::{AddPaths, NextHop, Password, Peer, PrefixesAction};
pub use policy::{Action, AsPathMatch, Edit, Match, Rule, Set};

/// The whole configuration.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// The AS number of this speaker.
    pub asn: Text<Asn>,
    /// BGP Identifier; by default the first global IPv4 address of the node.
    #[serde(default)]
    pub router_id: Option<Text<RouterId>>,
    /// Where connections are accepted.
    #[serde(default)]
    pub listen: Listen,
    /// Who is spoken to.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// How clients are reflected to.
    #[serde(default)]
    pub reflector: Option<Reflector>,
    /// How the best path is decided.
    #[serde(default)]
    pub decision: Decision,
    /// What this node originates.
    #[serde(default)]
    pub advertise: Vec<Advertise>,
    /// Policies by name.
    #[serde(default)]
    pub policy: BTreeMap<String, Vec<Rule>>,
    /// Which routes go to the kernel and how they are marked.
    #[serde(default)]
    pub kernel: Kernel,
    /// In which packets to Pods of other nodes travel.
    #[serde(default)]
    pub pools: Vec<tunnel::Pool>,
    /// Restart time announced to peers (RFC 4724), or `off`; a peer can have its own.
    #[serde(default)]
    pub graceful_restart: Option<Text<SecondsOrOff>>,
    /// How long stale routes may be kept after the restart time (RFC 9494), or `off`; a peer can have its own.
    #[serde(default)]
    pub long_lived_graceful_restart: Option<Text<SecondsOrOff>>,
    /// How this speaker itself comes back.
    #[serde(default)]
    pub restart: Restart,
    /// Where the command line finds the daemon.
    #[serde(default)]
    pub control: Control,
    /// Where monitoring finds it; absent: nowhere.
    #[serde(default)]
    pub metrics: Option<Metrics>,
    /// What is logged.
    #[serde(default)]
    pub log: Log,
}

/// `listen`.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Listen {
    /// Addresses of this node; an empty list: no connection is accepted.
    #[serde(default)]
    pub addresses: Option<Vec<Text<IpAddr>>>,
    /// TCP port.
    #[serde(default)]
    pub port: Option<u16>,
}

/// `reflector`.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Reflector {
    /// The same on every reflector that serves the same clients; by default the router id.
    #[serde(default)]
    pub cluster_id: Option<Text<ClusterId>>,
}

/// `decision`: rungs of RFC 4271 section 9.1.2.2 that can be turned.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Decision {
    /// Whether MULTI_EXIT_DISC is compared between neighbouring ASes too.
    #[serde(default)]
    pub always_compare_med: Option<bool>,
    /// Whether a path without it counts as the worst, not the best.
    #[serde(default)]
    pub missing_med_as_worst: Option<bool>,
    /// Whether, of external paths that are equal so far, the one that was here first is the best.
    #[serde(default)]
    pub prefer_oldest: Option<bool>,
    /// Whether equal paths share the traffic whatever their AS_PATHs; true if not said.
    #[serde(default)]
    pub multipath_relax: Option<bool>,
}

/// One of `advertise`: prefixes of this node and what they carry.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Advertise {
    /// The prefixes.
    pub prefixes: Any<Prefix>,
    /// Communities (RFC 1997).
    #[serde(default)]
    pub communities: Any<Community>,
    /// Large communities (RFC 8092).
    #[serde(default)]
    pub large_communities: Any<LargeCommunity>,
    /// LOCAL_PREF towards internal peers.
    #[serde(default)]
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC.
    #[serde(default)]
    pub med: Option<u32>,
    /// Whether the kernel drops what no longer prefix takes, rather than sending it back by the default route.
    #[serde(default)]
    pub blackhole: Option<bool>,
}

/// `kernel`.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Kernel {
    /// Whether routes are installed; false for a reflector: no netlink socket, no CAP_NET_ADMIN.
    #[serde(default)]
    pub install: Option<bool>,
    /// Routing table.
    #[serde(default)]
    pub table: Option<u32>,
    /// Protocol number of our routes; what carries it in `table` is ours, everything else is never touched.
    #[serde(default)]
    pub protocol: Option<u8>,
    /// Metric of our routes.
    #[serde(default)]
    pub metric: Option<u32>,
    /// Next hops of one route, at most.
    #[serde(default)]
    pub multipath: Option<u16>,
    /// Prefixes, exactly, that are never installed.
    #[serde(default)]
    pub protect: Option<Vec<Text<Prefix>>>,
    /// Whether routes stay when the daemon stops.
    #[serde(default)]
    pub keep_on_exit: Option<bool>,
}

/// `restart`.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Restart {
    /// How long a peer that does not answer holds up the end of a restart.
    #[serde(default)]
    pub wait_for_unreachable: Option<Text<Seconds>>,
    /// How long anybody does (RFC 4724 section 4.1).
    #[serde(default)]
    pub selection_deferral: Option<Text<Seconds>>,
    /// Whether peers that would keep our routes are told Cease when the daemon stops, which makes them drop them.
    #[serde(default)]
    pub cease_on_exit: Option<bool>,
}

/// `control`.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Control {
    /// Path of the unix socket.
    #[serde(default)]
    pub socket: Option<Text<FilePath>>,
}

/// `metrics`.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metrics {
    /// Address and port of the HTTP server: `/metrics`, `/livez`, `/readyz`.
    pub listen: Text<SocketAddr>,
}

/// `log`.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Log {
    /// What is worth a line.
    #[serde(default)]
    pub level: Level,
    /// How a line looks.
    #[serde(default)]
    pub format: Format,
}

/// `log.level`.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Wake me.
    Error,
    /// Look tomorrow.
    Warn,
    /// Sessions and configuration.
    #[default]
    Info,
    /// Decisions.
    Debug,
    /// Messages.
    Trace,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}
