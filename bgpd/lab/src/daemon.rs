//! A daemon in a node: a child process with its own log, never waited for blindly.
//!
//! It is started in the foreground so that the child's number is the daemon's. Dropping a [`Daemon`] kills it by that
//! number. [`Daemon::alive`] is part of every wait on it: a daemon that exited ends the wait with its last words.

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::net::Node;
use crate::wait::{self, Gone};
use crate::{sandbox, shell};

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    log: PathBuf,
    child: RefCell<Child>,
}

impl Daemon {
    /// Starts `command`, which should come from [`Node::command`], with both outputs in `NAME.log`.
    pub fn spawn(name: &str, mut command: Command) -> Result<Self> {
        let log = sandbox::work()?.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        command.stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {}", shell::typed(&command)))?;
        Ok(Daemon { name: name.to_owned(), log, child: RefCell::new(child) })
    }

    /// Fails with [`Gone`] when it has exited.
    pub fn alive(&self) -> Result<()> {
        match self.child.borrow_mut().try_wait()? {
            None => Ok(()),
            Some(status) => {
                let words = self.tail(8);
                Err(Gone(format!("{} has exited ({status}); its last words:\n{words}", self.name)).into())
            }
        }
    }

    /// The process number, inside the sandbox.
    pub fn pid(&self) -> u32 {
        self.child.borrow().id()
    }

    /// All it wrote so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of its log.
    pub fn tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Waits until its log contains `text`.
    pub fn wait_log(&self, text: &str, within: Duration) -> Result<()> {
        wait::until(&format!("{} logs {text:?}", self.name), within, || {
            if self.log().contains(text) {
                return Ok(());
            }
            self.alive()?;
            Err(anyhow!("the log ends\n{}", self.tail(8)))
        })
    }

    /// Waits until something in the daemon's namespace listens on this TCP port, in either family.
    pub fn wait_listen(&self, port: u16) -> Result<()> {
        wait::until(&format!("{} listens on port {port}", self.name), wait::SOON, || {
            self.alive()?;
            let listens = ["tcp", "tcp6"].iter().any(|table| {
                fs::read_to_string(format!("/proc/{}/net/{table}", self.pid()))
                    .is_ok_and(|sockets| sockets.lines().any(|line| is_listener(line, port)))
            });
            if listens { Ok(()) } else { Err(anyhow!("nothing listens")) }
        })
    }

    /// Sends a signal by name, such as `HUP`.
    pub fn signal(&self, name: &str) -> Result<()> {
        self.alive()?;
        // The shell's own `kill`: the program of that name is in a package that may be missing.
        shell::read(shell::command("sh").args(["-c", &format!("kill -{name} {}", self.pid())])).map(drop)
    }

    /// Waits for it to exit by itself.
    pub fn wait_exit(&self, within: Duration) -> Result<ExitStatus> {
        wait::until(&format!("{} exits", self.name), within, || {
            self.child.borrow_mut().try_wait()?.ok_or_else(|| anyhow!("still running"))
        })
    }

    /// `kill -9` and reap.
    pub fn kill(&self) {
        let mut child = self.child.borrow_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A line of /proc/net/tcp: `sl local_address rem_address st ...`, addresses as `HEX:PORT`, state 0A is LISTEN.
fn is_listener(line: &str, port: u16) -> bool {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, state) = (fields.next(), fields.nth(1));
    state == Some("0A") && local.is_some_and(|local| local.ends_with(&format!(":{port:04X}")))
}

/// Writes a configuration file of a daemon into the lab's directory.
pub fn write(name: &str, text: &str) -> Result<PathBuf> {
    let path = sandbox::work()?.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The name under which a daemon's files stand: its kind and its node.
pub fn label(kind: &str, node: &Node) -> String {
    format!("{kind}-{}", node.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::here;

    #[test]
    fn a_listening_socket_is_told_from_a_connected_one() {
        let listen = "   0: 00000000:00B3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0";
        let connected = "   1: 0100000A:00B3 0200000A:9C40 01 00000000:00000000 00:00000000 00000000     0";
        assert!(is_listener(listen, 179));
        assert!(!is_listener(listen, 180));
        assert!(!is_listener(connected, 179));
    }

    #[test]
    fn a_daemon_that_exits_is_gone_with_its_last_words() -> Result<()> {
        sandbox::isolated(here!(), &[], || {
            let mut command = shell::command("sh");
            command.args(["-c", "echo no such luck; exit 3"]);
            let daemon = Daemon::spawn("luckless", command)?;
            let error = daemon.wait_log("never", wait::SOON).unwrap_err().to_string();
            assert!(error.contains("luckless has exited") && error.contains("no such luck"), "{error}");
            Ok(())
        })
    }
}
