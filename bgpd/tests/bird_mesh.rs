//! A mesh of three nodes as Calico drives it: files as confd writes them, two nodes with this daemon under the name of BIRD, and a real
//! BIRD 2 between them, which dials one and is dialled by the other.

mod calico;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use calico::{Bird, Files, reported_routes};
use lab::daemon::{Daemon, write};
use lab::here;
use lab::net::{Family, Node, Underlay};
use lab::sandbox::isolated;
use lab::wait::{self, SOON};

fn files(ip: &str, others: &[&str]) -> Files {
    let last = ip.rsplit('.').next().unwrap_or_default();
    Files {
        ip: ip.to_owned(),
        mesh: others.iter().map(|&other| other.to_owned()).collect(),
        blocks: vec![format!("192.168.{last}.0/26")],
        pools: vec!["192.168.0.0/16".to_owned()],
        graceful: true,
    }
}

/// A real BIRD 2 as a node of the mesh.
fn real(node: &Node, others: [&str; 2]) -> Result<Daemon> {
    let own = node.address(Family::V4);
    let mut text = format!(
        "log stderr all;\nrouter id {own};\nprotocol device {{}}\nprotocol direct {{ ipv4; interface \"eth0\"; }}\n\
         protocol kernel {{ ipv4 {{ import none; export where source ~ [RTS_STATIC, RTS_BGP]; }}; }}\n\
         protocol static {{ ipv4; route 192.168.2.0/26 blackhole; }}\n"
    );
    for (at, other) in others.iter().enumerate() {
        let passive = if *other > own.to_string().as_str() { "passive on;" } else { "" };
        text += &format!(
            "protocol bgp Mesh_{at} {{ local {own} as 64512; neighbor {other} as 64512; multihop; {passive}\n\
             graceful restart on; connect delay time 1; connect retry time 1; error wait time 1, 2;\n\
             ipv4 {{ import all; export where source = RTS_STATIC; add paths on; }}; }}\n"
        );
    }
    let config = write("real.conf", &text)?;
    let mut command = node.command("bird");
    command.arg("-f").arg("-c").arg(config).arg("-s").arg(lab::sandbox::work()?.join("real.ctl"));
    Daemon::spawn("real-bird", command)
}

fn wait_gateway(node: &Node, prefix: &str, gateway: &str) -> Result<()> {
    wait::until(&format!("{prefix} through {gateway}"), SOON, || {
        let routes = node.routes_to(prefix)?;
        let [route] = routes.as_slice() else { bail!("{routes:?}") };
        ensure!(route.gateways == [gateway], "{route:?}");
        Ok(())
    })
}

#[test]
fn three_nodes_in_a_mesh_with_a_real_bird_between_them() -> Result<()> {
    isolated(here!(), &[lab::peers::bird::NEED], || {
        let underlay = Underlay::new()?;
        let nodes = underlay.nodes(&["one", "two", "three"])?;
        let _real = real(&nodes[1], ["10.0.0.1", "10.0.0.3"])?;
        let mut one = Bird::start(&nodes[0], &files("10.0.0.1", &["10.0.0.2", "10.0.0.3"]))?;
        let three = Bird::start(&nodes[2], &files("10.0.0.3", &["10.0.0.1", "10.0.0.2"]))?;
        for bird in [&one, &three] {
            wait::until("all sessions", SOON, || {
                ensure!(bird.ready()? == 2);
                Ok(())
            })?;
        }
        wait_gateway(&nodes[0], "192.168.2.0/26", "10.0.0.2")?;
        wait_gateway(&nodes[0], "192.168.3.0/26", "10.0.0.3")?;
        wait_gateway(&nodes[1], "192.168.1.0/26", "10.0.0.1")?;
        wait_gateway(&nodes[2], "192.168.2.0/26", "10.0.0.2")?;
        let metrics = nodes[0].sh("ip -4 route show proto bird")?;
        ensure!(metrics.contains("blackhole 192.168.1.0/26"), "{metrics}");
        ensure!(metrics.contains("192.168.3.0/26 via 10.0.0.3 dev eth0 metric 1024"), "{metrics}");
        // BIRD 2 says LOCAL_PREF 100.
        ensure!(metrics.contains("192.168.2.0/26 via 10.0.0.2 dev eth0 metric 2147483547"), "{metrics}");
        routes_of_pods(&nodes, &one)?;
        let report = reported_routes(&three.say("show route")?)?;
        ensure!(
            report.iter().any(|(dest, via, best)| dest == "192.168.2.0/26" && via == "10.0.0.2" && *best),
            "{report:?}"
        );
        reloads(&nodes, &one)?;
        reloads_that_change_nothing(&nodes, &one)?;
        crowd(&one)?;
        restarts(&nodes, &mut one)?;
        operators(&nodes, &one)
    })
}

