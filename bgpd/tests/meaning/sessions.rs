//! The options of sessions, static routes and the rest, read line by line as confd writes them, and what the daemon must make of them.
//!
//! One statement a line, templates before what they are taken into, the last word counts: that much is known of the files, and nothing of our
//! parser is used.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bgpd::bird::desired::Face;
use bgpd::config::Desired;
use bgpd::config::desired::Passage;
use bgpd::config::desired::{AddPaths, ConnectRole, NextHop, Peer, PeerKind, Remote};

/// The lines of a protocol, its template's first.
#[derive(Debug, Clone, Default)]
struct Lines(Vec<String>);

impl Lines {
    /// What stands behind `head` in the last line that begins so.
    fn last(&self, head: &str) -> Option<&str> {
        self.0.iter().rev().find_map(|line| line.strip_prefix(head)).map(str::trim)
    }

    fn has(&self, line: &str) -> bool {
        self.0.iter().any(|l| l == line)
    }

    fn secs(&self, head: &str, otherwise: u64) -> Result<Duration> {
        let secs = self.last(head).map(str::parse).transpose()?;
        Ok(Duration::from_secs(secs.unwrap_or(otherwise)))
    }
}

/// Kind and name of a protocol, and its lines without the bodies of filters.
type Protocols = Vec<(String, String, Lines)>;

fn protocols(text: &str) -> Protocols {
    let mut templates: BTreeMap<String, Lines> = BTreeMap::new();
    let mut all = Protocols::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [what @ ("template" | "protocol"), kind, rest @ ..] = words.as_slice() else { continue };
        let from = rest.iter().position(|word| *word == "from").and_then(|at| rest.get(at + 1));
        let mut own = from.and_then(|name| templates.get(*name)).cloned().unwrap_or_default();
        let mut depth = 1;
        for line in lines.by_ref() {
            let opened = line.matches('{').count();
            let closed = line.matches('}').count();
            if depth == 1 && opened == closed {
                own.0.extend(line.split_inclusive(';').map(|s| s.trim().trim_end_matches(';').to_owned()));
            }
            depth = depth + opened - closed;
            if depth == 0 {
                break;
            }
        }
        own.0.retain(|line| !line.is_empty());
        if *what == "template" {
            templates.insert(rest[0].to_owned(), own);
        } else {
            let name = rest.first().filter(|name| !["from", "{"].contains(name)).copied();
            let number = all.iter().filter(|(k, ..)| k == kind).count() + 1;
            let name = name.map_or(format!("{kind}{number}"), str::to_owned);
            all.push(((*kind).to_owned(), name, own));
        }
    }
    all
}

/// Compares what the text says with what would be run. Returns how many sessions there are.
pub(crate) fn compare(text: &str, desired: &Desired, face: &Face) -> Result<usize> {
    let all = protocols(text);
    let names: Vec<&str> = all.iter().map(|(_, name, _)| name.as_str()).collect();
    let shown: Vec<&str> = face.protocols.iter().map(|p| p.name.as_str()).collect();
    ensure!(names == shown, "{names:?} are shown as {shown:?}");
    let of_kind = |kind: &'static str| all.iter().filter(move |(k, ..)| k == kind);
    let sessions: Vec<_> = of_kind("bgp").collect();
    let mut addresses = Vec::new();
    for (_, name, lines) in &sessions {
        let addr = lines.last("neighbor ").and_then(|words| words.split_whitespace().next());
        if addresses.contains(&addr) {
            // The second one with an address, at another port: shown as down, and not run.
            ensure!(face.protocols.iter().any(|p| p.name == *name && p.disabled), "{name}");
            ensure!(face.warnings.iter().any(|w| w.starts_with(name.as_str())), "{:?}", face.warnings);
            continue;
        }
        addresses.push(addr);
        let peer = desired.peers.values().find(|p| p.name == *name).with_context(|| name.clone())?;
        session(lines, peer).with_context(|| name.clone())?;
    }
    ensure!(addresses.len() == desired.peers.len(), "{} of {} sessions", desired.peers.len(), sessions.len());
    instance(text, desired, sessions.is_empty())?;
    originated(of_kind("static").flat_map(|(_, _, lines)| &lines.0), desired)?;
    kernel(&all, desired)?;
    Ok(sessions.len())
}

