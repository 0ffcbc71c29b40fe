//! The command line: what can be typed, and what each command prints.
//!
//! One binary is the daemon and its own client. `run` and `check` read a configuration; everything else asks a running daemon, or tells it to do something, through its
//! control socket and shows the answer: as a table for people, or with `-o json` in the shapes of [`control::protocol`](crate::control::protocol),
//! which are stable. A list of JSON is written as it arrives, one row a line, so that a full table needs no memory here either.

mod routes;
mod status;
mod table;

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};
use jiff::tz::TimeZone;
use serde::Serialize;

use self::status::plural;
use crate::config::schema::defaults;
use crate::config::sources::{File, node};
use crate::config::{Desired, Problems};
use crate::control::client::{Client, ClientError};
use crate::control::protocol::{Destination, Instance, Order, Peer, RoutesQuery, View};

/// A BGP speaker and route reflector for Kubernetes nodes.
#[derive(Debug, Parser)]
#[command(name = "bgpd", version, max_term_width = 100)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon. SIGHUP reloads the configuration, SIGTERM stops.
    Run {
        /// The configuration file.
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
    },
    /// Check a configuration file: print everything that is wrong with it and exit with 1, or with 0.
    Check {
        /// The configuration file.
        file: PathBuf,
    },
    /// Make the links bird, bird6, birdcl and birdcl6, by which this program takes BIRD's place in Calico's node image.
    BirdLinks {
        /// Where; what is there under these names is replaced.
        #[arg(default_value = "/bin")]
        directory: PathBuf,
    },
    /// Show how the daemon and its peers are.
    Status {
        /// Where and how.
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Show the peers, or everything about one.
    Peers {
        /// The address of one peer.
        address: Option<IpAddr>,
        /// Where and how.
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Show routes: what peers sent (in), the best of it (best), what a peer is told (out), what the kernel has (kernel).
    Routes {
        /// in, best (the default), out or kernel; and a prefix, or an address in it.
        #[arg(value_name = "VIEW|PREFIX", num_args = 0..=2)]
        words: Vec<RoutesWord>,
        /// Only from this peer, or, of `out`, to it.
        #[arg(long, value_name = "ADDRESS")]
        peer: Option<IpAddr>,
        /// Also what is inside the prefix.
        #[arg(long)]
        longer: bool,
        /// Where and how.
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Explain one destination: every path, why it won or lost, who is told, what the kernel says.
    Why {
        /// A prefix, or an address in it.
        destination: Destination,
        /// Where and how.
        #[command(flatten)]
        ask: AskArgs,
    },
    /// End a peer's session and keep it down, until `start` or the daemon's next start.
    Shutdown {
        /// Whose.
        #[command(flatten)]
        of: OrderArgs,
        /// What the peer is told, at most 255 octets.
        #[arg(long, value_name = "TEXT", default_value = "")]
        message: String,
    },
    /// End a peer's session and start it anew.
    Reset {
        /// Whose.
        #[command(flatten)]
        of: OrderArgs,
        /// What the peer is told, at most 255 octets.
        #[arg(long, value_name = "TEXT", default_value = "")]
        message: String,
    },
    /// Start a session that was shut down, or that waits after a failure.
    Start {
        /// Whose.
        #[command(flatten)]
        of: OrderArgs,
    },
}

/// Which daemon is told to do something, with which peer.
#[derive(Debug, clap::Args)]
pub struct OrderArgs {
    /// The peer's address or name.
    pub peer: String,
    /// The daemon's control socket.
    #[arg(long, value_name = "PATH", default_value = defaults::SOCKET)]
    pub socket: PathBuf,
}

/// How a daemon is asked, and its answer shown.
#[derive(Debug, clap::Args)]
pub struct AskArgs {
    /// The daemon's control socket.
    #[arg(long, value_name = "PATH", default_value = defaults::SOCKET)]
    pub socket: PathBuf,
    /// How the answer is shown.
    #[arg(long, short, value_enum, default_value = "table")]
    pub output: Output,
}

/// How an answer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs; documented and stable.
    Json,
}

/// A word after `routes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoutesWord {
    /// Where to look.
    View(View),
    /// What to look for.
    Destination(Destination),
}

impl std::str::FromStr for RoutesWord {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Ok(match word {
            "in" => RoutesWord::View(View::In),
            "best" => RoutesWord::View(View::Best),
            "out" => RoutesWord::View(View::Out),
            "kernel" => RoutesWord::View(View::Kernel),
            other => RoutesWord::Destination(other.parse().map_err(|_| {
                format!("expected in, best, out or kernel, or a prefix or address, found `{other}`")
            })?),
        })
    }
}

