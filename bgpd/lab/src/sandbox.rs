//! Namespaces of one's own: a process runs itself again under `unshare`, and there is nothing to clean up afterwards.
//!
//! The outer process starts `unshare` on its own executable marked as inside and keeps the writing end of the inner
//! one's standard input. The inner process is number 1 of a new PID namespace, mounts its own `/proc` and an empty
//! `/run` (so `ip netns` writes nowhere else), and works. Three ways lead out and all end the same: the inner process
//! ends, and with it the kernel kills every daemon and frees every namespace, link and mount.
//!
//! * the work is done;
//! * the outer process dies, by Ctrl-C or `kill -9`: the inner one reads end-of-file and exits;
//! * `unshare` dies: `--kill-child`.
//!
//! An ordinary user gets a user namespace with only user 0 in it. Root gets none, because daemons that change to
//! users of their own (FRR, OpenBGPD) need those users to exist; where that is refused, root gets one too.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::shell;

/// Set in the environment of the inner process, to the word of its [`Grant`].
const INSIDE: &str = "BGPD_LAB_INSIDE";
/// Everything a lab writes: configurations, sockets, logs. On the sandbox's own tmpfs.
const WORK: &str = "/run/lab";
/// Longer than any test with all its own deadlines; only a test that hangs outside them meets it.
const LIFE_MAX: Duration = Duration::from_secs(150);
/// Seconds that replace [`LIFE_MAX`], for a test that is asked for more than its usual size.
const LIFE: &str = "LAB_LIFE_SECS";
/// Lines of each daemon's log shown under a failed test.
const TAIL_LINES: usize = 25;

/// Which namespaces the kernel grants us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Mount, network and PID namespaces as real root: every user exists in them.
    Root,
    /// The same inside a user namespace, where only user 0 exists.
    User,
}

impl Grant {
    const ALL: [Grant; 2] = [Grant::Root, Grant::User];

    fn word(self) -> &'static str {
        match self {
            Grant::Root => "root",
            Grant::User => "user",
        }
    }

    /// What `nsenter` needs to join a sandbox of this kind, besides the target.
    pub fn nsenter(self) -> &'static str {
        match self {
            Grant::Root => "--mount --net --pid",
            Grant::User => "--user --preserve-credentials --mount --net --pid",
        }
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Grant::Root => &["--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child"],
            Grant::User => {
                &["--user", "--map-root-user", "--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child"]
            }
        }
    }
}

/// Something a test cannot run without, apart from [`shell::TOOLS`].
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// What a message calls it.
    pub name: &'static str,
    /// Programs that must exist, by name or full path.
    pub programs: &'static [&'static str],
    /// The Debian package that brings them.
    pub package: &'static str,
    /// It changes to a user of its own, so a user namespace of one user is not enough.
    pub needs_users: bool,
}

/// True in the inner process.
pub fn is_inside() -> bool {
    inside().is_some()
}

/// Of which kind the sandbox is that this process is in.
pub fn inside() -> Option<Grant> {
    let word = env::var(INSIDE).ok()?;
    Grant::ALL.into_iter().find(|grant| grant.word() == word)
}

/// True for root, in whatever user namespace.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0)
}

/// The directory for a lab's files, made when first asked for.
pub fn work() -> Result<PathBuf> {
    fs::create_dir_all(WORK).with_context(|| format!("cannot create {WORK}"))?;
    Ok(PathBuf::from(WORK))
}

/// Asks the kernel which namespaces it grants, by making some; the error says what stands in the way.
pub fn grant() -> Result<Grant> {
    let wanted: &[Grant] = if is_root() { &[Grant::Root, Grant::User] } else { &[Grant::User] };
    let mut refusals = Vec::new();
    for &grant in wanted {
        let mut probe = shell::command("unshare");
        probe.args(grant.flags()).args([
            "--",
            "sh",
            "-c",
            "mount -t proc proc /proc && mount -t tmpfs tmpfs /run",
        ]);
        match shell::read(&mut probe) {
            Ok(_) => return Ok(grant),
            Err(why) => refusals.push(format!("{why:#}")),
        }
    }
    bail!("this machine does not let us make network namespaces:\n{}\n{}", refusals.join("\n"), remedy())
}

