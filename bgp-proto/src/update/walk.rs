//! The walk over an UPDATE that finds its attributes and its faults (RFC 7606).
//!
//! Every rule is applied where the attribute is met, whatever comes before or after it; what depends on the whole message
//! (a mandatory attribute missing, nothing to withdraw) is decided at the end, and NLRI are checked there too. Sound
//! attributes in the usual order are recognised by a few comparisons; everything else is [`judge`]d out of line.

use super::mp::{self, MpVerdict};
use crate::attr::check::{definition_in, is_out_of_place, value_fault};
use crate::attr::{Flags, Origin, RawAttrs};
use crate::context::{PeerKind, WireContext};
use crate::error::{Cause, Fault, Remedy, Reset};
use crate::family::{Family, Shape};
use crate::iana::{AttrCode, ErrorCode};
use crate::nlri::are_well_formed;
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

/// The fields of an UPDATE and what was found in them so far. No function that is out of line gets a reference to it, so that
/// the walk can keep it in registers.
#[derive(Clone, Copy)]
pub(super) struct Draft<'a, 'c> {
    pub(super) sections: Sections<'a>,
    ctx: &'c WireContext,
    pub(super) found: Found<'a>,
    pub(super) worst: Option<Remedy>,
    /// Codes below 64 that were met, whatever became of them.
    seen: u64,
}

impl<'a, 'c> Draft<'a, 'c> {
    /// Applies every rule of RFC 7606.
    #[inline(always)]
    pub(super) fn of(
        sections: Sections<'a>,
        ctx: &'c WireContext,
        log: &mut impl Log,
    ) -> Result<Draft<'a, 'c>, Reset> {
        let mut draft = Draft::new(sections, ctx);
        draft.walk(log)?;
        draft.check_nlri(log)?;
        if draft.announces() {
            draft.check_mandatory(log);
        } else if draft.worst == Some(Remedy::Withdraw) {
            let Sections { withdrawn, attrs, nlri } = sections;
            check_nothing_announced(withdrawn, attrs, nlri, ctx)?;
        }
        Ok(draft)
    }

    #[inline(always)]
    fn new(sections: Sections<'a>, ctx: &'c WireContext) -> Draft<'a, 'c> {
        Draft { sections, ctx, found: Found::default(), worst: None, seen: 0 }
    }

    #[inline(always)]
    fn walk(&mut self, log: &mut impl Log) -> Result<(), Reset> {
        let Walked { found, seen, worst, .. } = walk(self.sections.attrs, self.ctx, log)?;
        (self.found, self.seen, self.worst) = (found, seen, worst);
        Ok(())
    }

    /// RFC 7606 section 5.3: NLRI that cannot be told apart cannot be withdrawn either. Done last, so that the processor
    /// can overlap this walk with the reader's own, which starts as soon as we return.
    #[inline(always)]
    fn check_nlri(&mut self, log: &mut impl Log) -> Result<(), Reset> {
        if self.found.has(AttrCode::MP_REACH_NLRI) {
            self.check_mp_reach(log)?;
        }
        if self.found.has(AttrCode::MP_UNREACH_NLRI) {
            self.check_mp_unreach()?;
        }
        if !self.ctx.families.contains(Family::IPV4_UNICAST) {
            return Ok(());
        }
        let add_path = self.ctx.add_path.contains(Family::IPV4_UNICAST);
        let sound = |octets| are_well_formed(octets, Shape::PrefixV4, add_path);
        if sound(self.sections.withdrawn) && sound(self.sections.nlri) {
            return Ok(());
        }
        Err(malformed_nlri())
    }

    #[inline(always)]
    fn check_mp_reach(&mut self, log: &mut impl Log) -> Result<(), Reset> {
        const CODE: AttrCode = AttrCode::MP_REACH_NLRI;
        let value = self.found.value(self.sections.attrs, CODE).unwrap_or(&[]);
        match mp::judge_reach(value, self.ctx) {
            MpVerdict::Sound => {}
            MpVerdict::Unread => self.found = self.found.without_mp_reach(),
            MpVerdict::NoHost => {
                self.worst = Some(Remedy::Withdraw);
                log.add(Fault::new(Cause::NextHop, CODE, Remedy::Withdraw));
            }
            MpVerdict::Malformed(cause) => return Err(malformed_mp(self.sections.attrs, cause, CODE)),
        }
        Ok(())
    }

