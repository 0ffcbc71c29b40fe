//! Type-length-value triples inside attributes, as their RFCs shape them.
//!
//! An attribute of this kind may have been passed on unread, so the walk here ends at the first triple that runs past its
//! container instead of trusting the octets.

use crate::reader::Cursor;
use core::iter::FusedIterator;

/// One triple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Tlv<'a> {
    /// Type.
    pub kind: u16,
    /// Value.
    pub value: &'a [u8],
}

/// How wide type and length are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlvForm {
    /// Type of one octet, length of two: prefix SID (RFC 8669 section 3).
    OneTwo,
    /// Type of two octets, length of two: tunnels (RFC 9012 section 2).
    TwoTwo,
    /// Type of one octet; length of one if the type is below 128, else of two: what a tunnel consists of (RFC 9012 section 2).
    SubTlv,
}

/// The triples of an attribute, in wire order. Ends early at one that runs past the attribute.
#[derive(Clone, Debug)]
pub struct Tlvs<'a> {
    cursor: Cursor<'a>,
    form: TlvForm,
}

impl<'a> Tlvs<'a> {
    pub(crate) const fn new(octets: &'a [u8], form: TlvForm) -> Tlvs<'a> {
        Tlvs { cursor: Cursor::new(octets), form }
    }

    /// The value of the first triple of this type.
    pub(crate) fn value(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|tlv| tlv.kind == kind).map(|tlv| tlv.value)
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Tlv<'a>;

    fn next(&mut self) -> Option<Tlv<'a>> {
        let mut cursor = self.cursor;
        let kind = match self.form {
            TlvForm::TwoTwo => cursor.u16()?,
            TlvForm::OneTwo | TlvForm::SubTlv => u16::from(cursor.u8()?),
        };
        let len = match self.form {
            TlvForm::SubTlv if kind < 128 => u16::from(cursor.u8()?),
            TlvForm::SubTlv | TlvForm::OneTwo | TlvForm::TwoTwo => cursor.u16()?,
        };
        let value = cursor.take(usize::from(len))?;
        self.cursor = cursor;
        Some(Tlv { kind, value })
    }
}

impl FusedIterator for Tlvs<'_> {}
