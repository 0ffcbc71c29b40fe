//! The configuration as a whole: what it resolves to, what is said when it is wrong, and what a reload does.

mod messages;
mod reload;

use std::path::Path;
use std::time::Duration;

use bgp_proto::attr::Community;
use bgp_proto::capability::Role;
use bgp_proto::{Asn, FamilySet, RouterId};
use reflector::decide::{Age, MedAmong, MedMissing, Multipath, Rules};
use reflector::session::{RoleRule, Strictness};

use super::desired::{
    ConnectRole, Excess, Farewell, NextHopSet, Passage, PeerKind, PrefixLimit, Remote, Verdict,
};
use super::*;

fn router_id() -> Option<RouterId> {
    Some(RouterId(0x0a00_0009))
}

fn read_secret(path: &Path) -> Result<Vec<u8>, String> {
    match path.to_str() {
        Some("/run/secrets/tor") => Ok(b"hush\n".to_vec()),
        Some("/run/secrets/empty") => Ok(b"\n".to_vec()),
        _ => Err("no such file".into()),
    }
}

fn load(text: &str) -> Result<Desired, Vec<Problem>> {
    from_yaml(text, &Surroundings { router_id: &router_id, read_secret: &read_secret })
}

const EVERYTHING: &str = r#"
asn: 64512
routerId: 10.0.0.1
listen: { addresses: ["0.0.0.0", "::"], port: 179 }
peers:
- { name: node-b, address: 10.0.0.2, asn: 64512 }
- { name: tor, address: 10.0.0.254, asn: 65001, localAddress: 10.0.0.1, port: 179, passive: false, holdTime: 90s, connectRetry: 5s,
    password: { file: /run/secrets/tor }, ttlSecurity: true, families: [ipv4, ipv6], addPaths: both, maxPrefixes: 10000,
    minHoldTime: 10s, openHoldTime: 60s, delayOpen: 2s, sendHoldTime: 100s, idleHoldTime: 2s, maxIdleHoldTime: 1m, role: customer,
    strictRole: true, enforceFirstAs: false, allowOwnAs: 1, acceptAsSets: true, tunnels: true, extendedMessages: false,
    extendedNextHop: true,
    addPathsMax: 4, maxPrefixesAction: close, maxPrefixesRestart: 5m, notificationRestart: false, longLivedGracefulRestart: 1h,
    stalePathTime: 1m, refreshTime: 2m, gracefulRestart: 120s, nextHop: auto, import: from-fabric, export: to-fabric }
- { name: clients, range: 10.1.0.0/16, asn: 64512, reflectorClient: true }   # listen range, passive
reflector: { clusterId: 10.0.0.1 }
decision: { alwaysCompareMed: true, missingMedAsWorst: true, preferOldest: true, multipathRelax: false }
advertise: [ { prefixes: [10.244.1.0/24, "fd00:10:244:1::/64"], communities: ["64512:1"] } ]
policy:
  from-fabric: [ { match: { prefix: 0.0.0.0/0, exact: true }, action: accept, set: { localPref: 50 } }, { action: reject } ]
  to-fabric:
  - match: { prefix: [10.244.0.0/16], maxLength: 26, families: ipv4, peer: node-b, communities: no-export,
             asPath: { contains: [65001], first: 1.10, origin: 7 }, nextHop: 10.0.0.0/24 }
    action: accept
    set: { med: 7, communities: { add: "64512:2", remove: no-export }, largeCommunities: { add: ["1:2:3"] }, prepend: 2, nextHop: self }
kernel: { install: true, table: 254, protocol: 12, metric: 1024, multipath: 16, protect: [0.0.0.0/0] }
control: { socket: /run/bgpd/bgpd.sock }
metrics: { listen: "127.0.0.1:9179" }                 # GET /metrics, /livez, /readyz
log: { level: debug, format: json }
restart: { waitForUnreachable: 5s, selectionDeferral: 60s, ceaseOnExit: true }
longLivedGracefulRestart: off
"#;

