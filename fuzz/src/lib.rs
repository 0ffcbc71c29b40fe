//! What the fuzz targets do with octets. A target is five lines around one of these; `bgpd/tests/fuzz_corpus.rs` replays the
//! corpus through the same functions in every test run.

use bgp_proto::{
    AsnWidth, AttrBlock, Family, FamilySet, Frame, HEADER_OCTETS, Message, MessageMax, NlriRef, PathId,
    PeerKind, Update, Verdict, WireContext, encode_withdrawals,
};
use bytes::BytesMut;
use reflector::ids::PeerId;
use reflector::session::{Backlog, Config, ConnId, Connect, Session, Verdict as Admission};
use reflector::time::{Duration, Instant};

/// The first octet chooses the context, the rest is a stream of messages: each is decoded and walked, and an UPDATE is
/// written again and must read back the same.
pub fn message(data: &[u8]) {
    let Some((choice, mut stream)) = data.split_first() else { return };
    let ctx = context(*choice);
    while let Ok(Some(frame)) = Frame::first(stream, &ctx) {
        stream = &stream[HEADER_OCTETS + frame.body().len()..];
        match Message::decode(&frame, &ctx) {
            Ok(Message::Update(update)) => round_trip(&update, &ctx),
            Ok(message) => drop(format!("{message:?}")),
            Err(reset) => drop(reset.to_string()),
        }
    }
}

fn context(choice: u8) -> WireContext {
    let pick = |bit: u8| choice & bit != 0;
    WireContext {
        asn_width: if pick(1) { AsnWidth::Four } else { AsnWidth::Two },
        peer: if pick(2) { PeerKind::Internal } else { PeerKind::External },
        families: FamilySet::ALL,
        add_path: if pick(4) { FamilySet::UNICAST } else { FamilySet::EMPTY },
        message_max: if pick(8) { MessageMax::Extended } else { MessageMax::Standard },
        ..WireContext::default()
    }
}

fn round_trip(update: &Update<'_>, ctx: &WireContext) {
    for fault in update.faults() {
        drop(fault.to_string());
    }
    let mut out = BytesMut::new();
    for unreach in update.unreach() {
        out.clear();
        let nlri: Vec<_> = unreach.nlri.clone().collect();
        encode_withdrawals(unreach.family, nlri.iter().copied(), ctx, &mut out);
        assert_eq!(heard(&out, ctx).1, named(unreach.family, &nlri), "withdrawals read back");
    }
    if update.verdict() == Verdict::Withdrawn {
        return;
    }
    for reach in update.reach() {
        let attrs = update.attr_set(reach.next_hop);
        let nlri: Vec<_> = reach.nlri.clone().collect();
        out.clear();
        // What does not fit any more with what we add, such as AS4_PATH, is not written at all.
        if AttrBlock::new(&attrs, reach.family, ctx).encode_updates(nlri.iter().copied(), &mut out).is_ok() {
            assert_eq!(heard(&out, ctx).0, named(reach.family, &nlri), "announcements read back");
        }
    }
}

type Named = Vec<(Family, PathId, String)>;

fn named(family: Family, nlri: &[(PathId, NlriRef<'_>)]) -> Named {
    nlri.iter().map(|(id, nlri)| (family, *id, nlri.to_string())).collect()
}

/// What a stream of UPDATEs of our own announces and withdraws.
fn heard(mut stream: &[u8], ctx: &WireContext) -> (Named, Named) {
    let (mut reach, mut unreach) = (Named::new(), Named::new());
    while let Some(frame) = Frame::first(stream, ctx).expect("our own header") {
        stream = &stream[HEADER_OCTETS + frame.body().len()..];
        let update = Update::decode(frame.body(), ctx).expect("our own UPDATE");
        for part in update.reach() {
            reach.extend(named(part.family, &part.nlri.collect::<Vec<_>>()));
        }
        for part in update.unreach() {
            unreach.extend(named(part.family, &part.nlri.collect::<Vec<_>>()));
        }
    }
    (reach, unreach)
}

/// A peer that sends anything, in pieces of any size, with time passing in between.
pub fn session(data: &[u8]) {
    let mut config = Config::new(bgp_proto::Asn(65001), bgp_proto::RouterId(1), bgp_proto::Asn(65002));
    config.connect = Connect::Passive;
    let mut session = Session::new(PeerId(1), config, 7);
    let mut now = Instant::EPOCH;
    session.start(now);
    let Admission::Accepted(mut conn) = session.accepted(now) else { return };
    let mut rest = data;
    while let Some((step, tail)) = rest.split_first() {
        let (piece, tail) = tail.split_at(usize::from(*step & 0x3F).min(tail.len()));
        rest = tail;
        session.received(conn, piece, now);
        if step & 0x40 != 0 {
            now = now + Duration::from_secs(u64::from(step >> 7) * 60 + 1);
            session.timeout(now, &Nothing);
        }
        session.poll_transmit(conn, 4096, now, drop);
        while session.poll_action().is_some() {}
        while session.poll_event().is_some() {}
        if session.connections().count() == 0
            && let Admission::Accepted(next) = session.accepted(now)
        {
            conn = next;
        }
    }
}

/// A kernel that holds nothing.
struct Nothing;

impl Backlog for Nothing {
    fn has_unread(&self, _: ConnId) -> bool {
        false
    }

    fn unsent(&self, _: ConnId) -> usize {
        0
    }
}
