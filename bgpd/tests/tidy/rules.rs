//! The rules, one function each: from the sources to messages that say what to do about it.

use std::collections::BTreeSet;

use crate::tidy::graph::{self, Edge};
use crate::tidy::source::{Named, Source, Word, is_ident, paths};

/// Lines of a file and of a function: the walls, not the habit.
const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// Crates the pure crates may depend on, and why nothing else: each is a leaf that holds data and does nothing.
const DEPENDENCIES: [(&str, &[&str]); 2] = [
    ("bgp-proto", &["bytes", "nom", "serde"]),
    (
        "reflector",
        &[
            "bgp-proto",
            "bytes",
            "hashbrown",
            "indexmap",
            "prefix-trie",
            "rustc-hash",
            "slab",
            "smallvec",
            "thiserror",
        ],
    ),
];

/// What a pure crate does not name: executors, clocks, files, threads, sockets, locks, logs.
const IMPURE: [&str; 23] = [
    "tokio",
    "tracing",
    "anyhow",
    "Instant::now",
    "SystemTime",
    "std::time",
    "std::io",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "std::sync::mpsc",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "println",
    "eprintln",
    "dbg",
];

/// What the pure modules of `bgpd` do not name.
const IMPURE_IN_BODY: [&str; 12] = [
    "tokio",
    "tracing",
    "Instant::now",
    "SystemTime",
    "std::io",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "TcpStream",
    "TcpListener",
    "UnixStream",
];

/// The pure parts of `bgpd`, by path prefix, and what within them is not.
const PURE_IN_BODY: [(&str, &[&str]); 2] =
    [("bgpd/src/config/", &["bgpd/src/config/sources/"]), ("bgpd/src/fib/plan", &[])];

/// The rooms of `reflector`, lowest first; a room uses its own floor and those below. `session` is beside the upper
/// floors: it uses the lower two, and nothing uses it.
const FLOORS: [&[&str]; 6] = [
    &["ids", "time", "limits"],
    &["events", "feed", "explain"],
    &["rib"],
    &["decide", "policy", "reflection"],
    &["group"],
    &["table"],
];
const BESIDE: &str = "session";
const BESIDE_FLOOR: usize = 1;

/// Written above or behind a line that walks a hash table where the order cannot be seen from outside.
const ANY_ORDER: &str = "tidy: any order";

/// A rule: its name and what it finds.
pub(crate) type Rule = (&'static str, fn(&[Source]) -> Vec<String>);

/// All that look at sources.
pub(crate) const RULES: [Rule; 15] = [
    ("pure crates stay pure", pure_crates),
    ("pure modules of the body stay pure", pure_modules),
    ("reflector's rooms import downward", floors),
    ("modules make no circle", no_circle),
    ("only fib names netlink", only_fib_names_netlink),
    ("only the Kubernetes source names kube", only_kube_source_names_kube),
    ("only sys is unsafe", only_sys_is_unsafe),
    ("errors are typed outside of main and lab", anyhow_stays_outside),
    ("files are short", short_files),
    ("functions are short", short_functions),
    ("channels are bounded", bounded_channels),
    ("hash tables are not walked in pure crates", no_hash_walks),
    ("nothing is left open", nothing_left_open),
    ("tests do not sleep", no_sleep_in_tests),
    ("other programs are run by the lab only", shell_outs_in_lab),
];

fn each(
    sources: &[Source],
    of: impl Fn(&Source) -> bool,
    find: impl Fn(&Source, &mut Vec<String>),
) -> Vec<String> {
    let mut found = Vec::new();
    sources.iter().filter(|source| of(source)).for_each(|source| find(source, &mut found));
    found
}

fn is_pure_crate(source: &Source) -> bool {
    matches!(source.package(), "bgp-proto" | "reflector")
}

/// The paths of a file outside of its tests that match one of the patterns.
fn named<'p>(source: &Source, patterns: &[&'p str]) -> Vec<(Named, &'p str)> {
    let hits = |path: Named| patterns.iter().find(|pattern| matches(&path, pattern)).map(|&hit| (path, hit));
    paths(&source.code).into_iter().filter_map(hits).collect()
}

/// One word matches the head of a path (a crate, a macro) or an imported or built type; several match anywhere.
fn matches(path: &Named, pattern: &str) -> bool {
    let lowercase = pattern.starts_with(char::is_lowercase);
    if pattern.contains("::") || !lowercase {
        return path.has(pattern);
    }
    path.starts(pattern) && (path.imported || path.segments.len() > 1)
        || path.segments == [pattern] && pattern.ends_with("ln")
}

