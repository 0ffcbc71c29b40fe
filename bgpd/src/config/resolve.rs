//! From what was written to what is meant: defaults, names, secrets, and every rule that spans more than one value.
//!
//! Pure: the two things that only the node knows (its address, the contents of a file) are asked of [`Surroundings`]. Everything that is
//! wrong goes into the report with its path, and resolving goes on with the next value, so one run finds them all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path as FsPath;

use bgp_proto::{Asn, Prefix, RouterId};
use reflector::decide::{Age, MedAmong, MedMissing, Multipath, Rules};

use super::desired::{
    ConnectRole, Desired, Kernel, Listen, Log, Origination, Passage, Peer, PeerKind, Remote, Secret,
};
use super::problem::{Path, Report, suggestion};
use super::rules::{self, once_each};
use super::schema::{self, defaults};
use super::sessions;
use super::text::Text;
use super::tunnel::{self, Overlay};

/// What only the node knows.
pub struct Surroundings<'a> {
    /// The first global IPv4 address of the node, the default router id.
    pub router_id: &'a dyn Fn() -> Option<RouterId>,
    /// The contents of a secret's file, or why they cannot be had.
    pub read_secret: &'a dyn Fn(&FsPath) -> Result<Vec<u8>, String>,
}

/// TCP_MD5SIG_MAXKEYLEN of Linux.
const KEY_OCTETS_MAX: usize = 80;
/// As many next hops as the table keeps for one route.
const MULTIPATH_MAX: u16 = reflector::limits::MULTIPATH_MAX as u16;

/// Resolves and checks the whole.
pub fn resolve(config: &schema::Config, around: &Surroundings<'_>) -> Result<Desired, Report> {
    let mut report = Report::default();
    let root = Path::Root;
    let asn = config.asn.0;
    let router_id = router_id(config, around, &mut report);
    let listen = listen(&config.listen, &mut report);
    let names = peer_names(&config.peers, &mut report);
    let policies = rules::policies(&config.policy, &names, &mut report);
    let whole = Whole { config, around, listens: !listen.addresses.is_empty() };
    let peers = peers(&whole, &mut report);
    let mut originate = originate(&config.advertise, &mut report);
    let own: Vec<Prefix> = originate.keys().copied().collect();
    let overlay = tunnel::overlay(&config.pools, router_id, &own, &mut report);
    for (prefix, origination) in &mut originate {
        origination.vxlan = overlay.far_end(prefix);
    }
    let desired = Desired {
        asn,
        router_id,
        cluster_id: config
            .reflector
            .as_ref()
            .and_then(|reflector| reflector.cluster_id.as_ref())
            .map_or(router_id.into(), |Text(id)| *id),
        listen,
        peers,
        decision: decision(&config.decision),
        originate,
        policies,
        kernel: kernel(&config.kernel, &mut report).map(|kernel| Kernel { overlay, ..kernel }),
        restart: sessions::own_restart(config, &mut report),
        socket: config.control.socket.as_ref().map_or(defaults::SOCKET.into(), |Text(path)| path.0.clone()),
        metrics: config.metrics.as_ref().map(|metrics| metrics.listen.0),
        log: Log { level: config.log.level, format: config.log.format },
    };
    sessions::restart_time(&config.graceful_restart, root.key("gracefulRestart"), &mut report);
    let at = root.key("longLivedGracefulRestart");
    sessions::long_lived_time(&config.long_lived_graceful_restart, at, &mut report);
    if report.is_empty() { Ok(desired) } else { Err(report) }
}

fn router_id(config: &schema::Config, around: &Surroundings<'_>, report: &mut Report) -> RouterId {
    match config.router_id {
        Some(Text(RouterId(0))) => {
            report.add(Path::Root.key("routerId"), "0.0.0.0 is no router id (RFC 6286)");
            RouterId(0)
        }
        Some(Text(id)) => id,
        None => (around.router_id)().unwrap_or_else(|| {
            report.add(Path::Root, "`routerId` is missing, and this node has no global IPv4 address to take");
            RouterId(0)
        }),
    }
}

