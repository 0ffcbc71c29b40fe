//! What a program says of a route.
//!
//! Types are looked at when a value is used, as in BIRD 1.6, whose semantics these are: an absent attribute is a value of its own kind,
//! less than any other; values of two kinds are unequal and nothing more; an operator that does not know what it is given is an error,
//! and an error rejects the route. Numbers have 32 bits and wrap.

use bgp_proto::attr::{Community, LargeCommunity, Origin};
use bgp_proto::{Asn, AttrSet, NextHop, Nlri};
use core::cmp::Ordering;
use core::net::IpAddr;

use super::matching::{Stage, Subject};
use super::program::{Attribute, Expression, MaskItem, Operator, Program, Provenance, Statement, Value};
use super::{Marks, Tunnel, Verdict};
use crate::events::Naming;

/// LOCAL_PREF of a path from another AS, whatever it carries.
const LOCAL_PREF_DEFAULT: u32 = 100;

/// The program's verdict on `subject`.
pub(super) fn evaluate(program: &Program, subject: &Subject<'_>) -> Verdict {
    let mut run = Run::new(subject);
    match run.body(&program.body, &[]) {
        Err(End::Accept) => run.accepted(),
        Ok(()) | Err(End::Reject | End::Fault) => Verdict::Reject { rule: None },
    }
}

/// Why statements are not continued.
enum End {
    Accept,
    Reject,
    /// An operator was given what it does not know.
    Fault,
}

/// The route as it stands.
struct Run<'a> {
    subject: &'a Subject<'a>,
    preference: u32,
    metric: Option<u32>,
    tunnel: Option<std::sync::Arc<str>>,
    local_pref: Option<u32>,
    med: Option<u32>,
    origin: Option<u32>,
    next_hop: Option<IpAddr>,
    communities: Option<Vec<Community>>,
    large: Option<Vec<LargeCommunity>>,
    /// Put before the path, the last one first.
    prepended: Vec<Asn>,
}

