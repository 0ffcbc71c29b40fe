//! Thousands of scripted sessions in one thread: epoll, one read buffer for all, messages made beforehand.
//!
//! What must be shown of a receiver is its final table, so each keeps one bit a prefix and a count, and every next hop
//! is checked as it comes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use super::wire::{self, Kind, Shape, Told};

/// Octets read at a time.
const READ_OCTETS: usize = 256 * 1024;

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    OpenSent,
    OpenConfirm,
    Established,
}

/// Whether a client reads what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attention {
    /// It does.
    Reads,
    /// It stopped.
    Ignores,
}

struct Client {
    stream: TcpStream,
    phase: Phase,
    attention: Attention,
    queue: Vec<Bytes>,
    partial: Vec<u8>,
    have: Box<[u64]>,
    count: u32,
    updates: u64,
    octets: u64,
}

/// All clients of a scenario.
pub(super) struct Swarm {
    shape: Shape,
    poll: Poll,
    clients: Vec<Client>,
    buffer: Vec<u8>,
    established: u32,
    complete: u32,
    /// Messages that each client sends once it is established.
    announcements: Vec<Bytes>,
    keepalive: Bytes,
}

impl Swarm {
    /// Connects every client to a daemon, each from an address of its own.
    pub(super) fn connect(shape: Shape, daemon: SocketAddr) -> Result<Swarm> {
        let poll = Poll::new()?;
        let announcements = (0..shape.clients).map(|c| shape.announcement(c, None)).collect::<Result<_>>()?;
        let mut swarm = Swarm {
            shape,
            poll,
            clients: Vec::with_capacity(shape.clients as usize),
            buffer: vec![0; READ_OCTETS],
            established: 0,
            complete: 0,
            announcements,
            keepalive: shape.open(0).1,
        };
        for client in 0..shape.clients {
            let mut stream = open(shape.address(client), daemon)?;
            let both = Interest::READABLE | Interest::WRITABLE;
            swarm.poll.registry().register(&mut stream, Token(client as usize), both)?;
            swarm.clients.push(Client {
                stream,
                phase: Phase::Connecting,
                attention: Attention::Reads,
                queue: vec![shape.open(client).0],
                partial: Vec::new(),
                have: vec![0; (shape.total() as usize).div_ceil(64)].into(),
                count: 0,
                updates: 0,
                octets: 0,
            });
        }
        Ok(swarm)
    }

