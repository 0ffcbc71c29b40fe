//! Route leaks between autonomous systems: ONLY_TO_CUSTOMER (RFC 9234 section 5).
//!
//! The attribute says that a route has gone down, or sideways, once; from there it may only go further down. A role here
//! is what *this speaker* is to the peer, as in its capability. The rules are for unicast routes (section 5).
//!
//! | we are | a route that comes in marked | one that comes in unmarked | one that goes out marked | one that goes out unmarked |
//! |---|---|---|---|---|
//! | provider, route server | is a leak | as is | as is | is marked with our AS |
//! | peer | is a leak unless marked by the peer's AS | is marked with the peer's | stays | is marked with our AS |
//! | customer, route server's client | as is | is marked with the peer's | stays | as is |

use bgp_proto::attr::Flags;
use bgp_proto::capability::Role;
use bgp_proto::{Asn, AttrCode, AttrSet, AttrSetBuilder, Family, FamilySet};

/// What becomes of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leak {
    /// It passes as it is.
    Passes,
    /// It passes, marked with this AS number.
    Marked(Asn),
    /// It must not pass.
    Stopped,
}

/// A route from a peer in AS `peer`, to whom we are `role`.
pub fn entering(role: Option<Role>, family: Family, attrs: &AttrSet, peer: Asn) -> Leak {
    let Some(role) = role.filter(|_| FamilySet::UNICAST.contains(family)) else { return Leak::Passes };
    match (role, attrs.only_to_customer()) {
        (Role::Provider | Role::RouteServer, Some(_)) => Leak::Stopped,
        (Role::Peer, Some(marked)) if marked != peer => Leak::Stopped,
        (Role::Peer | Role::Customer | Role::RouteServerClient, None) => Leak::Marked(peer),
        (Role::Peer | Role::Customer | Role::RouteServerClient, Some(_)) => Leak::Passes,
        (Role::Provider | Role::RouteServer, None) | (Role::Unassigned(_), _) => Leak::Passes,
    }
}

/// A route to a peer to whom we, in AS `own`, are `role`.
pub fn leaving(role: Option<Role>, family: Family, attrs: &AttrSet, own: Asn) -> Leak {
    let Some(role) = role.filter(|_| FamilySet::UNICAST.contains(family)) else { return Leak::Passes };
    match (role, attrs.only_to_customer()) {
        (Role::Customer | Role::Peer | Role::RouteServerClient, Some(_)) => Leak::Stopped,
        (Role::Provider | Role::Peer | Role::RouteServer, None) => Leak::Marked(own),
        (Role::Provider | Role::RouteServer, Some(_)) => Leak::Passes,
        (Role::Customer | Role::RouteServerClient, None) | (Role::Unassigned(_), _) => Leak::Passes,
    }
}

/// Marks a route.
pub fn mark(edit: &mut AttrSetBuilder, asn: Asn) {
    edit.set_raw(Flags::OPTIONAL_TRANSITIVE, AttrCode::ONLY_TO_CUSTOMER, &asn.0.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use bgp_proto::NextHop;

    const OWN: Asn = Asn(65001);
    const PEER: Asn = Asn(65002);
    const OTHER: Asn = Asn(65003);
    const V4: Family = Family::IPV4_UNICAST;

    fn route(otc: Option<Asn>) -> AttrSet {
        let mut edit = AttrSetBuilder::new(NextHop::NONE);
        if let Some(asn) = otc {
            mark(&mut edit, asn);
        }
        edit.build()
    }

    #[test]
    fn a_marked_route_from_below_or_beside_is_a_leak() {
        let enters = |role, otc| entering(Some(role), V4, &route(otc), PEER);
        assert_eq!(enters(Role::Provider, Some(OTHER)), Leak::Stopped);
        assert_eq!(enters(Role::RouteServer, Some(PEER)), Leak::Stopped);
        assert_eq!(enters(Role::Peer, Some(OTHER)), Leak::Stopped);
        assert_eq!(enters(Role::Peer, Some(PEER)), Leak::Passes);
        assert_eq!(enters(Role::Customer, Some(OTHER)), Leak::Passes);
        assert_eq!(enters(Role::Provider, None), Leak::Passes);
    }

    #[test]
    fn what_comes_from_above_or_beside_is_marked_once() {
        for role in [Role::Peer, Role::Customer, Role::RouteServerClient] {
            assert_eq!(entering(Some(role), V4, &route(None), PEER), Leak::Marked(PEER));
        }
    }

    #[test]
    fn a_marked_route_goes_down_only() {
        let leaves = |role, otc| leaving(Some(role), V4, &route(otc), OWN);
        for role in [Role::Customer, Role::Peer, Role::RouteServerClient] {
            assert_eq!(leaves(role, Some(OTHER)), Leak::Stopped);
        }
        for role in [Role::Provider, Role::Peer, Role::RouteServer] {
            assert_eq!(leaves(role, None), Leak::Marked(OWN));
        }
        assert_eq!(leaves(Role::Provider, Some(OTHER)), Leak::Passes);
        assert_eq!(leaves(Role::Customer, None), Leak::Passes);
    }

    #[test]
    fn without_a_role_or_beyond_unicast_nothing_is_judged() {
        assert_eq!(entering(None, V4, &route(Some(OTHER)), PEER), Leak::Passes);
        assert_eq!(leaving(Some(Role::Peer), Family::VPNV4, &route(Some(OTHER)), OWN), Leak::Passes);
    }

    #[test]
    fn the_mark_reads_back() {
        assert_eq!(route(Some(OTHER)).only_to_customer(), Some(OTHER));
    }
}
