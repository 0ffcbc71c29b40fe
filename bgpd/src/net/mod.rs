//! Connections: one task a peer, a listener an address, and the seam to the core.
//!
//! ```text
//! core -PeerHandle-> Mailbox -> peer task (Session, up to two sockets) -Event-> core's inbox
//!                                   ^ views: one watch channel a group
//! listener -accepted stream-> Mailbox of the peer with that address, or Event::Incoming for a listen range
//! ```
//!
//! **Who waits for whom.** The core never waits: what it tells a peer is merged in the peer's mailbox. A peer's task waits for
//! room in the core's inbox before it reads more from its socket, and goes on writing and keeping its timers meanwhile.

mod dial;
mod handle;
mod listen;
mod peer;
mod socket;
#[cfg(test)]
mod tests;

pub use handle::{Attached, Mail, Mailbox, PeerHandle, Snapshot};
pub use listen::ListenError;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bgp_proto::Prefix;
use reflector::events::Negotiated;
use reflector::ids::PeerId;
use reflector::session::{self, Epoch, Stop};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use crate::clock::Clock;
use crate::config::desired::{Listen, Secret};
use crate::sys::{self, KeyScope};
use listen::Listeners;
use peer::PeerTask;

/// What a peer's task needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSpec {
    /// Its name in the core.
    pub id: PeerId,
    /// What operators call it.
    pub name: String,
    /// Its address.
    pub addr: IpAddr,
    /// TCP port to connect to.
    pub port: u16,
    /// Address of ours that the session uses, if it matters.
    pub local_addr: Option<IpAddr>,
    /// The session machine's part.
    pub session: session::Config,
    /// TCP MD5 key.
    pub secret: Option<Secret>,
    /// TTL security (RFC 5082): how many hops away the peer may be.
    pub ttl_security: Option<u8>,
}

impl PeerSpec {
    /// Whether connections of both are opened the same way.
    fn opens_alike(&self, other: &PeerSpec) -> bool {
        let PeerSpec { addr, port, local_addr, secret, ttl_security, id: _, name: _, session: _ } = self;
        (addr, port, local_addr) == (&other.addr, &other.port, &other.local_addr)
            && (secret, ttl_security) == (&other.secret, &other.ttl_security)
    }
}

/// What connections tell the core.
#[derive(Debug)]
pub enum Event {
    /// A session is established.
    Up {
        /// The peer.
        peer: PeerId,
        /// Names the session: feeds for another one are dropped.
        epoch: Epoch,
        /// What was agreed.
        negotiated: Box<Negotiated>,
        /// Our end of the connection.
        local: SocketAddr,
        /// The peer's end.
        remote: SocketAddr,
    },
    /// Anything else that a session says; never [`session::Event::Up`].
    Session {
        /// The peer.
        peer: PeerId,
        /// What it says.
        event: session::Event,
        /// Given back to the peer's task when the core has dealt with it: routes that were read and not dealt with are
        /// bounded for each peer.
        credit: Option<Credit>,
    },
    /// A peer's task has ended, having had no connection when it was told to [`PeerHandle::retire`]. [`Net::retired`]
    /// follows.
    Retired {
        /// The peer.
        peer: PeerId,
    },
    /// A connection from an address without a peer, inside a listen range.
    Incoming {
        /// Where it comes from.
        remote: SocketAddr,
        /// The connection.
        stream: TcpStream,
    },
}

/// A peer's claim on the core's attention.
pub type Credit = OwnedSemaphorePermit;

/// How long sessions have to say goodbye when the daemon stops.
const GOODBYE_TIME: Duration = Duration::from_secs(2);

/// All connections. Its owner is the core; tasks run on the runtime that it was started on.
pub struct Net<I> {
    runtime: runtime::Handle,
    clock: Clock,
    inbox: mpsc::Sender<I>,
    listeners: Listeners,
    peers: BTreeMap<IpAddr, (PeerHandle, JoinHandle<()>)>,
    seed: u64,
}

