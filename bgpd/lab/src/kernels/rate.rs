//! How fast a kernel gets what a peer says: 100,000 routes in one go, then all of them with another next hop, then none.
//!
//! The peer is the lab, which has its messages ready and takes no time to speak of. What the kernel has is looked at through `/proc`, as often as
//! a look takes; the time ends with the look that finds all.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bgp_proto::attr::Origin;
use bgp_proto::{AttrBlock, AttrSet, Family, NextHop, PathId, Prefix, encode_keepalive, encode_withdrawals};
use bytes::BytesMut;

use super::{ASN, Whose, median, speaker};
use crate::load::wire::{HOLD_SECS, Kind, context, greeting, next_message};
use crate::net::Underlay;
use crate::speaker::{Neighbor, Plan, Role};
use crate::wait;

const ROUTES: u32 = 100_000;
const ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(30);
const FEEDER: Ipv4Addr = Ipv4Addr::new(10, 0, 9, 1);
const NEXT_HOPS: [Ipv4Addr; 2] = [FEEDER, Ipv4Addr::new(10, 0, 9, 2)];

/// Feeds one daemon and says how long its kernel took.
pub(super) fn rate(whose: Whose) -> Result<String> {
    let underlay = Underlay::new()?;
    let node = underlay.node("n1")?;
    underlay.join(FEEDER)?;
    let neighbor = Neighbor {
        name: "feeder".to_owned(),
        address: FEEDER.into(),
        local: node.v4.into(),
        asn: ASN,
        role: Role::Peer,
        password: None,
        hold_secs: 90,
        watched: false,
    };
    let daemon = speaker(whose, &node, Plan::new(&node, ASN).neighbor(neighbor))?;
    let pid = daemon.daemon().pid();
    let mut session = connect((node.v4, 179).into())?;
    let [first, second] = NEXT_HOPS.map(announcement);
    let steps = [(first?, 0, ROUTES), (second?, 1, ROUTES), (withdrawal()?, 1, 0)];
    let mut took: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for ((message, hop, count), took) in steps.iter().zip(&mut took) {
            let began = Instant::now();
            session.write_all(message)?;
            wait::closely(&format!("{count} routes"), PATIENCE, || {
                daemon.daemon().alive()?;
                let has = through(pid, NEXT_HOPS[*hop])?;
                ensure!(has == *count, "{has} of {count}");
                Ok(())
            })?;
            took.push(began.elapsed().as_secs_f64());
        }
    }
    let [install, replace, remove] = took.map(median);
    Ok(format!(
        "{ROUTES} routes over BGP, medians of {ROUNDS}: in the kernel after {install:.2} s, replaced {replace:.2} s, gone {remove:.2} s"
    ))
}

/// A session on which everything that comes is thrown away.
fn connect(to: SocketAddr) -> Result<TcpStream> {
    wait::until("a session", wait::SOON, || {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let (open, keepalive) = greeting(FEEDER, HOLD_SECS);
        stream.write_all(&open)?;
        expect(&mut stream, Kind::Open)?;
        stream.write_all(&keepalive)?;
        expect(&mut stream, Kind::Keepalive)?;
        stream.set_read_timeout(None)?;
        let mut sink = stream.try_clone()?;
        thread::spawn(move || while sink.read(&mut [0; 65536]).is_ok_and(|octets| octets > 0) {});
        Ok(stream)
    })
}

/// Reads one message, octet by octet of it and no further.
fn expect(stream: &mut TcpStream, wanted: Kind) -> Result<()> {
    let mut octets = vec![0; 19];
    stream.read_exact(&mut octets)?;
    let length = usize::from(u16::from_be_bytes([octets[16], octets[17]]));
    octets.resize(length.max(19), 0);
    stream.read_exact(&mut octets[19..])?;
    match next_message(&octets)? {
        Some((kind, _)) if kind == wanted => Ok(()),
        other => bail!("{other:?} instead of {wanted:?}"),
    }
}

fn prefixes() -> impl Iterator<Item = (PathId, Prefix)> {
    let prefix = |index: u32| Prefix::new(IpAddr::V4(Ipv4Addr::from(0x0b00_0000 + (index << 4))), 28).ok();
    (0..ROUTES).filter_map(move |index| Some((PathId(0), prefix(index)?)))
}

fn announcement(next_hop: Ipv4Addr) -> Result<BytesMut> {
    let mut attrs = AttrSet::builder(NextHop::from(next_hop));
    attrs.origin(Origin::Igp).as_path(&[]).local_pref(Some(100));
    let mut out = BytesMut::new();
    AttrBlock::new(&attrs.build(), Family::IPV4_UNICAST, &context()).encode_updates(prefixes(), &mut out)?;
    Ok(out)
}

fn withdrawal() -> Result<BytesMut> {
    let mut out = BytesMut::new();
    encode_withdrawals(Family::IPV4_UNICAST, prefixes(), &context(), &mut out);
    // The rounds may last longer than the hold time.
    encode_keepalive(&mut out);
    Ok(out)
}

/// How many routes go through a next hop, where a process is.
fn through(pid: u32, next_hop: Ipv4Addr) -> Result<u32> {
    let table = fs::read(format!("/proc/{pid}/net/route")).context("the kernel's table")?;
    let wanted = format!("\t{:08X}\t", u32::from_le_bytes(next_hop.octets()));
    let lines = table.split(|octet| *octet == b'\n');
    // Interface, destination, gateway: the first two are 13 octets here.
    let goes = |line: &&[u8]| line.get(13..23).is_some_and(|gateway| gateway == wanted.as_bytes());
    Ok(u32::try_from(lines.filter(goes).count())?)
}
