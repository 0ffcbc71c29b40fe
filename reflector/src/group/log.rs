//! A group's memory: a compacted log of what its peers are told, encoded.
//!
//! # Shape
//!
//! Each key (a prefix, and a path of it with add-path) stands once in the log, at its latest position. A change
//! queues its key; [`Log::seal`] encodes what is queued, packed by attribute set, into immutable segments at the
//! tail. A withdrawal leaves a tombstone until the slowest cursor has passed it. What a later change supersedes
//! is dead where it stood, and [`Log::fold`] rewrites segments that are mostly dead and joins small ones, so that
//! a peer that is behind reads the newest state only, and the log's size follows the table's, not its history.
//!
//! # Audience
//!
//! A route is not sent back to its source. So each entry is for all but its source, and the trap is the source's
//! change: a peer that heard the path of A, and whose own path then wins, must hear a withdrawal. "Its cursor has
//! passed the takeover" does not say that it did, for the entry may have moved to the tail since. The rule, with
//! a naive Adj-RIB-Out per peer as its oracle in the tests:
//!
//! * An entry whose source changed carries a takeover mark until every cursor has passed its *current* position.
//! * While marked, its source reads it as a withdrawal.
//!
//! A superfluous withdrawal is harmless; a missing one never happens. A tombstone is for all but its source too,
//! unless it was marked: then the source may still hold what it should not.
//!
//! # What is forgotten
//!
//! Of a small table every segment stays encoded, for whoever comes next. Of a large one, what all cursors have read is
//! hollowed beyond [`LOG_BYTES_KEPT`]: its octets go, its keys stay, and a cursor that begins a run has it encoded again. So
//! a full table that everybody has costs its entries, and the log of a reflector with a thousand nodes is as it was.
//!
//! # Folding and cursors
//!
//! A fold may rewrite any segment in its own range of positions: cursors before it or past it cannot tell.
//! Joining two segments between which a cursor stands would tell that cursor the first one again, so joins
//! respect cursors, unless their number exceeds [`SEGMENTS_MAX`].

use bgp_proto::{Family, PathId, WireContext};
use bytes::{Bytes, BytesMut};
use core::ops::Range;
use std::sync::Arc;

use super::entry::{Item, LogKey, State, Store, Takeover};
use super::pack;
use crate::feed::{LogView, Position, Segment, SegmentBuilder};
use crate::ids::{PeerId, Seq};
use crate::limits::{
    LOG_BYTES_KEPT, SEGMENT_BYTES_MAX, SEGMENTS_FOLD_MIN, SEGMENTS_MAX, TOMBSTONES_FOLD_MIN, TOMBSTONES_MAX,
};
use crate::rib::{AttrId, Few, PrefixId, Rib};

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Queued, and nobody ever heard of it.
    New,
    /// Queued, superseding what was told.
    Queued,
    /// In the segment that covers this position.
    Sealed(Seq),
}

/// A [`Place`] in eight octets: there is one a route.
#[derive(Debug, Clone, Copy)]
struct Packed(u64);

impl Packed {
    const NEW: u64 = u64::MAX;
    const QUEUED: u64 = u64::MAX - 1;
}

impl From<Place> for Packed {
    fn from(place: Place) -> Packed {
        Packed(match place {
            Place::New => Packed::NEW,
            Place::Queued => Packed::QUEUED,
            // Positions count from 0; nobody gets to the end.
            Place::Sealed(seq) => seq.0,
        })
    }
}

impl From<Packed> for Place {
    fn from(packed: Packed) -> Place {
        match packed.0 {
            Packed::NEW => Place::New,
            Packed::QUEUED => Place::Queued,
            seq => Place::Sealed(Seq(seq)),
        }
    }
}

/// One key's entry.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    path_id: PathId,
    state: State,
    source: PeerId,
    takeover: Takeover,
    place: Packed,
}

impl Entry {
    /// What the group was told.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whose path it is, and so who is not told.
    pub fn source(&self) -> PeerId {
        self.source
    }

    /// The path's local identifier; 0 without add-path.
    pub fn path_id(&self) -> PathId {
        self.path_id
    }
}

