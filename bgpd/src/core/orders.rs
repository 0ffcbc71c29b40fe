//! What operators order of a peer's session.
//!
//! An order holds until the opposite is given or the daemon starts anew: it is for the moment, the configuration for
//! good. A reload of the configuration does not undo it.

use std::net::IpAddr;

use reflector::session::Stop;
use tracing::info;

use super::{Core, peers::Peer};
use crate::config::desired::Remote;
use crate::control::protocol::{MESSAGE_OCTETS_MAX, Order};

impl Core {
    /// Carries out an order, or says why not.
    pub(super) fn order(&self, wanted: &str, order: Order, message: String) -> Result<(), String> {
        if message.len() > MESSAGE_OCTETS_MAX {
            let seen = message.len();
            return Err(format!(
                "a message to a peer has at most {MESSAGE_OCTETS_MAX} octets (RFC 9003), not {seen}"
            ));
        }
        let peer = self.named(wanted)?;
        info!(peer = %peer.name, addr = %peer.addr, ?order, message, "ordered by the operator");
        match (order, peer.remote) {
            (Order::Shutdown, Remote::Range(range)) => {
                return Err(format!(
                    "{} came through the range {range}, and would be let in again; `reset` it, or take it out of the range",
                    peer.addr
                ));
            }
            (Order::Start, _) if !message.is_empty() => {
                return Err("a session that starts has no message to send".to_owned());
            }
            (Order::Shutdown, Remote::Address(_)) => peer.handle.stop(Stop::Shutdown(message)),
            (Order::Reset, _) => peer.handle.stop(Stop::Reset(message)),
            (Order::Start, _) => peer.handle.start(),
        }
        Ok(())
    }

    /// The one peer of this address or name.
    fn named(&self, wanted: &str) -> Result<&Peer, String> {
        if let Ok(addr) = wanted.parse::<IpAddr>() {
            let known = self.by_addr.get(&addr.to_canonical()).and_then(|id| self.peers.get(id));
            return known.ok_or_else(|| format!("there is no peer {addr}; `bgpd peers` lists them"));
        }
        let mut same = self.peers.values().filter(|peer| peer.name == wanted);
        match (same.next(), same.next()) {
            (Some(peer), None) => Ok(peer),
            (None, _) => Err(format!("there is no peer named `{wanted}`; `bgpd peers` lists them")),
            (Some(_), Some(_)) => Err(format!("several peers are named `{wanted}`; name one by its address")),
        }
    }
}
