//! Broken attributes as data, and the court that tries each of them in every way it can arrive.
//!
//! A [`Fault`] is one attribute and the verdict that RFC 7606 and its companions pass on it. A trial first announces the
//! routes soundly, sees them at the observer, then announces them again with the fault, and expects the observer to see
//! them withdrawn, or changed and without the damaged attribute. Ways of arrival: from outside or inside of the AS, IPv4 in
//! the NLRI field or in MP_REACH_NLRI, or IPv6, the bad attribute first, in the middle or last, one prefix or fifty. How the
//! message is cut on the wire is the speaker's [`crate::speaker::Form`].

use anyhow::{Context, Result, ensure};

use crate::bench::Bench;
use crate::plan::{Knob, Plan};
use crate::routes::{Route, many};
use crate::speaker::{C1, Conn, E1, N1, Who};
use crate::wire::*;

/// From where a fault is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Anywhere,
    Outside,
    Inside,
}

/// What must become of the routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They count as withdrawn.
    Withdrawn,
    /// They stand, without the attribute.
    Discarded,
    /// They stand as if nothing were wrong.
    Sound,
}

/// A damaged attribute.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) row: &'static str,
    pub(crate) from: Side,
    /// The attribute's type, and its octets with header; none: it is missing.
    pub(crate) code: u8,
    pub(crate) octets: Vec<u8>,
    pub(crate) verdict: Verdict,
}

/// Where the damaged attribute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    First,
    Middle,
    Last,
}

/// In which field the routes are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// That of RFC 4271, which has IPv4 only.
    Nlri,
    /// MP_REACH_NLRI.
    Reach,
}

/// One way of arrival.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) family: Family,
    pub(crate) field: Field,
    pub(crate) place: Place,
    pub(crate) prefixes: usize,
}

/// Every family with each field that it can be in.
const CARRIED: [(Family, Field); 3] = [(V4, Field::Nlri), (V4, Field::Reach), (V6, Field::Reach)];

impl Way {
    /// One prefix, the damage in the middle.
    pub(crate) fn few() -> Vec<Way> {
        CARRIED.map(|(family, field)| Way { family, field, place: Place::Middle, prefixes: 1 }).to_vec()
    }

    /// The one of [`Way::few`] with the routes in the field that only IPv4 has.
    pub(crate) fn classic() -> Way {
        Way { family: V4, field: Field::Nlri, place: Place::Middle, prefixes: 1 }
    }

    /// Every place, one prefix and fifty.
    pub(crate) fn many() -> Vec<Way> {
        let mut ways = Vec::new();
        for (family, field) in CARRIED {
            for place in [Place::First, Place::Middle, Place::Last] {
                for prefixes in [1, 50] {
                    ways.push(Way { family, field, place, prefixes });
                }
            }
        }
        ways
    }
}

