//! A pure BGP routing engine: two machines and the values between them.
//!
//! This crate decides; it never acts. It opens no socket, reads no clock, takes no lock, logs nothing and
//! knows no executor: time and randomness are arguments, bytes and events are results. The wire format is
//! [`bgp_proto`]'s; sockets, the kernel and the operator belong to the daemon.
//!
//! # The two machines
//!
//! * [`session::Session`]: one per peer. RFC 4271's state machine with its timers, capability negotiation,
//!   collision detection, framing and decoding, and the outbound [`feed::Cursor`]. It runs where its socket
//!   is, so that a busy table never costs a keepalive.
//! * [`table::Table`]: one per instance. Import policy, candidates, decision, reflection, groups, and the
//!   routes the kernel should have.
//!
//! They never import each other. What a session hears reaches the table as [`events`]; what the table decided
//! reaches the session as a [`feed`]: an immutable view of a group's log.
//!
//! ```text
//! socket -bytes-> Session -Routes-> Table: import policy -> candidates -> decide -> best
//!                                                            |- FibChange
//!                                                            |- reflection + export policy -> group log
//! socket <-bytes- Session (cursor) <------- LogView (segments of encoded messages) -----------'
//! ```
//!
//! # Invariants
//!
//! * Groups are the Adj-RIB-Out. Every established peer belongs to one group per family, and there is no queue
//!   of messages per peer: a group is a compacted log of encoded segments, a peer is a cursor in it, a slow
//!   peer is a cursor that is behind. The table's work per change does not depend on the number of peers.
//! * Candidates are the Adj-RIB-In, kept once, after import policy.
//! * Everything is bounded; [`limits`] names each bound.
//! * Imports go strictly downward: `ids`, `time`, `limits` < `events`, `feed` < `rib` < `decide`, `policy`,
//!   `reflection` < `group` < `table`; `session` stands beside them on `events` and `feed`.

#![forbid(unsafe_code)]

pub mod decide;
pub mod events;
pub mod feed;
pub mod group;
pub mod ids;
pub mod limits;
pub mod policy;
pub mod reflection;
pub mod rib;
pub mod session;
pub mod table;
pub mod time;
