//! The socket that asks: batches of route operations, dumps.
//!
//! The kernel carries out rtnetlink requests inside the system call that brings them, and its answers lie in the socket
//! when that call returns. So there is nothing to wait for, and nothing asynchronous here: write a batch, read until the
//! answer to its last message, done. If the socket is empty before that, answers were lost for want of room, and
//! [`Outcome::Lost`] says so.
//!
//! A batch is up to [`BATCH`] messages in one write. Only the last asks for an acknowledgement, because errors come back
//! unasked: silence before the last answer means success. Each answer is matched to its operation by sequence number.
//! Measured on one core of a quiet machine: 461,000 routes a second in batches of 32, 321,000 one by one, and no more with
//! 256; on a busy machine the difference is threefold, because every answer waited for is a context switch.

use std::collections::BTreeSet;
use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::facts::{Address, KernelChange, KernelRoute, Link, Neighbour};
use super::plan::{Action, Op};
use super::refusal::Outcome;
use super::tunnel::TunnelOp;
use super::wire::{self, Content, RouteRequest, Verb};
use bgp_proto::Version;

/// Operations in one write.
pub(super) const BATCH: usize = 32;
/// The kernel fills at most this much with one datagram of a dump.
const READ_BYTES: usize = 32 * 1024;
/// Room for answers: a batch that fails as a whole is some 30 kB, the rest is for dumps.
const RECEIVE_BYTES: u32 = 1 << 20;
/// Dumps disturbed by changes are asked for again this often; then what was seen is taken, and a later walk corrects it.
const DUMP_ATTEMPTS: usize = 4;

/// A socket for requests.
pub(super) struct Requests {
    socket: Socket,
    port: u32,
    seq: u32,
    out: Vec<u8>,
    input: Vec<u8>,
}

