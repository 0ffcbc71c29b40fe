//! Every default, with its reason.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bgp_proto::{FamilySet, Prefix};

/// `listen.addresses`: everywhere, both versions of IP.
pub const LISTEN: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
/// `listen.port` and `peers[].port`: BGP's own.
pub const PORT: u16 = 179;
/// `peers[].families`: IPv4 and IPv6, also over one session.
pub const FAMILIES: FamilySet = FamilySet::UNICAST;
/// `peers[].holdTime`: RFC 4271 section 10 suggests 90 s; BIRD, FRR and GoBGP use 90 to 240.
pub const HOLD_TIME: Duration = Duration::from_secs(90);
/// `peers[].bfd.interval`: what FRR and Calico's users are used to; with the multiplier, a failure is noticed in 0.9 s.
pub const BFD_INTERVAL: Duration = Duration::from_millis(300);
/// `peers[].bfd.multiplier`.
pub const BFD_MULTIPLIER: u8 = 3;
/// `peers[].connectRetry`: RFC 4271 suggests 120 s, too long for a node that has just come up.
pub const CONNECT_RETRY: Duration = Duration::from_secs(5);
/// `peers[].minHoldTime`: the least that RFC 4271 section 4.2 allows.
pub const HOLD_TIME_MIN: Duration = Duration::from_secs(3);
/// `peers[].openHoldTime`: RFC 4271 section 8.2.2 suggests four minutes for a peer that has yet to say OPEN.
pub const OPEN_HOLD_TIME: Duration = Duration::from_secs(240);
/// `peers[].idleHoldTime`: the first wait after a session that failed.
pub const IDLE_HOLD_TIME: Duration = Duration::from_secs(1);
/// `peers[].maxIdleHoldTime`: such waits double up to this.
pub const IDLE_HOLD_TIME_MAX: Duration = Duration::from_secs(120);
/// `peers[].refreshTime`: what a peer does not repeat of a refresh that it began is gone after this (RFC 7313).
pub const REFRESH_TIME: Duration = Duration::from_secs(360);
/// `peers[].stalePathTime`: FRR's bound for a peer that is back and says no End-of-RIB.
pub const STALE_PATH_TIME: Duration = Duration::from_secs(360);
/// `peers[].addPathsMax`: as many paths to a prefix as the table tells at all.
pub const ADD_PATHS_MAX: u8 = reflector::limits::ADD_PATHS_MAX as u8;
/// `gracefulRestart`: what BIRD and Calico use.
pub const GRACEFUL_RESTART: Duration = Duration::from_secs(120);
/// `restart.waitForUnreachable`: how long a peer that does not answer holds up the end of a restart.
pub const WAIT_FOR_UNREACHABLE: Duration = Duration::from_secs(3);
/// `restart.selectionDeferral`: the longest that a restart waits for anybody; FRR's and BIRD's bounds are 120 to 360 s.
pub const SELECTION_DEFERRAL: Duration = Duration::from_secs(120);
/// `kernel.table`: the main table.
pub const KERNEL_TABLE: u32 = 254;
/// `kernel.protocol`: BIRD's number, so that a node changes from BIRD and back without one route event.
pub const KERNEL_PROTOCOL: u8 = 12;
/// `kernel.metric`: Linux's own default for IPv6 and Calico's for both.
pub const KERNEL_METRIC: u32 = 1024;
/// `kernel.multipath`: next hops of one route.
pub const KERNEL_MULTIPATH: u16 = 16;
/// `kernel.protect`: a peer does not take the node's own way out.
pub const KERNEL_PROTECT: [Prefix; 2] = [Prefix::DEFAULT_V4, Prefix::DEFAULT_V6];
/// `control.socket`.
pub const SOCKET: &str = "/run/bgpd/bgpd.sock";
