//! Tests of the FIB as a whole: against a model of the kernel, against a kernel whose notifications are lost, and against
//! the clock.

mod far_ends;
mod million;
mod model;
mod overrun;
mod rate;

use bgp_proto::Prefix;
use reflector::events::Naming;
use reflector::events::{FibChange, FibRoute};

/// A wish for a route as all have it.
fn wish(prefix: Prefix, route: Option<FibRoute>) -> FibChange {
    FibChange { prefix, route, metric: None, naming: Naming::Blanket }
}
