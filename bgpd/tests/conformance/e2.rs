//! Section E, continued: errors that end the session, next hops, sizes, two-octet neighbours, and mutations.

use anyhow::{Context, Result, ensure};

use crate::bench::{Bench, same};
use crate::open::{EXTENDED_MESSAGE, FOUR_OCTET_AS};
use crate::plan::{Knob, Plan};
use crate::routes::{Route, many, mp_reach, withdraw, withdraw_octets};
use crate::speaker::{C1, C2, Conn, DUT_ASN, E1, E2, N1, WITNESS, Who, client, spare};
use crate::wire::*;

crate::rows! { e1 e23 e24 e27 e28 e29 e30 e31 e32 e33 e35 e36 e37 e39 e40 }

const P: &str = "203.0.113.0/24";
const P6: &str = "2001:db8:113::/48";

/// Neighbours for as many sessions that end, and the six.
fn spares(count: u16) -> Plan {
    let whos: Vec<_> = (0..count).map(spare).chain([E1, E2, C1, C2, N1]).collect();
    Plan::of(&whos)
}

/// Says each of these in a session of its own that has announced P soundly, and expects one of the answers.
fn each_ends(bench: &mut Bench, broken: &[Vec<u8>], answers: &[(u8, u8)]) -> Result<()> {
    let outside: Vec<Who> = (0..).zip(broken).map(|(n, _)| spare(n)).collect();
    let inside: Vec<Who> = (0..).zip(broken).map(|(n, _)| client(n)).collect();
    bench.start(Plan::of(&[&outside[..], &inside, &[E1, E2, C1]].concat()))?;
    let mut observer = bench.establish(C1)?;
    // From outside of the AS and from inside.
    for (who, octets) in [outside, inside].concat().into_iter().zip(broken.iter().cycle()) {
        let mut conn = bench.establish(who)?;
        conn.send(&Route::of(who).announce(&[P]))?;
        observer.learn(P)?;
        conn.send(octets)?;
        conn.reset_by(answers).with_context(|| format!("from {}: {octets:02x?}", who.name()))?;
        observer.unlearn(P)?;
    }
    observer.is_up()
}

fn e1(bench: &mut Bench) -> Result<()> {
    let update = |body: &[u8]| message(UPDATE, body);
    let route = Route::of(spare(0)).block(&[]);
    let too_long = [&[0, 0][..], &(route.len() as u16 + 9).to_be_bytes(), &route].concat();
    each_ends(
        bench,
        &[update(&[0, 9, 0, 0]), update(&[0xFF, 0xFF, 0, 0]), update(&too_long), update(&[0, 1, 0, 0])],
        &[(3, 1)],
    )
}

fn e23(bench: &mut Bench) -> Result<()> {
    let reach = mp_reach(V6, &E1.v6().octets(), &nlri(P6));
    let unreach = attr(OPTIONAL, MP_UNREACH, &[family_octets(V6), nlri(P6)].concat());
    let two_reach = update_of(&[], &Route::of(spare(0)).block(&[reach.clone(), reach].concat()), &[]);
    let two_unreach = update_of(&[], &[unreach.clone(), unreach].concat(), &[]);
    each_ends(bench, &[two_reach, two_unreach], &[(3, 1)])
}

fn e24(bench: &mut Bench) -> Result<()> {
    bench.start(spares(3))?;
    for (n, value) in (0..).zip([&[][..], &[1], &[0; 300]]) {
        let unknown = attr(WELL_KNOWN, 203, value);
        let mut conn = bench.establish(spare(n))?;
        let mut route = Route::of(spare(n));
        route.raw(203, unknown.clone());
        conn.send(&route.announce(&[P]))?;
        conn.reset_with(3, 2, &unknown)?;
    }
    Ok(())
}

fn e27(bench: &mut Bench) -> Result<()> {
    let route = Route::of(spare(0));
    let broken = [
        route.announce_octets(V4, &[33, 10, 1, 2, 3, 4]),
        withdraw_octets(V4, &[33, 10, 1, 2, 3, 4]),
        route.announce_octets(V4, &[24, 10, 1]),
        withdraw_octets(V4, &[24, 10, 1, 2, 24, 10]),
    ];
    each_ends(bench, &broken, &[(3, 10)])
}