fn listen(written: &schema::Listen, report: &mut Report) -> Listen {
    let root = Path::Root;
    let at = root.key("listen");
    let addresses = match &written.addresses {
        None => defaults::LISTEN.to_vec(),
        Some(addresses) => addresses.iter().map(|Text(address)| *address).collect(),
    };
    let mut seen = BTreeSet::new();
    for (n, address) in addresses.iter().enumerate() {
        if !seen.insert(*address) {
            report.add(at.key("addresses").index(n), format!("{address} is given twice"));
        }
    }
    Listen { addresses, port: port(written.port, at, report) }
}

fn port(written: Option<u16>, above: Path<'_>, report: &mut Report) -> u16 {
    if written == Some(0) {
        report.add(above.key("port"), "expected a port from 1 to 65535, found `0`");
    }
    written.unwrap_or(defaults::PORT)
}

/// Where each named peer is; two of one name, or at one place, are reported.
fn peer_names(written: &[schema::Peer], report: &mut Report) -> BTreeMap<String, Remote> {
    let root = Path::Root;
    let list = root.key("peers");
    let mut names: BTreeMap<String, (usize, Remote)> = BTreeMap::new();
    let mut places: BTreeMap<Remote, usize> = BTreeMap::new();
    for (n, peer) in written.iter().enumerate() {
        let at = list.index(n);
        let Some(remote) = remote(peer) else { continue };
        if let Some(first) = places.insert(remote, n) {
            let key = if peer.range.is_some() { "range" } else { "address" };
            report.add(at.key(key), format!("{remote} belongs to peers[{first}] already"));
        }
        let name = peer_name(peer, remote);
        if let Some((first, _)) = names.get(&name) {
            report.add(at.key("name"), format!("peers[{first}] is called `{name}` already"));
        } else {
            names.insert(name, (n, remote));
        }
    }
    names.into_iter().map(|(name, (_, remote))| (name, remote)).collect()
}

fn peer_name(peer: &schema::Peer, remote: Remote) -> String {
    peer.name.as_ref().map_or_else(|| remote.to_string(), |Text(name)| name.0.clone())
}

fn remote(peer: &schema::Peer) -> Option<Remote> {
    match (&peer.address, &peer.range) {
        (Some(Text(address)), None) => Some(Remote::Address(*address)),
        (None, Some(Text(range))) => Some(Remote::Range(*range)),
        (None, None) | (Some(_), Some(_)) => None,
    }
}

/// What the checks of one peer need to know of the rest.
struct Whole<'a> {
    config: &'a schema::Config,
    around: &'a Surroundings<'a>,
    listens: bool,
}

fn peers(whole: &Whole<'_>, report: &mut Report) -> BTreeMap<Remote, Peer> {
    let root = Path::Root;
    let list = root.key("peers");
    let mut peers = BTreeMap::new();
    for (n, written) in whole.config.peers.iter().enumerate() {
        let at = list.index(n);
        let Some(remote) = remote(written) else {
            report.add(
                at,
                match written.address {
                    None => "`address` is missing (or `range`, for peers that connect from anywhere in it)",
                    Some(_) => "`address` and `range` exclude each other",
                },
            );
            continue;
        };
        peers.insert(remote, peer(written, remote, whole, at, report));
    }
    peers
}

fn peer(
    written: &schema::Peer,
    remote: Remote,
    whole: &Whole<'_>,
    at: Path<'_>,
    report: &mut Report,
) -> Peer {
    let kind = kind(written, whole, at, report);
    addresses(written, remote, at, report);
    let families = sessions::families(written, at, report);
    let graceful_restart = sessions::graceful_restart(written, whole.config, at, report);
    Peer {
        name: peer_name(written, remote),
        remote,
        description: written.description.clone(),
        asn: written.asn.0,
        local_asn: local_asn(written, whole, at, report),
        kind,
        local_address: written.local_address.as_ref().map(|Text(address)| *address),
        port: port(written.port, at, report),
        connect: connect(written, remote, whole, at, report),
        timers: sessions::timers(written, at, report),
        bfd: sessions::bfd(written, at, report),
        role: sessions::role(written, kind, at, report),
        paths: sessions::paths(written, kind, at, report),
        message_max: sessions::message_max(written),
        extended_next_hop: sessions::extended_next_hop(written, families),
        password: password(written, whole, at, report),
        ttl_security: written.ttl_security.as_ref().and_then(|Text(ttl)| ttl.0),
        families,
        add_paths: written.add_paths.unwrap_or_default(),
        add_paths_max: sessions::add_paths_max(written, at, report),
        max_prefixes: sessions::prefix_limit(written, at, report),
        graceful_restart,
        notification_restart: sessions::notification_restart(written),
        long_lived: sessions::long_lived(written, whole.config, graceful_restart, at, report),
        long_lived_unaware: sessions::long_lived_unaware(written, kind, at, report),
        next_hop: written.next_hop.unwrap_or_default(),
        import: passage(&written.import, kind, whole, at.key("import"), report),
        export: passage(&written.export, kind, whole, at.key("export"), report),
    }
}

