//! What a case wants of the daemon under test, in no daemon's words.
//!
//! A [`Plan`] names the neighbours and what is particular about each as [`Knob`]s. Each make writes its own configuration
//! from it and refuses a knob that it has no word for: such a row counts as not passed by that make, and says why.

use std::net::IpAddr;

use crate::speaker::{C1, C2, E1, E2, N1, N2, WITNESS, Who};
use crate::wire::{Family, V4, V6};

/// Something that a case configures.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Knob {
    /// The daemon connects, rather than waiting.
    Active,
    /// The path is watched.
    Bfd,
    HoldSecs(u16),
    MinHoldSecs(u16),
    OpenHoldSecs(u16),
    SendHoldSecs(u16),
    DelayOpenSecs(u16),
    ConnectRetrySecs(u16),
    /// The first and the longest wait after a session that failed.
    IdleHoldSecs(u16, u16),
    /// Graceful restart with this restart time.
    Graceful(u16),
    /// How long routes stay marked stale after the peer came back.
    StaleSecs(u16),
    LongLived(u32),
    /// Long-lived stale routes also to an internal neighbour that does not know them.
    LongLivedToAll,
    /// How long a refresh that the neighbour began may take.
    RefreshSecs(u16),
    /// The session runs over IPv6.
    OverIpv6,
    /// add-path: 1 receive, 2 send, 3 both.
    AddPaths(u8),
    AddPathsMax(u8),
    MaxPrefixes(u32),
    MaxPrefixesRestartSecs(u16),
    MaxPrefixesWarn,
    Role(&'static str),
    StrictRole,
    AllowOwnAs(u8),
    NoEnforceFirstAs,
    AcceptAsSets,
    /// Extended messages on or off.
    ExtendedMessages(bool),
    ExtendedNextHop,
    /// No import or export policy at all.
    NoPolicy,
    /// Only prefixes inside of this one are accepted.
    ImportOnly(&'static str),
    NextHopSelf,
    Password(&'static str),
    TtlSecurity,
    Families(Vec<Family>),
}

/// One neighbour.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Peer {
    pub(crate) who: Who,
    pub(crate) client: bool,
    pub(crate) knobs: Vec<Knob>,
}

impl Peer {
    pub(crate) fn new(who: Who) -> Peer {
        Peer { who, client: who.client, knobs: Vec::new() }
    }

    /// The first answer that a knob gives to `pick`.
    pub(crate) fn knob<T>(&self, pick: impl Fn(&Knob) -> Option<T>) -> Option<T> {
        self.knobs.iter().find_map(pick)
    }

    pub(crate) fn has(&self, knob: &Knob) -> bool {
        self.knobs.contains(knob)
    }

    /// The neighbour's address on the session.
    pub(crate) fn address(&self) -> IpAddr {
        if self.has(&Knob::OverIpv6) { self.who.v6().into() } else { self.who.v4().into() }
    }

    pub(crate) fn families(&self) -> Vec<Family> {
        let own = self.knob(|knob| if let Knob::Families(own) = knob { Some(own.clone()) } else { None });
        own.unwrap_or_else(|| vec![V4, V6])
    }

    pub(crate) fn hold_secs(&self) -> u16 {
        self.knob(|knob| if let Knob::HoldSecs(secs) = knob { Some(*secs) } else { None }).unwrap_or(90)
    }
}

/// Everything the daemon is configured with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) peers: Vec<Peer>,
    /// Whether routes with a CLUSTER_LIST say 9.9.9.9 or the router id.
    pub(crate) own_cluster_id: bool,
    /// Neighbours accepted from a range: the range and their AS.
    pub(crate) range: Option<(&'static str, u32)>,
    /// A rung of the decision process that is turned.
    pub(crate) decision: Option<&'static str>,
    /// Whether routes go to the kernel, and next hops are looked up there.
    pub(crate) kernel: bool,
    /// Whether the daemon has a wall clock of its own that the case steps.
    pub(crate) own_clock: bool,
    /// Further lines for our own daemon, where no other has the like.
    pub(crate) more: String,
    /// Whether a session stands by and is looked at after the case.
    pub(crate) witness: bool,
}

impl Plan {
    /// These neighbours and the witness.
    pub(crate) fn of(whos: &[Who]) -> Plan {
        let peers = whos.iter().chain([&WITNESS]).map(|who| Peer::new(*who)).collect();
        Plan {
            peers,
            own_cluster_id: true,
            range: None,
            decision: None,
            kernel: false,
            own_clock: false,
            more: String::new(),
            witness: true,
        }
    }

    /// The six constant neighbours.
    pub(crate) fn six() -> Plan {
        Plan::of(&[E1, E2, C1, C2, N1, N2])
    }

    /// With something particular about one neighbour.
    pub(crate) fn with(mut self, who: Who, knob: Knob) -> Plan {
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.who == who) {
            peer.knobs.push(knob);
        }
        self
    }

    /// The same about several.
    pub(crate) fn with_all(self, whos: &[Who], knob: &Knob) -> Plan {
        whos.iter().fold(self, |plan, who| plan.with(*who, knob.clone()))
    }

    /// With `always-compare-med`, `missing-as-worst`, `prefer-oldest` or (`no-`)`multipath-relax`.
    pub(crate) fn decision(mut self, rung: &'static str) -> Plan {
        self.decision = Some(rung);
        self
    }

    /// Without a session that stands by, for cases in which the daemon ends.
    pub(crate) fn alone(mut self) -> Plan {
        self.witness = false;
        self.peers.retain(|peer| peer.who != WITNESS);
        self
    }

    pub(crate) fn more(mut self, lines: &str) -> Plan {
        self.more.push_str(lines);
        self
    }
}
