//! The language of the control socket: what can be asked, and what is answered.
//!
//! A connection carries lines of JSON. The daemon speaks first, a [`Greeting`]; then each line of the client is one [`Request`], and is
//! answered by one line, an [`Answer`], or, where the answer is a list, by as many as it takes: each has some rows and says in `more`
//! whether others follow. So neither side ever holds a table in memory, and a list that ends without `"more": false` was cut off.
//!
//! ```text
//! < {"protocol":"bgpd-control","version":1,"daemon":"0.1.0"}
//! > {"ask":"routes","view":"best","destination":"10.244.0.0/16","longer":true}
//! < {"answer":"routes","rows":[{"prefix":"10.244.1.0/24", ...}, ...],"more":true}
//! < {"answer":"routes","rows":[...],"more":false}
//! > {"ask":"why","destination":"10.244.1.7"}
//! < {"answer":"refused","reason":"10.244.1.7 is in no prefix that this speaker knows"}
//! ```
//!
//! A list of routes is read from the living table a page at a time: each row is true at the moment its page was read, and a route that moves
//! meanwhile may be missing or come twice.
//!
//! These are also the shapes of `-o json`. They are stable: a later version adds keys and values, and [`VERSION`] grows only when something
//! goes or means something else; so ignore what you do not know. A key without a value is left out. Moments are RFC 3339 in UTC
//! with, beside them, whole seconds from then to now. Prefixes, communities and AS_PATHs are texts as people write them, AS numbers
//! are numbers. A secret has no place in any shape here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use bgp_proto::Prefix;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Grows when an old client would misunderstand a new daemon.
pub const VERSION: u32 = 1;
/// [`Greeting::protocol`].
pub const PROTOCOL: &str = "bgpd-control";
/// Octets of one request.
pub const REQUEST_OCTETS_MAX: usize = 4096;
/// Rows of one answer.
pub const ROWS_MAX: usize = 500;
/// Octets of a message to a peer (RFC 9003 section 2).
pub const MESSAGE_OCTETS_MAX: usize = 255;

/// The daemon's first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// [`PROTOCOL`].
    pub protocol: String,
    /// [`VERSION`].
    pub version: u32,
    /// Version of the daemon.
    pub daemon: String,
}

/// One line of the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Request {
    /// How the instance is: [`Answer::Status`].
    Status,
    /// How its peers are: [`Answer::Peers`], in the order of addresses.
    Peers {
        /// Only this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<IpAddr>,
    },
    /// Routes: [`Answer::Routes`].
    Routes(RoutesQuery),
    /// Why a destination is reached as it is: [`Answer::Why`].
    Why {
        /// A prefix that is known, or an address; the longest prefix around it counts.
        destination: Destination,
    },
    /// Ends or starts a peer's session: [`Answer::Done`].
    Order {
        /// The peer: its address, or its name.
        peer: String,
        /// What is to be done.
        order: Order,
        /// What the peer is told (RFC 9003), at most [`MESSAGE_OCTETS_MAX`] octets; not with [`Order::Start`].
        #[serde(default, skip_serializing_if = "String::is_empty")]
        message: String,
    },
}

/// What is done with a peer's session. It holds until the opposite is ordered, or the daemon starts anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// It ends, and stays down: Cease, Administrative Shutdown (RFC 4486).
    Shutdown,
    /// It ends, and starts anew: Cease, Administrative Reset (RFC 4486).
    Reset,
    /// It starts, at once, whatever kept it down.
    Start,
}

/// Which routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoutesQuery {
    /// Where they are looked at.
    pub view: View,
    /// Only these destinations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
    /// Also prefixes inside `destination`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub longer: bool,
    /// Only from this peer (`in`, `best`) or to it (`out`, where it is needed).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
}

