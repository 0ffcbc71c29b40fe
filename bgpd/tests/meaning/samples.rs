//! Routes that meet, miss and nearly meet what filters name.
//!
//! Destinations come from every prefix in the text: itself, a part of it, an address in it, what is around it. Variants are what a route can be
//! beside its destination; every destination is there in each variant.

use std::collections::BTreeSet;
use std::net::IpAddr;

use bgp_proto::attr::{Community, LargeCommunity, Origin};
use bgp_proto::{Asn, AttrSet, NextHop, Prefix, Version};
use reflector::policy::program::Provenance;

/// Preference that is better than of any route from elsewhere, as Calico's filters have it, and what is just not.
const PREFERENCES: [u32; 6] =
    [100, 2_147_482_623, 2_147_482_624, 2_147_483_647, 2_147_483_648, 4_294_967_295];
/// Interfaces by which Calico's filters tell routes, and others.
const INTERFACES: [&str; 11] = [
    "cali1",
    "x.cali",
    "x.calico",
    "bpfout.cali",
    "tunl0",
    "vxlan.calico",
    "vxlan.5",
    "eth1",
    "eth22",
    "someiface",
    "someotheriface",
];

/// What a route is beside its destination.
#[derive(Debug, Clone)]
pub(crate) struct Variant {
    pub(crate) provenance: Provenance,
    pub(crate) interface: Option<String>,
    pub(crate) metric: Option<u32>,
    pub(crate) local_pref: Option<u32>,
    pub(crate) path: Vec<u32>,
    pub(crate) communities: Vec<(u32, u32)>,
    pub(crate) large: Vec<(u32, u32, u32)>,
    pub(crate) next_hop: Option<IpAddr>,
}

impl Variant {
    fn local() -> Variant {
        Variant {
            provenance: Provenance::Static,
            interface: None,
            metric: None,
            local_pref: None,
            path: Vec::new(),
            communities: Vec::new(),
            large: Vec::new(),
            next_hop: None,
        }
    }

    fn bgp() -> Variant {
        let eth0 = Some("eth0".to_owned());
        Variant {
            provenance: Provenance::Bgp,
            interface: eth0,
            local_pref: Some(100),
            path: vec![64999],
            ..Variant::local()
        }
    }

    pub(crate) fn is_bgp(&self) -> bool {
        self.provenance == Provenance::Bgp
    }

    /// As a path's attributes.
    pub(crate) fn attrs(&self, feeder: IpAddr) -> AttrSet {
        let mut attrs = AttrSet::builder(NextHop::from(self.next_hop.unwrap_or(feeder)));
        let path: Vec<Asn> = self.path.iter().map(|asn| Asn(*asn)).collect();
        let communities: Vec<_> = self.communities.iter().map(|(a, b)| Community(a << 16 | b)).collect();
        let large = self.large.iter().map(|(a, b, c)| LargeCommunity { global: *a, local1: *b, local2: *c });
        attrs.origin(Origin::Igp).as_path(&path).local_pref(self.local_pref).communities(&communities);
        attrs.large_communities(&large.collect::<Vec<_>>());
        attrs.build()
    }
}

/// Destinations, each of which is there in each variant.
pub(crate) struct Samples {
    pub(crate) version: Version,
    pub(crate) destinations: BTreeSet<Prefix>,
    pub(crate) variants: Vec<Variant>,
}

impl Samples {
    /// What tries filters in this text.
    pub(crate) fn of(version: Version, text: &str) -> Samples {
        // Some files have neighbours at multicast addresses, which no route leads to.
        let named = |part: &str| {
            let prefix = part.parse::<Prefix>().ok().filter(|p| p.version() == version);
            prefix.filter(|p| !p.addr().is_multicast())
        };
        let parts = text.split(|c: char| !c.is_ascii_hexdigit() && !".:/".contains(c));
        let prefixes: BTreeSet<Prefix> = parts.filter_map(named).collect();
        assert!(prefixes.len() > 10, "{prefixes:?}");
        let mut destinations: BTreeSet<Prefix> = prefixes.iter().flat_map(|p| around(*p)).collect();
        let elsewhere = match version {
            Version::V4 => ["203.0.113.0/24", "198.51.100.7/32"],
            Version::V6 => ["2001:db8:9::/48", "2001:db8:a::7/128"],
        };
        destinations.extend(elsewhere.into_iter().filter_map(named));
        Samples { version, destinations, variants: variants(text, &prefixes) }
    }
}

