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
mod walk;

use crate::attr::check::definition_in;
use crate::attr::merge::{As4, Sorted, canonical_flags, merged_aggregator, merged_path};
use crate::attr::{AsPath, AttrSet, Flags, NextHop, RawAttr, RawAttrs};
use crate::context::{AsnWidth, WireContext};
use crate::error::{Fault, Remedy, Reset};
use crate::family::{Family, Shape};
use crate::iana::AttrCode;
use crate::nlri::NlriIter;
use core::fmt;
use walk::{CodeSet, FaultLog, Places};

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
    withdrawn: &'a [u8],
    attrs: &'a [u8],
    nlri: &'a [u8],
    ctx: WireContext,
    places: Places,
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
    #[inline]
    pub fn decode(body: &'a [u8], ctx: &WireContext) -> Result<Update<'a>, Reset> {
        Update::read(body, ctx, &mut ())
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
            self.reread(&mut log);
        }
        log.into_iter()
    }

    /// Announced routes: those of MP_REACH_NLRI, then those of the NLRI field. Families that were not negotiated and
    /// empty ones are left out.
    #[inline]
    pub fn reach(&self) -> Reaches<'a> {
        Reaches {
            mp: self.value(AttrCode::MP_REACH_NLRI),
            classic: if self.has_classic() { self.nlri } else { &[] },
            hop: self.value(AttrCode::NEXT_HOP),
            ctx: self.ctx,
        }
    }

    /// Withdrawals: those of MP_UNREACH_NLRI, then those of the withdrawn routes field. Families that were not
    /// negotiated and empty ones are left out.
    #[inline]
    pub fn unreach(&self) -> Unreaches<'a> {
        Unreaches {
            mp: self.value(AttrCode::MP_UNREACH_NLRI),
            classic: if self.has_classic() { self.withdrawn } else { &[] },
            ctx: self.ctx,
        }
    }

    /// The family whose initial routes are now complete, if this is an End-of-RIB (RFC 4724 section 2).
    #[inline]
    pub fn end_of_rib(&self) -> Option<Family> {
        if !self.withdrawn.is_empty() || !self.nlri.is_empty() {
            return None;
        }
        if self.attrs.is_empty() {
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
        RawAttrs::new(self.attrs)
    }

    /// AS4_PATH of a two-octet session, not merged. [`Update::attr_set`] merges.
    pub fn as4_path(&self) -> Option<AsPath<'_>> {
        self.value(AttrCode::AS4_PATH).map(|octets| AsPath::trusted(octets, AsnWidth::Four))
    }

    #[inline]
    fn value(&self, code: AttrCode) -> Option<&'a [u8]> {
        let at = self.places.get(code)?;
        RawAttrs::new(self.attrs.get(at..)?).next().map(|attr| attr.value)
    }

    #[inline]
    fn asn_width(&self) -> AsnWidth {
        self.ctx.asn_width
    }

    #[inline]
    fn has_classic(&self) -> bool {
        self.ctx.families.contains(Family::IPV4_UNICAST)
    }

    crate::attr::attr_readers!();

    /// The attributes to keep with a next hop, that of the [`Reach`] they go with. Damaged, out-of-place and second copies
    /// are left out; unrecognised transitive attributes have the Partial bit set; the AS4 attributes are merged. One
    /// allocation on a four-octet session.
    pub fn attr_set(&self, next_hop: NextHop) -> AttrSet {
        if self.ctx.asn_width == AsnWidth::Four {
            return AttrSet::from_block(self.sorted(None, None).to_block(), next_hop);
        }
        let value = |code| self.value(code);
        let (aggregator, as4) =
            merged_aggregator(value(AttrCode::AGGREGATOR), value(AttrCode::AS4_AGGREGATOR));
        let as4_path = self.as4_path().filter(|_| as4 == As4::Counts);
        let path = value(AttrCode::AS_PATH).map(|_| merged_path(self.as_path(), as4_path));
        let sorted = self.sorted(path.as_deref(), aggregator.as_ref().map(|octets| &octets[..]));
        AttrSet::from_block(sorted.to_block(), next_hop)
    }

    /// The attributes that are kept, with the path and aggregator of a two-octet session replaced.
    fn sorted<'b>(&'b self, path: Option<&'b [u8]>, aggregator: Option<&'b [u8]>) -> Sorted<'b> {
        let mut sorted = Sorted::new();
        let mut unrecognised = CodeSet::default();
        let mut attrs = self.raw_attrs();
        loop {
            let at = self.attrs.len() - attrs.rest().len();
            let Some(attr) = attrs.next() else { return sorted };
            let mut flags = canonical_flags(attr.flags);
            if self.places.get(attr.code) != Some(at) {
                let is_known = definition_in(attr.code, &self.ctx).is_some();
                if is_known || !attr.flags.contains(Flags::TRANSITIVE) || !unrecognised.insert(attr.code) {
                    continue;
                }
                flags = flags.union(Flags::PARTIAL);
            }
            let value = match attr.code {
                AttrCode::AS_PATH => path.unwrap_or(attr.value),
                AttrCode::AGGREGATOR => aggregator.unwrap_or(attr.value),
                _ => attr.value,
            };
            if !crate::attr::is_outside_sets(attr.code) {
                sorted.add(RawAttr { flags, code: attr.code, value });
            }
        }
    }
}

