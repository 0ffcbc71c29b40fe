//! `bgpd` with BIRD, FRR, GoBGP and OpenBGPD from Debian's packages, each in a network namespace of its own. Both families,
//! both directions, inside an AS and between two, signed and unsigned, through resets and restarts, and as the reflector
//! between any two of them. What counts is what the peer's own client shows.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use lab::drill::{PREFIXES, Pair, wait_reflected};
use lab::here;
use lab::net::{Family, Node, Underlay};
use lab::peers::Make;
use lab::peers::ours::Bgpd;
use lab::sandbox::{Need, isolated};
use lab::speaker::{Plan, Speaker};
use lab::wait::{self, SOON};

const ASN: u32 = 64512;
const FOREIGN_ASN: u32 = 65001;
const NFT: Need = Need { name: "nftables", programs: &["nft"], package: "nftables", needs_users: false };

/// `bgpd` on the first of two nodes, `make` on the second; the peer is started first, so that ours dials.
fn pair(make: Make, peer_asn: u32, password: Option<&str>) -> Result<Pair> {
    let underlay = Underlay::new()?;
    let nodes = [underlay.node("ours")?, underlay.node("peer")?];
    let asns = [ASN, peer_asn];
    let plan = |here: usize, there: usize| {
        let plan = Plan::new(&nodes[here], asns[here]).neighbors(&nodes[here], &nodes[there], asns[there]);
        plan.each(|neighbor| match password {
            Some(password) => neighbor.password(password),
            None => neighbor,
        })
    };
    let peer = make.start(&nodes[1], plan(1, 0))?;
    let ours = Bgpd::start(&nodes[0], plan(0, 1))?;
    Ok(Pair { nodes, asns, speakers: [Box::new(ours), peer] })
}

/// Routes both ways and their withdrawal; then again, and a reset by the peer's own command brings all of it back.
fn internal(make: Make) -> Result<()> {
    let mut pair = pair(make, ASN, None)?;
    pair.exchange()?;
    pair.announce()?;
    pair.wait_routes()?;
    wait_kernel(&pair.nodes[0], &pair.nodes[1])?;
    for family in Family::BOTH {
        pair.speakers[1].reset(pair.nodes[0].address(family))?;
    }
    pair.wait_established()?;
    pair.wait_routes()?;
    wait_kernel(&pair.nodes[0], &pair.nodes[1])
}

/// The same between two ASes, with every segment signed; then the peer is killed, and started again.
fn external(make: Make) -> Result<()> {
    let mut pair = pair(make, FOREIGN_ASN, Some("s3cret"))?;
    pair.exchange()?;
    pair.announce()?;
    pair.wait_routes()?;
    pair.speakers[1].daemon().kill();
    for prefix in PREFIXES[1] {
        pair.speakers[0].wait_no_route(prefix, SOON)?;
    }
    let [ours, peer] = &pair.nodes;
    let plan = Plan::new(peer, FOREIGN_ASN).neighbors(peer, ours, ASN).network(PREFIXES[1][0]);
    pair.speakers[1] = make.start(peer, plan.each(|neighbor| neighbor.password("s3cret")))?;
    pair.speakers[1].announce(PREFIXES[1][1])?;
    pair.wait_established()?;
    pair.wait_routes()
}