/// What Felix puts into the kernel: an address of another node's block is told, one of this node's own is not.
fn routes_of_pods(nodes: &[Node], one: &Bird) -> Result<()> {
    nodes[0].sh(
        "ip link add cali1 type veth peer name pod1 && ip link set pod1 up && ip link set cali1 up && \
         ip route add 192.168.1.5 dev cali1 scope link proto 80 metric 1024 && \
         ip route add 192.168.77.7 dev cali1 scope link proto 80 metric 1024 && \
         ip route add 192.168.1.6 dev cali1 scope link proto 80 metric 512",
    )?;
    wait_gateway(&nodes[2], "192.168.77.7/32", "10.0.0.1")?;
    // Live migration: better than normal, so it leaves the block.
    wait_gateway(&nodes[2], "192.168.1.6/32", "10.0.0.1")?;
    let there = nodes[2].sh("ip -4 route show proto bird")?;
    ensure!(there.contains("192.168.1.6 via 10.0.0.1 dev eth0 metric 512"), "{there}");
    ensure!(!there.contains("192.168.1.5"), "{there}");
    let shown = one.client(&["sh", "ro", "192.168.77.7/32", "all"])?;
    ensure!(shown.contains("dev cali1 [kernel1 ") && shown.contains("Kernel.metric: 1024"), "{shown}");
    nodes[0].sh("ip route del 192.168.77.7 dev cali1 proto 80 metric 1024")?;
    wait::until("the Pod's route goes", SOON, || {
        ensure!(nodes[2].routes_to("192.168.77.7/32")?.is_empty());
        Ok(())
    })
}

/// Files that disagree for a moment change nothing, and the last change counts.
fn reloads(nodes: &[Node], one: &Bird) -> Result<()> {
    let before = one.say("show protocols")?;
    calico::rename(&one.directory, "bird_aggr.cfg", "function calico_aggr (\n")?;
    one.daemon.signal("HUP")?;
    let answer = one.say("configure")?;
    ensure!(answer.last().is_some_and(|line| line.starts_with("8002 ")), "{answer:?}");
    ensure!(one.ready()? == 2);
    let mut changed = files("10.0.0.1", &["10.0.0.2", "10.0.0.3"]);
    changed.blocks.push("192.168.4.0/26".to_owned());
    // Nobody signals.
    changed.write(&one.directory)?;
    wait_gateway(&nodes[2], "192.168.4.0/26", "10.0.0.1")?;
    wait_gateway(&nodes[1], "192.168.4.0/26", "10.0.0.1")?;
    ensure!(one.say("show protocols")? == before, "sessions were touched");
    Ok(())
}

/// Everything that kernels of all nodes say of routes.
fn monitors(nodes: &[Node], what: &str) -> Result<Vec<Daemon>> {
    let monitor = |node: &Node| {
        let mut command = node.command("ip");
        command.args(["-4", "monitor", "route"]);
        Daemon::spawn(&format!("{what}-{}", node.name), command)
    };
    nodes.iter().map(monitor).collect()
}

fn events(monitors: &[Daemon]) -> Vec<String> {
    monitors.iter().map(Daemon::log).collect()
}