/// What an operator can do about a refused namespace, likeliest cause first.
fn remedy() -> String {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    if is_root() {
        return "root may not either: in a container, start it with --privileged (or --cap-add SYS_ADMIN \
                --cap-add NET_ADMIN --security-opt seccomp=unconfined)"
            .into();
    }
    if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" {
        return "AppArmor restricts user namespaces here: run as root, or \
                sysctl kernel.apparmor_restrict_unprivileged_userns=0"
            .into();
    }
    if read("/proc/sys/kernel/unprivileged_userns_clone") == "0" {
        return "user namespaces are off here: run as root, or sysctl kernel.unprivileged_userns_clone=1"
            .into();
    }
    "run as root (sudo), or outside of a container that forbids user namespaces".into()
}

/// This executable, to be run inside with these arguments; the caller must keep the child's standard input open.
fn command(grant: Grant, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Command> {
    let mut command = shell::command("unshare");
    command.args(grant.flags()).arg("--").arg(env::current_exe()?).args(arguments);
    // A group of its own: Ctrl-C ends the outer process, and the rest follows from that in order.
    command.env(INSIDE, grant.word()).stdin(Stdio::piped()).process_group(0);
    Ok(command)
}

/// Runs this executable inside with these arguments, to its end.
pub fn run(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<ExitStatus> {
    let mut child = command(grant()?, arguments)?.spawn().context("cannot run unshare")?;
    // The sandbox ends with its standard input.
    let hold = child.stdin.take();
    let status = child.wait()?;
    drop(hold);
    Ok(status)
}

/// To be called first in the inner process: mounts, the loopback and the watch on the outer process. Returns this
/// process's number as the outside sees it, for `nsenter`.
pub fn enter(life: Duration) -> Result<u32> {
    // The old /proc is still mounted, and shows the number outside.
    let outside = fs::read_link("/proc/self").context("cannot read /proc/self")?;
    let pid = outside.to_string_lossy().parse().context("/proc/self is not a number")?;
    shell::read(shell::command("sh").args([
        "-c",
        "mount -t proc proc /proc && mount -t tmpfs -o mode=755 tmpfs /run && ip link set lo up",
    ]))?;
    watch_outer(life);
    Ok(pid)
}

/// Ends this process, and so the whole sandbox, when the outer process is gone or `life` is over.
fn watch_outer(life: Duration) {
    let (outer, gone) = mpsc::sync_channel::<()>(0);
    thread::spawn(move || {
        while matches!(io::stdin().read(&mut [0; 64]), Ok(count) if count > 0) {}
        drop(outer);
    });
    thread::spawn(move || {
        if gone.recv_timeout(life) == Err(RecvTimeoutError::Disconnected) {
            process::exit(130);
        }
        say(&format!("lab: still running after {} s, given up", life.as_secs()));
        tails();
        process::exit(124);
    });
}

/// A line past libtest's capture, straight to standard error; a closed standard error loses it and nothing else.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// The last lines of every daemon's log, to standard error.
pub fn tails() {
    for path in logs(Path::new(WORK)) {
        let text = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        say(&format!("--- {} ({} lines)", path.display(), lines.len()));
        lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)).for_each(|line| say(line));
    }
}

fn logs(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(logs(&path));
        } else if path.extension().is_some_and(|extension| extension == "log") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Prints the logs when dropped while still armed, that is after an error or a panic.
struct OnFailure(bool);

impl Drop for OnFailure {
    fn drop(&mut self) {
        if self.0 {
            tails();
        }
    }
}

/// The full path of the calling test function: the argument of [`isolated`].
#[macro_export]
macro_rules! here {
    () => {{
        fn here() {}
        std::any::type_name_of_val(&here)
    }};
}

