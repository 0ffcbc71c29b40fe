//! Section I: route refresh (RFC 2918, RFC 7313).

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::bench::{Bench, same};
use crate::open::{ENHANCED_REFRESH, Open};
use crate::plan::{Knob, Plan};
use crate::routes::{Route, many};
use crate::speaker::{C1, C2, Change, Conn, E1, E2, Heard, N1, Who, spare};
use crate::wire::*;

crate::rows! { i1 i2 i3 i4 i5 i6 i7 i8 i9 i10 i11 }

const BEGIN: u8 = 1;
const END: u8 = 2;
const P: &str = "203.0.113.0/24";

fn enhanced(who: Who) -> Open {
    who.open().with(ENHANCED_REFRESH, &[])
}

/// C1 with fifty routes of E1 in each family, and E1.
fn fed(bench: &mut Bench, open: &Open) -> Result<(Conn, Conn)> {
    bench.start(Plan::six())?;
    let (mut e1, mut c1) = (bench.establish(E1)?, bench.establish_with(C1, open)?);
    e1.send(&Route::of(E1).announce(&many(V4, 1, 50)))?;
    e1.send(&Route::of(E1).announce(&many(V6, 1, 50)))?;
    bench.settle(&mut e1, &mut c1)?;
    c1.until("the End-of-RIBs", |conn| conn.has_end_of_rib(V4) && conn.has_end_of_rib(V6))?;
    c1.until("all routes", |conn| announced(conn, V4) >= 52 && announced(conn, V6) >= 50)?;
    c1.changes.clear();
    Ok((e1, c1))
}

fn announced(conn: &Conn, family: Family) -> usize {
    conn.changes
        .iter()
        .filter(|change| matches!(change, Change::Announced((of, ..)) if *of == family))
        .count()
}

fn withdrawn(conn: &Conn) -> usize {
    conn.changes.iter().filter(|change| matches!(change, Change::Withdrawn(_))).count()
}

fn i1(bench: &mut Bench) -> Result<()> {
    let (_e1, mut c1) = fed(bench, &C1.open())?;
    for (family, count) in [(V4, 52), (V6, 50)] {
        let had = c1.rib.clone();
        c1.changes.clear();
        c1.send(&refresh(family, 0))?;
        c1.until("all routes again", |conn| announced(conn, family) >= count)?;
        same("routes", c1.rib == had, true)?;
        same("withdrawals", withdrawn(&c1), 0)?;
    }
    Ok(())
}

fn i2(bench: &mut Bench) -> Result<()> {
    let (mut e1, mut c1) = fed(bench, &C1.open().families(&[V4, V6]))?;
    for family in [VPNV4, (25, 65), (0, 0), (65535, 255)] {
        c1.send(&refresh(family, 0))?;
    }
    bench.settle(&mut e1, &mut c1)?;
    same("routes again", announced(&c1, V4) + announced(&c1, V6), 2)?;
    c1.is_up()
}

fn i3(bench: &mut Bench) -> Result<()> {
    let (_e1, mut c1) = fed(bench, &enhanced(C1))?;
    c1.send(&refresh(V4, 0))?;
    c1.until("EoRR", |conn| conn.changes.contains(&Change::Refresh(END)))?;
    let begin = c1.changes.iter().position(|change| *change == Change::Refresh(BEGIN));
    ensure!(begin == Some(0), "BoRR is not first: {:?}", c1.changes.first());
    ensure!(c1.changes.last() == Some(&Change::Refresh(END)), "{:?} behind EoRR", c1.changes.last());
    same("routes between", announced(&c1, V4), 52)?;
    ensure!(!c1.has_end_of_rib(V4), "End-of-RIB in a refresh");
    Ok(())
}

/// E1 with enhanced refresh has announced ten routes, which C1 has.
fn refreshing(bench: &mut Bench, knob: Knob) -> Result<(Conn, Conn, Vec<String>)> {
    bench.start(Plan::six().with(E1, knob))?;
    let (mut e1, mut c1) = (bench.establish_with(E1, &enhanced(E1))?, bench.establish(C1)?);
    let prefixes = many(V4, 1, 10);
    e1.send(&Route::of(E1).announce(&prefixes))?;
    bench.settle(&mut e1, &mut c1)?;
    c1.changes.clear();
    Ok((e1, c1, prefixes))
}

