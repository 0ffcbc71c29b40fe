//! GoBGP.

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
    let mut command = inside("gobgpd");
    command.arg("-f").arg(config).args(["-t", "toml", "--api-hosts", "127.0.0.1:50051", "--pprof-disable"]);
    command
}

pub(super) fn render(plan: &Plan) -> Result<String> {
    let mut text = format!("[global.config]\nas={DUT_ASN}\nrouter-id=\"{DUT_ID}\"\n");
    match plan.decision {
        Some("always-compare-med") => {
            text.push_str("[global.route-selection-options.config]\nalways-compare-med=true\n");
        }
        Some(rung) => return Err(no_word(&rung)),
        None => {}
    }
    for peer in &plan.peers {
        session(&mut text, plan, peer)?;
    }
    if let Some((range, asn)) = plan.range {
        writeln!(text, "[[peer-groups]]\n[peer-groups.config]\npeer-group-name=\"range\"\npeer-as={asn}")?;
        writeln!(
            text,
            "[[peer-groups.afi-safis]]\n[peer-groups.afi-safis.config]\nafi-safi-name=\"ipv4-unicast\""
        )?;
        writeln!(
            text,
            "[[dynamic-neighbors]]\n[dynamic-neighbors.config]\nprefix=\"{range}\"\npeer-group=\"range\""
        )?;
    }
    Ok(text)
}

fn session(text: &mut String, plan: &Plan, peer: &Peer) -> Result<()> {
    let (hold, mut retry) = (peer.hold_secs(), 1);
    writeln!(
        text,
        "[[neighbors]]\n[neighbors.config]\nneighbor-address=\"{}\"\npeer-as={}",
        peer.who.v4(),
        peer.who.asn
    )?;
    let own = if peer.address().is_ipv6() { IpAddr::from(DUT_V6) } else { DUT_ID.into() };
    let (mut more, mut passive) = (String::new(), true);
    let (mut limit, mut paths, mut graceful) = (None, 0, None);
    for knob in &peer.knobs {
        match knob {
            Knob::HoldSecs(_) | Knob::Families(_) | Knob::NoPolicy | Knob::OverIpv6 => {}
            Knob::Active => passive = false,
            Knob::IdleHoldSecs(..) => {}
            Knob::ConnectRetrySecs(secs) => retry = *secs,
            Knob::Graceful(secs) => graceful = Some(*secs),
            Knob::StaleSecs(_) => {}
            Knob::AddPaths(direction) => paths = *direction,
            Knob::MaxPrefixes(max) => limit = Some(*max),
            Knob::AllowOwnAs(times) => {
                write!(more, "[neighbors.as-path-options.config]\nallow-own-as={times}\n")?
            }
            Knob::Password(key) => writeln!(text, "auth-password=\"{key}\"")?,
            Knob::TtlSecurity => {
                more.push_str("[neighbors.ttl-security.config]\nenabled=true\nttl-min=255\n")
            }
            other => return Err(refuse(other)),
        }
    }
    writeln!(
        text,
        "[neighbors.timers.config]\nconnect-retry={retry}\nidle-hold-time-after-reset=1\nhold-time={hold}\nkeepalive-interval={}",
        (hold / 3).max(1)
    )?;
    writeln!(text, "[neighbors.transport.config]\nlocal-address=\"{own}\"\npassive-mode={passive}")?;
    if peer.client {
        let cluster = if plan.own_cluster_id { "9.9.9.9".to_owned() } else { DUT_ID.to_string() };
        writeln!(
            text,
            "[neighbors.route-reflector.config]\nroute-reflector-client=true\nroute-reflector-cluster-id=\"{cluster}\""
        )?;
    }
    if let Some(secs) = graceful {
        writeln!(text, "[neighbors.graceful-restart.config]\nenabled=true\nrestart-time={secs}")?;
    }
    text.push_str(&more);
    for family in peer.families() {
        let word = match family {
            V4 => "ipv4-unicast",
            V6 => "ipv6-unicast",
            VPNV4 => "l3vpn-ipv4-unicast",
            EVPN => "l2vpn-evpn",
            _ => return Err(no_word(&"this family")),
        };
        writeln!(text, "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name=\"{word}\"")?;
        if paths > 0 {
            let (receive, send) = (paths & 1 != 0, if paths & 2 != 0 { 8 } else { 0 });
            writeln!(text, "[neighbors.afi-safis.add-paths.config]\nreceive={receive}\nsend-max={send}")?;
        }
        if graceful.is_some() {
            writeln!(text, "[neighbors.afi-safis.mp-graceful-restart.config]\nenabled=true")?;
        }
        if let Some(max) = limit {
            writeln!(text, "[neighbors.afi-safis.prefix-limit.config]\nmax-prefixes={max}")?;
        }
    }
    Ok(())
}
