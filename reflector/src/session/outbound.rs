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
    /// What the run under way ends with; none when no run is.
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

    /// Takes a newer view of the group's log. While a run is under way one with the same end may be older than the
    /// view that the run was granted on.
    pub(super) fn publish(&mut self, group: GroupId, view: &Arc<LogView>) {
        let (held, offered) = (self.view.end(), view.end());
        let newer = offered > held || offered == held && self.marks == Marks::default();
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
        let idle = self.marks == Marks::default();
        (self.wish == Wish::Made && idle).then_some(self.not_before)
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
