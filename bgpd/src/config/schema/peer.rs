//! `peers`: a neighbour, or the neighbours of a range, as they are written.

use std::net::IpAddr;

use bgp_proto::{Asn, Family, Prefix};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::config::text::{FilePath, Millis, Name, RoleWord, Seconds, SecondsOrOff, Text, TtlSecurity};

/// One of `peers`: a neighbour by its address, or all that connect from a range.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Peer {
    /// Its name in logs, policies and output; by default its address or range.
    #[serde(default)]
    pub name: Option<Text<Name>>,
    /// Its address. Either this or `range`.
    #[serde(default)]
    pub address: Option<Text<IpAddr>>,
    /// Peers are accepted from these addresses, never connected to. Either this or `address`.
    #[serde(default)]
    pub range: Option<Text<Prefix>>,
    /// Its AS number; the same as ours: internal.
    pub asn: Text<Asn>,
    /// The AS number that we show to this external peer instead of ours.
    #[serde(default)]
    pub local_asn: Option<Text<Asn>>,
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// The address of ours that the session uses.
    #[serde(default)]
    pub local_address: Option<Text<IpAddr>>,
    /// Its TCP port.
    #[serde(default)]
    pub port: Option<u16>,
    /// Whether we wait for it to connect.
    #[serde(default)]
    pub passive: Option<bool>,
    /// How long its silence is borne; at least 3s, or 0s for ever.
    #[serde(default)]
    pub hold_time: Option<Text<Seconds>>,
    /// The least hold time that the peer may propose.
    #[serde(default)]
    pub min_hold_time: Option<Text<Seconds>>,
    /// How long it may take to say OPEN.
    #[serde(default)]
    pub open_hold_time: Option<Text<Seconds>>,
    /// How long our OPEN waits for its (RFC 4271 section 8.1.1).
    #[serde(default)]
    pub delay_open: Option<Text<Seconds>>,
    /// How long it may read nothing (RFC 9687); by default 8 minutes or twice the hold time, what is longer.
    #[serde(default)]
    pub send_hold_time: Option<Text<Seconds>>,
    /// Pause after a session that failed; it doubles each time.
    #[serde(default)]
    pub idle_hold_time: Option<Text<Seconds>>,
    /// The longest such pause.
    #[serde(default)]
    pub max_idle_hold_time: Option<Text<Seconds>>,
    /// Pause between attempts to connect.
    #[serde(default)]
    pub connect_retry: Option<Text<Seconds>>,
    /// TCP MD5 signature key (RFC 2385).
    #[serde(default)]
    pub password: Option<Password>,
    /// TTL security (RFC 5082).
    #[serde(default)]
    pub ttl_security: Option<Text<TtlSecurity>>,
    /// Whether the path to it is watched (RFC 5880).
    #[serde(default)]
    pub bfd: Option<Bfd>,
    /// What we are to this external peer (RFC 9234).
    #[serde(default)]
    pub role: Option<Text<RoleWord>>,
    /// Whether a peer that tells no role is refused.
    #[serde(default)]
    pub strict_role: Option<bool>,
    /// Whether its paths must begin with its own AS number; false for a route server.
    #[serde(default)]
    pub enforce_first_as: Option<bool>,
    /// How often our own AS number may stand in its paths.
    #[serde(default)]
    pub allow_own_as: Option<u8>,
    /// Whether paths with an AS_SET or AS_CONFED_SET are taken (RFC 9774 forbids them).
    #[serde(default)]
    pub accept_as_sets: Option<bool>,
    /// Whether tunnels that an external peer's routes name are used, and it is told of ours (RFC 9012 section 11).
    #[serde(default)]
    pub tunnels: Option<bool>,
    /// Whether messages may be longer than 4,096 octets (RFC 8654).
    #[serde(default)]
    pub extended_messages: Option<bool>,
    /// Whether IPv4 routes may have IPv6 next hops (RFC 8950).
    #[serde(default)]
    pub extended_next_hop: Option<bool>,
    /// What is exchanged: `ipv4`, `ipv6`, or a family that is only reflected.
    #[serde(default)]
    pub families: Option<Vec<Text<Family>>>,
    /// Several paths to one prefix (RFC 7911), by direction.
    #[serde(default)]
    pub add_paths: Option<AddPaths>,
    /// Paths to one prefix that it is sent, at most, the best ones.
    #[serde(default)]
    pub add_paths_max: Option<u8>,
    /// Prefixes accepted in each family.
    #[serde(default)]
    pub max_prefixes: Option<u32>,
    /// What more prefixes lead to.
    #[serde(default)]
    pub max_prefixes_action: Option<PrefixesAction>,
    /// When a session that they ended may start again, or `off`.
    #[serde(default)]
    pub max_prefixes_restart: Option<Text<SecondsOrOff>>,
    /// Restart time announced to this peer (RFC 4724), or `off`.
    #[serde(default)]
    pub graceful_restart: Option<Text<SecondsOrOff>>,
    /// Whether a NOTIFICATION too leads to a graceful restart (RFC 8538).
    #[serde(default)]
    pub notification_restart: Option<bool>,
    /// How long its stale routes may be kept after the restart time (RFC 9494), or `off`.
    #[serde(default)]
    pub long_lived_graceful_restart: Option<Text<SecondsOrOff>>,
    /// Whether it is sent long-lived stale routes though it does not know what they are (RFC 9494 section 4.6).
    #[serde(default)]
    pub long_lived_partial_deployment: Option<bool>,
    /// How long routes from before its restart stay when it is back and says no End-of-RIB.
    #[serde(default)]
    pub stale_path_time: Option<Text<Seconds>>,
    /// How long a route refresh that it began may take (RFC 7313).
    #[serde(default)]
    pub refresh_time: Option<Text<Seconds>>,
    /// Which next hop the peer is told.
    #[serde(default)]
    pub next_hop: Option<NextHop>,
    /// Whether the internal peer is a client of ours (RFC 4456).
    #[serde(default)]
    pub reflector_client: Option<bool>,
    /// The policy for what it sends.
    #[serde(default)]
    pub import: Option<String>,
    /// The policy for what it is sent.
    #[serde(default)]
    pub export: Option<String>,
}

