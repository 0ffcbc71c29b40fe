//! From the tree to the schema's types, with every fault found in one go.
//!
//! The types of the schema derive serde's `Deserialize`, so that a file and a Kubernetes object read into the same ones. This is the
//! deserializer for the file: it walks a [`Tree`], lets the wanted type say what a scalar means, and knows at every error which node
//! it was about. serde gives up at the first error; to find the others the faulty value is hidden and the whole is
//! read again, as often as there are faults (at most [`PROBLEMS_MAX`]). An item that then lacks what it needs is hidden without a word.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, Unexpected, Visitor};

use super::problem::{PROBLEMS_MAX, Problem, suggestion};
use super::tree::{Entry, Kind, NodeId, Tree};

/// Readings of one text; a fault can hide the values around it too, so there may be more readings than faults.
const READINGS_MAX: usize = 4 * PROBLEMS_MAX;

/// Reads the document into `T`, or says all that is wrong with it, in the order of the text.
pub(crate) fn decode<T: DeserializeOwned>(tree: &Tree) -> Result<T, Vec<Problem>> {
    let Some(root) = tree.root() else {
        return Err(vec![Problem {
            place: None,
            path: String::new(),
            message: "the configuration is empty; the least is `asn: NUMBER`".into(),
        }]);
    };
    let mut hidden = HashSet::new();
    let mut problems = Vec::new();
    for _ in 0..READINGS_MAX {
        let fault = match T::deserialize(Reader { tree, id: root, hidden: &hidden }) {
            Ok(value) if problems.is_empty() => return Ok(value),
            Ok(_) => break,
            Err(fault) => fault,
        };
        let at = fault.at.unwrap_or(root);
        if !consequence(tree, at, &fault.what, &hidden) {
            problems.push(describe(tree, at, &fault.what));
        }
        if at == root || !hidden.insert(at) || problems.len() >= PROBLEMS_MAX {
            break;
        }
    }
    problems.sort_by_key(|problem| problem.place);
    Err(problems)
}

/// Whether the fault only follows from a value that was hidden.
fn consequence(tree: &Tree, at: NodeId, what: &What, hidden: &HashSet<NodeId>) -> bool {
    let (What::Missing(field), Kind::Map(entries)) = (what, tree.kind(at)) else { return false };
    entries.iter().any(|entry| entry.key == *field && hidden.contains(&entry.value))
}

fn describe(tree: &Tree, at: NodeId, what: &What) -> Problem {
    let above = tree.above(at);
    let (place, path, message) = match what {
        What::Unknown { key, known } => {
            let place = above.and_then(|map| key_place(tree, map, at)).unwrap_or(tree.place(at));
            let path = above.map(|map| tree.path(map)).unwrap_or_default();
            (place, path, format!("unknown key `{key}`; {}", suggestion(key, known)))
        }
        What::Missing(field) => (tree.place(at), tree.path(at), format!("`{field}` is missing")),
        What::Unaccepted { seen, accepted } => {
            (tree.place(at), tree.path(at), format!("expected {accepted}, found {seen}"))
        }
        What::Other(message) => (tree.place(at), tree.path(at), message.clone()),
    };
    Problem { place: Some(place), path, message }
}

fn key_place(tree: &Tree, map: NodeId, value: NodeId) -> Option<super::problem::Place> {
    let Kind::Map(entries) = tree.kind(map) else { return None };
    entries.iter().find(|entry| entry.value == value).map(|entry| entry.key_place)
}

/// Why a reading stopped, and at which node.
#[derive(Debug)]
struct Fault {
    at: Option<NodeId>,
    what: What,
}

#[derive(Debug)]
enum What {
    Unknown { key: String, known: &'static [&'static str] },
    Missing(&'static str),
    Unaccepted { seen: String, accepted: String },
    Other(String),
}

impl Fault {
    fn new(what: What) -> Fault {
        Fault { at: None, what }
    }

