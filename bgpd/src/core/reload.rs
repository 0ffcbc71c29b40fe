//! A reload: the difference between two configurations, applied; what did not change is not touched.

use std::collections::BTreeSet;
use std::sync::Arc;

use reflector::group::PolicyChoice;
use reflector::policy::Policy;
use tracing::{info, warn};

use super::{Core, compile};
use crate::config::desired::{Desired, Passage, Peer, Remote};
use crate::config::{Change, diff};

impl Core {
    /// A configuration was read, or could not be: then the one in force stays.
    pub(super) fn on_reload(&mut self, read: Result<Desired, String>) {
        match read {
            Ok(desired) => {
                self.loaded = self.clock.now();
                self.refused = None;
                self.apply(desired);
            }
            Err(error) => {
                warn!(%error, "configuration refused; the last good one stays in force");
                self.refused = Some((self.clock.now(), error));
            }
        }
    }

    fn apply(&mut self, desired: Desired) {
        let changes = diff(&self.desired, &desired);
        info!(changes = changes.len(), "configuration read");
        self.replace_exports(&desired);
        self.desired = desired;
        if changes.iter().any(|c| matches!(c, Change::IdentityChanged { .. })) {
            self.start_over();
            return;
        }
        // A policy's rules are part of each peer that uses it.
        let mut affected: BTreeSet<Remote> = BTreeSet::new();
        for change in &changes {
            match change {
                Change::PolicyChanged { name, .. } => {
                    let users = self.desired.peers.values().filter(|p| uses(p, name));
                    affected.extend(users.map(|p| p.remote));
                }
                Change::PeerRemoved(remote) => self.remove_entry(*remote),
                Change::PeerAdded(peer) => self.add_peer(peer),
                Change::PeerChanged { peer, .. } => {
                    affected.insert(peer.remote);
                }
                Change::Originated(prefix, own) => {
                    let now = self.clock.now();
                    self.table.originate(compile::origination(*prefix, own), now);
                }
                Change::Retracted(prefix) => {
                    let now = self.clock.now();
                    self.table.retract(*prefix, now);
                }
                Change::KernelChanged(_) => {
                    self.table.set_kernel_export(compile::kernel_export(&self.desired));
                    self.warn_unless_installing();
                }
                Change::ListenChanged(listen) => {
                    if let Err(error) = self.net.listen(listen) {
                        warn!(%error, "not listening there");
                    }
                }
                Change::DecisionChanged(rules) => self.table.set_rules(*rules),
                Change::LogChanged(log) => self.log.apply(*log),
                Change::ClusterChanged(cluster) => self.table.set_cluster(*cluster),
                Change::SocketChanged(_) | Change::MetricsChanged(_) => {
                    warn!("control socket and metrics address change with the next start");
                }
                Change::PolicyRemoved(_) | Change::RestartChanged(_) | Change::IdentityChanged { .. } => {}
            }
        }
        self.reconfigure_fib();
        for remote in affected {
            if let Some(peer) = self.desired.peers.get(&remote).cloned() {
                self.change_entry(&peer);
            }
        }
    }

    /// Where one compiled policy takes the place of another in every peer that has it, the groups stay as they are and
    /// judge their routes again: nobody is told again what did not change.
    fn replace_exports(&mut self, desired: &Desired) {
        let mut moves: Vec<(&Arc<Policy>, Option<&Arc<Policy>>)> = Vec::new();
        for (remote, old) in &self.desired.peers {
            let Passage::Compiled(before) = &old.export else { continue };
            let after = match desired.peers.get(remote).map(|p| &p.export) {
                Some(Passage::Compiled(after)) => after,
                Some(_) => before,
                None => continue,
            };
            match moves.iter_mut().find(|(from, _)| Arc::ptr_eq(from, before) || *from == before) {
                Some((_, to)) if to.is_some_and(|to| Arc::ptr_eq(to, after) || to == after) => {}
                // Its peers go different ways.
                Some((_, to)) => *to = None,
                None => moves.push((before, Some(after))),
            }
        }
        let changed: Vec<_> = moves
            .into_iter()
            .filter_map(|(from, to)| to.filter(|to| *to != from).map(|to| (from, to)))
            .collect();
        for (from, to) in changed {
            self.table.replace_export(&PolicyChoice::Policy(from.clone()), &PolicyChoice::Policy(to.clone()));
        }
    }

    /// Another AS number or BGP Identifier: every route and session is another one now. What the kernel has stays
    /// until the new sessions have said what they have.
    fn start_over(&mut self) {
        let remotes: BTreeSet<Remote> = self.peers.values().map(|p| p.remote).collect();
        for remote in remotes {
            self.remove_entry(remote);
        }
        self.orphans.extend(self.table.fib_all().into_iter().map(|change| change.prefix));
        self.table = reflector::table::Table::new(compile::instance(&self.desired));
        self.groups.clear();
        self.begin();
    }

    /// What is installed follows from the kernel's own settings and from what policies accept by name; the same again
    /// changes nothing.
    fn reconfigure_fib(&mut self) {
        if let (Some(handle), Some(kernel)) = (&self.fib, &self.desired.kernel)
            && let Err(error) = handle.reconfigure(compile::fib(kernel))
        {
            warn!(%error, "kernel configuration refused; the last good one stays in force");
        }
    }

    fn warn_unless_installing(&self) {
        if self.fib.is_some() != self.desired.kernel.is_some() {
            warn!("installing routes is switched on or off with the next start");
        }
    }
}

fn uses(peer: &Peer, policy: &str) -> bool {
    [&peer.import, &peer.export].into_iter().any(|p| matches!(p, Passage::Policy(name) if name == policy))
}
