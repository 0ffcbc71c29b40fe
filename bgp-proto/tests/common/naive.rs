//! A second decoder of UPDATE, written for being obvious: it copies everything, walks as often as it likes, and knows
//! only the families with prefixes. What it makes of a message must be what the views make of it.

use bgp_proto::context::{AsSets, AsnWidth, Features, PeerKind};
use bgp_proto::{Family, Update, Verdict, WireContext};

/// An NLRI: path identifier, bit length, address octets with the host bits cleared.
type Route = (u32, u8, Vec<u8>);

/// The meaning of an UPDATE.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub(crate) verdict: Verdict,
    pub(crate) unreach: Vec<(Family, Vec<Route>)>,
    pub(crate) reach: Vec<(Family, Vec<u8>, Vec<Route>)>,
    /// Flags, code and value of what is kept, sorted by code; AS numbers four octets wide.
    pub(crate) attrs: Vec<(u8, u8, Vec<u8>)>,
    pub(crate) end_of_rib: Option<Family>,
}

/// Code and subcode of the NOTIFICATION.
pub(crate) type Refusal = (u8, u8);

struct Attr {
    flags: u8,
    code: u8,
    value: Vec<u8>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Remedy {
    None,
    Discard,
    Withdraw,
}

/// What the views make of a message, in the same form.
pub(crate) fn viewed(body: &[u8], ctx: &WireContext) -> Result<Meaning, Refusal> {
    let update = Update::decode(body, ctx).map_err(|reset| {
        let answer = reset.answer.expect("an UPDATE is answered");
        (answer.error.code, answer.error.subcode)
    })?;
    let routes = |nlri: bgp_proto::NlriIter<'_>| {
        let one = |(id, prefix): (bgp_proto::PathId, bgp_proto::Prefix)| {
            (id.0, prefix.len(), prefix.wire_octets().to_vec())
        };
        nlri.prefixes().map(one).collect::<Vec<Route>>()
    };
    let hop = |hop: &bgp_proto::NextHop| match hop {
        bgp_proto::NextHop::V4(v4) => v4.octets().to_vec(),
        bgp_proto::NextHop::V6 { global, link_local } => {
            let second = link_local.map(|second| second.octets().to_vec()).unwrap_or_default();
            [global.octets().to_vec(), second].concat()
        }
        bgp_proto::NextHop::Opaque(octets) => octets.as_slice().to_vec(),
    };
    let attrs = update.attr_set(bgp_proto::NextHop::NONE);
    Ok(Meaning {
        verdict: update.verdict(),
        unreach: update.unreach().map(|unreach| (unreach.family, routes(unreach.nlri))).collect(),
        reach: update.reach().map(|reach| (reach.family, hop(&reach.next_hop), routes(reach.nlri))).collect(),
        attrs: attrs.iter().map(|attr| (attr.flags.0 & 0xE0, attr.code.0, attr.value.to_vec())).collect(),
        end_of_rib: update.end_of_rib(),
    })
}

