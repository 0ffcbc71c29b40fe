//! How the core speaks to a peer's task without ever waiting for it.
//!
//! What is told is merged, newest last, so a mailbox holds at most one of each kind and needs no limit.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bgp_proto::{Family, FamilySet, Notification};
use reflector::feed::{Feed, LogView};
use reflector::session::{Counters, Epoch, State, Stop};
use reflector::time::Instant;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};

use super::PeerSpec;

/// A feed and where newer views of its group appear.
#[derive(Debug)]
pub struct Attached {
    /// The feed.
    pub feed: Feed,
    /// The group's newest view.
    pub views: watch::Receiver<Arc<LogView>>,
}

/// What waits for a peer's task.
#[derive(Debug, Default)]
pub struct Mail {
    /// Feeds, by family, and the session they are for.
    pub feeds: Option<(Epoch, BTreeMap<Family, Attached>)>,
    /// Its configuration changed.
    pub spec: Option<Box<PeerSpec>>,
    /// Families to ask the peer for again.
    pub refresh: FamilySet,
    /// An accepted connection. A later one replaces it.
    pub accepted: Option<(TcpStream, SocketAddr)>,
    /// The session is to end. With [`Mail::is_last`] the task ends with it.
    pub stop: Option<Stop>,
    /// The session is to start, after [`Mail::stop`].
    pub start: bool,
    /// Nothing will follow: say goodbye and end.
    pub is_last: bool,
    /// Nobody waits for the peer any more: unless there is a connection, end.
    pub retire: bool,
}

/// A peer's mailbox: filled by the core and by listeners, emptied by the peer's task.
#[derive(Debug, Default)]
pub struct Mailbox {
    mail: Mutex<Mail>,
    arrived: Notify,
    snapshot: Mutex<Snapshot>,
}

/// What there is to say of a session, for status.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Its state, and since when.
    pub state: Option<(State, Instant)>,
    /// Whether it stays down until it is started.
    pub is_kept_down: bool,
    /// The established connection: our end and the peer's.
    pub ends: Option<(SocketAddr, SocketAddr)>,
    /// Counters.
    pub counters: Counters,
    /// Why the last session, or the last attempt at one, ended, and when.
    pub trouble: Option<(String, Instant)>,
    /// The last NOTIFICATION sent.
    pub sent: Option<(Notification, Instant)>,
    /// The last NOTIFICATION received.
    pub received: Option<(Notification, Instant)>,
}

impl Mailbox {
    /// Waits until something has arrived.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Takes what has arrived.
    pub fn take(&self) -> Mail {
        std::mem::take(&mut *lock(&self.mail))
    }

    /// Changes the snapshot.
    pub fn tell(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut lock(&self.snapshot));
    }

    fn post(&self, put: impl FnOnce(&mut Mail)) {
        put(&mut lock(&self.mail));
        self.arrived.notify_one();
    }
}

/// A peer's task, as the core and the listeners know it. Nothing here waits.
#[derive(Debug, Clone, Default)]
pub struct PeerHandle {
    mailbox: Arc<Mailbox>,
}

impl PeerHandle {
    /// The task's end of it.
    pub fn mailbox(&self) -> Arc<Mailbox> {
        self.mailbox.clone()
    }

    /// Gives the session its places in groups.
    pub fn attach(&self, epoch: Epoch, attached: impl IntoIterator<Item = Attached>) {
        self.mailbox.post(|mail| {
            if mail.feeds.as_ref().is_none_or(|(e, _)| *e != epoch) {
                mail.feeds = Some((epoch, BTreeMap::new()));
            }
            if let Some((_, feeds)) = &mut mail.feeds {
                feeds.extend(attached.into_iter().map(|a| (a.feed.family, a)));
            }
        });
    }

    /// Its configuration changed.
    pub fn configure(&self, spec: PeerSpec) {
        self.mailbox.post(|mail| mail.spec = Some(Box::new(spec)));
    }

    /// Asks the peer for its routes again (RFC 2918).
    pub fn refresh(&self, family: Family) {
        self.mailbox.post(|mail| {
            mail.refresh.insert(family);
        });
    }

    /// Hands over a connection that the peer opened.
    pub fn accept(&self, stream: TcpStream, remote: SocketAddr) {
        self.mailbox.post(|mail| mail.accepted = Some((stream, remote)));
    }

    /// Ends the session.
    pub fn stop(&self, stop: Stop) {
        self.mailbox.post(|mail| (mail.stop, mail.start) = (Some(stop), false));
    }

    /// Starts the session, whatever kept it down.
    pub fn start(&self) {
        self.mailbox.post(|mail| mail.start = true);
    }

    /// Ends the session and the task.
    pub fn finish(&self, stop: Stop) {
        self.mailbox.post(|mail| (mail.stop, mail.is_last) = (Some(stop), true));
    }

    /// Lets the task end, with [`Event::Retired`](super::Event::Retired), unless it has a connection.
    pub fn retire(&self) {
        self.mailbox.post(|mail| mail.retire = true);
    }

    /// What there is to say of the session.
    pub fn snapshot(&self) -> Snapshot {
        lock(&self.mailbox.snapshot).clone()
    }
}

/// A poisoned lock guards plain values that are whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
