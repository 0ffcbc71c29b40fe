//! Tests of the FIB as a whole: against a model of the kernel, against a kernel whose notifications are lost, and against
//! the clock.

mod far_ends;
mod million;
mod model;
mod overrun;
mod rate;

use anyhow::Result;
use bgp_proto::Prefix;
use lab::shell;
use reflector::events::{FibChange, FibRoute, Naming};

/// A wish for a route as all have it.
fn wish(prefix: Prefix, route: Option<FibRoute>) -> FibChange {
    FibChange { prefix, route, metric: None, naming: Naming::Blanket }
}

/// A link, eth0, with the address 192.0.2.1/24.
fn link() -> Result<()> {
    shell::ip_batch(
        "link add eth0 type veth peer name peer0
         link set peer0 up
         link set eth0 up
         addr add 192.0.2.1/24 dev eth0",
    )
}
