//! A session on a bench: what is done to it, and what comes out, message by message.
//!
//! Tests are named after what must be seen and cite the text that demands it.

mod collide;
mod header;
mod open;
mod pair;
mod refresh;
mod restart;
mod states;
mod updates;

use bgp_proto::{
    Asn, Capability, ErrorCode, Family, Frame, Message, MessageMax, Notification, Open, RefreshKind,
    RouterId, WireContext,
};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::sync::Arc;

use super::*;
use crate::feed::{LogView, Position, Run, SegmentBuilder};
use crate::ids::Seq;
use crate::time::Duration;

/// AS numbers and identifiers: ours, and the tester's.
const OURS: (Asn, RouterId) = (Asn(65001), RouterId(0x0A00_0002));
const THEIRS: (Asn, RouterId) = (Asn(65002), RouterId(0x0A00_0001));

const MS: Duration = Duration::from_millis(1);
const SEC: Duration = Duration::from_secs(1);

/// What the kernel holds, as a test says.
#[derive(Default)]
struct Held {
    unread: bool,
    unsent: usize,
}

impl Backlog for Held {
    fn has_unread(&self, _: ConnId) -> bool {
        self.unread
    }
    fn unsent(&self, _: ConnId) -> usize {
        self.unsent
    }
}

/// A message that the session sent, in a form that tests can compare.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sent {
    Open,
    Keepalive,
    Update,
    EndOfRib(Family),
    Refresh(Family, RefreshKind),
    Notification(ErrorCode, Bytes),
}

struct Bench {
    session: Session,
    now: Instant,
    kernel: Held,
    events: VecDeque<Event>,
    actions: VecDeque<Action>,
    max: MessageMax,
}

impl Bench {
    /// A started passive session.
    fn passive() -> Bench {
        Bench::with(|config| config.connect = Connect::Passive)
    }

    fn with(change: impl FnOnce(&mut Config)) -> Bench {
        let mut config = Config::new(OURS.0, OURS.1, THEIRS.0);
        change(&mut config);
        let session = Session::new(PeerId(7), config, 42);
        let mut bench = Bench {
            session,
            now: Instant::EPOCH + SEC,
            kernel: Held::default(),
            events: VecDeque::new(),
            actions: VecDeque::new(),
            max: MessageMax::Standard,
        };
        bench.session.start(bench.now);
        bench.drain();
        bench
    }

    fn drain(&mut self) {
        while let Some(action) = self.session.poll_action() {
            self.actions.push_back(action);
        }
        while let Some(event) = self.session.poll_event() {
            self.events.push_back(event);
        }
    }

    fn accept(&mut self) -> ConnId {
        match self.try_accept() {
            Verdict::Accepted(conn) => conn,
            Verdict::Refused(_) => panic!("refused"),
        }
    }

    fn try_accept(&mut self) -> Verdict {
        let verdict = self.session.accepted(self.now);
        self.drain();
        verdict
    }

    fn dialed(&mut self) -> ConnId {
        let verdict = self.session.dialed(self.now);
        self.drain();
        match verdict {
            Verdict::Accepted(conn) => conn,
            Verdict::Refused(_) => panic!("refused"),
        }
    }

    fn give(&mut self, conn: ConnId, octets: &[u8]) {
        self.session.received(conn, octets, self.now);
        self.drain();
    }

    fn lose(&mut self, conn: ConnId, failure: Failure) {
        self.session.closed(conn, failure, self.now);
        self.drain();
    }

    /// What was sent over a connection since the last look, then how it was closed, if it was.
    fn sent(&mut self, conn: ConnId) -> Vec<Sent> {
        let mut stream = BytesMut::new();
        let now = self.now;
        let octets =
            self.session.poll_transmit(conn, usize::MAX, now, |slice| stream.extend_from_slice(&slice));
        assert_eq!(octets, stream.len());
        self.session.wrote(conn, octets);
        self.drain();
        let close =
            self.actions.iter().position(|a| matches!(a, Action::Close { conn: c, .. } if *c == conn));
        if let Some(Action::Close { farewell: Some(farewell), .. }) =
            close.and_then(|at| self.actions.get(at))
        {
            stream.extend_from_slice(farewell);
        }
        self.read(&stream)
    }

    fn read(&self, mut stream: &[u8]) -> Vec<Sent> {
        let ctx = WireContext { message_max: self.max, ..WireContext::modern(bgp_proto::PeerKind::External) };
        let mut sent = Vec::new();
        while let Some(frame) = Frame::first(stream, &ctx).unwrap() {
            stream = &stream[frame.octets.len()..];
            sent.push(match Message::decode(&frame, &ctx).unwrap() {
                Message::Open(_) => Sent::Open,
                Message::Keepalive => Sent::Keepalive,
                Message::Update(update) => match update.end_of_rib() {
                    Some(family) => Sent::EndOfRib(family),
                    None => Sent::Update,
                },
                Message::RouteRefresh(refresh) => Sent::Refresh(refresh.family, refresh.kind),
                Message::Notification(n) => Sent::Notification(n.error, n.data),
            });
        }
        assert!(stream.is_empty(), "half a message was sent");
        sent
    }

    /// Whether, and how, the session ordered to close a connection.
    fn closed(&self, conn: ConnId) -> Option<Manner> {
        self.actions.iter().find_map(|action| match action {
            Action::Close { conn: closed, manner, .. } if *closed == conn => Some(*manner),
            _ => None,
        })
    }

