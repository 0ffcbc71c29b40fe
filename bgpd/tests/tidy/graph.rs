//! Which module of a crate names which: edges for the layers and for the rule that there is no circle.
//!
//! A module and the one it stands in may name each other; a parent owns its children. Anything else counts: two
//! children of one parent, or whatever stands below them, may depend on each other in one direction only.

use std::collections::{BTreeMap, BTreeSet};

use crate::tidy::source::{Named, Source, paths};

/// How far a re-export is followed.
const HOPS_MAX: usize = 6;

/// One module naming another.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) from: Vec<String>,
    pub(crate) to: Vec<String>,
    /// `path:line`, for the message.
    pub(crate) at: String,
}

/// The edges between all modules of one crate.
pub(crate) fn edges(sources: &[&Source]) -> Vec<Edge> {
    let modules: BTreeMap<Vec<String>, Vec<Named>> = sources
        .iter()
        .filter(|source| !source.path.ends_with("/main.rs"))
        .filter_map(|source| Some((source.module()?, paths(&source.code))))
        .collect();
    let mut edges = Vec::new();
    for source in sources {
        let Some(from) = source.module() else { continue };
        for named in paths(&source.code) {
            if let Some(to) = resolve(&modules, &from, &named.segments, HOPS_MAX)
                && to != from
            {
                edges.push(Edge { from: from.clone(), to, at: format!("{}:{}", source.path, named.line) });
            }
        }
    }
    edges
}

/// The module in which what `segments` names is defined, following re-exports.
fn resolve(
    modules: &BTreeMap<Vec<String>, Vec<Named>>,
    from: &[String],
    segments: &[String],
    hops: usize,
) -> Option<Vec<String>> {
    let mut base = match segments.first()?.as_str() {
        "crate" => Vec::new(),
        "self" => from.to_vec(),
        "super" => from[..from.len().checked_sub(1)?].to_vec(),
        _ => return None,
    };
    let mut rest = &segments[1..];
    while rest.first().is_some_and(|segment| segment == "super") {
        base.pop()?;
        rest = &rest[1..];
    }
    while let Some((segment, behind)) = rest.split_first() {
        let below = [base.as_slice(), std::slice::from_ref(segment)].concat();
        if modules.contains_key(&below) {
            (base, rest) = (below, behind);
            continue;
        }
        let export = |named: &&Named| named.imported && named.segments.last() == Some(segment);
        let exported = modules.get(&base)?.iter().find(export).filter(|_| hops > 0);
        return match exported {
            Some(named) => resolve(modules, &base, &rooted(modules, &base, &named.segments), hops - 1)
                .or(Some(base.clone())),
            None => Some(base),
        };
    }
    Some(base)
}

/// A `use child::Name` in a module means `self::child::Name`.
fn rooted(modules: &BTreeMap<Vec<String>, Vec<Named>>, base: &[String], segments: &[String]) -> Vec<String> {
    let first = segments.first().map(std::slice::from_ref).unwrap_or_default();
    if modules.contains_key(&[base, first].concat()) {
        return [&["self".to_owned()], segments].concat();
    }
    segments.to_vec()
}

/// Circles among siblings, one message each.
pub(crate) fn circles(edges: &[Edge]) -> Vec<String> {
    let mut siblings: BTreeMap<(&[String], &str), BTreeMap<&str, &str>> = BTreeMap::new();
    for edge in edges {
        let shared = edge.from.iter().zip(&edge.to).take_while(|(from, to)| from == to).count();
        if let (Some(from), Some(to)) = (edge.from.get(shared), edge.to.get(shared)) {
            siblings.entry((&edge.from[..shared], from)).or_default().entry(to).or_insert(&edge.at);
        }
    }
    let mut found = BTreeMap::new();
    for &(parent, start) in siblings.keys() {
        let mut trail = vec![start];
        let mut seen = BTreeSet::new();
        if closes(&siblings, parent, start, &mut trail, &mut seen) {
            let mut members: Vec<&str> = trail.clone();
            members.sort_unstable();
            let steps: Vec<String> = (0..trail.len())
                .map(|at| {
                    let (from, to) = (trail[at], trail[(at + 1) % trail.len()]);
                    format!("{from} -> {to} ({})", siblings[&(parent, from)][to])
                })
                .collect();
            found.entry((parent.to_vec(), members.join(" "))).or_insert_with(|| {
                format!("modules in a circle: {}; move what both need below them", steps.join(", "))
            });
        }
    }
    found.into_values().collect()
}

/// Walks from the trail's end and reports whether a way leads back to its start; the trail is then that way.
fn closes<'e>(
    siblings: &BTreeMap<(&'e [String], &'e str), BTreeMap<&'e str, &'e str>>,
    parent: &'e [String],
    start: &str,
    trail: &mut Vec<&'e str>,
    seen: &mut BTreeSet<&'e str>,
) -> bool {
    let Some(&last) = trail.last() else { return false };
    let Some(next) = siblings.get(&(parent, last)) else { return false };
    if next.contains_key(start) && (trail.len() > 1 || last != start) {
        return true;
    }
    for &module in next.keys() {
        if seen.insert(module) {
            trail.push(module);
            if closes(siblings, parent, start, trail, seen) {
                return true;
            }
            trail.pop();
        }
    }
    false
}
