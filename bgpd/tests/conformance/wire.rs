//! Messages as octets: what the scripted speaker writes, right or wrong, and how it reads what it is told.
//!
//! Nothing here checks what it writes: a case that needs a wrong length writes one. Reading is the suite's own and shares
//! no code with the daemon it judges, apart from the encoder of an ordinary OPEN.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, ensure};

/// Message types.
pub(crate) const OPEN: u8 = 1;
pub(crate) const UPDATE: u8 = 2;
pub(crate) const NOTIFICATION: u8 = 3;
pub(crate) const KEEPALIVE: u8 = 4;
pub(crate) const REFRESH: u8 = 5;

/// Attribute types.
pub(crate) const ORIGIN: u8 = 1;
pub(crate) const AS_PATH: u8 = 2;
pub(crate) const NEXT_HOP: u8 = 3;
pub(crate) const MED: u8 = 4;
pub(crate) const LOCAL_PREF: u8 = 5;
pub(crate) const ATOMIC_AGGREGATE: u8 = 6;
pub(crate) const AGGREGATOR: u8 = 7;
pub(crate) const COMMUNITIES: u8 = 8;
pub(crate) const ORIGINATOR_ID: u8 = 9;
pub(crate) const CLUSTER_LIST: u8 = 10;
pub(crate) const MP_REACH: u8 = 14;
pub(crate) const MP_UNREACH: u8 = 15;
pub(crate) const EXT_COMMUNITIES: u8 = 16;
pub(crate) const AS4_PATH: u8 = 17;
pub(crate) const AS4_AGGREGATOR: u8 = 18;
pub(crate) const IPV6_EXT_COMMUNITIES: u8 = 25;
pub(crate) const LARGE_COMMUNITIES: u8 = 32;
pub(crate) const OTC: u8 = 35;

/// Flags.
pub(crate) const WELL_KNOWN: u8 = 0x40;
pub(crate) const OPTIONAL: u8 = 0x80;
pub(crate) const OPTIONAL_TRANSITIVE: u8 = 0xC0;
pub(crate) const PARTIAL: u8 = 0x20;
pub(crate) const EXTENDED: u8 = 0x10;

/// An address family and a subsequent one.
pub(crate) type Family = (u16, u8);
pub(crate) const V4: Family = (1, 1);
pub(crate) const V6: Family = (2, 1);
pub(crate) const VPNV4: Family = (1, 128);
pub(crate) const EVPN: Family = (25, 70);

/// A message with a right header.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    header((19 + body.len()) as u16, kind, body)
}

/// A message that claims any length.
pub(crate) fn header(len: u16, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0xFF; 16];
    out.extend(len.to_be_bytes());
    out.push(kind);
    out.extend(body);
    out
}

pub(crate) fn keepalive() -> Vec<u8> {
    message(KEEPALIVE, &[])
}

pub(crate) fn notification(code: u8, subcode: u8, data: &[u8]) -> Vec<u8> {
    message(NOTIFICATION, &[&[code, subcode], data].concat())
}

pub(crate) fn refresh(family: Family, subtype: u8) -> Vec<u8> {
    let [high, low] = family.0.to_be_bytes();
    message(REFRESH, &[high, low, subtype, family.1])
}

/// The body of an UPDATE from its three fields, with true lengths.
pub(crate) fn update_of(withdrawn: &[u8], attrs: &[u8], nlri: &[u8]) -> Vec<u8> {
    let mut body = (withdrawn.len() as u16).to_be_bytes().to_vec();
    body.extend(withdrawn);
    body.extend((attrs.len() as u16).to_be_bytes());
    body.extend(attrs);
    body.extend(nlri);
    message(UPDATE, &body)
}

/// End-of-RIB.
pub(crate) fn end_of_rib(family: Family) -> Vec<u8> {
    if family == V4 {
        return update_of(&[], &[], &[]);
    }
    update_of(&[], &attr(OPTIONAL, MP_UNREACH, &family_octets(family)), &[])
}

pub(crate) fn family_octets(family: Family) -> Vec<u8> {
    let [high, low] = family.0.to_be_bytes();
    vec![high, low, family.1]
}

