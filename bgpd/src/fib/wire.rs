//! rtnetlink on the wire: the dozen messages that a routing daemon speaks, as views over received bytes and as writers
//! that append to a buffer.
//!
//! Written by hand, because of what it is for. Reading must never fail as a whole: a message with an attribute of a later
//! kernel is still a route, so unknown attributes are skipped (and counted as "not plain"), and a malformed one costs
//! itself only. Reading must not allocate per attribute: a resync walks a million routes. And several requests share one
//! buffer and one system call. The `netlink-packet-route` crate is the oracle of the tests: what this file writes, that
//! crate reads, and the other way round.
//!
//! Integers are in the machine's order, addresses in network order, everything is padded to four octets
//! (`Documentation/userspace-api/netlink/intro.rst` in the kernel's tree, rtnetlink(7)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bgp_proto::attr::MacAddr;
use bgp_proto::{Prefix, Version};

use super::facts::{Address, Arrival, KernelChange, KernelRoute, Link, Path, Place, Target};

mod device;

pub(super) use device::{write_dump_neighbours, write_tunnel};

const F_REQUEST: u16 = 0x01;
pub(super) const F_ACK: u16 = 0x04;
const F_DUMP: u16 = 0x300;
/// On answers of a dump: it was disturbed by a change, and is to be asked for again.
const F_DUMP_INTR: u16 = 0x10;
pub(super) const F_REPLACE: u16 = 0x100;
pub(super) const F_EXCL: u16 = 0x200;
pub(super) const F_CREATE: u16 = 0x400;
/// On acknowledgements: the request is not repeated in it, only its header.
const F_CAPPED: u16 = 0x100;
/// On acknowledgements: attributes follow.
const F_ACK_TLVS: u16 = 0x200;

const ERROR: u16 = 2;
const DONE: u16 = 3;
const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDR: u16 = 20;
const DEL_ADDR: u16 = 21;
const GET_ADDR: u16 = 22;
const NEW_ROUTE: u16 = 24;
const DEL_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;
const NEW_NEIGHBOUR: u16 = 28;

const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const RTN_UNSPEC: u8 = 0;
const RTN_UNICAST: u8 = 1;
const RTN_BLACKHOLE: u8 = 6;
const RTN_THROW: u8 = 9;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const SCOPE_NOWHERE: u8 = 255;
const RTM_F_CLONED: u32 = 0x200;
const RTNH_F_ONLINK: u8 = 4;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_CACHEINFO: u16 = 12;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTA_PREF: u16 = 20;
const RTA_ENCAP_TYPE: u16 = 21;
const RTA_ENCAP: u16 = 22;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const VXLAN_ID: u16 = 1;
const VXLAN_PORT: u16 = 15;
const IFLA_EXT_MASK: u16 = 29;
/// Leave the interface's counters out of the answer.
const EXT_MASK_SKIP_STATS: u32 = 8;
const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
/// Secondary-and-temporary is not here on purpose: such an address is usable.
const IFA_F_UNSETTLED: u32 = 0x08 | 0x20 | 0x40;

const ERR_ATTR_MSG: u16 = 1;

const HEADER_LEN: usize = 16;
const ROUTE_LEN: usize = 12;
const NEXT_HOP_LEN: usize = 8;

/// One message of a received datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    kind: u16,
    flags: u16,
    /// The sequence number of the request that this answers.
    pub(super) seq: u32,
    /// The socket that asked for it, or that caused what is notified; 0 for the kernel itself.
    pub(super) port: u32,
    body: &'a [u8],
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// A fact or a change of one.
    Change(KernelChange),
    /// The answer to a request: 0, or the error's number with the kernel's own words.
    Ack(i32, Option<&'a str>),
    /// The end of a dump, with the error's number if it broke off.
    Done(i32),
    /// Not for us: another kind, another address family, a cached or a source-specific route, or unreadable.
    Ignored,
}

/// The messages of one datagram, up to the first that does not fit.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let len = usize::try_from(u32_at(datagram, 0)?).ok()?;
        let body = datagram.get(HEADER_LEN..len)?;
        let message = Message {
            kind: u16_at(datagram, 4)?,
            flags: u16_at(datagram, 6)?,
            seq: u32_at(datagram, 8)?,
            port: u32_at(datagram, 12)?,
            body,
        };
        datagram = datagram.get(aligned(len)..).unwrap_or(&[]);
        Some(message)
    })
}

