//! Sessions over real sockets, on addresses of the loopback network that are this test's own.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bgp_proto::{Asn, Capability, Family, Open, RouterId, encode_keepalive};
use bytes::{Bytes, BytesMut};
use reflector::feed::{Feed, LogView, Position, Run, SegmentBuilder};
use reflector::ids::{GroupId, Seq};
use reflector::session::{Connect, State};
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;

const PORT: u16 = 1790;
const SOON: Duration = Duration::from_secs(20);

/// An address that no other test uses, nor another run at the same time.
fn address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let pid = std::process::id();
    let host = NEXT.fetch_add(1, Ordering::Relaxed);
    IpAddr::from([127, 64 + (pid >> 8 & 63) as u8, pid as u8, host])
}

/// A speaker: its connections, and what they tell.
struct Node {
    addr: IpAddr,
    net: Net<Event>,
    inbox: mpsc::Receiver<Event>,
    seen: Vec<Event>,
}

impl Node {
    fn start(addr: IpAddr, inbox_max: usize) -> Node {
        let (sender, inbox) = mpsc::channel(inbox_max);
        let listen = Listen { addresses: vec![addr], port: PORT };
        let seed = u64::from(std::process::id());
        let mut net = Net::start(&listen, sender, Clock::start(), seed).unwrap();
        net.open().unwrap();
        Node { addr, net, inbox, seen: Vec::new() }
    }

    /// What `self` has to know of `other` as a peer.
    fn spec(&self, other: IpAddr) -> PeerSpec {
        let id = |addr: IpAddr| match addr {
            IpAddr::V4(v4) => RouterId::from(v4),
            IpAddr::V6(_) => RouterId(1),
        };
        let mut session = session::Config::new(Asn(65001), id(self.addr), Asn(65001));
        session.timing.connect_retry = Duration::from_millis(500);
        session.timing.idle_hold_min = Duration::from_millis(100);
        PeerSpec {
            id: PeerId(1),
            name: "other".to_owned(),
            addr: other,
            port: PORT,
            local_addr: Some(self.addr),
            session,
            secret: None,
            ttl_security: None,
        }
    }

    /// Waits until something was told.
    async fn until<T>(&mut self, mut found: impl FnMut(&Event) -> Option<T>) -> T {
        loop {
            let mut event =
                timeout(SOON, self.inbox.recv()).await.expect("in time").expect("an open channel");
            let result = found(&event);
            if let Event::Session { credit, .. } = &mut event {
                // What is only remembered is dealt with.
                *credit = None;
            }
            self.seen.push(event);
            if let Some(result) = result {
                return result;
            }
        }
    }

    async fn up(&mut self) -> Epoch {
        self.until(|event| match event {
            Event::Up { epoch, .. } => Some(*epoch),
            _ => None,
        })
        .await
    }

    async fn down(&mut self) -> String {
        self.until(|event| match event {
            Event::Session { event: session::Event::Down { reason, .. }, .. } => Some(reason.to_string()),
            _ => None,
        })
        .await
    }
}

/// Polls a condition until it holds.
async fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + SOON;
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tick.tick().await;
    }
}

/// Two speakers that know each other.
async fn pair(change: impl Fn(&mut PeerSpec)) -> ([Node; 2], [PeerHandle; 2]) {
    let [one, other] = [address(), address()];
    let mut nodes = [Node::start(one, 1024), Node::start(other, 1024)];
    let handles = [(0, other), (1, one)].map(|(at, peer)| {
        let mut spec = nodes[at].spec(peer);
        change(&mut spec);
        nodes[at].net.spawn(spec)
    });
    (nodes, handles)
}

/// An UPDATE that announces 10.0.x.0/24.
fn update(x: u8) -> Bytes {
    let attrs = [0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, 192, 0, 2, 1, 0x40, 5, 4, 0, 0, 0, 100];
    let mut octets = BytesMut::from(&[0xFF; 16][..]);
    octets.extend_from_slice(&(23 + attrs.len() as u16 + 4).to_be_bytes());
    octets.extend_from_slice(&[2, 0, 0, 0, attrs.len() as u8]);
    octets.extend_from_slice(&attrs);
    octets.extend_from_slice(&[24, 10, 0, x]);
    octets.freeze()
}