/// An attribute, with an extended length where needed or the flag says so.
pub(crate) fn attr(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let long = value.len() > 255 || flags & EXTENDED != 0;
    let mut out = vec![if long { flags | EXTENDED } else { flags }, code];
    match long {
        true => out.extend((value.len() as u16).to_be_bytes()),
        false => out.push(value.len() as u8),
    }
    out.extend(value);
    out
}

/// A prefix as NLRI, `10.0.0.0/8` or `2001:db8::/32`.
pub(crate) fn nlri(prefix: &str) -> Vec<u8> {
    let (address, len) = prefix.split_once('/').unwrap_or((prefix, "0"));
    let len: u8 = len.parse().unwrap_or(0);
    let octets = match address.parse::<Ipv4Addr>() {
        Ok(v4) => v4.octets().to_vec(),
        Err(_) => address.parse::<Ipv6Addr>().map(|v6| v6.octets().to_vec()).unwrap_or_default(),
    };
    let mut out = vec![len];
    out.extend(octets.iter().take(usize::from(len).div_ceil(8)));
    out
}

/// NLRI behind a path identifier (RFC 7911).
pub(crate) fn numbered(id: u32, prefix: &str) -> Vec<u8> {
    [&id.to_be_bytes()[..], &nlri(prefix)].concat()
}

pub(crate) fn all_nlri<S: AsRef<str>>(prefixes: &[S]) -> Vec<u8> {
    prefixes.iter().flat_map(|prefix| nlri(prefix.as_ref())).collect()
}

/// The family of a prefix's text.
pub(crate) fn family_of(prefix: &str) -> Family {
    if prefix.contains(':') { V6 } else { V4 }
}

/// A segment of an AS_PATH with numbers of four octets.
pub(crate) fn segment(kind: u8, asns: &[u32]) -> Vec<u8> {
    let mut out = vec![kind, asns.len() as u8];
    asns.iter().for_each(|asn| out.extend(asn.to_be_bytes()));
    out
}

/// The same with numbers of two octets.
pub(crate) fn segment2(kind: u8, asns: &[u16]) -> Vec<u8> {
    let mut out = vec![kind, asns.len() as u8];
    asns.iter().for_each(|asn| out.extend(asn.to_be_bytes()));
    out
}

/// A path attribute's parts, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attr {
    pub(crate) flags: u8,
    pub(crate) code: u8,
    pub(crate) value: Vec<u8>,
}

/// One route that the daemon told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) next_hop: Vec<u8>,
    /// Without MP_REACH_NLRI, MP_UNREACH_NLRI and NEXT_HOP.
    pub(crate) attrs: Vec<Attr>,
}

impl Told {
    pub(crate) fn value(&self, code: u8) -> Option<&[u8]> {
        self.attrs.iter().find(|attr| attr.code == code).map(|attr| &attr.value[..])
    }

    pub(crate) fn number(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.value(code)?.try_into().ok()?))
    }

    /// Numbers of a list of four octets each.
    pub(crate) fn numbers(&self, code: u8) -> Vec<u32> {
        let value = self.value(code).unwrap_or(&[]);
        value.chunks_exact(4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]])).collect()
    }

    /// The numbers of an AS_PATH of four octets each, whatever the segment.
    pub(crate) fn path(&self) -> Vec<u32> {
        let mut rest = self.value(AS_PATH).unwrap_or(&[]);
        let mut asns = Vec::new();
        while let [_, count, tail @ ..] = rest {
            let (numbers, tail) = tail.split_at((usize::from(*count) * 4).min(tail.len()));
            asns.extend(numbers.chunks_exact(4).map(|n| u32::from_be_bytes([n[0], n[1], n[2], n[3]])));
            rest = tail;
        }
        asns
    }
}

/// Which NLRI: family, path identifier if numbered, octets.
pub(crate) type Key = (Family, u32, Vec<u8>);

/// An UPDATE that was received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Update {
    pub(crate) octets: usize,
    pub(crate) withdrawn: Vec<Key>,
    pub(crate) announced: Vec<(Key, Told)>,
    pub(crate) end_of_rib: Option<Family>,
}

