//! Section A: header and framing (RFC 4271 sections 4.1 and 6.1, RFC 8654).

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::bench::Bench;
use crate::open::EXTENDED_MESSAGE;
use crate::plan::{Knob, Plan};
use crate::routes::{Route, many};
use crate::speaker::{C1, Conn, E1, Heard, N1, STRANGER, Who, spare};
use crate::wire::{self, KEEPALIVE, NOTIFICATION, OPEN, OPTIONAL_TRANSITIVE, UPDATE, V4, header, keepalive};

crate::rows! { a1 a2 a3 a4 a5 a6 a7 a8 a9 a10 a11 a12 }

/// A fresh connection on which nothing was said yet, from a neighbour that had no session so far.
fn fresh(bench: &Bench, n: u16) -> Result<Conn> {
    bench.connect(spare(n))
}

/// Neighbours for as many sessions that end.
fn spares(count: u16) -> Plan {
    let whos: Vec<_> = (0..count).map(spare).chain([E1, C1]).collect();
    Plan::of(&whos)
}

fn a1(bench: &mut Bench) -> Result<()> {
    bench.start(spares(3))?;
    for (n, bit) in [(0, 0), (7, 3), (15, 7)] {
        let mut conn = fresh(bench, n / 7)?;
        let mut open = conn.who.open().octets();
        open[usize::from(n)] &= !(1 << bit);
        conn.send(&open)?;
        conn.reset(1, 1)?;
    }
    Ok(())
}

fn a2(bench: &mut Bench) -> Result<()> {
    bench.start(spares(4))?;
    for (n, len) in [(0, 18_u16), (1, 0)] {
        let mut conn = fresh(bench, n)?;
        conn.send(&header(len, OPEN, &[]))?;
        conn.reset_with(1, 2, &len.to_be_bytes())?;
        let mut conn = bench.establish(spare(n + 2))?;
        conn.send(&header(len, KEEPALIVE, &[]))?;
        conn.reset_with(1, 2, &len.to_be_bytes())?;
    }
    Ok(())
}

fn a3(bench: &mut Bench) -> Result<()> {
    bench.start(spares(2))?;
    let mut conn = fresh(bench, 0)?;
    conn.send(&header(4097, OPEN, &[]))?;
    conn.reset_with(1, 2, &4097_u16.to_be_bytes())?;
    let mut conn = bench.establish(spare(1))?;
    conn.send(&header(4097, KEEPALIVE, &[]))?;
    conn.reset_with(1, 2, &4097_u16.to_be_bytes())
}

fn a4(bench: &mut Bench) -> Result<()> {
    bench.start(spares(1))?;
    let mut conn = bench.establish(spare(0))?;
    conn.send(&header(20, KEEPALIVE, &[0]))?;
    conn.reset_with(1, 2, &20_u16.to_be_bytes())
}

fn a5(bench: &mut Bench) -> Result<()> {
    bench.start(spares(3))?;
    let mut conn = fresh(bench, 0)?;
    conn.send(&header(28, OPEN, &[0; 9]))?;
    conn.reset_with(1, 2, &28_u16.to_be_bytes())?;
    let mut conn = bench.establish(spare(1))?;
    conn.send(&header(22, UPDATE, &[0; 3]))?;
    conn.reset_with(1, 2, &22_u16.to_be_bytes())?;
    // RFC 4271 section 6.4: an error in a NOTIFICATION cannot be told by another one.
    let mut conn = bench.establish(spare(2))?;
    conn.send(&header(20, NOTIFICATION, &[6]))?;
    conn.ends_silently()
}

fn a6(bench: &mut Bench) -> Result<()> {
    bench.start(spares(6))?;
    for (n, kind) in [(0, 0), (1, 6), (2, 255)] {
        let mut conn = fresh(bench, n)?;
        conn.send(&header(19, kind, &[]))?;
        conn.reset_with(1, 3, &[kind])?;
        let mut conn = bench.establish(spare(n + 3))?;
        conn.send(&header(19, kind, &[]))?;
        conn.reset_with(1, 3, &[kind])?;
    }
    Ok(())
}