/// A segment and what stands in it.
#[derive(Debug)]
struct Held {
    segment: Arc<Segment>,
    keys: Box<[LogKey]>,
    dead: usize,
    /// Octets of the segment, also while they are forgotten.
    octets: usize,
    shell: Shell,
}

/// Whether a segment's octets are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shell {
    Filled,
    /// Every cursor has read them, and they are forgotten.
    Hollow,
}

impl Held {
    fn new(segment: Segment, items: &[Item]) -> Held {
        let keys = items.iter().map(|i| i.key).collect();
        let octets = segment.len();
        Held { segment: Arc::new(segment), keys, dead: 0, octets, shell: Shell::Filled }
    }

    fn hollow(&mut self) {
        self.segment = Arc::new(self.segment.hollow());
        self.shell = Shell::Hollow;
    }

    /// Octets of what is not superseded.
    fn live_octets(&self) -> usize {
        let live = self.keys.len().saturating_sub(self.dead);
        self.octets * live / self.keys.len().max(1)
    }
}

/// How much a fold does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thrift {
    /// What pays for itself: segments that are mostly dead.
    Lazy,
    /// All that makes the log smaller.
    Tidy,
    /// All that a run from the beginning needs.
    Whole,
}

/// A group's compacted log.
#[derive(Debug)]
pub struct Log {
    family: Family,
    wire: WireContext,
    entries: Vec<Few<Entry>>,
    live: usize,
    tombstones: usize,
    queue: Vec<LogKey>,
    held: Vec<Held>,
    end: Seq,
    members: Vec<(PeerId, Arc<Position>)>,
    view: Arc<LogView>,
    fold_segments_at: usize,
    fold_tombstones_at: usize,
}

impl Log {
    /// An empty log, encoding `family` for `wire`.
    pub fn new(family: Family, wire: WireContext) -> Log {
        Log {
            family,
            wire,
            entries: Vec::new(),
            live: 0,
            tombstones: 0,
            queue: Vec::new(),
            held: Vec::new(),
            end: Seq::START,
            members: Vec::new(),
            view: Arc::default(),
            fold_segments_at: SEGMENTS_FOLD_MIN,
            fold_tombstones_at: TOMBSTONES_FOLD_MIN,
        }
    }

    /// What sessions read; as of the last [`Log::seal`].
    pub fn view(&self) -> Arc<LogView> {
        self.view.clone()
    }

    /// Keys that the group has been told and not been told to forget.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Keys that the group has been told to forget, and that some cursor may not know of yet.
    pub fn tombstones(&self) -> usize {
        self.tombstones
    }