fn kind(written: &schema::Peer, whole: &Whole<'_>, at: Path<'_>, report: &mut Report) -> PeerKind {
    let (ours, theirs, client) = (whole.config.asn.0, written.asn.0, written.reflector_client == Some(true));
    match (theirs == ours, client) {
        (true, true) => PeerKind::Client,
        (true, false) => PeerKind::Internal,
        (false, false) => PeerKind::External,
        (false, true) => {
            report.add(
                at.key("reflectorClient"),
                format!("only an internal peer can be a client, and AS {theirs} is not ours ({ours})"),
            );
            PeerKind::External
        }
    }
}

fn local_asn(written: &schema::Peer, whole: &Whole<'_>, at: Path<'_>, report: &mut Report) -> Asn {
    let Some(Text(shown)) = written.local_asn else { return whole.config.asn.0 };
    if written.asn.0 == whole.config.asn.0 {
        report.add(at.key("localAsn"), "only an external peer can be shown another AS number");
    } else if shown == written.asn.0 {
        report.add(at.key("localAsn"), format!("{shown} is the peer's own AS number"));
    }
    shown
}

fn addresses(written: &schema::Peer, remote: Remote, at: Path<'_>, report: &mut Report) {
    if let Remote::Address(address) = remote
        && let Some(why) = unusable(address)
    {
        report.add(at.key("address"), format!("{address} {why}"));
    }
    let Some(Text(local)) = written.local_address else { return };
    if let Some(why) = unusable(local) {
        report.add(at.key("localAddress"), format!("{local} {why}"));
    }
    let is_ipv4 = match remote {
        Remote::Address(address) => address.is_ipv4(),
        Remote::Range(range) => range.addr().is_ipv4(),
    };
    if local.is_ipv4() != is_ipv4 {
        report.add(at.key("localAddress"), format!("{local} and {remote} are not of one version of IP"));
    }
}

