//! Thousands of scripted sessions in one thread: epoll, one read buffer for all, messages made beforehand.
//!
//! What is said and what must be heard is a [`Play`]'s: it checks every message and knows when a client has everything.
//! A client whose connection fails tries again soon, as any BGP speaker would: daemons with a short listen backlog refuse
//! most of those who come at once.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use super::wire::{self, HOLD_SECS, Kind, Mesh, Told};

/// Octets read at a time.
const READ_OCTETS: usize = 256 * 1024;
/// How soon a client whose connection failed tries again.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// Attempts of all clients together, at most, a client.
const RETRIES_MAX: u32 = 50;

/// What the clients of a scenario say, and what they must hear.
pub(super) trait Play {
    /// What a client has heard.
    type Heard;

    /// How many clients there are.
    fn clients(&self) -> u32;

    /// What a client says as soon as it is established.
    fn announcement(&self, client: u32) -> Result<Bytes>;

    /// A client that has heard nothing.
    fn nothing(&self, client: u32) -> Self::Heard;

    /// A client hears an UPDATE. One that is not sound is an error.
    fn hear(&self, client: u32, heard: &mut Self::Heard, message: &[u8]) -> Result<()>;

    /// Whether a client has heard everything, and nothing that it should not have.
    fn has_all(&self, client: u32, heard: &Self::Heard) -> bool;
}

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

/// Whether clients announce as soon as they are established.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restraint {
    /// They do.
    None,
    /// They wait for [`Swarm::announce`].
    UntilTold,
}

struct Client<H> {
    stream: TcpStream,
    phase: Phase,
    attention: Attention,
    queue: Vec<Bytes>,
    partial: Vec<u8>,
    heard: H,
    is_complete: bool,
    updates: u64,
    octets: u64,
    /// When it heard a KEEPALIVE last, or was established, and the longest time between two.
    heard_at: Instant,
    silence: Duration,
}

/// All clients of a scenario.
pub(super) struct Swarm<P: Play> {
    play: P,
    daemon: SocketAddr,
    poll: Poll,
    events: Events,
    /// How many clients connect at a time, the next one as one of these is established.
    at_once: u32,
    clients: Vec<Client<P::Heard>>,
    buffer: Vec<u8>,
    established: u32,
    complete: u32,
    /// Clients that try again, and when.
    failed: Vec<(Instant, usize)>,
    retries: u32,
    /// Messages that each client sends once it is established.
    announcements: Vec<Bytes>,
    keepalive: Bytes,
    hold_secs: u16,
    restraint: Restraint,
}

impl<P: Play> Swarm<P> {
    /// Clients that are not connected yet; everything they will say is made.
    pub(super) fn new(play: P, daemon: SocketAddr) -> Result<Swarm<P>> {
        let announcements = (0..play.clients()).map(|c| play.announcement(c)).collect::<Result<_>>()?;
        Ok(Swarm {
            play,
            daemon,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            at_once: u32::MAX,
            clients: Vec::new(),
            buffer: vec![0; READ_OCTETS],
            established: 0,
            complete: 0,
            failed: Vec::new(),
            retries: 0,
            announcements,
            keepalive: wire::greeting_of(0, HOLD_SECS).1,
            hold_secs: HOLD_SECS,
            restraint: Restraint::None,
        })
    }

    /// Connects every client, each from an address of its own, so many at a time; the next ones follow as these are
    /// established. Connections that exist are closed before.
    pub(super) fn connect(&mut self, at_once: u32) -> Result<()> {
        self.clients.clear();
        self.failed.clear();
        (self.established, self.complete, self.at_once) = (0, 0, at_once);
        for _ in 0..at_once.min(self.play.clients()) {
            self.dial_next()?;
        }
        Ok(())
    }

    fn dial_next(&mut self) -> Result<()> {
        let next = self.clients.len() as u32;
        if next < self.play.clients() {
            let fresh = self.dial(next)?;
            self.clients.push(fresh);
        }
        Ok(())
    }