impl<'a> Run<'a> {
    fn new(subject: &'a Subject<'a>) -> Run<'a> {
        let attrs = subject.attrs;
        let is_bgp = subject.facts.provenance == Provenance::Bgp;
        Run {
            subject,
            preference: subject.facts.preference,
            metric: subject.facts.metric,
            tunnel: None,
            local_pref: match attrs.local_pref() {
                None if is_bgp => Some(LOCAL_PREF_DEFAULT),
                other => other,
            },
            med: attrs.med(),
            origin: is_bgp.then(|| origin_number(attrs.origin())),
            next_hop: attrs.next_hop().addr().filter(|_| is_bgp),
            communities: None,
            large: None,
            prepended: if subject.stage == Stage::ToExternal { vec![subject.local_asn] } else { Vec::new() },
        }
    }

    fn body(&mut self, body: &[Statement], arguments: &[Value]) -> Result<(), End> {
        for statement in body {
            match statement {
                Statement::Accept => return Err(End::Accept),
                Statement::Reject => return Err(End::Reject),
                Statement::If { condition, then, otherwise } => {
                    let branch = if self.truth(condition, arguments)? { then } else { otherwise };
                    self.body(branch, arguments)?;
                }
                Statement::Call(function, given) => {
                    let given = given.iter().map(|e| self.value(e, arguments)).collect::<Result<Vec<_>, _>>();
                    self.body(&function.body, &given?)?;
                }
                Statement::Set(attribute, value) => {
                    let value = self.value(value, arguments)?;
                    self.set(*attribute, value)?;
                }
                Statement::Unset(attribute) => self.set(*attribute, Value::Void)?,
                Statement::Add(attribute, item) => {
                    let item = self.value(item, arguments)?;
                    self.change_list(*attribute, &item, Change::Add)?;
                }
                Statement::Delete(attribute, item) => {
                    let item = self.value(item, arguments)?;
                    self.change_list(*attribute, &item, Change::Delete)?;
                }
                Statement::Prepend(asn) => match self.value(asn, arguments)? {
                    Value::Number(asn) if self.has_path() => self.prepended.push(Asn(asn)),
                    _ => return Err(End::Fault),
                },
            }
        }
        Ok(())
    }

    /// A route that is told to a BGP peer has a path, be it an empty one.
    fn has_path(&self) -> bool {
        self.subject.facts.provenance == Provenance::Bgp
            || matches!(self.subject.stage, Stage::ToInternal | Stage::ToExternal)
    }

    fn truth(&self, expression: &Expression, arguments: &[Value]) -> Result<bool, End> {
        match self.value(expression, arguments)? {
            Value::Truth(truth) => Ok(truth),
            _ => Err(End::Fault),
        }
    }

    fn value(&self, expression: &Expression, arguments: &[Value]) -> Result<Value, End> {
        Ok(match expression {
            Expression::Constant(value) => value.clone(),
            Expression::Parameter(at) => arguments.get(usize::from(*at)).cloned().ok_or(End::Fault)?,
            Expression::Attribute(attribute) => self.read(*attribute),
            Expression::Defined(e) => Value::Truth(!matches!(self.value(e, arguments)?, Value::Void)),
            Expression::Not(e) => Value::Truth(!self.truth(e, arguments)?),
            Expression::Length(e) => match self.value(e, arguments)? {
                Value::Prefix(prefix) => Value::Number(u32::from(prefix.len())),
                Value::Path(path) => Value::Number(u32::try_from(path.len()).unwrap_or(u32::MAX)),
                _ => return Err(End::Fault),
            },
            Expression::Pair(a, b) => match (self.value(a, arguments)?, self.value(b, arguments)?) {
                (Value::Number(a @ 0..=0xffff), Value::Number(b @ 0..=0xffff)) => {
                    Value::Community(Community(a << 16 | b))
                }
                _ => return Err(End::Fault),
            },
            Expression::Binary(operator, a, b) => self.binary(*operator, a, b, arguments)?,
        })
    }

    fn binary(
        &self,
        operator: Operator,
        a: &Expression,
        b: &Expression,
        args: &[Value],
    ) -> Result<Value, End> {
        let truth = match operator {
            Operator::And => self.truth(a, args)? && self.truth(b, args)?,
            Operator::Or => self.truth(a, args)? || self.truth(b, args)?,
            // The long part of a policy are its sets: they are not copied.
            Operator::Matches | Operator::Differs => {
                let item = self.value(a, args)?;
                let is_in = match b {
                    Expression::Constant(set) => matches_set(&item, set),
                    _ => matches_set(&item, &self.value(b, args)?),
                };
                is_in.ok_or(End::Fault)? == (operator == Operator::Matches)
            }
            Operator::Equal => self.value(a, args)? == self.value(b, args)?,
            Operator::Unequal => self.value(a, args)? != self.value(b, args)?,
            Operator::Less => self.compare(a, b, args)? == Ordering::Less,
            Operator::AtMost => self.compare(a, b, args)? != Ordering::Greater,
            Operator::Greater => self.compare(a, b, args)? == Ordering::Greater,
            Operator::AtLeast => self.compare(a, b, args)? != Ordering::Less,
            Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide => {
                let (Value::Number(a), Value::Number(b)) = (self.value(a, args)?, self.value(b, args)?)
                else {
                    return Err(End::Fault);
                };
                return Ok(Value::Number(match operator {
                    Operator::Add => a.wrapping_add(b),
                    Operator::Subtract => a.wrapping_sub(b),
                    Operator::Multiply => a.wrapping_mul(b),
                    _ => a.checked_div(b).ok_or(End::Fault)?,
                }));
            }
        };
        Ok(Value::Truth(truth))
    }

    fn compare(&self, a: &Expression, b: &Expression, args: &[Value]) -> Result<Ordering, End> {
        compare(&self.value(a, args)?, &self.value(b, args)?).ok_or(End::Fault)
    }

    fn read(&self, attribute: Attribute) -> Value {
        let number = |n: Option<u32>| n.map_or(Value::Void, Value::Number);
        let attrs = self.subject.attrs;
        match attribute {
            Attribute::Net => match self.subject.nlri {
                Nlri::Prefix(prefix) => Value::Prefix(*prefix),
                Nlri::Opaque(_) => Value::Void,
            },
            Attribute::Source => Value::Provenance(self.subject.facts.provenance),
            Attribute::Preference => Value::Number(self.preference),
            // A route that leaves by no interface has one without a name: `*` matches it, as it does in BIRD.
            Attribute::Interface => {
                let name = self.subject.facts.interface.as_ref().map_or("", |name| name.as_str());
                Value::Text(name.into())
            }
            Attribute::Gateway => self.subject.facts.gateway.map_or(Value::Void, Value::Address),
            Attribute::From => self.subject.facts.from.map_or(Value::Void, Value::Address),
            Attribute::KernelMetric => number(self.metric),
            Attribute::KernelSource => number(self.subject.facts.kernel_source.map(u32::from)),
            Attribute::KernelTunnel => self.tunnel.clone().map_or(Value::Void, Value::Text),
            Attribute::LocalPref => number(self.local_pref),
            Attribute::Med => number(self.med),
            Attribute::Origin => number(self.origin),
            Attribute::NextHop => self.next_hop.map_or(Value::Void, Value::Address),
            Attribute::Path if !self.has_path() => Value::Void,
            Attribute::Path => {
                let put = self.prepended.iter().rev().copied();
                Value::Path(put.chain(attrs.as_path().iter()).collect())
            }
            Attribute::Communities => Value::Communities(self.communities()),
            Attribute::LargeCommunities => Value::LargeCommunities(self.large()),
        }
    }

    fn communities(&self) -> Vec<Community> {
        self.communities.clone().unwrap_or_else(|| self.subject.attrs.communities().iter().collect())
    }

    fn large(&self) -> Vec<LargeCommunity> {
        self.large.clone().unwrap_or_else(|| self.subject.attrs.large_communities().iter().collect())
    }

    fn set(&mut self, attribute: Attribute, value: Value) -> Result<(), End> {
        let number = match &value {
            Value::Number(n) => Some(*n),
            _ => None,
        };
        let is_void = value == Value::Void;
        match attribute {
            Attribute::Preference => self.preference = number.filter(|n| *n <= 0xffff).ok_or(End::Fault)?,
            Attribute::KernelMetric if is_void || number.is_some() => self.metric = number,
            Attribute::LocalPref if is_void || number.is_some() => self.local_pref = number,
            Attribute::Med if is_void || number.is_some() => self.med = number,
            Attribute::Origin if number.is_some_and(|n| n <= 2) => self.origin = number,
            Attribute::KernelTunnel => match value {
                Value::Text(name) => self.tunnel = Some(name),
                Value::Void => self.tunnel = None,
                _ => return Err(End::Fault),
            },
            Attribute::NextHop => match value {
                Value::Address(addr) => self.next_hop = Some(addr),
                _ => return Err(End::Fault),
            },
            Attribute::Communities if is_void => self.communities = Some(Vec::new()),
            Attribute::LargeCommunities if is_void => self.large = Some(Vec::new()),
            _ => return Err(End::Fault),
        }
        Ok(())
    }

    fn change_list(&mut self, attribute: Attribute, item: &Value, change: Change) -> Result<(), End> {
        match (attribute, item) {
            (Attribute::Communities, Value::Community(community)) => {
                let mut list = self.communities.take().unwrap_or_else(|| self.communities());
                list.retain(|c| c != community);
                if change == Change::Add {
                    list.push(*community);
                }
                self.communities = Some(list);
            }
            (Attribute::LargeCommunities, Value::LargeCommunity(community)) => {
                let mut list = self.large.take().unwrap_or_else(|| self.large());
                list.retain(|c| c != community);
                if change == Change::Add {
                    list.push(*community);
                }
                self.large = Some(list);
            }
            (Attribute::Communities, set @ Value::CommunityRanges(_)) if change == Change::Delete => {
                let mut list = self.communities.take().unwrap_or_else(|| self.communities());
                list.retain(|c| matches_set(&Value::Community(*c), set) != Some(true));
                self.communities = Some(list);
            }
            _ => return Err(End::Fault),
        }
        Ok(())
    }

    /// The route as it leaves the program.
    fn accepted(self) -> Verdict {
        let marks = Marks {
            preference: (self.preference != self.subject.facts.preference).then_some(self.preference),
            metric: self.metric,
            tunnel: self.tunnel.as_deref().map(Tunnel::named),
            is_own_as_prepended: self.subject.stage == Stage::ToExternal,
        };
        Verdict::Accept { edited: self.edited(), naming: Naming::Named, marks }
    }

    fn edited(&self) -> Option<AttrSet> {
        let attrs = self.subject.attrs;
        let is_bgp = self.subject.facts.provenance == Provenance::Bgp;
        let next_hop = self.next_hop.filter(|a| is_bgp && attrs.next_hop().addr() != Some(*a));
        let origin = self.origin.filter(|o| is_bgp && *o != origin_number(attrs.origin()));
        let is_same = self.local_pref == attrs.local_pref()
            && self.med == attrs.med()
            && self.communities.is_none()
            && self.large.is_none()
            && self.prepended.is_empty()
            && next_hop.is_none()
            && origin.is_none();
        if is_same {
            return None;
        }
        let mut b = attrs.edit();
        b.local_pref(self.local_pref).med(self.med);
        if let Some(list) = &self.communities {
            b.communities(list);
        }
        if let Some(list) = &self.large {
            b.large_communities(list);
        }
        if let Some(addr) = next_hop {
            b.next_hop(NextHop::from(addr));
        }
        match origin {
            Some(0) => b.origin(Origin::Igp),
            Some(1) => b.origin(Origin::Egp),
            Some(_) => b.origin(Origin::Incomplete),
            None => &mut b,
        };
        for asn in &self.prepended {
            b.prepend(*asn, 1);
        }
        Some(b.build())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Delete,
}

