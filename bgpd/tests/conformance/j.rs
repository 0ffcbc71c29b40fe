//! Section J: several paths to one prefix (RFC 7911).

use anyhow::{Context, Result, ensure};

use crate::bench::{Bench, same};
use crate::open::Open;
use crate::plan::{Knob, Plan};
use crate::routes::{Route, withdraw_octets};
use crate::speaker::{C1, C2, Conn, DUT_ASN, E1, E2, N1, Who, spare};
use crate::wire::*;

crate::rows! { j1 j2 j3 j4 j5 j6 j7 j8 j9 j10 }

const P: &str = "203.0.113.0/24";
const P6: &str = "2001:db8:113::/48";

fn both_ways(who: Who) -> Open {
    who.open().add_path(&[(V4, 3), (V6, 3)])
}

/// C1 and C2 with several paths both ways.
fn pair(bench: &mut Bench) -> Result<(Conn, Conn)> {
    bench.start(Plan::six().with_all(&[C1, C2], &Knob::AddPaths(3)))?;
    Ok((bench.establish_with(C1, &both_ways(C1))?, bench.establish_with(C2, &both_ways(C2))?))
}

/// Announces with an identifier and a community to tell paths apart.
fn say(conn: &mut Conn, prefix: &str, id: u32, mark: u32) -> Result<()> {
    let route = Route::of(conn.who).community(mark);
    conn.send(&route.announce_octets(family_of(prefix), &numbered(id, prefix)))
}

fn unsay(conn: &mut Conn, prefix: &str, id: u32) -> Result<()> {
    conn.send(&withdraw_octets(family_of(prefix), &numbered(id, prefix)))
}

/// The communities of all paths.
fn marks(conn: &Conn, prefix: &str) -> Vec<u32> {
    let mut marks: Vec<u32> =
        conn.paths(prefix).iter().flat_map(|(_, told)| told.numbers(COMMUNITIES)).collect();
    marks.sort_unstable();
    marks
}

fn shows(conn: &mut Conn, prefix: &str, wanted: &[u32]) -> Result<()> {
    let reached = conn.until(&format!("paths {wanted:?} to {prefix}"), |conn| marks(conn, prefix) == wanted);
    reached.with_context(|| format!("there are {:?}", marks(conn, prefix)))
}

fn j1(bench: &mut Bench) -> Result<()> {
    let client = |n: u16| Who { host: 800 + n, asn: DUT_ASN, client: true };
    let all: Vec<(Who, u8, u8)> = (0..9).map(|n| (client(n), n as u8 / 3 + 1, n as u8 % 3 + 1)).collect();
    let whos: Vec<Who> = all.iter().map(|(who, ..)| *who).chain([E1, C1]).collect();
    let plan = all.iter().fold(Plan::of(&whos), |plan, (who, dut, _)| plan.with(*who, Knob::AddPaths(*dut)));
    bench.start(plan)?;
    let (mut e1, mut c1) = (bench.establish(E1)?, bench.establish(C1)?);
    for prefix in [P, P6] {
        e1.send(&Route::of(E1).announce(&[prefix]))?;
        c1.learn(prefix)?;
    }
    for (n, (who, dut, ours)) in all.into_iter().enumerate() {
        let mut conn = bench.establish_with(who, &who.open().add_path(&[(V4, ours), (V6, ours)]))?;
        let numbered_to_us = dut & 2 != 0 && ours & 1 != 0;
        same("identifiers in what we are told", conn.reading.numbered.contains(&V4), numbered_to_us)?;
        for prefix in [P, P6] {
            // Read under the negotiated form: a wrong one would not be this prefix.
            conn.learn(prefix).with_context(|| format!("the daemon {dut}, we {ours}"))?;
        }
        let prefix = format!("203.1.{n}.0/24");
        if ours & 2 != 0 && dut & 1 != 0 {
            say(&mut conn, &prefix, 5, 1)?;
        } else {
            conn.send(&Route::of(who).announce(&[&prefix]))?;
        }
        c1.learn(&prefix).with_context(|| format!("the daemon {dut}, we {ours}"))?;
        conn.is_up()?;
    }
    Ok(())
}