    #[inline(always)]
    fn check_mp_unreach(&self) -> Result<(), Reset> {
        const CODE: AttrCode = AttrCode::MP_UNREACH_NLRI;
        let value = self.found.value(self.sections.attrs, CODE).unwrap_or(&[]);
        match mp::judge_unreach(value, self.ctx) {
            MpVerdict::Malformed(cause) => Err(malformed_mp(self.sections.attrs, cause, CODE)),
            MpVerdict::Sound | MpVerdict::Unread | MpVerdict::NoHost => Ok(()),
        }
    }

    /// Whether anything is announced, of whatever family.
    #[inline(always)]
    fn announces(&self) -> bool {
        if !self.sections.nlri.is_empty() {
            return true;
        }
        let mp = self.found.value(self.sections.attrs, AttrCode::MP_REACH_NLRI).and_then(mp::reach);
        mp.is_some_and(|(_, _, nlri)| !nlri.is_empty())
    }

    /// RFC 7606 section 3 (d). An attribute that is there but malformed has its own fault already.
    #[inline(always)]
    fn check_mandatory(&mut self, log: &mut impl Log) {
        let mut needed = bit(AttrCode::ORIGIN) | bit(AttrCode::AS_PATH);
        if !self.sections.nlri.is_empty() {
            needed |= bit(AttrCode::NEXT_HOP);
        }
        if self.ctx.peer == PeerKind::Internal {
            needed |= bit(AttrCode::LOCAL_PREF);
        }
        if needed & !self.seen != 0 {
            self.worst = Some(Remedy::Withdraw);
            missing(needed & !self.seen, log);
        }
    }
}

/// What the walk over the attributes yields.
#[derive(Clone, Copy)]
struct Walked<'a> {
    found: Found<'a>,
    /// Codes below 64 that were met.
    seen: u64,
    /// Those of them that are not to be read.
    dropped: u64,
    worst: Option<Remedy>,
}

/// Senders write attributes in the order of codes (RFC 4271 section 5), after MP_REACH_NLRI (RFC 7606 section 5.1). So first
/// a run in that order is taken: each code is looked for once, a few comparisons with constants tell a sound attribute,
/// and none can be a second copy. Whatever is left, in whatever order, is judged one by one.
#[inline(always)]
fn walk<'a>(block: &'a [u8], ctx: &WireContext, log: &mut impl Log) -> Result<Walked<'a>, Reset> {
    let mut walked = Walked { found: Found::default(), seen: 0, dropped: 0, worst: None };
    let mut rest = block;
    walked.take::<14>(&mut rest, ctx);
    walked.take_origin(&mut rest);
    walked.take::<2>(&mut rest, ctx);
    walked.take_number::<3>(&mut rest, ctx);
    walked.take_number::<4>(&mut rest, ctx);
    walked.take_number::<5>(&mut rest, ctx);
    if rest.get(1).is_some_and(|code| *code <= 7) {
        walked.take_short::<6>(&mut rest, ctx);
        walked.take_short::<7>(&mut rest, ctx);
    }
    walked.take_short::<8>(&mut rest, ctx);
    walked.take_number::<9>(&mut rest, ctx);
    walked.take_short::<10>(&mut rest, ctx);
    if rest.is_empty() {
        walked.found.kept = walked.seen;
        return Ok(walked);
    }
    if walked.seen & bit(AttrCode::MP_REACH_NLRI) == 0 {
        walked.take::<14>(&mut rest, ctx);
    }
    walked.take::<15>(&mut rest, ctx);
    walked.take_short::<16>(&mut rest, ctx);
    walked.take_short::<17>(&mut rest, ctx);
    walked.take_short::<18>(&mut rest, ctx);
    walked.take_short::<32>(&mut rest, ctx);
    if !rest.is_empty() {
        walked = walked.judge_rest(rest, ctx, log)?;
    }
    walked.found.kept = walked.seen & !walked.dropped;
    Ok(walked)
}

