//! The little BGP that a load needs: messages made beforehand, and a reader that counts.
//!
//! A client owns `k` consecutive /26 prefixes and is their next hop, so a prefix tells its owner and the owner its next hop:
//! whoever receives a route can check all of it by arithmetic.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, bail, ensure};
use bgp_proto::attr::Origin;
use bgp_proto::{
    Asn, AttrBlock, AttrSet, Capability, Family, FamilySet, NextHop, Open, PathId, PeerKind, Prefix,
    RouterId, WireContext, encode_keepalive, encode_withdrawals,
};
use bytes::{Bytes, BytesMut};

/// The usual hold time.
pub(crate) const HOLD_SECS: u16 = 90;
/// The AS number of everybody.
pub(super) const ASN: u32 = 64512;
/// The first prefix.
const BASE: u32 = 0x0A00_0000;
/// log2 of the addresses of a /26.
const SHIFT: u32 = 6;
/// Clients connect from here upward; nothing routes loopback addresses elsewhere.
const CLIENTS: u32 = 0x7F01_0000;
/// A client's next hop is this and its number: a range that the namespace has a route to.
const NEXT_HOPS: u32 = 0x6440_0000;

/// The clients of a scenario and what each announces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mesh {
    /// Clients.
    pub(super) clients: u32,
    /// Prefixes of each.
    pub(super) prefixes: u32,
}

impl Mesh {
    /// All prefixes.
    pub(super) fn total(&self) -> u32 {
        self.clients * self.prefixes
    }

    fn own(&self, client: u32) -> impl Iterator<Item = (PathId, Prefix)> + use<> {
        let first = client * self.prefixes;
        (first..first + self.prefixes).filter_map(|at| {
            let addr = IpAddr::V4(Ipv4Addr::from(BASE + (at << SHIFT)));
            Some((PathId(0), Prefix::new(addr, 26).ok()?))
        })
    }

    /// A client's routes, with a MED by which versions can be told apart.
    pub(super) fn routes(&self, client: u32, med: Option<u32>) -> Result<Bytes> {
        let mut attrs = AttrSet::builder(NextHop::from(next_hop_of(client)));
        attrs.origin(Origin::Igp).as_path(&[]).local_pref(Some(100)).med(med);
        let mut out = BytesMut::new();
        let block = AttrBlock::new(&attrs.build(), Family::IPV4_UNICAST, &context());
        block.encode_updates(self.own(client), &mut out)?;
        Ok(out.freeze())
    }

    /// Their withdrawal.
    pub(super) fn withdrawal(&self, client: u32) -> Bytes {
        let mut out = BytesMut::new();
        encode_withdrawals(Family::IPV4_UNICAST, self.own(client), &context(), &mut out);
        out.freeze()
    }

    /// The prefix's number, if it is one of this scenario.
    fn number(&self, addr: u32) -> Option<u32> {
        let at = addr.checked_sub(BASE)? >> SHIFT;
        (at < self.total()).then_some(at)
    }
}

/// Where a client connects from.
pub(super) fn address_of(client: u32) -> Ipv4Addr {
    Ipv4Addr::from(CLIENTS + client + 1)
}

/// The next hop of a client's routes.
pub(super) fn next_hop_of(client: u32) -> Ipv4Addr {
    Ipv4Addr::from(NEXT_HOPS + client + 1)
}

/// A client's OPEN and the KEEPALIVE that answers the daemon's.
pub(super) fn greeting_of(client: u32, hold_secs: u16) -> (Bytes, Bytes) {
    greeting(address_of(client), hold_secs)
}

/// The same of somebody with this identifier.
pub(crate) fn greeting(id: Ipv4Addr, hold_secs: u16) -> (Bytes, Bytes) {
    let capabilities = vec![
        Capability::Multiprotocol(Family::IPV4_UNICAST),
        Capability::RouteRefresh,
        Capability::FourOctetAs(Asn(ASN)),
    ];
    let router_id = RouterId::from(id);
    let open = Open { asn: Asn(ASN), hold_secs, router_id, capabilities };
    let (mut out, mut keepalive) = (BytesMut::new(), BytesMut::new());
    open.encode(&mut out);
    encode_keepalive(&mut keepalive);
    (out.freeze(), keepalive.freeze())
}