impl RoutesQuery {
    /// Whether the query asks for this destination.
    pub fn wants(&self, prefix: &Prefix) -> bool {
        match &self.destination {
            None => true,
            Some(Destination::Address(address)) => prefix.contains_addr(*address),
            Some(Destination::Prefix(wanted)) => prefix == wanted || (self.longer && wanted.contains(prefix)),
        }
    }
}

/// Where routes are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum View {
    /// What peers sent, after import policy.
    In,
    /// The best of it for each prefix.
    Best,
    /// What one peer is told, after export policy.
    Out,
    /// What the kernel should have, and has.
    Kernel,
}

/// A prefix, or an address somewhere in it. Text form: `10.0.0.0/8`, `10.1.2.3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// Exactly this prefix.
    Prefix(Prefix),
    /// Prefixes around this address.
    Address(IpAddr),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Prefix(prefix) => prefix.fmt(f),
            Destination::Address(address) => address.fmt(f),
        }
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Destination::Address(address));
        }
        text.parse()
            .map(Destination::Prefix)
            .map_err(|_| format!("expected a prefix such as 10.0.0.0/8, or an address, found `{text}`"))
    }
}

impl Serialize for Destination {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        as_text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Destination {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        as_text::deserialize(deserializer)
    }
}

/// One line of the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// The instance.
    Status(Box<Instance>),
    /// Some peers.
    Peers {
        /// At most [`ROWS_MAX`].
        rows: Vec<Peer>,
        /// Whether another answer follows.
        more: bool,
    },
    /// Some routes.
    Routes {
        /// At most [`ROWS_MAX`].
        rows: Vec<Route>,
        /// Whether another answer follows.
        more: bool,
    },
    /// One destination.
    Why(Box<Why>),
    /// The order is carried out.
    Done,
    /// The request cannot be answered. The connection stays usable.
    Refused {
        /// Why, for people.
        reason: String,
    },
}

/// A moment, and how long ago it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// RFC 3339, whole seconds, UTC.
    pub at: Timestamp,
    /// Whole seconds from then to the answer.
    pub secs: u64,
}

impl Since {
    /// The moment that was `elapsed` before `now`.
    pub fn ago(now: SystemTime, elapsed: Duration) -> Since {
        let at = now
            .checked_sub(elapsed)
            .and_then(|then| Timestamp::try_from(then).ok())
            .unwrap_or(Timestamp::UNIX_EPOCH);
        Since { at: Timestamp::from_second(at.as_second()).unwrap_or(at), secs: elapsed.as_secs() }
    }
}

/// The daemon as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// Version of the daemon.
    pub version: String,
    /// Its AS number.
    pub asn: u32,
    /// Its BGP Identifier.
    pub router_id: Ipv4Addr,
    /// The cluster it reflects for.
    pub cluster_id: Ipv4Addr,
    /// When it started.
    pub started: Since,
    /// Whether it still waits for its peers' first routes; until then the kernel's old routes stay.
    pub syncing: bool,
    /// The configuration in force.
    pub config: Config,
    /// Configured peers with an address.
    pub peers_configured: u64,
    /// Those of them whose session is Established.
    pub peers_established: u64,
    /// Ranges that peers may connect from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<Range>,
    /// Routes by family.
    pub families: Vec<FamilyCounts>,
    /// The kernel's side; absent if nothing is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelCounts>,
}

/// The configuration in force, and how the last attempt to change it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// Where it came from, such as a file name.
    pub source: String,
    /// Since when it has been in force.
    pub loaded: Since,
    /// The last attempt, if it failed: the configuration above stayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Incident>,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// When.
    pub since: Since,
    /// What, and the likely cause.
    pub text: String,
}

/// A listen range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Its name.
    pub name: String,
    /// Where peers may connect from.
    #[serde(with = "as_text")]
    pub range: Prefix,
    /// Peers of it that are connected.
    pub peers: u64,
}

/// Routes of one family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FamilyCounts {
    /// Such as `ipv4`.
    pub family: String,
    /// Destinations known.
    pub prefixes: u64,
    /// Paths to them.
    pub paths: u64,
}

