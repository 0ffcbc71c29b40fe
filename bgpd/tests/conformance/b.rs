//! Section B: OPEN (RFC 4271 section 6.2, RFC 5492, 6793, 6286, 9072, 7607, 4760, 9234).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::bench::{Bench, listen, same};
use crate::open::{ADD_PATH, FOUR_OCTET_AS, GRACEFUL_RESTART, Layout, MULTIPROTOCOL, ROLE, ROUTE_REFRESH};
use crate::open::{LONG_LIVED, Open};
use crate::plan::{Knob, Plan};
use crate::routes::Route;
use crate::speaker::{C1, Change, Conn, DUT_ID, E1, Heard, N1, STRANGER, Who, spare};
use crate::wire::{V4, V6};

crate::rows! { b1 b2 b3 b4 b5 b6 b7 b8 b9 b10 b11 b12 b13 b14 b15 b16 b17 b18 b19 b20 b21 b22 b23 b24 b25 }

/// Neighbours for as many sessions that end, C1 and N1.
fn spares(count: u16) -> Plan {
    let whos: Vec<_> = (0..count).map(spare).chain([E1, C1, N1]).collect();
    Plan::of(&whos)
}

/// Sends an OPEN as this neighbour.
fn say(bench: &Bench, who: Who, open: &Open) -> Result<Conn> {
    let mut conn = bench.connect(who)?;
    conn.send(&open.octets())?;
    Ok(conn)
}

/// The session comes up and takes a route, which the observer C1 then has.
fn works(bench: &mut Bench, who: Who, open: &Open) -> Result<()> {
    let mut conn = bench.establish_with(who, open)?;
    let mut observer = bench.establish(C1)?;
    let four = open.value(FOUR_OCTET_AS).is_some();
    let path = crate::wire::segment2(2, &[open.my_as]);
    let route = if four { Route::of(who) } else { Route::of(who).set(0x40, crate::wire::AS_PATH, &path) };
    conn.send(&route.announce(&["203.0.113.0/24"]))?;
    observer.learn("203.0.113.0/24")?;
    conn.is_up()
}

fn b1(bench: &mut Bench) -> Result<()> {
    bench.start(spares(2))?;
    for (n, version) in [(0, 3), (1, 5)] {
        let open = Open { version, ..spare(n).open() };
        say(bench, spare(n), &open)?.reset_with(2, 1, &[0, 4])?;
    }
    Ok(())
}

fn b2(bench: &mut Bench) -> Result<()> {
    bench.start(spares(2))?;
    say(bench, spare(0), &Open::new(65_999, spare(0).v4()))?.reset(2, 2)?;
    say(bench, spare(1), &Open::new(4_200_000_999, spare(1).v4()))?.reset(2, 2)
}

fn b3(bench: &mut Bench) -> Result<()> {
    bench.start(spares(2))?;
    let open = Open { my_as: 0, ..spare(0).open() }.without(FOUR_OCTET_AS);
    say(bench, spare(0), &open)?.reset(2, 2)?;
    let open = spare(1).open().without(FOUR_OCTET_AS).with(FOUR_OCTET_AS, &[0; 4]);
    say(bench, spare(1), &open)?.reset(2, 2)
}

fn b4(bench: &mut Bench) -> Result<()> {
    bench.start(spares(1))?;
    let trans = Open { my_as: 23456, ..spare(0).open() };
    say(bench, spare(0), &trans.clone().without(FOUR_OCTET_AS))?.reset(2, 2)?;
    works(bench, E1, &Open { my_as: 23456, ..E1.open() })
}

fn b5(bench: &mut Bench) -> Result<()> {
    bench.start(spares(1))?;
    // The capability says another AS than the one configured, the field the right one.
    let open = spare(0).open().without(FOUR_OCTET_AS).with(FOUR_OCTET_AS, &65_099_u32.to_be_bytes());
    say(bench, spare(0), &open)?.reset(2, 2)?;
    works(bench, E1, &Open { my_as: 64_999, ..E1.open() })
}

