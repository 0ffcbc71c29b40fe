//! The daemons we test against, each from its Debian package, behind one [`Speaker`].

use anyhow::Result;

use crate::net::Node;
use crate::sandbox::Need;
use crate::speaker::{Plan, Speaker};

pub mod bird;
pub mod frr;
pub mod gobgp;
pub mod openbgpd;
pub mod ours;

/// A make of daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// BIRD 2.
    Bird,
    /// FRR, with zebra.
    Frr,
    /// GoBGP.
    GoBgp,
    /// OpenBGPD.
    OpenBgpd,
}

impl Make {
    /// All of them.
    pub const ALL: [Make; 4] = [Make::Bird, Make::Frr, Make::GoBgp, Make::OpenBgpd];

    /// What a test with it needs.
    pub fn need(self) -> Need {
        match self {
            Make::Bird => bird::NEED,
            Make::Frr => frr::NEED,
            Make::GoBgp => gobgp::NEED,
            Make::OpenBgpd => openbgpd::NEED,
        }
    }

    /// Starts one in a node, and returns when it listens.
    pub fn start(self, node: &Node, plan: Plan) -> Result<Box<dyn Speaker>> {
        Ok(match self {
            Make::Bird => Box::new(bird::Bird::start(node, plan)?),
            Make::Frr => Box::new(frr::Frr::start(node, &plan)?),
            Make::GoBgp => Box::new(gobgp::GoBgp::start(node, &plan)?),
            Make::OpenBgpd => Box::new(openbgpd::OpenBgpd::start(node, &plan)?),
        })
    }
}
