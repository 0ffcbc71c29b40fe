//! More far ends of tunnels than any cluster has nodes: each costs two entries, once, and their number is bounded.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use bgp_proto::Version;
use bgp_proto::attr::MacAddr;

use crate::config::tunnel::{Device, DeviceKind, Owner};
use crate::fib::facts::{Link, LinkKind};
use crate::fib::refusal::Outcome;
use crate::fib::resolve::Underlay;
use crate::fib::tunnel::{Action, FAR_ENDS_MAX, FarEnds, TunnelOp, Tunnels};

const MTU: u32 = 1450;
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn device() -> Device {
    Device {
        name: "vxlan.calico".to_owned(),
        version: Version::V4,
        kind: DeviceKind::Vxlan { vni: 4096, port: 4789, mac: MAC },
        mtu: Some(MTU),
        owner: Owner::Own,
        addresses: Vec::new(),
    }
}

fn underlay() -> Underlay {
    let mut underlay = Underlay::new(false);
    underlay.link_came(Link {
        ifindex: 7,
        name: "vxlan.calico".into(),
        up: true,
        loopback: false,
        mtu: MTU,
        mac: Some(MAC),
        kind: LinkKind::Vxlan { vni: 4096, port: 4789 },
    });
    underlay
}

fn ends(count: usize) -> FarEnds {
    let mut ends = FarEnds::default();
    for number in 0..count as u32 {
        let [_, high, middle, low] = number.to_be_bytes();
        ends.add(0, IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number)), MacAddr([2, 1, 0, high, middle, low]));
    }
    ends
}

/// Carries out all that is to be done.
fn work_off(tunnels: &mut Tunnels, underlay: &Underlay, now: Instant) -> Vec<TunnelOp> {
    let mut all = Vec::new();
    loop {
        let mut ops = Vec::new();
        tunnels.next(underlay, [true; 2], now, 32, &mut ops);
        if ops.is_empty() {
            return all;
        }
        assert!(ops.len() <= 32);
        ops.iter().for_each(|op| tunnels.settle(op, &Outcome::Done, now));
        all.extend(ops);
    }
}

#[test]
fn each_entry_is_added_once_and_dropped_once_and_their_number_is_bounded() {
    let (underlay, now) = (underlay(), Instant::now());
    let mut tunnels = Tunnels::default();
    tunnels.configure(&[device()]);
    tunnels.want(ends(FAR_ENDS_MAX + 10));
    let added = work_off(&mut tunnels, &underlay, now);
    assert_eq!(added.len(), 2 * FAR_ENDS_MAX);
    assert!(added.iter().all(|op| matches!(op.action, Action::AddNeighbour(_))));
    let (_, problem) = tunnels.poll_problem().unwrap();
    assert!(problem.unwrap().contains(&FAR_ENDS_MAX.to_string()));
    tunnels.want(ends(100));
    let dropped = work_off(&mut tunnels, &underlay, now);
    assert_eq!(dropped.len(), 2 * (FAR_ENDS_MAX - 100));
    assert!(dropped.iter().all(|op| matches!(op.action, Action::DropNeighbour(_))));
    assert_eq!(tunnels.poll_problem(), Some(("vxlan.calico".to_owned(), None)));
}

#[test]
fn a_far_end_that_moves_takes_the_place_of_its_entries() {
    let (underlay, now) = (underlay(), Instant::now());
    let mut tunnels = Tunnels::default();
    tunnels.configure(&[device()]);
    tunnels.want(ends(3));
    work_off(&mut tunnels, &underlay, now);
    let mut moved = ends(2);
    // The third node has another hardware address, then another underlay address.
    moved.add(0, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), MacAddr([2, 2, 2, 2, 2, 2]));
    tunnels.want(moved);
    let ops = work_off(&mut tunnels, &underlay, now);
    // A neighbour by that address and an end behind the new hardware address; the end behind the old one goes.
    assert_eq!(ops.len(), 3, "{ops:?}");
    assert!(matches!(ops[2].action, Action::DropNeighbour(old) if old.is_forwarding), "{ops:?}");
}