fn b6(bench: &mut Bench) -> Result<()> {
    bench.start(spares(1))?;
    let open = Open { id: [0, 0, 0, 0].into(), ..spare(0).open() };
    say(bench, spare(0), &open)?.reset(2, 3)
}

fn b7(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0))?;
    say(bench, N1, &Open { id: DUT_ID, ..N1.open() })?.reset(2, 3)?;
    works(bench, E1, &Open { id: DUT_ID, ..E1.open() })
}

fn b8(bench: &mut Bench) -> Result<()> {
    bench.start(spares(2))?;
    for (n, id) in [(0, [224, 0, 0, 1]), (1, [255; 4])] {
        bench.establish_with(spare(n), &Open { id: id.into(), ..spare(n).open() })?.is_up()?;
    }
    Ok(())
}

fn b9(bench: &mut Bench) -> Result<()> {
    bench.start(spares(2))?;
    for (n, secs) in [(0, 1), (1, 2)] {
        let mut conn = say(bench, spare(n), &spare(n).open().hold(secs))?;
        conn.reset(2, 6)?;
        ensure!(keepalives(&conn) <= 1, "{} KEEPALIVEs", keepalives(&conn));
    }
    Ok(())
}

fn keepalives(conn: &Conn) -> usize {
    conn.heard.iter().filter(|(_, heard)| matches!(heard, Heard::Keepalive)).count()
}

fn b10(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0).with(E1, Knob::HoldSecs(3)))?;
    let mut conn = bench.establish_with(E1, &E1.open().hold(0))?;
    let mut other = bench.establish(N1)?;
    // What is sent to it sets a send hold timer, which has nothing to be the double of.
    bench.settle(&mut other, &mut conn)?;
    conn.pump(Duration::from_secs(10), |conn| conn.end.is_some() || keepalives(conn) > 1)?;
    conn.is_up()?;
    bench.settle(&mut other, &mut conn)?;
    same("KEEPALIVEs", keepalives(&conn), 1)
}

fn b11(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0).with(E1, Knob::HoldSecs(9)).with(N1, Knob::HoldSecs(9)))?;
    let mut silent = bench.establish(N1)?;
    let began = Instant::now();
    let mut conn = bench.establish_with(E1, &E1.open().hold(3))?;
    for beat in 2..6 {
        conn.until(&format!("KEEPALIVE {beat}"), |conn| keepalives(conn) >= beat)?;
        conn.send(&crate::wire::keepalive())?;
    }
    let times: Vec<Instant> =
        conn.heard.iter().filter(|(_, heard)| matches!(heard, Heard::Keepalive)).map(|(at, _)| *at).collect();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().context("KEEPALIVEs")?;
    ensure!(longest < Duration::from_millis(1500), "a gap of {longest:?} with a hold time of 3 s");
    let shortest = times.windows(2).map(|pair| pair[1] - pair[0]).skip(1).min().context("KEEPALIVEs")?;
    ensure!(shortest > Duration::from_millis(600), "a gap of {shortest:?} with a hold time of 3 s");
    silent.until_within("the hold time's end", Duration::from_secs(12), |conn| conn.end.is_some())?;
    let took = began.elapsed();
    ensure!(took > Duration::from_secs(8) && took < Duration::from_secs(11), "9 s of silence took {took:?}");
    silent.reset(4, 0)
}

fn b12(bench: &mut Bench) -> Result<()> {
    bench.start(spares(1).with(spare(0), Knob::MinHoldSecs(10)))?;
    say(bench, spare(0), &spare(0).open().hold(3))?.reset(2, 6)?;
    bench.establish_with(spare(0), &spare(0).open().hold(10))?.is_up()
}

