//! Groups of the table: made when the first peer needs one, dropped with the last, told of every change.

use bgp_proto::{Family, PathId};
use std::sync::Arc;

use super::{Notice, Table};
use crate::decide::Decider;
use crate::feed::{Feed, LogView};
use crate::group::{Export, Group, GroupKey, LogKey, Outcome, PolicyChoice, State, Store};
use crate::ids::{EntryId, GroupId, PeerId};
use crate::limits::ADD_PATHS_MAX;
use crate::reflection::LearnedFrom;
use crate::rib::{AttrId, Candidate, PrefixId, Reflected};

impl Table {
    /// The group's view as of the last commit.
    pub fn view(&self, group: GroupId) -> Option<Arc<LogView>> {
        self.groups.get(&group).map(|g| g.log.view())
    }

    /// Takes a peer into the group of `key`, making the group if there is none.
    pub(super) fn join_group(&mut self, peer: PeerId, key: GroupKey) -> Option<Feed> {
        let key = key.normalized();
        let id = match self.groups.values().find(|g| g.key == key) {
            Some(group) => group.id,
            None => self.make_group(key),
        };
        let at = self.rib_at(self.groups.get(&id)?.key.family);
        let mut store = Store { attrs: &mut self.attrs, rib: &mut self.ribs[at] };
        self.groups.get_mut(&id).map(|g| g.join(peer, &mut store))
    }

    /// The peer asks for everything of `family` again (RFC 2918).
    pub fn refresh(&mut self, peer: PeerId, family: Family) -> Option<Feed> {
        let id = self.group_of(peer, family)?.id;
        let at = self.find_rib(family)?;
        let mut store = Store { attrs: &mut self.attrs, rib: &mut self.ribs[at] };
        self.groups.get_mut(&id)?.restart(peer, &mut store)
    }

    /// A new group, told everything there is.
    fn make_group(&mut self, key: GroupKey) -> GroupId {
        self.groups_made += 1;
        let id = GroupId(self.groups_made);
        let at = self.rib_at(key.family);
        self.groups.insert(id, Group::new(id, key));
        let ids: Vec<PrefixId> = self.ribs[at].ids().collect();
        for prefix in ids {
            self.tell_group(id, at, prefix);
        }
        self.seal_group(id);
        id
    }

    /// Lets a peer go from its group; the last one takes the group with it.
    pub(super) fn leave_group(&mut self, peer: PeerId, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.leave(peer);
        if group.log.members().len() > 0 {
            return;
        }
        let Some(mut group) = self.groups.remove(&id) else { return };
        if let Some(told) = group.last_export.take() {
            self.attrs.release(told);
        }
        if let Some(at) = self.find_rib(group.key.family) {
            group.log.clear(&mut Store { attrs: &mut self.attrs, rib: &mut self.ribs[at] });
        }
    }

    /// Tells the family's groups of a prefix that was decided again.
    pub(super) fn tell_groups(&mut self, at: usize, prefix: PrefixId, best_is_same: bool) {
        let family = self.ribs[at].family;
        // What is told of a membership is not always the best path.
        let best_is_same = best_is_same && family != Family::RT_CONSTRAINT;
        let mut after = GroupId(0);
        // Groups count from 1. One at a time, so that a prefix costs no list.
        while let Some((id, group)) = self.groups.range(GroupId(after.0 + 1)..).next() {
            after = *id;
            if group.key.family == family && !(best_is_same && group.key.paths_max == 1) {
                self.tell_group(after, at, prefix);
            }
        }
    }

    fn tell_group(&mut self, id: GroupId, at: usize, prefix: PrefixId) {
        let Some(group) = self.groups.get(&id) else { return };
        let (paths_max, kind) = (group.key.paths_max, group.key.kind);
        if paths_max > 1 {
            return self.tell_paths(id, at, prefix, paths_max.min(ADD_PATHS_MAX));
        }
        let best = self.ribs[at].best(prefix).map(|best| (best.peer, best.attrs));
        let best = best.map(|best| self.client_of_membership(kind, at, prefix, best).unwrap_or(best));
        let told = best.and_then(|(peer, attrs)| {
            let source = self.audience(kind, at, peer, attrs);
            self.export(id, at, prefix, peer, attrs).map(|told| (told, source))
        });
        self.tell(id, at, LogKey { prefix, path_id: PathId(0) }, told);
    }

