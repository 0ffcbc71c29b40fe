//! The lab's own proof: real daemons with each other, no `bgpd` of ours. What these tests show is that a failure in an
//! interop test of ours is ours: each make starts, speaks, and its output is read as it means it.

use anyhow::{Result, ensure};

use lab::here;
use lab::net::{Family, Underlay};
use lab::peers::Make;
use lab::sandbox::isolated;
use lab::speaker::{Plan, Speaker};
use lab::wait::SOON;

const V4: [&str; 2] = ["10.244.1.0/24", "10.244.2.0/24"];
const V6: [&str; 2] = ["fd00:10:244:1::/64", "fd00:10:244:2::/64"];

/// Both families in both directions between two makes, seen and withdrawn.
fn exchange(pair: [Make; 2], asns: [u32; 2], password: Option<&str>) -> Result<()> {
    let nodes = Underlay::new()?.nodes(&["a", "b"])?;
    let mut speakers: Vec<Box<dyn Speaker>> = Vec::new();
    for (here, there) in [(0, 1), (1, 0)] {
        let mut plan = Plan::new(&nodes[here], asns[here])
            .neighbors(&nodes[here], &nodes[there], asns[there])
            .network(V4[here]);
        if let Some(password) = password {
            plan = plan.each(|neighbor| neighbor.password(password));
        }
        speakers.push(pair[here].start(&nodes[here], plan)?);
    }
    for (here, there) in [(0, 1), (1, 0)] {
        for family in Family::BOTH {
            speakers[here].wait_established(nodes[there].address(family))?;
        }
        speakers[here].announce(V6[here])?;
    }
    for (here, there) in [(0, 1), (1, 0)] {
        for (family, prefix) in [(Family::V4, V4[there]), (Family::V6, V6[there])] {
            let route = speakers[here].wait_route_via(prefix, nodes[there].address(family))?;
            let path: &[u32] = if asns[0] == asns[1] { &[] } else { &asns[there..=there] };
            ensure!(route.as_path == path, "{route:?}");
            ensure!(route.originator.is_none() && route.cluster_list.is_empty(), "{route:?}");
        }
    }
    for (here, there) in [(0, 1), (1, 0)] {
        speakers[here].withdraw(V4[here])?;
        speakers[here].withdraw(V6[here])?;
        speakers[there].wait_no_route(V4[here], SOON)?;
        speakers[there].wait_no_route(V6[here], SOON)?;
    }
    Ok(())
}

/// `reflector` between two clients: what they see of RFC 4456.
fn reflect(reflector: Make, clients: [Make; 2]) -> Result<()> {
    let nodes = Underlay::new()?.nodes(&["rr", "a", "b"])?;
    let plan = Plan::new(&nodes[0], 64512)
        .neighbors(&nodes[0], &nodes[1], 64512)
        .neighbors(&nodes[0], &nodes[2], 64512)
        .each(|neighbor| neighbor.client());
    let _reflector = reflector.start(&nodes[0], plan)?;
    let mut speakers = Vec::new();
    for (index, make) in [(1, clients[0]), (2, clients[1])] {
        let plan = Plan::new(&nodes[index], 64512).neighbors(&nodes[index], &nodes[0], 64512);
        speakers.push(make.start(&nodes[index], plan.network(V4[index - 1]).network(V6[index - 1]))?);
    }
    for (here, there) in [(0, 1), (1, 0)] {
        for (family, prefix) in [(Family::V4, V4[there]), (Family::V6, V6[there])] {
            let origin = &nodes[there + 1];
            let route = speakers[here].wait_route_via(prefix, origin.address(family))?;
            ensure!(route.originator == Some(origin.v4), "{:?} sees {route:?}", clients[here]);
            ensure!(route.cluster_list == [nodes[0].v4], "{:?} sees {route:?}", clients[here]);
        }
    }
    Ok(())
}

#[test]
fn bird_and_frr_exchange_over_ibgp_with_md5() -> Result<()> {
    let pair = [Make::Bird, Make::Frr];
    isolated(here!(), &pair.map(Make::need), || exchange(pair, [64512, 64512], Some("s3cret")))
}

#[test]
fn bird_and_gobgp_exchange_over_ebgp() -> Result<()> {
    let pair = [Make::Bird, Make::GoBgp];
    isolated(here!(), &pair.map(Make::need), || exchange(pair, [64512, 65001], None))
}

#[test]
fn bird_and_openbgpd_exchange_over_ibgp_with_md5() -> Result<()> {
    let pair = [Make::Bird, Make::OpenBgpd];
    isolated(here!(), &pair.map(Make::need), || exchange(pair, [64512, 64512], Some("s3cret")))
}

#[test]
fn frr_and_openbgpd_see_who_reflected() -> Result<()> {
    let clients = [Make::Frr, Make::OpenBgpd];
    let needs = [Make::Bird.need(), clients[0].need(), clients[1].need()];
    isolated(here!(), &needs, || reflect(Make::Bird, clients))
}

#[test]
fn bird_and_gobgp_see_who_reflected() -> Result<()> {
    let clients = [Make::Bird, Make::GoBgp];
    let needs = [Make::Frr.need(), clients[0].need(), clients[1].need()];
    isolated(here!(), &needs, || reflect(Make::Frr, clients))
}