/// Why no session can have this address, if so.
fn unusable(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("is no one's address"),
        _ if address.is_multicast() => Some("is a multicast address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("is the broadcast address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("is an IPv4 address; write it as one"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            Some("is a link-local address, which means nothing without an interface; not supported")
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

fn connect(
    written: &schema::Peer,
    remote: Remote,
    whole: &Whole<'_>,
    at: Path<'_>,
    report: &mut Report,
) -> ConnectRole {
    let ranged = matches!(remote, Remote::Range(_));
    if ranged {
        const ONLY: &str = "a range is only connected from, never to";
        if written.passive == Some(false) {
            report.add(at.key("passive"), ONLY);
        }
        if written.port.is_some() {
            report.add(at.key("port"), ONLY);
        }
        if written.connect_retry.is_some() {
            report.add(at.key("connectRetry"), ONLY);
        }
    }
    if !ranged && written.passive != Some(true) {
        return ConnectRole::Active;
    }
    if !whole.listens {
        let key = if ranged { "range" } else { "passive" };
        report.add(at.key(key), "`listen.addresses` is empty, so no peer can ever connect");
    }
    ConnectRole::Passive
}

fn password(written: &schema::Peer, whole: &Whole<'_>, at: Path<'_>, report: &mut Report) -> Option<Secret> {
    let file = &written.password.as_ref()?.file.0;
    let password = at.key("password");
    let at = password.key("file");
    let key = match (whole.around.read_secret)(file) {
        Ok(key) => key,
        Err(error) => {
            report.add(at, format!("cannot read the password from {}: {error}", file.display()));
            return None;
        }
    };
    let key = key.trim_ascii_end();
    if !(1..=KEY_OCTETS_MAX).contains(&key.len()) {
        report.add(
            at,
            format!(
                "{} holds a password of {} octets; 1 to {KEY_OCTETS_MAX} are possible",
                file.display(),
                key.len()
            ),
        );
    }
    Some(Secret::new(key))
}

fn passage(
    written: &Option<String>,
    kind: PeerKind,
    whole: &Whole<'_>,
    at: Path<'_>,
    report: &mut Report,
) -> Passage {
    match (written, kind) {
        (None, PeerKind::External) => Passage::Closed,
        (None, PeerKind::Internal | PeerKind::Client) => Passage::Open,
        (Some(name), _) => {
            if !whole.config.policy.contains_key(name) {
                let known: Vec<&str> = whole.config.policy.keys().map(String::as_str).collect();
                report.add(at, format!("unknown policy `{name}`; {}", suggestion(name, &known)));
            }
            Passage::Policy(name.clone())
        }
    }
}

fn decision(written: &schema::Decision) -> Rules {
    Rules {
        med_among: match written.always_compare_med {
            Some(true) => MedAmong::All,
            Some(false) | None => MedAmong::Neighbors,
        },
        med_missing: match written.missing_med_as_worst {
            Some(true) => MedMissing::Worst,
            Some(false) | None => MedMissing::Best,
        },
        age: match written.prefer_oldest {
            Some(true) => Age::Oldest,
            Some(false) | None => Age::Ignored,
        },
        multipath: match written.multipath_relax {
            Some(true) | None => Multipath::AnyPath,
            Some(false) => Multipath::SamePath,
        },
    }
}

fn originate(written: &[schema::Advertise], report: &mut Report) -> BTreeMap<Prefix, Origination> {
    let root = Path::Root;
    let list = root.key("advertise");
    let mut originate = BTreeMap::new();
    for (n, advertise) in written.iter().enumerate() {
        let entry = list.index(n);
        let at = entry.key("prefixes");
        if advertise.prefixes.0.is_empty() {
            report.add(at, "there is no prefix in this list");
        }
        let origination = Origination {
            communities: once_each(&advertise.communities.0),
            large_communities: once_each(&advertise.large_communities.0),
            local_pref: advertise.local_pref,
            med: advertise.med,
            blackhole: advertise.blackhole.unwrap_or(true),
            vxlan: None,
            via: None,
        };
        for (m, prefix) in advertise.prefixes.0.iter().enumerate() {
            if originate.insert(*prefix, origination.clone()).is_some() {
                report.add(at.index(m), format!("{prefix} is advertised twice"));
            }
        }
    }
    originate
}

fn kernel(written: &schema::Kernel, report: &mut Report) -> Option<Kernel> {
    let root = Path::Root;
    let at = root.key("kernel");
    let kernel = Kernel {
        table: written.table.unwrap_or(defaults::KERNEL_TABLE),
        protocol: written.protocol.unwrap_or(defaults::KERNEL_PROTOCOL),
        metric: written.metric.unwrap_or(defaults::KERNEL_METRIC),
        multipath: written.multipath.unwrap_or(defaults::KERNEL_MULTIPATH),
        protect: match &written.protect {
            None => defaults::KERNEL_PROTECT.to_vec(),
            Some(protect) => protect.iter().map(|Text(prefix)| *prefix).collect(),
        },
        keep_on_exit: written.keep_on_exit.unwrap_or(true),
        overlay: Overlay::default(),
        export: Passage::Open,
        learn: None,
    };
    if matches!(kernel.table, 0 | 255) {
        report.add(at.key("table"), format!("table {} is the kernel's own", kernel.table));
    }
    if kernel.protocol <= 4 {
        report.add(
            at.key("protocol"),
            format!(
                "expected 5 to 255, found `{}`: 0 to 4 mark routes of the kernel and of administrators",
                kernel.protocol
            ),
        );
    }
    if kernel.metric == 0 {
        report.add(at.key("metric"), "expected at least 1: the kernel reads 0 as 1024 for IPv6");
    }
    if !(1..=MULTIPATH_MAX).contains(&kernel.multipath) {
        report.add(
            at.key("multipath"),
            format!("expected 1 to {MULTIPATH_MAX} next hops, found `{}`", kernel.multipath),
        );
    }
    written.install.unwrap_or(true).then_some(kernel)
}
