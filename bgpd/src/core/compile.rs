//! From the operator's words to the engine's: pure functions, one for each thing that is configured.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bgp_proto::{FamilySet, Prefix};
use reflector::events::Reachability;
use reflector::group::{Local, NextHopRule, PolicyChoice};
use reflector::ids::{EntryId, PeerId};
use reflector::policy::{self, Condition, Edit, NextHopEdit};
use reflector::reflection;
use reflector::rib::nexthop::Resolution;
use reflector::session;
use reflector::table::{self, Origination, OwnRoute, PeerConfig};
use reflector::time::Duration;

use crate::config::desired::{
    self, AddPaths, ConnectRole, Desired, Kernel, Passage, Peer, PeerKind, Remote, Timers,
};
use crate::fib::{FibConfig, Way};
use crate::net::PeerSpec;

/// Names that configuration entries keep from one reload to the next.
#[derive(Debug, Default)]
pub(super) struct Entries {
    ids: BTreeMap<Remote, EntryId>,
}

impl Entries {
    /// The entry's id, the same for as long as the daemon runs.
    pub(super) fn id(&mut self, remote: Remote) -> EntryId {
        // Ids count from 1; 0 is this speaker itself.
        let next = EntryId(self.ids.len() as u32 + 1);
        *self.ids.entry(remote).or_insert(next)
    }
}

/// What the table needs to know of this instance.
pub(super) fn instance(desired: &Desired) -> table::Config {
    table::Config {
        local: Local { asn: desired.asn, router_id: desired.router_id, cluster_id: desired.cluster_id },
        resolution: match desired.kernel {
            Some(_) => Resolution::Kernel,
            None => Resolution::Assumed,
        },
        rules: desired.decision,
        multipath_max: desired.kernel.as_ref().map_or(1, |k| usize::from(k.multipath)),
        kernel_export: kernel_export(desired),
    }
}

/// A prefix of this node's own.
pub(super) fn origination(prefix: Prefix, own: &desired::Origination) -> Origination {
    Origination {
        prefix,
        communities: own.communities.clone(),
        large_communities: own.large_communities.clone(),
        local_pref: own.local_pref,
        med: own.med,
        vxlan: own.vxlan,
        kernel: match (own.blackhole, own.via) {
            (true, _) => OwnRoute::Blackhole,
            (false, Some(addr)) => OwnRoute::Via(addr),
            (false, None) => OwnRoute::None,
        },
    }
}

/// What the table needs to know of a peer.
pub(super) fn peer(peer: &Peer, desired: &Desired, entries: &mut Entries) -> PeerConfig {
    PeerConfig {
        entry: entries.id(peer.remote),
        kind: match peer.kind {
            PeerKind::External => reflection::PeerKind::External,
            PeerKind::Internal => reflection::PeerKind::NonClient,
            PeerKind::Client => reflection::PeerKind::Client,
        },
        import: passage(&peer.import, desired, entries),
        export: passage(&peer.export, desired, entries),
        next_hop: match peer.next_hop {
            desired::NextHop::Auto => NextHopRule::Auto,
            desired::NextHop::Own => NextHopRule::Own,
            desired::NextHop::Keep => NextHopRule::Unchanged,
        },
        prefix_limit: peer.max_prefixes,
        local_asn: peer.local_asn,
        role: peer.role.map(|rule| rule.role),
        long_lived_unaware: peer.long_lived_unaware,
        own_as_max: peer.paths.own_as_max,
        tunnels: peer.paths.tunnels,
        paths_max: if sends(peer.add_paths) { usize::from(peer.add_paths_max) } else { 1 },
        stale_path_time: peer.timers.stale_path,
    }
}

