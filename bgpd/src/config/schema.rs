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

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bgp_proto::attr::{Community, LargeCommunity};
use bgp_proto::{Asn, ClusterId, Family, Prefix, RouterId};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::text::{Any, FilePath, Name, NextHopWord, Seconds, SecondsOrOff, Text, TtlSecurity};

/// Every default, with its reason.
pub mod defaults {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use bgp_proto::{FamilySet, Prefix};

    /// `listen.addresses`: everywhere, both versions of IP.
    pub const LISTEN: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    /// `listen.port` and `peers[].port`: BGP's own.
    pub const PORT: u16 = 179;
    /// `peers[].families`: IPv4 and IPv6, also over one session.
    pub const FAMILIES: FamilySet = FamilySet::UNICAST;
    /// `peers[].holdTime`: RFC 4271 section 10 suggests 90 s; BIRD, FRR and GoBGP use 90 to 240.
    pub const HOLD_TIME: Duration = Duration::from_secs(90);
    /// `peers[].connectRetry`: RFC 4271 suggests 120 s, too long for a node that has just come up.
    pub const CONNECT_RETRY: Duration = Duration::from_secs(5);
    /// `gracefulRestart`: what BIRD and Calico use.
    pub const GRACEFUL_RESTART: Duration = Duration::from_secs(120);
    /// `restart.waitForUnreachable`: how long a peer that does not answer holds up the end of a restart.
    pub const WAIT_FOR_UNREACHABLE: Duration = Duration::from_secs(3);
    /// `kernel.table`: the main table.
    pub const KERNEL_TABLE: u32 = 254;
    /// `kernel.protocol`: BIRD's number, so that a node changes from BIRD and back without one route event.
    pub const KERNEL_PROTOCOL: u8 = 12;
    /// `kernel.metric`: Linux's own default for IPv6 and Calico's for both.
    pub const KERNEL_METRIC: u32 = 1024;
    /// `kernel.multipath`: next hops of one route.
    pub const KERNEL_MULTIPATH: u16 = 16;
    /// `kernel.protect`: a peer does not take the node's own way out.
    pub const KERNEL_PROTECT: [Prefix; 2] = [Prefix::DEFAULT_V4, Prefix::DEFAULT_V6];
    /// `control.socket`.
    pub const SOCKET: &str = "/run/bgpd/bgpd.sock";
}

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
    /// What this node originates.
    #[serde(default)]
    pub advertise: Vec<Advertise>,
    /// Policies by name.
    #[serde(default)]
    pub policy: BTreeMap<String, Vec<Rule>>,
    /// Which routes go to the kernel and how they are marked.
    #[serde(default)]
    pub kernel: Kernel,
    /// Restart time announced to peers (RFC 4724), or `off`; a peer can have its own.
    #[serde(default)]
    pub graceful_restart: Option<Text<SecondsOrOff>>,
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

/// One of `peers`: a neighbour by its address, or all that connect from a range.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Peer {
    /// Its name in logs, policies and output; by default its address or range.
    #[serde(default)]
    pub name: Option<Text<Name>>,
    /// Its address. Either this or `range`.
    #[serde(default)]
    pub address: Option<Text<IpAddr>>,
    /// Peers are accepted from these addresses, never connected to. Either this or `address`.
    #[serde(default)]
    pub range: Option<Text<Prefix>>,
    /// Its AS number; the same as ours: internal.
    pub asn: Text<Asn>,
    /// The AS number that we show to this external peer instead of ours.
    #[serde(default)]
    pub local_asn: Option<Text<Asn>>,
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// The address of ours that the session uses.
    #[serde(default)]
    pub local_address: Option<Text<IpAddr>>,
    /// Its TCP port.
    #[serde(default)]
    pub port: Option<u16>,
    /// Whether we wait for it to connect.
    #[serde(default)]
    pub passive: Option<bool>,
    /// How long its silence is borne; at least 3s, or 0s for ever.
    #[serde(default)]
    pub hold_time: Option<Text<Seconds>>,
    /// Pause between attempts to connect.
    #[serde(default)]
    pub connect_retry: Option<Text<Seconds>>,
    /// TCP MD5 signature key (RFC 2385).
    #[serde(default)]
    pub password: Option<Password>,
    /// TTL security (RFC 5082).
    #[serde(default)]
    pub ttl_security: Option<Text<TtlSecurity>>,
    /// What is exchanged: `ipv4`, `ipv6`.
    #[serde(default)]
    pub families: Option<Vec<Text<Family>>>,
    /// Several paths to one prefix (RFC 7911), by direction.
    #[serde(default)]
    pub add_paths: Option<AddPaths>,
    /// Prefixes accepted in each family; more end the session.
    #[serde(default)]
    pub max_prefixes: Option<u32>,
    /// Restart time announced to this peer (RFC 4724), or `off`.
    #[serde(default)]
    pub graceful_restart: Option<Text<SecondsOrOff>>,
    /// Which next hop the peer is told.
    #[serde(default)]
    pub next_hop: Option<NextHop>,
    /// Whether the internal peer is a client of ours (RFC 4456).
    #[serde(default)]
    pub reflector_client: Option<bool>,
    /// The policy for what it sends.
    #[serde(default)]
    pub import: Option<String>,
    /// The policy for what it is sent.
    #[serde(default)]
    pub export: Option<String>,
}

