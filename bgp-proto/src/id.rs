//! The numbers that name things in BGP.
//!
//! An autonomous system ([`Asn`], RFC 6793), a speaker ([`RouterId`], RFC 6286), a reflection cluster ([`ClusterId`],
//! RFC 4456) and one of several paths to a prefix ([`PathId`], RFC 7911). All are 32 bits on the wire and none may be
//! mistaken for another, hence newtypes. Router and cluster identifiers are written as dotted quads, because that is
//! how operators choose them, but they are numbers: RFC 6286 allows any non-zero value.

use crate::text::ParseError;
use core::fmt;
use core::net::Ipv4Addr;
use core::str::FromStr;

/// An autonomous system number, four octets. Text form: plain decimal (RFC 5396 asplain); `1.10` is also read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asn(pub u32);

impl Asn {
    /// Stands for a four-octet number where only two octets fit (RFC 6793).
    pub const TRANS: Asn = Asn(23456);

    /// The two-octet form, [`Asn::TRANS`] if the number does not fit.
    pub const fn to_two_octets(self) -> u16 {
        if self.0 > 0xFFFF { Self::TRANS.0 as u16 } else { self.0 as u16 }
    }

    /// Whether the number is for private use (RFC 6996).
    pub const fn is_private(self) -> bool {
        matches!(self.0, 64512..=65534 | 4_200_000_000..=4_294_967_294)
    }
}

impl From<u32> for Asn {
    fn from(value: u32) -> Self {
        Asn(value)
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Asn {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        const WRONG: ParseError =
            ParseError("an AS number is 0 to 4294967295, or two such halves as in 1.10");
        let digits = s.strip_prefix("AS").or_else(|| s.strip_prefix("as")).unwrap_or(s);
        if let Some((high, low)) = digits.split_once('.') {
            let high: u16 = high.parse().map_err(|_| WRONG)?;
            let low: u16 = low.parse().map_err(|_| WRONG)?;
            return Ok(Asn(u32::from(high) << 16 | u32::from(low)));
        }
        digits.parse().map(Asn).map_err(|_| WRONG)
    }
}

/// Tells one path to a prefix from another on one session (RFC 7911). Zero where paths are not numbered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(pub u32);

impl fmt::Display for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PathId {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        s.parse().map(PathId).map_err(|_| ParseError("a path identifier is 0 to 4294967295"))
    }
}

macro_rules! dotted {
    ($(#[$doc:meta])* $name:ident, $wrong:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// The four octets as they stand on the wire.
            pub const fn octets(self) -> [u8; 4] {
                self.0.to_be_bytes()
            }
        }

        impl From<Ipv4Addr> for $name {
            fn from(addr: Ipv4Addr) -> Self {
                $name(u32::from(addr))
            }
        }

        impl From<$name> for Ipv4Addr {
            fn from(id: $name) -> Self {
                Ipv4Addr::from(id.0)
            }
        }

        impl From<[u8; 4]> for $name {
            fn from(octets: [u8; 4]) -> Self {
                $name(u32::from_be_bytes(octets))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Ipv4Addr::from(self.0).fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(s: &str) -> Result<Self, ParseError> {
                s.parse::<Ipv4Addr>().map(Self::from).map_err(|_| ParseError($wrong))
            }
        }
    };
}

dotted! {
    /// A BGP Identifier: any non-zero number, unique within the AS (RFC 6286). Text form: dotted quad.
    RouterId, "a router identifier is four octets such as 10.0.0.1"
}

dotted! {
    /// Names a reflection cluster (RFC 4456). Text form: dotted quad.
    ClusterId, "a cluster identifier is four octets such as 10.0.0.1"
}

impl From<RouterId> for ClusterId {
    /// The default of RFC 4456: a reflector's cluster is named by its own identifier.
    fn from(id: RouterId) -> Self {
        ClusterId(id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn asn_reads_plain_and_dotted() {
        assert_eq!("65001".parse(), Ok(Asn(65001)));
        assert_eq!("AS65001".parse(), Ok(Asn(65001)));
        assert_eq!("1.10".parse(), Ok(Asn(65546)));
        assert!("4294967296".parse::<Asn>().is_err());
        assert!("1.65536".parse::<Asn>().is_err());
        assert!("".parse::<Asn>().is_err());
        assert_eq!(Asn(70000).to_two_octets(), 23456);
    }

    #[test]
    fn router_id_is_a_dotted_quad() {
        let id: RouterId = "10.0.0.1".parse().unwrap();
        assert_eq!(id, RouterId(0x0A00_0001));
        assert_eq!(id.to_string(), "10.0.0.1");
        assert_eq!(ClusterId::from(id).octets(), [10, 0, 0, 1]);
    }
}
