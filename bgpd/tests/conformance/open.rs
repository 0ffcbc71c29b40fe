//! The OPEN that the scripted speaker sends: ordinary unless a case changes a field, and written without judgement.

use std::net::Ipv4Addr;

use crate::wire::{self, Family, V4, V6};

/// Capability codes.
pub(crate) const MULTIPROTOCOL: u8 = 1;
pub(crate) const ROUTE_REFRESH: u8 = 2;
pub(crate) const EXTENDED_NEXT_HOP: u8 = 5;
pub(crate) const EXTENDED_MESSAGE: u8 = 6;
pub(crate) const ROLE: u8 = 9;
pub(crate) const GRACEFUL_RESTART: u8 = 64;
pub(crate) const FOUR_OCTET_AS: u8 = 65;
pub(crate) const ADD_PATH: u8 = 69;
pub(crate) const ENHANCED_REFRESH: u8 = 70;
pub(crate) const LONG_LIVED: u8 = 71;

/// How capabilities are laid out in optional parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// All in one parameter.
    Together,
    /// Each in a parameter of its own.
    Apart,
    /// All in one parameter, in the long form (RFC 9072).
    Long,
}

/// An OPEN message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) version: u8,
    pub(crate) my_as: u16,
    pub(crate) hold_secs: u16,
    pub(crate) id: Ipv4Addr,
    pub(crate) capabilities: Vec<(u8, Vec<u8>)>,
    pub(crate) layout: Layout,
}

impl Open {
    /// IPv4 and IPv6 unicast, route refresh, four-octet AS numbers.
    pub(crate) fn new(asn: u32, id: Ipv4Addr) -> Open {
        let my_as = u16::try_from(asn).unwrap_or(23456);
        let open =
            Open { version: 4, my_as, hold_secs: 90, id, capabilities: Vec::new(), layout: Layout::Together };
        open.families(&[V4, V6]).with(ROUTE_REFRESH, &[]).with(FOUR_OCTET_AS, &asn.to_be_bytes())
    }

    /// Another capability, behind the others.
    pub(crate) fn with(mut self, code: u8, value: &[u8]) -> Open {
        self.capabilities.push((code, value.to_vec()));
        self
    }

    /// Without any capability of this code.
    pub(crate) fn without(mut self, code: u8) -> Open {
        self.capabilities.retain(|(known, _)| *known != code);
        self
    }

    /// With exactly these families.
    pub(crate) fn families(self, families: &[Family]) -> Open {
        families.iter().fold(self.without(MULTIPROTOCOL), |open, family| {
            let [high, low] = family.0.to_be_bytes();
            open.with(MULTIPROTOCOL, &[high, low, 0, family.1])
        })
    }

    pub(crate) fn hold(mut self, secs: u16) -> Open {
        self.hold_secs = secs;
        self
    }

    /// With graceful restart; `flags` are R (8) and N (4), a family's octet is 0x80 for preserved forwarding state.
    pub(crate) fn graceful(self, flags: u16, secs: u16, families: &[(Family, u8)]) -> Open {
        let mut value = (flags << 12 | secs).to_be_bytes().to_vec();
        for (family, forwarding) in families {
            value.extend(wire::family_octets(*family));
            value.push(*forwarding);
        }
        self.without(GRACEFUL_RESTART).with(GRACEFUL_RESTART, &value)
    }

    /// With long-lived graceful restart (RFC 9494).
    pub(crate) fn long_lived(self, families: &[(Family, u8, u32)]) -> Open {
        let mut value = Vec::new();
        for (family, forwarding, secs) in families {
            value.extend(wire::family_octets(*family));
            value.push(*forwarding);
            value.extend(&secs.to_be_bytes()[1..]);
        }
        self.without(LONG_LIVED).with(LONG_LIVED, &value)
    }

    /// With add-path: 1 receives, 2 sends, 3 both.
    pub(crate) fn add_path(self, families: &[(Family, u8)]) -> Open {
        let mut value = Vec::new();
        for (family, direction) in families {
            value.extend(wire::family_octets(*family));
            value.push(*direction);
        }
        self.without(ADD_PATH).with(ADD_PATH, &value)
    }

