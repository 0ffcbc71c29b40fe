//! What the table has to tell the peer: one cursor a family, and what must stand around its runs.
//!
//! A run over the log ends with a mark: End-of-RIB after the first (RFC 4724 section 2, sent whether graceful restart
//! is in use or not), EoRR after a refresh (RFC 7313), which BoRR began. The table grants each run as a feed, also that
//! of a refresh. One is asked for when the run under way has ended, and no more often than [`REFRESH_INTERVAL_MIN`]:
//! however many requests the peer sends, the next run answers them all.

use bgp_proto::{Family, RefreshKind};
use bytes::Bytes;
use std::sync::Arc;

use super::message::{end_of_rib, refresh};
use super::timers::is_due;
use crate::events::RefreshMode;
use crate::feed::{Cursor, Feed, LogView, Run};
use crate::ids::{GroupId, PeerId};
use crate::limits::REFRESH_INTERVAL_MIN;
use crate::time::Instant;

/// What is told to the peer in one family.
#[derive(Debug)]
pub(super) struct Outbound {
    family: Family,
    group: GroupId,
    view: Arc<LogView>,
    cursor: Cursor,
    /// Messages that go before anything of the log, last one first.
    before: Vec<Bytes>,
    run: Progress,
    /// What the run under way ends with.
    marks: Marks,
    wish: Wish,
    /// Before this, no refresh is asked for.
    not_before: Instant,
}

/// What is due when the cursor has been over the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Marks {
    end_of_rib: Option<Due>,
    end_of_refresh: Option<Due>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Due;

/// Whether the cursor has been over the log since it was last granted a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    UnderWay,
    Over,
}

/// Whether the peer asked for everything again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// It did not.
    None,
    /// It did.
    Made,
    /// The table knows.
    Passed,
}

impl Outbound {
    /// Begins to tell `peer` what `feed` holds.
    pub(super) fn new(peer: PeerId, feed: Feed) -> Outbound {
        let cursor = Cursor::new(peer, &feed);
        let Feed { family, group, mut prelude, view, .. } = feed;
        prelude.reverse();
        Outbound {
            family,
            group,
            view,
            cursor,
            before: prelude,
            run: Progress::UnderWay,
            marks: Marks { end_of_rib: Some(Due), end_of_refresh: None },
            wish: Wish::None,
            not_before: Instant::EPOCH,
        }
    }

    /// Goes on with another feed: everything again in the same group, or a place in another.
    pub(super) fn attach(&mut self, peer: PeerId, feed: Feed, mode: RefreshMode) {
        match feed.run {
            Run::Refresh if feed.group == self.group => self.restart(feed, mode),
            Run::Refresh | Run::Initial => self.move_to(peer, feed),
        }
    }

    fn restart(&mut self, feed: Feed, mode: RefreshMode) {
        self.cursor.restart(&feed);
        // The cursor may have read on since the run was granted.
        if feed.view.end() >= self.view.end() {
            self.view = feed.view;
        }
        self.wish = Wish::None;
        self.run = Progress::UnderWay;
        if mode == RefreshMode::Enhanced {
            self.marks.end_of_refresh = Some(Due);
            self.before.insert(0, refresh(self.family, RefreshKind::Begin));
        }
    }

    /// End-of-RIB is not repeated. A refresh under way ends with the new log, which tells everything too.
    fn move_to(&mut self, peer: PeerId, feed: Feed) {
        let mut next = Outbound::new(peer, feed);
        next.marks = self.marks;
        (next.wish, next.not_before) = (self.wish, self.not_before);
        // What should have gone before the old log still goes first.
        next.before.append(&mut self.before);
        *self = next;
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    /// Takes a newer view of the group's log. While a run is under way, whatever mark it ends with, one with the same
    /// end may be older than the view that the run was granted on, and hold what a later entry takes back.
    pub(super) fn publish(&mut self, group: GroupId, view: &Arc<LogView>) {
        let (held, offered) = (self.view.end(), view.end());
        let newer = offered > held || offered == held && self.run == Progress::Over;
        if self.group == group && newer {
            self.view = view.clone();
        }
    }

    /// The peer asks for everything again (RFC 2918). If the table knows already, what it grants answers this too.
    pub(super) fn wish(&mut self) {
        if self.wish == Wish::None {
            self.wish = Wish::Made;
        }
    }

    /// When the table is to be asked for a refresh.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.wish == Wish::Made && self.run == Progress::Over).then_some(self.not_before)
    }

