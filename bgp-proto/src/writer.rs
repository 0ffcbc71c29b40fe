//! Writing messages: a header whose length is filled in when the message is complete.

use crate::iana::MessageKind;
use bytes::BytesMut;

/// Octets of a message header: marker, length, type.
pub const HEADER_OCTETS: usize = 19;

/// A message under construction at the end of a buffer.
#[must_use]
pub(crate) struct Frame {
    start: usize,
    reserved: usize,
}

impl Frame {
    /// Writes a header; the length is not known yet.
    #[inline]
    pub(crate) fn begin(kind: MessageKind, out: &mut BytesMut) -> Frame {
        let start = out.len();
        let mut header = [0xFF; HEADER_OCTETS];
        header[16] = 0;
        header[17] = 0;
        header[18] = kind as u8;
        out.extend_from_slice(&header);
        Frame { start, reserved: 0 }
    }

    /// Counts octets as written that will be appended last.
    #[inline]
    pub(crate) fn reserving(self, octets: usize) -> Frame {
        Frame { reserved: octets, ..self }
    }

    /// Octets written so far, header and reserved ones included.
    #[inline]
    pub(crate) fn len(&self, out: &BytesMut) -> usize {
        out.len() - self.start + self.reserved
    }

    /// Fills in the length. Callers keep messages within 65,535 octets.
    #[inline]
    pub(crate) fn end(self, out: &mut BytesMut) {
        let len = (out.len() - self.start) as u16;
        patch(out, self.start + 16, len);
    }
}

/// Overwrites two octets that were left for a length.
#[inline]
pub(crate) fn patch(out: &mut BytesMut, at: usize, value: u16) {
    if let Some(place) = out.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}
