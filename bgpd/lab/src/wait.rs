//! Waiting for a condition, with a deadline: the only pause in the whole lab.
//!
//! A probe answers `Ok(value)` when the condition holds and `Err(why not yet)` while it does not, so a deadline that
//! passes can say what was last seen instead of only "timed out". An error that will never mend itself (a daemon
//! that died) is [`Gone`] and ends the wait at once.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// The first pause between two probes; it doubles up to [`STEP_MAX`].
const STEP_MIN: Duration = Duration::from_millis(2);
/// The longest pause between two probes: asking `vtysh` costs more than this already.
const STEP_MAX: Duration = Duration::from_millis(30);

/// How long two daemons on one idle machine may take for anything that takes them two seconds at worst.
pub const SOON: Duration = Duration::from_secs(20);

/// An error that no further waiting can mend.
#[derive(Debug)]
pub struct Gone(pub String);

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Gone {}

/// Probes until the answer is `Ok`, and returns it; fails when `within` has passed or the error is [`Gone`].
pub fn until<T>(what: &str, within: Duration, probe: impl FnMut() -> Result<T>) -> Result<T> {
    paced(what, within, STEP_MAX, probe)
}

/// As [`until`], probing every two milliseconds throughout: for measuring how long something took.
pub fn closely<T>(what: &str, within: Duration, probe: impl FnMut() -> Result<T>) -> Result<T> {
    paced(what, within, STEP_MIN, probe)
}

/// Fails as soon as the answer is an error, and holds for the whole of `during`: for what must *not* happen.
pub fn holds(what: &str, during: Duration, mut probe: impl FnMut() -> Result<()>) -> Result<()> {
    let end = Instant::now() + during;
    loop {
        probe().map_err(|why| anyhow!("{what} no longer holds: {why:#}"))?;
        if Instant::now() >= end {
            return Ok(());
        }
        thread::sleep(STEP_MAX);
    }
}

fn paced<T>(
    what: &str,
    within: Duration,
    step_max: Duration,
    mut probe: impl FnMut() -> Result<T>,
) -> Result<T> {
    let begin = Instant::now();
    let mut step = STEP_MIN;
    loop {
        let why = match probe() {
            Ok(value) => return Ok(value),
            Err(why) if why.is::<Gone>() => return Err(anyhow!("{what}: {why:#}")),
            Err(why) => why,
        };
        if begin.elapsed() >= within {
            return Err(anyhow!("{what}: not within {:.1} s; last seen: {why:#}", within.as_secs_f64()));
        }
        thread::sleep(step);
        step = (step * 2).min(step_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_comes_true_ends_the_wait() {
        let mut left = 3;
        let got = until("countdown", SOON, || {
            left -= 1;
            if left == 0 { Ok("done") } else { Err(anyhow!("{left} left")) }
        });
        assert_eq!(got.unwrap(), "done");
    }

    #[test]
    fn a_deadline_says_what_was_last_seen() {
        let error = until::<()>("rain", Duration::ZERO, || Err(anyhow!("dry"))).unwrap_err().to_string();
        assert!(error.contains("rain") && error.contains("last seen: dry"), "{error}");
    }

    #[test]
    fn a_dead_daemon_ends_the_wait_before_the_deadline() {
        let begin = Instant::now();
        let error = until::<()>("life", SOON, || Err(Gone("bird has exited".into()).into())).unwrap_err();
        assert!(error.to_string().contains("bird has exited"));
        assert!(begin.elapsed() < SOON / 2);
    }
}
