//! What BIRD's `show` commands print, octet by octet: programs read it.
//!
//! Pure: rows and a clock go in, text comes out. The formats are those of BIRD 1.6 as Calico's readiness probe, its status reporter,
//! calicoctl and bird_exporter parse them; an unknown line makes several of these fail, so nothing is added.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use bgp_proto::AttrSet;
use bgp_proto::attr::Origin as BgpOrigin;
use jiff::ZonedDateTime as Zoned;

use super::desired::{Face, Session, Shown};
use super::reply::Reply;
use super::{GREETING, VERSION};
use crate::control::bird::{Counts, Instance, Origin, RouteRow, SessionRow, Step};

/// Older times are shown as dates.
const RECENT: Duration = Duration::from_secs(20 * 3600);

/// `show status`.
pub fn status(instance: &Instance, now: &Zoned) -> String {
    let mut reply = Reply::new();
    let at = |ago: Duration| full_time(now, ago);
    reply.line(1000, &format!("BIRD {VERSION}"));
    reply.line(1011, &format!("Router ID is {}", std::net::Ipv4Addr::from(instance.router_id)));
    reply.line(1011, &format!("Current server time is {}", at(Duration::ZERO)));
    reply.line(1011, &format!("Last reboot on {}", at(instance.up_for)));
    reply.line(1011, &format!("Last reconfiguration on {}", at(instance.configured_for)));
    if let Some((waiting, left)) = instance.recovering {
        reply.line(24, "Graceful restart recovery in progress");
        reply.line(24, &format!("  Waiting for {waiting} protocols to recover"));
        reply.line(24, &format!("  Wait timer is {}/{}", left.as_secs(), instance.recovery_total.as_secs()));
    }
    reply.end(13, "Daemon is up and running")
}

/// What the rows of `show protocols` are made of.
pub struct View<'a> {
    /// The instance.
    pub instance: &'a Instance,
    /// State of sessions, by neighbour.
    pub sessions: &'a BTreeMap<IpAddr, SessionRow>,
    /// Everybody's routes, for `all`.
    pub counts: &'a BTreeMap<Origin, Counts>,
    /// Now.
    pub now: &'a Zoned,
}

impl View<'_> {
    /// `show protocols`, with `all` or without, of those protocols.
    pub fn protocols<'s>(&self, shown: impl Iterator<Item = &'s Shown>, all: bool) -> String {
        let mut reply = Reply::new();
        reply.line(2002, "name     proto    table    state  since       info");
        for shown in shown {
            let session = shown.session.as_ref().map(|s| (s, self.session(shown, s)));
            let (state, age, info) = match &session {
                _ if shown.disabled => ("down", self.instance.up_for, String::new()),
                Some((_, Some(row))) if row.is_disabled => ("down", row.state_for, String::new()),
                Some((known, Some(row))) => {
                    let state = match (row.state.word(), row.is_waiting) {
                        ("Established", true) => "wait",
                        ("Established", false) => "up",
                        _ => "start",
                    };
                    (state, row.state_for, info(known, row))
                }
                Some((_, None)) => ("start", self.instance.up_for, format!("{:<14}", "Idle")),
                None => {
                    let waits = shown.word == "Kernel" && self.instance.recovering.is_some();
                    (if waits { "wait" } else { "up" }, self.instance.up_for, String::new())
                }
            };
            reply.line(
                1002,
                &format!(
                    "{:<8} {:<8} {:<8} {:<5}  {:<10}  {info}",
                    shown.name,
                    shown.word,
                    "master",
                    state,
                    short_time(self.now, age)
                ),
            );
            if all {
                self.details(shown, session.as_ref().and_then(|(s, row)| Some((*s, (*row)?))), &mut reply);
            }
        }
        reply.end(0, "")
    }

    fn session(&self, shown: &Shown, session: &Session) -> Option<&SessionRow> {
        if shown.disabled { None } else { self.sessions.get(&session.neighbor) }
    }

    fn details(&self, shown: &Shown, session: Option<(&Session, &SessionRow)>, reply: &mut Reply) {
        let mut line = |text: String| {
            reply.line(1006, &text);
        };
        if let Some(description) = &shown.description {
            line(format!("  Description:    {description}"));
        }
        line(format!("  Preference:     {}", shown.preference));
        line(format!("  Input filter:   {}", shown.import));
        line(format!("  Output filter:  {}", shown.export));
        let of = |origin: Origin| self.counts.get(&origin).copied().unwrap_or_default();
        let counts = match (shown.word, session) {
            (_, Some((known, _))) => of(Origin::Peer(known.neighbor)),
            ("Kernel", None) => {
                let exported = u32::try_from(self.instance.installed).unwrap_or(u32::MAX);
                Counts { exported, ..of(Origin::Kernel) }
            }
            ("Direct", None) => of(Origin::Direct),
            ("Static", None) => of(Origin::Static),
            _ => Counts::default(),
        };
        line(format!(
            "  Routes:         {} imported, {} exported, {} preferred",
            counts.imported, counts.exported, counts.preferred
        ));
        line("  Route change stats:     received   rejected   filtered    ignored   accepted".to_owned());
        let received = u64::from(counts.imported) + counts.rejected;
        line(format!(
            "    Import updates:     {:>10} {:>10} {:>10} {:>10} {:>10}",
            received, 0, counts.rejected, 0, counts.imported
        ));
        line(format!("    Import withdraws:   {:>10} {:>10}        --- {:>10} {:>10}", 0, 0, 0, 0));
        line(format!(
            "    Export updates:     {:>10} {:>10} {:>10}        --- {:>10}",
            counts.exported, 0, 0, counts.exported
        ));
        line(format!("    Export withdraws:   {:>10}        ---        ---        --- {:>10}", 0, 0));
        if let Some((known, row)) = session {
            bgp(known, row, &mut line);
        }
        line(String::new());
    }
}

