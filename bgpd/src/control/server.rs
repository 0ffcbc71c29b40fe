//! The daemon's end of the control socket.
//!
//! One daemon owns a socket: it holds a lock on a file beside it for as long as it lives, so a socket file that is found while the lock
//! is free was left by a daemon that died, and goes. A task serves each client, and there are only so many: a client that stops
//! reading, or never asks, costs its own task and one page of rows until its time is up, and nobody else anything.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::protocol::{
    Answer, Greeting, PROTOCOL, Peer, REQUEST_OCTETS_MAX, ROWS_MAX, Request, RoutesQuery, VERSION,
};
use super::socket::{Socket, SocketError};
use super::{Ask, Core};

/// Clients at a time.
const CLIENTS_MAX: usize = 32;
/// How long a client may take to read one line.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may be silent.
const IDLE_PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A daemon lives.
    #[error(
        "another bgpd is running: it holds the control socket {path}; stop it first, or give this one a `control.socket` of its own",
        path = .0.display()
    )]
    Taken(PathBuf),
    /// Something else is there, and it is not ours to remove.
    #[error(
        "{path} is in the way: it is not a socket; remove it, or choose another `control.socket`",
        path = .0.display()
    )]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot {doing} {path}: {error}", path = path.display())]
    Refused {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl From<SocketError> for BindError {
    fn from(error: SocketError) -> BindError {
        match error {
            SocketError::InTheWay(path) => BindError::NotASocket(path),
            SocketError::Refused { doing, path, error } => BindError::Refused { doing, path, error },
        }
    }
}

/// A control socket, ready to be served. Dropping it removes the file.
#[derive(Debug)]
pub struct Server {
    socket: Socket,
    lock: File,
}

impl Server {
    /// Takes the socket at `path`. Needs a tokio runtime.
    pub fn bind(path: &Path) -> Result<Server, BindError> {
        if let Some(directory) = path.parent() {
            let path = directory.to_owned();
            let refused = |error| BindError::Refused { doing: "create the directory", path, error };
            fs::create_dir_all(directory).map_err(refused)?;
        }
        let lock = lock(path)?;
        Ok(Server { socket: Socket::take(path)?, lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.socket.path()
    }

    /// Serves clients until it is dropped.
    pub async fn run(self, core: Core) {
        let Server { socket, lock } = self;
        socket.serve(CLIENTS_MAX, |stream| serve(stream, core.clone()), turn_away).await;
        drop(lock);
    }
}

/// The lock that says that a daemon lives; it goes with the process, however that ends.
fn lock(socket: &Path) -> Result<File, BindError> {
    let mut name = socket.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let refused = |error| BindError::Refused { doing: "lock", path: path.clone(), error };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(refused)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BindError::Taken(socket.to_owned())),
        Err(TryLockError::Error(error)) => Err(refused(error)),
    }
}

/// Says so if there is room in the socket, which there is when it is new.
fn turn_away(stream: &UnixStream) {
    let reason = format!("{CLIENTS_MAX} clients are connected already");
    if let Ok(mut line) = serde_json::to_vec(&Answer::Refused { reason }) {
        line.push(b'\n');
        let _ = stream.try_write(&line);
    }
}

/// One client from greeting to end. Any error of the socket is the client's, and ends it.
async fn serve(stream: UnixStream, core: Core) {
    let (read, write) = stream.into_split();
    let mut client = Connection { read: BufReader::new(read), write };
    let greeting = Greeting {
        protocol: PROTOCOL.to_owned(),
        version: VERSION,
        daemon: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let served = async {
        client.send(&greeting).await?;
        while let Some(request) = client.receive().await? {
            client.answer(request, &core).await?;
        }
        io::Result::Ok(())
    };
    if let Err(error) = served.await {
        tracing::debug!(%error, "control client gone");
    }
}

struct Connection {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

impl Connection {
    /// The next request, or what was wrong with it; `None` when the client is done.
    async fn receive(&mut self) -> io::Result<Option<Result<Request, String>>> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.read).take(REQUEST_OCTETS_MAX as u64 + 1);
        timeout(IDLE_PATIENCE, bounded.read_until(b'\n', &mut line)).await??;
        if line.is_empty() {
            return Ok(None);
        }
        if line.len() > REQUEST_OCTETS_MAX {
            let reason = format!("a request has at most {REQUEST_OCTETS_MAX} octets");
            self.send(&Answer::Refused { reason }).await?;
            return Ok(None);
        }
        let request = serde_json::from_slice(&line).map_err(|error| format!("not a request: {error}"));
        Ok(Some(request))
    }

    async fn answer(&mut self, request: Result<Request, String>, core: &Core) -> io::Result<()> {
        let answered = match request {
            Err(reason) => Err(reason),
            Ok(Request::Status) => core
                .ask(|reply| Ask::Status { reply })
                .await
                .map(|it| Answer::Status(Box::new(it)))
                .map_err(said),
            Ok(Request::Why { destination }) => core
                .ask(|reply| Ask::Why { destination, reply })
                .await
                .map_err(said)
                .and_then(|answer| answer.map(|why| Answer::Why(Box::new(why)))),
            Ok(Request::Order { peer, order, message }) => core
                .ask(|reply| Ask::Order { peer, order, message, reply })
                .await
                .map_err(said)
                .and_then(|done| done.map(|()| Answer::Done)),
            Ok(Request::Peers { address }) => match core.ask(|reply| Ask::Peers { address, reply }).await {
                Err(unanswered) => Err(said(unanswered)),
                Ok(peers) => match (address, peers.is_empty()) {
                    (Some(address), true) => Err(format!("there is no peer {address}")),
                    (_, _) => return self.send_peers(peers).await,
                },
            },
            Ok(Request::Routes(query)) => return self.send_routes(query, core).await,
        };
        self.send(&answered.unwrap_or_else(|reason| Answer::Refused { reason })).await
    }

    async fn send_peers(&mut self, mut peers: Vec<Peer>) -> io::Result<()> {
        loop {
            let rest = peers.split_off(peers.len().min(ROWS_MAX));
            let more = !rest.is_empty();
            self.send(&Answer::Peers { rows: peers, more }).await?;
            if !more {
                return Ok(());
            }
            peers = rest;
        }
    }

    async fn send_routes(&mut self, query: RoutesQuery, core: &Core) -> io::Result<()> {
        let mut cursor = 0;
        loop {
            let ask = |reply| Ask::Routes { query: query.clone(), cursor, rows_max: ROWS_MAX, reply };
            let page = match core.ask(ask).await.map_err(said).and_then(|page| page) {
                Ok(page) => page,
                Err(reason) => return self.send(&Answer::Refused { reason }).await,
            };
            self.send(&Answer::Routes { rows: page.rows, more: page.next.is_some() }).await?;
            let Some(next) = page.next else { return Ok(()) };
            cursor = next;
        }
    }

    async fn send(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut octets = serde_json::to_vec(line)?;
        octets.push(b'\n');
        timeout(WRITE_PATIENCE, self.write.write_all(&octets)).await?
    }
}

fn said(unanswered: super::Unanswered) -> String {
    unanswered.to_string()
}
