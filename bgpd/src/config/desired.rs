//! What the operator wants, resolved: the only form of configuration that the rest of the daemon knows.
//!
//! Every source yields one [`Desired`]. It is complete (defaults are filled in, names are resolved, secrets are read), valid (whatever
//! exists here has been checked) and plain (no text to parse, nothing to look up), so two of them can be compared field by field, which
//! is all that a reload does. Peers are keyed by their address or range, because that is what a session is bound to: renaming a
//! peer touches nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bgp_proto::attr::{Community, LargeCommunity};
use bgp_proto::{AsSets, Asn, ClusterId, FamilySet, MessageMax, Prefix, RouterId};
use reflector::decide::Rules;
use reflector::events::FarEnd;
use reflector::group::TunnelScope;
use reflector::policy;
use reflector::session::{FirstAs, NotificationRestart, RoleRule};

use super::tunnel::Overlay;

use crate::bfd::Pace;

pub use reflector::group::LongLivedRule;
pub use reflector::table::{Excess, PrefixLimit};

pub use super::schema::{AddPaths, Format, Level, NextHop};

/// One whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The AS number of this speaker.
    pub asn: Asn,
    /// Its BGP Identifier.
    pub router_id: RouterId,
    /// The cluster that its clients belong to (RFC 4456).
    pub cluster_id: ClusterId,
    /// Where connections are accepted.
    pub listen: Listen,
    /// Who is spoken to.
    pub peers: BTreeMap<Remote, Peer>,
    /// How the best path is decided.
    pub decision: Rules,
    /// What this node originates: its own prefixes.
    pub originate: BTreeMap<Prefix, Origination>,
    /// Policies by name. Every name that a peer uses is here.
    pub policies: BTreeMap<String, Policy>,
    /// How routes are installed; `None`: no route is, and no netlink socket is opened.
    pub kernel: Option<Kernel>,
    /// How this speaker itself comes back.
    pub restart: Restart,
    /// Where the command line finds the daemon.
    pub socket: PathBuf,
    /// Where monitoring finds it, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// What is logged.
    pub log: Log,
}

impl Desired {
    /// What is valid but may surprise, a sentence each.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for peer in self.peers.values() {
            if let Some(note) = peer.closed_note() {
                notes.push(format!("peer {}: {note}", peer.name));
            }
        }
        notes
    }
}

/// Where connections are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Addresses, each once; none: no connection is accepted.
    pub addresses: Vec<IpAddr>,
    /// TCP port.
    pub port: u16,
}

/// Whom a peer's configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Remote {
    /// One neighbour.
    Address(IpAddr),
    /// Everyone who connects from here; the longest range wins, an address wins over any.
    Range(Prefix),
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remote::Address(address) => address.fmt(f),
            Remote::Range(range) => range.fmt(f),
        }
    }
}

/// One neighbour, or the neighbours of one range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Unique among peers.
    pub name: String,
    /// Where it is.
    pub remote: Remote,
    /// For people.
    pub description: Option<String>,
    /// Its AS number.
    pub asn: Asn,
    /// The AS number that it is shown as ours.
    pub local_asn: Asn,
    /// What it is to us.
    pub kind: PeerKind,
    /// The address of ours that the session uses, if it matters.
    pub local_address: Option<IpAddr>,
    /// TCP port to connect to.
    pub port: u16,
    /// Who connects.
    pub connect: ConnectRole,
    /// How long things take.
    pub timers: Timers,
    /// How closely the path to it is watched; `None`: not at all.
    pub bfd: Option<Pace>,
    /// What we are to the peer (RFC 9234).
    pub role: Option<RoleRule>,
    /// What its paths must look like.
    pub paths: Paths,
    /// The largest message.
    pub message_max: MessageMax,
    /// IPv4 families whose next hops may be IPv6 (RFC 8950).
    pub extended_next_hop: FamilySet,
    /// TCP MD5 key.
    pub password: Option<Secret>,
    /// TTL security: how many hops away the peer may be.
    pub ttl_security: Option<u8>,
    /// Families that are offered.
    pub families: FamilySet,
    /// Several paths to one prefix, by direction.
    pub add_paths: AddPaths,
    /// Paths to one prefix that it is sent, at most.
    pub add_paths_max: u8,
    /// Prefixes accepted in each family.
    pub max_prefixes: Option<PrefixLimit>,
    /// Restart time announced; `None`: no graceful restart.
    pub graceful_restart: Option<Duration>,
    /// Whether a NOTIFICATION keeps routes.
    pub notification_restart: NotificationRestart,
    /// How long stale routes may be kept (RFC 9494); `None`: no long-lived graceful restart.
    pub long_lived: Option<Duration>,
    /// What it is told of long-lived stale routes if it does not know them.
    pub long_lived_unaware: LongLivedRule,
    /// Which next hop it is told.
    pub next_hop: NextHop,
    /// What it sends passes here.
    pub import: Passage,
    /// What it is sent passes here.
    pub export: Passage,
}

