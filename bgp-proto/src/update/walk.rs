//! The walk over an UPDATE that finds its attributes and its faults (RFC 7606).
//!
//! Every rule is applied where the attribute is met, whatever comes before or after it; what depends on the whole message
//! (a mandatory attribute missing, nothing to withdraw) is decided at the end. The common codes each have an arm of their
//! own, in which flags, place and value checks are known when compiling.

use super::{Update, mp};
use crate::attr::check::{definition_in, is_out_of_place, value_fault};
use crate::attr::{Flags, NextHop, RawAttr, RawAttrs, is_hop_len};
use crate::context::{PeerKind, WireContext};
use crate::error::{Cause, Fault, Remedy, Reset};
use crate::family::{Family, Shape};
use crate::iana::{AttrCode, ErrorCode};
use crate::nlri::NlriIter;
use crate::notification::Notification;
use crate::reader::Cursor;

/// Where faults are told; `()` forgets them.
pub(super) trait Log {
    fn add(&mut self, fault: Fault);
}

impl Log for () {
    #[inline]
    fn add(&mut self, _: Fault) {}
}

/// An attribute as the walk meets it.
#[derive(Clone, Copy)]
struct Met<'a> {
    attr: RawAttr<'a>,
    /// Where it starts in the block.
    at: usize,
    /// All its octets.
    octets: &'a [u8],
}

