//! Nanoseconds a message: the best of many rounds over a corpus, the codecs taking turns, so that a slow moment of the
//! machine cannot fall on one of them alone.

use bgp_proto_bench::corpora::{self, Corpus};
use bgp_proto_bench::{Codec, Encode, Walk, codecs};
use bytes::BytesMut;
use std::hint::black_box;
use std::time::{Duration, Instant};

const TURNS: usize = 12;
const TURN: Duration = Duration::from_millis(40);

fn main() {
    let corpora = corpora::all();
    let codecs = codecs();
    for corpus in &corpora {
        report_differences(corpus, &codecs);
    }
    table("Decode and walk every attribute and prefix", &corpora, &codecs, |corpus, codec| {
        let full = codec.full;
        Some(Box::new(move || walk(corpus, full)))
    });
    table("Walk the prefixes only", &corpora, &codecs, |corpus, codec| {
        let nlri = codec.nlri?;
        Some(Box::new(move || walk(corpus, nlri)))
    });
    table("Encode", &corpora, &codecs, |corpus, codec| {
        let prepare = codec.prepare?;
        let messages =
            corpus.messages.iter().filter(|(octets, four)| bgp_proto_bench::announces(octets, *four));
        let encodes: Option<Vec<Encode>> = messages.map(|(octets, four)| prepare(octets, *four)).collect();
        let encodes = encodes?;
        let mut out = BytesMut::with_capacity(1 << 17);
        Some(Box::new(move || {
            let start = Instant::now();
            for encode in &encodes {
                out.clear();
                encode(black_box(&mut out));
                black_box(&out);
            }
            (start.elapsed(), encodes.len())
        }))
    });
}

/// Says where a codec reads something else than the walk by hand.
fn report_differences(corpus: &Corpus, codecs: &[Codec]) {
    let by_hand: Vec<_> =
        corpus.messages.iter().map(|(octets, four)| (codecs[0].full)(octets, *four)).collect();
    for codec in codecs {
        let found = corpus.messages.iter().map(|(octets, four)| (codec.full)(octets, *four));
        let differ = found.zip(&by_hand).filter(|(found, by_hand)| found != *by_hand).count();
        if differ > 0 {
            println!(
                "{}: {} reads {differ} of {} messages otherwise",
                corpus.name,
                codec.name,
                by_hand.len()
            );
        }
    }
}

fn walk(corpus: &Corpus, walk: Walk) -> (Duration, usize) {
    let start = Instant::now();
    for (octets, four) in &corpus.messages {
        black_box(walk(black_box(octets), *four));
    }
    (start.elapsed(), corpus.messages.len())
}

/// One round over a corpus: how long, and how many messages.
type Round<'a> = Box<dyn FnMut() -> (Duration, usize) + 'a>;

fn table<'a>(
    title: &str,
    corpora: &'a [Corpus],
    codecs: &'a [Codec],
    round: impl Fn(&'a Corpus, &'a Codec) -> Option<Round<'a>>,
) {
    let columns: Vec<Vec<Option<f64>>> = corpora
        .iter()
        .map(|corpus| best(codecs.iter().map(|codec| round(corpus, codec)).collect()))
        .collect();
    println!("\n{title} (ns a message)\n");
    let heads: Vec<String> = corpora.iter().map(|c| format!("{}, {} octets", c.name, c.octets())).collect();
    println!("| | {} |\n|---|{}", heads.join(" | "), "---:|".repeat(corpora.len()));
    for (i, codec) in codecs.iter().enumerate() {
        let cell = |column: &Vec<Option<f64>>| match (column[i], column[0]) {
            (Some(ns), Some(hand)) => format!("{ns:.0} ({:.2})", ns / hand),
            _ => "-".into(),
        };
        let cells: Vec<String> = columns.iter().map(cell).collect();
        println!("| {} | {} |", codec.name, cells.join(" | "));
    }
}

/// The best time a message of each, taking turns.
fn best(mut rounds: Vec<Option<Round<'_>>>) -> Vec<Option<f64>> {
    let mut best = vec![None; rounds.len()];
    for _ in 0..TURNS {
        for (round, best) in rounds.iter_mut().zip(&mut best) {
            let Some(round) = round else { continue };
            let end = Instant::now() + TURN;
            while Instant::now() < end {
                let (time, count) = round();
                let ns = time.as_nanos() as f64 / count as f64;
                *best = Some(best.map_or(ns, |best: f64| best.min(ns)));
            }
        }
    }
    best
}
