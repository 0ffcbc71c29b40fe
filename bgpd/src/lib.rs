//! The body of the speaker: it gives the pure machines of [`reflector`] sockets, a kernel, a configuration and a clock.
//!
//! Decisions are not made here. A session's state machine and the table belong to `reflector`, the wire to [`bgp_proto`]; this crate moves
//! bytes, routes and questions between them and the world, one owner for each piece of state, messages between owners.
//!
//! ```text
//!  config::sources -Desired-> diff -changes-> core <-> net: one task a connection, with its Session
//!                                             |  ^---- control, metrics: ask by message
//!                                             '-----> fib: desired routes against the kernel's
//! ```
//!
//! * [`config`]: what the operator wants. Every source yields one [`config::Desired`]; a reload is the [`config::diff()`] of two.
//! * `core`: the one thread that owns the table. Its inbox is bounded; a batch at a time, then it publishes views that nobody has to lock.
//! * `net`: listening, dialing, and a task for each connection, which runs the session machine so that a busy core costs no keepalive.
//! * [`fib`]: a pure plan of what the kernel should have and has, and the netlink socket. What is not marked as ours is never touched.
//! * [`control`] and [`metrics`]: people and monitoring look in. They ask the core and never wait on its data.
//! * [`cli`], [`log`], [`run`](mod@run): the command line, log lines, and the daemon from start to end.
//! * [`sys`]: the only unsafe code, socket options that the standard library lacks.
//!
//! # Invariants
//!
//! * Back-pressure goes to where it belongs: a full inbox pauses the reads of that session. Outbound nothing is queued.
//! * The last good configuration stays in force; a source that is silent or wrong freezes what is, and never empties it.
//! * A slow client of the control socket or of metrics costs itself alone.
//! * A secret has a type that prints as nothing else, and no way into an answer or a log.
//! * `config` (but for its sources), `fib::plan` and the control protocols are pure.

pub mod bfd;
pub mod bird;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod core;
pub mod fib;
pub mod log;
pub mod metrics;
pub mod net;
pub mod run;
#[cfg(test)]
mod samples;
pub mod sys;
