//! NOTIFICATION: why a session ends (RFC 4271 section 4.5).
//!
//! A code, a subcode and data whose form depends on them: [`Notification::detail`] reads each registered form, and
//! `Display` prints what an operator wants to know of it. Text from the peer (RFC 9003) is made harmless on the way.

use crate::capability::Capability;
use crate::family::{Afi, Family, Safi};
use crate::iana::{AttrCode, ErrorCode, MessageKind};
use crate::reader::plain::{Parsed, Parser, be_u8, be_u16, be_u32, whole};
use crate::writer::Frame;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::fmt::{self, Write};

/// What the data of a NOTIFICATION say, by code and subcode.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detail<'a> {
    /// Nothing.
    None,
    /// The length field that was wrong (RFC 4271 section 6.1).
    Length(u16),
    /// The type of the message that was wrong or unexpected (RFC 4271 section 6.1, RFC 6608 section 4).
    MessageType(u8),
    /// The largest version that the sender supports (RFC 4271 section 6.2).
    Version(u16),
    /// Capabilities that the sender requires (RFC 5492 section 5).
    Capabilities(Vec<Capability>),
    /// The attribute that was wrong, header and all (RFC 4271 section 6.3).
    Attribute(AttrCode, &'a [u8]),
    /// The family and the limit that was exceeded (RFC 4486 section 4).
    MaxPrefixes(Family, u32),
    /// Words of the operator, as received (RFC 9003 section 2).
    Communication(&'a [u8]),
    /// Why a hard reset was made (RFC 8538 section 3).
    HardReset(Notification),
    /// The whole message that was wrong (RFC 7313 section 5).
    Message(&'a [u8]),
    /// Data that have no registered form, or not the one that they should have.
    Octets(&'a [u8]),
}

/// A NOTIFICATION message. Owned: it is kept as the reason why a session ended.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Notification {
    /// Code and subcode.
    pub error: ErrorCode,
    /// What follows them; form by code and subcode.
    pub data: Bytes,
}

impl Notification {
    /// A NOTIFICATION without data.
    pub const fn new(error: ErrorCode) -> Notification {
        Notification { error, data: Bytes::new() }
    }

    /// A NOTIFICATION with a copy of the data.
    pub fn with_data(error: ErrorCode, data: &[u8]) -> Notification {
        Notification { error, data: Bytes::copy_from_slice(data) }
    }

    /// Cease with a shutdown communication (RFC 9003), cut at a character boundary to 255 octets. For
    /// [`ErrorCode::CEASE_SHUTDOWN`] and [`ErrorCode::CEASE_RESET`].
    pub fn with_communication(error: ErrorCode, text: &str) -> Notification {
        let mut end = text.len().min(255);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut data = BytesMut::with_capacity(1 + end);
        data.extend_from_slice(&[end as u8]);
        data.extend_from_slice(text.get(..end).unwrap_or("").as_bytes());
        Notification { error, data: data.freeze() }
    }

    /// Cease, Maximum Number of Prefixes Reached, with the family and the limit (RFC 4486 section 4).
    pub fn max_prefixes(family: Family, limit: u32) -> Notification {
        let mut data = [0; 7];
        data[..2].copy_from_slice(&family.afi.0.to_be_bytes());
        data[2] = family.safi.0;
        data[3..].copy_from_slice(&limit.to_be_bytes());
        Notification::with_data(ErrorCode::CEASE_MAX_PREFIXES, &data)
    }

    /// Cease, Hard Reset, with the reason inside (RFC 8538 section 3).
    pub fn hard_reset(reason: &Notification) -> Notification {
        let mut data = BytesMut::with_capacity(2 + reason.data.len());
        data.extend_from_slice(&[reason.error.code, reason.error.subcode]);
        data.extend_from_slice(&reason.data);
        Notification { error: ErrorCode::CEASE_HARD_RESET, data: data.freeze() }
    }

    /// Reads the body of a message, what follows the header. `None` if it is too short for a code and a subcode.
    pub fn decode(body: &[u8]) -> Option<Notification> {
        let parsed: Parsed<'_, _> = (be_u8, be_u8).parse(body);
        let (data, (code, subcode)) = parsed.ok()?;
        Some(Notification::with_data(ErrorCode::new(code, subcode), data))
    }

    /// Appends the whole message. Data beyond 4,096 octets of message are cut.
    pub fn encode(&self, out: &mut BytesMut) {
        let frame = Frame::begin(MessageKind::Notification, out);
        out.extend_from_slice(&[self.error.code, self.error.subcode]);
        let room = self.data.len().min(4096 - 21);
        out.extend_from_slice(self.data.get(..room).unwrap_or(&[]));
        frame.end(out);
    }

    /// What the data say.
    pub fn detail(&self) -> Detail<'_> {
        if self.data.is_empty() {
            return Detail::None;
        }
        self.registered_detail().unwrap_or(Detail::Octets(&self.data))
    }

    fn registered_detail(&self) -> Option<Detail<'_>> {
        let data: &[u8] = &self.data;
        let two = || whole(be_u16, data);
        match self.error {
            ErrorCode::HEADER_LENGTH => two().map(Detail::Length),
            ErrorCode::OPEN_VERSION => two().map(Detail::Version),
            ErrorCode::HEADER_TYPE
            | ErrorCode::FSM_OPEN_SENT
            | ErrorCode::FSM_OPEN_CONFIRM
            | ErrorCode::FSM_ESTABLISHED => match data {
                [kind] => Some(Detail::MessageType(*kind)),
                _ => None,
            },
            ErrorCode::OPEN_CAPABILITY => Capability::decode_all(data).map(Detail::Capabilities),
            ErrorCode::UPDATE_UNRECOGNIZED
            | ErrorCode::UPDATE_FLAGS
            | ErrorCode::UPDATE_LENGTH
            | ErrorCode::UPDATE_ORIGIN
            | ErrorCode::UPDATE_NEXT_HOP
            | ErrorCode::UPDATE_OPTIONAL => data.get(1).map(|code| Detail::Attribute(AttrCode(*code), data)),
            ErrorCode::CEASE_MAX_PREFIXES => {
                let (afi, safi, limit) = whole((be_u16, be_u8, be_u32), data)?;
                Some(Detail::MaxPrefixes(Family::new(Afi(afi), Safi(safi)), limit))
            }
            ErrorCode::CEASE_SHUTDOWN | ErrorCode::CEASE_RESET => {
                self.communication().map(Detail::Communication)
            }
            ErrorCode::CEASE_HARD_RESET => self.hard_reset_reason().map(Detail::HardReset),
            ErrorCode::REFRESH_LENGTH => Some(Detail::Message(data)),
            _ => None,
        }
    }

    /// The shutdown communication, if there is one that is not empty. Octets that are not UTF-8 are left out by
    /// `Display`; here the octets are as received (RFC 9003 section 2).
    pub fn communication(&self) -> Option<&[u8]> {
        if self.error != ErrorCode::CEASE_SHUTDOWN && self.error != ErrorCode::CEASE_RESET {
            return None;
        }
        let (len, text) = self.data.split_first()?;
        text.get(..usize::from(*len)).filter(|text| !text.is_empty())
    }

    /// The reason inside a hard reset (RFC 8538 section 3).
    pub fn hard_reset_reason(&self) -> Option<Notification> {
        if self.error != ErrorCode::CEASE_HARD_RESET || self.data.len() < 2 {
            return None;
        }
        let error = ErrorCode::new(self.data[0], self.data[1]);
        Some(Notification { error, data: self.data.slice(2..) })
    }
}