impl Requests {
    pub(super) fn open() -> io::Result<Requests> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        socket.set_non_blocking(true)?;
        socket.set_rx_buf_sz(RECEIVE_BYTES)?;
        // Kernels without these (before 4.20) answer with fewer words and filter dumps less; all answers are checked.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        Ok(Requests { socket, port, seq: 0, out: Vec::new(), input: Vec::with_capacity(READ_BYTES) })
    }

    /// The number by which notifications name this socket as the one who caused them.
    pub(super) fn port(&self) -> u32 {
        self.port
    }

    /// Carries out operations, one write; what became of each.
    pub(super) fn apply(&mut self, ops: &[Op], outcomes: &mut Vec<Outcome>) {
        self.exchange(ops.len(), outcomes, |out, index, seq| {
            let last = if index + 1 == ops.len() { wire::F_ACK } else { 0 };
            if let Some(op) = ops.get(index) {
                request(op, seq, last).write(out);
            }
        });
    }

    /// Carries out operations on tunnel devices, one write; what became of each.
    pub(super) fn apply_tunnel(&mut self, ops: &[TunnelOp], outcomes: &mut Vec<Outcome>) {
        self.exchange(ops.len(), outcomes, |out, index, seq| {
            if let Some(op) = ops.get(index) {
                wire::write_tunnel(out, seq, op);
            }
        });
    }

    fn exchange(
        &mut self,
        count: usize,
        outcomes: &mut Vec<Outcome>,
        write: impl Fn(&mut Vec<u8>, usize, u32),
    ) {
        outcomes.clear();
        outcomes.resize(count, Outcome::Lost);
        let first = self.seq.wrapping_add(1);
        self.out.clear();
        for index in 0..count {
            self.seq = self.seq.wrapping_add(1);
            write(&mut self.out, index, self.seq);
        }
        if count == 0 || self.send().is_err() {
            return;
        }
        if self.answers(first, outcomes).is_ok() {
            for outcome in outcomes.iter_mut().filter(|outcome| **outcome == Outcome::Lost) {
                *outcome = Outcome::Done;
            }
        }
    }

    /// Reads answers up to that of the last request.
    fn answers(&mut self, first: u32, outcomes: &mut [Outcome]) -> io::Result<()> {
        let last = outcomes.len().saturating_sub(1);
        loop {
            self.receive()?;
            for message in wire::messages(&self.input) {
                let index = message.seq.wrapping_sub(first) as usize;
                let (Some(outcome), Content::Ack(errno, words)) =
                    (outcomes.get_mut(index), message.content())
                else {
                    continue;
                };
                *outcome = Outcome::new(errno, words);
                if index == last {
                    return Ok(());
                }
            }
        }
    }

    /// All interfaces.
    pub(super) fn links(&mut self) -> io::Result<Vec<Link>> {
        self.collect(wire::write_dump_links, |change| match change {
            KernelChange::LinkCame(link) => Some(link),
            _ => None,
        })
    }

    /// All addresses.
    pub(super) fn addresses(&mut self) -> io::Result<Vec<Address>> {
        self.collect(wire::write_dump_addresses, |change| match change {
            KernelChange::AddressCame(address) => Some(address),
            _ => None,
        })
    }

    /// The permanent neighbours and forwarding entries of a device.
    pub(super) fn neighbours(&mut self, ifindex: u32) -> io::Result<BTreeSet<Neighbour>> {
        let mut found = BTreeSet::new();
        for is_forwarding in [false, true] {
            self.dump(
                |out, seq| wire::write_dump_neighbours(out, seq, ifindex, is_forwarding),
                |change| {
                    if let KernelChange::NeighbourSeen(entry) = change
                        && entry.ifindex == ifindex
                    {
                        found.insert(entry);
                    }
                },
            )?;
        }
        Ok(found)
    }

    /// All routes of a version in a table, as they come: `visit` may see a route twice if changes disturb the dump.
    pub(super) fn routes(
        &mut self,
        version: Version,
        table: u32,
        mut visit: impl FnMut(KernelRoute),
    ) -> io::Result<()> {
        self.dump(
            |out, seq| wire::write_dump_routes(out, seq, version, table),
            |change| {
                if let KernelChange::RouteCame(route, _) = change
                    && route.place.table == table
                    && route.prefix.version() == version
                {
                    visit(route);
                }
            },
        )
    }

    fn collect<T>(
        &mut self,
        write: impl Fn(&mut Vec<u8>, u32),
        select: impl Fn(KernelChange) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        let mut found = Vec::new();
        self.dump(write, |change| found.extend(select(change)))?;
        Ok(found)
    }

    fn dump(
        &mut self,
        write: impl Fn(&mut Vec<u8>, u32),
        mut visit: impl FnMut(KernelChange),
    ) -> io::Result<()> {
        for _ in 0..DUMP_ATTEMPTS {
            self.seq = self.seq.wrapping_add(1);
            self.out.clear();
            write(&mut self.out, self.seq);
            self.send()?;
            if self.dump_answers(&mut visit)? {
                break;
            }
        }
        Ok(())
    }

    /// Reads a dump to its end; whether it was whole.
    fn dump_answers(&mut self, visit: &mut impl FnMut(KernelChange)) -> io::Result<bool> {
        let mut whole = true;
        loop {
            self.receive()?;
            for message in wire::messages(&self.input).filter(|message| message.seq == self.seq) {
                whole &= !message.interrupted();
                match message.content() {
                    Content::Change(change) => visit(change),
                    // No such table is an empty one.
                    Content::Done(0 | libc::ENOENT) | Content::Ack(libc::ENOENT, _) => return Ok(whole),
                    Content::Done(errno) | Content::Ack(errno, _) => {
                        return Err(io::Error::from_raw_os_error(errno));
                    }
                    Content::Ignored => {}
                }
            }
        }
    }

    fn send(&self) -> io::Result<()> {
        self.socket.send_to(&self.out, &SocketAddr::new(0, 0), 0).map(drop)
    }

    /// One datagram. An empty socket is an error here: the kernel has said all it is going to say.
    fn receive(&mut self) -> io::Result<()> {
        receive(&self.socket, &mut self.input)
    }
}

/// Reads one datagram into an empty buffer.
pub(super) fn receive(socket: &Socket, input: &mut Vec<u8>) -> io::Result<()> {
    loop {
        input.clear();
        match socket.recv(input, 0) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn request(op: &Op, seq: u32, ack: u16) -> RouteRequest<'_> {
    let (flags, verb) = match &op.action {
        Action::Add(target) => (wire::F_CREATE | wire::F_EXCL, Verb::New(target)),
        Action::Replace(target) => (wire::F_CREATE | wire::F_REPLACE, Verb::New(target)),
        Action::Delete(target) => (0, Verb::Delete(target.as_deref())),
    };
    RouteRequest { flags: flags | ack, seq, prefix: op.prefix, place: op.place, protocol: op.protocol, verb }
}
