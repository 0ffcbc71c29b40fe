//! What the core has asked for and the FIB has not yet taken in.
//!
//! The core must never wait for the kernel, and nothing may grow without bound, so this is not a queue: it keeps only
//! what still matters. Of several desires for one prefix the newest stays; of "track" and "untrack" the later; a
//! configuration replaces the one before it. It is bounded by the table and by the number of next hops, and posting costs
//! a short lock. Order across these does not matter to the result (a sweep after a desire and the other way round end the
//! same), except that nothing posted is taken in before what was posted earlier of the same kind.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bgp_proto::{Prefix, Version};
use reflector::events::FibChange;
use tokio::sync::{Notify, oneshot};

use super::machine::FibConfig;
use super::{FibReport, Leave, Query};

/// Questions waiting for an answer; more are not taken.
const QUERIES_MAX: usize = 64;

/// One batch of wishes.
#[derive(Default)]
pub(super) struct Mail {
    changes: Vec<FibChange>,
    /// Where in `changes` a prefix stands.
    places: HashMap<Prefix, usize>,
    pub(super) tracks: BTreeMap<IpAddr, bool>,
    pub(super) hints: BTreeMap<Ipv6Addr, Option<u32>>,
    pub(super) sweeps: BTreeSet<Version>,
    pub(super) config: Option<FibConfig>,
    pub(super) queries: Vec<(Query, oneshot::Sender<FibReport>)>,
    pub(super) leave: Option<(Leave, oneshot::Sender<()>)>,
}

impl Mail {
    /// Adds a desire, in the place of an older one for the same prefix.
    pub(super) fn change(&mut self, change: FibChange) {
        match self.places.get(&change.prefix).and_then(|place| self.changes.get_mut(*place)) {
            Some(older) => *older = change,
            None => {
                self.places.insert(change.prefix, self.changes.len());
                self.changes.push(change);
            }
        }
    }

    /// The desires, in the order in which their prefixes were first named.
    pub(super) fn take_changes(&mut self) -> Vec<FibChange> {
        self.places.clear();
        std::mem::take(&mut self.changes)
    }

    /// Adds a question, if there is room; else whoever asks finds the answer's channel closed.
    pub(super) fn query(&mut self, query: Query, answer: oneshot::Sender<FibReport>) {
        if self.queries.len() < QUERIES_MAX {
            self.queries.push((query, answer));
        }
    }
}

/// The box between core and FIB.
#[derive(Default)]
pub(super) struct Mailbox {
    /// `None` once the FIB has ended: nothing is kept any more.
    mail: Mutex<Option<Mail>>,
    posted: Notify,
}

impl Mailbox {
    pub(super) fn open() -> Mailbox {
        Mailbox { mail: Mutex::new(Some(Mail::default())), posted: Notify::new() }
    }

    /// Posts something and wakes the FIB.
    pub(super) fn post(&self, write: impl FnOnce(&mut Mail)) {
        if let Some(mail) = self.lock().as_mut() {
            write(mail);
        }
        self.posted.notify_one();
    }

    /// Everything posted since the last call.
    pub(super) fn take(&self) -> Mail {
        self.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Waits for a post.
    pub(super) async fn posted(&self) {
        self.posted.notified().await;
    }

    /// Nothing is taken any more; answers still owed are never given.
    pub(super) fn close(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Mail>> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reflector::events::{FibRoute, Naming};

    fn change(prefix: &str, route: Option<FibRoute>) -> FibChange {
        FibChange { prefix: prefix.parse().unwrap(), route, metric: None, naming: Naming::Blanket }
    }

    #[test]
    fn only_the_newest_desire_for_a_prefix_is_kept() {
        let mailbox = Mailbox::open();
        mailbox.post(|mail| mail.change(change("10.0.0.0/8", Some(FibRoute::Blackhole))));
        mailbox.post(|mail| mail.change(change("10.1.0.0/16", Some(FibRoute::Blackhole))));
        mailbox.post(|mail| mail.change(change("10.0.0.0/8", None)));
        let changes = mailbox.take().take_changes();
        assert_eq!(changes, [change("10.0.0.0/8", None), change("10.1.0.0/16", Some(FibRoute::Blackhole))]);
        assert!(mailbox.take().take_changes().is_empty());
    }

    #[test]
    fn a_closed_box_keeps_nothing_and_owes_no_answer() {
        let mailbox = Mailbox::open();
        let (answer, mut asked) = oneshot::channel();
        mailbox.post(|mail| mail.query(Query::Page { after: None, max: 1 }, answer));
        mailbox.close();
        assert!(asked.try_recv().is_err());
        mailbox.post(|mail| mail.change(change("10.0.0.0/8", None)));
        assert!(mailbox.take().take_changes().is_empty());
    }
}
