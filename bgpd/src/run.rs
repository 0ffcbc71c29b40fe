//! The daemon from start to end: sockets, threads, signals, reload.
//!
//! Whatever can fail at the start fails before a session is opened, with one message. Afterwards the configuration in force is the last
//! good one: SIGHUP reads the source again, and what cannot be used is logged and shown in `status`, and nothing changes. SIGTERM and SIGINT
//! stop; a second one, while sessions say goodbye, ends the process at once.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::bfd::Bfd;
use crate::clock::Clock;
use crate::config::Desired;
use crate::config::sources::{File, node};
use crate::core::{Core, INBOX_MAX, Input};
use crate::net::{self, Net};
use crate::{control, log, metrics};

/// What a daemon starts with.
#[derive(Debug)]
pub struct RunArgs {
    /// The configuration.
    pub desired: Desired,
    /// Where it came from, and a reload comes from.
    pub source: File,
    /// Logging, already started.
    pub log: log::Handle,
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No control socket.
    #[error(transparent)]
    Control(#[from] control::server::BindError),
    /// No metrics server.
    #[error(transparent)]
    Metrics(#[from] metrics::BindError),
    /// Nobody can connect.
    #[error(transparent)]
    Listen(#[from] net::ListenError),
    /// No signals.
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
    /// The system gives no thread.
    #[error("cannot start the core's thread: {0}")]
    Thread(io::Error),
}

/// Runs until a signal stops it.
pub async fn run(args: RunArgs) -> Result<(), RunError> {
    // Before anything that a signal should undo.
    let mut signals = Signals::listen().map_err(RunError::Signals)?;
    let RunArgs { desired, source, log } = args;
    let clock = Clock::start();
    let (asking, asks) = control::Core::pair();
    let control = control::server::Server::bind(&desired.socket)?;
    let metrics = match desired.metrics {
        Some(address) => Some(metrics::Server::bind(address).await?),
        None => None,
    };
    let (inbox, inputs) = mpsc::channel(INBOX_MAX);
    let net = Net::start(&desired.listen, inbox.clone(), clock, seed())?;
    let name = source.path().display().to_string();
    let bfd = Bfd::new(inbox.clone(), clock, seed());
    let core = Core::new(desired, name, net, bfd, inbox.clone(), log, clock);
    let thread = std::thread::Builder::new().name("core".to_owned());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(RunError::Thread)?;
    thread.spawn(move || runtime.block_on(core.run(inputs, asks))).map_err(RunError::Thread)?;
    let control = tokio::spawn(control.run(asking.clone()));
    if let Some(metrics) = metrics {
        tokio::spawn(metrics.run(asking));
    }
    while signals.next().await == Wanted::Reload {
        let read = source.load(&node::router_id).map_err(|problems| problems.to_string());
        if inbox.send(Input::Reload(Box::new(read))).await.is_err() {
            break;
        }
    }
    let (done, goodbye) = oneshot::channel();
    if inbox.send(Input::Exit(done)).await.is_ok() {
        tokio::select! {
            _ = goodbye => {}
            () = signals.stop() => {}
        }
    }
    control.abort();
    // The server removes its file when it is dropped.
    let _ = control.await;
    Ok(())
}

/// Sets this speaker's timers apart from those of others that start at the same moment.
fn seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// What a signal asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// SIGHUP: the configuration is to be read again.
    Reload,
    /// SIGTERM or SIGINT: the end.
    Stop,
}

/// The signals of a daemon.
pub(crate) struct Signals {
    reload: Signal,
    dump: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on no signal ends the process by itself.
    pub(crate) fn listen() -> io::Result<Signals> {
        Ok(Signals {
            reload: signal(SignalKind::hangup())?,
            dump: signal(SignalKind::user_defined1())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next one that asks for something.
    pub(crate) async fn next(&mut self) -> Wanted {
        loop {
            tokio::select! {
                Some(()) = self.reload.recv() => return Wanted::Reload,
                // BIRD dumps its tables then; whoever is used to that loses no session.
                Some(()) = self.dump.recv() => tracing::info!("SIGUSR1: ask the control socket instead"),
                Some(()) = self.terminate.recv() => return Wanted::Stop,
                Some(()) = self.interrupt.recv() => return Wanted::Stop,
            }
        }
    }

    /// The next one that asks for the end.
    pub(crate) async fn stop(&mut self) {
        while self.next().await != Wanted::Stop {}
    }
}
