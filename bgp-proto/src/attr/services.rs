//! Attributes of services over BGP that a reflector passes on and a tool wants to read: PMSI tunnel, prefix SID, ATTR_SET.
//!
//! Views like those of the common attributes, made from a value when it is asked for. A value that is not of the form reads as
//! absent.

use super::RawAttrs;
use super::tlv::{TlvForm, Tlvs};
use crate::id::Asn;
use crate::reader::Cursor;

/// PMSI_TUNNEL: the tunnel of a multicast or broadcast service (RFC 6514 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PmsiTunnel<'a> {
    /// Flags; the lowest asks for leaf information.
    pub flags: u8,
    /// Kind of tunnel: 6 is ingress replication.
    pub kind: u8,
    /// The label field's 24 bits: the high 20 are an MPLS label, or all are a VXLAN network identifier (RFC 8365 section 5.1.3).
    pub label: u32,
    /// Identifies the tunnel; form by kind.
    pub identifier: &'a [u8],
}

impl<'a> PmsiTunnel<'a> {
    /// The tunnel in an attribute's value.
    pub fn new(value: &'a [u8]) -> Option<PmsiTunnel<'a>> {
        let mut cursor = Cursor::new(value);
        let [flags, kind, a, b, c] = cursor.array()?;
        let label = u32::from_be_bytes([0, a, b, c]);
        Some(PmsiTunnel { flags, kind, label, identifier: cursor.rest() })
    }

    /// The MPLS label.
    pub const fn mpls_label(&self) -> u32 {
        self.label >> 4
    }
}

/// PREFIX_SID: segment routing's name for a prefix (RFC 8669 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrefixSid<'a> {
    octets: &'a [u8],
}

impl<'a> PrefixSid<'a> {
    /// The TLVs in an attribute's value.
    pub const fn new(octets: &'a [u8]) -> PrefixSid<'a> {
        PrefixSid { octets }
    }

    /// The TLVs, in wire order; among them those of SRv6 services (RFC 9252).
    pub const fn tlvs(&self) -> Tlvs<'a> {
        Tlvs::new(self.octets, TlvForm::OneTwo)
    }

    /// The label index (RFC 8669 section 3.1).
    pub fn label_index(&self) -> Option<u32> {
        let octets: [u8; 7] = self.tlvs().value(1)?.try_into().ok()?;
        let [_reserved, _flags, _flags2, index @ ..] = octets;
        Some(u32::from_be_bytes(index))
    }

    /// The originator's label blocks, first label and size of each (RFC 8669 section 3.2).
    pub fn srgb(&self) -> impl ExactSizeIterator<Item = (u32, u32)> + use<'a> {
        let blocks = self.tlvs().value(3).and_then(|value| value.get(2..)).unwrap_or(&[]);
        let (blocks, _) = blocks.as_chunks::<6>();
        blocks.iter().map(|[a, b, c, d, e, f]| {
            (u32::from_be_bytes([0, *a, *b, *c]), u32::from_be_bytes([0, *d, *e, *f]))
        })
    }
}

/// ATTR_SET: a customer's attributes, carried through a provider's VPN (RFC 6368 section 5).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CustomerAttrs<'a> {
    /// The customer's AS.
    pub origin_as: Asn,
    /// Its attributes, unread; AS numbers are four octets wide.
    pub attrs: RawAttrs<'a>,
}

impl<'a> CustomerAttrs<'a> {
    /// The attributes in an attribute's value.
    pub fn new(value: &'a [u8]) -> Option<CustomerAttrs<'a>> {
        let mut cursor = Cursor::new(value);
        let origin_as = Asn(cursor.u32()?);
        Some(CustomerAttrs { origin_as, attrs: RawAttrs::new(cursor.rest()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iana::AttrCode;

    #[test]
    fn pmsi_label_is_a_label_or_a_network() {
        let tunnel = PmsiTunnel::new(&[0, 6, 0x00, 0x01, 0x10, 10, 0, 0, 1]).unwrap();
        assert_eq!((tunnel.kind, tunnel.label, tunnel.mpls_label()), (6, 272, 17));
        assert_eq!(tunnel.identifier, [10, 0, 0, 1]);
        assert!(PmsiTunnel::new(&[0, 6, 0, 1]).is_none());
    }

    #[test]
    fn prefix_sid_has_an_index_and_blocks() {
        let octets = [1, 0, 7, 0, 0, 0, 0, 0, 0, 9, 3, 0, 8, 0, 0, 0, 0x3E, 0x80, 0, 0x1F, 0x40];
        let sid = PrefixSid::new(&octets);
        assert_eq!(sid.label_index(), Some(9));
        assert!(sid.srgb().eq([(16000, 8000)]));
        assert_eq!(PrefixSid::new(&octets[..9]).label_index(), None);
        assert_eq!(PrefixSid::new(&[]).srgb().len(), 0);
    }

    #[test]
    fn customer_attributes_are_attributes() {
        let inner = CustomerAttrs::new(&[0, 0, 0xFD, 0xE9, 0x40, 1, 1, 0, 0x40, 2]).unwrap();
        assert_eq!(inner.origin_as, Asn(65001));
        assert!(inner.attrs.map(|attr| attr.code).eq([AttrCode::ORIGIN]));
        assert!(CustomerAttrs::new(&[0, 0, 1]).is_none());
    }
}
