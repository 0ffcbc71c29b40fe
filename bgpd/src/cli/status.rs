//! `bgpd status` and `bgpd peers` for people.

use jiff::tz::TimeZone;

use super::table::{Columns, Grid, Side, wrap};
use crate::control::protocol::{
    Instance, Messages, NotificationSeen, Peer, PeerFamily, Session, Since, State,
};

/// As long as BIRD shows the time of day instead of the date.
const TODAY_SECS: u64 = 20 * 3600;
/// Columns of the value in the view of one peer.
const VALUE_COLUMNS: usize = 62;

/// The instance and its peers, in the tables of `calicoctl node status`.
pub(super) fn status(instance: &Instance, peers: &[Peer], zone: &TimeZone) -> String {
    let mut out = format!(
        "bgpd {}, AS {}, router id {}, up {}{}\n",
        instance.version,
        instance.asn,
        instance.router_id,
        span(instance.started.secs),
        if instance.syncing { ", waiting for the peers' first routes" } else { "" }
    );
    for (version, is_v4) in [("IPv4", true), ("IPv6", false)] {
        out.push_str(&format!("\n{version} BGP status\n"));
        let mut grid = Grid::new(["PEER ADDRESS", "PEER TYPE", "STATE", "SINCE", "INFO"]);
        let mut rows = 0;
        for peer in peers.iter().filter(|peer| peer.address.is_ipv4() == is_v4) {
            rows += 1;
            let state = if peer.state == State::Established { "up" } else { "start" };
            grid.row([
                peer.address.to_string(),
                peer.kind.to_string(),
                state.to_owned(),
                clock(&peer.since, zone),
                info(peer),
            ]);
        }
        if rows == 0 {
            out.push_str(&format!("No {version} peers found.\n"));
        } else {
            grid.write(&mut out);
        }
    }
    out.push('\n');
    summary(instance, zone, &mut out);
    out
}

/// The state, and what stands in the way.
fn info(peer: &Peer) -> String {
    match &peer.trouble {
        None => peer.state.to_string(),
        Some(trouble) => format!("{}: {trouble}", peer.state),
    }
}

fn summary(instance: &Instance, zone: &TimeZone, out: &mut String) {
    for range in &instance.ranges {
        out.push_str(&format!("Range {} ({}): {}\n", range.range, range.name, plural(range.peers, "peer")));
    }
    for family in &instance.families {
        let (prefixes, paths) = (plural(family.prefixes, "prefix"), plural(family.paths, "path"));
        out.push_str(&format!("Routes {}: {prefixes}, {paths}\n", family.family));
    }
    if let Some(kernel) = &instance.kernel {
        out.push_str(&format!("Kernel: {} of {} routes installed", kernel.installed, kernel.desired));
        if kernel.refused > 0 {
            out.push_str(&format!(", {} refused (see `bgpd routes kernel`)", kernel.refused));
        }
        out.push('\n');
    }
    let config = &instance.config;
    out.push_str(&format!("Configuration {}, loaded {}\n", config.source, moment(&config.loaded, zone)));
    if let Some(refused) = &config.refused {
        out.push_str(&format!("A change was refused {}:\n", moment(&refused.since, zone)));
        for line in refused.text.lines() {
            out.push_str(&format!("  {line}\n"));
        }
    }
}

/// All peers, a line for each family.
pub(super) fn peers(peers: &[Peer]) -> String {
    if peers.is_empty() {
        return "No peers.\n".to_owned();
    }
    let mut table = Columns::new([
        ("PEER", Side::Left),
        ("NAME", Side::Left),
        ("ASN", Side::Right),
        ("STATE", Side::Left),
        ("FOR", Side::Right),
        ("FAMILY", Side::Left),
        ("RECV", Side::Right),
        ("ACC", Side::Right),
        ("SENT", Side::Right),
    ]);
    for peer in peers {
        let mut who = [
            peer.address.to_string(),
            peer.name.clone(),
            peer.asn.to_string(),
            peer.state.to_string(),
            span(peer.since.secs),
        ];
        if peer.families.is_empty() {
            let [address, name, asn, state, since] = who;
            let nothing = String::new;
            table.row([address, name, asn, state, since, nothing(), nothing(), nothing(), nothing()]);
            continue;
        }
        for family in &peer.families {
            let [address, name, asn, state, since] = std::mem::take(&mut who);
            table.row([
                address,
                name,
                asn,
                state,
                since,
                family.family.clone(),
                family.received.to_string(),
                family.accepted.to_string(),
                family.advertised.to_string(),
            ]);
        }
    }
    let mut out = String::new();
    table.write(&mut out);
    out
}

