//! UPDATE: routes announced and withdrawn (RFC 4271 section 4.3), judged by RFC 7606.
//!
//! [`Update::decode`] walks the message once. It notes where each known attribute lies, checks flags and values, and
//! collects what is wrong; nothing is copied and nothing allocated. If the session must be reset it says so with the exact
//! NOTIFICATION, otherwise the [`Update`] it returns can be read freely: its readers cannot fail.
//!
//! What the receiver of an update does: take [`Update::unreach`] as withdrawals; look at [`Update::verdict`], and if it is
//! [`Verdict::Withdrawn`] take [`Update::reach`] as withdrawals too, else as announcements with the attributes of
//! [`Update::attr_set`]. An NLRI in both is announced, since reach is handled last (RFC 4271 section 4.3).

use crate::attr::check::{definition_in, is_out_of_place, value_fault};
use crate::attr::merge::{As4, Sorted, canonical_flags, merged_aggregator, merged_path};
use crate::attr::{AsPath, AttrSet, Flags, NextHop, RawAttr, RawAttrs, is_hop_len};
use crate::context::{AsnWidth, PeerKind, WireContext};
use crate::error::{Cause, Fault, Remedy, Reset};
use crate::family::{Afi, Family, Safi, Shape};
use crate::iana::{AttrCode, ErrorCode};
use crate::nlri::NlriIter;
use crate::notification::Notification;
use crate::reader::Cursor;
use core::fmt;

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
    ctx: WireContext,
    withdrawn: &'a [u8],
    attrs: &'a [u8],
    nlri: &'a [u8],
    mp_reach: Option<MpReach<'a>>,
    mp_unreach: Option<MpUnreach<'a>>,
    places: Places,
    kept: CodeSet,
    faults: FaultLog,
}

#[derive(Clone, Copy)]
struct MpReach<'a> {
    family: Family,
    /// `None` if the family was not negotiated; its NLRI are not looked at.
    shape: Option<Shape>,
    hop: &'a [u8],
    nlri: &'a [u8],
}