/// The last column of a BGP session.
fn info(session: &Session, row: &SessionRow) -> String {
    let state = match row.state.word() {
        "Idle" | "Active" if session.passive => "Passive",
        word => word,
    };
    let trouble = row.trouble.as_deref().filter(|_| state != "Established").unwrap_or_default();
    format!("{state:<14}{trouble}")
}

fn bgp(session: &Session, row: &SessionRow, line: &mut impl FnMut(String)) {
    let state = match row.state.word() {
        "Idle" | "Active" if session.passive => "Passive",
        word => word,
    };
    line(format!("  BGP state:          {state}"));
    line(format!("    Neighbor address: {}", session.neighbor));
    line(format!("    Neighbor AS:      {}", session.asn));
    if row.stale && row.up.is_none() {
        line("    Neighbor graceful restart active".to_owned());
    }
    if let Some(up) = &row.up {
        line(format!("    Neighbor ID:      {}", std::net::Ipv4Addr::from(up.router_id)));
        let words = |all: &[(bool, &'static str)]| {
            all.iter().filter(|(has, _)| *has).fold(String::new(), |mut text, (_, word)| {
                let _ = write!(text, " {word}");
                text
            })
        };
        line(format!(
            "    Neighbor caps:   {}",
            words(&[
                (up.refresh, "refresh"),
                (up.enhanced, "enhanced-refresh"),
                (up.restart_able, "restart-able"),
                (up.as4, "AS4"),
                (up.add_path_tx, "add-path-rx"),
                (up.add_path_rx, "add-path-tx"),
                (up.extended, "ext-messages"),
            ])
        ));
        line(format!(
            "    Session:         {}",
            words(&[
                (session.internal, "internal"),
                (!session.internal, "external"),
                (session.multihop, "multihop"),
                (session.rr_client, "route-reflector"),
                (up.as4, "AS4"),
                (up.add_path_rx, "add-path-rx"),
                (up.add_path_tx, "add-path-tx"),
                (up.extended, "ext-messages"),
            ])
        ));
        if let Some(source) = up.source {
            line(format!("    Source address:   {source}"));
        }
        line(format!("    Hold timer:       {0}/{0}", up.hold_secs));
        line(format!("    Keepalive timer:  {0}/{0}", up.hold_secs / 3));
    }
    if let Some(trouble) = row.trouble.as_ref().filter(|_| row.up.is_none()) {
        line(format!("    Last error:       {trouble}"));
    }
}

/// Rows of `show route`. A destination is named once.
pub fn routes(rows: &[RouteRow], names: &Names<'_>, all: bool, now: &Zoned, reply: &mut Reply) {
    let mut last = None;
    for row in rows {
        let dest = if last == Some(row.prefix) { String::new() } else { row.prefix.to_string() };
        last = Some(row.prefix);
        route(&dest, &row.step, row, names, now, reply);
        // A line for each way, with all that a reader of one line looks for.
        for step in &row.hops {
            route("", step, row, names, now, reply);
        }
        if all {
            attributes(row, reply);
        }
    }
}

fn route(dest: &str, step: &Step, row: &RouteRow, names: &Names<'_>, now: &Zoned, reply: &mut Reply) {
    let via = match step {
        Step::Via { gateway, interface } => format!("via {gateway} on {interface}"),
        Step::Device(interface) => format!("dev {interface}"),
        Step::Blackhole => "blackhole".to_owned(),
        Step::Unreachable => "unreachable".to_owned(),
    };
    let from = row.from.map(|addr| format!(" from {addr}")).unwrap_or_default();
    let best = if row.is_best { " *" } else { "" };
    reply.line(
        1007,
        &format!(
            "{dest:<18} {via} [{} {}{from}]{best} {}",
            names.name(&row.origin),
            short_time(now, row.for_),
            rank(row)
        ),
    );
}

/// Names of protocols by where routes come from: found once, not for each route.
#[derive(Debug)]
pub struct Names<'a> {
    peers: BTreeMap<IpAddr, &'a str>,
    own: &'a str,
    kernel: &'a str,
    direct: &'a str,
}