/// A log of so many segments, each of many UPDATE messages.
fn attached(segments: u64, messages: u8) -> (Attached, watch::Sender<Arc<LogView>>) {
    let segments: Vec<_> = (0..segments)
        .map(|at| {
            let mut builder = SegmentBuilder::default();
            (0..messages).for_each(|x| builder.announcements(None, |out| out.extend_from_slice(&update(x))));
            Arc::new(builder.build(Seq(at), Seq(at + 1)))
        })
        .collect();
    let end = Seq(segments.len() as u64);
    let view = Arc::new(LogView::new(segments, end));
    let (sender, views) = watch::channel(view.clone());
    let feed = Feed {
        family: Family::IPV4_UNICAST,
        group: GroupId(1),
        run: Run::Initial,
        position: Arc::new(Position::new(Seq::START)),
        initial: end,
        prelude: Vec::new(),
        view,
    };
    (Attached { feed, views }, sender)
}

fn routes(event: &Event) -> Option<usize> {
    match event {
        Event::Session { event: session::Event::Routes(routes), .. } => Some(routes.changes.len()),
        _ => None,
    }
}

#[tokio::test]
async fn two_speakers_exchange_routes() {
    let ([mut one, mut other], [handle, _]) = pair(|_| {}).await;
    let epoch = one.up().await;
    other.up().await;
    let (feed, _views) = attached(1, 3);
    handle.attach(epoch, [feed]);
    assert_eq!(other.until(routes).await, 3);
    other
        .until(|event| match event {
            Event::Session { event: session::Event::EndOfRib(Family::IPV4_UNICAST), .. } => Some(()),
            _ => None,
        })
        .await;
    let ends = handle.snapshot().ends.unwrap();
    assert_eq!((ends.0.ip(), ends.1.ip()), (one.addr, other.addr));
}

#[tokio::test]
async fn a_newer_view_is_told_as_it_is_published() {
    let ([mut one, mut other], [handle, _]) = pair(|_| {}).await;
    let epoch = one.up().await;
    let (feed, views) = attached(0, 0);
    handle.attach(epoch, [feed]);
    let (newer, _) = attached(2, 5);
    views.send_replace(newer.feed.view);
    assert_eq!(other.until(routes).await, 10);
}

#[tokio::test]
async fn peers_with_the_same_password_come_together() {
    let secret = Some(Secret::new(b"correct horse".to_vec()));
    let ([mut one, mut other], _) = pair(|spec| spec.secret.clone_from(&secret)).await;
    one.up().await;
    other.up().await;
}

#[tokio::test]
async fn peers_with_different_passwords_do_not_and_say_why() {
    let [one, other] = [address(), address()];
    let mut nodes = [Node::start(one, 64), Node::start(other, 64)];
    let mut spec = nodes[0].spec(other);
    spec.secret = Some(Secret::new(b"one".to_vec()));
    let handle = nodes[0].net.spawn(spec);
    let mut spec = nodes[1].spec(one);
    spec.secret = Some(Secret::new(b"other".to_vec()));
    nodes[1].net.spawn(spec);
    let cause = || handle.snapshot().trouble.is_some_and(|(text, _)| text.contains("TCP-MD5"));
    wait_for("a likely cause", cause).await;
    assert!(handle.snapshot().state.is_some_and(|(state, _)| state < State::OpenSent));
}

