//! OPEN: who a speaker is and what it can do (RFC 4271 section 4.2, RFC 5492, RFC 9072).
//!
//! What is wrong with an OPEN whoever sends it is decided here; what depends on configuration is the caller's: whether
//! the AS is the one expected, whether an internal peer has our own identifier, whether the hold time is long enough,
//! whether the role fits.
//!
//! Where a capability is repeated: families, and address family tuples, are united; of graceful restart the last counts
//! (RFC 4724 section 3), and of long-lived graceful restart too; of others the first.

use crate::capability::{AddPath, Capability, GracefulRestart, LongLived, Role};
use crate::error::{Cause, Reset};
use crate::family::{Afi, Family, FamilySet};
use crate::iana::{ErrorCode, MessageKind};
use crate::id::{Asn, RouterId};
use crate::notification::Notification;
use crate::reader::plain::{self, Parsed, Parser, be_u8, be_u16, be_u32};
use crate::writer::Frame;
use alloc::vec::Vec;
use bytes::BytesMut;

/// An OPEN message. Owned: what the peer said is kept for as long as the session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Open {
    /// The speaker's AS: the four-octet number if it gave one, else that of the fixed field.
    pub asn: Asn,
    /// Proposed hold time: zero for none, else at least three.
    pub hold_secs: u16,
    /// The speaker's identifier, not zero.
    pub router_id: RouterId,
    /// What it can do, in wire order.
    pub capabilities: Vec<Capability>,
}

/// The parameter that holds capabilities.
const CAPABILITIES: u8 = 2;
/// Marks the long form of the optional parameters (RFC 9072).
const EXTENDED: u8 = 255;

impl Open {
    /// Reads the body of a message, what follows the header.
    pub fn decode(body: &[u8]) -> Result<Open, Reset> {
        let fixed: Parsed<'_, _> = (be_u8, be_u16, be_u16, be_u32).parse(body);
        let Ok((parameters, (version, my_as, hold_secs, id))) = fixed else {
            return Err(overrun());
        };
        if version != 4 {
            let largest = Notification::with_data(ErrorCode::OPEN_VERSION, &[0, 4]);
            return Err(Reset::new(Cause::Version, largest));
        }
        let capabilities = optional_parameters(parameters)?;
        let four = capabilities.iter().find_map(|capability| match capability {
            Capability::FourOctetAs(asn) => Some(*asn),
            _ => None,
        });
        let my_as = Asn(u32::from(my_as));
        let asn = four.unwrap_or(my_as);
        // AS_TRANS cannot be anyone's number (RFC 6793 section 9), zero neither (RFC 7607).
        if my_as == Asn(0) || asn == Asn(0) || asn == Asn::TRANS {
            return Err(Reset::new(Cause::PeerAs, Notification::new(ErrorCode::OPEN_PEER_AS)));
        }
        if id == 0 {
            return Err(Reset::new(Cause::Identifier, Notification::new(ErrorCode::OPEN_IDENTIFIER)));
        }
        if hold_secs == 1 || hold_secs == 2 {
            return Err(Reset::new(Cause::HoldTime, Notification::new(ErrorCode::OPEN_HOLD_TIME)));
        }
        let open = Open { asn, hold_secs, router_id: RouterId(id), capabilities };
        if open.roles().any(|role| Some(role) != open.role()) {
            return Err(Reset::new(Cause::Role, Notification::new(ErrorCode::OPEN_ROLE)));
        }
        Ok(open)
    }

    /// Appends the whole message: one parameter with all capabilities, in the long form if they need it (RFC 9072). The
    /// four-octet AS capability is written from `asn` if it is not among the capabilities. Capabilities beyond 4,096 octets
    /// of message are left out.
    pub fn encode(&self, out: &mut BytesMut) {
        let frame = Frame::begin(MessageKind::Open, out);
        out.extend_from_slice(&[4]);
        out.extend_from_slice(&self.asn.to_two_octets().to_be_bytes());
        out.extend_from_slice(&self.hold_secs.to_be_bytes());
        out.extend_from_slice(&self.router_id.octets());
        let capabilities = self.capability_octets();
        let short = u8::try_from(capabilities.len() + 2).ok().filter(|len| *len < EXTENDED);
        match short {
            Some(2) => out.extend_from_slice(&[0]),
            Some(total) => out.extend_from_slice(&[total, CAPABILITIES, total - 2]),
            None => {
                let len = capabilities.len() as u16;
                out.extend_from_slice(&[EXTENDED, EXTENDED]);
                out.extend_from_slice(&(len + 3).to_be_bytes());
                out.extend_from_slice(&[CAPABILITIES]);
                out.extend_from_slice(&len.to_be_bytes());
            }
        }
        out.extend_from_slice(&capabilities);
        frame.end(out);
    }

    fn capability_octets(&self) -> Vec<u8> {
        const ROOM: usize = 4096 - 29 - 6;
        let needs_four = self.asn.0 > 0xFFFF && !self.has_four_octet_as();
        let four = needs_four.then_some(Capability::FourOctetAs(self.asn));
        let mut octets = Vec::new();
        for capability in self.capabilities.iter().chain(&four) {
            let start = octets.len();
            octets.extend_from_slice(&[capability.code(), 0]);
            capability.encode_value(&mut octets);
            match u8::try_from(octets.len() - start - 2) {
                Ok(len) if octets.len() <= ROOM => octets[start + 1] = len,
                _ => octets.truncate(start),
            }
        }
        octets
    }