/// The peer's prefixes are in our kernel, through the peer, under our protocol number.
fn wait_kernel(ours: &Node, peer: &Node) -> Result<()> {
    for (family, prefix) in Family::BOTH.into_iter().zip(PREFIXES[1]) {
        wait::until(&format!("{prefix} in the kernel"), SOON, || {
            let routes = ours.routes_to(prefix)?;
            let [route] = routes.as_slice() else { bail!("{routes:?}") };
            // FRR also names its link-local address, which is as good (RFC 2545 section 3).
            let through_peer =
                |hop: &String| *hop == peer.address(family).to_string() || hop.starts_with("fe80:");
            ensure!(route.gateways.len() == 1 && route.gateways.iter().all(through_peer), "{route:?}");
            ensure!(route.protocol == 12, "{route:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// `bgpd` as the reflector between two makes, and then one client dies.
fn reflected(makes: [Make; 2]) -> Result<()> {
    let nodes = Underlay::new()?.nodes(&["reflector", "a", "b"])?;
    let client = |index: usize| {
        let plan = Plan::new(&nodes[index], ASN).neighbors(&nodes[index], &nodes[0], ASN);
        let [v4, v6] = PREFIXES[index - 1];
        makes[index - 1].start(&nodes[index], plan.network(v4).network(v6))
    };
    let clients = [client(1)?, client(2)?];
    let plan = Plan::new(&nodes[0], ASN)
        .neighbors(&nodes[0], &nodes[1], ASN)
        .neighbors(&nodes[0], &nodes[2], ASN)
        .each(|neighbor| neighbor.client());
    let _reflector = Bgpd::start_with(&nodes[0], plan, "kernel: { install: false }\n")?;
    wait_reflected(nodes[0].v4, [&nodes[1], &nodes[2]], [&*clients[0], &*clients[1]])?;
    ensure!(nodes[0].routes_to(PREFIXES[0][0])?.is_empty(), "a reflector installed a route");
    clients[0].daemon().kill();
    for prefix in PREFIXES[0] {
        clients[1].wait_no_route(prefix, SOON)?;
    }
    Ok(())
}

#[test]
fn bird_inside_the_as() -> Result<()> {
    isolated(here!(), &[Make::Bird.need()], || internal(Make::Bird))
}

#[test]
fn bird_in_another_as_with_md5() -> Result<()> {
    isolated(here!(), &[Make::Bird.need()], || external(Make::Bird))
}

#[test]
fn frr_inside_the_as() -> Result<()> {
    isolated(here!(), &[Make::Frr.need()], || internal(Make::Frr))
}

#[test]
fn frr_in_another_as_with_md5() -> Result<()> {
    isolated(here!(), &[Make::Frr.need()], || external(Make::Frr))
}

#[test]
fn gobgp_inside_the_as() -> Result<()> {
    isolated(here!(), &[Make::GoBgp.need()], || internal(Make::GoBgp))
}

#[test]
fn gobgp_in_another_as_with_md5() -> Result<()> {
    isolated(here!(), &[Make::GoBgp.need()], || external(Make::GoBgp))
}

#[test]
fn openbgpd_inside_the_as() -> Result<()> {
    isolated(here!(), &[Make::OpenBgpd.need()], || internal(Make::OpenBgpd))
}

#[test]
fn openbgpd_in_another_as_with_md5() -> Result<()> {
    isolated(here!(), &[Make::OpenBgpd.need()], || external(Make::OpenBgpd))
}

#[test]
fn reflector_between_bird_and_frr() -> Result<()> {
    let makes = [Make::Bird, Make::Frr];
    isolated(here!(), &makes.map(Make::need), || reflected(makes))
}

#[test]
fn reflector_between_gobgp_and_openbgpd() -> Result<()> {
    let makes = [Make::GoBgp, Make::OpenBgpd];
    isolated(here!(), &makes.map(Make::need), || reflected(makes))
}

#[test]
fn reflector_between_frr_and_gobgp() -> Result<()> {
    let makes = [Make::Frr, Make::GoBgp];
    isolated(here!(), &makes.map(Make::need), || reflected(makes))
}

/// TCP lives on while the path is dead to BFD: the session ends, and is back with the path.
#[test]
fn bird_and_bfd() -> Result<()> {
    isolated(here!(), &[Make::Bird.need(), NFT], || {
        let nodes = Underlay::new()?.nodes(&["ours", "peer"])?;
        let plan = |here: usize, there: usize| {
            let plan = Plan::new(&nodes[here], ASN).neighbors(&nodes[here], &nodes[there], ASN);
            plan.each(|neighbor| neighbor.watched())
        };
        let _bird = Make::Bird.start(&nodes[1], plan(1, 0))?;
        let ours = Bgpd::start(&nodes[0], plan(0, 1))?;
        let address = |family| nodes[1].address(family);
        let seen = |family, change: &str| format!("BFD addr={} change={change}", address(family));
        for family in Family::BOTH {
            ours.wait_established(address(family))?;
            ours.daemon().wait_log(&seen(family, "Up"), SOON)?;
        }
        nodes[1].sh("nft add table inet cut\n\
                     nft add chain inet cut in '{ type filter hook input priority 0; }'\n\
                     nft add rule inet cut in udp dport 3784 drop")?;
        for family in Family::BOTH {
            ours.daemon().wait_log(&seen(family, "Failed"), SOON)?;
            ours.daemon().wait_log(&format!("session ended peer=to_peer_{}", family.word()), SOON)?;
        }
        nodes[1].sh("nft delete table inet cut")?;
        wait::until("BFD is up again", SOON, || {
            for family in Family::BOTH {
                ensure!(ours.daemon().log().matches(&seen(family, "Up")).count() > 1, "not for {family:?}");
            }
            Ok(())
        })?;
        Family::BOTH.into_iter().try_for_each(|family| ours.wait_established(address(family)))
    })
}

/// Clients that nobody configured one by one: a listen range, and our own daemon as the clients too.
#[test]
fn reflector_of_a_range_of_our_own_clients() -> Result<()> {
    isolated(here!(), &[], || {
        let nodes = Underlay::new()?.nodes(&["reflector", "a", "b"])?;
        let yaml = format!(
            "asn: {ASN}\nrouterId: {id}\nreflector: {{ clusterId: {id} }}\nkernel: {{ install: false }}\npeers:\n\
             - {{ name: v4, range: \"10.0.0.0/16\", asn: {ASN}, reflectorClient: true, families: [ipv4] }}\n\
             - {{ name: v6, range: \"fd00::/64\", asn: {ASN}, reflectorClient: true, families: [ipv6] }}\n",
            id = nodes[0].v4
        );
        let _reflector = Bgpd::start_yaml(&nodes[0], &yaml)?;
        let client = |index: usize| {
            let plan = Plan::new(&nodes[index], ASN).neighbors(&nodes[index], &nodes[0], ASN);
            let [v4, v6] = PREFIXES[index - 1];
            Bgpd::start(&nodes[index], plan.network(v4).network(v6))
        };
        let clients = [client(1)?, client(2)?];
        wait_reflected(nodes[0].v4, [&nodes[1], &nodes[2]], [&clients[0], &clients[1]])?;
        wait_kernel(&nodes[1], &nodes[2])
    })
}

/// Both ends dial at the same moment, over and over: the collision leaves exactly one session, which stays.
#[test]
fn both_ends_dialing_at_once_settle_on_one_session() -> Result<()> {
    isolated(here!(), &[], || {
        let nodes = Underlay::new()?.nodes(&["a", "b"])?;
        let start = |here: usize, there: usize| {
            let plan = Plan::new(&nodes[here], ASN).neighbors(&nodes[here], &nodes[there], ASN);
            Bgpd::start(&nodes[here], plan.network(PREFIXES[here][0]).network(PREFIXES[here][1]))
        };
        let speakers: [Box<dyn Speaker>; 2] = [Box::new(start(0, 1)?), Box::new(start(1, 0)?)];
        let pair = Pair { nodes: [nodes[0].clone(), nodes[1].clone()], asns: [ASN, ASN], speakers };
        pair.wait_established()?;
        pair.wait_routes()?;
        wait::holds("the session", Duration::from_secs(1), || {
            let state = pair.speakers[0].state(pair.nodes[1].v4.into())?;
            ensure!(state == "Established", "{state}");
            Ok(())
        })
    })
}

/// The shortest configuration: one session over IPv4 carries IPv6 too, with next hops of its own family.
#[test]
fn one_session_carries_both_families() -> Result<()> {
    isolated(here!(), &[], || {
        let nodes = Underlay::new()?.nodes(&["a", "b"])?;
        let start = |here: usize, there: usize| {
            let (other, [v4, v6]) = (&nodes[there], PREFIXES[here]);
            let yaml = format!(
                "asn: {ASN}\npeers: [ {{ name: {}, address: {}, asn: {ASN} }} ]\n\
                 advertise: [ {{ prefixes: [{v4}, \"{v6}\"] }} ]\n",
                other.name, other.v4
            );
            Bgpd::start_yaml(&nodes[here], &yaml)
        };
        let _daemons = [start(0, 1)?, start(1, 0)?];
        wait_kernel(&nodes[0], &nodes[1])
    })
}
