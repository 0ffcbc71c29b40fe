//! What the plan keeps of one prefix, made small: a node may have a million of them.

use bgp_proto::Prefix;

use super::super::intern::Id;

/// Both sides of one prefix.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) prefix: Prefix,
    /// The wish, if there is one.
    pub(super) want: Option<Id>,
    /// Routes of ours in the kernel.
    pub(super) held: Held,
    pub(super) state: State,
    /// Waiting to be judged.
    pub(super) queued: bool,
    /// Found in the kernel before the sweep: not to be deleted.
    pub(super) inherited: bool,
}

impl Slot {
    /// Nothing on either side, and counted.
    pub(super) fn new(prefix: Prefix, states: &mut States) -> Slot {
        let state = State::default();
        states.enters(state);
        Slot { prefix, want: None, held: Held::None, state, queued: false, inherited: false }
    }

    /// Stands otherwise from now on.
    pub(super) fn enter(&mut self, state: State, states: &mut States) {
        states.leaves(self.state);
        states.enters(state);
        self.state = state;
    }
}

/// A route of ours in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) target: Id,
    pub(super) metric: u32,
    /// Which of our marks it carries (protocol and table).
    pub(super) mark: u8,
    /// The walk that met it last.
    pub(super) round: u8,
}

/// The routes of ours to one prefix: almost always one.
#[derive(Debug, Clone, Default)]
pub(super) enum Held {
    #[default]
    None,
    One(Entry),
    Many(Vec<Entry>),
}

impl Held {
    pub(super) fn as_slice(&self) -> &[Entry] {
        match self {
            Held::None => &[],
            Held::One(entry) => std::slice::from_ref(entry),
            Held::Many(entries) => entries,
        }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [Entry] {
        match self {
            Held::None => &mut [],
            Held::One(entry) => std::slice::from_mut(entry),
            Held::Many(entries) => entries,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub(super) fn push(&mut self, entry: Entry) {
        *self = match std::mem::take(self) {
            Held::None => Held::One(entry),
            Held::One(first) => Held::Many(vec![first, entry]),
            Held::Many(mut entries) => {
                entries.push(entry);
                Held::Many(entries)
            }
        };
    }

    /// Takes out the first such entry.
    pub(super) fn extract_first(&mut self, gone: impl FnMut(&Entry) -> bool) -> Option<Entry> {
        let index = self.as_slice().iter().position(gone)?;
        match std::mem::take(self) {
            Held::None => None,
            Held::One(entry) => Some(entry),
            Held::Many(mut entries) => {
                let entry = entries.remove(index);
                *self = Held::of(entries);
                Some(entry)
            }
        }
    }

    /// Takes out all such entries.
    pub(super) fn extract(&mut self, mut gone: impl FnMut(&Entry) -> bool) -> Vec<Entry> {
        let mut out = Vec::new();
        while let Some(entry) = self.extract_first(&mut gone) {
            out.push(entry);
        }
        out
    }

    fn of(entries: Vec<Entry>) -> Held {
        match entries.as_slice() {
            [] => Held::None,
            [entry] => Held::One(*entry),
            _ => Held::Many(entries),
        }
    }
}

/// How a prefix stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// To be judged, or operations are under way.
    #[default]
    Pending,
    /// The kernel has what is wanted.
    Installed,
    /// No next hop can be reached.
    Unresolved,
    /// The kernel, or a foreign route, does not let it in.
    Refused,
    /// The prefix is on the list of those never installed.
    Protected,
    /// Nothing is wanted; the kernel still has what it had before this process started.
    Leftover,
    /// Nothing is wanted or installing is off.
    Idle,
}

/// How many prefixes stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct States {
    /// To be judged, or under way.
    pub pending: u64,
    /// In the kernel as wanted.
    pub installed: u64,
    /// Without a next hop that can be reached.
    pub unresolved: u64,
    /// Not let in.
    pub refused: u64,
    /// Never installed by configuration.
    pub protected: u64,
    /// From before, not wanted yet.
    pub leftover: u64,
    /// Known but not to be installed.
    pub idle: u64,
}

impl States {
    pub(super) fn enters(&mut self, state: State) {
        let count = self.count(state);
        *count = count.saturating_add(1);
    }

    pub(super) fn leaves(&mut self, state: State) {
        let count = self.count(state);
        *count = count.saturating_sub(1);
    }

    fn count(&mut self, state: State) -> &mut u64 {
        match state {
            State::Pending => &mut self.pending,
            State::Installed => &mut self.installed,
            State::Unresolved => &mut self.unresolved,
            State::Refused => &mut self.refused,
            State::Protected => &mut self.protected,
            State::Leftover => &mut self.leftover,
            State::Idle => &mut self.idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fib::intern::Interner;

    #[test]
    fn a_slot_is_small() {
        assert!(size_of::<Option<Slot>>() <= 56, "{}", size_of::<Slot>());
        assert_eq!(size_of::<Entry>(), 12);
    }

    #[test]
    fn held_grows_and_shrinks() {
        let mut interner = Interner::default();
        let entry = |metric| Entry { target: interner.insert(metric).unwrap(), metric, mark: 0, round: 0 };
        let entries: Vec<Entry> = (1..4).map(entry).collect();
        let mut held = Held::default();
        entries.iter().for_each(|entry| held.push(*entry));
        assert_eq!(held.as_slice(), entries);
        assert_eq!(held.extract(|entry| entry.metric != 2).len(), 2);
        assert_eq!(held.as_slice(), [entries[1]]);
        assert!(matches!(held, Held::One(_)));
        held.extract(|_| true);
        assert!(held.is_empty());
    }
}