    /// The best paths of a prefix, each under its local identifier (RFC 7911).
    fn tell_paths(&mut self, id: GroupId, at: usize, prefix: PrefixId, max: usize) {
        let ranked = self.ranked(at, prefix, max);
        let mut gone: Vec<PathId> = Vec::new();
        let kind = self.groups.get(&id).map(|group| group.key.kind);
        if let Some(group) = self.groups.get(&id) {
            gone.extend(group.log.entries(prefix).iter().map(|e| e.path_id()));
        }
        for path in &ranked {
            gone.retain(|p| *p != path.local_id);
            let source = kind.map_or(path.peer, |kind| self.audience(kind, at, path.peer, path.attrs));
            let told = self.export(id, at, prefix, path.peer, path.attrs).map(|a| (a, source));
            self.tell(id, at, LogKey { prefix, path_id: path.local_id }, told);
        }
        for path_id in gone {
            self.tell(id, at, LogKey { prefix, path_id }, None);
        }
    }

    /// A prefix's paths, best first: the decision, repeated without its winner.
    pub(super) fn ranked(&self, at: usize, prefix: PrefixId, max: usize) -> Vec<Candidate> {
        let mut left: Vec<Candidate> = self.ribs[at].candidates(prefix).to_vec();
        let mut contenders: Vec<_> = left.iter().map(|c| self.contender(c)).collect();
        let mut decider = Decider::new(self.config.rules);
        let mut ranked = Vec::new();
        while ranked.len() < max {
            let Some(decision) = decider.decide(&contenders) else { break };
            contenders.remove(decision.best);
            ranked.push(left.remove(decision.best));
        }
        ranked
    }

