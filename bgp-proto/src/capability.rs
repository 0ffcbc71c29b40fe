//! Capabilities: what a speaker says it can do (RFC 5492).
//!
//! Each is a code, a length and a value. A known capability whose value does not have its form is ignored, as an unknown
//! one is: both are kept as [`Capability::Unknown`], so nothing is lost and nothing half-read takes effect.

use crate::family::{Afi, Family, Safi};
use crate::id::Asn;
use crate::reader::plain::{self, Parsed, Parser, be_u8, be_u16, be_u24, be_u32, items, whole};
use crate::text::ParseError;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::str::FromStr;

/// One capability.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// Routes of a family (RFC 4760).
    Multiprotocol(Family),
    /// Routes are sent again on request (RFC 2918).
    RouteRefresh,
    /// Outbound route filtering, unread (RFC 5291).
    OutboundFilter(Bytes),
    /// Next hops of another address family, for each of these (RFC 8950).
    ExtendedNextHop(Vec<(Family, Afi)>),
    /// Messages of up to 65,535 octets (RFC 8654).
    ExtendedMessage,
    /// How many labels per prefix, by family (RFC 8277).
    MultipleLabels(Vec<(Family, u8)>),
    /// The speaker's part in the relation to its neighbour (RFC 9234).
    Role(Role),
    /// Routes survive a restart (RFC 4724, RFC 8538).
    GracefulRestart(GracefulRestart),
    /// AS numbers of four octets, with the speaker's own (RFC 6793).
    FourOctetAs(Asn),
    /// Several paths per prefix, by family (RFC 7911).
    AddPath(Vec<(Family, AddPath)>),
    /// Marks around the answer to a refresh (RFC 7313).
    EnhancedRefresh,
    /// Routes survive for long (RFC 9494).
    LongLivedRestart(Vec<LongLived>),
    /// The speaker's name; text that need not be UTF-8.
    Fqdn {
        /// Host name.
        host: Bytes,
        /// Domain name.
        domain: Bytes,
    },
    /// The speaker's software; text that need not be UTF-8.
    SoftwareVersion(Bytes),
    /// Unknown, or known with a value that does not have its form. To be ignored.
    Unknown {
        /// Capability code.
        code: u8,
        /// Value.
        value: Bytes,
    },
}

/// Roles (RFC 9234 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sells transit to the neighbour.
    Provider,
    /// A route server.
    RouteServer,
    /// A route server's client.
    RouteServerClient,
    /// Buys transit from the neighbour.
    Customer,
    /// Exchanges its own and its customers' routes.
    Peer,
    /// A number that has no meaning, and so fits no role.
    Unassigned(u8),
}

impl Role {
    /// The role that a neighbour must have (RFC 9234 section 4.2).
    pub const fn counterpart(self) -> Role {
        match self {
            Role::Provider => Role::Customer,
            Role::Customer => Role::Provider,
            Role::RouteServer => Role::RouteServerClient,
            Role::RouteServerClient => Role::RouteServer,
            Role::Peer => Role::Peer,
            Role::Unassigned(octet) => Role::Unassigned(octet),
        }
    }

    /// The role for an octet.
    pub const fn from_octet(octet: u8) -> Role {
        match octet {
            0 => Role::Provider,
            1 => Role::RouteServer,
            2 => Role::RouteServerClient,
            3 => Role::Customer,
            4 => Role::Peer,
            _ => Role::Unassigned(octet),
        }
    }

    /// The octet for a role.
    pub const fn octet(self) -> u8 {
        match self {
            Role::Provider => 0,
            Role::RouteServer => 1,
            Role::RouteServerClient => 2,
            Role::Customer => 3,
            Role::Peer => 4,
            Role::Unassigned(octet) => octet,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Provider => "provider",
            Role::RouteServer => "route-server",
            Role::RouteServerClient => "route-server-client",
            Role::Customer => "customer",
            Role::Peer => "peer",
            Role::Unassigned(octet) => return write!(f, "role {octet}"),
        })
    }
}

impl FromStr for Role {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        match s {
            "provider" => Ok(Role::Provider),
            "route-server" => Ok(Role::RouteServer),
            "route-server-client" => Ok(Role::RouteServerClient),
            "customer" => Ok(Role::Customer),
            "peer" => Ok(Role::Peer),
            _ => Err(ParseError("a role is provider, customer, peer, route-server or route-server-client")),
        }
    }
}

