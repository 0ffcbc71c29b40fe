//! Sets as this speaker reflects them, kept as edits of what was heard.
//!
//! Reflection adds two short attributes to every set (RFC 4456 section 8). To keep the result beside the set would double what a
//! reflector keeps of attributes; kept as an edit it is four numbers, and is carried out when it is encoded.

use bgp_proto::{AttrSet, AttrSetBuilder, ClusterId, RouterId};
use core::hash::BuildHasher;
use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use super::attr_id::AttrId;
use super::merits::LOCAL_PREF_DEFAULT;

/// A set as this speaker reflects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reflected {
    /// The set that was heard.
    pub base: AttrId,
    /// The ORIGINATOR_ID that it is told with.
    pub originator: RouterId,
    /// This speaker's cluster.
    pub cluster: ClusterId,
}

impl Reflected {
    /// Carries the edit out.
    pub fn of(&self, attrs: &AttrSet) -> AttrSet {
        let mut edit = attrs.edit();
        edit.local_pref(Some(attrs.local_pref().unwrap_or(LOCAL_PREF_DEFAULT)));
        mark(&mut edit, attrs, self.originator, self.cluster);
        edit.build()
    }
}

/// Adds what reflection adds: ORIGINATOR_ID where there is none yet, the sender's BGP Identifier, and this
/// cluster at the head of CLUSTER_LIST (RFC 4456 section 8).
pub fn mark(edit: &mut AttrSetBuilder, attrs: &AttrSet, sender: RouterId, cluster: ClusterId) {
    if attrs.originator_id().is_none() {
        edit.originator_id(Some(sender));
    }
    edit.cluster_prepend(cluster);
}

#[derive(Debug)]
struct Slot {
    reflected: Reflected,
    uses: u32,
}

/// The edits in use, each once.
#[derive(Debug, Default)]
pub(super) struct Reflections {
    slots: Vec<Slot>,
    free: Vec<u32>,
    index: HashTable<u32>,
}

impl Reflections {
    /// The slot of an edit, with one use for the caller, and whether it is a new one.
    pub(super) fn intern(&mut self, reflected: Reflected) -> (u32, bool) {
        let slots = &mut self.slots;
        let hash = hash(&reflected);
        if let Some(at) = self.index.find(hash, |at| slots[*at as usize].reflected == reflected) {
            slots[*at as usize].uses += 1;
            return (*at, false);
        }
        let slot = Slot { reflected, uses: 1 };
        let at = match self.free.pop() {
            Some(at) => {
                slots[at as usize] = slot;
                at
            }
            None => {
                slots.push(slot);
                (slots.len() - 1) as u32
            }
        };
        self.index.insert_unique(hash, at, |at| self::hash(&slots[*at as usize].reflected));
        (at, true)
    }

    pub(super) fn hold(&mut self, at: u32) {
        self.slots[at as usize].uses += 1;
    }

    /// Counts one use less; the last one forgets the edit and returns its base.
    pub(super) fn release(&mut self, at: u32) -> Option<AttrId> {
        let Slot { reflected, uses } = &mut self.slots[at as usize];
        debug_assert!(*uses > 0, "an edit in use");
        *uses = uses.saturating_sub(1);
        if *uses > 0 {
            return None;
        }
        if let Ok(entry) = self.index.find_entry(hash(reflected), |i| *i == at) {
            entry.remove();
        }
        self.free.push(at);
        Some(reflected.base)
    }

    pub(super) fn get(&self, at: u32) -> Reflected {
        self.slots[at as usize].reflected
    }
}

fn hash(reflected: &Reflected) -> u64 {
    FxBuildHasher.hash_one(reflected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rib::AttrTable;
    use bgp_proto::NextHop;
    use core::net::Ipv4Addr;

    #[test]
    fn an_edit_is_kept_once_and_keeps_its_base_as_long_as_it_is_used() {
        let mut table = AttrTable::default();
        let heard = AttrSet::builder(NextHop::from(Ipv4Addr::new(10, 0, 0, 1))).as_path(&[]).build();
        let base = table.intern(&heard);
        let reflected = Reflected { base, originator: RouterId(7), cluster: ClusterId(9) };
        let told = table.intern_reflected(reflected);
        assert_eq!(table.intern_reflected(reflected), told);
        table.release(base);
        let set = table.told(told).into_owned();
        assert_eq!((set.originator_id(), set.local_pref()), (Some(RouterId(7)), Some(100)));
        assert_eq!(set.cluster_list().iter().collect::<Vec<_>>(), [ClusterId(9)]);
        let whole = table.intern(&set);
        assert_eq!(table.told(whole), table.told(told));
        assert_ne!(table.told(base), table.told(told));
        [told, told, whole].into_iter().for_each(|id| table.release(id));
        assert!(table.is_empty());
        let other = table.intern(&heard);
        let again = table.intern_reflected(Reflected { base: other, ..reflected });
        assert_eq!(table.told(again).into_owned(), set);
    }
}
