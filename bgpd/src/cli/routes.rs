//! `bgpd routes` and `bgpd why` for people.

use std::net::IpAddr;

use super::status::span;
use super::table::{Columns, Side};
use crate::control::protocol::{Attributes, Export, KernelRoute, Route, View, Why};

/// A list of routes, sorted by destination, the best path first.
pub(super) fn routes(view: View, mut rows: Vec<Route>) -> String {
    if rows.is_empty() {
        return "No routes.\n".to_owned();
    }
    rows.sort_by_key(|route| (route.prefix, !route.best, route.peer, route.path_id));
    let mut out = String::new();
    match view {
        View::Kernel => kernel(&rows, &mut out),
        View::In | View::Best | View::Out => paths(&rows, &mut out),
    }
    out
}

fn paths(rows: &[Route], out: &mut String) {
    let mut table = Columns::new([
        ("", Side::Left),
        ("PREFIX", Side::Left),
        ("NEXT HOP", Side::Left),
        ("PEER", Side::Left),
        ("PREF", Side::Right),
        ("MED", Side::Right),
        ("AS PATH", Side::Left),
    ]);
    let number = |value: Option<u32>| value.map(|value| value.to_string()).unwrap_or_default();
    for route in rows {
        let attributes = route.attributes.as_ref();
        table.row([
            flags(route),
            route.prefix.to_string(),
            hops(&route.next_hops),
            route.peer_name.clone(),
            number(attributes.and_then(|it| it.local_pref)),
            number(attributes.and_then(|it| it.med)),
            attributes.map(as_path).unwrap_or_default(),
        ]);
    }
    table.write(out);
}

/// `*` the best path, `s` one kept from a former session.
fn flags(route: &Route) -> String {
    let mut flags = String::new();
    if route.best {
        flags.push('*');
    }
    if route.stale {
        flags.push('s');
    }
    flags
}

/// The path with the letter of its origin, as every BGP table has it.
fn as_path(attributes: &Attributes) -> String {
    let letter = match attributes.origin.as_str() {
        "igp" => "i",
        "egp" => "e",
        _ => "?",
    };
    format!("{} {letter}", attributes.as_path).trim_start().to_owned()
}

fn hops(next_hops: &[IpAddr]) -> String {
    if next_hops.is_empty() {
        return "blackhole".to_owned();
    }
    next_hops.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",")
}

fn kernel(rows: &[Route], out: &mut String) {
    let mut table = Columns::new([
        ("PREFIX", Side::Left),
        ("NEXT HOP", Side::Left),
        ("PEER", Side::Left),
        ("STATE", Side::Left),
        ("FOR", Side::Right),
        ("ERROR", Side::Left),
    ]);
    for route in rows {
        let (state, error) = match &route.kernel {
            None => (String::new(), String::new()),
            Some(KernelRoute { state, error }) => (state.to_string(), error.clone().unwrap_or_default()),
        };
        table.row([
            route.prefix.to_string(),
            hops(&route.next_hops),
            route.peer_name.clone(),
            state,
            span(route.since.secs),
            error,
        ]);
    }
    table.write(out);
}

/// Everything about one destination.
pub(super) fn why(why: &Why) -> String {
    let mut out = format!("{}\n", why.prefix);
    if why.candidates.is_empty() {
        out.push_str("\nNo path to it was accepted.\n");
    }
    for route in &why.candidates {
        out.push_str(&candidate(route));
    }
    if !why.rejected.is_empty() {
        out.push_str("\nNot accepted:\n");
    }
    for rejection in &why.rejected {
        out.push_str(&format!("  from {} ({}): {}\n", rejection.name, rejection.peer, rejection.reason));
    }
    exports("\nAdvertised to:\n", why.exports.iter().filter(|export| export.sent), &mut out);
    exports("\nNot advertised to:\n", why.exports.iter().filter(|export| !export.sent), &mut out);
    if let Some(KernelRoute { state, error }) = &why.kernel {
        let error = error.as_ref().map(|error| format!(", {error}")).unwrap_or_default();
        out.push_str(&format!("\nKernel: {state}{error}\n"));
    }
    out
}

