//! Section M, the rows in which the neighbours are many. Every count is small enough for each change of the code, and is
//! the row's own with `CONFORMANCE_SESSIONS=5000 LAB_LIFE_SECS=900`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::bench::Bench;
use crate::crowd::{Crowd, Member};
use crate::plan::{Knob, Peer, Plan};
use crate::routes::{Route, many};
use crate::speaker::{Conn, DUT_ID, E1, Who, client, spare};
use crate::wire::*;

crate::rows! { m1 m2 m3 m5 }

/// As many as asked for, or this many.
pub(crate) fn count(usual: u16) -> Result<u16> {
    bgpd::sys::raise_file_limit()?;
    Ok(std::env::var("CONFORMANCE_SESSIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual))
}

fn clients(count: u16) -> Vec<Who> {
    (0..count).map(client).collect()
}

/// What everything together may take.
const LONG: Duration = Duration::from_secs(120);

fn m1(bench: &mut Bench) -> Result<()> {
    const HOLD_SECS: u64 = 9;
    let whos = clients(count(300)?);
    bench.start(Plan::of(&whos).with_all(&whos, &Knob::HoldSecs(HOLD_SECS as u16)))?;
    let began = Instant::now();
    let mut crowd = Crowd::meet(bench, &whos, |who| who.open().hold(HOLD_SECS as u16))?;
    ensure!(crowd.met_within < Duration::from_secs(1), "we took {:?} to connect", crowd.met_within);
    crowd.until("a session and End-of-RIB", Duration::from_secs(30), |member| {
        member.is_up() && member.tally.standing_at_end_of_rib.is_some()
    })?;
    ensure!(began.elapsed() < Duration::from_secs(30), "all established after {:?}", began.elapsed());
    crowd.live(Duration::from_secs(2 * HOLD_SECS / 3 + 5))?;
    crowd.are_up()?;
    // From the first message to now, nobody waited a second longer than a third of the hold time.
    let (longest, who) = crowd.silence_max();
    ensure!(longest < Duration::from_secs(HOLD_SECS / 3 + 1), "{} heard nothing for {longest:?}", who.name());
    Ok(())
}

fn m2(bench: &mut Bench) -> Result<()> {
    let whos = clients(count(150)?);
    let plan = Plan::of(&whos).with_all(&whos, &Knob::Graceful(120));
    bench.start(plan.alone().more("restart: { waitForUnreachable: 30s, selectionDeferral: 120s }\n"))?;
    let open = |who: Who| who.open().graceful(0, 120, &[(V4, 0x80), (V6, 0x80)]);
    let mut before = Crowd::meet(bench, &whos, open)?;
    before.converge(LONG)?;
    bench.restart()?;
    let began = Instant::now();
    let mut after = Crowd::meet(bench, &whos, open)?;
    after.converge(LONG)?;
    after.until("End-of-RIB", LONG, |member| member.tally.standing_at_end_of_rib.is_some())?;
    let (took, bound) = (began.elapsed(), Duration::from_secs(10 + u64::from(client_hundreds(&whos))));
    ensure!(took < bound, "converged after {took:?}, {bound:?} allowed");
    for (old, new) in before.members.iter().zip(&after.members) {
        // Whatever is not there at End-of-RIB a client would drop: withdrawals by another name.
        let at_end = new.tally.standing_at_end_of_rib.unwrap_or(0);
        let had = old.tally.standing;
        ensure!(at_end >= had, "{}: {at_end} routes at End-of-RIB, {had} before the restart", new.who.name());
        ensure!(new.tally.withdrawn == 0, "{}: {} withdrawals", new.who.name(), new.tally.withdrawn);
    }
    after.are_up()
}

fn client_hundreds(whos: &[Who]) -> u16 {
    (whos.len() / 100) as u16
}

/// How long it takes until all of these have what E1 tells, beside neighbours that read nothing; and the memory it took.
fn spread(bench: &mut Bench, hearing: &[Who], deaf: Vec<Conn>) -> Result<(Duration, u64, Vec<Conn>)> {
    const ROUTES: usize = 6_000;
    let mut crowd = Crowd::meet(bench, hearing, Who::open)?.beating(Duration::from_secs(10));
    crowd.deaf = deaf;
    crowd.until("a session", LONG, Member::is_up)?;
    let mut source = bench.establish(E1)?;
    let began = Instant::now();
    for (n, chunk) in (0..).zip(many(V4, 1, ROUTES).chunks(4)) {
        let asns: Vec<u32> = [E1.asn].into_iter().chain((0..60).map(|k| 100_000 + n + k)).collect();
        source.send(&Route::of(E1).path(&asns).announce(chunk))?;
        if n % 50 == 0 {
            crowd.live(Duration::ZERO)?;
        }
    }
    crowd.until("all routes", LONG, |member| member.tally.standing >= ROUTES)?;
    let took = began.elapsed();
    crowd.are_up()?;
    Ok((took, bench.dut()?.rss_kb()?, std::mem::take(&mut crowd.deaf)))
}

fn m3(bench: &mut Bench) -> Result<()> {
    let whos = clients(count(120)?);
    // A hundred of five thousand, and enough of them where there are fewer.
    let (deaf, hearing) = whos.split_at((whos.len() / 50).max(12));
    let mut plan = Plan::of(&whos).with_all(deaf, &Knob::SendHoldSecs(6)).with_all(deaf, &Knob::HoldSecs(3));
    plan.peers.push(Peer::new(E1));
    bench.start(plan.clone())?;
    let (alone, lean, _) = spread(bench, hearing, Vec::new())?;
    bench.start(plan)?;
    let small = |socket: &socket2::Socket| Ok(socket.set_recv_buffer_size(4096)?);
    let mut blocked = Vec::new();
    for who in deaf {
        let mut conn = bench.connect_from(*who, who.address(), DUT_ID.into(), small)?;
        conn.handshake(&who.open())?;
        blocked.push(conn);
    }
    let (took, rss, mut blocked) = spread(bench, hearing, blocked)?;
    ensure!(
        took < alone * 3 / 2 + Duration::from_secs(1),
        "{took:?} beside {} deaf ones, {alone:?} without",
        deaf.len()
    );
    ensure!(rss < lean + 100_000, "{rss} kB beside {} deaf ones, {lean} kB without", deaf.len());
    for conn in &mut blocked {
        lab::wait::until("the deaf ones are dropped", Duration::from_secs(25), || {
            let alive = conn.poke(&keepalive())?;
            ensure!(!alive, "still open");
            Ok(())
        })?;
    }
    Ok(())
}

fn m5(bench: &mut Bench) -> Result<()> {
    const ROUNDS: usize = 100;
    let whos = clients(count(60)?);
    let base = Plan::of(&whos);
    let mut more = base.clone();
    more.peers.push(Peer::new(spare(0)));
    bench.start(base.clone())?;
    let mut crowd = Crowd::meet(bench, &whos, Who::open)?.beating(Duration::from_secs(10));
    crowd.converge(LONG)?;
    crowd.live(Duration::from_millis(100))?;
    let told = |crowd: &Crowd| -> Vec<(usize, usize)> {
        crowd.members.iter().map(|member| (member.tally.announced, member.tally.withdrawn)).collect()
    };
    let before = told(&crowd);
    for _ in 0..ROUNDS {
        bench.reconfigure(more.clone())?;
        let mut added = bench.establish(spare(0))?;
        bench.reconfigure(base.clone())?;
        added.ends()?;
        crowd.live(Duration::ZERO)?;
    }
    // What was to be told behind all that has been told when this has.
    let changed: &mut Member = &mut crowd.members[0];
    changed.say(&Route::of(whos[0]).announce(&["20.255.255.0/24"]))?;
    let others = whos.len() - 1;
    crowd.until("the last route", LONG, |member| member.who == whos[0] || member.tally.standing > others)?;
    crowd.are_up()?;
    for ((member, before), after) in crowd.members.iter().zip(before).zip(told(&crowd)) {
        let last = usize::from(member.who != whos[0]);
        ensure!(
            after == (before.0 + last, before.1),
            "{} was told {after:?}, before {before:?}",
            member.who.name()
        );
    }
    Ok(())
}