    /// Families that the speaker carries; IPv4 unicast if it named none (RFC 4760 section 8).
    pub fn families(&self) -> FamilySet {
        let mut named = self.multiprotocol().peekable();
        match named.peek() {
            None => FamilySet::IPV4,
            Some(_) => named.collect(),
        }
    }

    /// Families as named, unknown ones too.
    pub fn multiprotocol(&self) -> impl Iterator<Item = Family> + '_ {
        self.capabilities.iter().filter_map(|capability| match capability {
            Capability::Multiprotocol(family) => Some(*family),
            _ => None,
        })
    }

    fn has(&self, wanted: &Capability) -> bool {
        self.capabilities.contains(wanted)
    }

    /// Whether AS numbers of four octets were offered.
    pub fn has_four_octet_as(&self) -> bool {
        self.capabilities.iter().any(|capability| matches!(capability, Capability::FourOctetAs(_)))
    }

    /// Whether route refresh was offered.
    pub fn has_route_refresh(&self) -> bool {
        self.has(&Capability::RouteRefresh)
    }

    /// Whether enhanced route refresh was offered.
    pub fn has_enhanced_refresh(&self) -> bool {
        self.has(&Capability::EnhancedRefresh)
    }

    /// Whether messages of up to 65,535 octets were offered.
    pub fn has_extended_message(&self) -> bool {
        self.has(&Capability::ExtendedMessage)
    }

    /// Graceful restart; the last one (RFC 4724 section 3).
    pub fn graceful_restart(&self) -> Option<&GracefulRestart> {
        self.capabilities.iter().rev().find_map(|capability| match capability {
            Capability::GracefulRestart(restart) => Some(restart),
            _ => None,
        })
    }

    /// Long-lived graceful restart, by family; the last capability. Means nothing without graceful restart (RFC 9494).
    pub fn long_lived_restart(&self) -> &[LongLived] {
        let last = self.capabilities.iter().rev().find_map(|capability| match capability {
            Capability::LongLivedRestart(tuples) => Some(tuples.as_slice()),
            _ => None,
        });
        last.unwrap_or(&[])
    }

    /// Whether the speaker knows long-lived graceful restart, whatever the families.
    pub fn has_long_lived_restart(&self) -> bool {
        self.capabilities.iter().any(|capability| matches!(capability, Capability::LongLivedRestart(_)))
    }

    /// The speaker's role.
    pub fn role(&self) -> Option<Role> {
        self.roles().next()
    }

    fn roles(&self) -> impl Iterator<Item = Role> + '_ {
        self.capabilities.iter().filter_map(|capability| match capability {
            Capability::Role(role) => Some(*role),
            _ => None,
        })
    }

    /// Families whose IPv4 routes may have an IPv6 next hop (RFC 8950).
    pub fn extended_next_hop(&self) -> FamilySet {
        let tuples = self.capabilities.iter().filter_map(|capability| match capability {
            Capability::ExtendedNextHop(tuples) => Some(tuples),
            _ => None,
        });
        let v6 = tuples.flatten().filter(|(family, hop)| family.afi == Afi::IPV4 && *hop == Afi::IPV6);
        v6.map(|(family, _)| *family).collect()
    }

    /// Families of which the speaker can send several paths, and those of which it can receive them (RFC 7911).
    pub fn add_path(&self) -> (FamilySet, FamilySet) {
        let tuples = || {
            let lists = self.capabilities.iter().filter_map(|capability| match capability {
                Capability::AddPath(tuples) => Some(tuples),
                _ => None,
            });
            lists.flatten().copied()
        };
        let of = |able: fn(AddPath) -> bool| {
            tuples().filter(|(_, direction)| able(*direction)).map(|(family, _)| family).collect()
        };
        (of(AddPath::sends), of(AddPath::receives))
    }
}

/// Reads the optional parameters, in the short form or the long one (RFC 9072 section 2).
fn optional_parameters(input: &[u8]) -> Result<Vec<Capability>, Reset> {
    let (extended, mut rest) = match input {
        [len, EXTENDED, high, low, rest @ ..] if *len != 0 => {
            (usize::from(u16::from_be_bytes([*high, *low])) == rest.len()).then_some((true, rest))
        }
        [len, EXTENDED, ..] if *len != 0 => None,
        [len, rest @ ..] => (usize::from(*len) == rest.len()).then_some((false, rest)),
        [] => None,
    }
    .ok_or_else(overrun)?;
    let value = if extended { plain::counted_long } else { plain::counted };
    let mut capabilities = Vec::new();
    while !rest.is_empty() {
        let parameter: Parsed<'_, _> = (be_u8, value).parse(rest);
        let Ok((behind, (kind, value))) = parameter else { return Err(overrun()) };
        if kind != CAPABILITIES {
            let answer = Notification::new(ErrorCode::OPEN_PARAMETER);
            return Err(Reset::new(Cause::OptionalParameter, answer));
        }
        Capability::decode_into(value, &mut capabilities).ok_or_else(overrun)?;
        rest = behind;
    }
    Ok(capabilities)
}

#[cold]
fn overrun() -> Reset {
    Reset::new(Cause::OpenLength, Notification::new(ErrorCode::OPEN))
}
