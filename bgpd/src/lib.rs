//! The body.

pub mod config;
pub mod control;
#[cfg(test)]
mod samples;
pub mod sys;