impl<'a> Update<'a> {
    #[inline(always)]
    pub(super) fn read(body: &'a [u8], ctx: &WireContext, log: &mut impl Log) -> Result<Update<'a>, Reset> {
        let mut cursor = Cursor::new(body);
        let Some(withdrawn) = cursor.u16().and_then(|n| cursor.take(usize::from(n))) else {
            return Err(section_overrun());
        };
        let Some(attrs) = cursor.u16().and_then(|n| cursor.take(usize::from(n))) else {
            return Err(section_overrun());
        };
        let nlri = cursor.rest();
        let mut update = Update { withdrawn, attrs, nlri, ctx: *ctx, places: Places::default(), worst: None };
        update.check_classic()?;
        update.walk(log)?;
        let announces = !update.nlri.is_empty() || update.announces_mp();
        if announces {
            update.check_mandatory(log);
        } else if update.worst == Some(Remedy::Withdraw) {
            update.check_nothing_announced()?;
        }
        Ok(update)
    }

    /// The same walk again, for its faults.
    #[cold]
    pub(super) fn reread(&self, log: &mut FaultLog) {
        let mut again = Update { places: Places::default(), worst: None, ..self.clone() };
        let walked = again.walk(log);
        debug_assert!(walked.is_ok(), "the first walk found no reason to reset");
        if !again.nlri.is_empty() || again.announces_mp() {
            again.check_mandatory(log);
        }
    }

    /// RFC 7606 section 5.3: NLRI that cannot be told apart cannot be withdrawn either.
    #[inline]
    fn check_classic(&self) -> Result<(), Reset> {
        if !self.has_classic() {
            return Ok(());
        }
        let add_path = self.ctx.add_path.contains(Family::IPV4_UNICAST);
        let sound = |octets| NlriIter::trusted(octets, Shape::PrefixV4, add_path).is_well_formed();
        if sound(self.withdrawn) && sound(self.nlri) {
            return Ok(());
        }
        Err(malformed_nlri())
    }

    #[inline(always)]
    fn walk(&mut self, log: &mut impl Log) -> Result<(), Reset> {
        let mut unrecognised = CodeSet::default();
        let mut attrs = RawAttrs::new(self.attrs);
        loop {
            let start = attrs.rest();
            let Some(attr) = attrs.next() else { break };
            let octets = start.get(..start.len() - attrs.rest().len()).unwrap_or(&[]);
            let met = Met { attr, at: self.attrs.len() - start.len(), octets };
            match attr.code.0 {
                1 => self.known::<1>(met, log)?,
                2 => self.known::<2>(met, log)?,
                3 => self.known::<3>(met, log)?,
                4 => self.known::<4>(met, log)?,
                5 => self.known::<5>(met, log)?,
                6 => self.known::<6>(met, log)?,
                7 => self.known::<7>(met, log)?,
                8 => self.known::<8>(met, log)?,
                9 => self.known::<9>(met, log)?,
                10 => self.known::<10>(met, log)?,
                14 => self.known::<14>(met, log)?,
                15 => self.known::<15>(met, log)?,
                16 => self.known::<16>(met, log)?,
                32 => self.known::<32>(met, log)?,
                _ => self.rare(met, &mut unrecognised, log)?,
            }
        }
        match attrs.rest() {
            [] => Ok(()),
            rest => self.overrun(rest, log),
        }
    }

    /// An attribute of a code that is always recognised. The code is a constant so that the checks fold.
    #[inline(always)]
    fn known<const CODE: u8>(&mut self, met: Met<'a>, log: &mut impl Log) -> Result<(), Reset> {
        self.recognised(AttrCode(CODE), met, log)
    }

    #[inline(always)]
    fn recognised(&mut self, code: AttrCode, met: Met<'a>, log: &mut impl Log) -> Result<(), Reset> {
        if self.places.is_seen(code) {
            return self.second_copy(code, log);
        }
        self.places.drop(code);
        if is_out_of_place(code, &self.ctx) {
            self.fault(Cause::OutOfPlace, code, Remedy::Discard, log);
            return Ok(());
        }
        if definition_in(code, &self.ctx) != Some(met.attr.flags.class()) {
            self.fault(Cause::AttributeFlags, code, Remedy::Withdraw, log);
        }
        match code {
            AttrCode::MP_REACH_NLRI => self.mp_reach(met, log)?,
            AttrCode::MP_UNREACH_NLRI => self.mp_unreach(met)?,
            _ => {
                if let Some((cause, remedy)) = value_fault(code, met.attr.value, &self.ctx) {
                    self.fault(cause, code, remedy, log);
                    return Ok(());
                }
            }
        }
        self.places.keep(code, met.at);
        Ok(())
    }

    /// Codes that are uncommon, not recognised on this session, or not recognised at all.
    #[cold]
    fn rare(&mut self, met: Met<'a>, unrecognised: &mut CodeSet, log: &mut impl Log) -> Result<(), Reset> {
        let code = met.attr.code;
        if definition_in(code, &self.ctx).is_some() {
            return self.recognised(code, met, log);
        }
        if !unrecognised.insert(code) {
            return self.second_copy(code, log);
        }
        // RFC 4271 section 5: passed on if transitive, dropped if not, an error if it claims to be well-known.
        if met.attr.flags.contains(Flags::OPTIONAL) {
            return Ok(());
        }
        Err(reset(Cause::UnrecognisedWellKnown, code, ErrorCode::UPDATE_UNRECOGNIZED, met.octets))
    }

    #[inline]
    fn fault(&mut self, cause: Cause, code: AttrCode, remedy: Remedy, log: &mut impl Log) {
        self.worst = self.worst.max(Some(remedy));
        log.add(Fault::new(cause, code, remedy));
    }

    /// RFC 7606 section 3 (g).
    #[cold]
    fn second_copy(&mut self, code: AttrCode, log: &mut impl Log) -> Result<(), Reset> {
        if carries_nlri(code) {
            return Err(reset(Cause::Duplicate, code, ErrorCode::UPDATE_ATTRIBUTE_LIST, &[]));
        }
        self.fault(Cause::Duplicate, code, Remedy::Discard, log);
        Ok(())
    }

    /// RFC 7606 section 4: the rest of the attributes cannot be read, but the NLRI field can. If what overruns is an
    /// attribute that carries NLRI, those are lost and only a reset keeps both sides agreed.
    #[cold]
    fn overrun(&mut self, rest: &[u8], log: &mut impl Log) -> Result<(), Reset> {
        let code = rest.get(1).map_or(AttrCode::RESERVED, |code| AttrCode(*code));
        if carries_nlri(code) && !self.places.is_seen(code) {
            return Err(reset(Cause::AttributeOverrun, code, ErrorCode::UPDATE_ATTRIBUTE_LIST, &[]));
        }
        let cause = if rest.len() < 3 { Cause::TrailingOctets } else { Cause::AttributeOverrun };
        self.fault(cause, code, Remedy::Withdraw, log);
        Ok(())
    }

    /// RFC 4760 section 3, RFC 7606 sections 5.3 and 7.11.
    #[inline]
    fn mp_reach(&mut self, met: Met<'a>, log: &mut impl Log) -> Result<(), Reset> {
        let Some((family, hop, nlri)) = mp::reach(met.attr.value) else {
            return short_mp_reach(&met, &self.ctx);
        };
        let Some(shape) = mp::shape(family, &self.ctx) else { return Ok(()) };
        if !is_hop_len(family, hop.len(), &self.ctx) {
            return Err(malformed_mp(Cause::NextHopLength, &met));
        }
        if !NlriIter::trusted(nlri, shape, self.ctx.add_path.contains(family)).is_well_formed() {
            return Err(malformed_mp(Cause::Nlri, &met));
        }
        if NextHop::from_octets(hop).is_some_and(|hop| !hop.is_host()) {
            self.fault(Cause::NextHop, AttrCode::MP_REACH_NLRI, Remedy::Withdraw, log);
        }
        Ok(())
    }

    /// RFC 4760 section 4, RFC 7606 section 5.3.
    #[inline]
    fn mp_unreach(&self, met: Met<'a>) -> Result<(), Reset> {
        let Some((family, nlri)) = mp::unreach(met.attr.value) else {
            return Err(malformed_mp(Cause::AttributeLength, &met));
        };
        let Some(shape) = mp::shape(family, &self.ctx) else { return Ok(()) };
        if NlriIter::trusted(nlri, shape, self.ctx.add_path.contains(family)).is_well_formed() {
            return Ok(());
        }
        Err(malformed_mp(Cause::Nlri, &met))
    }

    #[inline]
    fn announces_mp(&self) -> bool {
        let reach = self.value(AttrCode::MP_REACH_NLRI).and_then(mp::reach);
        reach.is_some_and(|(_, _, nlri)| !nlri.is_empty())
    }

    /// RFC 7606 section 3 (d). An attribute that is there but malformed has its own fault already.
    #[inline]
    fn check_mandatory(&mut self, log: &mut impl Log) {
        let seen = |code| self.places.is_seen(code);
        let complete = seen(AttrCode::ORIGIN)
            && seen(AttrCode::AS_PATH)
            && (self.nlri.is_empty() || seen(AttrCode::NEXT_HOP))
            && (self.ctx.peer != PeerKind::Internal || seen(AttrCode::LOCAL_PREF));
        if !complete {
            self.missing(log);
        }
    }

    #[cold]
    fn missing(&mut self, log: &mut impl Log) {
        let needed = [
            (AttrCode::ORIGIN, true),
            (AttrCode::AS_PATH, true),
            (AttrCode::NEXT_HOP, !self.nlri.is_empty()),
            (AttrCode::LOCAL_PREF, self.ctx.peer == PeerKind::Internal),
        ];
        for (code, needed) in needed {
            if needed && !self.places.is_seen(code) {
                self.fault(Cause::Missing, code, Remedy::Withdraw, log);
            }
        }
    }

    /// RFC 7606 section 5.2: without reachable NLRI there is nothing to take as withdrawn, and we may have lost some.
    #[cold]
    fn check_nothing_announced(&self) -> Result<(), Reset> {
        let mut attrs = self.raw_attrs();
        let only_unreach = attrs.by_ref().all(|attr| attr.code == AttrCode::MP_UNREACH_NLRI);
        if only_unreach && attrs.rest().is_empty() {
            return Ok(());
        }
        let fault = self.faults().find(|fault| fault.remedy == Remedy::Withdraw);
        let fault = fault.unwrap_or(Fault::new(Cause::AttributeValue, AttrCode::RESERVED, Remedy::Withdraw));
        let answer = Notification::new(ErrorCode::UPDATE_ATTRIBUTE_LIST);
        Err(Reset { fault: Fault { remedy: Remedy::Reset, ..fault }, answer: Some(answer) })
    }
}

const fn carries_nlri(code: AttrCode) -> bool {
    matches!(code, AttrCode::MP_REACH_NLRI | AttrCode::MP_UNREACH_NLRI)
}

/// An MP_REACH_NLRI too short for its parts. If its family can be read and is not ours, nobody misses its routes.
#[cold]
fn short_mp_reach(met: &Met<'_>, ctx: &WireContext) -> Result<(), Reset> {
    match mp::family(met.attr.value) {
        Some((family, [_hop_len, ..])) if mp::shape(family, ctx).is_none() => Ok(()),
        Some((_, [_hop_len, ..])) => Err(malformed_mp(Cause::NextHopLength, met)),
        _ => Err(malformed_mp(Cause::AttributeLength, met)),
    }
}

#[cold]
fn malformed_mp(cause: Cause, met: &Met<'_>) -> Reset {
    reset(cause, met.attr.code, ErrorCode::UPDATE_OPTIONAL, met.octets)
}

#[cold]
fn malformed_nlri() -> Reset {
    Reset::new(Cause::Nlri, Notification::new(ErrorCode::UPDATE_NETWORK))
}

#[cold]
fn section_overrun() -> Reset {
    Reset::new(Cause::SectionOverrun, Notification::new(ErrorCode::UPDATE_ATTRIBUTE_LIST))
}

/// A reset because of an attribute, whose octets go into the NOTIFICATION as far as they fit.
#[cold]
fn reset(cause: Cause, code: AttrCode, error: ErrorCode, octets: &[u8]) -> Reset {
    let octets = octets.get(..octets.len().min(4096 - 21)).unwrap_or(&[]);
    let answer = Some(Notification::with_data(error, octets));
    Reset { fault: Fault::new(cause, code, Remedy::Reset), answer }
}

/// Where the recognised attributes lie within the block.
#[derive(Clone, Copy)]
pub(super) struct Places([u16; 26]);

impl Default for Places {
    #[inline]
    fn default() -> Self {
        Places([Places::ABSENT; 26])
    }
}

impl Places {
    const ABSENT: u16 = 0xFFFF;
    /// Seen, but not to be read. No attribute can start there: it would end beyond the longest message.
    const DROPPED: u16 = 0xFFFE;