fn b13(bench: &mut Bench) -> Result<()> {
    bench.start(spares(2))?;
    for (n, parameters) in [(0, &[4, 77, 2, 0, 0][..]), (1, &[2, 77, 0])] {
        let mut conn = bench.connect(spare(n))?;
        conn.send(&spare(n).open().with_parameters(parameters))?;
        conn.reset(2, 4)?;
    }
    Ok(())
}

fn b14(bench: &mut Bench) -> Result<()> {
    let cases: [&[u8]; 6] = [
        // More parameters announced than there are; fewer than there are.
        &[40, 2, 2, 2, 0],
        &[2, 2, 2, 2, 0],
        // A parameter past the end; one without a length.
        &[4, 2, 9, 2, 0],
        &[1, 2],
        // A capability past its parameter; one without a length.
        &[4, 2, 2, 2, 200],
        &[3, 2, 1, 2],
    ];
    bench.start(spares(6))?;
    for (n, parameters) in (0..).zip(cases) {
        let mut conn = bench.connect(spare(n))?;
        conn.send(&spare(n).open().with_parameters(parameters))?;
        conn.reset(2, 0).with_context(|| format!("{parameters:?}"))?;
    }
    Ok(())
}

fn b15(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0))?;
    works(bench, E1, &E1.open().with(200, &[1, 2, 3]).with(201, &[]))
}

fn b16(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0))?;
    let mut open = E1.open();
    open.capabilities.clear();
    works(bench, E1, &open)?;
    let mut conn = bench.establish_with(E1, &open)?;
    conn.pump(Duration::from_millis(50), |_| false)?;
    let refresh = conn.heard.iter().any(|(_, heard)| matches!(heard, Heard::Refresh(..)));
    ensure!(!refresh, "a ROUTE-REFRESH to a speaker that has not offered it");
    ensure!(conn.rib.keys().all(|(family, ..)| *family == V4), "IPv6 routes to a speaker of IPv4");
    Ok(())
}

fn b17(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0))?;
    works(bench, E1, &E1.open().without(MULTIPROTOCOL))
}

fn b18(bench: &mut Bench) -> Result<()> {
    bench.start(spares(2))?;
    for (n, family) in [(0, (25, 65)), (1, (16388, 71))] {
        let mut conn = bench.connect(spare(n))?;
        conn.send(&spare(n).open().families(&[family]).octets())?;
        conn.until("a KEEPALIVE or a NOTIFICATION", |conn| {
            keepalives(conn) > 0 || conn.notified().is_some()
        })?;
        if conn.notified().is_some() {
            conn.reset(2, 7)?;
            continue;
        }
        conn.send(&crate::wire::keepalive())?;
        let mut source = bench.establish(E1)?;
        let mut observer = bench.establish(C1)?;
        bench.settle(&mut source, &mut observer)?;
        conn.is_up()?;
        ensure!(conn.rib.is_empty(), "routes of a family that was not negotiated: {:?}", conn.rib);
    }
    Ok(())
}

fn b19(bench: &mut Bench) -> Result<()> {
    bench.start(spares(6).with_all(&(0..6).map(spare).collect::<Vec<_>>(), &Knob::Graceful(60)))?;
    let mut outcomes = Vec::new();
    for n in 0..4 {
        let who = spare(n);
        let open = who.open().with(FOUR_OCTET_AS, &who.asn.to_be_bytes()).with(ROUTE_REFRESH, &[]);
        let open = open
            .with(GRACEFUL_RESTART, &[0, 10])
            .with(GRACEFUL_RESTART, &[0, 20])
            .with(GRACEFUL_RESTART, &[0, 30]);
        let layout = if n % 2 == 0 { Layout::Together } else { Layout::Apart };
        let mut conn = say(bench, who, &Open { layout, ..open })?;
        conn.until("an answer", |conn| keepalives(conn) > 0 || conn.notified().is_some())?;
        outcomes.push(conn.notified().map(|(code, subcode, _)| (code, subcode)));
    }
    ensure!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "not the same each time: {outcomes:?}");
    ensure!(outcomes[0].is_none(), "a repeated capability ended the session: {:?}", outcomes[0]);
    which_restart_time(bench)?;
    // A family said three times is one: its routes and its End-of-RIB come once.
    let mut source = bench.establish(E1)?;
    source.send(&Route::of(E1).announce(&["203.0.113.0/24"]))?;
    let thrice = C1.open().with(MULTIPROTOCOL, &[0, 1, 0, 1]).with(MULTIPROTOCOL, &[0, 1, 0, 1]);
    let mut observer = bench.establish_with(C1, &Open { layout: Layout::Apart, ..thrice })?;
    bench.settle(&mut source, &mut observer)?;
    same("announcements and withdrawals", observer.count("203.0.113.0/24"), (1, 0))?;
    let ends = observer.changes.iter().filter(|change| **change == Change::EndOfRib(V4)).count();
    ensure!(ends <= 1, "{ends} End-of-RIBs of one family");
    Ok(())
}