impl<'a> Message<'a> {
    /// Whether a dump that this message is part of must be repeated.
    pub(super) fn interrupted(&self) -> bool {
        self.flags & F_DUMP_INTR != 0
    }

    /// Reads the message.
    pub(super) fn content(&self) -> Content<'a> {
        let change = match self.kind {
            ERROR => return self.ack(),
            DONE => return Content::Done(i32_at(self.body, 0).unwrap_or(0).saturating_neg()),
            NEW_ROUTE => self.route().map(|route| KernelChange::RouteCame(route, self.arrival())),
            DEL_ROUTE => self.route().map(KernelChange::RouteWent),
            NEW_LINK => self.link().map(KernelChange::LinkCame),
            DEL_LINK => self.link().map(|link| KernelChange::LinkWent(link.ifindex)),
            NEW_ADDR => self.address().map(KernelChange::AddressCame),
            DEL_ADDR => self.address().map(KernelChange::AddressWent),
            NEW_NEIGHBOUR => device::neighbour(self.body).map(KernelChange::NeighbourSeen),
            _ => None,
        };
        change.map_or(Content::Ignored, Content::Change)
    }

    fn arrival(&self) -> Arrival {
        if self.flags & F_REPLACE != 0 { Arrival::Replaced } else { Arrival::Added }
    }

    fn ack(&self) -> Content<'a> {
        let errno = i32_at(self.body, 0).unwrap_or(0).saturating_neg();
        let request =
            if self.flags & F_CAPPED != 0 { HEADER_LEN } else { u32_at(self.body, 4).unwrap_or(0) as usize };
        let text = match self.flags & F_ACK_TLVS {
            0 => None,
            _ => attributes(self.body.get(4 + aligned(request)..).unwrap_or(&[]))
                .find(|attr| attr.kind == ERR_ATTR_MSG)
                .and_then(|attr| text(attr.value)),
        };
        Content::Ack(errno, text)
    }

    fn route(&self) -> Option<KernelRoute> {
        let version = version(*self.body.first()?)?;
        let [_, dst_len, src_len, tos, table, protocol, _scope, kind] = *self.body.first_chunk()?;
        let flags = u32_at(self.body, 8)?;
        if src_len != 0 || tos != 0 || flags & RTM_F_CLONED != 0 {
            return None;
        }
        let mut parts = RouteParts::default();
        for attr in attributes(self.body.get(ROUTE_LEN..)?) {
            parts.take(version, &attr);
        }
        let destination = parts.destination.unwrap_or(unspecified(version));
        let target = match kind {
            RTN_BLACKHOLE => Target::Blackhole,
            RTN_UNICAST if parts.encapsulated => Target::Other,
            RTN_UNICAST => parts.target((flags & 0xff) as u8),
            RTN_UNSPEC..=RTN_THROW => Target::Other,
            _ => return None,
        };
        Some(KernelRoute {
            prefix: Prefix::new(destination, dst_len).ok()?,
            place: Place { table: parts.table.unwrap_or(u32::from(table)), metric: parts.metric },
            protocol,
            target,
            plain: !parts.strange,
        })
    }

    /// A bridge tells of its ports in messages of the same kind and another family (`DEL_LINK` there means "no longer a
    /// port"); those are not about the interface itself.
    fn link(&self) -> Option<Link> {
        if *self.body.first()? != AF_UNSPEC {
            return None;
        }
        let flags = u32_at(self.body, 8)?;
        let mut link = Link {
            ifindex: u32_at(self.body, 4)?,
            up: flags & IFF_UP != 0,
            loopback: flags & IFF_LOOPBACK != 0,
            ..Link::default()
        };
        for attr in attributes(self.body.get(16..)?) {
            match attr.kind {
                IFLA_IFNAME => link.name = text(attr.value).unwrap_or("").into(),
                IFLA_MTU => link.mtu = u32_at(attr.value, 0).unwrap_or(0),
                IFLA_ADDRESS => link.mac = attr.value.try_into().ok().map(MacAddr),
                IFLA_LINKINFO => link.kind = device::link_kind(attr.value),
                _ => {}
            }
        }
        Some(link)
    }

    fn address(&self) -> Option<Address> {
        let version = version(*self.body.first()?)?;
        let [_, _len, flags, scope] = *self.body.first_chunk()?;
        let (mut local, mut peer, mut flags) = (None, None, u32::from(flags));
        for attr in attributes(self.body.get(8..)?) {
            match attr.kind {
                IFA_LOCAL => local = address(version, attr.value),
                IFA_ADDRESS => peer = address(version, attr.value),
                IFA_FLAGS => flags = u32_at(attr.value, 0).unwrap_or(flags),
                _ => {}
            }
        }
        Some(Address {
            ifindex: u32_at(self.body, 4)?,
            addr: local.or(peer)?,
            global: scope == SCOPE_UNIVERSE,
            settled: flags & IFA_F_UNSETTLED == 0,
        })
    }
}

