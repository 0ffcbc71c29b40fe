//! The one thread that owns the table.
//!
//! ```text
//! connection tasks -Event-> inbox -> Core -Commit-> groups' views (watch) -> connection tasks
//! fib thread -FibEvent----->  |       |-----------> fib thread
//! control, metrics -Ask-----> |       '-----------> answers
//! signals, config sources ----'
//! ```
//!
//! A turn drains what has arrived, up to a budget; a commit follows when it is worth its fan-out (see `pace`): a burst of
//! changes to one prefix costs one decision, and transient best paths are not announced. The inbox is bounded; when it is full, sessions stop
//! reading, and nobody else waits. Nothing here blocks: the fib merges what it is told, a group's view is a value in
//! a watch channel, and a connection task that does not take its messages is told again with the next ones.

mod answers;
mod bird;
mod compile;
mod kernel;
mod learn;
mod orders;
mod pace;
mod peers;
mod reload;
mod startup;
mod status;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bgp_proto::{Family, Nlri, Prefix, Version};
use reflector::events::FibChange;
use reflector::events::Naming;
use reflector::feed::LogView;
use reflector::ids::{GroupId, PeerId};
use reflector::rib::nexthop::Tracking;
use reflector::session::Stop;
use reflector::table::{Commit, Excess, Notice, PrefixLimit, Table};
use reflector::time::Instant;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, error, info, warn};

use crate::bfd::{self, Bfd};
use crate::clock::Clock;
use crate::config::{Desired, desired};
use crate::control::Ask;
use crate::control::protocol::View;
use crate::fib::{self, FibEvent, FibHandle, WalkCause};
use crate::log;
use crate::net;
use compile::Entries;
use pace::Pace;
use peers::Peer;
use startup::{Patience, Startup, Strangers};

/// Messages waiting for the core, at most. A session that finds no room stops reading.
pub const INBOX_MAX: usize = 1024;
/// Messages taken before a commit, at most.
const TURN_MAX: usize = 256;
/// How long after a change the logs are tidied.
const TIDY_AFTER: Duration = Duration::from_secs(1);
/// How long the start waits to see what the kernel has.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// Something that the core is told.
#[derive(Debug)]
pub enum Input {
    /// From the connections.
    Net(net::Event),
    /// From the kernel's side.
    Fib(FibEvent),
    /// From the watch over paths.
    Bfd(bfd::Event),
    /// A configuration was read, or could not be.
    Reload(Box<Result<Desired, String>>),
    /// The daemon stops; the sender is answered when sessions are closed and routes are dealt with.
    Exit(oneshot::Sender<()>),
}

impl From<bfd::Event> for Input {
    fn from(event: bfd::Event) -> Input {
        Input::Bfd(event)
    }
}

impl From<FibEvent> for Input {
    fn from(event: FibEvent) -> Input {
        Input::Fib(event)
    }
}

impl From<net::Event> for Input {
    fn from(event: net::Event) -> Input {
        Input::Net(event)
    }
}

/// The one owner of the table.
pub struct Core {
    table: Table,
    desired: Desired,
    source: String,
    loaded: Instant,
    refused: Option<(Instant, String)>,
    entries: Entries,
    peers: BTreeMap<PeerId, Peer>,
    by_addr: BTreeMap<IpAddr, PeerId>,
    next_peer: u32,
    groups: BTreeMap<GroupId, watch::Sender<Arc<LogView>>>,
    net: net::Net<Input>,
    bfd: Bfd<Input>,
    fib: Option<FibHandle>,
    inbox: mpsc::Sender<Input>,
    /// Until it is over, nothing that the kernel kept goes.
    startup: Option<Startup>,
    /// Until it is over, a speaker that restarts tells nobody anything.
    deferral: Option<Startup>,
    /// What the kernel kept is to go as soon as the way to every next hop is known.
    is_sweep_due: bool,
    /// Routes of ours that the kernel had when this process started.
    adopted: usize,
    /// Prefixes of a former identity's kernel routes, to go at the end of the start unless wanted again.
    orphans: Vec<Prefix>,
    places: kernel::SharedPlaces,
    verdicts: kernel::Verdicts,
    log: log::Handle,
    tidy_at: Option<Instant>,
    pace: Pace,
    /// The node's addresses, and when the kernel said them.
    addresses: Option<(Instant, Vec<fib::NodeAddress>)>,
    clock: Clock,
}

