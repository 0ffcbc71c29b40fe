//! What makes two NLRI the same route.
//!
//! Of most families the whole NLRI does. Labels are not part of it: a route that is announced again with another label
//! replaces the first (RFC 8277 section 2.4), and a withdrawal carries no label worth comparing. Of EVPN routes the RFCs say
//! for each type which fields count (RFC 7432 section 7, RFC 9136 section 3.1). A [`RouteKey`] holds just those, by value where
//! labels had to be cut out.

use crate::family::{Family, Safi};
use crate::nlri::{Nlri, NlriRef};
use crate::prefix::Prefix;
use crate::reader::Cursor;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

/// What identifies a route within its family, apart from a path identifier. Compares and hashes as its octets.
///
/// ```
/// use bgp_proto::{Family, NlriRef};
///
/// // 10.0.0.0/8 with label 100, then with label 200.
/// let (first, second) = ([32, 0, 6, 0x41, 10], [32, 0, 12, 0x81, 10]);
/// let key = |octets| NlriRef::Opaque(octets).key(Family::IPV4_LABELLED);
/// assert_eq!(key(&first), key(&second));
/// ```
#[derive(Clone, Copy)]
pub struct RouteKey<'a>(Form<'a>);

#[derive(Clone, Copy)]
enum Form<'a> {
    /// An IP prefix.
    Prefix(Prefix),
    /// Fields put together.
    Parts([u8; PARTS_MAX], u8),
    /// The NLRI as it is.
    Whole(&'a [u8]),
}

/// The longest key that is put together: type, distinguisher, tag, MAC address and IPv6 address of EVPN, with lengths.
const PARTS_MAX: usize = 40;

impl RouteKey<'_> {
    /// The octets that identify the route. Of an IP prefix those after its length field.
    pub fn octets(&self) -> &[u8] {
        match &self.0 {
            Form::Prefix(prefix) => prefix.wire_octets(),
            Form::Parts(octets, len) => octets.get(..usize::from(*len)).unwrap_or(&[]),
            Form::Whole(octets) => octets,
        }
    }

    /// The prefix, if the route is identified by one.
    pub const fn prefix(&self) -> Option<Prefix> {
        match &self.0 {
            Form::Prefix(prefix) => Some(*prefix),
            Form::Parts(..) | Form::Whole(_) => None,
        }
    }
}

impl PartialEq for RouteKey<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.prefix() == other.prefix() && self.octets() == other.octets()
    }
}

impl Eq for RouteKey<'_> {}

impl PartialOrd for RouteKey<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RouteKey<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.prefix().cmp(&other.prefix()).then_with(|| self.octets().cmp(other.octets()))
    }
}

impl Hash for RouteKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            Form::Prefix(prefix) => prefix.hash(state),
            Form::Parts(..) | Form::Whole(_) => self.octets().hash(state),
        }
    }
}

impl fmt::Debug for RouteKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Prefix(prefix) => prefix.fmt(f),
            _ => self.octets().iter().try_for_each(|octet| write!(f, "{octet:02x}")),
        }
    }
}

impl Nlri {
    /// What identifies the route within its family.
    pub fn key(&self, family: Family) -> RouteKey<'_> {
        self.as_view().key(family)
    }
}

impl<'a> NlriRef<'a> {
    /// What identifies the route within its family. NLRI too short for their type are their own key.
    pub fn key(&self, family: Family) -> RouteKey<'a> {
        let octets = match self {
            NlriRef::Prefix(prefix) => return RouteKey(Form::Prefix(*prefix)),
            NlriRef::Opaque(octets) => *octets,
        };
        let parts = match family.safi {
            Safi::LABELLED | Safi::VPN => without_labels(octets),
            Safi::EVPN => evpn(octets),
            _ => None,
        };
        RouteKey(parts.unwrap_or(Form::Whole(octets)))
    }

    /// Copies NLRI of a withdrawal. They have one label field, which the receiver ignores (RFC 8277 section 2.4); whatever the
    /// peer put there is replaced by 0x800000, so that the [key](NlriRef::key) is that of the route announced.
    pub fn to_withdrawn(&self, family: Family) -> Nlri {
        match (self, family.safi) {
            (NlriRef::Opaque([bits, _, _, label, rest @ ..]), Safi::LABELLED | Safi::VPN)
                if *bits >= 24 && label & 1 == 0 =>
            {
                Nlri::Opaque([&[*bits, 0x80, 0, 0], rest].concat().into())
            }
            _ => self.to_owned(),
        }
    }
}

/// Octets put together.
struct Parts {
    octets: [u8; PARTS_MAX],
    len: usize,
}

impl Parts {
    fn of<'a>(parts: &[&[u8]]) -> Option<Form<'a>> {
        let mut all = Parts { octets: [0; PARTS_MAX], len: 0 };
        for part in parts {
            let end = all.len + part.len();
            all.octets.get_mut(all.len..end)?.copy_from_slice(part);
            all.len = end;
        }
        Some(Form::Parts(all.octets, all.len as u8))
    }
}

/// Bit length, labels, then the prefix, with a distinguisher before it in VPNs (RFC 8277 section 2, RFC 4364 section 4.3.4).
/// The stack ends at the bottom-of-stack bit; the fixed values of a withdrawal end it too (RFC 8277 section 2.4).
fn without_labels<'a>(octets: &[u8]) -> Option<Form<'a>> {
    let mut cursor = Cursor::new(octets);
    let mut bits = cursor.u8()?;
    loop {
        let label = cursor.array::<3>()?;
        bits = bits.checked_sub(24)?;
        if label[2] & 1 == 1 || matches!(label, [0x80, 0, 0] | [0, 0, 0]) {
            break;
        }
    }
    let rest = cursor.rest();
    let Form::Parts(mut key, len) = Parts::of(&[&[bits], rest])? else { return None };
    // Bits after the prefix mean nothing (RFC 4271 section 4.3).
    if let (Some(last), 1..) = (key.get_mut(rest.len()), bits % 8) {
        *last &= 0xFF << (8 - bits % 8);
    }
    Some(Form::Parts(key, len))
}

