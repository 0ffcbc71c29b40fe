//! Tunnels between nodes on a real kernel: the device, its entries, whom routes lead to, and what a restart leaves alone.

use anyhow::{Result, bail, ensure};
use lab::daemon::Daemon;
use lab::here;
use lab::net::{Family, Node, Subnet, Underlay};
use lab::peers::ours::Bgpd;
use lab::pod::Pod;
use lab::sandbox::isolated;
use lab::shell;
use lab::speaker::Speaker;
use lab::wait::{self, SOON};

const ASN: u32 = 64512;

/// Three nodes with a Pod each, the third in another subnet, in a full mesh.
struct Mesh {
    nodes: Vec<Node>,
    pods: Vec<Pod>,
    daemons: Vec<Bgpd>,
}

impl Mesh {
    fn start(tunnel: &str) -> Result<Mesh> {
        let underlay = Underlay::new()?;
        let mut nodes = underlay.nodes(&["a", "b"])?;
        nodes.extend(underlay.nodes_in(Subnet::Far, &["c"])?);
        underlay.route(&nodes)?;
        let pods = nodes.iter().map(Pod::start).collect::<Result<Vec<_>>>()?;
        let start = |node: &Node| Bgpd::start_yaml(node, &yaml(&nodes, node, tunnel));
        let daemons = nodes.iter().map(start).collect::<Result<Vec<_>>>()?;
        let mesh = Mesh { nodes, pods, daemons };
        mesh.wait_settled()?;
        Ok(mesh)
    }

    fn wait_settled(&self) -> Result<()> {
        wait::until("the mesh is settled", SOON, || {
            for (node, daemon) in self.nodes.iter().zip(&self.daemons) {
                let status = daemon.ask(&["status"])?;
                ensure!(status["syncing"] == false && status["peersEstablished"] == 4, "{status}");
                for other in self.nodes.iter().filter(|other| other.index != node.index) {
                    for family in Family::BOTH {
                        let prefix = other.pod_cidr(family);
                        ensure!(!node.routes_to(&prefix)?.is_empty(), "{} lacks {prefix}", node.name);
                    }
                }
            }
            Ok(())
        })
    }

    /// Every Pod reaches every other one.
    fn ensure_reach(&self) -> Result<()> {
        for from in &self.pods {
            for to in self.pods.iter().filter(|to| to.name != from.name) {
                for family in Family::BOTH {
                    let address = to.address(family).to_string();
                    let ping = shell::output(from.command("ping").args(["-n", "-c1", "-W2", &address]))?;
                    ensure!(ping.status.success(), "{} does not reach {address}", from.name);
                }
            }
        }
        Ok(())
    }
}

fn yaml(nodes: &[Node], node: &Node, tunnel: &str) -> String {
    let others = nodes.iter().filter(|other| other.index != node.index);
    let sessions = others.flat_map(|other| Family::BOTH.map(|family| {
        let (name, word) = (&other.name, family.word());
        let [local, remote] = [node, other].map(|node| node.address(family));
        format!("- {{ name: {name}-{word}, address: \"{remote}\", localAddress: \"{local}\", families: [{word}], asn: {ASN} }}\n")
    }));
    let [v4, v6] = Family::BOTH.map(|family| node.pod_cidr(family));
    format!(
        "asn: {ASN}\nrouterId: {}\npeers:\n{}advertise: [ {{ prefixes: [{v4}, \"{v6}\"] }} ]\n\
         pools: [ {{ prefixes: [10.244.0.0/16, \"fd00:10:244::/48\"], tunnel: {tunnel} }} ]\n",
        node.v4,
        sessions.collect::<String>()
    )
}

/// What a node has of a VXLAN device: the device, its neighbours, its forwarding entries.
fn device(node: &Node, name: &str) -> Result<String> {
    node.sh(&format!("ip -d addr show dev {name}; ip neigh show dev {name}; bridge fdb show dev {name}"))
}

fn ensure_says(what: &str, text: &str, words: &[&str]) -> Result<()> {
    words.iter().try_for_each(|word| {
        ensure!(text.contains(word), "{what} lacks {word:?}: {text}");
        Ok(())
    })
}