impl Peer {
    /// Says so if nothing can pass in one direction or both.
    pub fn closed_note(&self) -> Option<&'static str> {
        match (&self.import, &self.export) {
            (Passage::Closed, Passage::Closed) => Some("no policy: nothing accepted or sent (RFC 8212)"),
            (Passage::Closed, _) => Some("no import policy: nothing accepted (RFC 8212)"),
            (_, Passage::Closed) => Some("no export policy: nothing sent (RFC 8212)"),
            (
                Passage::Open | Passage::Policy(_) | Passage::Compiled(_),
                Passage::Open | Passage::Policy(_) | Passage::Compiled(_),
            ) => None,
        }
    }
}

/// How long things take in one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// Proposed hold time; zero: none. A third of what is agreed is the pause between keepalives.
    pub hold: Duration,
    /// The least hold time that the peer may propose.
    pub hold_min: Duration,
    /// How long the peer may take to say OPEN.
    pub open_hold: Duration,
    /// How long our OPEN waits for the peer's.
    pub delay_open: Option<Duration>,
    /// How long the peer may read nothing; `None`: 8 minutes or twice the hold time.
    pub send_hold: Option<Duration>,
    /// The first pause after a session that failed.
    pub idle_hold: Duration,
    /// The longest such pause.
    pub idle_hold_max: Duration,
    /// Pause between attempts to connect.
    pub connect_retry: Duration,
    /// How long a route refresh that the peer began may take.
    pub refresh: Duration,
    /// How long a peer that is back may take to say End-of-RIB.
    pub stale_path: Duration,
}

/// What a peer's paths must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paths {
    /// The first AS number of an external peer's paths.
    pub first_as: FirstAs,
    /// How often our own AS number may be in one.
    pub own_as_max: u8,
    /// Whether AS sets are taken.
    pub as_sets: AsSets,
    /// Whether an external one's may name tunnels, and ours to it.
    pub tunnels: TunnelScope,
}

/// What a peer is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerKind {
    /// In another AS.
    External,
    /// In ours.
    Internal,
    /// In ours, and reflected to.
    Client,
}

/// Who opens the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectRole {
    /// We connect, and accept.
    Active,
    /// We only accept.
    Passive,
}

/// What lets routes through to or from a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passage {
    /// Nothing passes: an external peer without a policy (RFC 8212).
    Closed,
    /// An internal peer without a policy: everything passes, but no default route and none of this node's own prefixes come in.
    Open,
    /// The policy of this name decides.
    Policy(String),
    /// This one decides, which its source compiled itself.
    Compiled(Arc<policy::Policy>),
}

/// A prefix of this node, and what it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origination {
    /// Communities, in order, each once.
    pub communities: Vec<Community>,
    /// Large communities, in order, each once.
    pub large_communities: Vec<LargeCommunity>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// Whether the kernel gets a blackhole route for it.
    pub blackhole: bool,
    /// The VXLAN tunnel that leads to it, for others to know.
    pub vxlan: Option<FarEnd>,
    /// The neighbour that the kernel's route for it leads to, unless it is a blackhole.
    pub via: Option<IpAddr>,
}

