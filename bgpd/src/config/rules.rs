//! Policies as written become policies as meant. What one rule of them means is in the schema; here are the checks.

use std::collections::{BTreeMap, BTreeSet};

use bgp_proto::{Family, Prefix};

use super::desired::{Match, NextHopSet, Policy, PrefixRange, Remote, Rule, Set, Verdict};
use super::problem::{Path, Report, suggestion};
use super::schema;
use super::text::{Name, NextHopWord, Text};

/// Longer AS_PATHs than this are refused by too many to be of use.
const PREPEND_MAX: u8 = 32;

/// Resolves all policies; `names` says where each peer is.
pub(super) fn policies(
    written: &BTreeMap<String, Vec<schema::Rule>>,
    names: &BTreeMap<String, Remote>,
    report: &mut Report,
) -> BTreeMap<String, Policy> {
    let root = Path::Root;
    let all = root.key("policy");
    written
        .iter()
        .map(|(name, rules)| {
            let list = all.key(name);
            if rules.is_empty() {
                report.add(
                    list,
                    "a policy without rules rejects everything; write `[{ action: reject }]` if so",
                );
            }
            let rules = rules.iter().enumerate();
            let rules = rules.map(|(n, written)| rule(written, names, list.index(n), report)).collect();
            (name.clone(), Policy { rules })
        })
        .collect()
}

fn rule(written: &schema::Rule, names: &BTreeMap<String, Remote>, at: Path<'_>, report: &mut Report) -> Rule {
    let when = conditions(&written.when, names, at.key("match"), report);
    let set = set(&written.set, at.key("set"), report);
    let verdict = match written.action {
        schema::Action::Accept => Verdict::Accepted(set),
        schema::Action::Reject => {
            if set != Set::default() {
                report.add(at.key("set"), "a rejected route is not changed; drop `set`, or accept");
            }
            Verdict::Rejected
        }
    };
    Rule { when, verdict }
}

fn conditions(
    written: &schema::Match,
    names: &BTreeMap<String, Remote>,
    at: Path<'_>,
    report: &mut Report,
) -> Match {
    let families: Vec<Family> = written.families.0.clone();
    Match {
        prefixes: ranges(written, at, report),
        families: (!families.is_empty()).then(|| families.into_iter().collect()),
        communities: once_each(&written.communities.0),
        large_communities: once_each(&written.large_communities.0),
        as_path_contains: once_each(&written.as_path.contains.0),
        as_path_first: once_each(&written.as_path.first.0),
        as_path_origin: once_each(&written.as_path.origin.0),
        next_hops: once_each(&written.next_hop.0),
        sources: sources(&written.peer.0, names, at.key("peer"), report),
    }
}

fn sources(
    written: &[Name],
    names: &BTreeMap<String, Remote>,
    at: Path<'_>,
    report: &mut Report,
) -> Vec<Remote> {
    let mut sources = Vec::new();
    for (n, Name(name)) in written.iter().enumerate() {
        match names.get(name) {
            Some(remote) => sources.push(*remote),
            None => {
                let known: Vec<&str> = names.keys().map(String::as_str).collect();
                report.add(at.index(n), format!("unknown peer `{name}`; {}", suggestion(name, &known)));
            }
        }
    }
    once_each(&sources)
}

/// Prefixes with the lengths they may have. Lengths alone apply to everything.
fn ranges(written: &schema::Match, at: Path<'_>, report: &mut Report) -> Vec<PrefixRange> {
    let lengths = written.min_length.is_some() || written.max_length.is_some();
    if written.exact == Some(true) && lengths {
        report.add(at.key("exact"), "`exact` and lengths exclude each other");
    }
    if written.prefix.0.is_empty() {
        return ranges_of_everything(written, lengths, at, report);
    }
    let list = at.key("prefix");
    let mut ranges = Vec::new();
    for (n, prefix) in written.prefix.0.iter().enumerate() {
        match range(*prefix, written) {
            Ok(range) => ranges.push(range),
            Err(why) => report.add(list.index(n), why),
        }
    }
    ranges
}

fn ranges_of_everything(
    written: &schema::Match,
    lengths: bool,
    at: Path<'_>,
    report: &mut Report,
) -> Vec<PrefixRange> {
    if written.exact == Some(true) {
        report.add(at.key("exact"), "`exact` needs a `prefix`");
    }
    if !lengths {
        return Vec::new();
    }
    // Lengths beyond 32 leave IPv6 alone.
    let everything = [Prefix::DEFAULT_V4, Prefix::DEFAULT_V6];
    let ranges: Vec<PrefixRange> =
        everything.into_iter().filter_map(|prefix| range(prefix, written).ok()).collect();
    if ranges.is_empty() {
        let key = if written.min_length.is_some() { "minLength" } else { "maxLength" };
        report.add(at.key(key), "no prefix has a length within these bounds");
    }
    ranges
}

fn range(within: Prefix, written: &schema::Match) -> Result<PrefixRange, String> {
    if written.exact == Some(true) {
        return Ok(PrefixRange { within, len_min: within.len(), len_max: within.len() });
    }
    let bits = within.version().bits();
    let len_max = written.max_length.unwrap_or(bits);
    let len_min = written.min_length.unwrap_or(0).max(within.len());
    if len_max > bits || len_min > bits {
        return Err(format!("parts of {within} have at most {bits} bits, less than the length asked for"));
    }
    if len_min > len_max {
        return Err(format!("no part of {within} has between {len_min} and {len_max} bits"));
    }
    Ok(PrefixRange { within, len_min, len_max })
}

fn set(written: &schema::Set, at: Path<'_>, report: &mut Report) -> Set {
    let prepend = written.prepend.unwrap_or(0);
    if prepend > PREPEND_MAX {
        report.add(at.key("prepend"), format!("expected 0 to {PREPEND_MAX} times, found `{prepend}`"));
    }
    Set {
        local_pref: written.local_pref,
        med: written.med,
        remove_communities: once_each(&written.communities.remove.0),
        add_communities: once_each(&written.communities.add.0),
        remove_large_communities: once_each(&written.large_communities.remove.0),
        add_large_communities: once_each(&written.large_communities.add.0),
        prepend,
        next_hop: written.next_hop.as_ref().map(|Text(word)| match word {
            NextHopWord::Own => NextHopSet::Own,
            NextHopWord::Address(address) => NextHopSet::Address(*address),
        }),
    }
}

/// Sorted and without duplicates, so that lists that mean the same are equal.
pub(super) fn once_each<T: Copy + Ord>(list: &[T]) -> Vec<T> {
    let set: BTreeSet<T> = list.iter().copied().collect();
    set.into_iter().collect()
}
