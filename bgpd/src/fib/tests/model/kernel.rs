//! A kernel made of a few lists, with the habits that a routing daemon trips over.
//!
//! IPv4: routes to one prefix lie in order of metric; a replace takes the first at its metric whoever owns it; a create
//! without "exclusive" puts another route beside it. IPv6: every path is a row of its own, rows with a gateway and the same
//! metric are one multipath route that is shown under the protocol of its first row; a replace takes the first route at
//! its metric with all its paths, and a deletion without a gateway takes all paths whoever added them. Interfaces that go
//! down take IPv4 routes with them in silence.
//!
//! Requests of the daemon are checked on the way: one that takes or alters a row of somebody else is a failure.

use std::collections::{BTreeMap, BTreeSet};

use bgp_proto::{Prefix, Version};

use crate::fib::facts::{Address, Arrival, KernelChange, KernelRoute, Link, Path, Place, Target};
use crate::fib::plan::{Action, Op};
use crate::fib::refusal::Outcome;

/// The daemon's protocol number.
pub(super) const OURS: u8 = 12;
/// That of connected routes.
const CONNECTED: u8 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) place: Place,
    pub(super) protocol: u8,
    pub(super) target: Target,
}

/// How a create treats what lies at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Create {
    Exclusive,
    Replace,
    /// `ip route append`: beside what is there, behind it.
    Append,
}

#[derive(Debug, Default)]
pub(super) struct Kernel {
    rows: BTreeMap<Prefix, Vec<Row>>,
    up: BTreeSet<u32>,
    /// What the daemon has not heard yet.
    pub(super) queue: Vec<KernelChange>,
}

impl Kernel {
    pub(super) const LINKS: [u32; 2] = [1, 2];

    pub(super) fn new() -> Kernel {
        let mut kernel = Kernel::default();
        Kernel::LINKS.iter().for_each(|link| kernel.link_up(*link));
        kernel
    }

    pub(super) fn links(&self) -> Vec<Link> {
        Kernel::LINKS.iter().map(|link| self.link(*link)).collect()
    }

    pub(super) fn addresses(&self) -> Vec<Address> {
        self.up.iter().flat_map(|link| nets(*link).map(|net| address(*link, net))).collect()
    }

    pub(super) fn is_up(&self, link: u32) -> bool {
        self.up.contains(&link)
    }

    pub(super) fn rows(&self, prefix: &Prefix) -> &[Row] {
        self.rows.get(prefix).map_or(&[], Vec::as_slice)
    }

    /// Prefixes with a route of ours.
    pub(super) fn held(&self) -> impl Iterator<Item = Prefix> {
        let ours = |rows: &[Row]| rows.iter().any(|row| row.protocol == OURS);
        self.rows.iter().filter(move |(_, rows)| ours(rows)).map(|(prefix, _)| *prefix)
    }

    /// Everything, as a dump shows it.
    pub(super) fn dump(&self) -> Vec<KernelRoute> {
        let of = |(prefix, rows): (&Prefix, &Vec<Row>)| {
            shown(*prefix, rows).into_iter().map(|row| told(*prefix, row)).collect::<Vec<_>>()
        };
        self.rows.iter().flat_map(of).collect()
    }

    fn link(&self, link: u32) -> Link {
        Link { ifindex: link, name: format!("eth{link}").into(), up: self.is_up(link), ..Link::default() }
    }
}

/// What others do.
impl Kernel {
    pub(super) fn link_up(&mut self, link: u32) {
        if !self.up.insert(link) {
            return;
        }
        self.queue.push(KernelChange::LinkCame(self.link(link)));
        for net in nets(link) {
            self.queue.push(KernelChange::AddressCame(address(link, net)));
            let target =
                Target::via(vec![Path { gateway: None, ifindex: link, weight: 1, onlink: false }], 1);
            self.put(
                net,
                Row { place: Place { table: 254, metric: 0 }, protocol: CONNECTED, target },
                Create::Exclusive,
            );
        }
    }

