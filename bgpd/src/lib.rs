//! The body.

pub mod config;
pub mod sys;
