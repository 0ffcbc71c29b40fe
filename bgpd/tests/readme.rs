//! What the README says is so: every configuration in it passes `bgpd check`.

use std::fs;

use anyhow::{Context, Result, ensure};

use lab::daemon::write;
use lab::here;
use lab::net::Underlay;
use lab::peers::ours;
use lab::sandbox::isolated;
use lab::shell;

const README: &str = include_str!("../../README.md");

#[test]
fn every_configuration_in_the_readme_is_good() -> Result<()> {
    isolated(here!(), &[], || {
        // The file of the password that one of them names.
        fs::create_dir_all("/run/secrets")?;
        fs::write("/run/secrets/tor", "s3cret\n")?;
        let node = Underlay::new()?.node("a")?;
        let blocks: Vec<&str> = README.split("```yaml\n").skip(1).collect();
        ensure!(blocks.len() >= 2, "found {} configurations", blocks.len());
        for block in blocks {
            let (yaml, _) = block.split_once("```").context("a block without an end")?;
            let file = write("readme.yaml", yaml)?;
            let mut command = node.command(&ours::binary()?.to_string_lossy());
            shell::read(command.arg("check").arg(&file))?;
        }
        Ok(())
    })
}
