//! BIRD's control socket: many clients, a task each, none of which can hold up anything but itself.
//!
//! A client sends a command a line and gets a reply; a route table is sent page by page as the client reads. Configuration commands go to
//! whoever owns the configuration by message.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::ZonedDateTime as Zoned;
use reflector::policy::Policy;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::command::{self, Command, Refusal, Routes, Which};
use super::desired::{Face, Shown};
use super::reply::Reply;
use super::show::{self, Names, View};
use super::{interfaces, lang, show as shows};
use crate::control::bird::{Answer, Counting, Counts, Origin, Question, RouteQuery, RouteRow, SessionRow};
use crate::control::socket::{Socket, SocketError};
use crate::control::{self, Ask, protocol};

/// Clients at a time.
const CLIENTS_MAX: usize = 64;
/// Octets of a command.
const COMMAND_OCTETS_MAX: u64 = 4096;
/// How long a client may take to read what it is sent.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may say nothing.
const IDLE_PATIENCE: Duration = Duration::from_secs(600);
/// What a client hears when the core says something else than it was asked.
const NO_ANSWER: &str = "no answer";
/// Routes asked for at a time.
const PAGE_ROWS: usize = 500;

/// What a client wants of the daemon itself.
#[derive(Debug)]
pub enum Wish {
    /// Read the configuration again, or another file, or only look whether it can be used. The answer is `None`, or why not.
    Configure {
        /// Only look.
        check: bool,
        /// Another file than the usual one.
        file: Option<PathBuf>,
        /// The answer.
        reply: oneshot::Sender<Option<String>>,
    },
    /// Stop.
    Down,
}

/// What clients are answered from.
#[derive(Clone)]
pub struct Sources {
    /// The way to the core.
    pub core: control::Core,
    /// Names and order of protocols.
    pub face: watch::Receiver<Arc<Face>>,
    /// The way to the configuration.
    pub wishes: mpsc::Sender<Wish>,
    /// Its file, as `configure` names it.
    pub config: PathBuf,
}

/// A control socket, ready to be served. Dropping it removes the file.
#[derive(Debug)]
pub struct Server(Socket);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody answers there.
    #[error("I found another BIRD running.")]
    Taken,
    /// The system refused, or what is there is no socket.
    #[error("Cannot create control socket: {0}")]
    Refused(#[from] SocketError),
}

impl Server {
    /// Takes the socket at `path`, and the place of one that nobody answers at. Needs a tokio runtime.
    pub fn bind(path: &Path) -> Result<Server, BindError> {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(BindError::Taken);
        }
        Ok(Server(Socket::take(path)?))
    }

    /// Serves clients until it is dropped.
    pub async fn run(self, sources: Sources) {
        self.0.serve(CLIENTS_MAX, |stream| serve(stream, sources.clone()), |_| ()).await;
    }
}

async fn serve(stream: UnixStream, sources: Sources) {
    let (read, write) = stream.into_split();
    let mut client = Client { write, sources, is_restricted: false };
    let mut read = BufReader::new(read);
    // Whoever left needs no answer.
    if client.send(&show::greeting()).await.is_err() {
        return;
    }
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut read).take(COMMAND_OCTETS_MAX);
        let taken = timeout(IDLE_PATIENCE, bounded.read_until(b'\n', &mut line)).await;
        if !matches!(taken, Ok(Ok(1..))) {
            return;
        }
        let is_whole = line.ends_with(b"\n");
        let done = if is_whole {
            client.answer(String::from_utf8_lossy(&line).trim()).await
        } else {
            let sent = client.send(&Reply::one(9000, "Command too long")).await;
            sent.and(Err(io::Error::from(io::ErrorKind::InvalidInput)))
        };
        if done.is_err() {
            return;
        }
    }
}

struct Client {
    write: OwnedWriteHalf,
    sources: Sources,
    is_restricted: bool,
}

