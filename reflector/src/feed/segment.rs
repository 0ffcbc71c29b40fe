//! A run of encoded messages with their audience.
//!
//! The octets stand in three regions: withdrawals for (nearly) all, announcements for (nearly) all, and messages
//! for one peer alone. Withdrawals come first so that a reader who needs none of them, being new, skips them by
//! one offset. Exceptions are sorted by peer: finding one's own is a binary search, whatever the segment's size.

use bytes::{Bytes, BytesMut};
use core::ops::Range;

use crate::ids::{PeerId, Seq};

/// An immutable run of encoded UPDATE messages, covering the log positions `(after, through]`.
#[derive(Debug, Clone)]
pub struct Segment {
    after: Seq,
    through: Seq,
    octets: Bytes,
    withdrawals_end: usize,
    announcements_end: usize,
    except: Box<[(PeerId, Range<usize>)]>,
    only: Box<[(PeerId, Range<usize>)]>,
}

/// Whether a reader wants a segment's withdrawals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Withdrawals {
    Read,
    Skip,
}

impl Segment {
    /// The position before its first entry.
    pub fn after(&self) -> Seq {
        self.after
    }

    /// The position of its last entry.
    pub fn through(&self) -> Seq {
        self.through
    }

    /// One that covers the same positions and says nothing.
    pub fn hollow(&self) -> Segment {
        SegmentBuilder::default().build(self.after, self.through)
    }

    /// Octets held, whatever their audience.
    pub fn len(&self) -> usize {
        self.octets.len()
    }

    /// Whether it says nothing to anybody.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Hands `peer`'s octets to `out` in order, as slices of the shared buffer.
    pub(super) fn read(&self, peer: PeerId, withdrawals: Withdrawals, mut out: impl FnMut(Bytes)) {
        if withdrawals == Withdrawals::Read {
            for (_, range) in of_peer(&self.only, peer) {
                out(self.octets.slice(range.clone()));
            }
        }
        let mut at = match withdrawals {
            Withdrawals::Read => 0,
            Withdrawals::Skip => self.withdrawals_end,
        };
        for (_, range) in of_peer(&self.except, peer) {
            if range.start > at {
                out(self.octets.slice(at..range.start));
            }
            at = at.max(range.end);
        }
        if self.announcements_end > at {
            out(self.octets.slice(at..self.announcements_end));
        }
    }
}

fn of_peer(sorted: &[(PeerId, Range<usize>)], peer: PeerId) -> &[(PeerId, Range<usize>)] {
    let from = sorted.partition_point(|(p, _)| *p < peer);
    let to = from + sorted[from..].partition_point(|(p, _)| *p == peer);
    &sorted[from..to]
}

/// Collects a segment's messages. Each `push` takes whole messages, already encoded.
#[derive(Debug, Default)]
pub struct SegmentBuilder {
    withdrawals: BytesMut,
    announcements: BytesMut,
    private: BytesMut,
    withdrawals_except: Vec<(PeerId, Range<usize>)>,
    announcements_except: Vec<(PeerId, Range<usize>)>,
    only: Vec<(PeerId, Range<usize>)>,
}

impl SegmentBuilder {
    /// Octets collected so far.
    pub fn len(&self) -> usize {
        self.withdrawals.len() + self.announcements.len() + self.private.len()
    }

    /// Whether nothing was collected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends withdrawals that `write` encodes, for all but `except`.
    pub fn withdrawals<T>(&mut self, except: Option<PeerId>, write: impl FnOnce(&mut BytesMut) -> T) -> T {
        push(&mut self.withdrawals, &mut self.withdrawals_except, except, write)
    }

    /// Appends announcements that `write` encodes, for all but `except`.
    pub fn announcements<T>(&mut self, except: Option<PeerId>, write: impl FnOnce(&mut BytesMut) -> T) -> T {
        push(&mut self.announcements, &mut self.announcements_except, except, write)
    }

    /// Appends withdrawals that `write` encodes, for `peer` alone.
    pub fn withdrawals_for<T>(&mut self, peer: PeerId, write: impl FnOnce(&mut BytesMut) -> T) -> T {
        push(&mut self.private, &mut self.only, Some(peer), write)
    }

    /// The segment that covers `(after, through]`.
    pub fn build(mut self, after: Seq, through: Seq) -> Segment {
        let withdrawals_end = self.withdrawals.len();
        let announcements_end = withdrawals_end + self.announcements.len();
        let mut octets = self.withdrawals;
        octets.reserve(self.announcements.len() + self.private.len());
        octets.extend_from_slice(&self.announcements);
        octets.extend_from_slice(&self.private);
        let mut except = self.withdrawals_except;
        except.extend(self.announcements_except.into_iter().map(|(p, r)| (p, shift(r, withdrawals_end))));
        except.sort_by_key(|(p, r)| (*p, r.start));
        self.only.sort_by_key(|(p, r)| (*p, r.start));
        let only = self.only.into_iter().map(|(p, r)| (p, shift(r, announcements_end))).collect();
        Segment {
            after,
            through,
            octets: octets.freeze(),
            withdrawals_end,
            announcements_end,
            except: except.into(),
            only,
        }
    }
}

fn push<T>(
    region: &mut BytesMut,
    index: &mut Vec<(PeerId, Range<usize>)>,
    peer: Option<PeerId>,
    write: impl FnOnce(&mut BytesMut) -> T,
) -> T {
    let start = region.len();
    let written = write(region);
    if let Some(peer) = peer.filter(|_| region.len() > start) {
        index.push((peer, start..region.len()));
    }
    written
}

fn shift(range: Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(segment: &Segment, peer: u32, withdrawals: Withdrawals) -> Vec<u8> {
        let mut out = Vec::new();
        segment.read(PeerId(peer), withdrawals, |b| out.extend_from_slice(&b));
        out
    }

    fn sample() -> Segment {
        let mut b = SegmentBuilder::default();
        b.announcements(Some(PeerId(1)), |o| o.extend_from_slice(b"A"));
        b.withdrawals(Some(PeerId(2)), |o| o.extend_from_slice(b"w"));
        b.announcements(Some(PeerId(2)), |o| o.extend_from_slice(b"B"));
        b.announcements(None, |o| o.extend_from_slice(b"C"));
        b.withdrawals(None, |o| o.extend_from_slice(b"x"));
        b.withdrawals_for(PeerId(1), |o| o.extend_from_slice(b"t"));
        b.build(Seq(0), Seq(1))
    }

    #[test]
    fn each_peer_reads_its_own_audience() {
        assert_eq!(read(&sample(), 1, Withdrawals::Read), b"twxBC");
        assert_eq!(read(&sample(), 2, Withdrawals::Read), b"xAC");
        assert_eq!(read(&sample(), 3, Withdrawals::Read), b"wxABC");
    }

    #[test]
    fn a_new_reader_skips_withdrawals() {
        assert_eq!(read(&sample(), 1, Withdrawals::Skip), b"BC");
        assert_eq!(read(&sample(), 3, Withdrawals::Skip), b"ABC");
    }
}