    /// Whether the table is to be asked for a refresh now.
    pub(super) fn pass_wish(&mut self, now: Instant) -> bool {
        let due = is_due(self.deadline(), now);
        if due {
            self.wish = Wish::Passed;
            self.not_before = now + REFRESH_INTERVAL_MIN;
        }
        due
    }

    /// Hands over about `room` octets, whole messages only. Returns how many.
    pub(super) fn take(&mut self, room: usize, out: &mut impl FnMut(Bytes)) -> usize {
        let mut taken = 0;
        while taken < room {
            if let Some(message) = self.before.pop() {
                taken += message.len();
                out(message);
                continue;
            }
            let more = self.cursor.take(&self.view, |slice| {
                taken += slice.len();
                out(slice);
            });
            if self.cursor.take_due(&self.view) {
                taken += self.end_run(out);
            } else if !more {
                break;
            }
        }
        taken
    }

    fn end_run(&mut self, out: &mut impl FnMut(Bytes)) -> usize {
        self.run = Progress::Over;
        let marks = core::mem::take(&mut self.marks);
        let end_of_rib = marks.end_of_rib.map(|Due| end_of_rib(self.family));
        let end_of_refresh = marks.end_of_refresh.map(|Due| refresh(self.family, RefreshKind::End));
        let mut taken = 0;
        for mark in end_of_rib.into_iter().chain(end_of_refresh) {
            taken += mark.len();
            out(mark);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{Position, SegmentBuilder};
    use crate::ids::Seq;

    const V4: Family = Family::IPV4_UNICAST;
    const PEER: PeerId = PeerId(1);

    fn view(messages: &[(u64, &[u8])], end: u64) -> Arc<LogView> {
        let segment = |(at, octets): &(u64, &[u8])| {
            let mut builder = SegmentBuilder::default();
            builder.announcements(None, |out| out.extend_from_slice(octets));
            Arc::new(builder.build(Seq(at - 1), Seq(*at)))
        };
        Arc::new(LogView::new(messages.iter().map(segment).collect(), Seq(end)))
    }

    fn feed(group: u32, view: Arc<LogView>) -> Feed {
        let position = Arc::new(Position::new(view.end()));
        let initial = view.end();
        Feed {
            family: V4,
            group: GroupId(group),
            run: Run::Initial,
            position,
            initial,
            prelude: vec![],
            view,
        }
    }

    fn told(outbound: &mut Outbound) -> Vec<u8> {
        let mut told = Vec::new();
        outbound.take(1000, &mut |octets| told.extend_from_slice(&octets));
        told
    }

    #[test]
    fn a_peer_that_moved_is_not_told_what_an_older_view_with_the_same_end_holds() {
        let mut outbound = Outbound::new(PEER, feed(1, view(&[], 0)));
        assert_eq!(told(&mut outbound), end_of_rib(V4));
        outbound.attach(PEER, feed(2, view(&[(2, b"live")], 3)), RefreshMode::Enhanced);
        outbound.publish(GroupId(2), &view(&[(1, b"superseded"), (2, b"live")], 3));
        assert_eq!(told(&mut outbound), b"live", "no second End-of-RIB");
        outbound.publish(GroupId(2), &view(&[(2, b"live"), (4, b"new")], 4));
        assert_eq!(told(&mut outbound), b"new");
    }
}
