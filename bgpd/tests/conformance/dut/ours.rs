//! `bgpd`, this project's own.

use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::daemon::Daemon;
use lab::peers::ours;
use lab::{sandbox, shell, wait};

use super::{inside, no_word, secret};
use crate::plan::{Knob, Peer, Plan};
use crate::speaker::{DUT_ASN, DUT_ID};
use crate::wire::{EVPN, Family, V4, V6, VPNV4};

pub(super) fn command(config: &Path) -> Result<Command> {
    let mut command = inside(&ours::binary()?.to_string_lossy());
    command.args(["run", "--config"]).arg(config);
    Ok(command)
}

pub(super) fn socket() -> Result<PathBuf> {
    Ok(sandbox::work()?.join("dut.sock"))
}

/// Asks the running daemon.
pub(super) fn client(words: &[&str]) -> Result<String> {
    let mut command = shell::command(&ours::binary()?.to_string_lossy());
    shell::read(command.args(words).arg("--socket").arg(socket()?))
}

/// The whole table by the control socket, as a program would ask for it; how many octets it is.
pub(super) fn dump(socket: &Path) -> Result<usize> {
    let mut stream = BufReader::new(UnixStream::connect(socket)?);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    stream.get_mut().write_all(b"{\"ask\":\"routes\",\"view\":\"best\"}\n")?;
    let mut octets = 0;
    loop {
        line.clear();
        octets += stream.read_line(&mut line)?;
        ensure!(line.starts_with("{\"answer\":\"routes\""), "answered {line:?}");
        if line.ends_with("\"more\":false}\n") {
            return Ok(octets);
        }
    }
}

pub(super) fn wait_ready(daemon: &Daemon) -> Result<()> {
    wait::until("bgpd answers", wait::SOON, || {
        daemon.alive()?;
        client(&["status"]).map(drop)
    })
}

pub(super) fn render(plan: &Plan) -> Result<String> {
    let mut text = format!(
        "asn: {DUT_ASN}\nrouterId: {DUT_ID}\nkernel: {{ install: {} }}\ncontrol: {{ socket: {} }}\n",
        plan.kernel,
        socket()?.display()
    );
    if !plan.more.contains("gracefulRestart:") {
        text.push_str("gracefulRestart: \"off\"\n");
    }
    // Who is not played here does not hold up the first routes.
    if !plan.more.contains("restart:") {
        text.push_str("restart: { waitForUnreachable: 0s, selectionDeferral: 1s }\n");
    }
    match plan.decision {
        None => {}
        Some("always-compare-med") => text.push_str("decision: { alwaysCompareMed: true }\n"),
        Some("missing-as-worst") => text.push_str("decision: { missingMedAsWorst: true }\n"),
        Some("prefer-oldest") => text.push_str("decision: { preferOldest: true }\n"),
        Some("multipath-relax") => text.push_str("decision: { multipathRelax: true }\n"),
        Some("no-multipath-relax") => text.push_str("decision: { multipathRelax: false }\n"),
        Some(rung) => return Err(no_word(&rung)),
    }
    if plan.own_cluster_id {
        text.push_str("reflector: { clusterId: 9.9.9.9 }\n");
    }
    let mut policies = "policy:\n  all: [ { action: accept } ]\n".to_owned();
    text.push_str("peers:\n");
    for peer in &plan.peers {
        session(&mut text, &mut policies, peer)?;
    }
    if let Some((range, asn)) = plan.range {
        writeln!(text, "- {{ name: range, range: {range}, asn: {asn}, import: all, export: all }}")?;
    }
    Ok(text + &policies + &plan.more)
}