fn left(conn: &Conn, prefixes: &[String]) -> usize {
    prefixes.iter().filter(|prefix| conn.told(prefix).is_some()).count()
}

fn i4(bench: &mut Bench) -> Result<()> {
    let (mut e1, mut c1, prefixes) = refreshing(bench, Knob::HoldSecs(90))?;
    e1.send(&refresh(V4, BEGIN))?;
    e1.send(&Route::of(E1).announce(&prefixes[..5]))?;
    bench.settle(&mut e1, &mut c1)?;
    same("withdrawn before EoRR", withdrawn(&c1), 0)?;
    e1.send(&refresh(V4, END))?;
    c1.until("the rest withdrawn", |conn| left(conn, &prefixes) == 5)?;
    same("the repeated ones", left(&c1, &prefixes[..5]), 5)
}

fn i5(bench: &mut Bench) -> Result<()> {
    let (mut e1, mut c1, prefixes) = refreshing(bench, Knob::HoldSecs(90))?;
    e1.send(&refresh(V4, END))?;
    bench.settle(&mut e1, &mut c1)?;
    same("withdrawn by EoRR alone", withdrawn(&c1), 0)?;
    // What was repeated before the second BoRR counts as not repeated.
    e1.send(&refresh(V4, BEGIN))?;
    e1.send(&Route::of(E1).announce(&prefixes[..5]))?;
    e1.send(&refresh(V4, BEGIN))?;
    e1.send(&Route::of(E1).announce(&prefixes[5..]))?;
    bench.settle(&mut e1, &mut c1)?;
    e1.send(&refresh(V4, END))?;
    c1.until("the rest withdrawn", |conn| left(conn, &prefixes) == 5)?;
    same("the repeated ones", left(&c1, &prefixes[5..]), 5)
}

fn i6(bench: &mut Bench) -> Result<()> {
    let (mut e1, mut c1, prefixes) = refreshing(bench, Knob::RefreshSecs(2))?;
    let began = Instant::now();
    e1.send(&refresh(V4, BEGIN))?;
    e1.send(&Route::of(E1).announce(&prefixes[..5]))?;
    c1.until("the rest withdrawn", |conn| left(conn, &prefixes) == 5)?;
    let took = began.elapsed();
    ensure!(took > Duration::from_millis(1500) && took < Duration::from_secs(4), "took {took:?}");
    e1.is_up()
}

fn i7(bench: &mut Bench) -> Result<()> {
    bench.start(Plan::six())?;
    let (mut e1, mut c1) = (bench.establish(E1)?, bench.establish(C1)?);
    e1.send(&Route::of(E1).announce(&[P]))?;
    c1.learn(P)?;
    for subtype in [9, 255, BEGIN, END] {
        e1.send(&refresh(V4, subtype))?;
        bench.settle(&mut e1, &mut c1)?;
        same("heard of the route", c1.count(P), (1, 0))?;
    }
    e1.is_up()
}

fn i8(bench: &mut Bench) -> Result<()> {
    let whos: Vec<Who> = (0..6).map(spare).collect();
    bench.start(Plan::of(&whos))?;
    let mut n = 0;
    for subtype in [BEGIN, END] {
        for body in [&[0, 1, subtype][..], &[0, 1, subtype, 1, 0]] {
            let mut conn = bench.establish_with(spare(n), &enhanced(spare(n)))?;
            let whole = message(REFRESH, body);
            conn.send(&whole)?;
            conn.reset_with(7, 1, &whole)?;
            n += 1;
        }
    }
    for body in [&[0, 1, 0][..], &[0, 1, 0, 1, 0]] {
        let mut conn = bench.establish(spare(n))?;
        conn.send(&message(REFRESH, body))?;
        conn.reset_by(&[(1, 2), (7, 1)])?;
        n += 1;
    }
    Ok(())
}

