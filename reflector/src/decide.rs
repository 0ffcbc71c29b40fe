//! Which path is best: RFC 4271 section 9.1.2.2 with RFC 4456 section 9, as elimination.
//!
//! The RFC does not compare two paths; it removes paths from a set, step by step, until one is left. So does
//! this file, and that keeps MULTI_EXIT_DISC honest: it is comparable only among paths from the same neighbouring
//! AS, and a pairwise ordering with MED in it is not transitive. The result is the same whatever the order of
//! arrival, and the step at which a path fell is its explanation.
//!
//! The order of the steps, with the letters of RFC 4271 section 9.1.2.2:
//!
//! | step | keeps |
//! |---|---|
//! | reachable | paths whose next hop is reachable (section 9.1.2) |
//! | preference | the highest that import policy gave |
//! | local origin | what this speaker originates |
//! | fresh | paths that are not long-lived stale (RFC 9494 section 4.3) |
//! | LOCAL_PREF | the highest (section 9.1.1) |
//! | a: AS_PATH length | the shortest, an AS_SET counting 1 |
//! | b: ORIGIN | the lowest |
//! | c: MED | the lowest, within each neighbouring AS |
//! | d: external | external paths, if there are any |
//! | e: interior cost | the nearest next hop |
//! | oldest | of external paths, the one that was here first, where that is asked for |
//! | f: BGP Identifier | the lowest, ORIGINATOR_ID in its place (RFC 4456 section 9) |
//! | CLUSTER_LIST length | the shortest (RFC 4456 section 9) |
//! | g: peer address | the lowest |
//! | path identifier | the lowest, for paths of one peer (RFC 7911) |
//!
//! Some rungs can be turned ([`Rules`]): what MED is compared with, what a missing one counts, and whether age does.
//!
//! Paths still in the set after step e are equal for forwarding: they are the multipath set, whole or, by another
//! rule, those of them that take the best path's way.

use bgp_proto::{PathId, RouterId};
use core::net::IpAddr;

pub use crate::rib::merits::{Merits, Staleness, Step};

/// What the decision knows of one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contender {
    /// Where the path came from.
    pub source: Source,
    /// The rank that import policy gave it.
    pub preference: u16,
    /// The interior cost to the next hop, or `None` where it is not reachable.
    pub interior_cost: Option<u32>,
    /// The attributes that count.
    pub merits: Merits,
    /// The sender's BGP Identifier.
    pub router_id: RouterId,
    /// The sender's address.
    pub peer_addr: IpAddr,
    /// The sender's path identifier.
    pub path_id: PathId,
    /// When it came in this form, in seconds.
    pub since_secs: u32,
}

/// Where a path came from, as far as the decision cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// This speaker originates it.
    Local,
    /// From a peer in another AS.
    External,
    /// From a peer in this AS.
    Internal,
}

/// What may be decided otherwise than RFC 4271 has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// Which paths' MEDs are compared.
    pub med_among: MedAmong,
    /// What a path without MED counts as.
    pub med_missing: MedMissing,
    /// Whether the age of external paths counts.
    pub age: Age,
    /// Which equal paths share the traffic.
    pub multipath: Multipath,
}

/// Whether the age of external paths counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Age {
    /// No: the outcome is the same whatever the order of arrival.
    #[default]
    Ignored,
    /// The oldest stays the best, so that an equal newcomer moves no traffic (as RFC 5004 has it).
    Oldest,
}

/// Which of the paths that are equal for forwarding share the traffic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Multipath {
    /// All.
    #[default]
    AnyPath,
    /// Those with the best one's AS_PATH.
    SamePath,
}

/// Which paths' MEDs are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MedAmong {
    /// Those of one neighbouring AS (RFC 4271 section 9.1.2.2 c).
    #[default]
    Neighbors,
    /// All.
    All,
}

/// What a path without MED counts as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MedMissing {
    /// The lowest, 0 (RFC 4271 section 9.1.2.2 c).
    #[default]
    Best,
    /// The highest.
    Worst,
}

