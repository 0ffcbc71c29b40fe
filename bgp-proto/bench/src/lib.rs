//! Codecs measured against each other and against the same work written by hand, over the same messages.
//!
//! Three programs share this: `time` (nanoseconds a message), `allocations` (heap allocations a message) and
//! `instructions` (instructions a message, counted by valgrind). Each walk adds up everything it reads, and a walk that
//! adds up to something else than the one by hand is reported, so none can leave work out.

pub mod corpora;
mod hand;
mod hand_checked;
mod others;
mod ours;

use bytes::BytesMut;

/// What a walk has seen, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Adds a value.
    #[inline]
    pub fn add(&mut self, n: u64) {
        self.0 = self.0.wrapping_add(n);
    }

    /// Adds an address, left-aligned, and its bit length.
    #[inline]
    pub fn prefix(&mut self, address: u128, bits: u8) {
        let halves = ((address >> 64) as u64).wrapping_add(address as u64);
        self.0 = self.0.wrapping_add(halves >> 8).wrapping_add(u64::from(bits));
    }

    /// Adds a prefix.
    #[inline]
    pub fn network(&mut self, address: std::net::IpAddr, bits: u8) {
        match address {
            std::net::IpAddr::V4(v4) => self.prefix(u128::from(u32::from(v4)) << 96, bits),
            std::net::IpAddr::V6(v6) => self.prefix(u128::from(v6), bits),
        }
    }

    /// Adds the last four octets of a next hop.
    #[inline]
    pub fn hop(&mut self, address: std::net::IpAddr) {
        match address {
            std::net::IpAddr::V4(v4) => self.add(u64::from(u32::from(v4))),
            std::net::IpAddr::V6(v6) => self.add(u64::from(u128::from(v6) as u32)),
        }
    }
}

/// Reads a message with four-octet AS numbers or without.
pub type Walk = fn(&[u8], bool) -> Option<Sum>;

/// Writes one message, prepared beforehand, at the end of a buffer.
pub type Encode = Box<dyn Fn(&mut BytesMut)>;

/// A codec under test.
pub struct Codec {
    pub name: &'static str,
    /// Every attribute and prefix.
    pub full: Walk,
    /// Prefixes only.
    pub nlri: Option<Walk>,
    /// Prepares the message for writing.
    pub prepare: Option<fn(&[u8], bool) -> Option<Encode>>,
}

/// By hand first, in two ways, then this crate, then the others.
pub fn codecs() -> Vec<Codec> {
    let mut codecs = vec![
        Codec {
            name: "by hand",
            full: hand::full,
            nlri: Some(|message, _| hand::nlri(message)),
            prepare: Some(hand::prepare),
        },
        Codec {
            name: "by hand, with the checks of RFC 7606",
            full: hand_checked::full,
            nlri: None,
            prepare: None,
        },
        Codec { name: "bgp-proto", full: ours::full, nlri: Some(ours::nlri), prepare: Some(ours::prepare) },
    ];
    codecs.extend(others::codecs());
    codecs
}

/// Whether the message announces routes: only such are written.
pub fn announces(message: &[u8], four: bool) -> bool {
    ours::prepare(message, four).is_some()
}