fn i9(bench: &mut Bench) -> Result<()> {
    bench.start(Plan::six())?;
    let (mut e1, mut c2) = (bench.establish(E1)?, bench.establish(C2)?);
    for (n, chunk) in (0..).zip(many(V4, 1, 10_000).chunks(20)) {
        e1.send(&Route::of(E1).path(&[E1.asn, 100_000 + n]).announce(chunk))?;
    }
    bench.settle(&mut e1, &mut c2)?;
    let mut c1 = bench.connect(C1)?;
    c1.handshake(&C1.open())?;
    c1.send(&refresh(V4, 0))?;
    c1.until("everything, and the End-of-RIB", |conn| conn.rib.len() >= 10_002 && conn.has_end_of_rib(V4))?;
    c1.changes.clear();
    bench.settle(&mut e1, &mut c1)?;
    same("withdrawn", withdrawn(&c1), 0)?;
    same("routes", c1.rib.keys().filter(|(family, ..)| *family == V4).count() >= 10_002, true)
}

fn i10(bench: &mut Bench) -> Result<()> {
    bench.start(Plan::six().with(N1, Knob::HoldSecs(3)))?;
    let (mut e1, mut c1) = (bench.establish(E1)?, bench.establish(C1)?);
    for chunk in many(V4, 1, 2000).chunks(500) {
        e1.send(&Route::of(E1).announce(chunk))?;
    }
    bench.settle(&mut e1, &mut c1)?;
    let mut n1 = bench.establish(N1)?;
    n1.until("everything", |conn| conn.rib.len() >= 2000)?;
    let (heard, began) = (n1.heard.len(), Instant::now());
    c1.changes.clear();
    for ten in 1..=100 {
        c1.send(&refresh(V4, 0).repeat(10))?;
        c1.pump((Duration::from_millis(10) * ten).saturating_sub(began.elapsed()), |_| false)?;
    }
    n1.pump(Duration::from_millis(1500), |_| false)?;
    let times = [began].into_iter().chain(n1.heard[heard..].iter().map(|(at, _)| *at)).collect::<Vec<_>>();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    ensure!(
        times.len() > 2 && longest < Duration::from_millis(1500),
        "another neighbour heard nothing for {longest:?}"
    );
    bench.settle(&mut e1, &mut c1)?;
    // A thousand answers would be two million routes; one in twenty is bound enough.
    ensure!(announced(&c1, V4) < 100_000, "{} routes told again", announced(&c1, V4));
    c1.is_up()?;
    n1.is_up()
}

fn i11(bench: &mut Bench) -> Result<()> {
    bench.start(Plan::six())?;
    let (mut e1, mut e2, mut c1) = (bench.establish(E1)?, bench.establish(E2)?, bench.establish(C1)?);
    let prefixes = ["203.0.113.0/24", "198.51.100.0/24"];
    e1.send(&Route::of(E1).announce(&prefixes))?;
    prefixes.iter().try_for_each(|prefix| c1.learn(prefix).map(drop))?;
    bench.reconfigure(Plan::six().with(E1, Knob::ImportOnly("203.0.112.0/20")))?;
    answer_refreshes(&mut e1, &prefixes, &mut c1, |conn| conn.told(prefixes[1]).is_none())?;
    bench.reconfigure(Plan::six())?;
    answer_refreshes(&mut e1, &prefixes, &mut c1, |conn| conn.told(prefixes[1]).is_some())?;
    ensure!(c1.told(prefixes[0]).is_some() && c1.count(prefixes[0]).1 == 0, "the other route was touched");
    e1.is_up()?;
    e2.is_up()
}

/// Tells the routes again as often as the daemon asks, until the observer sees what it should.
fn answer_refreshes(
    from: &mut Conn,
    prefixes: &[&str],
    to: &mut Conn,
    done: impl Fn(&Conn) -> bool,
) -> Result<()> {
    let began = Instant::now();
    let mut answered = 0;
    while !to.pump(Duration::from_millis(50), &done)? {
        ensure!(began.elapsed() < Duration::from_secs(8), "the change of policy shows no effect");
        from.pump(Duration::from_millis(1), |_| false)?;
        let asked = from.heard.iter().filter(|(_, heard)| matches!(heard, Heard::Refresh(V4, 0))).count();
        if asked > answered {
            answered = asked;
            from.send(&Route::of(from.who).announce(prefixes))?;
        }
        from.is_up()?;
    }
    Ok(())
}
