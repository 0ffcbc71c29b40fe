//! Section L: long-lived graceful restart (RFC 9494).

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::bench::{Bench, same};
use crate::k::{KEPT, Lost, Stage, graceful};
use crate::open::Open;
use crate::plan::{Knob, Plan};
use crate::routes::Route;
use crate::speaker::{C1, C2, Conn, E1, N1, N2, Who};
use crate::wire::*;

crate::rows! { l1 l2 l3 l4 l5 l6 l7 l8 l9 l10 l11 }

const STALE: u32 = 0xFFFF_0006;
const NO_LLGR: u32 = 0xFFFF_0007;
const NO_EXPORT: u32 = 0xFFFF_FF01;
const AT_ONCE: Duration = Duration::from_secs(4);
const P: &str = "203.0.113.0/24";

/// E1's OPEN: this restart time, and this long-lived stale time of both families.
fn lasting(restart_secs: u16, stale_secs: u32) -> Open {
    graceful(0, restart_secs).long_lived(&[(V4, KEPT, stale_secs), (V6, KEPT, stale_secs)])
}

/// An observer that knows what long-lived stale routes are.
fn knowing(who: Who) -> Open {
    let families = [(V4, KEPT), (V6, KEPT)];
    who.open().graceful(0, 60, &families).long_lived(&[(V4, KEPT, 60), (V6, KEPT, 60)])
}

fn plan() -> Plan {
    let lasts = Plan::six().with_all(&[E1, C1], &Knob::Graceful(60));
    lasts.with_all(&[E1, C1], &Knob::LongLived(3600))
}

/// E1's ten routes with C1, who knows.
fn stage(bench: &mut Bench, plan: Plan, open: &Open) -> Result<Stage> {
    Stage::observed(bench, plan, open, &knowing(C1))
}

fn is_stale(told: &Told) -> bool {
    told.numbers(COMMUNITIES).contains(&STALE)
}

/// Waits until C1 sees all of E1's routes marked.
fn marked(lost: &mut Lost, within: Duration) -> Result<()> {
    let prefixes = lost.prefixes.clone();
    lost.c1.until_within("every route marked LLGR_STALE", within, |conn| {
        prefixes.iter().all(|prefix| conn.told(prefix).is_some_and(is_stale))
    })
}

fn l1(bench: &mut Bench) -> Result<()> {
    let open = E1.open().long_lived(&[(V4, KEPT, 3600), (V6, KEPT, 3600)]);
    stage(bench, plan(), &open)?.drop_e1()?.gone(AT_ONCE)
}

fn l2(bench: &mut Bench) -> Result<()> {
    let mut lost = stage(bench, plan(), &lasting(1, 3600))?.drop_e1()?;
    marked(&mut lost, Duration::from_secs(5))?;
    bench.settle(&mut lost.e2, &mut lost.c1)?;
    same("routes", lost.left(), 10)
}

fn l3(bench: &mut Bench) -> Result<()> {
    let plan = plan().with_all(&[N2], &Knob::LongLivedToAll);
    let stage = stage(bench, plan, &lasting(0, 3600))?;
    let (mut plain, mut partial) = (bench.establish(N1)?, bench.establish(N2)?);
    let first = stage.prefixes[0].clone();
    plain.learn(&first)?;
    partial.learn(&first)?;
    let mut lost = stage.drop_e1()?;
    marked(&mut lost, AT_ONCE)?;
    plain.unlearn(&first)?;
    let told = partial.learn_that(&first, "LLGR_STALE", is_stale)?;
    same("LOCAL_PREF", told.number(LOCAL_PREF), Some(0))?;
    ensure!(
        told.numbers(COMMUNITIES).contains(&NO_EXPORT),
        "without NO_EXPORT: {:?}",
        told.numbers(COMMUNITIES)
    );
    Ok(())
}

fn l4(bench: &mut Bench) -> Result<()> {
    let mut stage = stage(bench, plan(), &lasting(1, 3600))?;
    stage.e1.send(&Route::of(E1).community(NO_LLGR).announce(&[P]))?;
    stage.c1.learn(P)?;
    let mut lost = stage.drop_e1()?;
    marked(&mut lost, Duration::from_secs(5))?;
    lost.c1.unlearn(P)?;
    same("the others", lost.left(), 10)
}

fn l5(bench: &mut Bench) -> Result<()> {
    let stage = stage(bench, plan(), &lasting(0, 3600))?;
    let mut c2 = bench.establish(C2)?;
    let prefix = stage.prefixes[0].clone();
    let weak = Route::of(C2).path(&[65_300, 65_301, 65_302]).local_pref(1).community(7);
    c2.send(&weak.announce(&[&prefix]))?;
    let mut lost = stage.drop_e1()?;
    lost.c1.learn_that(&prefix, "the weak but fresh route", |told| told.numbers(COMMUNITIES) == [7])?;
    // One that comes with the mark is as stale as one marked here.
    let mut n1 = bench.establish(N1)?;
    n1.send(&Route::of(N1).local_pref(1000).community(STALE).announce(&[P]))?;
    c2.send(&weak.announce(&[P]))?;
    lost.c1.learn_that(P, "the weak but fresh route", |told| told.numbers(COMMUNITIES) == [7]).map(drop)
}

