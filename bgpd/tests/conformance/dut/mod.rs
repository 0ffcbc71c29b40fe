//! The daemon under test: ours, or by `CONFORMANCE_DUT` one of four others, each from Debian's package.
//!
//! A make writes a configuration from a [`Plan`] or refuses it with [`no_word`]; nothing else of a case depends on it.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use lab::daemon::Daemon;
use lab::peers::{bird as lab_bird, frr as lab_frr, gobgp as lab_gobgp, openbgpd as lab_openbgpd};
use lab::sandbox::{self, Need};
use lab::{shell, wait};

use crate::plan::{Knob, Plan};

mod bird;
pub(crate) mod clock;
mod frr;
mod gobgp;
mod openbgpd;
mod ours;

/// Which daemon is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Make {
    Ours,
    Bird,
    Frr,
    GoBgp,
    OpenBgpd,
}

/// How a make is called in `CONFORMANCE_DUT`, and by people.
const NAMES: [(Make, &str, &str); 5] = [
    (Make::Ours, "bgpd", "bgpd"),
    (Make::Bird, "bird", "BIRD"),
    (Make::Frr, "frr", "FRR"),
    (Make::GoBgp, "gobgp", "GoBGP"),
    (Make::OpenBgpd, "openbgpd", "OpenBGPD"),
];

/// The variable that says which.
pub(crate) const WHICH: &str = "CONFORMANCE_DUT";

impl Make {
    pub(crate) const ALL: [Make; 5] = [Make::Ours, Make::Bird, Make::Frr, Make::GoBgp, Make::OpenBgpd];

    /// The one the environment asks for.
    pub(crate) fn wanted() -> Result<Make> {
        let word = env::var(WHICH).unwrap_or_else(|_| "bgpd".to_owned());
        let found = NAMES.iter().find(|(_, known, _)| *known == word).map(|(make, ..)| *make);
        found.with_context(|| format!("{WHICH}={word}: expected bgpd, bird, frr, gobgp or openbgpd"))
    }

    pub(crate) fn word(self) -> &'static str {
        NAMES.iter().find(|(make, ..)| *make == self).map_or("", |(_, word, _)| word)
    }

    pub(crate) fn title(self) -> &'static str {
        NAMES.iter().find(|(make, ..)| *make == self).map_or("", |(.., title)| title)
    }

    pub(crate) fn needs(self) -> Vec<Need> {
        match self {
            Make::Ours => Vec::new(),
            Make::Bird => vec![lab_bird::NEED],
            Make::Frr => vec![lab_frr::NEED],
            Make::GoBgp => vec![lab_gobgp::NEED],
            Make::OpenBgpd => vec![lab_openbgpd::NEED],
        }
    }

    /// The version, as Debian's package or our own manifest has it.
    pub(crate) fn version(self) -> String {
        let Some(need) = self.needs().first().copied() else { return env!("CARGO_PKG_VERSION").to_owned() };
        let asked = shell::read(shell::command("dpkg-query").args(["-W", "-f=${Version}", need.package]));
        let version = asked.unwrap_or_else(|_| "not installed".to_owned());
        version.split(['-', '+']).next().unwrap_or_default().to_owned()
    }
}

/// A running daemon under test.
pub(crate) struct Dut {
    make: Make,
    daemon: Daemon,
    /// What else runs with it.
    _beside: Vec<Daemon>,
    config: PathBuf,
}

