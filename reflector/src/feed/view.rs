//! A group's log at one moment.

use std::sync::Arc;

use super::Segment;
use crate::ids::Seq;

/// The segments of a group's log, oldest first, and the position of its end.
///
/// Ranges ascend and do not overlap. Where compaction removed everything there are gaps.
#[derive(Debug, Clone, Default)]
pub struct LogView {
    segments: Vec<Arc<Segment>>,
    end: Seq,
}

impl LogView {
    /// A view of `segments`, which must ascend, ending at `end`.
    pub fn new(segments: Vec<Arc<Segment>>, end: Seq) -> LogView {
        debug_assert!(segments.windows(2).all(|w| w[0].through() <= w[1].after()));
        debug_assert!(segments.last().is_none_or(|s| s.through() <= end));
        LogView { segments, end }
    }

    /// The position of the log's end.
    pub fn end(&self) -> Seq {
        self.end
    }

    /// Octets of all segments.
    pub fn len(&self) -> usize {
        self.segments.iter().map(|s| s.len()).sum()
    }

    /// Whether no segment says anything.
    pub fn is_empty(&self) -> bool {
        self.segments.iter().all(|s| s.is_empty())
    }

    /// The first segment with something after `position`.
    pub(super) fn after(&self, position: Seq) -> Option<&Segment> {
        let at = self.segments.partition_point(|s| s.through() <= position);
        self.segments.get(at).map(|s| &**s)
    }
}
