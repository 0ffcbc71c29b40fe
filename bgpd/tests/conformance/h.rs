//! Section H: families, roles and other capabilities (RFC 4760, 2545, 4684, 9234).

use std::net::IpAddr;

use anyhow::{Result, ensure};
use lab::shell;

use crate::bench::{Bench, same};
use crate::open::{Layout, Open, ROLE};
use crate::plan::{Knob, Plan};
use crate::routes::{Route, withdraw_octets};
use crate::speaker::{C1, C2, Conn, DUT_ASN, DUT_ID, DUT_V6, E1, E2, N1, Who, spare};
use crate::wire::*;

crate::rows! { h1 h2 h3 h4 h5 h6 h7 }

const P: &str = "203.0.113.0/24";
const P6: &str = "2001:db8:113::/48";
const LABELLED: Family = (1, 4);
const RT_CONSTRAINT: Family = (1, 132);

fn h1(bench: &mut Bench) -> Result<()> {
    let six = Who { host: 700, asn: 65_700, client: false };
    shell::ip_batch(&format!("addr add {}/64 dev peers nodad\n", six.v6()))?;
    bench.start(Plan::of(&[E1, E2, C1, six]).with(six, Knob::OverIpv6))?;
    let (mut e1, mut e2) = (bench.establish(E1)?, bench.establish(E2)?);
    let mut over6 = bench.connect_from(six, six.v6().into(), IpAddr::from(DUT_V6), |_| Ok(()))?;
    over6.handshake(&six.open())?;
    for prefix in [P, P6] {
        e1.send(&Route::of(E1).announce(&[prefix]))?;
        let own = if prefix == P { DUT_ID.octets().to_vec() } else { DUT_V6.octets().to_vec() };
        for observer in [&mut e2, &mut over6] {
            let told = observer.learn(prefix)?;
            ensure!(told.next_hop.starts_with(&own), "{prefix} with next hop {:?}", told.next_hop);
        }
    }
    Ok(())
}

fn h2(bench: &mut Bench) -> Result<()> {
    bench.start(Plan::six().with(N1, Knob::Families(vec![V4])))?;
    let (mut e1, mut c1) = (bench.establish(E1)?, bench.establish(C1)?);
    let mut ours_only = bench.establish(N1)?;
    let mut theirs_only = bench.establish_with(C2, &C2.open().families(&[V4]))?;
    e1.send(&Route::of(E1).announce(&[P6]))?;
    c1.learn(P6)?;
    e1.send(&Route::of(E1).announce(&[P]))?;
    for conn in [&mut ours_only, &mut theirs_only] {
        conn.learn(P)?;
        ensure!(conn.rib.keys().all(|(family, ..)| *family == V4), "IPv6 routes: {:?}", conn.rib.keys());
        conn.send(&Route::of(conn.who).announce(&["2001:db8:114::/48"]))?;
        bench.settle(conn, &mut c1)?;
        ensure!(c1.told("2001:db8:114::/48").is_none(), "an IPv6 route was taken");
        conn.is_up()?;
    }
    Ok(())
}

/// A route target's community.
fn target(n: u8) -> [u8; 8] {
    [0, 2, 0xFD, 0xE9, 0, 0, 0, n]
}

fn vpn(n: u8) -> Vec<u8> {
    vec![112, 0, 0, 0x11, 0, 0, 0xFD, 0xE9, 0, 0, 0, n, 10, 9, n]
}

fn h3(bench: &mut Bench) -> Result<()> {
    let families = vec![V4, VPNV4, EVPN, LABELLED];
    bench.start(Plan::six().with_all(&[C1, C2], &Knob::Families(families.clone())))?;
    let open = |who: Who| who.open().families(&families);
    let (mut c1, mut c2) = (bench.establish_with(C1, &open(C1))?, bench.establish_with(C2, &open(C2))?);
    let v4 = C1.v4().octets();
    let evpn = [&[3, 17, 0, 0, 0xFD, 0xE9, 0, 0, 0, 1, 0, 0, 0, 0, 32][..], &v4].concat();
    let cases = [
        (VPNV4, [&[0; 8][..], &v4].concat(), vpn(1)),
        (EVPN, v4.to_vec(), evpn),
        (LABELLED, v4.to_vec(), vec![48, 0, 1, 0x01, 203, 0, 113]),
    ];
    let route = Route::of(C1).set(OPTIONAL_TRANSITIVE, EXT_COMMUNITIES, &target(1));
    for (family, hop, nlri) in cases {
        c1.send(&route.announce_mp(family, &hop, &nlri))?;
        let key = (family, 0, nlri);
        c2.until(&format!("the route of {family:?}"), |conn| conn.rib.contains_key(&key))?;
        same("next hop", c2.rib.get(&key).map(|told| told.next_hop.clone()), Some(hop))?;
    }
    c1.is_up()
}

