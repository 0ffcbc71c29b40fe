//! `birdcl`: completes abbreviated commands, sends them, and prints replies without their codes.
//!
//! The first line printed is the greeting, which Calico's liveness probe looks for. The exit code says only whether there was a daemon: a
//! reply that is an error is a reply.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bgp_proto::Version;

use super::cli::default_socket;
use super::command::expand;
use super::lang::plain;

/// How long a daemon may take for a line.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the client as `arguments` (without the program's name) say.
pub fn main(version: Version, arguments: &[String]) -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let done = client(version, arguments, &mut io::stdin().lock(), &mut out);
    match done.and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing more can be done where standard error is closed.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    socket: PathBuf,
    is_verbose: bool,
    is_restricted: bool,
    command: String,
}

fn options(version: Version, arguments: &[String]) -> io::Result<Options> {
    let name = match version {
        Version::V4 => "bird",
        Version::V6 => "bird6",
    };
    let mut options = Options {
        socket: default_socket(name),
        is_verbose: false,
        is_restricted: false,
        command: String::new(),
    };
    let mut arguments = arguments.iter().peekable();
    while let Some(letters) = arguments.next_if(|a| a.starts_with('-')) {
        match letters.as_str() {
            "-v" => options.is_verbose = true,
            "-r" => options.is_restricted = true,
            "-l" => options.socket = PathBuf::from(format!("{name}.ctl")),
            _ => match letters.strip_prefix("-s") {
                Some("") => options.socket = arguments.next().map(PathBuf::from).unwrap_or_default(),
                Some(path) => options.socket = path.into(),
                None => {
                    let usage = "Usage: birdcl [-s <control-socket>] [-v] [-r] [-l] [<command>]";
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, usage));
                }
            },
        }
    }
    options.command = arguments.cloned().collect::<Vec<_>>().join(" ");
    Ok(options)
}

fn client(
    version: Version,
    arguments: &[String],
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> io::Result<()> {
    let options = options(version, arguments)?;
    let socket = UnixStream::connect(&options.socket).map_err(|error| {
        let text = plain(&error);
        let path = options.socket.display();
        io::Error::new(error.kind(), format!("Unable to connect to server control socket ({path}): {text}"))
    })?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut session = Session {
        read: BufReader::new(socket.try_clone()?),
        write: socket,
        is_verbose: options.is_verbose,
        last: 0,
    };
    session.reply(out)?;
    if options.is_restricted {
        session.write.write_all(b"restrict\n")?;
        session.reply(out)?;
    }
    if !options.command.is_empty() {
        return session.command(&options.command, out);
    }
    loop {
        write!(out, "bird> ")?;
        out.flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        match line.trim() {
            "" => {}
            "exit" | "quit" => return Ok(()),
            command => session.command(command, out)?,
        }
    }
}

struct Session {
    read: BufReader<UnixStream>,
    write: UnixStream,
    is_verbose: bool,
    last: u32,
}

impl Session {
    fn command(&mut self, command: &str, out: &mut dyn Write) -> io::Result<()> {
        match expand(command) {
            Ok(full) => {
                self.write.write_all(format!("{full}\n").as_bytes())?;
                self.reply(out)
            }
            Err(message) => writeln!(out, "{message}"),
        }
    }

    /// Prints lines up to the last one of a reply.
    fn reply(&mut self, out: &mut dyn Write) -> io::Result<()> {
        loop {
            let mut line = String::new();
            if self.read.read_line(&mut line)? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "Connection closed by server"));
            }
            let line = line.trim_end_matches('\n');
            if self.is_verbose {
                writeln!(out, "{line}")?;
            }
            let code = line.get(..4).and_then(|code| code.parse::<u32>().ok());
            let text = match code {
                Some(code) => {
                    self.last = code;
                    line.get(5..).unwrap_or_default()
                }
                None => line.strip_prefix([' ', '+']).unwrap_or(line),
            };
            let is_last = code.is_some() && line.as_bytes().get(4) == Some(&b' ');
            let is_bare_end = is_last && text.is_empty();
            if !self.is_verbose && !is_bare_end {
                writeln!(out, "{text}")?;
            }
            if is_last {
                return Ok(());
            }
        }
    }
}