fn candidate(route: &Route) -> String {
    let from = match route.peer {
        Some(peer) => format!("from {} ({peer})", route.peer_name),
        None => "of this node".to_owned(),
    };
    let mut out = format!(
        "\n{} via {} {from}, for {}{}\n",
        if route.best { "*" } else { " " },
        hops(&route.next_hops),
        span(route.since.secs),
        if route.stale { ", stale" } else { "" }
    );
    if let Some(step) = &route.step {
        let verdict = if route.best { "best by" } else { "lost by" };
        out.push_str(&format!("    {verdict}: {step}\n"));
    }
    if let Some(it) = &route.attributes {
        let mut line = |name: &str, value: String| {
            if !value.is_empty() {
                out.push_str(&format!("    {name}: {value}\n"));
            }
        };
        line("AS_PATH", as_path(it));
        line("LOCAL_PREF", it.local_pref.map(|value| value.to_string()).unwrap_or_default());
        line("MED", it.med.map(|value| value.to_string()).unwrap_or_default());
        line("communities", it.communities.join(" "));
        line("large communities", it.large_communities.join(" "));
        line("extended communities", it.extended_communities.join(" "));
        line("ORIGINATOR_ID", it.originator_id.map(|id| id.to_string()).unwrap_or_default());
        let clusters: Vec<String> = it.cluster_list.iter().map(ToString::to_string).collect();
        line("CLUSTER_LIST", clusters.join(" "));
        line("other attributes", it.others.join(" "));
    }
    out
}

fn exports<'a>(title: &str, exports: impl Iterator<Item = &'a Export>, out: &mut String) {
    let mut title = title;
    for export in exports {
        let unnamed = export.count.saturating_sub(export.peers.len() as u64);
        let more = if unnamed > 0 { format!(" and {unnamed} more") } else { String::new() };
        let reason = export.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        out.push_str(&format!("{title}  {}{more}{reason}\n", export.peers.join(", ")));
        title = "";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::KernelState;
    use crate::samples;

    #[test]
    fn routes_are_sorted_with_the_best_first() {
        let mut other = samples::route(1);
        other.best = false;
        other.stale = true;
        other.peer_name = "a".into();
        let expected = [
            "   PREFIX         NEXT HOP  PEER    PREF  MED  AS PATH\n",
            "*  10.244.0.0/24  10.0.0.2  node-b   100       65001 65002 i\n",
            "*  10.244.1.0/24  10.0.0.2  node-b   100       65001 65002 i\n",
            "s  10.244.1.0/24  10.0.0.2  a        100       65001 65002 i\n",
        ];
        let shown = routes(View::In, vec![other, samples::route(1), samples::route(0)]);
        assert_eq!(shown, expected.concat());
        assert_eq!(routes(View::Best, vec![]), "No routes.\n");
    }

    #[test]
    fn kernel_routes_say_what_went_wrong() {
        let mut refused = samples::route(1);
        let error = Some("network is unreachable".to_owned());
        refused.kernel = Some(KernelRoute { state: KernelState::Refused, error });
        let mut own = samples::route(0);
        own.next_hops = vec![];
        own.peer_name = "local".into();
        let expected = "\
PREFIX         NEXT HOP   PEER    STATE       FOR  ERROR
10.244.0.0/24  blackhole  local   installed  1m2s
10.244.1.0/24  10.0.0.2   node-b  refused    1m2s  network is unreachable
";
        assert_eq!(routes(View::Kernel, vec![refused, own]), expected);
    }

    #[test]
    fn why_explains_every_path() {
        let expected = "\
10.244.1.0/24

* via 10.0.0.2 from node-b (10.0.0.2), for 1m2s
    best by: AS_PATH length
    AS_PATH: 65001 65002 i
    LOCAL_PREF: 100
    communities: 64512:1
    ORIGINATOR_ID: 10.0.0.2
    CLUSTER_LIST: 10.0.0.1

  via 10.0.0.3 from node-c (10.0.0.3), for 1m2s
    lost by: BGP Identifier
    AS_PATH: 65001 65002 i
    LOCAL_PREF: 100
    communities: 64512:1
    ORIGINATOR_ID: 10.0.0.2
    CLUSTER_LIST: 10.0.0.1

Not accepted:
  from tor (10.0.0.254): no import policy (RFC 8212)

Advertised to:
  node-c

Not advertised to:
  node-b: the best path is from this peer

Kernel: refused, network is unreachable: the next hop is not on a connected network
";
        assert_eq!(why(&samples::why()), expected);
    }
}
