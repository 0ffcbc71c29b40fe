//! Which VPN routes a peer asked for: RFC 4684.
//!
//! A peer asks with routes of its own, whose destinations are prefixes of an AS number followed by a route target. Whose
//! AS it is says where the question comes from, and nothing about what is asked for; so what is left of each is a prefix
//! of a route target, and a route is wanted if one of its targets begins with one of them.

use bgp_proto::attr::{ExtCommunities, ExtCommunity};
use bgp_proto::{Family, Nlri};
use std::collections::{BTreeMap, BTreeSet};

/// Bits of the AS number that a destination begins with.
const ORIGIN_BITS: u8 = 32;
/// Bits of a route target.
const TARGET_BITS: u8 = 64;

/// The route targets that a peer asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interest {
    everything: bool,
    /// Beginnings of targets, by their length in bits; the bits that do not count are 0.
    targets: BTreeMap<u8, BTreeSet<u64>>,
}

impl Interest {
    /// Whether routes of `family` are only sent to those who asked.
    pub fn concerns(family: Family) -> bool {
        const VPN: [Family; 8] = [
            Family::VPNV4,
            Family::VPNV6,
            Family::EVPN,
            Family::VPLS,
            Family::MVPNV4,
            Family::MVPNV6,
            Family::FLOWSPEC_VPNV4,
            Family::FLOWSPEC_VPNV6,
        ];
        VPN.contains(&family)
    }

    /// Adds what a route target membership asks for. One that RFC 4684 does not define asks for nothing.
    pub fn add(&mut self, membership: &Nlri) {
        let Nlri::Opaque(octets) = membership else { return };
        let Some((bits, rest)) = octets.split_first() else { return };
        if *bits == 0 {
            // RFC 4684 section 4: the default route target.
            self.everything = true;
            return;
        }
        // RFC 4684 section 4: no other prefix is shorter than the AS number.
        let Some(bits) = bits.checked_sub(ORIGIN_BITS).filter(|bits| *bits <= TARGET_BITS) else { return };
        let mut target = [0; 8];
        let given = rest.iter().skip(usize::from(ORIGIN_BITS / 8));
        target.iter_mut().zip(given).for_each(|(to, from)| *to = *from);
        self.targets.entry(bits).or_default().insert(beginning(u64::from_be_bytes(target), bits));
    }

    /// Whether a route with these communities was asked for.
    pub fn wants(&self, communities: ExtCommunities<'_>) -> bool {
        self.everything || communities.iter().filter(is_target).any(|target| self.has(target))
    }

    fn has(&self, target: ExtCommunity) -> bool {
        let target = u64::from_be_bytes(target.0);
        self.targets.iter().any(|(bits, known)| known.contains(&beginning(target, *bits)))
    }
}

/// RFC 4360 section 4, RFC 5668 section 2; an Ethernet segment is imported by one too (RFC 7432 section 7.6).
fn is_target(community: &ExtCommunity) -> bool {
    matches!(community.kind(), 0 | 1 | 2 | 6) && community.subtype() == 2
}

fn beginning(target: u64, bits: u8) -> u64 {
    let dropped = u32::from(TARGET_BITS.saturating_sub(bits));
    u64::MAX.checked_shl(dropped).unwrap_or(0) & target
}

#[cfg(test)]
mod tests {
    use super::*;
    use bgp_proto::attr::List;

    fn interest(bits: u8, target: &[u8]) -> Interest {
        let mut interest = Interest::default();
        interest.add(&Nlri::Opaque([&[bits, 0, 0, 0xFD, 0xE9], target].concat().into()));
        interest
    }

    fn wants(interest: &Interest, community: [u8; 8]) -> bool {
        interest.wants(List::new(&community))
    }

    #[test]
    fn a_whole_target_is_met_by_itself_only() {
        let one = interest(96, &[0, 2, 0xFD, 0xE9, 0, 0, 0, 1]);
        assert!(wants(&one, [0, 2, 0xFD, 0xE9, 0, 0, 0, 1]));
        assert!(!wants(&one, [0, 2, 0xFD, 0xE9, 0, 0, 0, 2]));
        assert!(!one.wants(List::new(&[])));
    }

    #[test]
    fn a_beginning_is_met_by_what_begins_with_it_whatever_follows_it_on_the_wire() {
        let some = interest(67, &[0, 2, 0xFD, 0xE9, 0b1011_1111]);
        assert!(wants(&some, [0, 2, 0xFD, 0xE9, 0b1010_0000, 0, 0, 9]));
        assert!(!wants(&some, [0, 2, 0xFD, 0xE9, 0b1000_0000, 0, 0, 9]));
        let any = interest(32, &[]);
        assert!(wants(&any, [2, 2, 1, 2, 3, 4, 5, 6]));
        // A route origin is no target.
        assert!(!wants(&any, [2, 3, 1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn the_default_asks_for_all_and_a_malformed_one_for_nothing() {
        let mut default = Interest::default();
        default.add(&Nlri::Opaque(vec![0].into()));
        assert!(default.wants(List::new(&[])));
        for bits in [1, 31, 97, 255] {
            assert_eq!(interest(bits, &[0; 8]), Interest::default());
        }
    }
}