/// `peers[].bfd`; `{}`: with the defaults.
#[derive(Debug, Clone, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Bfd {
    /// Between packets, both ways.
    #[serde(default)]
    pub interval: Option<Text<Millis>>,
    /// Packets missed that make the path dead.
    #[serde(default)]
    pub multiplier: Option<u8>,
}

/// `peers[].addPaths`.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum AddPaths {
    /// One path to a prefix, both ways.
    #[default]
    Off,
    /// We may send several.
    Send,
    /// The peer may send several.
    Receive,
    /// Both.
    Both,
}

/// `peers[].maxPrefixesAction`.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum PrefixesAction {
    /// The session ends.
    #[default]
    Close,
    /// A line in the log.
    Warn,
}

/// `peers[].nextHop`.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum NextHop {
    /// As RFC 4271 section 5.1.3 has it: kept towards internal peers, ours towards external ones.
    #[default]
    Auto,
    /// Always our address on the session.
    #[serde(rename = "self")]
    Own,
    /// Always the one that was learned.
    Keep,
}

/// `peers[].password`: where the key is, never the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Password {
    /// A file with the key; white space at its end does not count.
    pub file: FilePath,
}

/// The shape behind [`Password`], which also refuses a plain word without repeating it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PasswordKeys {
    file: Text<FilePath>,
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PasswordVisitor)
    }
}

struct PasswordVisitor;

impl PasswordVisitor {
    const REFUSED: &'static str =
        "a password does not belong into the configuration; put it into a file and write `{ file: PATH }`";
}

impl<'de> Visitor<'de> for PasswordVisitor {
    type Value = Password;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("`{ file: PATH }`")
    }

    fn visit_str<E: de::Error>(self, _secret: &str) -> Result<Password, E> {
        Err(E::custom(Self::REFUSED))
    }

    fn visit_u64<E: de::Error>(self, _secret: u64) -> Result<Password, E> {
        Err(E::custom(Self::REFUSED))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Password, A::Error> {
        let PasswordKeys { file: Text(file) } =
            PasswordKeys::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(Password { file })
    }
}