/// The announced routes of an UPDATE, by family.
#[derive(Clone, Debug)]
pub struct Reaches<'a> {
    mp: Option<&'a [u8]>,
    classic: &'a [u8],
    hop: Option<&'a [u8]>,
    ctx: WireContext,
}

impl<'a> Iterator for Reaches<'a> {
    type Item = Reach<'a>;

    #[inline]
    fn next(&mut self) -> Option<Reach<'a>> {
        if let Some((family, hop, nlri)) = self.mp.take().and_then(mp::reach)
            && let Some(shape) = mp::shape(family, &self.ctx)
            && let Some(next_hop) = NextHop::from_octets(hop)
            && !nlri.is_empty()
        {
            let nlri = NlriIter::trusted(nlri, shape, self.ctx.add_path.contains(family));
            return Some(Reach { family, next_hop, nlri });
        }
        if self.classic.is_empty() {
            return None;
        }
        let next_hop = self.hop.and_then(NextHop::from_octets).unwrap_or(NextHop::NONE);
        Some(Reach { family: Family::IPV4_UNICAST, next_hop, nlri: classic(&mut self.classic, &self.ctx) })
    }
}

/// The withdrawals of an UPDATE, by family.
#[derive(Clone, Debug)]
pub struct Unreaches<'a> {
    mp: Option<&'a [u8]>,
    classic: &'a [u8],
    ctx: WireContext,
}

impl<'a> Iterator for Unreaches<'a> {
    type Item = Unreach<'a>;

    #[inline]
    fn next(&mut self) -> Option<Unreach<'a>> {
        if let Some((family, nlri)) = self.mp.take().and_then(mp::unreach)
            && let Some(shape) = mp::shape(family, &self.ctx)
            && !nlri.is_empty()
        {
            let nlri = NlriIter::trusted(nlri, shape, self.ctx.add_path.contains(family));
            return Some(Unreach { family, nlri });
        }
        if self.classic.is_empty() {
            return None;
        }
        Some(Unreach { family: Family::IPV4_UNICAST, nlri: classic(&mut self.classic, &self.ctx) })
    }
}

/// Takes a field of the message that holds IPv4 unicast NLRI.
#[inline]
fn classic<'a>(field: &mut &'a [u8], ctx: &WireContext) -> NlriIter<'a> {
    let add_path = ctx.add_path.contains(Family::IPV4_UNICAST);
    NlriIter::trusted(core::mem::take(field), Shape::PrefixV4, add_path)
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