/// Of a restart time of 1 s and two of 10 minutes the same one holds, in one parameter and in three.
fn which_restart_time(bench: &mut Bench) -> Result<()> {
    let mut observer = bench.establish(C1)?;
    let mut prefixes = Vec::new();
    for (n, layout) in [(4, Layout::Together), (5, Layout::Apart)] {
        let who = spare(n);
        let open = [1, 600, 600].into_iter().fold(who.open(), |open, secs: u16| {
            let [high, low] = secs.to_be_bytes();
            open.with(GRACEFUL_RESTART, &[high, low, 0, 1, 1, 0x80])
        });
        let mut conn = bench.establish_with(who, &Open { layout, ..open })?;
        prefixes.push(format!("203.0.{n}.0/24"));
        conn.send(&Route::of(who).announce(&prefixes[prefixes.len() - 1..]))?;
        observer.learn(&prefixes[prefixes.len() - 1])?;
        conn.abort()?;
    }
    observer.pump(Duration::from_millis(2500), |_| false)?;
    let kept: Vec<bool> = prefixes.iter().map(|prefix| observer.told(prefix).is_some()).collect();
    same("whether the restart time of one parameter and that of three are over", kept[0], kept[1])?;
    observer.abort()
}

fn b20(bench: &mut Bench) -> Result<()> {
    let cases: [(u8, &[u8]); 12] = [
        (FOUR_OCTET_AS, &[0, 1]),
        (MULTIPROTOCOL, &[0, 1, 0]),
        (GRACEFUL_RESTART, &[0]),
        (GRACEFUL_RESTART, &[0, 60, 0]),
        (GRACEFUL_RESTART, &[0, 60, 0, 1, 1, 0x80, 0]),
        (73, &[0]),
        (73, &[200, b'a']),
        (75, &[0]),
        (75, &[200, b'a']),
        (ADD_PATH, &[0, 1, 1]),
        (ROLE, &[]),
        (LONG_LIVED, &[0, 1, 1]),
    ];
    bench.start(spares(12))?;
    for (n, (code, value)) in (0..).zip(cases) {
        let who = spare(n);
        let base = if code == FOUR_OCTET_AS { who.open().without(code) } else { who.open() };
        let mut conn = say(bench, who, &base.with(code, value))?;
        conn.until("an answer", |conn| keepalives(conn) > 0 || conn.notified().is_some())?;
        let answer = conn.notified().map(|(code, subcode, _)| (code, subcode));
        ensure!(answer.is_none_or(|answer| answer == (2, 0)), "capability {code} {value:?}: {answer:?}");
    }
    Ok(())
}

fn b21(bench: &mut Bench) -> Result<()> {
    bench.start(spares(3))?;
    works(bench, E1, &Open { layout: Layout::Long, ..E1.open() })?;
    let long = (0..40).fold(spare(0).open(), |open, n| open.with(210, &[n; 8]));
    bench.establish_with(spare(0), &Open { layout: Layout::Long, ..long })?.is_up()?;
    for (n, parameters) in [(1, &[255, 255, 0][..]), (2, &[255, 255, 0, 9, 2, 0])] {
        let mut conn = bench.connect(spare(n))?;
        conn.send(&spare(n).open().with_parameters(parameters))?;
        conn.reset(2, 0)?;
    }
    Ok(())
}