/// Every fault whose remedy is not the end of the session.
pub(crate) fn all() -> Vec<Fault> {
    use Side::{Anywhere, Inside, Outside};
    use Verdict::{Discarded, Sound, Withdrawn};
    let mut faults = Vec::new();
    let mut add =
        |row, from, code, octets: Vec<u8>, verdict| faults.push(Fault { row, from, code, octets, verdict });
    let seq = |asns: &[u32]| segment(2, &[&[E1.asn], asns].concat());

    add("e4", Anywhere, ORIGIN, attr(WELL_KNOWN, ORIGIN, &[3]), Withdrawn);
    add("e4", Anywhere, ORIGIN, attr(WELL_KNOWN, ORIGIN, &[]), Withdrawn);
    add("e4", Anywhere, ORIGIN, attr(WELL_KNOWN, ORIGIN, &[0, 0]), Withdrawn);
    add("e5", Anywhere, ORIGIN, attr(OPTIONAL_TRANSITIVE, ORIGIN, &[0]), Withdrawn);
    add("e5", Anywhere, ORIGIN, attr(0, ORIGIN, &[0]), Withdrawn);
    add("e5", Anywhere, ORIGIN, attr(WELL_KNOWN | 0x0F, ORIGIN, &[0]), Sound);
    add("e6", Anywhere, ORIGIN, attr(WELL_KNOWN | EXTENDED, ORIGIN, &[0]), Sound);
    add("e6", Anywhere, COMMUNITIES, attr(OPTIONAL_TRANSITIVE | EXTENDED, COMMUNITIES, &[0, 1, 0, 1]), Sound);
    let path = |value: &[u8]| attr(WELL_KNOWN, AS_PATH, value);
    add("e7", Anywhere, AS_PATH, path(&segment(9, &[E1.asn])), Withdrawn);
    add("e7", Anywhere, AS_PATH, path(&[2, 3, 0, 0, 0, 1]), Withdrawn);
    add("e7", Anywhere, AS_PATH, path(&[&seq(&[])[..], &[2]].concat()), Withdrawn);
    add("e7", Anywhere, AS_PATH, path(&[&seq(&[])[..], &[2, 0]].concat()), Withdrawn);
    add("e8", Outside, AS_PATH, path(&[]), Withdrawn);
    add("e8", Outside, AS_PATH, path(&segment(2, &[65_099, E1.asn])), Withdrawn);
    add("e8", Inside, AS_PATH, path(&[]), Sound);
    add("e10", Anywhere, AS_PATH, path(&seq(&[0])), Withdrawn);
    let aggregator = |value: &[u8]| attr(OPTIONAL_TRANSITIVE, AGGREGATOR, value);
    add("e10", Anywhere, AGGREGATOR, aggregator(&[0, 0, 0, 0, 10, 0, 0, 9]), Discarded);
    add("e11", Anywhere, AS_PATH, path(&[seq(&[]), segment(1, &[65_200, 65_201])].concat()), Withdrawn);
    add("e11", Anywhere, AS_PATH, path(&[segment(4, &[65_200]), seq(&[])].concat()), Withdrawn);
    // From inside it may be a member of the same confederation, which no configuration here says.
    add("e12", Outside, AS_PATH, path(&[segment(3, &[65_200]), seq(&[])].concat()), Withdrawn);
    add("e13", Anywhere, ORIGIN, Vec::new(), Withdrawn);
    add("e13", Anywhere, AS_PATH, Vec::new(), Withdrawn);
    add("e13", Inside, LOCAL_PREF, Vec::new(), Withdrawn);
    add("e17", Anywhere, MED, attr(OPTIONAL, MED, &[0, 0, 1]), Withdrawn);
    add("e18", Outside, LOCAL_PREF, attr(WELL_KNOWN, LOCAL_PREF, &[0, 0, 0, 200]), Discarded);
    add("e18", Outside, LOCAL_PREF, attr(WELL_KNOWN, LOCAL_PREF, &[0, 0, 1]), Discarded);
    add("e18", Inside, LOCAL_PREF, attr(WELL_KNOWN, LOCAL_PREF, &[0, 0, 1]), Withdrawn);
    add("e19", Anywhere, ATOMIC_AGGREGATE, attr(WELL_KNOWN, ATOMIC_AGGREGATE, &[0]), Discarded);
    add("e19", Anywhere, AGGREGATOR, aggregator(&[0, 1, 10, 0, 0]), Discarded);
    add("e19", Anywhere, AGGREGATOR, aggregator(&[0, 1, 10, 0, 0, 9]), Discarded);
    for (code, lens) in [
        (COMMUNITIES, [0, 3]),
        (EXT_COMMUNITIES, [0, 7]),
        (LARGE_COMMUNITIES, [0, 11]),
        (IPV6_EXT_COMMUNITIES, [8, 21]),
    ] {
        for len in lens {
            add("e20", Anywhere, code, attr(OPTIONAL_TRANSITIVE, code, &vec![1; len]), Withdrawn);
        }
    }
    add("e21", Outside, ORIGINATOR_ID, attr(OPTIONAL, ORIGINATOR_ID, &[1, 1, 1, 1]), Discarded);
    add("e21", Outside, CLUSTER_LIST, attr(OPTIONAL, CLUSTER_LIST, &[1, 1, 1, 1]), Discarded);
    add("e21", Inside, ORIGINATOR_ID, attr(OPTIONAL, ORIGINATOR_ID, &[1, 1, 1]), Withdrawn);
    add("e21", Inside, CLUSTER_LIST, attr(OPTIONAL, CLUSTER_LIST, &[1, 1, 1, 1, 2]), Withdrawn);
    add("e26", Anywhere, 201, attr(OPTIONAL, 201, &[1, 2, 3]), Discarded);
    add("e26", Anywhere, 202, attr(OPTIONAL, 202, &[]), Discarded);
    faults
}

/// Two sources and an observer.
pub(crate) struct Court<'a> {
    pub(crate) bench: &'a mut Bench,
    pub(crate) observer: Conn,
    pub(crate) sources: [Conn; 2],
    /// Marks each announcement with a MED of its own, so that it is known when it is seen.
    mark: u32,
}

