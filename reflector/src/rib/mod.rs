//! What is known: prefixes, attribute sets, and the paths that peers announced.
//!
//! One [`Rib`] a family. A destination is interned to a dense [`PrefixId`], an attribute set to an [`AttrId`], and
//! a [`Candidate`] is little more than {peer, attribute set, flags}: this *is* the Adj-RIB-In (RFC 4271 section
//! 3.2), kept once, after import policy. The Loc-RIB is one [`Best`] a prefix.
//!
//! Nothing here decides anything. Whoever changes a candidate marks its prefix dirty; the table takes the dirty
//! prefixes in batches, so that many changes of one prefix cost one decision.

mod attr_id;
pub mod attrs;
pub mod candidates;
pub mod few;
pub mod merits;
pub mod nexthop;
pub mod prefixes;
pub mod reflected;

pub use attr_id::AttrId;
pub use attrs::{AttrTable, said};
use candidates::Entry;
pub use candidates::{Candidate, Candidates, Freshness, Paths};
pub use few::Few;
pub use nexthop::NextHops;
pub use prefixes::{PrefixId, Prefixes};
pub use reflected::Reflected;

use bgp_proto::{Family, Nlri, PathId};

use crate::events::{FibRoute, Naming};
use crate::ids::PeerId;
use merits::Step;

/// The Loc-RIB's entry for a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Best {
    /// The peer whose path won.
    pub peer: PeerId,
    /// The path's identifier as that peer gave it.
    pub path_id: PathId,
    /// The path's attributes when it won.
    pub attrs: AttrId,
    /// The step that decided.
    pub step: Step,
}

/// A buffer of dirty prefixes is kept up to this size.
const DIRTY_KEPT: usize = 4096;

/// All that is known of one family.
#[derive(Debug)]
pub struct Rib {
    /// The family.
    pub family: Family,
    prefixes: Prefixes,
    entries: Vec<Entry>,
    /// What the kernel was told, by prefix; empty where no kernel is.
    fib: Vec<Option<Box<Wanted>>>,
    dirty: Dirty,
}

/// A route that the kernel was told to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The route.
    pub route: FibRoute,
    /// Its metric, unless the usual one.
    pub metric: Option<u32>,
    /// Whether the import policy of those it comes from spoke of its prefix.
    pub naming: Naming,
}

/// Prefixes that wait for a decision, each once.
#[derive(Debug, Default)]
struct Dirty {
    list: Vec<PrefixId>,
    marks: Vec<u64>,
}

impl Dirty {
    fn contains(&self, id: PrefixId) -> bool {
        self.marks.get(id.index() / 64).is_some_and(|word| word & (1 << (id.index() % 64)) != 0)
    }

    fn insert(&mut self, id: PrefixId) {
        let (word, bit) = (id.index() / 64, 1 << (id.index() % 64));
        if self.marks.len() <= word {
            self.marks.resize(word + 1, 0);
        }
        if self.marks[word] & bit == 0 {
            self.marks[word] |= bit;
            self.list.push(id);
        }
    }

    fn take(&mut self) -> Vec<PrefixId> {
        let list = core::mem::take(&mut self.list);
        for id in &list {
            self.marks[id.index() / 64] &= !(1 << (id.index() % 64));
        }
        list
    }
}

impl Rib {
    /// An empty table of `family`.
    pub fn new(family: Family) -> Rib {
        Rib {
            family,
            prefixes: Prefixes::new(family),
            entries: Vec::new(),
            fib: Vec::new(),
            dirty: Dirty::default(),
        }
    }

    /// The prefix's id, made if need be. The caller must use it (a candidate, a group's entry) or call
    /// [`Rib::forget_unused`].
    pub fn intern(&mut self, nlri: &Nlri) -> PrefixId {
        let id = self.prefixes.intern(nlri);
        if self.entries.len() <= id.index() {
            self.entries.resize_with(id.index() + 1, Entry::default);
        }
        id
    }

    /// The prefix's id, if anything is known of it.
    pub fn find(&self, nlri: &Nlri) -> Option<PrefixId> {
        self.prefixes.find(nlri)
    }

    /// The destination behind `id`.
    pub fn nlri(&self, id: PrefixId) -> Nlri {
        self.prefixes.nlri(id)
    }