fn b22(bench: &mut Bench) -> Result<()> {
    let all: Vec<Who> = (0..4).map(spare).collect();
    let plan = spares(4).with_all(&all, &Knob::Role("provider")).with(spare(2), Knob::StrictRole);
    bench.start(plan)?;
    const PROVIDER: u8 = 0;
    const CUSTOMER: u8 = 3;
    say(bench, spare(0), &spare(0).open().with(ROLE, &[PROVIDER]))?.reset(2, 11)?;
    bench.establish_with(spare(1), &spare(1).open().with(ROLE, &[CUSTOMER]))?.is_up()?;
    say(bench, spare(2), &spare(2).open())?.reset(2, 11)?;
    let two = spare(3).open().with(ROLE, &[CUSTOMER]).with(ROLE, &[PROVIDER]);
    say(bench, spare(3), &two)?.reset(2, 11)
}

fn b23(bench: &mut Bench) -> Result<()> {
    bench.start(spares(1).with(spare(0), Knob::Families(vec![V4])))?;
    for (who, families) in [(E1, vec![V4, V6]), (spare(0), vec![V4])] {
        let mut conn = bench.connect(who)?;
        conn.send(&who.open().with(ADD_PATH, &[0, 1, 1, 3]).octets())?;
        let open = conn.wait_open()?;
        let mut told = open.all_families();
        told.sort_unstable();
        same("families", told, families)?;
        same("its AS", open.value(FOUR_OCTET_AS), Some(&65_001_u32.to_be_bytes()[..]))?;
        for code in [ADD_PATH, GRACEFUL_RESTART, LONG_LIVED, ROLE] {
            // GoBGP and others announce what they can do as a helper: no families in it.
            let silent = open.value(code).is_none_or(|value| code == GRACEFUL_RESTART && value.len() == 2);
            ensure!(silent, "capability {code}, which was not configured");
        }
    }
    Ok(())
}

fn b24(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0).with(E1, Knob::Active).with(E1, Knob::ConnectRetrySecs(1)))?;
    let listener = listen(E1)?;
    let began = Instant::now();
    let (mut tries, mut said) = (0, Vec::new());
    for subcode in [7, 4, 7] {
        let mut conn = bench.accept(&listener, E1)?;
        said.push(conn.wait_open()?);
        conn.send(&crate::wire::notification(2, subcode, &[]))?;
        conn.ends()?;
        tries += 1;
    }
    ensure!(began.elapsed() > Duration::from_millis(700), "{tries} attempts within {:?}", began.elapsed());
    // It asks for the same each time: to do without capabilities was not configured.
    ensure!(
        said.windows(2).all(|pair| pair[0].capabilities == pair[1].capabilities),
        "another OPEN: {said:?}"
    );
    Ok(())
}

fn b25(bench: &mut Bench) -> Result<()> {
    let mut plan = spares(0);
    plan.range = Some(("10.0.9.0/24", 65_900));
    bench.start(plan)?;
    let member = |host: u16| Who { host: 9 * 256 + host, asn: 65_900, client: false };
    bench.establish(member(1))?.is_up()?;
    say(bench, member(2), &Open::new(65_901, member(2).v4()))?.reset_by(&[(2, 2), (6, 5)])?;
    let mut stranger = bench.connect(STRANGER)?;
    stranger.send(&STRANGER.open().octets())?;
    stranger.ends()?;
    ensure!(
        stranger.notified().is_none_or(|(code, subcode, _)| (code, subcode) == (6, 5)),
        "{:?}",
        stranger.notified()
    );
    bench.establish(member(2)).map(drop)
}