/// Runs the body of a test in a sandbox of its own. `here` is [`here!()`](crate::here) written in the `#[test]`
/// function itself: the test binary runs itself again, inside, with exactly that test.
///
/// A machine that lacks a need or namespaces makes the test fail where `CI=true`, and skip with a line elsewhere.
pub fn isolated(here: &str, needs: &[Need], body: impl FnOnce() -> Result<()>) -> Result<()> {
    if is_inside() {
        let asked = env::var(LIFE).ok().and_then(|secs| secs.parse().ok());
        enter(asked.map_or(LIFE_MAX, Duration::from_secs))?;
        let mut on_failure = OnFailure(true);
        let result = body();
        on_failure.0 = result.is_err();
        return result;
    }
    let name = test_name(here);
    let grant = match ready(needs) {
        Ok(grant) => grant,
        Err(why) if env::var_os("CI").is_some_and(|ci| ci == "true") => return Err(why),
        Err(why) => {
            say(&format!("test {name} ... skipped: {why:#}"));
            return Ok(());
        }
    };
    let (mut reader, writer) = io::pipe()?;
    let mut command = command(grant, ["--exact", name, "--nocapture", "--test-threads=1"])?;
    command.stdout(writer.try_clone()?).stderr(writer).env("RUST_BACKTRACE", "0");
    let mut child = command.spawn().context("cannot run unshare")?;
    let hold = child.stdin.take();
    drop(command);
    let mut printed = Vec::new();
    reader.read_to_end(&mut printed)?;
    let status = child.wait()?;
    drop(hold);
    let printed = String::from_utf8_lossy(&printed);
    ensure!(status.success(), "inside the sandbox ({status}):\n{printed}");
    ensure!(printed.contains("1 passed"), "the sandbox did not run {name}:\n{printed}");
    if env::args().any(|argument| argument == "--nocapture") {
        say(printed.trim());
    }
    Ok(())
}

/// `crate::module::test::here` without the crate and the inner function: what `--exact` wants.
fn test_name(here: &str) -> &str {
    let path = here.strip_suffix("::here").unwrap_or(here);
    path.split_once("::").map_or(path, |(_, name)| name)
}

/// Whether everything is there, or what is not and how to get it.
fn ready(needs: &[Need]) -> Result<Grant> {
    for (tool, package) in shell::TOOLS {
        ensure!(shell::which(tool).is_some(), "{tool} is missing: apt-get install {package}");
    }
    for need in needs {
        for program in need.programs {
            let found = shell::which(program).is_some();
            ensure!(found, "{} is missing ({program}): apt-get install {}", need.name, need.package);
        }
    }
    let grant = grant()?;
    if let (Grant::User, Some(need)) = (grant, needs.iter().find(|need| need.needs_users)) {
        bail!("{} changes to a user of its own, so this test needs real root", need.name);
    }
    Ok(grant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_named_without_its_crate() {
        assert_eq!(test_name("interop::bird::ibgp::here"), "bird::ibgp");
        assert_eq!(test_name("interop::ibgp::here"), "ibgp");
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let need = Need { name: "Peer", programs: &["no-such-peer"], package: "peer2", needs_users: false };
        let error = ready(&[need]).unwrap_err().to_string();
        let expected = "Peer is missing (no-such-peer): apt-get install peer2";
        assert!(error == expected || error.contains("apt-get install iputils-ping"), "{error}");
    }

    #[test]
    fn the_inside_is_process_one_with_an_empty_run() -> Result<()> {
        isolated(here!(), &[], || {
            ensure!(process::id() == 1, "we are {}", process::id());
            ensure!(fs::read_link("/proc/self")?.as_os_str() == "1", "the old /proc is still there");
            ensure!(fs::read_dir("/run")?.next().is_none(), "/run is not empty");
            Ok(())
        })
    }

    #[test]
    fn a_failure_inside_is_a_failure_outside() -> Result<()> {
        let result = isolated(here!(), &[], || bail!("as intended"));
        if is_inside() || ready(&[]).is_err() {
            return result;
        }
        let error = format!("{:#}", result.unwrap_err());
        ensure!(error.contains("as intended"), "{error}");
        Ok(())
    }

    #[test]
    fn a_sandbox_ends_when_the_outer_process_is_gone() -> Result<()> {
        if is_inside() {
            say(&format!("outside {}", enter(LIFE_MAX)?));
            loop {
                thread::park();
            }
        }
        let Ok(grant) = ready(&[]) else { return Ok(()) };
        let (reader, writer) = io::pipe()?;
        let mut command = command(grant, ["--exact", test_name(here!()), "--nocapture"])?;
        let mut child = command.stdout(Stdio::null()).stderr(writer).spawn()?;
        let mut lines = io::BufRead::lines(io::BufReader::new(reader));
        let pid = lines.find_map(|line| Some(line.ok()?.strip_prefix("outside ")?.to_owned()));
        let inner = PathBuf::from("/proc").join(pid.context("the inner process did not start")?);
        ensure!(inner.exists(), "{} is not there", inner.display());
        // What the kernel does to the descriptors of a process that was killed.
        drop(child.stdin.take());
        child.wait()?;
        ensure!(!inner.exists(), "{} lives on", inner.display());
        Ok(())
    }
}
