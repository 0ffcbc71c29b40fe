//! From a path to what a group is told of it: RFC 4271 section 9.2 and 5.1, RFC 4456 section 8, RFC 1997.
//!
//! Pure and per group, never per peer. The one rule that depends on the peer, that a route is not sent back to
//! its source, is the log's.

use bgp_proto::attr::Community;
use bgp_proto::{Asn, AttrCode, AttrSet, ClusterId, Family, NextHop, Nlri, RouterId};

use super::{GroupKey, LongLivedRule, NextHopRule, PolicyChoice};
use crate::events::FarEnd;
use crate::ids::{EntryId, PeerId};
use crate::policy::leak::{self, Leak};
use crate::policy::{Facts, Marks, Stage, Subject, Verdict};
use crate::reflection::{self, LearnedFrom, Passage, PeerKind};
use crate::rib::AttrId;
use crate::rib::merits::LOCAL_PREF_DEFAULT;

/// This speaker, as far as what it tells depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    /// Its AS number.
    pub asn: Asn,
    /// Its BGP Identifier.
    pub router_id: RouterId,
    /// Its cluster; its BGP Identifier unless given (RFC 4456 section 7).
    pub cluster_id: ClusterId,
}

/// A path on its way out.
#[derive(Debug, Clone)]
pub struct Export<'a> {
    /// The destination.
    pub nlri: Nlri,
    /// The path's attributes.
    pub attrs: &'a AttrSet,
    /// The entry of who announced it.
    pub source: EntryId,
    /// What its announcer is.
    pub learned: LearnedFrom,
    /// Its announcer's BGP Identifier.
    pub sender: RouterId,
    /// What is known of it beside its attributes.
    pub facts: Facts,
}

/// What becomes of a path on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The group is told this.
    Told(AttrSet),
    /// The group is told what was heard, with reflection's marks and nothing else changed.
    Reflected {
        /// Who said it first: its ORIGINATOR_ID, or whom it was heard from.
        originator: RouterId,
        /// This speaker's cluster.
        cluster: ClusterId,
    },
    /// The group is not told.
    Withheld(Withheld),
}

/// Why a group is not told of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Withheld {
    /// Learned from an ordinary internal peer, and these are ordinary internal peers (RFC 4271 section 9.2.1).
    InternalToInternal,
    /// It carries NO_ADVERTISE, NO_EXPORT, NO_EXPORT_SUBCONFED (RFC 1997) or BLACKHOLE (RFC 7999).
    WellKnownCommunity,
    /// The export policy rejected it.
    Policy,
    /// An external peer without a policy is told nothing (RFC 8212).
    NoPolicy,
    /// The next hop would be this speaker, which has no address of the family on the session.
    NoOwnNextHop,
    /// It would be a leak: it may only go to customers (RFC 9234 section 5).
    OnlyToCustomer,
    /// It is long-lived stale, and these do not know what that is (RFC 9494 section 4.3).
    LongLivedStale,
    /// None of its route targets was asked for (RFC 4684).
    NotAskedFor,
    /// The attributes do not fit into a message (RFC 4271 section 9.2).
    TooLong,
    /// There is no path to tell of.
    NoPath,
}

impl Withheld {
    /// The reason in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Withheld::InternalToInternal => "an internal route is not sent to internal peers",
            Withheld::WellKnownCommunity => "a well-known community forbids it",
            Withheld::Policy => "rejected by export policy",
            Withheld::NoPolicy => "external peer without export policy (RFC 8212)",
            Withheld::NoOwnNextHop => "no own address of this family on the session",
            Withheld::OnlyToCustomer => "it may only go to customers (RFC 9234)",
            Withheld::LongLivedStale => "long-lived stale, which the peer does not know (RFC 9494)",
            Withheld::NotAskedFor => "the peer asked for none of its route targets (RFC 4684)",
            Withheld::TooLong => "the attributes do not fit into a message",
            Withheld::NoPath => "no usable path",
        }
    }
}

