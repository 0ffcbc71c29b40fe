//! Bidirectional Forwarding Detection (RFC 5880, and RFC 5881 for one hop): whether the path to a peer forwards.
//!
//! ```text
//! core -watch-> session task -UDP, TTL 255-> peer:3784
//!        port 3784 -> receiver -Packet-> session task -Event-> core's inbox
//! ```
//!
//! [`session`] is the machine and knows no socket; a task drives each. What a failure means is for the core: it ends the
//! BGP session (RFC 9384), and a path that failed ends the wait for a peer that restarts if the peer's forwarding does
//! not share the fate of its control plane (RFC 5882 section 4.3). A packet counts only if it crossed no router: its TTL
//! is 255 (RFC 5881 section 5).

mod driver;
pub mod packet;
pub mod session;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::warn;

use self::packet::Packet;
pub use self::session::{Change, Pace};
use crate::clock::Clock;

/// The port of control packets over one hop (RFC 5881 section 4).
pub const PORT: u16 = 3784;
/// Packets that wait for a session; more are as good as lost.
const PACKETS_MAX: usize = 16;

/// News of the path to a peer.
#[derive(Debug)]
pub struct Event {
    /// The peer.
    pub addr: IpAddr,
    /// What changed.
    pub change: Change,
}

/// How packets find their session: by the peer's address, which has one session at most.
type Directory = Arc<Mutex<BTreeMap<IpAddr, mpsc::Sender<Packet>>>>;

fn lock<T>(directory: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned map is whole after every statement.
    directory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All sessions. Tasks run on the runtime that it was made on.
pub struct Bfd<I> {
    runtime: runtime::Handle,
    clock: Clock,
    inbox: mpsc::Sender<I>,
    directory: Directory,
    /// By the address that they are bound to: any of either version of IP.
    receivers: BTreeMap<IpAddr, JoinHandle<()>>,
    sessions: BTreeMap<IpAddr, Watched>,
    next_name: u32,
}

/// A session that runs until `stop` is dropped.
struct Watched {
    pace: Pace,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl<I: From<Event> + Send + 'static> Bfd<I> {
    /// Nothing is watched, and no port taken. `seed` sets names and jitter apart from those of other starts.
    pub fn new(inbox: mpsc::Sender<I>, clock: Clock, seed: u64) -> Bfd<I> {
        Bfd {
            runtime: runtime::Handle::current(),
            clock,
            inbox,
            directory: Directory::default(),
            receivers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            next_name: seed as u32,
        }
    }

    /// Watches the path from `local`, or whichever address the kernel takes, to `addr`; `None`: no more.
    pub fn watch(&mut self, addr: IpAddr, local: Option<IpAddr>, pace: Option<Pace>) {
        if self.sessions.get(&addr).map(|watched| watched.pace) == pace {
            return;
        }
        self.sessions.remove(&addr);
        lock(&self.directory).remove(&addr);
        let Some(pace) = pace else { return };
        if let Err(error) = self.begin(addr, local, pace) {
            warn!(%addr, %error, "no BFD with this peer: a path that fails is noticed by the hold timer only");
        }
    }

    fn begin(&mut self, addr: IpAddr, local: Option<IpAddr>, pace: Pace) -> io::Result<()> {
        let _on = self.runtime.enter();
        let any: IpAddr =
            if addr.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        if self.receivers.get(&any).is_none_or(JoinHandle::is_finished) {
            let socket = driver::receiving(any, PORT)?;
            let task = self.runtime.spawn(driver::receive(socket, self.directory.clone()));
            self.receivers.insert(any, task);
        }
        let socket = driver::sending(local.unwrap_or(any), addr)?;
        self.next_name = self.next_name.wrapping_add(1).max(1);
        let (sender, packets) = mpsc::channel(PACKETS_MAX);
        lock(&self.directory).insert(addr, sender);
        let (stop, stopped) = oneshot::channel();
        let session = session::Session::new(pace, self.next_name, self.clock.now());
        let driver =
            driver::Driver { addr, socket, session, packets, clock: self.clock, inbox: self.inbox.clone() };
        let task = self.runtime.spawn(driver.run(stopped));
        self.sessions.insert(addr, Watched { pace, stop, task });
        Ok(())
    }

    /// Tells all peers that BFD ends here, which says nothing of the path.
    pub async fn close(self) {
        for Watched { stop, task, .. } in self.sessions.into_values() {
            drop(stop);
            // A task that panicked has nothing more to say.
            let _ = task.await;
        }
        for receiver in self.receivers.into_values() {
            receiver.abort();
        }
    }
}
