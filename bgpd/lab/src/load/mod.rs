//! The load generator: what a reflector of thousands of clients costs, beside others and beside the physical limit.
//!
//! Everything runs in a network namespace of its own, on loopback addresses: one process is all clients ([`swarm`]), the
//! other the daemon ([`contender`]). The machine is shared, so runs of the daemons are interleaved and a median is given.
//! A run counts only if every receiver ends with every route and the right next hop.
//! Runs that do not get there are counted beside the median: it speaks of the others only. A client that is not let in tries again.
//!
//! * R1: cold start. All clients connect and announce at once; until everybody has everything.
//! * R2: churn. One client changes one route at a time; from the send to the last receiver.
//! * R3: everybody reconnects at once.
//! * R4: a full table of made-up routes, [`full`], from one client to another.
//! * R5: ten clients announce the same prefixes, each by other paths; until everybody has the best ones.
//! * R6: some clients stop reading; the others are measured.
//! * R7: as R1, but everybody is established before anybody announces; until everybody has everything.
//! * R8: a storm: all clients connect within one second and then do nothing but keep their sessions for three hold times, the
//!   shortest that there are. Until everybody is established; a session that ends is a failure.

pub mod calico;
mod contender;
mod full;
pub mod relay;
mod scenario;
mod swarm;
pub(crate) mod wire;

pub use contender::Contender;
pub use scenario::{Options, Scenario, run};
