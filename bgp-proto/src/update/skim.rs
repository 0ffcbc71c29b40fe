//! The NLRI of an UPDATE and nothing else.
//!
//! A counter or a monitor that asks only which prefixes a message names need not pay for judging its attributes. [`Skim`]
//! steps over them; NLRI are read as they come, and reading ends where they are damaged. What may become of the routes
//! nobody can say from this, so it is not for a speaker: that takes [`Update`](super::Update).

use super::mp;
use super::walk::Sections;
use crate::attr::RawAttrs;
use crate::context::WireContext;
use crate::family::{Family, Shape};
use crate::iana::AttrCode;
use crate::nlri::NlriIter;

/// The NLRI of an UPDATE whose attributes nobody judged.
///
/// ```
/// use bgp_proto::{PeerKind, Skim, WireContext};
///
/// let body = [0, 4, 24, 10, 0, 1, 0, 0, 24, 10, 0, 2];
/// let skim = Skim::new(&body, &WireContext::modern(PeerKind::External)).unwrap();
/// let (_family, nlri) = skim.reach().next().unwrap();
/// assert_eq!(nlri.prefixes().next().unwrap().1.to_string(), "10.0.2.0/24");
/// ```
#[derive(Clone, Debug)]
pub struct Skim<'a> {
    classic: Option<(&'a [u8], &'a [u8])>,
    mp_reach: Option<(Family, NlriIter<'a>)>,
    mp_unreach: Option<(Family, NlriIter<'a>)>,
    add_path: bool,
}

impl<'a> Skim<'a> {
    /// Reads the body of a message, what follows the header. `None` if its fields or attributes run past their container.
    #[inline(always)]
    pub fn new(body: &'a [u8], ctx: &WireContext) -> Option<Skim<'a>> {
        let Sections { withdrawn, attrs, nlri } = Sections::of(body).ok()?;
        let classic = ctx.families.contains(Family::IPV4_UNICAST);
        let mut skim = Skim {
            classic: classic.then_some((withdrawn, nlri)),
            mp_reach: None,
            mp_unreach: None,
            add_path: ctx.add_path.contains(Family::IPV4_UNICAST),
        };
        let mut attrs = RawAttrs::new(attrs);
        for attr in attrs.by_ref() {
            match attr.code {
                AttrCode::MP_REACH_NLRI => match mp::reach(attr.value) {
                    Some((family, _, nlri)) => skim.mp_reach = of_family(family, nlri, ctx),
                    // Of a family that was not negotiated nobody reads more than the family.
                    None if matches!(mp::judge_reach(attr.value, ctx), mp::MpVerdict::Unread) => {}
                    None => return None,
                },
                AttrCode::MP_UNREACH_NLRI => {
                    let (family, nlri) = mp::unreach(attr.value)?;
                    skim.mp_unreach = of_family(family, nlri, ctx);
                }
                _ => {}
            }
        }
        attrs.rest().is_empty().then_some(skim)
    }

    /// What is announced, by family.
    #[inline(always)]
    pub fn reach(&self) -> impl Iterator<Item = (Family, NlriIter<'a>)> + use<'a> {
        self.mp_reach.clone().into_iter().chain(self.classic(self.classic.map(|(_, nlri)| nlri)))
    }

    /// What is withdrawn, by family.
    #[inline(always)]
    pub fn unreach(&self) -> impl Iterator<Item = (Family, NlriIter<'a>)> + use<'a> {
        self.mp_unreach.clone().into_iter().chain(self.classic(self.classic.map(|(withdrawn, _)| withdrawn)))
    }

    #[inline(always)]
    fn classic(&self, nlri: Option<&'a [u8]>) -> Option<(Family, NlriIter<'a>)> {
        let nlri = nlri.filter(|nlri| !nlri.is_empty())?;
        Some((Family::IPV4_UNICAST, NlriIter::trusted(nlri, Shape::PrefixV4, self.add_path)))
    }
}

#[inline(always)]
fn of_family<'a>(family: Family, nlri: &'a [u8], ctx: &WireContext) -> Option<(Family, NlriIter<'a>)> {
    let shape = mp::shape(family, ctx)?;
    Some((family, NlriIter::trusted(nlri, shape, ctx.add_path.contains(family))))
}
