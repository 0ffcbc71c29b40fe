//! The paths to one prefix.

use bgp_proto::PathId;
use core::iter::{Chain, Copied, Flatten};
use core::ops::Deref;
use core::{option, slice};

use super::merits::Step;
use super::{AttrId, Best};
use crate::events::Naming;
use crate::ids::PeerId;

/// One path to a prefix, after import policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Who announced it.
    pub peer: PeerId,
    /// The path identifier that the peer gave it (RFC 7911), 0 without add-path.
    pub path_id: PathId,
    /// The path identifier that this speaker gives it: unique among the prefix's paths, stable for its lifetime.
    pub local_id: PathId,
    /// Its attributes.
    pub attrs: AttrId,
    /// Its rank before anything else counts.
    pub preference: u16,
    /// Whether the import policy spoke of its prefix.
    pub naming: Naming,
    /// Whether the peer has yet to confirm it.
    pub freshness: Freshness,
    /// When it was announced in this form, seconds since the driver's epoch.
    pub since_secs: u32,
}

/// Whether a peer stands by what it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It does.
    Fresh,
    /// The session restarted, or a refresh is under way, and the path was not announced again yet.
    Stale,
    /// The peer's restart time is over, and the path waits on as a last resort, marked LLGR_STALE (RFC 9494).
    LongLived,
}

/// The paths to one prefix, to change.
#[derive(Debug, Clone, Default)]
pub struct Candidates(Vec<Candidate>);

impl Candidates {
    /// The paths, to change in place.
    pub fn as_mut_slice(&mut self) -> &mut [Candidate] {
        &mut self.0
    }

    /// The path that `peer` calls `path_id`.
    pub fn find_mut(&mut self, peer: PeerId, path_id: PathId) -> Option<&mut Candidate> {
        self.0.iter_mut().find(|c| c.peer == peer && c.path_id == path_id)
    }

    /// Removes and returns the first path for which `gone` holds.
    pub fn remove_first(&mut self, gone: impl FnMut(&Candidate) -> bool) -> Option<Candidate> {
        let at = self.0.iter().position(gone)?;
        Some(self.0.remove(at))
    }

    /// The lowest local path identifier that none of the paths has.
    fn free_local_id(&self) -> PathId {
        let mut id = FIRST_LOCAL_ID;
        while self.0.iter().any(|c| c.local_id == id) {
            id.0 += 1;
        }
        id
    }
}

/// The local path identifier of a path that is alone.
const FIRST_LOCAL_ID: PathId = PathId(1);

/// What is kept of a prefix: nearly always one path, which is the best or is about to be. That one needs no allocation.
#[derive(Debug, Default)]
pub(super) enum Entry {
    /// Nothing.
    #[default]
    None,
    /// The usual case.
    Alone(Alone),
    /// Anything else.
    Full(Box<Full>),
}

const _: () = assert!(core::mem::size_of::<Entry>() <= 16);

/// A path that is the only one, and has no path identifier.
#[derive(Debug, Clone, Copy)]
pub(super) struct Alone {
    peer: PeerId,
    attrs: AttrId,
    since_secs: u32,
    preference: u16,
    standing: Standing,
    choice: Choice,
}

/// What the peer and the import policy say of a path, in one octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing(u8);

impl Standing {
    fn new(freshness: Freshness, naming: Naming) -> Standing {
        let freshness = match freshness {
            Freshness::Fresh => 0,
            Freshness::Stale => 1,
            Freshness::LongLived => 2,
        };
        let naming = match naming {
            Naming::Exact => 0,
            Naming::Named => 4,
            Naming::Blanket => 8,
        };
        Standing(freshness | naming)
    }

    fn freshness(self) -> Freshness {
        match self.0 & 3 {
            0 => Freshness::Fresh,
            1 => Freshness::Stale,
            _ => Freshness::LongLived,
        }
    }

    fn naming(self) -> Naming {
        match self.0 & 12 {
            0 => Naming::Exact,
            4 => Naming::Named,
            _ => Naming::Blanket,
        }
    }
}

/// Whether a path that is alone is the one in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// Not yet.
    Pending,
    /// It is, for want of others.
    Made,
}

/// Any paths, and the one in use, which need not be among them until the next decision.
#[derive(Debug, Default)]
pub(super) struct Full {
    candidates: Candidates,
    best: Option<Best>,
}

impl Alone {
    fn new(path: &Candidate, choice: Choice) -> Alone {
        let Candidate { peer, attrs, preference, naming, freshness, since_secs, .. } = *path;
        Alone { peer, attrs, since_secs, preference, standing: Standing::new(freshness, naming), choice }
    }

