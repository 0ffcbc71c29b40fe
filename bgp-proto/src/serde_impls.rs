//! Values as serde sees them (feature `serde`): numbers as numbers, everything that has a text form as that text. Binary
//! formats get the text too: what is stored stays readable, and one form is enough to keep stable.

use crate::attr::{Community, ExtCommunity, Ipv6ExtCommunity, LargeCommunity, MacAddr, NextHop, Origin};
use crate::capability::Role;
use crate::family::Family;
use crate::iana::AttrCode;
use crate::id::{Asn, ClusterId, PathId, RouterId};
use crate::prefix::Prefix;
use core::fmt;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

macro_rules! number {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u32(self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                u32::deserialize(deserializer).map($name)
            }
        }
    )*};
}

number!(Asn, PathId);

macro_rules! text {
    ($($name:ident: $what:literal),* $(,)?) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Text)
            }
        }
    )*};
}

text! {
    RouterId: "a router identifier such as 10.0.0.1",
    ClusterId: "a cluster identifier such as 10.0.0.1",
    Prefix: "a prefix such as 10.0.0.0/8",
    Family: "a family such as ipv4",
    AttrCode: "an attribute's name",
    Origin: "an origin such as igp",
    Role: "a role such as provider",
    NextHop: "a next hop such as 10.0.0.1",
    MacAddr: "a MAC address such as 02:00:00:00:00:01",
    Community: "a community such as 65001:100",
    LargeCommunity: "a large community such as 65001:1:2",
    ExtCommunity: "an extended community such as rt:65001:100",
    Ipv6ExtCommunity: "twenty octets in hexadecimal",
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    #[test]
    fn values_read_back_from_json() {
        let prefixes: Vec<Prefix> = serde_json::from_str(r#"["10.0.0.0/8", "2001:db8::/32"]"#).unwrap();
        assert_eq!(serde_json::to_string(&prefixes).unwrap(), r#"["10.0.0.0/8","2001:db8::/32"]"#);
        let asn: Asn = serde_json::from_str("4200000000").unwrap();
        assert_eq!(serde_json::to_string(&asn).unwrap(), "4200000000");
        assert_eq!(serde_json::to_string(&Community::NO_EXPORT).unwrap(), r#""no-export""#);
        let wrong = serde_json::from_str::<Prefix>(r#""10.0.0.0/33""#).unwrap_err();
        assert!(wrong.to_string().contains("at most 32 bits"));
    }
}
