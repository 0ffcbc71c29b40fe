//! Timers, jitter and back-off (RFC 4271 sections 8.1.1 and 10, RFC 9687).
//!
//! There is no timer wheel: a session has at most a dozen deadlines, each a plain field of whoever it belongs to,
//! and [`Deadline`] folds them into the next one. Randomness is a small generator seeded by the driver, so that a
//! run repeats.
//!
//! The connect-retry timer is what RFC 4271 says: flat, shortened by jitter to 0.75 to 1.0 of its value. It paces
//! attempts that end before a connection exists. A connection that came up and failed is another matter: a peer
//! that refuses our OPEN will refuse it again, so the wait doubles each time up to a bound, is lengthened by jitter
//! so that it never falls below its minimum, and starts over once a session has been stable.

use super::ConnId;
use crate::time::{Duration, Instant};

/// Why the session wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Dial, or give up an attempt and dial again.
    ConnectRetry,
    /// The wait after a failed session is over.
    IdleHold,
    /// Send the OPEN that waited for the peer's (RFC 4271 section 8.1.1, DelayOpenTime).
    DelayOpen(ConnId),
    /// Nothing was heard for the hold time.
    Hold(ConnId),
    /// A KEEPALIVE is due.
    Keepalive(ConnId),
    /// The peer takes nothing (RFC 9687).
    SendHold(ConnId),
    /// A connection that lost a collision need wait no longer.
    Collision(ConnId),
    /// The peer began a route refresh and never ended it.
    RefreshEnd,
    /// The table is to be asked for a refresh that the peer wants.
    Refresh,
}

/// The earliest of the deadlines offered to it.
#[derive(Debug, Default)]
pub(super) struct Deadline(Option<(Instant, Timer)>);

impl Deadline {
    /// Takes `at` into account, if there is one.
    pub(super) fn offer(&mut self, at: Option<Instant>, timer: Timer) {
        let Some(at) = at else { return };
        if self.0.is_none_or(|(first, _)| at < first) {
            self.0 = Some((at, timer));
        }
    }

    pub(super) fn earliest(self) -> Option<(Instant, Timer)> {
        self.0
    }
}

/// Whether a deadline has come.
pub(super) fn is_due(at: Option<Instant>, now: Instant) -> bool {
    at.is_some_and(|at| at <= now)
}

/// A small pseudo-random generator (splitmix64): enough to keep timers apart, no more.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// `whole` times a factor drawn from `from_permille` to `to_permille` thousandths.
    fn scaled(&mut self, whole: Duration, from_permille: u32, to_permille: u32) -> Duration {
        let span = u64::from(to_permille - from_permille);
        let permille = u64::from(from_permille) + self.next() % (span + 1);
        let nanos = whole.as_nanos().saturating_mul(u128::from(permille)) / 1000;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// `whole` shortened to 0.75 to 1.0 of itself (RFC 4271 section 10).
    pub(super) fn shortened(&mut self, whole: Duration) -> Duration {
        self.scaled(whole, 750, 1000)
    }

    /// `whole` lengthened to 1.0 to 1.25 of itself: for waits with a floor.
    pub(super) fn lengthened(&mut self, whole: Duration) -> Duration {
        self.scaled(whole, 1000, 1250)
    }
}

/// How long to wait after sessions that failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Backoff {
    failures: u8,
}

impl Backoff {
    /// Counts one more failure and says how long to wait.
    pub(super) fn fail(&mut self, min: Duration, max: Duration, random: &mut Random) -> Duration {
        let doubled = min.saturating_mul(1u32.checked_shl(u32::from(self.failures)).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        random.lengthened(doubled.min(max.max(min)))
    }

    /// The wait without counting: the failure was nobody's fault.
    pub(super) fn wait(&self, min: Duration, random: &mut Random) -> Duration {
        random.lengthened(min)
    }

    /// Forgets all failures.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_retry_jitter_is_three_quarters_to_one() {
        let mut random = Random::new(7);
        let whole = Duration::from_secs(100);
        let drawn: Vec<_> = (0..1000).map(|_| random.shortened(whole)).collect();
        assert!(drawn.iter().all(|d| *d >= Duration::from_secs(75) && *d <= whole));
        assert!(drawn.iter().any(|d| *d < Duration::from_secs(80)));
        assert!(drawn.iter().any(|d| *d > Duration::from_secs(95)));
    }

    #[test]
    fn back_off_grows_is_bounded_and_never_below_its_minimum() {
        let (min, max) = (Duration::from_secs(1), Duration::from_secs(60));
        let mut random = Random::new(1);
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..300).map(|_| backoff.fail(min, max, &mut random)).collect();
        assert!(waits[0] >= min && waits[0] <= Duration::from_millis(1250));
        assert!(waits[4] >= Duration::from_secs(16));
        assert!(waits.iter().all(|w| *w >= min && *w <= max.mul_f32(1.25)));
        backoff.reset();
        assert!(backoff.fail(min, max, &mut random) <= Duration::from_millis(1250));
    }

    #[test]
    fn the_earliest_deadline_wins() {
        let mut deadline = Deadline::default();
        deadline.offer(None, Timer::IdleHold);
        deadline.offer(Some(Instant::from_nanos(5)), Timer::ConnectRetry);
        deadline.offer(Some(Instant::from_nanos(3)), Timer::RefreshEnd);
        assert_eq!(deadline.earliest(), Some((Instant::from_nanos(3), Timer::RefreshEnd)));
    }
}
