//! The configuration language of BIRD 1.6, as far as Calico writes it, read in one pass.
//!
//! ```text
//! files -lex-> tokens -parse-> Config (protocols with their options)
//!                        '-filter-> policy::Program (filters and functions)
//! ```
//!
//! A name has to be defined before it is used, so one pass is enough, and the place of an error is the token that could not follow. What is
//! not supported is refused under its name; nothing is skipped. Reading files is the caller's: the parser is given a function.

mod filter;
mod lex;
mod options;
mod parse;
mod tree;

pub use lex::Place;
pub(super) use parse::plain;
pub use parse::{OCTETS_MAX, ParseError, parse, parse_filter};
pub use tree::{
    Bgp, Channel, Config, Debug, Direct, FilterChoice, FilterText, Hops, Kernel, Kind, NextHopChoice,
    Protocol, StaticRoute, StaticTarget,
};
