//! What is wrong with a configuration, said so that it can be repaired.
//!
//! A reader or a check finds a fault at a place in the value it looks at, and names that place by its path from the root
//! (`peers[1].holdTime`). Only the source of the configuration knows what the path means to a person: a file turns it into
//! line and column, a Kubernetes object leaves it as it is. So checks never carry positions about; they carry a [`Path`],
//! a list of steps on the stack, and a [`Report`] collects everything found, because nobody likes to repair one word a run.

use std::fmt;

/// Problems reported at most; a file of the wrong kind should not scroll the first line away.
pub const PROBLEMS_MAX: usize = 50;

/// Everything that is wrong with one configuration, in the order of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// Where the configuration came from, such as a file name.
    pub source: String,
    /// What was found, never empty.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.list.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{problem}", self.source)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line and column, where the source is a text.
    pub place: Option<Place>,
    /// The path of the value, such as `peers[1].holdTime`; empty for the whole.
    pub path: String,
    /// What was seen, what is accepted, what may have been meant.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}:")?;
        }
        if !self.path.is_empty() {
            write!(f, " {}:", self.path)?;
        }
        write!(f, " {}", self.message)
    }
}

/// A position in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One step from a value to a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The value of this key.
    Key(String),
    /// The item at this index, counted from 0.
    Index(usize),
}

/// Where a check stands; it grows on the stack as the check descends.
#[derive(Debug, Clone, Copy)]
pub enum Path<'a> {
    /// The whole configuration.
    Root,
    /// The value of a key of the value at the inner path.
    Key(&'a Path<'a>, &'a str),
    /// An item of the list at the inner path.
    Index(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    /// The value of `key` below this one.
    pub fn key(&'a self, key: &'a str) -> Path<'a> {
        Path::Key(self, key)
    }

    /// The item at `index` of this list.
    pub fn index(&'a self, index: usize) -> Path<'a> {
        Path::Index(self, index)
    }

    /// The steps from the root.
    pub fn steps(&self) -> Vec<Step> {
        let (mut steps, step) = match self {
            Path::Root => return Vec::new(),
            Path::Key(above, key) => (above.steps(), Step::Key((*key).to_owned())),
            Path::Index(above, index) => (above.steps(), Step::Index(*index)),
        };
        steps.push(step);
        steps
    }
}

/// Collects what checks find.
#[derive(Debug, Default)]
pub struct Report {
    found: Vec<(Vec<Step>, String)>,
}

impl Report {
    /// Adds a finding about the value at `path`.
    pub fn add(&mut self, path: Path<'_>, message: impl Into<String>) {
        if self.found.len() < PROBLEMS_MAX {
            self.found.push((path.steps(), message.into()));
        }
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// What was found, each with the path of the value.
    pub fn into_found(self) -> Vec<(Vec<Step>, String)> {
        self.found
    }
}

/// Writes steps the way people do: `peers[1].holdTime`.
pub fn display_path(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// What other BGP speakers call our keys, without case, dashes and underscores.
const SYNONYMS: [(&str, &str); 16] = [
    ("remoteas", "asn"),
    ("peeras", "asn"),
    ("peerasn", "asn"),
    ("asnumber", "asn"),
    ("localas", "asn"),
    ("neighbor", "address"),
    ("neighbour", "address"),
    ("peeraddress", "address"),
    ("peerip", "address"),
    ("sourceaddress", "localAddress"),
    ("updatesource", "localAddress"),
    ("md5", "password"),
    ("routereflectorclient", "reflectorClient"),
    ("neighbors", "peers"),
    ("networks", "advertise"),
    ("policies", "policy"),
];

/// The candidate that `word` was probably meant to be, if one is near enough.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let simple = simplified(word);
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let meant = SYNONYMS.iter().find(|(other, _)| *other == simple).map(|(_, ours)| *ours);
    if let Some(ours) = candidates.iter().find(|candidate| Some(**candidate) == meant) {
        return Some(ours);
    }
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&simple, &simplified(candidate)), candidate))
        .filter(|&(distance, candidate)| distance <= allowed_distance(&simple, candidate))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Case, dashes and underscores are how other tools spell the same words.
fn simplified(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).take(64).collect()
}

fn allowed_distance(word: &str, candidate: &str) -> usize {
    word.chars().count().max(candidate.chars().count()) / 3
}

/// What `nearest` found as the end of a sentence, or every candidate where nothing is near.
pub fn suggestion(word: &str, candidates: &[&str]) -> String {
    match nearest(word, candidates.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if candidates.is_empty() => "there is none".to_owned(),
        None => format!("known here: {}", candidates.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_spellings_and_slips_find_the_key() {
        let keys = ["holdTime", "localAddress", "asn", "address", "reflectorClient"];
        assert_eq!(nearest("hold-time", keys), Some("holdTime"));
        assert_eq!(nearest("holdtmie", keys), Some("holdTime"));
        assert_eq!(nearest("local_addres", keys), Some("localAddress"));
        assert_eq!(nearest("as", keys), Some("asn"));
        assert_eq!(nearest("zebra", keys), None);
    }

    #[test]
    fn a_path_reads_like_code() {
        let (root, peers, one);
        root = Path::Root;
        peers = root.key("peers");
        one = peers.index(1);
        assert_eq!(display_path(&one.key("holdTime").steps()), "peers[1].holdTime");
    }

    #[test]
    fn problems_print_one_a_line_with_their_place() {
        let problem = |line, path: &str, message: &str| Problem {
            place: Some(Place { line, column: 3 }),
            path: path.into(),
            message: message.into(),
        };
        let problems = Problems {
            source: "bgpd.yaml".into(),
            list: vec![problem(1, "", "not YAML"), problem(2, "asn", "is missing")],
        };
        assert_eq!(problems.to_string(), "bgpd.yaml:1:3: not YAML\nbgpd.yaml:2:3: asn: is missing");
    }
}
