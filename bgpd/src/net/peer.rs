//! One peer's task: it owns the session machine and its sockets, at most two while connections collide.
//!
//! A turn of the loop asks the machine what to do, offers it room to write, and waits for whatever comes first: octets,
//! room in a socket, mail from the core, a newer view of a group, room in the core's inbox, or a deadline.
//!
//! Back-pressure has one rule: while an event waits for room in the core's inbox, or the core has yet to deal with
//! [`BATCHES_MAX`] batches of routes, nothing is read. Everything else goes on, so
//! a busy core never costs a keepalive, and the hold timer asks the kernel whether the peer was really silent. The place in
//! the queue for room is kept from turn to turn: a task that is woken for something else must not go to its end.
//!
//! A peer that reconnects closed its old connection just before, and the runtime may tell of the new one first. So the
//! kernel is asked which connections have ended before a new one is judged: what is over defends no place.
//!
//! A closed connection lingers until the peer has read the farewell. Few may: the oldest is cut off.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bgp_proto::Family;
use bytes::Bytes;
use reflector::feed::LogView;
use reflector::ids::GroupId;
use reflector::session::{
    Action, ConnId, Event, Failure, Manner, Reason, Reconfigured, Session, Stop, Verdict,
};
use reflector::time::Instant;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::task::JoinHandle;
use tokio::time::Sleep;
use tokio_stream::StreamExt;
use tokio_stream::StreamMap;
use tokio_stream::wrappers::WatchStream;
use tracing::{debug, warn};

use super::socket::{Goodbye, Read, Readiness, Sock, Socks};
use super::{Mail, Mailbox, PeerSpec, dial, socket};
use crate::clock::Clock;

/// Octets handed to a socket ahead of the kernel, at most, but for one segment.
const ROOM: usize = 64 * 1024;
/// Closed connections of a peer that linger, at most.
const GOODBYES_MAX: usize = 4;
/// Batches of routes that the core has not dealt with, at most, before a peer is read again.
pub(super) const BATCHES_MAX: usize = 16;
/// Reads of what a peer left behind when it closed a connection, at most.
const READS_LEFT_MAX: usize = 64;
/// Attempts without an answer before a likely cause is named.
const UNANSWERED_MIN: u32 = 3;

/// A peer's task.
pub(super) struct PeerTask<I> {
    spec: PeerSpec,
    session: Session,
    clock: Clock,
    mailbox: Arc<Mailbox>,
    inbox: mpsc::Sender<I>,
    /// Events that wait for room in the core's inbox; while there are any, nothing is read.
    events: VecDeque<super::Event>,
    room: Option<Room<I>>,
    /// What is left of [`BATCHES_MAX`].
    credits: Arc<Semaphore>,
    socks: Socks,
    goodbyes: VecDeque<JoinHandle<()>>,
    dialing: Option<JoinHandle<io::Result<TcpStream>>>,
    views: StreamMap<Family, WatchStream<Arc<LogView>>>,
    groups: Vec<(Family, GroupId)>,
    /// When the end that the snapshot tells of was.
    told_end: Option<Instant>,
    alarm: Alarm,
    is_ending: bool,
    is_retired: bool,
}

/// A place in the queue for room in the core's inbox.
type Room<I> = Pin<Box<dyn Future<Output = Result<OwnedPermit<I>, SendError<()>>> + Send>>;

/// What a turn waited for.
enum Woken<I> {
    Mail,
    /// The core has dealt with a batch of routes.
    Credit,
    Socket(Readiness),
    Dialed(io::Result<TcpStream>),
    View(Family, Arc<LogView>),
    Deadline,
    /// There is room in the core's inbox, or the core is gone.
    Room(Result<OwnedPermit<I>, SendError<()>>),
}

