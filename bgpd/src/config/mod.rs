//! Configuration: what the operator wants, from text to one plain value, and from one value to the next.
//!
//! ```text
//!  file -text-> tree -> decode -> schema -+
//!                                         +-> resolve -> Desired -+
//!  (object) ------------------> schema ---+                       +-> diff -> changes
//!                                                 Desired in force-+
//! ```
//!
//! * [`schema`]: the names and shapes of what is written, and every default. One schema, whatever the source.
//! * `tree`, `decode`: YAML with positions, and a serde deserializer on it that finds every fault.
//! * `resolve`, `rules`: the checks, and the filling in.
//! * [`desired`]: the result. [`mod@diff`]: what a reload has to do.
//! * [`problem`]: what is said when something is wrong.
//! * [`sources`]: where texts and secrets are read; the only input and output here.

mod decode;
pub mod desired;
pub mod diff;
pub mod problem;
mod resolve;
mod rules;
pub mod schema;
mod sessions;
pub mod sources;
pub mod text;
mod tree;
pub mod tunnel;

#[cfg(test)]
mod tests;

pub use desired::Desired;
pub use diff::{Change, Needs, diff};
pub use problem::{Problem, Problems};
pub use resolve::{Surroundings, resolve};

use problem::display_path;

/// Reads a configuration from YAML, or says all that is wrong with it in the order of the text: first whatever cannot be read, and only
/// when all can, what does not fit together.
pub fn from_yaml(text: &str, around: &Surroundings<'_>) -> Result<Desired, Vec<Problem>> {
    let tree = tree::Tree::parse(text).map_err(|problem| vec![problem])?;
    let config: schema::Config = decode::decode(&tree)?;
    resolve(&config, around).map_err(|report| {
        let found = report.into_found().into_iter();
        let mut problems: Vec<Problem> = found
            .map(|(steps, message)| Problem {
                place: tree.locate(&steps),
                path: display_path(&steps),
                message,
            })
            .collect();
        problems.sort_by_key(|problem| problem.place);
        problems
    })
}