fn e28(bench: &mut Bench) -> Result<()> {
    let route = Route::of(spare(0));
    let hop = E1.v6().octets();
    let broken = [
        route.announce_mp(V6, &hop[..15], &nlri(P6)),
        route.announce_mp(V6, &[], &nlri(P6)),
        route.announce_mp(V6, &[&hop[..], &[0; 8]].concat(), &nlri(P6)),
        route.announce_mp(V6, &hop, &[&[129][..], &[0x20; 17]].concat()),
        route.announce_mp(V6, &hop, &[64, 0x20, 1]),
    ];
    bench.start(spares(broken.len() as u16))?;
    let (mut observer, mut other) = (bench.establish(C1)?, bench.establish(E2)?);
    other.send(&Route::of(E2).announce(&[P6]))?;
    observer.learn(P6)?;
    for (n, octets) in (0..).zip(&broken) {
        let mut conn = bench.establish(spare(n))?;
        conn.send(octets)?;
        // Either the session ends, or the family is disabled and the rest goes on.
        if conn.pump(std::time::Duration::from_millis(500), |conn| conn.notified().is_some())? {
            conn.reset_by(&[(3, 9), (3, 1)])?;
        } else {
            bench.settle(&mut conn, &mut observer)?;
        }
    }
    ensure!(observer.count(P6) == (1, 0), "another neighbour's route was touched: {:?}", observer.count(P6));
    Ok(())
}

fn e29(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0).with(E1, Knob::Families(vec![V4])))?;
    let (mut observer, mut conn) = (bench.establish(C1)?, bench.establish(E1)?);
    conn.send(&Route::of(E1).announce(&[P6]))?;
    conn.send(&Route::of(E1).announce_mp((25, 65), &[10, 0, 0, 11], &[0, 2, 1, 2]))?;
    conn.send(&withdraw(&[P6]))?;
    bench.settle(&mut conn, &mut observer)?;
    ensure!(observer.count(P6) == (0, 0), "a route of a family that was not negotiated was passed on");
    conn.is_up()
}

fn e30(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0))?;
    let (mut observer, mut conn) = (bench.establish(C1)?, bench.establish(E1)?);
    let local = "fe80::11".parse::<std::net::Ipv6Addr>()?.octets();
    conn.send(&Route::of(E1).announce_mp(V6, &[E1.v6().octets(), local].concat(), &nlri(P6)))?;
    observer.learn(P6)?;
    conn.send(&Route::of(E1).announce_mp(V6, &local, &nlri("2001:db8:114::/48")))?;
    if !conn.pump(std::time::Duration::from_millis(300), |conn| conn.notified().is_some())? {
        bench.settle(&mut conn, &mut observer)?;
    }
    ensure!(observer.told("2001:db8:114::/48").is_none(), "a link-local next hop on a session that is not");
    Ok(())
}

fn e31(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0))?;
    let (mut observer, mut conn) = (bench.establish(C1)?, bench.establish(E1)?);
    let masked = ["203.0.112.0/20", "2001:db8:110::/44"];
    conn.send(&Route::of(E1).announce_octets(V4, &[20, 203, 0, 0x7F]))?;
    conn.send(&Route::of(E1).announce_octets(V6, &[44, 0x20, 1, 0x0D, 0xB8, 1, 0x1F]))?;
    masked.iter().try_for_each(|prefix| observer.learn(prefix).map(drop))?;
    conn.send(&withdraw_octets(V4, &[20, 203, 0, 0x73]))?;
    conn.send(&withdraw_octets(V6, &[44, 0x20, 1, 0x0D, 0xB8, 1, 0x15]))?;
    masked.iter().try_for_each(|prefix| observer.unlearn(prefix))
}

fn e32(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0))?;
    let (mut observer, mut conn) = (bench.establish(C1)?, bench.establish(E1)?);
    let hop = attr(WELL_KNOWN, NEXT_HOP, &E1.v4().octets());
    for med in [1, 2] {
        conn.send(&update_of(&nlri(P), &Route::of(E1).med(med).block(&hop), &nlri(P)))?;
        observer.learn_that(P, "its MED", |told| told.number(MED) == Some(med))?;
    }
    bench.settle(&mut conn, &mut observer)?;
    ensure!(observer.told(P).is_some(), "withdrawn");
    Ok(())
}

