//! Where log lines go and which are written.
//!
//! Lines go to standard error, as text or as one JSON object each; whoever starts the daemon keeps them. What happened is in fields, so
//! that both forms can be searched. The level is the configuration's and changes with a reload; the environment variable `RUST_LOG`, where
//! set, has the last word, in the syntax of tracing (`bgpd=debug,bgpd::fib=trace`). Other crates only get to warn.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::desired::{Format, Level, Log};

/// Changes what is logged while the daemon runs.
#[derive(Debug, Clone)]
pub struct Handle {
    filter: Option<reload::Handle<Targets, Registry>>,
    started_with: Log,
}

/// Starts logging; once in a process, later calls change nothing.
pub fn init(log: Log) -> Handle {
    let (filter, handle) = reload::Layer::new(filter(log.level));
    let lines = match log.format {
        Format::Text => fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).boxed(),
        Format::Json => fmt::layer().with_writer(io::stderr).json().flatten_event(true).boxed(),
    };
    let started = tracing_subscriber::registry().with(filter).with(lines).try_init();
    if let Some(error) = environment().and_then(Result::err) {
        tracing::warn!(%error, "RUST_LOG cannot be read and is ignored");
    }
    Handle { filter: started.is_ok().then_some(handle), started_with: log }
}

impl Handle {
    /// Takes over what a reload changed.
    pub fn apply(&self, log: Log) {
        if let Some(handle) = &self.filter
            && let Err(error) = handle.reload(filter(log.level))
        {
            tracing::warn!(%error, "log level stays");
        }
        if log.format != self.started_with.format {
            tracing::warn!("log.format takes effect at the next start");
        }
    }
}

fn filter(level: Level) -> Targets {
    match environment() {
        Some(Ok(filter)) => filter,
        None | Some(Err(_)) => targets(level),
    }
}

fn environment() -> Option<Result<Targets, ParseError>> {
    let directives = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty())?;
    Some(directives.parse())
}

fn targets(level: Level) -> Targets {
    let (others, own) = match level {
        Level::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        Level::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        Level::Info => (LevelFilter::WARN, LevelFilter::INFO),
        Level::Debug => (LevelFilter::WARN, LevelFilter::DEBUG),
        Level::Trace => (LevelFilter::WARN, LevelFilter::TRACE),
    };
    Targets::new().with_default(others).with_target("bgpd", own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_crates_only_get_to_warn() {
        for (level, own) in [
            (Level::Error, LevelFilter::ERROR),
            (Level::Warn, LevelFilter::WARN),
            (Level::Info, LevelFilter::INFO),
            (Level::Debug, LevelFilter::DEBUG),
            (Level::Trace, LevelFilter::TRACE),
        ] {
            let targets = targets(level);
            let passes = |target: &str, at: LevelFilter| {
                at.into_level().is_some_and(|at| targets.would_enable(target, &at))
            };
            assert!(passes("bgpd::fib", own), "{level:?}");
            assert_eq!(passes("hyper", LevelFilter::WARN), level != Level::Error);
            assert!(!passes("hyper", LevelFilter::INFO));
        }
    }

    #[test]
    fn the_environments_syntax_is_that_of_tracing() {
        let targets: Targets = "bgpd=debug,bgpd::fib=trace".parse().unwrap();
        assert!(targets.would_enable("bgpd::fib::task", &tracing::Level::TRACE));
        assert!(!targets.would_enable("bgpd::core", &tracing::Level::TRACE));
        assert!("bgpd=loud".parse::<Targets>().is_err());
    }
}
