//! Section G: route reflection (RFC 4456).

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::bench::{Bench, Six, same};
use crate::crowd::{Crowd, Member};
use crate::plan::{Knob, Plan};
use crate::routes::{Route, withdraw};
use crate::speaker::{C1, C2, CLUSTER, Conn, DUT_ID, E1, N1, N2, Who, client};
use crate::wire::*;

crate::rows! { g1 g2 g3 g4 g5 g6 g7 g8 g9 g10 g11 g12 g13 g14 g15 g16 }

const P: &str = "203.0.113.0/24";
const P6: &str = "2001:db8:113::/48";

fn id(who: Who) -> u32 {
    u32::from(who.v4())
}

/// Nothing of `prefix` came to `conn`, or only with the mark by which its own originator discards it.
fn not_back(conn: &Conn, prefix: &str) -> Result<()> {
    let marked = conn.told(prefix).is_none_or(|told| told.number(ORIGINATOR_ID) == Some(id(conn.who)));
    ensure!(marked, "{prefix} came back: {:?}", conn.told(prefix));
    Ok(())
}

fn g1(bench: &mut Bench) -> Result<()> {
    let Six { mut e1, mut c1, mut c2, mut n1, .. } = bench.six(Plan::six())?;
    for prefix in [P, P6] {
        c1.send(&Route::of(C1).path(&[65_300]).announce(&[prefix]))?;
        c2.learn(prefix)?;
        n1.learn(prefix)?;
        e1.learn(prefix)?;
    }
    bench.settle(&mut c2, &mut c1)?;
    not_back(&c1, P)?;
    not_back(&c1, P6)
}

fn g2(bench: &mut Bench) -> Result<()> {
    let Six { mut e1, mut c1, mut c2, mut n1, mut n2, .. } = bench.six(Plan::six())?;
    for prefix in [P, P6] {
        n1.send(&Route::of(N1).path(&[65_300]).announce(&[prefix]))?;
        for observer in [&mut c1, &mut c2, &mut e1] {
            observer.learn(prefix)?;
        }
    }
    bench.settle(&mut c1, &mut n2)?;
    same("told to another that is no client", (n2.count(P), n2.count(P6)), ((0, 0), (0, 0)))
}

fn g3(bench: &mut Bench) -> Result<()> {
    let Six { mut e1, c1, c2, n1, n2, .. } = bench.six(Plan::six())?;
    let mut observers = [c1, c2, n1, n2];
    for prefix in [P, P6] {
        e1.send(&Route::of(E1).announce(&[prefix]))?;
        for observer in &mut observers {
            let told = observer.learn(prefix)?;
            let marked = told.value(ORIGINATOR_ID).is_some() || told.value(CLUSTER_LIST).is_some();
            ensure!(!marked, "reflected though external");
        }
    }
    Ok(())
}

fn g4(bench: &mut Bench) -> Result<()> {
    bench.start(Plan::six())?;
    // Its BGP identifier is not its address.
    let mut c1 = bench.establish_with(C1, &crate::open::Open { id: [7, 7, 7, 7].into(), ..C1.open() })?;
    let (c2, n1) = (bench.establish(C2)?, bench.establish(N1)?);
    c1.send(&Route::of(C1).announce(&[P]))?;
    for mut observer in [c2, n1] {
        let told = observer.learn(P)?;
        same("ORIGINATOR_ID", told.number(ORIGINATOR_ID), Some(0x0707_0707))?;
        same("CLUSTER_LIST", told.numbers(CLUSTER_LIST), vec![CLUSTER])?;
    }
    Ok(())
}

fn g5(bench: &mut Bench) -> Result<()> {
    let Six { mut c1, mut c2, .. } = bench.six(Plan::six())?;
    c1.send(&Route::of(C1).originator([5; 4]).clusters(&[0x0101_0101]).announce(&[P]))?;
    let told = c2.learn(P)?;
    same("ORIGINATOR_ID", told.number(ORIGINATOR_ID), Some(0x0505_0505))?;
    same("CLUSTER_LIST", told.numbers(CLUSTER_LIST), vec![CLUSTER, 0x0101_0101])
}

/// The route is seen, then comes with a mark of the daemon's own, and must be gone.
fn looped(bench: &mut Bench, marks: &[Route]) -> Result<()> {
    let Six { mut c1, mut c2, mut n1, .. } = bench.six(Plan::six())?;
    for mark in marks {
        c1.send(&Route::of(C1).announce(&[P]))?;
        c2.learn(P)?;
        n1.learn(P)?;
        c1.send(&mark.announce(&[P]))?;
        c2.unlearn(P)?;
        n1.unlearn(P)?;
        c1.is_up()?;
    }
    Ok(())
}

fn g6(bench: &mut Bench) -> Result<()> {
    looped(bench, &[Route::of(C1).originator(DUT_ID.octets())])
}

