//! What the keys of a peer say about its session: timers, roles, limits, restarts.
//!
//! Each function takes what was written, reports what cannot be meant, and yields a complete value. Bounds come from
//! the field that carries the value on the wire, or from the RFC that names them.

use std::time::Duration;

use bgp_proto::{AsSets, FamilySet, MessageMax};
use reflector::group::TunnelScope;
use reflector::session::{FirstAs, NotificationRestart, RoleRule, Strictness};

use super::desired::{Excess, Farewell, LongLivedRule, Paths, PeerKind, PrefixLimit, Restart, Timers};
use super::problem::{Path, Report};
use super::schema::{Config, Peer, PrefixesAction, defaults};
use super::text::{Millis, RoleWord, Seconds, SecondsOrOff, Text};
use crate::bfd::Pace;

/// Longest hold time, and what other timers are bounded by for want of a better reason.
const TIMER_SECS_MAX: u64 = u16::MAX as u64;
/// The restart time has twelve bits (RFC 4724 section 3).
const RESTART_SECS_MAX: u64 = 4095;
/// The long-lived stale time has 24 bits (RFC 9494 section 3.1).
const LONG_LIVED_SECS_MAX: u64 = (1 << 24) - 1;
/// Quicker than this, a busy node calls a path dead that is not; slower, the hold timer does as well.
const BFD_INTERVALS: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(10);
/// The longest wait after too many prefixes: a week.
const PREFIXES_RESTART_SECS_MAX: u64 = 7 * 24 * 3600;

/// The timers.
pub(super) fn timers(written: &Peer, at: Path<'_>, report: &mut Report) -> Timers {
    let mut bounded = |key: &'static str, written: &Option<Text<Seconds>>, default, secs_min| {
        let time = seconds(written, default);
        in_bounds(time, secs_min, TIMER_SECS_MAX, at.key(key), report);
        time
    };
    let optional = |written: &Option<Text<Seconds>>| written.as_ref().map(|Text(Seconds(time))| *time);
    let timers = Timers {
        hold: seconds(&written.hold_time, defaults::HOLD_TIME),
        hold_min: bounded("minHoldTime", &written.min_hold_time, defaults::HOLD_TIME_MIN, 3),
        open_hold: bounded("openHoldTime", &written.open_hold_time, defaults::OPEN_HOLD_TIME, 3),
        delay_open: optional(&written.delay_open).filter(|time| !time.is_zero()),
        send_hold: optional(&written.send_hold_time),
        idle_hold: bounded("idleHoldTime", &written.idle_hold_time, defaults::IDLE_HOLD_TIME, 1),
        idle_hold_max: bounded(
            "maxIdleHoldTime",
            &written.max_idle_hold_time,
            defaults::IDLE_HOLD_TIME_MAX,
            1,
        ),
        connect_retry: bounded("connectRetry", &written.connect_retry, defaults::CONNECT_RETRY, 1),
        refresh: bounded("refreshTime", &written.refresh_time, defaults::REFRESH_TIME, 1),
        stale_path: bounded("stalePathTime", &written.stale_path_time, defaults::STALE_PATH_TIME, 1),
    };
    hold_times(&timers, at, report);
    if let Some(time) = timers.delay_open {
        in_bounds(time, 0, timers.open_hold.as_secs().saturating_sub(1), at.key("delayOpen"), report);
    }
    if let Some(time) = timers.send_hold {
        // RFC 9687 section 3: it is longer than the hold time.
        in_bounds(time, timers.hold.as_secs() + 1, TIMER_SECS_MAX, at.key("sendHoldTime"), report);
    }
    if timers.idle_hold_max < timers.idle_hold {
        report.add(
            at.key("maxIdleHoldTime"),
            format!(
                "{}s is less than the first such pause, idleHoldTime, {}s",
                timers.idle_hold_max.as_secs(),
                timers.idle_hold.as_secs()
            ),
        );
    }
    timers
}

fn hold_times(timers: &Timers, at: Path<'_>, report: &mut Report) {
    let (hold, least) = (timers.hold.as_secs(), timers.hold_min.as_secs());
    if hold != 0 && !(3..=TIMER_SECS_MAX).contains(&hold) {
        report.add(
            at.key("holdTime"),
            format!("expected 0s (for ever) or 3s to {TIMER_SECS_MAX}s (RFC 4271), found `{hold}s`"),
        );
    } else if hold != 0 && hold < least {
        report.add(
            at.key("minHoldTime"),
            format!("{least}s is more than the hold time that we propose, {hold}s"),
        );
    }
}

fn seconds(written: &Option<Text<Seconds>>, default: Duration) -> Duration {
    written.as_ref().map_or(default, |Text(Seconds(duration))| *duration)
}

fn in_bounds(time: Duration, secs_min: u64, secs_max: u64, at: Path<'_>, report: &mut Report) {
    if !(secs_min..=secs_max).contains(&time.as_secs()) {
        report.add(at, format!("expected {secs_min}s to {secs_max}s, found `{}s`", time.as_secs()));
    }
}

