//! Where log lines go and which are written.
//!
//! Lines go to standard error, as text or as one JSON object each; whoever starts the daemon keeps them. What happened is in fields, so
//! that both forms can be searched. The level is the configuration's and changes with a reload; the environment variable `RUST_LOG`, where
//! set, has the last word, in the syntax of tracing (`bgpd=debug,bgpd::fib=trace`). Other crates only get to warn.

use std::io::{self, IsTerminal};

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::desired::{Format, Level, Log};

/// Changes what is logged while the daemon runs.
#[derive(Debug, Clone)]
pub struct Handle {
    filter: Option<reload::Handle<EnvFilter, Registry>>,
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

fn filter(level: Level) -> EnvFilter {
    match environment() {
        Some(Ok(filter)) => filter,
        None | Some(Err(_)) => EnvFilter::new(directives(level)),
    }
}

fn environment() -> Option<Result<EnvFilter, tracing_subscriber::filter::ParseError>> {
    let directives = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|text| !text.is_empty())?;
    Some(directives.parse::<EnvFilter>())
}

fn directives(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "warn,bgpd=info",
        Level::Debug => "warn,bgpd=debug",
        Level::Trace => "warn,bgpd=trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_a_filter() {
        for level in [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace] {
            let text = directives(level);
            assert!(text.parse::<EnvFilter>().is_ok(), "{text}");
        }
    }
}
