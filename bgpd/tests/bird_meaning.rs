//! What every configuration that Calico is known to render means, by an independent reading.
//!
//! * **Filters** ([`oracle`]): a real BIRD gets the same functions and filters, word for word, and a table of a few thousand routes, so made that each
//!   prefix, community, path, interface and preference that the filters name is met, missed and nearly met. What BIRD says of each
//!   route behind each filter is what ours must say.
//! * **Sessions** ([`sessions`]): the options are read again, line by line and not by our parser, and compared with what the daemon would run.

#![allow(clippy::print_stdout, reason = "a test program")]

#[path = "meaning/oracle.rs"]
mod oracle;
#[path = "meaning/samples.rs"]
mod samples;
#[path = "meaning/sessions.rs"]
mod sessions;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bgp_proto::Version;
use bgpd::bird::desired::{Face, desired};
use bgpd::bird::lang;
use bgpd::config::Desired;
use lab::here;
use lab::net::Underlay;
use lab::sandbox::isolated;

/// The families and their files.
const FAMILIES: [(Version, &str); 2] = [(Version::V4, "bird.cfg"), (Version::V6, "bird6.cfg")];

/// The folders of the corpus, if it is there.
fn folders() -> Option<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/calico/bird-cfg");
    if !root.is_dir() {
        println!("skipped: {} is absent", root.display());
        return None;
    }
    let mut all = Vec::new();
    walk(&root, &mut all);
    all.sort();
    assert!(all.len() >= 40, "{} folders", all.len());
    Some(all)
}

fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("the corpus").flatten() {
        if entry.path().is_dir() {
            walk(&entry.path(), into);
        } else if entry.file_name() == "bird.cfg" {
            into.push(dir.to_owned());
        }
    }
}

/// A file with what it includes, without comments.
fn flat(folder: &Path, name: &str) -> Result<String> {
    let text = std::fs::read_to_string(folder.join(name)).with_context(|| name.to_owned())?;
    let mut out = String::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        match line.trim().strip_prefix("include \"").and_then(|rest| rest.strip_suffix("\";")) {
            Some(included) => out += &flat(folder, included)?,
            None => {
                out += line;
                out.push('\n');
            }
        }
    }
    Ok(out)
}

/// What the daemon makes of a file.
fn ours(file: &Path, version: Version) -> Result<(lang::Config, Desired, Face)> {
    let read = |path: &Path| std::fs::read_to_string(path);
    let config = lang::parse(file, version, &read).map_err(|error| anyhow::anyhow!("{error}"))?;
    let (desired, face) =
        desired(&config, version, Path::new("/run/bird.ctl")).map_err(anyhow::Error::msg)?;
    Ok((config, desired, face))
}

#[test]
fn every_ipv4_filter_does_to_routes_what_a_real_bird_s_does() -> Result<()> {
    isolated(here!(), &[lab::peers::bird::NEED], || filters(Version::V4, "bird.cfg"))
}

#[test]
fn every_ipv6_filter_does_to_routes_what_a_real_bird_s_does() -> Result<()> {
    isolated(here!(), &[lab::peers::bird::NEED], || filters(Version::V6, "bird6.cfg"))
}

fn filters(version: Version, name: &str) -> Result<()> {
    let Some(folders) = folders() else { return Ok(()) };
    let nodes = Underlay::new()?.nodes(&["feeder", "judge"])?;
    let texts: Vec<String> = folders.iter().map(|f| flat(f, name)).collect::<Result<_>>()?;
    let samples = samples::Samples::of(version, &texts.concat());
    let oracle = oracle::Oracle::start(&nodes[0], &nodes[1], &samples)?;
    let mut judged = 0;
    for (folder, text) in folders.iter().zip(&texts) {
        let (config, _, _) = ours(&folder.join(name), version)?;
        judged += oracle.compare(text, &config).with_context(|| folder.display().to_string())?;
    }
    println!("{judged} judgements agree");
    ensure!(judged > 50_000, "{judged} judgements only");
    Ok(())
}

#[test]
fn every_session_has_the_options_that_its_file_says() -> Result<()> {
    let Some(folders) = folders() else { return Ok(()) };
    let mut count = 0;
    for folder in &folders {
        for (version, name) in FAMILIES {
            let file = folder.join(name);
            let text = flat(folder, name)?;
            let (_, desired, face) = ours(&file, version)?;
            count += sessions::compare(&text, &desired, &face).with_context(|| file.display().to_string())?;
        }
    }
    ensure!(count >= 156, "{count} sessions only");
    Ok(())
}