/// Routes of the kernel, as desired and as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelCounts {
    /// What it should have of us.
    pub desired: u64,
    /// What it has of them.
    pub installed: u64,
    /// What it refused, now.
    pub refused: u64,
}

/// One neighbour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Its name in the configuration; that of the range for a peer that connected from one.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its address.
    pub address: IpAddr,
    /// Its AS number.
    pub asn: u32,
    /// Ours, as it is shown.
    pub local_asn: u32,
    /// What it is to us.
    #[serde(rename = "type")]
    pub kind: PeerKind,
    /// State of the session (RFC 4271 section 8.2.2).
    pub state: State,
    /// When the session became, or ceased to be, Established; before that, when the peer was configured.
    pub since: Since,
    /// Whether we only wait for it.
    pub passive: bool,
    /// What stands in the way, if anything: the last error of a session that is down, or that no policy lets routes through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// The policy for what it sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<String>,
    /// The policy for what it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<String>,
    /// What was agreed; absent while the session is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// Prefixes by family; empty while the session is down and nothing of it is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub families: Vec<PeerFamily>,
    /// Messages that came, since the peer was configured.
    pub received: Messages,
    /// Messages that went.
    pub sent: Messages,
    /// How often the session left Established.
    pub flaps: u64,
    /// The last NOTIFICATION that came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification_received: Option<NotificationSeen>,
    /// The last NOTIFICATION that went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification_sent: Option<NotificationSeen>,
}

/// What a neighbour is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerKind {
    /// In another AS.
    External,
    /// In ours.
    Internal,
    /// In ours, and reflected to.
    Client,
}

impl fmt::Display for PeerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            PeerKind::External => "external",
            PeerKind::Internal => "internal",
            PeerKind::Client => "client",
        })
    }
}

/// States of a session (RFC 4271 section 8.2.2). The order is that of BGP4-MIB, where Idle is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// Nothing goes on: switched off, or waiting before the next attempt.
    Idle,
    /// A connection is being made.
    Connect,
    /// Waiting to be connected to, or for the next attempt.
    Active,
    /// Ours is sent, the peer's OPEN is awaited.
    OpenSent,
    /// The peer's first KEEPALIVE is awaited.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

impl State {
    /// bgpPeerState of BGP4-MIB (RFC 4273).
    pub fn number(self) -> u8 {
        match self {
            State::Idle => 1,
            State::Connect => 2,
            State::Active => 3,
            State::OpenSent => 4,
            State::OpenConfirm => 5,
            State::Established => 6,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Idle => "Idle",
            State::Connect => "Connect",
            State::Active => "Active",
            State::OpenSent => "OpenSent",
            State::OpenConfirm => "OpenConfirm",
            State::Established => "Established",
        })
    }
}

/// What both sides of an Established session agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The peer's BGP Identifier.
    pub router_id: Ipv4Addr,
    /// Our end.
    pub local_address: IpAddr,
    /// Our end's port; 179 if the peer connected to us.
    pub local_port: u16,
    /// The peer's port.
    pub remote_port: u16,
    /// Agreed hold time; 0: none.
    pub hold_secs: u16,
    /// Pause between our keepalives.
    pub keepalive_secs: u16,
    /// Capabilities that are in use, by their names at IANA.
    pub capabilities: Vec<String>,
    /// Families with several paths that we may send (RFC 7911).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_paths_send: Vec<String>,
    /// Families with several paths that the peer may send.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_paths_receive: Vec<String>,
    /// The peer's restart time (RFC 4724), if it restarts gracefully.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_secs: Option<u16>,
    /// Whether segments are signed (RFC 2385).
    pub md5: bool,
}