pub(crate) fn context() -> WireContext {
    WireContext { families: FamilySet::IPV4, ..WireContext::modern(PeerKind::Internal) }
}

/// What a message is, as far as a load cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// OPEN.
    Open,
    /// KEEPALIVE.
    Keepalive,
    /// UPDATE.
    Update,
    /// ROUTE-REFRESH.
    Refresh,
}

/// The first message of `octets`, if it is there whole: its kind and its length.
pub(crate) fn next_message(octets: &[u8]) -> Result<Option<(Kind, usize)>> {
    let Some(header) = octets.get(..19) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
    ensure!(length >= 19 && header[..16] == [0xFF; 16], "the daemon sent no BGP header");
    let Some(message) = octets.get(..length) else { return Ok(None) };
    let kind = match header[18] {
        1 => Kind::Open,
        2 => Kind::Update,
        3 => bail!("the daemon sent NOTIFICATION {}/{}", message[19], message[20]),
        4 => Kind::Keepalive,
        5 => Kind::Refresh,
        other => bail!("the daemon sent a message of type {other}"),
    };
    Ok(Some((kind, length)))
}

/// One change that an UPDATE tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// This prefix, by number, is reachable.
    Reachable(u32),
    /// It is not.
    Withdrawn(u32),
}

/// Reads an UPDATE; a route with a next hop other than its owner's is an error.
pub(super) fn read_update(mesh: &Mesh, message: &[u8], mut tell: impl FnMut(Told)) -> Result<()> {
    let (withdrawn, attrs, nlri) = parts(message)?;
    each_prefix(withdrawn, |addr| {
        mesh.number(addr).map(Told::Withdrawn).into_iter().for_each(&mut tell);
        Ok(())
    })?;
    if nlri.is_empty() {
        return Ok(());
    }
    let next_hop = attribute(attrs, 3).and_then(|hop| hop.try_into().ok()).map_or(0, u32::from_be_bytes);
    each_prefix(nlri, |addr| {
        let Some(number) = mesh.number(addr) else { return Ok(()) };
        let owner = u32::from(next_hop_of(number / mesh.prefixes));
        ensure!(
            next_hop == owner,
            "next hop {} instead of {}",
            Ipv4Addr::from(next_hop),
            Ipv4Addr::from(owner)
        );
        tell(Told::Reachable(number));
        Ok(())
    })
}

/// The three fields of an UPDATE: withdrawn routes, attributes, NLRI.
pub(super) fn parts(message: &[u8]) -> Result<(&[u8], &[u8], &[u8])> {
    let field =
        |octets: &'_ [u8]| -> Option<usize> { Some(usize::from(u16::from_be_bytes(*octets.first_chunk()?))) };
    let split = || {
        let body = message.get(19..)?;
        let (withdrawn, rest) = body.get(2..)?.split_at_checked(field(body)?)?;
        let (attrs, nlri) = rest.get(2..)?.split_at_checked(field(rest)?)?;
        Some((withdrawn, attrs, nlri))
    };
    split().context("the daemon sent an UPDATE that is cut short")
}

/// An attribute's value.
pub(super) fn attribute(mut attrs: &[u8], wanted: u8) -> Option<&[u8]> {
    while let [flags, code, rest @ ..] = attrs {
        let (len, value) = match flags & 0x10 {
            0 => (usize::from(*rest.first()?), rest.get(1..)?),
            _ => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), rest.get(2..)?),
        };
        if *code == wanted {
            return value.get(..len);
        }
        attrs = value.get(len..)?;
    }
    None
}

/// Calls for the address of every prefix of a field.
pub(super) fn each_prefix(mut field: &[u8], mut take: impl FnMut(u32) -> Result<()>) -> Result<()> {
    while let [len, rest @ ..] = field {
        let octets = usize::from(*len).div_ceil(8);
        ensure!(octets <= 4 && rest.len() >= octets, "the daemon sent a prefix of length {len}");
        let mut addr = [0; 4];
        addr[..octets].copy_from_slice(&rest[..octets]);
        take(u32::from_be_bytes(addr))?;
        field = &rest[octets..];
    }
    Ok(())
}