fn h4(bench: &mut Bench) -> Result<()> {
    let families = vec![V4, VPNV4, RT_CONSTRAINT];
    bench.start(Plan::six().with_all(&[C1, C2], &Knob::Families(families.clone())))?;
    let open = |who: Who| who.open().families(&families);
    let (mut c1, mut c2) = (bench.establish_with(C1, &open(C1))?, bench.establish_with(C2, &open(C2))?);
    let hop = [&[0; 8][..], &C1.v4().octets()].concat();
    for n in [2, 1] {
        let route = Route::of(C1).set(OPTIONAL_TRANSITIVE, EXT_COMMUNITIES, &target(n));
        c1.send(&route.announce_mp(VPNV4, &hop, &vpn(n)))?;
    }
    let has = |conn: &Conn, n| conn.rib.contains_key(&(VPNV4, 0, vpn(n)));
    // Nothing is sent before it has said which it wants.
    bench.settle(&mut c1, &mut c2)?;
    ensure!(!has(&c2, 1) && !has(&c2, 2), "told before its End-of-RIB for route targets");
    let own = C2.v4().octets();
    let wanted = [&[96][..], &DUT_ASN.to_be_bytes(), &target(1)].concat();
    c2.send(&Route::of(C2).announce_mp(RT_CONSTRAINT, &own, &wanted))?;
    bench.settle(&mut c1, &mut c2)?;
    ensure!(!has(&c2, 2), "a route of a target that nobody asked for");
    c2.send(&end_of_rib(RT_CONSTRAINT))?;
    c2.until("the route asked for", |conn| has(conn, 1))?;
    bench.settle(&mut c1, &mut c2)?;
    ensure!(!has(&c2, 2), "a route of a target that nobody asked for");
    // The default target asks for all, until it is withdrawn.
    c2.send(&Route::of(C2).announce_mp(RT_CONSTRAINT, &own, &[0]))?;
    c2.until("every route", |conn| has(conn, 1) && has(conn, 2))?;
    c2.send(&withdraw_octets(RT_CONSTRAINT, &[0]))?;
    c2.until("only the route asked for", |conn| has(conn, 1) && !has(conn, 2))
}

fn h5(bench: &mut Bench) -> Result<()> {
    // What the daemon is to each, and what each is to the daemon.
    let roles = [("provider", 3), ("peer", 4), ("rs", 2), ("customer", 0)];
    let whos: Vec<Who> = (0..4).map(spare).collect();
    let plan = Plan::of(&[&whos[..], &[E2, C1]].concat());
    bench.start(
        whos.iter().zip(roles).fold(plan, |plan, (who, (role, _))| plan.with(*who, Knob::Role(role))),
    )?;
    let open = |n: usize| whos[n].open().with(ROLE, &[roles[n].1]);
    let mut conns = (0..4).map(|n| bench.establish_with(whos[n], &open(n))).collect::<Result<Vec<_>>>()?;
    let (mut e2, mut c1) = (bench.establish(E2)?, bench.establish(C1)?);
    e2.send(&Route::of(E2).announce(&[P]))?;
    for (conn, (role, _)) in conns.iter_mut().zip(roles) {
        // A customer, a peer and a client of a route server are told of it; a provider is not.
        let added = (role != "customer").then_some(DUT_ASN);
        same(&format!("OTC by a {role}"), conn.learn(P)?.number(OTC), added)?;
    }
    for customer in [0, 1] {
        // From a customer it is a leak, from a peer only when another AS has put it there.
        let leak = Route::of(whos[customer]).set(OPTIONAL_TRANSITIVE, OTC, &65_400_u32.to_be_bytes());
        conns[customer].send(&leak.announce(&["203.0.114.0/24"]))?;
        bench.settle(&mut conns[customer], &mut c1)?;
        ensure!(c1.told("203.0.114.0/24").is_none(), "a leak was used");
        conns[customer].is_up()?;
    }
    Ok(())
}

fn h6(bench: &mut Bench) -> Result<()> {
    let long = [&[200][..], &[b'x'; 200]].concat();
    let name: [&[u8]; 4] = [
        &[0, 0],
        &[1, 0xFF, 2, 0xFE, 0xFD],
        &[&long[..51], &[0]].concat(),
        &[4, b'h', b'o', b's', b't', 1, b'd'],
    ];
    let whos: Vec<Who> = (0..7).map(spare).collect();
    bench.start(Plan::of(&whos))?;
    let mut short = vec![50];
    short.extend([b'h'; 50]);
    short.push(0);
    for (n, value) in (0..).zip([name[0], name[1], &short, name[3]]) {
        bench.establish_with(spare(n), &spare(n).open().with(73, value))?.is_up()?;
    }
    // As long as a capability can be.
    let longest = [&[126][..], &[b'h'; 126], &[127], &[b'd'; 127]].concat();
    let long = Open { layout: Layout::Long, ..spare(6).open().with(73, &longest) };
    bench.establish_with(spare(6), &long)?.is_up()?;
    bench.establish_with(spare(4), &spare(4).open().with(75, &[3, 0xFF, 0xFE, 0xFD]))?.is_up()?;
    bench.establish_with(spare(5), &spare(5).open().with(75, &[&[64][..], &[b'v'; 64]].concat()))?.is_up()
}

fn h7(bench: &mut Bench) -> Result<()> {
    bench.start(Plan::six())?;
    let mut c1 = bench.establish(C1)?;
    let open =
        E1.open().with(8, &[0, 1, 4, 3]).with(3, &[0, 1, 0, 1, 1, 64, 3]).with(67, &[1, 2]).with(66, &[]);
    let mut conn = bench.establish_with(E1, &open)?;
    bench.settle(&mut conn, &mut c1)
}
