//! Every network mode, always and across subnets only: the demo itself, which pings, transfers, looks at the wire, and fails when a check does. IPIP
//! runs in user-mode Linux where the machine's kernel has no such module; root installs it, others skip with a word.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use lab::peers::ours;
use lab::{sandbox, shell, uml};

fn demo(arguments: &[&str], checks: &[&str]) -> Result<()> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.arg("demo").args(arguments).env("BGPD_BIN", ours::binary()?).stdin(Stdio::null());
    let output = command.output().context("cannot run the demo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}\n{text}\n{errors}", output.status);
    for check in checks {
        ensure!(text.contains(check), "no {check:?} in\n{text}");
    }
    Ok(())
}

/// Whether user-mode Linux is to be had; `CI=true` forbids to be without.
fn has_other_kernel() -> bool {
    let is_there = uml::TOOLS.iter().all(|(tool, _)| shell::which(tool).is_some());
    let is_to_be = is_there || sandbox::is_root() || std::env::var_os("CI").is_some();
    if !is_to_be {
        let word = "skipped: no linux.uml and no root to install it (apt-get install user-mode-linux kmod)";
        let _ = writeln!(std::io::stderr(), "{word}");
    }
    is_to_be
}

#[test]
fn without_a_tunnel_across_a_router() -> Result<()> {
    demo(&["--mode", "bgp", "--cross-subnet"], &["to 10.244.3.2 as it is", "to fd00:10:244:3::2 as it is"])
}

#[test]
fn vxlan_to_every_node() -> Result<()> {
    demo(
        &["--mode", "vxlan"],
        &["to 10.244.2.2 through vxlan.bgpd", "to fd00:10:244:3::2 through vxlan-v6.bgpd"],
    )
}

#[test]
fn vxlan_across_subnets_only() -> Result<()> {
    demo(
        &["--mode", "vxlan", "--cross-subnet"],
        &["to 10.244.2.2 as it is", "to 10.244.3.2 through vxlan.bgpd"],
    )
}

#[test]
fn vxlan_by_way_of_reflectors() -> Result<()> {
    demo(&["--mode", "vxlan", "--reflectors", "2", "--nodes", "4"], &["to 10.244.4.2 through vxlan.bgpd"])
}

#[test]
fn ipip_to_every_node_and_across_subnets_only() -> Result<()> {
    if !has_other_kernel() {
        return Ok(());
    }
    // One after the other: a guest has one processor, and so have small machines.
    demo(&["--mode", "ipip"], &["to 10.244.2.2 through tunl0", "to 10.244.3.2 through tunl0"])?;
    demo(&["--mode", "ipip", "--cross-subnet"], &["to 10.244.2.2 as it is", "to 10.244.3.2 through tunl0"])
}
