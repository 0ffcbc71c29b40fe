//! The rules of the house as a test: what DESIGN promises about imports, purity, size and limits, checked on every
//! source file of the workspace. Each rule is shown here to be able to fail, on the smallest sample that breaks it.

use std::fs;
use std::path::{Path, PathBuf};

mod tidy {
    pub(crate) mod graph;
    pub(crate) mod rules;
    pub(crate) mod source;
}

use tidy::rules::{self, RULES};
use tidy::source::Source;

fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("bgpd stands in the workspace").to_owned()
}

#[test]
fn every_rule_holds() {
    let root = workspace();
    let sources = Source::all(&root);
    assert!(sources.len() > 10, "found only {} source files below {}", sources.len(), root.display());
    let mut broken = String::new();
    for (name, rule) in RULES {
        for finding in rule(&sources) {
            broken.push_str(&format!("\n[{name}]\n  {finding}"));
        }
    }
    for package in ["bgp-proto", "reflector"] {
        let manifest = fs::read_to_string(root.join(package).join("Cargo.toml")).expect("a manifest");
        for finding in rules::dependencies(package, &manifest) {
            broken.push_str(&format!("\n[pure crates have leaf dependencies]\n  {finding}"));
        }
    }
    assert!(broken.is_empty(), "{broken}\n");
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<String> = Source::all(&workspace())
        .into_iter()
        .filter(|source| !source.text.trim_start().starts_with("//!") && !source.text.starts_with("#!"))
        .map(|source| source.path)
        .collect();
    assert!(silent.is_empty(), "open these files with a //! essay: {silent:#?}");
}

/// The findings of the rule called `name` on these files.
fn findings(name: &str, files: &[(&str, &str)]) -> Vec<String> {
    let sources: Vec<Source> = files.iter().map(|(path, text)| Source::parse(path, text)).collect();
    let (_, rule) = RULES.into_iter().find(|(known, _)| *known == name).expect("a rule of that name");
    rule(&sources)
}

/// `bad` breaks the rule at `path` with a message that contains `says`; `good` does not.
#[track_caller]
fn tells_apart(name: &str, path: &str, bad: &str, says: &str, good: &str) {
    let found = findings(name, &[(path, bad)]);
    assert!(found.iter().any(|finding| finding.contains(says)), "not found in {bad:?}: {found:?}");
    let found = findings(name, &[(path, good)]);
    assert!(found.is_empty(), "{good:?} is blamed: {found:?}");
}

#[test]
fn impurity_in_a_pure_crate_is_found() {
    let rule = "pure crates stay pure";
    let path = "reflector/src/rib/mod.rs";
    let good = "use core::time::Duration; #[cfg(test)] mod tests { use std::fs; fn f() { println!(); } }";
    tells_apart(rule, path, "use tokio::sync::mpsc;", ":1: tokio", good);
    tells_apart(rule, path, "use std::{collections::BTreeMap, io::{self, Read}};", "std::io", good);
    tells_apart(rule, path, "\nfn f() { let t = std::time::Instant::now(); }", ":2: Instant::now", good);
    tells_apart(rule, path, "fn f() { tracing::info!(\"x\"); }", "tracing", "fn f(tokio: u8) {}");
    tells_apart(
        rule,
        path,
        "async fn f() {}",
        "async",
        "// async\nfn f() -> &str { \"async tokio::spawn\" }",
    );
    tells_apart(rule, path, "fn f() { println!(\"x\") }", "println", good);
    let net = "use std::net::IpAddr; use alloc::vec::Vec;";
    tells_apart(rule, "bgp-proto/src/lib.rs", "use std::vec::Vec;", "from core or alloc", net);
    tells_apart(rule, "bgp-proto/src/lib.rs", "use std::net::TcpStream;", "TcpStream", net);
}

