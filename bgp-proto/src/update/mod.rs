//! UPDATE: routes announced and withdrawn (RFC 4271 section 4.3), judged by RFC 7606.
//!
//! [`Update::decode`] walks the message once. It notes where each known attribute lies, checks flags and values, and
//! remembers the worst that is wrong; nothing is copied and nothing allocated. If the session must be reset it says so with
//! the exact NOTIFICATION, otherwise the [`Update`] it returns can be read freely: its readers cannot fail. What was wrong
//! is rarely asked for, so [`Update::faults`] walks again instead of making every good message carry a list.
//!
//! What the receiver of an update does: take [`Update::unreach`] as withdrawals; look at [`Update::verdict`], and if it is
//! [`Verdict::Withdrawn`] take [`Update::reach`] as withdrawals too, else as announcements with the attributes of
//! [`Update::attr_set`]. An NLRI in both is announced, since reach is handled last (RFC 4271 section 4.3).

mod mp;
mod skim;
mod walk;

use crate::attr::check::definition_in;
use crate::attr::merge::{As4, Sorted, canonical_flags, merged_aggregator, merged_path};
use crate::attr::{AsPath, AttrSet, Flags, NextHop, Origin, RawAttr, RawAttrs};
use crate::context::{AsnWidth, WireContext};
use crate::error::{Fault, Remedy, Reset};
use crate::family::{Family, Shape};
use crate::iana::AttrCode;
use crate::nlri::NlriIter;
use crate::reader::nothing;
use core::fmt;
use core::net::Ipv4Addr;
pub use skim::Skim;
use walk::{CodeSet, Draft, FaultLog, Found, Sections};

/// What is to be done with the routes that an UPDATE announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Nothing is wrong.
    Sound,
    /// Attributes were dropped; the routes stand.
    Trimmed,
    /// The routes count as withdrawn.
    Withdrawn,
}

/// An UPDATE, borrowed from the received bytes and checked.
#[derive(Clone)]
pub struct Update<'a> {
    sections: Sections<'a>,
    ctx: WireContext,
    found: Found<'a>,
    worst: Option<Remedy>,
}

/// Routes of one family that share attributes.
#[derive(Clone, Debug)]
pub struct Reach<'a> {
    /// Family.
    pub family: Family,
    /// Where to send packets.
    pub next_hop: NextHop,
    /// What is announced.
    pub nlri: NlriIter<'a>,
}

/// Withdrawals of one family.
#[derive(Clone, Debug)]
pub struct Unreach<'a> {
    /// Family.
    pub family: Family,
    /// What is withdrawn.
    pub nlri: NlriIter<'a>,
}

impl<'a> Update<'a> {
    /// Reads the body of a message, what follows the header.
    #[inline(always)]
    pub fn decode(body: &'a [u8], ctx: &WireContext) -> Result<Update<'a>, Reset> {
        let draft = Draft::of(Sections::of(body)?, ctx, &mut ())?;
        Ok(Update { sections: draft.sections, ctx: *ctx, found: draft.found, worst: draft.worst })
    }

    /// What is to be done with the announced routes.
    #[inline]
    pub fn verdict(&self) -> Verdict {
        match self.worst {
            None => Verdict::Sound,
            Some(Remedy::Discard) => Verdict::Trimmed,
            Some(Remedy::Withdraw | Remedy::Reset) => Verdict::Withdrawn,
        }
    }

    /// What is wrong, in the order found; at most the first sixteen.
    pub fn faults(&self) -> impl Iterator<Item = Fault> + use<> {
        let mut log = FaultLog::default();
        if self.worst.is_some() {
            let again = Draft::of(self.sections, &self.ctx, &mut log);
            debug_assert!(again.is_ok(), "the first walk found no reason to reset");
        }
        log.into_iter()
    }

    /// Announced routes: those of MP_REACH_NLRI, then those of the NLRI field. Families that were not negotiated and
    /// empty ones are left out.
    #[inline]
    pub fn reach(&self) -> Reaches<'_, 'a> {
        let classic = if self.has_classic() { self.sections.nlri } else { nothing() };
        Reaches { update: self, multiprotocol: self.value(AttrCode::MP_REACH_NLRI), classic }
    }

    /// Withdrawals: those of MP_UNREACH_NLRI, then those of the withdrawn routes field. Families that were not
    /// negotiated and empty ones are left out.
    #[inline]
    pub fn unreach(&self) -> Unreaches<'_, 'a> {
        let classic = if self.has_classic() { self.sections.withdrawn } else { nothing() };
        Unreaches { update: self, multiprotocol: self.value(AttrCode::MP_UNREACH_NLRI), classic }
    }

    /// The family whose initial routes are now complete, if this is an End-of-RIB (RFC 4724 section 2).
    #[inline]
    pub fn end_of_rib(&self) -> Option<Family> {
        if !self.sections.withdrawn.is_empty() || !self.sections.nlri.is_empty() {
            return None;
        }
        if self.sections.attrs.is_empty() {
            return Some(Family::IPV4_UNICAST);
        }
        let mut attrs = self.raw_attrs();
        let first = attrs.next().filter(|first| first.code == AttrCode::MP_UNREACH_NLRI)?;
        let (family, nlri) = mp::unreach(first.value)?;
        (nlri.is_empty() && attrs.rest().is_empty()).then_some(family)
    }

    /// Families of NLRI that were skipped because they were not negotiated.
    pub fn skipped(&self) -> impl Iterator<Item = Family> + use<'a> {
        let reach = self.value(AttrCode::MP_REACH_NLRI).and_then(mp::reach).map(|(family, _, _)| family);
        let unreach = self.value(AttrCode::MP_UNREACH_NLRI).and_then(mp::unreach).map(|(family, _)| family);
        let ctx = self.ctx;
        reach.into_iter().chain(unreach).filter(move |family| mp::shape(*family, &ctx).is_none())
    }