fn e33(bench: &mut Bench) -> Result<()> {
    let mut bad = Route::of(spare(0));
    bad.raw(ORIGIN, attr(WELL_KNOWN, ORIGIN, &[3]));
    let alone = update_of(&[], &bad.block(&[]), &[]);
    let answers: Vec<(u8, u8)> = (1..=11).map(|subcode| (3, subcode)).collect();
    each_ends(bench, &[alone], &answers)?;
    let (mut observer, mut conn) = (bench.establish(C1)?, bench.establish(E1)?);
    let mut trimmed = Route::of(E1);
    trimmed.raw(ATOMIC_AGGREGATE, attr(WELL_KNOWN, ATOMIC_AGGREGATE, &[0]));
    conn.send(&update_of(&[], &trimmed.block(&[]), &[]))?;
    bench.settle(&mut conn, &mut observer)?;
    conn.is_up()
}

/// The numbers of each segment of an AS_PATH.
fn segments(value: &[u8]) -> Vec<usize> {
    let (mut rest, mut counts) = (value, Vec::new());
    while let [_, count, tail @ ..] = rest {
        counts.push(usize::from(*count));
        rest = tail.get(usize::from(*count) * 4..).unwrap_or(&[]);
    }
    counts
}

/// A path of this many numbers, the first being the neighbour's.
fn long_path(count: u32) -> Vec<u8> {
    let asns: Vec<u32> = [E1.asn].into_iter().chain(70_000..70_000 + count - 1).collect();
    asns.chunks(255).flat_map(|part| segment(2, part)).collect()
}

fn e35(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0))?;
    let (mut outside, mut conn) = (bench.establish(E2)?, bench.establish(E1)?);
    for count in [255, 300] {
        conn.send(&Route::of(E1).set(WELL_KNOWN, AS_PATH, &long_path(count)).announce(&[P]))?;
        let whole = count as usize + 1;
        let told = outside.learn_that(P, "its path", |told| told.path().len() == whole)?;
        let counts = segments(told.value(AS_PATH).unwrap_or(&[]));
        same("numbers in all segments", counts.iter().sum::<usize>(), whole)?;
        same("the first AS", told.path().first().copied(), Some(DUT_ASN))?;
    }
    if bench.make == crate::dut::Make::Ours || bench.make == crate::dut::Make::Bird {
        bench.start(spares(0).with_all(&[E1, C1], &Knob::ExtendedMessages(true)))?;
        let mut inside = bench.establish_with(C1, &C1.open().with(EXTENDED_MESSAGE, &[]))?;
        conn = bench.establish_with(E1, &E1.open().with(EXTENDED_MESSAGE, &[]))?;
        conn.send(&Route::of(E1).set(WELL_KNOWN, AS_PATH, &long_path(2_100)).announce(&[P]))?;
        bench.settle(&mut conn, &mut inside)?;
    }
    conn.is_up()
}

fn e36(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0))?;
    let (mut inside, mut outside, mut conn) =
        (bench.establish(C1)?, bench.establish(E2)?, bench.establish(E1)?);
    conn.send(&Route::of(E1).announce(&[P]))?;
    inside.learn(P)?;
    outside.learn(P)?;
    let with = |len: usize| Route::of(E1).set(OPTIONAL_TRANSITIVE | EXTENDED, 200, &vec![7; len]);
    let bare = with(0).announce(&[P]).len();
    let full = with(4096 - bare).announce(&[P]);
    same("octets", full.len(), 4096)?;
    conn.send(&full)?;
    // There is no room for LOCAL_PREF or another AS: the old version must not stay with anybody.
    inside.unlearn(P)?;
    outside.unlearn(P)?;
    bench.settle(&mut conn, &mut inside)?;
    // Others may say it in words that do not name the route.
    let is_logged = bench.daemon()?.log().contains(P) || bench.make != crate::dut::Make::Ours;
    ensure!(is_logged, "the log does not say which route was left out");
    conn.is_up()?;
    inside.is_up()?;
    outside.is_up()
}

