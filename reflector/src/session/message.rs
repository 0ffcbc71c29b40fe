//! The octets of messages that the session writes itself.

use bgp_proto::{Family, Notification, Open, RefreshKind, RouteRefresh, encode_end_of_rib, encode_keepalive};
use bytes::{Bytes, BytesMut};

pub(super) fn open(open: &Open) -> Bytes {
    written(|octets| open.encode(octets))
}

pub(super) fn keepalive() -> Bytes {
    written(encode_keepalive)
}

pub(super) fn notification(notification: &Notification) -> Bytes {
    written(|octets| notification.encode(octets))
}

pub(super) fn refresh(family: Family, kind: RefreshKind) -> Bytes {
    written(|octets| RouteRefresh { family, kind }.encode(octets))
}

pub(super) fn end_of_rib(family: Family) -> Bytes {
    written(|octets| encode_end_of_rib(family, octets))
}

fn written(write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut octets = BytesMut::new();
    write(&mut octets);
    octets.freeze()
}
