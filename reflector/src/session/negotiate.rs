//! What two OPEN messages agree on: a pure function of ours and the peer's.
//!
//! The codec has judged what is wrong with an OPEN whoever sends it (version, AS number zero, identifier zero, hold time of
//! one or two seconds, malformed parameters). Here it is compared with what we expect, and the answer is either what
//! both sides can do or the NOTIFICATION that says what is missing.
//!
//! A capability counts only if both sides announced it. We always announce four-octet AS numbers, route refresh and
//! enhanced refresh; the rest is configuration. Unknown capabilities are ignored, never refused (RFC 5492 section 3). A peer
//! with whom no family is left is refused with Unsupported Capability, listing the families that we need.
//!
//! RFC 4271 section 4.2 and 6.2, RFC 4724, 4760, 5492, 6286, 6793, 7313, 7911, 8538, 8654, 8950, 9234, 9494.

use bgp_proto::capability::{self, AddPath, Forwarding, GracefulRestart, Role};
use bgp_proto::{
    Afi, AsnWidth, Capability, ErrorCode, Family, FamilySet, Features, MessageMax, Notification, Open,
    PeerKind, WireContext,
};
use bytes::{BufMut, BytesMut};

use super::config::{Config, NotificationRestart, Restart, RestartPhase, Strictness};
use crate::events::{LongLived, LongLivedPeer, Negotiated, PeerRestart, RefreshMode};
use crate::time::Duration;

/// The longest restart time that the capability can say (RFC 4724 section 3).
const RESTART_SECS_MAX: u64 = 4095;
/// The longest long-lived stale time that the capability can say (RFC 9494 section 3.1).
const LONG_LIVED_SECS_MAX: u64 = (1 << 24) - 1;

/// Our OPEN.
pub(super) fn offer(config: &Config) -> Open {
    let mut capabilities: Vec<Capability> = config.families.iter().map(Capability::Multiprotocol).collect();
    capabilities.extend([
        Capability::RouteRefresh,
        Capability::EnhancedRefresh,
        Capability::FourOctetAs(config.local_asn),
    ]);
    if config.message_max == MessageMax::Extended {
        capabilities.push(Capability::ExtendedMessage);
    }
    let next_hops = config.extended_next_hop.intersection(config.families);
    if !next_hops.is_empty() {
        capabilities.push(Capability::ExtendedNextHop(next_hops.iter().map(|f| (f, Afi::IPV6)).collect()));
    }
    let paths: Vec<_> = config.families.iter().filter_map(|f| Some((f, directions(config, f)?))).collect();
    if !paths.is_empty() {
        capabilities.push(Capability::AddPath(paths));
    }
    if let Some(restart) = &config.restart {
        capabilities.push(Capability::GracefulRestart(restart_offer(restart, config.families)));
        if let Some(time) = restart.long_lived {
            capabilities.push(Capability::LongLivedRestart(long_lived_offer(restart, time, config.families)));
        }
    }
    if let Some(rule) = config.role.filter(|_| !config.is_internal()) {
        capabilities.push(Capability::Role(rule.role));
    }
    Open {
        asn: config.local_asn,
        hold_secs: config.timing.hold_secs,
        router_id: config.router_id,
        capabilities,
    }
}

fn directions(config: &Config, family: Family) -> Option<AddPath> {
    match (config.add_path_send.contains(family), config.add_path_receive.contains(family)) {
        (true, true) => Some(AddPath::Both),
        (true, false) => Some(AddPath::Send),
        (false, true) => Some(AddPath::Receive),
        (false, false) => None,
    }
}

fn long_lived_offer(restart: &Restart, time: Duration, families: FamilySet) -> Vec<capability::LongLived> {
    let time_secs = time.as_secs().min(LONG_LIVED_SECS_MAX) as u32;
    let forwarding = |family| forwarding(restart, family);
    let families = restart.families.intersection(families);
    families
        .iter()
        .map(|family| capability::LongLived { family, forwarding: forwarding(family), time_secs })
        .collect()
}

fn forwarding(restart: &Restart, family: Family) -> Forwarding {
    if restart.forwarding.contains(family) { Forwarding::Kept } else { Forwarding::Lost }
}

fn restart_offer(restart: &Restart, families: FamilySet) -> GracefulRestart {
    GracefulRestart {
        restarting: restart.phase == RestartPhase::Restarting,
        notification: restart.notification == NotificationRestart::On,
        time_secs: restart.restart_time.as_secs().min(RESTART_SECS_MAX) as u16,
        families: restart
            .families
            .intersection(families)
            .iter()
            .map(|f| (f, forwarding(restart, f)))
            .collect(),
    }
}

