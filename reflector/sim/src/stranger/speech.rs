//! What a stranger says: messages drawn whole, some of them damaged afterwards, and octets that are no message.

use bgp_proto::attr::{Community, Origin};
use bgp_proto::capability::{AddPath, Forwarding, GracefulRestart, LongLived, Role};
use bgp_proto::{
    Asn, AttrBlock, AttrSet, AttrSetBuilder, Capability, ErrorCode, Family, NextHop, Nlri, Notification,
    Open, PathId, Prefix, RefreshKind, RouteRefresh, RouterId, WireContext, encode_end_of_rib,
    encode_keepalive, encode_withdrawals,
};
use bytes::BytesMut;
use reflector::session::Config;
use std::net::IpAddr;

use super::{FAMILIES, hop, side};
use crate::random::Random;
use crate::topology::Node as Plan;

/// Roles that may be told (RFC 9234).
pub(super) const ROLES: [Role; 6] = [
    Role::Provider,
    Role::RouteServer,
    Role::RouteServerClient,
    Role::Customer,
    Role::Peer,
    Role::Unassigned(9),
];

/// A stranger about to speak: with whom, and who it is.
pub(super) struct Speech<'a> {
    pub(super) random: &'a mut Random,
    /// How the other side of the session is configured.
    pub(super) config: &'a Config,
    pub(super) us: &'a Plan,
}

