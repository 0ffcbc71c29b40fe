//! `bird.cfg` and what it includes, read from disk.

use std::io::{self, Read};
use std::path::Path;

use bgp_proto::Version;

use super::desired::{Face, desired};
use super::lang;
use crate::config::Desired;

/// Reads the configuration. An error is one line, `FILE:LINE:COLUMN text` where it has a place.
pub(super) fn load(file: &Path, version: Version, socket: &Path) -> Result<(Desired, Face), String> {
    let config = lang::parse(file, version, &read).map_err(|error| error.to_string())?;
    desired(&config, version, socket).map_err(|error| format!("{}: {error}", file.display()))
}

fn read(path: &Path) -> io::Result<String> {
    let mut octets = Vec::new();
    std::fs::File::open(path)?.take(lang::OCTETS_MAX as u64 + 1).read_to_end(&mut octets)?;
    if octets.len() > lang::OCTETS_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "File too large"));
    }
    String::from_utf8(octets).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "Not a text"))
}
