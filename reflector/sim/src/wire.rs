//! Connections between nodes, as TCP would have them: octets in order, a bounded window, an end that is seen late or not.
//!
//! A connection has two ends and, towards each, a pipe of octets on their way. What an end writes enters the other's
//! pipe as long as there is room; it leaves it in pieces of any size, which is how the receiver sees it. Closing an end lets
//! what is in the pipe arrive first; a reset does not. An end whose process is gone answers octets with a reset. While
//! the link is blocked nothing arrives, neither octets nor ends; afterwards what still makes sense does.

use bytes::{Buf, Bytes};
use reflector::session::ConnId;
use reflector::time::Instant;
use std::collections::VecDeque;

use crate::topology::NodeId;

/// Octets on their way to one end, at most, but for one segment of a group's log. Small clusters have little to say, so some
/// connections have a window that even that fills.
pub const WINDOW: usize = 64 * 1024;

/// A connection.
#[derive(Debug)]
pub struct Conn {
    /// Who dialed, then who accepts.
    pub ends: [End; 2],
    /// Whether it has gone silent: nothing that is sent over it arrives, not even its end.
    pub is_silent: bool,
}

/// One end of a connection.
#[derive(Debug)]
pub struct End {
    /// Whose.
    pub node: NodeId,
    /// Which life of it: a process that is gone never comes back to its connections.
    pub life: u32,
    /// What the session calls the connection, once it knows of it.
    pub id: Option<ConnId>,
    /// Whether the process still has it.
    pub presence: Presence,
    /// What is on its way to this end.
    pub pipe: Pipe,
    /// Before this, the process does not read.
    pub idle_until: Instant,
    /// Before this, it reads a few octets at a time.
    pub slow_until: Instant,
}

/// Whether a process has an end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It was not accepted yet.
    Coming,
    /// It has it.
    Here,
    /// It closed it, or is gone.
    Gone,
}

/// How the other end ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fin {
    /// In order.
    Closed,
    /// By a reset.
    Reset,
}

/// Octets on their way.
#[derive(Debug, Default)]
pub struct Pipe {
    octets: VecDeque<Bytes>,
    len: usize,
    window: usize,
    /// What follows them.
    pub fin: Option<Fin>,
    /// Whether an arrival is scheduled.
    pub is_scheduled: bool,
    /// Whether the writer found no room.
    pub is_awaited: bool,
}

impl Pipe {
    /// Octets on their way.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many more fit.
    pub fn room(&self) -> usize {
        self.window.saturating_sub(self.len)
    }

    /// Adds octets.
    pub fn push(&mut self, octets: Bytes) {
        self.len += octets.len();
        self.octets.push_back(octets);
    }

    /// Takes the first octets out, at most so many.
    pub fn take(&mut self, max: usize) -> Vec<u8> {
        let mut taken = Vec::with_capacity(max.min(self.len));
        while taken.len() < max
            && let Some(first) = self.octets.front_mut()
        {
            let part = first.len().min(max - taken.len());
            taken.extend_from_slice(&first[..part]);
            first.advance(part);
            if first.is_empty() {
                self.octets.pop_front();
            }
        }
        self.len -= taken.len();
        taken
    }

    /// Nothing is on its way any more.
    pub fn clear(&mut self) {
        *self = Pipe { window: self.window, ..Pipe::default() };
    }

    /// Nothing arrives any more but a reset.
    pub fn reset(&mut self) {
        (self.octets, self.len) = (VecDeque::new(), 0);
        self.fin = Some(Fin::Reset);
    }
}

impl Conn {
    /// A connection that has just been opened, with a window of so many octets.
    pub fn new(dialer: (NodeId, u32), acceptor: (NodeId, u32), window: usize) -> Conn {
        let end = |(node, life), presence| End {
            node,
            life,
            id: None,
            presence,
            pipe: Pipe { window, ..Pipe::default() },
            idle_until: Instant::EPOCH,
            slow_until: Instant::EPOCH,
        };
        Conn { ends: [end(dialer, Presence::Here), end(acceptor, Presence::Coming)], is_silent: false }
    }

    /// Whether nobody has anything to do with it any more.
    pub fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.presence == Presence::Gone)
    }
}