fn g7(bench: &mut Bench) -> Result<()> {
    let marks = [0, 4, 9].map(|at| {
        let mut clusters: Vec<u32> = (1..=10).collect();
        clusters[at] = CLUSTER;
        Route::of(C1).originator([5; 4]).clusters(&clusters)
    });
    looped(bench, &marks)
}

fn g8(bench: &mut Bench) -> Result<()> {
    let Six { mut c1, mut c2, .. } = bench.six(Plan::six())?;
    let value: Vec<u8> = (0..200).collect();
    let route = Route::of(C1)
        .path(&[65_300, 65_301])
        .med(77)
        .local_pref(321)
        .community(0x0001_0002)
        .set(OPTIONAL_TRANSITIVE, EXT_COMMUNITIES, &[0, 2, 0, 1, 0, 0, 0, 9])
        .set(OPTIONAL_TRANSITIVE, LARGE_COMMUNITIES, &[3; 12])
        .set(OPTIONAL_TRANSITIVE | PARTIAL, 200, &value);
    for prefix in [P, P6] {
        c1.send(&route.announce(&[prefix]))?;
        let mut told = c2.learn(prefix)?;
        told.attrs.retain(|attr| ![ORIGINATOR_ID, CLUSTER_LIST].contains(&attr.code));
        let mut sent = attributes(&route.block(&[]))?;
        sent.sort_by_key(|attr| attr.code);
        told.attrs.sort_by_key(|attr| attr.code);
        same("attributes", told.attrs, sent)?;
        let hop = if prefix == P { C1.v4().octets().to_vec() } else { C1.v6().octets().to_vec() };
        same("next hop", told.next_hop, hop)?;
    }
    Ok(())
}

fn g9(bench: &mut Bench) -> Result<()> {
    let Six { mut c1, mut c2, .. } = bench.six(Plan::six())?;
    c1.send(&Route::of(C1).announce(&[P]))?;
    same("next hop", c2.learn(P)?.next_hop, C1.v4().octets().to_vec())?;
    let Six { mut c1, mut c2, .. } = bench.six(Plan::six().with(C2, Knob::NextHopSelf))?;
    c1.send(&Route::of(C1).announce(&[P]))?;
    same("next hop when forced", c2.learn(P)?.next_hop, DUT_ID.octets().to_vec())
}

fn g10(bench: &mut Bench) -> Result<()> {
    let Six { mut c1, mut e1, .. } = bench.six(Plan::six())?;
    c1.send(&Route::of(C1).originator([5; 4]).clusters(&[1]).announce(&[P]))?;
    let told = e1.learn(P)?;
    ensure!(
        told.value(ORIGINATOR_ID).is_none() && told.value(CLUSTER_LIST).is_none(),
        "to another AS: {told:?}"
    );
    Ok(())
}

fn g11(bench: &mut Bench) -> Result<()> {
    let mut plan = Plan::six();
    plan.own_cluster_id = false;
    let Six { mut c1, mut n1, mut c2, .. } = bench.six(plan)?;
    c1.send(&Route::of(C1).announce(&[P]))?;
    same("CLUSTER_LIST by default", c2.learn(P)?.numbers(CLUSTER_LIST), vec![u32::from(DUT_ID)])?;
    // N1 as another reflector, of the same cluster and of another.
    let same_cluster = Route::of(N1).originator([5; 4]).clusters(&[u32::from(DUT_ID)]);
    n1.send(&same_cluster.announce(&["203.0.114.0/24"]))?;
    n1.send(&Route::of(N1).originator([5; 4]).clusters(&[2]).announce(&["203.0.115.0/24"]))?;
    c2.learn("203.0.115.0/24")?;
    bench.settle(&mut n1, &mut c2)?;
    ensure!(c2.told("203.0.114.0/24").is_none(), "a reflection of its own cluster was taken");
    Ok(())
}

fn g12(bench: &mut Bench) -> Result<()> {
    let Six { mut c1, mut c2, mut n1, .. } = bench.six(Plan::six())?;
    let best = |told: &Told, want: u32| told.numbers(COMMUNITIES) == [want];
    c1.send(&Route::of(C1).originator([9; 4]).community(1).announce(&[P]))?;
    c2.learn_that(P, "C1's", |told| best(told, 1))?;
    // N1's identifier is 10.0.0.31, its ORIGINATOR_ID lower than C1's.
    n1.send(&Route::of(N1).originator([8; 4]).community(2).announce(&[P]))?;
    c2.learn_that(P, "N1's, by ORIGINATOR_ID", |told| best(told, 2))?;
    n1.send(&Route::of(N1).originator([9; 4]).clusters(&[1]).community(2).announce(&[P]))?;
    c2.learn_that(P, "C1's, by CLUSTER_LIST", |told| best(told, 1))?;
    c1.send(&Route::of(C1).originator([9; 4]).clusters(&[1, 2]).community(1).announce(&[P]))?;
    c2.learn_that(P, "N1's, by CLUSTER_LIST", |told| best(told, 2)).map(drop)
}