impl Rules {
    fn med(self, merits: &Merits) -> u32 {
        merits.med.unwrap_or(match self.med_missing {
            MedMissing::Best => 0,
            MedMissing::Worst => u32::MAX,
        })
    }

    fn compares(self, one: &Merits, other: &Merits) -> bool {
        self.med_among == MedAmong::All || one.neighbor_as == other.neighbor_as
    }
}

/// The winner and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Index of the best path.
    pub best: usize,
    /// The step that left it alone.
    pub step: Step,
}

/// Runs the decision; keeps its buffers from one prefix to the next.
#[derive(Debug, Default)]
pub struct Decider {
    rules: Rules,
    standing: Vec<usize>,
    equal: Vec<usize>,
    fallen: Vec<(usize, Step)>,
}

impl Decider {
    /// One that follows these rules.
    pub fn new(rules: Rules) -> Decider {
        Decider { rules, ..Decider::default() }
    }

    /// The best of `paths`, or `None` if there is none whose next hop is reachable.
    pub fn decide(&mut self, paths: &[Contender]) -> Option<Decision> {
        self.equal.clear();
        self.fallen.clear();
        self.standing.clear();
        self.standing.extend(0..paths.len());
        let mut last = Step::OnlyPath;
        for step in STEPS {
            if step == Step::Oldest {
                self.equal.extend_from_slice(&self.standing);
            }
            let before = self.standing.len();
            if before == 0 || (before == 1 && step != Step::Reachable && step != Step::Oldest) {
                continue;
            }
            self.eliminate(step, paths);
            if self.standing.len() < before {
                last = step;
            }
        }
        let best = *self.standing.first()?;
        let step = if paths.len() == 1 { Step::OnlyPath } else { last };
        Some(Decision { best, step })
    }

    /// The paths that were equal to the best one for forwarding, the best among them, in the order given.
    pub fn multipath(&self) -> &[usize] {
        &self.equal
    }

    /// The paths that lost, each with the step at which it fell.
    pub fn fallen(&self) -> &[(usize, Step)] {
        &self.fallen
    }

    fn eliminate(&mut self, step: Step, paths: &[Contender]) {
        let Decider { rules, standing, fallen, .. } = self;
        match step {
            Step::Med => {
                // Section 9.1.2.2 c: a path falls only to one of its own neighbouring AS.
                let rivals: Vec<Merits> = standing.iter().map(|i| paths[*i].merits).collect();
                retain(standing, fallen, step, |i| {
                    let own = &paths[i].merits;
                    !rivals.iter().any(|r| rules.compares(r, own) && rules.med(r) < rules.med(own))
                });
            }
            Step::Reachable => retain(standing, fallen, step, |i| paths[i].interior_cost.is_some()),
            Step::Oldest if rules.age == Age::Ignored => {}
            _ => {
                let Some(least) = standing.iter().map(|i| key(step, &paths[*i])).min() else { return };
                retain(standing, fallen, step, |i| key(step, &paths[i]) == least);
            }
        }
    }
}

const STEPS: [Step; 15] = [
    Step::Reachable,
    Step::Preference,
    Step::LocalOrigin,
    Step::Fresh,
    Step::LocalPref,
    Step::AsPathLength,
    Step::Origin,
    Step::Med,
    Step::External,
    Step::InteriorCost,
    Step::Oldest,
    Step::RouterId,
    Step::ClusterListLength,
    Step::PeerAddress,
    Step::PathId,
];

fn retain(
    standing: &mut Vec<usize>,
    fallen: &mut Vec<(usize, Step)>,
    step: Step,
    mut keep: impl FnMut(usize) -> bool,
) {
    standing.retain(|i| {
        let kept = keep(*i);
        if !kept {
            fallen.push((*i, step));
        }
        kept
    });
}