/// Prefixes of one family of one peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerFamily {
    /// Such as `ipv4`.
    pub family: String,
    /// Paths it sent and has not withdrawn.
    pub received: u64,
    /// Those of them that import policy let in.
    pub accepted: u64,
    /// Those of them that are best.
    pub best: u64,
    /// Those of them kept from a former session (RFC 4724).
    pub stale: u64,
    /// Prefixes that it has been told of and not been told are gone.
    pub advertised: u64,
    /// Whether its End-of-RIB came.
    pub end_of_rib: bool,
}

/// Messages by type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    /// OPEN.
    pub open: u64,
    /// UPDATE.
    pub update: u64,
    /// NOTIFICATION.
    pub notification: u64,
    /// KEEPALIVE.
    pub keepalive: u64,
    /// ROUTE-REFRESH.
    pub refresh: u64,
}

impl Messages {
    /// Of every type.
    pub fn total(&self) -> u64 {
        self.open + self.update + self.notification + self.keepalive + self.refresh
    }
}

/// A NOTIFICATION that came or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationSeen {
    /// When.
    pub since: Since,
    /// Error code (RFC 4271 section 4.5).
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// Both in words, with the other side's own words if it sent any (RFC 9003).
    pub text: String,
}

/// One path to one destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The destination.
    #[serde(with = "as_text")]
    pub prefix: Prefix,
    /// The peer it is from (`in`, `best`, `kernel`) or to (`out`); absent for what this node originates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// That peer's name, or `local`.
    pub peer_name: String,
    /// Path identifier (RFC 7911); absent where the session has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_id: Option<u32>,
    /// Next hops; several only for the kernel. None: a blackhole.
    pub next_hops: Vec<IpAddr>,
    /// Attributes; absent for the kernel's view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Attributes>,
    /// Whether it is the best path to its destination.
    pub best: bool,
    /// For the best path the step of the decision that chose it, for any other the one at which it lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Whether it was kept from a former session (RFC 4724).
    pub stale: bool,
    /// Since when it has been as it is.
    pub since: Since,
    /// How it is in the kernel; absent if it is not to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelRoute>,
}

/// Path attributes in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attributes {
    /// `igp`, `egp` or `incomplete`.
    pub origin: String,
    /// AS numbers, the nearest first; sets in braces. Empty within the AS.
    pub as_path: String,
    /// LOCAL_PREF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub med: Option<u32>,
    /// Communities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<String>,
    /// Large communities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub large_communities: Vec<String>,
    /// Extended communities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extended_communities: Vec<String>,
    /// ORIGINATOR_ID (RFC 4456).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_list: Vec<Ipv4Addr>,
    /// Other attributes, by name or number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
}

/// A route as the kernel has it, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelRoute {
    /// How it is there.
    pub state: KernelState,
    /// What the kernel said, and the likely cause, or why it is not tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How a route is in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KernelState {
    /// It should be there and is not yet.
    Desired,
    /// It is there.
    Installed,
    /// The kernel refused it; it is tried again.
    Refused,
    /// It is not for the kernel: protected.
    Withheld,
}

impl fmt::Display for KernelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            KernelState::Desired => "desired",
            KernelState::Installed => "installed",
            KernelState::Refused => "refused",
            KernelState::Withheld => "withheld",
        })
    }
}

/// Everything about one destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// The destination: what was asked for, or the longest prefix around it.
    #[serde(with = "as_text")]
    pub prefix: Prefix,
    /// Every path to it, the best first, each with its step.
    pub candidates: Vec<Route>,
    /// Paths that did not get in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Rejection>,
    /// Who is told, and who not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exports: Vec<Export>,
    /// How it is in the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelRoute>,
}

/// A path that a peer sent and that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Who sent it.
    pub peer: IpAddr,
    /// Its name.
    pub name: String,
    /// Why it was not accepted.
    pub reason: String,
}

/// What peers of one group are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// The peers' names, at most a hundred.
    pub peers: Vec<String>,
    /// How many they are.
    pub count: u64,
    /// Whether they are told.
    pub sent: bool,
    /// Why not, or what changes on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Values that are texts in JSON.
mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