/// One packet from Pod to Pod as it passes a node's `eth0`.
fn captured(mesh: &Mesh, from: usize, to: usize, family: Family) -> Result<String> {
    let mut command = mesh.nodes[from].command("tcpdump");
    command.args([
        "-Z",
        "root",
        "-lnni",
        "eth0",
        "-c",
        "1",
        "udp port 4789 or icmp[0] == 8 or ip6[40] == 128",
    ]);
    let tcpdump = Daemon::spawn(&format!("tcpdump-{from}-{to}-{}", family.word()), command)?;
    tcpdump.wait_log("listening on", SOON)?;
    let address = mesh.pods[to].address(family).to_string();
    let mut ping = mesh.pods[from].command("ping");
    ping.args(["-n", "-c1", "-W2", &address]);
    ensure!(shell::output(&mut ping)?.status.success(), "no answer from {address}");
    tcpdump.wait_log("echo request", SOON)?;
    Ok(tcpdump.log())
}

#[test]
fn vxlan_leads_to_every_node() -> Result<()> {
    isolated(here!(), &[], || {
        let mesh = Mesh::start("{ mode: vxlan }")?;
        mesh.ensure_reach()?;
        let v4 = device(&mesh.nodes[0], "vxlan.bgpd")?;
        ensure_says(
            "the device",
            &v4,
            &["vxlan id 4096", "dstport 4789", "nolearning", "mtu 1450", "inet 10.244.1.0/32"],
        )?;
        ensure_says(
            "the device",
            &v4,
            &["10.0.0.2 lladdr 66:b9:0a:00:00:02 PERMANENT", "66:b9:0a:01:00:03 dst 10.1.0.3 self permanent"],
        )?;
        let v6 = device(&mesh.nodes[0], "vxlan-v6.bgpd")?;
        ensure_says(
            "the device",
            &v6,
            &["mtu 1430", "inet6 fd00:10:244:1::/128", "66:ba:0a:01:00:03 dst fd00:0:0:1::3 self permanent"],
        )?;
        for (to, end) in [(1, "10.0.0.1"), (2, "10.0.0.1")] {
            let packet = captured(&mesh, 0, to, Family::V4)?;
            ensure_says("the packet", &packet, &["VXLAN", "vni 4096", &format!("IP {end}.")])?;
        }
        ensure_says(
            "the packet",
            &captured(&mesh, 0, 2, Family::V6)?,
            &["IP6 fd00::1.", "vni 4096", "IP6 fd00:10:244:1::2 > fd00:10:244:3::2"],
        )
    })
}

#[test]
fn one_name_for_devices_of_two_versions_is_refused() -> Result<()> {
    isolated(here!(), &[], || {
        let refused = Mesh::start("{ mode: vxlan, when: crossSubnet, vni: 77, port: 4790, name: overlay }");
        let Err(error) = refused.map(drop) else { bail!("one name for two versions was accepted") };
        ensure_says("the error", &format!("{error:#}"), &["give each its own name"])
    })
}

#[test]
fn within_the_subnet_packets_go_as_they_are() -> Result<()> {
    isolated(here!(), &[], || {
        let mesh = Mesh::start("{ mode: vxlan, when: crossSubnet }")?;
        mesh.ensure_reach()?;
        for family in Family::BOTH {
            let near = captured(&mesh, 0, 1, family)?;
            ensure!(!near.contains("VXLAN"), "{near}");
            ensure_says("the packet", &captured(&mesh, 0, 2, family)?, &["VXLAN", "vni 4096"])?;
        }
        let near = mesh.nodes[0].routes_to("10.244.2.0/24")?;
        ensure!(near[0].gateways == ["10.0.0.2"], "{near:?}");
        let entries = device(&mesh.nodes[0], "vxlan.bgpd")?;
        ensure!(!entries.contains("10.0.0.2"), "an entry that no route needs: {entries}");
        Ok(())
    })
}

/// Everything that the kernel says of routes, devices, addresses and neighbours of a node's tunnels.
fn monitor(node: &Node) -> Result<Daemon> {
    let mut command = node.command("ip");
    command.args(["monitor", "route", "link", "address", "neigh"]);
    let monitor = Daemon::spawn(&format!("monitor-{}", node.name), command)?;
    wait::until("the monitor listens", SOON, || {
        node.sh("ip route replace blackhole 203.0.113.0/24; ip route del blackhole 203.0.113.0/24")?;
        ensure!(monitor.log().contains("203.0.113.0/24"), "nothing yet");
        Ok(())
    })?;
    Ok(monitor)
}

