//! NOTIFICATION: why a session ends (RFC 4271 section 4.5).
//!
//! A code, a subcode and data whose form depends on them. Two forms are read here because people read them: the
//! shutdown communication of RFC 9003, and the hard reset of RFC 8538, which wraps the reason for it.

use crate::family::Family;
use crate::iana::{ErrorCode, MessageKind};
use crate::writer::Frame;
use bytes::{Bytes, BytesMut};
use core::fmt;

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
        let (code, data) = body.split_first_chunk::<2>()?;
        Some(Notification::with_data(ErrorCode::new(code[0], code[1]), data))
    }

    /// Appends the whole message. Data beyond 4,096 octets of message are cut.
    pub fn encode(&self, out: &mut BytesMut) {
        let frame = Frame::begin(MessageKind::Notification, out);
        out.extend_from_slice(&[self.error.code, self.error.subcode]);
        let room = self.data.len().min(4096 - 21);
        out.extend_from_slice(self.data.get(..room).unwrap_or(&[]));
        frame.end(out);
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
    /// Names, then the communication with control characters and bad UTF-8 made harmless.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        if let Some(reason) = self.hard_reset_reason() {
            return write!(f, " because of {}", reason.error);
        }
        let Some(text) = self.communication() else { return Ok(()) };
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
    fn hard_reset_wraps_its_reason() {
        let reason = Notification::max_prefixes(Family::IPV6_UNICAST, 7);
        let hard = Notification::hard_reset(&reason);
        assert_eq!(hard.hard_reset_reason(), Some(reason));
        assert_eq!(format!("{hard}"), "Cease/Hard Reset because of Cease/Maximum Number of Prefixes Reached");
    }
}
