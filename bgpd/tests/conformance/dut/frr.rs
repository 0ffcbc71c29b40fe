//! FRR: `zebra` and `bgpd`.

use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use lab::daemon::Daemon;
use lab::shell;

use super::{exists, inside, no_word, refuse};
use crate::plan::{Knob, Peer, Plan};
use crate::speaker::{DUT_ASN, DUT_ID, DUT_V6};
use crate::wire::{EVPN, V4, V6, VPNV4};

const DIRECTORY: &str = "/run/lab/frr";

pub(super) fn command(config: &Path) -> Result<(Command, Vec<Daemon>)> {
    let directory = Path::new(DIRECTORY);
    fs::create_dir_all(directory)?;
    fs::write(directory.join("zebra.conf"), "log stdout informational\n")?;
    fs::copy(config, directory.join("bgpd.conf"))?;
    let prepare =
        "mkdir -p /var/tmp/frr && mount -t tmpfs tmpfs /var/tmp/frr && chown -R frr:frr /var/tmp/frr \"$0\"";
    shell::read(shell::command("sh").args(["-c", prepare, DIRECTORY]))?;
    let program = |name: &str| {
        let mut command = inside(&format!("/usr/lib/frr/{name}"));
        command.arg("-f").arg(directory.join(format!("{name}.conf")));
        command.arg("-z").arg(directory.join("zserv"));
        command.arg("-i").arg(directory.join(format!("{name}.pid")));
        command.arg("--vty_socket").arg(directory).args(["-u", "frr", "-g", "frr"]);
        command
    };
    let zebra = Daemon::spawn("zebra", program("zebra"))?;
    exists(&directory.join("zserv"))?;
    Ok((program("bgpd"), vec![zebra]))
}

pub(super) fn render(plan: &Plan) -> Result<String> {
    let mut text = format!(
        "log stdout informational\nrouter bgp {DUT_ASN}\n bgp router-id {DUT_ID}\n no bgp ebgp-requires-policy\n \
         no bgp network import-check\n no bgp default ipv4-unicast\n coalesce-time 0\n bgp deterministic-med\n"
    );
    if plan.own_cluster_id {
        text.push_str(" bgp cluster-id 9.9.9.9\n");
    }
    match plan.decision {
        Some("always-compare-med") => text.push_str(" bgp always-compare-med\n"),
        Some("missing-as-worst") => text.push_str(" bgp bestpath med missing-as-worst\n"),
        Some(rung) => return Err(no_word(&rung)),
        None => {}
    }
    let mut maps = String::new();
    let graceful = plan
        .peers
        .iter()
        .find_map(|peer| peer.knob(|knob| if let Knob::Graceful(secs) = knob { Some(*secs) } else { None }));
    if let Some(secs) = graceful {
        writeln!(text, " bgp graceful-restart\n bgp graceful-restart restart-time {secs}")?;
        writeln!(text, " bgp graceful-restart preserve-fw-state")?;
    }
    for peer in &plan.peers {
        session(&mut text, peer)?;
    }
    for family in [V4, V6, VPNV4, EVPN] {
        let activated = plan.peers.iter().filter(|peer| peer.families().contains(&family));
        let words = match family {
            V4 => "ipv4 unicast",
            V6 => "ipv6 unicast",
            VPNV4 => "ipv4 vpn",
            _ => "l2vpn evpn",
        };
        writeln!(text, " address-family {words}")?;
        for peer in activated {
            in_family(&mut text, &mut maps, peer)?;
        }
        writeln!(text, " exit-address-family")?;
    }
    if let Some((range, asn)) = plan.range {
        writeln!(
            text,
            " neighbor dyn peer-group\n neighbor dyn remote-as {asn}\n bgp listen range {range} peer-group dyn"
        )?;
        writeln!(text, " address-family ipv4 unicast\n  neighbor dyn activate\n exit-address-family")?;
    }
    Ok(text + &maps)
}