impl<'a> Names<'a> {
    /// The names in `face`; of several protocols of one kind, the first.
    pub fn of(face: &'a Face) -> Names<'a> {
        let running = || face.protocols.iter().filter(|p| !p.disabled);
        let first = |word: &str, otherwise: &'static str| {
            running().find(|p| p.word == word).map_or(otherwise, |p| p.name.as_str())
        };
        let mut peers = BTreeMap::new();
        for (session, name) in running().filter_map(|p| Some((p.session.as_ref()?, p.name.as_str()))) {
            peers.entry(session.neighbor).or_insert(name);
        }
        Names {
            peers,
            own: first("Static", "static1"),
            kernel: first("Kernel", "kernel1"),
            direct: first("Direct", "direct1"),
        }
    }

    fn name(&self, origin: &Origin) -> &'a str {
        match origin {
            Origin::Static => self.own,
            Origin::Kernel => self.kernel,
            Origin::Direct => self.direct,
            Origin::Peer(addr) => self.peers.get(addr).copied().unwrap_or("gone"),
        }
    }
}

/// Preference, cost and origin, in parentheses and brackets.
fn rank(row: &RouteRow) -> String {
    let Some(attrs) = &row.attrs else { return format!("({})", row.preference) };
    let stale = if row.is_stale { "s" } else { "" };
    let on_link =
        matches!((&row.step, attrs.next_hop().addr()), (Step::Via { gateway, .. }, Some(a)) if *gateway == a);
    let cost = match (row.cost, on_link) {
        (None, _) => "-",
        (Some(_), true) => "0",
        (Some(_), false) => "?",
    };
    let origin = match attrs.origin() {
        BgpOrigin::Igp => 'i',
        BgpOrigin::Egp => 'e',
        BgpOrigin::Incomplete => '?',
    };
    let asn = attrs.as_path().origin_as().map(|asn| format!("AS{}", asn.0)).unwrap_or_default();
    format!("({}{stale}/{cost}) [{asn}{origin}]", row.preference)
}

