//! Section C: states and timers (RFC 4271 section 8, RFC 6608, 4486, 9003, 9687, 9384).

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::wait;

use crate::bench::{Bench, listen, same};
use crate::bfd::Path;
use crate::plan::{Knob, Plan};
use crate::routes::{Route, many, withdraw};
use crate::speaker::{C1, C2, Conn, DUT_ID, E1, E2, Heard, N1, STRANGER, Who, spare};
use crate::wire::{V4, keepalive, notification, refresh};

crate::rows! { c1 c2 c3 c4 c5 c6 c7 c8 c9 c10 c11 c12 c13 c14 c15 c16 c17 c18 c19 c20 c21 c22 }

const P: &str = "203.0.113.0/24";

fn spares(count: u16) -> Plan {
    let whos: Vec<_> = (0..count).map(spare).chain([E1, E2, C1, C2, N1]).collect();
    Plan::of(&whos)
}

fn near(what: &str, took: Duration, secs: f32, slack: f32) -> Result<()> {
    let off = (took.as_secs_f32() - secs).abs();
    ensure!(off <= slack, "{what} took {took:?} instead of {secs} s");
    Ok(())
}

/// A session in OpenConfirm: OPENs and the daemon's KEEPALIVE were exchanged, ours is missing.
fn confirming(bench: &Bench, who: Who) -> Result<Conn> {
    let mut conn = bench.connect(who)?;
    conn.send(&who.open().octets())?;
    conn.until("OPEN and KEEPALIVE", |conn| {
        conn.heard.iter().any(|(_, heard)| matches!(heard, Heard::Keepalive))
    })?;
    Ok(conn)
}

fn c1(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0).with(E1, Knob::OpenHoldSecs(3)))?;
    let mut conn = bench.connect(E1)?;
    let began = Instant::now();
    conn.wait_open()?;
    conn.reset(4, 0)?;
    near("the large hold time", began.elapsed(), 3.0, 1.0)
}

fn c2(bench: &mut Bench) -> Result<()> {
    bench.start(spares(3))?;
    let early = [keepalive(), Route::of(spare(1)).announce(&[P]), refresh(V4, 0)];
    for (n, octets) in (0..).zip(early) {
        let mut conn = bench.connect(spare(n))?;
        conn.wait_open()?;
        conn.send(&octets)?;
        conn.reset(5, 1)?;
    }
    Ok(())
}

fn c3(bench: &mut Bench) -> Result<()> {
    bench.start(spares(3))?;
    let early = [Route::of(spare(0)).announce(&[P]), refresh(V4, 0), spare(2).open().octets()];
    for (n, octets) in (0..).zip(early) {
        let mut conn = confirming(bench, spare(n))?;
        conn.send(&octets)?;
        conn.reset_by(if n == 2 { &[(5, 2), (6, 7)] } else { &[(5, 2)] })?;
    }
    Ok(())
}

fn c4(bench: &mut Bench) -> Result<()> {
    bench.start(spares(1))?;
    let mut conn = bench.establish(spare(0))?;
    conn.send(&spare(0).open().octets())?;
    conn.reset(5, 3)
}

/// Closes sessions in each state by this NOTIFICATION, and meets the same neighbour again.
fn told_to_go(bench: &mut Bench, octets: &[u8]) -> Result<()> {
    let mut sent = bench.connect(spare(0))?;
    sent.wait_open()?;
    for mut conn in [sent, confirming(bench, spare(1))?, bench.establish(spare(2))?] {
        conn.send(octets)?;
        conn.ends_silently()?;
        bench.establish(conn.who)?.is_up()?;
    }
    Ok(())
}

fn c5(bench: &mut Bench) -> Result<()> {
    bench.start(spares(3))?;
    told_to_go(bench, &notification(6, 4, &[]))
}

fn c6(bench: &mut Bench) -> Result<()> {
    bench.start(spares(3))?;
    told_to_go(bench, &notification(99, 99, &[]))?;
    told_to_go(bench, &notification(99, 0, &[0xAB; 2048]))
}

fn c7(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0))?;
    for _ in 0..4 {
        let mut conn = bench.connect(E1)?;
        conn.wait_open()?;
        conn.send(&notification(2, 1, &[0, 4]))?;
        conn.ends_silently()?;
    }
    let began = Instant::now();
    bench.establish(E1)?;
    ensure!(began.elapsed() < Duration::from_secs(2), "held off for {:?}", began.elapsed());
    Ok(())
}

