//! What else on a node decides whether packets take our routes: settings that are nobody's routes, looked at once at start.
//!
//! None of it is changed here. In a container these files are read-only anyway, and a node's owner sets them once for all; what is
//! needed is one sentence that says which. Every one of these has cost somebody a day: sessions up, routes right, and no packet arrives.

use std::fs;
use std::path::Path;

/// One sentence for each setting under this root directory that stands in the way. `tunnels`: whether packets come in through tunnel devices.
pub fn obstacles(root: &Path, tunnels: bool) -> Vec<String> {
    let mut found = Vec::new();
    let sysctl = |name: &str| {
        let text = fs::read_to_string(root.join("proc/sys/net").join(name)).ok()?;
        text.trim().parse::<i32>().ok()
    };
    for (version, name) in [("IPv4", "ipv4/ip_forward"), ("IPv6", "ipv6/conf/all/forwarding")] {
        if sysctl(name) == Some(0) {
            let key = name.replace('/', ".");
            found.push(format!("the node forwards no {version} packet: set net.{key}=1 on the host"));
        }
    }
    // The stricter of `all` and the interface counts, and 1 is stricter than 2 only in what it drops.
    if tunnels && sysctl("ipv4/conf/all/rp_filter") == Some(1) {
        found.push(
            "packets out of a tunnel may be dropped, because their way back is another: set net.ipv4.conf.all.rp_filter to 0 or 2 on the host"
                .to_owned(),
        );
    }
    if root.join("run/systemd/netif/state").exists() && !keeps_foreign_routes(root) {
        found.push(
            "systemd-networkd runs here and removes routes that it did not make: set ManageForeignRoutes=no in /etc/systemd/networkd.conf; until then they are put back each time"
                .to_owned(),
        );
    }
    found
}

/// Whether systemd-networkd is told to leave routes of others alone.
fn keeps_foreign_routes(root: &Path) -> bool {
    let mut files = vec![root.join("etc/systemd/networkd.conf")];
    for directory in
        ["etc/systemd/networkd.conf.d", "run/systemd/networkd.conf.d", "usr/lib/systemd/networkd.conf.d"]
    {
        let entries = fs::read_dir(root.join(directory)).into_iter().flatten().flatten();
        files.extend(entries.map(|entry| entry.path()));
    }
    let is_told = |line: &str| {
        let off = ["no", "false", "off", "0"];
        line.split_once('=')
            .is_some_and(|(key, value)| key.trim() == "ManageForeignRoutes" && off.contains(&value.trim()))
    };
    files.iter().any(|file| fs::read_to_string(file).is_ok_and(|text| text.lines().any(is_told)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> std::path::PathBuf {
        let name = format!("bgpd-surroundings-{}-{}", std::process::id(), files.len());
        let root = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&root);
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn each_obstacle_is_one_sentence_and_a_good_node_has_none() {
        let bad = root(&[
            ("proc/sys/net/ipv4/ip_forward", "0\n"),
            ("proc/sys/net/ipv6/conf/all/forwarding", "0\n"),
            ("proc/sys/net/ipv4/conf/all/rp_filter", "1\n"),
            ("run/systemd/netif/state", ""),
        ]);
        assert_eq!(obstacles(&bad, true).len(), 4);
        assert_eq!(obstacles(&bad, false).len(), 3, "without tunnels the reverse path is the same");
        let good = root(&[
            ("proc/sys/net/ipv4/ip_forward", "1\n"),
            ("proc/sys/net/ipv6/conf/all/forwarding", "1\n"),
            ("proc/sys/net/ipv4/conf/all/rp_filter", "2\n"),
            ("run/systemd/netif/state", ""),
            ("etc/systemd/networkd.conf.d/pods.conf", "[Network]\nManageForeignRoutes = no\n"),
        ]);
        assert_eq!(obstacles(&good, true), Vec::<String>::new());
        for root in [bad, good] {
            fs::remove_dir_all(root).unwrap();
        }
    }
}