fn passage(passage: &Passage, desired: &Desired, entries: &mut Entries) -> PolicyChoice {
    match passage {
        Passage::Closed => PolicyChoice::Nothing,
        Passage::Open => PolicyChoice::Everything,
        // The configuration is checked: a name that is used exists. Were it not so, nothing passes.
        Passage::Policy(name) => desired
            .policies
            .get(name)
            .map_or(PolicyChoice::Nothing, |p| PolicyChoice::Policy(Arc::new(policy(name, p, entries)))),
        Passage::Compiled(policy) => PolicyChoice::Policy(policy.clone()),
    }
}

/// What goes into the kernel of what the table chose. Only a policy that came compiled can stand there.
pub(super) fn kernel_export(desired: &Desired) -> PolicyChoice {
    match desired.kernel.as_ref().map(|k| &k.export) {
        Some(Passage::Compiled(policy)) => PolicyChoice::Policy(policy.clone()),
        Some(Passage::Closed) => PolicyChoice::Nothing,
        Some(Passage::Open | Passage::Policy(_)) | None => PolicyChoice::Everything,
    }
}

fn policy(name: &str, policy: &desired::Policy, entries: &mut Entries) -> policy::Policy {
    policy::Policy {
        name: name.to_owned(),
        rules: policy.rules.iter().map(|r| rule(r, entries)).collect(),
        otherwise: policy::Action::Reject,
        program: None,
    }
}

fn rule(rule: &desired::Rule, entries: &mut Entries) -> policy::Rule {
    let (action, edits) = match &rule.verdict {
        desired::Verdict::Accepted(set) => (policy::Action::Accept, edits(set)),
        desired::Verdict::Rejected => (policy::Action::Reject, Vec::new()),
    };
    policy::Rule { when: conditions(&rule.when, entries), action, edits }
}

fn conditions(m: &desired::Match, entries: &mut Entries) -> Vec<Condition> {
    let mut when = Vec::new();
    let mut add = |is_given: bool, condition: Condition| {
        if is_given {
            when.push(condition);
        }
    };
    let ranges = m.prefixes.iter().map(|r| policy::PrefixRange {
        within: r.within,
        len_min: r.len_min,
        len_max: r.len_max,
    });
    add(m.families.is_some(), Condition::Families(m.families.unwrap_or(FamilySet::ALL)));
    add(!m.prefixes.is_empty(), Condition::Prefixes(ranges.collect()));
    add(!m.communities.is_empty(), Condition::Communities(m.communities.clone()));
    add(!m.large_communities.is_empty(), Condition::LargeCommunities(m.large_communities.clone()));
    add(!m.as_path_contains.is_empty(), Condition::AsPathContains(m.as_path_contains.clone()));
    add(!m.as_path_first.is_empty(), Condition::AsPathFirst(m.as_path_first.clone()));
    add(!m.as_path_origin.is_empty(), Condition::AsPathOrigin(m.as_path_origin.clone()));
    add(!m.next_hops.is_empty(), Condition::NextHops(m.next_hops.clone()));
    let sources = m.sources.iter().map(|s| entries.id(*s)).collect();
    add(!m.sources.is_empty(), Condition::Sources(sources));
    when
}

fn edits(set: &desired::Set) -> Vec<Edit> {
    let mut edits = Vec::new();
    edits.extend(set.local_pref.map(Edit::LocalPref));
    edits.extend(set.med.map(Edit::Med));
    let lists = [
        (!set.remove_communities.is_empty(), Edit::RemoveCommunities(set.remove_communities.clone())),
        (!set.add_communities.is_empty(), Edit::AddCommunities(set.add_communities.clone())),
        (
            !set.remove_large_communities.is_empty(),
            Edit::RemoveLargeCommunities(set.remove_large_communities.clone()),
        ),
        (!set.add_large_communities.is_empty(), Edit::AddLargeCommunities(set.add_large_communities.clone())),
        (set.prepend > 0, Edit::Prepend { asn: None, count: set.prepend }),
    ];
    edits.extend(lists.into_iter().filter(|(is_given, _)| *is_given).map(|(_, edit)| edit));
    edits.extend(set.next_hop.map(|to| {
        Edit::NextHop(match to {
            desired::NextHopSet::Own => NextHopEdit::Own,
            desired::NextHopSet::Address(addr) => NextHopEdit::Addr(addr),
        })
    }));
    edits
}