    /// Every attribute as received, in wire order, damaged ones too.
    #[inline]
    pub fn raw_attrs(&self) -> RawAttrs<'a> {
        RawAttrs::new(self.sections.attrs)
    }

    /// AS4_PATH of a two-octet session, not merged. [`Update::attr_set`] merges.
    pub fn as4_path(&self) -> Option<AsPath<'_>> {
        self.value(AttrCode::AS4_PATH).map(|octets| AsPath::trusted(octets, AsnWidth::Four))
    }

    #[inline(always)]
    fn value(&self, code: AttrCode) -> Option<&'a [u8]> {
        self.found.value(self.sections.attrs, code)
    }

    #[inline(always)]
    fn number(&self, code: AttrCode) -> Option<u32> {
        self.found.number(self.sections.attrs, code)
    }

    #[inline(always)]
    fn origin_value(&self) -> Origin {
        self.found.origin()
    }

    #[inline]
    fn asn_width(&self) -> AsnWidth {
        self.ctx.asn_width
    }

    #[inline]
    fn has_classic(&self) -> bool {
        self.ctx.families.contains(Family::IPV4_UNICAST)
    }

    /// The value of an attribute that is kept, or that is passed on unread.
    fn unjudged(&self, code: AttrCode) -> Option<&'a [u8]> {
        if definition_in(code, &self.ctx).is_some() {
            return self.value(code);
        }
        self.raw_attrs().find(|attr| attr.code == code).map(|attr| attr.value)
    }

    crate::attr::attr_readers!();

    /// The attributes to keep with a next hop, that of the [`Reach`] they go with. Damaged, out-of-place and second copies
    /// are left out; unrecognised transitive attributes have the Partial bit set; the AS4 attributes are merged. One
    /// allocation on a four-octet session.
    pub fn attr_set(&self, next_hop: NextHop) -> AttrSet {
        if self.ctx.asn_width == AsnWidth::Four {
            return self.sorted(None, None).to_set(&next_hop);
        }
        let value = |code| self.value(code);
        let (aggregator, as4) =
            merged_aggregator(value(AttrCode::AGGREGATOR), value(AttrCode::AS4_AGGREGATOR));
        let as4_path = self.as4_path().filter(|_| as4 == As4::Counts);
        let path = value(AttrCode::AS_PATH).map(|_| merged_path(self.as_path(), as4_path));
        let sorted = self.sorted(path.as_deref(), aggregator.as_ref().map(|octets| &octets[..]));
        sorted.to_set(&next_hop)
    }

    /// The attributes that are kept, with the path and aggregator of a two-octet session replaced.
    fn sorted<'b>(&'b self, path: Option<&'b [u8]>, aggregator: Option<&'b [u8]>) -> Sorted<'b> {
        let mut sorted = Sorted::new();
        let mut taken = CodeSet::default();
        for attr in self.raw_attrs() {
            if !taken.insert(attr.code) || crate::attr::is_outside_sets(attr.code) {
                continue;
            }
            let mut flags = canonical_flags(attr.flags);
            if !self.found.has(attr.code) {
                if definition_in(attr.code, &self.ctx).is_some() || !attr.flags.contains(Flags::TRANSITIVE) {
                    continue;
                }
                flags = flags.union(Flags::PARTIAL);
            }
            let value = match attr.code {
                AttrCode::AS_PATH => path.unwrap_or(attr.value),
                AttrCode::AGGREGATOR => aggregator.unwrap_or(attr.value),
                _ => attr.value,
            };
            sorted.add(RawAttr { flags, code: attr.code, value });
        }
        sorted
    }
}

