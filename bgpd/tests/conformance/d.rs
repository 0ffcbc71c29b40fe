//! Section D: two connections at once (RFC 4271 section 6.8, RFC 6286 section 2.3, RFC 4724 section 5).

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::bench::{Bench, listen};
use crate::e2::Dice;
use crate::open::Open;
use crate::plan::{Knob, Plan};
use crate::routes::Route;
use crate::speaker::{C1, Conn, DUT_ID, E1, Heard, Who, spare};
use crate::wire::{V4, V6, keepalive};

crate::rows! { d1 d2 d3 d4 d5 d6 d7 d8 }

const P: &str = "203.0.113.0/24";

/// The connection that the daemon opened and the one that we did, OPENs sent on both.
fn both(bench: &mut Bench, who: Who, open: &Open) -> Result<(Conn, Conn)> {
    bench.start(Plan::of(&[who, C1]).with(who, Knob::Active).with(who, Knob::ConnectRetrySecs(1)))?;
    let listener = listen(who)?;
    let mut theirs = bench.accept(&listener, who)?;
    theirs.wait_open()?;
    let mut ours = bench.connect(who)?;
    ours.wait_open()?;
    theirs.send(&open.octets())?;
    ours.send(&open.octets())?;
    Ok((theirs, ours))
}

/// One of the two goes with 6/7 and the other becomes a session that takes routes.
fn kept(bench: &mut Bench, mut winner: Conn, mut loser: Conn) -> Result<()> {
    loser.reset(6, 7)?;
    winner
        .until("a KEEPALIVE", |conn| conn.heard.iter().any(|(_, heard)| matches!(heard, Heard::Keepalive)))?;
    winner.send(&keepalive())?;
    let mut observer = bench.establish(C1)?;
    winner.send(&Route::of(winner.who).announce(&[P]))?;
    observer.learn(P)?;
    winner.is_up()
}

fn d1(bench: &mut Bench) -> Result<()> {
    let (theirs, ours) = both(bench, E1, &E1.open())?;
    kept(bench, ours, theirs)
}

fn d2(bench: &mut Bench) -> Result<()> {
    let (theirs, ours) = both(bench, E1, &Open { id: Ipv4Addr::new(1, 1, 1, 1), ..E1.open() })?;
    kept(bench, theirs, ours)
}

fn d3(bench: &mut Bench) -> Result<()> {
    let (theirs, ours) = both(bench, E1, &Open { id: DUT_ID, ..E1.open() })?;
    kept(bench, ours, theirs)?;
    let lower = Who { asn: 64_999, ..spare(0) };
    let (theirs, ours) = both(bench, lower, &Open { id: DUT_ID, ..lower.open() })?;
    kept(bench, theirs, ours)
}

fn d4(bench: &mut Bench) -> Result<()> {
    bench.start(Plan::of(&[E1, C1]))?;
    let (mut observer, mut old) = (bench.establish(C1)?, bench.establish(E1)?);
    old.send(&Route::of(E1).announce(&[P]))?;
    observer.learn(P)?;
    let mut new = bench.connect(E1)?;
    new.send(&E1.open().octets())?;
    new.reset(6, 7)?;
    bench.settle(&mut old, &mut observer)?;
    ensure!(observer.count(P) == (1, 0), "{:?}", observer.count(P));
    old.is_up()
}

fn d5(bench: &mut Bench) -> Result<()> {
    bench.start(Plan::of(&[E1, C1]).with(E1, Knob::Graceful(60)))?;
    let open = E1.open().graceful(0, 60, &[(V4, 0x80), (V6, 0x80)]);
    let (mut observer, mut old) = (bench.establish(C1)?, bench.establish_with(E1, &open)?);
    old.send(&Route::of(E1).announce(&[P]))?;
    observer.learn(P)?;
    let mut new = bench.connect(E1)?;
    new.handshake(&E1.open().graceful(8, 60, &[(V4, 0x80), (V6, 0x80)]))?;
    old.ends_silently()?;
    bench.settle(&mut new, &mut observer)?;
    ensure!(observer.count(P) == (1, 0), "{:?}", observer.count(P));
    new.is_up()
}

fn d6(bench: &mut Bench) -> Result<()> {
    let (mut theirs, ours) = both(bench, E1, &E1.open())?;
    // Ours would win, and is dead before the daemon can know.
    ours.abort()?;
    let began = Instant::now();
    // The daemon may have chosen before it saw the end of the other: then a new one must come up.
    theirs.send(&keepalive())?;
    let ended = theirs.pump(Duration::from_millis(500), |conn| conn.end.is_some())?;
    let mut live = if ended { bench.establish(E1)? } else { theirs };
    ensure!(began.elapsed() < Duration::from_secs(3), "recovered after {:?}", began.elapsed());
    let mut observer = bench.establish(C1)?;
    bench.settle(&mut live, &mut observer)
}

fn d7(bench: &mut Bench) -> Result<()> {
    let rounds =
        std::env::var("CONFORMANCE_INTERLEAVINGS").ok().and_then(|text| text.parse().ok()).unwrap_or(12_u64);
    let mut dice = Dice(7);
    for round in 0..rounds {
        // Half of them in the same millisecond, as near as two processes can be started.
        let apart = Duration::from_micros(dice.next() % if round % 2 == 0 { 1_000 } else { 30_000 });
        crate::dut::twins(bench.make, apart, Duration::from_secs(5))
            .with_context(|| format!("interleaving {round}"))?;
    }
    Ok(())
}

fn d8(bench: &mut Bench) -> Result<()> {
    let itself = Who { host: 1, asn: 65_001, client: false };
    let mut plan = Plan::of(&[C1]);
    plan.range = Some(("10.0.0.0/28", 65_001));
    bench.start(plan.clone())?;
    bench.establish(C1)?;
    plan.peers.push(crate::plan::Peer {
        who: itself,
        client: false,
        knobs: vec![Knob::Active, Knob::ConnectRetrySecs(1)],
    });
    // A configuration that names the daemon's own address may be refused, which is the best answer.
    if let Err(why) = bench.start(plan) {
        let said = format!("{why:#}");
        ensure!(said.contains("exited"), "{said}");
        return bench.start(Plan::of(&[C1]));
    }
    let pid = bench.daemon()?.pid();
    let ticks = || -> Result<u64> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> = stat.rsplit(')').next().context("fields")?.split_whitespace().collect();
        Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
    };
    let before = ticks()?;
    let mut conn = bench.establish(C1)?;
    conn.pump(Duration::from_secs(2), |_| false)?;
    let used = ticks()? - before;
    ensure!(used < 40, "{used} ticks of CPU within 2 s of connecting to itself");
    conn.is_up()
}
