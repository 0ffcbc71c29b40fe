//! OpenBGPD.

use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use lab::shell;

use super::{inside, no_word, refuse};
use crate::plan::{Knob, Peer, Plan};
use crate::speaker::{DUT_ASN, DUT_ID, DUT_V6};
use crate::wire::{V4, V6, VPNV4};

const SOCKET: &str = "/run/lab/openbgpd.ctl";

pub(super) fn command(config: &Path) -> Result<Command> {
    fs::create_dir_all("/run/openbgpd")?;
    let mut command = inside("/usr/sbin/bgpd");
    command.args(["-d", "-v", "-f"]).arg(config);
    Ok(command)
}

pub(super) fn reload() -> Result<()> {
    shell::read(shell::command("/usr/sbin/bgpctl").args(["-s", SOCKET, "reload"])).map(drop)
}

pub(super) fn render(plan: &Plan) -> Result<String> {
    let mut text = format!(
        "AS {DUT_ASN}\nrouter-id {DUT_ID}\nsocket \"{SOCKET}\"\nlisten on 0.0.0.0\nlisten on ::\nfib-update no\n"
    );
    match plan.decision {
        Some("always-compare-med") => text.push_str("rde med compare always\n"),
        Some(rung) => return Err(no_word(&rung)),
        None => {}
    }
    let retry = |knob: &Knob| if let Knob::ConnectRetrySecs(secs) = knob { Some(*secs) } else { None };
    if let Some(secs) = plan.peers.iter().find_map(|peer| peer.knob(retry)) {
        writeln!(text, "connect-retry {secs}")?;
    }
    let cluster = if plan.own_cluster_id { "9.9.9.9".to_owned() } else { DUT_ID.to_string() };
    for peer in &plan.peers {
        session(&mut text, peer, &cluster)?;
    }
    if let Some((range, asn)) = plan.range {
        writeln!(text, "neighbor {range} {{\n remote-as {asn}\n passive\n}}")?;
    }
    text.push_str("allow from any\nallow to any\n");
    for peer in &plan.peers {
        filters(&mut text, peer)?;
    }
    Ok(text)
}

fn session(text: &mut String, peer: &Peer, cluster: &str) -> Result<()> {
    writeln!(
        text,
        "neighbor {} {{\n remote-as {}\n descr {}",
        peer.address(),
        peer.who.asn,
        peer.who.name()
    )?;
    let own = if peer.address().is_ipv6() { IpAddr::from(DUT_V6) } else { DUT_ID.into() };
    writeln!(text, " local-address {own}\n holdtime {}", peer.hold_secs())?;
    if !peer.has(&Knob::Active) {
        text.push_str(" passive\n");
    }
    if peer.client {
        writeln!(text, " route-reflector {cluster}")?;
    }
    for family in [V4, V6, VPNV4] {
        let word = match family {
            V4 => "IPv4 unicast",
            V6 => "IPv6 unicast",
            _ => "IPv4 vpn",
        };
        if peer.families().contains(&family) {
            writeln!(text, " announce {word}")?;
        } else if family == V4 {
            text.push_str(" announce IPv4 none\n");
        }
    }
    if peer.families().iter().any(|family| ![V4, V6, VPNV4].contains(family)) {
        return Err(no_word(&"this family"));
    }
    for knob in &peer.knobs {
        match knob {
            Knob::Active | Knob::HoldSecs(_) | Knob::Families(_) | Knob::OverIpv6 => {}
            Knob::MinHoldSecs(secs) => writeln!(text, " holdtime min {secs}")?,
            Knob::Graceful(_) => text.push_str(" announce restart yes\n"),
            Knob::StaleSecs(_) | Knob::ConnectRetrySecs(_) | Knob::IdleHoldSecs(..) => {}
            Knob::AddPaths(direction) => {
                let yes = |bit: u8| direction & bit != 0;
                writeln!(text, " announce add-path recv {}", if yes(1) { "yes" } else { "no" })?;
                writeln!(text, " announce add-path send {}", if yes(2) { "all" } else { "no" })?;
            }
            Knob::MaxPrefixes(limit) => writeln!(text, " max-prefix {limit}")?,
            Knob::Role(role) => {
                let strict = if peer.has(&Knob::StrictRole) { " enforce" } else { "" };
                writeln!(text, " announce policy {role}{strict}")?;
            }
            Knob::StrictRole => {}
            Knob::NoEnforceFirstAs => text.push_str(" enforce neighbor-as no\n"),
            Knob::AcceptAsSets => text.push_str(" reject as-set no\n"),
            Knob::NoPolicy | Knob::ImportOnly(_) | Knob::NextHopSelf => {}
            Knob::Password(key) => writeln!(text, " tcp md5sig password \"{key}\"")?,
            Knob::TtlSecurity => text.push_str(" ttl-security yes\n"),
            other => return Err(refuse(other)),
        }
    }
    text.push_str("}\n");
    Ok(())
}

fn filters(text: &mut String, peer: &Peer) -> Result<()> {
    let address = peer.address();
    for knob in &peer.knobs {
        match knob {
            Knob::NoPolicy => writeln!(text, "deny from {address}\ndeny to {address}")?,
            Knob::ImportOnly(prefix) => {
                writeln!(text, "deny from {address}\nallow from {address} prefix {prefix} prefixlen 0 - 32")?;
            }
            Knob::NextHopSelf => writeln!(text, "match to {address} set nexthop self")?,
            _ => {}
        }
    }
    Ok(())
}
