//! The body.

pub mod sys;
