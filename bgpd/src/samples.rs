//! Values of every shape of the control protocol, for the tests of those that carry and show them.

use std::net::{IpAddr, Ipv4Addr};

use bgp_proto::Prefix;

use crate::control::protocol::*;

fn since(secs: u64) -> Since {
    let noon = "2026-11-25T03:21:20Z".parse::<jiff::Timestamp>().unwrap();
    Since { at: jiff::Timestamp::from_second(noon.as_second() - secs as i64).unwrap(), secs }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn instance() -> Instance {
    Instance {
        version: "0.1.0".into(),
        asn: 64512,
        router_id: Ipv4Addr::new(10, 0, 0, 1),
        cluster_id: Ipv4Addr::new(10, 0, 0, 1),
        started: since(7380),
        syncing: false,
        config: Config { source: "/etc/bgpd.yaml".into(), loaded: since(7380), refused: None },
        peers_configured: 3,
        peers_established: 2,
        ranges: vec![Range { name: "clients".into(), range: "10.1.0.0/16".parse().unwrap(), peers: 1 }],
        families: vec![FamilyCounts { family: "ipv4".into(), prefixes: 3, paths: 4 }],
        kernel: Some(KernelCounts { desired: 3, installed: 2, refused: 1 }),
    }
}

pub(crate) fn peer(address: IpAddr) -> Peer {
    Peer {
        name: "node-b".into(),
        description: None,
        address,
        asn: 64512,
        local_asn: 64512,
        kind: PeerKind::Internal,
        state: State::Established,
        since: since(62),
        passive: false,
        trouble: None,
        import: None,
        export: None,
        session: Some(session()),
        families: vec![PeerFamily {
            family: "ipv4".into(),
            received: 3,
            accepted: 2,
            best: 1,
            stale: 0,
            advertised: 5,
            end_of_rib: true,
        }],
        received: Messages { open: 1, update: 4, notification: 0, keepalive: 7, refresh: 0 },
        sent: Messages { open: 1, update: 6, notification: 0, keepalive: 7, refresh: 0 },
        flaps: 1,
        notification_received: Some(NotificationSeen {
            since: since(90),
            code: 6,
            subcode: 2,
            text: "Cease: Administrative Shutdown".into(),
        }),
        notification_sent: None,
    }
}

fn session() -> Session {
    Session {
        router_id: Ipv4Addr::new(10, 0, 0, 2),
        local_address: address("10.0.0.1"),
        local_port: 179,
        remote_port: 40_001,
        hold_secs: 90,
        keepalive_secs: 30,
        capabilities: vec!["multiprotocol".into(), "route refresh".into(), "4-octet AS number".into()],
        add_paths_send: vec![],
        add_paths_receive: vec![],
        restart_secs: Some(120),
        md5: true,
    }
}

/// A peer whose session is down.
pub(crate) fn peer_down(address: IpAddr) -> Peer {
    Peer {
        name: "tor".into(),
        asn: 65001,
        kind: PeerKind::External,
        state: State::Active,
        trouble: Some("connection refused: nothing listens on port 179 there".into()),
        session: None,
        families: vec![],
        notification_received: None,
        ..peer(address)
    }
}

pub(crate) fn route(n: u32) -> Route {
    let addr = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 244, 0, 0)) + n * 256);
    Route {
        prefix: Prefix::new(IpAddr::V4(addr), 24).unwrap(),
        peer: Some(address("10.0.0.2")),
        peer_name: "node-b".into(),
        path_id: None,
        next_hops: vec![address("10.0.0.2")],
        attributes: Some(Attributes {
            origin: "igp".into(),
            as_path: "65001 65002".into(),
            local_pref: Some(100),
            med: None,
            communities: vec!["64512:1".into()],
            large_communities: vec![],
            extended_communities: vec![],
            originator_id: Some(Ipv4Addr::new(10, 0, 0, 2)),
            cluster_list: vec![Ipv4Addr::new(10, 0, 0, 1)],
            others: vec![],
        }),
        best: true,
        step: Some("AS_PATH length".into()),
        stale: false,
        since: since(62),
        kernel: Some(KernelRoute { state: KernelState::Installed, error: None }),
    }
}

pub(crate) fn why() -> Why {
    let mut other = route(1);
    other.best = false;
    other.peer = Some(address("10.0.0.3"));
    other.peer_name = "node-c".into();
    other.next_hops = vec![address("10.0.0.3")];
    other.step = Some("BGP Identifier".into());
    other.kernel = None;
    Why {
        prefix: "10.244.1.0/24".parse().unwrap(),
        candidates: vec![route(1), other],
        rejected: vec![Rejection {
            peer: address("10.0.0.254"),
            name: "tor".into(),
            reason: "no import policy (RFC 8212)".into(),
        }],
        exports: vec![
            Export { peers: vec!["node-c".into()], count: 1, sent: true, reason: None },
            Export {
                peers: vec!["node-b".into()],
                count: 1,
                sent: false,
                reason: Some("the best path is from this peer".into()),
            },
        ],
        kernel: Some(KernelRoute {
            state: KernelState::Refused,
            error: Some("network is unreachable: the next hop is not on a connected network".into()),
        }),
    }
}