fn c8(bench: &mut Bench) -> Result<()> {
    bench.start(spares(4).with_all(&[spare(0), spare(1), spare(2), spare(3)], &Knob::HoldSecs(3)))?;
    let began = Instant::now();
    let mut conns = (0..4).map(|n| bench.establish(spare(n))).collect::<Result<Vec<_>>>()?;
    conns[0].pump(Duration::from_secs(2), |_| false)?;
    conns[1].send(&keepalive())?;
    conns[2].send(&Route::of(spare(2)).announce(&[P]))?;
    // Part of a message is no message.
    conns[3].send(&keepalive()[..18])?;
    for (n, secs) in [(0, 3.0), (3, 3.0), (1, 5.0), (2, 5.0)] {
        conns[n].reset(4, 0)?;
        near(&format!("session {n}"), began.elapsed(), secs, 1.0)?;
    }
    Ok(())
}

fn c9(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0).with_all(&[E1, N1], &Knob::HoldSecs(6)))?;
    let (mut conn, mut twin) = (bench.establish(E1)?, bench.establish(N1)?);
    let beats = |conn: &Conn| -> Vec<Instant> {
        conn.heard.iter().filter(|(_, heard)| matches!(heard, Heard::Keepalive)).map(|(at, _)| *at).collect()
    };
    // RFC 4271 section 4.4 forbids more than one a second, so a hold time of 3 s would leave no room for jitter.
    for beat in 2..7 {
        conn.until("a KEEPALIVE", |conn| beats(conn).len() >= beat)?;
        conn.send(&keepalive())?;
        twin.pump(Duration::from_millis(1), |_| false)?;
        twin.send(&keepalive())?;
    }
    let gaps: Vec<Duration> = beats(&conn).windows(2).skip(1).map(|pair| pair[1] - pair[0]).collect();
    ensure!(gaps.iter().all(|gap| *gap < Duration::from_millis(2300)), "KEEPALIVEs after {gaps:?}");
    let spread = gaps.iter().max().context("gaps")?.saturating_sub(*gaps.iter().min().context("gaps")?);
    ensure!(spread > Duration::from_millis(20), "no jitter in {gaps:?}");
    Ok(())
}

/// A neighbour that reads nothing more, with more to be told than the kernel holds for it.
fn deaf(bench: &mut Bench, plan: Plan) -> Result<(Conn, Conn)> {
    bench.start(plan)?;
    let small = |socket: &socket2::Socket| Ok(socket.set_recv_buffer_size(4096)?);
    let mut deaf = bench.connect_from(C2, C2.address(), DUT_ID.into(), small)?;
    deaf.handshake(&C2.open())?;
    let mut source = bench.establish(E1)?;
    flood(&mut source, 0)?;
    Ok((deaf, source))
}

/// Thousands of routes that differ, so that they fill many messages.
fn flood(source: &mut Conn, round: u32) -> Result<()> {
    for (n, chunk) in (0..).zip(many(V4, 1, 20_000).chunks(10)) {
        let asns: Vec<u32> = [source.who.asn].into_iter().chain((0..60).map(|k| 100_000 + n + k)).collect();
        source.send(&Route::of(source.who).path(&asns).med(round).announce(chunk))?;
    }
    Ok(())
}

fn c10(bench: &mut Bench) -> Result<()> {
    let (mut deaf, _source) =
        deaf(bench, spares(0).with(C2, Knob::SendHoldSecs(4)).with(C2, Knob::HoldSecs(3)))?;
    let began = Instant::now();
    let mut witness = bench.establish(N1)?;
    wait::until("the connection is dropped", Duration::from_secs(20), || {
        let alive = deaf.poke(&keepalive())?;
        ensure!(!alive, "still open");
        Ok(())
    })?;
    ensure!(began.elapsed() > Duration::from_secs(2), "dropped after {:?}", began.elapsed());
    witness.is_up()
}

fn c11(bench: &mut Bench) -> Result<()> {
    let (_deaf, mut source) = deaf(bench, spares(0))?;
    let mut observer = bench.establish(C1)?;
    bench.settle(&mut source, &mut observer)?;
    let before = bench.dut()?.rss_kb()?;
    for round in 1..4 {
        let began = Instant::now();
        flood(&mut source, round)?;
        bench.settle(&mut source, &mut observer)?;
        ensure!(began.elapsed() < Duration::from_secs(8), "round {round} took {:?}", began.elapsed());
    }
    let grown = bench.dut()?.rss_kb()?.saturating_sub(before);
    ensure!(grown < 40_000, "grew by {grown} kB for a neighbour that does not read");
    Ok(())
}

