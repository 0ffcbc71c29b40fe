//! How people and programs look into a running daemon.
//!
//! ```text
//!  bgpd status -> client -socket-> server -Ask-> core
//!                        <-JSON---        <-----
//! ```
//!
//! [`protocol`] is the language, without input or output; [`server`] speaks it on a unix socket and asks the core; [`client`] is the other end.
//! The core is asked by message, an [`Ask`] with a place for the reply, from a bounded channel: it answers when it gets to it and never
//! waits for anyone. Metrics ask in the same way.

pub mod bird;
pub mod client;
pub mod protocol;
pub mod server;
pub mod socket;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::oneshot::{self, channel as reply_channel};

use bird::{Answer, Question};
use protocol::{Destination, Instance, Order, Peer, Route, RoutesQuery, Why};

/// Questions that wait for the core, at most.
pub const ASKS_MAX: usize = 64;
/// How long a question may wait.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A question to the core. An answer that nobody waits for any more may be dropped.
#[derive(Debug)]
pub enum Ask {
    /// The instance as a whole.
    Status {
        /// The answer.
        reply: oneshot::Sender<Instance>,
    },
    /// All peers in the order of their addresses, or the one with this address: none if there is no such peer.
    Peers {
        /// Only this one.
        address: Option<IpAddr>,
        /// The answer.
        reply: oneshot::Sender<Vec<Peer>>,
    },
    /// Some routes.
    Routes {
        /// Which. [`RoutesQuery::wants`] says whether a destination counts.
        query: RoutesQuery,
        /// Where to go on: 0, or what the page before said. Only the core knows what it means.
        cursor: u64,
        /// Rows wanted, at most. A page may have fewer, or none, and yet not be the last.
        rows_max: usize,
        /// The answer, or why there is none, such as an unknown peer.
        reply: oneshot::Sender<Result<Page, String>>,
    },
    /// What BIRD's commands ask.
    Bird {
        /// The question.
        question: Question,
        /// The answer.
        reply: oneshot::Sender<Answer>,
    },
    /// Everything about one destination.
    Why {
        /// Which.
        destination: Destination,
        /// The answer, or why there is none.
        reply: oneshot::Sender<Result<Why, String>>,
    },
    /// Something to do with a peer's session.
    Order {
        /// The peer: its address, or its name.
        peer: String,
        /// What.
        order: Order,
        /// What the peer is told.
        message: String,
        /// Whether it is done, or why not.
        reply: oneshot::Sender<Result<(), String>>,
    },
}

/// Part of a list of routes.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Route>,
    /// Where to go on; `None`: that was all.
    pub next: Option<u64>,
}

/// The way to the core.
#[derive(Debug, Clone)]
pub struct Core {
    asks: mpsc::Sender<Ask>,
}

/// Why the core did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Try again later.
    #[error("the daemon is too busy to answer; try again")]
    Busy,
    /// It is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}

impl Core {
    /// A way to the core, and the end at which it takes the questions.
    pub fn pair() -> (Core, mpsc::Receiver<Ask>) {
        let (asks, taken) = mpsc::channel(ASKS_MAX);
        (Core { asks }, taken)
    }

    /// Asks what `question` makes of the place for the reply, and waits no longer than [`PATIENCE`].
    pub async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Unanswered> {
        let (reply, answer) = reply_channel();
        let asked = async {
            self.asks.send(question(reply)).await.map_err(|_| Unanswered::Stopping)?;
            answer.await.map_err(|_| Unanswered::Stopping)
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(Unanswered::Busy))
    }
}