/// How closely the path is watched.
pub(super) fn bfd(written: &Peer, at: Path<'_>, report: &mut Report) -> Option<Pace> {
    let bfd = written.bfd.as_ref()?;
    let pace = Pace {
        interval: bfd.interval.as_ref().map_or(defaults::BFD_INTERVAL, |Text(Millis(time))| *time),
        multiplier: bfd.multiplier.unwrap_or(defaults::BFD_MULTIPLIER),
    };
    let at = at.key("bfd");
    if !BFD_INTERVALS.contains(&pace.interval) {
        let (min, max) = (BFD_INTERVALS.start().as_millis(), BFD_INTERVALS.end().as_secs());
        let found = pace.interval.as_millis();
        report.add(at.key("interval"), format!("expected {min}ms to {max}s, found `{found}ms`"));
    }
    if pace.multiplier == 0 {
        report.add(at.key("multiplier"), "expected 1 to 255 (RFC 5880), found `0`");
    }
    Some(pace)
}

/// Our role, between autonomous systems only (RFC 9234 section 4.1).
pub(super) fn role(written: &Peer, kind: PeerKind, at: Path<'_>, report: &mut Report) -> Option<RoleRule> {
    let Some(Text(RoleWord(role))) = written.role else {
        if written.strict_role.is_some() {
            report.add(at.key("strictRole"), "means nothing without `role`");
        }
        return None;
    };
    if kind != PeerKind::External {
        report.add(at.key("role"), "only an external peer has a role (RFC 9234)");
    }
    let strictness = match written.strict_role {
        Some(true) => Strictness::Strict,
        Some(false) | None => Strictness::Lenient,
    };
    Some(RoleRule { role, strictness })
}

/// What paths must look like.
pub(super) fn paths(written: &Peer, kind: PeerKind, at: Path<'_>, report: &mut Report) -> Paths {
    if written.enforce_first_as.is_some() && kind != PeerKind::External {
        report.add(at.key("enforceFirstAs"), "only an external peer's paths begin with its AS number");
    }
    if written.tunnels.is_some() && kind != PeerKind::External {
        report.add(at.key("tunnels"), "internal peers always hear of tunnels");
    }
    Paths {
        first_as: match written.enforce_first_as {
            Some(true) | None => FirstAs::Enforced,
            Some(false) => FirstAs::Any,
        },
        own_as_max: written.allow_own_as.unwrap_or(0),
        as_sets: match written.accept_as_sets {
            Some(true) => AsSets::Accepted,
            Some(false) | None => AsSets::Refused,
        },
        tunnels: match written.tunnels {
            Some(true) => TunnelScope::Inside,
            Some(false) | None => TunnelScope::Outside,
        },
    }
}

/// The largest message.
pub(super) fn message_max(written: &Peer) -> MessageMax {
    match written.extended_messages {
        Some(true) | None => MessageMax::Extended,
        Some(false) => MessageMax::Standard,
    }
}

/// Families whose next hops may be IPv6: those of IPv4 (RFC 8950 section 4).
pub(super) fn extended_next_hop(written: &Peer, families: FamilySet) -> FamilySet {
    match written.extended_next_hop {
        Some(true) => families.iter().filter(|family| family.afi == bgp_proto::Afi::IPV4).collect(),
        Some(false) | None => FamilySet::EMPTY,
    }
}

/// Families of the session.
pub(super) fn families(written: &Peer, at: Path<'_>, report: &mut Report) -> FamilySet {
    let Some(families) = &written.families else { return defaults::FAMILIES };
    if families.is_empty() {
        report.add(at.key("families"), "a session carries at least one family");
    }
    families.iter().map(|Text(family)| *family).collect()
}

/// Paths to one prefix that the peer is sent.
pub(super) fn add_paths_max(written: &Peer, at: Path<'_>, report: &mut Report) -> u8 {
    let paths = written.add_paths_max.unwrap_or(defaults::ADD_PATHS_MAX);
    if !(1..=defaults::ADD_PATHS_MAX).contains(&paths) {
        report.add(
            at.key("addPathsMax"),
            format!("expected 1 to {} paths, found `{paths}`", defaults::ADD_PATHS_MAX),
        );
    }
    paths
}

/// The bound for the peer's prefixes.
pub(super) fn prefix_limit(written: &Peer, at: Path<'_>, report: &mut Report) -> Option<PrefixLimit> {
    const NO_LIMIT: &str = "means nothing without `maxPrefixes`";
    let Some(prefixes) = written.max_prefixes else {
        if written.max_prefixes_action.is_some() {
            report.add(at.key("maxPrefixesAction"), NO_LIMIT);
        }
        if written.max_prefixes_restart.is_some() {
            report.add(at.key("maxPrefixesRestart"), NO_LIMIT);
        }
        return None;
    };
    let action = written.max_prefixes_action.unwrap_or_default();
    if prefixes == 0 && action == PrefixesAction::Close {
        report.add(at.key("maxPrefixes"), "0 would end every session; leave the key out for no limit");
    }
    let restart = written.max_prefixes_restart.as_ref().and_then(|Text(SecondsOrOff(time))| *time);
    if let Some(time) = restart {
        in_bounds(time, 1, PREFIXES_RESTART_SECS_MAX, at.key("maxPrefixesRestart"), report);
    }
    let excess = match action {
        PrefixesAction::Close => Excess::Closed { restart },
        PrefixesAction::Warn => {
            if restart.is_some() {
                report
                    .add(at.key("maxPrefixesRestart"), "no session ends where `maxPrefixesAction` is `warn`");
            }
            Excess::Warned
        }
    };
    Some(PrefixLimit { prefixes, excess })
}

