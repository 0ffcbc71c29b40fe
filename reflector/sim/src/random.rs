//! Chance that repeats: everything a run draws comes from its seed, or from a script that says what is drawn first.

use reflector::time::Duration;

/// A small pseudo-random generator (splitmix64). With a script, the first draws are read from that: so a fuzzer
/// decides what a run is about.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
    script: Vec<u8>,
}

impl Random {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Random {
        Random { state: seed ^ 0x5DEE_CE66_D153_1A2B, script: Vec::new() }
    }

    /// Starts with a script, two octets a draw.
    pub fn scripted(script: &[u8]) -> Random {
        Random { script: script.iter().rev().copied().collect(), ..Random::new(0) }
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        if let Some(high) = self.script.pop() {
            let low = self.script.pop().unwrap_or(0);
            return u64::from(u16::from_be_bytes([high, low]));
        }
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if there is none.
    pub fn below(&mut self, end: usize) -> usize {
        (self.any() % (end.max(1) as u64)) as usize
    }

    /// A number from `from` to `to`, both included.
    pub fn between(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to.saturating_sub(from) + 1)
    }

    /// Whether something of `percent` probability happens.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// A span between two others, to the microsecond.
    pub fn span(&mut self, from: Duration, to: Duration) -> Duration {
        let micros = self.between(from.as_micros() as usize, to.as_micros() as usize);
        Duration::from_micros(micros as u64)
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }

    /// Several of them, each at most once.
    pub fn sample<T: Clone>(&mut self, items: &[T], count: usize) -> Vec<T> {
        let mut left = items.to_vec();
        let mut taken = Vec::new();
        while taken.len() < count && !left.is_empty() {
            let at = self.below(left.len());
            taken.push(left.swap_remove(at));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_decides_until_it_ends() {
        let mut random = Random::scripted(&[0, 7, 1, 0, 9]);
        assert_eq!([random.any(), random.any(), random.any()], [7, 256, 9 << 8]);
        assert_eq!(random.any(), Random::new(0).any());
    }
}