fn c12(bench: &mut Bench) -> Result<()> {
    bench.start(spares(3))?;
    let mut observer = bench.establish(C1)?;
    let mut sent = bench.connect(spare(0))?;
    sent.wait_open()?;
    sent.abort()?;
    confirming(bench, spare(1))?.abort()?;
    let mut conn = bench.establish(spare(2))?;
    conn.send(&Route::of(spare(2)).announce(&[P]))?;
    observer.learn(P)?;
    conn.abort()?;
    observer.unlearn(P)?;
    (0..3).try_for_each(|n| bench.establish(spare(n))?.is_up())
}

fn c13(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0).with(E1, Knob::Active).with(E1, Knob::ConnectRetrySecs(1)))?;
    let listener = listen(E1)?;
    let mut times = Vec::new();
    for _ in 0..5 {
        let mut conn = bench.accept_within(&listener, E1, Duration::from_secs(30))?;
        times.push(Instant::now());
        conn.wait_open()?;
        conn.abort()?;
    }
    let gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    ensure!(gaps.iter().all(|gap| *gap > Duration::from_millis(600)), "attempts after {gaps:?}");
    ensure!(gaps[3] > gaps[0] * 3 / 2, "the gaps do not grow: {gaps:?}");
    Ok(())
}

/// How often this machine has refused a connection.
fn refused() -> Result<u64> {
    let text = fs::read_to_string("/proc/net/snmp")?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next().context("names")?, lines.next().context("values")?);
    let at = names.split(' ').position(|name| name == "OutRsts").context("OutRsts")?;
    Ok(values.split(' ').nth(at).context("a value")?.parse()?)
}

fn c14(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0).with(E1, Knob::Active).with(E1, Knob::ConnectRetrySecs(1)))?;
    let passive = listen(N1)?;
    passive.set_nonblocking(true)?;
    let before = refused()?;
    let mut witness = bench.establish(C1)?;
    witness.pump(Duration::from_secs(5), |_| false)?;
    let tries = refused()? - before;
    ensure!((3..=8).contains(&tries), "{tries} attempts within 5 s with a retry of 1 s");
    ensure!(passive.accept().is_err(), "the daemon connects to a neighbour it should wait for");
    Ok(())
}

fn c15(bench: &mut Bench) -> Result<()> {
    bench.start(spares(2).with_all(&[spare(0), spare(1)], &Knob::DelayOpenSecs(2)))?;
    let began = Instant::now();
    let mut conn = bench.connect(spare(0))?;
    let mut eager = bench.connect(spare(1))?;
    eager.handshake(&spare(1).open())?;
    ensure!(began.elapsed() < Duration::from_millis(1500), "our OPEN did not end the delay");
    conn.wait_open()?;
    near("the delay", began.elapsed(), 2.0, 0.8)
}

fn c16(bench: &mut Bench) -> Result<()> {
    bench.start(spares(1))?;
    let mut conn = bench.establish(spare(0))?;
    let text = "é maintenance until 12:00";
    bench.dut()?.tell(&["shutdown", &spare(0).name(), "--message", text])?;
    let data = conn.reset_by(&[(6, 2)])?;
    ensure!(
        data.first().map(|len| usize::from(*len)) == Some(text.len()) && data[1..] == *text.as_bytes(),
        "{data:02x?}"
    );
    let Ok(mut again) = bench.connect(spare(0)) else { return Ok(()) };
    again.send(&spare(0).open().octets())?;
    again.ends()?;
    ensure!(
        again.notified().is_none_or(|(code, subcode, _)| code == 6 && [2, 5].contains(&subcode)),
        "{:?}",
        again.notified()
    );
    Ok(())
}

fn c17(bench: &mut Bench) -> Result<()> {
    bench.start(spares(3))?;
    let (mut gone, mut changed) = (bench.establish(spare(0))?, bench.establish(spare(1))?);
    let mut stays = bench.establish(E1)?;
    let mut plan = bench.plan();
    plan.peers.retain(|peer| peer.who != spare(0));
    bench.reconfigure(plan.with(spare(1), Knob::Families(vec![V4])))?;
    gone.reset(6, 3)?;
    changed.reset(6, 6)?;
    stays.is_up()?;
    let mut stranger = bench.connect(STRANGER)?;
    stranger.send(&STRANGER.open().octets())?;
    stranger.ends()?;
    ensure!(
        stranger.notified().is_none_or(|(code, subcode, _)| (code, subcode) == (6, 5)),
        "{:?}",
        stranger.notified()
    );
    let mut reset = bench.establish(spare(2))?;
    bench.dut()?.tell(&["reset", &spare(2).name()])?;
    reset.reset(6, 4)?;
    bench.establish(spare(2)).map(drop)
}

