//! A connection's octets: what is queued for it, how it is written, read and closed.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, pending};
use std::io::{self, IoSlice, Read as _};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use reflector::session::{Backlog, ConnId, Manner};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::sys;

/// Slices written at a time; more gain nothing.
const SLICES_MAX: usize = 64;
/// A queue that has room for more is given back once it is empty: an idle session keeps none.
const SLICES_KEPT: usize = 8;
/// Octets read at a time.
const READ_OCTETS: usize = 64 * 1024;
/// Class of service of routing protocols: CS6 (RFC 4594 section 3.1).
const NETWORK_CONTROL: u32 = 0xC0;
/// How long a peer has to take a farewell.
const FAREWELL_TIME: Duration = Duration::from_secs(2);

thread_local! {
    /// One buffer a worker thread: what is read is decoded at once, so none is kept for a connection.
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_OCTETS]);
}

/// A connection and what waits to be written.
pub(super) struct Sock {
    pub(super) id: ConnId,
    /// Our end and the peer's, known from the start: a socket that was reset knows them no more.
    ends: (SocketAddr, SocketAddr),
    stream: TcpStream,
    queue: VecDeque<Bytes>,
    queued: usize,
    /// Octets of the first slice that were written, to find where its next message begins.
    written: usize,
}

impl Sock {
    pub(super) fn new(id: ConnId, stream: TcpStream, ends: (SocketAddr, SocketAddr)) -> Sock {
        Sock { id, ends, stream, queue: VecDeque::new(), queued: 0, written: 0 }
    }

    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Queues whole messages.
    pub(super) fn push(&mut self, octets: Bytes) {
        self.queued += octets.len();
        self.queue.push_back(octets);
    }

