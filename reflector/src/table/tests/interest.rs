//! Route target constraint: who is told which VPN routes (RFC 4684).

use super::*;
use bgp_proto::attr::ExtCommunity;
use bytes::Bytes;
use std::collections::BTreeSet;

const RTC: Family = Family::RT_CONSTRAINT;
const VPN: Family = Family::VPNV4;

/// Reads one family of one peer, from feed to feed as its session would.
struct Reader {
    feed: Feed,
    cursor: Cursor,
    ctx: WireContext,
    heard: BTreeSet<Nlri>,
    ends: usize,
}

impl Reader {
    fn read(&mut self, table: &Table) {
        let view = table.view(self.feed.group).expect("the group of the feed");
        let mut taken: Vec<Bytes> = core::mem::take(&mut self.feed.prelude);
        while self.cursor.take(&view, |octets| taken.push(octets)) {}
        self.ends += usize::from(self.cursor.take_due(&view));
        for octets in taken {
            let mut octets = &octets[..];
            while let Some(frame) = Frame::first(octets, &self.ctx).expect("a sound header") {
                octets = &octets[HEADER_OCTETS + frame.body().len()..];
                let update = Update::decode(frame.body(), &self.ctx).expect("a sound UPDATE");
                for unreach in update.unreach() {
                    for (_, gone) in unreach.nlri {
                        self.heard.remove(&gone.to_owned());
                    }
                }
                for reach in update.reach() {
                    self.heard.extend(reach.nlri.map(|(_, nlri)| nlri.to_owned()));
                }
            }
        }
    }
}

/// A reflector with clients that speak VPNv4; from 2 on they have to ask.
struct Clients {
    table: Table,
    readers: BTreeMap<u32, Reader>,
    now: Instant,
}

impl Clients {
    fn new() -> Clients {
        let table = Table::new(config(Resolution::Assumed));
        let mut clients = Clients { table, readers: BTreeMap::new(), now: Instant::EPOCH };
        clients.up(1, FamilySet::from(VPN));
        clients.up(2, [VPN, RTC].into_iter().collect());
        for n in [1, 2] {
            clients.announce(1, VPN, vpn(n), &[target(n)]);
        }
        clients
    }

    fn up(&mut self, peer: u32, families: FamilySet) {
        self.up_as(PeerKind::Client, peer, families);
    }

    fn up_as(&mut self, kind: PeerKind, peer: u32, families: FamilySet) {
        self.table.set_peer(PeerId(peer), peer_config(kind));
        let mut negotiated = negotiated(peer, 65001);
        negotiated.families = families;
        negotiated.transmit.families = families;
        let own = OwnAddrs { v4: Some(OWN), v6: None };
        let attachment = Attachment { peer_addr: IpAddr::V4(addr(peer)), own };
        let feeds = self.table.peer_up(PeerId(peer), &negotiated, &attachment, self.now);
        self.attach(peer, feeds);
    }

    /// What the table tells a peer of a membership.
    fn membership_told(&self, peer: u32, nlri: &Nlri) -> Option<AttrSet> {
        let id = self.table.find(RTC, nlri)?;
        let told = self.table.told(PeerId(peer), RTC, id).next();
        told.map(|(_, attrs, _)| attrs.clone())
    }

    fn attach(&mut self, peer: u32, feeds: Vec<Feed>) {
        for feed in feeds.into_iter().filter(|f| f.family == VPN) {
            let before = self.readers.remove(&peer);
            let (heard, ends) = before.map(|r| (r.heard, r.ends)).unwrap_or_default();
            let ctx = WireContext { families: FamilySet::from(VPN), ..negotiated(peer, 65001).transmit };
            let cursor = Cursor::new(PeerId(peer), &feed);
            self.readers.insert(peer, Reader { feed, cursor, ctx, heard, ends });
        }
    }

    fn change(&mut self, peer: u32, family: Family, nlri: Nlri, attrs: Option<AttrSet>) {
        let change = RouteChange { family, path_id: PathId(0), nlri, attrs: attrs.is_some().then_some(0) };
        let routes = Routes { attrs: attrs.into_iter().collect(), changes: vec![change] };
        self.table.routes(PeerId(peer), &routes, self.now);
        self.settle();
    }

