//! What operators order of a peer's session.
//!
//! An order holds until the opposite is given or the daemon starts anew: it is for the moment, the configuration for
//! good. A reload of the configuration does not undo it.

use std::net::IpAddr;

use reflector::events::Retention;
use reflector::ids::PeerId;
use reflector::session::Stop;
use tracing::info;

use super::Core;
use crate::config::desired::Remote;
use crate::control::protocol::{MESSAGE_OCTETS_MAX, Order};

impl Core {
    /// Carries out an order, or says why not.
    pub(super) fn order(&mut self, wanted: &str, order: Order, message: String) -> Result<(), String> {
        if message.len() > MESSAGE_OCTETS_MAX {
            let seen = message.len();
            return Err(format!(
                "a message to a peer has at most {MESSAGE_OCTETS_MAX} octets (RFC 9003), not {seen}"
            ));
        }
        let id = self.named(wanted)?;
        self.carry_out(id, order, message)
    }

    /// Carries out an order for this peer, whichever socket it came by.
    pub(super) fn carry_out(&mut self, id: PeerId, order: Order, message: String) -> Result<(), String> {
        let Some(peer) = self.peers.get_mut(&id) else { return Err("the peer is gone".to_owned()) };
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
        peer.is_shut = order == Order::Shutdown;
        if peer.is_shut && peer.up.is_none() {
            // What a graceful restart or a long-lived one keeps of it: it is not to return.
            self.table.peer_down(id, Retention::Drop, self.clock.now());
        }
        Ok(())
    }

    /// The one peer of this address or name.
    fn named(&self, wanted: &str) -> Result<PeerId, String> {
        if let Ok(addr) = wanted.parse::<IpAddr>() {
            let known = self.by_addr.get(&addr.to_canonical()).filter(|id| self.peers.contains_key(id));
            return known.copied().ok_or_else(|| format!("there is no peer {addr}; `bgpd peers` lists them"));
        }
        let mut same = self.peers.iter().filter(|(_, peer)| peer.name == wanted);
        match (same.next(), same.next()) {
            (Some((id, _)), None) => Ok(*id),
            (None, _) => Err(format!("there is no peer named `{wanted}`; `bgpd peers` lists them")),
            (Some(_), Some(_)) => Err(format!("several peers are named `{wanted}`; name one by its address")),
        }
    }
}
