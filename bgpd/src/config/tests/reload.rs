//! Reloading: a diff says exactly what changed, and no more.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bgp_proto::attr::Community;
use bgp_proto::{Asn, ClusterId, Prefix, RouterId};
use proptest::prelude::*;
use reflector::decide::MedAmong;
use reflector::group::TunnelScope;

use super::load;
use crate::config::desired::{
    Kernel, Listen, Origination, Passage, Peer, PeerKind, Policy, Remote, Rule, Secret, Verdict,
};
use crate::config::diff::{Change, Needs, diff};
use crate::config::{Desired, desired};

/// What a daemon that obeys `changes` ends up with.
fn apply(desired: &mut Desired, changes: Vec<Change>) {
    for change in changes {
        match change {
            Change::IdentityChanged { asn, router_id } => (desired.asn, desired.router_id) = (asn, router_id),
            Change::ClusterChanged(id) => desired.cluster_id = id,
            Change::DecisionChanged(rules) => desired.decision = rules,
            Change::ListenChanged(listen) => desired.listen = listen,
            Change::PolicyChanged { name, policy } => {
                desired.policies.insert(name, policy);
            }
            Change::PolicyRemoved(name) => {
                assert!(!uses(desired, &name), "policy {name} went before its last peer");
                desired.policies.remove(&name).expect("a policy to remove");
            }
            Change::PeerRemoved(remote) => {
                desired.peers.remove(&remote).expect("a peer to remove");
            }
            Change::PeerAdded(peer) => {
                assert!(desired.peers.insert(peer.remote, *peer).is_none(), "a new peer");
            }
            Change::PeerChanged { peer, .. } => {
                assert!(desired.peers.insert(peer.remote, *peer).is_some(), "a peer to change");
            }
            Change::Originated(prefix, origination) => {
                desired.originate.insert(prefix, origination);
            }
            Change::Retracted(prefix) => {
                desired.originate.remove(&prefix).expect("a prefix to retract");
            }
            Change::KernelChanged(kernel) => desired.kernel = kernel,
            Change::RestartChanged(restart) => desired.restart = restart,
            Change::SocketChanged(socket) => desired.socket = socket,
            Change::MetricsChanged(metrics) => desired.metrics = metrics,
            Change::LogChanged(log) => desired.log = log,
        }
    }
}

fn uses(desired: &Desired, name: &str) -> bool {
    let named = |passage: &Passage| matches!(passage, Passage::Policy(used) if used == name);
    desired.peers.values().any(|peer| named(&peer.import) || named(&peer.export))
}

fn base() -> Desired {
    load("asn: 64512\npeers: [ { address: 10.0.0.2, asn: 64512 } ]").unwrap()
}

fn any_policies() -> impl Strategy<Value = BTreeMap<String, Policy>> {
    prop::collection::btree_map("[a-c]", any::<bool>(), 0..3).prop_map(|named| {
        named.into_iter().map(|(name, accept)| (name, Policy { rules: vec![any_rule(accept)] })).collect()
    })
}

fn any_rule(accept: bool) -> Rule {
    let verdict = if accept { Verdict::Accepted(desired::Set::default()) } else { Verdict::Rejected };
    Rule { when: desired::Match::default(), verdict }
}

fn any_peer() -> impl Strategy<Value = Peer> {
    (0_u8..6, 0_u32..2, any::<bool>(), 0_u64..2, prop::option::of(0_u8..2), 0_u8..3).prop_map(
        |(host, asn, client, hold, key, name)| {
            let mut peer = base().peers.into_values().next().unwrap();
            peer.remote = Remote::Address(IpAddr::V4(Ipv4Addr::new(10, 0, 0, host)));
            peer.name = format!("peer-{name}");
            peer.asn = Asn(64512 + asn);
            peer.kind = if client { PeerKind::Client } else { PeerKind::Internal };
            peer.timers.hold = Duration::from_secs(90 + hold);
            peer.password = key.map(|key| Secret::new(vec![key]));
            peer
        },
    )
}