    fn announce(&mut self, peer: u32, family: Family, nlri: Nlri, targets: &[ExtCommunity]) {
        let mut attrs = attrs(peer, &[]);
        if family != RTC {
            let (v4, v6) = (addr(peer).octets(), [0xFD; 16]);
            let hops = [[&[0; 8][..], &v4].concat(), v4.to_vec(), [&[0; 8][..], &v6].concat(), v6.to_vec()];
            let ctx = WireContext { families: FamilySet::from(family), ..negotiated(peer, 65001).transmit };
            let hops = hops.iter().filter_map(|octets| NextHop::from_octets(octets));
            attrs.next_hop(
                hops.chain([NextHop::NONE]).find(|hop| hop.fits(family, &ctx)).expect("a next hop"),
            );
        }
        let attrs = attrs.local_pref(Some(100)).ext_communities(targets).build();
        self.change(peer, family, nlri, Some(attrs));
    }

    fn end(&mut self, peer: u32) {
        self.table.end_of_rib(PeerId(peer), RTC);
        self.settle();
    }

    /// What the core does: commits, and follows what was asked for.
    fn settle(&mut self) {
        for notice in self.table.commit().notices {
            let Notice::InterestChanged { peer } = notice else { panic!("unexpected: {notice:?}") };
            let feeds = self.table.follow_interest(peer);
            self.attach(peer.0, feeds);
        }
        for reader in self.readers.values_mut() {
            reader.read(&self.table);
        }
    }

    /// What the peer holds, and how often it was told that this is all; `None` if it is told nothing.
    fn heard(&self, peer: u32) -> Option<(Vec<Nlri>, usize)> {
        self.readers.get(&peer).map(|r| (r.heard.iter().cloned().collect(), r.ends))
    }
}

fn target(n: u8) -> ExtCommunity {
    ExtCommunity::route_target(65001, n.into())
}

/// A VPN route with one label.
fn vpn(n: u8) -> Nlri {
    Nlri::Opaque(vec![112, 0, 0, 0x11, 0, 0, 0xFD, 0xE9, 0, 0, 0, n, 10, 9, n].into())
}

/// Asks for one target.
fn membership(n: u8) -> Nlri {
    Nlri::Opaque([&[96, 0, 0, 0xFD, 0xE9][..], &target(n).0].concat().into())
}

fn default_membership() -> Nlri {
    Nlri::Opaque(vec![0].into())
}

#[test]
fn a_peer_hears_nothing_before_it_asked_and_then_what_it_asked_for() {
    let mut clients = Clients::new();
    clients.announce(2, RTC, membership(1), &[]);
    assert_eq!(clients.heard(2), None);
    clients.end(2);
    assert_eq!(clients.heard(2), Some((vec![vpn(1)], 1)));
    clients.announce(1, VPN, vpn(3), &[target(3), target(1)]);
    clients.announce(1, VPN, vpn(4), &[]);
    assert_eq!(clients.heard(2), Some((vec![vpn(1), vpn(3)], 1)));
    // The target of a route that it holds becomes another one.
    clients.announce(1, VPN, vpn(1), &[target(2)]);
    assert_eq!(clients.heard(2), Some((vec![vpn(3)], 1)));
}

#[test]
fn what_a_peer_asks_for_later_is_told_and_what_it_asks_for_no_more_withdrawn() {
    let mut clients = Clients::new();
    clients.announce(2, RTC, membership(1), &[]);
    clients.end(2);
    clients.announce(2, RTC, membership(2), &[]);
    assert_eq!(clients.heard(2).map(|h| h.0), Some(vec![vpn(1), vpn(2)]));
    clients.change(2, RTC, membership(1), None);
    assert_eq!(clients.heard(2).map(|h| h.0), Some(vec![vpn(2)]));
    clients.announce(2, RTC, default_membership(), &[]);
    assert_eq!(clients.heard(2).map(|h| h.0), Some(vec![vpn(1), vpn(2)]));
    clients.change(2, RTC, default_membership(), None);
    clients.change(2, RTC, membership(2), None);
    assert_eq!(clients.heard(2).map(|h| h.0), Some(vec![]));
}

#[test]
fn what_one_peer_asks_for_is_nothing_to_another() {
    let mut clients = Clients::new();
    clients.up(3, [VPN, RTC].into_iter().collect());
    clients.up(4, FamilySet::from(VPN));
    clients.announce(2, RTC, membership(1), &[]);
    clients.announce(3, RTC, membership(2), &[]);
    clients.end(2);
    clients.end(3);
    assert_eq!(clients.heard(2).map(|h| h.0), Some(vec![vpn(1)]));
    assert_eq!(clients.heard(3).map(|h| h.0), Some(vec![vpn(2)]));
    // Route target constraint was not negotiated.
    assert_eq!(clients.heard(4), Some((vec![vpn(1), vpn(2)], 1)));
}

