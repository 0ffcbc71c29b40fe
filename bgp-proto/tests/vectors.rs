//! Bytes and their meaning, one case a file in `tests/vectors`.
//!
//! A file starts with the RFC section and what it shows, then `context` with words, `bytes` with hexadecimal (`;` starts
//! a comment), and `expect` with the meaning. `BLESS=1 cargo test --test vectors` writes what the codec makes of the bytes
//! into the files, to be read and judged before it is committed.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

struct Vector {
    head: String,
    context: String,
    bytes: String,
    expect: Vec<String>,
}

fn read(path: &Path) -> Result<Vector, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let (head, expect) = text.split_once("\nexpect\n").ok_or("no expect")?;
    let (before, bytes) = head.split_once("\nbytes\n").ok_or("no bytes")?;
    let context = before.lines().find_map(|line| line.strip_prefix("context ")).ok_or("no context")?;
    if !before.starts_with("RFC ") && !before.starts_with("draft-") {
        return Err("the first line names no RFC".into());
    }
    Ok(Vector {
        context: context.to_owned(),
        bytes: bytes.to_owned(),
        expect: expect
            .lines()
            .map(|line| line.trim_end().to_owned())
            .filter(|line| !line.is_empty())
            .collect(),
        head: head.to_owned(),
    })
}

fn check(path: &Path, bless: bool) -> Result<(), String> {
    let vector = read(path)?;
    let ctx = common::context(&vector.context)?;
    let bytes = common::unhex(&vector.bytes)?;
    let found = common::describe(&bytes, &ctx);
    if found == vector.expect {
        return Ok(());
    }
    if bless {
        let text = format!("{}\nexpect\n{}\n", vector.head, found.join("\n"));
        return fs::write(path, text).map_err(|error| error.to_string());
    }
    Err(format!("expected\n{}\nfound\n{}", vector.expect.join("\n"), found.join("\n")))
}

fn files(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the vectors are there") {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            into.push(path);
        }
    }
}

#[test]
fn every_vector_means_what_it_says() {
    let mut paths = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"), &mut paths);
    paths.sort();
    assert!(!paths.is_empty());
    let bless = std::env::var_os("BLESS").is_some();
    let wrong: Vec<String> = paths
        .iter()
        .filter_map(|path| check(path, bless).err().map(|error| format!("{}: {error}", path.display())))
        .collect();
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), paths.len(), wrong.join("\n\n"));
}

#[test]
fn every_fault_of_another_daemon_has_its_vector() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let text = fs::read_to_string(dir.join("README.md")).expect("the list is there");
    let named = text
        .lines()
        .filter(|line| line.starts_with("| "))
        .flat_map(|line| line.split('`').skip(1).step_by(2));
    let (there, missing): (Vec<&str>, Vec<&str>) =
        named.partition(|name| dir.join(name).with_extension("txt").is_file());
    assert!(missing.is_empty() && there.len() > 50, "{missing:?}");
}