/// A route's attributes while they are being collected.
#[derive(Default)]
struct RouteParts {
    destination: Option<IpAddr>,
    table: Option<u32>,
    metric: u32,
    gateway: Option<IpAddr>,
    ifindex: u32,
    paths: Vec<Path>,
    encapsulated: bool,
    strange: bool,
}

impl RouteParts {
    fn take(&mut self, version: Version, attr: &Attribute<'_>) {
        match attr.kind {
            RTA_DST => self.destination = address(version, attr.value),
            RTA_GATEWAY => self.gateway = address(version, attr.value),
            RTA_VIA => self.gateway = via(attr.value),
            RTA_OIF => self.ifindex = u32_at(attr.value, 0).unwrap_or(0),
            RTA_PRIORITY => self.metric = u32_at(attr.value, 0).unwrap_or(0),
            RTA_TABLE => self.table = u32_at(attr.value, 0),
            RTA_MULTIPATH => self.multipath(version, attr.value),
            RTA_CACHEINFO => {}
            RTA_PREF => self.strange |= attr.value.first().is_some_and(|preference| *preference != 0),
            RTA_ENCAP | RTA_ENCAP_TYPE => {
                self.encapsulated = true;
                self.strange = true;
            }
            _ => self.strange = true,
        }
    }

    fn multipath(&mut self, version: Version, mut value: &[u8]) {
        while let Some([a, b, flags, hops, ..]) = value.first_chunk::<NEXT_HOP_LEN>().copied() {
            let len = usize::from(u16::from_ne_bytes([a, b]));
            let Some(attrs) = value.get(NEXT_HOP_LEN..len) else { break };
            let mut part = RouteParts { ifindex: u32_at(value, 4).unwrap_or(0), ..RouteParts::default() };
            for attr in attributes(attrs) {
                part.take(version, &attr);
            }
            self.encapsulated |= part.encapsulated;
            self.strange |= part.strange;
            self.paths.push(Path { weight: u16::from(hops) + 1, ..part.path(flags) });
            value = value.get(aligned(len)..).unwrap_or(&[]);
        }
    }

    fn path(&self, flags: u8) -> Path {
        Path { gateway: self.gateway, ifindex: self.ifindex, weight: 1, onlink: flags & RTNH_F_ONLINK != 0 }
    }

    fn target(&mut self, flags: u8) -> Target {
        let mut paths = std::mem::take(&mut self.paths);
        if paths.is_empty() && self.ifindex != 0 {
            paths.push(self.path(flags));
        }
        Target::via(paths, usize::MAX)
    }
}

/// A type-length-value of a message.
struct Attribute<'a> {
    kind: u16,
    value: &'a [u8],
}

fn attributes(mut rest: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(rest, 0)?);
        // The two highest bits say "nested" and "network order".
        let attr = Attribute { kind: u16_at(rest, 2)? & 0x3fff, value: rest.get(4..len)? };
        rest = rest.get(aligned(len)..).unwrap_or(&[]);
        Some(attr)
    })
}

fn via(value: &[u8]) -> Option<IpAddr> {
    let family = u8::try_from(u16_at(value, 0)?).ok()?;
    address(version(family)?, value.get(2..)?)
}

