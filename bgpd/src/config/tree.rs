//! A YAML text as a tree that remembers where everything stood.
//!
//! The parser (`granit-parser`, YAML 1.2) gives events with positions; this file makes a tree of them and nothing more.
//! A scalar stays text. What it means is for the type that reads it to say, so an AS number `1.10` is never the float 1.1
//! and a peer may be called `no`. Nodes live in one arena and know the node above, so a node is at once a position and a path.
//!
//! Refused here, with a position: syntax errors, a second document, a key that is not a plain word, a key given twice, tags other
//! than YAML's own, merge keys (not part of YAML 1.2), and texts that would grow without bound through aliases. Aliases themselves are
//! good and are copied where they stand.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::problem::{Place, Problem, Step, display_path};

/// Nodes of one document, aliases counted as often as they are used.
const NODES_MAX: usize = 2_000_000;
/// Lists and mappings inside each other; the schema needs fewer than ten.
const DEPTH_MAX: usize = 64;

/// Index of a node of a [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(usize);

/// One document.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    root: Option<NodeId>,
}

#[derive(Debug, Clone)]
struct Node {
    place: Place,
    above: Option<(NodeId, Step)>,
    kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// A word, number or text, not yet interpreted.
    Scalar {
        /// As written, escapes resolved.
        text: String,
        /// Whether it was written without quotes, so that `null` and `~` mean nothing.
        plain: bool,
    },
    /// A list.
    List(Vec<NodeId>),
    /// A mapping in the order of the text.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) key_place: Place,
    /// The value.
    pub(crate) value: NodeId,
}

impl Tree {
    /// Parses the one document of `text`.
    pub(crate) fn parse(text: &str) -> Result<Tree, Problem> {
        let options = granit_parser::options! {
            flow_nesting_limit: DEPTH_MAX,
            block_nesting_limit: DEPTH_MAX,
            emit_comments: false,
        };
        let mut build = Build::default();
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|error| {
                let mark = error.marker();
                let place = Place { line: mark.line().max(1), column: mark.col() + 1 };
                problem(place, format!("this is not YAML: {}", error.info()))
            })?;
            build.take(event, place_of(&span))?;
        }
        Ok(Tree { root: build.root, nodes: build.nodes })
    }

    /// The value of the document, `None` for an empty one.
    pub(crate) fn root(&self) -> Option<NodeId> {
        self.root
    }

    /// What the node is.
    pub(crate) fn kind(&self, id: NodeId) -> &Kind {
        &self.nodes[id.0].kind
    }

    /// Where the node stands.
    pub(crate) fn place(&self, id: NodeId) -> Place {
        self.nodes[id.0].place
    }

    /// The node that contains this one.
    pub(crate) fn above(&self, id: NodeId) -> Option<NodeId> {
        self.nodes[id.0].above.as_ref().map(|(above, _)| *above)
    }

    /// The path of the node as people write it.
    pub(crate) fn path(&self, id: NodeId) -> String {
        let mut steps = Vec::new();
        let mut at = id;
        while let Some((above, step)) = &self.nodes[at.0].above {
            steps.push(step.clone());
            at = *above;
        }
        steps.reverse();
        display_path(&steps)
    }

    /// The place of the value at these steps or, where it is not written, of the nearest one around it.
    pub(crate) fn locate(&self, steps: &[Step]) -> Option<Place> {
        let mut at = self.root?;
        let mut place = self.place(at);
        for step in steps {
            let below = match (self.kind(at), step) {
                (Kind::Map(entries), Step::Key(key)) => entries
                    .iter()
                    .find(|entry| entry.key == *key)
                    .map(|entry| (entry.value, self.shown_place(entry))),
                (Kind::List(items), Step::Index(index)) => {
                    items.get(*index).map(|&item| (item, self.place(item)))
                }
                // One value may stand for a list of one.
                (Kind::Scalar { .. }, Step::Index(_)) => Some((at, place)),
                (Kind::Scalar { .. } | Kind::List(_) | Kind::Map(_), _) => None,
            };
            let Some(below) = below else { break };
            (at, place) = below;
        }
        Some(place)
    }

    /// A scalar is pointed at itself; for a whole list or mapping its key is the better place to look.
    fn shown_place(&self, entry: &Entry) -> Place {
        match self.kind(entry.value) {
            Kind::Scalar { .. } => self.place(entry.value),
            Kind::List(_) | Kind::Map(_) => entry.key_place,
        }
    }
}