fn pure_crates(sources: &[Source]) -> Vec<String> {
    each(sources, is_pure_crate, |source, found| {
        for (path, pattern) in named(source, &IMPURE) {
            found.push(format!(
                "{}:{}: {pattern} in a pure crate; take the value as an argument, or move this to bgpd",
                source.path, path.line
            ));
        }
        let foreign = |path: &Named| path.starts("std") && !path.has("std::net");
        let std_in_proto = source.package() == "bgp-proto";
        for path in paths(&source.code).iter().filter(|path| std_in_proto && foreign(path)) {
            found.push(format!(
                "{}:{}: std in bgp-proto, which has core, alloc and std::net; name it from core or alloc",
                source.path, path.line
            ));
        }
        for word in source.code.iter().filter(|word| word.text == "async") {
            found.push(format!(
                "{}:{}: async in a pure crate; return a value instead",
                source.path, word.line
            ));
        }
    })
}

fn pure_modules(sources: &[Source]) -> Vec<String> {
    let is_pure = |source: &Source| {
        PURE_IN_BODY.iter().any(|(prefix, except)| {
            source.path.starts_with(prefix) && !except.iter().any(|path| source.path.starts_with(path))
        })
    };
    each(sources, is_pure, |source, found| {
        for (path, pattern) in named(source, &IMPURE_IN_BODY) {
            found.push(format!(
                "{}:{}: {pattern} in a pure module; let its caller do that and pass the result",
                source.path, path.line
            ));
        }
    })
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn crate_edges(sources: &[Source], package: &str) -> Vec<Edge> {
    let own: Vec<&Source> = sources.iter().filter(|source| source.package() == package).collect();
    graph::edges(&own)
}

fn floors(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for Edge { from, to, at } in crate_edges(sources, "reflector") {
        let (Some(from), Some(to)) = (from.first(), to.first()) else { continue };
        if from == to {
            continue;
        }
        let allowed = match (floor(from), floor(to)) {
            (Some(upper), Some(lower)) => lower <= upper,
            (None, Some(lower)) if from == BESIDE => lower <= BESIDE_FLOOR,
            (Some(_), None) if to == BESIDE => false,
            (None, _) | (_, None) => {
                found.push(format!("{at}: {from} uses {to}, one of which has no floor; add it to FLOORS"));
                continue;
            }
        };
        if !allowed {
            found.push(format!(
                "{at}: {from} uses {to}, which is not below it; pass a value, or move the type down"
            ));
        }
    }
    found
}

fn no_circle(sources: &[Source]) -> Vec<String> {
    let packages: BTreeSet<&str> = sources.iter().map(Source::package).collect();
    let circles = |package: &str| {
        let found = graph::circles(&crate_edges(sources, package));
        found.into_iter().map(|circle| format!("{package}: {circle}")).collect::<Vec<_>>()
    };
    packages.into_iter().flat_map(circles).collect()
}

fn only_fib_names_netlink(sources: &[Source]) -> Vec<String> {
    let outside = |source: &Source| {
        let inside = ["bgpd/src/fib/", "bgpd/src/fib.rs", "bgpd/src/sys", "bgpd/lab/", "bgpd/tests/"];
        !inside.iter().any(|path| source.path.starts_with(path))
    };
    each(sources, outside, |source, found| {
        for word in source.code.iter().filter(|word| is_ident(&word.text)) {
            if word.text.to_lowercase().contains("netlink") {
                found.push(format!(
                    "{}:{}: {} outside of fib; ask fib for what you need",
                    source.path, word.line, word.text
                ));
            }
        }
    })
}

fn only_kube_source_names_kube(sources: &[Source]) -> Vec<String> {
    let outside = |source: &Source| !source.path.starts_with("bgpd/src/config/sources/");
    each(sources, outside, |source, found| {
        for path in paths(&source.code) {
            let foreign = path.starts("kube") || path.starts("k8s_openapi");
            if foreign && (path.imported || path.segments.len() > 1) {
                found.push(format!(
                    "{}:{}: {} outside of config/sources; every source yields one Desired value",
                    source.path, path.line, path.segments[0]
                ));
            }
        }
    })
}

fn only_sys_is_unsafe(sources: &[Source]) -> Vec<String> {
    let outside = |source: &Source| !source.path.starts_with("bgpd/src/sys");
    each(sources, outside, |source, found| {
        for words in [&source.code, &source.tests] {
            for (index, word) in words.iter().enumerate() {
                let opened = word.text == "unsafe_code" && index >= 2 && words[index - 2].text == "allow";
                if word.text == "unsafe" || opened {
                    found.push(format!(
                        "{}:{}: unsafe outside of bgpd/src/sys; add a safe function there",
                        source.path, word.line
                    ));
                }
            }
        }
    })
}

fn anyhow_stays_outside(sources: &[Source]) -> Vec<String> {
    let inside = |source: &Source| {
        source.path.starts_with("bgpd/src/") && source.path != "bgpd/src/main.rs" || is_pure_crate(source)
    };
    each(sources, inside, |source, found| {
        for (path, _) in named(source, &["anyhow"]) {
            found.push(format!(
                "{}:{}: anyhow in a library; a small enum whose variants say what to do next",
                source.path, path.line
            ));
        }
    })
}

fn short_files(sources: &[Source]) -> Vec<String> {
    each(
        sources,
        |_| true,
        |source, found| {
            let lines = source.text.lines().count();
            if lines > FILE_LINES_MAX {
                found.push(format!(
                    "{}: {lines} lines; split it by noun (at most {FILE_LINES_MAX})",
                    source.path
                ));
            }
        },
    )
}

fn short_functions(sources: &[Source]) -> Vec<String> {
    each(
        sources,
        |_| true,
        |source, found| {
            for (name, first, last) in functions(&source.code) {
                let lines = last + 1 - first;
                if lines > FUNCTION_LINES_MAX {
                    found.push(format!(
                    "{}:{first}: fn {name} has {lines} lines; move the arithmetic to leaves (at most {FUNCTION_LINES_MAX})",
                    source.path
                ));
                }
            }
        },
    )
}

/// Name, first and last line of every function with a body.
fn functions(words: &[Word]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (index, pair) in words.windows(2).enumerate() {
        if pair[0].text != "fn" || !is_ident(&pair[1].text) {
            continue;
        }
        let mut depth = 0usize;
        for word in &words[index + 2..] {
            match word.text.as_str() {
                "{" if depth == 0 => {
                    found.push((pair[1].text.clone(), pair[0].line, word.closes));
                    break;
                }
                ";" if depth == 0 => break,
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }
    found
}

fn bounded_channels(sources: &[Source]) -> Vec<String> {
    let names = ["unbounded", "unbounded_channel", "UnboundedSender", "UnboundedReceiver"];
    each(
        sources,
        |_| true,
        |source, found| {
            for words in [&source.code, &source.tests] {
                for (index, word) in words.iter().enumerate() {
                    // A oneshot carries one value.
                    let is_oneshot = words[..index]
                        .iter()
                        .rev()
                        .find(|w| w.text != ":")
                        .is_some_and(|w| w.text == "oneshot");
                    let std_channel =
                        word.text == "channel" && !is_oneshot && called_with_nothing(&words[index + 1..]);
                    if names.contains(&word.text.as_str()) || std_channel {
                        found.push(format!(
                            "{}:{}: a channel without a bound; give it a capacity from limits",
                            source.path, word.line
                        ));
                    }
                }
            }
        },
    )
}

/// `()` or `::<T>()`.
fn called_with_nothing(words: &[Word]) -> bool {
    let mut depth = 0usize;
    let mut words = words.iter();
    for word in words.by_ref() {
        match word.text.as_str() {
            ":" => {}
            "<" => depth += 1,
            ">" => depth = depth.saturating_sub(1),
            "(" if depth == 0 => return words.next().is_some_and(|next| next.text == ")"),
            _ if depth == 0 => return false,
            _ => {}
        }
    }
    false
}

fn no_hash_walks(sources: &[Source]) -> Vec<String> {
    each(sources, is_pure_crate, |source, found| {
        let tables = hash_tables(&source.code);
        for line in hash_walks(&source.code, &tables) {
            if source.line(line).contains(ANY_ORDER) || source.line(line - 1).contains(ANY_ORDER) {
                continue;
            }
            found.push(format!(
                "{}:{line}: walks a hash table, whose order is not ours; use a BTreeMap or an index, or write \
                 `// {ANY_ORDER}, because ...`",
                source.path
            ));
        }
    })
}

fn is_hash_type(text: &str) -> bool {
    text.ends_with("HashMap") || text.ends_with("HashSet")
}

/// Names declared with a hash table's type: `name: HashMap<..>`, `name: &mut hashbrown::HashMap<..>`, and
/// `let name = HashMap::..`.
fn hash_tables(words: &[Word]) -> BTreeSet<String> {
    let aliases: BTreeSet<&str> = words
        .windows(12)
        .filter(|window| window[0].text == "type")
        .filter(|window| {
            let target = window.iter().skip_while(|word| word.text != "=").skip(1);
            target
                .take_while(|word| word.text != "<" && word.text != ";")
                .any(|word| is_hash_type(&word.text))
        })
        .map(|window| window[1].text.as_str())
        .collect();
    let mut names = BTreeSet::new();
    for (index, word) in words.iter().enumerate() {
        if !is_hash_type(&word.text) && !aliases.contains(word.text.as_str()) {
            continue;
        }
        // Back over the path and references in front of the type, to `name :` or `name =`.
        let mut at = index;
        while at > 0 && in_front_of_type(words, at - 1) {
            at -= 1;
        }
        if at >= 2 && matches!(words[at - 1].text.as_str(), ":" | "=") && is_ident(&words[at - 2].text) {
            names.insert(words[at - 2].text.clone());
        }
    }
    names
}

/// `&`, `mut`, a lifetime, or a path segment with its `::`.
fn in_front_of_type(words: &[Word], at: usize) -> bool {
    match words[at].text.as_str() {
        "&" | "mut" | "'" => true,
        ":" => {
            let double_behind = words.get(at + 1).is_some_and(|word| word.text == ":");
            let double_before = at > 0 && words[at - 1].text == ":";
            double_behind || double_before
        }
        text => {
            let lifetime = at > 0 && words[at - 1].text == "'";
            is_ident(text) && (lifetime || words.get(at + 1).is_some_and(|word| word.text == ":"))
        }
    }
}

/// Lines that visit every entry of one of these tables.
fn hash_walks(words: &[Word], tables: &BTreeSet<String>) -> Vec<usize> {
    const VISITS: [&str; 10] = [
        "iter",
        "iter_mut",
        "into_iter",
        "keys",
        "into_keys",
        "values",
        "values_mut",
        "into_values",
        "drain",
        "extract_if",
    ];
    let text = |index: usize| words.get(index).map_or("", |word| word.text.as_str());
    let mut lines = Vec::new();
    for (index, word) in words.iter().enumerate().filter(|(_, word)| tables.contains(&word.text)) {
        let method = text(index + 1) == "." && VISITS.contains(&text(index + 2)) && text(index + 3) == "(";
        let mut before = index;
        while before > 0 && (matches!(text(before - 1), "." | "&" | "mut") || text(before) == ".") {
            before -= 1;
        }
        let looped = before > 0 && text(before - 1) == "in" && text(index + 1) == "{";
        if method || looped {
            lines.push(word.line);
        }
    }
    lines
}

fn nothing_left_open(sources: &[Source]) -> Vec<String> {
    // Put together here, so that this file does not find itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("#[ig", "nore"), concat!("todo", "!(")];
    each(
        sources,
        |_| true,
        |source, found| {
            for (index, line) in source.text.lines().enumerate() {
                if let Some(mark) = marks.iter().find(|mark| line.contains(*mark)) {
                    found.push(format!("{}:{}: {mark}; finish it, or leave it out", source.path, index + 1));
                }
            }
        },
    )
}

fn no_sleep_in_tests(sources: &[Source]) -> Vec<String> {
    let names = ["sleep", "sleep_ms", "sleep_until", "park_timeout"];
    each(
        sources,
        |source| source.path != "bgpd/lab/src/wait.rs",
        |source, found| {
            let lab = source.package() == "bgpd/lab";
            let words = source.tests.iter().chain(source.code.iter().filter(|_| lab));
            for word in words.filter(|word| names.contains(&word.text.as_str())) {
                found.push(format!(
                    "{}:{}: a test that sleeps; wait for the condition (lab::wait), or move a virtual clock",
                    source.path, word.line
                ));
            }
        },
    )
}

fn shell_outs_in_lab(sources: &[Source]) -> Vec<String> {
    each(
        sources,
        // A bench counts instructions by running itself under a tool.
        |source| source.package() != "bgpd/lab" && !source.path.starts_with("bgp-proto/bench/"),
        |source, found| {
            for path in paths(&source.code).iter().filter(|path| path.has("process::Command")) {
                found.push(format!(
                    "{}:{}: runs another program; only the lab does that, the daemon asks the kernel itself",
                    source.path, path.line
                ));
            }
        },
    )
}

/// Dependencies a pure crate's manifest may not have.
pub(crate) fn dependencies(package: &str, manifest: &str) -> Vec<String> {
    let allowed =
        DEPENDENCIES.iter().find(|(name, _)| *name == package).map_or(&[][..], |(_, allowed)| allowed);
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
            if line.starts_with("[target.") && line.ends_with("dependencies]") {
                found.push(format!("{package}: {line}; a pure crate is the same on every target"));
            }
            continue;
        }
        let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
        if !inside || name.is_empty() || line.starts_with('#') {
            continue;
        }
        if !allowed.contains(&name) {
            found.push(format!("{package} depends on {name}; allowed are {}", allowed.join(", ")));
        } else if name == "serde" && !line.contains("optional = true") {
            found.push(format!("{package} depends on serde; make it optional = true"));
        }
    }
    found
}
