//! Section E: errors in UPDATE (RFC 7606, RFC 4271 section 6.3, RFC 7607, 9774, 6793), those whose remedy is a withdrawal,
//! a discarded attribute or nothing. [`crate::e2`] has the others.

use anyhow::{Context, Result, ensure};

use crate::bench::{Bench, same};
use crate::faults::{self, Court, Field, Place, Side, Verdict, Way, six_with};
use crate::plan::{Knob, Plan};
use crate::routes::{Route, withdraw};
use crate::speaker::{C1, DUT_ASN, DUT_ID, DUT_V6, E1, E2, Form, N1};
use crate::wire::*;

crate::rows! { e2 e3 e4 e5 e6 e7 e8 e9 e10 e11 e12 e13 e14 e15 e16 e17 e18 e19 e20 e21 e22 e25 e26 e34 e38 e41 }

const P: &str = "203.0.113.0/24";
const P6: &str = "2001:db8:113::/48";

/// Octets behind the last attribute.
fn behind(bench: &mut Bench, octets: &[u8]) -> Result<()> {
    let mut court = Court::new(bench)?;
    let edit = |mut route: Route, _| {
        route.attrs.push((0, octets.to_vec()));
        route
    };
    for way in Way::few() {
        court.trial(Side::Anywhere, way, 0, Verdict::Withdrawn, &edit)?;
    }
    Ok(())
}

fn row(bench: &mut Bench, name: &str) -> Result<()> {
    Court::new(bench)?.row(name, &Way::few())
}

fn e2(bench: &mut Bench) -> Result<()> {
    behind(bench, &[OPTIONAL_TRANSITIVE, EXT_COMMUNITIES, 16, 0, 2, 0, 1])
}

fn e3(bench: &mut Bench) -> Result<()> {
    behind(bench, &[OPTIONAL])?;
    behind(bench, &[OPTIONAL, MED])
}

fn e4(bench: &mut Bench) -> Result<()> {
    row(bench, "e4")
}

fn e5(bench: &mut Bench) -> Result<()> {
    row(bench, "e5")
}

fn e6(bench: &mut Bench) -> Result<()> {
    row(bench, "e6")
}

fn e7(bench: &mut Bench) -> Result<()> {
    row(bench, "e7")
}

fn e8(bench: &mut Bench) -> Result<()> {
    row(bench, "e8")?;
    bench.start(Plan::six().with(E1, Knob::NoEnforceFirstAs))?;
    let (mut source, mut observer) = (bench.establish(E1)?, bench.establish(C1)?);
    source.send(&Route::of(E1).path(&[65_099, E1.asn]).announce(&[P]))?;
    observer.learn(P).map(drop)
}

fn e9(bench: &mut Bench) -> Result<()> {
    {
        let mut court = Court::new(bench)?;
        let own = |route: Route, _| route.path(&[E1.asn, DUT_ASN, 65_300]);
        for way in Way::few() {
            court.trial(Side::Anywhere, way, 0, Verdict::Withdrawn, &own)?;
        }
    }
    bench.start(Plan::six().with(E1, Knob::AllowOwnAs(1)))?;
    let (mut source, mut observer) = (bench.establish(E1)?, bench.establish(C1)?);
    source.send(&Route::of(E1).path(&[E1.asn, DUT_ASN]).announce(&[P]))?;
    observer.learn(P)?;
    source.send(&Route::of(E1).path(&[E1.asn, DUT_ASN, DUT_ASN]).announce(&[P]))?;
    observer.unlearn(P)
}

fn e10(bench: &mut Bench) -> Result<()> {
    row(bench, "e10")
}

fn e11(bench: &mut Bench) -> Result<()> {
    row(bench, "e11")?;
    bench.start(six_with(&Knob::AcceptAsSets))?;
    let (mut source, mut observer) = (bench.establish(E1)?, bench.establish(C1)?);
    let set = [segment(2, &[E1.asn]), segment(1, &[65_200])].concat();
    source.send(&Route::of(E1).set(WELL_KNOWN, AS_PATH, &set).announce(&[P]))?;
    observer.learn(P).map(drop)
}

fn e12(bench: &mut Bench) -> Result<()> {
    row(bench, "e12")
}

