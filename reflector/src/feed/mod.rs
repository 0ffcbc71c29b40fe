//! What the table tells sessions: immutable views of group logs, and the cursor that reads them.
//!
//! A group publishes a [`LogView`]: its [`Segment`]s in order, each a run of encoded UPDATE messages. A session
//! holds a [`Cursor`] for each family it negotiated and takes segment after segment, cloning shared octets, for
//! as long as its socket has room. Views are values: publishing one needs no lock that the table could wait on,
//! and a session that never reads costs one view and its place in the log.
//!
//! # Audience
//!
//! Not every message is for every peer: a route is not sent back to its source. So a segment knows, by peer,
//! which octets to leave out and which few are for one peer alone. A cursor takes at most `2k + 1` slices from a
//! segment, where `k` is the number of messages that came from its own peer.

mod cursor;
mod segment;
mod view;

pub use cursor::{Cursor, Position};
pub use segment::{Segment, SegmentBuilder};
pub use view::LogView;

use bgp_proto::Family;
use bytes::Bytes;
use std::sync::Arc;

use crate::ids::{GroupId, Seq};

/// A session's place in a group, granted by the table: when the peer is up, when it moves to another group, and when
/// it asks for everything again.
///
/// Only the table can grant one, for a run from the beginning is sound on a log in which nothing is superseded: else
/// it would tell what a later entry takes back, and that entry may be swept before the cursor arrives.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The family it carries.
    pub family: Family,
    /// The group whose views to read.
    pub group: GroupId,
    /// Whether the peer has heard nothing yet, or asked for everything again.
    pub run: Run,
    /// Where the cursor's progress is told to the table.
    pub position: Arc<Position>,
    /// The log's end when the feed was granted: End-of-RIB (RFC 4724 section 2), or the end of the refresh, is due
    /// once the cursor is past it.
    pub initial: Seq,
    /// Messages to send before anything of the log: withdrawals of what only the former group had told.
    pub prelude: Vec<Bytes>,
    /// The group's view when the feed was granted.
    pub view: Arc<LogView>,
}

/// Why a peer reads a log from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// It is new to the group.
    Initial,
    /// It asked for everything again (RFC 2918).
    Refresh,
}
