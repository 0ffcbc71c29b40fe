//! Section C: states and timers (RFC 4271 section 8, RFC 6608, 4486, 9003, 9687, 9384).

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bgpd::sys::{KeyScope, set_md5_key};
use lab::wait;
use socket2::{Domain, Socket, Type};

use crate::bench::{Bench, listen, listen_with, same};
use crate::bfd::Path;
use crate::k::PATIENT;
use crate::open::GRACEFUL_RESTART;
use crate::plan::{Knob, Plan};
use crate::routes::{Route, many, withdraw};
use crate::speaker::{C1, C2, Conn, DUT_ID, E1, E2, Heard, N1, STRANGER, WITNESS, Who, spare};
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
    bench.start(spares(3).with(E1, Knob::Active).with(E1, Knob::ConnectRetrySecs(1)))?;
    told_to_go(bench, &notification(6, 4, &[]))?;
    // It comes back by itself, and not at once.
    let listener = listen(E1)?;
    let mut conn = bench.accept(&listener, E1)?;
    conn.handshake(&E1.open())?;
    conn.send(&notification(6, 4, &[]))?;
    conn.ends_silently()?;
    let began = Instant::now();
    bench.accept(&listener, E1)?.handshake(&E1.open())?;
    ensure!(began.elapsed() > Duration::from_millis(600), "back after {:?}", began.elapsed());
    Ok(())
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
    ensure!(gaps.iter().all(|gap| *gap < Duration::from_millis(2150)), "KEEPALIVEs after {gaps:?}");
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

/// Whether rows are to take the minutes that their text asks for.
fn is_long() -> bool {
    std::env::var_os(crate::table::LONG).is_some()
}

/// The daemon connects and is reset as many times; the moments of its attempts.
fn attempts(bench: &Bench, listener: &TcpListener, count: usize) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..count {
        let mut conn = bench.accept_within(listener, E1, Duration::from_secs(30))?;
        times.push(Instant::now());
        conn.wait_open()?;
        conn.abort()?;
    }
    Ok(times.windows(2).map(|pair| pair[1] - pair[0]).collect())
}

fn c13(bench: &mut Bench) -> Result<()> {
    const FIRST: Duration = Duration::from_secs(1);
    // Nobody speaks to the witness for two minutes.
    let plan = spares(0).with(WITNESS, Knob::HoldSecs(600)).with(E1, Knob::Active);
    bench.start(plan.with(E1, Knob::ConnectRetrySecs(1)).with(E1, Knob::IdleHoldSecs(1, 2)))?;
    let listener = listen(E1)?;
    let gaps = attempts(bench, &listener, 20)?;
    ensure!(gaps.iter().all(|gap| *gap >= FIRST.mul_f32(0.99)), "attempts sooner than configured: {gaps:?}");
    // It doubles once and is at its longest then.
    let (shortest, longest) =
        (gaps[1..].iter().min().context("gaps")?, gaps[1..].iter().max().context("gaps")?);
    ensure!(*shortest > gaps[0] * 3 / 2, "the gaps do not grow: {gaps:?}");
    ensure!(*longest - *shortest > Duration::from_millis(50), "no jitter in {gaps:?}");
    if !is_long() {
        return Ok(());
    }
    // More than a minute of peace, and the first wait is the shortest again.
    let mut conn = bench.accept_within(&listener, E1, Duration::from_secs(30))?;
    conn.handshake(&E1.open())?;
    conn.pump(Duration::from_secs(61), |conn| conn.end.is_some())?;
    conn.is_up()?;
    conn.abort()?;
    let began = Instant::now();
    bench.accept_within(&listener, E1, Duration::from_secs(30))?;
    ensure!(began.elapsed() < FIRST.mul_f32(1.4), "the wait after a long session was {:?}", began.elapsed());
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
    // Nothing else is refused meanwhile: each refusal is an attempt.
    let mut witness = bench.establish(C1)?;
    let (mut seen, mut times, began) = (refused()?, Vec::new(), Instant::now());
    while began.elapsed() < Duration::from_secs(6) {
        witness.pump(Duration::from_millis(5), |_| false)?;
        if refused()? > seen {
            (seen, times) = (refused()?, [times, vec![Instant::now()]].concat());
        }
    }
    let gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    ensure!(gaps.len() >= 4, "{} attempts within 6 s with a retry of 1 s", times.len());
    let allowed = Duration::from_millis(720)..Duration::from_millis(1100);
    ensure!(gaps.iter().all(|gap| allowed.contains(gap)), "attempts after {gaps:?} with a retry of 1 s");
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
    bench.start(spares(2))?;
    let mut conn = bench.establish(spare(0))?;
    let text = "é maintenance until 12:00";
    bench.dut()?.tell(&["shutdown", &spare(0).name(), "--message", text])?;
    let data = conn.reset_by(&[(6, 2)])?;
    ensure!(
        data.first().map(|len| usize::from(*len)) == Some(text.len()) && data[1..] == *text.as_bytes(),
        "{data:02x?}"
    );
    // More than fits is refused or cut, never in the middle of a letter; nothing to say is said with nothing.
    let long = "\u{e9}".repeat(200);
    let mut other = bench.establish(spare(1))?;
    if bench.dut()?.tell(&["shutdown", &spare(1).name(), "--message", &long]).is_err() {
        other.is_up()?;
        bench.dut()?.tell(&["shutdown", &spare(1).name()])?;
    }
    let data = other.reset_by(&[(6, 2)])?;
    let text = data.get(1..).unwrap_or_default();
    ensure!(data.first().is_none_or(|len| usize::from(*len) == text.len()), "{data:02x?}");
    ensure!(std::str::from_utf8(text).is_ok(), "cut in a letter: {data:02x?}");
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
    near("the pause before the next session", began.elapsed(), 2.9, 1.0)
}