fn e13(bench: &mut Bench) -> Result<()> {
    let mut court = Court::new(bench)?;
    court.row("e13", &Way::few())?;
    for side in 0..2 {
        let who = court.sources[side].who;
        let no_hop = |mark, prefixes: &[String]| {
            update_of(&[], &Route::of(who).med(mark).block(&[]), &all_nlri(prefixes))
        };
        court.try_octets(side, Way::classic(), NEXT_HOP, Verdict::Withdrawn, &no_hop)?;
    }
    Ok(())
}

fn e14(bench: &mut Bench) -> Result<()> {
    for plan in [Plan::six(), six_with(&Knob::Graceful(60))] {
        let mut court = Court::with(bench, plan)?;
        let empty = |_, prefixes: &[String]| update_of(&[], &[], &all_nlri(prefixes));
        for side in 0..2 {
            court.try_octets(side, Way::classic(), 0, Verdict::Withdrawn, &empty)?;
        }
    }
    Ok(())
}

fn e15(bench: &mut Bench) -> Result<()> {
    let mut court = Court::new(bench)?;
    for (side, len) in [(0, 3), (0, 5), (1, 3), (1, 5)] {
        let who = court.sources[side].who;
        let bad = |mark, prefixes: &[String]| {
            let hop = attr(WELL_KNOWN, NEXT_HOP, &vec![10; len]);
            update_of(&[], &Route::of(who).med(mark).block(&hop), &all_nlri(prefixes))
        };
        court
            .try_octets(side, Way::classic(), NEXT_HOP, Verdict::Withdrawn, &bad)
            .with_context(|| format!("length {len}"))?;
    }
    Ok(())
}

fn e16(bench: &mut Bench) -> Result<()> {
    let Court { bench, mut observer, sources, .. } = Court::new(bench)?;
    for mut source in sources {
        for (n, hop) in [[0; 4], [224, 0, 0, 5], DUT_ID.octets()].into_iter().enumerate() {
            let mut route = Route::of(source.who);
            route.v4 = hop.to_vec();
            let prefix = format!("203.0.{n}.0/24");
            source.send(&route.announce(&[&prefix]))?;
            bench.settle(&mut source, &mut observer)?;
            ensure!(observer.told(&prefix).is_none(), "next hop {hop:?} was passed on");
        }
        let mut route = Route::of(source.who);
        route.v6 = DUT_V6.octets().to_vec();
        source.send(&route.announce(&[P6]))?;
        bench.settle(&mut source, &mut observer)?;
        ensure!(observer.told(P6).is_none(), "the daemon's own IPv6 address as next hop was passed on");
        source.is_up()?;
    }
    Ok(())
}

fn e17(bench: &mut Bench) -> Result<()> {
    row(bench, "e17")
}

fn e18(bench: &mut Bench) -> Result<()> {
    row(bench, "e18")
}

fn e19(bench: &mut Bench) -> Result<()> {
    row(bench, "e19")
}

fn e20(bench: &mut Bench) -> Result<()> {
    row(bench, "e20")
}

fn e21(bench: &mut Bench) -> Result<()> {
    row(bench, "e21")
}

fn e22(bench: &mut Bench) -> Result<()> {
    let mut court = Court::new(bench)?;
    // The copy stands last and says something else; the first one's values are what the observer must see.
    let copies = [
        attr(WELL_KNOWN, ORIGIN, &[2]),
        attr(WELL_KNOWN, AS_PATH, &segment(2, &[E1.asn, 65_400])),
        attr(OPTIONAL, MED, &[0, 0, 0, 7]),
        attr(OPTIONAL_TRANSITIVE, COMMUNITIES, &[0, 9, 0, 9]),
        attr(WELL_KNOWN, NEXT_HOP, &[10, 0, 0, 77]),
        attr(WELL_KNOWN, ORIGIN, &[9]),
    ];
    for copy in &copies {
        let twice = |mut route: Route, _| {
            route.attrs.push((0, copy.clone()));
            route
        };
        for way in Way::few() {
            if copy[1] != NEXT_HOP || way.field == Field::Nlri {
                court
                    .trial(Side::Outside, way, 0, Verdict::Sound, &twice)
                    .with_context(|| format!("{copy:02x?}"))?;
            }
        }
    }
    let mut twice = Route::of(E1).community(0x0001_0002);
    twice.attrs.extend(copies.iter().cloned().map(|copy| (0, copy)));
    court.sources[0].send(&twice.announce(&[P]))?;
    let told = court.observer.learn(P)?;
    same("ORIGIN", told.value(ORIGIN), Some(&[0][..]))?;
    same("AS_PATH", told.path(), vec![E1.asn])?;
    same("COMMUNITIES", told.numbers(COMMUNITIES), vec![0x0001_0002])?;
    same("next hop", told.next_hop, E1.v4().octets().to_vec())
}