/// The meaning of a message, by the book.
pub(crate) fn read(body: &[u8], ctx: &WireContext) -> Result<Meaning, Refusal> {
    let (withdrawn, rest) = section(body).ok_or((3, 1))?;
    let (block, nlri) = section(rest).ok_or((3, 1))?;
    let classic = ctx.families.contains(Family::IPV4_UNICAST);
    let field = |octets: &[u8]| match classic {
        true => routes(octets, Family::IPV4_UNICAST, ctx).ok_or((3, 10)),
        false => Ok(Vec::new()),
    };
    let (attrs, rest) = attributes(block);
    let mut worst = Remedy::None;
    let (mut kept, mut seen) = (Vec::<Attr>::new(), Vec::new());
    let (mut mp_reach, mut mp_unreach, mut mp) = (None, None, Vec::new());
    let only_unreach = attrs.iter().all(|attr| attr.code == 15) && rest.is_empty();
    let alone = attrs.len() == 1 && rest.is_empty();
    let empty = attrs.is_empty() && rest.is_empty();
    for attr in attrs {
        if seen.contains(&attr.code) {
            if attr.code == 14 || attr.code == 15 {
                return Err((3, 1));
            }
            worst = worst.max(Remedy::Discard);
            continue;
        }
        seen.push(attr.code);
        let external = ctx.peer == PeerKind::External;
        if (matches!(attr.code, 5 | 9 | 10) && external)
            || (matches!(attr.code, 17 | 18) && ctx.asn_width == AsnWidth::Four)
        {
            worst = worst.max(Remedy::Discard);
            continue;
        }
        let Some(class) = class_of(attr.code, ctx) else {
            if attr.flags & 0x80 == 0 {
                return Err((3, 2));
            }
            if attr.flags & 0x40 != 0 {
                kept.push(Attr { flags: 0xE0, ..attr });
            }
            continue;
        };
        if attr.flags & 0xC0 != class {
            worst = worst.max(Remedy::Withdraw);
        }
        match attr.code {
            14 | 15 => mp.push(attr),
            _ => match remedy_for(&attr, ctx) {
                Remedy::None => kept.push(attr),
                remedy => worst = worst.max(remedy),
            },
        }
    }
    if let Some(code) = rest.get(1)
        && matches!(code, 14 | 15)
        && !seen.contains(code)
    {
        return Err((3, 1));
    }
    if !rest.is_empty() {
        worst = Remedy::Withdraw;
    }
    if let Some(attr) = mp.iter().find(|attr| attr.code == 14) {
        let (found, remedy) = reach(&attr.value, ctx)?;
        mp_reach = found;
        worst = worst.max(remedy);
    }
    if let Some(attr) = mp.iter().find(|attr| attr.code == 15) {
        mp_unreach = unreach(&attr.value, ctx)?;
    }
    let (withdrawn_routes, nlri_routes) = (field(withdrawn)?, field(nlri)?);
    let announces_mp = mp_reach.as_ref().is_some_and(|(_, _, announces)| *announces);
    if !nlri.is_empty() || announces_mp {
        let has = |code: u8| kept.iter().any(|attr| attr.code == code);
        let missing = !has(1)
            || !has(2)
            || (!nlri.is_empty() && !has(3))
            || (ctx.peer == PeerKind::Internal && !has(5));
        if missing {
            worst = Remedy::Withdraw;
        }
    } else if worst == Remedy::Withdraw && !only_unreach {
        return Err((3, 1));
    }
    let hop = kept.iter().find(|attr| attr.code == 3).map(|attr| attr.value.clone()).unwrap_or_default();
    let end_of_rib = match &mp_unreach {
        _ if !withdrawn.is_empty() || !nlri.is_empty() => None,
        None => empty.then_some(Family::IPV4_UNICAST),
        Some((family, _, is_empty)) => (alone && *is_empty).then_some(*family),
    };
    let mut meaning = Meaning {
        verdict: match worst {
            Remedy::None => Verdict::Sound,
            Remedy::Discard => Verdict::Trimmed,
            Remedy::Withdraw => Verdict::Withdrawn,
        },
        unreach: mp_unreach.into_iter().filter_map(|(family, routes, _)| Some((family, routes?))).collect(),
        reach: mp_reach
            .into_iter()
            .filter_map(|(family, found, _)| found.map(|(hop, r)| (family, hop, r)))
            .collect(),
        attrs: merge(kept, ctx),
        end_of_rib,
    };
    meaning.unreach.retain(|(_, routes)| !routes.is_empty());
    meaning.reach.retain(|(_, _, routes)| !routes.is_empty());
    if !withdrawn_routes.is_empty() {
        meaning.unreach.push((Family::IPV4_UNICAST, withdrawn_routes));
    }
    if !nlri_routes.is_empty() {
        meaning.reach.push((Family::IPV4_UNICAST, hop, nlri_routes));
    }
    Ok(meaning)
}

fn section(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = usize::from(*octets.first()?) << 8 | usize::from(*octets.get(1)?);
    (octets.len() >= 2 + len).then(|| octets[2..].split_at(len))
}

/// The whole attributes and what is left over.
fn attributes(mut block: &[u8]) -> (Vec<Attr>, Vec<u8>) {
    let mut attrs = Vec::new();
    while block.len() >= 3 {
        let (flags, code) = (block[0], block[1]);
        let (len, header) = match flags & 0x10 {
            0 => (usize::from(block[2]), 3),
            _ if block.len() == 3 => break,
            _ => (usize::from(block[2]) << 8 | usize::from(block[3]), 4),
        };
        if block.len() < header + len {
            break;
        }
        attrs.push(Attr { flags, code, value: block[header..header + len].to_vec() });
        block = &block[header + len..];
    }
    (attrs, block.to_vec())
}

fn class_of(code: u8, ctx: &WireContext) -> Option<u8> {
    match code {
        1 | 2 | 3 | 5 | 6 => Some(0x40),
        4 | 9 | 10 | 14 | 15 => Some(0x80),
        7 | 8 | 16 | 17 | 18 | 25 | 32 => Some(0xC0),
        26 if ctx.features.contains(Features::AIGP) => Some(0x80),
        33 if ctx.features.contains(Features::BGPSEC) => Some(0x80),
        35 if ctx.features.contains(Features::ROLES) => Some(0xC0),
        40 if ctx.features.contains(Features::PREFIX_SID) => Some(0xC0),
        _ => None,
    }
}

