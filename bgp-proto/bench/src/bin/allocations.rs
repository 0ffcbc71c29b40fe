//! Heap allocations a message.

use bgp_proto_bench::{codecs, corpora};
use bytes::BytesMut;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let corpora = corpora::all();
    let heads: Vec<&str> = corpora.iter().map(|corpus| corpus.name).collect();
    println!("| allocations a message | {} |\n|---|{}", heads.join(" | "), "---:|".repeat(corpora.len()));
    for codec in codecs() {
        let mut cells = Vec::new();
        for corpus in &corpora {
            let messages = &corpus.messages;
            let decode = count(messages.len(), || {
                messages.iter().for_each(|(octets, four)| {
                    black_box((codec.full)(octets, *four));
                })
            });
            let announcing =
                messages.iter().filter(|(octets, four)| bgp_proto_bench::announces(octets, *four));
            let encodes: Option<Vec<_>> = announcing
                .map(|(octets, four)| codec.prepare.and_then(|prepare| prepare(octets, *four)))
                .collect();
            let mut out = BytesMut::with_capacity(1 << 20);
            let encode = encodes.map(|encodes| {
                count(encodes.len(), || {
                    encodes.iter().for_each(|encode| {
                        out.clear();
                        encode(&mut out);
                    })
                })
            });
            let encode = encode.map_or("-".into(), |n| format!("{n:.1}"));
            cells.push(format!("{decode:.1} decoded, {encode} encoded"));
        }
        println!("| {} | {} |", codec.name, cells.join(" | "));
    }
}

fn count(messages: usize, mut work: impl FnMut()) -> f64 {
    // Once before, for what is made on first use.
    work();
    let region = Region::new(ALLOCATOR);
    work();
    let change = region.change();
    (change.allocations + change.reallocations) as f64 / messages as f64
}