#[test]
fn everything_that_can_be_written_resolves() {
    let desired = load(EVERYTHING).unwrap();
    assert_eq!(desired.asn, Asn(64512));
    let peer = |name: &str| desired.peers.values().find(|peer| peer.name == name).unwrap();
    assert_eq!(peer("node-b").kind, PeerKind::Internal);
    assert_eq!(peer("node-b").import, Passage::Open);
    assert_eq!(peer("clients").kind, PeerKind::Client);
    assert_eq!(peer("clients").connect, ConnectRole::Passive);
    let tor = peer("tor");
    assert_eq!(tor.kind, PeerKind::External);
    assert_eq!(tor.password.as_ref().unwrap().expose(), b"hush");
    assert_eq!(tor.ttl_security, Some(1));
    assert_eq!(tor.export, Passage::Policy("to-fabric".into()));
    assert_eq!(tor.role, Some(RoleRule { role: Role::Customer, strictness: Strictness::Strict }));
    assert_eq!(tor.extended_next_hop, FamilySet::IPV4);
    assert_eq!((tor.long_lived, peer("node-b").long_lived), (Some(Duration::from_secs(3600)), None));
    let restart = Some(Duration::from_secs(300));
    let limit = PrefixLimit { prefixes: 10_000, excess: Excess::Closed { restart } };
    assert_eq!(tor.max_prefixes, Some(limit));
    let rule = &desired.policies["to-fabric"].rules[0];
    assert_eq!(rule.when.sources, [Remote::Address("10.0.0.2".parse().unwrap())]);
    assert_eq!(rule.when.as_path_first, [Asn(65546)]);
    assert_eq!(rule.when.communities, [Community::NO_EXPORT]);
    assert_eq!((rule.when.prefixes[0].len_min, rule.when.prefixes[0].len_max), (16, 26));
    let Verdict::Accepted(set) = &rule.verdict else { panic!("{rule:?}") };
    assert_eq!(set.next_hop, Some(NextHopSet::Own));
    assert_eq!(desired.originate.len(), 2);
    assert_eq!(
        desired.decision,
        Rules {
            med_among: MedAmong::All,
            med_missing: MedMissing::Worst,
            age: Age::Oldest,
            multipath: Multipath::SamePath
        }
    );
    assert_eq!(desired.restart.wait_for_unreachable.as_secs(), 5);
    assert_eq!(desired.restart.farewell, Farewell::Cease);
}

#[test]
fn the_least_configuration_has_every_default() {
    let desired = load("asn: 64512\n").unwrap();
    assert_eq!(desired.router_id, RouterId(0x0a00_0009));
    assert_eq!(desired.cluster_id, desired.router_id.into());
    assert_eq!(desired.listen.port, 179);
    assert_eq!(desired.listen.addresses, schema::defaults::LISTEN);
    assert_eq!(desired.socket, Path::new("/run/bgpd/bgpd.sock"));
    assert_eq!(desired.metrics, None);
    let kernel = desired.kernel.unwrap();
    assert_eq!((kernel.table, kernel.protocol, kernel.metric, kernel.multipath), (254, 12, 1024, 16));
    assert_eq!(kernel.protect, schema::defaults::KERNEL_PROTECT);
}

#[test]
fn a_reflector_installs_nothing() {
    assert_eq!(load("asn: 1\nkernel: { install: false }").unwrap().kernel, None);
}

#[test]
fn peers_inherit_the_restart_time_unless_they_have_their_own() {
    let text = "asn: 1\ngracefulRestart: off\npeers: [{ address: 10.0.0.2, asn: 1 }, { address: 10.0.0.3, asn: 1, gracefulRestart: 1m }]";
    let times: Vec<_> = load(text).unwrap().peers.into_values().map(|peer| peer.graceful_restart).collect();
    assert_eq!(times, [None, Some(Duration::from_secs(60))]);
}

#[test]
fn lengths_alone_apply_to_both_families() {
    let text = "asn: 1\npolicy: { p: [ { match: { minLength: 30 }, action: reject }, { match: { minLength: 64 }, action: reject } ] }";
    let desired = load(text).unwrap();
    let lengths = |n: usize| -> Vec<_> {
        desired.policies["p"].rules[n]
            .when
            .prefixes
            .iter()
            .map(|range| (range.len_min, range.len_max))
            .collect()
    };
    assert_eq!(lengths(0), [(30, 32), (30, 128)]);
    assert_eq!(lengths(1), [(64, 128)]);
}

#[test]
fn external_peers_without_policy_are_noted() {
    let desired = load("asn: 1\npeers: [{ name: tor, address: 10.0.0.2, asn: 2 }]").unwrap();
    assert_eq!(desired.notes(), ["peer tor: no policy: nothing accepted or sent (RFC 8212)"]);
}

#[test]
fn a_secret_prints_as_nothing_but_its_kind() {
    let printed = format!("{:?}", load(EVERYTHING).unwrap());
    assert!(printed.contains("password: Some(Secret)"), "{printed}");
    assert!(!printed.contains("hush") && !printed.contains("104, 117"), "{printed}");
}

#[test]
fn json_reads_like_yaml() {
    let json = r#"{"asn": 64512, "peers": [{"address": "10.0.0.2", "asn": 64512, "passive": true, "ttlSecurity": 2}]}"#;
    let by_serde: schema::Config = serde_json::from_str(json).unwrap();
    let around = Surroundings { router_id: &router_id, read_secret: &read_secret };
    assert_eq!(resolve(&by_serde, &around).unwrap(), load(json).unwrap());
}

proptest::proptest! {
    /// A slip of the hand anywhere in a good file is read or refused with its place, never worse.
    #[test]
    fn no_slip_is_fatal(at in 0..EVERYTHING.len(), cut in 0_usize..30, put in r"[\PC\n]{0,6}") {
        let end = (at + cut).min(EVERYTHING.len());
        let text = format!("{}{put}{}", &EVERYTHING[..at], &EVERYTHING[end..]);
        if let Err(problems) = load(&text) {
            proptest::prop_assert!(!problems.is_empty() && problems.len() <= problem::PROBLEMS_MAX);
            proptest::prop_assert!(problems.iter().all(|problem| problem.place.is_some()), "{problems:?}");
        }
    }
}
