//! Accepting connections: one listener an address, and whom to expect.
//!
//! A listener hands what it accepts to the peer with that address, or, from inside a listen range, to the core, which makes a
//! peer of it. Anything else is closed at once. A storm of connections fills the kernel's backlog, which is long, and
//! nothing else; running out of file descriptors pauses accepting for a moment and ends nothing.
//!
//! TCP-MD5 keys stand on the listening sockets: what is accepted inherits them, and a segment with a wrong or no signature never
//! gets this far. Where the kernel has no room for a key, nothing is accepted from those it was for.
//!
//! Listeners answer with the greatest TTL, for peers with TTL security, and keep the headers of SYNs, for peers of ours with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bgp_proto::Prefix;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use super::{Directory, Event, PeerHandle, range_scope, socket};
use crate::config::desired::{Listen, Secret};
use crate::sys::{self, KeyScope};

/// Connections that may wait to be accepted; the kernel caps it with net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// How long accepting pauses when there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(200);

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else does.
    #[error(
        "cannot listen on {0}: the port is taken. Another BGP speaker (BIRD, FRR, another bgpd) runs on this node; \
         stop it, or choose listen.port or listen.addresses"
    )]
    Taken(SocketAddr),
    /// The port is privileged.
    #[error(
        "cannot listen on {0}: not permitted. Ports below 1024 need CAP_NET_BIND_SERVICE, or choose listen.port"
    )]
    Forbidden(SocketAddr),
    /// The address is not this node's.
    #[error("cannot listen on {0}: this node has no such address; correct listen.addresses")]
    NotOurs(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {0}: {1}")]
    Os(SocketAddr, io::Error),
}

/// Whom to expect.
#[derive(Default)]
pub(super) struct Expected {
    peers: HashMap<IpAddr, PeerHandle>,
    ranges: Vec<Prefix>,
    /// Peers and ranges whose key the kernel did not take. What comes from them is not signed, so not accepted.
    unsigned: BTreeSet<KeyScope>,
}

/// The listening sockets and whom they expect.
#[derive(Default)]
pub(super) struct Listeners {
    /// Sockets that have their address and do not listen yet: nobody gets in before it is known whom to expect, and
    /// with which key.
    bound: BTreeMap<SocketAddr, Socket>,
    sockets: BTreeMap<SocketAddr, (Arc<TcpListener>, JoinHandle<()>)>,
    expected: Directory,
    keys: BTreeMap<KeyScope, Secret>,
}

