//! What may enter and what may leave: policy as data.
//!
//! A [`Policy`] is a list of rules; the first rule whose conditions all hold decides. It is evaluated by one pure
//! function, at two places only: a path entering the candidates, and a path entering a group. Every source of
//! policy, whatever its language, compiles to this form.
//!
//! Without a policy an internal peer exchanges everything and an external peer nothing (RFC 8212).

mod edit;
mod evaluate;
pub mod leak;
mod matching;
pub mod program;

pub use edit::{Edit, NextHopEdit};
pub use evaluate::is_like_pattern;
pub use matching::{Condition, Facts, PrefixRange, Stage, Subject};

pub use program::Program;

use bgp_proto::{AttrSet, Nlri};

use crate::events::Naming;
use crate::ids::IfName;

/// An ordered list of rules and what happens where none applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The name that the operator gave it.
    pub name: String,
    /// Tried in order.
    pub rules: Vec<Rule>,
    /// The verdict where no rule applies.
    pub otherwise: Action,
    /// Decides instead of the rules, if there is one.
    pub program: Option<Program>,
}

/// Conditions that must all hold, and what then happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// All must hold; none means always.
    pub when: Vec<Condition>,
    /// What happens.
    pub action: Action,
    /// Changes to the attributes, in order, if the path is accepted.
    pub edits: Vec<Edit>,
}

impl Rule {
    fn naming(&self, subject: &Subject<'_>) -> Naming {
        let exact = |range: &PrefixRange| Nlri::Prefix(range.within) == *subject.nlri && range.is_exact();
        let naming = self.when.iter().filter_map(|condition| match condition {
            Condition::Prefixes(ranges) if ranges.iter().any(exact) => Some(Naming::Exact),
            Condition::Prefixes(_) => Some(Naming::Named),
            _ => None,
        });
        naming.min_by_key(|naming| *naming == Naming::Named).unwrap_or(Naming::Blanket)
    }
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The path passes.
    Accept,
    /// It does not.
    Reject,
}

/// What a policy says of a path.
#[derive(Debug)]
pub enum Verdict {
    /// It passes, with changed attributes where there are some.
    Accept {
        /// The changed attributes.
        edited: Option<AttrSet>,
        /// Whether the rule was about this prefix.
        naming: Naming,
        /// What is not an attribute of the path.
        marks: Marks,
    },
    /// It does not pass.
    Reject {
        /// The rule that said so, counted from 0; `None` where none applied.
        rule: Option<usize>,
    },
}

/// What a program says of a route beside its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// Another preference than the one it had.
    pub preference: Option<u32>,
    /// Metric of the kernel route.
    pub metric: Option<u32>,
    /// The device that the kernel route goes through; [`Tunnel::None`] is a word too.
    pub tunnel: Option<Tunnel>,
    /// The edited path has this speaker's AS number already.
    pub is_own_as_prepended: bool,
}

/// The device that a kernel route goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tunnel {
    /// The way that leads to the next hop.
    None,
    /// This one, with the BGP next hop as the neighbour on it.
    Device(IfName),
}

impl Tunnel {
    /// The device of this name; none for no name, and for one that no device can have.
    pub fn named(name: &str) -> Tunnel {
        IfName::new(name).map_or(Tunnel::None, Tunnel::Device)
    }
}

impl Policy {
    /// A policy that is a program.
    pub fn from_program(name: String, program: Program) -> Policy {
        Policy { name, rules: Vec::new(), otherwise: Action::Reject, program: Some(program) }
    }

    /// Whether two prefixes with equal attributes may fare differently.
    pub fn depends_on_prefix(&self) -> bool {
        if let Some(program) = &self.program {
            return program.depends_on_prefix();
        }
        self.rules.iter().flat_map(|r| &r.when).any(Condition::names_prefixes)
    }

    /// Whether it looks at the way that a route's packets take, which may change while the route does not.
    pub fn depends_on_way(&self) -> bool {
        self.program.as_ref().is_some_and(Program::depends_on_way)
    }

    /// What the policy says of `subject`.
    pub fn evaluate(&self, subject: &Subject<'_>) -> Verdict {
        if let Some(program) = &self.program {
            return evaluate::evaluate(program, subject);
        }
        let applies = |r: &Rule| r.when.iter().all(|c| c.holds(subject));
        let Some((at, rule)) = self.rules.iter().enumerate().find(|(_, r)| applies(r)) else {
            return match self.otherwise {
                Action::Accept => {
                    Verdict::Accept { edited: None, naming: Naming::Blanket, marks: Marks::default() }
                }
                Action::Reject => Verdict::Reject { rule: None },
            };
        };
        if rule.action == Action::Reject {
            return Verdict::Reject { rule: Some(at) };
        }
        Verdict::Accept {
            edited: edit::apply(&rule.edits, subject),
            naming: rule.naming(subject),
            marks: Marks::default(),
        }
    }
}