impl Speech<'_> {
    /// A sound OPEN and a KEEPALIVE, then now and then a route.
    pub(super) fn greeting(&mut self) -> Vec<u8> {
        let mut out = BytesMut::new();
        let mut open = self.open();
        (open.asn, open.router_id) = (self.config.peer_asn, self.us.router_id);
        open.hold_secs = [0, 3, 9, 90][self.random.below(4)];
        open.capabilities.push(Capability::FourOctetAs(self.config.peer_asn));
        if let Some(rule) = self.config.role {
            open.capabilities.retain(|capability| !matches!(capability, Capability::Role(_)));
            open.capabilities.extend(counterpart(rule.role).map(Capability::Role));
        }
        open.encode(&mut out);
        encode_keepalive(&mut out);
        out.to_vec()
    }

    /// A message, or not.
    pub(super) fn anything(&mut self, ctx: Option<WireContext>) -> Vec<u8> {
        let mut ctx = ctx.unwrap_or(WireContext::modern(side(self.config)));
        if self.random.chance(5) {
            // As if something else had been agreed on.
            ctx.add_path = FAMILIES.into_iter().filter(|_| self.random.chance(50)).collect();
        }
        let mut out = BytesMut::new();
        match self.random.below(16) {
            0 => self.open().encode(&mut out),
            1 | 2 => encode_keepalive(&mut out),
            3 if self.random.chance(30) => self.notification().encode(&mut out),
            3..=5 => self.refresh().encode(&mut out),
            6 | 7 => encode_end_of_rib(FAMILIES[self.random.below(FAMILIES.len())], &mut out),
            8 if self.random.chance(30) => {
                let count = self.random.below(40);
                out.extend((0..count).map(|_| self.random.any() as u8));
            }
            8..=10 => self.withdrawals(&ctx, &mut out),
            _ => self.announcements(&ctx, &mut out),
        }
        let mut octets = out.to_vec();
        if self.random.chance(15) {
            self.damage(&mut octets);
        }
        octets
    }

    /// Changes an octet, drops some, or adds some.
    fn damage(&mut self, octets: &mut Vec<u8>) {
        let at = self.random.below(octets.len());
        match self.random.below(4) {
            0 => octets.truncate(at),
            1 => octets.insert(at, self.random.any() as u8),
            _ => {
                // Rather behind the marker, where it means something.
                let at = if at < 16 && octets.len() > 16 { 16 + at % (octets.len() - 16) } else { at };
                if let Some(octet) = octets.get_mut(at) {
                    *octet = self.random.any() as u8;
                }
            }
        }
    }

    fn open(&mut self) -> Open {
        let random = &mut *self.random;
        let mut capabilities = Vec::new();
        let families: Vec<Family> = FAMILIES.into_iter().filter(|_| random.chance(70)).collect();
        capabilities.extend(families.iter().copied().map(Capability::Multiprotocol));
        for one in [Capability::RouteRefresh, Capability::EnhancedRefresh, Capability::ExtendedMessage] {
            capabilities.extend(random.chance(70).then_some(one));
        }
        if random.chance(70) {
            capabilities.push(Capability::FourOctetAs(self.config.peer_asn));
        }
        if random.chance(20) {
            capabilities.push(Capability::Role(ROLES[random.below(ROLES.len())]));
        }
        if random.chance(30) {
            let ways = [AddPath::Receive, AddPath::Send, AddPath::Both];
            let tuples = families.iter().map(|family| (*family, ways[random.below(3)])).collect();
            capabilities.push(Capability::AddPath(tuples));
        }
        let forwarding = if random.chance(70) { Forwarding::Kept } else { Forwarding::Lost };
        if random.chance(60) {
            capabilities.push(Capability::GracefulRestart(GracefulRestart {
                restarting: random.chance(30),
                notification: random.chance(50),
                time_secs: [0, 1, 30, 4095][random.below(4)],
                families: families.iter().map(|family| (*family, forwarding)).collect(),
            }));
        }
        if random.chance(40) {
            let time_secs = [0, 5, 600, 0xFF_FFFF][random.below(4)];
            let entry = |family: &Family| LongLived { family: *family, forwarding, time_secs };
            capabilities.push(Capability::LongLivedRestart(families.iter().map(entry).collect()));
        }
        let asn = if random.chance(80) { self.config.peer_asn } else { Asn(random.any() as u32) };
        let hold_secs = [0, 1, 3, 9, 90, u16::MAX][random.below(6)];
        let router_id = match random.below(10) {
            0 => RouterId(0),
            1 => self.config.router_id,
            _ => self.us.router_id,
        };
        Open { asn, hold_secs, router_id, capabilities }
    }

    fn notification(&mut self) -> Notification {
        let error = ErrorCode::new(self.random.below(9) as u8, self.random.below(12) as u8);
        Notification::with_data(error, &vec![3; self.random.below(5)])
    }

    fn refresh(&mut self) -> RouteRefresh {
        let kinds = [RefreshKind::Request, RefreshKind::Begin, RefreshKind::End, RefreshKind::Unknown(7)];
        let family = FAMILIES[self.random.below(FAMILIES.len())];
        RouteRefresh { family, kind: kinds[self.random.below(kinds.len())] }
    }

    fn nlri(&mut self, family: Family) -> Vec<(PathId, Nlri)> {
        let count = self.random.between(1, 4);
        let prefixes = (0..count).filter_map(|_| {
            let net = self.random.below(6) as u8;
            let addr = match family {
                Family::IPV4_UNICAST => IpAddr::from([203, 0, 113, net << 4]),
                _ => IpAddr::from([0x2001, 0xDB8, u16::from(net), 0, 0, 0, 0, 0]),
            };
            let prefix = Prefix::new(addr, if addr.is_ipv4() { 28 } else { 48 }).ok()?;
            Some((PathId(self.random.below(3) as u32), Nlri::Prefix(prefix)))
        });
        prefixes.collect()
    }

    fn family(&mut self) -> Family {
        if self.random.chance(60) { Family::IPV4_UNICAST } else { Family::IPV6_UNICAST }
    }

    fn withdrawals(&mut self, ctx: &WireContext, out: &mut BytesMut) {
        let family = self.family();
        let nlri = self.nlri(family);
        encode_withdrawals(family, nlri.iter().map(|(id, nlri)| (*id, nlri)), ctx, out);
    }

    fn announcements(&mut self, ctx: &WireContext, out: &mut BytesMut) {
        let family = self.family();
        let nlri = self.nlri(family);
        let attrs = self.attrs(family);
        // What does not fit is not said.
        let nlri = nlri.iter().map(|(id, nlri)| (*id, nlri));
        let _ = AttrBlock::new(&attrs, family, ctx).encode_updates(nlri, out);
    }

    fn attrs(&mut self, family: Family) -> AttrSet {
        let random = &mut *self.random;
        let v4 = if random.chance(80) { hop(self.us) } else { IpAddr::from([192, 0, 2, random.any() as u8]) };
        let v6 = IpAddr::V6(self.us.v6());
        let mut edit =
            AttrSetBuilder::new(NextHop::from(if family == Family::IPV4_UNICAST { v4 } else { v6 }));
        let (own, theirs) = (self.config.local_asn, self.config.peer_asn);
        let paths: [&[Asn]; 5] = [&[], &[theirs], &[theirs], &[theirs, Asn(7), Asn(8)], &[theirs, own]];
        let internal: [&[Asn]; 3] = [&[], &[Asn(7)], &[own]];
        let path = if own == theirs { internal[random.below(3)] } else { paths[random.below(5)] };
        edit.origin(Origin::Igp).as_path(path);
        edit.local_pref((own == theirs || random.chance(5)).then_some(random.below(200) as u32));
        edit.med(random.chance(30).then_some(random.below(3) as u32));
        let marks =
            [Community::NO_EXPORT, Community::NO_ADVERTISE, Community::LLGR_STALE, Community::NO_LLGR];
        let count = random.below(2);
        edit.communities(&random.sample(&marks, count));
        if random.chance(20) {
            edit.originator_id(Some(RouterId(random.below(5) as u32)));
        }
        edit.build()
    }
}

/// The role that fits (RFC 9234 section 4.2).
fn counterpart(role: Role) -> Option<Role> {
    match role {
        Role::Provider => Some(Role::Customer),
        Role::Customer => Some(Role::Provider),
        Role::RouteServer => Some(Role::RouteServerClient),
        Role::RouteServerClient => Some(Role::RouteServer),
        Role::Peer => Some(Role::Peer),
        Role::Unassigned(_) => None,
    }
}
