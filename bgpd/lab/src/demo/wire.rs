//! The proof that packets travel in the mode that was asked for: a look at the wire, and a transfer.

use anyhow::{Context, Result, ensure};

use super::cluster::Cluster;
use crate::daemon::Daemon;
use crate::net::{Family, Node};
use crate::shell;
use crate::wait::{self, SOON};

/// What `tcpdump` on the first node's `eth0` makes of one ping to another node's Pod, a line or two, and whether that is as it should be.
pub(super) fn look(cluster: &Cluster, to: usize, family: Family) -> Result<(String, bool)> {
    let (node, other) = (&cluster.nodes[0], &cluster.nodes[to]);
    let mut command = node.command("tcpdump");
    let filter = "ip proto 4 or udp port 4789 or icmp[0] == 8 or ip6[40] == 128";
    command.args(["-Z", "root", "-lntni", "eth0", "-c", "1", filter]);
    let tcpdump = Daemon::spawn(&format!("tcpdump-{}-{}", other.name, family.word()), command)?;
    tcpdump.wait_log("listening on", SOON)?;
    let address = cluster.pods[to].address(family).to_string();
    // The wire is what counts here, and the answer is looked for elsewhere.
    shell::output(cluster.pods[0].command("ping").args(["-n", "-c1", "-W2", &address]))?;
    tcpdump.wait_log("echo request", SOON)?;
    let log = tcpdump.log();
    let packet: Vec<&str> =
        log.lines().filter(|line| line.contains("IP ") || line.contains("IP6 ")).collect();
    let packet = packet.join(" ");
    let ([here, there], [from, pod]) = (
        [node, other].map(|node| node.address(family)),
        [0, to].map(|index| cluster.pods[index].address(family)),
    );
    let inner = packet.contains(&format!("{from} > {pod}: ICMP"));
    let outer = match cluster.device(node, other, family) {
        "eth0" => !packet.contains("VXLAN") && !packet.contains(&format!("{here} > {there}: IP")),
        "tunl0" => packet.contains(&format!("IP {here} > {there}: IP {from}")),
        _ => {
            packet.contains("VXLAN, flags [I] (0x08), vni 4096") && packet.contains(&format!(" {there}.4789"))
        }
    };
    Ok((packet, inner && outer))
}

/// Sends a megabyte from the first Pod to another and says how long it took.
pub(super) fn transfer(cluster: &Cluster, to: usize, family: Family) -> Result<String> {
    let address = cluster.pods[to].address(family).to_string();
    let exe = std::env::current_exe()?;
    let mut command = cluster.pods[0].command(&exe.to_string_lossy());
    let said =
        shell::read(command.args(["send", &address])).with_context(|| format!("no transfer to {address}"))?;
    Ok(said.trim().to_owned())
}

/// Waits until a node's tunnel device is there and has an MTU that leaves room for the outer headers.
pub(super) fn wait_device(node: &Node, device: &str, mtu: u32) -> Result<()> {
    wait::until(&format!("{device} on {}", node.name), SOON, || {
        let link = node.sh(&format!("ip link show dev {device}"))?;
        ensure!(link.contains(&format!("mtu {mtu} ")), "{link}");
        Ok(())
    })
}