fn remedy_for(attr: &Attr, ctx: &WireContext) -> Remedy {
    let value = &attr.value;
    let n = value.len();
    let list = |item: usize| if n > 0 && n.is_multiple_of(item) { Remedy::None } else { Remedy::Withdraw };
    let when = |bad: bool, remedy: Remedy| if bad { remedy } else { Remedy::None };
    let width = if ctx.asn_width == AsnWidth::Four { 4 } else { 2 };
    match attr.code {
        1 => when(n != 1 || value[0] > 2, Remedy::Withdraw),
        2 => when(segments(value, width).is_none_or(|path| !is_path(&path, ctx)), Remedy::Withdraw),
        3 => when(n != 4 || !is_host(value), Remedy::Withdraw),
        4 | 5 | 9 | 35 => when(n != 4, Remedy::Withdraw),
        6 => when(n != 0, Remedy::Discard),
        7 => when(n != width + 4 || value[..width].iter().all(|octet| *octet == 0), Remedy::Discard),
        8 | 10 => list(4),
        16 => list(8),
        32 => list(12),
        25 => list(20),
        17 => match segments(value, 4) {
            Some(path) if !path.is_empty() && path.iter().all(|(_, asns)| !asns.contains(&0)) => {
                let set = path.iter().any(|(kind, _)| matches!(kind, 1 | 4));
                when(set && ctx.as_sets == AsSets::Refused, Remedy::Withdraw)
            }
            _ => Remedy::Discard,
        },
        18 => when(n != 8 || value[..4] == [0; 4], Remedy::Discard),
        40 => when(!tlvs(value), Remedy::Discard),
        26 => when(!aigp(value), Remedy::Discard),
        _ => Remedy::None,
    }
}

fn tlvs(mut value: &[u8]) -> bool {
    while value.len() >= 3 {
        let len = usize::from(value[1]) << 8 | usize::from(value[2]);
        if value.len() < 3 + len {
            return false;
        }
        value = &value[3 + len..];
    }
    value.is_empty()
}

fn aigp(mut value: &[u8]) -> bool {
    let mut found = Vec::new();
    while value.len() >= 3 {
        let len = usize::from(value[1]) << 8 | usize::from(value[2]);
        if len < 3 || value.len() < len {
            return false;
        }
        if value[0] == 1 {
            found.push(len);
        }
        value = &value[len..];
    }
    value.is_empty() && found.first() == Some(&11)
}

type Path = Vec<(u8, Vec<u32>)>;

fn segments(mut value: &[u8], width: usize) -> Option<Path> {
    let mut path = Vec::new();
    while !value.is_empty() {
        let (kind, count) = (value[0], usize::from(*value.get(1)?));
        if !(1..=4).contains(&kind) || count == 0 || value.len() < 2 + count * width {
            return None;
        }
        let numbers = value[2..2 + count * width].chunks(width);
        path.push((kind, numbers.map(|n| n.iter().fold(0, |n, octet| n << 8 | u32::from(*octet))).collect()));
        value = &value[2 + count * width..];
    }
    Some(path)
}

fn is_path(path: &Path, ctx: &WireContext) -> bool {
    path.iter().all(|(kind, asns)| {
        let set = matches!(kind, 1 | 4) && ctx.as_sets == AsSets::Refused;
        let confed = matches!(kind, 3 | 4) && ctx.peer == PeerKind::External;
        !set && !confed && !asns.contains(&0)
    })
}

fn is_host(address: &[u8]) -> bool {
    match address.len() {
        4 => address[0] != 0 && !(224..240).contains(&address[0]) && address != [255; 4],
        _ => address[..16] != [0; 16] && address[0] != 0xFF,
    }
}

type MpReach = Option<(Family, Option<(Vec<u8>, Vec<Route>)>, bool)>;

fn reach(value: &[u8], ctx: &WireContext) -> Result<(MpReach, Remedy), Refusal> {
    if value.len() < 4 {
        return Err((3, 9));
    }
    let family = family(value);
    let known = ctx.families.contains(family);
    let hop_len = usize::from(value[3]);
    if value.len() < 5 + hop_len {
        return if known { Err((3, 9)) } else { Ok((None, Remedy::None)) };
    }
    let (hop, nlri) = (&value[4..4 + hop_len], &value[5 + hop_len..]);
    if !known {
        return Ok((Some((family, None, !nlri.is_empty())), Remedy::None));
    }
    let extended = ctx.extended_next_hop.contains(family);
    let fits = match (family == Family::IPV4_UNICAST, hop_len) {
        (true, 4) => true,
        (true, 16 | 32) => extended,
        (false, 16 | 32) => true,
        _ => false,
    };
    if !fits {
        return Err((3, 9));
    }
    let routes = routes(nlri, family, ctx).ok_or((3, 9))?;
    let remedy = if is_host(hop) { Remedy::None } else { Remedy::Withdraw };
    Ok((Some((family, Some((hop.to_vec(), routes)), !nlri.is_empty())), remedy))
}

