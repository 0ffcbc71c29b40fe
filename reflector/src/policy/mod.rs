//! What may enter and what may leave: policy as data.
//!
//! A [`Policy`] is a list of rules; the first rule whose conditions all hold decides. It is evaluated by one pure
//! function, at two places only: a path entering the candidates, and a path entering a group. Every source of
//! policy, whatever its language, compiles to this form.
//!
//! Without a policy an internal peer exchanges everything and an external peer nothing (RFC 8212).

mod edit;
pub mod leak;
mod matching;

pub use edit::{Edit, NextHopEdit};
pub use matching::{Condition, PrefixRange, Subject};

use bgp_proto::AttrSet;

/// An ordered list of rules and what happens where none applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The name that the operator gave it.
    pub name: String,
    /// Tried in order.
    pub rules: Vec<Rule>,
    /// The verdict where no rule applies.
    pub otherwise: Action,
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
    },
    /// It does not pass.
    Reject {
        /// The rule that said so, counted from 0; `None` where none applied.
        rule: Option<usize>,
    },
}

/// Whether the rule that accepted a path spoke of its prefix, or of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// A condition of the rule named the prefix.
    Named,
    /// The rule would have accepted other prefixes as well.
    Blanket,
}

impl Policy {
    /// Whether two prefixes with equal attributes may fare differently.
    pub fn depends_on_prefix(&self) -> bool {
        self.rules.iter().flat_map(|r| &r.when).any(Condition::names_prefixes)
    }

    /// What the policy says of `subject`.
    pub fn evaluate(&self, subject: &Subject<'_>) -> Verdict {
        let applies = |r: &Rule| r.when.iter().all(|c| c.holds(subject));
        let Some((at, rule)) = self.rules.iter().enumerate().find(|(_, r)| applies(r)) else {
            return match self.otherwise {
                Action::Accept => Verdict::Accept { edited: None, naming: Naming::Blanket },
                Action::Reject => Verdict::Reject { rule: None },
            };
        };
        if rule.action == Action::Reject {
            return Verdict::Reject { rule: Some(at) };
        }
        let named = rule.when.iter().any(|c| matches!(c, Condition::Prefixes(_)));
        Verdict::Accept {
            edited: edit::apply(&rule.edits, subject),
            naming: if named { Naming::Named } else { Naming::Blanket },
        }
    }
}
