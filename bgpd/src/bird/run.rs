//! The daemon under the name of BIRD: one family, from its file to its end.
//!
//! **Reloads.** SIGHUP, the directory's changes and `configure` all lead to one place, which waits until nothing more comes for a moment (the
//! files of Calico are three, and disagree between two renames), reads, and hands the whole to the core, which applies the
//! difference. Files that cannot be used leave the configuration as it is, and are tried again after a pause that doubles, so that
//! the last change is never lost, whoever forgot to say so.
//!
//! **The end.** SIGTERM says Cease to every neighbour and leaves the kernel's routes, as `persist` has it; SIGKILL leaves all as it is,
//! and neighbours keep what they know of us (RFC 4724).

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bgp_proto::Version;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::desired::{Face, Shown};
use super::lang;
use super::server::{BindError, Server, Sources, Wish};
use super::source;
use super::watch::Directory;
use crate::bfd::Bfd;
use crate::clock::Clock;
use crate::config::Desired;
use crate::core::{Core, INBOX_MAX, Input};
use crate::net::{self, Net};
use crate::run::{Signals, Wanted};
use crate::{control, log};

/// After the last sign of a change, wait this long for another.
const QUIET: Duration = Duration::from_millis(100);
/// But not longer than this from the first.
const QUIET_MAX: Duration = Duration::from_secs(1);
/// First pause before files that could not be used are read again.
const RETRY_MIN: Duration = Duration::from_millis(500);
/// The longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Wishes of clients that wait.
const WISHES_MAX: usize = 16;