    #[inline]
    const fn index(code: AttrCode) -> usize {
        match code {
            AttrCode(1..=18) => code.0 as usize,
            AttrCode::LARGE_COMMUNITIES => 19,
            AttrCode::IPV6_EXT_COMMUNITIES => 20,
            AttrCode::AIGP => 21,
            AttrCode::LINK_STATE => 22,
            AttrCode::BGPSEC_PATH => 23,
            AttrCode::ONLY_TO_CUSTOMER => 24,
            AttrCode::PREFIX_SID => 25,
            _ => 0,
        }
    }

    #[inline]
    pub(super) fn get(&self, code: AttrCode) -> Option<usize> {
        match self.0[Self::index(code)] {
            Places::ABSENT | Places::DROPPED => None,
            at => Some(usize::from(at)),
        }
    }

    #[inline]
    fn is_seen(&self, code: AttrCode) -> bool {
        self.0[Self::index(code)] != Places::ABSENT
    }

    #[inline]
    fn drop(&mut self, code: AttrCode) {
        self.0[Self::index(code)] = Places::DROPPED;
    }

    #[inline]
    fn keep(&mut self, code: AttrCode, at: usize) {
        self.0[Self::index(code)] = at as u16;
    }
}

/// A set of attribute codes.
#[derive(Clone, Copy, Default)]
pub(super) struct CodeSet([u64; 4]);

impl CodeSet {
    /// Adds a code; `false` if it was there.
    #[inline]
    pub(super) fn insert(&mut self, code: AttrCode) -> bool {
        let (word, bit) = (usize::from(code.0 >> 6), 1 << (code.0 & 63));
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }
}

/// The first faults of a message.
#[derive(Clone, Copy, Default)]
pub(super) struct FaultLog {
    faults: [Option<Fault>; 16],
    len: usize,
}

impl Log for FaultLog {
    fn add(&mut self, fault: Fault) {
        if let Some(place) = self.faults.get_mut(self.len) {
            *place = Some(fault);
            self.len += 1;
        }
    }
}

impl FaultLog {
    pub(super) fn into_iter(self) -> impl Iterator<Item = Fault> + use<> {
        self.faults.into_iter().flatten()
    }
}