    /// The peers whose cursors read this log.
    pub fn members(&self) -> impl ExactSizeIterator<Item = PeerId> + '_ {
        self.members.iter().map(|(peer, _)| *peer)
    }

    /// A cursor more. It will run over the log from its beginning, so nothing superseded may be left in it; as far
    /// as tombstones and marks are concerned the cursor stands at the end.
    pub(super) fn join(&mut self, peer: PeerId, store: &mut Store<'_>) -> (Arc<Position>, Arc<LogView>) {
        self.purify(store);
        let position = Arc::new(Position::new(self.end));
        match self.members.binary_search_by_key(&peer, |(p, _)| *p) {
            Ok(at) => self.members[at].1 = position.clone(),
            Err(at) => self.members.insert(at, (peer, position.clone())),
        }
        (position, self.view())
    }

    /// A member's cursor will run over the log again. From now on only the progress of that run counts: until it
    /// begins, the old cursor may pass tombstones of what the run will tell.
    pub(super) fn restart(
        &mut self,
        peer: PeerId,
        store: &mut Store<'_>,
    ) -> Option<(Arc<Position>, Arc<LogView>)> {
        let at = self.members.binary_search_by_key(&peer, |(p, _)| *p).ok()?;
        self.purify(store);
        let position = Arc::new(Position::new(self.members[at].1.seq()));
        self.members[at].1 = position.clone();
        Some((position, self.view()))
    }

    /// Rewrites the segments in which something is superseded, and those that are hollow.
    fn purify(&mut self, store: &mut Store<'_>) {
        if self.held.iter().all(|h| h.dead == 0 && h.shell == Shell::Filled) {
            return;
        }
        let passed = self.passed();
        for held in core::mem::take(&mut self.held) {
            self.rewrite_alone(held, passed, Thrift::Whole, store);
        }
        self.publish();
    }

    /// Forgets octets that every cursor has read, oldest first, until no more than `kept` are left.
    pub(super) fn hollow(&mut self, kept: usize) {
        let filled = |h: &&Held| h.shell == Shell::Filled;
        let mut excess = self.held.iter().filter(filled).map(|h| h.octets).sum::<usize>();
        if excess <= kept {
            return;
        }
        let read = self.members.iter().map(|(_, p)| p.read()).min().unwrap_or(self.end);
        for held in self.held.iter_mut().take_while(|h| h.segment.through() <= read) {
            if excess <= kept {
                break;
            }
            if held.shell == Shell::Filled {
                excess -= held.octets;
                held.hollow();
            }
        }
    }

    /// What every cursor has passed.
    fn passed(&self) -> Seq {
        self.members.iter().map(|(_, p)| p.seq()).min().unwrap_or(self.end)
    }

    /// A cursor less.
    pub(super) fn leave(&mut self, peer: PeerId) {
        if let Ok(at) = self.members.binary_search_by_key(&peer, |(p, _)| *p) {
            self.members.remove(at);
        }
    }

    fn is_member(&self, peer: PeerId) -> bool {
        self.members.binary_search_by_key(&peer, |(p, _)| *p).is_ok()
    }

    /// The entries of a prefix, tombstones included.
    pub fn entries(&self, prefix: PrefixId) -> &[Entry] {
        self.entries.get(prefix.index()).map_or(&[], Few::as_slice)
    }

    /// Tells the group `attrs` for `key`, a path of `source`. Takes over one use of `attrs`.
    pub fn announce(&mut self, key: LogKey, attrs: AttrId, source: PeerId, store: &mut Store<'_>) {
        let source_listens = self.is_member(source);
        if self.entries.len() <= key.prefix.index() {
            self.entries.resize_with(key.prefix.index() + 1, Few::default);
        }
        let slot = &mut self.entries[key.prefix.index()];
        let Some(entry) = slot.as_mut_slice().iter_mut().find(|e| e.path_id == key.path_id) else {
            let (state, takeover) = (State::Live(attrs), Takeover::Settled);
            let place = Place::New.into();
            slot.push(Entry { path_id: key.path_id, state, source, takeover, place });
            store.rib.hold(key.prefix);
            self.live += 1;
            self.queue.push(key);
            return;
        };
        if entry.state == State::Live(attrs) && entry.source == source {
            store.attrs.release(attrs);
            return;
        }
        match core::mem::replace(&mut entry.state, State::Live(attrs)) {
            State::Live(old) => store.attrs.release(old),
            State::Tombstone => {
                self.tombstones -= 1;
                self.live += 1;
            }
        }
        if entry.source != source {
            entry.source = source;
            entry.takeover = match entry.place.into() {
                Place::Queued | Place::Sealed(_) if source_listens => Takeover::Pending,
                Place::New | Place::Queued | Place::Sealed(_) => Takeover::Settled,
            };
        }
        self.requeue(key);
    }

    /// Tells the group that `key` is gone, if it ever heard of it.
    pub fn withdraw(&mut self, key: LogKey, store: &mut Store<'_>) {
        let Some(entry) = self.entry_mut(key) else { return };
        let State::Live(attrs) = entry.state else { return };
        entry.state = State::Tombstone;
        let place = entry.place.into();
        store.attrs.release(attrs);
        self.live -= 1;
        self.tombstones += 1;
        match place {
            Place::New => self.forget(key, store),
            Place::Queued | Place::Sealed(_) => self.requeue(key),
        }
    }

    /// Encodes what is queued and appends it. Returns whether there is a new view, and the keys whose attributes
    /// do not fit into a message for these peers, which are withdrawn instead.
    pub fn seal(&mut self, store: &mut Store<'_>) -> Sealed {
        let mut sealed = Sealed::default();
        let mut queue = core::mem::take(&mut self.queue);
        queue.sort_unstable();
        queue.dedup();
        let mut items: Vec<Item> = queue.drain(..).filter_map(|key| self.queued_item(key)).collect();
        self.queue = queue;
        if items.is_empty() {
            return sealed;
        }
        sealed.too_long = self.refuse_too_long(&mut items, store);
        items.sort_unstable();
        let mut from = 0;
        while from < items.len() {
            let mut builder = SegmentBuilder::default();
            let mut to = from;
            while to < items.len() && builder.len() < SEGMENT_BYTES_MAX {
                let run = to..pack::run_end(&items, to);
                pack::encode(&items[run.clone()], self.family, &self.wire, store, &mut builder);
                to = run.end;
            }
            self.append(&items[from..to], builder);
            from = to;
        }
        if self.held.len() >= self.fold_segments_at || self.tombstones >= self.fold_tombstones_at {
            self.fold(store, Thrift::Lazy);
        }
        sealed.too_slow = self.give_up_slowest(store);
        self.hollow(LOG_BYTES_KEPT);
        self.publish();
        sealed.is_new = true;
        sealed
    }

    /// Gives up the slowest cursors while there is more to remember for them than [`TOMBSTONES_MAX`].
    fn give_up_slowest(&mut self, store: &mut Store<'_>) -> Vec<PeerId> {
        let mut given_up = Vec::new();
        while self.tombstones > TOMBSTONES_MAX.max(self.live) {
            // What every cursor has passed is kept for nobody.
            self.fold(store, Thrift::Lazy);
            let passed = self.passed();
            if self.tombstones <= TOMBSTONES_MAX.max(self.live) || passed >= self.end {
                break;
            }
            let slowest = self.members.extract_if(.., |(_, position)| position.seq() <= passed);
            given_up.extend(slowest.map(|(peer, _)| peer));
        }
        given_up
    }

    fn queued_item(&self, key: LogKey) -> Option<Item> {
        let entry = self.entry(key)?;
        match entry.place.into() {
            Place::New | Place::Queued => Some(item(key, entry)),
            Place::Sealed(_) => None,
        }
    }

    /// Turns announcements that fit into no message for these peers into withdrawals of what was told before.
    fn refuse_too_long(&mut self, items: &mut Vec<Item>, store: &mut Store<'_>) -> Vec<LogKey> {
        let mut refused = Vec::new();
        items.retain_mut(|item| {
            if pack::fits(item, self.family, &self.wire, store) {
                return true;
            }
            refused.push(item.key);
            let is_news = self.entry(item.key).is_some_and(|e| Place::from(e.place) == Place::New);
            self.withdraw(item.key, store);
            item.state = State::Tombstone;
            !is_news
        });
        refused
    }

    fn append(&mut self, items: &[Item], builder: SegmentBuilder) {
        let through = self.end.next();
        for item in items {
            if let Some(entry) = self.entry_mut(item.key) {
                entry.place = Place::Sealed(through).into();
            }
        }
        self.held.push(Held::new(builder.build(self.end, through), items));
        self.end = through;
    }

    fn publish(&mut self) {
        self.view = Arc::new(LogView::new(self.held.iter().map(|h| h.segment.clone()).collect(), self.end));
    }

    /// Whether a fold could make the log smaller: something is superseded, withdrawn, or scattered.
    pub fn is_untidy(&self) -> bool {
        self.tombstones > 0 || self.held.len() > SEGMENTS_FOLD_MIN || self.held.iter().any(|h| h.dead > 0)
    }

    /// Folds as far as cursors allow and publishes the result; for a quiet moment. Returns whether there is a new
    /// view.
    pub fn tidy(&mut self, store: &mut Store<'_>) -> bool {
        if !self.is_untidy() {
            return false;
        }
        self.fold(store, Thrift::Tidy);
        self.hollow(LOG_BYTES_KEPT);
        self.publish();
        true
    }

    /// Sweeps what every cursor has passed, rewrites segments that are mostly dead, joins small ones.
    fn fold(&mut self, store: &mut Store<'_>, thrift: Thrift) {
        let mut positions: Vec<Seq> = self.members.iter().map(|(_, p)| p.seq()).collect();
        positions.sort_unstable();
        positions.dedup();
        let passed = positions.first().copied().unwrap_or(self.end);
        let is_forced = self.held.len() >= SEGMENTS_MAX;
        let held = core::mem::take(&mut self.held);
        let ranges = joins(&held, &positions, is_forced);
        let mut held = held.into_iter();
        for range in ranges {
            let mut joined: Vec<Held> = held.by_ref().take(range.len()).collect();
            match &joined[..] {
                [first, .., last] => {
                    let range = (first.segment.after(), last.segment.through());
                    self.rewrite(&joined, range, passed, first.shell, store);
                }
                [_] | [] => {
                    joined.drain(..).for_each(|alone| self.rewrite_alone(alone, passed, thrift, store));
                }
            }
        }
        self.fold_segments_at = SEGMENTS_FOLD_MIN.max(self.held.len() * 2);
        self.fold_tombstones_at = TOMBSTONES_FOLD_MIN.max(self.tombstones * 2);
    }

    /// Keeps a segment as it is unless it is worth rewriting.
    fn rewrite_alone(&mut self, held: Held, passed: Seq, thrift: Thrift, store: &mut Store<'_>) {
        let (after, through) = (held.segment.after(), held.segment.through());
        let is_swept = self.tombstones > 0
            && through <= passed
            && held.keys.iter().any(|k| self.is_tombstone_in(*k, after, through));
        let is_worth_it = match thrift {
            Thrift::Lazy => held.dead * 2 > held.keys.len(),
            Thrift::Tidy => held.dead > 0,
            Thrift::Whole => held.dead > 0 || held.shell == Shell::Hollow,
        };
        if is_swept || is_worth_it {
            // Nobody needs the octets of a hollow one, unless a run begins.
            let shell = if thrift == Thrift::Whole { Shell::Filled } else { held.shell };
            self.rewrite(core::slice::from_ref(&held), (after, through), passed, shell, store);
        } else {
            self.held.push(held);
        }
    }

    /// Segments as one that covers a range. Nothing is encoded for a hollow one.
    fn rewrite(
        &mut self,
        old: &[Held],
        (after, through): (Seq, Seq),
        passed: Seq,
        shell: Shell,
        store: &mut Store<'_>,
    ) {
        let mut items = Vec::new();
        for held in old {
            let (after, through) = (held.segment.after(), held.segment.through());
            for key in &held.keys {
                if let Some(item) = self.swept_item(*key, after, through, passed, store) {
                    items.push(item);
                }
            }
        }
        if items.is_empty() {
            return;
        }
        items.sort_unstable();
        let mut builder = SegmentBuilder::default();
        if shell == Shell::Hollow {
            let mut held = Held::new(builder.build(after, through), &items);
            (held.octets, held.shell) = (old.iter().map(Held::live_octets).sum(), shell);
            self.held.push(held);
            return;
        }
        let mut at = 0;
        while at < items.len() {
            let end = pack::run_end(&items, at);
            pack::encode(&items[at..end], self.family, &self.wire, store, &mut builder);
            at = end;
        }
        self.held.push(Held::new(builder.build(after, through), &items));
    }

    /// The entry of `key` if it stands in `(after, through]`, without what every cursor has passed.
    fn swept_item(
        &mut self,
        key: LogKey,
        after: Seq,
        through: Seq,
        passed: Seq,
        store: &mut Store<'_>,
    ) -> Option<Item> {
        let entry = self.entry_mut(key)?;
        let Place::Sealed(seq) = entry.place.into() else { return None };
        if seq <= after || seq > through {
            return None;
        }
        if seq <= passed {
            entry.takeover = Takeover::Settled;
            if entry.state == State::Tombstone {
                self.forget(key, store);
                return None;
            }
        }
        self.entry(key).map(|entry| item(key, entry))
    }

    fn is_tombstone_in(&self, key: LogKey, after: Seq, through: Seq) -> bool {
        self.entry(key).is_some_and(|e| {
            e.state == State::Tombstone
                && matches!(e.place.into(), Place::Sealed(s) if s > after && s <= through)
        })
    }

    /// Removes the entry of a key that is a tombstone.
    fn forget(&mut self, key: LogKey, store: &mut Store<'_>) {
        let Some(slot) = self.entries.get_mut(key.prefix.index()) else { return };
        if slot.remove_first(|e| e.path_id == key.path_id).is_some() {
            self.tombstones -= 1;
            store.rib.unhold(key.prefix);
        }
    }

    /// Moves an entry to the queue; where it stood, it is dead.
    fn requeue(&mut self, key: LogKey) {
        let Some(entry) = self.entry_mut(key) else { return };
        let Place::Sealed(seq) = entry.place.into() else { return };
        entry.place = Place::Queued.into();
        self.queue.push(key);
        let at = self.held.partition_point(|h| h.segment.through() < seq);
        if let Some(held) = self.held.get_mut(at) {
            held.dead += 1;
        }
    }

    fn entry(&self, key: LogKey) -> Option<&Entry> {
        self.entries(key.prefix).iter().find(|e| e.path_id == key.path_id)
    }

    fn entry_mut(&mut self, key: LogKey) -> Option<&mut Entry> {
        let slot = self.entries.get_mut(key.prefix.index())?;
        slot.as_mut_slice().iter_mut().find(|e| e.path_id == key.path_id)
    }

    /// Messages that withdraw `keys`, encoded for this group's peers.
    pub fn encode_withdrawals(&self, keys: &[LogKey], rib: &Rib) -> Vec<Bytes> {
        let mut out = BytesMut::new();
        let nlri = keys.iter().map(|k| (k.path_id, rib.nlri(k.prefix)));
        bgp_proto::encode_withdrawals(self.family, nlri, &self.wire, &mut out);
        if out.is_empty() { Vec::new() } else { vec![out.freeze()] }
    }

    /// Gives back everything, before the log is dropped.
    pub fn clear(&mut self, store: &mut Store<'_>) {
        for (at, slot) in core::mem::take(&mut self.entries).into_iter().enumerate() {
            for entry in slot.as_slice() {
                if let State::Live(attrs) = entry.state {
                    store.attrs.release(attrs);
                }
                store.rib.unhold(PrefixId::from_index(at));
            }
        }
        *self = Log::new(self.family, self.wire);
    }
}

