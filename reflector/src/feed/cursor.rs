//! A peer's place in its group's log.

use bytes::Bytes;
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use super::{Feed, LogView, segment::Withdrawals};
use crate::ids::{PeerId, Seq};

/// How far a cursor has come, shared with the table, which may forget what every cursor has passed.
///
/// It only grows while a feed lives, so that a stale reading is a safe one. A route refresh starts a cursor over
/// without moving it: what was passed once is known to the peer. What the cursor has yet to read is another matter: a
/// run begins at the beginning, and grows too.
#[derive(Debug, Default)]
pub struct Position {
    been: AtomicU64,
    read: AtomicU64,
}

impl Position {
    /// The position of a cursor that has been at `seq` and begins a run.
    pub fn new(seq: Seq) -> Position {
        Position { been: AtomicU64::new(seq.0), read: AtomicU64::new(Seq::START.0) }
    }

    /// Where the cursor is known to have been.
    pub fn seq(&self) -> Seq {
        Seq(self.been.load(Ordering::Acquire))
    }

    /// What the run under way has read: the cursor needs nothing before.
    pub fn read(&self) -> Seq {
        Seq(self.read.load(Ordering::Acquire))
    }

    /// Moves on to `seq`; never back.
    fn advance(&self, seq: Seq) {
        self.been.fetch_max(seq.0, Ordering::AcqRel);
        self.read.fetch_max(seq.0, Ordering::AcqRel);
    }
}

/// Reads a group's log for one peer.
#[derive(Debug)]
pub struct Cursor {
    peer: PeerId,
    at: Seq,
    /// Up to here withdrawals say nothing that the peer does not know: it never heard what they take back, or heard
    /// them before it asked for everything again.
    known_through: Seq,
    /// End-of-RIB, or the end of a refresh, is due once `at` has reached this.
    due: Option<Seq>,
    position: Arc<Position>,
}

impl Cursor {
    /// The cursor of a peer that is new to the feed's group.
    pub fn new(peer: PeerId, feed: &Feed) -> Cursor {
        Cursor {
            peer,
            at: Seq::START,
            known_through: feed.initial,
            due: Some(feed.initial),
            position: feed.position.clone(),
        }
    }

    /// Starts over, to tell everything again (RFC 2918), by a feed granted for that.
    pub fn restart(&mut self, feed: &Feed) {
        // Beyond where the run was granted, something may be superseded that the peer has heard: the run tells it
        // again, so what takes it back must be told again too.
        self.known_through = self.known_through.max(self.at).min(feed.initial);
        self.at = Seq::START;
        self.due = Some(feed.initial);
        self.position = feed.position.clone();
    }

    /// Takes the next segment's octets for this peer. Returns `false` when there was none.
    pub fn take(&mut self, view: &LogView, out: impl FnMut(Bytes)) -> bool {
        let Some(segment) = view.after(self.at) else {
            self.at = self.at.max(view.end());
            self.position.advance(self.at);
            return false;
        };
        let is_known = segment.through() <= self.known_through;
        segment.read(self.peer, if is_known { Withdrawals::Skip } else { Withdrawals::Read }, out);
        self.at = segment.through();
        self.position.advance(self.at);
        true
    }

    /// Whether the run over the log that began with the cursor, or with [`Cursor::restart`], has just ended.
    /// Says so once.
    pub fn take_due(&mut self, view: &LogView) -> bool {
        let Some(due) = self.due else { return false };
        let is_over = self.at >= due || view.after(self.at).is_none_or(|segment| segment.after() >= due);
        if is_over {
            self.due = None;
            // What stood up to there and does not any more is passed too. An older view may still have it, and what takes it
            // back is taken as known.
            self.at = self.at.max(due);
            self.position.advance(self.at);
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{Run, SegmentBuilder};
    use crate::ids::GroupId;
    use bgp_proto::Family;

    fn segment(at: u64, withdrawal: &[u8], announcement: &[u8]) -> Arc<crate::feed::Segment> {
        let mut builder = SegmentBuilder::default();
        builder.withdrawals(None, |out| out.extend_from_slice(withdrawal));
        builder.announcements(None, |out| out.extend_from_slice(announcement));
        Arc::new(builder.build(Seq(at - 1), Seq(at)))
    }

    fn feed(run: Run, view: &Arc<LogView>) -> Feed {
        Feed {
            family: Family::IPV4_UNICAST,
            group: GroupId(1),
            run,
            position: Arc::new(Position::new(view.end())),
            initial: view.end(),
            prelude: Vec::new(),
            view: view.clone(),
        }
    }

    fn read(cursor: &mut Cursor, view: &LogView) -> Vec<u8> {
        let mut heard = Vec::new();
        while cursor.take(view, |octets| heard.extend_from_slice(&octets)) {}
        heard
    }

    /// Found by the simulation, as a route that nobody had any more and that a refresh brought back: between the last
    /// octets of the run and the end of the log the reader was handed an older view of the same end, whose last
    /// withdrawal it took as known.
    #[test]
    fn a_run_that_is_over_does_not_go_back_to_what_an_older_view_still_has() {
        let older =
            LogView::new(vec![segment(1, b"", b"A"), segment(2, b"", b"X"), segment(3, b"x", b"")], Seq(3));
        let purified = Arc::new(LogView::new(vec![segment(1, b"", b"A")], Seq(3)));
        let mut cursor = Cursor::new(PeerId(1), &feed(Run::Initial, &purified));
        let mut heard = Vec::new();
        assert!(cursor.take(&purified, |octets| heard.extend_from_slice(&octets)));
        assert!(cursor.take_due(&purified));
        assert_eq!((heard.as_slice(), read(&mut cursor, &older)), (&b"A"[..], vec![]));
        // The same with something behind the gap.
        let mut cursor = Cursor::new(PeerId(1), &feed(Run::Initial, &purified));
        let longer = LogView::new(vec![segment(1, b"", b"A"), segment(4, b"", b"B")], Seq(4));
        assert!(cursor.take(&longer, |_| {}));
        assert!(cursor.take_due(&longer));
        assert_eq!(read(&mut cursor, &older), b"");
    }

    /// Found by the simulation: the run told the announcement again and not its withdrawal, which was taken as known.
    #[test]
    fn a_run_that_begins_late_tells_again_what_takes_back_what_it_tells() {
        let mut segments = vec![segment(1, b"", b"A")];
        let granted = Arc::new(LogView::new(segments.clone(), Seq(1)));
        let mut cursor = Cursor::new(PeerId(1), &feed(Run::Initial, &granted));
        assert_eq!(read(&mut cursor, &granted), b"A");
        let again = feed(Run::Refresh, &granted);
        segments.extend([segment(2, b"", b"X"), segment(3, b"x", b"")]);
        let newer = LogView::new(segments, Seq(3));
        assert_eq!(read(&mut cursor, &newer), b"Xx");
        cursor.restart(&again);
        assert_eq!(read(&mut cursor, &newer), b"AXx");
        // The table waits for this run, not for what went before it.
        assert_eq!(again.position.seq(), Seq(3));
    }
}
