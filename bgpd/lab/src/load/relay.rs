//! The physical limit: a process that only copies octets.
//!
//! It speaks as much BGP as it takes to be talked to, rewrites nothing but what a reflector must (it adds ORIGINATOR_ID and
//! CLUSTER_LIST once an UPDATE), keeps no table, decides nothing, and sends the same octets to all others. No daemon that does its work
//! can be faster on the same sockets.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;

use anyhow::Result;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use super::wire::{self, Kind};

const LISTENER: Token = Token(usize::MAX);

struct Peer {
    stream: TcpStream,
    partial: Vec<u8>,
    greeting: Vec<u8>,
    is_up: bool,
    /// How much of the history it was written.
    at: usize,
    /// Its own part of the history, to leave out, and how much of that was passed.
    own: Vec<Range<usize>>,
    own_passed: usize,
}

struct Relay {
    poll: Poll,
    peers: Vec<Peer>,
    /// Every UPDATE, rewritten, one behind the other.
    history: Vec<u8>,
}

/// Relays until it is killed.
pub fn run(port: u16) -> Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(65_535)?;
    let mut listener = TcpListener::from_std(socket.into());
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut relay = Relay { poll, peers: Vec::new(), history: Vec::new() };
    let mut events = Events::with_capacity(4096);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        relay.poll.poll(&mut events, None).or_else(|e| match e.kind() {
            ErrorKind::Interrupted => Ok(()),
            _ => Err(e),
        })?;
        for event in &events {
            match event.token() {
                LISTENER => relay.accept(&listener)?,
                Token(at) if event.is_readable() => relay.read(at, &mut buffer)?,
                Token(_) => {}
            }
        }
        for at in 0..relay.peers.len() {
            relay.write(at)?;
        }
    }
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    stream.set_nodelay(true)?;
                    let both = Interest::READABLE | Interest::WRITABLE;
                    self.poll.registry().register(&mut stream, Token(self.peers.len()), both)?;
                    let greeting = wire::greeting_of(0xFFFF, wire::HOLD_SECS).0.to_vec();
                    let (partial, own) = (Vec::new(), Vec::new());
                    let peer = Peer { stream, partial, greeting, is_up: false, at: 0, own, own_passed: 0 };
                    self.peers.push(peer);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn read(&mut self, at: usize, buffer: &mut [u8]) -> Result<()> {
        loop {
            let peer = &mut self.peers[at];
            match peer.stream.read(buffer) {
                Ok(0) => return Ok(()),
                Ok(octets) => peer.partial.extend_from_slice(&buffer[..octets]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Ok(()),
            }
        }
        let peer = &mut self.peers[at];
        let mut octets = &peer.partial[..];
        while let Some((kind, length)) = wire::next_message(octets)? {
            match kind {
                Kind::Open => peer.greeting.extend_from_slice(&wire::greeting_of(0, wire::HOLD_SECS).1),
                Kind::Keepalive => peer.is_up = true,
                Kind::Update => {
                    let start = self.history.len();
                    reflect(&octets[..length], at, &mut self.history);
                    peer.own.push(start..self.history.len());
                }
                Kind::Refresh => {}
            }
            octets = &octets[length..];
        }
        peer.partial = octets.to_vec();
        Ok(())
    }

    fn write(&mut self, at: usize) -> Result<()> {
        let peer = &mut self.peers[at];
        if !peer.greeting.is_empty() {
            match std::io::Write::write(&mut peer.stream, &peer.greeting) {
                Ok(octets) => drop(peer.greeting.drain(..octets)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Ok(()),
            }
        }
        while peer.is_up {
            let own = peer.own.get(peer.own_passed);
            if let Some(own) = own.filter(|own| own.start == peer.at) {
                (peer.at, peer.own_passed) = (own.end, peer.own_passed + 1);
                continue;
            }
            let end = own.map_or(self.history.len(), |own| own.start);
            if peer.at == end {
                return Ok(());
            }
            match std::io::Write::write(&mut peer.stream, &self.history[peer.at..end]) {
                Ok(octets) => peer.at += octets,
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Appends the UPDATE with ORIGINATOR_ID and CLUSTER_LIST behind its attributes.
fn reflect(message: &[u8], from: usize, out: &mut Vec<u8>) {
    let start = out.len();
    let withdrawn = usize::from(u16::from_be_bytes([message[19], message[20]]));
    let at = 21 + withdrawn;
    let attrs = usize::from(u16::from_be_bytes([message[at], message[at + 1]]));
    if attrs == 0 {
        return out.extend_from_slice(message);
    }
    out.extend_from_slice(&message[..at + 2 + attrs]);
    out.extend_from_slice(&[0x80, 9, 4]);
    out.extend_from_slice(&(from as u32 + 1).to_be_bytes());
    out.extend_from_slice(&[0x80, 10, 4, 1, 1, 1, 1]);
    out.extend_from_slice(&message[at + 2 + attrs..]);
    let (total, grown) = ((out.len() - start) as u16, attrs as u16 + 14);
    out[start + 16..start + 18].copy_from_slice(&total.to_be_bytes());
    out[start + at..start + at + 2].copy_from_slice(&grown.to_be_bytes());
}
