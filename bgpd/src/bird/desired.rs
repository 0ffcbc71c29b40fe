//! From BIRD's configuration to this daemon's own: what `bird.cfg` says, as one [`Desired`].
//!
//! A daemon under the name `bird` speaks IPv4 only, `bird6` IPv6 only, as the files are written. Filters come compiled; static routes become
//! originations, the kernel protocol the kernel's part, and each BGP protocol a peer. The [`Face`] keeps what only BIRD's own commands ask
//! for: names, order, filters' names.
//!
//! Two sessions with one neighbour address (Calico can render them, with two ports) are one more than this daemon can hold: the first is
//! run, and the other is shown as down, with a warning, so that a node does not lose all its sessions over it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bgp_proto::{AsSets, Asn, ClusterId, Family, FamilySet, MessageMax, RouterId, Version};
use reflector::group::TunnelScope;
use reflector::limits::ADD_PATHS_MAX;
use reflector::policy::Policy;
use reflector::policy::program::{Program, Statement};
use reflector::session::{FirstAs, NotificationRestart};

use super::lang::{self, Bgp, Debug, FilterChoice, Hops, Kind, NextHopChoice, Protocol, StaticTarget};
use crate::config::desired::{
    AddPaths, ConnectRole, Desired, Excess, Farewell, Format, Kernel, Learn, Level, Listen, Log,
    LongLivedRule, NextHop, Origination, Passage, Paths, Peer, PeerKind, PrefixLimit, Remote, Restart,
    Secret, Timers,
};
use crate::config::tunnel::Overlay;

/// BIRD's name for an AS number that nobody gave: sessions have their own, and without one it is of no importance.
const ASN_UNSAID: u32 = 64512;
/// A neighbour comes back within `connect delay time` and one `connect retry time`, 7 seconds as Calico has them. One that does not is
/// down, and must not cost the others what it cost them with BIRD: four minutes.
const RESTART: Restart = Restart {
    wait_for_unreachable: Duration::from_secs(10),
    selection_deferral: Duration::from_secs(240),
    farewell: Farewell::Cease,
};
/// `RTPROT_BIRD`.
const PROTOCOL_BIRD: u8 = 12;

/// What BIRD's commands show beside the state of things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Face {
    /// The family.
    pub version: Version,
    /// Filters that have names.
    pub filters: BTreeMap<String, Arc<Policy>>,
    /// Protocols in the order of their definition.
    pub protocols: Vec<Shown>,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

impl Face {
    /// Nothing configured.
    pub fn new(version: Version) -> Face {
        Face { version, filters: BTreeMap::new(), protocols: Vec::new(), warnings: Vec::new() }
    }
}

/// A protocol as commands show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its name.
    pub name: String,
    /// Its kind, as the second column has it.
    pub word: &'static str,
    /// For people.
    pub description: Option<String>,
    /// Its rank.
    pub preference: u16,
    /// The import filter's name.
    pub import: String,
    /// The export filter's name.
    pub export: String,
    /// `disabled`, or not run.
    pub disabled: bool,
    /// Of a BGP session.
    pub session: Option<Session>,
}

/// What commands show of a BGP session that the configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The neighbour.
    pub neighbor: IpAddr,
    /// Its AS number.
    pub asn: u32,
    /// Whether it is in this AS.
    pub internal: bool,
    /// Whether it may be anywhere.
    pub multihop: bool,
    /// Whether it is a client of this reflector.
    pub rr_client: bool,
    /// Whether only it connects.
    pub passive: bool,
}

