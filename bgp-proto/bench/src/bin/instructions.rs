//! Instructions a message: runs itself under valgrind, once for every codec and corpus and once for nothing, and takes the
//! difference. The count does not depend on what else the machine does.

use bgp_proto_bench::{codecs, corpora};
use std::hint::black_box;
use std::process::Command;

/// Rounds over a corpus, so that starting up hardly counts.
const ROUNDS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, corpus, codec] = arguments.as_slice() {
        return work(corpus, codec);
    }
    let corpora = corpora::all();
    let heads: Vec<&str> = corpora.iter().map(|corpus| corpus.name).collect();
    println!("| instructions a message | {} |\n|---|{}", heads.join(" | "), "---:|".repeat(corpora.len()));
    let nothing: Vec<Option<u64>> = corpora.iter().map(|corpus| count(corpus.name, "nothing")).collect();
    for codec in codecs() {
        let cell = |(corpus, nothing): (&corpora::Corpus, &Option<u64>)| {
            let all = count(corpus.name, codec.name)?.checked_sub((*nothing)?)?;
            Some((all / (ROUNDS * corpus.messages.len()) as u64).to_string())
        };
        let cells: Vec<String> =
            corpora.iter().zip(&nothing).map(|pair| cell(pair).unwrap_or("-".into())).collect();
        println!("| {} | {} |", codec.name, cells.join(" | "));
    }
}

fn work(corpus: &str, codec: &str) {
    let corpora = corpora::all();
    let Some(corpus) = corpora.iter().find(|candidate| candidate.name == corpus) else { return };
    let codec = codecs().into_iter().find(|candidate| candidate.name == codec);
    for (octets, four) in (0..ROUNDS).flat_map(|_| &corpus.messages) {
        if let Some(codec) = &codec {
            black_box((codec.full)(black_box(octets), *four));
        }
    }
}

fn count(corpus: &str, codec: &str) -> Option<u64> {
    let own = std::env::current_exe().ok()?;
    let valgrind = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args([corpus, codec])
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&valgrind.stderr).into_owned();
    let line = said.lines().find(|line| line.contains("Collected"))?;
    line.rsplit(' ').next()?.parse().ok()
}
