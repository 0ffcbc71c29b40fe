//! This program inside another kernel: user-mode Linux, for what the machine's own kernel lacks.
//!
//! Debian's `user-mode-linux` is a kernel that runs as an ordinary program. Its root is the machine's own file system, read-only, so every
//! binary just built is there; it boots in two seconds, needs no right, and has the modules that containers and small
//! virtual machines often lack, IPIP first of all. What the guest prints comes out on its console, between two marks; its exit status
//! comes as part of the second.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::shell;

/// Set in the guest.
const INSIDE: &str = "LAB_IN_UML";
const BEGIN: &str = "--- lab in user-mode Linux ---";
const END: &str = "--- lab ended: ";
/// Directories of the machine that the guest covers with its own.
const COVERED: [&str; 2] = ["/tmp", "/run"];
/// Where the guest finds the whole of the machine's file system.
const WHOLE: &str = "/mnt";
/// The tools it takes, and the Debian package of each.
pub const TOOLS: [(&str, &str); 2] = [("linux.uml", "user-mode-linux"), ("modprobe", "kmod")];

/// Whether this process runs in the guest.
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs this program in a guest with these arguments and environment variables, and passes on what it prints.
pub fn run(arguments: &[String], variables: &[(&str, String)]) -> Result<ExitCode> {
    let directory = env::temp_dir().join(format!("lab-uml-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let result = boot(&directory, arguments, variables);
    fs::remove_dir_all(&directory)?;
    result
}

fn boot(directory: &std::path::Path, arguments: &[String], variables: &[(&str, String)]) -> Result<ExitCode> {
    let init = directory.join("init.sh");
    fs::write(&init, script(arguments, variables)?)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    let mut command = shell::command("linux.uml");
    command.args([
        "mem=768M",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        "con=null",
        "con0=null,fd:1",
        "quiet",
    ]);
    command.arg(format!("init={}", init.display())).arg(format!("uml_dir={}", directory.display()));
    let mut guest =
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().context("cannot run linux.uml")?;
    let console = BufReader::new(guest.stdout.take().context("no console")?);
    let mut status = None;
    let mut is_ours = false;
    for line in console.split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end_matches('\r').to_owned();
        if let Some(code) = line.strip_prefix(END) {
            status = code.trim().parse().ok();
            is_ours = false;
        } else if line == BEGIN {
            is_ours = true;
        } else if is_ours {
            writeln!(std::io::stdout(), "{line}")?;
        }
    }
    guest.wait()?;
    let status: u8 = status.context("the guest ended before it said how")?;
    Ok(ExitCode::from(status))
}

/// A path of the machine, as the guest finds it.
fn in_guest(path: &str) -> String {
    let is_covered = COVERED.iter().any(|covered| std::path::Path::new(path).starts_with(covered));
    if is_covered { format!("{WHOLE}{path}") } else { path.to_owned() }
}

/// The guest's first process. Modules lie where the guest's package puts them, not where `modprobe` looks.
fn script(arguments: &[String], variables: &[(&str, String)]) -> Result<String> {
    let exe = in_guest(&env::current_exe()?.display().to_string());
    let words: Vec<&str> =
        std::iter::once(exe.as_str()).chain(arguments.iter().map(String::as_str)).collect();
    ensure!(words.iter().all(|word| !word.contains('\'')), "a quote in {words:?}");
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let exports: String =
        variables.iter().map(|(name, value)| format!("export {name}='{}'\n", in_guest(value))).collect();
    Ok(format!(
        "#!/bin/bash\n\
         export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root {INSIDE}=1\n\
         {exports}\
         mount --bind / {WHOLE}; mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /tmp\n\
         mkdir -p /run/m/lib/modules; ln -s /usr/lib/uml/modules/$(uname -r) /run/m/lib/modules/$(uname -r)\n\
         for module in ipv6 veth bridge vxlan ipip af_packet; do modprobe -d /run/m $module 2>/dev/null; done\n\
         echo '{BEGIN}'\n\
         cd /; {} </dev/null 2>&1 | cat\n\
         echo \"{END}${{PIPESTATUS[0]}}\"\n\
         sync; halt -f\n",
        quoted.join(" ")
    ))
}