/// What a step minimises.
fn key(step: Step, path: &Contender) -> u128 {
    let m = &path.merits;
    match step {
        Step::Preference => u128::from(u16::MAX - path.preference),
        Step::LocalOrigin => u128::from(path.source != Source::Local),
        Step::Fresh => u128::from(m.staleness == Staleness::LongLived),
        Step::LocalPref => u128::from(u32::MAX - m.local_pref),
        Step::AsPathLength => u128::from(m.as_path_len),
        Step::Origin => m.origin as u128,
        Step::External => u128::from(path.source == Source::Internal),
        Step::InteriorCost => u128::from(path.interior_cost.unwrap_or(u32::MAX)),
        Step::Oldest if path.source == Source::External => u128::from(path.since_secs),
        Step::Oldest => 0,
        Step::RouterId => u128::from(m.originator_id.unwrap_or(path.router_id).0),
        Step::ClusterListLength => u128::from(m.cluster_list_len),
        Step::PeerAddress => match path.peer_addr {
            IpAddr::V4(a) => u128::from(a.to_bits()),
            IpAddr::V6(a) => a.to_bits(),
        },
        Step::PathId => u128::from(path.path_id.0),
        Step::Reachable | Step::Med | Step::OnlyPath => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bgp_proto::Asn;
    use bgp_proto::attr::Origin;
    use core::net::Ipv4Addr;
    use proptest::prelude::*;

    fn path() -> Contender {
        Contender {
            source: Source::External,
            preference: 100,
            interior_cost: Some(10),
            merits: Merits {
                staleness: Staleness::Usual,
                local_pref: 100,
                as_path_len: 3,
                origin: Origin::Egp,
                med: Some(10),
                neighbor_as: Some(Asn(65001)),
                originator_id: None,
                cluster_list_len: 1,
            },
            router_id: RouterId(10),
            peer_addr: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 10)),
            path_id: PathId(10),
            since_secs: 10,
        }
    }

    /// What makes a path better at a step, and worse at every later one, must win at that step.
    fn better_at(step: Step, p: &mut Contender) {
        let m = &mut p.merits;
        match step {
            Step::Reachable => p.interior_cost = Some(10),
            Step::Preference => p.preference = 101,
            Step::LocalOrigin => p.source = Source::Local,
            Step::Fresh => m.staleness = Staleness::Usual,
            Step::LocalPref => m.local_pref = 101,
            Step::AsPathLength => m.as_path_len = 2,
            Step::Origin => m.origin = Origin::Igp,
            Step::Med => m.med = Some(9),
            Step::External => p.source = Source::External,
            Step::InteriorCost => p.interior_cost = Some(9),
            Step::Oldest => p.since_secs = 9,
            Step::RouterId => p.router_id = RouterId(9),
            Step::ClusterListLength => m.cluster_list_len = 0,
            Step::PeerAddress => p.peer_addr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9)),
            Step::PathId => p.path_id = PathId(9),
            Step::OnlyPath => {}
        }
    }

    fn worse_at(step: Step, p: &mut Contender) {
        let m = &mut p.merits;
        match step {
            Step::Reachable => p.interior_cost = None,
            Step::Preference => p.preference = 99,
            Step::LocalOrigin => {}
            Step::Fresh => m.staleness = Staleness::LongLived,
            Step::LocalPref => m.local_pref = 99,
            Step::AsPathLength => m.as_path_len = 4,
            Step::Origin => m.origin = Origin::Incomplete,
            Step::Med => m.med = Some(11),
            Step::External => p.source = Source::Internal,
            Step::InteriorCost => p.interior_cost = Some(11),
            Step::Oldest => p.since_secs = 11,
            Step::RouterId => p.router_id = RouterId(11),
            Step::ClusterListLength => m.cluster_list_len = 2,
            Step::PeerAddress => p.peer_addr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 11)),
            Step::PathId => p.path_id = PathId(11),
            Step::OnlyPath => {}
        }
    }

    #[test]
    fn each_step_overrules_all_later_ones() {
        let mut decider = Decider::new(Rules { age: Age::Oldest, ..Rules::default() });
        for (at, step) in STEPS.iter().enumerate().filter(|(_, s)| **s != Step::Reachable) {
            let mut good = path();
            let mut bad = path();
            worse_at(*step, &mut bad);
            better_at(*step, &mut good);
            for later in &STEPS[at + 1..] {
                if !(*step == Step::LocalOrigin && *later == Step::External) {
                    worse_at(*later, &mut good);
                }
            }
            let decision = decider.decide(&[bad, good]).expect("a best path");
            assert_eq!((decision.best, decision.step), (1, *step), "{}", step.as_str());
        }
    }

    #[test]
    fn a_path_without_a_reachable_next_hop_is_never_best() {
        let mut bad = path();
        worse_at(Step::Reachable, &mut bad);
        let mut decider = Decider::default();
        assert_eq!(decider.decide(&[bad]), None);
        assert_eq!(decider.decide(&[bad, path()]), Some(Decision { best: 1, step: Step::Reachable }));
        assert_eq!(decider.fallen(), [(0, Step::Reachable)]);
        assert_eq!(decider.multipath(), [1]);
    }

    #[test]
    fn med_is_compared_within_a_neighbouring_as_only() {
        let (mut a, mut b) = (path(), path());
        a.merits.med = Some(50);
        b.merits.neighbor_as = Some(Asn(65002));
        b.router_id = RouterId(11);
        let decision = Decider::default().decide(&[b, a]).expect("a best path");
        assert_eq!((decision.best, decision.step), (1, Step::RouterId));
    }

    #[test]
    fn med_can_be_compared_among_all() {
        let (mut a, mut b) = (path(), path());
        a.merits.med = Some(50);
        b.merits.neighbor_as = Some(Asn(65002));
        b.router_id = RouterId(11);
        let mut decider = Decider::new(Rules { med_among: MedAmong::All, ..Rules::default() });
        assert_eq!(decider.decide(&[a, b]), Some(Decision { best: 1, step: Step::Med }));
    }

    #[test]
    fn the_oldest_external_path_stays_the_best_where_that_is_asked_for() {
        let (mut old, mut new) = (path(), path());
        (old.since_secs, new.router_id) = (5, RouterId(1));
        assert_eq!(Decider::default().decide(&[old, new]), Some(Decision { best: 1, step: Step::RouterId }));
        let mut decider = Decider::new(Rules { age: Age::Oldest, ..Rules::default() });
        assert_eq!(decider.decide(&[old, new]), Some(Decision { best: 0, step: Step::Oldest }));
        assert_eq!(decider.multipath(), [0, 1], "they are as good for forwarding as before");
        (old.source, new.source) = (Source::Internal, Source::Internal);
        assert_eq!(decider.decide(&[old, new]), Some(Decision { best: 1, step: Step::RouterId }));
    }

    #[test]
    fn a_missing_med_is_the_best_unless_it_is_to_be_the_worst() {
        let (mut a, b) = (path(), path());
        a.merits.med = None;
        assert_eq!(Decider::default().decide(&[a, b]), Some(Decision { best: 0, step: Step::Med }));
        let mut decider = Decider::new(Rules { med_missing: MedMissing::Worst, ..Rules::default() });
        assert_eq!(decider.decide(&[a, b]), Some(Decision { best: 1, step: Step::Med }));
    }

    #[test]
    fn the_order_dependent_med_example_has_one_outcome() {
        // Two paths of AS 65001 and one of AS 65002: pairwise comparison in the order of arrival gives different
        // winners; elimination does not.
        let (mut a, mut b, mut c) = (path(), path(), path());
        (a.merits.med, a.router_id) = (Some(200), RouterId(1));
        (b.merits.neighbor_as, b.router_id) = (Some(Asn(65002)), RouterId(2));
        (c.merits.med, c.router_id) = (Some(100), RouterId(3));
        for order in [[a, b, c], [a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]] {
            let decision = Decider::default().decide(&order).expect("a best path");
            assert_eq!(order[decision.best].router_id, RouterId(2));
        }
    }

    fn contender() -> impl Strategy<Value = Contender> {
        let merits = (0..2u32, 0..2u32, 0..3u8, 0..3u32, 0..3u32, prop::option::of(0..3u32), 0..2u32);
        let rank = (0..3u8, 0..2u16);
        (merits, rank, prop::option::of(0..2u32), 0..3u32, 0..3u8, 0..3u32, any::<bool>()).prop_map(
            |(
                (lp, len, origin, med, asn, originator, clusters),
                (source, preference),
                cost,
                id,
                addr,
                path_id,
                stale,
            )| {
                Contender {
                    source: [Source::Local, Source::External, Source::Internal][usize::from(source)],
                    preference,
                    interior_cost: cost,
                    merits: Merits {
                        staleness: if stale { Staleness::LongLived } else { Staleness::Usual },
                        local_pref: lp,
                        as_path_len: len,
                        origin: [Origin::Igp, Origin::Egp, Origin::Incomplete][usize::from(origin)],
                        med: med.checked_sub(1),
                        neighbor_as: (asn > 0).then_some(Asn(asn)),
                        originator_id: originator.map(RouterId),
                        cluster_list_len: clusters,
                    },
                    router_id: RouterId(id),
                    peer_addr: IpAddr::V4(Ipv4Addr::new(10, 0, 0, addr)),
                    path_id: PathId(path_id),
                    since_secs: path_id,
                }
            },
        )
    }

    /// RFC 4271 section 9.1.2.2 read literally: of any two paths left, one may remove the other; repeat per step.
    fn removes(step: Step, by: &Contender, p: &Contender) -> bool {
        let id = |c: &Contender| c.merits.originator_id.unwrap_or(c.router_id);
        match step {
            Step::Reachable => p.interior_cost.is_none(),
            Step::Preference => by.preference > p.preference,
            Step::LocalOrigin => by.source == Source::Local && p.source != Source::Local,
            Step::Fresh => {
                by.merits.staleness == Staleness::Usual && p.merits.staleness == Staleness::LongLived
            }
            Step::LocalPref => by.merits.local_pref > p.merits.local_pref,
            Step::AsPathLength => by.merits.as_path_len < p.merits.as_path_len,
            Step::Origin => (by.merits.origin as u8) < p.merits.origin as u8,
            Step::Med => {
                by.merits.neighbor_as == p.merits.neighbor_as
                    && by.merits.med.unwrap_or(0) < p.merits.med.unwrap_or(0)
            }
            Step::External => by.source != Source::Internal && p.source == Source::Internal,
            Step::InteriorCost => by.interior_cost < p.interior_cost,
            Step::Oldest => false,
            Step::RouterId => id(by) < id(p),
            Step::ClusterListLength => by.merits.cluster_list_len < p.merits.cluster_list_len,
            Step::PeerAddress => by.peer_addr < p.peer_addr,
            Step::PathId => by.path_id < p.path_id,
            Step::OnlyPath => false,
        }
    }

    fn literal(paths: &[Contender]) -> Vec<Contender> {
        STEPS.iter().fold(paths.to_vec(), |left, step| {
            left.iter().filter(|p| !left.iter().any(|by| removes(*step, by, p))).copied().collect()
        })
    }

    proptest! {
        #[test]
        fn agrees_with_the_rfc_read_literally(paths in prop::collection::vec(contender(), 0..7)) {
            let best = Decider::default().decide(&paths).map(|d| paths[d.best]);
            prop_assert_eq!(best, literal(&paths).first().copied());
        }

        #[test]
        fn does_not_depend_on_the_order_of_arrival(
            paths in prop::collection::vec(contender(), 1..6),
            by in 0..6usize,
        ) {
            let mut turned = paths.clone();
            turned.rotate_left(by % paths.len());
            turned.reverse();
            let one = Decider::default().decide(&paths).map(|d| paths[d.best]);
            let other = Decider::default().decide(&turned).map(|d| turned[d.best]);
            prop_assert_eq!(one, other);
        }
    }
}
