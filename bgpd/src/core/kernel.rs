//! What the kernel's side says of routes, in the words of the control socket.
//!
//! The fib is asked by message and answers when it gets to it, so these answers are finished by a task of their own and
//! the core goes on. A list goes page by page behind the last prefix of the page before; its place is remembered under a
//! number for the few lists that may be under way.

use std::collections::VecDeque;

use bgp_proto::Prefix;
use reflector::time::{Duration, Instant};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::answers::fib_next_hops;
use crate::control::Page;
use crate::control::protocol::{KernelRoute, KernelState, Route, RoutesQuery, Since, Why};
use crate::fib::{FibHandle, FibReport, Query, Refusal, RouteReport, State};

/// Lists under way that are remembered.
const PLACES_MAX: usize = 64;
/// Prefixes asked of the fib at a time.
const ASKED_MAX: usize = 2000;

/// Where lists that are under way go on.
#[derive(Debug, Default)]
pub(super) struct Places {
    last: u64,
    places: VecDeque<(u64, Prefix)>,
}

impl Places {
    /// The prefix behind which a list goes on.
    fn find(&self, cursor: u64) -> Result<Option<Prefix>, String> {
        if cursor == 0 {
            return Ok(None);
        }
        let place = self.places.iter().find(|(number, _)| *number == cursor);
        place.map(|(_, prefix)| Some(*prefix)).ok_or_else(|| "too many lists at once; ask again".to_owned())
    }

    fn remember(&mut self, prefix: Prefix) -> u64 {
        self.last += 1;
        if self.places.len() == PLACES_MAX {
            self.places.pop_front();
        }
        self.places.push_back((self.last, prefix));
        self.last
    }
}

/// Verdicts of the kernel that get a line of their own in each [`VERDICTS_SPAN`]; the others are counted.
const VERDICTS_MAX: u32 = 20;
const VERDICTS_SPAN: Duration = Duration::from_secs(60);

/// What the log says of routes that the kernel refuses: a full table that it has no room for is not a million lines.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    until: Option<Instant>,
    said: u32,
    unsaid: u64,
}

impl Verdicts {
    /// The kernel refuses a route, or does no longer.
    pub(super) fn say(&mut self, prefix: Prefix, refusal: Option<&Refusal>, now: Instant) {
        self.tick(now);
        self.until.get_or_insert(now + VERDICTS_SPAN);
        if self.said == VERDICTS_MAX {
            self.unsaid += 1;
            return;
        }
        self.said += 1;
        match refusal {
            Some(refusal) => warn!(%prefix, error = %refusal, "the kernel refuses a route"),
            None => info!(%prefix, "the kernel refuses the route no longer"),
        }
    }

    /// When there is something to say although nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.until
    }

    /// Says how much was left unsaid, when the time has come.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.until.is_none_or(|until| until > now) {
            return;
        }
        if self.unsaid > 0 {
            warn!(
                more = self.unsaid,
                "the kernel refused and accepted other routes too: see `bgpd routes kernel`"
            );
        }
        *self = Verdicts::default();
    }
}

/// Places shared by the answers that are under way, all on the core's thread.
pub(super) type SharedPlaces = std::sync::Arc<std::sync::Mutex<Places>>;

/// Answers `routes kernel`, a page of it.
pub(super) fn page(
    fib: Option<&FibHandle>,
    places: &SharedPlaces,
    query: RoutesQuery,
    cursor: u64,
    rows_max: usize,
    now: Since,
    reply: oneshot::Sender<Result<Page, String>>,
) {
    let Some(fib) = fib else {
        let _ = reply.send(Err("this speaker installs no routes (kernel.install is off)".to_owned()));
        return;
    };
    let after = match lock(places).find(cursor) {
        Ok(after) => after,
        Err(error) => return drop(reply.send(Err(error))),
    };
    let asked = rows_max.min(ASKED_MAX);
    let report = fib.query(Query::Page { after, max: asked });
    let places = places.clone();
    tokio::spawn(async move {
        let page =
            report.await.map_err(|_| "the kernel's side is busy; ask again".to_owned()).map(|report| {
                let last = report.routes.last().filter(|_| report.routes.len() == asked).map(|r| r.prefix);
                let next = last.map(|prefix| lock(&places).remember(prefix));
                Page { rows: rows(&report, &query, now), next }
            });
        let _ = reply.send(page);
    });
}

/// Adds the kernel's state to an answer and sends it.
pub(super) fn finish_why(
    fib: Option<&FibHandle>,
    why: Result<Why, String>,
    reply: oneshot::Sender<Result<Why, String>>,
) {
    let (fib, mut why) = match (fib, why) {
        (Some(fib), Ok(why)) => (fib, why),
        (_, why) => {
            let _ = reply.send(why);
            return;
        }
    };
    let report = fib.query(Query::Prefix(why.prefix));
    tokio::spawn(async move {
        let report = report.await.unwrap_or_default();
        why.kernel = report.routes.first().map(kernel_route);
        let _ = reply.send(Ok(why));
    });
}

fn rows(report: &FibReport, query: &RoutesQuery, now: Since) -> Vec<Route> {
    let wanted = report.routes.iter().filter(|r| query.wants(&r.prefix) && r.state != State::Idle);
    wanted.map(|r| row(r, now)).collect()
}

fn row(report: &RouteReport, since: Since) -> Route {
    Route {
        prefix: report.prefix,
        peer: None,
        peer_name: String::new(),
        path_id: None,
        next_hops: report.desired.as_ref().map(fib_next_hops).unwrap_or_default(),
        attributes: None,
        best: report.desired.is_some(),
        step: None,
        stale: report.state == State::Leftover,
        since,
        kernel: Some(kernel_route(report)),
    }
}

fn kernel_route(report: &RouteReport) -> KernelRoute {
    let state = match report.state {
        State::Pending | State::Unresolved => KernelState::Desired,
        State::Installed | State::Leftover => KernelState::Installed,
        State::Refused => KernelState::Refused,
        State::Protected | State::Idle => KernelState::Withheld,
    };
    let error = match report.state {
        State::Refused => report.refusal.as_ref().map(|r| r.to_string()),
        State::Unresolved => report.unresolved.map(|u| u.to_string()),
        State::Protected => {
            let text = "a default route, a subnet of this node or a prefix of kernel.protect: installed only where the import policy of its peer accepts exactly this prefix";
            Some(text.to_owned())
        }
        State::Leftover => Some("kept from before the start, not announced yet".to_owned()),
        State::Pending | State::Installed | State::Idle => None,
    };
    KernelRoute { state, error }
}

fn lock(places: &SharedPlaces) -> std::sync::MutexGuard<'_, Places> {
    places.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
