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
    /// A message that starts here; its header is still to be written.
    #[inline]
    pub(crate) fn at(out: &BytesMut) -> Frame {
        Frame { start: out.len(), reserved: 0 }
    }

    /// Writes a header; the length is not known yet.
    #[inline]
    pub(crate) fn begin(kind: MessageKind, out: &mut BytesMut) -> Frame {
        let frame = Frame::at(out);
        out.extend_from_slice(&header(kind));
        frame
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

    /// What is written so far.
    #[inline]
    pub(crate) fn octets<'o>(&self, out: &'o mut BytesMut) -> &'o mut [u8] {
        out.get_mut(self.start..).unwrap_or(&mut [])
    }

    /// Fills in the length. Callers keep messages within 65,535 octets.
    #[inline]
    pub(crate) fn end(self, out: &mut BytesMut) {
        let len = (out.len() - self.start) as u16;
        patch(self.octets(out), 16, len);
    }
}

/// A header, its length open.
#[inline]
pub(crate) const fn header(kind: MessageKind) -> [u8; HEADER_OCTETS] {
    const ONES: u8 = 0xFF;
    let mut header = [ONES; HEADER_OCTETS];
    header[16] = 0;
    header[17] = 0;
    header[18] = kind as u8;
    header
}

/// Overwrites two octets that were left for a length.
#[inline]
pub(crate) fn patch(out: &mut [u8], at: usize, value: u16) {
    if let Some(place) = out.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}