impl Export<'_> {
    /// What `key`'s peers are told of this path.
    pub fn to(&self, key: &GroupKey, local: &Local) -> Outcome {
        let passage = reflection::passage(self.learned, key.kind);
        if passage == Passage::No {
            return Outcome::Withheld(Withheld::InternalToInternal);
        }
        if self.attrs.communities().iter().any(|c| forbids(c, key.kind)) {
            return Outcome::Withheld(Withheld::WellKnownCommunity);
        }
        let is_stale = self.attrs.communities().contains(Community::LLGR_STALE);
        if is_stale && key.long_lived == LongLivedRule::Withheld {
            return Outcome::Withheld(Withheld::LongLivedStale);
        }
        let (edited, marks) = match &key.export {
            PolicyChoice::Everything => (None, Marks::default()),
            PolicyChoice::Nothing => return Outcome::Withheld(Withheld::NoPolicy),
            PolicyChoice::Policy(policy) => match policy.evaluate(&self.subject(key)) {
                Verdict::Reject { .. } => return Outcome::Withheld(Withheld::Policy),
                Verdict::Accept { edited, marks, .. } => (edited, marks),
            },
        };
        let attrs = edited.as_ref().unwrap_or(self.attrs);
        // RFC 4684 section 5: what is sent is what was asked for. The targets are those that the peers would see.
        if key.interest.as_ref().is_some_and(|interest| !interest.wants(attrs.ext_communities())) {
            return Outcome::Withheld(Withheld::NotAskedFor);
        }
        let Some(next_hop) = self.next_hop(attrs, key) else {
            return Outcome::Withheld(Withheld::NoOwnNextHop);
        };
        // Judged as it goes out: a policy may have taken the mark off, which is its owner's business.
        let leak = leak::leaving(key.role, key.family, attrs, key.local_asn);
        if leak == Leak::Stopped {
            return Outcome::Withheld(Withheld::OnlyToCustomer);
        }
        let is_depreferred = is_stale && key.long_lived == LongLivedRule::Depreferred;
        let is_as_heard = edited.is_none() && next_hop == self.attrs.next_hop() && !is_depreferred;
        if passage == Passage::Reflected && is_as_heard && !self.is_own_word(attrs, key) {
            let originator = attrs.originator_id().unwrap_or(self.sender);
            return Outcome::Reflected { originator, cluster: local.cluster_id };
        }
        let med_is_ours = edited.as_ref().is_some_and(|e| e.med() != self.attrs.med());
        Outcome::Told(match key.kind {
            PeerKind::External => {
                let prepended = if marks.is_own_as_prepended { None } else { Some(key.local_asn) };
                let told = self.for_external(attrs, next_hop, med_is_ours, leak, prepended);
                // RFC 9012 section 11: filtered on outgoing UPDATEs of EBGP sessions by default.
                if key.tunnels.filters(key.kind, key.family) && FarEnd::is_named_in(&told) {
                    let mut edit = told.edit();
                    FarEnd::forget_in(&mut edit, &told);
                    edit.build()
                } else {
                    told
                }
            }
            PeerKind::Client | PeerKind::NonClient => {
                let told = self.for_internal(attrs, next_hop, passage, local, key);
                if is_depreferred { depreferred(&told) } else { told }
            }
        })
    }

    fn subject<'s>(&'s self, key: &'s GroupKey) -> Subject<'s> {
        Subject {
            family: key.family,
            nlri: &self.nlri,
            attrs: self.attrs,
            source: self.source,
            local_asn: key.local_asn,
            local_addr: key.own.as_ref().and_then(NextHop::addr),
            stage: match key.kind {
                PeerKind::External => Stage::ToExternal,
                PeerKind::Client | PeerKind::NonClient => Stage::ToInternal,
            },
            facts: self.facts,
        }
    }

    /// RFC 4271 section 5.1.3; RFC 4456 section 10: a reflector leaves it alone.
    fn next_hop(&self, attrs: &AttrSet, key: &GroupKey) -> Option<NextHop> {
        let was_set = attrs.next_hop() != self.attrs.next_hop();
        let own = match (self.learned, key.next_hop) {
            _ if was_set => false,
            (LearnedFrom::Peer(_), _) if self.is_own_word(attrs, key) => true,
            (LearnedFrom::Local, _) => true,
            (LearnedFrom::Peer(_), NextHopRule::Own) => true,
            (LearnedFrom::Peer(_), NextHopRule::Unchanged) => false,
            (LearnedFrom::Peer(_), NextHopRule::Auto) => key.kind == PeerKind::External,
        };
        if own { key.own } else { Some(attrs.next_hop()) }
    }

    /// RFC 4684 section 3.2 i: what a router of this AS says of its membership, a client hears as from this speaker.
    fn is_own_word(&self, attrs: &AttrSet, key: &GroupKey) -> bool {
        key.family == Family::RT_CONSTRAINT && key.kind == PeerKind::Client && attrs.as_path().is_empty()
    }

    fn for_external(
        &self,
        attrs: &AttrSet,
        next_hop: NextHop,
        med_is_ours: bool,
        leak: Leak,
        prepended: Option<Asn>,
    ) -> AttrSet {
        let mut edit = attrs.edit();
        edit.next_hop(next_hop);
        if let Some(asn) = prepended {
            edit.prepend(asn, 1);
        }
        if let Leak::Marked(asn) = leak {
            leak::mark(&mut edit, asn);
        }
        // RFC 4271 section 5.1.5: not sent to external peers. RFC 4456 section 8: non-transitive.
        edit.local_pref(None).originator_id(None).remove(AttrCode::CLUSTER_LIST);
        edit.strip_non_transitive_unknown();
        // Section 5.1.4: a MED received is not passed on to another AS.
        if !med_is_ours && self.learned != LearnedFrom::Local {
            edit.med(None);
        }
        edit.build()
    }

    fn for_internal(
        &self,
        attrs: &AttrSet,
        next_hop: NextHop,
        passage: Passage,
        local: &Local,
        key: &GroupKey,
    ) -> AttrSet {
        let mut edit = attrs.edit();
        edit.next_hop(next_hop).local_pref(Some(attrs.local_pref().unwrap_or(LOCAL_PREF_DEFAULT)));
        match passage {
            Passage::Reflected => reflection::mark(&mut edit, attrs, self.sender, local.cluster_id),
            Passage::Plain | Passage::No => {}
        }
        // RFC 4684 section 3.2 i: else the client that said it would take it for a loop.
        if self.is_own_word(attrs, key) && passage == Passage::Reflected {
            edit.originator_id(Some(local.router_id));
        }
        edit.build()
    }
}

