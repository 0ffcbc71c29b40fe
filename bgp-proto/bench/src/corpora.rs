//! The messages that are measured: four made with a fixed seed, and recorded ones where they are at hand.

use std::fs;
use std::path::PathBuf;

/// Messages of one kind, in full, with their headers.
pub struct Corpus {
    pub name: &'static str,
    /// The message and whether its AS numbers have four octets.
    pub messages: Vec<(Vec<u8>, bool)>,
}

impl Corpus {
    /// Mean octets of a message.
    pub fn octets(&self) -> usize {
        self.messages.iter().map(|(octets, _)| octets.len()).sum::<usize>() / self.messages.len().max(1)
    }
}

/// All corpora.
pub fn all() -> Vec<Corpus> {
    let made = |name, make: fn(&mut Rng) -> Vec<u8>| {
        let mut rng = Rng(0x9E37_79B9_7F4A_7C15);
        Corpus { name, messages: (0..1024).map(|_| (make(&mut rng), true)).collect() }
    };
    let mut corpora =
        vec![made("table IPv4", table_v4), made("table IPv6", table_v6), made("Pod routes", pod)];
    corpora.extend(recorded());
    corpora
}

/// The messages of a recording, AS4_PATH and all, if it is there.
fn recorded() -> Option<Corpus> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/bgp");
    let text = fs::read_to_string(dir.join("rrc15-updates.20100227.1600.hex")).ok()?;
    let message = |line: &str| {
        let (width, hex) = line.split_once(' ')?;
        let octets: Option<Vec<u8>> =
            (0..hex.len() / 2).map(|i| u8::from_str_radix(hex.get(2 * i..2 * i + 2)?, 16).ok()).collect();
        Some((octets?, width == "as4"))
    };
    let updates = text.lines().filter(|line| !line.starts_with('#')).filter_map(message);
    Some(Corpus { name: "recorded", messages: updates.filter(|(octets, _)| octets[18] == 2).collect() })
}

pub struct Rng(u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
}

fn attr(out: &mut Vec<u8>, flags: u8, code: u8, value: &[u8]) {
    out.extend_from_slice(&[flags, code, value.len() as u8]);
    out.extend_from_slice(value);
}

fn as_path(rng: &mut Rng) -> Vec<u8> {
    let n = 3 + rng.below(4) as u8;
    let mut value = vec![2, n];
    (0..n).for_each(|_| value.extend_from_slice(&(1 + rng.below(400_000) as u32).to_be_bytes()));
    value
}

fn communities(rng: &mut Rng) -> Vec<u8> {
    (0..1 + rng.below(5)).flat_map(|_| (rng.next() as u32).to_be_bytes()).collect()
}

fn message(attrs: &[u8], nlri: &[u8]) -> Vec<u8> {
    let mut out = vec![0xFF; 16];
    out.extend_from_slice(&((23 + attrs.len() + nlri.len()) as u16).to_be_bytes());
    out.extend_from_slice(&[2, 0, 0]);
    out.extend_from_slice(&(attrs.len() as u16).to_be_bytes());
    out.extend_from_slice(attrs);
    out.extend_from_slice(nlri);
    out
}

/// 240 octets: one set of attributes and as many prefixes as fit.
fn table_v4(rng: &mut Rng) -> Vec<u8> {
    let mut attrs = Vec::new();
    attr(&mut attrs, 0x40, 1, &[0]);
    attr(&mut attrs, 0x40, 2, &as_path(rng));
    attr(&mut attrs, 0x40, 3, &[10, 0, 0, rng.below(250) as u8 + 1]);
    if rng.below(3) == 0 {
        attr(&mut attrs, 0x80, 4, &(rng.below(1000) as u32).to_be_bytes());
    }
    attr(&mut attrs, 0xC0, 8, &communities(rng));
    let mut nlri = Vec::new();
    while 23 + attrs.len() + nlri.len() + 4 <= 240 {
        let bits = 24 - rng.below(20).saturating_sub(11) as u8;
        nlri.push(bits);
        let address = (rng.next() as u32 & 0x7FFF_FFFF & (u32::MAX << (32 - bits)) | 1 << 24).to_be_bytes();
        nlri.extend_from_slice(&address[..usize::from(bits.div_ceil(8))]);
    }
    message(&attrs, &nlri)
}

/// 197 octets at most: MP_REACH_NLRI with two next hops, then the other attributes.
fn table_v6(rng: &mut Rng) -> Vec<u8> {
    let mut attrs = Vec::new();
    attr(&mut attrs, 0x40, 1, &[0]);
    attr(&mut attrs, 0x40, 2, &as_path(rng));
    attr(&mut attrs, 0xC0, 8, &communities(rng));
    let mut reach = vec![0, 2, 1, 32, 0x20, 1, 0x0D, 0xB8];
    reach.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, rng.below(250) as u8 + 1]);
    reach.extend_from_slice(&[0xFE, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    while 26 + attrs.len() + reach.len() + 7 <= 197 {
        let bits = [32, 36, 40, 44, 48, 48, 48, 48][rng.below(8) as usize];
        reach.push(bits);
        let address = ((rng.next() as u128 >> 16) << 64 | 0x2001_u128 << 112) & (u128::MAX << (128 - bits));
        reach.extend_from_slice(&address.to_be_bytes()[..usize::from(bits.div_ceil(8))]);
    }
    let mut first = Vec::new();
    attr(&mut first, 0x80, 14, &reach);
    first.extend_from_slice(&attrs);
    message(&first, &[])
}

/// 63 octets: a Pod CIDR as a reflector sends it.
fn pod(rng: &mut Rng) -> Vec<u8> {
    let mut attrs = Vec::new();
    attr(&mut attrs, 0x40, 1, &[0]);
    attr(&mut attrs, 0x40, 2, &[]);
    attr(&mut attrs, 0x40, 3, &[10, 0, rng.below(20) as u8, rng.below(250) as u8 + 1]);
    attr(&mut attrs, 0x40, 5, &[0, 0, 0, 100]);
    attr(&mut attrs, 0x80, 9, &[10, 0, rng.below(20) as u8, rng.below(250) as u8 + 1]);
    attr(&mut attrs, 0x80, 10, &[10, 255, 0, rng.below(3) as u8]);
    let nlri = [26, 10, 244, rng.below(256) as u8, rng.below(4) as u8 * 64];
    message(&attrs, &nlri)
}
