//! Section K: graceful restart, as helper and as the one that restarts (RFC 4724, RFC 8538).

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::bench::{Bench, same};
use crate::bfd::Path;
use crate::crowd::{Crowd, Member};
use crate::f::inside;
use crate::open::{GRACEFUL_RESTART, Open};
use crate::plan::{Knob, Plan};
use crate::routes::{Route, many};
use crate::speaker::{C1, C2, Change, Conn, E1, E2, Heard, N1, SOON, Who, client};
use crate::wire::*;

crate::rows! { k1 k2 k3 k4 k5 k6 k7 k8 k9 k10 k11 k12 k13 k14 k15 k16 k17 }

pub(crate) const KEPT: u8 = 0x80;
const RESTARTED: u16 = 8;
const NOTIFIES: u16 = 4;

/// E1's OPEN with graceful restart in both families.
pub(crate) fn graceful(flags: u16, secs: u16) -> Open {
    E1.open().graceful(flags, secs, &[(V4, KEPT), (V6, KEPT)])
}

fn plan() -> Plan {
    Plan::six().with(E1, Knob::Graceful(60))
}

/// Ten routes of E1, of each family, that C1 has. E2 is there to prove things with.
pub(crate) struct Stage {
    pub(crate) e1: Conn,
    pub(crate) e2: Conn,
    pub(crate) c1: Conn,
    pub(crate) prefixes: Vec<String>,
}

impl Stage {
    pub(crate) fn set(bench: &mut Bench, plan: Plan, open: &Open) -> Result<Stage> {
        Stage::observed(bench, plan, open, &C1.open())
    }

    /// With C1 saying this OPEN.
    pub(crate) fn observed(bench: &mut Bench, plan: Plan, open: &Open, observer: &Open) -> Result<Stage> {
        bench.start(plan)?;
        let (mut e1, e2) = (bench.establish_with(E1, open)?, bench.establish(E2)?);
        let c1 = bench.establish_with(C1, observer)?;
        let prefixes = many(V4, 1, 10);
        e1.send(&Route::of(E1).announce(&prefixes))?;
        e1.send(&Route::of(E1).announce(&many(V6, 1, 10)))?;
        e1.send(&end_of_rib(V4))?;
        e1.send(&end_of_rib(V6))?;
        let mut stage = Stage { e1, e2, c1, prefixes };
        bench.settle(&mut stage.e1, &mut stage.c1)?;
        let has_both = |conn: &Conn| conn.rib.keys().filter(|(family, ..)| *family == V6).count() >= 10;
        stage.c1.until("the routes of the other family", has_both)?;
        stage.c1.changes.clear();
        Ok(stage)
    }

    /// E1's connection breaks.
    pub(crate) fn drop_e1(self) -> Result<Lost> {
        let Stage { e1, e2, c1, prefixes } = self;
        e1.abort()?;
        Ok(Lost { e2, c1, prefixes })
    }
}

/// What is left when E1 is gone.
pub(crate) struct Lost {
    pub(crate) e2: Conn,
    pub(crate) c1: Conn,
    pub(crate) prefixes: Vec<String>,
}

impl Lost {
    /// How many of E1's IPv4 routes C1 has.
    pub(crate) fn left(&self) -> usize {
        left(&self.c1, &self.prefixes)
    }

    /// Nothing was withdrawn or announced anew.
    pub(crate) fn unchanged(&mut self, bench: &mut Bench) -> Result<()> {
        bench.settle(&mut self.e2, &mut self.c1)?;
        same("routes kept", self.left(), self.prefixes.len())?;
        let touched = self.prefixes.iter().filter(|prefix| self.c1.count(prefix) != (0, 0)).count();
        same("routes touched", touched, 0)
    }

    /// All of E1's routes go.
    pub(crate) fn gone(&mut self, within: Duration) -> Result<()> {
        let prefixes = self.prefixes.clone();
        self.c1.until_within("all stale routes withdrawn", within, |conn| left(conn, &prefixes) == 0)
    }
}

fn left(conn: &Conn, prefixes: &[String]) -> usize {
    prefixes.iter().filter(|prefix| conn.told(prefix).is_some()).count()
}

