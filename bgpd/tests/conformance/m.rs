//! Section M: one against the others, the machine's limits, and its clock. [`crate::m2`] has the rows about many
//! neighbours.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use lab::shell;

use crate::bench::{Bench, same};
use crate::dut::{NO_WORD, clock};
use crate::k::KEPT;
use crate::plan::{Knob, Plan};
use crate::routes::{Route, many};
use crate::speaker::{C1, Conn, E1, E2, Heard, N1, Who, client};
use crate::wire::*;

crate::rows! { m4 m6 m7 m8 }

const P: &str = "203.0.113.0/24";

fn m4(bench: &mut Bench) -> Result<()> {
    const ROUTES: usize = 2_000;
    const POLLERS: u32 = 10;
    // Each poller asks ten times a second, all together a hundred times.
    const EVERY: Duration = Duration::from_millis(100);
    const WATCHED: Duration = Duration::from_secs(6);
    bench.start(Plan::six().with(N1, Knob::HoldSecs(3)))?;
    let (mut e1, mut c1, mut n1) = (bench.establish(E1)?, bench.establish(C1)?, bench.establish(N1)?);
    for chunk in many(V4, 1, ROUTES).chunks(900) {
        e1.send(&Route::of(E1).announce(chunk))?;
    }
    bench.settle(&mut e1, &mut c1)?;
    let (dump, began) = (bench.dut()?.dumper()?, Instant::now());
    let poll = |n: u32| -> Result<usize> {
        let (mut dumps, mut due) = (0, began + EVERY * n / POLLERS);
        while began.elapsed() < WATCHED {
            lab::wait::closely("a poller's turn", WATCHED, || {
                ensure!(Instant::now() >= due, "not yet");
                Ok(())
            })?;
            let octets = dump()?;
            ensure!(octets > ROUTES * 50, "a dump of {octets} octets");
            (dumps, due) = (dumps + 1, due + EVERY);
        }
        Ok(dumps)
    };
    let dumps = std::thread::scope(|scope| -> Result<usize> {
        let pollers: Vec<_> = (0..POLLERS).map(|n| scope.spawn(move || poll(n))).collect();
        while began.elapsed() < WATCHED {
            n1.send(&keepalive())?;
            n1.pump(Duration::from_millis(100), |_| false)?;
            n1.is_up()?;
        }
        let each =
            pollers.into_iter().map(|poller| poller.join().map_err(|_| anyhow!("a poller panicked"))?);
        each.sum()
    })?;
    // A busy machine answers later than it is asked, but every poller was answered all the time.
    ensure!(dumps > POLLERS as usize * 5, "{dumps} dumps in {WATCHED:?}");
    let beats: Vec<Instant> = n1.heard.iter().map(|(at, _)| *at).filter(|at| *at > began).collect();
    let silence = beats.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(WATCHED);
    ensure!(
        silence < Duration::from_secs(2),
        "a neighbour with a hold time of 3 s heard nothing for {silence:?}"
    );
    bench.settle(&mut e1, &mut c1)?;
    n1.is_up()
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
    let whos: Vec<Who> = (0..80).map(client).collect();
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