impl fmt::Display for Notification {
    /// Names, then what the data say, with control characters and bad UTF-8 made harmless.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        match self.detail() {
            Detail::Communication(text) => communication(text, f),
            Detail::HardReset(reason) => write!(f, " because of {}", reason.error),
            Detail::Length(len) => write!(f, " ({len} octets)"),
            Detail::Version(version) => write!(f, " (at most {version})"),
            Detail::MessageType(octet) => match MessageKind::from_octet(octet) {
                Some(kind) => write!(f, " ({kind})"),
                None => write!(f, " (type {octet})"),
            },
            Detail::Attribute(code, _) => write!(f, " ({code})"),
            Detail::MaxPrefixes(family, limit) => write!(f, " ({limit} of {family})"),
            Detail::Capabilities(capabilities) => {
                f.write_str(" (")?;
                // A message holds thousands of them, and a line of a log should not.
                let mut cut = Cut { out: f, left: CAPABILITIES_SHOWN };
                let is_whole = capabilities.iter().enumerate().all(|(i, capability)| {
                    let comma = if i > 0 { ", " } else { "" };
                    write!(cut, "{comma}{capability:?}").is_ok()
                });
                f.write_str(if is_whole { ")" } else { "...)" })
            }
            Detail::None | Detail::Message(_) | Detail::Octets(_) => Ok(()),
        }
    }
}

/// Octets of text about capabilities, as many as a shutdown communication may have.
const CAPABILITIES_SHOWN: usize = 255;

/// Writes as much as there is room for, then fails.
struct Cut<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    left: usize,
}

