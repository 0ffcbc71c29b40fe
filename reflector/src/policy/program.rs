//! A policy written as a program: statements that look at a route, change it, and accept or reject it.
//!
//! Rules are a list; some operators' policies are not. This is the form of the filter language that BIRD 1.6 made common: functions with
//! parameters, conditions on attributes that an earlier statement has set, verdicts anywhere. It is data like a rule, compared like a
//! rule, and evaluated by one pure function (`evaluate`), which cannot loop: a function is complete before it can be called, and there
//! is no other jump.

use bgp_proto::attr::{Community, LargeCommunity};
use bgp_proto::{Asn, Prefix};
use core::net::IpAddr;
use std::sync::Arc;

use super::matching::PrefixRange;
pub use super::matching::Provenance;

/// Statements in order. What ends without a verdict is rejected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// The statements.
    pub body: Vec<Statement>,
}

/// A function: a body that several programs share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its statements; a verdict in them ends the whole program.
    pub body: Vec<Statement>,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// The route passes.
    Accept,
    /// It does not.
    Reject,
    /// One of two branches.
    If {
        /// What decides.
        condition: Expression,
        /// Where it holds.
        then: Vec<Statement>,
        /// Where it does not.
        otherwise: Vec<Statement>,
    },
    /// Runs a function with these arguments.
    Call(Arc<Function>, Vec<Expression>),
    /// The attribute becomes this.
    Set(Attribute, Expression),
    /// The attribute is there no longer.
    Unset(Attribute),
    /// Is put into the list of communities that the attribute is.
    Add(Attribute, Expression),
    /// Is taken out of the list of communities that the attribute is.
    Delete(Attribute, Expression),
    /// Is put before the path.
    Prepend(Expression),
}

/// What a program can read, and some of it write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    /// The destination.
    Net,
    /// Where the route comes from.
    Source,
    /// Its rank among routes to one destination, before anything else counts.
    Preference,
    /// The interface that its packets leave by.
    Interface,
    /// Its neighbour on the link.
    Gateway,
    /// Who announced it.
    From,
    /// Metric in the kernel.
    KernelMetric,
    /// Protocol number in the kernel.
    KernelSource,
    /// Device that its packets travel through.
    KernelTunnel,
    /// LOCAL_PREF.
    LocalPref,
    /// MULTI_EXIT_DISC.
    Med,
    /// ORIGIN: 0, 1 or 2.
    Origin,
    /// The BGP next hop.
    NextHop,
    /// AS_PATH.
    Path,
    /// Communities (RFC 1997).
    Communities,
    /// Large communities (RFC 8092).
    LargeCommunities,
}

/// Something with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// Always this.
    Constant(Value),
    /// The argument of the function, counted from 0.
    Parameter(u8),
    /// An attribute, which may be absent.
    Attribute(Attribute),
    /// Whether it has a value.
    Defined(Box<Expression>),
    /// The contrary.
    Not(Box<Expression>),
    /// Two in one.
    Binary(Operator, Box<Expression>, Box<Expression>),
    /// The length of a prefix or path.
    Length(Box<Expression>),
    /// A pair of numbers.
    Pair(Box<Expression>, Box<Expression>),
}

/// What joins two expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Both; the second is not looked at if the first does not hold.
    And,
    /// Either; the second is not looked at if the first holds.
    Or,
    /// The same; values of two kinds never are.
    Equal,
    /// Not the same.
    Unequal,
    /// Less.
    Less,
    /// Less or the same.
    AtMost,
    /// More.
    Greater,
    /// More or the same.
    AtLeast,
    /// In, or like.
    Matches,
    /// Neither in nor like.
    Differs,
    /// Sum, modulo 2^32.
    Add,
    /// Difference, modulo 2^32.
    Subtract,
    /// Product, modulo 2^32.
    Multiply,
    /// Quotient.
    Divide,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// None: the attribute is absent.
    Void,
    /// A number.
    Number(u32),
    /// Yes or no.
    Truth(bool),
    /// A word, or a pattern with `*` and `?`.
    Text(Arc<str>),
    /// An address.
    Address(IpAddr),
    /// A prefix.
    Prefix(Prefix),
    /// A provenance.
    Provenance(Provenance),
    /// A community.
    Community(Community),
    /// A large community.
    LargeCommunity(LargeCommunity),
    /// AS numbers, nearest first.
    Path(Vec<Asn>),
    /// Communities.
    Communities(Vec<Community>),
    /// Large communities.
    LargeCommunities(Vec<LargeCommunity>),
    /// A set of prefixes.
    Prefixes(Vec<PrefixRange>),
    /// A set of numbers, as ranges with both ends.
    Numbers(Vec<(u32, u32)>),
    /// A set of provenances.
    Provenances(Vec<Provenance>),
    /// A set of addresses.
    Addresses(Vec<IpAddr>),
    /// A set of communities, as ranges of each half.
    CommunityRanges(Vec<[(u16, u16); 2]>),
    /// A pattern of a path.
    Mask(Vec<MaskItem>),
}

/// One item of a path's pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskItem {
    /// This AS number.
    Is(Asn),
    /// Any one.
    AnyOne,
    /// Any number of any.
    AnyMany,
}

impl Program {
    /// Whether two prefixes with equal attributes may fare differently.
    pub(super) fn depends_on_prefix(&self) -> bool {
        reads(&self.body, Attribute::Net)
    }

    /// Whether it looks at the way that a route's packets take.
    pub(super) fn depends_on_way(&self) -> bool {
        reads(&self.body, Attribute::Interface) || reads(&self.body, Attribute::Gateway)
    }
}

fn reads(body: &[Statement], attribute: Attribute) -> bool {
    body.iter().any(|statement| match statement {
        Statement::Accept | Statement::Reject | Statement::Unset(_) => false,
        Statement::If { condition, then, otherwise } => {
            mentions(condition, attribute) || reads(then, attribute) || reads(otherwise, attribute)
        }
        Statement::Call(function, arguments) => {
            reads(&function.body, attribute) || arguments.iter().any(|a| mentions(a, attribute))
        }
        Statement::Set(_, value) | Statement::Add(_, value) | Statement::Delete(_, value) => {
            mentions(value, attribute)
        }
        Statement::Prepend(value) => mentions(value, attribute),
    })
}

fn mentions(expression: &Expression, attribute: Attribute) -> bool {
    match expression {
        Expression::Constant(_) | Expression::Parameter(_) => false,
        Expression::Attribute(a) => *a == attribute,
        Expression::Defined(e) | Expression::Not(e) | Expression::Length(e) => mentions(e, attribute),
        Expression::Binary(_, a, b) | Expression::Pair(a, b) => {
            mentions(a, attribute) || mentions(b, attribute)
        }
    }
}