type MpUnreach = Option<(Family, Option<Vec<Route>>, bool)>;

fn unreach(value: &[u8], ctx: &WireContext) -> Result<MpUnreach, Refusal> {
    if value.len() < 3 {
        return Err((3, 9));
    }
    let family = family(value);
    let routes = match ctx.families.contains(family) {
        true => Some(routes(&value[3..], family, ctx).ok_or((3, 9))?),
        false => None,
    };
    Ok(Some((family, routes, value.len() == 3)))
}

fn family(value: &[u8]) -> Family {
    let afi = u16::from(value[0]) << 8 | u16::from(value[1]);
    Family::new(bgp_proto::Afi(afi), bgp_proto::Safi(value[2]))
}

fn routes(mut octets: &[u8], family: Family, ctx: &WireContext) -> Option<Vec<Route>> {
    let bits_max = if family.afi == bgp_proto::Afi::IPV4 { 32 } else { 128 };
    let mut routes = Vec::new();
    while !octets.is_empty() {
        let mut id = 0;
        if ctx.add_path.contains(family) {
            id = u32::from_be_bytes(octets.get(..4)?.try_into().ok()?);
            octets = &octets[4..];
        }
        let bits = *octets.first()?;
        let len = usize::from(bits).div_ceil(8);
        if bits > bits_max || octets.len() < 1 + len {
            return None;
        }
        let mut address = octets[1..1 + len].to_vec();
        if let (Some(last), 1..) = (address.last_mut(), bits % 8) {
            *last &= 0xFF << (8 - bits % 8);
        }
        routes.push((id, bits, address));
        octets = &octets[1 + len..];
    }
    Some(routes)
}

/// The attributes of the message as they are kept: sorted, and without a trace of two-octet numbers.
fn merge(kept: Vec<Attr>, ctx: &WireContext) -> Vec<(u8, u8, Vec<u8>)> {
    let value = |code: u8| kept.iter().find(|attr| attr.code == code).map(|attr| attr.value.clone());
    let (as4_path, as4_aggregator) = (value(17), value(18));
    let trans = value(7).is_some_and(|aggregator| aggregator[..2] == [0x5B, 0xA0]);
    let ignore = value(7).is_some() && as4_aggregator.is_some() && !trans;
    let mut out = Vec::new();
    for attr in &kept {
        let mut new = attr.value.clone();
        if ctx.asn_width == AsnWidth::Two && attr.code == 2 {
            let path = segments(&attr.value, 2).expect("it was checked");
            let as4 = as4_path.as_ref().filter(|_| !ignore).and_then(|as4| segments(as4, 4));
            new = four_octets(&merge_paths(path, as4));
        }
        if ctx.asn_width == AsnWidth::Two && attr.code == 7 {
            new = match as4_aggregator.as_ref().filter(|_| trans) {
                Some(as4) => as4.clone(),
                None => [&[0, 0][..], &attr.value].concat(),
            };
        }
        let partial = if attr.flags & 0xC0 == 0xC0 { attr.flags & 0x20 } else { 0 };
        if !matches!(attr.code, 3 | 17 | 18) {
            out.push((attr.flags & 0xC0 | partial, attr.code, new));
        }
    }
    out.sort();
    out.sort_by_key(|(_, code, _)| *code);
    out
}

fn path_len(path: &Path) -> usize {
    let of = |(kind, asns): &(u8, Vec<u32>)| match kind {
        1 => 1,
        2 => asns.len(),
        _ => 0,
    };
    path.iter().map(of).sum()
}

fn merge_paths(path: Path, as4: Option<Path>) -> Path {
    let Some(as4) = as4.filter(|as4| path_len(as4) > 0 && path_len(as4) <= path_len(&path)) else {
        return path;
    };
    let mut lead = path_len(&path) - path_len(&as4);
    let mut out = Path::new();
    for (kind, asns) in path {
        match kind {
            3 | 4 => out.push((kind, asns)),
            _ if lead == 0 => break,
            1 => {
                lead -= 1;
                out.push((kind, asns));
            }
            _ => {
                let n = lead.min(asns.len());
                lead -= n;
                out.push((kind, asns[..n].to_vec()));
            }
        }
    }
    out.extend(as4.into_iter().filter(|(kind, _)| *kind < 3));
    out
}

fn four_octets(path: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, asns) in path {
        out.extend([*kind, asns.len() as u8]);
        asns.iter().for_each(|asn| out.extend(asn.to_be_bytes()));
    }
    out
}
