//! The four links by which the binary is called as BIRD.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Names under which the binary is BIRD.
const NAMES: [&str; 4] = ["bird", "bird6", "birdcl", "birdcl6"];

/// Puts the links into `directory`, each in one step, in the place of what is there under these names. Returns what was made.
pub fn install(binary: &Path, directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut made = Vec::new();
    for name in NAMES {
        let link = directory.join(name);
        let fresh = directory.join(format!(".{name}.{}", std::process::id()));
        symlink(binary, &fresh)?;
        std::fs::rename(&fresh, &link)?;
        made.push(link);
    }
    Ok(made)
}
