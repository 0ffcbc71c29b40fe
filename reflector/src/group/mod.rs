//! Who is told, once: groups are the Adj-RIB-Out.
//!
//! Every established peer belongs to one group per family. What makes two peers hear different octets is in the
//! [`GroupKey`]; peers with the same key hear the same, so a change is exported, encoded and stored once a group,
//! whatever the number of its peers. A group's memory is its [`Log`].
//!
//! There is no second path for a single peer: a peer that differs from all others is a group of one.

mod entry;
mod export;
mod interest;
mod key;
mod log;
mod pack;

#[cfg(test)]
mod bounds;
#[cfg(test)]
mod oracle;

pub use entry::{LogKey, State, Store};
pub use export::{Export, LastExport, Local, Outcome, Withheld};
pub use interest::Interest;
pub use key::{GroupKey, LongLivedRule, NextHopRule, PolicyChoice, TunnelScope};
pub use log::{Entry, Log, Sealed};

use std::sync::Arc;

use crate::feed::{Feed, LogView, Position, Run};
use crate::ids::{GroupId, PeerId};

/// Peers that hear the same, and what they hear.
#[derive(Debug)]
pub struct Group {
    /// Its name.
    pub id: GroupId,
    /// What its peers have in common.
    pub key: GroupKey,
    /// What they are told.
    pub log: Log,
    /// The path exported last.
    pub last_export: LastExport,
}

impl Group {
    /// A group without members.
    pub fn new(id: GroupId, key: GroupKey) -> Group {
        let log = Log::new(key.family, key.wire);
        Group { id, key, log, last_export: LastExport::default() }
    }

    /// Takes `peer` in; the feed is what its session reads.
    pub fn join(&mut self, peer: PeerId, store: &mut Store<'_>) -> Feed {
        let (position, view) = self.log.join(peer, store);
        self.feed(Run::Initial, position, view)
    }

    /// Grants a member another run over everything (RFC 2918).
    pub fn restart(&mut self, peer: PeerId, store: &mut Store<'_>) -> Option<Feed> {
        let (position, view) = self.log.restart(peer, store)?;
        Some(self.feed(Run::Refresh, position, view))
    }

    fn feed(&self, run: Run, position: Arc<Position>, view: Arc<LogView>) -> Feed {
        let (family, group, initial) = (self.key.family, self.id, view.end());
        Feed { family, group, run, position, initial, prelude: Vec::new(), view }
    }

    /// Lets `peer` go.
    pub fn leave(&mut self, peer: PeerId) {
        self.log.leave(peer);
    }
}