impl Core {
    /// A core with its first configuration, not running yet.
    pub fn new(
        desired: Desired,
        source: String,
        net: net::Net<Input>,
        bfd: Bfd<Input>,
        inbox: mpsc::Sender<Input>,
        log: log::Handle,
        clock: Clock,
    ) -> Core {
        Core {
            table: Table::new(compile::instance(&desired)),
            source,
            loaded: clock.now(),
            refused: None,
            entries: Entries::default(),
            peers: BTreeMap::new(),
            by_addr: BTreeMap::new(),
            next_peer: 0,
            groups: BTreeMap::new(),
            net,
            bfd,
            fib: None,
            inbox,
            startup: None,
            deferral: None,
            is_sweep_due: false,
            adopted: 0,
            orphans: Vec::new(),
            places: kernel::SharedPlaces::default(),
            verdicts: kernel::Verdicts::default(),
            log,
            tidy_at: None,
            addresses: None,
            pace: Pace::default(),
            clock,
            desired,
        }
    }

    /// Runs until [`Input::Exit`].
    pub async fn run(mut self, mut inbox: mpsc::Receiver<Input>, mut asks: mpsc::Receiver<Ask>) {
        self.start_fib();
        let mut turn = Vec::with_capacity(TURN_MAX);
        self.first_look(&mut inbox, &mut turn).await;
        self.begin();
        loop {
            let deadline = self.deadline();
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(self.clock.moment(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                taken = inbox.recv_many(&mut turn, TURN_MAX) => {
                    if taken == 0 {
                        return;
                    }
                }
                Some(ask) = asks.recv() => self.answer(ask),
                () = timer => {}
            }
            let may_wait = !turn.is_empty() && turn.iter().all(|input| matches!(input, Input::Net(_)));
            for input in turn.drain(..) {
                match input {
                    Input::Net(event) => self.on_net(event),
                    Input::Fib(event) => self.on_fib(event),
                    Input::Bfd(event) => self.on_bfd(event),
                    Input::Reload(read) => self.on_reload(*read),
                    Input::Exit(done) => return self.exit(done).await,
                }
            }
            self.tick();
            if !(may_wait && self.pace.must_wait(self.clock.now())) {
                self.commit();
            }
        }
    }

    /// Waits a moment for what the kernel has of ours: whether this is a restart is said in every OPEN. What else
    /// arrives meanwhile is left for the first turn.
    async fn first_look(&mut self, inbox: &mut mpsc::Receiver<Input>, turn: &mut Vec<Input>) {
        if self.fib.is_none() {
            return;
        }
        let look = async {
            while let Some(input) = inbox.recv().await {
                match input {
                    Input::Fib(FibEvent::Resynced { cause: WalkCause::Start, found, .. }) => return found,
                    Input::Fib(event @ FibEvent::Unavailable(_)) => {
                        turn.push(Input::Fib(event));
                        return 0;
                    }
                    other => turn.push(other),
                }
            }
            0
        };
        self.adopted = tokio::time::timeout(FIRST_LOOK, look).await.unwrap_or(0);
        if self.adopted > 0 {
            info!(routes = self.adopted, "back again: the kernel kept our routes");
        }
    }

    /// Starts own routes and sessions.
    fn begin(&mut self) {
        let now = self.clock.now();
        let own: Vec<_> =
            self.desired.originate.iter().map(|(prefix, own)| compile::origination(*prefix, own)).collect();
        for origination in own {
            self.table.originate(origination, now);
        }
        let restart = &self.desired.restart;
        let patience = Patience::new(restart.wait_for_unreachable, restart.selection_deferral);
        self.deferral = Some(Startup::new(now, patience, [], Strangers::None));
        // A speaker that forwards nothing cannot tell a restart from a start: its peers may well keep its routes, unless it
        // never asked anybody to.
        let asks = self.desired.peers.values().any(|peer| peer.graceful_restart.is_some());
        if self.adopted > 0 || (self.desired.kernel.is_none() && asks) {
            self.table.defer();
        }
        let peers: Vec<_> = self.desired.peers.values().cloned().collect();
        for peer in &peers {
            self.add_peer(peer);
        }
        if let Err(error) = self.net.open() {
            error!(%error, "not listening there");
        }
        let is_range = |peer: &desired::Peer| matches!(peer.remote, desired::Remote::Range(_));
        let strangers = if peers.iter().any(is_range) { Strangers::Welcome } else { Strangers::None };
        let start = || Startup::new(now, patience, self.peers.keys().copied(), strangers);
        (self.startup, self.deferral) = (Some(start()), Some(start()));
        self.commit();
        info!(
            asn = self.desired.asn.0,
            router_id = %self.desired.router_id,
            peers = self.desired.peers.len(),
            prefixes = self.desired.originate.len(),
            "started"
        );
    }

    fn start_fib(&mut self) {
        let Some(kernel) = self.desired.kernel.as_ref().filter(|_| self.fib.is_none()) else { return };
        match fib::spawn(compile::fib(kernel), self.inbox.clone()) {
            Ok(handle) => {
                self.fib = Some(handle);
                let tunnels = !kernel.overlay.devices.is_empty();
                for obstacle in fib::obstacles(Path::new("/"), tunnels) {
                    warn!("{obstacle}");
                }
            }
            Err(error) => warn!(%error, "no route will be installed"),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let startup = self.startup.as_ref().and_then(Startup::deadline);
        let deferral = self.deferral.as_ref().and_then(Startup::deadline);
        let (paced, verdicts) = (self.pace.deadline(), self.verdicts.deadline());
        [self.table.deadline(), startup, deferral, self.tidy_at, paced, verdicts].into_iter().flatten().min()
    }

    /// Does what is due.
    fn tick(&mut self) {
        let now = self.clock.now();
        self.table.timeout(now);
        self.verdicts.tick(now);
        if self.tidy_at.is_some_and(|at| at <= now) {
            self.tidy_at = None;
            let advanced = self.table.tidy();
            self.publish(advanced);
        }
        if self.startup.as_ref().is_some_and(|s| s.is_over(now)) {
            self.startup = None;
            self.is_sweep_due = true;
            info!("initial routes are in");
        }
        if self.deferral.as_ref().is_some_and(|d| d.is_over(now)) {
            self.deferral = None;
            // What this turn brought is decided first: End-of-RIB stands behind it, and a peer drops what does not come
            // before that.
            self.commit();
            self.release();
        }
    }

    fn sweep(&mut self) {
        let orphans = std::mem::take(&mut self.orphans);
        if let Some(fib) = &self.fib {
            let unwanted = |p: &Prefix| self.table.fib_route(p.family(), &Nlri::Prefix(*p)).is_none();
            fib.desire(orphans.into_iter().filter(unwanted).map(|prefix| FibChange {
                prefix,
                route: None,
                metric: None,
                naming: Naming::Blanket,
            }));
            fib.sweep(Version::V4);
            fib.sweep(Version::V6);
        }
    }

    /// Decides what is dirty and hands on what follows.
    fn commit(&mut self) {
        let Commit { advanced, fib, tracking, notices } = self.table.commit();
        if let Some(handle) = &self.fib {
            for tracking in tracking {
                match tracking {
                    Tracking::Wanted(addr) => handle.track(addr),
                    Tracking::Unwanted(addr) => handle.untrack(addr),
                }
            }
            handle.desire(fib);
        }
        let writes = self.publish(advanced);
        self.pace.committed(writes, self.clock.now());
        for notice in notices {
            self.on_notice(notice);
        }
        if self.is_sweep_due && !self.table.has_unknown_next_hops() {
            self.is_sweep_due = false;
            self.sweep();
        }
    }

    /// Shows sessions what is new; returns how many will read it.
    fn publish(&mut self, advanced: Vec<(GroupId, Arc<LogView>)>) -> usize {
        if !advanced.is_empty() {
            self.tidy_at.get_or_insert(self.clock.now() + TIDY_AFTER);
        }
        let mut readers = 0;
        for (group, view) in advanced {
            if let Some(sender) = self.groups.get(&group) {
                readers += sender.receiver_count();
                sender.send_replace(view);
            }
        }
        readers
    }

    fn on_notice(&mut self, notice: Notice) {
        match notice {
            Notice::PrefixLimit { peer, family, limit } => self.on_prefix_limit(peer, family, limit),
            Notice::RefreshWanted { peer, family } => {
                let can_refresh = self.table.can_refresh(peer);
                let Some(peer) = self.peers.get(&peer) else { return };
                if can_refresh {
                    peer.handle.refresh(family);
                } else {
                    peer.handle.stop(Stop::ConfigChanged);
                }
            }
            Notice::TooLong { group, nlri } => {
                warn!(prefix = %nlri, group = group.0, "attributes fit into no message: not told to the group");
            }
            Notice::TooSlow { peer } => {
                warn!(peer = %self.name(peer), "the peer does not read what it is told: session closed");
                if let Some(peer) = self.peers.get(&peer) {
                    peer.handle.stop(Stop::OutOfResources);
                }
            }
            Notice::InterestChanged { peer } => self.follow_interest(peer),
            Notice::StaleExpired { peer, routes } => {
                info!(peer = %self.name(peer), routes, "restart time is over: stale routes removed");
                self.forget_visitor(peer);
            }
        }
    }

    fn on_prefix_limit(&self, peer: PeerId, family: Family, limit: PrefixLimit) {
        let (name, limit, excess) = (self.name(peer), limit.prefixes, limit.excess);
        match excess {
            Excess::Warned => warn!(peer = %name, %family, limit, "more prefixes than allowed"),
            Excess::Closed { restart } => {
                warn!(peer = %name, %family, limit, ?restart, "more prefixes than allowed: session closed");
                if let Some(peer) = self.peers.get(&peer) {
                    peer.handle.stop(Stop::PrefixLimit { family, limit, restart });
                }
            }
        }
    }

    fn on_fib(&mut self, event: FibEvent) {
        match event {
            FibEvent::NextHopChanged { addr, way } => {
                self.table.next_hop_link(addr, learn::link(&way));
                self.table.next_hop(addr, compile::reachability(&way));
            }
            FibEvent::RouteFound { prefix, found } => self.on_found(prefix, &found),
            FibEvent::RouteJudged { prefix, refusal } => {
                self.verdicts.say(prefix, refusal.as_ref(), self.clock.now());
            }
            FibEvent::NotPermitted(refusal) => {
                error!(error = %refusal, "no route can be installed; sessions go on")
            }
            FibEvent::Permitted => info!("routes can be installed again"),
            FibEvent::LinkChanged { ifname, up } => info!(interface = %ifname, up, "link changed"),
            FibEvent::Resynced { cause, missing, found } => {
                debug!(?cause, missing, found, "kernel routes compared");
            }
            FibEvent::TunnelJudged { ifname, problem: Some(problem) } => {
                warn!(device = %ifname, %problem, "tunnel device not ready; other routes go on");
            }
            FibEvent::TunnelJudged { ifname, problem: None } => {
                info!(device = %ifname, "tunnel device ready")
            }
            FibEvent::Unavailable(error) => warn!(%error, "no way to the kernel's routes"),
        }
    }

    fn answer(&mut self, ask: Ask) {
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        let names = |peer| self.name_of(peer);
        let find = |addr| self.by_addr.get(&addr).copied();
        let context = answers::Context {
            table: &self.table,
            names: &names,
            peers: &peers,
            find: &find,
            now: self.clock.now(),
            wall: SystemTime::now(),
        };
        // Whoever asked may have left; then nobody misses the answer.
        match ask {
            Ask::Status { reply } => drop(reply.send(self.instance(&context))),
            Ask::Peers { address, reply } => drop(reply.send(self.peer_rows(address, &context))),
            Ask::Routes { query, cursor, rows_max, reply } if query.view == View::Kernel => {
                let now = context.since(context.now);
                kernel::page(self.fib.as_ref(), &self.places, query, cursor, rows_max, now, reply);
            }
            Ask::Routes { query, cursor, rows_max, reply } => {
                drop(reply.send(context.page(&query, cursor, rows_max)));
            }
            Ask::Bird { question, reply } => self.answer_bird(&question, reply),
            Ask::Why { destination, reply } => {
                kernel::finish_why(self.fib.as_ref(), context.why(&destination), reply);
            }
            Ask::Order { peer, order, message, reply } => drop(reply.send(self.order(&peer, order, message))),
        }
    }

    /// Closes sessions, deals with the kernel's routes, answers.
    async fn exit(self, done: oneshot::Sender<()>) {
        let words = self.last_words();
        self.net.close(|addr| words.get(&addr).cloned().unwrap_or(Stop::Exit)).await;
        self.bfd.close().await;
        if let (Some(fib), Some(kernel)) = (&self.fib, &self.desired.kernel) {
            let leave = if kernel.keep_on_exit { fib::Leave::Keep } else { fib::Leave::Remove };
            // A closed channel says as well that it has ended.
            drop(fib.leave(leave).await);
        }
        info!("stopped");
        // Whoever asked may be gone.
        let _ = done.send(());
    }
}
