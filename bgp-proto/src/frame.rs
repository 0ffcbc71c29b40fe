//! Framing: where one message ends and the next begins (RFC 4271 sections 4.1 and 6.1).
//!
//! Everything that a header can be wrong about is decided from the header, without waiting for the octets it announces,
//! and as early as the octets in hand allow.

use crate::context::{MessageMax, WireContext};
use crate::error::{Cause, Reset};
use crate::iana::{ErrorCode, MessageKind};
use crate::notification::Notification;
use crate::reader::nothing;
use crate::writer::HEADER_OCTETS;

/// A checked header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Message type.
    pub kind: MessageKind,
    /// Octets of the whole message, header included.
    pub len: usize,
}

/// A whole message, its body unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Message type.
    pub kind: MessageKind,
    /// All octets, header included.
    pub octets: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first message of a stream, if it is complete. The next one starts `octets.len()` further on.
    #[inline(always)]
    pub fn first(stream: &'a [u8], ctx: &WireContext) -> Result<Option<Frame<'a>>, Reset> {
        let Some(header) = header(stream, ctx)? else { return Ok(None) };
        Ok(stream.get(..header.len).map(|octets| Frame { kind: header.kind, octets }))
    }

    /// What follows the header.
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        match self.octets.get(HEADER_OCTETS..) {
            Some(body) => body,
            None => nothing(),
        }
    }
}

/// Judges the header at the start of a stream. `Ok(None)`: the octets so far are fine, but they are not a whole header.
#[inline(always)]
pub fn header(stream: &[u8], ctx: &WireContext) -> Result<Option<Header>, Reset> {
    let Some(header) = stream.first_chunk::<HEADER_OCTETS>() else {
        return partial(stream, ctx).map(|()| None);
    };
    let [marker @ .., high, low, kind] = header;
    let len = u16::from_be_bytes([*high, *low]);
    // Nearly all messages are UPDATEs.
    let is_sound_update = *kind == MessageKind::Update as u8 && len >= 23;
    if is_sound_update && marker == &[0xFF; 16] && usize::from(len) <= ctx.message_max.octets() {
        return Ok(Some(Header { kind: MessageKind::Update, len: usize::from(len) }));
    }
    another(marker == &[0xFF; 16], len, *kind, ctx).map(Some)
}

/// Judges the header of a message that is no UPDATE or no sound one.
#[inline(never)]
fn another(is_synchronized: bool, len: u16, kind: u8, ctx: &WireContext) -> Result<Header, Reset> {
    if let Some(kind) = MessageKind::from_octet(kind)
        && is_synchronized
        && in_bounds(len, ctx)
        && is_allowed(kind, len)
    {
        return Ok(Header { kind, len: usize::from(len) });
    }
    Err(refuse(is_synchronized, len, kind, ctx))
}

/// What is wrong with a header, in the order in which it is read.
#[cold]
#[inline(never)]
fn refuse(is_synchronized: bool, len: u16, kind: u8, ctx: &WireContext) -> Reset {
    if !is_synchronized {
        return not_synchronized();
    }
    if !in_bounds(len, ctx) {
        return bad_length(len);
    }
    match MessageKind::from_octet(kind) {
        None => Reset::new(Cause::MessageType, Notification::with_data(ErrorCode::HEADER_TYPE, &[kind])),
        Some(MessageKind::Notification) => Reset::silent(Cause::MessageLength),
        Some(_) => bad_length(len),
    }
}

/// A header that has not arrived in full: a wrong marker or length is seen as soon as it can be.
#[cold]
fn partial(stream: &[u8], ctx: &WireContext) -> Result<(), Reset> {
    if stream.iter().take(16).any(|octet| *octet != 0xFF) {
        return Err(not_synchronized());
    }
    match stream.get(16..) {
        Some([high, low]) => {
            let len = u16::from_be_bytes([*high, *low]);
            if in_bounds(len, ctx) { Ok(()) } else { Err(bad_length(len)) }
        }
        _ => Ok(()),
    }
}

fn in_bounds(len: u16, ctx: &WireContext) -> bool {
    usize::from(len) >= HEADER_OCTETS && usize::from(len) <= ctx.message_max.octets()
}

/// Lengths by type: RFC 4271 section 6.1, RFC 8654 section 4. A short ROUTE-REFRESH is left to its decoder, because the
/// answer depends on its body (RFC 7313 section 5).
fn is_allowed(kind: MessageKind, len: u16) -> bool {
    const STANDARD: u16 = MessageMax::Standard.octets() as u16;
    let (min, max) = match kind {
        MessageKind::Update => (23, u16::MAX),
        MessageKind::Open => (29, STANDARD),
        MessageKind::Notification => (21, u16::MAX),
        MessageKind::Keepalive => (19, 19),
        MessageKind::RouteRefresh => (19, u16::MAX),
    };
    min <= len && len <= max
}

#[cold]
fn not_synchronized() -> Reset {
    Reset::new(Cause::Marker, Notification::new(ErrorCode::HEADER_NOT_SYNCHRONIZED))
}

#[cold]
fn bad_length(len: u16) -> Reset {
    Reset::new(Cause::MessageLength, Notification::with_data(ErrorCode::HEADER_LENGTH, &len.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(len: u16, kind: u8) -> [u8; 19] {
        let mut octets = [0xFF; 19];
        octets[16..18].copy_from_slice(&len.to_be_bytes());
        octets[18] = kind;
        octets
    }

    fn refusal(octets: &[u8], ctx: &WireContext) -> Option<(u8, u8, alloc::vec::Vec<u8>)> {
        let answer = header(octets, ctx).err()?.answer?;
        Some((answer.error.code, answer.error.subcode, answer.data.to_vec()))
    }

    #[test]
    fn header_faults_are_told_before_the_body() {
        let plain = WireContext::PLAIN;
        let extended = WireContext { message_max: MessageMax::Extended, ..plain };
        let length = |len: u16| Some((1, 2, len.to_be_bytes().to_vec()));
        for len in [0, 18, 4097, 20] {
            assert_eq!(refusal(&with(len, 4), &plain), length(len));
        }
        assert_eq!(refusal(&with(28, 1), &plain), length(28));
        assert_eq!(refusal(&with(22, 2), &plain), length(22));
        assert_eq!(refusal(&with(4097, 1), &extended), length(4097));
        assert_eq!(header(&with(4097, 2), &extended).unwrap().map(|h| h.len), Some(4097));
        for kind in [0, 6, 255] {
            assert_eq!(refusal(&with(19, kind), &plain), Some((1, 3, alloc::vec![kind])));
        }
        assert_eq!(header(&with(20, 3), &plain).unwrap_err().answer, None);
    }

    #[test]
    fn a_partial_header_is_refused_as_soon_as_it_can_be() {
        let plain = WireContext::PLAIN;
        assert_eq!(header(&[], &plain), Ok(None));
        assert_eq!(refusal(&[0xFF, 0xFE], &plain), Some((1, 1, alloc::vec![])));
        assert_eq!(refusal(&with(18, 4)[..18], &plain), Some((1, 2, alloc::vec![0, 18])));
        assert_eq!(header(&with(19, 4)[..18], &plain), Ok(None));
    }
}