fn origin_number(origin: Origin) -> u32 {
    match origin {
        Origin::Igp => 0,
        Origin::Egp => 1,
        Origin::Incomplete => 2,
    }
}

/// The order of two values of one kind that has one; an absent one is less than any.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Void, Value::Void) => Some(Ordering::Equal),
        (Value::Void, _) => Some(Ordering::Less),
        (_, Value::Void) => Some(Ordering::Greater),
        (Value::Number(a), Value::Number(b)) => Some(a.cmp(b)),
        (Value::Truth(a), Value::Truth(b)) => Some(a.cmp(b)),
        (Value::Address(a), Value::Address(b)) => Some(a.cmp(b)),
        (Value::Community(a), Value::Community(b)) => Some(a.0.cmp(&b.0)),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// Whether `a` is in, or like, `b`; `None` where that makes no sense.
fn matches_set(a: &Value, b: &Value) -> Option<bool> {
    Some(match (a, b) {
        (Value::Prefix(a), Value::Prefix(b)) => b.contains(a),
        (Value::Prefix(a), Value::Prefixes(set)) => set.iter().any(|range| range.contains(a)),
        (Value::Address(a), Value::Prefix(b)) => b.contains_addr(*a),
        (Value::Address(a), Value::Addresses(set)) => set.contains(a),
        (Value::Address(a), Value::Prefixes(set)) => {
            let host = bgp_proto::Prefix::host(*a);
            set.iter().any(|range| range.contains(&host))
        }
        (Value::Number(a), Value::Numbers(set)) => set.iter().any(|(low, high)| (low..=high).contains(&a)),
        (Value::Provenance(a), Value::Provenances(set)) => set.contains(a),
        (Value::Community(a), Value::Communities(list)) => list.contains(a),
        (Value::Community(a), Value::CommunityRanges(set)) => in_ranges(*a, set),
        (Value::Communities(list), Value::CommunityRanges(set)) => list.iter().any(|c| in_ranges(*c, set)),
        (Value::LargeCommunity(a), Value::LargeCommunities(list)) => list.contains(a),
        (Value::Number(asn), Value::Path(path)) => path.contains(&Asn(*asn)),
        (Value::Path(path), Value::Numbers(set)) => {
            path.iter().any(|asn| set.iter().any(|(low, high)| (*low..=*high).contains(&asn.0)))
        }
        (Value::Path(path), Value::Mask(mask)) => is_like(path, mask),
        (Value::Text(text), Value::Text(pattern)) => is_like_pattern(text, pattern),
        _ => return None,
    })
}