/// How received UPDATEs are read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// Families in which every NLRI has a path identifier.
    pub(crate) numbered: Vec<Family>,
}

impl Reading {
    pub(crate) fn update(&self, body: &[u8]) -> Result<Update> {
        let mut update = Update { octets: body.len() + 19, ..Update::default() };
        let (withdrawn, rest) = counted(body).context("withdrawn routes")?;
        let (attrs, nlri) = counted(rest).context("attributes")?;
        if withdrawn.is_empty() && attrs.is_empty() && nlri.is_empty() {
            update.end_of_rib = Some(V4);
            return Ok(update);
        }
        update.withdrawn = self.keys(V4, withdrawn)?;
        let (mut kept, mut hop, mut reach) = (Vec::new(), Vec::new(), Vec::new());
        for attr in attributes(attrs)? {
            match attr.code {
                NEXT_HOP => hop = attr.value,
                MP_REACH => reach.push(attr.value),
                MP_UNREACH => self.unreach(&attr.value, &mut update)?,
                _ => kept.push(attr),
            }
        }
        for value in reach {
            let (family, rest) = split_family(&value)?;
            let (len, rest) = rest.split_first().context("no next hop")?;
            let (next_hop, rest) = rest.split_at_checked(usize::from(*len)).context("next hop")?;
            let told = Told { next_hop: next_hop.to_vec(), attrs: kept.clone() };
            let keys = self.keys(family, rest.get(1..).context("no NLRI")?)?;
            update.announced.extend(keys.into_iter().map(|key| (key, told.clone())));
        }
        let told = Told { next_hop: hop, attrs: kept };
        let keys = self.keys(V4, nlri)?;
        update.announced.extend(keys.into_iter().map(|key| (key, told.clone())));
        Ok(update)
    }

    fn unreach(&self, value: &[u8], update: &mut Update) -> Result<()> {
        let (family, nlri) = split_family(value)?;
        match nlri.is_empty() {
            true => update.end_of_rib = Some(family),
            false => update.withdrawn.extend(self.keys(family, nlri)?),
        }
        Ok(())
    }

    fn keys(&self, family: Family, mut rest: &[u8]) -> Result<Vec<Key>> {
        let mut keys = Vec::new();
        while !rest.is_empty() {
            let mut id = 0;
            if self.numbered.contains(&family) {
                let (number, tail) = rest.split_first_chunk().context("path identifier cut")?;
                (id, rest) = (u32::from_be_bytes(*number), tail);
            }
            let len = match family {
                // EVPN: type, octets.
                EVPN => 2 + usize::from(*rest.get(1).context("NLRI cut")?),
                _ => 1 + usize::from(*rest.first().context("NLRI cut")?).div_ceil(8),
            };
            let (octets, tail) = rest.split_at_checked(len).context("NLRI cut")?;
            keys.push((family, id, octets.to_vec()));
            rest = tail;
        }
        Ok(keys)
    }
}

fn counted(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = octets.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

fn split_family(value: &[u8]) -> Result<(Family, &[u8])> {
    let ([high, low, safi], rest) = value.split_first_chunk().context("no family")?;
    Ok(((u16::from_be_bytes([*high, *low]), *safi), rest))
}

/// The attributes of a block, which must be well-formed: the daemon wrote it.
pub(crate) fn attributes(mut rest: &[u8]) -> Result<Vec<Attr>> {
    let mut attrs: Vec<Attr> = Vec::new();
    while let [flags, code, tail @ ..] = rest {
        let len = match flags & EXTENDED {
            0 => tail.first().map(|len| (usize::from(*len), 1)),
            _ => tail.first_chunk().map(|len| (usize::from(u16::from_be_bytes(*len)), 2)),
        };
        let (len, skip) = len.context("attribute without a length")?;
        let value = tail.get(skip..skip + len).context("attribute cut")?.to_vec();
        ensure!(attrs.iter().all(|attr| attr.code != *code), "attribute {code} twice");
        attrs.push(Attr { flags: flags & !EXTENDED, code: *code, value });
        rest = tail.get(skip + len..).unwrap_or(&[]);
    }
    ensure!(rest.is_empty(), "octets behind the last attribute");
    Ok(attrs)
}
