//! The words of the configuration: how each small value is written, and what is said when it is not.
//!
//! A [`Word`] is a value that one scalar holds. [`Text`] reads it from a file and from a JSON object alike, so `asn: 64512` is a number
//! there and a word here and means the same. [`Any`] reads one word or a list of them where a list means "any of these".

use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bgp_proto::attr::{Community, LargeCommunity};
use bgp_proto::capability::Role;
use bgp_proto::{Asn, ClusterId, Family, FamilySet, Prefix, RouterId};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

/// A value that one scalar holds.
pub trait Word: Sized {
    /// Completes the sentence "expected ...".
    const ACCEPTED: &'static str;

    /// Reads the scalar.
    fn read(text: &str) -> Result<Self, Unreadable>;
}

/// Why a scalar is not the value.
#[derive(Debug)]
pub enum Unreadable {
    /// It is something else altogether; [`Word::ACCEPTED`] says what would do.
    Other,
    /// It is nearly right; this sentence says what is wrong.
    Because(String),
}

/// Reads a [`Word`] with serde.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<T>(pub T);

/// One word, or a list of them any of which will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Any<T>(pub Vec<T>);

impl<T> Default for Any<T> {
    fn default() -> Self {
        Any(Vec::new())
    }
}

fn read<T: Word, E: de::Error>(text: &str) -> Result<T, E> {
    T::read(text).map_err(|unreadable| match unreadable {
        Unreadable::Other => E::invalid_value(de::Unexpected::Str(text), &T::ACCEPTED),
        Unreadable::Because(message) => E::custom(message),
    })
}

impl<'de, T: Word> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneWord(PhantomData)).map(Text)
    }
}

struct OneWord<T>(PhantomData<T>);

impl<'de, T: Word> Visitor<'de> for OneWord<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::ACCEPTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        read(text)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        read(&number.to_string())
    }

    fn visit_bool<E: de::Error>(self, word: bool) -> Result<T, E> {
        read(if word { "true" } else { "false" })
    }
}

impl<'de, T: Word> Deserialize<'de> for Any<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMore(PhantomData)).map(Any)
    }
}

struct OneOrMore<T>(PhantomData<T>);

impl<'de, T: Word> Visitor<'de> for OneOrMore<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, or a list of such", T::ACCEPTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
        read(text).map(|one| vec![one])
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Vec<T>, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(Text(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list)
    }
}

/// Words that their own `FromStr` reads well enough.
macro_rules! words {
    ($($type:ty: $accepted:literal),* $(,)?) => {$(
        impl Word for $type {
            const ACCEPTED: &'static str = $accepted;

            fn read(text: &str) -> Result<Self, Unreadable> {
                text.parse().map_err(|_| Unreadable::Other)
            }
        }
    )*};
}

words! {
    IpAddr: "an IPv4 or IPv6 address",
    SocketAddr: "an address with a port such as 127.0.0.1:9179 or [::1]:9179",
    RouterId: "a router id such as 10.0.0.1",
    LargeCommunity: "a large community such as 64512:1:2",
    u32: "a whole number from 0 to 4294967295",
}

impl Word for Asn {
    const ACCEPTED: &'static str = "an AS number from 1 to 4294967295, or dotted such as 1.10";

    /// RFC 7607 forbids 0.
    fn read(text: &str) -> Result<Self, Unreadable> {
        text.parse().ok().filter(|asn| *asn != Asn(0)).ok_or(Unreadable::Other)
    }
}

impl Word for ClusterId {
    const ACCEPTED: &'static str = "a cluster id such as 10.0.0.1, or a whole number from 1 to 4294967295";

    fn read(text: &str) -> Result<Self, Unreadable> {
        let id = text.parse().or_else(|_| text.parse().map(ClusterId)).map_err(|_| Unreadable::Other)?;
        if id == ClusterId(0) { Err(Unreadable::Other) } else { Ok(id) }
    }
}

impl Word for Family {
    const ACCEPTED: &'static str = "a family: `ipv4`, `ipv6`, `vpnv4`, `vpnv6`, `evpn`, `ipv4-labelled`, `ipv6-labelled`, \
        `rt-constraint` or another that the documentation lists";