impl<'a> Walked<'a> {
    /// Takes the first attribute of the rest if it has this code and nothing is wrong with it. The code is a constant so that
    /// the checks fold.
    #[inline(always)]
    fn take<const CODE: u8>(&mut self, rest: &mut &'a [u8], ctx: &WireContext) {
        let code = AttrCode(CODE);
        let mut attrs = RawAttrs::new(rest);
        if rest.get(1) != Some(&CODE) {
            return;
        }
        let Some(attr) = attrs.next() else { return };
        let sound = definition_in(code, ctx) == Some(attr.flags.class())
            && value_fault(code, attr.value, ctx).is_none()
            && !is_out_of_place(code, ctx);
        if sound {
            self.seen |= bit(code);
            self.found.note(code, attr.value);
            *rest = attrs.rest();
        }
    }

    /// As [`Walked::take`] for codes that nobody gives an extended length without need.
    #[inline(always)]
    fn take_short<const CODE: u8>(&mut self, rest: &mut &'a [u8], ctx: &WireContext) {
        let code = AttrCode(CODE);
        let [flags, number, len, tail @ ..] = *rest else { return };
        if *number != CODE {
            return;
        }
        let Some((value, tail)) = tail.split_at_checked(usize::from(*len)) else { return };
        let class = definition_in(code, ctx).unwrap_or_default();
        let sound =
            flags & 0xD0 == class.0 && value_fault(code, value, ctx).is_none() && !is_out_of_place(code, ctx);
        if sound {
            self.seen |= bit(code);
            self.found.note(code, value);
            *rest = tail;
        }
    }

    /// As [`Walked::take`] for a value of four octets with a short length, the whole header in one comparison.
    #[inline(always)]
    fn take_number<const CODE: u8>(&mut self, rest: &mut &'a [u8], ctx: &WireContext) {
        let code = AttrCode(CODE);
        let Some((octets, tail)) = rest.split_first_chunk::<7>() else { return };
        let [header @ .., _, _, _] = octets;
        let [_, _, _, value @ ..] = octets;
        let class = definition_in(code, ctx).unwrap_or_default();
        let sound = is_header(u32::from_le_bytes(*header), [class.0, CODE, 4])
            && value_fault(code, value, ctx).is_none()
            && !is_out_of_place(code, ctx);
        if sound {
            self.seen |= bit(code);
            self.found.note_number(code, u32::from_be_bytes(*value));
            *rest = tail;
        }
    }

    /// As [`Walked::take_number`] for ORIGIN.
    #[inline(always)]
    fn take_origin(&mut self, rest: &mut &'a [u8]) {
        const CODE: AttrCode = AttrCode::ORIGIN;
        let Some((octets, tail)) = rest.split_first_chunk::<4>() else { return };
        let word = u32::from_le_bytes(*octets);
        if is_header(word, [Flags::WELL_KNOWN.0, CODE.0, 1])
            && let Some(origin) = Origin::from_octet((word >> 24) as u8)
        {
            self.seen |= bit(CODE);
            self.found.origin = origin;
            *rest = tail;
        }
    }

    /// Judges what the run in order left over. By value: a reference would pin the run's state to memory.
    #[inline(never)]
    fn judge_rest(
        mut self,
        rest: &'a [u8],
        ctx: &WireContext,
        log: &mut impl Log,
    ) -> Result<Walked<'a>, Reset> {
        let mut above = CodeSet::default();
        let mut attrs = RawAttrs::new(rest);
        loop {
            let start = attrs.rest();
            let Some(attr) = attrs.next() else { break };
            let judged = judge(start, self.seen, &mut above, ctx, log)?;
            self.worst = self.worst.max(judged.remedy);
            if judged.keep {
                self.found.note(attr.code, attr.value);
            } else if self.seen & bit(attr.code) == 0 {
                self.dropped |= bit(attr.code);
            }
            self.seen |= bit(attr.code);
        }
        if !attrs.rest().is_empty() {
            self.worst = Some(overrun(attrs.rest(), self.seen, log)?);
        }
        Ok(self)
    }
}