/// What [`Log::seal`] did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Whether there is a new view.
    pub is_new: bool,
    /// Keys whose attributes do not fit into a message for these peers; they are withdrawn instead.
    pub too_long: Vec<LogKey>,
    /// Members that are so far behind that they were given up: their sessions must end.
    pub too_slow: Vec<PeerId>,
}

fn item(key: LogKey, entry: &Entry) -> Item {
    Item { state: entry.state, source: entry.source, takeover: entry.takeover, key }
}

/// A route's entry, in a slot that may hold several, takes no more than this.
const _: () = assert!(core::mem::size_of::<Few<Entry>>() <= 24);

/// Ranges of adjacent segments to join: small together, and no cursor stands between them.
fn joins(held: &[Held], positions: &[Seq], is_forced: bool) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut octets = 0;
    for (at, h) in held.iter().enumerate() {
        let len = h.live_octets();
        let fits = octets + len <= SEGMENT_BYTES_MAX && at > 0 && held[at - 1].shell == h.shell;
        match ranges.last_mut() {
            Some(range) if fits && (is_forced || !is_between(&held[at - 1], h, positions)) => {
                range.end = at + 1;
                octets += len;
            }
            _ => {
                ranges.push(at..at + 1);
                octets = len;
            }
        }
    }
    ranges
}

/// Whether a cursor has read `left` and not `right`.
fn is_between(left: &Held, right: &Held, positions: &[Seq]) -> bool {
    let at = positions.partition_point(|p| *p < left.segment.through());
    positions.get(at).is_some_and(|p| *p <= right.segment.after())
}
