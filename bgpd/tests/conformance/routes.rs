//! Routes that the scripted speaker announces: well-formed unless a case breaks them.

use crate::speaker::Who;
use crate::wire::{self, AS_PATH, Family, LOCAL_PREF, OPTIONAL, ORIGIN, V4, V6, WELL_KNOWN, attr, segment};

/// Attributes and a next hop, for any number of prefixes.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// Encoded attributes by their type, in the order of the wire. NEXT_HOP or MP_REACH_NLRI come on encoding.
    pub(crate) attrs: Vec<(u8, Vec<u8>)>,
    pub(crate) v4: Vec<u8>,
    pub(crate) v6: Vec<u8>,
    /// Where MP_REACH_NLRI or NEXT_HOP stand among the attributes.
    pub(crate) hop_at: usize,
    /// Whether IPv4 is in MP_REACH_NLRI too.
    pub(crate) in_reach: bool,
}

impl Route {
    /// The plainest route of this neighbour.
    pub(crate) fn of(who: Who) -> Route {
        let route = Route {
            attrs: Vec::new(),
            v4: who.v4().octets().to_vec(),
            v6: who.v6().octets().to_vec(),
            hop_at: 2,
            in_reach: false,
        };
        let route = route.set(WELL_KNOWN, ORIGIN, &[0]);
        match who.is_external() {
            true => route.path(&[who.asn]),
            false => route.path(&[]).local_pref(100),
        }
    }

    /// With an attribute in place of the one of its type, or behind the others.
    pub(crate) fn set(mut self, flags: u8, code: u8, value: &[u8]) -> Route {
        self.raw(code, attr(flags, code, value));
        self
    }

    /// The same with octets that need not be an attribute.
    pub(crate) fn raw(&mut self, code: u8, octets: Vec<u8>) {
        match self.attrs.iter_mut().find(|(known, _)| *known == code) {
            Some(known) => known.1 = octets,
            None => self.attrs.push((code, octets)),
        }
    }

    pub(crate) fn without(mut self, code: u8) -> Route {
        self.attrs.retain(|(known, _)| *known != code);
        self
    }

    /// With IPv4 prefixes in MP_REACH_NLRI, or in the field that only they have.
    pub(crate) fn in_reach(mut self, is_so: bool) -> Route {
        self.in_reach = is_so;
        self
    }

    /// One sequence of numbers of four octets, or the empty path.
    pub(crate) fn path(self, asns: &[u32]) -> Route {
        let value = if asns.is_empty() { Vec::new() } else { segment(2, asns) };
        self.set(WELL_KNOWN, AS_PATH, &value)
    }

    pub(crate) fn local_pref(self, value: u32) -> Route {
        self.set(WELL_KNOWN, LOCAL_PREF, &value.to_be_bytes())
    }

    pub(crate) fn origin(self, value: u8) -> Route {
        self.set(WELL_KNOWN, ORIGIN, &[value])
    }

    pub(crate) fn med(self, value: u32) -> Route {
        self.set(OPTIONAL, wire::MED, &value.to_be_bytes())
    }

    pub(crate) fn community(self, value: u32) -> Route {
        self.set(wire::OPTIONAL_TRANSITIVE, wire::COMMUNITIES, &value.to_be_bytes())
    }

    pub(crate) fn originator(self, id: [u8; 4]) -> Route {
        self.set(OPTIONAL, wire::ORIGINATOR_ID, &id)
    }

    pub(crate) fn clusters(self, ids: &[u32]) -> Route {
        let value: Vec<u8> = ids.iter().flat_map(|id| id.to_be_bytes()).collect();
        self.set(OPTIONAL, wire::CLUSTER_LIST, &value)
    }

    /// Announces prefixes of one family.
    pub(crate) fn announce<S: AsRef<str>>(&self, prefixes: &[S]) -> Vec<u8> {
        let family = prefixes.first().map_or(V4, |prefix| wire::family_of(prefix.as_ref()));
        self.announce_octets(family, &wire::all_nlri(prefixes))
    }

    /// Announces NLRI of a family as they are: IPv4 unicast in the NLRI field if not said otherwise, everything else in
    /// MP_REACH_NLRI.
    pub(crate) fn announce_octets(&self, family: Family, nlri: &[u8]) -> Vec<u8> {
        if family == V4 && !self.in_reach {
            return wire::update_of(&[], &self.block(&attr(WELL_KNOWN, wire::NEXT_HOP, &self.v4)), nlri);
        }
        let hop = if family.0 == V6.0 { &self.v6 } else { &self.v4 };
        self.announce_mp(family, hop, nlri)
    }

    /// Announces by MP_REACH_NLRI with any next hop.
    pub(crate) fn announce_mp(&self, family: Family, hop: &[u8], nlri: &[u8]) -> Vec<u8> {
        wire::update_of(&[], &self.block(&mp_reach(family, hop, nlri)), &[])
    }

    /// All attributes, with the one of the next hop in its place.
    pub(crate) fn block(&self, hop: &[u8]) -> Vec<u8> {
        let at = self.hop_at.min(self.attrs.len());
        let (before, after) = self.attrs.split_at(at);
        let octets =
            |part: &[(u8, Vec<u8>)]| part.iter().flat_map(|(_, octets)| octets.clone()).collect::<Vec<u8>>();
        [octets(before), hop.to_vec(), octets(after)].concat()
    }
}

/// An MP_REACH_NLRI attribute.
pub(crate) fn mp_reach(family: Family, hop: &[u8], nlri: &[u8]) -> Vec<u8> {
    let mut value = wire::family_octets(family);
    value.push(hop.len() as u8);
    value.extend(hop);
    value.push(0);
    value.extend(nlri);
    attr(OPTIONAL, wire::MP_REACH, &value)
}

/// Withdraws prefixes of one family.
pub(crate) fn withdraw<S: AsRef<str>>(prefixes: &[S]) -> Vec<u8> {
    let family = prefixes.first().map_or(V4, |prefix| wire::family_of(prefix.as_ref()));
    withdraw_octets(family, &wire::all_nlri(prefixes))
}

/// Withdraws NLRI of a family as they are.
pub(crate) fn withdraw_octets(family: Family, nlri: &[u8]) -> Vec<u8> {
    if family == V4 {
        return wire::update_of(nlri, &[], &[]);
    }
    let value = [wire::family_octets(family), nlri.to_vec()].concat();
    wire::update_of(&[], &attr(OPTIONAL, wire::MP_UNREACH, &value), &[])
}

/// `count` prefixes of their own, different for each `block`.
pub(crate) fn many(family: Family, block: u8, count: usize) -> Vec<String> {
    (0..count)
        .map(|n| match family {
            V6 => format!("2001:db8:{block:x}:{n:x}::/64"),
            _ => format!("{}.{}.{}.0/24", 100 + block % 80, n / 256, n % 256),
        })
        .collect()
}
