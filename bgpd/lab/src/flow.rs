//! A flow of packets between two Pods, a thousand a second, each answered, each counted: what a restart must not lose one of.
//!
//! The two ends run in the Pods, so they are processes of their own: the test binary itself, told by an environment variable to be
//! one. A test binary that uses flows has a test `flow` that does nothing but call [`act`].

use std::collections::HashSet;
use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::daemon::Daemon;
use crate::net::Family;
use crate::pod::Pod;

/// `echo PORT`, or the address to send to.
const ROLE: &str = "LAB_FLOW";
/// The echo's ports, one for each family, so that both can flow between two Pods.
fn port(family: Family) -> u16 {
    match family {
        Family::V4 => 7774,
        Family::V6 => 7776,
    }
}

/// Between two packets.
const PACE: Duration = Duration::from_millis(1);
/// How long the last answers are waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// A flow under way. Dropped, it ends uncounted.
#[derive(Debug)]
pub struct Flow {
    sender: Child,
    _echo: Daemon,
}

/// What became of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Packets sent.
    pub sent: usize,
    /// Packets answered.
    pub answered: usize,
}

impl Flow {
    /// Starts one between two Pods.
    pub fn start(from: &Pod, to: &Pod, family: Family) -> Result<Flow> {
        let role = |pod: &Pod, role: &str| -> Result<Command> {
            let mut command = pod.command(&env::current_exe()?.to_string_lossy());
            command.args(["--exact", "flow", "--nocapture"]).env(ROLE, role);
            Ok(command)
        };
        let echo = Daemon::spawn(
            &format!("flow-{}-{}-{}", from.name, to.name, family.word()),
            role(to, &format!("echo {}", port(family)))?,
        )?;
        echo.wait_log("listening", crate::wait::SOON)?;
        let mut sender = role(from, &to.address(family).to_string())?;
        sender.stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Flow { sender: sender.spawn()?, _echo: echo })
    }

    /// Ends it and counts.
    pub fn end(mut self) -> Result<Tally> {
        drop(self.sender.stdin.take());
        let mut text = String::new();
        self.sender.stdout.take().context("no output")?.read_to_string(&mut text)?;
        ensure!(self.sender.wait()?.success(), "the sender failed: {text}");
        let line = text.lines().find_map(|line| line.split_once("flow: ")).map(|(_, numbers)| numbers);
        let (sent, answered) =
            line.and_then(|line| line.split_once(' ')).with_context(|| format!("no tally in {text}"))?;
        Ok(Tally { sent: sent.parse()?, answered: answered.parse()? })
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        let _ = self.sender.kill();
        let _ = self.sender.wait();
    }
}

/// Is one end of a flow, if the environment says so.
pub fn act() -> Result<()> {
    let Ok(role) = env::var(ROLE) else { return Ok(()) };
    match role.strip_prefix("echo ") {
        Some(port) => echo(port.parse()?),
        None => send(role.parse()?),
    }
}

fn echo(port: u16) -> Result<()> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))?;
    writeln!(io::stdout(), "listening")?;
    let mut packet = [0; 64];
    loop {
        let (len, from) = socket.recv_from(&mut packet)?;
        // An answer that cannot be sent is a lost one, and the sender counts.
        let _ = socket.send_to(&packet[..len], from);
    }
}

fn send(to: IpAddr) -> Result<()> {
    let own = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(own)?;
    socket.connect((to, port(Family::of_address(to))))?;
    let ended = Arc::new(AtomicBool::new(false));
    let told = ended.clone();
    thread::spawn(move || {
        while matches!(io::stdin().read(&mut [0; 8]), Ok(count) if count > 0) {}
        told.store(true, Ordering::Relaxed);
    });
    let (mut sent, mut answered) = (0_u64, HashSet::new());
    let began = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        // One that the kernel refuses to send ("network is unreachable") is lost.
        let _ = socket.send(&sent.to_be_bytes());
        sent += 1;
        let next = began + PACE * u32::try_from(sent)?;
        hear(&socket, next, &mut answered, |_| false)?;
    }
    let all = usize::try_from(sent)?;
    hear(&socket, Instant::now() + PATIENCE, &mut answered, |answered| answered == all)?;
    writeln!(io::stdout(), "flow: {sent} {}", answered.len())?;
    Ok(())
}

/// Takes answers until a moment, or until there are enough.
fn hear(
    socket: &UdpSocket,
    until: Instant,
    answered: &mut HashSet<u64>,
    enough: impl Fn(usize) -> bool,
) -> Result<()> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || enough(answered.len()) {
            return Ok(());
        }
        socket.set_read_timeout(Some(left.max(Duration::from_micros(1))))?;
        let mut packet = [0; 8];
        match socket.recv(&mut packet) {
            Ok(8) => drop(answered.insert(u64::from_be_bytes(packet))),
            Ok(_) => {}
            // Nothing, or the news that one packet did not arrive, which is counted as lost.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(());
            }
            Err(_) => {}
        }
    }
}