impl<I: From<super::Event> + Send + 'static> PeerTask<I> {
    pub(super) fn new(
        spec: PeerSpec,
        mailbox: Arc<Mailbox>,
        inbox: mpsc::Sender<I>,
        clock: Clock,
        seed: u64,
    ) -> PeerTask<I> {
        PeerTask {
            session: Session::new(spec.id, spec.session.clone(), seed),
            spec,
            clock,
            mailbox,
            inbox,
            events: VecDeque::new(),
            room: None,
            credits: Arc::new(Semaphore::new(BATCHES_MAX)),
            socks: Socks::default(),
            goodbyes: VecDeque::new(),
            dialing: None,
            views: StreamMap::new(),
            groups: Vec::new(),
            told_end: None,
            alarm: Alarm::default(),
            is_ending: false,
            is_retired: false,
        }
    }

    /// Runs until the core says goodbye, is gone, or lets go of a peer that is not there.
    pub(super) async fn run(mut self) {
        self.session.start(self.clock.now());
        loop {
            self.settle();
            if self.is_retired {
                // On the heap, so that the task's own future has no room for it.
                return Box::pin(self.retire()).await;
            }
            if self.is_ending {
                break;
            }
            match self.wait().await {
                Woken::Mail => self.on_mail(self.mailbox.take()),
                Woken::Credit => {}
                Woken::Socket(ready) => self.on_socket(ready),
                Woken::Dialed(result) => self.on_dialed(result),
                Woken::View(family, view) => self.on_view(family, &view),
                Woken::Deadline => self.session.timeout(self.clock.now(), &self.socks),
                Woken::Room(Ok(permit)) => {
                    self.room = None;
                    if let Some(event) = self.events.pop_front() {
                        permit.send(I::from(event));
                    }
                }
                Woken::Room(Err(_)) => self.orphaned(),
            }
        }
        for goodbye in self.goodbyes {
            // One that was cut off has nothing more to say.
            drop(goodbye.await);
        }
    }

    /// The last words of a task without connections. What is posted from now on is the core's to take back.
    async fn retire(mut self) {
        self.room = None;
        let last = super::Event::Retired { peer: self.spec.id };
        for event in self.events.into_iter().chain([last]) {
            if self.inbox.send(I::from(event)).await.is_err() {
                // The core is gone, and with it whoever could miss this.
                return;
            }
        }
    }

    /// The core is gone.
    fn orphaned(&mut self) {
        self.session.stop(&Stop::Exit, self.clock.now());
        self.settle();
        self.is_ending = true;
    }

    /// Does what the machine wants done, writes what there is to say, notes what happened.
    fn settle(&mut self) {
        self.act();
        while let Some((conn, failure)) = self.write() {
            self.broken(conn, failure);
            self.act();
        }
        self.note_events();
        self.send_events();
        self.tell_status();
    }

    fn act(&mut self) {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Dial => self.dialing = Some(tokio::spawn(dial::dial(self.spec.clone()))),
                Action::CancelDial => self.cancel_dial(),
                Action::Close { conn, farewell, manner } => self.close(conn, farewell, manner),
            }
        }
    }

    fn cancel_dial(&mut self) {
        if let Some(dialing) = self.dialing.take() {
            dialing.abort();
        }
    }

    fn close(&mut self, conn: ConnId, farewell: Option<Bytes>, manner: Manner) {
        if let Some(sock) = self.socks.remove(conn) {
            let goodbye = socket::close(sock, farewell, manner);
            self.linger(goodbye);
        }
    }

    fn linger(&mut self, goodbye: Option<Goodbye>) {
        let Some(goodbye) = goodbye else { return };
        self.goodbyes.retain(|earlier| !earlier.is_finished());
        if self.goodbyes.len() >= GOODBYES_MAX
            && let Some(oldest) = self.goodbyes.pop_front()
        {
            oldest.abort();
        }
        self.goodbyes.push_back(tokio::spawn(goodbye));
    }

    fn note_events(&mut self) {
        let now = self.clock.now();
        let peer = self.spec.id;
        while let Some(event) = self.session.poll_event() {
            match &event {
                Event::Down { .. } => {
                    self.views.clear();
                    self.groups.clear();
                    self.mailbox.tell(|s| s.ends = None);
                }
                Event::NotificationSent(n) => self.mailbox.tell(|s| s.sent = Some((n.clone(), now))),
                Event::NotificationReceived(n) => self.mailbox.tell(|s| s.received = Some((n.clone(), now))),
                _ => {}
            }
            let Event::Up { epoch, negotiated } = event else {
                let credit = match &event {
                    // One read may bring more batches than there are credits: the last ones go without.
                    Event::Routes(_) => self.credits.clone().try_acquire_owned().ok(),
                    _ => None,
                };
                self.events.push_back(super::Event::Session { peer, event, credit });
                continue;
            };
            // The machine knows the connection that won; it is the only one left.
            let Some((local, remote)) = self.socks.ends() else { continue };
            self.mailbox.tell(|s| s.ends = Some((local, remote)));
            self.events.push_back(super::Event::Up { peer, epoch, negotiated, local, remote });
        }
    }

    /// Hands events to the core while its inbox has room.
    fn send_events(&mut self) {
        while self.room.is_none() && !self.events.is_empty() {
            match self.inbox.try_reserve() {
                Ok(permit) => {
                    if let Some(event) = self.events.pop_front() {
                        permit.send(I::from(event));
                    }
                }
                Err(_) => self.room = Some(Box::pin(self.inbox.clone().reserve_owned())),
            }
        }
        if self.events.is_empty() {
            // A session that is idle keeps no room for what it said as it came up.
            self.events = VecDeque::new();
        }
    }

    /// Writes at once what there is to say, as far as the sockets take it. Returns a connection that broke.
    fn write(&mut self) -> Option<(ConnId, Failure)> {
        let now = self.clock.now();
        let session = &mut self.session;
        for sock in self.socks.iter_mut() {
            loop {
                let room = ROOM.saturating_sub(sock.queued());
                if room > 0 {
                    session.poll_transmit(sock.id, room, now, |octets| sock.push(octets));
                }
                if sock.queued() == 0 {
                    break;
                }
                match sock.write() {
                    Ok(octets) => session.wrote(sock.id, octets),
                    Err(error) => return Some((sock.id, failure(&error))),
                }
                if sock.queued() > 0 {
                    break;
                }
            }
        }
        None
    }

    /// The peer may have said why before it closed; then the machine lets go of the connection for that.
    fn broken(&mut self, conn: ConnId, failure: Failure) {
        self.read(conn);
        self.lost(conn, failure);
    }

    fn tell_status(&mut self) {
        let session = &self.session;
        let ended = session.ended().filter(|ended| self.told_end != Some(ended.at));
        let trouble = ended.map(|ended| (self.in_words(&ended.reason), ended.at));
        self.mailbox.tell(|s| {
            s.state = Some(session.state());
            s.is_kept_down = session.is_kept_down();
            s.counters = *session.counters();
            if trouble.is_some() {
                s.trouble.clone_from(&trouble);
            }
        });
        if let Some((_, at)) = trouble {
            self.told_end = Some(at);
        }
    }

    /// A reason, with its likely cause where the reason alone leaves operators guessing.
    fn in_words(&self, reason: &Reason) -> String {
        let attempts = self.session.counters().dials_unanswered;
        if *reason != Reason::Dial(Failure::TimedOut) || attempts < UNANSWERED_MIN {
            return reason.to_string();
        }
        let suspects = match (&self.spec.secret, self.spec.ttl_security) {
            (Some(_), _) => "the peer has another TCP-MD5 password or none, or a firewall drops segments",
            (None, Some(_)) => {
                "the peer is more hops away, or has a TCP-MD5 password, or a firewall drops segments"
            }
            (None, None) => "the peer has a TCP-MD5 password, or is down, or a firewall drops segments",
        };
        format!("{reason}: no answer to {attempts} attempts; {suspects}")
    }

    async fn wait(&mut self) -> Woken<I> {
        let deadline = self.session.deadline().map(|(at, _)| at);
        let has_credit = self.credits.available_permits() > 0;
        let may_read = self.events.is_empty() && has_credit;
        let clock = self.clock;
        tokio::select! {
            room = waiting(&mut self.room) => Woken::Room(room),
            () = self.mailbox.arrived() => Woken::Mail,
            _ = self.credits.acquire(), if !has_credit => Woken::Credit,
            ready = self.socks.ready(may_read) => Woken::Socket(ready),
            result = dialed(&mut self.dialing) => Woken::Dialed(result),
            Some((family, view)) = self.views.next(), if !self.views.is_empty() => Woken::View(family, view),
            () = self.alarm.ring(deadline, clock) => Woken::Deadline,
        }
    }

    fn on_mail(&mut self, mail: Mail) {
        let now = self.clock.now();
        let Mail { feeds, spec, refresh, accepted, stop, start, is_last, retire } = mail;
        if let Some(spec) = spec {
            self.reconfigure(*spec);
        }
        if let Some((epoch, attached)) = feeds {
            for (family, attached) in attached {
                self.groups.retain(|(f, _)| *f != family);
                self.groups.push((family, attached.feed.group));
                self.views.insert(family, WatchStream::from_changes(attached.views));
                self.session.attach(epoch, [attached.feed]);
            }
        }
        for family in refresh.iter() {
            self.session.request_refresh(family);
        }
        if let Some((stream, remote)) = accepted {
            self.on_accepted(stream, remote);
        }
        if let Some(stop) = stop {
            self.session.stop(&stop, now);
        }
        if start {
            self.session.start(now);
        }
        if is_last {
            self.settle();
            self.is_ending = true;
        }
        let is_alone = self.session.connections().next().is_none() && self.dialing.is_none();
        self.is_retired = retire && is_alone && !is_last;
    }

    /// What a connection was opened with cannot be changed on it.
    fn reconfigure(&mut self, spec: PeerSpec) {
        let now = self.clock.now();
        let kept = self.session.configure(spec.session.clone(), now) == Reconfigured::Kept;
        if kept && !self.spec.opens_alike(&spec) && self.session.connections().next().is_some() {
            self.session.stop(&Stop::ConfigChanged, now);
        }
        self.spec = spec;
    }

    fn on_accepted(&mut self, stream: TcpStream, remote: SocketAddr) {
        for conn in self.socks.ended() {
            self.read_left(conn);
        }
        match self.examine(&stream) {
            Ok(Some(ends)) => {
                let verdict = self.session.accepted(self.clock.now());
                self.admit(verdict, stream, ends);
            }
            Ok(None) => {
                let trouble = "a connection came from more hops away than ttlSecurity allows, and was closed";
                debug!(peer = %self.spec.name, %remote, "{trouble}");
                let now = self.clock.now();
                self.mailbox.tell(|s| s.trouble = Some((trouble.to_owned(), now)));
            }
            Err(error) => {
                debug!(peer = %self.spec.name, %remote, %error, "cannot set up an accepted connection")
            }
        }
    }

    /// The ends of an accepted connection, if it may be one of the peer's.
    fn examine(&self, stream: &TcpStream) -> io::Result<Option<(SocketAddr, SocketAddr)>> {
        if !socket::is_near(stream, self.spec.ttl_security)? {
            return Ok(None);
        }
        socket::prepare(stream, stream.local_addr()?.ip(), self.spec.ttl_security)?;
        socket::ends(stream).map(Some)
    }

    fn on_dialed(&mut self, result: io::Result<TcpStream>) {
        self.dialing = None;
        match result.and_then(|stream| Ok((socket::ends(&stream)?, stream))) {
            Ok((ends, stream)) => {
                let verdict = self.session.dialed(self.clock.now());
                self.admit(verdict, stream, ends);
            }
            Err(error) => {
                if let Some(cause) = error.get_ref() {
                    // Not the network's: a key that cannot be set, and what to do about it.
                    warn!(peer = %self.spec.name, error = %cause, "cannot connect");
                }
                self.session.dial_failed(failure(&error), self.clock.now());
            }
        }
    }

    fn admit(&mut self, verdict: Verdict, stream: TcpStream, ends: (SocketAddr, SocketAddr)) {
        match verdict {
            Verdict::Accepted(id) => self.socks.push(Sock::new(id, stream, ends)),
            Verdict::Refused(farewell) => {
                let goodbye = socket::refuse(stream, farewell);
                self.linger(goodbye);
            }
        }
    }

    fn on_view(&mut self, family: Family, view: &Arc<LogView>) {
        if let Some((_, group)) = self.groups.iter().find(|(f, _)| *f == family) {
            self.session.publish(*group, view);
        }
    }

    fn on_socket(&mut self, ready: Readiness) {
        // What can be written is, whenever the task settles.
        if ready.is_readable {
            self.read(ready.conn);
        }
    }

    fn read(&mut self, conn: ConnId) {
        let now = self.clock.now();
        let (session, socks) = (&mut self.session, &mut self.socks);
        match socks.read(conn, |octets| session.received(conn, octets, now)) {
            Ok(Read::Some | Read::Nothing) => {}
            Ok(Read::End) => self.lost(conn, Failure::Ended),
            Err(error) => self.lost(conn, failure(&error)),
        }
    }

    /// Reads what a peer said before it closed a connection, so that the end has its true reason.
    fn read_left(&mut self, conn: ConnId) {
        for _ in 0..READS_LEFT_MAX {
            let now = self.clock.now();
            let (session, socks) = (&mut self.session, &self.socks);
            let read = socks.read_left(conn, |octets| session.received(conn, octets, now));
            // What was said may close the connection.
            self.settle();
            match read {
                Ok(Read::Some) => {}
                Ok(Read::Nothing | Read::End) => return self.lost(conn, Failure::Ended),
                Err(error) => return self.lost(conn, failure(&error)),
            }
        }
        self.lost(conn, Failure::Ended);
    }

    fn lost(&mut self, conn: ConnId, failure: Failure) {
        drop(self.socks.remove(conn));
        self.session.closed(conn, failure, self.clock.now());
    }
}

