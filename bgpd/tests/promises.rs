//! What the README promises about speed and about other people's routes, on real kernels: dead nodes are forgotten in
//! time, a thousand routes arrive within a second, every route of ours carries our number, and nobody else's is touched.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use lab::here;
use lab::kernel::KernelRoute;
use lab::mrt;
use lab::net::{Family, Node, Underlay};
use lab::peers::gobgp::{self, GoBgp};
use lab::peers::ours::Bgpd;
use lab::sandbox::{self, isolated};
use lab::speaker::{Neighbor, Plan, Speaker};
use lab::wait::{self, SOON};

const ASN: u32 = 64512;
const PROTOCOL: u8 = 12;
/// How late a test may notice something, on a busy machine.
const SLACK: Duration = Duration::from_secs(1);

/// Three nodes in a full mesh, each announcing its Pod CIDRs, all in each other's kernels.
fn mesh(hold_secs: u16) -> Result<(Vec<Node>, Vec<Bgpd>)> {
    let nodes = Underlay::new()?.nodes(&["a", "b", "c"])?;
    let start = |node: &Node| {
        let others = nodes.iter().filter(|other| other.index != node.index);
        let plan = others.fold(Plan::new(node, ASN), |plan, other| plan.neighbors(node, other, ASN));
        let [v4, v6] = Family::BOTH.map(|family| node.pod_cidr(family));
        Bgpd::start(node, plan.network(&v4).network(&v6).each(|neighbor| neighbor.hold(hold_secs)))
    };
    let daemons = nodes.iter().map(start).collect::<Result<Vec<_>>>()?;
    for node in &nodes {
        for other in nodes.iter().filter(|other| other.index != node.index) {
            for family in Family::BOTH {
                wait_route(node, &other.pod_cidr(family), |routes| {
                    routes.len() == 1 && routes[0].gateways == [other.address(family).to_string()]
                })?;
            }
        }
    }
    Ok((nodes, daemons))
}

fn wait_route(node: &Node, prefix: &str, check: impl Fn(&[KernelRoute]) -> bool) -> Result<()> {
    wait::closely(&format!("{}: {prefix}", node.name), SOON, || {
        let routes = node.routes_to(prefix)?;
        ensure!(check(&routes), "{routes:?}");
        Ok(())
    })
}

/// Waits until nobody of `others` has a route to `gone`'s Pods, and returns how long that took.
fn wait_forgotten(others: &[Node], gone: &Node) -> Result<Duration> {
    let began = Instant::now();
    for node in others {
        for family in Family::BOTH {
            wait_route(node, &gone.pod_cidr(family), <[KernelRoute]>::is_empty)?;
        }
    }
    Ok(began.elapsed())
}

#[test]
fn a_killed_daemon_is_forgotten_at_once() -> Result<()> {
    isolated(here!(), &[], || {
        let (nodes, daemons) = mesh(90)?;
        daemons[2].daemon().kill();
        let took = wait_forgotten(&nodes[..2], &nodes[2])?;
        ensure!(took < SLACK, "took {took:?}");
        Ok(())
    })
}

#[test]
fn a_silent_node_is_forgotten_within_its_hold_time() -> Result<()> {
    isolated(here!(), &[], || {
        let (nodes, _daemons) = mesh(3)?;
        nodes[2].cut()?;
        let took = wait_forgotten(&nodes[..2], &nodes[2])?;
        ensure!(took < Duration::from_secs(3) + SLACK, "took {took:?} with a hold time of 3 s");
        nodes[2].mend()?;
        for family in Family::BOTH {
            wait_route(&nodes[0], &nodes[2].pod_cidr(family), |routes| routes.len() == 1)?;
        }
        Ok(())
    })
}

#[test]
fn a_thousand_routes_of_gobgp_are_in_the_kernel_within_a_second() -> Result<()> {
    isolated(here!(), &[gobgp::NEED], || {
        const COUNT: u16 = 1000;
        let nodes = Underlay::new()?.nodes(&["ours", "peer"])?;
        let plan = |here: &Node, there: &Node| {
            Plan::new(here, ASN).neighbor(Neighbor::new(here, there, Family::V4, ASN))
        };
        let peer = GoBgp::start(&nodes[1], &plan(&nodes[1], &nodes[0]))?;
        let dump = sandbox::work()?.join("thousand.mrt");
        fs::write(&dump, mrt::dump(COUNT, nodes[1].v4))?;
        peer.inject(&dump, COUNT)?;
        let ours_in_kernel = || -> Result<usize> {
            let routes = nodes[0].routes(Family::V4)?;
            Ok(routes.iter().filter(|route| route.protocol == PROTOCOL).count())
        };
        let ours = Bgpd::start(&nodes[0], plan(&nodes[0], &nodes[1]))?;
        // No route arrives before the session is established, so the clock starts when it last was not.
        let mut began = Instant::now();
        wait::closely("the session", SOON, || {
            let asked = Instant::now();
            let state = ours.state(nodes[1].v4.into())?;
            if state != "Established" {
                began = asked;
            }
            ensure!(state == "Established", "{state}");
            Ok(())
        })?;
        wait::closely("a thousand routes", SOON, || {
            let count = ours_in_kernel()?;
            ensure!(count == usize::from(COUNT), "{count} routes");
            Ok(())
        })?;
        let took = began.elapsed();
        ensure!(took < Duration::from_secs(1), "took {took:?}");
        let routes = nodes[0].routes_to(&mrt::prefix(COUNT - 1))?;
        ensure!(routes.len() == 1 && routes[0].gateways == [nodes[1].v4.to_string()], "{routes:?}");
        peer.daemon().kill();
        wait::until("all of them gone", SOON, || {
            let count = ours_in_kernel()?;
            ensure!(count == 0, "{count} routes");
            Ok(())
        })
    })
}