/// The graceful restart capability.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GracefulRestart {
    /// The speaker has restarted and waits for End-of-RIB (R bit).
    pub restarting: bool,
    /// Routes are kept after NOTIFICATIONs too (N bit, RFC 8538).
    pub notification: bool,
    /// How long until the speaker is back, at most 4,095.
    pub time_secs: u16,
    /// Families, with whether forwarding state was kept (F bit).
    pub families: Vec<(Family, Forwarding)>,
}

/// Whether a restarted speaker kept its forwarding state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Forwarding {
    /// Not kept.
    #[default]
    Lost,
    /// Kept.
    Kept,
}

/// One family of the long-lived graceful restart capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LongLived {
    /// Family.
    pub family: Family,
    /// Whether forwarding state was kept (F bit).
    pub forwarding: Forwarding,
    /// How long stale routes may be kept, at most 16,777,215.
    pub time_secs: u32,
}

/// Directions in which a speaker can handle several paths per prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum AddPath {
    /// It can receive them.
    Receive = 1,
    /// It can send them.
    Send = 2,
    /// Both.
    Both = 3,
}

impl AddPath {
    /// Whether it can receive.
    pub const fn receives(self) -> bool {
        matches!(self, AddPath::Receive | AddPath::Both)
    }

    /// Whether it can send.
    pub const fn sends(self) -> bool {
        matches!(self, AddPath::Send | AddPath::Both)
    }

    const fn from_octet(octet: u8) -> Option<AddPath> {
        match octet {
            1 => Some(AddPath::Receive),
            2 => Some(AddPath::Send),
            3 => Some(AddPath::Both),
            _ => None,
        }
    }
}

impl Capability {
    /// The capability's code.
    pub const fn code(&self) -> u8 {
        match self {
            Capability::Multiprotocol(_) => 1,
            Capability::RouteRefresh => 2,
            Capability::OutboundFilter(_) => 3,
            Capability::ExtendedNextHop(_) => 5,
            Capability::ExtendedMessage => 6,
            Capability::MultipleLabels(_) => 8,
            Capability::Role(_) => 9,
            Capability::GracefulRestart(_) => 64,
            Capability::FourOctetAs(_) => 65,
            Capability::AddPath(_) => 69,
            Capability::EnhancedRefresh => 70,
            Capability::LongLivedRestart(_) => 71,
            Capability::Fqdn { .. } => 73,
            Capability::SoftwareVersion(_) => 75,
            Capability::Unknown { code, .. } => *code,
        }
    }

    /// Reads a value.
    pub fn decode(code: u8, value: &[u8]) -> Capability {
        Capability::known(code, value)
            .unwrap_or_else(|| Capability::Unknown { code, value: Bytes::copy_from_slice(value) })
    }

    /// Reads capabilities one behind the other. `None` if one runs past the end.
    pub(crate) fn decode_all(octets: &[u8]) -> Option<Vec<Capability>> {
        let mut capabilities = Vec::new();
        Capability::decode_into(octets, &mut capabilities).map(|()| capabilities)
    }

    /// As [`Capability::decode_all`], behind those that are there.
    pub(crate) fn decode_into(octets: &[u8], capabilities: &mut Vec<Capability>) -> Option<()> {
        let capability = (be_u8, plain::counted).map(|(code, value)| Capability::decode(code, value));
        let mut each = plain::iterator(octets, capability);
        capabilities.extend(&mut each);
        let (rest, ()) = each.finish().ok()?;
        rest.is_empty().then_some(())
    }

    fn known(code: u8, value: &[u8]) -> Option<Capability> {
        match code {
            1 => whole(family_padded, value).map(Capability::Multiprotocol),
            2 => value.is_empty().then_some(Capability::RouteRefresh),
            3 => Some(Capability::OutboundFilter(Bytes::copy_from_slice(value))),
            5 => whole(items((family_padded, be_u16.map(Afi))), value).map(Capability::ExtendedNextHop),
            6 => value.is_empty().then_some(Capability::ExtendedMessage),
            8 => whole(items((family, be_u8)), value).map(Capability::MultipleLabels),
            9 => whole(be_u8, value).map(|octet| Capability::Role(Role::from_octet(octet))),
            64 => whole((be_u16, items((family, be_u8.map(forwarding)))), value)
                .map(|(first, families)| Capability::GracefulRestart(graceful_restart(first, families))),
            65 => whole(be_u32, value).map(|asn| Capability::FourOctetAs(Asn(asn))),
            69 => {
                let tuples = whole(items((family, be_u8.map(AddPath::from_octet))), value)?;
                let known = tuples.into_iter().filter_map(|(family, direction)| Some((family, direction?)));
                Some(Capability::AddPath(known.collect()))
            }
            70 => value.is_empty().then_some(Capability::EnhancedRefresh),
            71 => whole(items(long_lived), value).map(Capability::LongLivedRestart),
            73 => whole((text, text), value).map(|(host, domain)| Capability::Fqdn { host, domain }),
            75 => whole(text, value).map(Capability::SoftwareVersion),
            _ => None,
        }
    }

