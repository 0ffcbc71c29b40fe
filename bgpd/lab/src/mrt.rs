//! An MRT TABLE_DUMP_V2 file (RFC 6396) of many IPv4 prefixes with one next hop, for `gobgp mrt inject`: the quickest
//! way to make a peer announce a thousand routes.

use std::net::Ipv4Addr;

const TABLE_DUMP_V2: u16 = 13;
const PEER_INDEX_TABLE: u16 = 1;
const RIB_IPV4_UNICAST: u16 = 2;

/// GoBGP's client may end before the last records are sent, so each is there this often.
const COPIES: u16 = 3;

/// The bytes of a dump with the prefixes 100.64.0.0/24, 100.64.1.0/24 and so on, `count` of them.
pub fn dump(count: u16, next_hop: Ipv4Addr) -> Vec<u8> {
    let mut bytes = Vec::new();
    record(&mut bytes, PEER_INDEX_TABLE, &peers(next_hop));
    for _ in 0..COPIES {
        for index in 0..count {
            record(&mut bytes, RIB_IPV4_UNICAST, &entry(index, next_hop));
        }
    }
    bytes
}

/// The prefix of this number in a dump.
pub fn prefix(index: u16) -> String {
    let [high, low] = index.to_be_bytes();
    format!("100.{}.{low}.0/24", 64 + u16::from(high))
}

/// Timestamp 0, type, subtype, length, message.
fn record(bytes: &mut Vec<u8>, subtype: u16, message: &[u8]) {
    bytes.extend([0; 4]);
    bytes.extend(TABLE_DUMP_V2.to_be_bytes());
    bytes.extend(subtype.to_be_bytes());
    bytes.extend((message.len() as u32).to_be_bytes());
    bytes.extend(message);
}

/// Collector id, no view name, one peer of type 2 (IPv4, four-octet AS): identifier, address, AS.
fn peers(peer: Ipv4Addr) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(peer.octets());
    message.extend([0, 0, 0, 1, 2]);
    message.extend(peer.octets());
    message.extend(peer.octets());
    message.extend(64512u32.to_be_bytes());
    message
}

/// Sequence number, prefix, one entry: peer 0, time 0, and the attributes ORIGIN, an empty AS_PATH and NEXT_HOP.
fn entry(index: u16, next_hop: Ipv4Addr) -> Vec<u8> {
    let [high, low] = index.to_be_bytes();
    let mut attributes = vec![0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4];
    attributes.extend(next_hop.octets());
    let mut message = u32::from(index).to_be_bytes().to_vec();
    message.extend([24, 100, 64 + high, low]);
    message.extend(1u16.to_be_bytes());
    message.extend([0; 6]);
    message.extend((attributes.len() as u16).to_be_bytes());
    message.extend(attributes);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_the_lengths_they_say() {
        let bytes = dump(2, Ipv4Addr::new(10, 0, 0, 2));
        let mut rest = bytes.as_slice();
        let mut subtypes = Vec::new();
        while !rest.is_empty() {
            let length = u32::from_be_bytes(rest[8..12].try_into().unwrap()) as usize;
            subtypes.push(u16::from_be_bytes(rest[6..8].try_into().unwrap()));
            rest = &rest[12 + length..];
        }
        assert_eq!(subtypes[0], PEER_INDEX_TABLE);
        assert_eq!(subtypes[1..], [RIB_IPV4_UNICAST; 2 * COPIES as usize]);
        assert_eq!(prefix(257), "100.65.1.0/24");
    }
}
