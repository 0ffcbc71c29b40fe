//! The monotonic clock, as the machines know time.

use std::time::Duration;

use reflector::time::Instant;

/// Counts from the daemon's start.
#[derive(Debug, Clone, Copy)]
pub struct Clock(std::time::Instant);

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Clock {
        Clock(std::time::Instant::now())
    }

    /// Now.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The same moment for the runtime's timers.
    pub fn moment(&self, at: Instant) -> tokio::time::Instant {
        // Years ahead stand for never, and do not overflow.
        const NEVER: Duration = Duration::from_secs(30 * 365 * 86_400);
        tokio::time::Instant::from_std(self.0 + Duration::from_nanos(at.as_nanos()).min(NEVER))
    }
}
