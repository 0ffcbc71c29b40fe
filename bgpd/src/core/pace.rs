//! When to commit: at once after a quiet time, else when it is worth its fan-out, and never late.
//!
//! What a commit tells a group is written to every peer's socket, and a write costs as much for a hundred octets as for four
//! thousand. A commit before the last one's writes are done makes none of them sooner and every one of them smaller. So
//! changes gather while the sockets are being written, as long as that takes by rule of thumb. They also gather while
//! routes keep arriving in bulk: peers that tell the same prefixes are then decided between once, and no
//! path is announced that another peer's is about to replace. Of a table that one peer alone tells, nothing is about to be
//! replaced: it is passed on piece by piece.
//!
//! What changes again and again is not worth telling each time: changes beyond what a table's arrival takes come out of an
//! allowance that fills slowly, and while it is empty commits are as far apart as a change may wait. So a storm of flapping
//! routes costs the peers a bounded number of them.
//!
//! A single change in a quiet network waits for nothing. Pure: the clock is an argument.

use std::time::Duration;

use reflector::ids::PeerId;
use reflector::time::Instant;

/// What one peer's write takes, about.
const WRITE_TIME: Duration = Duration::from_micros(4);
/// No change waits longer for its commit.
const DELAY_MAX: Duration = Duration::from_millis(50);
/// So many changes are bulk, and more may be expected.
const BULK: usize = 512;
/// So many are a table that is being told. Its routes wait a little longer, each for what other peers say of it.
const TABLE: usize = 16_384;
/// How long those wait, at most.
const TABLE_DELAY_MAX: Duration = Duration::from_millis(200);
/// How long more is waited for.
const LINGER: Duration = Duration::from_millis(1);
/// By each change of a commit the allowance is full again so much later.
const CHANGE_TIME: Duration = Duration::from_micros(50);
/// What the allowance holds: some sixteen thousand changes.
const ALLOWANCE: Duration = Duration::from_millis(800);

/// Changes that wait for a commit.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the last commit's writes are done, and there is something left of the allowance.
    free_at: Instant,
    /// When the allowance is full again.
    full_at: Instant,
    waiting: Option<Waiting>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    first: Instant,
    last: Instant,
    changes: usize,
    tellers: Tellers,
}

/// Who has told the changes that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tellers {
    One(PeerId),
    Several,
}

impl Tellers {
    fn and(self, peer: PeerId) -> Tellers {
        if self == Tellers::One(peer) { self } else { Tellers::Several }
    }
}

impl Pace {
    /// A peer told changes that a commit may tell of.
    pub(super) fn changed(&mut self, peer: PeerId, changes: usize, now: Instant) {
        let tellers = Tellers::One(peer);
        let waiting = self.waiting.get_or_insert(Waiting { first: now, last: now, changes: 0, tellers });
        waiting.last = now;
        waiting.tellers = waiting.tellers.and(peer);
        waiting.changes = waiting.changes.saturating_add(changes);
    }

    /// When the next commit is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let Waiting { first, last, changes, tellers } = self.waiting?;
        let is_table = changes >= TABLE;
        let is_piece = is_table && matches!(tellers, Tellers::One(_));
        let gathered = if changes < BULK || is_piece { first } else { last + LINGER };
        let longest = if is_table { TABLE_DELAY_MAX } else { DELAY_MAX };
        Some(self.free_at.max(gathered).min(first + longest))
    }

    /// Whether changes must wait a little longer.
    pub(super) fn must_wait(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|at| now < at)
    }

    /// A commit is done; so many sockets will be written.
    pub(super) fn committed(&mut self, writes: usize, now: Instant) {
        let changes = self.waiting.take().map_or(0, |waiting| waiting.changes);
        if writes > 0 {
            let times = |time: Duration, count| time.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
            let writing = times(WRITE_TIME, writes);
            let empty_at = now + ALLOWANCE;
            self.full_at = (self.full_at.max(now) + times(CHANGE_TIME, changes)).min(empty_at + DELAY_MAX);
            let overdrawn = if self.full_at > empty_at { self.full_at - empty_at } else { Duration::ZERO };
            self.free_at = now + writing.max(overdrawn).min(DELAY_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerId = PeerId(1);

    fn at(micros: u64) -> Instant {
        Instant::EPOCH + Duration::from_secs(9) + Duration::from_micros(micros)
    }

    #[test]
    fn a_change_after_a_quiet_time_waits_for_nothing() {
        let mut pace = Pace::default();
        assert_eq!(pace.deadline(), None);
        pace.changed(PEER, 1, at(0));
        assert!(!pace.must_wait(at(0)));
    }

    #[test]
    fn changes_gather_while_the_last_ones_are_written() {
        let mut pace = Pace::default();
        pace.changed(PEER, 1, at(0));
        pace.committed(1000, at(0));
        pace.changed(PEER, 1, at(10));
        assert!(pace.must_wait(at(3999)));
        assert!(!pace.must_wait(at(4000)));
    }

    #[test]
    fn a_commit_that_tells_nobody_delays_nothing() {
        let mut pace = Pace::default();
        pace.committed(0, at(0));
        pace.changed(PEER, 1, at(1));
        assert!(!pace.must_wait(at(1)));
    }

    #[test]
    fn more_is_waited_for_while_it_comes_in_bulk_and_not_for_ever() {
        let mut pace = Pace::default();
        for tick in 0..1000 {
            let now = at(tick * 100);
            pace.changed(PEER, if tick == 0 { 1000 } else { 1 }, now);
            assert_eq!(pace.must_wait(now), tick < 500, "at tick {tick}");
        }
    }

    #[test]
    fn a_table_that_is_told_by_several_waits_for_them() {
        let mut pace = Pace::default();
        for tick in 0..3000 {
            let now = at(tick * 100);
            pace.changed(PeerId(tick as u32 % 2), 4096, now);
            assert_eq!(pace.must_wait(now), tick < 2000, "at tick {tick}");
        }
    }

    #[test]
    fn a_storm_is_told_now_and_then_and_a_change_after_it_at_once() {
        let mut pace = Pace::default();
        let mut told = 0;
        for tick in 0..10_000 {
            let now = at(tick * 100);
            // A thousand routes, up or down every 5 ms.
            if tick % 50 == 0 {
                pace.changed(PEER, 1000, now);
            }
            if pace.deadline().is_some() && !pace.must_wait(now) {
                told += 1000;
                pace.committed(4, now);
            }
        }
        assert!((20_000..40_000).contains(&told), "{told} of 200,000 changes");
        pace.changed(PEER, 1, at(2_000_000));
        assert!(!pace.must_wait(at(2_000_000)));
    }

    #[test]
    fn a_table_that_one_peer_tells_is_passed_on_in_pieces() {
        let mut pace = Pace::default();
        for tick in 0..100 {
            pace.changed(PEER, 4096, at(tick * 100));
            let is_whole = tick % 4 == 3;
            assert_eq!(pace.must_wait(at(tick * 100)), !is_whole, "at tick {tick}");
            if is_whole {
                pace.committed(0, at(tick * 100));
            }
        }
    }

    #[test]
    fn no_fan_out_is_so_wide_that_changes_wait_longer_than_the_bound() {
        let mut pace = Pace::default();
        pace.committed(usize::MAX, at(0));
        pace.changed(PEER, 1, at(0));
        assert_eq!(pace.deadline(), Some(at(50_000)));
    }
}
