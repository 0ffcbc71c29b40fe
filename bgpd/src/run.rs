//! The daemon from start to end: sockets, signals, reload.
//!
//! The configuration in force is the last good one. SIGHUP reads the source again; what cannot be used is logged and shown in `status`, and
//! nothing changes. SIGTERM and SIGINT stop.

use std::io;
use std::time::{Instant, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::sources::{File, node};
use crate::config::{Desired, diff};
use crate::control::protocol::{Config, Incident, Instance, Since};
use crate::control::{self, Ask, Core};
use crate::{log, metrics};

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
    /// No signals.
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
}

/// Runs until a signal stops it.
pub async fn run(args: RunArgs) -> Result<(), RunError> {
    // Before anything that a signal should undo.
    let signals = Signals::listen().map_err(RunError::Signals)?;
    let (core, asks) = Core::pair();
    let control = control::server::Server::bind(&args.desired.socket)?;
    let control = tokio::spawn(control.run(core.clone()));
    if let Some(address) = args.desired.metrics {
        tokio::spawn(metrics::Server::bind(address).await?.run(core.clone()));
    }
    tracing::info!(asn = %args.desired.asn, router_id = %args.desired.router_id, "started");
    let mut daemon = Daemon { args, started: Instant::now(), loaded: Instant::now(), refused: None };
    daemon.serve(asks, signals).await;
    control.abort();
    // The server removes its file when it is dropped.
    let _ = control.await;
    tracing::info!("stopped");
    Ok(())
}

struct Signals {
    reload: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals {
            reload: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

struct Daemon {
    args: RunArgs,
    started: Instant,
    loaded: Instant,
    refused: Option<(Instant, String)>,
}

impl Daemon {
    async fn serve(&mut self, mut asks: mpsc::Receiver<Ask>, mut signals: Signals) {
        loop {
            tokio::select! {
                Some(ask) = asks.recv() => self.answer(ask),
                Some(()) = signals.reload.recv() => self.reload(),
                Some(()) = signals.terminate.recv() => return,
                Some(()) = signals.interrupt.recv() => return,
            }
        }
    }

    fn reload(&mut self) {
        match self.args.source.load(&node::router_id) {
            Err(problems) => {
                for problem in &problems.list {
                    tracing::error!(source = problems.source, %problem, "reload refused");
                }
                self.refused = Some((Instant::now(), problems.to_string()));
            }
            Ok(desired) => {
                let changes = diff(&self.args.desired, &desired);
                tracing::info!(changes = changes.len(), "reloaded");
                self.args.log.apply(desired.log);
                self.args.desired = desired;
                (self.loaded, self.refused) = (Instant::now(), None);
            }
        }
    }

    fn answer(&self, ask: Ask) {
        match ask {
            Ask::Status { reply } => drop(reply.send(self.instance())),
            Ask::Peers { reply, .. } => drop(reply.send(Vec::new())),
            Ask::Routes { reply, .. } => {
                drop(reply.send(Ok(control::Page { rows: Vec::new(), next: None })));
            }
            Ask::Why { destination, reply } => {
                drop(reply.send(Err(format!("{destination} is in no prefix that this speaker knows"))));
            }
        }
    }

    fn instance(&self) -> Instance {
        let now = SystemTime::now();
        let since = |then: &Instant| Since::ago(now, then.elapsed());
        let desired = &self.args.desired;
        Instance {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            asn: desired.asn.0,
            router_id: desired.router_id.into(),
            cluster_id: desired.cluster_id.into(),
            started: since(&self.started),
            syncing: false,
            config: Config {
                source: self.args.source.path().display().to_string(),
                loaded: since(&self.loaded),
                refused: self
                    .refused
                    .as_ref()
                    .map(|(when, text)| Incident { since: since(when), text: text.clone() }),
            },
            peers_configured: desired.peers.len() as u64,
            peers_established: 0,
            ranges: Vec::new(),
            families: Vec::new(),
            kernel: None,
        }
    }
}