    /// Hands a key's news to the log; `told` carries one use of its attributes.
    fn tell(&mut self, id: GroupId, at: usize, key: LogKey, told: Option<(AttrId, PeerId)>) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let mut store = Store { attrs: &mut self.attrs, rib: &mut self.ribs[at] };
        match told {
            Some((attrs, source)) => group.log.announce(key, attrs, source, &mut store),
            None => group.log.withdraw(key, &mut store),
        }
    }

    /// What a group is told of a path, with one use of the attributes for the caller.
    fn export(
        &mut self,
        id: GroupId,
        at: usize,
        prefix: PrefixId,
        source: PeerId,
        attrs: AttrId,
    ) -> Option<AttrId> {
        let group = self.groups.get(&id)?;
        if let Some(told) = group.last_export.find(attrs, source) {
            self.attrs.hold(told);
            return Some(told);
        }
        let export = self.path_out(at, prefix, source, attrs);
        let outcome = export.to(&group.key, &self.config.local);
        let is_cacheable = !group.key.export.depends_on_prefix();
        let told = match outcome {
            Outcome::Told(out) => {
                let said = self.attrs.said(attrs).cloned();
                self.attrs.intern_said(&out, said.as_ref())
            }
            Outcome::Reflected { originator, cluster } => {
                self.attrs.intern_reflected(Reflected { base: attrs, originator, cluster })
            }
            Outcome::Withheld(_) => return None,
        };
        if is_cacheable {
            self.attrs.hold(told);
            let group = self.groups.get_mut(&id)?;
            if let Some(old) = group.last_export.put(attrs, source, told) {
                self.attrs.release(old);
            }
        }
        Some(told)
    }

    /// A path on its way out.
    pub(super) fn path_out(&self, at: usize, prefix: PrefixId, source: PeerId, attrs: AttrId) -> Export<'_> {
        let facts = self.facts(at, prefix, source, attrs);
        let (nlri, attrs) = (self.ribs[at].nlri(prefix), self.attrs.get(attrs));
        match self.peers.get(&source) {
            Some(peer) => Export {
                nlri,
                attrs,
                source: peer.config.entry,
                learned: LearnedFrom::Peer(peer.config.kind),
                sender: peer.router_id,
                facts,
            },
            None => Export {
                nlri,
                attrs,
                source: EntryId::LOCAL,
                learned: LearnedFrom::Local,
                sender: self.config.local.router_id,
                facts,
            },
        }
    }

    /// Replaces an export policy wherever it is in force. The groups stay what they are and their peers where they are
    /// in them: only what the new policy tells otherwise is told.
    pub fn replace_export(&mut self, old: &PolicyChoice, new: &PolicyChoice) {
        for peer in self.peers.values_mut().filter(|p| p.config.export == *old) {
            peer.config.export = new.clone();
        }
        let ids: Vec<GroupId> = self.groups.values().filter(|g| g.key.export == *old).map(|g| g.id).collect();
        for id in ids {
            let Some(group) = self.groups.get_mut(&id) else { continue };
            group.key.export = new.clone();
            let family = group.key.family;
            if let Some(told) = group.last_export.take() {
                self.attrs.release(told);
            }
            let at = self.rib_at(family);
            let prefixes: Vec<PrefixId> = self.ribs[at].ids().collect();
            for prefix in prefixes {
                self.tell_group(id, at, prefix);
            }
        }
    }

    /// Seals every group that has something queued.
    pub(super) fn seal_groups(&mut self) {
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            self.seal_group(id);
        }
    }

    fn seal_group(&mut self, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        if let Some(told) = group.last_export.take() {
            self.attrs.release(told);
        }
        let Ok(at) = self.ribs.binary_search_by_key(&group.key.family, |r| r.family) else { return };
        let sealed = group.log.seal(&mut Store { attrs: &mut self.attrs, rib: &mut self.ribs[at] });
        self.pending.notices.extend(sealed.too_slow.into_iter().map(|peer| Notice::TooSlow { peer }));
        for key in sealed.too_long {
            if let Some(nlri) = self.ribs[at].find_nlri(key.prefix) {
                self.pending.notices.push(Notice::TooLong { group: id, nlri: nlri.clone() });
            }
        }
        if sealed.is_new {
            self.pending.advanced.push((id, group.log.view()));
        }
    }

    /// Moves an established peer to the group of `key`, if that is another one. What only the old group had told
    /// is withdrawn first.
    pub(super) fn move_group(&mut self, peer: PeerId, from: GroupId, key: GroupKey) -> Option<Feed> {
        let key = key.normalized();
        let old = self.groups.get(&from)?;
        if old.key == key {
            return None;
        }
        let family = key.family;
        let mut feed = self.join_group(peer, key)?;
        feed.prelude = self.withdrawals_between(peer, family, from, feed.group);
        self.leave_group(peer, from);
        Some(feed)
    }

    /// Withdrawals of what `peer` may have heard from one group and will not hear from another.
    fn withdrawals_between(
        &self,
        peer: PeerId,
        family: Family,
        from: GroupId,
        to: GroupId,
    ) -> Vec<bytes::Bytes> {
        let (Some(at), Some(old), Some(new)) =
            (self.find_rib(family), self.groups.get(&from), self.groups.get(&to))
        else {
            return Vec::new();
        };
        let rib = &self.ribs[at];
        let will_hear = |key: &LogKey| {
            let mut entries = new.log.entries(key.prefix).iter();
            entries.any(|e| {
                e.path_id() == key.path_id && e.source() != peer && matches!(e.state(), State::Live(_))
            })
        };
        let keys: Vec<LogKey> = rib
            .ids()
            .flat_map(|prefix| {
                old.log.entries(prefix).iter().map(move |e| LogKey { prefix, path_id: e.path_id() })
            })
            .filter(|key| !will_hear(key))
            .collect();
        old.log.encode_withdrawals(&keys, rib)
    }
}