/// What the daemon is started with.
#[derive(Debug, Clone)]
pub struct Start {
    /// Its family.
    pub version: Version,
    /// Its configuration.
    pub config: PathBuf,
    /// Its control socket.
    pub socket: PathBuf,
    /// Where its process number is written.
    pub pid_file: Option<PathBuf>,
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(String),
    /// No control socket.
    #[error(transparent)]
    Control(#[from] BindError),
    /// No control socket for our own commands.
    #[error(transparent)]
    OwnControl(#[from] control::server::BindError),
    /// Nobody can connect.
    #[error(transparent)]
    Listen(#[from] net::ListenError),
    /// The system refused.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// Whether the configuration can be used; else why not.
pub fn check(start: &Start) -> Result<(), RunError> {
    source::load(&start.config, start.version, &start.socket).map(drop).map_err(RunError::Config)
}

/// Runs until a signal stops it.
pub fn run(start: &Start) -> Result<(), RunError> {
    let (desired, face) =
        source::load(&start.config, start.version, &start.socket).map_err(RunError::Config)?;
    let log = log::init(desired.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(daemon(start, desired, face, log))
}

async fn daemon(start: &Start, desired: Desired, face: Face, log: log::Handle) -> Result<(), RunError> {
    let mut signals = Signals::listen()?;
    let clock = Clock::start();
    let server = Server::bind(&start.socket)?;
    let own = control::server::Server::bind(&desired.socket)?;
    let (asking, asks) = control::Core::pair();
    let (inbox, inputs) = mpsc::channel(INBOX_MAX);
    let seed = RandomState::new().hash_one(std::process::id());
    let net = Net::start(&desired.listen, inbox.clone(), clock, seed)?;
    let name = start.config.display().to_string();
    let bfd = Bfd::new(inbox.clone(), clock, seed);
    let core = Core::new(desired, name, net, bfd, inbox.clone(), log, clock);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new()
        .name("core".to_owned())
        .spawn(move || runtime.block_on(core.run(inputs, asks)))?;
    warn_of(&face);
    let (faces, shown) = watch::channel(Arc::new(face));
    let (wishes, wished) = mpsc::channel(WISHES_MAX);
    let sources = Sources { core: asking.clone(), face: shown, wishes, config: start.config.clone() };
    let server = tokio::spawn(server.run(sources));
    let own = tokio::spawn(own.run(asking));
    let pid_file = start.pid_file.as_deref().map(PidFile::write).transpose()?;
    let mut reloader =
        Reloader { start, faces, inbox: inbox.clone(), retry: RETRY_MIN, due: None, first: None };
    reloader.until_stopped(&mut signals, wished).await;
    let (done, goodbye) = oneshot::channel();
    if inbox.send(Input::Exit(done)).await.is_ok() {
        tokio::select! {
            _ = goodbye => {}
            () = signals.stop() => {}
        }
    }
    drop(pid_file);
    for task in [server, own] {
        task.abort();
        // A server removes its file when it is dropped.
        let _ = task.await;
    }
    Ok(())
}

/// Brings the core what the files say.
struct Reloader<'a> {
    start: &'a Start,
    faces: watch::Sender<Arc<Face>>,
    inbox: mpsc::Sender<Input>,
    /// The next pause after files that could not be used.
    retry: Duration,
    /// When to read the files.
    due: Option<Instant>,
    /// When the first sign of a change came that was not acted upon.
    first: Option<Instant>,
}

impl Reloader<'_> {
    async fn until_stopped(&mut self, signals: &mut Signals, mut wished: mpsc::Receiver<Wish>) {
        let mut directory = match Directory::of(&self.start.config) {
            Ok(directory) => Some(directory),
            Err(error) => {
                tracing::warn!(%error, "the configuration's directory cannot be watched: SIGHUP alone reloads");
                None
            }
        };
        loop {
            let due = self.due;
            let timer = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let changed = async {
                match &mut directory {
                    Some(directory) => directory.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                wanted = signals.next() => match wanted {
                    Wanted::Reload => self.hinted(),
                    Wanted::Stop => return,
                },
                () = changed => self.hinted(),
                () = timer => {
                    (self.due, self.first) = (None, None);
                    let config = self.start.config.clone();
                    self.reload(&config).await;
                }
                Some(wish) = wished.recv() => match wish {
                    Wish::Down => return,
                    Wish::Configure { check, file, reply } => {
                        let answer = self.configure(check, file).await;
                        // Whoever asked may have left.
                        drop(reply.send(answer));
                    }
                },
            }
        }
    }

    /// Something may have changed.
    fn hinted(&mut self) {
        let now = Instant::now();
        let first = *self.first.get_or_insert(now);
        self.due = Some((now + QUIET).min(first + QUIET_MAX));
        self.retry = RETRY_MIN;
    }

    async fn configure(&mut self, check: bool, file: Option<PathBuf>) -> Option<String> {
        let config = file.unwrap_or_else(|| self.start.config.clone());
        match std::fs::metadata(&config) {
            Ok(what) if what.is_file() => {}
            // A pipe would be waited for.
            Ok(_) => return Some(format!("{}: Not a regular file", config.display())),
            Err(error) => return Some(format!("{}: {}", config.display(), lang::plain(&error))),
        }
        if check {
            return source::load(&config, self.start.version, &self.start.socket).err();
        }
        self.reload(&config).await
    }

    /// Reads a file and what it includes. Returns why it cannot be used.
    async fn reload(&mut self, config: &Path) -> Option<String> {
        match source::load(config, self.start.version, &self.start.socket) {
            Ok((desired, face)) => {
                self.retry = RETRY_MIN;
                let face = self.in_order(face);
                warn_of(&face);
                self.faces.send_replace(Arc::new(face));
                // A core that is gone is about to end the process.
                drop(self.inbox.send(Input::Reload(Box::new(Ok(desired)))).await);
                None
            }
            Err(error) => {
                // Another file was asked for once, by a client that hears the answer.
                if config == self.start.config {
                    self.due = Some(Instant::now() + self.retry);
                    self.retry = (self.retry * 2).min(RETRY_MAX);
                }
                drop(self.inbox.send(Input::Reload(Box::new(Err(error.clone())))).await);
                Some(error)
            }
        }
    }

    /// Protocols that were there keep their order; new ones come after them.
    fn in_order(&self, face: Face) -> Face {
        let before = self.faces.borrow().clone();
        let Face { protocols, .. } = face;
        let places: BTreeMap<&str, usize> =
            before.protocols.iter().enumerate().map(|(at, p)| (p.name.as_str(), at)).collect();
        let place = |shown: &Shown| places.get(shown.name.as_str()).copied().unwrap_or(usize::MAX);
        let mut placed: Vec<(usize, Shown)> = protocols.into_iter().map(|p| (place(&p), p)).collect();
        placed.sort_by_key(|(place, _)| *place);
        Face { protocols: placed.into_iter().map(|(_, shown)| shown).collect(), ..face }
    }
}

fn warn_of(face: &Face) {
    for warning in &face.warnings {
        tracing::warn!(warning, "configuration");
    }
}

/// A file with the process's number, for as long as it lives.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: &Path) -> io::Result<PidFile> {
        std::fs::write(path, format!("{}\n", std::process::id()))?;
        Ok(PidFile(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Somebody may have removed it.
        let _ = std::fs::remove_file(&self.0);
    }
}
