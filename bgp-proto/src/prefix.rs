//! An IP prefix, the commonest NLRI.
//!
//! IPv4 and IPv6 are one code path: an address is sixteen octets, left-aligned, and a prefix is an address, a bit length
//! and an address family, eighteen octets in all and freely copied. A prefix that exists is canonical: the bits after
//! its length are zero, so two spellings of one prefix (RFC 7606 calls that legal) are equal. The order is IPv4 before
//! IPv6, then by address, then shorter first, which is the order of routing tables on paper.

use crate::family::{Afi, Family};
use crate::text::ParseError;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// An IPv4 or IPv6 prefix with the host bits zero. Text form: `10.0.0.0/8`, `2001:db8::/32`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    version: Version,
    octets: [u8; 16],
    len: u8,
}

/// Internet protocol version of a prefix or address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Version {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Version {
    /// Bits in an address.
    pub const fn bits(self) -> u8 {
        match self {
            Version::V4 => 32,
            Version::V6 => 128,
        }
    }
}

impl Prefix {
    /// The IPv4 default route.
    pub const DEFAULT_V4: Prefix = Prefix { version: Version::V4, octets: [0; 16], len: 0 };
    /// The IPv6 default route.
    pub const DEFAULT_V6: Prefix = Prefix { version: Version::V6, octets: [0; 16], len: 0 };

    /// The prefix of this length that the address lies in; host bits are cleared. An error if the length exceeds the
    /// address's bits.
    pub fn new(addr: IpAddr, len: u8) -> Result<Prefix, ParseError> {
        match addr {
            IpAddr::V4(v4) if len <= 32 => Ok(Prefix::from_v4_bits(u32::from(v4), len)),
            IpAddr::V6(v6) if len <= 128 => Ok(Prefix::from_v6_bits(u128::from(v6), len)),
            IpAddr::V4(_) => Err(ParseError("an IPv4 prefix has at most 32 bits")),
            IpAddr::V6(_) => Err(ParseError("an IPv6 prefix has at most 128 bits")),
        }
    }

    /// The prefix that holds this address alone.
    pub fn host(addr: IpAddr) -> Prefix {
        match addr {
            IpAddr::V4(v4) => Prefix::from_v4_bits(u32::from(v4), 32),
            IpAddr::V6(v6) => Prefix::from_v6_bits(u128::from(v6), 128),
        }
    }

    /// `len` must be at most 32; a larger one counts as 32.
    #[inline]
    pub(crate) fn from_v4_bits(bits: u32, len: u8) -> Prefix {
        let len = if len > 32 { 32 } else { len };
        let host = (0xFFFF_FFFF_u64 >> len) as u32;
        let octets = (u128::from(bits & !host) << 96).to_be_bytes();
        Prefix { version: Version::V4, octets, len }
    }

    /// `len` must be at most 128; a larger one counts as 128.
    #[inline]
    pub(crate) fn from_v6_bits(bits: u128, len: u8) -> Prefix {
        let len = if len > 128 { 128 } else { len };
        let (high, low) = ((bits >> 64) as u64, bits as u64);
        let host = |len: u8| u64::MAX.checked_shr(u32::from(len)).unwrap_or(0);
        // Most prefixes end in the first half; word arithmetic is cheaper than double words.
        let (high, low) = match len.checked_sub(64) {
            None => (high & !host(len), 0),
            Some(len) => (high, low & !host(len)),
        };
        let bits = u128::from(high) << 64 | u128::from(low);
        Prefix { version: Version::V6, octets: bits.to_be_bytes(), len }
    }