/// The fields of an EVPN route that identify it, by route type.
fn evpn<'a>(octets: &[u8]) -> Option<Form<'a>> {
    let mut cursor = Cursor::new(octets);
    let (kind, _len) = (cursor.u8()?, cursor.u8()?);
    match kind {
        // Ethernet auto-discovery (RFC 7432 section 7.1): without the label.
        1 => Parts::of(&[&[kind], cursor.take(8 + 10 + 4)?]),
        // MAC and IP advertisement (RFC 7432 section 7.2): without segment and labels.
        2 => {
            let distinguisher = cursor.take(8)?;
            cursor.take(10)?;
            let tag_and_mac = cursor.take(4 + 1 + 6)?;
            let start = cursor.rest();
            let ip_len = usize::from(cursor.u8()?).div_ceil(8);
            Parts::of(&[&[kind], distinguisher, tag_and_mac, start.get(..1 + ip_len)?])
        }
        // IP prefix (RFC 9136 section 3.1): without segment, gateway and label.
        5 => {
            let distinguisher = cursor.take(8)?;
            cursor.take(10)?;
            let tag_and_len = cursor.take(4 + 1)?;
            let address = if cursor.len() > 4 + 4 + 3 { 16 } else { 4 };
            Parts::of(&[&[kind], distinguisher, tag_and_len, cursor.take(address)?])
        }
        // Inclusive multicast and Ethernet segment routes have nothing but what identifies them; other types are unknown.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn same(family: Family, one: &[u8], other: &[u8]) -> bool {
        NlriRef::Opaque(one).key(family) == NlriRef::Opaque(other).key(family)
    }

    #[test]
    fn labels_do_not_tell_routes_apart() {
        let announced = [24 + 16, 0, 6, 0x41, 10, 1];
        assert!(same(Family::IPV4_LABELLED, &announced, &[24 + 16, 0x80, 0, 0, 10, 1]));
        assert!(same(Family::IPV4_LABELLED, &announced, &[48 + 16, 0, 6, 0x40, 0, 7, 0x01, 10, 1]));
        assert!(same(Family::IPV4_LABELLED, &[24 + 12, 0, 6, 1, 10, 0x1F], &[24 + 12, 0, 9, 1, 10, 0x10]));
        assert!(!same(Family::IPV4_LABELLED, &announced, &[24 + 16, 0, 6, 0x41, 10, 2]));
        assert!(!same(Family::IPV4_LABELLED, &announced, &[24 + 15, 0, 6, 0x41, 10, 1]));
        for label in [[0, 0, 0x10], [0x12, 0x34, 0x50], [0xFF, 0xFF, 0xFE], [0x80, 0, 0]] {
            let octets = [&[24 + 16], &label[..], &[10, 1]].concat();
            let gone = NlriRef::Opaque(&octets).to_withdrawn(Family::IPV4_LABELLED);
            assert_eq!(
                gone.key(Family::IPV4_LABELLED),
                NlriRef::Opaque(&announced).key(Family::IPV4_LABELLED)
            );
        }
        let vpn = |label: u8, rd: u8| [112, 0, label, 1, 0, 0, 0, 1, 0, 0, 0, rd, 10, 1, 0];
        assert!(same(Family::VPNV4, &vpn(1, 1), &vpn(2, 1)) && !same(Family::VPNV4, &vpn(1, 1), &vpn(1, 2)));
    }

    #[test]
    fn evpn_routes_are_told_apart_by_what_the_rfcs_say() {
        let mac = |esi: u8, mac: u8, label: u8| -> Vec<u8> {
            let body = [&[0; 8][..], &[esi; 10], &[0; 4], &[48], &[mac; 6], &[32, 10, 0, 0, 1, 0, label, 1]]
                .concat();
            [&[2, body.len() as u8], &body[..]].concat()
        };
        assert!(same(Family::EVPN, &mac(1, 1, 1), &mac(2, 1, 9)));
        assert!(!same(Family::EVPN, &mac(1, 1, 1), &mac(1, 2, 1)));
        let prefix = |gateway: u8, net: u8| {
            let body =
                [&[0; 8][..], &[7; 10], &[0; 4], &[24, 10, net, 0, 0], &[gateway; 4], &[0, 0, 1]].concat();
            [&[5, body.len() as u8], &body[..]].concat()
        };
        assert!(
            same(Family::EVPN, &prefix(1, 1), &prefix(2, 1))
                && !same(Family::EVPN, &prefix(1, 1), &prefix(1, 2))
        );
        let discovery =
            |esi: u8, label: u8| [&[1, 25][..], &[0; 8], &[esi; 10], &[0; 4], &[0, label, 1]].concat();
        assert!(same(Family::EVPN, &discovery(1, 1), &discovery(1, 2)));
        assert!(!same(Family::EVPN, &discovery(1, 1), &discovery(2, 1)));
        assert!(!same(Family::EVPN, &[3, 1, 1], &[3, 1, 2]) && same(Family::EVPN, &[2, 1, 1], &[2, 1, 1]));
    }
}