    /// The innermost node wins: it is the first to be named.
    fn at(mut self, id: NodeId) -> Fault {
        self.at.get_or_insert(id);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.what)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Fault {
        Fault::new(What::Other(message.to_string()))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Fault {
        Fault::new(What::Unaccepted { seen: seen(unexpected), accepted: expected.to_string() })
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Fault {
        Fault::invalid_type(unexpected, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Fault {
        let near = super::problem::nearest(variant, expected.iter().copied())
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        Fault::new(What::Other(format!("expected {}, found `{variant}`{near}", one_of(expected))))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Fault {
        Fault::new(What::Unknown { key: field.to_owned(), known: expected })
    }

    fn missing_field(field: &'static str) -> Fault {
        Fault::new(What::Missing(field))
    }
}

fn one_of(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [only] => format!("`{only}`"),
        [rest @ .., last] => {
            let rest: Vec<String> = rest.iter().map(|word| format!("`{word}`")).collect();
            format!("{} or `{last}`", rest.join(", "))
        }
    }
}

fn seen(unexpected: Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Str(text) => quoted(text),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

/// A value as it was written; only its beginning if it is long.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    let more = if text.chars().nth(60).is_some() { "..." } else { "" };
    format!("`{short}{more}`")
}

/// The deserializer: one node of the tree.
#[derive(Clone, Copy)]
struct Reader<'t> {
    tree: &'t Tree,
    id: NodeId,
    hidden: &'t HashSet<NodeId>,
}

impl<'t> Reader<'t> {
    fn below(self, id: NodeId) -> Reader<'t> {
        Reader { id, ..self }
    }

    fn is_nothing(self) -> bool {
        matches!(self.tree.kind(self.id), Kind::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null"))
    }

    fn unaccepted(self, accepted: &str) -> Fault {
        let seen = match self.tree.kind(self.id) {
            Kind::Scalar { .. } if self.is_nothing() => "nothing".to_owned(),
            Kind::Scalar { text, .. } => quoted(text),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a mapping".to_owned(),
        };
        Fault::new(What::Unaccepted { seen, accepted: accepted.to_owned() }).at(self.id)
    }

    fn scalar(self, accepted: &str) -> Result<&'t str, Fault> {
        match self.tree.kind(self.id) {
            Kind::Scalar { text, .. } if !self.is_nothing() => Ok(text),
            Kind::Scalar { .. } | Kind::List(_) | Kind::Map(_) => Err(self.unaccepted(accepted)),
        }
    }

    fn list<V: Visitor<'t>>(self, items: &'t [NodeId], visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(Items { reader: self, items: items.iter() }).map_err(|fault| fault.at(self.id))
    }

    fn map<V: Visitor<'t>>(self, entries: &'t [Entry], visitor: V) -> Result<V::Value, Fault> {
        let entries = Entries { reader: self, entries: entries.iter(), value: None };
        visitor.visit_map(entries).map_err(|fault| fault.at(self.id))
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let accepted = || format!("a whole number from 0 to {}", <$type>::MAX);
            let text = self.scalar(&accepted())?;
            let number = text.parse::<$type>().map_err(|_| self.unaccepted(&accepted()))?;
            visitor.$visit(number).map_err(|fault: Fault| fault.at(self.id))
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Reader<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.tree.kind(self.id) {
            Kind::Scalar { .. } if self.is_nothing() => visitor.visit_unit(),
            Kind::Scalar { text, .. } => visitor.visit_borrowed_str(text),
            Kind::List(items) => self.list(items, visitor),
            Kind::Map(entries) => self.map(entries, visitor),
        }
        .map_err(|fault: Fault| fault.at(self.id))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.scalar("true or false")? {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(self.unaccepted("true or false")),
        }
    }

    whole_numbers!(
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64
    );

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.scalar("a text")?).map_err(|fault: Fault| fault.at(self.id))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.is_nothing() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.tree.kind(self.id) {
            Kind::List(items) => self.list(items, visitor),
            Kind::Scalar { .. } if self.is_nothing() => self.list(&[], visitor),
            Kind::Scalar { .. } | Kind::Map(_) => Err(self.unaccepted("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.tree.kind(self.id) {
            Kind::Map(entries) => self.map(entries, visitor),
            Kind::Scalar { .. } if self.is_nothing() => self.map(&[], visitor),
            Kind::Scalar { .. } | Kind::List(_) => Err(self.unaccepted("a mapping of names to values")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.tree.kind(self.id) {
            Kind::Map(entries) => self.map(entries, visitor),
            Kind::Scalar { .. } | Kind::List(_) => {
                Err(self.unaccepted(&format!("a mapping with keys such as `{}`", fields.join("`, `"))))
            }
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let word = self.scalar(&one_of(variants))?;
        visitor
            .visit_enum(de::value::BorrowedStrDeserializer::<Fault>::new(word))
            .map_err(|fault| fault.at(self.id))
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
        identifier ignored_any
    }
}

struct Items<'t> {
    reader: Reader<'t>,
    items: std::slice::Iter<'t, NodeId>,
}

impl<'t> de::SeqAccess<'t> for Items<'t> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'t>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let hidden = self.reader.hidden;
        let Some(&item) = self.items.find(|item| !hidden.contains(item)) else { return Ok(None) };
        seed.deserialize(self.reader.below(item)).map(Some).map_err(|fault| fault.at(item))
    }
}