fn e37(bench: &mut Bench) -> Result<()> {
    const BIG: u32 = 4_200_000_001;
    bench.start(spares(0))?;
    let mut observer = bench.establish(C1)?;
    let mut old = bench.establish_with(E1, &E1.open().without(FOUR_OCTET_AS))?;
    let two = |asns: &[u16]| segment2(2, asns);
    let route = |path: &[u16]| Route::of(E1).set(WELL_KNOWN, AS_PATH, &two(path));
    let e1 = E1.asn as u16;
    let four = segment(2, &[BIG, 65_300]);
    let mut expect = |old: &mut Conn, route: &Route, path: &[u32]| -> Result<Told> {
        old.send(&withdraw(&[P]))?;
        observer.unlearn(P)?;
        old.send(&route.announce(&[P]))?;
        let told = observer.learn(P)?;
        same("AS_PATH", told.path(), path.to_vec())?;
        ensure!(
            told.value(AS4_PATH).is_none() && told.value(AS4_AGGREGATOR).is_none(),
            "AS4 attributes to a new speaker"
        );
        Ok(told)
    };
    let merged = route(&[e1, 23456, 65_300]).set(OPTIONAL_TRANSITIVE, AS4_PATH, &four);
    expect(&mut old, &merged, &[E1.asn, BIG, 65_300])?;
    // RFC 6793 section 4.2.3: AS4_PATH with more numbers than AS_PATH is ignored.
    let longer = route(&[e1]).set(OPTIONAL_TRANSITIVE, AS4_PATH, &four);
    expect(&mut old, &longer, &[E1.asn])?;
    // RFC 6793 section 6: a malformed one is discarded.
    let malformed = route(&[e1, 23456]).set(OPTIONAL_TRANSITIVE, AS4_PATH, &[2, 9, 0, 0, 0, 1]);
    expect(&mut old, &malformed, &[E1.asn, 23456])?;
    let as4_aggregator = [&BIG.to_be_bytes()[..], &[9, 9, 9, 9]].concat();
    let aggregated = merged.clone().set(OPTIONAL_TRANSITIVE, AS4_AGGREGATOR, &as4_aggregator);
    let trans = aggregated.clone().set(OPTIONAL_TRANSITIVE, AGGREGATOR, &[0x5B, 0xA0, 9, 9, 9, 9]);
    let told = expect(&mut old, &trans, &[E1.asn, BIG, 65_300])?;
    same("AGGREGATOR", told.value(AGGREGATOR), Some(&as4_aggregator[..]))?;
    // Section 4.2.3: an AGGREGATOR that is not AS_TRANS makes both AS4 attributes void.
    let real = aggregated.set(OPTIONAL_TRANSITIVE, AGGREGATOR, &[0, 7, 9, 9, 9, 9]);
    let told = expect(&mut old, &real, &[E1.asn, 23456, 65_300])?;
    same("AGGREGATOR", told.value(AGGREGATOR), Some(&[0, 0, 0, 7, 9, 9, 9, 9][..]))?;
    // RFC 7607 section 2 and RFC 6793 section 6: AS 0 in either makes it malformed, and it is discarded.
    let zero = route(&[e1, 23456]).set(OPTIONAL_TRANSITIVE, AS4_PATH, &segment(2, &[0]));
    expect(&mut old, &zero, &[E1.asn, 23456])?;
    let zero = trans.set(OPTIONAL_TRANSITIVE, AS4_AGGREGATOR, &[0, 0, 0, 0, 9, 9, 9, 9]);
    let told = expect(&mut old, &zero, &[E1.asn, BIG, 65_300])?;
    same("AGGREGATOR", told.value(AGGREGATOR), Some(&[0, 0, 0x5B, 0xA0, 9, 9, 9, 9][..]))?;
    // Section 4.1: from a new speaker AS4_PATH is discarded.
    let mut new = bench.establish(E2)?;
    new.send(&Route::of(E2).set(OPTIONAL_TRANSITIVE, AS4_PATH, &four).announce(&[P6]))?;
    let told = observer.learn(P6)?;
    same("AS_PATH", told.path(), vec![E2.asn])?;
    ensure!(told.value(AS4_PATH).is_none(), "AS4_PATH was passed on");
    Ok(())
}

