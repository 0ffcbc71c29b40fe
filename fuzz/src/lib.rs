//! What the fuzz targets do with octets. A target is five lines around one of these; `bgpd/tests/fuzz_corpus.rs` replays the
//! corpus through the same functions in every test run.

mod tables;
mod wire;

use reflector::ids::PeerId;
use reflector::session::{Backlog, Config, ConnId, Connect, Session, Verdict as Admission};
use reflector::time::{Duration, Instant};
pub use tables::table;
pub use wire::{attributes, differential, message, roundtrip};

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

/// A simulated cluster in which the octets draw who there is and what goes wrong: in the end all is well.
pub fn cluster(data: &[u8]) {
    if let Err(failure) = sim::run_scripted(data, 3) {
        panic!("{}\n{}", failure.what, failure.trace);
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
