//! A Rust file as the rules see it: a flat list of words with their lines, test code told apart, paths written out.
//!
//! The lexer is rustc's own (`proc-macro2`), so strings and comments never look like code. That is as much syntax as
//! the rules need: an item under `#[cfg(test)]` or `#[test]` ends at its brace or semicolon, a path is idents joined by
//! `::`, and a `use` tree unfolds into one path for each leaf.

use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One token. An opening bracket knows the line of its closing one.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) line: usize,
    pub(crate) closes: usize,
}

/// One file.
pub(crate) struct Source {
    /// Relative to the workspace, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Everything outside of test items.
    pub(crate) code: Vec<Word>,
    /// Everything inside of them.
    pub(crate) tests: Vec<Word>,
}

impl Source {
    /// Lexes a text as if it stood at `path`.
    pub(crate) fn parse(path: &str, text: &str) -> Source {
        let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path} does not lex: {error}"));
        let mut source = Source { path: path.into(), text: text.into(), code: Vec::new(), tests: Vec::new() };
        source.flatten(stream, is_test_file(path));
        source
    }

    /// Every Rust file of the workspace below `root`.
    pub(crate) fn all(root: &Path) -> Vec<Source> {
        let mut paths = Vec::new();
        walk(root, &mut paths);
        paths.sort();
        let relative = |path: &Path| {
            path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/")
        };
        let read = |path: &Path| fs::read_to_string(path).expect("a readable source file");
        paths.iter().map(|path| Source::parse(&relative(path), &read(path))).collect()
    }

    /// The crate's directory, as `reflector` or `bgpd/lab`: what stands before its `src`, `tests` or the like.
    pub(crate) fn package(&self) -> &str {
        let inside = ["/src/", "/tests/", "/benches/", "/examples/", "/fuzz_targets/"];
        let end = inside.iter().filter_map(|directory| self.path.find(directory)).min();
        &self.path[..end.unwrap_or(0)]
    }

    /// The module the file is, below its crate: `rib::attrs` for `src/rib/attrs.rs`; nothing for the crate's root and
    /// for files outside of `src`.
    pub(crate) fn module(&self) -> Option<Vec<String>> {
        let inner = self.path.strip_prefix(self.package())?.strip_prefix("/src/")?.strip_suffix(".rs")?;
        let mut names: Vec<String> = inner.split('/').map(str::to_owned).collect();
        if names.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
            names.pop();
        }
        Some(names)
    }

    /// The text of a line, counted from 1.
    pub(crate) fn line(&self, number: usize) -> &str {
        number.checked_sub(1).and_then(|index| self.text.lines().nth(index)).unwrap_or_default()
    }

    fn flatten(&mut self, stream: TokenStream, in_test: bool) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut test_item = false;
        for (index, token) in tokens.iter().enumerate() {
            if !in_test && is_hash(token) && tokens.get(index + 1).is_some_and(marks_test) {
                test_item = true;
            }
            let test = in_test || test_item;
            self.push(token, test);
            test_item &= !ends_item(token);
        }
    }

    fn push(&mut self, token: &TokenTree, test: bool) {
        let line = token.span().start().line;
        let TokenTree::Group(group) = token else {
            let text = token.to_string();
            self.words(test).push(Word { text, line, closes: line });
            return;
        };
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Brace => ("{", "}"),
            Delimiter::Bracket => ("[", "]"),
            Delimiter::None => ("", ""),
        };
        let closes = group.span_close().end().line;
        self.words(test).push(Word { text: open.into(), line, closes });
        self.flatten(group.stream(), test);
        self.words(test).push(Word { text: close.into(), line: closes, closes });
    }

    fn words(&mut self, test: bool) -> &mut Vec<Word> {
        if test { &mut self.tests } else { &mut self.code }
    }
}

fn walk(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Files that are nothing but tests.
fn is_test_file(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn is_hash(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == '#')
}

/// `[test]`, `[cfg(test)]` and `[cfg(all(test, ...))]`, after the hash.
fn marks_test(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else { return false };
    let text: String = group.stream().to_string().split_whitespace().collect();
    text == "test" || text.starts_with("cfg(test") || text.starts_with("cfg(all(test")
}

fn ends_item(token: &TokenTree) -> bool {
    match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    }
}

/// A path as written, with the line it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    /// It stands in a `use`.
    pub(crate) imported: bool,
}

impl Named {
    /// True when `pattern`, as `std::io`, stands in the path as whole segments.
    pub(crate) fn has(&self, pattern: &str) -> bool {
        let wanted: Vec<&str> = pattern.split("::").collect();
        self.segments.windows(wanted.len()).any(|window| window.iter().eq(wanted.iter()))
    }

    /// True when the path begins with this segment.
    pub(crate) fn starts(&self, segment: &str) -> bool {
        self.segments.first().is_some_and(|first| first == segment)
    }
}

/// Every path in a list of words.
pub(crate) fn paths(words: &[Word]) -> Vec<Named> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        if words[at].text == "use" {
            at = unfold(words, at + 1, &[], &mut found);
        } else if is_ident(&words[at].text) {
            let line = words[at].line;
            let mut segments = vec![words[at].text.clone()];
            at += 1;
            while let Some(next) = after_colons(words, at).filter(|&next| is_ident(&words[next].text)) {
                segments.push(words[next].text.clone());
                at = next + 1;
            }
            found.push(Named { segments, line, imported: false });
        } else {
            at += 1;
        }
    }
    found
}

/// Unfolds one branch of a `use` tree beginning at `at`; returns the index behind it.
fn unfold(words: &[Word], mut at: usize, prefix: &[String], found: &mut Vec<Named>) -> usize {
    let mut segments = prefix.to_vec();
    let line = words.get(at).map_or(0, |word| word.line);
    while let Some(word) = words.get(at) {
        match word.text.as_str() {
            "{" => {
                at += 1;
                while words.get(at).is_some_and(|word| word.text != "}") {
                    at = unfold(words, at, &segments, found);
                    at += usize::from(words.get(at).is_some_and(|word| word.text == ","));
                }
                return at + 1;
            }
            "as" => at += 2,
            ":" => at += 1,
            "*" | "self" if !segments.is_empty() => at += 1,
            text if is_ident(text) => {
                segments.push(text.to_owned());
                at += 1;
            }
            _ => break,
        }
    }
    found.push(Named { segments, line, imported: true });
    at
}

/// The index behind `::`, when that is what stands here.
fn after_colons(words: &[Word], at: usize) -> Option<usize> {
    let colons = words.get(at)?.text == ":" && words.get(at + 1)?.text == ":";
    (colons && at + 2 < words.len()).then_some(at + 2)
}

/// Identifiers and the path keywords.
pub(crate) fn is_ident(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}