/// Why a command failed; printed as one message.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] Problems),
    /// The words do not fit together.
    #[error("{0}")]
    Usage(&'static str),
    /// The answer could not be written.
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
}

/// Reads the configuration that `run` and `check` name.
pub fn load(file: &Path) -> Result<(Desired, File), Problems> {
    let source = File::new(file);
    let desired = source.load(&node::router_id)?;
    Ok((desired, source))
}

/// `check`.
pub fn check(file: &Path, out: &mut impl Write) -> Result<(), CommandError> {
    let (desired, _) = load(file)?;
    writeln!(
        out,
        "{}: good: AS {}, router id {}, {}, {}, {}",
        file.display(),
        desired.asn,
        desired.router_id,
        plural(desired.peers.len() as u64, "peer"),
        plural(desired.originate.len() as u64, "prefix"),
        plural(desired.policies.len() as u64, "policy")
    )?;
    for note in desired.notes() {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

/// `status`.
pub fn status(ask: &AskArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let mut client = Client::connect(&ask.socket)?;
    let instance = client.status()?;
    let peers = client.peers(None)?;
    match ask.output {
        Output::Json => json(&StatusDocument { instance, peers }, out),
        Output::Table => {
            Ok(out.write_all(status::status(&instance, &peers, &TimeZone::system()).as_bytes())?)
        }
    }
}

/// `bgpd status -o json`: the keys of [`Instance`], and `peers`.
#[derive(Debug, Serialize)]
struct StatusDocument {
    #[serde(flatten)]
    instance: Instance,
    peers: Vec<Peer>,
}

/// `peers`.
pub fn peers(address: Option<IpAddr>, ask: &AskArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let peers = Client::connect(&ask.socket)?.peers(address)?;
    match (ask.output, address) {
        (Output::Json, _) => json(&peers, out),
        (Output::Table, None) => Ok(out.write_all(status::peers(&peers).as_bytes())?),
        (Output::Table, Some(_)) => {
            for peer in &peers {
                out.write_all(status::peer(peer, &TimeZone::system()).as_bytes())?;
            }
            Ok(())
        }
    }
}

/// `routes`.
pub fn routes(
    words: &[RoutesWord],
    peer: Option<IpAddr>,
    longer: bool,
    ask: &AskArgs,
    out: &mut impl Write,
) -> Result<(), CommandError> {
    let query = query(words, peer, longer)?;
    let mut client = Client::connect(&ask.socket)?;
    match ask.output {
        Output::Json => {
            let mut rows = JsonRows { out, first: true };
            client.routes(query, |page| page.iter().try_for_each(|row| rows.add(row)))?;
            Ok(rows.end()?)
        }
        Output::Table => {
            let (view, mut rows) = (query.view, Vec::new());
            client.routes(query, |page| {
                rows.extend(page);
                Ok(())
            })?;
            Ok(out.write_all(routes::routes(view, rows).as_bytes())?)
        }
    }
}

fn query(words: &[RoutesWord], peer: Option<IpAddr>, longer: bool) -> Result<RoutesQuery, CommandError> {
    let (mut view, mut destination) = (None, None);
    for word in words {
        let given_twice = match word {
            RoutesWord::View(it) => view.replace(*it).is_some(),
            RoutesWord::Destination(it) => destination.replace(*it).is_some(),
        };
        if given_twice {
            return Err(CommandError::Usage("one view and one prefix at most; see `bgpd routes --help`"));
        }
    }
    let view = view.unwrap_or(View::Best);
    if view == View::Out && peer.is_none() {
        return Err(CommandError::Usage(
            "`routes out` needs --peer ADDRESS: each peer may be told something else",
        ));
    }
    if longer && !matches!(destination, Some(Destination::Prefix(_))) {
        return Err(CommandError::Usage("--longer needs a prefix"));
    }
    Ok(RoutesQuery { view, destination, longer, peer })
}

/// `why`.
pub fn why(destination: Destination, ask: &AskArgs, out: &mut impl Write) -> Result<(), CommandError> {
    let why = Client::connect(&ask.socket)?.why(destination)?;
    match ask.output {
        Output::Json => json(&why, out),
        Output::Table => Ok(out.write_all(routes::why(&why).as_bytes())?),
    }
}

/// `shutdown`, `reset` and `start`.
pub fn order(of: OrderArgs, order: Order, message: String) -> Result<(), CommandError> {
    Ok(Client::connect(&of.socket)?.order(of.peer, order, message)?)
}

fn json(document: &impl Serialize, out: &mut impl Write) -> Result<(), CommandError> {
    serde_json::to_writer_pretty(&mut *out, document).map_err(io::Error::from)?;
    Ok(writeln!(out)?)
}

/// An array that is written as its rows arrive.
struct JsonRows<'a, W> {
    out: &'a mut W,
    first: bool,
}

impl<W: Write> JsonRows<'_, W> {
    fn add(&mut self, row: &impl Serialize) -> io::Result<()> {
        self.out.write_all(if self.first { b"[\n" } else { b",\n" })?;
        self.first = false;
        Ok(serde_json::to_writer(&mut *self.out, row)?)
    }

    fn end(self) -> io::Result<()> {
        self.out.write_all(if self.first { b"[]\n" } else { b"\n]\n" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        Args::try_parse_from(line.split(' ')).map(|args| args.command).map_err(|error| error.to_string())
    }

    fn queried(line: &str) -> Result<RoutesQuery, String> {
        match parsed(line)? {
            Command::Routes { words, peer, longer, .. } => {
                query(&words, peer, longer).map_err(|error| error.to_string())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn routes_take_a_view_a_prefix_or_both() {
        let of = |view, destination: Option<&str>| RoutesQuery {
            view,
            destination: destination.map(|text| text.parse().unwrap()),
            longer: false,
            peer: None,
        };
        assert_eq!(queried("bgpd routes"), Ok(of(View::Best, None)));
        assert_eq!(queried("bgpd routes kernel"), Ok(of(View::Kernel, None)));
        assert_eq!(queried("bgpd routes 10.0.0.0/8"), Ok(of(View::Best, Some("10.0.0.0/8"))));
        assert_eq!(queried("bgpd routes in fd00::1"), Ok(of(View::In, Some("fd00::1"))));
        assert_eq!(
            queried("bgpd routes out"),
            Err("`routes out` needs --peer ADDRESS: each peer may be told something else".into())
        );
        assert!(queried("bgpd routes out --peer 10.0.0.2").is_ok());
        assert!(queried("bgpd routes in best").is_err());
        assert_eq!(queried("bgpd routes --longer"), Err("--longer needs a prefix".into()));
        let wrong = queried("bgpd routes inn").unwrap_err();
        assert!(
            wrong.contains("expected in, best, out or kernel, or a prefix or address, found `inn`"),
            "{wrong}"
        );
    }

    #[test]
    fn every_command_is_understood() {
        for line in [
            "bgpd run --config /etc/bgpd.yaml",
            "bgpd check /etc/bgpd.yaml",
            "bgpd status --socket /tmp/x -o json",
            "bgpd peers 10.0.0.2 -o table",
            "bgpd routes best 10.0.0.0/8 --peer 10.0.0.2 --longer",
            "bgpd why 10.0.0.0/8",
            "bgpd shutdown tor --message maintenance",
            "bgpd reset 10.0.0.2 --socket /tmp/x",
            "bgpd start fd00::2",
        ] {
            assert!(parsed(line).is_ok(), "{line}: {:?}", parsed(line));
        }
        assert!(parsed("bgpd run").is_err());
    }

    #[test]
    fn a_json_list_is_one_row_a_line() {
        let mut out = Vec::new();
        let mut rows = JsonRows { out: &mut out, first: true };
        rows.add(&1).unwrap();
        rows.add(&"two").unwrap();
        rows.end().unwrap();
        JsonRows { out: &mut out, first: true }.end().unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "[\n1,\n\"two\"\n]\n[]\n");
    }

    #[test]
    fn check_says_what_is_in_the_file() {
        let path = std::env::temp_dir().join(format!("bgpd-check-{}.yaml", std::process::id()));
        std::fs::write(
            &path,
            "asn: 1\nrouterId: 10.0.0.1\npeers: [ { name: tor, address: 10.0.0.2, asn: 2 } ]\n",
        )
        .unwrap();
        let mut out = Vec::new();
        check(&path, &mut out).unwrap();
        let file = path.display();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!(
                "{file}: good: AS 1, router id 10.0.0.1, 1 peer, 0 prefixes, 0 policies\nnote: peer tor: no policy: nothing accepted or sent (RFC 8212)\n"
            )
        );
        std::fs::write(&path, "asn: 1\nrouterId: 10.0.0.1\nasm: 2\npeers: [ { asn: 2x } ]\n").unwrap();
        let error = check(&path, &mut Vec::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{file}:3:1: unknown key `asm`; did you mean `asn`?\n{file}:4:17: peers[0].asn: expected an AS number from 1 to 4294967295, or dotted such as 1.10, found `2x`"
            )
        );
        std::fs::remove_file(&path).unwrap();
    }
}