fn session(text: &mut String, policies: &mut String, peer: &Peer) -> Result<()> {
    let name = peer.who.name();
    let families: Vec<&str> = peer.families().into_iter().map(family).collect();
    write!(
        text,
        "- {{ name: {name}, address: \"{}\", asn: {}, families: [{}], holdTime: {}s",
        peer.address(),
        peer.who.asn,
        families.join(", "),
        peer.hold_secs()
    )?;
    if !peer.has(&Knob::Active) {
        text.push_str(", passive: true");
    }
    if peer.client {
        text.push_str(", reflectorClient: true");
    }
    if peer.who.is_external() && !peer.has(&Knob::NoPolicy) {
        let only = peer.knob(|knob| if let Knob::ImportOnly(only) = knob { Some(*only) } else { None });
        if let Some(only) = only {
            writeln!(policies, "  only-{name}: [ {{ match: {{ prefix: \"{only}\" }}, action: accept }} ]")?;
        }
        let import = if only.is_some() { format!("only-{name}") } else { "all".to_owned() };
        write!(text, ", import: {import}, export: all")?;
    }
    for knob in &peer.knobs {
        text.push_str(&word(&name, knob)?);
    }
    text.push_str(" }\n");
    Ok(())
}

fn word(name: &str, knob: &Knob) -> Result<String> {
    Ok(match knob {
        Knob::Active | Knob::NoPolicy | Knob::ImportOnly(_) => String::new(),
        Knob::HoldSecs(_) | Knob::Families(_) => String::new(),
        Knob::AddPathsMax(limit) => format!(", addPathsMax: {limit}"),
        Knob::Bfd => ", bfd: { interval: 100ms }".to_owned(),
        Knob::MinHoldSecs(secs) => format!(", minHoldTime: {secs}s"),
        Knob::OpenHoldSecs(secs) => format!(", openHoldTime: {secs}s"),
        Knob::SendHoldSecs(secs) => format!(", sendHoldTime: {secs}s"),
        Knob::DelayOpenSecs(secs) => format!(", delayOpen: {secs}s"),
        Knob::ConnectRetrySecs(secs) => format!(", connectRetry: {secs}s"),
        Knob::IdleHoldSecs(min, max) => format!(", idleHoldTime: {min}s, maxIdleHoldTime: {max}s"),
        Knob::Graceful(secs) => format!(", gracefulRestart: {secs}s"),
        Knob::StaleSecs(secs) => format!(", stalePathTime: {secs}s"),
        Knob::OverIpv6 => String::new(),
        Knob::RefreshSecs(secs) => format!(", refreshTime: {secs}s"),
        Knob::LongLivedToAll => ", longLivedPartialDeployment: true".to_owned(),
        Knob::LongLived(secs) => format!(", longLivedGracefulRestart: {secs}s"),
        Knob::AddPaths(direction) => {
            let words = ["off", "receive", "send", "both"];
            format!(", addPaths: {}", words.get(usize::from(*direction)).unwrap_or(&"off"))
        }
        Knob::MaxPrefixes(limit) => format!(", maxPrefixes: {limit}"),
        Knob::MaxPrefixesRestartSecs(secs) => format!(", maxPrefixesRestart: {secs}s"),
        Knob::MaxPrefixesWarn => ", maxPrefixesAction: warn".to_owned(),
        Knob::Role(role) => format!(", role: {role}"),
        Knob::StrictRole => ", strictRole: true".to_owned(),
        Knob::AllowOwnAs(times) => format!(", allowOwnAs: {times}"),
        Knob::NoEnforceFirstAs => ", enforceFirstAs: false".to_owned(),
        Knob::AcceptAsSets => ", acceptAsSets: true".to_owned(),
        Knob::ExtendedMessages(on) => format!(", extendedMessages: {on}"),
        Knob::ExtendedNextHop => ", extendedNextHop: true".to_owned(),
        Knob::NextHopSelf => ", nextHop: self".to_owned(),
        Knob::Password(key) => format!(", password: {{ file: {} }}", secret(name, key)?.display()),
        Knob::TtlSecurity => ", ttlSecurity: true".to_owned(),
    })
}

fn family(family: Family) -> &'static str {
    match family {
        V4 => "ipv4",
        V6 => "ipv6",
        VPNV4 => "vpnv4",
        EVPN => "evpn",
        (1, 4) => "ipv4-labelled",
        _ => "rt-constraint",
    }
}

