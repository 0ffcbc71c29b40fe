//! The daemon and its clients in one binary: reads the command line, and says in one message what went wrong.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use bgpd::bird;
use bgpd::cli::{self, Args, Command, CommandError, OrderArgs};
use bgpd::control::protocol::Order;
use bgpd::log;
use bgpd::run::{RunArgs, run};
use clap::Parser;

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    if let Some(role) = bird::role(&program) {
        let arguments: Vec<String> = arguments.collect();
        return match role {
            bird::Role::Daemon(version) => bird::cli::main(version, &arguments),
            bird::Role::Client(version) => bird::client::main(version, &arguments),
        };
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let done = match Args::parse().command {
        Command::Run { config } => daemon(&config),
        Command::BirdLinks { directory } => links(&directory, &mut out),
        Command::Check { file } => cli::check(&file, &mut out).map_err(anyhow::Error::from),
        Command::Status { ask } => cli::status(&ask, &mut out).map_err(anyhow::Error::from),
        Command::Peers { address, ask } => cli::peers(address, &ask, &mut out).map_err(anyhow::Error::from),
        Command::Routes { words, peer, longer, ask } => {
            cli::routes(&words, peer, longer, &ask, &mut out).map_err(anyhow::Error::from)
        }
        Command::Why { destination, ask } => {
            cli::why(destination, &ask, &mut out).map_err(anyhow::Error::from)
        }
        Command::Shutdown { of, message } => ordered(of, Order::Shutdown, message),
        Command::Reset { of, message } => ordered(of, Order::Reset, message),
        Command::Start { of } => ordered(of, Order::Start, String::new()),
    };
    match done.and_then(|()| Ok(out.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if nobody_reads(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing more can be done where standard error is closed too.
            let _ = writeln!(io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn ordered(of: OrderArgs, order: Order, message: String) -> anyhow::Result<()> {
    Ok(cli::order(of, order, message)?)
}

fn links(directory: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let binary = std::env::current_exe().context("cannot find this program's own file")?;
    let made = bird::install(&binary, directory)
        .with_context(|| format!("cannot make the links in {}", directory.display()))?;
    for link in made {
        writeln!(out, "{} -> {}", link.display(), binary.display())?;
    }
    Ok(())
}

fn daemon(config: &Path) -> anyhow::Result<()> {
    let (desired, source) = cli::load(config)?;
    let log = log::init(desired.log);
    for note in desired.notes() {
        tracing::warn!(note, "configuration");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the worker threads")?;
    Ok(runtime.block_on(run(RunArgs { desired, source, log }))?)
}

/// `bgpd routes | head` is no failure.
fn nobody_reads(error: &anyhow::Error) -> bool {
    let pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    match error.downcast_ref::<CommandError>() {
        Some(CommandError::Output(error)) => pipe(error),
        Some(CommandError::Client(_) | CommandError::Config(_) | CommandError::Usage(_)) => false,
        None => error.downcast_ref::<io::Error>().is_some_and(pipe),
    }
}