fn session(text: &mut String, peer: &Peer) -> Result<()> {
    let address = peer.address();
    let own = if address.is_ipv6() { IpAddr::from(DUT_V6) } else { DUT_ID.into() };
    let hold = peer.hold_secs();
    writeln!(
        text,
        " neighbor {address} remote-as {}\n neighbor {address} update-source {own}",
        peer.who.asn
    )?;
    writeln!(text, " neighbor {address} timers {} {hold}\n neighbor {address} timers connect 1", hold / 3)?;
    writeln!(text, " neighbor {address} advertisement-interval 0")?;
    if peer.who.is_external() {
        writeln!(text, " neighbor {address} enforce-first-as")?;
    }
    if !peer.has(&Knob::Active) {
        writeln!(text, " neighbor {address} passive")?;
    }
    for knob in &peer.knobs {
        match knob {
            Knob::Active | Knob::HoldSecs(_) | Knob::Families(_) | Knob::NoPolicy | Knob::OverIpv6 => {}
            Knob::MinHoldSecs(secs) => writeln!(text, " bgp minimum-holdtime {secs}")?,
            Knob::DelayOpenSecs(secs) => writeln!(text, " neighbor {address} timers delayopen {secs}")?,
            Knob::IdleHoldSecs(..) => {}
            Knob::ConnectRetrySecs(secs) => writeln!(text, " neighbor {address} timers connect {secs}")?,
            Knob::Graceful(_) => writeln!(text, " neighbor {address} graceful-restart")?,
            Knob::StaleSecs(secs) => writeln!(text, " bgp graceful-restart stalepath-time {secs}")?,
            Knob::LongLived(secs) => writeln!(text, " bgp long-lived-graceful-restart stale-time {secs}")?,
            Knob::Role(role) => writeln!(text, " neighbor {address} local-role {role}")?,
            Knob::StrictRole => writeln!(text, " ! strict")?,
            Knob::NoEnforceFirstAs => writeln!(text, " no neighbor {address} enforce-first-as")?,
            Knob::AcceptAsSets => writeln!(text, " no bgp reject-as-sets")?,
            Knob::ExtendedMessages(_) => return Err(refuse(knob)),
            Knob::ExtendedNextHop => writeln!(text, " neighbor {address} capability extended-nexthop")?,
            Knob::Password(key) => writeln!(text, " neighbor {address} password {key}")?,
            Knob::TtlSecurity => writeln!(text, " neighbor {address} ttl-security hops 1")?,
            Knob::AddPaths(_) | Knob::AllowOwnAs(_) | Knob::MaxPrefixes(_) | Knob::NextHopSelf => {}
            Knob::MaxPrefixesWarn | Knob::MaxPrefixesRestartSecs(_) => {}
            Knob::ImportOnly(_) => {}
            Knob::OpenHoldSecs(_)
            | Knob::SendHoldSecs(_)
            | Knob::AddPathsMax(_)
            | Knob::RefreshSecs(_)
            | Knob::Bfd
            | Knob::LongLivedToAll => return Err(refuse(knob)),
        }
    }
    Ok(())
}

fn in_family(text: &mut String, maps: &mut String, peer: &Peer) -> Result<()> {
    let (address, name) = (peer.address(), peer.who.name());
    writeln!(text, "  neighbor {address} activate")?;
    if peer.client {
        writeln!(text, "  neighbor {address} route-reflector-client")?;
    }
    for knob in &peer.knobs {
        match knob {
            Knob::AddPaths(1) => writeln!(text, "  ! receives by default")?,
            Knob::AddPaths(0) => writeln!(text, "  neighbor {address} disable-addpath-rx")?,
            Knob::AddPaths(_) => writeln!(text, "  neighbor {address} addpath-tx-all-paths")?,
            Knob::AllowOwnAs(times) => writeln!(text, "  neighbor {address} allowas-in {times}")?,
            Knob::MaxPrefixes(limit) => {
                let end = if peer.has(&Knob::MaxPrefixesWarn) { " warning-only" } else { "" };
                writeln!(text, "  neighbor {address} maximum-prefix {limit}{end}")?;
            }
            Knob::NextHopSelf => writeln!(text, "  neighbor {address} next-hop-self force")?,
            Knob::ImportOnly(prefix) => {
                writeln!(text, "  neighbor {address} prefix-list only-{name} in")?;
                writeln!(maps, "ip prefix-list only-{name} permit {prefix} le 32")?;
            }
            _ => {}
        }
    }
    Ok(())
}