    /// The network address.
    pub fn addr(&self) -> IpAddr {
        match self.version {
            Version::V4 => {
                let [a, b, c, d, ..] = self.octets;
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            Version::V6 => IpAddr::V6(Ipv6Addr::from(self.octets)),
        }
    }

    /// Length in bits.
    #[inline]
    #[allow(clippy::len_without_is_empty, reason = "a length in bits, not a count of things")]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Internet protocol version.
    #[inline]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The unicast family that the prefix belongs to.
    pub const fn family(&self) -> Family {
        match self.version {
            Version::V4 => Family::IPV4_UNICAST,
            Version::V6 => Family::IPV6_UNICAST,
        }
    }

    /// Address family.
    pub const fn afi(&self) -> Afi {
        self.family().afi
    }

    /// Whether this is a default route.
    pub const fn is_default(&self) -> bool {
        self.len == 0
    }

    /// Whether the prefix is a single address.
    pub const fn is_host(&self) -> bool {
        self.len == self.version.bits()
    }

    /// Whether the other prefix is this one or lies within it.
    pub fn contains(&self, other: &Prefix) -> bool {
        self.version == other.version && self.len <= other.len && self.shares_bits(other.bits())
    }

    /// Whether the address lies within the prefix.
    pub fn contains_addr(&self, addr: IpAddr) -> bool {
        self.contains(&Prefix::host(addr))
    }

    fn shares_bits(&self, bits: u128) -> bool {
        (self.bits() ^ bits) & !u128::MAX.checked_shr(u32::from(self.len)).unwrap_or(0) == 0
    }

    /// The address as a number, left-aligned: the first bit of the address is the highest for both versions.
    #[inline]
    pub const fn bits(&self) -> u128 {
        u128::from_be_bytes(self.octets)
    }

    /// The octets that the wire carries after the length: as many as hold the prefix's bits.
    #[inline]
    pub fn wire_octets(&self) -> &[u8] {
        let n = usize::from(self.len).div_ceil(8);
        self.octets.get(..n).unwrap_or(&[])
    }
}

impl Hash for Prefix {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let bits = self.bits();
        state.write_u64((bits >> 64) as u64);
        state.write_u64(bits as u64 ^ u64::from(self.len) << 1 ^ self.version as u64);
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        // The longest form, 39 characters of address and "/128", then padding as the caller asked.
        let mut text = Text { bytes: [0; 48], len: 0 };
        write!(text, "{}/{}", self.addr(), self.len)?;
        f.pad(text.as_str())
    }
}

/// A short text under construction, so that `Display` can honour a width without allocating.
struct Text {
    bytes: [u8; 48],
    len: usize,
}

impl Text {
    fn as_str(&self) -> &str {
        core::str::from_utf8(self.bytes.get(..self.len).unwrap_or(&[])).unwrap_or("")
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let end = self.len + s.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Prefix {
    type Err = ParseError;

    /// `ADDRESS/LENGTH`, or an address alone for a host. Host bits are cleared, not refused.
    fn from_str(s: &str) -> Result<Self, ParseError> {
        const ADDR: ParseError = ParseError("a prefix is ADDRESS/LENGTH such as 10.0.0.0/8 or 2001:db8::/32");
        let Some((addr, len)) = s.split_once('/') else {
            return s.parse().map(Prefix::host).map_err(|_| ADDR);
        };
        Prefix::new(addr.parse().map_err(|_| ADDR)?, len.parse().map_err(|_| ADDR)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn prefix(s: &str) -> Prefix {
        s.parse().unwrap()
    }

    #[test]
    fn host_bits_are_cleared() {
        assert_eq!(prefix("10.1.2.3/8"), prefix("10.0.0.0/8"));
        assert_eq!(prefix("2001:db8::1/32"), prefix("2001:db8::/32"));
        assert_eq!(prefix("10.1.2.3/0"), Prefix::DEFAULT_V4);
        assert_eq!(prefix("ffff::/0"), Prefix::DEFAULT_V6);
        assert_eq!(prefix("255.255.255.255/32").to_string(), "255.255.255.255/32");
        assert_eq!(core::mem::size_of::<Prefix>(), 18);
    }

    #[test]
    fn lengths_beyond_the_address_are_refused() {
        assert!("10.0.0.0/33".parse::<Prefix>().is_err());
        assert!("::/129".parse::<Prefix>().is_err());
        assert!("10.0.0.0/".parse::<Prefix>().is_err());
        assert!("/8".parse::<Prefix>().is_err());
    }

    #[test]
    fn containment_respects_version_and_length() {
        assert!(prefix("10.0.0.0/8").contains(&prefix("10.255.0.0/16")));
        assert!(!prefix("10.255.0.0/16").contains(&prefix("10.0.0.0/8")));
        assert!(!Prefix::DEFAULT_V4.contains(&Prefix::DEFAULT_V6));
        assert!(Prefix::DEFAULT_V6.contains(&prefix("2001:db8::1/128")));
        assert!(prefix("10.0.0.0/31").contains_addr("10.0.0.1".parse().unwrap()));
        assert!(!prefix("10.0.0.0/31").contains_addr("10.0.0.2".parse().unwrap()));
    }

    #[test]
    fn order_is_version_then_address_then_length() {
        let sorted = ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/16", "10.1.0.0/16", "::/0", "2001:db8::/32"];
        assert!(sorted.windows(2).all(|w| prefix(w[0]) < prefix(w[1])));
        assert_eq!(format!("{:>12}|", prefix("10.0.0.0/8")), "  10.0.0.0/8|");
    }

    proptest! {
        #[test]
        fn text_reads_back(addr: IpAddr, len in 0u8..=128) {
            if let Ok(p) = Prefix::new(addr, len) {
                prop_assert_eq!(p.to_string().parse(), Ok(p));
                prop_assert!(p.contains_addr(addr));
                prop_assert_eq!(Prefix::new(p.addr(), p.len()), Ok(p));
            }
        }
    }
}