/// A prefix, one half of a half of it, an address in it, and what is around it.
fn around(prefix: Prefix) -> Vec<Prefix> {
    let bits: u8 = if prefix.addr().is_ipv4() { 32 } else { 128 };
    let (addr, len) = (prefix.addr(), prefix.len());
    let inner = match addr {
        IpAddr::V4(a) => IpAddr::V4((u32::from(a) | u32::from(len < 31)).into()),
        IpAddr::V6(a) => IpAddr::V6((u128::from(a) | u128::from(len < 127)).into()),
    };
    let lens = [(addr, len), (addr, (len + 2).min(bits)), (inner, bits), (addr, len.saturating_sub(1))];
    lens.into_iter().filter(|(_, len)| *len > 0).filter_map(|(a, len)| Prefix::new(a, len).ok()).collect()
}

fn variants(text: &str, prefixes: &BTreeSet<Prefix>) -> Vec<Variant> {
    let mut all = vec![Variant::local()];
    all.extend([0, 512, 1024, 2048].map(|metric| Variant { metric: Some(metric), ..Variant::local() }));
    for name in INTERFACES {
        all.push(Variant { interface: Some(name.to_owned()), metric: Some(1024), ..Variant::local() });
        all.push(Variant { interface: Some(name.to_owned()), ..Variant::bgp() });
    }
    let mut preferences: BTreeSet<u32> = PREFERENCES.into();
    let words: Vec<&str> = text.split_whitespace().collect();
    let compared = words.windows(3).filter(|w| w[0].ends_with("bgp_local_pref"));
    preferences.extend(
        compared
            .filter_map(|w| w[2].trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().ok())
            .flat_map(|n| [n - 1, n, n.saturating_add(1)]),
    );
    all.extend(preferences.into_iter().map(|p| Variant { local_pref: Some(p), ..Variant::bgp() }));
    for mask in between(text, "[=", "=]") {
        let path: Vec<u32> = mask.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let longer = [&path[..], &[65_123]].concat();
        let other = [&[65_123], &path[..]].concat();
        all.extend([path, longer, other].map(|path| Variant { path, ..Variant::bgp() }));
    }
    for numbers in between(text, "(", ") ~ bgp_").iter().filter_map(|inside| {
        let inside = inside.rsplit('(').next()?;
        inside.split(',').map(|n| n.trim().parse::<u32>().ok()).collect::<Option<Vec<u32>>>()
    }) {
        match numbers.as_slice() {
            [a, b] => all.push(Variant { communities: vec![(*a, *b), (7, 7)], ..Variant::bgp() }),
            [a, b, c] => all.push(Variant { large: vec![(7, 7, 7), (*a, *b, *c)], ..Variant::bgp() }),
            _ => {}
        }
    }
    let near = |after: &str| text.contains(after);
    for prefix in prefixes.iter().filter(|p| near(&format!("bgp_next_hop ~ {p}"))) {
        let inside = around(*prefix)[2].addr();
        all.push(Variant { next_hop: Some(inside), ..Variant::bgp() });
    }
    all.dedup_by(|a, b| format!("{a:?}") == format!("{b:?}"));
    all
}

/// What stands between two marks, each time.
fn between<'a>(text: &'a str, open: &str, close: &str) -> BTreeSet<&'a str> {
    let ends = text.match_indices(close);
    ends.filter_map(|(end, _)| {
        let before = text.get(..end)?;
        before.get(before.rfind(open)? + open.len()..)
    })
    .collect()
}
