//! The limit: the same octets walked by hand. The header is recognised and bounds are checked, nothing else: no flags are
//! looked at, no value is judged, no second copy noticed, nothing is kept. [`checked`](super::hand_checked) also does what
//! RFC 7606 demands of a receiver.

use crate::{Encode, Sum};
use bytes::BytesMut;

#[inline]
pub(crate) fn number(octets: &[u8]) -> u64 {
    octets.iter().fold(0, |n, octet| n << 8 | u64::from(*octet))
}

#[inline]
pub(crate) fn u32_at(octets: &[u8], at: usize) -> Option<u64> {
    Some(u64::from(u32::from_be_bytes(octets.get(at..at + 4)?.try_into().ok()?)))
}

/// Walks every attribute and prefix.
pub fn full(message: &[u8], four: bool) -> Option<Sum> {
    let mut sum = Sum::default();
    let (withdrawn, attrs, nlri) = sections(message)?;
    prefixes(withdrawn, &mut sum)?;
    let mut rest = attrs;
    while let [flags, code, tail @ ..] = rest {
        let (len, tail) = match flags & 0x10 {
            0 => (usize::from(*tail.first()?), tail.get(1..)?),
            _ => (usize::from(u16::from_be_bytes(tail.get(..2)?.try_into().ok()?)), tail.get(2..)?),
        };
        let (value, tail) = tail.split_at_checked(len)?;
        rest = tail;
        match code {
            1 => sum.add(u64::from(*value.first()?)),
            2 => path(value, four, &mut sum)?,
            3 | 4 | 5 | 9 => sum.add(u32_at(value, 0)?),
            8 | 10 => value.chunks_exact(4).for_each(|item| sum.add(number(item))),
            14 => {
                let v6 = value.get(1)? == &2;
                let hop = usize::from(*value.get(3)?);
                sum.add(number(value.get(4..4 + hop)?.get(hop.min(16) - 4..hop.min(16))?));
                let nlri = value.get(5 + hop..)?;
                if v6 { prefixes_v6(nlri, &mut sum)? } else { prefixes(nlri, &mut sum)? }
            }
            15 => {
                let v6 = value.get(1)? == &2;
                let nlri = value.get(3..)?;
                if v6 { prefixes_v6(nlri, &mut sum)? } else { prefixes(nlri, &mut sum)? }
            }
            _ => {}
        }
    }
    prefixes(nlri, &mut sum)?;
    Some(sum)
}

/// Walks the prefixes only.
pub fn nlri(message: &[u8]) -> Option<Sum> {
    let mut sum = Sum::default();
    let (withdrawn, attrs, nlri) = sections(message)?;
    prefixes(withdrawn, &mut sum)?;
    let mut rest = attrs;
    while let [flags, code, tail @ ..] = rest {
        let (len, tail) = match flags & 0x10 {
            0 => (usize::from(*tail.first()?), tail.get(1..)?),
            _ => (usize::from(u16::from_be_bytes(tail.get(..2)?.try_into().ok()?)), tail.get(2..)?),
        };
        let (value, tail) = tail.split_at_checked(len)?;
        rest = tail;
        let nlri = match code {
            14 => value.get(5 + usize::from(*value.get(3)?)..)?,
            15 => value.get(3..)?,
            _ => continue,
        };
        if value.get(1)? == &2 { prefixes_v6(nlri, &mut sum)? } else { prefixes(nlri, &mut sum)? }
    }
    prefixes(nlri, &mut sum)?;
    Some(sum)
}

#[inline]
pub(crate) fn sections(message: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (header, body) = message.split_first_chunk::<19>()?;
    let [marker @ .., high, low, 2] = header else { return None };
    if marker != &[0xFF; 16] {
        return None;
    }
    let body = body.get(..usize::from(u16::from_be_bytes([*high, *low])).checked_sub(19)?)?;
    let withdrawn_len = usize::from(u16::from_be_bytes(body.get(..2)?.try_into().ok()?));
    let withdrawn = body.get(2..2 + withdrawn_len)?;
    let body = body.get(2 + withdrawn_len..)?;
    let attrs_len = usize::from(u16::from_be_bytes(body.get(..2)?.try_into().ok()?));
    Some((withdrawn, body.get(2..2 + attrs_len)?, body.get(2 + attrs_len..)?))
}