/// What a configuration of `version` wants. `socket` is where BIRD's commands are answered; our own are beside it.
pub fn desired(config: &lang::Config, version: Version, socket: &Path) -> Result<(Desired, Face), String> {
    let router_id = config.router_id.ok_or("Router ID must be configured manually")?;
    let mut face =
        Face { version, filters: config.filters.clone(), protocols: Vec::new(), warnings: Vec::new() };
    let mut peers = BTreeMap::new();
    let mut originate = BTreeMap::new();
    let mut kernel: Option<Kernel> = None;
    let mut learn = Learn::default();
    let mut clusters = BTreeSet::new();
    let mut is_debug = false;
    for protocol in &config.protocols {
        let mut shown = show(protocol);
        is_debug |= protocol.debug == Debug::All;
        match &protocol.kind {
            _ if protocol.disabled => {}
            Kind::Kernel(options) => {
                learn.alien = options.learn && protocol.channel.import != FilterChoice::None;
                kernel = Some(self::kernel(options, &protocol.channel.export));
            }
            Kind::Direct(direct) => learn.connected.extend(direct.patterns.iter().cloned()),
            Kind::Static(routes) => {
                originate.extend(routes.iter().map(|r| (r.prefix, origination(r.target))));
            }
            Kind::Device => {}
            Kind::Bgp(bgp) => {
                let Some(peer) = peer(protocol, bgp, version) else { continue };
                clusters.extend(bgp.rr_cluster_id.filter(|_| bgp.rr_client));
                match peers.entry(peer.remote) {
                    Entry::Vacant(place) => {
                        place.insert(peer);
                    }
                    Entry::Occupied(_) => {
                        face.warnings.push(format!(
                            "{}: another session has the neighbor {}; this one is not run",
                            protocol.name, peer.remote
                        ));
                        shown.disabled = true;
                    }
                }
            }
        }
        face.protocols.push(shown);
    }
    if clusters.len() > 1 {
        return Err("several rr cluster ids are not supported".to_owned());
    }
    if let Some(kernel) = &mut kernel {
        kernel.learn = (learn.alien || !learn.connected.is_empty()).then_some(learn);
    }
    let asn = config.template_asns.first().copied().unwrap_or_else(|| first_asn(config));
    let desired = Desired {
        decision: Default::default(),
        asn: Asn(asn),
        router_id: RouterId::from(router_id),
        cluster_id: ClusterId(u32::from(clusters.first().copied().unwrap_or(router_id))),
        listen: listen(config, version, peers.is_empty()),
        peers,
        originate,
        policies: BTreeMap::new(),
        kernel,
        restart: RESTART,
        socket: own_socket(socket),
        metrics: None,
        log: Log { level: if is_debug { Level::Info } else { Level::Warn }, format: Format::Text },
    };
    Ok((desired, face))
}

/// Where our own commands are answered: beside BIRD's socket.
fn own_socket(socket: &Path) -> std::path::PathBuf {
    let mut name = socket.file_name().unwrap_or_default().to_owned();
    name.push(".bgpd");
    socket.with_file_name(name)
}

fn first_asn(config: &lang::Config) -> u32 {
    let of = |p: &Protocol| match &p.kind {
        Kind::Bgp(bgp) => bgp.local_asn,
        Kind::Kernel(_) | Kind::Device | Kind::Direct(_) | Kind::Static(_) => None,
    };
    config.protocols.iter().find_map(of).unwrap_or(ASN_UNSAID)
}

