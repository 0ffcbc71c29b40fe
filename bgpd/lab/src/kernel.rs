//! What `ip -N -j route` says, as values: the kernel's own word on which routes it has and whose they are.

use anyhow::{Context, Result};
use serde_json::Value;

/// One route of a kernel table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRoute {
    /// The destination in canonical form, host routes with their length.
    pub prefix: String,
    /// `unicast`, `blackhole`, `unreachable`, ...
    pub kind: String,
    /// Every gateway, in the kernel's order; empty for a connected route.
    pub gateways: Vec<String>,
    /// Every device, in the kernel's order.
    pub devices: Vec<String>,
    /// The routing protocol's number; 0 when the kernel shows none.
    pub protocol: u8,
    /// The metric, 0 when the kernel shows none.
    pub metric: u64,
}

/// The routes in the output of `ip -N -j -d route show`.
pub fn parse(json: &str) -> Result<Vec<KernelRoute>> {
    // iproute2 prints nothing at all for an empty IPv6 table.
    if json.trim().is_empty() {
        return Ok(Vec::new());
    }
    let parsed: Value = serde_json::from_str(json).with_context(|| format!("not JSON: {json}"))?;
    Ok(parsed.as_array().into_iter().flatten().map(route).collect())
}

fn route(entry: &Value) -> KernelRoute {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let hops = entry["nexthops"].as_array().map_or(std::slice::from_ref(entry), Vec::as_slice);
    KernelRoute {
        prefix: full(&text("dst")),
        kind: kind(&entry["type"]),
        gateways: hops.iter().filter_map(gateway).collect(),
        devices: hops.iter().filter_map(|hop| hop["dev"].as_str()).map(str::to_owned).collect(),
        protocol: entry["protocol"].as_str().and_then(|number| number.parse().ok()).unwrap_or(0),
        metric: entry["metric"].as_u64().unwrap_or(0),
    }
}

/// With `-N` the type is a number too; /usr/include/linux/rtnetlink.h names them.
fn kind(entry: &Value) -> String {
    match entry.as_str().unwrap_or("1") {
        "1" => "unicast".to_owned(),
        "6" => "blackhole".to_owned(),
        "7" => "unreachable".to_owned(),
        "8" => "prohibit".to_owned(),
        other => other.to_owned(),
    }
}

/// `via` holds a gateway of the other family.
fn gateway(hop: &Value) -> Option<String> {
    hop["gateway"].as_str().or_else(|| hop["via"]["host"].as_str()).map(str::to_owned)
}

/// `ip` leaves the length off host routes.
fn full(prefix: &str) -> String {
    match prefix {
        "default" => prefix.to_owned(),
        _ if prefix.contains('/') => prefix.to_owned(),
        _ if prefix.contains(':') => format!("{prefix}/128"),
        _ => format!("{prefix}/32"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_multipath_and_blackhole_routes_are_read() {
        let json = r#"[
            {"type":"1","dst":"10.1.0.0/24","gateway":"10.0.0.2","dev":"eth0","protocol":"12","metric":1024,"flags":[]},
            {"type":"1","dst":"10.2.0.1","protocol":"99","flags":[],"nexthops":[{"gateway":"10.0.0.2"},{"via":{"family":"inet6","host":"fe80::1"}}]},
            {"type":"6","dst":"10.3.0.0/24","protocol":"12","flags":[]}]"#;
        let routes = parse(json).unwrap();
        assert_eq!(routes[0].gateways, ["10.0.0.2"]);
        assert_eq!((routes[0].metric, routes[0].protocol), (1024, 12));
        assert_eq!(routes[1].prefix, "10.2.0.1/32");
        assert_eq!(routes[1].gateways, ["10.0.0.2", "fe80::1"]);
        assert_eq!((routes[2].kind.as_str(), routes[2].gateways.len()), ("blackhole", 0));
        assert!(parse("").unwrap().is_empty());
    }
}