fn address(version: Version, value: &[u8]) -> Option<IpAddr> {
    match version {
        Version::V4 => value.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets).into()),
        Version::V6 => value.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets).into()),
    }
}

fn unspecified(version: Version) -> IpAddr {
    match version {
        Version::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Version::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn version(family: u8) -> Option<Version> {
    match family {
        AF_INET => Some(Version::V4),
        AF_INET6 => Some(Version::V6),
        _ => None,
    }
}

fn family(version: Version) -> u8 {
    match version {
        Version::V4 => AF_INET,
        Version::V6 => AF_INET6,
    }
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value.split(|octet| *octet == 0).next()?).ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|octets| u16::from_ne_bytes(*octets))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|octets| u32::from_ne_bytes(*octets))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    u32_at(bytes, at).map(u32::cast_signed)
}

/// Lengths are rounded up to four; one that cannot be (it is a lie anyway) stays.
fn aligned(len: usize) -> usize {
    len.checked_next_multiple_of(4).unwrap_or(len)
}

/// A request about one route.
#[derive(Debug, Clone, Copy)]
pub(super) struct RouteRequest<'a> {
    /// Flags beside `F_REQUEST`.
    pub(super) flags: u16,
    pub(super) seq: u32,
    pub(super) prefix: Prefix,
    pub(super) place: Place,
    pub(super) protocol: u8,
    pub(super) verb: Verb<'a>,
}

/// What is to become of the route.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verb<'a> {
    /// It is to be there; the flags say whether it may take another's place.
    New(&'a Target),
    /// It is to go: the one with this target or, without, whichever of our protocol lies at the place. A target is
    /// given only where several lie there, because the kernel compares the paths of a multipath route in their order.
    Delete(Option<&'a Target>),
}

impl RouteRequest<'_> {
    /// Appends the message.
    pub(super) fn write(&self, buf: &mut Vec<u8>) {
        let version = self.prefix.version();
        let (message, target, scope, onlink) = match self.verb {
            Verb::New(target) => (NEW_ROUTE, Some(target), scope(target), onlink(target)),
            Verb::Delete(target) => (DEL_ROUTE, target, SCOPE_NOWHERE, 0),
        };
        let kind = match target {
            Some(Target::Blackhole) => RTN_BLACKHOLE,
            Some(Target::Via(_)) => RTN_UNICAST,
            Some(Target::Other) | None => RTN_UNSPEC,
        };
        let start = begin(buf, message, self.flags, self.seq);
        let table = u8::try_from(self.place.table).unwrap_or(0);
        buf.extend_from_slice(&[family(version), self.prefix.len(), 0, 0, table, self.protocol, scope, kind]);
        buf.extend_from_slice(&u32::from(onlink).to_ne_bytes());
        put_address(buf, RTA_DST, self.prefix.addr());
        if table == 0 {
            put_u32(buf, RTA_TABLE, self.place.table);
        }
        put_u32(buf, RTA_PRIORITY, self.place.metric);
        match target.map_or(&[][..], Target::paths) {
            [] => {}
            [path] => {
                put_gateway(buf, version, path);
                put_u32(buf, RTA_OIF, path.ifindex);
            }
            paths => put_multipath(buf, version, paths),
        }
        end(buf, start);
    }
}

fn scope(target: &Target) -> u8 {
    match target.paths() {
        [] => SCOPE_UNIVERSE,
        paths if paths.iter().all(|path| path.gateway.is_none()) => SCOPE_LINK,
        _ => SCOPE_UNIVERSE,
    }
}

/// The flag of a route with one path; paths of a multipath route have one each.
fn onlink(target: &Target) -> u8 {
    match target.paths() {
        [path] if path.onlink => RTNH_F_ONLINK,
        _ => 0,
    }
}

/// Appends the request for all routes of a version in a table, or in all tables. The kernel obeys the table only on a
/// socket with strict checking.
pub(super) fn write_dump_routes(buf: &mut Vec<u8>, seq: u32, version: Version, table: u32) {
    let start = begin(buf, GET_ROUTE, F_DUMP, seq);
    let short = u8::try_from(table).unwrap_or(0);
    buf.extend_from_slice(&[family(version), 0, 0, 0, short, 0, 0, 0, 0, 0, 0, 0]);
    if short == 0 {
        put_u32(buf, RTA_TABLE, table);
    }
    end(buf, start);
}

