//! Why the kernel did not take a route, in words that say what to do next.
//!
//! The kernel's answer is an error number and, from most places, a sentence of its own (extended acknowledgement). Numbers
//! are told apart by what follows for the route: try again soon (busy), try again when something changes (a gateway that
//! is not on the link, an interface that went), or let somebody mend something (permission, configuration). The operator
//! reads three things: the kernel's words, the number's text, and the remedy.

use std::fmt;

use libc::{
    EACCES, EAFNOSUPPORT, EAGAIN, EBUSY, EEXIST, EHOSTUNREACH, ENETDOWN, ENETUNREACH, ENOBUFS, ENODEV,
    ENOENT, ENOMEM, ENXIO, EOPNOTSUPP, EPERM, ESRCH,
};

/// What stands in the way of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Another owner has a route to the same prefix with the same table and metric (`EEXIST`).
    Taken,
    /// This process may not change routes (`EPERM`).
    NotPermitted,
    /// The gateway is not on the link (`ENETUNREACH`, `EHOSTUNREACH`).
    GatewayUnreachable,
    /// The interface does not exist any more (`ENODEV`, `ENXIO`).
    NoInterface,
    /// The interface is down (`ENETDOWN`).
    InterfaceDown,
    /// The protocol is off, for the node or for the interface (`EACCES`, `EAFNOSUPPORT`, `EOPNOTSUPP`).
    FamilyOff,
    /// The kernel is short of something and may have it later (`ENOBUFS`, `EBUSY`, `ENOMEM`, `EAGAIN`).
    Busy,
    /// The kernel finds the route senseless (`EINVAL` and all others).
    Invalid,
}

impl Cause {
    fn of(errno: i32) -> Cause {
        match errno {
            EEXIST => Cause::Taken,
            EPERM => Cause::NotPermitted,
            ENETUNREACH | EHOSTUNREACH => Cause::GatewayUnreachable,
            ENODEV | ENXIO => Cause::NoInterface,
            ENETDOWN => Cause::InterfaceDown,
            EACCES | EAFNOSUPPORT | EOPNOTSUPP => Cause::FamilyOff,
            ENOBUFS | EBUSY | ENOMEM | EAGAIN => Cause::Busy,
            _ => Cause::Invalid,
        }
    }

    /// One word for programs: metrics, JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Cause::Taken => "taken",
            Cause::NotPermitted => "not-permitted",
            Cause::GatewayUnreachable => "gateway-unreachable",
            Cause::NoInterface => "no-interface",
            Cause::InterfaceDown => "interface-down",
            Cause::FamilyOff => "family-off",
            Cause::Busy => "busy",
            Cause::Invalid => "invalid",
        }
    }

    /// What to do about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Cause::Taken => {
                "foreign routes are never replaced: remove that route or choose another kernel.metric; ours follows at once"
            }
            Cause::NotPermitted => {
                "changing routes needs CAP_NET_ADMIN: run as root, grant it (setcap cap_net_admin+ep, or securityContext \
                 capabilities add NET_ADMIN), or set kernel.install: false"
            }
            Cause::GatewayUnreachable => {
                "the gateway is not on a connected network of the interface: check the peer's next hop and this node's \
                 addresses"
            }
            Cause::NoInterface => {
                "the interface has just gone: the route follows when the next hop is reachable again"
            }
            Cause::InterfaceDown => "set the interface up: the route follows at once",
            Cause::FamilyOff => {
                "the address family is off here: check sysctl net.ipv6.conf.*.disable_ipv6, or do not negotiate the family"
            }
            Cause::Busy => "the kernel is short of memory or busy: tried again by itself",
            Cause::Invalid => {
                "the kernel finds the route senseless: check the next hop that the peer announces"
            }
        }
    }
}

/// A route that the kernel did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What stands in the way.
    pub cause: Cause,
    /// The kernel's error number.
    pub errno: i32,
    /// The kernel's own words, or the error number's text.
    pub text: Box<str>,
}

impl Refusal {
    /// From an answer of the kernel.
    pub(super) fn new(errno: i32, words: Option<&str>) -> Refusal {
        let text = match words {
            Some(words) if !words.is_empty() => words.into(),
            _ => std::io::Error::from_raw_os_error(errno).to_string().into(),
        };
        Refusal { cause: Cause::of(errno), errno, text }
    }

    /// Our own verdict, before the kernel is asked: somebody else's route lies there.
    pub(super) fn taken_by(protocol: u8) -> Refusal {
        let text = match protocol_name(protocol) {
            Some(name) => format!("a route of another owner is there (proto {name})"),
            None => format!("a route of another owner is there (proto {protocol})"),
        };
        Refusal { cause: Cause::Taken, errno: EEXIST, text: text.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.text, self.cause.remedy())
    }
}

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// As asked.
    Done,
    /// There was nothing to delete.
    Absent,
    /// Not taken.
    Refused(Refusal),
    /// No answer came: whether it was done is not known.
    Lost,
}

impl Outcome {
    /// From the kernel's answer.
    pub(super) fn new(errno: i32, words: Option<&str>) -> Outcome {
        match errno {
            0 => Outcome::Done,
            ESRCH | ENOENT => Outcome::Absent,
            _ => Outcome::Refused(Refusal::new(errno, words)),
        }
    }
}

/// Names as `ip route` shows them, from `/etc/iproute2/rt_protos` as distributed.
fn protocol_name(protocol: u8) -> Option<&'static str> {
    Some(match protocol {
        1 => "redirect",
        2 => "kernel",
        3 => "boot",
        4 => "static",
        9 => "ra",
        11 => "zebra",
        12 => "bird",
        16 => "dhcp",
        18 => "keepalived",
        80 => "80, Felix",
        186 => "bgp",
        188 => "ospf",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_says_what_to_do() {
        for errno in 1..134 {
            let refusal = Refusal::new(errno, None);
            assert!(refusal.to_string().contains(refusal.cause.remedy()));
        }
        assert_eq!(Refusal::new(libc::EINVAL, Some("Nexthop has invalid gateway")).cause, Cause::Invalid);
        assert_eq!(
            &*Refusal::new(libc::EINVAL, Some("Nexthop has invalid gateway")).text,
            "Nexthop has invalid gateway"
        );
    }

    #[test]
    fn nothing_to_delete_is_no_error() {
        assert_eq!(Outcome::new(libc::ESRCH, Some("Route not found")), Outcome::Absent);
    }
}