#[tokio::test]
async fn a_peer_without_the_password_is_not_let_in() {
    let ([mut one, _other], _) = pair(|_| {}).await;
    one.up().await;
    // The password comes later: the session that exists is not signed and ends.
    let mut spec = one.spec(_other.addr);
    spec.secret = Some(Secret::new(b"late".to_vec()));
    one.net.configure(spec);
    assert!(one.down().await.contains("Other Configuration Change"));
    let intruder = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    intruder.bind(&SocketAddr::new(_other.addr, 0).into()).unwrap();
    let target = SocketAddr::new(one.addr, PORT).into();
    assert!(intruder.connect_timeout(&target, Duration::from_millis(300)).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn ttl_security_lets_neighbours_in_and_nobody_else() {
    let ([mut one, mut other], _) = pair(|spec| spec.ttl_security = Some(1)).await;
    one.up().await;
    other.up().await;
    let [one, other] = [address(), address()];
    let mut node = Node::start(one, 64);
    let mut spec = node.spec(other);
    (spec.ttl_security, spec.session.connect) = (Some(1), Connect::Passive);
    let handle = node.net.spawn(spec);
    // An ordinary socket sends with TTL 64.
    let mut far = dial_from(other, one);
    assert!(is_closed(&mut far), "it was sent an OPEN");
    assert!(handle.snapshot().trouble.unwrap().0.contains("ttlSecurity"));
}

/// A plain connection from one address to another.
fn dial_from(from: IpAddr, to: IpAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket.connect(&SocketAddr::new(to, PORT).into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// Whether a connection is closed before it was sent anything.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(octets) => octets == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

/// Reads one message.
fn read_message(stream: &mut impl Read) -> Vec<u8> {
    let mut header = [0; 19];
    stream.read_exact(&mut header).unwrap();
    let mut message = header.to_vec();
    message.resize(usize::from(u16::from_be_bytes([header[16], header[17]])), 0);
    stream.read_exact(&mut message[19..]).unwrap();
    message
}

/// Says on a plain connection what it takes to be established.
fn introduce(stream: &mut TcpStream, router_id: RouterId) {
    let asn = Asn(65001);
    let capabilities = vec![Capability::Multiprotocol(Family::IPV4_UNICAST), Capability::FourOctetAs(asn)];
    let mut octets = BytesMut::new();
    Open { asn, hold_secs: 90, router_id, capabilities }.encode(&mut octets);
    encode_keepalive(&mut octets);
    stream.write_all(&octets).unwrap();
}

/// A node with one peer that dials, and that is played by plain connections.
fn visited() -> (Node, PeerHandle, IpAddr) {
    let [one, other] = [address(), address()];
    let mut node = Node::start(one, 64);
    let mut spec = node.spec(other);
    spec.session.connect = Connect::Passive;
    let handle = node.net.spawn(spec);
    (node, handle, other)
}

/// RFC 4271 section 6.8 protects a session that lives, not one that its peer has closed: after a mass reconnect the
/// runtime tells of the new connection as often first as of the old one's end.
#[tokio::test]
async fn a_peer_that_closes_and_dials_again_at_once_is_let_in() {
    let (mut node, handle, other) = visited();
    for round in 0..40 {
        let (mut peer, stream, remote) = handed_over(node.addr, other);
        introduce(&mut peer, RouterId(7));
        // Nothing is awaited between the end of the last connection and this.
        handle.accept(stream, remote);
        node.up().await;
        let octets = update(round);
        peer.write_all(&octets[..octets.len() - 2]).unwrap();
    }
    let refused =
        |event: &Event| matches!(event, Event::Session { event: session::Event::NotificationSent(_), .. });
    assert!(!node.seen.iter().any(refused), "{:?}", node.seen);
}

#[tokio::test]
async fn a_live_session_keeps_its_place_when_its_peer_dials_again() {
    let (mut node, handle, other) = visited();
    let mut peer = dial_from(other, node.addr);
    introduce(&mut peer, RouterId(7));
    node.up().await;
    let mut second = dial_from(other, node.addr);
    let refusal = tokio::task::spawn_blocking(move || read_message(&mut second)).await.unwrap();
    assert_eq!(refusal[18..], [3, 6, 7]);
    assert_eq!(handle.snapshot().state.unwrap().0, State::Established);
}

#[tokio::test]
async fn what_a_peer_said_before_it_closed_is_the_reason_of_the_end() {
    let (mut node, handle, other) = visited();
    let mut peer = dial_from(other, node.addr);
    introduce(&mut peer, RouterId(7));
    node.up().await;
    let mut goodbye = vec![0xFF; 16];
    goodbye.extend_from_slice(&[0, 21, 3, 6, 2]);
    peer.write_all(&goodbye).unwrap();
    drop(peer);
    let (mut peer, stream, remote) = handed_over(node.addr, other);
    introduce(&mut peer, RouterId(7));
    handle.accept(stream, remote);
    assert!(node.down().await.contains("Administrative Shutdown"));
    node.up().await;
}

fn retired(event: &Event) -> Option<()> {
    matches!(event, Event::Retired { .. }).then_some(())
}

#[tokio::test]
async fn a_peer_that_comes_while_it_is_let_go_is_not_lost() {
    let (mut node, handle, other) = visited();
    // It is there before its task looks: it stays.
    let (mut peer, stream, remote) = handed_over(node.addr, other);
    introduce(&mut peer, RouterId(7));
    handle.accept(stream, remote);
    handle.retire();
    node.up().await;
    assert!(node.seen.iter().all(|event| retired(event).is_none()));
    // It comes when its task has ended: its connection is handed back.
    drop(peer);
    node.down().await;
    handle.retire();
    node.until(retired).await;
    let (_peer, stream, remote) = handed_over(node.addr, other);
    handle.accept(stream, remote);
    let (_, back) = node.net.retired(other).expect("its connection");
    assert_eq!(back, remote);
}

/// A connection as a listener hands it over: the peer's end, ours, and whose it is.
fn handed_over(to: IpAddr, from: IpAddr) -> (TcpStream, tokio::net::TcpStream, SocketAddr) {
    let listener = std::net::TcpListener::bind((to, 0)).unwrap();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket.connect(&listener.local_addr().unwrap().into()).unwrap();
    let (stream, remote) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    (TcpStream::from(socket), tokio::net::TcpStream::from_std(stream).unwrap(), remote)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_word_is_said_before_the_process_ends() {
    let [one, other] = [address(), address()];
    let mut node = Node::start(one, 64);
    let mut spec = node.spec(other);
    spec.session.connect = Connect::Passive;
    node.net.spawn(spec);
    let mut peer = dial_from(other, one);
    assert_eq!(read_message(&mut peer)[18], 1, "an OPEN");
    // What it has not read would turn its close into a reset.
    peer.write_all(&[0xFF; 16]).unwrap();
    let reader = std::thread::spawn(move || read_message(&mut peer));
    node.net.close(|_| Stop::Exit).await;
    assert_eq!(reader.join().unwrap()[18..], [3, 6, 2]);
}

#[tokio::test]
async fn a_core_that_takes_nothing_costs_no_session() {
    let [one, other] = [address(), address()];
    let mut busy = Node::start(one, 1);
    let mut node = Node::start(other, 1024);
    let mut spec = busy.spec(other);
    spec.session.timing.hold_secs = 3;
    let handle = busy.net.spawn(spec);
    let to_busy = node.net.spawn(node.spec(one));
    let (_, epoch) = tokio::join!(busy.up(), node.up());
    // Far more than the busy one's socket and inbox hold.
    let (feed, _views) = attached(500, 250);
    to_busy.attach(epoch, [feed]);
    // Several hold times pass.
    wait_for("keepalives", || handle.snapshot().counters.sent.keepalives >= 12).await;
    assert_eq!(handle.snapshot().state.unwrap().0, State::Established);
    assert_eq!(to_busy.snapshot().state.unwrap().0, State::Established);
    let before = handle.snapshot().counters.received.updates;
    assert!(before < 500 * 250, "it was not held back");
    // The core takes up its work again: nothing is lost.
    let mut taken = 0;
    while taken < 500 * 250 {
        taken += busy.until(routes).await;
    }
}

#[tokio::test]
async fn a_peer_is_read_no_further_than_its_batches_are_dealt_with() {
    let ([mut one, mut other], [_, to_one]) = pair(|_| {}).await;
    let (_, epoch) = tokio::join!(one.up(), other.up());
    let (feed, _views) = attached(500, 250);
    to_one.attach(epoch, [feed]);
    // The inbox has room for far more; what is taken from it and kept is not dealt with.
    let mut kept = Vec::new();
    while let Ok(Some(event)) = timeout(Duration::from_secs(1), one.inbox.recv()).await {
        kept.push(event);
    }
    let batches = kept.iter().filter(|event| routes(event).is_some()).count();
    assert!((1..=2 * peer::BATCHES_MAX).contains(&batches), "{batches} batches");
    let mut taken: usize = kept.drain(..).filter_map(|event| routes(&event)).sum();
    while taken < 500 * 250 {
        taken += one.until(routes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_closed_and_one_from_a_range_is_passed_on() {
    let mut node = Node::start(address(), 64);
    let stranger = address();
    let mut stream = dial_from(stranger, node.addr);
    assert!(is_closed(&mut stream));
    node.net.allow_range(Prefix::new(stranger, 24).unwrap(), None);
    let _stream = dial_from(stranger, node.addr);
    let remote = node
        .until(|event| match event {
            Event::Incoming { remote, .. } => Some(remote.ip()),
            _ => None,
        })
        .await;
    assert_eq!(remote, stranger);
    // Nobody peers with itself, though its address lies in the range.
    let mut own = dial_from(node.addr, node.addr);
    assert!(is_closed(&mut own));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_silent_connections_delays_nobody() {
    let [one, other] = [address(), address()];
    let mut node = Node::start(one, 64);
    let strangers: Vec<TcpStream> = (0..100).map(|_| dial_from(address(), one)).collect();
    let silent: Vec<TcpStream> = (0..100).map(|_| dial_from(other, one)).collect();
    let mut peer = Node::start(other, 64);
    node.net.spawn(node.spec(other));
    peer.net.spawn(peer.spec(one));
    let up = timeout(Duration::from_secs(5), node.up()).await;
    assert!(up.is_ok());
    drop((strangers, silent));
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_to_be() {
    let node = Node::start(address(), 1);
    let listen = Listen { addresses: vec![node.addr], port: PORT };
    let (sender, _inbox) = mpsc::channel::<Event>(1);
    let Err(error) = Net::start(&listen, sender, Clock::start(), 1) else {
        panic!("two listen on one address")
    };
    assert!(error.to_string().contains("the port is taken"), "{error}");
}

#[tokio::test]
async fn a_listener_can_be_moved_and_sessions_stay() {
    let ([mut one, mut other], [handle, _]) = pair(|_| {}).await;
    one.up().await;
    other.up().await;
    let elsewhere = address();
    one.net.listen(&Listen { addresses: vec![elsewhere], port: PORT }).unwrap();
    drop(dial_from(other.addr, elsewhere));
    let refused = || TcpStream::connect_timeout(&SocketAddr::new(one.addr, PORT), SOON).is_err();
    wait_for("the old address is closed", refused).await;
    assert_eq!(handle.snapshot().state.unwrap().0, State::Established);
}

#[tokio::test]
async fn a_peer_that_is_removed_is_told_so() {
    let ([mut one, mut other], _) = pair(|_| {}).await;
    one.up().await;
    other.up().await;
    one.net.remove(other.addr, Stop::Deconfigured);
    assert!(other.down().await.contains("Peer De-configured"));
}

#[tokio::test]
async fn a_socket_has_the_options_of_a_routing_protocol() {
    let ([mut one, _other], _) = pair(|_| {}).await;
    one.up().await;
    let listener = tokio::net::TcpSocket::new_v4().unwrap();
    socket::prepare(&listener, one.addr, Some(1)).unwrap();
    let options = socket2::SockRef::from(&listener);
    assert_eq!(options.tos_v4().unwrap(), 0xC0);
    assert_eq!(options.ttl_v4().unwrap(), 255);
    assert!(options.tcp_nodelay().unwrap() && listener.as_fd().try_clone_to_owned().is_ok());
}
