//! The lab's own proof: real daemons with each other, no `bgpd` of ours. What these tests show is that a failure in an
//! interop test of ours is ours: each make starts, speaks, and its output is read as it means it.

use anyhow::Result;

use lab::drill::{PREFIXES, Pair, wait_reflected};
use lab::here;
use lab::net::Underlay;
use lab::peers::Make;
use lab::sandbox::isolated;
use lab::speaker::Plan;

/// Both families in both directions between two makes, seen and withdrawn.
fn exchange(makes: [Make; 2], asns: [u32; 2], password: Option<&str>) -> Result<()> {
    let underlay = Underlay::new()?;
    let nodes = [underlay.node("a")?, underlay.node("b")?];
    let start = |here: usize, there: usize| {
        let mut plan =
            Plan::new(&nodes[here], asns[here]).neighbors(&nodes[here], &nodes[there], asns[there]);
        if let Some(password) = password {
            plan = plan.each(|neighbor| neighbor.password(password));
        }
        makes[here].start(&nodes[here], plan)
    };
    let speakers = [start(0, 1)?, start(1, 0)?];
    Pair { nodes, asns, speakers }.exchange()
}

/// `reflector` between two clients: what they see of RFC 4456.
fn reflect(reflector: Make, clients: [Make; 2]) -> Result<()> {
    let nodes = Underlay::new()?.nodes(&["rr", "a", "b"])?;
    let plan = Plan::new(&nodes[0], 64512)
        .neighbors(&nodes[0], &nodes[1], 64512)
        .neighbors(&nodes[0], &nodes[2], 64512)
        .each(|neighbor| neighbor.client());
    let _reflector = reflector.start(&nodes[0], plan)?;
    let start = |make: Make, index: usize| {
        let [v4, v6] = PREFIXES[index - 1];
        let plan = Plan::new(&nodes[index], 64512).neighbors(&nodes[index], &nodes[0], 64512);
        make.start(&nodes[index], plan.network(v4).network(v6))
    };
    let speakers = [start(clients[0], 1)?, start(clients[1], 2)?];
    wait_reflected(nodes[0].v4, [&nodes[1], &nodes[2]], [&*speakers[0], &*speakers[1]])
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
