//! VPN routes for those who asked for them: RFC 4684.
//!
//! A peer with whom route target constraint was negotiated has no group in the VPN families until it has said all it
//! asks for, or has had time to: whatever it heard before, also an End-of-RIB, would be of routes that nobody chose. From
//! then on what it asks for is part of its groups' keys; whenever that changes, a commit says so
//! ([`Notice::InterestChanged`]) and [`Table::follow_interest`] moves the peer.
//!
//! Memberships that come from this AS are reflected otherwise than routes (section 3.2). Several routers ask for the same
//! target, and each must hear that somebody else asks for it, or it keeps its VPN routes to itself. So a client hears of a
//! membership also if the path is its own, as this speaker's word; and another reflector hears the path of a client
//! where there is one, though a better one came from a third. What a reflector below this one said comes back to it with its
//! cluster in CLUSTER_LIST, and it drops that: RFC 4684 leaves it so.

use bgp_proto::Family;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Notice, Table};
use crate::feed::Feed;
use crate::group::{GroupKey, Interest};
use crate::ids::{GroupId, PeerId};
use crate::reflection::PeerKind;
use crate::rib::{AttrId, PrefixId};
use crate::time::{Duration, Instant};

/// How long a peer's End-of-RIB is waited for (RFC 4684 section 6).
const ASKING_TIME: Duration = Duration::from_secs(60);

/// Peers that are asking.
#[derive(Debug, Default)]
pub(super) struct Askers {
    /// Those that may have more to ask for, and until when that is waited for.
    waiting: BTreeMap<PeerId, Instant>,
    /// Those that asked for something else since the last commit.
    changed: BTreeSet<PeerId>,
}

impl Askers {
    /// The peer begins to ask.
    pub(super) fn begin(&mut self, id: PeerId, now: Instant) {
        self.waiting.insert(id, now + ASKING_TIME);
    }

    /// The peer asks no more.
    pub(super) fn forget(&mut self, id: PeerId) {
        self.waiting.remove(&id);
        self.changed.remove(&id);
    }

    /// RFC 4684 section 6: the End-of-RIB, graceful restart or not, says that a peer has asked for everything.
    pub(super) fn ended(&mut self, id: PeerId, family: Family) {
        if family == Family::RT_CONSTRAINT && self.waiting.remove(&id).is_some() {
            self.changed.insert(id);
        }
    }

    /// A route of the peer came or went.
    pub(super) fn moved(&mut self, id: PeerId, family: Family) {
        if family == Family::RT_CONSTRAINT && !id.is_own() {
            self.changed.insert(id);
        }
    }

    /// Whether the peer hears nothing of `family` yet.
    pub(super) fn holds_back(&self, id: PeerId, family: Family) -> bool {
        Interest::concerns(family) && self.waiting.contains_key(&id)
    }

    /// When [`Askers::timeout`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.values().min().copied()
    }

    /// RFC 4684 section 6: the delay must be bounded.
    pub(super) fn timeout(&mut self, now: Instant) {
        let changed = &mut self.changed;
        self.waiting.retain(|id, until| {
            let is_due = *until <= now;
            if is_due {
                changed.insert(*id);
            }
            !is_due
        });
    }

    /// The peers whose groups are to follow what they ask for.
    pub(super) fn take_changed(&mut self) -> impl Iterator<Item = PeerId> + '_ {
        let waiting = &self.waiting;
        core::mem::take(&mut self.changed).into_iter().filter(|id| !waiting.contains_key(id))
    }
}

impl Table {
    /// Says whose groups are to follow what they ask for.
    pub(super) fn note_interest(&mut self) {
        let peers = &self.peers;
        let asks = |id: &PeerId| {
            let up = peers.get(id).and_then(|p| p.up.as_ref());
            up.is_some_and(|up| up.families.contains(Family::RT_CONSTRAINT))
        };
        let changed = self.askers.take_changed().filter(asks);
        self.pending.notices.extend(changed.map(|peer| Notice::InterestChanged { peer }));
    }

    /// Has the peer told of the VPN routes that it asks for now ([`Notice::InterestChanged`]): the feeds to attach.
    pub fn follow_interest(&mut self, id: PeerId) -> Vec<Feed> {
        let interest = self.interest(id);
        let Some(peer) = self.peers.get_mut(&id) else { return Vec::new() };
        let Some(up) = peer.up.as_mut().filter(|up| up.interest.is_some()) else { return Vec::new() };
        up.interest = Some(Arc::new(interest));
        if self.is_deferring() {
            return Vec::new();
        }
        let Some((peer, up)) = self.peers.get(&id).and_then(|p| Some((p, p.up.as_ref()?))) else {
            return Vec::new();
        };
        let concerned =
            up.families.iter().filter(|f| Interest::concerns(*f) && !self.askers.holds_back(id, *f));
        let keys: Vec<(Option<GroupId>, GroupKey)> = concerned
            .map(|family| {
                (up.groups.iter().find(|(f, _)| *f == family).map(|(_, g)| *g), peer.key(up, family))
            })
            .collect();
        let moved = keys.into_iter().filter_map(|(from, key)| match from {
            Some(from) => self.move_group(id, from, key),
            None => self.join_group(id, key),
        });
        let feeds: Vec<Feed> = moved.collect();
        self.note_groups(id, &feeds);
        feeds
    }

    /// RFC 4684 section 3.2 ii: if the best path to a membership came from a peer that is no client, such a peer is told the
    /// best that came from a client, if there is one.
    pub(super) fn client_of_membership(
        &self,
        to: PeerKind,
        at: usize,
        prefix: PrefixId,
        best: (PeerId, AttrId),
    ) -> Option<(PeerId, AttrId)> {
        let kind_of = |id: PeerId| self.peers.get(&id).map(|peer| peer.config.kind);
        let stands_back = to == PeerKind::NonClient && kind_of(best.0) == Some(PeerKind::NonClient);
        if !stands_back || !self.is_membership_of_ours(at, best.1) {
            return None;
        }
        let ranked = self.ranked(at, prefix, self.ribs[at].candidates(prefix).len());
        let client = ranked.iter().find(|path| kind_of(path.peer) == Some(PeerKind::Client))?;
        Some((client.peer, client.attrs))
    }

    /// Who is not told of a path: the peer that said it. RFC 4684 section 3.2 i: a client is told of a membership whoever
    /// said it, so then it is nobody.
    pub(super) fn audience(&self, to: PeerKind, at: usize, source: PeerId, attrs: AttrId) -> PeerId {
        let is_reflected = to == PeerKind::Client && self.is_membership_of_ours(at, attrs);
        if is_reflected { PeerId::LOCAL } else { source }
    }

    /// Whether a path is a membership that a router of this AS said.
    fn is_membership_of_ours(&self, at: usize, attrs: AttrId) -> bool {
        self.ribs[at].family == Family::RT_CONSTRAINT && self.attrs.get(attrs).as_path().is_empty()
    }

    /// What the peer asks for. RFC 4684 section 5: what counts is what it said itself, whichever path is the best.
    fn interest(&self, id: PeerId) -> Interest {
        let mut interest = Interest::default();
        let Some(at) = self.find_rib(Family::RT_CONSTRAINT) else { return interest };
        let rib = &self.ribs[at];
        for prefix in rib.ids().filter(|p| rib.candidates(*p).iter().any(|c| c.peer == id)) {
            interest.add(&rib.nlri(prefix));
        }
        interest
    }
}