    /// Appends the value, without code and length.
    pub(crate) fn encode_value(&self, out: &mut Vec<u8>) {
        match self {
            Capability::Multiprotocol(family) => {
                out.extend_from_slice(&family.afi.0.to_be_bytes());
                out.extend_from_slice(&[0, family.safi.0]);
            }
            Capability::RouteRefresh | Capability::ExtendedMessage | Capability::EnhancedRefresh => {}
            Capability::OutboundFilter(value) | Capability::Unknown { value, .. } => {
                out.extend_from_slice(value)
            }
            Capability::ExtendedNextHop(tuples) => {
                for (family, hop) in tuples {
                    out.extend_from_slice(&family.afi.0.to_be_bytes());
                    out.extend_from_slice(&[0, family.safi.0]);
                    out.extend_from_slice(&hop.0.to_be_bytes());
                }
            }
            Capability::MultipleLabels(tuples) => {
                tuples.iter().for_each(|(family, count)| put_family(out, *family, *count));
            }
            Capability::Role(role) => out.push(role.octet()),
            Capability::GracefulRestart(restart) => {
                let flags = u16::from(restart.restarting) << 15 | u16::from(restart.notification) << 14;
                out.extend_from_slice(&(flags | restart.time_secs.min(0x0FFF)).to_be_bytes());
                restart
                    .families
                    .iter()
                    .for_each(|(family, kept)| put_family(out, *family, (*kept as u8) << 7));
            }
            Capability::FourOctetAs(asn) => out.extend_from_slice(&asn.0.to_be_bytes()),
            Capability::AddPath(tuples) => {
                tuples.iter().for_each(|(family, direction)| put_family(out, *family, *direction as u8));
            }
            Capability::LongLivedRestart(tuples) => {
                for tuple in tuples {
                    put_family(out, tuple.family, (tuple.forwarding as u8) << 7);
                    let [_, time @ ..] = tuple.time_secs.min(0x00FF_FFFF).to_be_bytes();
                    out.extend_from_slice(&time);
                }
            }
            Capability::Fqdn { host, domain } => {
                put_counted(out, host);
                put_counted(out, domain);
            }
            Capability::SoftwareVersion(version) => put_counted(out, version),
        }
    }
}

fn family(input: &[u8]) -> Parsed<'_, Family> {
    (be_u16, be_u8).map(|(afi, safi)| Family::new(Afi(afi), Safi(safi))).parse(input)
}

/// With a reserved octet between AFI and SAFI.
fn family_padded(input: &[u8]) -> Parsed<'_, Family> {
    (be_u16, be_u8, be_u8).map(|(afi, _reserved, safi)| Family::new(Afi(afi), Safi(safi))).parse(input)
}

fn long_lived(input: &[u8]) -> Parsed<'_, LongLived> {
    (family, be_u8, be_u24)
        .map(|(family, flags, time_secs)| LongLived { family, forwarding: forwarding(flags), time_secs })
        .parse(input)
}

fn text(input: &[u8]) -> Parsed<'_, Bytes> {
    plain::counted.map(Bytes::copy_from_slice).parse(input)
}

fn put_family(out: &mut Vec<u8>, family: Family, last: u8) {
    out.extend_from_slice(&family.afi.0.to_be_bytes());
    out.extend_from_slice(&[family.safi.0, last]);
}

const fn forwarding(flags: u8) -> Forwarding {
    if flags & 0x80 == 0 { Forwarding::Lost } else { Forwarding::Kept }
}

fn graceful_restart(first: u16, families: Vec<(Family, Forwarding)>) -> GracefulRestart {
    GracefulRestart {
        restarting: first & 0x8000 != 0,
        notification: first & 0x4000 != 0,
        time_secs: first & 0x0FFF,
        families,
    }
}

fn put_counted(out: &mut Vec<u8>, text: &[u8]) {
    let text = text.get(..text.len().min(255)).unwrap_or(&[]);
    out.push(text.len() as u8);
    out.extend_from_slice(text);
}