    pub(super) fn link_down(&mut self, link: u32) {
        if !self.up.remove(&link) {
            return;
        }
        self.queue.push(KernelChange::LinkCame(self.link(link)));
        let prefixes: Vec<Prefix> = self.rows.keys().copied().collect();
        for prefix in prefixes {
            let up = self.up.clone();
            let dead = |row: &Row| {
                !row.target.paths().is_empty()
                    && row.target.paths().iter().all(|path| !up.contains(&path.ifindex))
            };
            let rows = self.rows.get_mut(&prefix).map(std::mem::take).unwrap_or_default();
            // A path of a multipath route stays, dead, as long as another lives.
            let (gone, kept): (Vec<Row>, Vec<Row>) = match prefix.version() {
                Version::V4 => rows.into_iter().partition(dead),
                Version::V6 => {
                    let groups = shown(prefix, &rows);
                    let dead_group = |row: &Row| {
                        groups
                            .iter()
                            .any(|group| group.place == row.place && dead(group) && holds(group, row))
                    };
                    rows.into_iter().partition(dead_group)
                }
            };
            self.rows.insert(prefix, kept);
            if prefix.version() == Version::V6 {
                self.queue.extend(gone.iter().map(|row| KernelChange::RouteWent(told(prefix, row.clone()))));
            }
        }
        // The kernel keeps no IPv6 address over this, and IPv4's are still there.
        self.rows.retain(|_, rows| !rows.is_empty());
        let gone = nets(link).filter(|net| net.version() == Version::V6).map(|net| address(link, net));
        self.queue.extend(gone.map(KernelChange::AddressWent));
    }

    /// Somebody puts a route; whether the kernel took it.
    pub(super) fn put(&mut self, prefix: Prefix, row: Row, create: Create) -> bool {
        let Some((ousted, arrival)) = self.insert(prefix, &row, create) else { return false };
        // A route replaced by its like is no news, in IPv4.
        if prefix.version() == Version::V6 || ousted != [row.clone()] {
            let shown = shown(prefix, self.rows(&prefix));
            let told_row = match prefix.version() {
                Version::V4 => row,
                Version::V6 => {
                    let group =
                        shown.into_iter().find(|group| group.place == row.place && overlaps(group, &row));
                    group.map_or(row.clone(), |group| Row { protocol: row.protocol, ..group })
                }
            };
            self.queue.push(KernelChange::RouteCame(told(prefix, told_row), arrival));
        }
        true
    }

    /// Somebody deletes the first route of a protocol, with all its paths.
    pub(super) fn take(&mut self, prefix: Prefix, protocol: u8) {
        let Some(row) = shown(prefix, self.rows(&prefix)).into_iter().find(|row| row.protocol == protocol)
        else {
            return;
        };
        let rows = self.rows.entry(prefix).or_default();
        match prefix.version() {
            Version::V4 => {
                if let Some(index) = rows.iter().position(|other| *other == row) {
                    rows.remove(index);
                }
            }
            Version::V6 => rows.retain(|other| !(other.place == row.place && holds(&row, other))),
        }
        self.queue.push(KernelChange::RouteWent(told(prefix, row)));
    }

    /// What lay there and is gone, and how the kernel would announce it. `None`: refused.
    fn insert(&mut self, prefix: Prefix, row: &Row, create: Create) -> Option<(Vec<Row>, Arrival)> {
        let rows = self.rows.entry(prefix).or_default();
        let here = rows.iter().position(|other| other.place == row.place);
        let end = rows.iter().position(|other| other.place > row.place).unwrap_or(rows.len());
        let new = split(prefix, row);
        match (here, create) {
            (Some(_), Create::Exclusive) => None,
            (Some(_), Create::Append) => {
                let end = rows.iter().position(|other| other.place > row.place).unwrap_or(rows.len());
                if new.iter().any(|part| rows.contains(part)) {
                    return None;
                }
                rows.splice(end..end, new);
                Some((Vec::new(), Arrival::Added))
            }
            (Some(first), Create::Replace) => {
                let ousted = match prefix.version() {
                    Version::V4 => vec![rows.remove(first)],
                    Version::V6 => {
                        let able = |other: &Row| has_gateway(other) == has_gateway(row);
                        let same = |other: &&Row| other.place == row.place && able(other);
                        let victim = rows.iter().find(same).unwrap_or(&rows[first]).clone();
                        let hit = |other: &Row| {
                            other.place == victim.place
                                && (*other == victim || (has_gateway(&victim) && has_gateway(other)))
                        };
                        let (out, kept) = std::mem::take(rows).into_iter().partition(hit);
                        *rows = kept;
                        out
                    }
                };
                let at = rows.iter().position(|other| other.place >= row.place).unwrap_or(rows.len());
                rows.splice(at..at, new);
                Some((ousted, Arrival::Replaced))
            }
            (None, _) => {
                rows.splice(end..end, new);
                Some((Vec::new(), Arrival::Added))
            }
        }
    }
}