/// The restart time announced to the peer: its own, or the instance's.
pub(super) fn graceful_restart(
    written: &Peer,
    config: &Config,
    at: Path<'_>,
    report: &mut Report,
) -> Option<Duration> {
    restart_time(&written.graceful_restart, at.key("gracefulRestart"), report);
    match written.graceful_restart.as_ref().or(config.graceful_restart.as_ref()) {
        None => Some(defaults::GRACEFUL_RESTART),
        Some(Text(SecondsOrOff(time))) => *time,
    }
}

/// Checks a restart time. 0 is a way to say that long-lived graceful restart begins at once (RFC 9494 section 4.2).
pub(super) fn restart_time(written: &Option<Text<SecondsOrOff>>, at: Path<'_>, report: &mut Report) {
    if let Some(Text(SecondsOrOff(Some(time)))) = written
        && time.as_secs() > RESTART_SECS_MAX
    {
        report.add(
            at,
            format!("expected `off` or 0s to {RESTART_SECS_MAX}s (RFC 4724), found `{}s`", time.as_secs()),
        );
    }
}

/// The N bit.
pub(super) fn notification_restart(written: &Peer) -> NotificationRestart {
    match written.notification_restart {
        Some(true) | None => NotificationRestart::On,
        Some(false) => NotificationRestart::Off,
    }
}

/// How long stale routes may be kept: the peer's own, or the instance's; off unless somebody wants it.
pub(super) fn long_lived(
    written: &Peer,
    config: &Config,
    graceful_restart: Option<Duration>,
    at: Path<'_>,
    report: &mut Report,
) -> Option<Duration> {
    let key = at.key("longLivedGracefulRestart");
    long_lived_time(&written.long_lived_graceful_restart, key, report);
    let own = written.long_lived_graceful_restart.as_ref();
    let Text(SecondsOrOff(time)) = own.or(config.long_lived_graceful_restart.as_ref())?;
    if own.is_some() && time.is_some() && graceful_restart.is_none() {
        // RFC 9494 section 3: ignored without the other capability.
        report.add(key, "means nothing where `gracefulRestart` is `off`");
    }
    time.filter(|_| graceful_restart.is_some())
}

/// Checks a long-lived stale time.
pub(super) fn long_lived_time(written: &Option<Text<SecondsOrOff>>, at: Path<'_>, report: &mut Report) {
    if let Some(Text(SecondsOrOff(Some(time)))) = written
        && !(1..=LONG_LIVED_SECS_MAX).contains(&time.as_secs())
    {
        report.add(
            at,
            format!("expected `off` or 1s to {LONG_LIVED_SECS_MAX}s (RFC 9494), found `{}s`", time.as_secs()),
        );
    }
}

/// What a peer without RFC 9494 is told of long-lived stale routes.
pub(super) fn long_lived_unaware(
    written: &Peer,
    kind: PeerKind,
    at: Path<'_>,
    report: &mut Report,
) -> LongLivedRule {
    match written.long_lived_partial_deployment {
        Some(true) => {
            if kind == PeerKind::External {
                report.add(
                    at.key("longLivedPartialDeployment"),
                    "only an internal peer may be sent stale routes that it does not know as such (RFC 9494)",
                );
            }
            LongLivedRule::Depreferred
        }
        Some(false) | None => LongLivedRule::Withheld,
    }
}

/// How this speaker itself comes back.
pub(super) fn own_restart(config: &Config, report: &mut Report) -> Restart {
    let (written, root) = (&config.restart, Path::Root);
    let at = root.key("restart");
    let deferral = seconds(&written.selection_deferral, defaults::SELECTION_DEFERRAL);
    in_bounds(deferral, 1, TIMER_SECS_MAX, at.key("selectionDeferral"), report);
    let kernel_keeps = config.kernel.install == Some(false) || config.kernel.keep_on_exit.unwrap_or(true);
    Restart {
        wait_for_unreachable: seconds(&written.wait_for_unreachable, defaults::WAIT_FOR_UNREACHABLE),
        selection_deferral: deferral,
        farewell: match written.cease_on_exit {
            Some(true) => Farewell::Cease,
            Some(false) => Farewell::Silence,
            // What the kernel no longer forwards must not be sent here.
            None if kernel_keeps => Farewell::Silence,
            None => Farewell::Cease,
        },
    }
}