    /// Only families whose routes can be told apart: [`FamilySet`] holds no other.
    fn read(text: &str) -> Result<Self, Unreadable> {
        FamilySet::ALL.iter().find(|family| family.to_string() == text).ok_or(Unreadable::Other)
    }
}

/// A role between autonomous systems (RFC 9234).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleWord(pub Role);

impl Word for RoleWord {
    const ACCEPTED: &'static str = "`provider`, `customer`, `peer`, `rs` or `rs-client`";

    fn read(text: &str) -> Result<Self, Unreadable> {
        Ok(RoleWord(match text {
            "provider" => Role::Provider,
            "customer" => Role::Customer,
            "peer" => Role::Peer,
            "rs" => Role::RouteServer,
            "rs-client" => Role::RouteServerClient,
            _ => return Err(Unreadable::Other),
        }))
    }
}

impl Word for Prefix {
    const ACCEPTED: &'static str = "a prefix such as 10.0.0.0/8 or 2001:db8::/32";

    fn read(text: &str) -> Result<Self, Unreadable> {
        let (addr, _) = text.split_once('/').ok_or(Unreadable::Other)?;
        let addr: IpAddr = addr.parse().map_err(|_| Unreadable::Other)?;
        let prefix: Prefix = text.parse().map_err(|_| Unreadable::Other)?;
        if prefix.addr() == addr {
            return Ok(prefix);
        }
        Err(Unreadable::Because(format!("`{text}` has bits set beyond its length; did you mean `{prefix}`?")))
    }
}

impl Word for Community {
    const ACCEPTED: &'static str = "a community such as 64512:1 or no-export";

    fn read(text: &str) -> Result<Self, Unreadable> {
        text.parse().map_err(|_| Unreadable::Other)
    }
}

/// A file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePath(pub PathBuf);

impl Word for FilePath {
    const ACCEPTED: &'static str = "the absolute path of a file";

    fn read(text: &str) -> Result<Self, Unreadable> {
        let path = PathBuf::from(text);
        if path.is_absolute() { Ok(FilePath(path)) } else { Err(Unreadable::Other) }
    }
}

/// A duration in whole seconds: `90s`, `2m`, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub Duration);

impl Word for Seconds {
    const ACCEPTED: &'static str = "a duration such as 90s, 2m or 1h30m";

    fn read(text: &str) -> Result<Self, Unreadable> {
        if let Ok(number) = text.parse::<u32>() {
            return Err(Unreadable::Because(format!(
                "`{text}` has no unit; did you mean `{number}s`? (s, m, h and d are units)"
            )));
        }
        duration(text).map(Seconds).ok_or(Unreadable::Other)
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut secs, mut last_unit) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        let unit = rest.get(digits..)?.chars().next()?;
        let unit_secs = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        if unit_secs >= last_unit {
            return None;
        }
        last_unit = unit_secs;
        secs = secs.checked_add(number.checked_mul(unit_secs)?)?;
        rest = rest.get(digits + 1..)?;
    }
    (last_unit != u64::MAX).then(|| Duration::from_secs(secs))
}

/// A duration in milliseconds or seconds: `300ms`, `1s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub Duration);

impl Word for Millis {
    const ACCEPTED: &'static str = "a duration such as 300ms or 1s";

    fn read(text: &str) -> Result<Self, Unreadable> {
        match text.strip_suffix("ms").map(str::parse::<u32>) {
            Some(Ok(millis)) => Ok(Millis(Duration::from_millis(millis.into()))),
            Some(Err(_)) => Err(Unreadable::Other),
            None => Seconds::read(text).map(|Seconds(duration)| Millis(duration)),
        }
    }
}

/// A duration, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecondsOrOff(pub Option<Duration>);

impl Word for SecondsOrOff {
    const ACCEPTED: &'static str = "a duration such as 90s, 2m or 1h30m, or `off`";

    fn read(text: &str) -> Result<Self, Unreadable> {
        if text == "off" {
            return Ok(SecondsOrOff(None));
        }
        Seconds::read(text).map(|Seconds(duration)| SecondsOrOff(Some(duration)))
    }
}

/// TTL security (RFC 5082): whether, and how many hops away the peer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TtlSecurity(pub Option<u8>);

impl Word for TtlSecurity {
    const ACCEPTED: &'static str =
        "true (the peer is one hop away), false, or the number of hops from 1 to 254";