fn c18(bench: &mut Bench) -> Result<()> {
    bench.start(spares(1).with_all(&[E1, spare(0)], &Knob::MaxPrefixes(10)))?;
    let (mut observer, mut conn) = (bench.establish(C1)?, bench.establish(E1)?);
    let prefixes = many(V4, 3, 12);
    let route = Route::of(E1);
    // Ten, again, two withdrawn and two others: never more than ten.
    conn.send(&route.announce(&prefixes[..10]))?;
    conn.send(&route.clone().med(1).announce(&prefixes[..10]))?;
    conn.send(&withdraw(&prefixes[..2]))?;
    conn.send(&route.announce(&prefixes[10..]))?;
    observer.learn(&prefixes[11])?;
    conn.is_up()?;
    conn.send(&route.announce(&prefixes[..1]))?;
    conn.reset_with(6, 1, &[0, 1, 1, 0, 0, 0, 10])?;
    bench.start(
        spares(1)
            .with(E1, Knob::MaxPrefixes(10))
            .with(E1, Knob::MaxPrefixesWarn)
            .with(spare(0), Knob::MaxPrefixes(10))
            .with(spare(0), Knob::MaxPrefixesRestartSecs(2)),
    )?;
    let (mut observer, mut conn) = (bench.establish(C1)?, bench.establish(E1)?);
    conn.send(&Route::of(E1).announce(&prefixes))?;
    bench.settle(&mut conn, &mut observer)?;
    conn.is_up()?;
    let mut conn = bench.establish(spare(0))?;
    let began = Instant::now();
    conn.send(&Route::of(spare(0)).announce(&prefixes))?;
    conn.reset(6, 1)?;
    bench.establish(spare(0))?;
    near("the pause before the next session", began.elapsed(), 2.5, 1.5)
}

fn c19(bench: &mut Bench) -> Result<()> {
    bench.start(spares(1).with(spare(0), Knob::Bfd))?;
    let mut conn = bench.establish(spare(0))?;
    let path = Path::of(spare(0))?;
    path.rise()?;
    path.withdraw()?;
    conn.is_up()?;
    path.rise()?;
    // From now on we are silent.
    conn.reset(6, 10)
}

fn c20(bench: &mut Bench) -> Result<()> {
    bench.start(spares(3))?;
    told_to_go(bench, &notification(6, 2, &[&[255][..], &[b'x'; 255]].concat()))?;
    told_to_go(bench, &notification(6, 2, &[200, b'a']))?;
    told_to_go(bench, &notification(6, 2, &[4, 0xFF, 0xFE, b'\n', 0x1B]))
}

fn c21(bench: &mut Bench) -> Result<()> {
    bench.start(spares(2).with(spare(0), Knob::TtlSecurity).with(spare(1), Knob::Password("s3cret")))?;
    let with_ttl = |ttl| move |socket: &socket2::Socket| Ok(socket.set_ttl_v4(ttl)?);
    let connect = |ttl| bench.connect_from(spare(0), spare(0).address(), DUT_ID.into(), with_ttl(ttl));
    if let Ok(mut far) = connect(254) {
        far.send(&spare(0).open().octets())?;
        far.pump(Duration::from_secs(1), |conn| conn.end.is_some())?;
        ensure!(
            far.their_open().is_none()
                || !far.heard.iter().any(|(_, heard)| matches!(heard, Heard::Keepalive)),
            "accepted with TTL 254"
        );
    }
    connect(255)?.handshake(&spare(0).open())?;
    // Without a key no segment of ours is answered.
    let unsigned = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    unsigned.bind(&std::net::SocketAddr::from((spare(1).address(), 0)).into())?;
    let dut = std::net::SocketAddr::from((DUT_ID, 179));
    ensure!(
        unsigned.connect_timeout(&dut.into(), Duration::from_secs(2)).is_err(),
        "connected without a key"
    );
    Ok(())
}

fn c22(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0).alone())?;
    let mut conn = bench.establish(E1)?;
    bench.daemon()?.signal("TERM")?;
    conn.reset(6, 2)?;
    bench.daemon()?.wait_exit(Duration::from_secs(10))?;
    bench.start(spares(0).alone().with(E1, Knob::Graceful(60)))?;
    let mut conn = bench.establish_with(E1, &E1.open().graceful(0, 60, &[(V4, 0x80)]))?;
    bench.daemon()?.kill();
    conn.ends_silently()?;
    same("heard of a killed daemon", conn.notified().is_none(), true)
}