prop_compose! {
    fn any_desired()(
        asn in 1_u32..3,
        id in 1_u32..3,
        cluster in 1_u32..3,
        port in 179_u16..181,
        policies in any_policies(),
        peers in prop::collection::vec((any_peer(), any::<prop::sample::Index>()), 0..5),
        prefixes in prop::collection::btree_map(0_u8..4, 0_u32..2, 0..4),
        table in prop::option::of(1_u32..3),
        metrics in prop::option::of(9179_u16..9181),
        unreachable in 3_u64..5,
        level in any::<bool>(),
    ) -> Desired {
        let names: Vec<&String> = policies.keys().collect();
        let peers = peers.into_iter().map(|(mut peer, at)| {
            peer.import = match names.as_slice() {
                [] => Passage::Open,
                names => Passage::Policy((*at.get(names)).clone()),
            };
            (peer.remote, peer)
        }).collect();
        let mut desired = base();
        desired.asn = Asn(asn);
        desired.router_id = RouterId(id);
        desired.cluster_id = ClusterId(cluster);
        if level {
            desired.decision.med_among = MedAmong::All;
        }
        desired.listen = Listen { port, ..desired.listen };
        desired.peers = peers;
        desired.originate = prefixes.into_iter().map(|(net, community)| {
            let prefix = Prefix::new(IpAddr::V4(Ipv4Addr::new(10, net, 0, 0)), 16).unwrap();
            let communities = vec![Community(community)];
            let bare = Origination { communities, large_communities: vec![], local_pref: None, med: None, blackhole: true, via: None, vxlan: None };
            (prefix, bare)
        }).collect();
        desired.kernel = table.and_then(|table| Some(Kernel { table, ..desired.kernel? }));
        desired.metrics = metrics.map(|port| (Ipv4Addr::LOCALHOST, port).into());
        desired.restart.wait_for_unreachable = Duration::from_secs(unreachable);
        desired.socket = format!("/run/{level}").into();
        desired.log.level = if level { desired::Level::Info } else { desired::Level::Debug };
        desired.policies = policies;
        desired
    }
}

proptest! {
    #[test]
    fn a_diff_applied_to_the_old_gives_the_new(old in any_desired(), new in any_desired()) {
        let mut reloaded = old.clone();
        apply(&mut reloaded, diff(&old, &new));
        prop_assert_eq!(reloaded, new);
    }

    #[test]
    fn nothing_changes_between_equals(desired in any_desired()) {
        prop_assert_eq!(diff(&desired, &desired.clone()), vec![]);
    }

    #[test]
    fn no_peer_is_named_that_did_not_change(old in any_desired(), new in any_desired()) {
        for change in diff(&old, &new) {
            let remote = match &change {
                Change::PeerRemoved(remote) => *remote,
                Change::PeerAdded(peer) | Change::PeerChanged { peer, .. } => peer.remote,
                _ => continue,
            };
            prop_assert_ne!(old.peers.get(&remote), new.peers.get(&remote));
        }
    }
}

#[test]
fn a_change_goes_as_deep_as_it_must() {
    let needs = |change: fn(&mut Peer)| {
        let (old, mut new) = (base(), base());
        change(new.peers.values_mut().next().unwrap());
        match diff(&old, &new).as_slice() {
            [Change::PeerChanged { needs, .. }] => *needs,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(needs(|peer| peer.name = "other".into()), Needs::Nothing);
    assert_eq!(needs(|peer| peer.timers.connect_retry = Duration::from_secs(1)), Needs::Nothing);
    assert_eq!(needs(|peer| peer.kind = PeerKind::Client), Needs::Reevaluation);
    assert_eq!(needs(|peer| peer.add_paths_max = 1), Needs::Reevaluation);
    assert_eq!(needs(|peer| peer.paths.tunnels = TunnelScope::Inside), Needs::Reevaluation);
    assert_eq!(needs(|peer| peer.import = Passage::Policy("p".into())), Needs::Reevaluation);
    assert_eq!(needs(|peer| peer.timers.hold = Duration::from_secs(9)), Needs::NewSession);
    assert_eq!(needs(|peer| peer.password = Some(Secret::new(*b"x"))), Needs::NewSession);
    assert_eq!(
        needs(|peer| (peer.kind, peer.port) = (PeerKind::Client, 1179)),
        Needs::NewSession,
        "the deepest need counts"
    );
}