/// Rules in order; what none matches is rejected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The first that matches decides.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// When it applies.
    pub when: Match,
    /// What it decides.
    pub verdict: Verdict,
}

/// What a rule decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The route passes, changed like this.
    Accepted(Set),
    /// It does not.
    Rejected,
}

/// Conditions that must all hold. Of a list one element suffices; an empty list is no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Match {
    /// Destination.
    pub prefixes: Vec<PrefixRange>,
    /// Family; `None`: any.
    pub families: Option<FamilySet>,
    /// Communities.
    pub communities: Vec<Community>,
    /// Large communities.
    pub large_communities: Vec<LargeCommunity>,
    /// AS numbers anywhere in AS_PATH.
    pub as_path_contains: Vec<Asn>,
    /// The neighbouring AS.
    pub as_path_first: Vec<Asn>,
    /// The originating AS.
    pub as_path_origin: Vec<Asn>,
    /// Prefixes around the next hop.
    pub next_hops: Vec<Prefix>,
    /// Who sent it.
    pub sources: Vec<Remote>,
}

/// Prefixes inside one, of certain lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixRange {
    /// Contains the destination.
    pub within: Prefix,
    /// The destination's least length.
    pub len_min: u8,
    /// The destination's greatest length.
    pub len_max: u8,
}

/// Changes to a route, in the order of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set {
    /// LOCAL_PREF becomes this.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC becomes this.
    pub med: Option<u32>,
    /// These are taken out.
    pub remove_communities: Vec<Community>,
    /// Then these are put in.
    pub add_communities: Vec<Community>,
    /// These are taken out.
    pub remove_large_communities: Vec<LargeCommunity>,
    /// Then these are put in.
    pub add_large_communities: Vec<LargeCommunity>,
    /// How often our AS number is put before AS_PATH.
    pub prepend: u8,
    /// The next hop becomes this.
    pub next_hop: Option<NextHopSet>,
}

/// A next hop that a policy sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextHopSet {
    /// Our address on the session.
    Own,
    /// This address.
    Address(IpAddr),
}

/// How routes are installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Routing table.
    pub table: u32,
    /// Protocol number that marks our routes.
    pub protocol: u8,
    /// Their metric.
    pub metric: u32,
    /// Next hops of one route, at most; at least 1.
    pub multipath: u16,
    /// Exactly these prefixes are never installed.
    pub protect: Vec<Prefix>,
    /// Whether routes stay when the daemon stops.
    pub keep_on_exit: bool,
    /// Tunnels, and what goes through them.
    pub overlay: Overlay,
    /// What of the routes in use is installed.
    pub export: Passage,
    /// Which routes of others are taken out of the kernel's main table, to be told to peers; `None`: none.
    pub learn: Option<Learn>,
}

/// Which routes of others are taken out of the kernel's main table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learn {
    /// Whether routes that somebody put there are.
    pub alien: bool,
    /// Interfaces whose networks are: patterns of names, each with whether it takes them; the first that matches decides, and none
    /// is no.
    pub connected: Vec<(bool, String)>,
}

/// How this speaker itself comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// How long a peer that does not answer holds up the end of a restart.
    pub wait_for_unreachable: Duration,
    /// How long anybody does.
    pub selection_deferral: Duration,
    /// What peers that would keep our routes are told at the end.
    pub farewell: Farewell,
}

/// What peers that would keep our routes are told when the daemon stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// Cease: they drop them.
    Cease,
    /// Nothing: they keep them until we are back.
    Silence,
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// What is worth a line.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
}

/// A key. It prints as `Secret`, never as itself, and has no way into a log, an answer or a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes the key.
    pub fn new(key: impl Into<Box<[u8]>>) -> Secret {
        Secret(key.into())
    }

    /// The key, for the one place that hands it to the kernel.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