/// Starts two daemons that connect to each other, the second `apart` after the first, and waits until both say that the
/// session is established; then that each has exactly one.
pub(super) fn twins(apart: Duration, within: Duration) -> Result<()> {
    let ends = [("twin-a", "10.0.0.1", "10.0.255.254"), ("twin-b", "10.0.255.254", "10.0.0.1")];
    let mut daemons = Vec::new();
    let began = Instant::now();
    for (n, (name, own, other)) in ends.into_iter().enumerate() {
        let (config, socket) = (sandbox::work()?.join(name), sandbox::work()?.join(format!("{name}.sock")));
        let text = format!(
            "asn: {DUT_ASN}\nrouterId: {own}\nkernel: {{ install: false }}\ngracefulRestart: \"off\"\n\
             control: {{ socket: {} }}\npeers: [ {{ address: {other}, asn: {DUT_ASN}, connectRetry: 1s }} ]\n",
            socket.display()
        );
        fs::write(&config, text)?;
        let mut launch = if n == 0 { inside(&binary()?) } else { shell::command(&binary()?) };
        launch.args(["run", "--config"]).arg(&config);
        daemons.push((Daemon::spawn(name, launch)?, socket, other));
        if n == 0 {
            let end = Instant::now() + apart;
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        }
    }
    wait::closely("both established", within, || {
        for (daemon, socket, other) in &daemons {
            daemon.alive()?;
            let said = shell::read(
                shell::command(&binary()?).args(["peers", "-o", "json", "--socket"]).arg(socket),
            )?;
            ensure!(said.matches("\"Established\"").count() == 1, "{other}: {said}");
        }
        Ok(())
    })?;
    ensure!(began.elapsed() < within, "took {:?}", began.elapsed());
    let connected = shell::read(shell::command("sh").args(["-c", "grep -c ' 01 ' /proc/net/tcp || true"]))?;
    ensure!(connected.trim() == "1", "{connected} connections");
    Ok(())
}

fn binary() -> Result<String> {
    Ok(ours::binary()?.to_string_lossy().into_owned())
}

/// Three reflectors in a full mesh, 10.0.0.1 to 3, and a fourth that is a client of the third; C1 is a client of the
/// first, N1 of the second and C2 of the fourth.
pub(super) fn reflectors() -> Result<Vec<Daemon>> {
    shell::feed(
        shell::command("ip").args(["-n", "dut", "-batch", "-"]),
        "addr add 10.0.0.2/16 dev eth0\naddr add 10.0.0.3/16 dev eth0\naddr add 10.0.0.4/16 dev eth0\n",
    )?;
    let peers: [&[(&str, bool)]; 4] = [
        &[("10.0.0.2", false), ("10.0.0.3", false), ("10.0.0.21", true)],
        &[("10.0.0.1", false), ("10.0.0.3", false), ("10.0.0.31", true)],
        &[("10.0.0.1", false), ("10.0.0.2", false), ("10.0.0.4", true)],
        &[("10.0.0.3", false), ("10.0.0.22", true)],
    ];
    let mut daemons = Vec::new();
    for (n, peers) in (1..).zip(peers) {
        let (config, socket) =
            (sandbox::work()?.join(format!("rr{n}")), sandbox::work()?.join(format!("rr{n}.sock")));
        let mut text = format!(
            "asn: {DUT_ASN}\nrouterId: 10.0.0.{n}\nkernel: {{ install: false }}\ngracefulRestart: \"off\"\n\
             listen: {{ addresses: [10.0.0.{n}] }}\ncontrol: {{ socket: {} }}\npeers:\n",
            socket.display()
        );
        for (address, client) in peers {
            let passive = address.len() > 8;
            writeln!(
                text,
                "- {{ address: {address}, localAddress: 10.0.0.{n}, asn: {DUT_ASN}, connectRetry: 1s, \
                 reflectorClient: {client}, passive: {passive} }}"
            )?;
        }
        fs::write(&config, text)?;
        let mut launch = inside(&binary()?);
        launch.args(["run", "--config"]).arg(&config);
        let daemon = Daemon::spawn(&format!("rr{n}"), launch)?;
        wait::until("the reflector answers", wait::SOON, || {
            daemon.alive()?;
            shell::read(shell::command(&binary()?).args(["status", "--socket"]).arg(&socket)).map(drop)
        })?;
        daemons.push(daemon);
    }
    Ok(daemons)
}
