//! The sockets of BFD: one that receives for each version of IP, one that sends for each session.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info};

use super::packet::{OCTETS, Packet};
use super::session::Session;
use super::{Directory, Event, PORT, lock};
use crate::clock::Clock;

/// Source ports of control packets (RFC 5881 section 4).
const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;
/// Source ports tried before the node is taken to have none.
const ATTEMPTS_MAX: u16 = 64;
/// The TTL of a packet that crossed no router.
const TTL: u32 = 255;

/// A socket that also tells the TTL of what it receives.
pub(super) fn receiving(any: IpAddr, port: u16) -> io::Result<UdpSocket> {
    let socket = udp(any)?;
    if any.is_ipv4() {
        setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
    } else {
        socket.set_only_v6(true)?;
        setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
    }
    socket.bind(&SocketAddr::new(any, port).into())?;
    UdpSocket::from_std(socket.into())
}

/// A socket to one peer.
pub(super) fn sending(local: IpAddr, peer: IpAddr) -> io::Result<UdpSocket> {
    let socket = udp(peer)?;
    if peer.is_ipv4() {
        socket.set_ttl_v4(TTL)?;
    } else {
        socket.set_unicast_hops_v6(TTL)?;
    }
    let mut ports =
        SOURCE_PORTS.step_by(usize::from((SOURCE_PORTS.end() - SOURCE_PORTS.start()) / ATTEMPTS_MAX));
    let spread = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), peer) as u16 % ATTEMPTS_MAX;
    let bound = ports.find_map(|port| {
        let port = port.checked_add(spread).filter(|port| SOURCE_PORTS.contains(port))?;
        match socket.bind(&SocketAddr::new(local, port).into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
            bound => Some(bound),
        }
    });
    bound.unwrap_or_else(|| Err(io::ErrorKind::AddrInUse.into()))?;
    socket.connect(&SocketAddr::new(peer, PORT).into())?;
    UdpSocket::from_std(socket.into())
}

fn udp(of: IpAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(SocketAddr::new(of, 0)), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Hands packets to their sessions, for as long as the socket works.
pub(super) async fn receive(socket: UdpSocket, directory: Directory) {
    loop {
        match socket.async_io(Interest::READABLE, || read(&socket)).await {
            Ok(Some((addr, packet))) => {
                // A session that lags has newer packets to come.
                if let Some(session) = lock(&directory).get(&addr) {
                    let _ = session.try_send(packet);
                }
            }
            Ok(None) => {}
            Err(error) => {
                debug!(%error, "BFD's socket failed");
                return;
            }
        }
    }
}

/// One datagram; `None` if it is no packet of a neighbour's.
fn read(socket: &UdpSocket) -> io::Result<Option<(IpAddr, Packet)>> {
    // One octet more, so that what is longer is seen to be.
    let mut octets = [0; OCTETS + 1];
    let mut slices = [IoSliceMut::new(&mut octets)];
    let mut control = nix::cmsg_space!(libc::c_int);
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let ttl = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => u32::try_from(ttl).ok(),
        _ => None,
    });
    let from = message.address.and_then(|addr| {
        let v4 = addr.as_sockaddr_in().map(|addr: &SockaddrIn| IpAddr::from(addr.ip()));
        v4.or_else(|| addr.as_sockaddr_in6().map(|addr: &SockaddrIn6| IpAddr::from(addr.ip())))
    });
    let length = message.bytes;
    let packet = octets.get(..length).and_then(Packet::read);
    Ok(from.zip(packet).filter(|_| ttl == Some(TTL)))
}

/// A session with its socket.
pub(super) struct Driver<I> {
    pub(super) addr: IpAddr,
    pub(super) socket: UdpSocket,
    pub(super) session: Session,
    pub(super) packets: mpsc::Receiver<Packet>,
    pub(super) clock: Clock,
    pub(super) inbox: mpsc::Sender<I>,
}

impl<I: From<Event> + Send + 'static> Driver<I> {
    /// Runs until `stop` is dropped, or the core is gone.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        loop {
            while let Some(packet) = self.session.poll_transmit(self.clock.now()) {
                self.send(packet);
            }
            let deadline = self.session.deadline().map(|at| self.clock.moment(at));
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let change = tokio::select! {
                packet = self.packets.recv() => match packet {
                    Some(packet) => self.session.received(packet, self.clock.now()),
                    None => break,
                },
                () = timer => self.session.timeout(self.clock.now()),
                _ = &mut stop => break,
            };
            let Some(change) = change else { continue };
            info!(addr = %self.addr, ?change, "BFD");
            let event = Event { addr: self.addr, change };
            if self.inbox.send(I::from(event)).await.is_err() {
                break;
            }
        }
        if let Some(packet) = self.session.withdraw(self.clock.now()) {
            self.send(packet);
        }
    }

    /// A packet that cannot be sent is one that is lost; the peer notices.
    fn send(&self, packet: Packet) {
        if let Err(error) = self.socket.try_send(&packet.octets()) {
            debug!(addr = %self.addr, %error, "BFD packet not sent");
        }
    }
}