/// Appends the request for all interfaces.
pub(super) fn write_dump_links(buf: &mut Vec<u8>, seq: u32) {
    let start = begin(buf, GET_LINK, F_DUMP, seq);
    buf.extend_from_slice(&[0; 16]);
    put_u32(buf, IFLA_EXT_MASK, EXT_MASK_SKIP_STATS);
    end(buf, start);
}

/// Appends the request for all addresses of both versions.
pub(super) fn write_dump_addresses(buf: &mut Vec<u8>, seq: u32) {
    let start = begin(buf, GET_ADDR, F_DUMP, seq);
    buf.extend_from_slice(&[0; 8]);
    end(buf, start);
}

fn begin(buf: &mut Vec<u8>, kind: u16, flags: u16, seq: u32) -> usize {
    let start = buf.len();
    buf.extend_from_slice(&[0; 4]);
    buf.extend_from_slice(&kind.to_ne_bytes());
    buf.extend_from_slice(&(flags | F_REQUEST).to_ne_bytes());
    buf.extend_from_slice(&seq.to_ne_bytes());
    buf.extend_from_slice(&[0; 4]);
    start
}

/// Every message here is far below the limits of its length fields.
fn end(buf: &mut [u8], start: usize) {
    let len = u32::try_from(buf.len() - start).unwrap_or(0);
    if let Some(field) = buf.get_mut(start..start + 4) {
        field.copy_from_slice(&len.to_ne_bytes());
    }
}

fn put(buf: &mut Vec<u8>, kind: u16, len: usize) {
    let len = u16::try_from(len + 4).unwrap_or(u16::MAX);
    buf.extend_from_slice(&len.to_ne_bytes());
    buf.extend_from_slice(&kind.to_ne_bytes());
}

fn put_u32(buf: &mut Vec<u8>, kind: u16, value: u32) {
    put(buf, kind, 4);
    buf.extend_from_slice(&value.to_ne_bytes());
}

fn put_address(buf: &mut Vec<u8>, kind: u16, addr: IpAddr) {
    match addr {
        IpAddr::V4(addr) => {
            put(buf, kind, 4);
            buf.extend_from_slice(&addr.octets());
        }
        IpAddr::V6(addr) => {
            put(buf, kind, 16);
            buf.extend_from_slice(&addr.octets());
        }
    }
}

/// An IPv4 route through an IPv6 neighbour (RFC 8950) names it in an attribute of its own, with its family.
fn put_gateway(buf: &mut Vec<u8>, version: Version, path: &Path) {
    match (version, path.gateway) {
        (_, None) => {}
        (Version::V4, Some(IpAddr::V6(addr))) => {
            put(buf, RTA_VIA, 18);
            buf.extend_from_slice(&u16::from(AF_INET6).to_ne_bytes());
            buf.extend_from_slice(&addr.octets());
            buf.extend_from_slice(&[0; 2]);
        }
        (_, Some(addr)) => put_address(buf, RTA_GATEWAY, addr),
    }
}

fn put_multipath(buf: &mut Vec<u8>, version: Version, paths: &[Path]) {
    let start = buf.len();
    put(buf, RTA_MULTIPATH, 0);
    for path in paths {
        let hop = buf.len();
        let flags = if path.onlink { RTNH_F_ONLINK } else { 0 };
        let hops = u8::try_from(path.weight.saturating_sub(1)).unwrap_or(u8::MAX);
        buf.extend_from_slice(&[0, 0, flags, hops]);
        buf.extend_from_slice(&path.ifindex.to_ne_bytes());
        put_gateway(buf, version, path);
        patch_len(buf, hop);
    }
    patch_len(buf, start);
}

fn patch_len(buf: &mut [u8], start: usize) {
    let len = u16::try_from(buf.len() - start).unwrap_or(u16::MAX);
    if let Some(field) = buf.get_mut(start..start + 2) {
        field.copy_from_slice(&len.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests;