fn attributes(row: &RouteRow, reply: &mut Reply) {
    let source = match row.origin {
        Origin::Static => "static",
        Origin::Kernel => "inherit",
        Origin::Direct => "device",
        Origin::Peer(_) => "BGP",
    };
    reply.line(1008, &format!("\tType: {source} unicast univ"));
    if let Some(attrs) = &row.attrs {
        bgp_attributes(attrs, reply);
    }
    if let Some(protocol) = row.kernel_source {
        reply.line(1012, &format!("\tKernel.source: {protocol}"));
    }
    if let Some(metric) = row.kernel_metric {
        reply.line(1012, &format!("\tKernel.metric: {metric}"));
    }
}

fn bgp_attributes(attrs: &AttrSet, reply: &mut Reply) {
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        reply.line(1012, &format!("\tBGP.{name}: {value}"));
    };
    let origin = match attrs.origin() {
        BgpOrigin::Igp => "IGP",
        BgpOrigin::Egp => "EGP",
        BgpOrigin::Incomplete => "Incomplete",
    };
    line("origin", &origin);
    line("as_path", &attrs.as_path());
    if let Some(addr) = attrs.next_hop().addr() {
        line("next_hop", &addr);
    }
    if let Some(med) = attrs.med() {
        line("med", &med);
    }
    if let Some(preference) = attrs.local_pref() {
        line("local_pref", &preference);
    }
    let list = |all: Vec<String>| all.join(" ");
    if attrs.communities().iter().next().is_some() {
        let all = attrs.communities().iter().map(|c| format!("({},{})", c.0 >> 16, c.0 & 0xffff));
        line("community", &list(all.collect()));
    }
    if let Some(id) = attrs.originator_id() {
        line("originator_id", &std::net::Ipv4Addr::from(id));
    }
    if attrs.cluster_list().iter().next().is_some() {
        let all = attrs.cluster_list().iter().map(|c| std::net::Ipv4Addr::from(c.0).to_string());
        line("cluster_list", &list(all.collect()));
    }
    if attrs.large_communities().iter().next().is_some() {
        let all = attrs.large_communities().iter();
        let all = all.map(|c| format!("({}, {}, {})", c.global, c.local1, c.local2));
        line("large_community", &list(all.collect()));
    }
}

/// The line that greets a client.
pub fn greeting() -> String {
    Reply::one(1, GREETING)
}

fn full_time(now: &Zoned, ago: Duration) -> String {
    before(now, ago).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn short_time(now: &Zoned, ago: Duration) -> String {
    let form = if ago < RECENT { "%H:%M:%S" } else { "%Y-%m-%d" };
    before(now, ago).strftime(form).to_string()
}

fn before(now: &Zoned, ago: Duration) -> Zoned {
    now.checked_sub(ago).unwrap_or_else(|_| now.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bgp_proto::{AttrSetBuilder, NextHop};

    /// Calico's route reporter reads a line at a time and wants all of it there.
    #[test]
    fn each_next_hop_of_a_destination_has_a_whole_line() {
        let via = |gateway: &str| Step::Via {
            gateway: gateway.parse().expect("an address"),
            interface: "tunl0".to_owned(),
        };
        let row = RouteRow {
            prefix: "192.168.2.0/26".parse().expect("a prefix"),
            origin: Origin::Peer("10.0.0.2".parse().expect("an address")),
            is_best: true,
            is_stale: false,
            for_: Duration::ZERO,
            preference: 100,
            cost: Some(0),
            from: None,
            kernel_metric: None,
            kernel_source: None,
            attrs: Some(AttrSetBuilder::new(NextHop::from(std::net::Ipv4Addr::new(10, 0, 0, 2))).build()),
            step: via("10.0.0.2"),
            hops: vec![via("10.0.0.3")],
        };
        let face = Face::new(bgp_proto::Version::V4);
        let now = Zoned::now();
        let mut reply = Reply::new();
        routes(&[row], &Names::of(&face), false, &now, &mut reply);
        let text = reply.end(0, "");
        let time = now.strftime("%H:%M:%S");
        let first = format!("1007-192.168.2.0/26     via 10.0.0.2 on tunl0 [gone {time}] * (100/0) [?]\n");
        let second = format!(" {:<18} via 10.0.0.3 on tunl0 [gone {time}] * (100/0) [?]\n", "");
        assert_eq!(text, format!("{first}{second}0000 \n"));
    }
}