const AT_ONCE: Duration = Duration::from_secs(4);

fn k1(bench: &mut Bench) -> Result<()> {
    let mut lost = Stage::set(bench, plan(), &graceful(0, 30))?.drop_e1()?;
    lost.unchanged(bench)?;
    lost.unchanged(bench)
}

fn k2(bench: &mut Bench) -> Result<()> {
    let stage = Stage::set(bench, plan(), &graceful(0, 3))?;
    let began = Instant::now();
    let mut lost = stage.drop_e1()?;
    lost.unchanged(bench)?;
    lost.gone(Duration::from_secs(6))?;
    let took = began.elapsed().as_secs_f32();
    ensure!((2.0..4.0).contains(&took), "a restart time of 3 s took {took} s");
    Ok(())
}

fn k3(bench: &mut Bench) -> Result<()> {
    let mut lost = Stage::set(bench, plan(), &graceful(0, 30))?.drop_e1()?;
    let mut back = bench.establish_with(E1, &graceful(RESTARTED, 30))?;
    back.send(&Route::of(E1).announce(&lost.prefixes[..5]))?;
    bench.settle(&mut back, &mut lost.c1)?;
    same("routes before End-of-RIB", lost.left(), 10)?;
    back.send(&end_of_rib(V4))?;
    let prefixes = lost.prefixes.clone();
    lost.c1.until("the other half withdrawn", |conn| left(conn, &prefixes) == 5)?;
    same("the repeated ones", left(&lost.c1, &prefixes[..5]), 5)
}

fn k4(bench: &mut Bench) -> Result<()> {
    let returns = [
        (E1.open().graceful(RESTARTED, 30, &[(V4, 0), (V6, KEPT)]), 10),
        (E1.open().graceful(RESTARTED, 30, &[(V6, KEPT)]), 10),
        (E1.open(), 0),
    ];
    for (open, of_v6) in returns {
        let mut lost = Stage::set(bench, plan(), &graceful(0, 30))?.drop_e1()?;
        let mut back = bench.establish_with(E1, &open)?;
        lost.gone(AT_ONCE)?;
        bench.settle(&mut lost.e2, &mut lost.c1)?;
        // The family whose forwarding survived is not touched.
        let v6 = lost.c1.rib.keys().filter(|(family, ..)| *family == V6).count();
        same("IPv6 routes", v6, of_v6)?;
        back.is_up()?;
    }
    Ok(())
}

fn k5(bench: &mut Bench) -> Result<()> {
    let mut lost = Stage::set(bench, plan().with(E1, Knob::StaleSecs(2)), &graceful(0, 30))?.drop_e1()?;
    let began = Instant::now();
    let mut back = bench.establish_with(E1, &graceful(RESTARTED, 30))?;
    lost.gone(Duration::from_secs(6))?;
    let took = began.elapsed().as_secs_f32();
    ensure!((1.0..4.5).contains(&took), "a stale path time of 2 s took {took} s");
    back.is_up()
}

fn k6(bench: &mut Bench) -> Result<()> {
    let mut lost = Stage::set(bench, plan(), &graceful(0, 30))?.drop_e1()?;
    let mut back = bench.establish_with(E1, &graceful(RESTARTED, 30))?;
    back.send(&Route::of(E1).announce(&lost.prefixes[..5]))?;
    bench.settle(&mut back, &mut lost.c1)?;
    back.abort()?;
    let prefixes = lost.prefixes.clone();
    lost.c1.until("those of the first restart gone", |conn| left(conn, &prefixes[5..]) == 0)?;
    bench.settle(&mut lost.e2, &mut lost.c1)?;
    same("the refreshed ones", left(&lost.c1, &prefixes[..5]), 5)
}

fn k7(bench: &mut Bench) -> Result<()> {
    let Stage { mut e1, e2, c1, prefixes } = Stage::set(bench, plan(), &graceful(0, 30))?;
    let mut lost = Lost { e2, c1, prefixes };
    let mut back = bench.connect(E1)?;
    back.handshake(&graceful(RESTARTED, 30))?;
    e1.ends_silently()?;
    lost.unchanged(bench)?;
    back.send(&end_of_rib(V4))?;
    lost.gone(AT_ONCE)
}

