//! One peer's task: it owns the session machine and its sockets, at most two while connections collide.
//!
//! A turn of the loop asks the machine what to do, offers it room to write, and waits for whatever comes first: octets,
//! room in a socket, mail from the core, a newer view of a group, room in the core's inbox, or a deadline.
//!
//! Back-pressure has one rule: while an event waits for room in the core's inbox, nothing is read. Everything else goes on, so
//! a busy core never costs a keepalive, and the hold timer asks the kernel whether the peer was really silent.

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
use reflector::session::{Action, ConnId, Event, Failure, Manner, Session, Stop, Verdict};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::StreamMap;
use tokio_stream::wrappers::WatchStream;

use super::socket::{Readiness, Sock, Socks};
use super::{Mail, Mailbox, PeerSpec, dial, socket};
use crate::clock::Clock;

/// Octets handed to a socket ahead of the kernel, at most, but for one segment.
const ROOM: usize = 256 * 1024;

/// A peer's task.
pub(super) struct PeerTask<I> {
    spec: PeerSpec,
    session: Session,
    clock: Clock,
    mailbox: Arc<Mailbox>,
    inbox: mpsc::Sender<I>,
    /// Events that wait for room in the core's inbox; while there are any, nothing is read.
    events: VecDeque<super::Event>,
    socks: Socks,
    dialing: Option<JoinHandle<io::Result<TcpStream>>>,
    views: StreamMap<Family, WatchStream<Arc<LogView>>>,
    groups: Vec<(Family, GroupId)>,
    is_ending: bool,
}