#[inline]
fn path(mut value: &[u8], four: bool, sum: &mut Sum) -> Option<()> {
    while let [_, count, rest @ ..] = value {
        let width = if four { 4 } else { 2 };
        let (numbers, rest) = rest.split_at_checked(usize::from(*count) * width)?;
        value = rest;
        match four {
            true => numbers.chunks_exact(4).for_each(|n| sum.add(number(n))),
            false => numbers.chunks_exact(2).for_each(|n| sum.add(number(n))),
        }
    }
    Some(())
}

/// Four octets are read at once where there are four, and what is not the prefix's is masked off; likewise sixteen.
#[inline]
pub(crate) fn prefixes(mut nlri: &[u8], sum: &mut Sum) -> Option<()> {
    while let [bits, rest @ ..] = nlri {
        let n = usize::from(bits.div_ceil(8));
        let address = match rest.first_chunk::<4>() {
            Some(four) => u32::from_be_bytes(*four),
            None => {
                let octets = rest.get(..n)?.iter().fold(0, |address, octet| address << 8 | u32::from(*octet));
                octets.checked_shl(32 - 8 * n as u32).unwrap_or(0)
            }
        };
        nlri = rest.get(n..)?;
        let address = address & !(u32::MAX.checked_shr(u32::from(*bits)).unwrap_or(0));
        sum.prefix(u128::from(address) << 96, *bits);
    }
    Some(())
}

#[inline]
pub(crate) fn prefixes_v6(mut nlri: &[u8], sum: &mut Sum) -> Option<()> {
    while let [bits, rest @ ..] = nlri {
        let n = usize::from(bits.div_ceil(8));
        let address = match rest.first_chunk::<16>() {
            Some(all) => u128::from_be_bytes(*all),
            None => {
                let octets =
                    rest.get(..n)?.iter().fold(0, |address, octet| address << 8 | u128::from(*octet));
                octets.checked_shl(128 - 8 * n as u32).unwrap_or(0)
            }
        };
        nlri = rest.get(n..)?;
        let address = address & !(u128::MAX.checked_shr(u32::from(*bits)).unwrap_or(0));
        sum.prefix(address, *bits);
    }
    Some(())
}

/// A message as somebody would write it who has the attributes as octets and the prefixes as values.
pub fn prepare(message: &[u8], four: bool) -> Option<Encode> {
    let (attrs, hop, prefixes) = crate::ours::parts(message, four)?;
    Some(Box::new(move |out: &mut BytesMut| {
        let start = out.len();
        out.extend_from_slice(&[0xFF; 19]);
        match &hop {
            None => {
                out.extend_from_slice(&[0, 0]);
                out.extend_from_slice(&(attrs.len() as u16).to_be_bytes());
                out.extend_from_slice(&attrs);
                prefixes.iter().for_each(|(bits, octets)| put(out, *bits, octets));
            }
            Some(hop) => {
                out.extend_from_slice(&[0, 0, 0, 0, 0x90, 14, 0, 0, 0, 2, 1, hop.len() as u8]);
                out.extend_from_slice(hop);
                out.extend_from_slice(&[0]);
                prefixes.iter().for_each(|(bits, octets)| put(out, *bits, octets));
                let reach = out.len() - start - 27;
                out[start + 25..start + 27].copy_from_slice(&(reach as u16).to_be_bytes());
                out.extend_from_slice(&attrs);
                let all = out.len() - start - 23;
                out[start + 21..start + 23].copy_from_slice(&(all as u16).to_be_bytes());
            }
        }
        let len = out.len() - start;
        out[start + 16..start + 18].copy_from_slice(&(len as u16).to_be_bytes());
        out[start + 18] = 2;
    }))
}

#[inline]
fn put(out: &mut BytesMut, bits: u8, octets: &[u8; 16]) {
    out.extend_from_slice(&[bits]);
    out.extend_from_slice(&octets[..usize::from(bits.div_ceil(8))]);
}
