//! The thread's loop: moves bytes between the sockets and the machine, mail into it, events out of it.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bgp_proto::Version;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;

use super::machine::{FibConfig, FibEvent, Machine};
use super::mailbox::{Mail, Mailbox};
use super::netlink::{BATCH, Requests};
use super::plan::Op;
use super::refusal::Outcome;
use super::stats::FibStats;
use super::tunnel::TunnelOp;
use super::watch::{Heard, Watch};
use super::{FibReport, Leave, Query};

/// How long after netlink was not to be had it is tried again.
const REOPEN: Duration = Duration::from_secs(10);
/// Most that leaving may take when the routes go with the daemon.
const LEAVE_MAX: Duration = Duration::from_secs(30);
/// Prefixes in one answer.
const PAGE_MAX: usize = 100_000;

/// Runs the FIB until it is told to leave or the core is gone.
pub(super) async fn run<E: From<FibEvent>>(
    config: FibConfig,
    mailbox: Arc<Mailbox>,
    stats: Arc<FibStats>,
    events: mpsc::Sender<E>,
) {
    let closing = Closing(mailbox.clone());
    let machine = Machine::new(config, Instant::now());
    let mut task = Task {
        machine,
        kernel: None,
        reopen_at: Instant::now(),
        unavailable: None,
        stats,
        ops: Vec::new(),
        outcomes: Vec::new(),
        leaving: None,
    };
    while task.turn(&mailbox, &events) {
        if task.is_idle() {
            task.sleep(&mailbox, &events).await;
        }
        // Also when busy: the runtime learns of readable sockets here.
        tokio::task::yield_now().await;
    }
    drop(closing);
    task.left();
}