fn g13(bench: &mut Bench) -> Result<()> {
    let Six { mut e1, mut n1, mut n2, .. } = bench.six(Plan::six())?;
    n1.send(&Route::of(N1).announce(&[P]))?;
    let mut plan = bench.plan();
    plan.peers.iter_mut().filter(|peer| peer.who == N2).for_each(|peer| peer.client = true);
    bench.reconfigure(plan.clone())?;
    let mut n2 = match n2.until("the route or an end", |conn| conn.told(P).is_some() || conn.end.is_some()) {
        Ok(()) if n2.end.is_none() => n2,
        _ => {
            n2.reset(6, 6)?;
            bench.establish(N2)?
        }
    };
    n2.learn(P)?;
    plan.peers.iter_mut().filter(|peer| peer.who == N2).for_each(|peer| peer.client = false);
    bench.reconfigure(plan)?;
    n2.until("withdrawn or an end", |conn| conn.told(P).is_none() || conn.end.is_some())?;
    n1.is_up()?;
    e1.is_up()
}

fn g14(bench: &mut Bench) -> Result<()> {
    let Six { mut c1, mut c2, mut n1, .. } = bench.six(Plan::six())?;
    c2.send(&Route::of(C2).community(2).announce(&[P]))?;
    c1.learn(P)?;
    c1.send(&Route::of(C1).community(1).announce(&[P]))?;
    let is = |want: u32| move |told: &Told| told.numbers(COMMUNITIES) == [want];
    n1.learn_that(P, "C1's", is(1))?;
    c2.learn_that(P, "C1's", is(1))?;
    // C1's own is the best now, and it knows that one: what it had of C2 goes.
    c1.until("C2's route withdrawn", |conn| {
        conn.told(P).is_none_or(|told| told.number(ORIGINATOR_ID) == Some(id(C1)))
    })?;
    c1.send(&withdraw(&[P]))?;
    c1.learn_that(P, "C2's", is(2))?;
    c2.unlearn(P).or_else(|_| not_back(&c2, P))
}

fn g15(bench: &mut Bench) -> Result<()> {
    let daemons = crate::dut::reflectors(bench.make)?;
    let meet = |who: Who, host: u8| -> Result<Conn> {
        let mut conn = bench.connect_from(who, who.address(), [10, 0, 0, host].into(), |_| Ok(()))?;
        conn.handshake(&who.open())?;
        Ok(conn)
    };
    let (mut first, mut middle, mut last) = (meet(C1, 1)?, meet(N1, 2)?, meet(C2, 4)?);
    // The mesh comes up meanwhile; the route shows when it has.
    first.send(&Route::of(C1).announce(&[P]))?;
    for (observer, reflectors) in [(&mut middle, 2), (&mut last, 3)] {
        let told = observer.learn(P)?;
        let clusters = told.numbers(CLUSTER_LIST);
        ensure!(clusters.len() <= reflectors, "a long way: {clusters:?}");
    }
    for round in 1..4 {
        first.send(&withdraw(&[P]))?;
        for observer in [&mut middle, &mut last] {
            observer.unlearn(P)?;
            // No other path is tried on the way: one pass, one withdrawal.
            observer.pump(Duration::from_millis(100), |_| false)?;
            same("announcements and withdrawals", observer.count(P), (round, round))?;
        }
        first.send(&Route::of(C1).announce(&[P]))?;
        middle.learn(P)?;
        last.learn(P)?;
    }
    ensure!(first.told(P).is_none(), "its own route came back to the first");
    daemons.iter().try_for_each(|daemon| daemon.alive())
}

fn g16(bench: &mut Bench) -> Result<()> {
    const LONG: Duration = Duration::from_secs(120);
    let whos: Vec<Who> = (0..crate::m2::count(120)?).map(client).collect();
    bench.start(Plan::of(&whos))?;
    let mut crowd = Crowd::meet(bench, &whos, Who::open)?.beating(Duration::from_secs(10));
    crowd.converge(LONG)?;
    let others = whos.len() - 1;
    ensure!(
        crowd.members.iter().all(|member| member.tally.withdrawn == 0),
        "withdrawals before anybody left"
    );
    crowd.leave()?;
    crowd.until("the route of the one that left withdrawn", LONG, |member| member.tally.standing < others)?;
    // Exactly one withdrawal, also when everything behind it has come.
    let first: &mut Member = &mut crowd.members[0];
    first.say(&Route::of(whos[0]).announce(&["20.255.255.0/24"]))?;
    crowd.until("the last route", LONG, |member| member.who == whos[0] || member.tally.standing == others)?;
    for member in &crowd.members {
        same(&format!("withdrawals to {}", member.who.name()), member.tally.withdrawn, 1)?;
    }
    crowd.are_up()
}