fn k8(bench: &mut Bench) -> Result<()> {
    let mut stage = Stage::set(bench, plan(), &graceful(0, 30))?;
    stage.e1.send(&notification(6, 4, &[]))?;
    stage.drop_e1()?.gone(AT_ONCE)
}

fn k9(bench: &mut Bench) -> Result<()> {
    // Kept: told to close by an error of either side.
    for kept in [notification(6, 4, &[]), notification(3, 1, &[]), message(UPDATE, &[0, 9, 0, 0])] {
        let mut stage = Stage::set(bench, plan(), &graceful(NOTIFIES, 30))?;
        stage.e1.send(&kept)?;
        stage.e1.ends()?;
        stage.drop_e1()?.unchanged(bench)?;
    }
    // Kept: the hold time ran out.
    let mut stage = Stage::set(bench, plan().with(E1, Knob::HoldSecs(3)), &graceful(NOTIFIES, 30))?;
    stage.e1.reset(4, 0)?;
    stage.drop_e1()?.unchanged(bench)?;
    // Not kept: a hard reset.
    let mut stage = Stage::set(bench, plan(), &graceful(NOTIFIES, 30))?;
    stage.e1.send(&notification(6, 9, &[6, 4]))?;
    stage.drop_e1()?.gone(AT_ONCE)?;
    // The daemon's own, with the reason inside.
    let mut stage = Stage::set(bench, plan(), &graceful(NOTIFIES, 30))?;
    let mut less = plan();
    less.peers.retain(|peer| peer.who != E1);
    bench.reconfigure(less)?;
    stage.e1.reset_with(6, 9, &[6, 3])?;
    stage.drop_e1()?.gone(AT_ONCE)
}

fn k10(bench: &mut Bench) -> Result<()> {
    let open = E1.open().graceful(0, 30, &[]);
    let mut stage = Stage::set(bench, plan(), &open)?;
    stage.e1.until("End-of-RIB", |conn| conn.has_end_of_rib(V4) && conn.has_end_of_rib(V6))?;
    stage.drop_e1()?.gone(AT_ONCE)
}

/// Everything after a restart waits as long for whom is not there.
pub(crate) const PATIENT: &str = "restart: { waitForUnreachable: 20s, selectionDeferral: 20s }\n";

/// The flags and the families with forwarding state of the daemon's graceful restart capability.
fn restart_of(open: &Open) -> Result<(u16, Vec<(Family, u8)>)> {
    let value = open.value(GRACEFUL_RESTART).unwrap_or(&[]);
    ensure!(value.len() >= 2, "no graceful restart capability");
    let families =
        value[2..].chunks_exact(4).map(|four| ((u16::from_be_bytes([four[0], four[1]]), four[2]), four[3]));
    Ok((u16::from(value[0] >> 4), families.collect()))
}

fn k11(bench: &mut Bench) -> Result<()> {
    let plan = Plan::of(&[E1]).with(E1, Knob::Graceful(60)).alone().more(PATIENT);
    bench.start(plan)?;
    bench.establish_with(E1, &graceful(0, 30))?.is_up()?;
    bench.restart()?;
    let mut first = bench.connect(E1)?;
    let (flags, families) = restart_of(&first.handshake(&graceful(0, 30))?)?;
    same("R after a restart", flags & RESTARTED, RESTARTED)?;
    ensure!(
        families.iter().all(|(_, forwarding)| forwarding & !KEPT == 0) && families.len() == 2,
        "{families:?}"
    );
    first.send(&end_of_rib(V4))?;
    first.send(&end_of_rib(V6))?;
    first.until("End-of-RIB", |conn| conn.has_end_of_rib(V4) && conn.has_end_of_rib(V6))?;
    first.abort()?;
    let mut later = bench.connect(E1)?;
    let (flags, _) = restart_of(&later.handshake(&graceful(0, 30))?)?;
    same("R on a later session", flags & RESTARTED, 0)
}

