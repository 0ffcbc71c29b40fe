//! BIRD's face: this daemon under the names `bird`, `bird6`, `birdcl` and `birdcl6`, as Calico's node image expects them.
//!
//! ```text
//!  bird.cfg -lang-> Config -desired-> Desired -> core (as any other source)
//!                             '-Face-----.
//!  birdcl, probes -socket-> server -command-> show <-answers- core
//! ```
//!
//! One process, one family, as BIRD 1.6 has it: `bird` reads and speaks IPv4, `bird6` IPv6. The name it is called by decides, see
//! [`role`]. Behind the face is the same daemon: the same core, the same sessions, the same kernel routes. What differs is the source of
//! the configuration ([`lang`], [`desired`](mod@desired)) and the language of the control socket ([`command`], [`show`], [`server`]).

pub mod cli;
pub mod client;
pub mod command;
pub mod desired;
mod install;
mod interfaces;
pub mod lang;
pub mod reply;
pub mod run;
pub mod server;
pub mod show;
mod source;
mod watch;

pub use install::install;

use std::path::Path;

use bgp_proto::Version;

/// The version, as commands show it. Programs want a `v` in front.
pub const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"), "+bgpd");
/// What a client is greeted with.
pub const GREETING: &str = concat!("BIRD v", env!("CARGO_PKG_VERSION"), "+bgpd ready.");

/// Which program the binary is, by the name that it was called by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The daemon, of this family.
    Daemon(Version),
    /// The client, of a daemon of this family.
    Client(Version),
}

/// The role that a program's name stands for; `None`: this daemon under its own name.
pub fn role(program: &str) -> Option<Role> {
    match Path::new(program).file_name()?.to_str()? {
        "bird" => Some(Role::Daemon(Version::V4)),
        "bird6" => Some(Role::Daemon(Version::V6)),
        "birdcl" | "birdc" => Some(Role::Client(Version::V4)),
        "birdcl6" | "birdc6" => Some(Role::Client(Version::V6)),
        _ => None,
    }
}