/// What both sides can do, or why there can be no session.
pub(super) fn negotiate(config: &Config, open: &Open) -> Result<Negotiated, Notification> {
    check_identity(config, open)?;
    check_role(config, open.role())?;
    let families = config.families.intersection(open.families());
    if families.is_empty() {
        return Err(families_needed(config.families));
    }
    let (peer_sends, peer_receives) = open.add_path();
    let both = |ours: FamilySet, theirs: FamilySet| ours.intersection(theirs).intersection(families);
    let extended = config.message_max == MessageMax::Extended && open.has_extended_message();
    let transmit = WireContext {
        asn_width: if open.has_four_octet_as() { AsnWidth::Four } else { AsnWidth::Two },
        message_max: if extended { MessageMax::Extended } else { MessageMax::Standard },
        peer: if config.is_internal() { PeerKind::Internal } else { PeerKind::External },
        families,
        add_path: both(config.add_path_send, peer_receives),
        extended_next_hop: both(config.extended_next_hop, open.extended_next_hop()),
        ..WireContext::PLAIN
    };
    let receive = WireContext {
        as_sets: config.as_sets,
        features: if config.role.is_some() { Features::ROLES } else { Features::NONE },
        add_path: both(config.add_path_receive, peer_sends),
        ..transmit
    };
    Ok(Negotiated {
        peer_asn: open.asn,
        peer_router_id: open.router_id,
        hold_secs: config.timing.hold_secs.min(open.hold_secs),
        families,
        receive,
        transmit,
        refresh: refresh_mode(open),
        restart: config
            .restart
            .as_ref()
            .and(open.graceful_restart())
            .map(|peer| peer_restart(peer, families)),
        long_lived: long_lived(config, open, families),
    })
}

/// RFC 9494 section 3: without the other capability this one is ignored; section 4.2: what is kept is up to both.
fn long_lived(config: &Config, open: &Open, families: FamilySet) -> LongLived {
    if open.graceful_restart().is_none() || !open.has_long_lived_restart() {
        return LongLived::default();
    }
    let mut answer = LongLived { peer: LongLivedPeer::Aware, ..LongLived::default() };
    let Some(ours) = config.restart.as_ref().and_then(|restart| restart.long_lived) else { return answer };
    for tuple in open.long_lived_restart().iter().filter(|tuple| families.contains(tuple.family)) {
        let time = ours.min(Duration::from_secs(u64::from(tuple.time_secs)));
        answer.times.retain(|(family, _)| *family != tuple.family);
        if !time.is_zero() {
            answer.times.push((tuple.family, time));
        }
        if tuple.forwarding == Forwarding::Kept {
            answer.forwarding.insert(tuple.family);
        } else {
            answer.forwarding.remove(tuple.family);
        }
    }
    answer
}

/// RFC 4271 section 6.2, RFC 6286 section 2.2.
fn check_identity(config: &Config, open: &Open) -> Result<(), Notification> {
    if open.asn != config.peer_asn {
        return Err(Notification::new(ErrorCode::OPEN_PEER_AS));
    }
    if config.is_internal() && open.router_id == config.router_id {
        return Err(Notification::new(ErrorCode::OPEN_IDENTIFIER));
    }
    if open.hold_secs != 0 && open.hold_secs < config.timing.hold_secs_min {
        return Err(Notification::new(ErrorCode::OPEN_HOLD_TIME));
    }
    Ok(())
}

/// RFC 9234 section 4.2: roles exist between autonomous systems.
fn check_role(config: &Config, theirs: Option<Role>) -> Result<(), Notification> {
    let Some(rule) = config.role.filter(|_| !config.is_internal()) else { return Ok(()) };
    let fits = match theirs {
        Some(role) => role == rule.role.counterpart(),
        None => rule.strictness == Strictness::Lenient,
    };
    if fits { Ok(()) } else { Err(Notification::new(ErrorCode::OPEN_ROLE)) }
}

/// RFC 5492 section 3: the capabilities that cause the NOTIFICATION, coded as in an OPEN.
fn families_needed(families: FamilySet) -> Notification {
    let mut data = BytesMut::new();
    for family in families.iter() {
        data.put_slice(&[1, 4]);
        data.put_u16(family.afi.0);
        data.put_slice(&[0, family.safi.0]);
    }
    Notification { error: ErrorCode::OPEN_CAPABILITY, data: data.freeze() }
}

fn refresh_mode(open: &Open) -> RefreshMode {
    match (open.has_route_refresh(), open.has_enhanced_refresh()) {
        (_, true) => RefreshMode::Enhanced,
        (true, false) => RefreshMode::Plain,
        (false, false) => RefreshMode::None,
    }
}

fn peer_restart(peer: &GracefulRestart, families: FamilySet) -> PeerRestart {
    let listed: FamilySet = peer.families.iter().map(|(family, _)| *family).collect();
    let kept = peer.families.iter().filter(|(_, forwarding)| *forwarding == Forwarding::Kept);
    let forwarding: FamilySet = kept.map(|(family, _)| *family).collect();
    PeerRestart {
        restart_time: Duration::from_secs(u64::from(peer.time_secs)),
        restarting: peer.restarting,
        notification: peer.notification,
        families: listed.intersection(families),
        forwarding: forwarding.intersection(families),
    }
}