impl Client {
    async fn send(&mut self, text: &str) -> io::Result<()> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        timeout(WRITE_PATIENCE, self.write.write_all(text.as_bytes())).await.map_err(late)?
    }

    async fn answer(&mut self, line: &str) -> io::Result<()> {
        let text = match command::parse(line) {
            Err(Refusal(code, text)) => Reply::one(code, &text),
            Ok(Command::Routes(routes)) => return self.routes(routes).await,
            Ok(command) => self.reply(command).await.unwrap_or_else(|busy| Reply::one(8008, &busy)),
        };
        self.send(&text).await
    }

    async fn ask(&self, question: Question) -> Result<Answer, String> {
        let asked = self.sources.core.ask(|reply| Ask::Bird { question, reply }).await;
        asked.map_err(|error| error.to_string())
    }

    async fn reply(&mut self, command: Command) -> Result<String, String> {
        let denied = || Ok(Reply::one(8007, "Access denied"));
        Ok(match command {
            Command::Status => match self.ask(Question::Instance).await? {
                Answer::Instance(instance) => shows::status(&instance, &Zoned::now()),
                _ => Reply::one(8008, NO_ANSWER),
            },
            Command::Protocols { all, which } => self.protocols(all, &which).await?,
            Command::Interfaces => interfaces::show(),
            Command::Memory => memory(),
            Command::Restrict => {
                self.is_restricted = true;
                Reply::one(16, "Access restricted")
            }
            Command::Configure { .. }
            | Command::Undo
            | Command::Confirm
            | Command::Down
            | Command::Order(..)
                if self.is_restricted =>
            {
                return denied();
            }
            Command::Configure { check, file } => self.configure(check, file).await,
            Command::Undo => {
                let mut reply = Reply::new();
                reply.line(21, "Undo requested");
                reply.end(19, "Nothing to do")
            }
            Command::Confirm => Reply::one(19, "Nothing to do"),
            Command::Down => {
                let _ = self.sources.wishes.send(Wish::Down).await;
                Reply::one(7, "Shutdown requested")
            }
            Command::Order(order, which) => self.order(order, &which).await?,
            Command::Routes(_) => Reply::one(9001, "syntax error"),
        })
    }

    async fn sessions(&self) -> Result<BTreeMap<IpAddr, SessionRow>, String> {
        match self.ask(Question::Sessions).await? {
            Answer::Sessions(rows) => Ok(rows.into_iter().map(|row| (row.addr, row)).collect()),
            _ => Err(NO_ANSWER.to_owned()),
        }
    }

    /// The numbers of everybody's routes, counted a part at a time, so that the core is never busy with it for long.
    async fn counts(&self) -> Result<BTreeMap<Origin, Counts>, String> {
        let mut counting = Counting::default();
        loop {
            counting = match self.ask(Question::Count(counting)).await? {
                Answer::Counting(so_far) => so_far,
                Answer::Counts(counts) => return Ok(counts),
                _ => return Err(NO_ANSWER.to_owned()),
            };
        }
    }

    async fn protocols(&self, all: bool, which: &Which) -> Result<String, String> {
        let face = self.sources.face.borrow().clone();
        let chosen = match choose(&face, which) {
            Ok(chosen) => chosen,
            Err(Refusal(code, text)) => return Ok(Reply::one(code, &text)),
        };
        let Answer::Instance(instance) = self.ask(Question::Instance).await? else {
            return Err(NO_ANSWER.to_owned());
        };
        let sessions = self.sessions().await?;
        let counts = if all { self.counts().await? } else { BTreeMap::new() };
        let now = Zoned::now();
        let view = View { instance: &instance, sessions: &sessions, counts: &counts, now: &now };
        Ok(view.protocols(chosen.into_iter(), all))
    }

    /// `restart`, `reload`, `disable` and `enable`, of one protocol or several.
    async fn order(&self, order: command::Order, which: &Which) -> Result<String, String> {
        let face = self.sources.face.borrow().clone();
        let chosen = match choose(&face, which) {
            Ok(chosen) => chosen,
            Err(Refusal(code, text)) => return Ok(Reply::one(code, &text)),
        };
        let sessions = self.sessions().await?;
        let mut reply = Reply::new();
        for shown in chosen {
            let name = &shown.name;
            let session = shown.session.as_ref().filter(|_| !shown.disabled);
            let Some(row) = session.and_then(|s| sessions.get(&s.neighbor)) else {
                // What is no session runs as long as the configuration says so.
                reply.line(8006, &format!("{name}: {} failed", order.word()));
                continue;
            };
            let (question, code, said) = match (order, row.is_disabled) {
                (command::Order::Enable, false) => (None, 10, "already enabled"),
                (command::Order::Enable, true) => {
                    (Some(Question::Order(row.addr, protocol::Order::Start)), 11, "enabled")
                }
                (_, true) => (None, 8, "already disabled"),
                (command::Order::Disable, false) => {
                    (Some(Question::Order(row.addr, protocol::Order::Shutdown)), 9, "disabled")
                }
                (command::Order::Restart, false) => {
                    (Some(Question::Order(row.addr, protocol::Order::Reset)), 12, "restarted")
                }
                (command::Order::Reload, false) => (Some(Question::Reload(row.addr)), 15, "reloading"),
            };
            if let Some(question) = question {
                self.ask(question).await?;
            }
            reply.line(code, &format!("{name}: {said}"));
        }
        Ok(reply.end(0, ""))
    }

    async fn configure(&self, check: bool, file: Option<String>) -> String {
        let file = file.map(PathBuf::from);
        let path = file.as_ref().unwrap_or(&self.sources.config).display().to_string();
        let mut reply = Reply::new();
        reply.line(2, &format!("Reading configuration from {path}"));
        let (answer, answered) = oneshot::channel();
        let wish = Wish::Configure { check, file, reply: answer };
        // A wish that nobody takes is one that nobody answers.
        drop(self.sources.wishes.send(wish).await);
        match answered.await {
            Ok(None) if check => reply.end(20, "Configuration OK"),
            Ok(None) => reply.end(3, "Reconfigured"),
            Ok(Some(error)) => reply.end(8002, &error),
            Err(_) => reply.end(6, "Reconfiguration ignored, shutting down"),
        }
    }

    /// Sends routes page by page.
    async fn routes(&mut self, wanted: Routes) -> io::Result<()> {
        let face = self.sources.face.borrow().clone();
        let mut query = match query(&wanted, &face) {
            Ok(query) => query,
            Err(Refusal(code, text)) => return self.send(&Reply::one(code, &text)).await,
        };
        let names = Names::of(&face);
        let now = Zoned::now();
        let mut reply = Reply::new();
        let mut found = Tally::default();
        loop {
            let page = match self.ask(Question::Routes(query.clone())).await {
                Ok(Answer::Routes(page)) => page,
                Ok(_) => return self.send(&reply.end(8008, NO_ANSWER)).await,
                Err(busy) => return self.send(&reply.end(8008, &busy)).await,
            };
            let mut rows = page.rows;
            rows.retain(|row| !wanted.primary || row.is_best);
            found.count(&rows);
            if !wanted.count {
                show::routes(&rows, &names, wanted.all, &now, &mut reply);
                let text = reply.take();
                self.send(&text).await?;
            }
            query.after = page.next;
            if page.next.is_none() {
                break;
            }
        }
        let end = if wanted.count {
            reply.end(14, &format!("{0} of {0} routes for {1} networks", found.routes, found.networks))
        } else if wanted.destination.is_some() && found.routes == 0 {
            reply.end(8001, "Network not in table")
        } else {
            reply.end(0, "")
        };
        self.send(&end).await
    }
}

