//! The other codecs, each used as its documentation shows.

mod bgpkit;
mod netgauze;
mod route_core;
mod zetta;

use crate::Codec;

/// All of them.
pub fn codecs() -> Vec<Codec> {
    vec![
        Codec {
            name: "routecore",
            full: route_core::full,
            nlri: Some(route_core::nlri),
            prepare: Some(route_core::prepare),
        },
        Codec {
            name: "netgauze-bgp-pkt",
            full: netgauze::full,
            nlri: None,
            prepare: Some(netgauze::prepare),
        },
        Codec { name: "bgpkit-parser", full: bgpkit::full, nlri: None, prepare: Some(bgpkit::prepare) },
        Codec { name: "zettabgp", full: zetta::full, nlri: None, prepare: Some(zetta::prepare) },
    ]
}
