//! A list that nearly always holds at most one item, and then needs no allocation.

/// None, one, or some.
#[derive(Debug, Clone, Default)]
pub enum Few<T> {
    /// Nothing.
    #[default]
    None,
    /// The usual case.
    One(T),
    /// Several, in order of arrival.
    #[allow(clippy::box_collection, reason = "keeps the list at the size of one item")]
    Many(Box<Vec<T>>),
}

impl<T> Few<T> {
    /// The items, in order of arrival.
    pub fn as_slice(&self) -> &[T] {
        match self {
            Few::None => &[],
            Few::One(one) => core::slice::from_ref(one),
            Few::Many(many) => many,
        }
    }

    /// The items, to change in place.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        match self {
            Few::None => &mut [],
            Few::One(one) => core::slice::from_mut(one),
            Few::Many(many) => many,
        }
    }

    /// Adds an item at the end.
    pub fn push(&mut self, item: T) {
        *self = match core::mem::take(self) {
            Few::None => Few::One(item),
            Few::One(one) => Few::Many(Box::new(vec![one, item])),
            Few::Many(mut many) => {
                many.push(item);
                Few::Many(many)
            }
        };
    }

    /// Removes and returns the first item for which `gone` holds.
    pub fn remove_first(&mut self, mut gone: impl FnMut(&T) -> bool) -> Option<T> {
        let at = self.as_slice().iter().position(&mut gone)?;
        match core::mem::take(self) {
            Few::None => None,
            Few::One(one) => Some(one),
            Few::Many(mut many) => {
                let removed = many.remove(at);
                *self = match many.len() {
                    1 => many.pop().map_or(Few::None, Few::One),
                    _ => Few::Many(many),
                };
                Some(removed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_shrinks_back() {
        let mut few = Few::default();
        for i in 0..4 {
            few.push(i);
        }
        assert_eq!(few.remove_first(|i| *i == 1), Some(1));
        assert_eq!(few.remove_first(|i| *i == 9), None);
        assert_eq!(few.as_slice(), [0, 2, 3]);
        few.remove_first(|i| *i == 0);
        few.remove_first(|i| *i == 3);
        assert!(matches!(few, Few::One(2)));
        few.remove_first(|_| true);
        assert!(matches!(few, Few::None));
    }
}
