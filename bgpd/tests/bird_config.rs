//! Every configuration that Calico is known to render, read and checked for what it means.

use std::path::{Path, PathBuf};

use bgp_proto::Version;
use bgpd::bird::lang::{self, Config};

fn corpus() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/calico/bird-cfg");
    if dir.is_dir() {
        return Some(dir);
    }
    eprintln!("skipped: {} is absent", dir.display());
    None
}

fn folders(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("the corpus").flatten() {
        if entry.path().is_dir() {
            folders(&entry.path(), into);
        } else if entry.file_name() == "bird.cfg" {
            into.push(dir.to_owned());
        }
    }
}

fn read(path: &Path, version: Version) -> Result<Config, String> {
    lang::parse(path, version, &|p| std::fs::read_to_string(p)).map_err(|e| e.to_string())
}

#[test]
fn every_file_that_calico_renders_is_read() {
    let Some(dir) = corpus() else { return };
    let mut all = Vec::new();
    folders(&dir, &mut all);
    assert!(all.len() >= 40, "{} folders", all.len());
    let mut refused = Vec::new();
    for folder in &all {
        for (file, version) in [("bird.cfg", Version::V4), ("bird6.cfg", Version::V6)] {
            if let Err(error) = read(&folder.join(file), version) {
                refused.push(error);
            }
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}