fn a7(bench: &mut Bench) -> Result<()> {
    bench.start(Plan::of(&[E1, C1]))?;
    let open = E1.open().octets();
    let update = Route::of(E1).announce(&["203.0.113.0/24"]);
    let stream = [open, keepalive(), update].concat();
    let mut observer = bench.establish(C1)?;
    for cut in 0..stream.len() {
        let mut conn = bench.connect(E1)?;
        conn.send(&stream[..cut])?;
        conn.finish();
        conn.ends()?;
    }
    let mut whole = bench.establish(E1)?;
    bench.settle(&mut whole, &mut observer)?;
    observer.is_up()
}

fn a8(bench: &mut Bench) -> Result<()> {
    bench.start(Plan::of(&[E1, C1]))?;
    let apart = Duration::from_millis(50);
    let mut observer = bench.establish(C1)?;
    let mut conn = bench.connect(E1)?;
    conn.trickle(&E1.open().octets(), apart)?;
    conn.wait_open()?;
    conn.trickle(&keepalive(), apart)?;
    conn.trickle(&Route::of(E1).announce(&["203.0.113.0/24"]), apart)?;
    observer.learn("203.0.113.0/24")?;
    conn.trickle(&Route::of(E1).announce(&["2001:db8::/32"]), Duration::from_millis(1))?;
    observer.learn("2001:db8::/32")?;
    conn.is_up()
}

fn a9(bench: &mut Bench) -> Result<()> {
    bench.start(Plan::of(&[E1, C1]))?;
    let mut observer = bench.establish(C1)?;
    let mut conn = bench.establish(E1)?;
    // Each prefix is announced with rising MEDs, every fifth withdrawn at last: order decides what stands.
    let prefixes = many(V4, 1, 100);
    let mut all = Vec::new();
    for round in 0..4 {
        prefixes.iter().for_each(|prefix| all.extend(Route::of(E1).med(round).announce(&[prefix])));
    }
    for (n, prefix) in prefixes.iter().enumerate() {
        match n % 5 {
            0 => all.extend(crate::routes::withdraw(&[prefix])),
            _ => all.extend(keepalive()),
        }
    }
    conn.send(&all)?;
    bench.settle(&mut conn, &mut observer)?;
    for (n, prefix) in prefixes.iter().enumerate() {
        let med = observer.told(prefix).map(|told| told.number(wire::MED));
        let expected = if n % 5 == 0 { None } else { Some(Some(3)) };
        ensure!(med == expected, "{prefix}: {med:?}");
    }
    Ok(())
}

/// An UPDATE of exactly this many octets that announces a prefix with an unknown attribute.
fn filled(who: Who, total: usize, prefix: &str) -> Vec<u8> {
    let with = |len| {
        Route::of(who).set(OPTIONAL_TRANSITIVE | wire::EXTENDED, 200, &vec![7; len]).announce(&[prefix])
    };
    with(total - with(0).len())
}

fn a10(bench: &mut Bench) -> Result<()> {
    let whos = [spare(0), spare(1), E1, C1, N1];
    bench.start(Plan::of(&whos).with_all(&whos, &Knob::ExtendedMessages(true)))?;
    let extended = |who: Who| who.open().with(EXTENDED_MESSAGE, &[]);
    let mut observer = bench.establish_with(C1, &extended(C1))?;
    let mut conn = bench.establish_with(E1, &extended(E1))?;
    // A little below the limit, so that it can be passed on with LOCAL_PREF added.
    conn.send(&filled(E1, 65_500, "203.0.113.0/24"))?;
    let told = observer.learn("203.0.113.0/24")?;
    ensure!(told.value(200).is_some_and(|value| value.len() > 65_000), "the attribute was cut");
    // At the limit: to another AS it loses LOCAL_PREF, and is an octet shorter with the daemon's AS number.
    let mut inside = bench.establish_with(N1, &extended(N1))?;
    inside.send(&filled(N1, 65_535, "203.0.114.0/24"))?;
    let told = conn.learn("203.0.114.0/24")?;
    ensure!(told.value(200).is_some_and(|value| value.len() > 65_000), "the attribute was cut");
    bench.settle(&mut conn, &mut observer)?;
    for (n, kind) in [(0, KEEPALIVE), (1, OPEN)] {
        let mut conn = bench.establish_with(spare(n), &extended(spare(n)))?;
        conn.send(&header(4097, kind, &vec![0; 4078]))?;
        conn.reset_with(1, 2, &4097_u16.to_be_bytes())?;
    }
    Ok(())
}