impl Dut {
    pub(crate) fn start(make: Make, plan: &Plan) -> Result<Dut> {
        let work = sandbox::work()?;
        let config = work.join("dut.conf");
        fs::write(&config, render(make, plan)?)?;
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600))?;
        let (mut command, beside) = match make {
            Make::Ours => (ours::command(&config)?, Vec::new()),
            Make::Bird => (bird::command(&config), Vec::new()),
            Make::Frr => frr::command(&config)?,
            Make::GoBgp => (gobgp::command(&config), Vec::new()),
            Make::OpenBgpd => (openbgpd::command(&config)?, Vec::new()),
        };
        if plan.own_clock {
            clock::preload(&mut command)?;
        }
        let daemon = Daemon::spawn("dut", command)?;
        let dut = Dut { make, daemon, _beside: beside, config };
        dut.daemon.wait_listen(179)?;
        if plan.own_clock {
            clock::covers(make, &dut.daemon)?;
        }
        match make {
            Make::Ours => ours::wait_ready(&dut.daemon)?,
            Make::GoBgp | Make::OpenBgpd | Make::Bird | Make::Frr => {}
        }
        Ok(dut)
    }

    pub(crate) fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Replaces the configuration and tells the daemon.
    pub(crate) fn reload(&mut self, plan: &Plan) -> Result<()> {
        let fresh = self.config.with_extension("new");
        fs::write(&fresh, render(self.make, plan)?)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
        fs::rename(&fresh, &self.config)?;
        match self.make {
            Make::Ours | Make::GoBgp | Make::Bird => self.daemon.signal("HUP"),
            Make::OpenBgpd => openbgpd::reload(),
            Make::Frr => bail!(no_word(&"a new configuration file while it runs")),
        }
    }

    /// Closes a session by command: `reset` lets it come back, `shutdown` does not.
    pub(crate) fn tell(&self, words: &[&str]) -> Result<String> {
        match self.make {
            Make::Ours => ours::client(words),
            _ => bail!(no_word(&format!("the command {words:?}"))),
        }
    }

    /// How to ask for the whole table, from any thread; the answer is how many octets it is.
    pub(crate) fn dumper(&self) -> Result<impl Fn() -> Result<usize> + Send + Clone + use<>> {
        ensure!(self.make == Make::Ours, no_word(&"a dump of the table in this suite"));
        let socket = ours::socket()?;
        Ok(move || ours::dump(&socket))
    }

    /// Resident memory in kilobytes.
    pub(crate) fn rss_kb(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.daemon.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

fn render(make: Make, plan: &Plan) -> Result<String> {
    match make {
        Make::Ours => ours::render(plan),
        Make::Bird => bird::render(plan),
        Make::Frr => frr::render(plan),
        Make::GoBgp => gobgp::render(plan),
        Make::OpenBgpd => openbgpd::render(plan),
    }
}

/// The words before a refusal.
pub(crate) const NO_WORD: &str = "its configuration has no word for";

/// A case that this make cannot be configured for.
fn no_word(what: &dyn std::fmt::Display) -> anyhow::Error {
    anyhow!("{NO_WORD} {what}")
}

/// The same for a knob.
fn refuse(knob: &Knob) -> anyhow::Error {
    no_word(&format!("{knob:?}"))
}

/// A program in the daemon's namespace.
fn inside(program: &str) -> Command {
    let mut command = shell::command("nsenter");
    command.arg("--net=/run/netns/dut").arg("--");
    command.arg(shell::which(program).unwrap_or_else(|| program.into()));
    command
}

/// Writes a key's file.
fn secret(name: &str, key: &str) -> Result<PathBuf> {
    let path = sandbox::work()?.join(format!("{name}.key"));
    fs::write(&path, format!("{key}\n"))?;
    Ok(path)
}

fn exists(path: &Path) -> Result<()> {
    wait::until(&path.display().to_string(), wait::SOON, || fs::metadata(path).map(drop).context("not there"))
}

/// Two daemons of this make that start within `apart` of each other and must be established `within`.
pub(crate) fn twins(make: Make, apart: Duration, within: Duration) -> Result<()> {
    match make {
        Make::Ours => ours::twins(apart, within),
        _ => bail!(no_word(&"a second daemon of its make in this suite")),
    }
}

/// A mesh of three reflectors of this make with a fourth behind it.
pub(crate) fn reflectors(make: Make) -> Result<Vec<Daemon>> {
    match make {
        Make::Ours => ours::reflectors(),
        _ => bail!(no_word(&"four daemons of its make in this suite")),
    }
}