/// Makes the tree from events. The stack holds the lists and mappings that are still open.
#[derive(Default)]
struct Build {
    nodes: Vec<Node>,
    root: Option<NodeId>,
    stack: Vec<Open>,
    anchors: HashMap<usize, NodeId>,
    documents: usize,
}

struct Open {
    id: NodeId,
    /// The key whose value comes next.
    key: Option<(String, Place)>,
    /// The keys so far, where the collection is a mapping.
    seen: HashSet<String>,
}

impl Build {
    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), Problem> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(problem(
                        place,
                        "a second document starts here; a configuration is one document",
                    ));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let quoted_by_tag = check_tag(tag.as_deref(), place)?;
                if self.expects_key() {
                    return self.key(text.into_owned(), place);
                }
                let plain = matches!(style, ScalarStyle::Plain) && !quoted_by_tag;
                let id = self.add(Kind::Scalar { text: text.into_owned(), plain }, place)?;
                self.anchor(anchor, id);
            }
            Event::SequenceStart(_, anchor, tag) => {
                check_tag(tag.as_deref(), place)?;
                self.open(Kind::List(Vec::new()), anchor, place)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                check_tag(tag.as_deref(), place)?;
                self.open(Kind::Map(Vec::new()), anchor, place)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.stack.pop();
            }
            Event::Alias(anchor) => self.alias(anchor, place)?,
            Event::UnresolvedAlias(name) => {
                return Err(problem(place, format!("there is no anchor `&{name}` above")));
            }
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Anchor(..) => {}
            // Another crate of the build may switch comments on.
            #[allow(unreachable_patterns)]
            _ => {}
        }
        Ok(())
    }

    fn expects_key(&self) -> bool {
        self.stack
            .last()
            .is_some_and(|open| open.key.is_none() && matches!(self.nodes[open.id.0].kind, Kind::Map(_)))
    }

    fn key(&mut self, key: String, place: Place) -> Result<(), Problem> {
        if key == "<<" {
            return Err(problem(
                place,
                "merge keys (`<<`) are not part of YAML 1.2 and not supported; write the keys out",
            ));
        }
        let Some(open) = self.stack.last_mut() else { return Ok(()) };
        if !open.seen.insert(key.clone()) {
            return Err(problem(place, format!("the key `{key}` is given twice in this mapping")));
        }
        open.key = Some((key, place));
        Ok(())
    }

    fn open(&mut self, kind: Kind, anchor: usize, place: Place) -> Result<(), Problem> {
        if self.expects_key() {
            return Err(problem(place, "a key is one word, not a list or a mapping"));
        }
        let id = self.add(kind, place)?;
        self.anchor(anchor, id);
        self.stack.push(Open { id, key: None, seen: HashSet::new() });
        Ok(())
    }

    fn anchor(&mut self, anchor: usize, id: NodeId) {
        if anchor > 0 {
            self.anchors.insert(anchor, id);
        }
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), Problem> {
        let Some(&target) = self.anchors.get(&anchor) else {
            return Err(problem(place, "there is no such anchor above"));
        };
        if self.expects_key() {
            let Kind::Scalar { text, .. } = &self.nodes[target.0].kind else {
                return Err(problem(place, "a key is one word, not a list or a mapping"));
            };
            return self.key(text.clone(), place);
        }
        if self.stack.iter().any(|open| open.id == target) {
            return Err(problem(place, "this alias would contain itself"));
        }
        self.copy(target)
    }

    /// Copies a finished node to where the stack stands, as if its text had been written there.
    fn copy(&mut self, from: NodeId) -> Result<(), Problem> {
        let Node { place, kind, .. } = self.nodes[from.0].clone();
        match kind {
            Kind::Scalar { .. } => {
                self.add(kind, place)?;
            }
            Kind::List(items) => {
                self.open(Kind::List(Vec::new()), 0, place)?;
                for item in items {
                    self.copy(item)?;
                }
                self.stack.pop();
            }
            Kind::Map(entries) => {
                self.open(Kind::Map(Vec::new()), 0, place)?;
                for entry in entries {
                    self.key(entry.key, entry.key_place)?;
                    self.copy(entry.value)?;
                }
                self.stack.pop();
            }
        }
        Ok(())
    }

    /// Adds a node below the innermost open collection.
    fn add(&mut self, kind: Kind, place: Place) -> Result<NodeId, Problem> {
        if self.nodes.len() >= NODES_MAX || self.stack.len() > DEPTH_MAX {
            return Err(problem(
                place,
                format!("too large: more than {NODES_MAX} values or {DEPTH_MAX} levels"),
            ));
        }
        let id = NodeId(self.nodes.len());
        let above = match self.stack.last_mut() {
            None => {
                self.root = Some(id);
                None
            }
            Some(open) => {
                let step = match (&mut self.nodes[open.id.0].kind, open.key.take()) {
                    (Kind::List(items), _) => {
                        items.push(id);
                        Step::Index(items.len() - 1)
                    }
                    (Kind::Map(entries), Some((key, key_place))) => {
                        entries.push(Entry { key: key.clone(), key_place, value: id });
                        Step::Key(key)
                    }
                    (Kind::Map(_) | Kind::Scalar { .. }, _) => Step::Index(0),
                };
                Some((open.id, step))
            }
        };
        self.nodes.push(Node { place, above, kind });
        Ok(id)
    }
}

