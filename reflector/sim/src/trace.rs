//! The last things that happened, kept for whoever has to understand a failure.

use reflector::ids::PeerId;
use reflector::session::Event;
use reflector::time::Instant;
use std::collections::VecDeque;
use std::fmt;

use crate::topology::NodeId;

/// Lines that are kept.
const KEPT_MAX: usize = 80;

/// A ring of lines.
#[derive(Debug, Default)]
pub struct Trace(VecDeque<(Instant, String)>);

impl Trace {
    /// Adds a line.
    pub fn say(&mut self, at: Instant, what: String) {
        if self.0.len() == KEPT_MAX {
            self.0.pop_front();
        }
        self.0.push_back((at, what));
    }

    /// Adds what a session said.
    pub fn session(&mut self, at: Instant, node: NodeId, peer: PeerId, event: &Event) {
        let other = peer.0.saturating_sub(1);
        let what = match event {
            Event::Up { .. } => format!("{} is up with {other}", node.0),
            Event::Down { reason, retention } => {
                format!("{} is down with {other}: {reason}; {retention:?}", node.0)
            }
            other => format!("{}: {other:?}", node.0),
        };
        self.say(at, what);
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, what) in &self.0 {
            let micros = at.as_nanos() / 1000;
            writeln!(f, "{:>6}.{:06}  {what}", micros / 1_000_000, micros % 1_000_000)?;
        }
        Ok(())
    }
}