fn l6(bench: &mut Bench) -> Result<()> {
    let began = Instant::now();
    let mut lost = stage(bench, plan(), &lasting(0, 3))?.drop_e1()?;
    marked(&mut lost, AT_ONCE)?;
    lost.gone(Duration::from_secs(6))?;
    ensure!(began.elapsed() > Duration::from_millis(2500), "gone after {:?}", began.elapsed());
    let mut stage = stage(bench, plan(), &lasting(0, 4))?;
    stage.e1.send(&Route::of(E1).community(STALE).announce(&[P]))?;
    stage.c1.learn_that(P, "the mark that the neighbour sent", is_stale)?;
    let mut lost = stage.drop_e1()?;
    marked(&mut lost, AT_ONCE)?;
    let mut back = bench.establish_with(E1, &lasting(0, 4))?;
    back.send(&Route::of(E1).announce(&lost.prefixes))?;
    back.send(&Route::of(E1).community(STALE).announce(&[P]))?;
    back.send(&end_of_rib(V4))?;
    back.send(&end_of_rib(V6))?;
    let prefixes = lost.prefixes.clone();
    let fresh =
        |conn: &Conn| prefixes.iter().all(|prefix| conn.told(prefix).is_some_and(|told| !is_stale(told)));
    lost.c1.until("the mark gone", fresh)?;
    lost.c1.pump(Duration::from_secs(5), |conn| !fresh(conn))?;
    ensure!(fresh(&lost.c1), "the timer went on after End-of-RIB");
    ensure!(lost.c1.told(P).is_some_and(is_stale), "the neighbour's own mark was taken off");
    Ok(())
}

fn l7(bench: &mut Bench) -> Result<()> {
    let began = Instant::now();
    let mut lost = stage(bench, plan(), &lasting(0, 3600))?.drop_e1()?;
    marked(&mut lost, AT_ONCE)?;
    ensure!(began.elapsed() < Duration::from_secs(4), "took {:?}", began.elapsed());
    bench.settle(&mut lost.e2, &mut lost.c1)?;
    same("routes", lost.left(), 10)
}

fn l8(bench: &mut Bench) -> Result<()> {
    let mut lost = stage(bench, plan(), &lasting(0, 3600))?.drop_e1()?;
    marked(&mut lost, AT_ONCE)?;
    let lost_state = graceful(0, 30).long_lived(&[(V4, 0, 3600), (V6, 0, 3600)]);
    let mut back = bench.establish_with(E1, &lost_state)?;
    lost.gone(AT_ONCE)?;
    back.is_up()
}

fn l9(bench: &mut Bench) -> Result<()> {
    let open = graceful(0, 0).long_lived(&[(V4, KEPT, 2), (V6, KEPT, 600)]);
    let mut lost = stage(bench, plan(), &open)?.drop_e1()?;
    lost.gone(Duration::from_secs(6))?;
    bench.settle(&mut lost.e2, &mut lost.c1)?;
    let v6 = lost.c1.rib.keys().filter(|(family, ..)| *family == V6).count();
    same("IPv6 routes", v6, 10)?;
    // What is configured here caps what the neighbour asks for.
    let mut capped = Plan::six().with_all(&[E1, C1], &Knob::Graceful(60));
    capped = capped.with(E1, Knob::LongLived(2)).with(C1, Knob::LongLived(60));
    let mut lost = stage(bench, capped, &lasting(0, 3600))?.drop_e1()?;
    marked(&mut lost, AT_ONCE)?;
    lost.gone(Duration::from_secs(6))
}

fn l10(bench: &mut Bench) -> Result<()> {
    let mut plan = Plan::six().with_all(&[E1, C1], &Knob::Graceful(60));
    plan = plan.with_all(&[E1, C1], &Knob::LongLived(0xFF_FFFF));
    let mut lost = stage(bench, plan, &lasting(0, 0xFF_FFFF))?.drop_e1()?;
    marked(&mut lost, AT_ONCE)?;
    lost.c1.pump(Duration::from_secs(1), |_| false)?;
    bench.settle(&mut lost.e2, &mut lost.c1)?;
    same("routes", lost.left(), 10)
}

fn l11(bench: &mut Bench) -> Result<()> {
    let stage = stage(bench, plan(), &lasting(0, 4))?;
    let began = Instant::now();
    let mut lost = stage.drop_e1()?;
    marked(&mut lost, AT_ONCE)?;
    lost.c1.pump(Duration::from_secs(2), |_| false)?;
    bench.establish_with(E1, &lasting(0, 4))?.abort()?;
    lost.gone(Duration::from_secs(8))?;
    let took = began.elapsed().as_secs_f32();
    ensure!((3.0..5.6).contains(&took), "a stale time of 4 s took {took} s, with a session in between");
    Ok(())
}
