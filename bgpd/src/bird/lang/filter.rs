//! Filters, functions and expressions, compiled while they are read.
//!
//! The grammar is BIRD 1.6's, with its surprise: `&&` and `||` bind alike, from left to right, so `a || b && c` is `(a || b) && c`.

use std::net::IpAddr;
use std::sync::Arc;

use bgp_proto::attr::{Community, LargeCommunity};
use bgp_proto::{Asn, Prefix};
use reflector::policy::program::{
    Attribute, Expression, MaskItem, Operator, Program, Provenance, Statement, Value,
};
use reflector::policy::{Policy, PrefixRange};

use super::lex::Token;
use super::parse::{Extent, Parsed, Parser};

/// Attributes by name.
const ATTRIBUTES: [(&str, Attribute); 16] = [
    ("net", Attribute::Net),
    ("source", Attribute::Source),
    ("preference", Attribute::Preference),
    ("ifname", Attribute::Interface),
    ("gw", Attribute::Gateway),
    ("from", Attribute::From),
    ("krt_metric", Attribute::KernelMetric),
    ("krt_source", Attribute::KernelSource),
    ("krt_tunnel", Attribute::KernelTunnel),
    ("bgp_local_pref", Attribute::LocalPref),
    ("bgp_med", Attribute::Med),
    ("bgp_origin", Attribute::Origin),
    ("bgp_next_hop", Attribute::NextHop),
    ("bgp_path", Attribute::Path),
    ("bgp_community", Attribute::Communities),
    ("bgp_large_community", Attribute::LargeCommunities),
];

/// Names of the language that we do not support; as opposed to names that nobody knows.
const UNSUPPORTED: [&str; 13] = [
    "return",
    "print",
    "printn",
    "case",
    "bgp_ext_community",
    "bgp_aggregator",
    "bgp_atomic_aggr",
    "bgp_originator_id",
    "bgp_cluster_list",
    "bgp_extended_community",
    "roa_check",
    "proto",
    "krt_prefsrc",
];

fn attribute(word: &str) -> Option<Attribute> {
    ATTRIBUTES.iter().find(|(name, _)| *name == word).map(|(_, attribute)| *attribute)
}

