//! What has to be done to get from one configuration to the next, and nothing else.
//!
//! A reload must not touch a session that did not change, so it is a list of changes, each saying how deep it goes. The
//! order is the order in which to apply them: what others need comes first, so a policy is there before a peer that uses it and goes
//! after the last one that did. Applying the list to the old value gives the new one, which is tested, so a new field cannot be forgotten.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use bgp_proto::{Asn, ClusterId, Prefix, RouterId};

use reflector::decide::Rules;

use super::desired::{Desired, Kernel, Listen, Log, Origination, Peer, Policy, Remote, Restart};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This speaker is another one now. Every session starts anew.
    IdentityChanged {
        /// The new AS number.
        asn: Asn,
        /// The new BGP Identifier.
        router_id: RouterId,
    },
    /// The cluster has another name: all that was reflected is sent again, sessions stay.
    ClusterChanged(ClusterId),
    /// The best path is decided otherwise: every prefix is looked at again, sessions stay.
    DecisionChanged(Rules),
    /// Connections are accepted elsewhere; those that exist stay.
    ListenChanged(Listen),
    /// A policy is new or has other rules: what passed it is judged again, on both sides of its peers.
    PolicyChanged {
        /// Its name.
        name: String,
        /// Its rules now.
        policy: Policy,
    },
    /// A peer to stop speaking to.
    PeerRemoved(Remote),
    /// A new peer.
    PeerAdded(Box<Peer>),
    /// A peer with other settings.
    PeerChanged {
        /// All its settings now.
        peer: Box<Peer>,
        /// How deep the change goes.
        needs: Needs,
    },
    /// A policy that no peer uses any more.
    PolicyRemoved(String),
    /// A prefix is originated, newly or with other attributes.
    Originated(Prefix, Origination),
    /// A prefix is no longer originated.
    Retracted(Prefix),
    /// Routes are installed otherwise, or no longer.
    KernelChanged(Option<Kernel>),
    /// Other rules for this speaker's own restart.
    RestartChanged(Restart),
    /// The control socket is elsewhere.
    SocketChanged(PathBuf),
    /// The metrics server is elsewhere, or nowhere.
    MetricsChanged(Option<SocketAddr>),
    /// Other things are logged.
    LogChanged(Log),
}

/// How deep a change of a peer goes. The greatest need of all changed fields counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    /// Take note; nothing happens now.
    Nothing,
    /// Judge its routes again, both ways; the session stays.
    Reevaluation,
    /// Only a new session can have the new settings.
    NewSession,
}

/// What leads from `old` to `new`; empty if and only if they are equal.
pub fn diff(old: &Desired, new: &Desired) -> Vec<Change> {
    // Destructured so that a new field does not compile until it is compared.
    let Desired {
        asn,
        router_id,
        cluster_id,
        listen,
        peers,
        decision,
        originate,
        policies,
        kernel,
        restart,
        socket,
        metrics,
        log,
    } = new;
    let mut changes = Vec::new();
    if (*asn, *router_id) != (old.asn, old.router_id) {
        changes.push(Change::IdentityChanged { asn: *asn, router_id: *router_id });
    }
    when(cluster_id, &old.cluster_id, &mut changes, Change::ClusterChanged);
    when(decision, &old.decision, &mut changes, Change::DecisionChanged);
    when(listen, &old.listen, &mut changes, Change::ListenChanged);
    for (name, policy) in changed(&old.policies, policies) {
        changes.push(Change::PolicyChanged { name: name.clone(), policy: policy.clone() });
    }
    changes.extend(removed(&old.peers, peers).map(|remote| Change::PeerRemoved(*remote)));
    for (remote, peer) in changed(&old.peers, peers) {
        changes.push(match old.peers.get(remote) {
            None => Change::PeerAdded(Box::new(peer.clone())),
            Some(before) => Change::PeerChanged { peer: Box::new(peer.clone()), needs: needs(before, peer) },
        });
    }
    changes.extend(removed(&old.policies, policies).map(|name| Change::PolicyRemoved(name.clone())));
    changes.extend(removed(&old.originate, originate).map(|prefix| Change::Retracted(*prefix)));
    for (prefix, origination) in changed(&old.originate, originate) {
        changes.push(Change::Originated(*prefix, origination.clone()));
    }
    when(kernel, &old.kernel, &mut changes, Change::KernelChanged);
    when(restart, &old.restart, &mut changes, Change::RestartChanged);
    when(socket, &old.socket, &mut changes, Change::SocketChanged);
    when(metrics, &old.metrics, &mut changes, Change::MetricsChanged);
    when(log, &old.log, &mut changes, Change::LogChanged);
    changes
}

fn when<T: Clone + PartialEq>(new: &T, old: &T, changes: &mut Vec<Change>, change: fn(T) -> Change) {
    if new != old {
        changes.push(change(new.clone()));
    }
}

fn changed<'a, K: Ord, V: PartialEq>(
    old: &'a BTreeMap<K, V>,
    new: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    new.iter().filter(|(key, value)| old.get(key) != Some(value))
}

fn removed<'a, K: Ord, V>(old: &'a BTreeMap<K, V>, new: &'a BTreeMap<K, V>) -> impl Iterator<Item = &'a K> {
    old.keys().filter(|key| !new.contains_key(key))
}

/// The depth of a change. Whatever OPEN or the socket carries needs a new session.
fn needs(old: &Peer, new: &Peer) -> Needs {
    // Destructured for the same reason as in `diff`.
    let Peer {
        name: _,
        remote,
        description: _,
        asn,
        local_asn,
        kind,
        local_address,
        port,
        connect: _,
        bfd: _,
        timers,
        role,
        paths,
        message_max,
        extended_next_hop,
        password,
        ttl_security,
        families,
        add_paths,
        add_paths_max,
        max_prefixes,
        graceful_restart,
        notification_restart,
        long_lived,
        long_lived_unaware,
        next_hop,
        import,
        export,
    } = new;
    let same_session = *remote == old.remote
        && *asn == old.asn
        && *local_asn == old.local_asn
        && *local_address == old.local_address
        && *port == old.port
        && (timers.hold, timers.hold_min) == (old.timers.hold, old.timers.hold_min)
        && *role == old.role
        && (paths.first_as, paths.as_sets) == (old.paths.first_as, old.paths.as_sets)
        && *message_max == old.message_max
        && *extended_next_hop == old.extended_next_hop
        && *password == old.password
        && *ttl_security == old.ttl_security
        && *families == old.families
        && *add_paths == old.add_paths
        && *graceful_restart == old.graceful_restart
        && *notification_restart == old.notification_restart
        && *long_lived == old.long_lived;
    let same_routes = *kind == old.kind
        && (paths.own_as_max, paths.tunnels) == (old.paths.own_as_max, old.paths.tunnels)
        && *add_paths_max == old.add_paths_max
        && *max_prefixes == old.max_prefixes
        && *long_lived_unaware == old.long_lived_unaware
        && *next_hop == old.next_hop
        && *import == old.import
        && *export == old.export;
    match (same_session, same_routes) {
        (false, _) => Needs::NewSession,
        (true, false) => Needs::Reevaluation,
        (true, true) => Needs::Nothing,
    }
}
