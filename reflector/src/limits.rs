//! Every bound of this crate, in one place.

use crate::time::Duration;

/// A segment of a group log is closed when its encoded messages reach this many octets.
pub const SEGMENT_BYTES_MAX: usize = 64 * 1024;

/// Encoded octets that a group log keeps for peers to come. What every cursor has read of a larger table is encoded again
/// when a peer needs it.
pub const LOG_BYTES_KEPT: usize = 4 * 1024 * 1024;

/// A group log is folded whatever its cursors say once it holds this many segments.
pub const SEGMENTS_MAX: usize = 4096;

/// A group log with fewer segments than this is not folded: it is not worth the work.
pub const SEGMENTS_FOLD_MIN: usize = 16;

/// A group log with fewer tombstones than this is not folded for their sake.
pub const TOMBSTONES_FOLD_MIN: usize = 64;

/// Tombstones that a group log keeps for cursors that have not passed them, unless the live entries are more: then as
/// many. The slowest cursors are given up beyond that.
pub const TOMBSTONES_MAX: usize = 65_536;

/// Route changes that a session hands over in one batch, at most.
pub const BATCH_CHANGES_MAX: usize = 4096;

/// Rejected prefixes remembered for `why`, a peer.
pub const REJECTIONS_KEPT_MAX: usize = 256;

/// Paths that an add-path group advertises for one prefix.
pub const ADD_PATHS_MAX: usize = 64;

/// Next hops of one multipath route.
pub const MULTIPATH_MAX: usize = 64;

/// Between the starts of two answers to ROUTE-REFRESH, a family of a session.
pub const REFRESH_INTERVAL_MIN: Duration = Duration::from_secs(1);