/// SIGHUP, files written again, `configure`: no kernel hears of it, and no session. Then one block more: the others hear of that alone.
fn reloads_that_change_nothing(nodes: &[Node], one: &Bird) -> Result<()> {
    let line = |of: &str| -> Result<String> {
        let status = one.say("show status")?;
        let found = status.iter().find_map(|line| Some(line.split_once(of)?.1.to_owned()));
        found.with_context(|| format!("{status:?}"))
    };
    let loaded = || line("Last reconfiguration on ");
    let watched = monitors(nodes, "quiet")?;
    let before = one.say("show protocols")?;
    let mut files = files("10.0.0.1", &["10.0.0.2", "10.0.0.3"]);
    files.blocks.push("192.168.4.0/26".to_owned());
    type Hint<'a> = &'a dyn Fn() -> Result<()>;
    let hints: [Hint<'_>; 3] =
        [&|| one.daemon.signal("HUP"), &|| files.write(&one.directory), &|| one.say("configure").map(drop)];
    for hint in hints {
        // Times are told in seconds.
        wait::until("a second has passed", SOON, || {
            ensure!(line("Current server time is ")? != loaded()?);
            Ok(())
        })?;
        let then = loaded()?;
        hint()?;
        wait::until("the files were read", SOON, || {
            ensure!(loaded()? != then);
            Ok(())
        })?;
    }
    wait::holds("no route moves", Duration::from_secs(2), || {
        ensure!(events(&watched).iter().all(String::is_empty), "{:?}", events(&watched));
        ensure!(one.say("show protocols")? == before, "sessions were touched");
        Ok(())
    })?;
    files.blocks.push("192.168.5.0/26".to_owned());
    files.write(&one.directory)?;
    wait_gateway(&nodes[2], "192.168.5.0/26", "10.0.0.1")?;
    wait_gateway(&nodes[1], "192.168.5.0/26", "10.0.0.1")?;
    wait::holds("only the block moves", Duration::from_secs(1), || {
        let all = events(&watched);
        let lines = all.iter().flat_map(|log| log.lines());
        ensure!(lines.clone().count() == 3 && lines.clone().all(|l| l.contains("192.168.5.0/26")), "{all:?}");
        Ok(())
    })
}

/// What operators type: sessions that stop and start by hand, routes that a condition picks.
fn operators(nodes: &[Node], one: &Bird) -> Result<()> {
    let picked = one.client(&["show", "route", "where", "bgp_next_hop", "=", "10.0.0.3"])?;
    ensure!(picked.contains("192.168.3.0/26") && !picked.contains("192.168.2.0/26"), "{picked}");
    let judged = one.client(&["show", "route", "filter", "calico_kernel_programming", "all"])?;
    ensure!(judged.contains("192.168.3.0/26") && judged.contains("Kernel.metric: 1024"), "{judged}");
    let wrong = one.say("show route where bogus > 1")?;
    ensure!(wrong == ["9001 syntax error"], "{wrong:?}");
    ensure!(one.say("disable Mesh_10_0_0_2")? == ["0009-Mesh_10_0_0_2: disabled", "0000 "]);
    wait::until("the session is down", SOON, || {
        let rows = one.say("show protocols Mesh_10_0_0_2")?;
        ensure!(rows.iter().any(|row| row.contains(" down ")), "{rows:?}");
        ensure!(nodes[0].routes_to("192.168.2.0/26")?.is_empty());
        Ok(())
    })?;
    ensure!(one.say("restart Mesh_10_0_0_2")? == ["0008-Mesh_10_0_0_2: already disabled", "0000 "]);
    ensure!(one.say("enable Mesh_10_0_0_2")? == ["0011-Mesh_10_0_0_2: enabled", "0000 "]);
    wait_gateway(&nodes[0], "192.168.2.0/26", "10.0.0.2")?;
    wait::until("all sessions again", SOON * 2, || {
        ensure!(one.ready()? == 2);
        Ok(())
    })
}

/// Clients that ask much and read nothing, and clients that say nothing, cost nobody else anything.
fn crowd(one: &Bird) -> Result<()> {
    let mut crowd = Vec::new();
    for _ in 0..20 {
        let mut deaf = calico::Dialogue::open(&one.socket)?;
        deaf.ask_without_end()?;
        crowd.push(deaf);
        crowd.push(calico::Dialogue::open(&one.socket)?);
    }
    wait::holds("probes are answered", Duration::from_secs(1), || {
        ensure!(one.ready()? == 2);
        Ok(())
    })?;
    drop(crowd);
    Ok(())
}

/// Three times `kill -9`: neighbours see nothing of it in their kernels.
fn restarts(nodes: &[Node], one: &mut Bird) -> Result<()> {
    let watched = monitors(nodes, "restarts")?;
    for _ in 0..3 {
        one.kill_and_start()?;
        wait::until("ready again", SOON * 2, || {
            ensure!(one.ready()? == 2);
            Ok(())
        })?;
    }
    ensure!(events(&watched).iter().all(String::is_empty), "{:?}", events(&watched));
    Ok(())
}