    /// The destination behind `id`, unless it was forgotten.
    pub fn find_nlri(&self, id: PrefixId) -> Option<Nlri> {
        self.prefixes.find_nlri(id)
    }

    /// All prefixes known, by id.
    pub fn ids(&self) -> impl Iterator<Item = PrefixId> + '_ {
        self.prefixes.ids()
    }

    /// The prefixes behind `after`, by id.
    pub fn ids_after(&self, after: Option<PrefixId>) -> impl Iterator<Item = PrefixId> + '_ {
        self.prefixes.ids_after(after)
    }

    /// Prefixes known.
    pub fn len(&self) -> usize {
        self.prefixes.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The paths to `id`.
    pub fn candidates(&self, id: PrefixId) -> Paths<'_> {
        self.entries[id.index()].paths()
    }

    /// Adds a path to `id` under a local path identifier of its own; marks the prefix dirty.
    pub fn add_path(&mut self, id: PrefixId, path: Candidate) {
        self.mark(id);
        self.entries[id.index()].push(path);
    }

    /// The paths to `id`, to change; marks the prefix dirty.
    pub fn candidates_mut(&mut self, id: PrefixId) -> &mut Candidates {
        self.mark(id);
        self.entries[id.index()].candidates_mut()
    }

    /// A path was said again as it is: it is fresh, and no decision is due.
    pub fn confirm(&mut self, id: PrefixId, peer: PeerId, path_id: PathId) {
        self.entries[id.index()].each_freshness(|whose, which, freshness| {
            if (whose, which) == (peer, path_id) {
                *freshness = Freshness::Fresh;
            }
        });
    }

    /// The peer has yet to confirm its paths to `id`. They stay as good as any (RFC 4724 section 4.2).
    pub fn make_stale(&mut self, id: PrefixId, peer: PeerId) {
        self.entries[id.index()].each_freshness(|whose, _, freshness| {
            if whose == peer && *freshness == Freshness::Fresh {
                *freshness = Freshness::Stale;
            }
        });
    }

    /// Has `id` decided again at the next commit.
    pub fn mark(&mut self, id: PrefixId) {
        self.dirty.insert(id);
    }

    /// Takes the prefixes that wait for a decision.
    pub fn take_dirty(&mut self) -> Vec<PrefixId> {
        self.dirty.take()
    }

    /// Gives back the buffer of [`Rib::take_dirty`].
    pub fn reuse_dirty(&mut self, mut buffer: Vec<PrefixId>) {
        if self.dirty.list.is_empty() && buffer.capacity() <= DIRTY_KEPT {
            buffer.clear();
            self.dirty.list = buffer;
        }
    }

    /// The path in use, if any.
    pub fn best(&self, id: PrefixId) -> Option<Best> {
        self.entries[id.index()].best()
    }

    /// Records the path in use.
    pub fn set_best(&mut self, id: PrefixId, best: Option<Best>) {
        self.entries[id.index()].set_best(best);
    }

    /// The route that the kernel was last told to have.
    pub fn fib(&self, id: PrefixId) -> Option<&FibRoute> {
        self.wanted(id).map(|wanted| &wanted.route)
    }

    /// The same, with its place.
    pub fn wanted(&self, id: PrefixId) -> Option<&Wanted> {
        self.fib.get(id.index())?.as_deref()
    }

    /// Records the route that the kernel is told to have.
    pub fn set_fib(&mut self, id: PrefixId, route: Option<Wanted>) {
        if self.fib.len() <= id.index() {
            self.fib.resize_with(id.index() + 1, || None);
        }
        self.fib[id.index()] = route.map(Box::new);
    }

    /// Holds `id` for a group's entry.
    pub fn hold(&mut self, id: PrefixId) {
        self.prefixes.hold(id);
    }

    /// Lets go of a hold.
    pub fn unhold(&mut self, id: PrefixId) {
        self.prefixes.unhold(id);
        self.forget_unused(id);
    }

    /// Forgets `id` if no candidate and no hold is left.
    pub fn forget_unused(&mut self, id: PrefixId) {
        if self.entries[id.index()].is_empty() && !self.dirty.contains(id) {
            self.prefixes.forget_unheld(id);
        }
    }
}