fn j2(bench: &mut Bench) -> Result<()> {
    bench.start(Plan::of(&[spare(0), spare(1), C1]).with_all(&[spare(0), spare(1)], &Knob::AddPaths(3)))?;
    let mut c1 = bench.establish(C1)?;
    for (n, value) in [(0, 0), (1, 7)] {
        let mut conn = bench.connect(spare(n))?;
        conn.handshake(&spare(n).open().add_path(&[(V4, value)]))?;
        conn.send(&Route::of(spare(n)).announce(&[P]))?;
        c1.learn(P)?;
        c1.send(&Route::of(C1).announce(&["203.0.114.0/24"]))?;
        conn.learn("203.0.114.0/24")?;
        conn.send(&crate::routes::withdraw(&[P]))?;
        c1.unlearn(P)?;
    }
    Ok(())
}

fn j3(bench: &mut Bench) -> Result<()> {
    let (mut c1, mut c2) = pair(bench)?;
    for prefix in [P, P6] {
        say(&mut c1, prefix, 1, 1)?;
        say(&mut c1, prefix, 2, 2)?;
        shows(&mut c2, prefix, &[1, 2])?;
        say(&mut c1, prefix, 2, 3)?;
        shows(&mut c2, prefix, &[1, 3])?;
        unsay(&mut c1, prefix, 1)?;
        shows(&mut c2, prefix, &[3])?;
        unsay(&mut c1, prefix, 2)?;
        shows(&mut c2, prefix, &[])?;
    }
    Ok(())
}

fn j4(bench: &mut Bench) -> Result<()> {
    let (mut c1, mut c2) = pair(bench)?;
    say(&mut c1, P, 1, 1)?;
    shows(&mut c2, P, &[1])?;
    unsay(&mut c1, P, 77)?;
    say(&mut c1, "203.0.114.0/24", 1, 1)?;
    shows(&mut c2, "203.0.114.0/24", &[1])?;
    same("withdrawals", c2.count(P).1, 0)?;
    c1.is_up()
}

fn j5(bench: &mut Bench) -> Result<()> {
    let (mut c1, mut c2) = pair(bench)?;
    say(&mut c1, P, 0, 1)?;
    say(&mut c1, P, u32::MAX, 2)?;
    shows(&mut c2, P, &[1, 2])?;
    unsay(&mut c1, P, 0)?;
    shows(&mut c2, P, &[2])?;
    unsay(&mut c1, P, u32::MAX)?;
    shows(&mut c2, P, &[])
}

fn j6(bench: &mut Bench) -> Result<()> {
    let (mut c1, mut c2) = pair(bench)?;
    for id in 1..=4 {
        say(&mut c1, P, id, id)?;
    }
    shows(&mut c2, P, &[1, 2, 3, 4])?;
    let ids = |conn: &Conn| -> Vec<(u32, Vec<u32>)> {
        conn.paths(P).into_iter().map(|(id, told)| (id, told.numbers(COMMUNITIES))).collect()
    };
    let before = ids(&c2);
    // A change of one path and a refresh move no other path to another identifier.
    say(&mut c1, P, 2, 9)?;
    shows(&mut c2, P, &[1, 3, 4, 9])?;
    c2.send(&refresh(V4, 0))?;
    unsay(&mut c1, P, 4)?;
    shows(&mut c2, P, &[1, 3, 9])?;
    for (id, mark) in before.iter().filter(|(_, mark)| [vec![1], vec![3]].contains(mark)) {
        ensure!(
            ids(&c2).contains(&(*id, mark.clone())),
            "path {mark:?} is not {id} any more: {:?}",
            ids(&c2)
        );
    }
    Ok(())
}