fn session(lines: &Lines, peer: &Peer) -> Result<()> {
    let neighbor: Vec<&str> = lines.last("neighbor ").context("no neighbor")?.split_whitespace().collect();
    let (addr, port, asn) = match neighbor.as_slice() {
        [addr, "port", port, "as", asn] => (addr, port.parse()?, asn.parse::<u32>()?),
        [addr, "as", asn] => (addr, 179, asn.parse::<u32>()?),
        other => bail!("{other:?}"),
    };
    let local: u32 = lines.last("local as ").context("no local as")?.parse()?;
    ensure!(peer.remote == Remote::Address(addr.parse()?), "{:?}", peer.remote);
    ensure!((peer.port, peer.asn.0, peer.local_asn.0) == (port, asn, local), "numbers");
    let kind = match (asn == local, lines.has("rr client")) {
        (true, true) => PeerKind::Client,
        (true, false) => PeerKind::Internal,
        (false, _) => PeerKind::External,
    };
    ensure!(peer.kind == kind, "{:?}", peer.kind);
    let source = lines.last("source address ").map(str::parse).transpose()?;
    ensure!(peer.local_address == source, "{:?}", peer.local_address);
    let role = if lines.has("passive on") { ConnectRole::Passive } else { ConnectRole::Active };
    ensure!(peer.connect == role, "{:?}", peer.connect);
    let next_hop = match (lines.has("next hop self"), lines.has("next hop keep")) {
        (true, _) => NextHop::Own,
        (false, true) => NextHop::Keep,
        (false, false) => NextHop::Auto,
    };
    ensure!(peer.next_hop == next_hop, "{:?}", peer.next_hop);
    let hops = lines.last("multihop").map(|n| if n.is_empty() { Ok(64) } else { n.parse::<u8>() });
    let secured = lines.has("ttl security on").then_some(hops.transpose()?.unwrap_or(1));
    ensure!(peer.ttl_security == secured, "{:?}", peer.ttl_security);
    let password = lines.last("password ").map(|p| p.trim_matches('"').as_bytes().to_vec());
    ensure!(peer.password.as_ref().map(|s| s.expose().to_vec()) == password, "another password");
    let restart = lines.has("graceful restart").then(|| lines.secs("graceful restart time ", 120));
    ensure!(peer.graceful_restart == restart.transpose()?, "{:?}", peer.graceful_restart);
    let own_as = lines.last("allow local as").map_or(Ok(0), str::parse::<u8>)?;
    ensure!(peer.paths.own_as_max == own_as, "{:?}", peer.paths);
    let add_paths = if lines.has("add paths on") { AddPaths::Both } else { AddPaths::Off };
    ensure!(peer.add_paths == add_paths, "{:?}", peer.add_paths);
    ensure!(peer.description.as_deref() == lines.last("description ").map(|d| d.trim_matches('"')));
    let timers =
        (peer.timers.hold, peer.timers.connect_retry, peer.timers.idle_hold, peer.timers.idle_hold_max);
    let wait = lines.last("error wait time ").unwrap_or("60,300");
    let longest = wait.split_once(',').context("two times")?.1.parse()?;
    let expected = (
        lines.secs("hold time ", 240)?,
        lines.secs("connect retry time ", 120)?,
        lines.secs("connect delay time ", 5)?,
        Duration::from_secs(longest),
    );
    ensure!(timers == expected, "{timers:?} instead of {expected:?}");
    ensure!(matches!((&peer.import, &peer.export), (Passage::Compiled(_), Passage::Compiled(_))));
    Ok(())
}

fn instance(text: &str, desired: &Desired, is_alone: bool) -> Result<()> {
    let statement = |head: &str| {
        text.lines().rev().find_map(|l| l.trim().strip_prefix(head)?.strip_suffix(';')).map(str::trim)
    };
    let router_id = statement("router id ").context("no router id")?;
    ensure!(std::net::Ipv4Addr::from(desired.router_id).to_string() == router_id);
    let listen: Vec<&str> = statement("listen bgp ").unwrap_or_default().split_whitespace().collect();
    let after = |word: &str| listen.iter().position(|w| *w == word).and_then(|at| listen.get(at + 1));
    ensure!(desired.listen.port == after("port").map_or(Ok(179), |p| p.parse::<u16>())?);
    match (after("address"), desired.listen.addresses.as_slice()) {
        (_, []) => ensure!(is_alone),
        (Some(addr), [own]) => ensure!(own.to_string() == **addr),
        (None, [own]) => ensure!(own.is_unspecified()),
        (_, many) => bail!("{many:?}"),
    }
    let cluster = text.lines().find_map(|l| l.trim().strip_prefix("rr cluster id ")?.strip_suffix(';'));
    ensure!(std::net::Ipv4Addr::from(desired.cluster_id).to_string() == cluster.unwrap_or(router_id));
    Ok(())
}

fn originated<'l>(lines: impl Iterator<Item = &'l String>, desired: &Desired) -> Result<()> {
    let mut expected = BTreeMap::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["route", prefix, "blackhole"] => expected.insert(prefix.parse()?, (true, None)),
            ["route", prefix, "via", addr] => expected.insert(prefix.parse()?, (false, Some(addr.parse()?))),
            other => bail!("{other:?}"),
        };
    }
    let own: BTreeMap<_, _> = desired.originate.iter().map(|(p, o)| (*p, (o.blackhole, o.via))).collect();
    ensure!(own == expected, "{own:?} instead of {expected:?}");
    Ok(())
}

fn kernel(all: &Protocols, desired: &Desired) -> Result<()> {
    let of = |kind: &str| all.iter().find(|(k, ..)| k == kind).map(|(_, _, lines)| lines);
    let lines = of("kernel").context("no kernel protocol")?;
    let kernel = desired.kernel.as_ref().context("no kernel")?;
    ensure!(kernel.protocol == 12 && kernel.table == 254 && kernel.metric == 0);
    ensure!(kernel.keep_on_exit == lines.has("persist"));
    ensure!(kernel.multipath == if lines.has("merge paths on") { 16 } else { 1 });
    ensure!(matches!(&kernel.export, Passage::Compiled(p) if p.name == "calico_kernel_programming"));
    let learn = kernel.learn.as_ref().context("nothing is learnt")?;
    ensure!(learn.alien == (lines.has("learn") && lines.has("import all")));
    let patterns = of("direct").and_then(|lines| lines.last("interface ")).context("no interfaces")?;
    let patterns: Vec<(bool, String)> = patterns
        .split(", ")
        .map(|p| (!p.starts_with('-'), p.trim_start_matches('-').trim_matches('"').to_owned()))
        .collect();
    ensure!(learn.connected == patterns, "{:?} instead of {patterns:?}", learn.connected);
    Ok(())
}