struct Entries<'t> {
    reader: Reader<'t>,
    entries: std::slice::Iter<'t, Entry>,
    value: Option<NodeId>,
}

impl<'t> de::MapAccess<'t> for Entries<'t> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'t>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let hidden = self.reader.hidden;
        let Some(entry) = self.entries.find(|entry| !hidden.contains(&entry.value)) else { return Ok(None) };
        self.value = Some(entry.value);
        seed.deserialize(de::value::BorrowedStrDeserializer::<Fault>::new(&entry.key))
            .map(Some)
            .map_err(|fault| fault.at(entry.value))
    }

    fn next_value_seed<V: DeserializeSeed<'t>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some(value) = self.value.take() else { return Err(Fault::new(What::Other(String::new()))) };
        seed.deserialize(self.reader.below(value)).map_err(|fault| fault.at(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Sample {
        asn: u32,
        #[serde(default)]
        peers: Vec<SamplePeer>,
        #[serde(default)]
        mode: Option<Mode>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct SamplePeer {
        name: String,
        #[serde(default)]
        port: u16,
        #[serde(default)]
        passive: bool,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase")]
    enum Mode {
        Both,
        SendOnly,
    }

    fn read(text: &str) -> Result<Sample, String> {
        let tree = Tree::parse(text).map_err(|problem| problem.to_string())?;
        decode(&tree).map_err(|list| list.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn the_wanted_type_decides_what_a_word_means() {
        let sample =
            read("asn: 64512\npeers: [{name: 12, port: '179'}, {name: no}]\nmode: sendOnly").unwrap();
        let peer = |name: &str, port| SamplePeer { name: name.into(), port, passive: false };
        let peers = vec![peer("12", 179), peer("no", 0)];
        assert_eq!(sample, Sample { asn: 64512, peers, mode: Some(Mode::SendOnly) });
    }

    #[test]
    fn every_fault_is_found_in_one_reading() {
        let text = "\
asn: lots
peers:
- { nam: a, port: 179 }
- { name: b, port: 70000, passive: yes }
- c
- { name: [] }
mode: bth
colour: red
";
        let expected = "\
1:6: asn: expected a whole number from 0 to 4294967295, found `lots`
3:3: peers[0]: `name` is missing
3:5: peers[0]: unknown key `nam`; did you mean `name`?
4:20: peers[1].port: expected a whole number from 0 to 65535, found `70000`
4:36: peers[1].passive: expected true or false, found `yes`
5:3: peers[2]: expected a mapping with keys such as `name`, `port`, `passive`, found `c`
6:11: peers[3].name: expected a text, found a list
7:7: mode: expected `both` or `sendOnly`, found `bth`; did you mean `both`?
8:1: unknown key `colour`; known here: asn, peers, mode";
        assert_eq!(read(text).unwrap_err(), expected);
    }

    #[test]
    fn nothing_is_an_empty_list_but_not_a_value() {
        assert_eq!(read("asn: 1\npeers:\nmode:\n").unwrap().peers, []);
        assert_eq!(
            read("asn:\n").unwrap_err(),
            "1:4: asn: expected a whole number from 0 to 4294967295, found nothing"
        );
        assert_eq!(read("").unwrap_err(), " the configuration is empty; the least is `asn: NUMBER`");
    }

    #[test]
    fn a_long_value_is_quoted_in_part() {
        let text = format!("asn: {}\n", "9".repeat(200));
        let expected =
            format!("1:6: asn: expected a whole number from 0 to 4294967295, found `{}...`", "9".repeat(60));
        assert_eq!(read(&text).unwrap_err(), expected);
    }
}