/// The task's one timer. Most deadlines only ever move away (each write puts the next KEEPALIVE off), so it is set again
/// when it has rung, or for an earlier one; it may ring early.
#[derive(Default)]
struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    set_for: Option<Instant>,
}

impl Alarm {
    async fn ring(&mut self, deadline: Option<Instant>, clock: Clock) {
        let Some(at) = deadline else { return pending().await };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(clock.moment(at))));
        if self.set_for.is_none_or(|set_for| at < set_for) {
            sleep.as_mut().reset(clock.moment(at));
            self.set_for = Some(at);
        }
        sleep.await;
        self.set_for = None;
    }
}

/// Room in the core's inbox, if it is waited for.
async fn waiting<T>(room: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match room {
        None => pending().await,
        Some(room) => room.await,
    }
}

/// The outcome of the dial that is under way.
async fn dialed(dialing: &mut Option<JoinHandle<io::Result<TcpStream>>>) -> io::Result<TcpStream> {
    poll_fn(|cx| match dialing {
        None => Poll::Pending,
        Some(handle) => Pin::new(handle).poll(cx),
    })
    .await
    .unwrap_or_else(|cancelled| Err(io::Error::other(cancelled)))
}

/// What the machine calls an error of the network.
pub(super) fn failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::Refused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            Failure::Reset
        }
        io::ErrorKind::TimedOut => Failure::TimedOut,
        io::ErrorKind::HostUnreachable => Failure::HostUnreachable,
        io::ErrorKind::NetworkUnreachable => Failure::NetworkUnreachable,
        io::ErrorKind::AddrNotAvailable => Failure::AddressNotAvailable,
        io::ErrorKind::UnexpectedEof => Failure::Ended,
        _ => Failure::Os(error.raw_os_error().unwrap_or(0)),
    }
}