fn j7(bench: &mut Bench) -> Result<()> {
    bench.start(Plan::of(&[spare(0), C1]))?;
    let mut conn = bench.establish(spare(0))?;
    conn.send(&Route::of(spare(0)).announce_octets(V4, &numbered(1, P)))?;
    conn.reset(3, 10)
}

fn j8(bench: &mut Bench) -> Result<()> {
    let plan =
        Plan::six().with(C1, Knob::AddPaths(3)).with(C2, Knob::AddPaths(2)).with(C2, Knob::AddPathsMax(2));
    bench.start(plan)?;
    let (mut c1, mut c2) =
        (bench.establish_with(C1, &both_ways(C1))?, bench.establish_with(C2, &both_ways(C2))?);
    let say_pref = |conn: &mut Conn, id: u32, pref: u32| {
        conn.send(&Route::of(C1).community(id).local_pref(pref).announce_octets(V4, &numbered(id, P)))
    };
    for (id, pref) in [(1, 100), (2, 200), (3, 300), (4, 50)] {
        say_pref(&mut c1, id, pref)?;
    }
    shows(&mut c2, P, &[2, 3])?;
    say_pref(&mut c1, 1, 400)?;
    shows(&mut c2, P, &[1, 3])?;
    unsay(&mut c1, P, 3)?;
    shows(&mut c2, P, &[1, 2])?;
    let most = largest(&c2);
    ensure!(most <= 2, "{most} paths at a time");
    Ok(())
}

/// The most paths to P that stood at any time, from the changes in their order.
fn largest(conn: &Conn) -> usize {
    let mut standing = std::collections::BTreeSet::new();
    let mut most = 0;
    for change in &conn.changes {
        match change {
            crate::speaker::Change::Announced((_, id, octets)) if *octets == nlri(P) => {
                standing.insert(*id);
            }
            crate::speaker::Change::Withdrawn((_, id, octets)) if *octets == nlri(P) => {
                standing.remove(id);
            }
            _ => {}
        }
        most = most.max(standing.len());
    }
    most
}

fn j9(bench: &mut Bench) -> Result<()> {
    let (mut c1, mut c2) = pair(bench)?;
    c2.until("End-of-RIBs", |conn| conn.has_end_of_rib(V4) && conn.has_end_of_rib(V6))?;
    for id in 1..=3 {
        say(&mut c1, P6, id, id)?;
    }
    shows(&mut c2, P6, &[1, 2, 3])?;
    for (id, left) in [(2, &[1, 3][..]), (1, &[3]), (3, &[])] {
        unsay(&mut c1, P6, id)?;
        shows(&mut c2, P6, left)?;
    }
    c1.send(&end_of_rib(V4))?;
    c1.send(&end_of_rib(V6))?;
    say(&mut c1, P, 1, 1)?;
    shows(&mut c2, P, &[1])?;
    c1.is_up()
}

fn j10(bench: &mut Bench) -> Result<()> {
    let (mut c1, mut c2) = pair(bench)?;
    let (mut n1, mut e2) = (bench.establish(N1)?, bench.establish(E2)?);
    say(&mut c1, P, 1, 1)?;
    n1.send(&Route::of(N1).community(2).announce(&[P]))?;
    e2.send(&Route::of(E2).community(3).announce(&[P]))?;
    say(&mut c2, P, 1, 4)?;
    // Everybody's but its own.
    shows(&mut c1, P, &[2, 3, 4])?;
    shows(&mut c2, P, &[1, 2, 3])?;
    for (_, told) in c1.paths(P) {
        let originator = match told.numbers(COMMUNITIES)[..] {
            [2] => Some(u32::from(N1.v4())),
            [4] => Some(u32::from(C2.v4())),
            _ => None,
        };
        same("ORIGINATOR_ID", told.number(ORIGINATOR_ID), originator)?;
        same("CLUSTER_LIST", told.numbers(CLUSTER_LIST).len(), usize::from(originator.is_some()))?;
    }
    Ok(())
}