/// Whether the first three of four octets, the first lowest, are these flags, code and length, the meaningless flag bits apart.
/// The fourth makes it one word.
#[inline(always)]
const fn is_header(octets: u32, [flags, code, len]: [u8; 3]) -> bool {
    const MASK: u32 = u32::from_le_bytes([0xF0, 0xFF, 0xFF, 0]);
    octets & MASK == u32::from_le_bytes([flags, code, len, 0])
}

/// The three fields of an UPDATE.
#[derive(Clone, Copy)]
pub(super) struct Sections<'a> {
    pub(super) withdrawn: &'a [u8],
    pub(super) attrs: &'a [u8],
    pub(super) nlri: &'a [u8],
}

impl<'a> Sections<'a> {
    #[inline(always)]
    pub(super) fn of(body: &'a [u8]) -> Result<Sections<'a>, Reset> {
        let mut cursor = Cursor::new(body);
        let Some(withdrawn) = cursor.u16().and_then(|n| cursor.take(usize::from(n))) else {
            return Err(section_overrun());
        };
        let Some(attrs) = cursor.u16().and_then(|n| cursor.take(usize::from(n))) else {
            return Err(section_overrun());
        };
        Ok(Sections { withdrawn, attrs, nlri: cursor.rest() })
    }
}

/// The bit of a code; only codes below 64 are ever recognised.
#[inline(always)]
const fn bit(code: AttrCode) -> u64 {
    if code.0 < 64 { 1 << code.0 } else { 0 }
}

/// The recognised attributes, and the values of the common ones: numbers as numbers, the others as they lie in the block. So a
/// reader of the update loads two words, and checks no bounds a second time.
#[derive(Clone, Copy, Default)]
pub(super) struct Found<'a> {
    kept: u64,
    origin: Origin,
    next_hop: u32,
    med: u32,
    local_pref: u32,
    originator_id: u32,
    as_path: Option<&'a [u8]>,
    communities: Option<&'a [u8]>,
    cluster_list: Option<&'a [u8]>,
    mp_reach: Option<&'a [u8]>,
    mp_unreach: Option<&'a [u8]>,
    ext_communities: Option<&'a [u8]>,
    large_communities: Option<&'a [u8]>,
}

impl<'a> Found<'a> {
    #[inline(always)]
    pub(super) const fn has(&self, code: AttrCode) -> bool {
        self.kept & bit(code) != 0
    }

    /// Notes the value of an attribute, if it is one of the common ones.
    #[inline(always)]
    fn note(&mut self, code: AttrCode, value: &'a [u8]) {
        match code {
            AttrCode::ORIGIN => self.origin = origin(value),
            AttrCode::NEXT_HOP | AttrCode::MED | AttrCode::LOCAL_PREF | AttrCode::ORIGINATOR_ID => {
                self.note_number(code, crate::attr::number(value).unwrap_or(0));
            }
            AttrCode::AS_PATH => self.as_path = Some(value),
            AttrCode::COMMUNITIES => self.communities = Some(value),
            AttrCode::CLUSTER_LIST => self.cluster_list = Some(value),
            AttrCode::MP_REACH_NLRI => self.mp_reach = Some(value),
            AttrCode::MP_UNREACH_NLRI => self.mp_unreach = Some(value),
            AttrCode::EXT_COMMUNITIES => self.ext_communities = Some(value),
            AttrCode::LARGE_COMMUNITIES => self.large_communities = Some(value),
            _ => {}
        }
    }

    #[inline(always)]
    const fn note_number(&mut self, code: AttrCode, number: u32) {
        match code {
            AttrCode::NEXT_HOP => self.next_hop = number,
            AttrCode::MED => self.med = number,
            AttrCode::LOCAL_PREF => self.local_pref = number,
            AttrCode::ORIGINATOR_ID => self.originator_id = number,
            _ => {}
        }
    }