    fn state(&self) -> State {
        self.session.state().0
    }

    /// Lets `span` pass, doing on the way what is due.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some((at, _)) = self.session.deadline().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.session.timeout(self.now, &self.kernel);
            self.drain();
        }
        self.now = end;
    }

    /// Accepts a connection and brings it to OpenConfirm with this OPEN.
    fn confirm_with(&mut self, open: &Open) -> ConnId {
        let conn = self.accept();
        self.give(conn, &encoded(open));
        assert_eq!(self.state(), State::OpenConfirm);
        conn
    }

    fn establish_with(&mut self, open: &Open) -> ConnId {
        let conn = self.confirm_with(open);
        self.give(conn, &keepalive());
        assert_eq!(self.state(), State::Established);
        self.sent(conn);
        conn
    }

    fn establish(&mut self) -> ConnId {
        self.establish_with(&their_open())
    }

    fn take_events(&mut self) -> Vec<Event> {
        self.events.drain(..).collect()
    }

    fn down(&mut self) -> Option<(Reason, crate::events::Retention)> {
        self.take_events().into_iter().find_map(|event| match event {
            Event::Down { reason, retention } => Some((reason, retention)),
            _ => None,
        })
    }

    fn epoch(&mut self) -> Epoch {
        let epoch = self.events.iter().rev().find_map(|event| match event {
            Event::Up { epoch, .. } => Some(*epoch),
            _ => None,
        });
        epoch.expect("the session is not up")
    }

    /// The last NOTIFICATION that a connection got.
    fn notified(&mut self, conn: ConnId) -> Option<(u8, u8, Bytes)> {
        self.sent(conn).into_iter().rev().find_map(|sent| match sent {
            Sent::Notification(error, data) => Some((error.code, error.subcode, data)),
            _ => None,
        })
    }

    fn assert_reset(&mut self, conn: ConnId, code: u8, subcode: u8, data: &[u8]) {
        assert_eq!(self.notified(conn), Some((code, subcode, Bytes::copy_from_slice(data))));
        assert_eq!(self.closed(conn), Some(Manner::Orderly));
        assert_ne!(self.state(), State::Established);
    }
}

fn their_open() -> Open {
    let families = [Family::IPV4_UNICAST, Family::IPV6_UNICAST].map(Capability::Multiprotocol);
    let rest = [Capability::RouteRefresh, Capability::EnhancedRefresh, Capability::FourOctetAs(THEIRS.0)];
    open_with(families.into_iter().chain(rest))
}

fn open_with(capabilities: impl IntoIterator<Item = Capability>) -> Open {
    let capabilities = capabilities.into_iter().collect();
    Open { asn: THEIRS.0, hold_secs: 90, router_id: THEIRS.1, capabilities }
}

fn encoded(open: &Open) -> Vec<u8> {
    message::open(open).to_vec()
}

fn keepalive() -> Vec<u8> {
    message::keepalive().to_vec()
}

fn notification(code: u8, subcode: u8, data: &[u8]) -> Vec<u8> {
    message::notification(&Notification::with_data(ErrorCode::new(code, subcode), data)).to_vec()
}

/// A message of any type with any body.
fn raw(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut octets = vec![0xFF; 16];
    octets.extend_from_slice(&(19 + body.len() as u16).to_be_bytes());
    octets.push(kind);
    octets.extend_from_slice(body);
    octets
}

/// An UPDATE that announces 10.0.x.0/24 prefixes by way of the tester's AS.
fn announce(prefixes: &[u8]) -> Vec<u8> {
    let path = u32::to_be_bytes(THEIRS.0.0);
    let mut attrs = vec![0x40, 1, 1, 0, 0x40, 2, 6, 2, 1];
    attrs.extend_from_slice(&path);
    attrs.extend_from_slice(&[0x40, 3, 4, 192, 0, 2, 1]);
    update(&[], &attrs, &nlri(prefixes))
}

fn nlri(prefixes: &[u8]) -> Vec<u8> {
    prefixes.iter().flat_map(|x| [24, 10, 0, *x]).collect()
}

fn update(withdrawn: &[u8], attrs: &[u8], nlri: &[u8]) -> Vec<u8> {
    let mut body = (withdrawn.len() as u16).to_be_bytes().to_vec();
    body.extend_from_slice(withdrawn);
    body.extend_from_slice(&(attrs.len() as u16).to_be_bytes());
    body.extend_from_slice(attrs);
    body.extend_from_slice(nlri);
    raw(2, &body)
}

/// A feed of one family whose log says `messages`.
fn feed(family: Family, messages: &[Bytes]) -> Feed {
    let view = view(messages);
    Feed {
        family,
        group: GroupId(1),
        run: Run::Initial,
        position: Arc::new(Position::new(Seq::START)),
        initial: view.end(),
        prelude: Vec::new(),
        view,
    }
}

/// A log with a segment for each message.
fn view(messages: &[Bytes]) -> Arc<LogView> {
    let mut at = Seq::START;
    let segments = messages.iter().map(|message| {
        let mut builder = SegmentBuilder::default();
        builder.announcements(None, |out| out.extend_from_slice(message));
        let after = at;
        at = at.next();
        Arc::new(builder.build(after, at))
    });
    let segments = segments.collect();
    Arc::new(LogView::new(segments, at))
}