    fn candidate(&self) -> Candidate {
        let Alone { peer, attrs, since_secs, preference, standing, .. } = *self;
        let (path_id, local_id) = (PathId(0), FIRST_LOCAL_ID);
        let (freshness, naming) = (standing.freshness(), standing.naming());
        Candidate { peer, path_id, local_id, attrs, preference, naming, freshness, since_secs }
    }

    fn best(&self) -> Option<Best> {
        let Alone { peer, attrs, choice, .. } = *self;
        (choice == Choice::Made).then_some(Best { peer, path_id: PathId(0), attrs, step: Step::OnlyPath })
    }
}

impl Entry {
    /// The paths.
    pub(super) fn paths(&self) -> Paths<'_> {
        match self {
            Entry::None => Paths::Many(&[]),
            Entry::Alone(alone) => Paths::One([alone.candidate()]),
            Entry::Full(full) => Paths::Many(&full.candidates.0),
        }
    }

    /// The path in use.
    pub(super) fn best(&self) -> Option<Best> {
        match self {
            Entry::None => None,
            Entry::Alone(alone) => alone.best(),
            Entry::Full(full) => full.best,
        }
    }

    /// Whether there is nothing to keep.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Entry::None => true,
            Entry::Alone(_) => false,
            Entry::Full(full) => full.candidates.0.is_empty() && full.best.is_none(),
        }
    }

    /// Adds a path, which gets a local path identifier.
    pub(super) fn push(&mut self, path: Candidate) {
        if let (Entry::None, PathId(0)) = (&*self, path.path_id) {
            *self = Entry::Alone(Alone::new(&path, Choice::Pending));
            return;
        }
        let candidates = &mut self.full().candidates;
        let local_id = candidates.free_local_id();
        candidates.0.push(Candidate { local_id, ..path });
    }

    /// The paths, to change; the path in use stays what it is until [`Entry::set_best`].
    pub(super) fn candidates_mut(&mut self) -> &mut Candidates {
        &mut self.full().candidates
    }

    /// Calls for every path's freshness.
    pub(super) fn each_freshness(&mut self, mut change: impl FnMut(PeerId, PathId, &mut Freshness)) {
        match self {
            Entry::None => {}
            Entry::Alone(alone) => {
                let mut freshness = alone.standing.freshness();
                change(alone.peer, PathId(0), &mut freshness);
                alone.standing = Standing::new(freshness, alone.standing.naming());
            }
            Entry::Full(full) => {
                full.candidates.0.iter_mut().for_each(|c| change(c.peer, c.path_id, &mut c.freshness));
            }
        }
    }

    /// Records the path in use, and keeps no more than that needs.
    pub(super) fn set_best(&mut self, best: Option<Best>) {
        if let Entry::Alone(alone) = self {
            alone.choice = Choice::Made;
            if alone.best() == best {
                return;
            }
            alone.choice = Choice::Pending;
            if best.is_none() {
                return;
            }
        }
        let full = self.full();
        full.best = best;
        match full.candidates.0[..] {
            [] if best.is_none() => *self = Entry::None,
            [Candidate { local_id: FIRST_LOCAL_ID, path_id: PathId(0), .. }] => self.shrink(),
            _ => {}
        }
    }

    fn shrink(&mut self) {
        let Entry::Full(full) = self else { return };
        let [path] = &full.candidates.0[..] else { return };
        let best = full.best;
        for alone in [Choice::Made, Choice::Pending].map(|choice| Alone::new(path, choice)) {
            if alone.best() == best {
                *self = Entry::Alone(alone);
                return;
            }
        }
    }

    fn full(&mut self) -> &mut Full {
        if let Entry::None | Entry::Alone(_) = self {
            let candidates = Candidates(self.paths().to_vec());
            *self = Entry::Full(Box::new(Full { candidates, best: self.best() }));
        }
        match self {
            Entry::Full(full) => full,
            Entry::None | Entry::Alone(_) => unreachable!("just made so"),
        }
    }
}

/// The paths to one prefix, to read.
#[derive(Debug, Clone, Copy)]
pub enum Paths<'a> {
    /// One that is alone.
    One([Candidate; 1]),
    /// None or several.
    Many(&'a [Candidate]),
}

impl Deref for Paths<'_> {
    type Target = [Candidate];

    fn deref(&self) -> &[Candidate] {
        match self {
            Paths::One(one) => one,
            Paths::Many(many) => many,
        }
    }
}