fn a11(bench: &mut Bench) -> Result<()> {
    let plan = Plan::of(&[E1, C1]).with_all(&[E1, C1], &Knob::ExtendedMessages(false));
    bench.start(plan)?;
    let extended = |who: Who| who.open().with(EXTENDED_MESSAGE, &[]);
    let mut observer = bench.establish_with(C1, &extended(C1))?;
    let mut conn = bench.establish_with(E1, &extended(E1))?;
    conn.send(&Route::of(E1).announce(&many(V4, 1, 900)))?;
    conn.send(&Route::of(E1).announce(&many(V4, 2, 900)))?;
    bench.settle(&mut conn, &mut observer)?;
    ensure!(longest(&observer) <= 4096, "an UPDATE beyond 4,096 octets");
    conn.send(&filled(E1, 4097, "203.0.113.0/24"))?;
    conn.reset_with(1, 2, &4097_u16.to_be_bytes())?;
    // Configured here and not there: a route that needs a long message is not told there.
    bench.start(Plan::of(&[E1, C1]).with_all(&[E1, C1], &Knob::ExtendedMessages(true)))?;
    let mut observer = bench.establish(C1)?;
    let mut conn = bench.establish_with(E1, &extended(E1))?;
    conn.send(&filled(E1, 6000, "203.0.113.0/24"))?;
    conn.send(&Route::of(E1).announce(&many(V4, 1, 900)))?;
    conn.send(&Route::of(E1).announce(&many(V4, 2, 900)))?;
    bench.settle(&mut conn, &mut observer)?;
    ensure!(longest(&observer) <= 4096, "an UPDATE beyond 4,096 octets to one that does not take it");
    ensure!(observer.told("203.0.113.0/24").is_none(), "a route that does not fit was told");
    observer.is_up()
}

/// Octets of the longest UPDATE that was heard.
fn longest(conn: &Conn) -> usize {
    let octets = conn.heard.iter().filter_map(|(_, heard)| match heard {
        Heard::Update(update) => Some(update.octets),
        _ => None,
    });
    octets.max().unwrap_or(0)
}

fn a12(bench: &mut Bench) -> Result<()> {
    bench.start(Plan::of(&[E1, C1]))?;
    let before = bench.dut()?.rss_kb()?;
    let mut silent = Vec::new();
    for n in 0..200 {
        silent.extend(bench.connect(if n % 2 == 0 { STRANGER } else { E1 }).ok());
    }
    let began = Instant::now();
    bench.establish(C1)?;
    ensure!(began.elapsed() < Duration::from_secs(2), "C1 took {:?}", began.elapsed());
    let grown = bench.dut()?.rss_kb()?.saturating_sub(before);
    ensure!(grown < 20_000, "grew by {grown} kB");
    let open = fs::read_dir(format!("/proc/{}/fd", bench.daemon()?.pid()))?.count();
    ensure!(open < 64 + silent.len(), "{open} open files for {} connections", silent.len());
    // Its own silent connections do not keep E1 out for ever.
    drop(silent);
    let began = Instant::now();
    bench.establish(E1)?;
    ensure!(began.elapsed() < Duration::from_secs(2), "E1 took {:?}", began.elapsed());
    Ok(())
}