/// However the task ends, nobody waits for it afterwards.
struct Closing(Arc<Mailbox>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Task {
    machine: Machine,
    kernel: Option<Kernel>,
    reopen_at: Instant,
    unavailable: Option<FibEvent>,
    stats: Arc<FibStats>,
    ops: Vec<Op>,
    outcomes: Vec<Outcome>,
    leaving: Option<(Instant, oneshot::Sender<()>)>,
}

/// Both sockets: without one the other is of no use.
struct Kernel {
    requests: Requests,
    watch: Watch,
    /// There is more to listen to.
    more: bool,
}

impl Kernel {
    fn open() -> io::Result<Kernel> {
        let requests = Requests::open()?;
        let watch = Watch::open(requests.port())?;
        Ok(Kernel { requests, watch, more: true })
    }
}

impl Task {
    /// One turn; whether there is to be another.
    fn turn<E: From<FibEvent>>(&mut self, mailbox: &Mailbox, events: &mpsc::Sender<E>) -> bool {
        let now = Instant::now();
        self.open(now);
        // In this order: what others did before the core posted is known when the post is acted upon.
        let mail = mailbox.take();
        self.listen(now);
        if !self.take_in(mail, now) {
            return false;
        }
        self.walk(now);
        self.work(now);
        self.stats.stands(self.machine.states(), self.machine.repairs());
        let done =
            self.leaving.as_ref().is_some_and(|(until, _)| *until <= now || !self.machine.is_busy(now));
        !done && self.tell(events)
    }

    fn is_idle(&self) -> bool {
        let now = Instant::now();
        let Some(kernel) = &self.kernel else { return true };
        !kernel.more && !self.machine.is_busy(now) && !self.machine.walk_due(now)
    }

    /// Sleeps until something happens: mail, a notification, a deadline, or room in the core's inbox if that was full.
    async fn sleep<E: From<FibEvent>>(&mut self, mailbox: &Mailbox, events: &mpsc::Sender<E>) {
        let until = match &self.kernel {
            Some(_) => self.machine.deadline(),
            None => self.reopen_at,
        };
        let watch = self.kernel.as_mut().map(|kernel| &mut kernel.watch);
        let full = events.capacity() == 0;
        tokio::select! {
            () = mailbox.posted() => {}
            () = tokio::time::sleep_until(until.into()) => {}
            _ = events.reserve(), if full => {}
            () = events.closed() => {}
            () = heard(watch) => {}
        }
    }

    fn open(&mut self, now: Instant) {
        if self.kernel.is_some() || self.reopen_at > now {
            return;
        }
        match Kernel::open() {
            Ok(kernel) => {
                self.kernel = Some(kernel);
                self.machine.overrun(now);
            }
            Err(error) => self.lose(&error, now),
        }
    }

    fn lose(&mut self, error: &io::Error, now: Instant) {
        if self.kernel.take().is_some() || self.unavailable.is_none() {
            self.unavailable = Some(FibEvent::Unavailable(error.to_string().into()));
        }
        self.reopen_at = now + REOPEN;
    }

    /// Takes in what others changed, all of it if it can be done in one go.
    fn listen(&mut self, now: Instant) {
        let Some(kernel) = &mut self.kernel else { return };
        let heard = kernel.watch.drain(|change| self.machine.kernel_changed(change, now));
        kernel.more = !matches!(heard, Ok(Heard::All));
        match heard {
            Ok(Heard::All | Heard::Some) => {}
            Ok(Heard::Overrun) => {
                self.stats.overran();
                self.machine.overrun(now);
            }
            Err(error) => self.lose(&error, now),
        }
    }

    /// Takes in what the core posted; whether there is to be another turn.
    fn take_in(&mut self, mut mail: Mail, now: Instant) -> bool {
        if let Some(config) = mail.config.take() {
            self.machine.reconfigure(config, now);
        }
        for (addr, ifindex) in std::mem::take(&mut mail.hints) {
            self.machine.hint(addr, ifindex);
        }
        for (addr, wanted) in std::mem::take(&mut mail.tracks) {
            if wanted { self.machine.track(addr) } else { self.machine.untrack(addr) }
        }
        for change in mail.take_changes() {
            self.machine.desire(change);
        }
        for version in std::mem::take(&mut mail.sweeps) {
            self.machine.sweep(version);
        }
        for (query, answer) in mail.queries {
            // Whoever asked may have gone.
            let _ = answer.send(self.answer(query));
        }
        let Some((leave, answer)) = mail.leave else { return true };
        self.leaving = Some((now + LEAVE_MAX, answer));
        match leave {
            Leave::Keep => false,
            Leave::Remove => {
                self.machine.leave();
                true
            }
        }
    }

    fn answer(&self, query: Query) -> FibReport {
        let routes = match query {
            Query::Prefix(prefix) => self.machine.report(&prefix).into_iter().collect(),
            Query::Page { after, max } => self.machine.report_page(after, max.min(PAGE_MAX)),
        };
        FibReport { routes, states: self.machine.states() }
    }

    fn walk(&mut self, now: Instant) {
        let Some(kernel) = &mut self.kernel else { return };
        if !self.machine.walk_due(now) {
            return;
        }
        self.stats.walked();
        match walk(&mut kernel.requests, &mut self.machine) {
            Ok(()) => self.machine.walk_ends(now),
            Err(error) => {
                tracing::debug!(%error, "walk through the kernel's routes broke off");
                self.machine.walk_failed(now);
            }
        }
    }

    /// One batch of operations.
    fn work(&mut self, now: Instant) {
        self.work_tunnels(now);
        let Some(kernel) = &mut self.kernel else { return };
        self.ops.clear();
        self.machine.next(now, BATCH, &mut self.ops);
        kernel.requests.apply(&self.ops, &mut self.outcomes);
        for (op, outcome) in self.ops.iter().zip(self.outcomes.drain(..)) {
            self.stats.outcome(op, &outcome);
            if let Outcome::Refused(refusal) = &outcome {
                tracing::debug!(%op, %refusal, "refused by the kernel");
            }
            self.machine.settle(op, outcome, now);
        }
    }

    /// One batch of operations on tunnel devices.
    fn work_tunnels(&mut self, now: Instant) {
        let Some(kernel) = &mut self.kernel else { return };
        let mut ops = Vec::new();
        self.machine.next_tunnel(now, BATCH, &mut ops);
        if ops.is_empty() {
            return;
        }
        kernel.requests.apply_tunnel(&ops, &mut self.outcomes);
        for (op, outcome) in ops.iter().zip(self.outcomes.drain(..)) {
            if let Outcome::Refused(refusal) = &outcome {
                tracing::debug!(?op, %refusal, "refused by the kernel");
            }
            self.machine.settle_tunnel(op, &outcome, now);
        }
        if ops.iter().all(TunnelOp::is_about_entries) {
            return;
        }
        // What these operations did to interfaces and addresses may not be heard, because it is ours. What is heard is older
        // than what is read now, so it is taken in first.
        self.listen(now);
        let Some(kernel) = &mut self.kernel else { return };
        match kernel.requests.links().and_then(|links| Ok((links, kernel.requests.addresses()?))) {
            Ok((links, addresses)) => self.machine.links_read(links, addresses, now),
            Err(error) => tracing::debug!(%error, "cannot read the interfaces"),
        }
    }

    /// Gives the core as many events as it has room for; whether the core is still there.
    fn tell<E: From<FibEvent>>(&mut self, events: &mpsc::Sender<E>) -> bool {
        loop {
            match events.try_reserve() {
                Ok(permit) => match self.unavailable.take().or_else(|| self.machine.poll_event()) {
                    Some(event) => permit.send(event.into()),
                    None => return true,
                },
                Err(TrySendError::Full(())) => return true,
                Err(TrySendError::Closed(())) => return false,
            }
        }
    }

    fn left(self) {
        if let Some((_, answer)) = self.leaving {
            let _ = answer.send(());
        }
    }
}

async fn heard(watch: Option<&mut Watch>) {
    match watch {
        Some(watch) => watch.wait().await,
        None => std::future::pending().await,
    }
}

/// Everything the kernel has, into the machine.
fn walk(requests: &mut Requests, machine: &mut Machine) -> io::Result<()> {
    let links = requests.links()?;
    let addresses = requests.addresses()?;
    machine.walk_begins(links, &addresses);
    for table in machine.tables() {
        for version in [Version::V4, Version::V6] {
            requests.routes(version, table, |route| machine.walk_route(route))?;
        }
    }
    let mut held = BTreeSet::new();
    for ifindex in machine.tunnels_to_read() {
        held.extend(requests.neighbours(ifindex)?);
    }
    machine.walk_neighbours(held);
    Ok(())
}