fn e25(bench: &mut Bench) -> Result<()> {
    bench.start(Plan::six())?;
    let (mut source, mut inside, mut outside) =
        (bench.establish(E1)?, bench.establish(C1)?, bench.establish(E2)?);
    for code in [28, 35, 128, 200] {
        for len in [0, 1, 255, 1024, 4000] {
            let value: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            for prefix in [P, P6] {
                source.send(&Route::of(E1).set(OPTIONAL_TRANSITIVE, code, &value).announce(&[prefix]))?;
                for observer in [&mut inside, &mut outside] {
                    let what = format!("attribute {code} of {len} octets");
                    let told =
                        observer.learn_that(prefix, &what, |told| told.value(code) == Some(&value[..]))?;
                    let flags = told.attrs.iter().find(|attr| attr.code == code).map(|attr| attr.flags);
                    same("flags", flags, Some(OPTIONAL_TRANSITIVE | PARTIAL))?;
                }
            }
        }
    }
    source.is_up()
}

fn e26(bench: &mut Bench) -> Result<()> {
    row(bench, "e26")
}

fn e34(bench: &mut Bench) -> Result<()> {
    let mut court = Court::new(bench)?;
    let discard = attr(WELL_KNOWN, ATOMIC_AGGREGATE, &[0]);
    let withdraw = attr(WELL_KNOWN, ORIGIN, &[3]);
    for (first, second) in [(Place::First, Place::Last), (Place::Last, Place::First)] {
        let both = |route: Route, _| {
            let route = faults::put(route, ATOMIC_AGGREGATE, &discard, first);
            faults::put(route, ORIGIN, &withdraw, second)
        };
        for way in Way::few() {
            court.trial(Side::Anywhere, way, 0, Verdict::Withdrawn, &both)?;
        }
    }
    Ok(())
}

fn e38(bench: &mut Bench) -> Result<()> {
    bench.start(Plan::six())?;
    let (mut source, mut observer) = (bench.establish(N1)?, bench.establish(C1)?);
    let mut route = Route::of(N1).path(&[65_300]).med(7).community(0x0001_0001);
    let mut seen = Vec::new();
    for prefix in [P, P6] {
        for turn in 0..route.attrs.len() {
            route.attrs.rotate_left(1);
            route.hop_at = if turn % 2 == 0 { route.attrs.len() } else { 0 };
            let mut long = route.clone();
            for (_, octets) in &mut long.attrs {
                let value = octets[3..].to_vec();
                *octets = attr(octets[0] | EXTENDED, octets[1], &value);
            }
            for variant in [&route, &long] {
                source.send(&variant.announce(&[prefix]))?;
                seen.push(observer.learn(prefix)?.attrs);
                source.send(&withdraw(&[prefix]))?;
                observer.unlearn(prefix)?;
            }
        }
    }
    ensure!(
        seen.windows(2).all(|pair| pair[0] == pair[1]),
        "order or extended lengths changed what was understood"
    );
    source.is_up()
}

fn e41(bench: &mut Bench) -> Result<()> {
    let mut court = Court::new(bench)?;
    let ways = Way::many();
    let tried = faults::all().into_iter().filter(|fault| fault.verdict != Verdict::Sound);
    // Each fault in every way; the form goes round, so that every way is met in every form.
    for (fault, form) in tried.zip(Form::ALL.into_iter().cycle()) {
        court.sources.iter_mut().for_each(|source| source.form = form);
        court.fault(&fault, &ways).with_context(|| format!("{}, {form:?}", fault.row))?;
    }
    Ok(())
}