impl<'a> Court<'a> {
    pub(crate) fn new(bench: &'a mut Bench) -> Result<Court<'a>> {
        Court::with(bench, Plan::six())
    }

    pub(crate) fn with(bench: &'a mut Bench, plan: Plan) -> Result<Court<'a>> {
        bench.start(plan)?;
        let observer = bench.establish(C1)?;
        let sources = [bench.establish(E1)?, bench.establish(N1)?];
        Ok(Court { bench, observer, sources, mark: 1000 })
    }

    /// Tries all faults of a row.
    pub(crate) fn row(&mut self, row: &str, ways: &[Way]) -> Result<()> {
        let faults: Vec<Fault> = all().into_iter().filter(|fault| fault.row == row).collect();
        ensure!(!faults.is_empty(), "no faults for {row}");
        faults.iter().try_for_each(|fault| self.fault(fault, ways))
    }

    /// Tries one fault in every way and from everybody from whom it is one.
    pub(crate) fn fault(&mut self, fault: &Fault, ways: &[Way]) -> Result<()> {
        for way in ways {
            let edit = |route: Route, place| put(route, fault.code, &fault.octets, place);
            self.trial(fault.from, *way, fault.code, fault.verdict, &edit)
                .with_context(|| format!("attribute {:02x?}, {:?}", fault.octets, fault.verdict))?;
        }
        Ok(())
    }

    /// Announces soundly, then as `edit` leaves it, and expects the verdict.
    pub(crate) fn trial(
        &mut self,
        from: Side,
        way: Way,
        code: u8,
        verdict: Verdict,
        edit: &dyn Fn(Route, Place) -> Route,
    ) -> Result<()> {
        for side in 0..self.sources.len() {
            let who = self.sources[side].who;
            if from == Side::Anywhere || (from == Side::Outside) == who.is_external() {
                let octets = |mark, prefixes: &[String]| {
                    let route = sound(who).med(mark).in_reach(way.field == Field::Reach);
                    edit(route, way.place).announce(prefixes)
                };
                self.try_octets(side, way, code, verdict, &octets)
                    .with_context(|| format!("from {}, {way:?}", who.name()))?;
            }
        }
        Ok(())
    }

    /// The same with the whole broken message given.
    pub(crate) fn try_octets(
        &mut self,
        side: usize,
        way: Way,
        code: u8,
        verdict: Verdict,
        octets: &dyn Fn(u32, &[String]) -> Vec<u8>,
    ) -> Result<()> {
        let prefixes = many(way.family, 1, way.prefixes);
        let (source, observer) = (&mut self.sources[side], &mut self.observer);
        self.mark += 2;
        let mark = self.mark;
        source.send(&sound(source.who).med(mark).announce(&prefixes))?;
        for prefix in &prefixes {
            observer.learn_that(prefix, "the first MED", |told| told.number(MED) == Some(mark))?;
        }
        source.send(&octets(mark + 1, &prefixes))?;
        for prefix in &prefixes {
            if verdict == Verdict::Withdrawn {
                observer.unlearn(prefix)?;
                continue;
            }
            let told =
                observer.learn_that(prefix, "the second MED", |told| told.number(MED) == Some(mark + 1))?;
            // LOCAL_PREF is put in place of the one that was dropped.
            let left = if code == LOCAL_PREF {
                told.number(code).filter(|value| *value != 100).is_some()
            } else {
                told.value(code).is_some()
            };
            ensure!(verdict == Verdict::Sound || !left, "attribute {code} was passed on: {told:?}");
        }
        source.is_up()?;
        // Clean slate: the next trial starts without the route.
        source.send(&crate::routes::withdraw(&prefixes))?;
        prefixes.iter().try_for_each(|prefix| observer.unlearn(prefix))
    }
}

/// A route with a few more attributes, so that there is a middle.
fn sound(who: Who) -> Route {
    Route::of(who).community(0x0001_0001).set(OPTIONAL_TRANSITIVE, LARGE_COMMUNITIES, &[1; 12])
}

/// Puts octets in a place in the block, instead of the attribute of that type.
pub(crate) fn put(route: Route, code: u8, octets: &[u8], place: Place) -> Route {
    let mut route = route.without(code);
    if octets.is_empty() {
        return route;
    }
    let at = match place {
        Place::First => 0,
        Place::Middle => route.attrs.len() / 2,
        Place::Last => route.attrs.len(),
    };
    route.attrs.insert(at, (code, octets.to_vec()));
    if at <= route.hop_at && place != Place::Last {
        route.hop_at += 1;
    }
    route
}

/// The six neighbours with something about E1 and N1.
pub(crate) fn six_with(knob: &Knob) -> Plan {
    Plan::six().with_all(&[E1, N1], knob)
}