#[derive(Clone, Copy)]
struct MpUnreach<'a> {
    family: Family,
    shape: Option<Shape>,
    nlri: &'a [u8],
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
        let mut cursor = Cursor::new(body);
        let Some(withdrawn) = cursor.u16().and_then(|n| cursor.take(usize::from(n))) else {
            return Err(section_overrun());
        };
        let Some(attrs) = cursor.u16().and_then(|n| cursor.take(usize::from(n))) else {
            return Err(section_overrun());
        };
        let mut update = Update {
            ctx: *ctx,
            withdrawn,
            attrs,
            nlri: cursor.rest(),
            mp_reach: None,
            mp_unreach: None,
            places: Places::default(),
            kept: CodeSet::default(),
            faults: FaultLog::default(),
        };
        update.check_classic()?;
        update.walk()?;
        update.check_mandatory();
        update.check_reachable()?;
        Ok(update)
    }

    /// RFC 7606 section 5.3: NLRI that cannot be told apart cannot be withdrawn either.
    #[inline]
    fn check_classic(&mut self) -> Result<(), Reset> {
        if !self.ctx.families.contains(Family::IPV4_UNICAST) {
            return Ok(());
        }
        let sound = |octets| self.classic(octets).is_well_formed();
        if (self.withdrawn.is_empty() || sound(self.withdrawn)) && (self.nlri.is_empty() || sound(self.nlri))
        {
            return Ok(());
        }
        Err(Reset::new(Cause::Nlri, Notification::new(ErrorCode::UPDATE_NETWORK)))
    }

    #[inline]
    fn classic(&self, octets: &'a [u8]) -> NlriIter<'a> {
        NlriIter::trusted(octets, Shape::PrefixV4, self.ctx.add_path.contains(Family::IPV4_UNICAST))
    }

    #[inline]
    fn walk(&mut self) -> Result<(), Reset> {
        let mut seen = CodeSet::default();
        let mut attrs = RawAttrs::new(self.attrs);
        loop {
            let start = attrs.rest();
            let Some(attr) = attrs.next() else { break };
            if !seen.insert(attr.code) {
                self.second_copy(attr.code)?;
                continue;
            }
            let octets = start.get(..start.len() - attrs.rest().len()).unwrap_or(&[]);
            self.attribute(attr, octets, self.attrs.len() - attrs.rest().len())?;
        }
        match attrs.rest() {
            [] => Ok(()),
            rest => self.overrun(rest, &seen),
        }
    }

    /// RFC 7606 section 3 (g).
    #[cold]
    fn second_copy(&mut self, code: AttrCode) -> Result<(), Reset> {
        if code == AttrCode::MP_REACH_NLRI || code == AttrCode::MP_UNREACH_NLRI {
            return Err(reset(Cause::Duplicate, code, ErrorCode::UPDATE_ATTRIBUTE_LIST, &[]));
        }
        self.faults.add(Fault::new(Cause::Duplicate, code, Remedy::Discard));
        Ok(())
    }

    /// RFC 7606 section 4: the rest of the attributes cannot be read, but the NLRI field can. If what overruns is an
    /// attribute that carries NLRI, those are lost and only a reset keeps both sides agreed.
    #[cold]
    fn overrun(&mut self, rest: &[u8], seen: &CodeSet) -> Result<(), Reset> {
        let [_, code, ..] = rest else {
            self.faults.add(Fault::new(Cause::TrailingOctets, AttrCode::RESERVED, Remedy::Withdraw));
            return Ok(());
        };
        let code = AttrCode(*code);
        let carries_nlri = code == AttrCode::MP_REACH_NLRI || code == AttrCode::MP_UNREACH_NLRI;
        if carries_nlri && !seen.contains(code) {
            return Err(reset(Cause::AttributeOverrun, code, ErrorCode::UPDATE_ATTRIBUTE_LIST, &[]));
        }
        let cause = if rest.len() < 3 { Cause::TrailingOctets } else { Cause::AttributeOverrun };
        self.faults.add(Fault::new(cause, code, Remedy::Withdraw));
        Ok(())
    }

    /// `octets` are the whole attribute, `end` is where it ends in the block.
    #[inline]
    fn attribute(&mut self, attr: RawAttr<'a>, octets: &'a [u8], end: usize) -> Result<(), Reset> {
        let code = attr.code;
        if is_out_of_place(code, &self.ctx) {
            self.faults.add(Fault::new(Cause::OutOfPlace, code, Remedy::Discard));
            return Ok(());
        }
        let Some(class) = definition_in(code, &self.ctx) else {
            return self.unrecognised(attr, octets);
        };
        if class != attr.flags.class() {
            self.faults.add(Fault::new(Cause::AttributeFlags, code, Remedy::Withdraw));
        }
        match code {
            AttrCode::MP_REACH_NLRI => return self.mp_reach(attr.value, octets),
            AttrCode::MP_UNREACH_NLRI => return self.mp_unreach(attr.value, octets),
            _ => {}
        }
        match value_fault(code, attr.value, &self.ctx) {
            None => {
                self.kept.insert(code);
                self.places.set(code, end - attr.value.len(), attr.value.len());
            }
            Some((cause, remedy)) => self.faults.add(Fault::new(cause, code, remedy)),
        }
        Ok(())
    }

    /// RFC 4271 section 5: passed on if transitive, dropped if not, an error if it claims to be well-known.
    #[cold]
    fn unrecognised(&mut self, attr: RawAttr<'a>, octets: &[u8]) -> Result<(), Reset> {
        if !attr.flags.contains(Flags::OPTIONAL) {
            let code = attr.code;
            return Err(reset(Cause::UnrecognisedWellKnown, code, ErrorCode::UPDATE_UNRECOGNIZED, octets));
        }
        if attr.flags.contains(Flags::TRANSITIVE) {
            self.kept.insert(attr.code);
        }
        Ok(())
    }

    /// RFC 4760 section 3, RFC 7606 sections 5.3 and 7.11.
    #[inline]
    fn mp_reach(&mut self, value: &'a [u8], octets: &[u8]) -> Result<(), Reset> {
        const CODE: AttrCode = AttrCode::MP_REACH_NLRI;
        let malformed = |cause| reset(cause, CODE, ErrorCode::UPDATE_OPTIONAL, octets);
        let [afi_high, afi_low, safi, hop_len, rest @ ..] = value else {
            return Err(malformed(Cause::AttributeLength));
        };
        let family = Family::new(Afi(u16::from_be_bytes([*afi_high, *afi_low])), Safi(*safi));
        let shape = if self.ctx.families.contains(family) { family.shape() } else { None };
        let Some((hop, [_reserved, nlri @ ..])) = rest.split_at_checked(usize::from(*hop_len)) else {
            return match shape {
                Some(_) => Err(malformed(Cause::NextHopLength)),
                None => Ok(()),
            };
        };
        if let Some(shape) = shape {
            if !is_hop_len(family, hop.len(), &self.ctx) {
                return Err(malformed(Cause::NextHopLength));
            }
            if !NlriIter::trusted(nlri, shape, self.ctx.add_path.contains(family)).is_well_formed() {
                return Err(malformed(Cause::Nlri));
            }
            if NextHop::from_octets(hop).is_some_and(|hop| !hop.is_host()) {
                self.faults.add(Fault::new(Cause::NextHop, CODE, Remedy::Withdraw));
            }
        }
        self.mp_reach = Some(MpReach { family, shape, hop, nlri });
        Ok(())
    }

    /// RFC 4760 section 4, RFC 7606 section 5.3.
    #[inline]
    fn mp_unreach(&mut self, value: &'a [u8], octets: &[u8]) -> Result<(), Reset> {
        const CODE: AttrCode = AttrCode::MP_UNREACH_NLRI;
        let malformed = |cause| reset(cause, CODE, ErrorCode::UPDATE_OPTIONAL, octets);
        let [afi_high, afi_low, safi, nlri @ ..] = value else {
            return Err(malformed(Cause::AttributeLength));
        };
        let family = Family::new(Afi(u16::from_be_bytes([*afi_high, *afi_low])), Safi(*safi));
        let shape = if self.ctx.families.contains(family) { family.shape() } else { None };
        if let Some(shape) = shape
            && !NlriIter::trusted(nlri, shape, self.ctx.add_path.contains(family)).is_well_formed()
        {
            return Err(malformed(Cause::Nlri));
        }
        self.mp_unreach = Some(MpUnreach { family, shape, nlri });
        Ok(())
    }

    /// RFC 7606 section 3 (d): mandatory attributes, if anything is announced. One that is there but malformed has its
    /// own fault already.
    #[inline]
    fn check_mandatory(&mut self) {
        let classic = !self.nlri.is_empty();
        if !classic && !self.announces_mp() || self.faults.worst == Some(Remedy::Withdraw) {
            return;
        }
        let internal = self.ctx.peer == PeerKind::Internal;
        let needed = [
            (AttrCode::ORIGIN, true),
            (AttrCode::AS_PATH, true),
            (AttrCode::NEXT_HOP, classic),
            (AttrCode::LOCAL_PREF, internal),
        ];
        for (code, needed) in needed {
            if needed && !self.kept.contains(code) {
                self.faults.add(Fault::new(Cause::Missing, code, Remedy::Withdraw));
            }
        }
    }

    #[inline]
    fn announces_mp(&self) -> bool {
        self.mp_reach.is_some_and(|reach| !reach.nlri.is_empty())
    }

    /// RFC 7606 section 5.2: without reachable NLRI there is nothing to take as withdrawn, and we may have lost some.
    #[inline]
    fn check_reachable(&self) -> Result<(), Reset> {
        if self.faults.worst != Some(Remedy::Withdraw) || !self.nlri.is_empty() || self.announces_mp() {
            return Ok(());
        }
        let Some(fault) = self.faults.iter().find(|fault| fault.remedy == Remedy::Withdraw) else {
            return Ok(());
        };
        if fault.attribute == AttrCode::MP_UNREACH_NLRI && RawAttrs::new(self.attrs).count() == 1 {
            return Ok(());
        }
        Err(Reset {
            fault: Fault { remedy: Remedy::Reset, ..fault },
            answer: Some(Notification::new(ErrorCode::UPDATE_ATTRIBUTE_LIST)),
        })
    }

    /// What is to be done with the announced routes.
    #[inline]
    pub fn verdict(&self) -> Verdict {
        match self.faults.worst {
            None => Verdict::Sound,
            Some(Remedy::Discard) => Verdict::Trimmed,
            Some(Remedy::Withdraw | Remedy::Reset) => Verdict::Withdrawn,
        }
    }

    /// What is wrong, in the order found; at most the first sixteen.
    pub fn faults(&self) -> impl Iterator<Item = Fault> + '_ {
        self.faults.iter()
    }

    /// Announced routes: those of MP_REACH_NLRI, then those of the NLRI field. Families that were not negotiated and
    /// empty ones are left out.
    #[inline]
    pub fn reach(&self) -> impl Iterator<Item = Reach<'a>> + use<'a> {
        let mp = self.mp_reach.and_then(|reach| {
            let nlri = NlriIter::trusted(reach.nlri, reach.shape?, self.ctx.add_path.contains(reach.family));
            let next_hop = NextHop::from_octets(reach.hop)?;
            (!reach.nlri.is_empty()).then_some(Reach { family: reach.family, next_hop, nlri })
        });
        let negotiated = self.ctx.families.contains(Family::IPV4_UNICAST);
        let classic = (negotiated && !self.nlri.is_empty()).then(|| {
            let hop = self.value(AttrCode::NEXT_HOP).and_then(NextHop::from_octets);
            let next_hop = hop.unwrap_or(NextHop::NONE);
            Reach { family: Family::IPV4_UNICAST, next_hop, nlri: self.classic(self.nlri) }
        });
        mp.into_iter().chain(classic)
    }

    /// Withdrawals: those of MP_UNREACH_NLRI, then those of the withdrawn routes field. Families that were not
    /// negotiated and empty ones are left out.
    #[inline]
    pub fn unreach(&self) -> impl Iterator<Item = Unreach<'a>> + use<'a> {
        let mp = self.mp_unreach.and_then(|unreach| {
            let nlri =
                NlriIter::trusted(unreach.nlri, unreach.shape?, self.ctx.add_path.contains(unreach.family));
            (!unreach.nlri.is_empty()).then_some(Unreach { family: unreach.family, nlri })
        });
        let negotiated = self.ctx.families.contains(Family::IPV4_UNICAST);
        let classic = (negotiated && !self.withdrawn.is_empty())
            .then(|| Unreach { family: Family::IPV4_UNICAST, nlri: self.classic(self.withdrawn) });
        mp.into_iter().chain(classic)
    }

    /// The family whose initial routes are now complete, if this is an End-of-RIB (RFC 4724 section 2).
    #[inline]
    pub fn end_of_rib(&self) -> Option<Family> {
        if !self.withdrawn.is_empty() || !self.nlri.is_empty() {
            return None;
        }
        match self.mp_unreach {
            None => self.attrs.is_empty().then_some(Family::IPV4_UNICAST),
            Some(unreach) => {
                let alone = RawAttrs::new(self.attrs).count() == 1;
                (alone && unreach.nlri.is_empty()).then_some(unreach.family)
            }
        }
    }

    /// Families of NLRI that were skipped because they were not negotiated.
    pub fn skipped(&self) -> impl Iterator<Item = Family> + use<'a> {
        let reach = self.mp_reach.filter(|reach| reach.shape.is_none()).map(|reach| reach.family);
        let unreach = self.mp_unreach.filter(|unreach| unreach.shape.is_none()).map(|unreach| unreach.family);
        reach.into_iter().chain(unreach)
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
        if !self.kept.contains(code) {
            return None;
        }
        match self.places.get(code) {
            Some((at, len)) => self.attrs.get(at..at + len),
            None => self.raw_attrs().find(|attr| attr.code == code).map(|attr| attr.value),
        }
    }

    #[inline]
    fn asn_width(&self) -> AsnWidth {
        self.ctx.asn_width
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

    fn sorted<'b>(&'b self, path: Option<&'b [u8]>, aggregator: Option<&'b [u8]>) -> Sorted<'b> {
        let mut sorted = Sorted::new();
        let mut left = self.kept;
        for attr in self.raw_attrs() {
            if !left.remove(attr.code) || crate::attr::is_outside_sets(attr.code) {
                continue;
            }
            let mut flags = canonical_flags(attr.flags);
            if definition_in(attr.code, &self.ctx).is_none() {
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

#[cold]
fn section_overrun() -> Reset {
    Reset::new(Cause::SectionOverrun, Notification::new(ErrorCode::UPDATE_ATTRIBUTE_LIST))
}

/// A reset because of an attribute, whose octets go into the NOTIFICATION as far as they fit.
#[cold]
fn reset(cause: Cause, code: AttrCode, error: ErrorCode, octets: &[u8]) -> Reset {
    let octets = octets.get(..octets.len().min(4096 - 21)).unwrap_or(&[]);
    Reset {
        fault: Fault::new(cause, code, Remedy::Reset),
        answer: Some(Notification::with_data(error, octets)),
    }
}

/// A set of attribute codes.
#[derive(Clone, Copy, Default)]
struct CodeSet([u64; 4]);

impl CodeSet {
    #[inline]
    fn insert(&mut self, code: AttrCode) -> bool {
        let (word, bit) = Self::place(code);
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    #[inline]
    fn remove(&mut self, code: AttrCode) -> bool {
        let (word, bit) = Self::place(code);
        let old = self.0[word] & bit != 0;
        self.0[word] &= !bit;
        old
    }

    #[inline]
    fn contains(&self, code: AttrCode) -> bool {
        let (word, bit) = Self::place(code);
        self.0[word] & bit != 0
    }

    #[inline]
    const fn place(code: AttrCode) -> (usize, u64) {
        ((code.0 >> 6) as usize, 1 << (code.0 & 63))
    }
}

/// Where the values of the common attributes lie within the block, by code.
#[derive(Clone, Copy, Default)]
struct Places([(u16, u16); 20]);

impl Places {
    /// Codes 1 to 18 at their number, large communities at 19; others are searched for.
    #[inline]
    const fn index(code: AttrCode) -> Option<usize> {
        match code {
            AttrCode(1..=18) => Some(code.0 as usize),
            AttrCode::LARGE_COMMUNITIES => Some(19),
            _ => None,
        }
    }

    #[inline]
    fn set(&mut self, code: AttrCode, at: usize, len: usize) {
        if let Some(place) = Self::index(code).and_then(|i| self.0.get_mut(i)) {
            *place = (at as u16, len as u16);
        }
    }

    #[inline]
    fn get(&self, code: AttrCode) -> Option<(usize, usize)> {
        let (at, len) = *self.0.get(Self::index(code)?)?;
        Some((usize::from(at), usize::from(len)))
    }
}

/// The first faults of a message and the worst of all.
#[derive(Clone, Copy, Default)]
struct FaultLog {
    faults: [Option<Fault>; 16],
    len: u8,
    worst: Option<Remedy>,
}

impl FaultLog {
    #[cold]
    fn add(&mut self, fault: Fault) {
        self.worst = self.worst.max(Some(fault.remedy));
        if let Some(place) = self.faults.get_mut(usize::from(self.len)) {
            *place = Some(fault);
            self.len += 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = Fault> + '_ {
        self.faults.iter().flatten().copied()
    }
}