#[derive(Default)]
struct Tally {
    routes: usize,
    networks: usize,
    last: Option<bgp_proto::Prefix>,
}

impl Tally {
    fn count(&mut self, rows: &[RouteRow]) {
        for row in rows {
            self.routes += 1;
            self.networks += usize::from(self.last != Some(row.prefix));
            self.last = Some(row.prefix);
        }
    }
}

fn choose<'a>(face: &'a Face, which: &Which) -> Result<Vec<&'a Shown>, Refusal> {
    let like = |pattern: &str| {
        let all = face.protocols.iter();
        all.filter(|p| reflector::policy::is_like_pattern(&p.name, pattern)).collect::<Vec<_>>()
    };
    match which {
        Which::All => Ok(face.protocols.iter().collect()),
        Which::Named(name) => match face.protocols.iter().find(|p| p.name == *name) {
            Some(found) => Ok(vec![found]),
            None => Err(Refusal(9002, format!("{name} is not a protocol"))),
        },
        Which::Like(pattern) => match like(pattern) {
            none if none.is_empty() => Err(Refusal(8003, "No protocols match".to_owned())),
            some => Ok(some),
        },
    }
}

fn query(wanted: &Routes, face: &Face) -> Result<RouteQuery, Refusal> {
    let find = |name: &str| {
        let found = face.protocols.iter().find(|p| p.name == name);
        found.ok_or_else(|| Refusal(9001, format!("{name} is not a protocol")))
    };
    let mut query = RouteQuery {
        destination: wanted.destination,
        filter: filter(wanted, face)?,
        rows_max: PAGE_ROWS,
        ..RouteQuery::default()
    };
    if let Some(name) = &wanted.protocol {
        let shown = find(name)?;
        query.of = Some(match (shown.word, &shown.session) {
            (_, Some(session)) => Origin::Peer(session.neighbor),
            ("Kernel", None) => Origin::Kernel,
            ("Static", None) => Origin::Static,
            (_, None) => Origin::Direct,
        });
    }
    if let Some(name) = &wanted.export {
        match &find(name)?.session {
            Some(session) => query.exported = Some(session.neighbor),
            None => return Err(Refusal(9001, format!("show route export {name} is not supported"))),
        }
    }
    Ok(query)
}

/// The filter of `show route filter` and `where`.
fn filter(wanted: &Routes, face: &Face) -> Result<Option<Arc<Policy>>, Refusal> {
    let Some(choice) = &wanted.filter else { return Ok(None) };
    let parsed = lang::parse_filter(choice, face.version, &face.filters);
    parsed.map(Some).map_err(|message| Refusal(9001, message))
}

/// `show memory`: the process as a whole.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
    let kilobytes = resident.unwrap_or("0");
    let mut reply = Reply::new();
    reply.line(1018, "BIRD memory usage");
    reply.line(1018, &format!("{:<17} {kilobytes:>4} kB", "Total:"));
    reply.end(0, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_socket_is_taken_and_a_file_is_left() {
        let dir = std::env::temp_dir().join(format!("bgpd-bird-server-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let (dead, file) = (dir.join("dead"), dir.join("file"));
        drop(std::os::unix::net::UnixListener::bind(&dead).expect("a socket"));
        let server = Server::bind(&dead).expect("the place of a dead one");
        assert!(matches!(Server::bind(&dead), Err(BindError::Taken)));
        drop(server);
        assert!(!dead.exists());
        std::fs::write(&file, "text").expect("a file");
        assert!(matches!(Server::bind(&file), Err(BindError::Refused(_))));
        assert_eq!(std::fs::read_to_string(&file).expect("still there"), "text");
        std::fs::remove_dir_all(&dir).expect("our own directory");
    }
}
