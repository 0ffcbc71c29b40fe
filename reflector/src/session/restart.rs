//! Which routes outlive a session (RFC 4724 section 4.2, RFC 8538 section 4).
//!
//! Without graceful restart, none. With it, a lost connection keeps the routes of the families that the peer listed.
//! A NOTIFICATION, sent or received, removes them, unless both sides set the N bit; then it keeps them too, and only a
//! Hard Reset removes them. What an operator shuts down for good is never kept.

use bgp_proto::{ErrorCode, FamilySet};

use super::config::{NotificationRestart, Restart};
use super::reason::Reason;
use crate::events::{Negotiated, Retention};

/// Whether a NOTIFICATION keeps routes in this session.
pub(super) fn notification_restarts(local: Option<&Restart>, negotiated: &Negotiated) -> bool {
    local.is_some_and(|restart| restart.notification == NotificationRestart::On)
        && negotiated.restart.is_some_and(|peer| peer.notification)
}

/// What happens to the peer's routes when the session ends for `reason`.
pub(super) fn retention(local: Option<&Restart>, negotiated: &Negotiated, reason: &Reason) -> Retention {
    let Some(peer) = negotiated.restart else { return Retention::Drop };
    let kept = match reason {
        Reason::Transport(_) | Reason::Replaced => true,
        Reason::Dial(_) | Reason::Left | Reason::WrongAs { .. } => false,
        Reason::Unreadable => notification_restarts(local, negotiated),
        Reason::Sent(notification) | Reason::Received(notification) => {
            let hard = notification.error == ErrorCode::CEASE_HARD_RESET;
            !hard && notification_restarts(local, negotiated)
        }
    };
    // RFC 9494 section 4.2: what is listed there alone has no restart time of its own, and is kept all the same.
    let long_lived: FamilySet = negotiated.long_lived.times.iter().map(|(family, _)| *family).collect();
    let families = peer.families.union(long_lived).intersection(negotiated.families);
    if kept && !families.is_empty() {
        Retention::Stale { restart_time: peer.restart_time, families }
    } else {
        Retention::Drop
    }
}
