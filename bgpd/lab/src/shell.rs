//! Running the system's own tools: one function each for "must succeed", "what did it print" and "feed it a batch".
//!
//! The lab uses `ip`, `nsenter` and the peers' own clients instead of libraries: what a test sees is then what an
//! operator would see, and the lab needs no unsafe code. Every tool it calls is in [`TOOLS`] with its Debian package.

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// The tools every topology needs, and the Debian package that brings each.
pub const TOOLS: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
    ("ping", "iputils-ping"),
];

/// Where programs live that an ordinary user's `PATH` often leaves out.
const SBIN: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The full path of a program, looked up in `PATH` and in the system directories.
pub fn which(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        let path = PathBuf::from(program);
        return path.is_file().then_some(path);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SBIN.iter().map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// A command by full path where it can be found, so that an ordinary user's short `PATH` does not matter.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(which(program).unwrap_or_else(|| PathBuf::from(program)));
    command.stdin(Stdio::null());
    command
}

/// The command as one would type it, for messages.
pub fn typed(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
    std::iter::once(name.to_string_lossy().into_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Runs to the end and returns everything, whatever the exit status.
pub fn output(command: &mut Command) -> Result<Output> {
    command.output().with_context(|| format!("cannot run {}", typed(command)))
}

/// Runs to the end, must succeed, and returns what was printed.
pub fn read(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    bail!("{} failed ({}): {} {}", typed(command), output.status, stderr.trim(), stdout.trim())
}

/// Runs to the end with `input` on its standard input, and must succeed.
pub fn feed(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", typed(command)))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).with_context(|| format!("{} stopped reading", typed(command)))?;
    }
    let output = child.wait_with_output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed on\n{input}\n{}", typed(command), stderr.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// One `ip -batch -` in this process's own namespace.
pub fn ip_batch(lines: &str) -> Result<()> {
    feed(command("ip").args(["-batch", "-"]), lines).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_names_itself_and_its_complaint() {
        let error = read(command("sh").args(["-c", "echo no >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh -c") && error.contains("no") && error.contains('3'), "{error}");
    }

    #[test]
    fn programs_outside_the_path_are_found_or_reported_missing() {
        assert!(which("sh").is_some());
        assert!(which("no-such-program-anywhere").is_none());
        assert!(which("/no/such/path").is_none());
    }

    #[test]
    fn a_batch_reaches_standard_input() {
        assert_eq!(feed(&mut command("cat"), "a\nb\n").unwrap(), "a\nb\n");
    }
}
