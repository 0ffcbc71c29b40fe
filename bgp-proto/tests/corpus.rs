//! Recorded messages, where they are at hand: every one decodes, and reads back after it was encoded again.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test program")]

mod common;

use bgp_proto::context::AsSets;
use bgp_proto::*;
use bytes::BytesMut;
use std::fs;
use std::path::PathBuf;

fn corpus() -> Option<PathBuf> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/bgp");
    if dir.is_dir() {
        return Some(dir);
    }
    println!("skipped: no recorded messages at {}", dir.display());
    None
}

/// Contexts that a recorded message may have been sent in; the recording tells the AS number width at most.
fn contexts(word: &str) -> Vec<WireContext> {
    let widths: &[AsnWidth] = match word {
        "as2" => &[AsnWidth::Two],
        "as4" => &[AsnWidth::Four],
        _ => &[AsnWidth::Four, AsnWidth::Two],
    };
    let mut contexts = Vec::new();
    for add_path in [FamilySet::EMPTY, FamilySet::IPV4, FamilySet::ALL] {
        contexts.extend(widths.iter().map(|asn_width| WireContext {
            asn_width: *asn_width,
            message_max: MessageMax::Extended,
            peer: PeerKind::Confederation,
            as_sets: AsSets::Accepted,
            families: FamilySet::ALL,
            add_path,
            extended_next_hop: FamilySet::ALL,
            ..WireContext::PLAIN
        }));
    }
    contexts
}

/// Whether the message means something without fault, and the same after it was encoded again.
fn replays(frame: &Frame<'_>, ctx: &WireContext) -> bool {
    let Ok(message) = Message::decode(frame, ctx) else { return false };
    let Message::Update(update) = &message else { return true };
    if update.verdict() != Verdict::Sound {
        return false;
    }
    for reach in update.reach() {
        let set = update.attr_set(reach.next_hop);
        let mut out = BytesMut::new();
        AttrBlock::new(&set, reach.family, ctx).encode_updates(reach.nlri.clone(), &mut out).unwrap();
        let frame = Frame::first(&out, ctx).unwrap().unwrap();
        let again = Update::decode(frame.body(), ctx).unwrap();
        let read = again.reach().next().unwrap();
        assert_eq!(again.attr_set(read.next_hop), set, "{}", common::hex(frame.octets));
        assert!(read.nlri.eq(reach.nlri), "{}", common::hex(frame.octets));
    }
    true
}

#[test]
fn recorded_messages_replay() {
    let Some(dir) = corpus() else { return };
    for (file, sound_min) in [
        ("rrc15-updates.20100227.1600.hex", 6265),
        ("rrc15-updates.20100227.1610.hex", 1567),
        ("mrtparse-samples.hex", 182),
        ("netgauze-pcap-bgp.hex", 868),
    ] {
        let text = fs::read_to_string(dir.join(file)).unwrap();
        let (mut sound, mut faulty) = (0, Vec::new());
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            let (Some(first), Some(last)) = (words.next(), words.last()) else { continue };
            let octets = common::unhex(last).unwrap();
            let replayed = contexts(first).iter().any(|ctx| {
                Frame::first(&octets, ctx).ok().flatten().is_some_and(|frame| replays(&frame, ctx))
            });
            match replayed {
                true => sound += 1,
                false => faulty.push(line),
            }
        }
        println!("{file}: {sound} sound, {} not", faulty.len());
        assert!(sound >= sound_min, "{file}: {sound} sound; not: {}", faulty.join("\n"));
    }
}