/// A small generator of numbers (xorshift), so that a failure can be repeated from its seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub(crate) fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

fn e39(bench: &mut Bench) -> Result<()> {
    bench.start(spares(0))?;
    let (mut observer, mut conn) = (bench.establish(C1)?, bench.establish(E1)?);
    let mut dice = Dice(39);
    for code in [40, 23, 33, 128, 26, 22] {
        for round in 0..40 {
            let len = dice.below(60);
            let value = dice.octets(len);
            let flags = if code == 26 { OPTIONAL } else { OPTIONAL_TRANSITIVE };
            conn.send(&Route::of(E1).set(flags, code, &value).announce(&[if round % 2 == 0 {
                P
            } else {
                P6
            }]))?;
        }
        bench.settle(&mut conn, &mut observer).with_context(|| format!("attribute {code}"))?;
        conn.is_up()?;
    }
    Ok(())
}

/// Changes a sound UPDATE's body somewhere.
fn mutated(dice: &mut Dice, sound: &[u8]) -> Vec<u8> {
    let mut body = sound[19..].to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(body.len());
        match dice.below(5) {
            0 => body[at] = dice.next() as u8,
            1 => body[at] ^= 1 << dice.below(8),
            2 => body.truncate(at.max(4)),
            3 => body.insert(at, dice.next() as u8),
            _ => {
                let len = dice.below(8);
                body.extend(dice.octets(len));
            }
        }
    }
    body.truncate(4096 - 19);
    message(UPDATE, &body)
}

fn e40(bench: &mut Bench) -> Result<()> {
    // The full count is a million; a run of every change tries a part of it.
    let count =
        std::env::var("CONFORMANCE_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000_u64);
    let seed = std::env::var("CONFORMANCE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    bench.start(spares(0).with(WITNESS, Knob::HoldSecs(7200)))?;
    let mut others = [bench.establish(C1)?, bench.establish(E2)?, bench.establish(N1)?];
    let mut dice = Dice(seed);
    let corpus = [
        Route::of(E1).med(3).community(7).announce(&many(V4, 1, 20)),
        Route::of(E1).set(OPTIONAL_TRANSITIVE, LARGE_COMMUNITIES, &[1; 24]).announce(&many(V6, 1, 10)),
        Route::of(E1).set(OPTIONAL_TRANSITIVE, AGGREGATOR, &[0, 0, 0, 9, 9, 9, 9, 9]).announce(&[P]),
        Route::of(E1).set(OPTIONAL_TRANSITIVE, 200, &[1; 40]).announce(&many(V4, 2, 3)),
        withdraw(&many(V4, 1, 10)),
        withdraw(&many(V6, 1, 10)),
    ];
    let process = bench.daemon()?.pid();
    let mut rss_early = 0;
    let mut said = 0;
    let mut sessions = 0;
    while said < count {
        let mut conn = bench.establish(E1).with_context(|| format!("after {said} of seed {seed}"))?;
        sessions += 1;
        // Many in a write, until one of them ends the session.
        while said < count && conn.end.is_none() && conn.notified().is_none() {
            let mut batch = Vec::new();
            for _ in 0..16 {
                let sound = &corpus[dice.below(corpus.len())];
                batch.extend(mutated(&mut dice, sound));
                said += 1;
            }
            conn.send(&batch)?;
            conn.pump(std::time::Duration::from_micros(200), |_| false)?;
        }
        if sessions % 50 == 0 {
            for other in &mut others {
                other.is_up().with_context(|| format!("after {said} of seed {seed}"))?;
                other.send(&keepalive())?;
                other.heard.clear();
                other.changes.clear();
            }
        }
        if rss_early == 0 && said > count / 10 {
            rss_early = bench.dut()?.rss_kb()?;
        }
    }
    same("process", bench.daemon()?.pid(), process)?;
    bench.daemon()?.alive()?;
    others.iter_mut().try_for_each(|other| other.is_up())?;
    let rss = bench.dut()?.rss_kb()?;
    ensure!(
        rss < rss_early + 30_000,
        "grew from {rss_early} kB to {rss} kB within {said} UPDATEs of seed {seed}"
    );
    Ok(())
}
