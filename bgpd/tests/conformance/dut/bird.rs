//! BIRD 2.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{inside, no_word, refuse};
use crate::plan::{Knob, Peer, Plan};
use crate::speaker::{DUT_ASN, DUT_ID, DUT_V6};
use crate::wire::{EVPN, V4, V6, VPNV4};

pub(super) fn command(config: &Path) -> Command {
    let mut command = inside("bird");
    command.arg("-f").arg("-c").arg(config).args(["-s", "/run/lab/bird.ctl"]);
    command
}

pub(super) fn render(plan: &Plan) -> Result<String> {
    let mut text = format!(
        "log stderr all;\nrouter id {DUT_ID};\nprotocol device {{}}\n\
         protocol direct {{ ipv4; ipv6; interface \"eth0\"; }}\nprotocol bfd {{}}\nvpn4 table vpntab4;\n"
    );
    for peer in &plan.peers {
        session(&mut text, plan, peer)?;
    }
    if let Some((range, asn)) = plan.range {
        writeln!(
            text,
            "protocol bgp dynamic_peers {{ local as {DUT_ASN}; neighbor range {range} as {asn}; passive; \
             ipv4 {{ import all; export all; }}; ipv6 {{ import all; export all; }}; }}"
        )?;
    }
    Ok(text)
}

fn session(text: &mut String, plan: &Plan, peer: &Peer) -> Result<()> {
    let (name, address, asn) = (peer.who.name(), peer.address(), peer.who.asn);
    let own = if address.is_ipv6() { IpAddr::from(DUT_V6) } else { DUT_ID.into() };
    writeln!(text, "protocol bgp {name} {{ local {own} as {DUT_ASN}; neighbor {address} as {asn};")?;
    writeln!(
        text,
        "  connect delay time 1; error wait time 1, 2; error forget time 1; hold time {};",
        peer.hold_secs()
    )?;
    match plan.decision {
        Some("always-compare-med") => text.push_str("  med metric on;\n"),
        Some("missing-as-worst") => text.push_str("  default bgp_med 4294967295;\n"),
        Some(rung) => return Err(no_word(&rung)),
        None => {}
    }
    if !peer.has(&Knob::Active) {
        text.push_str("  passive;\n");
    }
    if peer.client {
        text.push_str("  rr client;\n");
    }
    if plan.own_cluster_id && !peer.who.is_external() {
        text.push_str("  rr cluster id 9.9.9.9;\n");
    }
    let (mut channel, mut import, mut export) =
        (String::new(), "all".to_owned(), "where source = RTS_BGP".to_owned());
    for knob in &peer.knobs {
        match knob {
            Knob::Active | Knob::HoldSecs(_) | Knob::Families(_) | Knob::OverIpv6 => {}
            Knob::StaleSecs(_) => {}
            Knob::OpenHoldSecs(secs) => writeln!(text, "  startup hold time {secs};")?,
            Knob::IdleHoldSecs(min, max) => writeln!(text, "  error wait time {min}, {max};")?,
            Knob::ConnectRetrySecs(secs) => writeln!(text, "  connect retry time {secs};")?,
            Knob::Graceful(secs) => writeln!(text, "  graceful restart on; graceful restart time {secs};")?,
            Knob::LongLived(secs) => {
                writeln!(text, "  long lived graceful restart on; long lived stale time {secs};")?
            }
            Knob::AddPaths(1) => channel.push_str(" add paths rx;"),
            Knob::AddPaths(2) => channel.push_str(" add paths tx;"),
            Knob::AddPaths(_) => channel.push_str(" add paths on;"),
            Knob::MaxPrefixes(limit) => channel.push_str(&format!(" import limit {limit} action restart;")),
            Knob::MaxPrefixesWarn => channel = channel.replace("action restart", "action warn"),
            Knob::AllowOwnAs(times) => writeln!(text, "  allow local as {DUT_ASN}; # {times}")?,
            Knob::NoEnforceFirstAs => writeln!(text, "  enforce first as off;")?,
            Knob::ExtendedMessages(true) => writeln!(text, "  enable extended messages on;")?,
            Knob::ExtendedMessages(false) => writeln!(text, "  enable extended messages off;")?,
            Knob::ExtendedNextHop => channel.push_str(" extended next hop on;"),
            Knob::NoPolicy => (import, export) = (String::new(), String::new()),
            Knob::ImportOnly(prefix) => import = format!("where net ~ [{prefix}+]"),
            Knob::NextHopSelf => channel.push_str(" next hop self;"),
            Knob::Bfd => writeln!(text, "  bfd on;")?,
            Knob::Password(key) => writeln!(text, "  password \"{key}\";")?,
            Knob::TtlSecurity => writeln!(text, "  ttl security on;")?,
            other => return Err(refuse(other)),
        }
    }
    if !peer.who.is_external() && peer.knobs.iter().any(|knob| matches!(knob, Knob::AllowOwnAs(_))) {
        return Err(no_word(&"own AS numbers from an internal neighbour"));
    }
    for family in peer.families() {
        let word = match family {
            V4 => "ipv4",
            V6 => "ipv6",
            VPNV4 => "vpn4 mpls",
            EVPN => return Err(no_word(&"EVPN")),
            _ => return Err(no_word(&"this family")),
        };
        let extended =
            if family == V4 { channel.clone() } else { channel.replace(" extended next hop on;", "") };
        let policy =
            |verb: &str, what: &str| if what.is_empty() { String::new() } else { format!(" {verb} {what};") };
        let table = if family == VPNV4 { " table vpntab4;" } else { "" };
        let word = word.replace(" mpls", "");
        writeln!(
            text,
            "  {word} {{{table}{}{}{extended} }};",
            policy("import", &import),
            policy("export", &export)
        )?;
    }
    text.push_str("}\n");
    Ok(())
}