    fn read(text: &str) -> Result<Self, Unreadable> {
        match text {
            "true" => return Ok(TtlSecurity(Some(1))),
            "false" => return Ok(TtlSecurity(None)),
            _ => {}
        }
        let hops = text.parse().ok().filter(|hops| (1..=254).contains(hops)).ok_or(Unreadable::Other)?;
        Ok(TtlSecurity(Some(hops)))
    }
}

/// What a policy does to the next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextHopWord {
    /// This speaker's address on the session.
    Own,
    /// This address.
    Address(IpAddr),
}

impl Word for NextHopWord {
    const ACCEPTED: &'static str = "`self` or an address";

    fn read(text: &str) -> Result<Self, Unreadable> {
        if text == "self" {
            return Ok(NextHopWord::Own);
        }
        text.parse().map(NextHopWord::Address).map_err(|_| Unreadable::Other)
    }
}

/// The name of a peer or a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(pub String);

impl Word for Name {
    const ACCEPTED: &'static str = "a name of at most 63 letters, digits, `-`, `_`, `.`, `:` or `/`";

    fn read(text: &str) -> Result<Self, Unreadable> {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
        let fits = (1..=63).contains(&text.len()) && text.chars().all(good);
        if fits { Ok(Name(text.to_owned())) } else { Err(Unreadable::Other) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said<T: Word + fmt::Debug>(text: &str) -> String {
        serde_json::from_value::<Text<T>>(serde_json::Value::String(text.into()))
            .map(|Text(value)| format!("{value:?}"))
            .unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn durations_have_units() {
        let secs = |text| duration(text).map(|duration| duration.as_secs());
        assert_eq!(secs("90s"), Some(90));
        assert_eq!(secs("1h30m"), Some(5400));
        assert_eq!(secs("1d"), Some(86_400));
        for wrong in
            ["", "s", "1s1m", "1s1s", "-1s", "1.5s", "1ms", "99999999999999999999s", "999999999999999999d"]
        {
            assert_eq!(secs(wrong), None, "{wrong}");
        }
        assert_eq!(said::<Seconds>("90"), "`90` has no unit; did you mean `90s`? (s, m, h and d are units)");
        assert_eq!(
            said::<Seconds>("soon"),
            "invalid value: string \"soon\", expected a duration such as 90s, 2m or 1h30m"
        );
        assert_eq!(said::<Millis>("300ms"), "Millis(300ms)");
        assert_eq!(said::<Millis>("1s"), "Millis(1s)");
        assert_eq!(
            said::<Millis>("0.3s"),
            "invalid value: string \"0.3s\", expected a duration such as 300ms or 1s"
        );
        assert_eq!(said::<SecondsOrOff>("off"), "SecondsOrOff(None)");
    }

    #[test]
    fn host_bits_are_pointed_out() {
        assert_eq!(
            said::<Prefix>("10.0.0.1/24"),
            "`10.0.0.1/24` has bits set beyond its length; did you mean `10.0.0.0/24`?"
        );
        assert_eq!(said::<Prefix>("10.0.0.0/8"), "10.0.0.0/8");
    }

    #[test]
    fn numbers_of_json_and_words_of_yaml_mean_the_same() {
        let Text(asn) = serde_json::from_str::<Text<Asn>>("64512").unwrap();
        assert_eq!(asn, Asn(64512));
        let Any(two) = serde_json::from_str::<Any<Asn>>("[1, \"1.10\"]").unwrap();
        assert_eq!(two, [Asn(1), Asn(65546)]);
        let Text(ttl) = serde_json::from_str::<Text<TtlSecurity>>("true").unwrap();
        assert_eq!(ttl, TtlSecurity(Some(1)));
        assert!(serde_json::from_str::<Text<Asn>>("0").is_err());
    }

    #[test]
    fn a_cluster_id_is_an_address_or_a_number() {
        assert_eq!(ClusterId::read("1").unwrap(), ClusterId(1));
        assert_eq!(ClusterId::read("10.0.0.1").unwrap(), ClusterId(0x0a00_0001));
        assert!(ClusterId::read("0").is_err());
        assert!(ClusterId::read("10.0.1").is_err());
    }
}