/// `!!str` makes a text of anything; YAML's other own tags say what the schema knows anyway.
fn check_tag(tag: Option<&Tag>, place: Place) -> Result<bool, Problem> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.core_suffix().is_some() => Ok(tag.core_suffix() == Some("str")),
        Some(tag) => Err(problem(place, format!("the tag `{tag}` has no meaning here"))),
    }
}

fn place_of(span: &Span) -> Place {
    Place { line: span.start.line(), column: span.start.col() + 1 }
}

fn problem(place: Place, message: impl Into<String>) -> Problem {
    Problem { place: Some(place), path: String::new(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Tree::parse(text).expect_err("refused").to_string()
    }

    fn scalar(tree: &Tree, id: NodeId) -> &str {
        match tree.kind(id) {
            Kind::Scalar { text, .. } => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_know_their_place_and_path() {
        let tree = Tree::parse("asn: 1.10\npeers:\n- { name: no,\n    port: 179 }\n").unwrap();
        let Kind::Map(top) = tree.kind(tree.root().unwrap()) else { panic!() };
        assert_eq!(scalar(&tree, top[0].value), "1.10");
        let Kind::List(peers) = tree.kind(top[1].value) else { panic!() };
        let Kind::Map(peer) = tree.kind(peers[0]) else { panic!() };
        assert_eq!(tree.path(peer[1].value), "peers[0].port");
        assert_eq!(tree.place(peer[1].value), Place { line: 4, column: 11 });
        let missing = [Step::Key("peers".into()), Step::Index(0), Step::Key("address".into())];
        assert_eq!(tree.locate(&missing), Some(Place { line: 3, column: 3 }));
    }

    #[test]
    fn an_alias_stands_for_what_was_written_at_its_anchor() {
        let tree = Tree::parse("a: &x [1, {b: 2}]\nc: *x\n").unwrap();
        let Kind::Map(top) = tree.kind(tree.root().unwrap()) else { panic!() };
        let Kind::List(copy) = tree.kind(top[1].value) else { panic!() };
        assert_eq!(scalar(&tree, copy[0]), "1");
        assert_eq!(tree.path(copy[1]), "c[1]");
    }

    #[test]
    fn faults_of_the_text_carry_line_and_column() {
        assert_eq!(refused("a: 1\na: 2\n"), "2:1: the key `a` is given twice in this mapping");
        assert_eq!(
            refused("a: 1\n---\nb: 2\n"),
            "2:1: a second document starts here; a configuration is one document"
        );
        assert_eq!(refused("a: &x 1\nb: !env HOME\n"), "2:9: the tag `!env` has no meaning here");
        assert_eq!(refused("? [a]\n: 1\n"), "1:3: a key is one word, not a list or a mapping");
        assert_eq!(refused("a: &a [ *a ]\n"), "1:9: this alias would contain itself");
        assert_eq!(
            refused("d: &d { a: 1 }\ne: { <<: *d }\n"),
            "2:6: merge keys (`<<`) are not part of YAML 1.2 and not supported; write the keys out"
        );
        assert!(refused("a: [1, 2\nb: 3\n").starts_with("2:"), "{}", refused("a: [1, 2\nb: 3\n"));
        assert!(refused("a:\n\t- 1\n").contains("not YAML"), "{}", refused("a:\n\t- 1\n"));
    }

    #[test]
    fn aliases_of_aliases_do_not_grow_without_bound() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for n in 1..10 {
            let below = format!("*a{}", n - 1);
            text.push_str(&format!("a{n}: &a{n} [{}]\n", vec![below; 10].join(",")));
        }
        assert!(refused(&text).contains("too large"));
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(Tree::parse(&"[".repeat(10_000)).is_err());
        assert!(Tree::parse(&"- ".repeat(10_000)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_fatal(text in r"[a-c:\[\]{},&*!|>'\n \-#?%<~]{0,80}") {
            let _ = Tree::parse(&text);
        }
    }
}