    fn dial(&self, client: u32) -> Result<Client<P::Heard>> {
        let mut stream = open(wire::address_of(client), self.daemon)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(client as usize), both)?;
        Ok(Client {
            stream,
            phase: Phase::Connecting,
            attention: Attention::Reads,
            queue: vec![wire::greeting_of(client, self.hold_secs).0],
            partial: Vec::new(),
            heard: self.play.nothing(client),
            is_complete: false,
            updates: 0,
            octets: 0,
            heard_at: Instant::now(),
            silence: Duration::ZERO,
        })
    }

    /// Runs until `done`, or fails after `within`.
    pub(super) fn run(&mut self, within: Duration, mut done: impl FnMut(&Swarm<P>) -> bool) -> Result<()> {
        let deadline = Instant::now() + within;
        while !done(self) {
            ensure!(Instant::now() < deadline, "not done within {within:?}: {}", self.progress());
            self.turn(deadline)?;
        }
        Ok(())
    }

    /// Lets everybody talk for so long.
    pub(super) fn pass(&mut self, pause: Duration) -> Result<()> {
        self.idle(pause).map(drop)
    }

    /// Waits for events, not beyond a moment, and serves them.
    fn turn(&mut self, until: Instant) -> Result<()> {
        let now = Instant::now();
        self.retry(now)?;
        let pause = if self.failed.is_empty() { Duration::from_secs(1) } else { RETRY_AFTER / 4 };
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let polled = self.poll.poll(&mut events, Some(pause.min(until.saturating_duration_since(now))));
        polled.or_else(|e| match e.kind() {
            ErrorKind::Interrupted => Ok(()),
            _ => Err(e),
        })?;
        for event in &events {
            let at = event.token().0;
            let served = if event.is_readable() || event.is_read_closed() { self.read(at) } else { Ok(()) };
            if let Err(error) = served.and_then(|()| self.write(at)) {
                self.fail(at, error)?;
            }
        }
        self.events = events;
        Ok(())
    }

    /// A connection failed: its client will try again. What the daemon says wrong in a session is final.
    fn fail(&mut self, at: usize, error: anyhow::Error) -> Result<()> {
        let client = &mut self.clients[at];
        if client.phase == Phase::Established {
            return Err(error).with_context(|| format!("client {at}"));
        }
        if !self.failed.iter().any(|(_, failed)| *failed == at) {
            self.failed.push((Instant::now() + RETRY_AFTER, at));
        }
        self.retries += 1;
        ensure!(self.retries < RETRIES_MAX * self.play.clients(), "nobody gets in: {error:#}");
        Ok(())
    }

    fn retry(&mut self, now: Instant) -> Result<()> {
        while let Some(due) = self.failed.iter().position(|(when, _)| *when <= now) {
            let (_, at) = self.failed.swap_remove(due);
            self.clients[at] = self.dial(at as u32)?;
        }
        Ok(())
    }

    /// How many clients there are.
    pub(super) fn clients(&self) -> u32 {
        self.play.clients()
    }

    /// How far everybody is.
    pub(super) fn progress(&self) -> String {
        let Swarm { established, complete, retries, .. } = self;
        format!(
            "{established} of {} established, {complete} have everything, {retries} retries",
            self.play.clients()
        )
    }

    /// Clients that have everything they must have.
    pub(super) fn complete(&self) -> u32 {
        self.complete
    }

    /// Clients that are established.
    pub(super) fn established(&self) -> u32 {
        self.established
    }

    /// Connections that failed and were tried again.
    pub(super) fn retries(&self) -> u32 {
        self.retries
    }

    /// What each client has heard.
    pub(super) fn heard(&self) -> impl Iterator<Item = &P::Heard> {
        self.clients.iter().map(|client| &client.heard)
    }

    /// Octets and UPDATEs that all clients received.
    pub(super) fn received(&self) -> (u64, u64) {
        self.clients.iter().fold((0, 0), |(o, u), c| (o + c.octets, u + c.updates))
    }

    /// Has clients propose a hold time, and announce nothing by themselves.
    pub(super) fn restrained(mut self, hold_secs: u16) -> Self {
        (self.hold_secs, self.restraint) = (hold_secs, Restraint::UntilTold);
        self
    }

    /// Every client announces now.
    pub(super) fn announce(&mut self) -> Result<()> {
        for client in 0..self.clients() {
            self.say(client, self.announcements[client as usize].clone())?;
        }
        Ok(())
    }

    /// Connects every client, in even steps over a time.
    pub(super) fn connect_within(&mut self, span: Duration) -> Result<()> {
        self.connect(0)?;
        let (began, clients) = (Instant::now(), self.clients());
        while (self.clients.len() as u32) < clients {
            let due = f64::from(clients) * began.elapsed().div_duration_f64(span);
            while f64::from(self.clients.len() as u32) < due.min(f64::from(clients)) {
                self.dial_next()?;
            }
            self.turn(Instant::now() + Duration::from_millis(1))?;
        }
        Ok(())
    }

    /// Serves everybody for a time. Returns the longest that any client heard nothing at all, since it is established.
    pub(super) fn idle(&mut self, span: Duration) -> Result<Duration> {
        let end = Instant::now() + span;
        while Instant::now() < end {
            self.turn(end)?;
        }
        let silence = |c: &Client<P::Heard>| c.silence.max(end.saturating_duration_since(c.heard_at));
        Ok(self.clients.iter().map(silence).max().unwrap_or_default())
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
        self.count(at);
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
                if self.restraint == Restraint::None {
                    client.queue.push(self.announcements[at].clone());
                }
                client.heard_at = Instant::now();
                self.established += 1;
                if self.at_once > 0 {
                    self.dial_next()?;
                }
            }
            (Phase::Established, Kind::Update) => {
                client.updates += 1;
                self.play.hear(at as u32, &mut client.heard, message)?;
            }
            (Phase::Established, Kind::Keepalive) => {
                let now = Instant::now();
                client.silence = client.silence.max(now - client.heard_at);
                client.heard_at = now;
                client.queue.push(self.keepalive.clone());
            }
            (Phase::Established, Kind::Refresh) => {}
            (phase, kind) => bail!("{kind:?} in {phase:?}"),
        }
        Ok(())
    }

    /// Counts a client among those that have everything, or no longer.
    fn count(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let is_complete = client.phase == Phase::Established && self.play.has_all(at as u32, &client.heard);
        match (std::mem::replace(&mut client.is_complete, is_complete), is_complete) {
            (false, true) => self.complete += 1,
            (true, false) => self.complete -= 1,
            (true, true) | (false, false) => {}
        }
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

impl Swarm<Mesh> {
    /// The scenario's shape.
    pub(super) fn mesh(&self) -> &Mesh {
        &self.play
    }

    /// Clients that hold this prefix, by number.
    pub(super) fn holders(&self, number: u32) -> u32 {
        self.clients.iter().filter(|c| c.heard.has(number)).count() as u32
    }
}

/// The prefixes of a [`Mesh`] that a client has heard of: one bit each, and a count.
pub(super) struct Numbers {
    have: Box<[u64]>,
    count: u32,
}

impl Numbers {
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

impl Play for Mesh {
    type Heard = Numbers;

    fn clients(&self) -> u32 {
        self.clients
    }

    fn announcement(&self, client: u32) -> Result<Bytes> {
        self.routes(client, None)
    }

    fn nothing(&self, _client: u32) -> Numbers {
        Numbers { have: vec![0; (self.total() as usize).div_ceil(64)].into(), count: 0 }
    }

    fn hear(&self, client: u32, heard: &mut Numbers, message: &[u8]) -> Result<()> {
        let own = client * self.prefixes..(client + 1) * self.prefixes;
        wire::read_update(self, message, |told| match told {
            Told::Reachable(number) if !own.contains(&number) => heard.set(number),
            Told::Withdrawn(number) if !own.contains(&number) => heard.clear(number),
            Told::Reachable(_) | Told::Withdrawn(_) => {}
        })
    }

    fn has_all(&self, _client: u32, heard: &Numbers) -> bool {
        heard.count == self.total() - self.prefixes
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