    /// Runs until `done`, or fails after `within`.
    pub(super) fn run(&mut self, within: Duration, mut done: impl FnMut(&Swarm) -> bool) -> Result<()> {
        let deadline = Instant::now() + within;
        let mut events = Events::with_capacity(1024);
        while !done(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("not done within {within:?}: {}", self.progress());
            }
            self.poll.poll(&mut events, Some(left.min(Duration::from_secs(1)))).or_else(|e| {
                match e.kind() {
                    ErrorKind::Interrupted => Ok(()),
                    _ => Err(e),
                }
            })?;
            for event in &events {
                let at = event.token().0;
                let served =
                    if event.is_readable() || event.is_read_closed() { self.read(at) } else { Ok(()) };
                served.and_then(|()| self.write(at)).with_context(|| format!("client {at}"))?;
            }
        }
        Ok(())
    }

    /// How far everybody is.
    pub(super) fn progress(&self) -> String {
        format!(
            "{} of {} established, {} have everything",
            self.established, self.shape.clients, self.complete
        )
    }

    /// Clients that have the routes of all others.
    pub(super) fn complete(&self) -> u32 {
        self.complete
    }

    /// Clients that are established.
    pub(super) fn established(&self) -> u32 {
        self.established
    }

    /// Octets and UPDATEs that all clients received.
    pub(super) fn received(&self) -> (u64, u64) {
        self.clients.iter().fold((0, 0), |(o, u), c| (o + c.octets, u + c.updates))
    }

    /// Clients that hold this prefix, by number.
    pub(super) fn holders(&self, number: u32) -> u32 {
        self.clients.iter().filter(|c| c.has(number)).count() as u32
    }

    /// Has a client say something.
    pub(super) fn say(&mut self, client: u32, octets: Bytes) -> Result<()> {
        self.clients[client as usize].queue.push(octets);
        self.write(client as usize)
    }

    /// Has a client read, or not.
    pub(super) fn attend(&mut self, client: u32, attention: Attention) {
        self.clients[client as usize].attention = attention;
    }

    /// The scenario's shape.
    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    fn read(&mut self, at: usize) -> Result<()> {
        loop {
            let client = &mut self.clients[at];
            if client.attention == Attention::Ignores {
                return Ok(());
            }
            match client.stream.read(&mut self.buffer) {
                Ok(0) => bail!("the daemon closed the connection"),
                Ok(octets) => {
                    client.octets += octets as u64;
                    self.take(at, octets)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take(&mut self, at: usize, octets: usize) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let client = &mut self.clients[at];
        let result = if client.partial.is_empty() {
            self.messages(at, &buffer[..octets])
        } else {
            let mut joined = std::mem::take(&mut client.partial);
            joined.extend_from_slice(&buffer[..octets]);
            self.messages(at, &joined)
        };
        self.buffer = buffer;
        result
    }

    fn messages(&mut self, at: usize, mut octets: &[u8]) -> Result<()> {
        while let Some((kind, length)) = wire::next_message(octets)? {
            self.message(at, kind, &octets[..length])?;
            octets = &octets[length..];
        }
        self.clients[at].partial.extend_from_slice(octets);
        Ok(())
    }

    fn message(&mut self, at: usize, kind: Kind, message: &[u8]) -> Result<()> {
        let client = &mut self.clients[at];
        match (client.phase, kind) {
            (Phase::Connecting | Phase::OpenSent, Kind::Open) => {
                client.phase = Phase::OpenConfirm;
                client.queue.push(self.keepalive.clone());
            }
            (Phase::OpenConfirm, Kind::Keepalive) => {
                client.phase = Phase::Established;
                client.queue.push(self.announcements[at].clone());
                self.established += 1;
            }
            (Phase::Established, Kind::Update) => self.update(at, message)?,
            (Phase::Established, Kind::Keepalive) => client.queue.push(self.keepalive.clone()),
            (Phase::Established, Kind::Refresh) => {}
            (phase, kind) => bail!("{kind:?} in {phase:?}"),
        }
        Ok(())
    }

    fn update(&mut self, at: usize, message: &[u8]) -> Result<()> {
        let shape = self.shape;
        let own = at as u32 * shape.prefixes..(at as u32 + 1) * shape.prefixes;
        let client = &mut self.clients[at];
        client.updates += 1;
        let all = shape.total() - shape.prefixes;
        let was_complete = client.count == all;
        wire::read_update(&shape, message, |told| match told {
            Told::Reachable(number) if !own.contains(&number) => client.set(number),
            Told::Withdrawn(number) if !own.contains(&number) => client.clear(number),
            Told::Reachable(_) | Told::Withdrawn(_) => {}
        })?;
        match (was_complete, client.count == all) {
            (false, true) => self.complete += 1,
            (true, false) => self.complete -= 1,
            (true, true) | (false, false) => {}
        }
        Ok(())
    }

    fn write(&mut self, at: usize) -> Result<()> {
        let client = &mut self.clients[at];
        if client.phase == Phase::Connecting
            && let Some(error) = client.stream.take_error()?
        {
            return Err(error).context("cannot connect");
        }
        while let Some(first) = client.queue.first_mut() {
            match client.stream.write(first) {
                Ok(octets) => {
                    first.advance(octets);
                    if first.is_empty() {
                        client.queue.remove(0);
                    }
                    if client.phase == Phase::Connecting {
                        client.phase = Phase::OpenSent;
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Client {
    fn has(&self, number: u32) -> bool {
        self.have[number as usize / 64] & (1 << (number % 64)) != 0
    }

    fn set(&mut self, number: u32) {
        let word = &mut self.have[number as usize / 64];
        let bit = 1 << (number % 64);
        self.count += u32::from(*word & bit == 0);
        *word |= bit;
    }

    fn clear(&mut self, number: u32) {
        let word = &mut self.have[number as usize / 64];
        let bit = 1 << (number % 64);
        self.count -= u32::from(*word & bit != 0);
        *word &= !bit;
    }
}

fn open(local: Ipv4Addr, daemon: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("too few file descriptors?")?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::V4(SocketAddrV4::new(local, 0)).into())?;
    match socket.connect(&daemon.into()) {
        Ok(()) => {}
        Err(error) => ensure!(error.raw_os_error() == Some(115), "cannot connect: {error}"),
    }
    Ok(TcpStream::from_std(socket.into()))
}