/// `peers[].addPaths`.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum AddPaths {
    /// One path to a prefix, both ways.
    #[default]
    Off,
    /// We may send several.
    Send,
    /// The peer may send several.
    Receive,
    /// Both.
    Both,
}

/// `peers[].nextHop`.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum NextHop {
    /// As RFC 4271 section 5.1.3 has it: kept towards internal peers, ours towards external ones.
    #[default]
    Auto,
    /// Always our address on the session.
    #[serde(rename = "self")]
    Own,
    /// Always the one that was learned.
    Keep,
}

/// `peers[].password`: where the key is, never the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Password {
    /// A file with the key; white space at its end does not count.
    pub file: FilePath,
}

/// The shape behind [`Password`], which also refuses a plain word without repeating it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PasswordKeys {
    file: Text<FilePath>,
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PasswordVisitor)
    }
}

struct PasswordVisitor;

impl PasswordVisitor {
    const REFUSED: &'static str =
        "a password does not belong into the configuration; put it into a file and write `{ file: PATH }`";
}

impl<'de> Visitor<'de> for PasswordVisitor {
    type Value = Password;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("`{ file: PATH }`")
    }

    fn visit_str<E: de::Error>(self, _secret: &str) -> Result<Password, E> {
        Err(E::custom(Self::REFUSED))
    }

    fn visit_u64<E: de::Error>(self, _secret: u64) -> Result<Password, E> {
        Err(E::custom(Self::REFUSED))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Password, A::Error> {
        let PasswordKeys { file: Text(file) } =
            PasswordKeys::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(Password { file })
    }
}

/// `reflector`.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Reflector {
    /// The same on every reflector that serves the same clients; by default the router id.
    #[serde(default)]
    pub cluster_id: Option<Text<ClusterId>>,
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

/// One rule of a policy: the first one that matches decides, and what none matches is rejected.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rule {
    /// All that is named must hold; nothing named: always.
    #[serde(default, rename = "match")]
    pub when: Match,
    /// What happens then.
    pub action: Action,
    /// Changes to what is accepted.
    #[serde(default)]
    pub set: Set,
}

/// `policy.NAME[].action`.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It passes.
    Accept,
    /// It does not.
    Reject,
}

/// `policy.NAME[].match`. Each key holds one value or a list, and any of the list will do; all keys must hold.
///
/// A prefix matches itself and everything inside it, as in a BGPFilter of Calico with `In` and in BIRD with `+`. This differs
/// from a prefix-list of FRR, which is exact unless it says `le`: write `exact: true` for that.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Match {
    /// The destination lies in one of these.
    #[serde(default)]
    pub prefix: Any<Prefix>,
    /// Only the prefixes themselves.
    #[serde(default)]
    pub exact: Option<bool>,
    /// The least length of the destination.
    #[serde(default)]
    pub min_length: Option<u8>,
    /// The greatest length of the destination.
    #[serde(default)]
    pub max_length: Option<u8>,
    /// The family.
    #[serde(default)]
    pub families: Any<Family>,
    /// A community is present.
    #[serde(default)]
    pub communities: Any<Community>,
    /// A large community is present.
    #[serde(default)]
    pub large_communities: Any<LargeCommunity>,
    /// The AS_PATH.
    #[serde(default)]
    pub as_path: AsPathMatch,
    /// The next hop lies in one of these.
    #[serde(default)]
    pub next_hop: Any<Prefix>,
    /// The name of a peer that sent it.
    #[serde(default)]
    pub peer: Any<Name>,
}

/// `policy.NAME[].match.asPath`.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AsPathMatch {
    /// The number is anywhere in it.
    #[serde(default)]
    pub contains: Any<Asn>,
    /// It begins with the number: the neighbouring AS.
    #[serde(default)]
    pub first: Any<Asn>,
    /// It ends with the number: the originating AS.
    #[serde(default)]
    pub origin: Any<Asn>,
}

/// `policy.NAME[].set`.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Set {
    /// LOCAL_PREF.
    #[serde(default)]
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC.
    #[serde(default)]
    pub med: Option<u32>,
    /// Communities to add and to remove.
    #[serde(default)]
    pub communities: Edit<Community>,
    /// Large communities to add and to remove.
    #[serde(default)]
    pub large_communities: Edit<LargeCommunity>,
    /// How often our own AS number is put before the AS_PATH, besides what the session does.
    #[serde(default)]
    pub prepend: Option<u8>,
    /// The next hop.
    #[serde(default)]
    pub next_hop: Option<Text<NextHopWord>>,
}

/// `policy.NAME[].set.communities` and `largeCommunities`. Removal comes first.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase", bound(deserialize = "T: super::text::Word"))]
pub struct Edit<T> {
    /// To add.
    #[serde(default)]
    pub add: Any<T>,
    /// To remove.
    #[serde(default)]
    pub remove: Any<T>,
}

impl<T> Default for Edit<T> {
    fn default() -> Self {
        Edit { add: Any::default(), remove: Any::default() }
    }
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