impl Listeners {
    /// Takes these addresses, and gives up others. [`Listeners::open`] follows.
    pub(super) fn bind(&mut self, listen: &Listen) -> Result<(), ListenError> {
        let wanted: Vec<SocketAddr> =
            listen.addresses.iter().map(|a| SocketAddr::new(*a, listen.port)).collect();
        self.bound.retain(|addr, _| wanted.contains(addr));
        self.sockets.retain(|addr, (_, task)| {
            let stays = wanted.contains(addr);
            if !stays {
                task.abort();
            }
            stays
        });
        let mut failed = None;
        for addr in wanted {
            if self.sockets.contains_key(&addr) || self.bound.contains_key(&addr) {
                continue;
            }
            match bind(addr) {
                Ok(socket) => drop(self.bound.insert(addr, socket)),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Listens on the addresses taken.
    pub(super) fn open<I: From<Event> + Send + 'static>(
        &mut self,
        runtime: &runtime::Handle,
        inbox: &mpsc::Sender<I>,
    ) -> Result<(), ListenError> {
        // A socket belongs to the runtime on which it is opened.
        let _on = runtime.enter();
        let mut failed = None;
        for (addr, socket) in std::mem::take(&mut self.bound) {
            for (scope, secret) in self.keys.iter().filter(|(scope, _)| concerns(addr, **scope)) {
                set_key(&socket, &self.expected, *scope, secret);
            }
            let listening = socket.listen(BACKLOG).and_then(|()| TcpListener::from_std(socket.into()));
            match listening {
                Ok(listener) => {
                    let listener = Arc::new(listener);
                    let accepting = accept_all(listener.clone(), self.expected.clone(), inbox.clone());
                    self.sockets.insert(addr, (listener, runtime.spawn(accepting)));
                }
                Err(error) => failed = failed.or(Some(explained(addr, error))),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Expects a peer, with its key.
    pub(super) fn expect(&mut self, addr: IpAddr, handle: PeerHandle, secret: Option<&Secret>) {
        write(&self.expected).peers.insert(addr, handle);
        self.set_scope(KeyScope::Host(addr), secret);
    }

    /// Expects a peer no longer.
    pub(super) fn forget(&mut self, addr: IpAddr) {
        write(&self.expected).peers.remove(&addr);
        self.set_scope(KeyScope::Host(addr), None);
    }

    /// Expects peers from a range, with their key.
    pub(super) fn allow_range(&mut self, range: Prefix, secret: Option<&Secret>) {
        {
            let mut expected = write(&self.expected);
            if !expected.ranges.contains(&range) {
                expected.ranges.push(range);
            }
        }
        self.set_scope(range_scope(range), secret);
    }

    /// Expects nobody new from a range.
    pub(super) fn forbid_range(&mut self, range: Prefix) {
        write(&self.expected).ranges.retain(|r| *r != range);
        self.set_scope(range_scope(range), None);
    }

    fn set_scope(&mut self, scope: KeyScope, secret: Option<&Secret>) {
        if self.keys.get(&scope) == secret {
            return;
        }
        write(&self.expected).unsigned.remove(&scope);
        for (_, (listener, _)) in self.sockets.iter().filter(|(addr, _)| concerns(**addr, scope)) {
            if self.keys.contains_key(&scope) {
                clear_key(listener, scope);
            }
            if let Some(secret) = secret {
                set_key(&**listener, &self.expected, scope, secret);
            }
        }
        match secret {
            Some(secret) => drop(self.keys.insert(scope, secret.clone())),
            None => drop(self.keys.remove(&scope)),
        }
    }
}

fn scope_addr(scope: KeyScope) -> IpAddr {
    match scope {
        KeyScope::Host(addr) | KeyScope::Prefix(addr, _) => addr,
    }
}

/// Whether a listener can hear peers of the key's family at all.
fn concerns(listener: SocketAddr, scope: KeyScope) -> bool {
    listener.is_ipv4() == scope_addr(scope).is_ipv4()
}

fn set_key(socket: &impl AsFd, expected: &Directory, scope: KeyScope, secret: &Secret) {
    if let Err(error) = sys::set_md5_key(socket, scope, secret.expose()) {
        warn!(from = %scope, %error, "no connection is accepted from there");
        write(expected).unsigned.insert(scope);
    }
}

fn clear_key(listener: &TcpListener, scope: KeyScope) {
    if let Err(error) = sys::clear_md5_key(listener, scope) {
        warn!(from = %scope, %error, "cannot take back a TCP-MD5 key");
    }
}

fn write(expected: &Directory) -> std::sync::RwLockWriteGuard<'_, Expected> {
    expected.write().unwrap_or_else(PoisonError::into_inner)
}

/// A socket with an address, to listen on.
fn bind(addr: SocketAddr) -> Result<Socket, ListenError> {
    let open = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket::send_far(&socket, addr.ip())?;
        sys::save_syn(&socket)?;
        socket.bind(&addr.into())?;
        Ok(socket)
    };
    open().map_err(|error| explained(addr, error))
}

fn explained(addr: SocketAddr, error: io::Error) -> ListenError {
    match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::Taken(addr),
        io::ErrorKind::PermissionDenied => ListenError::Forbidden(addr),
        io::ErrorKind::AddrNotAvailable => ListenError::NotOurs(addr),
        _ => ListenError::Os(addr, error),
    }
}

async fn accept_all<I: From<Event>>(listener: Arc<TcpListener>, expected: Directory, inbox: mpsc::Sender<I>) {
    let mut is_stuck = false;
    loop {
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_of_connection(&error) => continue,
            Err(error) => {
                // Said once, not five times a second.
                if !std::mem::replace(&mut is_stuck, true) {
                    warn!(%error, "cannot accept connections; trying again until it works");
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if std::mem::take(&mut is_stuck) {
            info!("accepting connections again");
        }
        if let Some(event) = dispatch(stream, remote, &expected)
            && inbox.send(I::from(event)).await.is_err()
        {
            return;
        }
    }
}

/// The connection was gone before it was accepted: nobody's error.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// Hands a connection to its peer; one from inside a range is for the core.
fn dispatch(stream: TcpStream, remote: SocketAddr, expected: &RwLock<Expected>) -> Option<Event> {
    let expected = expected.read().unwrap_or_else(PoisonError::into_inner);
    let addr = remote.ip().to_canonical();
    if expected.is_unsigned(addr) {
        debug!(%remote, "connection without the TCP-MD5 signature it should have: closed");
        return None;
    }
    if let Some(peer) = expected.peers.get(&addr) {
        peer.accept(stream, remote);
        return None;
    }
    // A range may hold our own address; nobody peers with itself.
    let is_own = stream.local_addr().is_ok_and(|local| local.ip().to_canonical() == addr);
    if !is_own && expected.ranges.iter().any(|range| range.contains_addr(addr)) {
        return Some(Event::Incoming { remote, stream });
    }
    debug!(%remote, "connection from an address without a peer: closed");
    None
}

impl Expected {
    /// Whether the kernel lacks the key that this address should sign with.
    fn is_unsigned(&self, addr: IpAddr) -> bool {
        self.unsigned.iter().any(|scope| match scope {
            KeyScope::Host(host) => *host == addr,
            KeyScope::Prefix(prefix, len) => {
                Prefix::new(*prefix, *len).is_ok_and(|range| range.contains_addr(addr))
            }
        })
    }
}