    /// The value of the last capability of this code.
    pub(crate) fn value(&self, code: u8) -> Option<&[u8]> {
        self.capabilities.iter().rev().find(|(known, _)| *known == code).map(|(_, value)| &value[..])
    }

    /// Families and their direction in the add-path capability.
    pub(crate) fn add_paths(&self) -> Vec<(Family, u8)> {
        let value = self.value(ADD_PATH).unwrap_or(&[]);
        let tuple = |four: &[u8]| ((u16::from_be_bytes([four[0], four[1]]), four[2]), four[3]);
        value.chunks_exact(4).map(tuple).collect()
    }

    /// Every family in a multiprotocol capability.
    pub(crate) fn all_families(&self) -> Vec<Family> {
        let values =
            self.capabilities.iter().filter(|(code, value)| *code == MULTIPROTOCOL && value.len() == 4);
        values.map(|(_, value)| (u16::from_be_bytes([value[0], value[1]]), value[3])).collect()
    }

    /// The fixed part, with this for its optional parameters and their length octets.
    pub(crate) fn with_parameters(&self, parameters: &[u8]) -> Vec<u8> {
        let mut body = vec![self.version];
        body.extend(self.my_as.to_be_bytes());
        body.extend(self.hold_secs.to_be_bytes());
        body.extend(self.id.octets());
        body.extend(parameters);
        wire::message(wire::OPEN, &body)
    }

    /// The whole message.
    pub(crate) fn octets(&self) -> Vec<u8> {
        let each = |(code, value): &(u8, Vec<u8>)| [&[*code, value.len() as u8], &value[..]].concat();
        let all: Vec<u8> = self.capabilities.iter().flat_map(each).collect();
        let parameters = match self.layout {
            _ if all.is_empty() => vec![0],
            Layout::Together => [&[all.len() as u8 + 2, 2, all.len() as u8], &all[..]].concat(),
            Layout::Apart => {
                let parts: Vec<u8> = self
                    .capabilities
                    .iter()
                    .flat_map(|capability| {
                        let octets = each(capability);
                        [&[2, octets.len() as u8], &octets[..]].concat()
                    })
                    .collect();
                [&[parts.len() as u8], &parts[..]].concat()
            }
            Layout::Long => {
                let len = all.len() as u16;
                let mut long = vec![255, 255];
                long.extend((len + 3).to_be_bytes());
                long.push(2);
                long.extend(len.to_be_bytes());
                [long, all].concat()
            }
        };
        self.with_parameters(&parameters)
    }

    /// Reads the body of one that was received.
    pub(crate) fn read(body: &[u8]) -> Option<Open> {
        let ([version, as_high, as_low, hold_high, hold_low, a, b, c, d], rest) = body.split_first_chunk()?;
        let mut open = Open {
            version: *version,
            my_as: u16::from_be_bytes([*as_high, *as_low]),
            hold_secs: u16::from_be_bytes([*hold_high, *hold_low]),
            id: Ipv4Addr::new(*a, *b, *c, *d),
            capabilities: Vec::new(),
            layout: Layout::Together,
        };
        let long = rest.get(..2) == Some(&[255, 255]);
        let mut rest = rest.get(if long { 4 } else { 1 }..)?;
        while let [2, tail @ ..] = rest {
            let (len, skip) = match long {
                true => (usize::from(u16::from_be_bytes([*tail.first()?, *tail.get(1)?])), 2),
                false => (usize::from(*tail.first()?), 1),
            };
            let mut inner = tail.get(skip..skip + len)?;
            while let [code, len, value @ ..] = inner {
                let (value, tail) = value.split_at_checked(usize::from(*len))?;
                open.capabilities.push((*code, value.to_vec()));
                inner = tail;
            }
            rest = tail.get(skip + len..)?;
        }
        rest.is_empty().then_some(open)
    }
}