#[test]
fn impurity_in_a_pure_module_of_the_body_is_found() {
    let rule = "pure modules of the body stay pure";
    let bad = "fn f() { std::fs::read(\"x\"); }";
    tells_apart(rule, "bgpd/src/config/diff.rs", bad, "std::fs", "fn f(text: &str) {}");
    tells_apart(rule, "bgpd/src/fib/plan/mod.rs", "use tokio::time;", "tokio", "fn f() {}");
    assert!(findings(rule, &[("bgpd/src/config/sources/file.rs", bad)]).is_empty());
}

#[test]
fn an_import_upward_is_found_also_through_a_reexport() {
    let rule = "reflector's rooms import downward";
    let rooms = |rib: &'static str| {
        vec![
            ("reflector/src/lib.rs", "pub mod rib; pub mod table; pub mod ids; pub use table::Table;"),
            ("reflector/src/table.rs", "use crate::rib::Rib; pub struct Table(Rib);"),
            ("reflector/src/ids.rs", "pub struct PeerId;"),
            ("reflector/src/session.rs", "use crate::ids::PeerId;"),
            ("reflector/src/rib.rs", rib),
        ]
    };
    assert!(findings(rule, &rooms("use crate::ids::PeerId; pub struct Rib;")).is_empty());
    for bad in ["use crate::table::Table;", "use crate::Table;", "fn f(s: crate::session::Session) {}"] {
        let found = findings(rule, &rooms(bad));
        assert!(found.iter().any(|finding| finding.contains("not below it")), "{bad}: {found:?}");
    }
    let unknown = [("reflector/src/cellar.rs", ""), ("reflector/src/rib.rs", "use crate::cellar::X;")];
    assert!(findings(rule, &unknown)[0].contains("has no floor"));
}

#[test]
fn a_circle_of_modules_is_found_at_every_depth() {
    let rule = "modules make no circle";
    let circle = [
        ("bgpd/src/fib/mod.rs", "mod a; mod b; mod c; pub struct Shared;"),
        ("bgpd/src/fib/a.rs", "use super::b::B; use super::Shared;"),
        ("bgpd/src/fib/b.rs", "fn f(c: super::c::C) {}"),
        ("bgpd/src/fib/c.rs", "use crate::fib::a::A;"),
    ];
    let found = findings(rule, &circle);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("a -> b (bgpd/src/fib/a.rs:1)"), "{found:?}");
    assert!(findings(rule, &circle[..3]).is_empty(), "a chain is blamed");
    let in_tests = ("bgpd/src/fib/c.rs", "#[cfg(test)] mod tests { use crate::fib::a::A; }");
    assert!(findings(rule, &[circle[0], circle[1], circle[2], in_tests]).is_empty(), "tests are blamed");
}

#[test]
fn names_out_of_their_room_are_found() {
    let netlink = "use netlink_packet_route::Route;";
    tells_apart(
        "only fib names netlink",
        "bgpd/src/core.rs",
        netlink,
        "outside of fib",
        "use crate::fib::Fib;",
    );
    assert!(findings("only fib names netlink", &[("bgpd/src/fib/netlink.rs", netlink)]).is_empty());
    let kube = "only the Kubernetes source names kube";
    tells_apart(
        kube,
        "bgpd/src/run.rs",
        "use kube::Client;",
        "outside of config/sources",
        "fn f(kube: u8) {}",
    );
    let rule = "only sys is unsafe";
    tells_apart(
        rule,
        "bgpd/src/net/dial.rs",
        "fn f() { unsafe { g() } }",
        "outside of bgpd/src/sys",
        "fn f() {}",
    );
    let forbid = "#![forbid(unsafe_code)]";
    tells_apart(rule, "bgpd/src/net/dial.rs", "#![allow(unsafe_code)]", "outside of bgpd/src/sys", forbid);
    let rule = "errors are typed outside of main and lab";
    tells_apart(rule, "bgpd/src/fib/mod.rs", "use anyhow::Result;", "small enum", "use thiserror::Error;");
    let rule = "other programs are run by the lab only";
    let good = "use std::process::ExitCode;";
    tells_apart(rule, "bgpd/src/net/mod.rs", "use std::process::Command;", "asks the kernel itself", good);
}