/// Everything about one peer.
pub(super) fn peer(peer: &Peer, zone: &TimeZone) -> String {
    let mut lines = Lines(format!("{} ({}), AS {}, {}\n", peer.address, peer.name, peer.asn, peer.kind));
    let flaps = plural(peer.flaps, "flap");
    lines.add("State", &format!("{} since {}, {flaps}", peer.state, moment(&peer.since, zone)));
    if let Some(trouble) = &peer.trouble {
        lines.add("Trouble", trouble);
    }
    if let Some(description) = &peer.description {
        lines.add("Description", description);
    }
    if peer.passive {
        lines.add("Connects", "only the peer, not we");
    }
    let named = |policy: &Option<String>| policy.as_deref().unwrap_or("none").to_owned();
    lines.add("Policy", &format!("import {}, export {}", named(&peer.import), named(&peer.export)));
    if let Some(session) = &peer.session {
        lines.session(peer, session);
    }
    for family in &peer.families {
        lines.add(&family.family, &counts(family));
    }
    lines.add("Received", &messages(&peer.received));
    lines.add("Sent", &messages(&peer.sent));
    let seen = |seen: &NotificationSeen| format!("{}, {} ago", seen.text, span(seen.since.secs));
    if let Some(notification) = &peer.notification_received {
        lines.add("Last error received", &seen(notification));
    }
    if let Some(notification) = &peer.notification_sent {
        lines.add("Last error sent", &seen(notification));
    }
    lines.0
}

/// Names with values, the values wrapped below each other.
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, value: &str) {
        let mut name = name;
        for line in wrap(value, VALUE_COLUMNS) {
            self.0.push_str(format!("  {name:19} {line}").trim_end());
            self.0.push('\n');
            name = "";
        }
    }

    fn session(&mut self, peer: &Peer, session: &Session) {
        if peer.local_asn != peer.asn {
            self.add("Local AS", &peer.local_asn.to_string());
        }
        self.add("Router id", &session.router_id.to_string());
        let connection = format!(
            "{} port {} to {} port {}{}",
            session.local_address,
            session.local_port,
            peer.address,
            session.remote_port,
            if session.md5 { ", MD5" } else { "" }
        );
        self.add("Connection", &connection);
        self.add("Hold time", &format!("{} s, keepalive {} s", session.hold_secs, session.keepalive_secs));
        self.add("Capabilities", &session.capabilities.join(", "));
        for (name, families) in
            [("Add-path send", &session.add_paths_send), ("Add-path receive", &session.add_paths_receive)]
        {
            if !families.is_empty() {
                self.add(name, &families.join(", "));
            }
        }
        if let Some(secs) = session.restart_secs {
            self.add("Graceful restart", &format!("the peer has {secs} s to come back"));
        }
    }
}

fn counts(family: &PeerFamily) -> String {
    format!(
        "{} received, {} accepted, {} best, {} advertised{}{}",
        family.received,
        family.accepted,
        family.best,
        family.advertised,
        if family.stale > 0 { format!(", {} stale", family.stale) } else { String::new() },
        if family.end_of_rib { "" } else { ", End-of-RIB not yet received" }
    )
}

fn messages(messages: &Messages) -> String {
    let Messages { open, update, notification, keepalive, refresh } = messages;
    format!(
        "{open} open, {update} update, {notification} notification, {keepalive} keepalive, {refresh} refresh"
    )
}

/// A count with its noun.
pub(super) fn plural(count: u64, noun: &str) -> String {
    match (count, noun) {
        (1, noun) => format!("1 {noun}"),
        (count, "prefix") => format!("{count} prefixes"),
        (count, "policy") => format!("{count} policies"),
        (count, noun) => format!("{count} {noun}s"),
    }
}

/// The time of day, or the date of what is long past, as BIRD has it.
fn clock(since: &Since, zone: &TimeZone) -> String {
    let format = if since.secs < TODAY_SECS { "%H:%M:%S" } else { "%Y-%m-%d" };
    since.at.to_zoned_datetime(zone.clone()).strftime(format).to_string()
}

/// Date, time and how long ago.
pub(super) fn moment(since: &Since, zone: &TimeZone) -> String {
    let at = since.at.to_zoned_datetime(zone.clone());
    format!("{} ({} ago)", at.strftime("%Y-%m-%d %H:%M:%S"), span(since.secs))
}