impl Write for Cut<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
        let end = ends.take_while(|end| *end <= self.left).last().unwrap_or(0);
        let (shown, cut) = text.split_at_checked(end).unwrap_or(("", text));
        self.left -= end;
        self.out.write_str(shown)?;
        if cut.is_empty() { Ok(()) } else { Err(fmt::Error) }
    }
}

fn communication(text: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(" \"")?;
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            let shown = if c.is_control() || c == '"' { char::REPLACEMENT_CHARACTER } else { c };
            write!(f, "{shown}")?;
        }
        if !chunk.invalid().is_empty() {
            write!(f, "{}", char::REPLACEMENT_CHARACTER)?;
        }
    }
    f.write_str("\"")
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} ({self}) {:02x?}", self.error.code, self.error.subcode, &self.data[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString};

    #[test]
    fn communication_is_cut_at_a_character_and_reads_back() {
        let long: String = core::iter::repeat_n('é', 200).collect();
        let n = Notification::with_communication(ErrorCode::CEASE_SHUTDOWN, &long);
        assert_eq!(n.communication().map(<[u8]>::len), Some(254));
        let n = Notification::with_communication(ErrorCode::CEASE_SHUTDOWN, "maintenance");
        assert_eq!(n.to_string(), "Cease/Administrative Shutdown \"maintenance\"");
    }

    #[test]
    fn a_lying_or_dirty_communication_is_harmless() {
        let lying = Notification::with_data(ErrorCode::CEASE_SHUTDOWN, &[200, b'a']);
        assert_eq!(lying.communication(), None);
        let dirty = Notification::with_data(ErrorCode::CEASE_SHUTDOWN, &[4, 0xFF, b'\n', b'a', 0xC3]);
        assert_eq!(dirty.to_string(), "Cease/Administrative Shutdown \"\u{FFFD}\u{FFFD}a\u{FFFD}\"");
    }

    #[test]
    fn a_flood_of_capabilities_is_cut() {
        let text = |data: &[u8]| Notification::with_data(ErrorCode::OPEN_CAPABILITY, data).to_string();
        let prefix = "OPEN Message Error/Unsupported Capability (".len();
        let many = text(&[2, 0].repeat(2000));
        assert!(many.ends_with("...)") && many.len() == prefix + 255 + 4, "{many}");
        let long = text(&[&[99, 255][..], &[0xFF; 255]].concat());
        assert!(long.ends_with("...)") && long.len() == prefix + 255 + 4, "{long}");
    }

    #[test]
    fn every_registered_form_is_read() {
        let text = |error, data: &[u8]| Notification::with_data(error, data).to_string();
        let header = "Message Header Error/";
        assert_eq!(
            text(ErrorCode::HEADER_LENGTH, &[0, 18]),
            format!("{header}Bad Message Length (18 octets)")
        );
        assert_eq!(text(ErrorCode::HEADER_TYPE, &[9]), format!("{header}Bad Message Type (type 9)"));
        let open = "OPEN Message Error/Unsupported";
        assert_eq!(text(ErrorCode::OPEN_VERSION, &[0, 4]), format!("{open} Version Number (at most 4)"));
        let wanted = text(ErrorCode::OPEN_CAPABILITY, &[1, 4, 0, 2, 0, 1, 70, 0]);
        assert_eq!(wanted, format!("{open} Capability (Multiprotocol(ipv6), EnhancedRefresh)"));
        let flags = text(ErrorCode::UPDATE_FLAGS, &[0x80, 1, 1, 0]);
        assert_eq!(flags, "UPDATE Message Error/Attribute Flags Error (ORIGIN)");
        let fsm = "Finite State Machine Error/Unexpected Message in OpenSent State (UPDATE)";
        assert_eq!(text(ErrorCode::FSM_OPEN_SENT, &[2]), fsm);
        let limit = Notification::max_prefixes(Family::IPV4_UNICAST, 100);
        assert_eq!(limit.to_string(), "Cease/Maximum Number of Prefixes Reached (100 of ipv4)");
        // Data of another form than registered are octets, and no text.
        let odd = Notification::with_data(ErrorCode::HEADER_LENGTH, &[1, 2, 3]);
        assert_eq!(odd.detail(), Detail::Octets(&[1, 2, 3]));
        assert_eq!(Notification::new(ErrorCode::HOLD_TIMER_EXPIRED).detail(), Detail::None);
    }

    #[test]
    fn hard_reset_wraps_its_reason() {
        let reason = Notification::max_prefixes(Family::IPV6_UNICAST, 7);
        let hard = Notification::hard_reset(&reason);
        assert_eq!(hard.hard_reset_reason(), Some(reason));
        assert_eq!(format!("{hard}"), "Cease/Hard Reset because of Cease/Maximum Number of Prefixes Reached");
    }
}