#[test]
fn a_peer_that_does_not_say_that_it_asked_is_waited_for_but_not_for_ever() {
    let mut clients = Clients::new();
    clients.announce(2, RTC, membership(2), &[]);
    let until = clients.table.deadline().expect("a bound");
    assert_eq!(until, Instant::EPOCH + Duration::from_secs(60));
    clients.table.timeout(until);
    clients.settle();
    assert_eq!(clients.heard(2), Some((vec![vpn(2)], 1)));
    assert_eq!(clients.table.deadline(), None);
}

#[test]
fn a_session_that_ends_takes_its_questions_along() {
    let mut clients = Clients::new();
    clients.announce(2, RTC, membership(1), &[]);
    clients.end(2);
    clients.readers.remove(&2);
    clients.table.peer_down(PeerId(2), Retention::Drop, clients.now);
    clients.settle();
    clients.up(2, [VPN, RTC].into_iter().collect());
    clients.end(2);
    assert_eq!(clients.heard(2), Some((vec![], 1)));
}

/// RFC 4684 section 3.2 i: the only path is the client's own, and it must learn that the reflector wants such routes.
#[test]
fn a_membership_is_reflected_to_the_client_that_said_it_as_the_reflectors_own_word() {
    let mut clients = Clients::new();
    clients.up(3, [VPN, RTC].into_iter().collect());
    clients.announce(2, RTC, membership(1), &[]);
    for client in [2, 3] {
        let told = clients.membership_told(client, &membership(1)).expect("the membership");
        assert_eq!(told.originator_id(), Some(config(Resolution::Assumed).local.router_id));
        assert_eq!(told.next_hop().addr(), Some(IpAddr::V4(OWN)));
    }
    clients.change(2, RTC, membership(1), None);
    assert_eq!(clients.membership_told(2, &membership(1)), None);
    // An ordinary route is still not sent back.
    let id = clients.table.find(VPN, &vpn(1)).expect("the route");
    assert_eq!(clients.table.told(PeerId(1), VPN, id).count(), 0);
}

/// RFC 4684 section 3.2 ii.
#[test]
fn another_reflector_hears_a_clients_membership_though_a_better_path_came_from_a_third() {
    let mut clients = Clients::new();
    let both: FamilySet = [VPN, RTC].into_iter().collect();
    clients.up_as(PeerKind::NonClient, 3, both);
    clients.up_as(PeerKind::NonClient, 4, both);
    clients.announce(4, RTC, membership(1), &[]);
    assert_eq!(clients.membership_told(3, &membership(1)), None);
    let weak = attrs(2, &[]).local_pref(Some(1)).build();
    clients.change(2, RTC, membership(1), Some(weak));
    let told = clients.membership_told(3, &membership(1)).expect("the client's path");
    assert_eq!((told.originator_id(), told.local_pref()), (Some(RouterId(2)), Some(1)));
    clients.change(2, RTC, membership(1), None);
    assert_eq!(clients.membership_told(3, &membership(1)), None);
    // One that another AS is the source of goes by the ordinary rules (RFC 4684 section 3.1).
    let far = attrs(4, &[7]).local_pref(Some(100)).build();
    clients.change(4, RTC, membership(2), Some(far));
    let weak = attrs(2, &[7, 8]).local_pref(Some(100)).build();
    clients.change(2, RTC, membership(2), Some(weak));
    assert_eq!(clients.membership_told(3, &membership(2)), None);
}

/// RFC 4684 section 4 asks for VPN routes of whatever kind: here flow specifications, MVPN and VPLS.
#[test]
fn every_family_that_has_route_targets_is_told_to_those_who_asked() {
    let families = [Family::VPNV6, Family::EVPN, Family::VPLS, Family::MVPNV4, Family::MVPNV6];
    let flows = [Family::FLOWSPEC_VPNV4, Family::FLOWSPEC_VPNV6];
    for family in families.into_iter().chain(flows) {
        let mut clients = Clients::new();
        clients.up(3, [family, RTC].into_iter().collect());
        clients.up(4, FamilySet::from(family));
        clients.announce(3, RTC, membership(1), &[]);
        clients.end(3);
        for n in [1, 2] {
            clients.announce(4, family, Nlri::Opaque(vec![1, n].into()), &[target(n)]);
        }
        let told: Vec<usize> = [1, 2]
            .map(|n| {
                let id = clients.table.find(family, &Nlri::Opaque(vec![1, n].into())).expect("the route");
                clients.table.told(PeerId(3), family, id).count()
            })
            .to_vec();
        assert_eq!(told, [1, 0], "{family}");
    }
}