/// What the daemon does.
impl Kernel {
    /// Carries out an operation, and fails the test if it touches what is somebody else's.
    pub(super) fn request(&mut self, op: &Op) -> Result<Outcome, String> {
        let row = |target: &Target| Row { place: op.place, protocol: op.protocol, target: target.clone() };
        match &op.action {
            Action::Add(target) | Action::Replace(target) => {
                if target.paths().iter().any(|path| !self.is_up(path.ifindex)) {
                    return Ok(Outcome::new(libc::ENETDOWN, None));
                }
                let create = match op.action {
                    Action::Add(_) => Create::Exclusive,
                    Action::Replace(_) | Action::Delete(_) => Create::Replace,
                };
                match self.insert(op.prefix, &row(target), create) {
                    None => Ok(Outcome::new(libc::EEXIST, None)),
                    Some((ousted, _)) => {
                        let foreign = ousted.iter().find(|row| row.protocol != OURS);
                        foreign.map_or(Ok(Outcome::Done), |row| Err(format!("{op} took {row:?}")))
                    }
                }
            }
            Action::Delete(target) => self.delete(op, target.as_deref()),
        }
    }

    fn delete(&mut self, op: &Op, target: Option<&Target>) -> Result<Outcome, String> {
        let rows = self.rows.entry(op.prefix).or_default();
        let ours = |row: &Row| row.place == op.place && row.protocol == op.protocol;
        let before = rows.len();
        match (op.prefix.version(), target) {
            (Version::V4, target) => {
                let meant = |row: &Row| ours(row) && target.is_none_or(|target| row.target == *target);
                if let Some(index) = rows.iter().position(meant) {
                    rows.remove(index);
                }
            }
            (Version::V6, Some(target)) if !target.paths().is_empty() => {
                rows.retain(|row| {
                    !(ours(row) && row.target.paths().iter().all(|path| target.paths().contains(path)))
                });
            }
            (Version::V6, _) => {
                let Some(first) = rows.iter().find(|row| ours(row)).cloned() else {
                    return Ok(Outcome::Absent);
                };
                let group = |row: &Row| {
                    row.place == first.place && (*row == first || (has_gateway(&first) && has_gateway(row)))
                };
                if let Some(row) = rows.iter().find(|row| group(row) && row.protocol != OURS) {
                    return Err(format!("{op} took along {row:?}"));
                }
                rows.retain(|row| !group(row));
            }
        }
        Ok(if rows.len() < before { Outcome::Done } else { Outcome::Absent })
    }
}

/// The networks of a link.
pub(super) fn nets(link: u32) -> impl Iterator<Item = Prefix> {
    [format!("10.0.{link}.0/24"), format!("fd00:{link}::/64")].into_iter().map(|net| net.parse().unwrap())
}

fn address(link: u32, net: Prefix) -> Address {
    let addr = match net.version() {
        Version::V4 => format!("10.0.{link}.1"),
        Version::V6 => format!("fd00:{link}::1"),
    };
    Address { ifindex: link, addr: addr.parse().unwrap(), global: true, settled: true }
}

fn told(prefix: Prefix, row: Row) -> KernelRoute {
    let Row { place, protocol, target } = row;
    KernelRoute { prefix, place, protocol, target, plain: true }
}

fn has_gateway(row: &Row) -> bool {
    row.target.paths().iter().any(|path| path.gateway.is_some())
}

/// An IPv6 row a path.
fn split(prefix: Prefix, row: &Row) -> Vec<Row> {
    if prefix.version() == Version::V4 || row.target.paths().is_empty() {
        return vec![row.clone()];
    }
    let part = |path: &Path| Row { target: Target::via(vec![*path], 1), ..row.clone() };
    row.target.paths().iter().map(part).collect()
}

/// Rows as a dump shows them: in IPv6 those with a gateway and the same metric as one.
fn shown(prefix: Prefix, rows: &[Row]) -> Vec<Row> {
    if prefix.version() == Version::V4 {
        return rows.to_vec();
    }
    let mut shown: Vec<Row> = Vec::new();
    for row in rows {
        match shown
            .iter_mut()
            .find(|group| group.place == row.place && has_gateway(group) && has_gateway(row))
        {
            Some(group) => {
                let paths = group.target.paths().iter().chain(row.target.paths()).copied().collect();
                group.target = Target::via(paths, usize::MAX);
            }
            None => shown.push(row.clone()),
        }
    }
    shown
}

/// Whether a row is part of a shown one.
fn holds(group: &Row, row: &Row) -> bool {
    match row.target.paths() {
        [] => group.target == row.target,
        paths => paths.iter().all(|path| group.target.paths().contains(path)),
    }
}

fn overlaps(group: &Row, row: &Row) -> bool {
    match row.target.paths() {
        [] => group.target == row.target,
        paths => paths.iter().any(|path| group.target.paths().contains(path)),
    }
}