impl<'a> IntoIterator for Paths<'a> {
    type Item = Candidate;
    type IntoIter = Chain<Flatten<option::IntoIter<[Candidate; 1]>>, Copied<slice::Iter<'a, Candidate>>>;

    fn into_iter(self) -> Self::IntoIter {
        let (one, many) = match self {
            Paths::One(one) => (Some(one), &[][..]),
            Paths::Many(many) => (None, many),
        };
        one.into_iter().flatten().chain(many.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bgp_proto::{AttrSet, NextHop};
    use core::net::Ipv4Addr;

    fn attrs(number: u8) -> AttrId {
        let mut table = super::super::AttrTable::default();
        let set = |n: u8| AttrSet::builder(NextHop::from(Ipv4Addr::new(10, 0, 0, n))).build();
        (0..=number).map(|n| table.intern(&set(n))).last().expect("one")
    }

    fn path(peer: u32, path_id: u32) -> Candidate {
        let (freshness, path_id) = (Freshness::Fresh, PathId(path_id));
        let (peer, attrs, naming) = (PeerId(peer), attrs(1), Naming::Named);
        Candidate {
            peer,
            path_id,
            local_id: PathId(0),
            attrs,
            preference: 7,
            naming,
            freshness,
            since_secs: 3,
        }
    }

    fn best(of: &Candidate, step: Step) -> Option<Best> {
        Some(Best { peer: of.peer, path_id: of.path_id, attrs: of.attrs, step })
    }

    #[test]
    fn a_path_that_is_alone_and_best_needs_no_allocation_whatever_was_before() {
        let mut entry = Entry::default();
        entry.push(path(1, 0));
        assert!(matches!(entry, Entry::Alone(_)));
        assert_eq!(entry.best(), None);
        entry.set_best(best(&path(1, 0), Step::OnlyPath));
        assert!(matches!(entry, Entry::Alone(_)));
        assert_eq!(entry.best(), best(&path(1, 0), Step::OnlyPath));
        entry.push(path(2, 0));
        assert_eq!(entry.best(), best(&path(1, 0), Step::OnlyPath), "until it is decided again");
        entry.set_best(best(&path(1, 0), Step::RouterId));
        assert_eq!(entry.paths().iter().map(|c| c.local_id.0).collect::<Vec<_>>(), [1, 2]);
        entry.candidates_mut().remove_first(|c| c.peer == PeerId(2));
        entry.set_best(best(&path(1, 0), Step::OnlyPath));
        assert!(matches!(entry, Entry::Alone(_)));
        entry.candidates_mut().remove_first(|_| true);
        assert_eq!(entry.best(), best(&path(1, 0), Step::OnlyPath));
        assert!(!entry.is_empty());
        entry.set_best(None);
        assert!(matches!(entry, Entry::None));
    }

    #[test]
    fn what_is_in_use_stays_so_while_its_path_changes() {
        let mut entry = Entry::default();
        entry.push(path(1, 0));
        entry.set_best(best(&path(1, 0), Step::OnlyPath));
        let changed = entry.candidates_mut().find_mut(PeerId(1), PathId(0)).expect("the path");
        changed.attrs = attrs(2);
        assert_eq!(entry.best(), best(&path(1, 0), Step::OnlyPath));
        entry.set_best(None);
        assert_eq!(entry.best(), None);
        assert_eq!(entry.paths()[0].attrs, attrs(2));
    }

    #[test]
    fn what_is_known_of_a_path_that_is_alone_fits_into_an_octet() {
        for freshness in [Freshness::Fresh, Freshness::Stale, Freshness::LongLived] {
            for naming in [Naming::Exact, Naming::Named, Naming::Blanket] {
                let standing = Standing::new(freshness, naming);
                assert_eq!((standing.freshness(), standing.naming()), (freshness, naming));
            }
        }
    }

    #[test]
    fn identifiers_are_kept() {
        let mut entry = Entry::default();
        entry.push(path(1, 5));
        entry.push(path(1, 6));
        entry.candidates_mut().remove_first(|c| c.path_id == PathId(5));
        entry.set_best(best(&path(1, 6), Step::OnlyPath));
        assert_eq!(entry.paths()[0].path_id, PathId(6));
        assert_eq!(entry.paths().into_iter().map(|c| c.local_id.0).collect::<Vec<_>>(), [2]);
        assert_eq!(entry.best(), best(&path(1, 6), Step::OnlyPath));
    }
}