#[test]
fn a_killed_daemon_finds_its_tunnels_as_they_were() -> Result<()> {
    isolated(here!(), &[], || {
        let mut mesh = Mesh::start("{ mode: vxlan }")?;
        let before = mesh.nodes.iter().map(|node| device(node, "vxlan.bgpd")).collect::<Result<Vec<_>>>()?;
        let monitors = mesh.nodes.iter().map(monitor).collect::<Result<Vec<_>>>()?;
        for at in 0..3 {
            mesh.daemons[at].relaunch()?;
            mesh.wait_settled()?;
        }
        mesh.daemons.iter().for_each(|daemon| daemon.daemon().kill());
        mesh.daemons.iter_mut().try_for_each(Bgpd::relaunch)?;
        mesh.wait_settled()?;
        mesh.ensure_reach()?;
        for ((node, monitor), before) in mesh.nodes.iter().zip(&monitors).zip(&before) {
            node.sh("ip route add blackhole 198.51.100.0/24")?;
            monitor.wait_log("198.51.100.0/24", SOON)?;
            let log = monitor.log();
            let ours: Vec<&str> = log
                .lines()
                .filter(|line| {
                    (line.contains("10.244") || line.contains("vxlan")) && !line.contains("dev cali")
                })
                .collect();
            ensure!(ours.is_empty(), "the kernel of {} saw {ours:#?}", node.name);
            ensure!(device(node, "vxlan.bgpd")? == *before, "{} has other entries", node.name);
        }
        Ok(())
    })
}

#[test]
fn a_far_end_that_went_and_a_pool_that_was_dropped_leave_nothing() -> Result<()> {
    isolated(here!(), &[], || {
        let mesh = Mesh::start("{ mode: vxlan }")?;
        let (node, daemon) = (&mesh.nodes[0], &mesh.daemons[0]);
        let alone = yaml(&mesh.nodes, node, "{ mode: vxlan }");
        let without_c: String =
            alone.lines().filter(|line| !line.contains("name: c-")).map(|line| format!("{line}\n")).collect();
        daemon.reload(&without_c)?;
        wait::until("nothing of c is left", SOON, || {
            let entries = device(node, "vxlan.bgpd")?;
            ensure!(entries.contains("10.0.0.2") && !entries.contains("10.1.0.3"), "{entries}");
            Ok(())
        })?;
        let monitor = monitor(node)?;
        daemon.reload(&alone.replace("pools:", "#"))?;
        wait::until("the devices are gone and routes are plain", SOON, || {
            ensure!(!node.sh("ip link")?.contains("vxlan"), "still there");
            let route = node.routes_to("10.244.2.0/24")?;
            ensure!(route.first().is_some_and(|route| route.gateways == ["10.0.0.2"]), "{route:?}");
            Ok(())
        })?;
        let log = monitor.log();
        ensure!(!log.contains("Deleted 10.244.2.0/24"), "the route was not replaced in place: {log}");
        Ok(())
    })
}

#[test]
fn a_device_that_somebody_takes_away_or_alters_comes_back() -> Result<()> {
    isolated(here!(), &[], || {
        let mesh = Mesh::start("{ mode: vxlan }")?;
        let node = &mesh.nodes[0];
        let before = device(node, "vxlan.bgpd")?;
        // Numbers of interfaces differ, and the link-local address is the kernel's own, given once as the device comes up.
        let words = |text: &str| {
            text.lines()
                .filter(|line| !line.contains("inet6 fe80:"))
                .map(|line| line.split_once(": ").map_or(line, |(_, rest)| rest).to_owned())
                .collect::<std::collections::BTreeSet<_>>()
        };
        for blow in
            ["ip link del vxlan.bgpd", "ip link set vxlan.bgpd down mtu 1300", "ip addr flush dev vxlan.bgpd"]
        {
            node.sh(blow)?;
            wait::until("everything is back", SOON, || {
                let now = device(node, "vxlan.bgpd")?;
                ensure!(words(&now) == words(&before), "{now}");
                ensure!(!node.routes_to("10.244.3.0/24")?.is_empty(), "no route");
                Ok(())
            })?;
            mesh.ensure_reach()?;
        }
        Ok(())
    })
}