/// Two of ours; the second announces `10.244.2.0/24`, for which the first one's kernel already has `foreign`.
fn beside(foreign: &str) -> Result<(Vec<Node>, [Bgpd; 2], KernelRoute)> {
    let nodes = Underlay::new()?.nodes(&["a", "b", "c"])?;
    nodes[0].ip(&format!("route add 10.244.2.0/24 via {} {foreign}\n", nodes[2].v4))?;
    let before = nodes[0].routes_to("10.244.2.0/24")?.remove(0);
    let start = |here: usize, there: usize, prefix: &str| {
        let plan = Plan::new(&nodes[here], ASN).neighbors(&nodes[here], &nodes[there], ASN);
        Bgpd::start(&nodes[here], plan.network(prefix))
    };
    let daemons = [start(0, 1, "10.244.1.0/24")?, start(1, 0, "10.244.2.0/24")?];
    daemons[0].wait_route_via("10.244.2.0/24", nodes[1].v4.into())?;
    Ok((nodes, daemons, before))
}

#[test]
fn a_foreign_route_with_another_metric_stands_beside_ours() -> Result<()> {
    isolated(here!(), &[], || {
        let (nodes, mut daemons, foreign) = beside("proto static metric 50")?;
        let foreign_only = |routes: &[KernelRoute]| routes == std::slice::from_ref(&foreign);
        wait_route(&nodes[0], "10.244.2.0/24", |routes| {
            let ours = routes.iter().find(|route| route.protocol == PROTOCOL);
            let ours_is_right = ours.is_some_and(|route| route.gateways == [nodes[1].v4.to_string()]);
            routes.len() == 2 && routes.contains(&foreign) && ours_is_right
        })?;
        daemons[1].withdraw("10.244.2.0/24")?;
        wait_route(&nodes[0], "10.244.2.0/24", foreign_only)?;
        daemons[1].announce("10.244.2.0/24")?;
        wait_route(&nodes[0], "10.244.2.0/24", |routes| routes.len() == 2)?;
        daemons[1].daemon().kill();
        wait_route(&nodes[0], "10.244.2.0/24", foreign_only)?;
        daemons[0].daemon().signal("TERM")?;
        daemons[0].daemon().wait_exit(SOON)?;
        ensure!(foreign_only(&nodes[0].routes_to("10.244.2.0/24")?), "the foreign route was touched");
        Ok(())
    })
}

#[test]
fn a_foreign_route_with_the_same_metric_keeps_ours_out_until_it_goes() -> Result<()> {
    isolated(here!(), &[], || {
        let (nodes, daemons, foreign) = beside("proto static metric 1024")?;
        wait::holds("the foreign route alone", Duration::from_millis(500), || {
            let routes = nodes[0].routes_to("10.244.2.0/24")?;
            ensure!(routes == [foreign.clone()], "{routes:?}");
            Ok(())
        })?;
        daemons[0].daemon().alive()?;
        nodes[0].ip("route del 10.244.2.0/24 proto static metric 1024\n")?;
        wait_route(&nodes[0], "10.244.2.0/24", |routes| {
            routes.len() == 1 && routes[0].protocol == PROTOCOL && routes[0].metric == 1024
        })
    })
}

#[test]
fn a_route_of_ours_that_somebody_deletes_comes_back() -> Result<()> {
    isolated(here!(), &[], || {
        let (nodes, _daemons) = mesh(90)?;
        for family in Family::BOTH {
            let prefix = nodes[1].pod_cidr(family);
            nodes[0].sh(&format!("ip {} route del {prefix} proto {PROTOCOL}\n", family.flag()))?;
            wait_route(&nodes[0], &prefix, |routes| routes.len() == 1 && routes[0].protocol == PROTOCOL)?;
        }
        Ok(())
    })
}

#[test]
fn a_killed_daemon_that_returns_loses_no_route_in_between() -> Result<()> {
    isolated(here!(), &[], || {
        let (nodes, mut daemons) = mesh(90)?;
        let watched: Vec<String> = Family::BOTH.map(|family| nodes[1].pod_cidr(family)).into();
        let mut command = nodes[0].command("ip");
        command.args(["-o", "monitor", "route"]);
        let monitor = lab::daemon::Daemon::spawn("monitor", command)?;
        // The monitor listens once it reports a route that we add ourselves.
        wait::until("the monitor listens", SOON, || {
            nodes[0].ip("route replace 198.51.100.0/24 dev lo\nroute del 198.51.100.0/24 dev lo\n")?;
            ensure!(monitor.log().contains("198.51.100.0/24"), "silent");
            Ok(())
        })?;
        daemons[0].relaunch()?;
        for family in Family::BOTH {
            daemons[0].wait_established(nodes[1].address(family))?;
            daemons[0].wait_route_via(&nodes[1].pod_cidr(family), nodes[1].address(family))?;
        }
        // What happens to a route that is announced after the restart shows that the start is over.
        daemons[1].announce("10.99.0.0/24")?;
        wait_route(&nodes[0], "10.99.0.0/24", |routes| routes.len() == 1)?;
        let log = monitor.log();
        for prefix in &watched {
            let deleted = log.lines().find(|line| line.starts_with("Deleted") && line.contains(prefix));
            ensure!(deleted.is_none(), "{deleted:?} in\n{log}");
            ensure!(nodes[0].routes_to(prefix)?.len() == 1, "{prefix} is gone");
        }
        Ok(())
    })
}