impl<I: From<Event> + Send + 'static> Net<I> {
    /// Takes the addresses to listen on; nobody is let in before [`Net::open`]. Tasks run on the runtime of the caller.
    /// `seed` sets this speaker's timers apart from those of others.
    pub fn start(
        listen: &Listen,
        inbox: mpsc::Sender<I>,
        clock: Clock,
        seed: u64,
    ) -> Result<Net<I>, ListenError> {
        match sys::raise_file_limit() {
            Ok(files) => debug!(files, "open files, at most"),
            Err(error) => warn!(%error, "cannot raise the limit of open files"),
        }
        let runtime = runtime::Handle::current();
        let mut listeners = Listeners::default();
        listeners.bind(listen)?;
        Ok(Net { runtime, clock, inbox, listeners, peers: BTreeMap::new(), seed })
    }

    /// Accepts connections elsewhere; those that exist stay. On an error, some addresses may not be listened on.
    pub fn listen(&mut self, listen: &Listen) -> Result<(), ListenError> {
        let bound = self.listeners.bind(listen);
        bound.and(self.open())
    }

    /// Lets peers in, now that it is known whom to expect.
    pub fn open(&mut self) -> Result<(), ListenError> {
        self.listeners.open(&self.runtime, &self.inbox)
    }

    /// Starts a peer's task.
    pub fn spawn(&mut self, spec: PeerSpec) -> PeerHandle {
        let handle = PeerHandle::default();
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.listeners.expect(spec.addr, handle.clone(), spec.secret.as_ref());
        let addr = spec.addr;
        let task = PeerTask::new(spec, handle.mailbox(), self.inbox.clone(), self.clock, self.seed);
        let task = self.runtime.spawn(task.run());
        self.peers.insert(addr, (handle.clone(), task));
        handle
    }

    /// Hands a changed configuration to a peer's task.
    pub fn configure(&mut self, spec: PeerSpec) {
        if let Some((handle, _)) = self.peers.get(&spec.addr) {
            self.listeners.expect(spec.addr, handle.clone(), spec.secret.as_ref());
            handle.configure(spec);
        }
    }

    /// Ends a peer's session and its task, and accepts nothing from it any more.
    pub fn remove(&mut self, addr: IpAddr, stop: Stop) {
        self.listeners.forget(addr);
        if let Some((handle, _)) = self.peers.remove(&addr) {
            handle.finish(stop);
        }
    }

    /// Forgets a peer whose task has ended by itself. Returns the connection that came in the meantime.
    pub fn retired(&mut self, addr: IpAddr) -> Option<(TcpStream, SocketAddr)> {
        // From here on listeners hand over nothing more.
        self.listeners.forget(addr);
        let (handle, _) = self.peers.remove(&addr)?;
        handle.mailbox().take().accepted
    }

    /// Accepts connections from a range, signed with `secret` if there is one.
    pub fn allow_range(&mut self, range: Prefix, secret: Option<&Secret>) {
        self.listeners.allow_range(range, secret);
    }

    /// Accepts no new connections from a range.
    pub fn forbid_range(&mut self, range: Prefix) {
        self.listeners.forbid_range(range);
    }

    /// Ends every session, each in its way, and waits a moment for the goodbyes.
    pub async fn close(self, stop: impl Fn(IpAddr) -> Stop) {
        let mut tasks = Vec::new();
        for (addr, (handle, task)) in self.peers {
            handle.finish(stop(addr));
            tasks.push(task);
        }
        let all = async {
            for task in tasks {
                // A task that panicked has no goodbye to say.
                drop(task.await);
            }
        };
        // Whoever takes longer is cut off by the end of the process.
        drop(tokio::time::timeout(GOODBYE_TIME, all).await);
    }
}

/// Whose segments a key for a range signs.
fn range_scope(range: Prefix) -> KeyScope {
    KeyScope::Prefix(range.addr(), range.len())
}

/// Which peer an address belongs to, shared with the listeners.
type Directory = Arc<std::sync::RwLock<listen::Expected>>;