    /// Without MP_REACH_NLRI, which is not to be read.
    #[inline(always)]
    const fn without_mp_reach(self) -> Found<'a> {
        Found { kept: self.kept & !bit(AttrCode::MP_REACH_NLRI), mp_reach: None, ..self }
    }

    #[inline(always)]
    pub(super) const fn origin(&self) -> Origin {
        self.origin
    }

    /// The value of an attribute of the block as a number.
    #[inline(always)]
    pub(super) fn number(&self, block: &'a [u8], code: AttrCode) -> Option<u32> {
        let number = match code {
            AttrCode::NEXT_HOP => self.next_hop,
            AttrCode::MED => self.med,
            AttrCode::LOCAL_PREF => self.local_pref,
            AttrCode::ORIGINATOR_ID => self.originator_id,
            _ => return self.value(block, code).and_then(crate::attr::number),
        };
        self.has(code).then_some(number)
    }

    /// The value of an attribute of the block.
    #[inline(always)]
    pub(super) fn value(&self, block: &'a [u8], code: AttrCode) -> Option<&'a [u8]> {
        match code {
            AttrCode::AS_PATH => self.as_path,
            AttrCode::COMMUNITIES => self.communities,
            AttrCode::CLUSTER_LIST => self.cluster_list,
            AttrCode::MP_REACH_NLRI => self.mp_reach,
            AttrCode::MP_UNREACH_NLRI => self.mp_unreach,
            AttrCode::EXT_COMMUNITIES => self.ext_communities,
            AttrCode::LARGE_COMMUNITIES => self.large_communities,
            _ if self.has(code) => search(block, code),
            _ => None,
        }
    }
}

fn origin(value: &[u8]) -> Origin {
    value.first().and_then(|octet| Origin::from_octet(*octet)).unwrap_or_default()
}

/// The value of an uncommon attribute.
#[inline(never)]
fn search(block: &[u8], code: AttrCode) -> Option<&[u8]> {
    RawAttrs::new(block).find(|attr| attr.code == code).map(|attr| attr.value)
}

/// What is to be done with an attribute that is uncommon or not sound.
struct Judged {
    keep: bool,
    remedy: Option<Remedy>,
}

/// Applies every rule to the first attribute of these octets. NLRI are judged later.
#[inline(never)]
fn judge(
    start: &[u8],
    seen: u64,
    above: &mut CodeSet,
    ctx: &WireContext,
    log: &mut impl Log,
) -> Result<Judged, Reset> {
    let mut judged = Judged { keep: false, remedy: None };
    let mut attrs = RawAttrs::new(start);
    let Some(attr) = attrs.next() else { return Ok(judged) };
    let code = attr.code;
    let mut tell = |cause, remedy| {
        judged.remedy = judged.remedy.max(Some(remedy));
        log.add(Fault::new(cause, code, remedy));
    };
    let first = if code.0 < 64 { seen & bit(code) == 0 } else { above.insert(code) };
    if !first && carries_nlri(code) {
        // RFC 7606 section 3 (g).
        return Err(reset(Cause::Duplicate, code, ErrorCode::UPDATE_ATTRIBUTE_LIST, &[]));
    }
    if !first {
        tell(Cause::Duplicate, Remedy::Discard);
        return Ok(judged);
    }
    if is_out_of_place(code, ctx) {
        tell(Cause::OutOfPlace, Remedy::Discard);
        return Ok(judged);
    }
    let Some(class) = definition_in(code, ctx) else {
        // RFC 4271 section 5: passed on if transitive, dropped if not, an error if it claims to be well-known.
        if attr.flags.contains(Flags::OPTIONAL) {
            return Ok(judged);
        }
        let octets = start.get(..start.len() - attrs.rest().len()).unwrap_or(&[]);
        return Err(reset(Cause::UnrecognisedWellKnown, code, ErrorCode::UPDATE_UNRECOGNIZED, octets));
    };
    if class != attr.flags.class() {
        tell(Cause::AttributeFlags, Remedy::Withdraw);
    }
    match value_fault(code, attr.value, ctx) {
        Some((cause, remedy)) => tell(cause, remedy),
        None => judged.keep = true,
    }
    Ok(judged)
}