/// The announced routes of an UPDATE, by family.
#[derive(Clone, Debug)]
pub struct Reaches<'u, 'a> {
    update: &'u Update<'a>,
    /// MP_REACH_NLRI, until it was read.
    multiprotocol: Option<&'a [u8]>,
    /// The NLRI field, until it was read.
    classic: &'a [u8],
}

impl<'a> Iterator for Reaches<'_, 'a> {
    type Item = Reach<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Reach<'a>> {
        if let Some(value) = self.multiprotocol.take()
            && let Some(reach) = self.update.mp_reach(value)
        {
            return Some(reach);
        }
        let nlri = core::mem::take(&mut self.classic);
        if nlri.is_empty() {
            return None;
        }
        let hop = self.update.number(AttrCode::NEXT_HOP);
        Some(Reach {
            family: Family::IPV4_UNICAST,
            next_hop: hop.map_or(NextHop::NONE, |hop| NextHop::V4(Ipv4Addr::from(hop))),
            nlri: self.update.classic(nlri),
        })
    }
}

/// The withdrawals of an UPDATE, by family.
#[derive(Clone, Debug)]
pub struct Unreaches<'u, 'a> {
    update: &'u Update<'a>,
    /// MP_UNREACH_NLRI, until it was read.
    multiprotocol: Option<&'a [u8]>,
    /// The withdrawn routes field, until it was read.
    classic: &'a [u8],
}

impl<'a> Iterator for Unreaches<'_, 'a> {
    type Item = Unreach<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Unreach<'a>> {
        if let Some(value) = self.multiprotocol.take()
            && let Some(unreach) = self.update.mp_unreach(value)
        {
            return Some(unreach);
        }
        let nlri = core::mem::take(&mut self.classic);
        if nlri.is_empty() {
            return None;
        }
        Some(Unreach { family: Family::IPV4_UNICAST, nlri: self.update.classic(nlri) })
    }
}

impl<'a> Update<'a> {
    #[inline(always)]
    fn mp_reach(&self, value: &'a [u8]) -> Option<Reach<'a>> {
        let (family, hop, nlri) = mp::reach(value)?;
        let nlri = self.multiprotocol(family, nlri)?;
        Some(Reach { family, next_hop: NextHop::from_octets(hop)?, nlri })
    }

    #[inline(always)]
    fn mp_unreach(&self, value: &'a [u8]) -> Option<Unreach<'a>> {
        let (family, nlri) = mp::unreach(value)?;
        Some(Unreach { family, nlri: self.multiprotocol(family, nlri)? })
    }

    /// NLRI that are not empty, of a family that was negotiated.
    #[inline(always)]
    fn multiprotocol(&self, family: Family, nlri: &'a [u8]) -> Option<NlriIter<'a>> {
        let shape = mp::shape(family, &self.ctx)?;
        (!nlri.is_empty()).then_some(NlriIter::trusted(nlri, shape, self.ctx.add_path.contains(family)))
    }

    #[inline]
    fn classic(&self, nlri: &'a [u8]) -> NlriIter<'a> {
        NlriIter::trusted(nlri, Shape::PrefixV4, self.ctx.add_path.contains(Family::IPV4_UNICAST))
    }
}

impl fmt::Debug for Update<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Update");
        self.unreach().for_each(|unreach| {
            out.field("unreach", &unreach);
        });
        self.reach().for_each(|reach| {
            out.field("attrs", &self.attr_set(reach.next_hop)).field("reach", &reach);
        });
        out.field("verdict", &self.verdict()).finish()
    }
}