    /// Writes what the socket takes; nothing if it is known to be full.
    pub(super) fn write(&mut self) -> io::Result<usize> {
        let mut total = 0;
        while self.queued > 0 {
            let first = self.queue.iter().next().map_or(&[][..], |b| &b[self.written..]);
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            slices[0] = IoSlice::new(first);
            let mut used = 1;
            for (slice, octets) in slices[1..].iter_mut().zip(self.queue.iter().skip(1)) {
                *slice = IoSlice::new(octets);
                used += 1;
            }
            match self.stream.try_write_vectored(&slices[..used]) {
                Ok(octets) => {
                    total += octets;
                    self.consume(octets);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }

    fn consume(&mut self, mut octets: usize) {
        self.queued -= octets;
        while let Some(first) = self.queue.front() {
            let left = first.len() - self.written;
            if octets < left {
                self.written += octets;
                return;
            }
            octets -= left;
            self.written = 0;
            self.queue.pop_front();
        }
        if self.queue.capacity() > SLICES_KEPT {
            self.queue = VecDeque::new();
        }
    }

    /// What is left of the message that is partly written: a farewell in its middle would be garbage.
    fn unfinished(&self) -> Bytes {
        let Some(first) = self.queue.front().filter(|_| self.written > 0) else { return Bytes::new() };
        let mut end = 0;
        while end < self.written {
            let Some(length) = first.get(end + 16..end + 18) else { return Bytes::new() };
            end += usize::from(u16::from_be_bytes([length[0], length[1]])).max(1);
        }
        first.slice(self.written..end.min(first.len()))
    }
}

/// The connections of one session.
#[derive(Default)]
pub(super) struct Socks(Vec<Sock>);

/// A socket that can be read or written.
pub(super) struct Readiness {
    pub(super) conn: ConnId,
    /// Whether it is worth reading; that it can be written is noticed by who writes.
    pub(super) is_readable: bool,
}

/// What a read gave.
pub(super) enum Read {
    /// Octets, handed over.
    Some,
    /// Nothing yet.
    Nothing,
    /// The end.
    End,
}

impl Socks {
    pub(super) fn push(&mut self, sock: Sock) {
        self.0.push(sock);
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<Sock> {
        let at = self.0.iter().position(|s| s.id == id)?;
        Some(self.0.remove(at))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Sock> {
        self.0.iter_mut()
    }

    fn find(&self, id: ConnId) -> Option<&Sock> {
        self.0.iter().find(|s| s.id == id)
    }

    /// Both ends of the connection that is left.
    pub(super) fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.0.first().map(|sock| sock.ends)
    }

    /// Waits until one of the sockets can be read, if that `may_read`, or written, if something is queued for it.
    pub(super) async fn ready(&self, may_read: bool) -> Readiness {
        match &self.0[..] {
            [] => pending().await,
            [one] => one.ready(may_read).await,
            [one, other, ..] => tokio::select! {
                ready = one.ready(may_read) => ready,
                ready = other.ready(may_read) => ready,
            },
        }
    }

    /// Connections that the peer has closed, as the kernel knows; octets may wait in them.
    pub(super) fn ended(&self) -> Vec<ConnId> {
        let has_ended = |sock: &&Sock| sys::has_ended(&sock.stream).unwrap_or(true);
        self.0.iter().filter(has_ended).map(|sock| sock.id).collect()
    }

    /// As [`Socks::read`], of a connection that has ended, whether or not the runtime has noticed.
    pub(super) fn read_left(&self, id: ConnId, take: impl FnOnce(&[u8])) -> io::Result<Read> {
        let Some(sock) = self.find(id) else { return Ok(Read::End) };
        READ.with_borrow_mut(|buffer| match (&*SockRef::from(&sock.stream)).read(buffer)? {
            0 => Ok(Read::End),
            octets => {
                take(&buffer[..octets]);
                Ok(Read::Some)
            }
        })
    }

    /// Reads once and hands over what came.
    pub(super) fn read(&self, id: ConnId, take: impl FnOnce(&[u8])) -> io::Result<Read> {
        let Some(sock) = self.find(id) else { return Ok(Read::Nothing) };
        READ.with_borrow_mut(|buffer| match sock.stream.try_read(buffer) {
            Ok(0) => Ok(Read::End),
            Ok(octets) => {
                take(&buffer[..octets]);
                Ok(Read::Some)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::Nothing),
            Err(error) => Err(error),
        })
    }
}

impl Sock {
    async fn ready(&self, may_read: bool) -> Readiness {
        let interest = match (may_read, self.queued > 0) {
            (true, true) => Interest::READABLE | Interest::WRITABLE,
            (true, false) => Interest::READABLE,
            (false, true) => Interest::WRITABLE,
            (false, false) => return pending().await,
        };
        let is_readable = match self.stream.ready(interest).await {
            Ok(ready) => ready.is_readable() || ready.is_read_closed(),
            // The next read says what is wrong.
            Err(_) => true,
        };
        Readiness { conn: self.id, is_readable: is_readable && may_read }
    }
}

impl Backlog for Socks {
    fn has_unread(&self, conn: ConnId) -> bool {
        self.find(conn).is_some_and(|s| sys::unread(&s.stream).is_ok_and(|octets| octets > 0))
    }

    fn unsent(&self, conn: ConnId) -> usize {
        self.find(conn).and_then(|s| sys::unsent(&s.stream).ok()).unwrap_or(0)
    }
}

/// Our end of a connection and the peer's.
pub(super) fn ends(stream: &TcpStream) -> io::Result<(SocketAddr, SocketAddr)> {
    Ok((canonical(stream.local_addr()?), canonical(stream.peer_addr()?)))
}

fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Options that every socket has, set before its first segment where that is ours to send.
pub(super) fn prepare(socket: &impl AsFd, addr: IpAddr, ttl_security: Option<u8>) -> io::Result<()> {
    let options = SockRef::from(socket);
    options.set_tcp_nodelay(true)?;
    match addr {
        IpAddr::V4(_) => options.set_tos_v4(NETWORK_CONTROL)?,
        IpAddr::V6(_) => options.set_tclass_v6(NETWORK_CONTROL)?,
    }
    if let Some(hops) = ttl_security {
        send_far(socket, addr)?;
        sys::require_ttl(socket, addr, ttl_min(hops))?;
    }
    Ok(())
}

/// Sends with the greatest TTL, for a receiver with TTL security.
pub(super) fn send_far(socket: &impl AsFd, addr: IpAddr) -> io::Result<()> {
    let options = SockRef::from(socket);
    match addr {
        IpAddr::V4(_) => options.set_ttl_v4(u32::from(u8::MAX)),
        IpAddr::V6(_) => options.set_unicast_hops_v6(u32::from(u8::MAX)),
    }
}

/// Whether an accepted connection was opened from near enough. What it sent before its socket had TTL security is no
/// older than its SYN, so from as near.
pub(super) fn is_near(stream: &TcpStream, ttl_security: Option<u8>) -> io::Result<bool> {
    match ttl_security {
        None => Ok(true),
        Some(hops) => Ok(sys::syn_ttl(stream)?.is_some_and(|ttl| ttl >= ttl_min(hops))),
    }
}

/// RFC 5082 section 3: from a peer so many hops away, segments arrive with this at least.
fn ttl_min(hops: u8) -> u8 {
    u8::MAX - hops.saturating_sub(1)
}

/// Closes a connection. What is returned stays until the peer has taken the farewell, or has had its time for it.
pub(super) fn close(sock: Sock, farewell: Option<Bytes>, manner: Manner) -> Option<Goodbye> {
    let last = [sock.unfinished(), farewell.unwrap_or_default()];
    if manner == Manner::Abort {
        // Tried, then a reset: the peer reads nothing more (RFC 9687 section 3).
        drop(write_now(&sock.stream, &last));
        drop(SockRef::from(&sock.stream).set_linger(Some(Duration::ZERO)));
        return None;
    }
    goodbye(sock.stream, last)
}

/// Answers a connection that is not wanted, and closes it.
pub(super) fn refuse(stream: TcpStream, farewell: Bytes) -> Option<Goodbye> {
    goodbye(stream, [Bytes::new(), farewell])
}

/// A connection on its way out.
pub(super) type Goodbye = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The farewell is written at once if there is room, which there nearly always is, so that it is said even if the process
/// ends now. `None` if the connection is gone already.
fn goodbye(mut stream: TcpStream, last: [Bytes; 2]) -> Option<Goodbye> {
    let written = write_now(&stream, &last).ok()?;
    let [unfinished, farewell] = last;
    let mut rest = unfinished.chain(farewell);
    rest.advance(written);
    if !rest.has_remaining() {
        SockRef::from(&stream).shutdown(Shutdown::Write).ok()?;
    }
    let linger = async move {
        if rest.has_remaining() {
            // Whether the peer takes it is its own affair.
            drop(stream.write_all_buf(&mut rest).await);
            drop(stream.shutdown().await);
        }
        // Unread octets would turn the close into a reset, which may overtake the farewell.
        let mut sink = [0; 4096];
        while stream.read(&mut sink).await.is_ok_and(|octets| octets > 0) {}
    };
    Some(Box::pin(async move { drop(timeout(FAREWELL_TIME, linger).await) }))
}

fn write_now(stream: &TcpStream, last: &[Bytes; 2]) -> io::Result<usize> {
    let slices = last.each_ref().map(|octets| IoSlice::new(octets));
    match stream.try_write_vectored(&slices) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}