/// A daemon that has restarted, with graceful E1 and C1 there again and N1, who is not graceful.
fn restarted(bench: &mut Bench, plan: Plan) -> Result<(Conn, Conn)> {
    bench.start(plan.alone())?;
    bench.establish_with(E1, &graceful(0, 30))?.is_up()?;
    bench.restart()?;
    let own = |who: Who| who.open().graceful(0, 30, &[(V4, KEPT), (V6, KEPT)]);
    Ok((bench.establish_with(E1, &own(E1))?, bench.establish_with(C1, &own(C1))?))
}

fn end(conn: &mut Conn) -> Result<()> {
    conn.send(&end_of_rib(V4))?;
    conn.send(&end_of_rib(V6))
}

fn told_nothing(conn: &mut Conn, during: Duration) -> Result<()> {
    conn.pump(during, |conn| conn.heard.iter().any(|(_, heard)| matches!(heard, Heard::Update(_))))?;
    let early = conn.heard.iter().find(|(_, heard)| matches!(heard, Heard::Update(_)));
    ensure!(early.is_none(), "told before everybody has spoken: {early:?}");
    Ok(())
}

fn k12(bench: &mut Bench) -> Result<()> {
    let whos = [E1, C1, C2, N1];
    let plan = Plan::of(&whos[..2]).with_all(&whos, &Knob::Graceful(60)).more(PATIENT);
    let (mut e1, mut c1) = restarted(bench, plan)?;
    end(&mut c1)?;
    e1.send(&Route::of(E1).announce(&["203.0.113.0/24"]))?;
    told_nothing(&mut c1, Duration::from_millis(1200))?;
    end(&mut e1)?;
    c1.learn("203.0.113.0/24")?;
    c1.until("End-of-RIB", |conn| conn.has_end_of_rib(V4) && conn.has_end_of_rib(V6))?;
    // Neither one that restarts itself nor one without graceful restart is waited for.
    let plan = Plan::of(&[E1, C1, N1]).with_all(&[E1, C1], &Knob::Graceful(60)).more(PATIENT);
    bench.start(plan.alone())?;
    bench.restart()?;
    let mut c1 = bench.establish_with(C1, &C1.open().graceful(0, 30, &[(V4, KEPT), (V6, KEPT)]))?;
    let _restarting = bench.establish_with(E1, &graceful(RESTARTED, 30))?;
    let _plain = bench.establish(N1)?;
    end(&mut c1)?;
    c1.until("End-of-RIB", |conn| conn.has_end_of_rib(V4) && conn.has_end_of_rib(V6))?;
    // One that never ends its routes is waited for as long as configured.
    let bounded = "restart: { waitForUnreachable: 20s, selectionDeferral: 3s }\n";
    let plan = Plan::of(&whos[..2]).with_all(&whos, &Knob::Graceful(60)).more(bounded);
    let began = Instant::now();
    let (_endless, mut c1) = restarted(bench, plan)?;
    end(&mut c1)?;
    told_nothing(&mut c1, Duration::from_millis(1500))?;
    c1.until("End-of-RIB", |conn| conn.has_end_of_rib(V4) && conn.has_end_of_rib(V6))?;
    let took = began.elapsed().as_secs_f32();
    ensure!((2.5..5.5).contains(&took), "a deferral of 3 s took {took} s with the start");
    Ok(())
}

fn k13(bench: &mut Bench) -> Result<()> {
    let all: Vec<Who> = (0..500).map(client).collect();
    let knob = Knob::Graceful(60);
    let plan = Plan::of(&all)
        .with_all(&all, &knob)
        .more("restart: { waitForUnreachable: 2s, selectionDeferral: 60s }\n");
    bench.start(plan.alone())?;
    bench.restart()?;
    let began = Instant::now();
    // All but one are back.
    let open = |who: Who| who.open().graceful(0, 60, &[(V4, KEPT), (V6, KEPT)]);
    let mut crowd = Crowd::meet(bench, &all[1..], open)?;
    crowd.until("a session", SOON, Member::is_up)?;
    let ends = [end_of_rib(V4), end_of_rib(V6)].concat();
    crowd.members.iter_mut().try_for_each(|member| member.say(&ends))?;
    crowd.until("End-of-RIB", SOON, |member| member.tally.standing_at_end_of_rib.is_some())?;
    ensure!(
        began.elapsed() < Duration::from_secs(8),
        "a dead neighbour held everybody up for {:?}",
        began.elapsed()
    );
    Ok(())
}

