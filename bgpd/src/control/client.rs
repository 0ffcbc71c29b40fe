//! The command line's end of the control socket. It blocks, which is all that a command needs.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{
    Answer, Destination, Greeting, Instance, Order, PROTOCOL, Peer, Request, Route, RoutesQuery, VERSION, Why,
};

/// Longer than the daemon's own patience with its core.
const PATIENCE: Duration = Duration::from_secs(15);
/// Octets of one answer; a page of long rows has about one million.
const ANSWER_OCTETS_MAX: u64 = 64 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon, as far as can be seen.
    #[error("no daemon answers at {path}: {error}; is `bgpd run` running? (--socket names another socket)", path = path.display())]
    Absent {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The socket is there, but not for us.
    #[error("may not open {path}: {error}; run this as root, or as a member of the socket's group", path = path.display())]
    Forbidden {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Something else listens there.
    #[error("{path} is not the control socket of bgpd: {seen}", path = path.display())]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// What it said.
        seen: String,
    },
    /// Another version.
    #[error(
        "the daemon ({daemon}) speaks version {theirs} of the control protocol, this command version {VERSION}; use the daemon's own binary"
    )]
    Version {
        /// Version of the daemon.
        daemon: String,
        /// Version of its protocol.
        theirs: u32,
    },
    /// The daemon has no answer to this.
    #[error("{0}")]
    Refused(String),
    /// The connection broke.
    #[error("the daemon stopped answering: {0}")]
    Broken(#[from] io::Error),
}

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    read: BufReader<UnixStream>,
    path: PathBuf,
}

impl Client {
    /// Connects, and checks that both sides speak the same language.
    pub fn connect(path: &Path) -> Result<Client, ClientError> {
        let stream = UnixStream::connect(path).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => ClientError::Forbidden { path: path.to_owned(), error },
            _ => ClientError::Absent { path: path.to_owned(), error },
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut client = Client { read: BufReader::new(stream), path: path.to_owned() };
        client.greet()?;
        Ok(client)
    }

    fn greet(&mut self) -> Result<(), ClientError> {
        let line = self.line()?;
        let foreign = |line: &[u8]| ClientError::Foreign {
            path: self.path.clone(),
            seen: String::from_utf8_lossy(line).chars().take(80).collect(),
        };
        if let Ok(Answer::Refused { reason }) = serde_json::from_slice(&line) {
            return Err(ClientError::Refused(reason));
        }
        let greeting: Greeting = serde_json::from_slice(&line).map_err(|_| foreign(&line))?;
        if greeting.protocol != PROTOCOL {
            return Err(foreign(&line));
        }
        if greeting.version != VERSION {
            return Err(ClientError::Version { daemon: greeting.daemon, theirs: greeting.version });
        }
        Ok(())
    }

    /// The instance.
    pub fn status(&mut self) -> Result<Instance, ClientError> {
        self.send(&Request::Status)?;
        match self.answer()? {
            Answer::Status(instance) => Ok(*instance),
            other => Err(unexpected(&other)),
        }
    }

    /// All peers, or one.
    pub fn peers(&mut self, address: Option<IpAddr>) -> Result<Vec<Peer>, ClientError> {
        self.send(&Request::Peers { address })?;
        let mut peers = Vec::new();
        loop {
            match self.answer()? {
                Answer::Peers { rows, more } => {
                    peers.extend(rows);
                    if !more {
                        return Ok(peers);
                    }
                }
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// Routes, handed over page by page.
    pub fn routes(
        &mut self,
        query: RoutesQuery,
        mut page: impl FnMut(Vec<Route>) -> io::Result<()>,
    ) -> Result<(), ClientError> {
        self.send(&Request::Routes(query))?;
        loop {
            match self.answer()? {
                Answer::Routes { rows, more } => {
                    page(rows)?;
                    if !more {
                        return Ok(());
                    }
                }
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// Everything about one destination.
    pub fn why(&mut self, destination: Destination) -> Result<Why, ClientError> {
        self.send(&Request::Why { destination })?;
        match self.answer()? {
            Answer::Why(why) => Ok(*why),
            other => Err(unexpected(&other)),
        }
    }

    /// Something to do with a peer's session.
    pub fn order(&mut self, peer: String, order: Order, message: String) -> Result<(), ClientError> {
        self.send(&Request::Order { peer, order, message })?;
        match self.answer()? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
        line.push(b'\n');
        Ok(self.read.get_mut().write_all(&line)?)
    }

    fn answer(&mut self) -> Result<Answer, ClientError> {
        let line = self.line()?;
        match serde_json::from_slice(&line).map_err(io::Error::from)? {
            Answer::Refused { reason } => Err(ClientError::Refused(reason)),
            answer => Ok(answer),
        }
    }

    fn line(&mut self) -> Result<Vec<u8>, ClientError> {
        let mut line = Vec::new();
        (&mut self.read).take(ANSWER_OCTETS_MAX).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(line)
    }
}

fn unexpected(answer: &Answer) -> ClientError {
    let kind = match answer {
        Answer::Status(_) => "status",
        Answer::Peers { .. } => "peers",
        Answer::Routes { .. } => "routes",
        Answer::Why(_) => "why",
        Answer::Done => "done",
        Answer::Refused { .. } => "refused",
    };
    io::Error::new(io::ErrorKind::InvalidData, format!("it answered something else: {kind}")).into()
}