/// What this speaker says of its own restart (RFC 4724 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnRestart {
    /// It is new: it has no forwarding state from before.
    Fresh,
    /// It has just come back; the kernel kept its routes, or it forwards nothing.
    Restarting,
    /// It is up, and forwards as before.
    Steady,
}

/// What a session needs to know.
fn session(peer: &Peer, desired: &Desired, own: OwnRestart) -> session::Config {
    let mut config = session::Config::new(peer.local_asn, desired.router_id, peer.asn);
    config.connect = match peer.connect {
        ConnectRole::Active => session::Connect::Active,
        ConnectRole::Passive => session::Connect::Passive,
    };
    config.families = peer.families;
    if sends(peer.add_paths) {
        config.add_path_send = peer.families;
    }
    if receives(peer.add_paths) {
        config.add_path_receive = peer.families;
    }
    config.extended_next_hop = peer.extended_next_hop;
    config.message_max = peer.message_max;
    config.as_sets = peer.paths.as_sets;
    config.first_as = peer.paths.first_as;
    config.role = peer.role;
    config.timing = timing(&peer.timers);
    config.restart = peer.graceful_restart.map(|restart_time| session::Restart {
        restart_time,
        families: peer.families,
        forwarding: match own {
            OwnRestart::Fresh => FamilySet::EMPTY,
            OwnRestart::Restarting | OwnRestart::Steady => peer.families,
        },
        phase: match own {
            OwnRestart::Restarting => session::RestartPhase::Restarting,
            OwnRestart::Fresh | OwnRestart::Steady => session::RestartPhase::Normal,
        },
        notification: peer.notification_restart,
        long_lived: peer.long_lived,
    });
    config
}

fn timing(timers: &Timers) -> session::Timing {
    let secs = |duration: Duration| u16::try_from(duration.as_secs()).unwrap_or(u16::MAX);
    session::Timing {
        hold_secs: secs(timers.hold),
        hold_secs_min: secs(timers.hold_min),
        connect_retry: timers.connect_retry,
        idle_hold_min: timers.idle_hold,
        idle_hold_max: timers.idle_hold_max,
        open_hold: timers.open_hold,
        delay_open: timers.delay_open,
        send_hold: timers.send_hold,
        refresh_end: timers.refresh,
        ..session::Timing::default()
    }
}

/// What a peer's task needs to know.
pub(super) fn spec(
    id: PeerId,
    name: &str,
    addr: IpAddr,
    peer: &Peer,
    desired: &Desired,
    own: OwnRestart,
) -> PeerSpec {
    PeerSpec {
        id,
        name: name.to_owned(),
        addr,
        port: peer.port,
        local_addr: peer.local_address,
        session: session(peer, desired, own),
        secret: peer.password.clone(),
        ttl_security: peer.ttl_security,
    }
}

/// What the kernel's side needs to know.
pub(super) fn fib(kernel: &Kernel) -> FibConfig {
    FibConfig {
        table: kernel.table,
        protocol: kernel.protocol,
        metric: kernel.metric,
        multipath: kernel.multipath,
        protect: kernel.protect.clone(),
        overlay: kernel.overlay.clone(),
        learn: kernel.learn.is_some(),
        ..FibConfig::default()
    }
}

/// The kernel's answer about a next hop, as the decision knows it.
pub(super) fn reachability(way: &Way) -> Reachability {
    match way {
        Ok(resolution) => Reachability::Reachable { metric: resolution.metric },
        Err(_) => Reachability::Unreachable,
    }
}

fn sends(add_paths: AddPaths) -> bool {
    matches!(add_paths, AddPaths::Both | AddPaths::Send)
}

fn receives(add_paths: AddPaths) -> bool {
    matches!(add_paths, AddPaths::Both | AddPaths::Receive)
}