/// The data is the attribute, header and all (RFC 4271 section 6.3).
#[cold]
#[inline(never)]
fn malformed_mp(block: &[u8], cause: Cause, code: AttrCode) -> Reset {
    let mut attrs = RawAttrs::new(block);
    let mut start = attrs.rest();
    while attrs.next().is_some_and(|attr| attr.code != code) {
        start = attrs.rest();
    }
    let octets = start.get(..start.len() - attrs.rest().len()).unwrap_or(&[]);
    reset(cause, code, ErrorCode::UPDATE_OPTIONAL, octets)
}

/// RFC 7606 section 5.2: without reachable NLRI there is nothing to take as withdrawn, and we may have lost some.
#[cold]
#[inline(never)]
fn check_nothing_announced(
    withdrawn: &[u8],
    attrs: &[u8],
    nlri: &[u8],
    ctx: &WireContext,
) -> Result<(), Reset> {
    let mut raw = RawAttrs::new(attrs);
    let only_unreach = raw.by_ref().all(|attr| attr.code == AttrCode::MP_UNREACH_NLRI);
    if only_unreach && raw.rest().is_empty() {
        return Ok(());
    }
    // Which fault it was takes the walk again, up to here.
    let mut log = FaultLog::default();
    let mut again = Draft::new(Sections { withdrawn, attrs, nlri }, ctx);
    again.walk(&mut log)?;
    again.check_nlri(&mut log)?;
    let fault = log.into_iter().find(|fault| fault.remedy == Remedy::Withdraw);
    let fault = fault.unwrap_or(Fault::new(Cause::AttributeValue, AttrCode::RESERVED, Remedy::Withdraw));
    let answer = Notification::new(ErrorCode::UPDATE_ATTRIBUTE_LIST);
    Err(Reset { fault: Fault { remedy: Remedy::Reset, ..fault }, answer: Some(answer) })
}

/// RFC 7606 section 4: the rest of the attributes cannot be read, but the NLRI field can. If what overruns is an
/// attribute that carries NLRI, those are lost and only a reset keeps both sides agreed.
#[cold]
#[inline(never)]
fn overrun(rest: &[u8], seen: u64, log: &mut impl Log) -> Result<Remedy, Reset> {
    let code = rest.get(1).map_or(AttrCode::RESERVED, |code| AttrCode(*code));
    if carries_nlri(code) && seen & bit(code) == 0 {
        return Err(reset(Cause::AttributeOverrun, code, ErrorCode::UPDATE_ATTRIBUTE_LIST, &[]));
    }
    let cause = if rest.len() < 3 { Cause::TrailingOctets } else { Cause::AttributeOverrun };
    log.add(Fault::new(cause, code, Remedy::Withdraw));
    Ok(Remedy::Withdraw)
}

#[cold]
#[inline(never)]
fn missing(codes: u64, log: &mut impl Log) {
    for code in (0..64).map(AttrCode).filter(|code| codes & bit(*code) != 0) {
        log.add(Fault::new(Cause::Missing, code, Remedy::Withdraw));
    }
}

const fn carries_nlri(code: AttrCode) -> bool {
    matches!(code, AttrCode::MP_REACH_NLRI | AttrCode::MP_UNREACH_NLRI)
}

#[cold]
#[inline(never)]
fn malformed_nlri() -> Reset {
    Reset::new(Cause::Nlri, Notification::new(ErrorCode::UPDATE_NETWORK))
}

#[cold]
#[inline(never)]
fn section_overrun() -> Reset {
    Reset::new(Cause::SectionOverrun, Notification::new(ErrorCode::UPDATE_ATTRIBUTE_LIST))
}

/// A reset because of an attribute, whose octets go into the NOTIFICATION as far as they fit.
#[cold]
#[inline(never)]
fn reset(cause: Cause, code: AttrCode, error: ErrorCode, octets: &[u8]) -> Reset {
    let octets = octets.get(..octets.len().min(4096 - 21)).unwrap_or(&[]);
    let answer = Some(Notification::with_data(error, octets));
    Reset { fault: Fault::new(cause, code, Remedy::Reset), answer }
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