fn in_ranges(community: Community, set: &[[(u16, u16); 2]]) -> bool {
    let (high, low) = ((community.0 >> 16) as u16, community.0 as u16);
    set.iter().any(|[a, b]| (a.0..=a.1).contains(&high) && (b.0..=b.1).contains(&low))
}

/// Whether the mask covers the whole path. Each item moves the set of positions that the path may be at.
fn is_like(path: &[Asn], mask: &[MaskItem]) -> bool {
    let mut at = vec![false; path.len() + 1];
    at[0] = true;
    for item in mask {
        let mut next = vec![false; path.len() + 1];
        let mut reached = false;
        for i in 0..=path.len() {
            match item {
                MaskItem::AnyMany => {
                    reached |= at[i];
                    next[i] = reached;
                }
                MaskItem::AnyOne if i < path.len() => next[i + 1] = at[i],
                MaskItem::Is(asn) if i < path.len() => next[i + 1] = at[i] && path[i] == *asn,
                MaskItem::AnyOne | MaskItem::Is(_) => {}
            }
        }
        at = next;
    }
    at[path.len()]
}

/// Whether `text` is like `pattern`, in which `*` stands for anything, `?` for one character, and `\` takes the next as it is.
pub fn is_like_pattern(text: &str, pattern: &str) -> bool {
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let (mut t, mut p) = (0, 0);
    // Where to go back to: the last `*`, and the text that it has not swallowed yet.
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        let literal = match pattern.get(p) {
            Some(b'\\') => pattern.get(p + 1).map(|c| (*c, 2)),
            Some(b'*') => {
                back = Some((p, t));
                p += 1;
                continue;
            }
            Some(b'?') => Some((text[t], 1)),
            Some(c) => Some((*c, 1)),
            None => None,
        };
        match (literal, back) {
            (Some((c, width)), _) if c == text[t] => {
                t += 1;
                p += width;
            }
            (_, Some((star, from))) => {
                back = Some((star, from + 1));
                (p, t) = (star + 1, from + 1);
            }
            (_, None) => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_interface_names() {
        let yes =
            [("cali1", "cali*"), ("vxlan.calico", "*.calico"), ("eth0", "eth?"), ("a*", "a\\*"), ("", "*")];
        let no = [("cali1", "*.cali"), ("eth10", "eth?"), ("ab", "a\\*"), ("eth0", "eth"), ("eth0", "")];
        for (text, pattern) in yes {
            assert!(is_like_pattern(text, pattern), "{text} {pattern}");
        }
        for (text, pattern) in no {
            assert!(!is_like_pattern(text, pattern), "{text} {pattern}");
        }
    }

    #[test]
    fn masks_cover_whole_paths() {
        use MaskItem::{AnyMany, AnyOne, Is};
        let path: Vec<Asn> = [1, 2, 3].map(Asn).to_vec();
        assert!(is_like(&path, &[Is(Asn(1)), AnyMany]));
        assert!(is_like(&path, &[AnyMany, Is(Asn(3))]));
        assert!(is_like(&path, &[AnyOne, AnyOne, AnyOne]));
        assert!(!is_like(&path, &[Is(Asn(1))]));
        assert!(!is_like(&path, &[Is(Asn(2)), AnyMany]));
        assert!(is_like(&[], &[AnyMany]));
    }

    #[test]
    fn values_of_two_kinds_are_unequal_and_have_no_order() {
        assert_eq!(compare(&Value::Void, &Value::Number(0)), Some(Ordering::Less));
        assert_eq!(compare(&Value::Number(1), &Value::Truth(true)), None);
        assert_eq!(matches_set(&Value::Void, &Value::Numbers(vec![(0, 9)])), None);
    }
}