/// RFC 9494 section 4.6: the last resort, and only here.
fn depreferred(attrs: &AttrSet) -> AttrSet {
    let mut edit = attrs.edit();
    edit.local_pref(Some(0)).add_community(Community::NO_EXPORT);
    edit.build()
}

/// RFC 1997's well-known communities, and BLACKHOLE, which must not leave the AS (RFC 7999 section 3.2). This speaker is in no confederation, so NO_EXPORT_SUBCONFED means NO_EXPORT.
fn forbids(community: Community, to: PeerKind) -> bool {
    match community {
        Community::NO_ADVERTISE => true,
        Community::NO_EXPORT | Community::NO_EXPORT_SUBCONFED | Community::BLACKHOLE => {
            to == PeerKind::External
        }
        _ => false,
    }
}

/// The path that a group exported last, and what became of it: prefixes that change together often share their
/// attributes. It lives for one commit, during which the attributes of candidates keep their ids.
#[derive(Debug, Default)]
pub struct LastExport(Option<(AttrId, PeerId, AttrId)>);

impl LastExport {
    /// What became of `attrs` from `source`, if that was it.
    pub fn find(&self, attrs: AttrId, source: PeerId) -> Option<AttrId> {
        self.0.filter(|(a, s, _)| (*a, *s) == (attrs, source)).map(|(_, _, told)| told)
    }

    /// Remembers an export, with one use of `told`; returns the former one's use.
    pub fn put(&mut self, attrs: AttrId, source: PeerId, told: AttrId) -> Option<AttrId> {
        self.0.replace((attrs, source, told)).map(|(_, _, old)| old)
    }

    /// Forgets it and returns its use.
    pub fn take(&mut self) -> Option<AttrId> {
        self.0.take().map(|(_, _, told)| told)
    }
}
