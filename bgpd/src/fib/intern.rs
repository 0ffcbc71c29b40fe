//! Values that many routes share, each kept once and named by a small number.
//!
//! A node of a large cluster has a million routes and a few thousand different ways to forward them. With numbers instead
//! of the ways themselves a route costs four octets, "is it the same" is one comparison, and whatever depends on the way
//! (its resolution, whether it uses an interface) is worked out once for all routes that share it.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;

/// The number of a value in its [`Interner`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(NonZeroU32);

impl Id {
    fn new(index: usize) -> Option<Id> {
        u32::try_from(index + 1).ok().and_then(NonZeroU32::new).map(Id)
    }

    /// Where the value lies in a list beside the interner's.
    pub(super) fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// A set of counted values.
#[derive(Debug)]
pub(super) struct Interner<T> {
    ids: HashMap<Arc<T>, Id>,
    values: Vec<Option<Counted<T>>>,
    free: Vec<Id>,
}

#[derive(Debug)]
struct Counted<T> {
    value: Arc<T>,
    uses: usize,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Interner { ids: HashMap::new(), values: Vec::new(), free: Vec::new() }
    }
}

impl<T: Eq + Hash> Interner<T> {
    /// The number of a value, one use more. `None` if there are more different values than numbers.
    pub(super) fn acquire(&mut self, value: T) -> Option<Id> {
        match self.find(&value) {
            Some(id) => {
                self.retain(id);
                Some(id)
            }
            None => self.insert(value),
        }
    }

    /// The number of a value that is in use.
    pub(super) fn find(&self, value: &T) -> Option<Id> {
        self.ids.get(value).copied()
    }

    /// A number for a value that is not in use yet.
    pub(super) fn insert(&mut self, value: T) -> Option<Id> {
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                let id = Id::new(self.values.len())?;
                self.values.push(None);
                id
            }
        };
        let value = Arc::new(value);
        self.ids.insert(value.clone(), id);
        if let Some(place) = self.values.get_mut(id.index()) {
            *place = Some(Counted { value, uses: 1 });
        }
        Some(id)
    }

    /// One use more of a value that is in use.
    pub(super) fn retain(&mut self, id: Id) {
        if let Some(Some(counted)) = self.values.get_mut(id.index()) {
            counted.uses += 1;
        }
    }

    /// One use less; the value, if it was the last.
    pub(super) fn release(&mut self, id: Id) -> Option<Arc<T>> {
        let place = self.values.get_mut(id.index())?;
        let counted = place.as_mut()?;
        counted.uses -= 1;
        if counted.uses > 0 {
            return None;
        }
        let last = place.take()?.value;
        self.ids.remove(&last);
        self.free.push(id);
        Some(last)
    }

    /// The value of a number.
    pub(super) fn value(&self, id: Id) -> Option<&Arc<T>> {
        self.values.get(id.index())?.as_ref().map(|counted| &counted.value)
    }

    /// Every value in use, in order of number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, &Arc<T>)> {
        self.values
            .iter()
            .enumerate()
            .filter_map(|(index, counted)| Some((Id::new(index)?, &counted.as_ref()?.value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_a_number_until_the_last_use_ends() {
        let mut interner = Interner::default();
        let a = interner.acquire("a").unwrap();
        let b = interner.acquire("b").unwrap();
        assert_eq!(interner.acquire("a"), Some(a));
        assert_ne!(a, b);
        assert_eq!(interner.release(a), None);
        assert_eq!(interner.release(a).as_deref(), Some(&"a"));
        assert_eq!(interner.value(a), None);
        assert_eq!(interner.acquire("c"), Some(a), "numbers are used again");
        assert_eq!(interner.iter().count(), 2);
    }
}