/// The two greatest units of a duration.
pub(super) fn span(secs: u64) -> String {
    let (minutes, hours, days) = (secs / 60, secs / 3600, secs / 86_400);
    match secs {
        0..60 => format!("{secs}s"),
        60..3600 => format!("{minutes}m{}s", secs % 60),
        3600..86_400 => format!("{hours}h{}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn status_looks_like_calicoctls() {
        let peers =
            [samples::peer("10.0.0.2".parse().unwrap()), samples::peer_down("10.0.0.254".parse().unwrap())];
        let expected = "\
bgpd 0.1.0, AS 64512, router id 10.0.0.1, up 2h3m

IPv4 BGP status
+--------------+-----------+-------+----------+--------------------------------+
| PEER ADDRESS | PEER TYPE | STATE |  SINCE   |              INFO              |
+--------------+-----------+-------+----------+--------------------------------+
| 10.0.0.2     | internal  | up    | 03:20:18 | Established                    |
| 10.0.0.254   | external  | start | 03:20:18 | Active: connection refused:    |
|              |           |       |          | nothing listens on port 179    |
|              |           |       |          | there                          |
+--------------+-----------+-------+----------+--------------------------------+

IPv6 BGP status
No IPv6 peers found.

Range 10.1.0.0/16 (clients): 1 peer
Routes ipv4: 3 prefixes, 4 paths
Kernel: 2 of 3 routes installed, 1 refused (see `bgpd routes kernel`)
Configuration /etc/bgpd.yaml, loaded 2026-11-25 01:18:20 (2h3m ago)
";
        assert_eq!(status(&samples::instance(), &peers, &TimeZone::UTC), expected);
    }

    #[test]
    fn a_refused_change_is_shown_in_full() {
        let mut instance = samples::instance();
        let since = instance.started;
        instance.config.refused = Some(crate::control::protocol::Incident {
            since,
            text: "a.yaml:1:1: one\na.yaml:2:1: two".into(),
        });
        let shown = status(&instance, &[], &TimeZone::UTC);
        let expected =
            "A change was refused 2026-11-25 01:18:20 (2h3m ago):\n  a.yaml:1:1: one\n  a.yaml:2:1: two\n";
        assert!(shown.ends_with(expected), "{shown}");
    }

    #[test]
    fn peers_have_a_line_a_family() {
        let mut two = samples::peer("10.0.0.2".parse().unwrap());
        two.families.push(PeerFamily { family: "ipv6".into(), received: 120, ..two.families[0].clone() });
        let shown = peers(&[two, samples::peer_down("fd00::3".parse().unwrap())]);
        let expected = "\
PEER      NAME      ASN  STATE         FOR  FAMILY  RECV  ACC  SENT
10.0.0.2  node-b  64512  Established  1m2s  ipv4       3    2     5
                                            ipv6     120    2     5
fd00::3   tor     65001  Active       1m2s
";
        assert_eq!(shown, expected);
        assert!(shown.lines().all(|line| line.len() <= 80));
    }

    #[test]
    fn one_peer_is_shown_in_full() {
        let shown = peer(&samples::peer("10.0.0.2".parse().unwrap()), &TimeZone::UTC);
        let expected = "\
10.0.0.2 (node-b), AS 64512, internal
  State               Established since 2026-11-25 03:20:18 (1m2s ago), 1 flap
  Policy              import none, export none
  Router id           10.0.0.2
  Connection          10.0.0.1 port 179 to 10.0.0.2 port 40001, MD5
  Hold time           90 s, keepalive 30 s
  Capabilities        multiprotocol, route refresh, 4-octet AS number
  Graceful restart    the peer has 120 s to come back
  ipv4                3 received, 2 accepted, 1 best, 5 advertised
  Received            1 open, 4 update, 0 notification, 7 keepalive, 0 refresh
  Sent                1 open, 6 update, 0 notification, 7 keepalive, 0 refresh
  Last error received Cease: Administrative Shutdown, 1m30s ago
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn long_ago_is_a_date() {
        let mut since = samples::instance().started;
        assert_eq!(clock(&since, &TimeZone::UTC), "01:18:20");
        since.secs = TODAY_SECS;
        assert_eq!(clock(&since, &TimeZone::UTC), "2026-11-25");
        assert_eq!([59, 60, 3_600, 90_000].map(span), ["59s", "1m0s", "1h0m", "1d1h"]);
    }
}
