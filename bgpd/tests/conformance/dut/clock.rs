//! A wall clock that a case can step, for the daemon under test alone.
//!
//! No namespace has a wall clock of its own, so the library between the daemon and the kernel lies to it: libfaketime,
//! preloaded, adds an offset to CLOCK_REALTIME that it reads from a file each time it is asked, and leaves
//! CLOCK_MONOTONIC and the times of files alone, as a real step does. [`step`] writes the offset. Whether the
//! daemon is really under it is read from its memory map: a library that was not loaded steps nothing. Our own daemon says
//! besides when it started, and that must move.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail, ensure};
use lab::daemon::Daemon;
use lab::sandbox::{self, Need};
use lab::wait;

use super::Make;

#[cfg(target_arch = "aarch64")]
const LIBRARY: &str = "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1";
#[cfg(not(target_arch = "aarch64"))]
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// The library, and the package it is in.
pub(crate) const NEED: Need =
    Need { name: "libfaketime", programs: &[LIBRARY], package: "libfaketime", needs_users: false };

/// The file that the offset is read from.
fn file() -> Result<PathBuf> {
    Ok(sandbox::work()?.join("clock"))
}

/// Puts whatever this command starts under the clock, at first without an offset.
pub(super) fn preload(command: &mut Command) -> Result<()> {
    step(0)?;
    command.env("LD_PRELOAD", LIBRARY).env("FAKETIME_TIMESTAMP_FILE", file()?).env("FAKETIME_NO_CACHE", "1");
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
    Ok(())
}

/// The wall clock is this much ahead of the kernel's, or behind it. The file is replaced, never half written.
pub(crate) fn step(offset_secs: i64) -> Result<()> {
    let (fresh, path) = (file()?.with_extension("new"), file()?);
    fs::write(&fresh, format!("{offset_secs:+}\n"))?;
    Ok(fs::rename(fresh, path)?)
}

/// Fails unless the daemon is under the clock.
pub(super) fn covers(make: Make, daemon: &Daemon) -> Result<()> {
    match make {
        Make::Ours | Make::Bird | Make::Frr => {}
        Make::GoBgp => bail!("its wall clock cannot be stepped: Go asks the kernel without the C library"),
        Make::OpenBgpd => {
            bail!("its wall clock cannot be stepped: it locks itself up where the offset is not")
        }
    }
    wait::until("the stepped clock is loaded", wait::SOON, || {
        daemon.alive()?;
        let maps = fs::read_to_string(format!("/proc/{}/maps", daemon.pid()))?;
        ensure!(maps.contains("libfaketime"), "the daemon asks the kernel's clock");
        Ok(())
    })
}