/// What a turn waited for.
enum Woken {
    Mail,
    Socket(Readiness),
    Dialed(io::Result<TcpStream>),
    View(Family, Arc<LogView>),
    Deadline,
    /// The core is gone.
    Orphaned,
    EventSent,
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
            socks: Socks::default(),
            dialing: None,
            views: StreamMap::new(),
            groups: Vec::new(),
            is_ending: false,
        }
    }

    /// Runs until the core says goodbye or is gone.
    pub(super) async fn run(mut self) {
        self.session.start(self.clock.now());
        loop {
            self.settle();
            if self.is_ending {
                return;
            }
            match self.wait().await {
                Woken::Mail => self.on_mail(self.mailbox.take()),
                Woken::Socket(ready) => self.on_socket(ready),
                Woken::Dialed(result) => self.on_dialed(result),
                Woken::View(family, view) => self.on_view(family, &view),
                Woken::Deadline => self.session.timeout(self.clock.now(), &self.socks),
                Woken::EventSent => {}
                Woken::Orphaned => {
                    self.session.stop(&Stop::Exit, self.clock.now());
                    self.settle();
                    return;
                }
            }
        }
    }

    /// Does what the machine wants done, notes what happened, offers room to write.
    fn settle(&mut self) {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Dial => self.dialing = Some(tokio::spawn(dial::dial(self.spec.clone()))),
                Action::CancelDial => self.cancel_dial(),
                Action::Close { conn, farewell, manner } => self.close(conn, farewell, manner),
            }
        }
        self.note_events();
        self.offer_room();
        self.tell_status();
    }

    fn cancel_dial(&mut self) {
        if let Some(dialing) = self.dialing.take() {
            dialing.abort();
        }
    }

    fn close(&mut self, conn: ConnId, farewell: Option<Bytes>, manner: Manner) {
        if let Some(sock) = self.socks.remove(conn) {
            socket::close(sock, farewell, manner);
        }
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
                self.events.push_back(super::Event::Session { peer, event });
                continue;
            };
            // The machine knows the connection that won; it is the only one left.
            let Some((local, remote)) = self.socks.ends() else { continue };
            self.mailbox.tell(|s| s.ends = Some((local, remote)));
            self.events.push_back(super::Event::Up { peer, epoch, negotiated, local, remote });
        }
    }

    fn offer_room(&mut self) {
        let now = self.clock.now();
        for sock in self.socks.iter_mut() {
            let room = ROOM.saturating_sub(sock.queued());
            if room > 0 {
                self.session.poll_transmit(sock.id, room, now, |octets| sock.push(octets));
            }
        }
    }

    fn tell_status(&self) {
        let session = &self.session;
        self.mailbox.tell(|s| {
            s.state = Some(session.state());
            s.counters = session.counters().clone();
            s.trouble = session.ended().map(|e| (e.reason.to_string(), e.at));
        });
    }

    async fn wait(&mut self) -> Woken {
        let deadline = self.session.deadline().map(|(at, _)| self.clock.moment(at));
        let may_read = self.events.is_empty();
        let timer = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            permit = self.inbox.reserve(), if !may_read => match permit {
                Ok(permit) => {
                    if let Some(event) = self.events.pop_front() {
                        permit.send(I::from(event));
                    }
                    Woken::EventSent
                }
                Err(_) => Woken::Orphaned,
            },
            () = self.mailbox.arrived() => Woken::Mail,
            ready = self.socks.ready(may_read) => Woken::Socket(ready),
            result = dialed(&mut self.dialing) => Woken::Dialed(result),
            Some((family, view)) = self.views.next(), if !self.views.is_empty() => Woken::View(family, view),
            () = timer => Woken::Deadline,
        }
    }

    fn on_mail(&mut self, mail: Mail) {
        let now = self.clock.now();
        let Mail { feeds, spec, refresh, accepted, stop, is_last } = mail;
        if let Some(spec) = spec {
            self.session.configure(spec.session.clone(), now);
            self.spec = *spec;
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
        if is_last {
            self.settle();
            self.is_ending = true;
        }
    }

    fn on_accepted(&mut self, stream: TcpStream, remote: SocketAddr) {
        if let Err(error) = socket::prepare(&stream, self.spec.ttl_security) {
            tracing::debug!(peer = %self.spec.name, %remote, %error, "cannot set up an accepted connection");
            return;
        }
        let verdict = self.session.accepted(self.clock.now());
        self.admit(verdict, stream);
    }

    fn on_dialed(&mut self, result: io::Result<TcpStream>) {
        self.dialing = None;
        match result {
            Ok(stream) => {
                let verdict = self.session.dialed(self.clock.now());
                self.admit(verdict, stream);
            }
            Err(error) => self.session.dial_failed(failure(&error), self.clock.now()),
        }
    }

    fn admit(&mut self, verdict: Verdict, stream: TcpStream) {
        match verdict {
            Verdict::Accepted(id) => self.socks.push(Sock::new(id, stream)),
            Verdict::Refused(farewell) => {
                socket::refuse(stream, farewell);
            }
        }
    }

    fn on_view(&mut self, family: Family, view: &Arc<LogView>) {
        if let Some((_, group)) = self.groups.iter().find(|(f, _)| *f == family) {
            self.session.publish(*group, view);
        }
    }

    fn on_socket(&mut self, ready: Readiness) {
        let now = self.clock.now();
        let conn = ready.conn;
        if ready.is_writable {
            let written = self.socks.write(conn);
            match written {
                Ok(0) => {}
                Ok(octets) => self.session.wrote(conn, octets),
                Err(error) => return self.lost(conn, failure(&error)),
            }
        }
        if ready.is_readable {
            let (session, socks) = (&mut self.session, &mut self.socks);
            match socks.read(conn, |octets| session.received(conn, octets, now)) {
                Ok(socket::Read::Some) | Ok(socket::Read::Nothing) => {}
                Ok(socket::Read::End) => self.lost(conn, Failure::Ended),
                Err(error) => self.lost(conn, failure(&error)),
            }
        }
    }

    fn lost(&mut self, conn: ConnId, failure: Failure) {
        drop(self.socks.remove(conn));
        self.session.closed(conn, failure, self.clock.now());
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
