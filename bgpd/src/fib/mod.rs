//! The FIB: the kernel's routes, kept equal to what BGP decided.
//!
//! ```text
//!  core -desires, next hops-> Mailbox -> Machine -ops-> netlink -> kernel
//!    ^                                    |   ^            |          |
//!    '------------- FibEvent -------------'   '- outcomes -'          |
//!                                             '------ watch, walks ---'
//! ```
//!
//! One OS thread with a runtime of its own owns it all: a pure [`machine`] (plan, underlay, next hops), a socket that asks
//! ([`netlink`]) and one that listens ([`watch`]). The thread is there because requests block for as long as the kernel
//! works (2 microseconds a route, 35 milliseconds for a walk through 100,000), and because the threads of a shared
//! runtime would hand each answer from core to core.
//!
//! **Who waits for whom.** The core never waits: what it posts is merged in the [`mailbox`], newest desire per prefix. The
//! FIB never waits for the core either: events that do not fit into the core's inbox stay in the machine, merged, at most
//! one a next hop, a prefix and an interface, and go when there is room. Both sides are bounded by the table.
//!
//! **Turns.** Mail is taken out of the box, notifications are read, and only then is the mail acted upon, so that no
//! operation rests on a picture older than the wish; then a walk if one is due, then one batch of operations. With nothing to do the thread sleeps until something arrives or a deadline passes; the
//! only deadlines are retries and the audit.
//!
//! **What a start and an end do.** The first walk adopts what carries our mark; nothing of it is deleted before
//! [`FibHandle::sweep`]. Ending keeps the routes or removes them, as [`Leave`] says; dying keeps them.
//!
//! The scars behind this (Calico's Felix, BIRD, FRR's zebra) are told where they matter: `plan` and `machine`.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::thread;

use bgp_proto::{Prefix, Version};
use reflector::events::FibChange;
use tokio::sync::{mpsc, oneshot};

mod addresses;
mod facts;
mod hops;
mod intern;
mod machine;
mod mailbox;
mod netlink;
mod plan;
mod refusal;
mod resolve;
mod stats;
mod surroundings;
mod task;
#[cfg(test)]
mod tests;
mod tunnel;
mod watch;
mod wire;

pub use addresses::{NodeAddress, first_global_ipv4, node_addresses};
pub use facts::{FoundRoute, FoundRoutes, Path, Place, TABLE_MAIN, Target};
pub use hops::Way;
pub use machine::{FibConfig, FibEvent, WalkCause};
pub use plan::{HeldRoute, RouteReport, State, States};
pub use refusal::{Cause, Refusal};
pub use resolve::{Resolution, Unresolved};
pub use stats::{FibStats, Totals};
pub use surroundings::obstacles;

use mailbox::Mailbox;

/// Why the FIB cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A protocol number that marks routes of the kernel or of an administrator: owning it means deleting those.
    #[error(
        "kernel.protocol {0} marks routes that are not ours to delete: choose one from 5 to 255, such as 12"
    )]
    ProtocolReserved(u8),
    /// The system gives no thread.
    #[error("cannot start the kernel route thread: {0}")]
    Thread(#[from] io::Error),
}

/// What happens to the routes when the FIB ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// They stay, for the next process to adopt.
    Keep,
    /// They go.
    Remove,
}

/// A question about routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    /// One prefix.
    Prefix(Prefix),
    /// At most `max` prefixes in order, beginning behind `after`.
    Page {
        /// The last prefix of the page before.
        after: Option<Prefix>,
        /// How many.
        max: usize,
    },
}

/// The answer to a [`Query`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FibReport {
    /// The prefixes asked for that there is something to say of, in order.
    pub routes: Vec<RouteReport>,
    /// How many prefixes stand how.
    pub states: States,
}

/// The FIB as its clients see it. Clones share one FIB; nothing here waits.
#[derive(Clone)]
pub struct FibHandle {
    mailbox: Arc<Mailbox>,
    stats: Arc<FibStats>,
}

/// Starts the FIB. Its events go into `events`, the inbox of the core, in the inbox's own type.
///
/// The thread lives in the network namespace of the caller, and ends with [`FibHandle::leave`] or when the inbox closes.
pub fn spawn<E>(config: FibConfig, events: mpsc::Sender<E>) -> Result<FibHandle, StartError>
where
    E: From<FibEvent> + Send + 'static,
{
    check(&config)?;
    let mailbox = Arc::new(Mailbox::open());
    let stats = Arc::new(FibStats::default());
    let handle = FibHandle { mailbox: mailbox.clone(), stats: stats.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new()
        .name("fib".into())
        .spawn(move || runtime.block_on(task::run(config, mailbox, stats, events)))?;
    Ok(handle)
}

/// Whether a configuration can be used.
pub fn check(config: &FibConfig) -> Result<(), StartError> {
    let mut numbers = std::iter::once(config.protocol).chain(config.adopt.iter().copied());
    numbers.find(|number| *number <= 4).map_or(Ok(()), |number| Err(StartError::ProtocolReserved(number)))
}

impl FibHandle {
    /// What the kernel should have, newest last.
    pub fn desire(&self, changes: impl IntoIterator<Item = FibChange>) {
        self.mailbox.post(|mail| changes.into_iter().for_each(|change| mail.change(change)));
    }

    /// Asks to be told the way to a next hop, now and whenever it changes.
    pub fn track(&self, addr: IpAddr) {
        self.mailbox.post(|mail| {
            mail.tracks.insert(addr, true);
        });
    }

    /// Asks no longer.
    pub fn untrack(&self, addr: IpAddr) {
        self.mailbox.post(|mail| {
            mail.tracks.insert(addr, false);
        });
    }

    /// Says on which interface a link-local next hop is (that of the session it comes from), or forgets it.
    pub fn hint(&self, addr: Ipv6Addr, ifindex: Option<u32>) {
        self.mailbox.post(|mail| {
            mail.hints.insert(addr, ifindex);
        });
    }

    /// All peers have told what they have, or had time to: routes found at start that nobody wants may go.
    pub fn sweep(&self, version: Version) {
        self.mailbox.post(|mail| {
            mail.sweeps.insert(version);
        });
    }

    /// Another configuration. Routes move to their new place, new before old.
    pub fn reconfigure(&self, config: FibConfig) -> Result<(), StartError> {
        check(&config)?;
        self.mailbox.post(|mail| mail.config = Some(config));
        Ok(())
    }

    /// Asks about routes. The channel is closed without an answer if the FIB has ended or too many ask.
    pub fn query(&self, query: Query) -> oneshot::Receiver<FibReport> {
        let (answer, asked) = oneshot::channel();
        self.mailbox.post(|mail| mail.query(query, answer));
        asked
    }

    /// Ends the FIB. The channel is answered (or closed) when it has ended.
    pub fn leave(&self, leave: Leave) -> oneshot::Receiver<()> {
        let (answer, asked) = oneshot::channel();
        self.mailbox.post(|mail| mail.leave = Some((leave, answer)));
        asked
    }

    /// Counters, up to date without asking.
    pub fn stats(&self) -> Totals {
        self.stats.totals()
    }
}