#[test]
fn long_files_and_functions_are_found() {
    let long_file = "\n".repeat(801);
    tells_apart("files are short", "bgpd/src/run.rs", &long_file, "801 lines", "\n");
    let body =
        |lines: usize| format!("trait T {{ fn g(); }}\nfn f(a: [u8; 4]) {{\n{}}}\n", "g();\n".repeat(lines));
    tells_apart("functions are short", "bgpd/src/run.rs", &body(69), "fn f has 71 lines", &body(68));
    let test = format!("#[cfg(test)] mod tests {{ {} }}", body(100));
    assert!(findings("functions are short", &[("bgpd/src/run.rs", &test)]).is_empty());
}

#[test]
fn channels_without_a_bound_are_found() {
    let rule = "channels are bounded";
    let good = "fn f() { tokio::sync::mpsc::channel::<u8>(8); std::sync::mpsc::sync_channel(1); oneshot::channel(); }";
    for bad in [
        "fn f() { mpsc::unbounded_channel(); }",
        "fn f() { channel(); }",
        "fn f() { mpsc::channel::<Vec<u8>>(); }",
    ] {
        tells_apart(rule, "bgpd/src/core.rs", bad, "without a bound", good);
    }
}

#[test]
fn walks_over_hash_tables_are_found() {
    let rule = "hash tables are not walked in pure crates";
    let path = "reflector/src/rib/mod.rs";
    let good = "struct S { map: HashMap<u8, u8>, list: Vec<u8> }
        fn f(s: &S) { s.map.get(&1); for x in &s.list {} s.list.iter(); }
        fn g(s: &S) -> usize { s.map.values().count() // tidy: any order, because it only counts
        }";
    for bad in [
        "struct S { map: HashMap<u8, u8> } fn f(s: &S) { s.map.iter(); }",
        "struct S { map: hashbrown::HashMap<u8, u8> } fn f(s: &S) { for x in &s.map {} }",
        "fn f(set: &'a mut FxHashSet<u8>) { set.drain(); }",
        "type Map = hashbrown::HashMap<u8, u8, Fx>; struct S { map: Map } fn f(s: S) { s.map.into_values(); }",
        "fn f() { let map = HashMap::new(); for x in map.keys() {} }",
    ] {
        tells_apart(rule, path, bad, "walks a hash table", good);
    }
}

#[test]
fn things_left_open_and_sleeping_tests_are_found() {
    let open = format!("// {}: later", concat!("TO", "DO"));
    tells_apart("nothing is left open", "bgpd/src/run.rs", &open, "finish it", "// all done");
    let rule = "tests do not sleep";
    let bad = "#[test] fn f() { std::thread::sleep(d); }";
    let good = "fn f() { tokio::time::sleep(d); } #[test] fn g() { wait(); }";
    tells_apart(rule, "bgpd/src/net/dial.rs", bad, "wait for the condition", good);
    tells_apart(
        rule,
        "bgpd/tests/x.rs",
        "fn helper() { sleep(d); }",
        "wait for the condition",
        "fn helper() {}",
    );
}

#[test]
fn foreign_dependencies_of_pure_crates_are_found() {
    let good = "[dependencies]\nbytes.workspace = true\nserde = { version = \"1\", optional = true }\n\
                [dev-dependencies]\nproptest = \"1\"\n";
    assert!(rules::dependencies("bgp-proto", good).is_empty());
    let found = rules::dependencies("bgp-proto", "[dependencies]\ntokio = \"1\"\nserde.workspace = true\n");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("depends on tokio; allowed are bytes"), "{found:?}");
    assert!(!rules::dependencies("reflector", "[target.'cfg(unix)'.dependencies]\n").is_empty());
}