impl Parser<'_> {
    /// `{ … }` as a filter.
    pub(super) fn filter_body(&mut self, name: String) -> Parsed<Arc<Policy>> {
        if self.token != Token::Mark("{") {
            return self.syntax();
        }
        self.extent = Extent::default();
        let body = self.block()?;
        Ok(self.share(Policy::from_program(name, Program { body })))
    }

    /// `where …` as a filter.
    pub(super) fn where_filter(&mut self) -> Parsed<Arc<Policy>> {
        self.extent = Extent::default();
        let condition = self.expression()?;
        let body = vec![Statement::If {
            condition,
            then: vec![Statement::Accept],
            otherwise: vec![Statement::Reject],
        }];
        Ok(self.share(Policy::from_program(String::new(), Program { body })))
    }

    /// Statements in braces.
    pub(super) fn block(&mut self) -> Parsed<Vec<Statement>> {
        self.mark("{")?;
        self.deeper()?;
        let mut body = Vec::new();
        while !self.take("}")? {
            self.filter_statement(&mut body)?;
        }
        self.depth -= 1;
        Ok(body)
    }

    fn filter_statement(&mut self, into: &mut Vec<Statement>) -> Parsed<()> {
        self.step()?;
        if self.token == Token::Mark("{") {
            into.extend(self.block()?);
            return Ok(());
        }
        let is_quoted = matches!(self.token, Token::Quoted(_));
        let word = self.name()?;
        let statement = match word.as_str() {
            "accept" if !is_quoted => Statement::Accept,
            "reject" if !is_quoted => Statement::Reject,
            "if" if !is_quoted => {
                into.push(self.if_statement()?);
                return Ok(());
            }
            "unset" if !is_quoted => {
                self.mark("(")?;
                let attribute = self.attribute_name()?;
                self.mark(")")?;
                Statement::Unset(attribute)
            }
            _ if self.token == Token::Mark("(") => self.call(&word)?,
            _ => match attribute(&word) {
                Some(attribute) => self.change(attribute)?,
                None if UNSUPPORTED.contains(&word.as_str()) => return self.unsupported(&word),
                None => return self.syntax(),
            },
        };
        into.push(statement);
        self.mark(";")
    }

    fn if_statement(&mut self) -> Parsed<Statement> {
        self.deeper()?;
        let condition = self.expression()?;
        self.keyword("then")?;
        let mut then = Vec::new();
        self.filter_statement(&mut then)?;
        let mut otherwise = Vec::new();
        if self.take_word("else")? {
            self.filter_statement(&mut otherwise)?;
        }
        self.depth -= 1;
        Ok(Statement::If { condition, then, otherwise })
    }

    fn call(&mut self, name: &str) -> Parsed<Statement> {
        self.mark("(")?;
        let mut arguments = Vec::new();
        while !self.take(")")? {
            if !arguments.is_empty() {
                self.mark(",")?;
            }
            arguments.push(self.expression()?);
        }
        let Some(known) = self.names.functions.get(name) else {
            return self.refuse("You can't call something which is not a function. Really.");
        };
        match known.parameters.cmp(&arguments.len()) {
            std::cmp::Ordering::Equal => {
                let (function, extent) = (known.function.clone(), known.extent);
                self.called(extent)?;
                Ok(Statement::Call(function, arguments))
            }
            std::cmp::Ordering::Less => self.refuse("Too many arguments."),
            std::cmp::Ordering::Greater => self.refuse("Too few arguments."),
        }
    }

    /// `attribute = …` or `attribute.method(…)`.
    fn change(&mut self, attribute: Attribute) -> Parsed<Statement> {
        if self.take("=")? {
            match attribute {
                Attribute::Net | Attribute::Source | Attribute::Interface | Attribute::From => {
                    return self.refuse("This static attribute is read-only.");
                }
                Attribute::Gateway | Attribute::KernelSource => {
                    return self.unsupported("assignment to this attribute");
                }
                _ => return Ok(Statement::Set(attribute, self.expression()?)),
            }
        }
        self.mark(".")?;
        let method = self.word()?;
        if method == "empty" {
            return Ok(Statement::Unset(attribute));
        }
        self.mark("(")?;
        let argument = self.expression()?;
        self.mark(")")?;
        match (method.as_str(), attribute) {
            ("prepend", Attribute::Path) => Ok(Statement::Prepend(argument)),
            ("add", Attribute::Communities | Attribute::LargeCommunities) => {
                Ok(Statement::Add(attribute, argument))
            }
            ("delete", Attribute::Communities | Attribute::LargeCommunities) => {
                Ok(Statement::Delete(attribute, argument))
            }
            ("add" | "delete" | "filter" | "prepend", _) => self.unsupported(&method),
            _ => self.syntax(),
        }
    }

    fn attribute_name(&mut self) -> Parsed<Attribute> {
        let word = self.word()?;
        match attribute(&word) {
            Some(attribute) => Ok(attribute),
            None if UNSUPPORTED.contains(&word.as_str()) => self.unsupported(&word),
            None => self.syntax(),
        }
    }

    /// The loosest binding: `&&` and `||`.
    pub(super) fn term(&mut self) -> Parsed<Expression> {
        self.deeper()?;
        let mut left = self.comparison()?;
        loop {
            let operator = match self.token {
                Token::Mark("&&") => Operator::And,
                Token::Mark("||") => Operator::Or,
                _ => break,
            };
            self.operator()?;
            self.bump()?;
            left = binary(operator, left, self.comparison()?);
        }
        self.depth -= 1;
        Ok(left)
    }

    fn comparison(&mut self) -> Parsed<Expression> {
        let left = self.sum()?;
        let operator = match self.token {
            Token::Mark("=") => Operator::Equal,
            Token::Mark("!=") => Operator::Unequal,
            Token::Mark("<") => Operator::Less,
            Token::Mark("<=") => Operator::AtMost,
            Token::Mark(">") => Operator::Greater,
            Token::Mark(">=") => Operator::AtLeast,
            Token::Mark("~") => Operator::Matches,
            Token::Mark("!~") => Operator::Differs,
            _ => return Ok(left),
        };
        self.operator()?;
        self.bump()?;
        Ok(binary(operator, left, self.sum()?))
    }

    fn sum(&mut self) -> Parsed<Expression> {
        let mut left = self.product()?;
        loop {
            let operator = match self.token {
                Token::Mark("+") => Operator::Add,
                Token::Mark("-") => Operator::Subtract,
                _ => return Ok(left),
            };
            self.operator()?;
            self.bump()?;
            left = binary(operator, left, self.product()?);
        }
    }

    fn product(&mut self) -> Parsed<Expression> {
        let mut left = self.unary()?;
        loop {
            let operator = match self.token {
                Token::Mark("*") => Operator::Multiply,
                Token::Mark("/") => Operator::Divide,
                _ => return Ok(left),
            };
            self.operator()?;
            self.bump()?;
            left = binary(operator, left, self.unary()?);
        }
    }

    fn unary(&mut self) -> Parsed<Expression> {
        if self.take("!")? {
            self.deeper()?;
            let inner = self.unary()?;
            self.depth -= 1;
            return Ok(Expression::Not(Box::new(inner)));
        }
        let mut value = self.primary()?;
        while self.token == Token::Mark(".") {
            self.operator()?;
            self.bump()?;
            match self.word()?.as_str() {
                "len" => value = Expression::Length(Box::new(value)),
                word @ ("ip" | "first" | "last" | "last_nonaggregated" | "mask" | "asn" | "data") => {
                    return self.unsupported(&format!(".{word}"));
                }
                _ => return self.syntax(),
            }
        }
        Ok(value)
    }

    fn primary(&mut self) -> Parsed<Expression> {
        match self.token.clone() {
            Token::Number(_) | Token::Text(_) | Token::Address(_) | Token::Mark("[" | "[=") => {
                self.constant().map(Expression::Constant)
            }
            Token::Mark("(") => self.parenthesis(),
            Token::Word(word) => match word.as_str() {
                "defined" => {
                    self.bump()?;
                    self.mark("(")?;
                    let inner = self.term()?;
                    self.mark(")")?;
                    Ok(Expression::Defined(Box::new(inner)))
                }
                _ => self.named(&word),
            },
            Token::Quoted(word) => self.named(&word),
            Token::Mark(_) | Token::End => self.syntax(),
        }
    }

    /// A name with a value: a parameter, an attribute, a constant.
    fn named(&mut self, word: &str) -> Parsed<Expression> {
        if let Some(at) = self.names.parameters.iter().position(|p| p == word) {
            self.bump()?;
            return Ok(Expression::Parameter(u8::try_from(at).unwrap_or(u8::MAX)));
        }
        if let Some(attribute) = attribute(word) {
            self.bump()?;
            return Ok(Expression::Attribute(attribute));
        }
        if UNSUPPORTED.contains(&word) || word == "dest" {
            self.bump()?;
            return self.unsupported(word);
        }
        self.constant().map(Expression::Constant)
    }

    /// `( … )`, a pair, or a large community.
    fn parenthesis(&mut self) -> Parsed<Expression> {
        self.mark("(")?;
        let first = self.term()?;
        if !self.take(",")? {
            self.mark(")")?;
            return Ok(first);
        }
        let second = self.term()?;
        if !self.take(",")? {
            self.mark(")")?;
            return match (&first, &second) {
                (Expression::Constant(Value::Number(a)), Expression::Constant(Value::Number(b))) => {
                    if *a > 0xffff || *b > 0xffff {
                        return self.refuse("Can't operate with value out of bounds in pair constructor");
                    }
                    Ok(Expression::Constant(Value::Community(Community(a << 16 | b))))
                }
                _ => Ok(Expression::Pair(Box::new(first), Box::new(second))),
            };
        }
        let third = self.term()?;
        self.mark(")")?;
        match (first, second, third) {
            (
                Expression::Constant(Value::Number(global)),
                Expression::Constant(Value::Number(local1)),
                Expression::Constant(Value::Number(local2)),
            ) => Ok(Expression::Constant(Value::LargeCommunity(LargeCommunity { global, local1, local2 }))),
            _ => self.refuse("a large community that is not constant is not supported"),
        }
    }

    /// A value that does not depend on a route.
    pub(super) fn constant(&mut self) -> Parsed<Value> {
        match self.token.clone() {
            Token::Number(number) => self.bump().map(|_| Value::Number(number)),
            Token::Text(text) => self.bump().map(|_| Value::Text(text.into())),
            Token::Address(addr) => {
                self.bump()?;
                if self.take("/")? {
                    return self.prefix_of(addr).map(Value::Prefix);
                }
                Ok(Value::Address(addr))
            }
            Token::Mark("[") => self.set(),
            Token::Mark("[=") => self.mask(),
            Token::Word(word) | Token::Quoted(word) => {
                let value = match word.as_str() {
                    "true" | "TRUE" => Value::Truth(true),
                    "false" | "FALSE" => Value::Truth(false),
                    "RTS_BGP" => Value::Provenance(Provenance::Bgp),
                    "RTS_STATIC" => Value::Provenance(Provenance::Static),
                    "RTS_DEVICE" => Value::Provenance(Provenance::Device),
                    "RTS_INHERIT" => Value::Provenance(Provenance::Inherited),
                    "ORIGIN_IGP" => Value::Number(0),
                    "ORIGIN_EGP" => Value::Number(1),
                    "ORIGIN_INCOMPLETE" => Value::Number(2),
                    _ => match self.names.constants.get(&word) {
                        Some(value) => value.clone(),
                        None => return self.syntax(),
                    },
                };
                self.bump().map(|_| value)
            }
            Token::Mark(_) | Token::End => self.syntax(),
        }
    }

    fn set(&mut self) -> Parsed<Value> {
        self.mark("[")?;
        let mut set: Option<Value> = None;
        loop {
            let item = self.set_item()?;
            set = Some(match (set, item) {
                (None, item) => item,
                (Some(Value::Numbers(mut all)), Value::Numbers(more)) => {
                    all.extend(more);
                    Value::Numbers(all)
                }
                (Some(Value::Prefixes(mut all)), Value::Prefixes(more)) => {
                    all.extend(more);
                    Value::Prefixes(all)
                }
                (Some(Value::Provenances(mut all)), Value::Provenances(more)) => {
                    all.extend(more);
                    Value::Provenances(all)
                }
                (Some(Value::Addresses(mut all)), Value::Addresses(more)) => {
                    all.extend(more);
                    Value::Addresses(all)
                }
                (Some(Value::CommunityRanges(mut all)), Value::CommunityRanges(more)) => {
                    all.extend(more);
                    Value::CommunityRanges(all)
                }
                _ => return self.refuse("Incompatible items in set"),
            });
            if self.take("]")? {
                return set.map_or_else(|| self.syntax(), Ok);
            }
            self.mark(",")?;
        }
    }

    fn set_item(&mut self) -> Parsed<Value> {
        if self.take("(")? {
            let high = self.half()?;
            self.mark(",")?;
            let low = self.half()?;
            self.mark(")")?;
            return Ok(Value::CommunityRanges(vec![[high, low]]));
        }
        match self.constant()? {
            Value::Number(low) => {
                let high = if self.take("..")? { self.number()? } else { low };
                Ok(Value::Numbers(vec![(low, high)]))
            }
            Value::Provenance(provenance) => Ok(Value::Provenances(vec![provenance])),
            Value::Prefix(prefix) => Ok(Value::Prefixes(vec![self.pattern(prefix)?])),
            Value::Address(addr) => Ok(Value::Addresses(vec![addr])),
            _ => self.refuse("Invalid set item"),
        }
    }

    /// A half of a community in a set: `N`, `N..M` or `*`.
    fn half(&mut self) -> Parsed<(u16, u16)> {
        if self.take("*")? {
            return Ok((0, u16::MAX));
        }
        let low = self.number_up_to(0xffff)? as u16;
        let high = if self.take("..")? { self.number_up_to(0xffff)? as u16 } else { low };
        Ok((low, high))
    }

    /// What may follow a prefix in a set: `+`, `-`, `{low,high}`.
    fn pattern(&mut self, within: Prefix) -> Parsed<PrefixRange> {
        let bits: u8 = match within.addr() {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        if self.take("+")? {
            return Ok(PrefixRange { within, len_min: within.len(), len_max: bits });
        }
        if self.token == Token::Mark("-") {
            return self.refuse("prefix pattern - is not supported");
        }
        if !self.take("{")? {
            return Ok(PrefixRange::exact(within));
        }
        let len_min = self.number_up_to(u32::from(bits))? as u8;
        self.mark(",")?;
        let len_max = self.number_up_to(u32::from(bits))? as u8;
        if len_min > len_max {
            return self.refuse("Invalid prefix pattern");
        }
        if len_min < within.len() {
            return self.refuse("a prefix pattern shorter than its prefix is not supported");
        }
        self.mark("}")?;
        Ok(PrefixRange { within, len_min, len_max })
    }

    fn mask(&mut self) -> Parsed<Value> {
        self.mark("[=")?;
        let mut mask = Vec::new();
        while !self.take("=]")? {
            if mask.len() >= 256 {
                return self.refuse("Path mask too long");
            }
            mask.push(match self.token {
                Token::Number(asn) => MaskItem::Is(Asn(asn)),
                Token::Mark("*") => MaskItem::AnyMany,
                Token::Mark("?") => MaskItem::AnyOne,
                _ => return self.syntax(),
            });
            self.bump()?;
        }
        Ok(Value::Mask(mask))
    }
}

fn binary(operator: Operator, a: Expression, b: Expression) -> Expression {
    Expression::Binary(operator, Box::new(a), Box::new(b))
}