fn c19(bench: &mut Bench) -> Result<()> {
    bench.start(spares(1).with(spare(0), Knob::Bfd))?;
    let mut conn = bench.establish(spare(0))?;
    let path = Path::of(spare(0), true)?;
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
    told_to_go(bench, &notification(6, 2, &[4, 0xFF, 0xFE, b'\n', 0x07]))?;
    let log = bench.daemon()?.log();
    ensure!(!log.contains('\u{7}'), "a control character of the neighbour's is in the log");
    Ok(())
}

/// Whether a connection comes about from this neighbour's address.
fn connects(who: Who, options: impl Fn(&Socket) -> Result<()>) -> Result<bool> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    options(&socket)?;
    socket.bind(&SocketAddr::from((who.address(), 0)).into())?;
    Ok(socket.connect_timeout(&SocketAddr::from((DUT_ID, 179)).into(), Duration::from_secs(1)).is_ok())
}

/// With segments signed by this key (RFC 2385).
fn signed(key: &'static str) -> impl Fn(&Socket) -> Result<()> {
    move |socket| Ok(set_md5_key(socket, KeyScope::Host(DUT_ID.into()), key.as_bytes())?)
}

fn c21(bench: &mut Bench) -> Result<()> {
    const KEY: &str = "s3cret";
    let plan = spares(3).with(spare(0), Knob::TtlSecurity);
    bench.start(plan.with(spare(1), Knob::Password(KEY)).with(spare(2), Knob::Password(KEY)))?;
    let mut observer = bench.establish(C1)?;
    far(bench, &mut observer)?;
    let near = spare(1);
    ensure!(!connects(near, |_| Ok(()))?, "connected without a key");
    ensure!(!connects(near, signed("s3creT"))?, "connected with another key");
    ensure!(!connects(E1, signed(KEY))?, "connected with a key where none is configured");
    let mut conn = bench.connect_from(near, near.address(), DUT_ID.into(), signed(KEY))?;
    conn.handshake(&near.open())?;
    bench.settle(&mut conn, &mut observer)?;
    // The daemon's own connections are signed too.
    let plan = bench.plan().with(spare(2), Knob::Active).with(spare(2), Knob::ConnectRetrySecs(1));
    bench.start(plan)?;
    let listener = listen_with(spare(2), |socket| {
        Ok(set_md5_key(socket, KeyScope::Host(DUT_ID.into()), KEY.as_bytes())?)
    })?;
    bench.accept(&listener, spare(2))?.handshake(&spare(2).open()).map(drop)
}

/// Where 255 hops are asked for nothing with fewer is heard: no SYN, and no segment of a session that stands.
fn far(bench: &mut Bench, observer: &mut Conn) -> Result<()> {
    let who = spare(0);
    let connect =
        |ttl| bench.connect_from(who, who.address(), DUT_ID.into(), |socket| Ok(socket.set_ttl_v4(ttl)?));
    if connects(who, |socket| Ok(socket.set_ttl_v4(254)?))? {
        let mut far = connect(254)?;
        far.send(&who.open().octets())?;
        far.pump(Duration::from_secs(1), |conn| conn.end.is_some())?;
        ensure!(far.their_open().is_none() || far.keepalives() == 0, "accepted with TTL 254");
    }
    let mut conn = connect(255)?;
    conn.handshake(&who.open())?;
    conn.socket().set_ttl_v4(254)?;
    conn.send(&Route::of(who).announce(&[P]))?;
    let mut other = bench.establish(E2)?;
    bench.settle(&mut other, observer)?;
    observer.pump(Duration::from_millis(300), |_| false)?;
    ensure!(observer.told(P).is_none(), "a segment with TTL 254 was heard");
    // What is sent again with 255 is.
    conn.socket().set_ttl_v4(255)?;
    observer.learn(P).map(drop)
}

fn c22(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0).alone())?;
    let mut conn = bench.establish(E1)?;
    bench.daemon()?.signal("TERM")?;
    conn.reset(6, 2)?;
    bench.daemon()?.wait_exit(Duration::from_secs(10))?;
    // Where restarts are graceful it leaves like one that was killed, so that its routes stay.
    for signal in ["TERM", "KILL"] {
        bench.start(spares(0).alone().with(E1, Knob::Graceful(60)).more(PATIENT))?;
        let open = E1.open().graceful(0, 60, &[(V4, 0x80)]);
        let mut conn = bench.establish_with(E1, &open)?;
        bench.daemon()?.signal(signal)?;
        conn.ends_silently().with_context(|| signal)?;
        bench.restart()?;
        let theirs = bench.connect(E1)?.handshake(&open)?;
        let restarted = theirs.value(GRACEFUL_RESTART).is_some_and(|value| value[0] & 0x80 != 0);
        same(&format!("R in the OPEN after SIG{signal}"), restarted, true)?;
    }
    // And with Cease all the same, where that is configured.
    let ceases = PATIENT.replace(" }", ", ceaseOnExit: true }");
    bench.start(spares(0).alone().with(E1, Knob::Graceful(60)).more(&ceases))?;
    let mut conn = bench.establish_with(E1, &E1.open().graceful(0, 60, &[(V4, 0x80)]))?;
    bench.daemon()?.signal("TERM")?;
    conn.reset(6, 2)?;
    bench.daemon()?.wait_exit(Duration::from_secs(10)).map(drop)
}
