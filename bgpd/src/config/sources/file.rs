//! The configuration file, and the secrets it names.
//!
//! Reading a file is the only thing that a source does beside the pure work of `config`; it is bounded, so that a wrong path such as
//! `/dev/zero` is an error and not the end. A secret is read anew at every load, so a rotated one takes effect with the next reload.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bgp_proto::RouterId;

use crate::config::problem::{Problem, Problems};
use crate::config::{Desired, Surroundings, from_yaml};

/// A configuration of 10,000 peers takes under 2 MB.
const FILE_OCTETS_MAX: u64 = 64 * 1024 * 1024;
/// A key of TCP has 80 octets at most; a longer file is reported by what it is, so read a little more.
const SECRET_OCTETS_MAX: u64 = 4096;

/// A configuration file.
#[derive(Debug, Clone)]
pub struct File {
    path: PathBuf,
}

impl File {
    /// The file at `path`; it is read by [`File::load`].
    pub fn new(path: impl Into<PathBuf>) -> File {
        File { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it. `router_id` gives the default router id.
    pub fn load(&self, router_id: &dyn Fn() -> Option<RouterId>) -> Result<Desired, Problems> {
        let source = self.path.display().to_string();
        let text = match read(&self.path, FILE_OCTETS_MAX).and_then(utf8) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("cannot read the configuration: {error}");
                return Err(Problems {
                    source,
                    list: vec![Problem { place: None, path: String::new(), message }],
                });
            }
        };
        let read_secret = |path: &Path| read(path, SECRET_OCTETS_MAX).map_err(|error| error.to_string());
        let around = Surroundings { router_id, read_secret: &read_secret };
        from_yaml(&text, &around).map_err(|list| Problems { source, list })
    }
}

fn read(path: &Path, octets_max: u64) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    fs::File::open(path)?.take(octets_max + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > octets_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {octets_max} octets")));
    }
    Ok(octets)
}

fn utf8(octets: Vec<u8>) -> io::Result<String> {
    String::from_utf8(octets).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::new(io::ErrorKind::InvalidData, format!("it is not a text: octet {at} is not UTF-8"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: impl Into<PathBuf>) -> String {
        File::new(path).load(&|| None).expect_err("refused").to_string()
    }

    #[test]
    fn an_unreadable_file_is_one_message() {
        assert_eq!(
            said("/nonexistent/bgpd.yaml"),
            "/nonexistent/bgpd.yaml: cannot read the configuration: No such file or directory (os error 2)"
        );
        assert_eq!(said("/"), "/: cannot read the configuration: Is a directory (os error 21)");
        assert_eq!(said("/dev/zero"), "/dev/zero: cannot read the configuration: more than 67108864 octets");
    }
}
