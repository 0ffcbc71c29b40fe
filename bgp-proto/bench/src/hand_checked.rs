//! As much as a correct receiver must do, by hand in one walk: besides what `hand` does, each attribute's flags, length and value
//! are judged, a second copy is noticed, mandatory attributes must be there, and no prefix is longer than its address
//! (RFC 7606). Any fault ends the walk: no remedy is chosen, nothing is reported, and nothing is kept for a later look, so what
//! was read before the fault would have to be undone. This is the least that does the work.

use crate::Sum;
use crate::hand::{number, prefixes, prefixes_v6, sections, u32_at};

/// Walks and judges every attribute and prefix.
pub fn full(message: &[u8], four: bool) -> Option<Sum> {
    let mut sum = Sum::default();
    let (withdrawn, attrs, nlri) = sections(message)?;
    bounded(withdrawn, 32)?;
    prefixes(withdrawn, &mut sum)?;
    let mut rest = attrs;
    let mut seen = [0_u64; 4];
    let mut announces = !nlri.is_empty();
    while let [flags, code, tail @ ..] = rest {
        let (len, tail) = match flags & 0x10 {
            0 => (usize::from(*tail.first()?), tail.get(1..)?),
            _ => (usize::from(u16::from_be_bytes(tail.get(..2)?.try_into().ok()?)), tail.get(2..)?),
        };
        let (value, tail) = tail.split_at_checked(len)?;
        rest = tail;
        let (word, bit) = (usize::from(code >> 6), 1 << (code & 63));
        if seen[word] & bit != 0 {
            return None;
        }
        seen[word] |= bit;
        let class = flags & 0xC0;
        match code {
            1 => match (class, value) {
                (0x40, [origin @ 0..=2]) => sum.add(u64::from(*origin)),
                _ => return None,
            },
            2 if class == 0x40 => path(value, four, &mut sum)?,
            3 if class == 0x40 && len == 4 => {
                let hop = u32_at(value, 0)?;
                if hop >> 24 == 0 || hop >> 28 == 0xE || hop == 0xFFFF_FFFF {
                    return None;
                }
                sum.add(hop);
            }
            4 | 9 if class == 0x80 && len == 4 => sum.add(u32_at(value, 0)?),
            5 if class == 0x40 && len == 4 => sum.add(u32_at(value, 0)?),
            6 if class == 0x40 && len == 0 => {}
            7 if class == 0xC0 && len == if four { 8 } else { 6 } => {}
            8 if class == 0xC0 && len != 0 && len % 4 == 0 => {
                value.chunks_exact(4).for_each(|item| sum.add(number(item)));
            }
            10 if class == 0x80 && len != 0 && len % 4 == 0 => {
                value.chunks_exact(4).for_each(|item| sum.add(number(item)));
            }
            14 if class == 0x80 => announces |= reach(value, &mut sum)?,
            15 if class == 0x80 => routes(value.get(..3)?, value.get(3..)?, &mut sum)?,
            1..=10 | 14 | 15 => return None,
            16 if class == 0xC0 && len != 0 && len % 8 == 0 => {}
            17 | 18 if class == 0xC0 => {}
            32 if class == 0xC0 && len != 0 && len % 12 == 0 => {}
            16..=18 | 32 => return None,
            _ if flags & 0x80 == 0 => return None,
            _ => {}
        }
    }
    let mandatory = if nlri.is_empty() { 0b0110 } else { 0b1110 };
    if !rest.is_empty() || (announces && seen[0] & mandatory != mandatory) {
        return None;
    }
    bounded(nlri, 32)?;
    prefixes(nlri, &mut sum)?;
    Some(sum)
}

/// The next hop of MP_REACH_NLRI and its prefixes; whether there are any.
fn reach(value: &[u8], sum: &mut Sum) -> Option<bool> {
    let (family, hop_len) = (value.get(..3)?, usize::from(*value.get(3)?));
    let (hop, nlri) = (value.get(4..4 + hop_len)?, value.get(5 + hop_len..)?);
    match (family, hop_len) {
        ([0, 1, 1], 4) | ([0, 2, 1], 16 | 32) => {}
        _ => return None,
    }
    if hop[0] == 0xFF || hop.iter().take(16).all(|octet| *octet == 0) {
        return None;
    }
    sum.add(number(hop.get(hop_len.min(16) - 4..hop_len.min(16))?));
    routes(family, nlri, sum)?;
    Some(!nlri.is_empty())
}

fn routes(family: &[u8], nlri: &[u8], sum: &mut Sum) -> Option<()> {
    match family {
        [0, 1, 1] => {
            bounded(nlri, 32)?;
            prefixes(nlri, sum)
        }
        [0, 2, 1] => {
            bounded(nlri, 128)?;
            prefixes_v6(nlri, sum)
        }
        _ => Some(()),
    }
}

/// Whether the prefixes are whole and none is too long. NLRI that are not must not be acted upon in part.
fn bounded(mut nlri: &[u8], max: u8) -> Option<()> {
    while let [bits, rest @ ..] = nlri {
        nlri = rest.get(usize::from(bits.div_ceil(8))..)?;
        if *bits > max {
            return None;
        }
    }
    Some(())
}

fn path(mut value: &[u8], four: bool, sum: &mut Sum) -> Option<()> {
    let width = if four { 4 } else { 2 };
    while let [kind, count, rest @ ..] = value {
        let (numbers, rest) = rest.split_at_checked(usize::from(*count) * width)?;
        value = rest;
        if !matches!(kind, 1..=4) || *count == 0 {
            return None;
        }
        for item in numbers.chunks_exact(width) {
            let asn = if four { u32_at(item, 0)? } else { number(item) };
            if asn == 0 {
                return None;
            }
            sum.add(asn);
        }
    }
    value.is_empty().then_some(())
}