fn k14(bench: &mut Bench) -> Result<()> {
    // At once gone with a restart time of 0.
    Stage::set(bench, plan(), &graceful(0, 0))?.drop_e1()?.gone(AT_ONCE)?;
    Stage::set(bench, plan(), &graceful(0, 4095))?.drop_e1()?.unchanged(bench)?;
    let twice = E1.open().graceful(0, 30, &[(V4, KEPT), (V4, KEPT), (V6, KEPT), (V6, KEPT)]);
    let mut lost = Stage::set(bench, plan(), &twice)?.drop_e1()?;
    lost.unchanged(bench)?;
    let mut back = bench.establish_with(E1, &twice)?;
    end(&mut back)?;
    lost.gone(AT_ONCE)
}

fn k15(bench: &mut Bench) -> Result<()> {
    let stage = Stage::set(bench, plan(), &graceful(0, 30))?;
    let before = stage.c1.rib.clone();
    let mut lost = stage.drop_e1()?;
    lost.unchanged(bench)?;
    let mut c2 = bench.establish(C2)?;
    c2.until("everything", |conn| conn.rib.len() >= before.len())?;
    for (key, told) in &before {
        same("a stale route's attributes", c2.rib.get(key), Some(told))?;
    }
    Ok(())
}

fn k16(bench: &mut Bench) -> Result<()> {
    let mut lost = Stage::set(bench, plan(), &graceful(0, 600))?.drop_e1()?;
    lost.unchanged(bench)?;
    let mut less = plan();
    less.peers.retain(|peer| peer.who != E1);
    bench.reconfigure(less)?;
    lost.gone(AT_ONCE)?;
    let mut lost = Stage::set(bench, plan(), &graceful(0, 600))?.drop_e1()?;
    lost.unchanged(bench)?;
    bench.dut()?.tell(&["shutdown", &E1.name()])?;
    lost.gone(AT_ONCE)
}

fn k17(bench: &mut Bench) -> Result<()> {
    let mut plan = plan();
    plan.kernel = true;
    inside("route add 192.0.2.0/24 via 10.0.0.11")?;
    let Stage { mut e1, e2, mut c1, .. } = Stage::set(bench, plan, &graceful(0, 60))?;
    let mut far = Route::of(E1);
    far.v4 = vec![192, 0, 2, 9];
    let prefixes = many(V4, 2, 10);
    e1.send(&far.announce(&prefixes))?;
    // The kernel is asked for the way to a new next hop, so these come after what is sent behind them.
    c1.until("routes by a next hop that is far", |conn| left(conn, &prefixes) == prefixes.len())?;
    bench.settle(&mut e1, &mut c1)?;
    e1.abort()?;
    c1.changes.clear();
    let mut lost = Lost { e2, c1, prefixes };
    lost.unchanged(bench)?;
    inside("route del 192.0.2.0/24")?;
    lost.gone(AT_ONCE)?;
    for independent in [true, false] {
        forwarding_dies(bench, independent)?;
    }
    Ok(())
}

/// E1 restarts while BFD watches the path, and then BFD ends too: where it does not depend on the control plane (the C bit,
/// RFC 5882 section 4.3.2) forwarding is dead, where it does that is what a restart looks like.
fn forwarding_dies(bench: &mut Bench, independent: bool) -> Result<()> {
    let stage = Stage::set(bench, plan().with(E1, Knob::Bfd), &graceful(0, 600))?;
    let path = Path::of(E1, independent)?;
    path.rise()?;
    let mut lost = stage.drop_e1()?;
    lost.unchanged(bench)?;
    // From now on we are silent.
    if independent {
        return lost.gone(SOON);
    }
    lost.c1.pump(Duration::from_secs(5), |conn| {
        conn.changes.iter().any(|change| matches!(change, Change::Withdrawn(_)))
    })?;
    lost.unchanged(bench)
}
