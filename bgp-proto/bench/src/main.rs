//! Measures codecs against each other and against the same work written by hand, in one run.

mod corpora;
mod hand;
mod ours;

use corpora::Corpus;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// What a walk has seen, added up, so that no walk can leave work out and all can be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    #[inline]
    pub fn add(&mut self, n: u64) {
        self.0 = self.0.wrapping_add(n);
    }

    /// The first 64 bits of an address, left-aligned, and the bit length.
    #[inline]
    pub fn prefix(&mut self, address: u64, bits: u8) {
        self.0 = self.0.wrapping_add(address >> 8).wrapping_add(u64::from(bits));
    }
}

type Walk = fn(&[u8], bool) -> Option<Sum>;

fn best(corpus: &Corpus, walk: Walk) -> f64 {
    let mut best = Duration::MAX;
    let deadline = Instant::now() + Duration::from_millis(300);
    while Instant::now() < deadline {
        let start = Instant::now();
        for (message, four) in &corpus.messages {
            black_box(walk(black_box(message), *four));
        }
        best = best.min(start.elapsed());
    }
    best.as_nanos() as f64 / corpus.messages.len() as f64
}

fn main() {
    let walks: [(&str, Walk); 4] = [
        ("hand full", |m, four| hand::full(m, four)),
        ("ours full", |m, four| ours::full(m, &ours::context(four))),
        ("hand nlri", |m, _| hand::nlri(m)),
        ("ours nlri", |m, four| ours::nlri(m, &ours::context(four))),
    ];
    for corpus in corpora::all() {
        println!("{} ({} messages, mean {} octets)", corpus.name, corpus.messages.len(), corpus.octets());
        for pair in [(0, 1), (2, 3)] {
            let differ = corpus.messages.iter().filter(|(m, four)| walks[pair.0].1(m, *four) != walks[pair.1].1(m, *four)).count();
            if differ > 0 { println!("  {} differ", differ); }
        }
        for (name, walk) in walks {
            println!("  {name}: {:.1} ns", best(&corpus, walk));
        }
    }
}
