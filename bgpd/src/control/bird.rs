//! What BIRD's commands need to know of the state of things: questions to the core and its answers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bgp_proto::{AttrSet, Prefix, RouterId};
use reflector::ids::PeerId;
use reflector::policy::Policy;
use reflector::table::PeerCounts;

use super::protocol::Order;

/// A question to the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The instance.
    Instance,
    /// All sessions.
    Sessions,
    /// How many routes everybody gave and was told: a part of the count for each question.
    Count(Counting),
    /// A page of routes.
    Routes(RouteQuery),
    /// Something to do with the session with this neighbour.
    Order(IpAddr, Order),
    /// Ask this neighbour for its routes, and tell it ours.
    Reload(IpAddr),
}

/// A count of routes that is under way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counting {
    /// What is counted so far.
    pub counted: BTreeMap<PeerId, PeerCounts>,
    /// Where to go on.
    pub after: Option<usize>,
}

/// The answer to a [`Question`] of the same name.
#[derive(Debug)]
pub enum Answer {
    /// The instance.
    Instance(Instance),
    /// All sessions.
    Sessions(Vec<SessionRow>),
    /// The count goes on.
    Counting(Counting),
    /// The count is done.
    Counts(BTreeMap<Origin, Counts>),
    /// A page of routes.
    Routes(RoutesPage),
    /// It is done, or under way.
    Done,
}

/// The instance.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Its BGP Identifier.
    pub router_id: RouterId,
    /// How long it runs.
    pub up_for: Duration,
    /// How long ago its configuration was taken over.
    pub configured_for: Duration,
    /// While it recovers from a restart: how many sessions are waited for, and how long at most.
    pub recovering: Option<(usize, Duration)>,
    /// How long a recovery may take.
    pub recovery_total: Duration,
    /// Routes of ours in the kernel.
    pub installed: u64,
}

/// Numbers of routes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// In the table.
    pub imported: u32,
    /// Told.
    pub exported: u32,
    /// Best.
    pub preferred: u32,
    /// Refused, since the session began.
    pub rejected: u64,
}

/// State of a BGP session, as BIRD calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BgpState {
    /// Nothing is tried.
    Idle,
    /// A connection is being opened.
    Connect,
    /// Waiting for a connection.
    Active,
    /// OPEN is sent.
    OpenSent,
    /// OPEN was received.
    OpenConfirm,
    /// Up.
    Established,
}

impl BgpState {
    /// As commands show it.
    pub fn word(self) -> &'static str {
        match self {
            BgpState::Idle => "Idle",
            BgpState::Connect => "Connect",
            BgpState::Active => "Active",
            BgpState::OpenSent => "OpenSent",
            BgpState::OpenConfirm => "OpenConfirm",
            BgpState::Established => "Established",
        }
    }
}

/// A BGP session.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// The neighbour.
    pub addr: IpAddr,
    /// Its state.
    pub state: BgpState,
    /// For how long.
    pub state_for: Duration,
    /// Why the last session or attempt ended.
    pub trouble: Option<String>,
    /// Whether it is kept down by order.
    pub is_disabled: bool,
    /// Whether routes of it wait for it to come back.
    pub stale: bool,
    /// UPDATE messages received.
    pub updates_received: u64,
    /// UPDATE messages sent.
    pub updates_sent: u64,
    /// Up, and told nothing yet because we restarted.
    pub is_waiting: bool,
    /// What was agreed.
    pub up: Option<Established>,
}

/// What was agreed in a session.
#[derive(Debug, Clone)]
pub struct Established {
    /// The neighbour's BGP Identifier.
    pub router_id: RouterId,
    /// Our address.
    pub source: Option<IpAddr>,
    /// Hold time.
    pub hold_secs: u16,
    /// Four-octet AS numbers.
    pub as4: bool,
    /// Route refresh.
    pub refresh: bool,
    /// Enhanced route refresh.
    pub enhanced: bool,
    /// Extended messages.
    pub extended: bool,
    /// The neighbour restarts gracefully.
    pub restart_able: bool,
    /// We take several paths.
    pub add_path_rx: bool,
    /// We send several paths.
    pub add_path_tx: bool,
}

/// Which routes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteQuery {
    /// Only to this destination.
    pub destination: Option<Destination>,
    /// From here.
    pub of: Option<Origin>,
    /// As this neighbour is told them.
    pub exported: Option<IpAddr>,
    /// That pass this filter, and as it leaves them.
    pub filter: Option<Arc<Policy>>,
    /// Behind this place.
    pub after: Option<usize>,
    /// About so many.
    pub rows_max: usize,
}

/// A destination that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// This prefix.
    Prefix(Prefix),
    /// The longest prefix around this one that there is a route to.
    Around(Prefix),
}

/// Some routes.
#[derive(Debug, Default)]
pub struct RoutesPage {
    /// The routes, the best one of a destination first.
    pub rows: Vec<RouteRow>,
    /// Where to go on; `None`: that was all.
    pub next: Option<usize>,
}

/// Where a route comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A neighbour.
    Peer(IpAddr),
    /// The configuration.
    Static,
    /// The kernel.
    Kernel,
    /// The interfaces.
    Direct,
}

/// One route.
#[derive(Debug, Clone)]
pub struct RouteRow {
    /// Its destination.
    pub prefix: Prefix,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether it is the one in use.
    pub is_best: bool,
    /// Whether its neighbour has yet to confirm it.
    pub is_stale: bool,
    /// For how long it is known in this form.
    pub for_: Duration,
    /// Its rank.
    pub preference: u32,
    /// The cost of the way to its next hop.
    pub cost: Option<u32>,
    /// Who announced it, if that is not the next hop.
    pub from: Option<IpAddr>,
    /// Its metric in the kernel, if it was found there.
    pub kernel_metric: Option<u32>,
    /// Who put it into the kernel, if it was found there.
    pub kernel_source: Option<u8>,
    /// Its BGP attributes.
    pub attrs: Option<AttrSet>,
    /// What happens to packets.
    pub step: Step,
    /// Further ways, with multipath.
    pub hops: Vec<Step>,
}

/// What happens to packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A neighbour gets them.
    Via {
        /// The neighbour.
        gateway: IpAddr,
        /// The interface.
        interface: String,
    },
    /// They leave by this interface.
    Device(String),
    /// They are dropped.
    Blackhole,
    /// There is no way.
    Unreachable,
}
