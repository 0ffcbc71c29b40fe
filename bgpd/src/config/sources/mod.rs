//! Where configurations come from. A source reads something outside and yields one [`Desired`](super::Desired), or says all that is
//! wrong with it; the last good one stays in force.

pub mod file;
pub mod node;

pub use file::File;