#[test]
fn what_is_in_the_way_is_said_and_the_rest_goes_on() -> Result<()> {
    isolated(here!(), &[], || {
        let underlay = Underlay::new()?;
        let nodes = underlay.nodes(&["a", "b"])?;
        for (blow, words) in [
            (
                "ip link add flannel.1 type vxlan id 4096 dstport 4789 local 10.0.0.1",
                "another device has VNI 4096 on UDP port 4789",
            ),
            ("ip link add vxlan.bgpd type bridge", "there is a device vxlan.bgpd of another kind"),
        ] {
            nodes[0].sh(&format!("ip link del vxlan.bgpd 2>/dev/null || true\n{blow}\n"))?;
            let tunnel = yaml(&nodes, &nodes[0], "{ mode: vxlan }");
            let a = Bgpd::start_yaml(
                &nodes[0],
                &tunnel.replace("10.244.1.0/24,", "10.244.1.0/24, 172.30.1.0/24,"),
            )?;
            let b_yaml = yaml(&nodes, &nodes[1], "{ mode: vxlan }");
            let b = Bgpd::start_yaml(
                &nodes[1],
                &b_yaml.replace("10.244.2.0/24,", "10.244.2.0/24, 172.30.2.0/24,"),
            )?;
            a.daemon().wait_log(words, SOON)?;
            wait::until("routes outside of the pool are installed, and IPv6", SOON, || {
                for prefix in ["172.30.2.0/24", "fd00:10:244:2::/64"] {
                    ensure!(!nodes[0].routes_to(prefix)?.is_empty(), "no {prefix}");
                }
                ensure!(nodes[0].routes_to("10.244.2.0/24")?.is_empty(), "a route that leads nowhere");
                Ok(())
            })?;
            let said = a.daemon().log().matches(words).count();
            ensure!(said == 1, "said {said} times");
            let why = a.show(&["why", "10.244.2.1"])?;
            ensure!(why.contains("the tunnel device is not there or not up"), "{why}");
            let name = blow.split_whitespace().nth(3).unwrap_or_default();
            nodes[0].sh(&format!("ip link del {name}"))?;
            wait::until("it is put right by itself", SOON, || {
                ensure!(!nodes[0].routes_to("10.244.2.0/24")?.is_empty(), "not yet");
                Ok(())
            })?;
            drop(b);
        }
        Ok(())
    })
}

#[test]
fn a_device_of_somebody_else_is_left_alone() -> Result<()> {
    isolated(here!(), &[], || {
        let nodes = Underlay::new()?.nodes(&["a", "b"])?;
        nodes[0].sh(
            "ip link add vxlan.calico mtu 1400 type vxlan id 4096 dstport 4789 local 10.0.0.1 nolearning\n\
             ip addr add 10.244.1.7/32 dev vxlan.calico\nip link set vxlan.calico up\n\
             ip neigh replace 10.244.2.7 lladdr 66:00:00:00:00:02 dev vxlan.calico nud permanent",
        )?;
        let before = device(&nodes[0], "vxlan.calico")?;
        let tunnel = yaml(&nodes, &nodes[0], "{ mode: vxlan, name: vxlan.calico, owner: external }")
            .replace(", \"fd00:10:244::/48\"", "");
        let a = Bgpd::start_yaml(&nodes[0], &tunnel)?;
        let _b = Bgpd::start_yaml(&nodes[1], &yaml(&nodes, &nodes[1], "{ mode: none }"))?;
        wait::until("the other family is installed", SOON, || {
            ensure!(!nodes[0].routes_to("fd00:10:244:2::/64")?.is_empty(), "not yet");
            let why = a.show(&["why", "10.244.2.1"])?;
            ensure!(why.contains("left to the owner of the tunnel device"), "{why}");
            Ok(())
        })?;
        ensure!(nodes[0].routes_to("10.244.2.0/24")?.is_empty(), "a route that Felix is to install");
        ensure!(device(&nodes[0], "vxlan.calico")? == before, "somebody else's device was touched");
        Ok(())
    })
}
