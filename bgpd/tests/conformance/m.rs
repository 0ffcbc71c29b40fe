//! Section M: many neighbours, and one of them against the others. Every count is small enough for each change of the code
//! and can be raised: `CONFORMANCE_SESSIONS=5000`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::shell;

use crate::bench::{Bench, same};
use crate::dut::{NO_WORD, clock};
use crate::k::KEPT;
use crate::plan::{Knob, Peer, Plan};
use crate::routes::{Route, many};
use crate::speaker::{C1, Change, Conn, DUT_ID, E1, E2, Heard, N1, Who, client, spare};
use crate::wire::*;

crate::rows! { m1 m2 m3 m4 m5 m6 m7 m8 }

const P: &str = "203.0.113.0/24";

/// As many as asked for, or this many.
fn count(usual: u16) -> Result<u16> {
    bgpd::sys::raise_file_limit()?;
    Ok(std::env::var("CONFORMANCE_SESSIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual))
}

fn clients(count: u16) -> Vec<Who> {
    (0..count).map(client).collect()
}

/// All say OPEN before any of them listens.
fn all_at_once(bench: &Bench, whos: &[Who], open: impl Fn(Who) -> crate::open::Open) -> Result<Vec<Conn>> {
    let mut conns = Vec::new();
    for who in whos {
        let mut conn = bench.connect(*who)?;
        conn.send(&open(*who).octets())?;
        conns.push(conn);
    }
    for conn in &mut conns {
        conn.until("OPEN and KEEPALIVE", |conn| {
            conn.heard.iter().any(|(_, heard)| matches!(heard, Heard::Keepalive))
        })?;
        conn.send(&keepalive())?;
    }
    Ok(conns)
}

fn m1(bench: &mut Bench) -> Result<()> {
    let whos = clients(count(300)?);
    let plan = Plan::of(&whos).with_all(&whos, &Knob::HoldSecs(9));
    bench.start(plan)?;
    let began = Instant::now();
    let mut conns = all_at_once(bench, &whos, Who::open)?;
    for conn in &mut conns {
        conn.until("End-of-RIB", |conn| conn.has_end_of_rib(V4))?;
    }
    ensure!(began.elapsed() < Duration::from_secs(30), "all established after {:?}", began.elapsed());
    // Two rounds of keepalives, watched on some of them.
    for (n, conn) in conns.iter_mut().enumerate() {
        conn.send(&keepalive())?;
        conn.heard.clear();
        if n % 100 != 0 {
            continue;
        }
        let (mut last, mut beats) = (Instant::now(), 0);
        while beats < 2 {
            let had = conn.heard.len();
            conn.until_within(
                "a KEEPALIVE within a third of 9 s and one more",
                Duration::from_secs(4),
                |conn| conn.heard.len() > had,
            )?;
            ensure!(last.elapsed() < Duration::from_secs(4), "a KEEPALIVE after {:?}", last.elapsed());
            (last, beats) = (Instant::now(), beats + 1);
            conn.send(&keepalive())?;
        }
    }
    Ok(())
}

/// Each announces a prefix of its own, and waits for everybody's.
fn converge(conns: &mut [Conn]) -> Result<()> {
    let others = conns.len() - 1;
    for (n, conn) in conns.iter_mut().enumerate() {
        conn.send(&Route::of(conn.who).announce(&[format!("20.{}.{}.0/24", n / 256, n % 256)]))?;
        conn.send(&end_of_rib(V4))?;
        conn.send(&end_of_rib(V6))?;
    }
    for conn in conns {
        conn.until_within("everybody's prefix", Duration::from_secs(60), |conn| conn.rib.len() >= others)?;
    }
    Ok(())
}

fn m2(bench: &mut Bench) -> Result<()> {
    let whos = clients(count(150)?);
    let plan = Plan::of(&whos).with_all(&whos, &Knob::Graceful(60));
    bench.start(plan.alone().more("restart: { waitForUnreachable: 10s, selectionDeferral: 60s }\n"))?;
    let open = |who: Who| who.open().graceful(0, 60, &[(V4, 0x80), (V6, 0x80)]);
    let mut before = all_at_once(bench, &whos, open)?;
    converge(&mut before)?;
    bench.restart()?;
    let mut after = all_at_once(bench, &whos, open)?;
    converge(&mut after)?;
    for (old, new) in before.iter().zip(&mut after) {
        new.until("End-of-RIB", |conn| conn.has_end_of_rib(V4))?;
        let end = new.changes.iter().position(|change| *change == Change::EndOfRib(V4));
        let told_before_the_end = new.changes.iter().take(end.unwrap_or(0));
        let routes = told_before_the_end.filter(|change| matches!(change, Change::Announced(_))).count();
        // Whatever is not among them a client would drop at End-of-RIB.
        ensure!(
            routes >= old.rib.len(),
            "{} routes before End-of-RIB, {} before the restart",
            routes,
            old.rib.len()
        );
        ensure!(!new.changes.iter().any(|change| matches!(change, Change::Withdrawn(_))), "withdrawals");
    }
    Ok(())
}

fn m3(bench: &mut Bench) -> Result<()> {
    let whos = clients(count(120)?);
    let deaf_count = whos.len() / 10;
    let (deaf, hearing) = whos.split_at(deaf_count);
    let mut plan = Plan::of(&whos).with_all(deaf, &Knob::SendHoldSecs(6)).with_all(deaf, &Knob::HoldSecs(3));
    plan.peers.push(Peer::new(E1));
    bench.start(plan)?;
    let small = |socket: &socket2::Socket| Ok(socket.set_recv_buffer_size(4096)?);
    let mut blocked = Vec::new();
    for who in deaf {
        let mut conn = bench.connect_from(*who, who.address(), DUT_ID.into(), small)?;
        conn.handshake(&who.open())?;
        blocked.push(conn);
    }
    let mut conns = all_at_once(bench, hearing, Who::open)?;
    let mut source = bench.establish(E1)?;
    let began = Instant::now();
    for (n, chunk) in (0..).zip(many(V4, 1, 6_000).chunks(4)) {
        let asns: Vec<u32> = [E1.asn].into_iter().chain((0..60).map(|k| 100_000 + n + k)).collect();
        source.send(&Route::of(E1).path(&asns).announce(chunk))?;
    }
    for conn in &mut conns {
        conn.until_within("all routes", Duration::from_secs(30), |conn| conn.rib.len() >= 6_000)?;
    }
    let took = began.elapsed();
    ensure!(took < Duration::from_secs(20), "took {took:?} beside neighbours that read nothing");
    let rss = bench.dut()?.rss_kb()?;
    ensure!(rss < 300_000, "{rss} kB");
    for conn in &mut blocked {
        lab::wait::until("the deaf ones are dropped", Duration::from_secs(25), || {
            let alive = conn.poke(&keepalive())?;
            ensure!(!alive, "still open");
            Ok(())
        })?;
    }
    conns.iter_mut().take(20).try_for_each(|conn| conn.is_up())
}

fn m4(bench: &mut Bench) -> Result<()> {
    bench.start(Plan::six().with(N1, Knob::HoldSecs(3)))?;
    let (mut e1, mut c1, mut n1) = (bench.establish(E1)?, bench.establish(C1)?, bench.establish(N1)?);
    for chunk in many(V4, 1, 2_000).chunks(900) {
        e1.send(&Route::of(E1).announce(chunk))?;
    }
    bench.settle(&mut e1, &mut c1)?;
    let began = Instant::now();
    let mut dumps = 0;
    while began.elapsed() < Duration::from_secs(5) {
        let dump = bench.dut()?.tell(&["routes", "best", "-o", "json"])?;
        ensure!(dump.len() > 100_000, "a dump of {} octets", dump.len());
        dumps += 1;
        n1.send(&keepalive())?;
        n1.pump(Duration::from_millis(1), |_| false)?;
    }
    ensure!(dumps >= 5, "{dumps} dumps");
    n1.is_up()?;
    c1.is_up()
}

fn m5(bench: &mut Bench) -> Result<()> {
    let whos = clients(count(60)?.min(1000));
    let rounds = 30;
    let base = Plan::of(&whos);
    let mut more = base.clone();
    more.peers.push(Peer::new(spare(0)));
    bench.start(base.clone())?;
    let mut conns = all_at_once(bench, &whos, Who::open)?;
    converge(&mut conns)?;
    conns.iter_mut().for_each(|conn| conn.changes.clear());
    for _ in 0..rounds {
        bench.reconfigure(more.clone())?;
        let mut added = bench.establish(spare(0))?;
        bench.reconfigure(base.clone())?;
        added.ends()?;
    }
    for conn in &mut conns {
        conn.is_up()?;
        same("told again", conn.changes.len(), 0)?;
    }
    Ok(())
}

fn m6(bench: &mut Bench) -> Result<()> {
    bench.start(Plan::six())?;
    let (mut bad, mut e2, mut c1) = (bench.establish(E1)?, bench.establish(E2)?, bench.establish(C1)?);
    let mut route = Route::of(E1);
    route.raw(ORIGIN, attr(WELL_KNOWN, ORIGIN, &[9]));
    let broken = route.announce(&[P]).repeat(500);
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    for n in 0..40 {
        bad.send(&broken)?;
        if n % 10 == 0 {
            let asked = Instant::now();
            bench.settle(&mut e2, &mut c1)?;
            slowest = slowest.max(asked.elapsed());
        }
    }
    bench.settle(&mut bad, &mut c1)?;
    ensure!(slowest < Duration::from_secs(2), "another neighbour waited {slowest:?}");
    let lines = bench.daemon()?.log().lines().count();
    ensure!(lines < 200, "{lines} lines of log for 20,000 UPDATEs within {:?}", began.elapsed());
    bad.is_up()
}

fn m7(bench: &mut Bench) -> Result<()> {
    let whos = clients(80);
    bench.start(Plan::of(&whos))?;
    let mut old = bench.establish(whos[0])?;
    // Room for a few more only.
    let pid = bench.daemon()?.pid();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    let limit = (open + 8).to_string();
    shell::read(shell::command("prlimit").args([
        "--pid",
        &pid.to_string(),
        &format!("--nofile={limit}:{limit}"),
    ]))?;
    let mut refused = Vec::new();
    for who in &whos[1..] {
        if let Ok(mut conn) = bench.connect(*who) {
            conn.send(&who.open().octets())?;
            refused.push(conn);
        }
    }
    refused[0].pump(Duration::from_secs(1), |_| false)?;
    old.is_up()?;
    for conn in &mut refused {
        let told = conn.notified().map(|(code, subcode, _)| (code, subcode));
        ensure!(told.is_none_or(|told| told == (6, 8)), "{told:?}");
    }
    // There is room again.
    drop(refused);
    let mut again = bench.establish(whos[1])?;
    old.send(&Route::of(whos[0]).announce(&[P]))?;
    again.learn(P)?;
    old.is_up()
}

/// The row that needs a clock.
pub(crate) const STEPS_THE_CLOCK: &str = "m8";

/// An hour forward and back, a day and back beyond the start: a restart timer, a long-lived stale timer, hold timers and
/// keepalives run meanwhile, and each takes as long as without. A daemon that knows no long-lived stale routes is asked
/// for the others.
fn m8(bench: &mut Bench) -> Result<()> {
    const HOUR: i64 = 3600;
    let mut plan = Plan::six().with_all(&[E1, E2, C1], &Knob::Graceful(60)).with(N1, Knob::HoldSecs(3));
    plan.own_clock = true;
    let lasts = match bench.start(plan.clone().with_all(&[E2, C1], &Knob::LongLived(3600))) {
        Err(why) if format!("{why:#}").starts_with(NO_WORD) => {
            bench.start(plan)?;
            false
        }
        started => started.map(|()| true)?,
    };
    let kept = [(V4, KEPT), (V6, KEPT)];
    let restarts = |who: Who, secs| who.open().graceful(0, secs, &kept);
    let long = |secs| [(V4, KEPT, secs), (V6, KEPT, secs)];
    let mut e1 = bench.establish_with(E1, &restarts(E1, 6))?;
    let mut e2 = bench.establish_with(E2, &restarts(E2, 0).long_lived(&long(9)))?;
    let mut c1 = bench.establish_with(C1, &restarts(C1, 60).long_lived(&long(60)))?;
    let mut n1 = bench.establish(N1)?;
    for conn in [&mut e1, &mut e2, &mut c1, &mut n1] {
        conn.send(&[end_of_rib(V4), end_of_rib(V6)].concat())?;
    }
    let mut waits = vec![("restart time", 6.0, many(V4, 1, 5))];
    e1.send(&Route::of(E1).announce(&waits[0].2))?;
    bench.settle(&mut e1, &mut c1)?;
    if lasts {
        waits.push(("long-lived stale time", 9.0, many(V4, 2, 5)));
        e2.send(&Route::of(E2).announce(&waits[1].2))?;
        bench.settle(&mut e2, &mut c1)?;
    }
    let began = Instant::now();
    e1.abort()?;
    e2.abort()?;
    n1.heard.clear();
    let mut second = Duration::ZERO;
    for offset in [HOUR, -HOUR, 24 * HOUR, 0, -24 * HOUR] {
        clock::step(offset)?;
        bench.is_stepped(offset)?;
        second += Duration::from_secs(1);
        while began.elapsed() < second {
            n1.send(&keepalive())?;
            n1.pump(Duration::from_millis(200), |_| false)?;
        }
        bench.settle(&mut n1, &mut c1)?;
        for (what, _, prefixes) in &waits {
            same(&format!("routes within the {what}"), known(&c1, prefixes), prefixes.len())?;
        }
    }
    let beats = n1.heard.iter().filter(|(_, heard)| matches!(heard, Heard::Keepalive)).count();
    ensure!((3..=12).contains(&beats), "{beats} KEEPALIVEs within 5 s, at a hold time of 3 s");
    n1.is_up()?;
    for (what, secs, prefixes) in &waits {
        c1.until(what, |conn| known(conn, prefixes) == 0)?;
        let took = began.elapsed().as_secs_f32();
        ensure!((secs - 1.0..secs + 1.5).contains(&took), "a {what} of {secs} s took {took} s");
    }
    c1.is_up()
}

/// How many of these it is told of.
fn known(conn: &Conn, prefixes: &[String]) -> usize {
    prefixes.iter().filter(|prefix| conn.told(prefix).is_some()).count()
}