/// As BIRD has it, no session is no open port.
fn listen(config: &lang::Config, version: Version, is_alone: bool) -> Listen {
    let any: IpAddr = match version {
        Version::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Version::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    let addresses = if is_alone { Vec::new() } else { vec![config.listen_address.unwrap_or(any)] };
    Listen { addresses, port: config.listen_port.unwrap_or(179) }
}

fn show(protocol: &Protocol) -> Shown {
    let session = match &protocol.kind {
        Kind::Bgp(bgp) => bgp.neighbor.map(|neighbor| Session {
            neighbor,
            asn: bgp.asn.unwrap_or(0),
            internal: bgp.asn == bgp.local_asn,
            multihop: matches!(bgp.hops, Hops::Multihop(_)),
            rr_client: bgp.rr_client,
            passive: bgp.passive,
        }),
        Kind::Kernel(_) | Kind::Device | Kind::Direct(_) | Kind::Static(_) => None,
    };
    let rank = match &protocol.kind {
        Kind::Kernel(_) => 10,
        Kind::Device | Kind::Direct(_) => 240,
        Kind::Static(_) => 200,
        Kind::Bgp(_) => 100,
    };
    Shown {
        name: protocol.name.clone(),
        word: protocol.kind.word(),
        description: protocol.description.clone(),
        preference: protocol.preference.unwrap_or(rank),
        import: protocol.channel.import.name().to_owned(),
        export: protocol.channel.export.name().to_owned(),
        disabled: protocol.disabled,
        session,
    }
}

fn kernel(options: &lang::Kernel, export: &FilterChoice) -> Kernel {
    Kernel {
        table: options.table,
        protocol: PROTOCOL_BIRD,
        metric: 0,
        multipath: options.paths_max,
        protect: Vec::new(),
        keep_on_exit: options.persist,
        export: passage(export),
        learn: None,
        overlay: Overlay::default(),
    }
}

fn origination(target: StaticTarget) -> Origination {
    let (blackhole, via) = match target {
        StaticTarget::Blackhole => (true, None),
        StaticTarget::Via(addr) => (false, Some(addr)),
    };
    Origination {
        communities: Vec::new(),
        large_communities: Vec::new(),
        local_pref: None,
        med: None,
        blackhole,
        via,
        vxlan: None,
    }
}

/// `all` and `none` are programs too, so that a policy is always one: what an empty place means elsewhere (RFC 8212) it does not here.
fn passage(filter: &FilterChoice) -> Passage {
    let one = |name: &str, verdict| {
        Passage::Compiled(Arc::new(Policy::from_program(name.to_owned(), Program { body: vec![verdict] })))
    };
    match filter {
        FilterChoice::All => one("ACCEPT", Statement::Accept),
        FilterChoice::None => one("REJECT", Statement::Reject),
        FilterChoice::Filter(policy) => Passage::Compiled(policy.clone()),
    }
}

fn peer(protocol: &Protocol, bgp: &Bgp, version: Version) -> Option<Peer> {
    let (neighbor, asn, local) = (bgp.neighbor?, bgp.asn?, bgp.local_asn?);
    let internal = asn == local;
    let secs = |secs: u16| Duration::from_secs(u64::from(secs));
    let family = match version {
        Version::V4 => Family::IPV4_UNICAST,
        Version::V6 => Family::IPV6_UNICAST,
    };
    Some(Peer {
        name: protocol.name.clone(),
        remote: Remote::Address(neighbor),
        description: protocol.description.clone(),
        asn: Asn(asn),
        local_asn: Asn(local),
        kind: match (internal, bgp.rr_client) {
            (false, _) => PeerKind::External,
            (true, true) => PeerKind::Client,
            (true, false) => PeerKind::Internal,
        },
        local_address: bgp.source,
        port: bgp.port,
        connect: if bgp.passive { ConnectRole::Passive } else { ConnectRole::Active },
        timers: timers(bgp),
        bfd: None,
        role: None,
        paths: Paths {
            first_as: FirstAs::Any,
            own_as_max: bgp.own_as_max,
            as_sets: AsSets::Accepted,
            tunnels: TunnelScope::Outside,
        },
        message_max: MessageMax::Standard,
        extended_next_hop: FamilySet::EMPTY,
        add_paths_max: u8::try_from(ADD_PATHS_MAX).unwrap_or(u8::MAX),
        password: bgp.password.as_ref().map(|p| Secret::new(p.as_bytes())),
        ttl_security: match (bgp.ttl_security, bgp.hops) {
            (false, _) => None,
            (true, Hops::Direct) => Some(1),
            (true, Hops::Multihop(hops)) => Some(hops.unwrap_or(64)),
        },
        families: FamilySet::from(family),
        add_paths: match (bgp.add_paths_rx, bgp.add_paths_tx) {
            (true, true) => AddPaths::Both,
            (true, false) => AddPaths::Receive,
            (false, true) => AddPaths::Send,
            (false, false) => AddPaths::Off,
        },
        max_prefixes: protocol
            .channel
            .import_limit
            .map(|prefixes| PrefixLimit { prefixes, excess: Excess::Closed { restart: None } }),
        graceful_restart: bgp.graceful_restart.then(|| secs(bgp.restart_secs)),
        notification_restart: NotificationRestart::Off,
        long_lived: None,
        long_lived_unaware: LongLivedRule::Withheld,
        next_hop: match bgp.next_hop {
            NextHopChoice::Auto => NextHop::Auto,
            NextHopChoice::Own => NextHop::Own,
            NextHopChoice::Keep => NextHop::Keep,
        },
        import: passage(&protocol.channel.import),
        export: passage(&protocol.channel.export),
    })
}

fn timers(bgp: &Bgp) -> Timers {
    let secs = |secs: u16| Duration::from_secs(u64::from(secs));
    Timers {
        hold: secs(bgp.hold_secs),
        connect_retry: secs(bgp.connect_retry_secs.max(1)),
        // A neighbour that went without a word is back soon; only what fails again and again waits longer.
        idle_hold: secs(bgp.connect_delay_secs.clamp(1, bgp.error_wait_secs.0.max(1))),
        idle_hold_max: secs(bgp.error_wait_secs.1.max(bgp.error_wait_secs.0).max(1)),
        hold_min: Duration::from_secs(3),
        open_hold: Duration::from_secs(240),
        delay_open: None,
        send_hold: None,
        refresh: Duration::from_secs(360),
        stale_path: Duration::from_secs(360),
    }
}
