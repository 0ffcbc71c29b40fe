//! What is kept of a route's attributes.
//!
//! An [`AttrSet`] is one immutable, shared block of bytes: the next hop's length and octets, then the attributes in
//! canonical form: sorted by code, one copy of each, flags with the meaningless bits cleared and the extended-length bit only
//! where it is needed, AS numbers four octets wide. So two sets are equal exactly if their bytes are, a set can be interned by
//! hashing its bytes, and sending it to a four-octet peer is a copy. MP_REACH_NLRI, MP_UNREACH_NLRI, NEXT_HOP and the
//! AS4 attributes are never among the attributes: they belong to one message or one session. The next hop stands in the
//! block and not beside it, for a value of its own would take as much room as most blocks.

use super::{Flags, NextHop, RawAttr, RawAttrs};
use crate::context::AsnWidth;
use crate::iana::AttrCode;
use alloc::sync::Arc;
use core::fmt;

/// The attributes of a route, canonical and shared. Cloning copies a pointer; equality and hash are over the bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttrSet {
    block: Arc<[u8]>,
}

impl AttrSet {
    /// The next hop and, behind it, what `fill` writes: `len` octets of attributes, which the caller makes canonical.
    #[inline]
    pub(crate) fn new(next_hop: &NextHop, len: usize, fill: impl FnOnce(&mut [u8])) -> AttrSet {
        let start = 1 + next_hop.octets_len();
        let mut block: Arc<[u8]> = core::iter::repeat_n(0, start + len).collect();
        if let Some(out) = Arc::get_mut(&mut block)
            && let Some((first, rest)) = out.split_first_mut()
            && let Some((hop, attrs)) = rest.split_at_mut_checked(start - 1)
        {
            *first = (start - 1) as u8;
            next_hop.with_octets(|octets| hop.copy_from_slice(octets));
            fill(attrs);
        }
        AttrSet { block }
    }

    /// The same attributes with another next hop.
    pub fn with_next_hop(&self, next_hop: NextHop) -> AttrSet {
        let attrs = self.octets();
        AttrSet::new(&next_hop, attrs.len(), |out| out.copy_from_slice(attrs))
    }

    #[inline]
    fn parts(&self) -> (&[u8], &[u8]) {
        match self.block.split_first() {
            Some((len, rest)) => rest.split_at_checked(usize::from(*len)).unwrap_or((&[], &[])),
            None => (&[], &[]),
        }
    }

    /// Where to send packets.
    #[inline]
    pub fn next_hop(&self) -> NextHop {
        NextHop::from_octets(self.parts().0).unwrap_or(NextHop::NONE)
    }

    /// The canonical bytes, without the next hop.
    #[inline]
    pub fn octets(&self) -> &[u8] {
        self.parts().1
    }

    /// The attributes, sorted by code.
    #[inline]
    pub fn iter(&self) -> RawAttrs<'_> {
        RawAttrs::new(self.octets())
    }

    /// The attribute of this code.
    #[inline]
    pub fn get(&self, code: AttrCode) -> Option<RawAttr<'_>> {
        self.iter().take_while(|attr| attr.code <= code).find(|attr| attr.code == code)
    }

    #[inline]
    fn value(&self, code: AttrCode) -> Option<&[u8]> {
        self.get(code).map(|attr| attr.value)
    }

    #[inline]
    fn number(&self, code: AttrCode) -> Option<u32> {
        self.value(code).and_then(super::number)
    }

    #[inline]
    fn origin_value(&self) -> super::Origin {
        let octet = self.value(AttrCode::ORIGIN).and_then(|value| value.first());
        octet.and_then(|octet| super::Origin::from_octet(*octet)).unwrap_or_default()
    }

    #[inline]
    fn asn_width(&self) -> AsnWidth {
        AsnWidth::Four
    }

    #[inline]
    fn unjudged(&self, code: AttrCode) -> Option<&[u8]> {
        self.value(code)
    }

    super::attr_readers!();

    /// Attributes without a reader of their own here that are passed on unread.
    pub fn opaque(&self) -> impl Iterator<Item = RawAttr<'_>> {
        self.iter().filter(|attr| attr.flags.contains(Flags::OPTIONAL) && attr.code.name().is_none())
    }
}

impl fmt::Debug for AttrSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut set = f.debug_map();
        set.entry(&AttrCode::NEXT_HOP, &self.next_hop());
        for attr in self.iter() {
            match attr.code {
                AttrCode::ORIGIN => set.entry(&attr.code, &self.origin()),
                AttrCode::AS_PATH => set.entry(&attr.code, &format_args!("{}", self.as_path())),
                AttrCode::COMMUNITIES => set.entry(&attr.code, &self.communities()),
                AttrCode::EXT_COMMUNITIES => set.entry(&attr.code, &self.ext_communities()),
                AttrCode::LARGE_COMMUNITIES => set.entry(&attr.code, &self.large_communities()),
                AttrCode::ORIGINATOR_ID => set.entry(&attr.code, &self.originator_id()),
                AttrCode::CLUSTER_LIST => set.entry(&attr.code, &self.cluster_list()),
                _ if attr.value.len() == 4 => set.entry(&attr.code, &super::number(attr.value).unwrap_or(0)),
                _ => set.entry(&attr.code, &format_args!("{:02x?}", attr.value)),
            };
        }
        set.finish()
    }
}
