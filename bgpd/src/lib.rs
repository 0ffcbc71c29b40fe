//! The body.

pub mod config;
pub mod control;
pub mod metrics;
#[cfg(test)]
mod samples;
pub mod sys;
