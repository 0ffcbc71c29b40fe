//! Registered numbers: attribute codes, message types and NOTIFICATION codes, with their names.
//!
//! Source: the IANA registries "BGP Parameters" and "BGP Message Types". Numbers we do not act upon are listed too,
//! because an operator wants to read `PREFIX_SID` and not `40`.

use crate::text::ParseError;
use core::fmt;
use core::str::FromStr;

/// A path attribute's type code. Text form: the registered name, `attribute 99` for a number without one.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttrCode(pub u8);

macro_rules! attr_codes {
    ($($name:ident = $code:literal, $doc:literal;)*) => {
        impl AttrCode {
            $(#[doc = $doc] pub const $name: AttrCode = AttrCode($code);)*

            /// The registered name, `None` for a number without one.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            fn named(name: &str) -> Option<AttrCode> {
                match name {
                    $(stringify!($name) => Some(AttrCode::$name),)*
                    _ => None,
                }
            }
        }
    };
}

attr_codes! {
    RESERVED = 0, "Reserved (RFC 7606).";
    ORIGIN = 1, "Where the route comes from (RFC 4271).";
    AS_PATH = 2, "The autonomous systems passed (RFC 4271).";
    NEXT_HOP = 3, "Where to send packets (RFC 4271).";
    MED = 4, "Preference among several links to one AS (RFC 4271).";
    LOCAL_PREF = 5, "Preference within the AS (RFC 4271).";
    ATOMIC_AGGREGATE = 6, "A less specific route was chosen (RFC 4271).";
    AGGREGATOR = 7, "Who aggregated (RFC 4271).";
    COMMUNITIES = 8, "Tags (RFC 1997).";
    ORIGINATOR_ID = 9, "Who brought the route into the AS (RFC 4456).";
    CLUSTER_LIST = 10, "Reflection clusters passed (RFC 4456).";
    MP_REACH_NLRI = 14, "Routes of any family (RFC 4760).";
    MP_UNREACH_NLRI = 15, "Withdrawals of any family (RFC 4760).";
    EXT_COMMUNITIES = 16, "Typed tags (RFC 4360).";
    AS4_PATH = 17, "AS_PATH with four-octet numbers (RFC 6793).";
    AS4_AGGREGATOR = 18, "AGGREGATOR with a four-octet number (RFC 6793).";
    PMSI_TUNNEL = 22, "Multicast tunnel (RFC 6514).";
    TUNNEL_ENCAP = 23, "Tunnel encapsulation (RFC 9012).";
    TRAFFIC_ENGINEERING = 24, "Traffic engineering (RFC 5543).";
    IPV6_EXT_COMMUNITIES = 25, "Typed tags with IPv6 addresses (RFC 5701).";
    AIGP = 26, "Accumulated IGP metric (RFC 7311).";
    PE_DISTINGUISHER = 27, "PE distinguisher labels (RFC 6514).";
    LINK_STATE = 29, "Link-state properties (RFC 9552).";
    LARGE_COMMUNITIES = 32, "Tags of twelve octets (RFC 8092).";
    BGPSEC_PATH = 33, "Signed path (RFC 8205).";
    ONLY_TO_CUSTOMER = 35, "Route leak protection (RFC 9234).";
    DOMAIN_PATH = 36, "VPN domains passed (RFC 9816).";
    SFP = 37, "Service function path (RFC 9015).";
    BFD_DISCRIMINATOR = 38, "BFD discriminator (RFC 9026).";
    PREFIX_SID = 40, "Segment identifier of a prefix (RFC 8669).";
    ATTR_SET = 128, "A customer's attributes within a VPN (RFC 6368).";
}

impl fmt::Display for AttrCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "attribute {}", self.0),
        }
    }
}

impl fmt::Debug for AttrCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AttrCode {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        const WRONG: ParseError =
            ParseError("an attribute is a name such as LARGE_COMMUNITIES, or a number 0 to 255");
        let digits = s.strip_prefix("attribute ").unwrap_or(s);
        AttrCode::named(s).or_else(|| digits.parse().ok().map(AttrCode)).ok_or(WRONG)
    }
}

/// Message types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageKind {
    /// Opens a session.
    Open = 1,
    /// Announces and withdraws routes.
    Update = 2,
    /// Closes a session and says why.
    Notification = 3,
    /// Keeps a session alive.
    Keepalive = 4,
    /// Asks for all routes again (RFC 2918).
    RouteRefresh = 5,
}

impl MessageKind {
    /// The type for a type octet.
    #[inline]
    pub const fn from_octet(octet: u8) -> Option<MessageKind> {
        match octet {
            1 => Some(MessageKind::Open),
            2 => Some(MessageKind::Update),
            3 => Some(MessageKind::Notification),
            4 => Some(MessageKind::Keepalive),
            5 => Some(MessageKind::RouteRefresh),
            _ => None,
        }
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            MessageKind::Open => "OPEN",
            MessageKind::Update => "UPDATE",
            MessageKind::Notification => "NOTIFICATION",
            MessageKind::Keepalive => "KEEPALIVE",
            MessageKind::RouteRefresh => "ROUTE-REFRESH",
        })
    }
}

/// A NOTIFICATION's code and subcode. Text form: the registered names, `Cease/Administrative Shutdown`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode {
    /// Error code.
    pub code: u8,
    /// Error subcode, zero for "unspecific".
    pub subcode: u8,
}

macro_rules! error_codes {
    ($($name:ident = $code:literal / $subcode:literal, $text:literal;)*) => {
        impl ErrorCode {
            $(#[doc = $text] pub const $name: ErrorCode = ErrorCode { code: $code, subcode: $subcode };)*

            /// The registered name of the subcode, `None` for a number without one.
            pub const fn name(self) -> Option<&'static str> {
                match (self.code, self.subcode) {
                    $(($code, $subcode) => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    HEADER = 1 / 0, "Unspecific";
    HEADER_NOT_SYNCHRONIZED = 1 / 1, "Connection Not Synchronized";
    HEADER_LENGTH = 1 / 2, "Bad Message Length";
    HEADER_TYPE = 1 / 3, "Bad Message Type";
    OPEN = 2 / 0, "Unspecific";
    OPEN_VERSION = 2 / 1, "Unsupported Version Number";
    OPEN_PEER_AS = 2 / 2, "Bad Peer AS";
    OPEN_IDENTIFIER = 2 / 3, "Bad BGP Identifier";
    OPEN_PARAMETER = 2 / 4, "Unsupported Optional Parameter";
    OPEN_AUTHENTICATION = 2 / 5, "Authentication Failure (deprecated)";
    OPEN_HOLD_TIME = 2 / 6, "Unacceptable Hold Time";
    OPEN_CAPABILITY = 2 / 7, "Unsupported Capability";
    OPEN_ROLE = 2 / 11, "Role Mismatch";
    UPDATE = 3 / 0, "Unspecific";
    UPDATE_ATTRIBUTE_LIST = 3 / 1, "Malformed Attribute List";
    UPDATE_UNRECOGNIZED = 3 / 2, "Unrecognized Well-known Attribute";
    UPDATE_MISSING = 3 / 3, "Missing Well-known Attribute";
    UPDATE_FLAGS = 3 / 4, "Attribute Flags Error";
    UPDATE_LENGTH = 3 / 5, "Attribute Length Error";
    UPDATE_ORIGIN = 3 / 6, "Invalid ORIGIN Attribute";
    UPDATE_LOOP = 3 / 7, "AS Routing Loop (deprecated)";
    UPDATE_NEXT_HOP = 3 / 8, "Invalid NEXT_HOP Attribute";
    UPDATE_OPTIONAL = 3 / 9, "Optional Attribute Error";
    UPDATE_NETWORK = 3 / 10, "Invalid Network Field";
    UPDATE_AS_PATH = 3 / 11, "Malformed AS_PATH";
    HOLD_TIMER_EXPIRED = 4 / 0, "Unspecific";
    FSM = 5 / 0, "Unspecific";
    FSM_OPEN_SENT = 5 / 1, "Unexpected Message in OpenSent State";
    FSM_OPEN_CONFIRM = 5 / 2, "Unexpected Message in OpenConfirm State";
    FSM_ESTABLISHED = 5 / 3, "Unexpected Message in Established State";
    CEASE = 6 / 0, "Unspecific";
    CEASE_MAX_PREFIXES = 6 / 1, "Maximum Number of Prefixes Reached";
    CEASE_SHUTDOWN = 6 / 2, "Administrative Shutdown";
    CEASE_DECONFIGURED = 6 / 3, "Peer De-configured";
    CEASE_RESET = 6 / 4, "Administrative Reset";
    CEASE_REJECTED = 6 / 5, "Connection Rejected";
    CEASE_CONFIG_CHANGE = 6 / 6, "Other Configuration Change";
    CEASE_COLLISION = 6 / 7, "Connection Collision Resolution";
    CEASE_RESOURCES = 6 / 8, "Out of Resources";
    CEASE_HARD_RESET = 6 / 9, "Hard Reset";
    CEASE_BFD_DOWN = 6 / 10, "BFD Down";
    REFRESH = 7 / 0, "Unspecific";
    REFRESH_LENGTH = 7 / 1, "Invalid Message Length";
    SEND_HOLD_TIMER_EXPIRED = 8 / 0, "Unspecific";
    LOSS_OF_LSDB = 9 / 0, "Unspecific";
}

impl ErrorCode {
    /// Any pair of numbers.
    pub const fn new(code: u8, subcode: u8) -> ErrorCode {
        ErrorCode { code, subcode }
    }

    /// The registered name of the code alone.
    pub const fn class(self) -> Option<&'static str> {
        match self.code {
            1 => Some("Message Header Error"),
            2 => Some("OPEN Message Error"),
            3 => Some("UPDATE Message Error"),
            4 => Some("Hold Timer Expired"),
            5 => Some("Finite State Machine Error"),
            6 => Some("Cease"),
            7 => Some("ROUTE-REFRESH Message Error"),
            8 => Some("Send Hold Timer Expired"),
            9 => Some("Loss of LSDB Synchronization"),
            _ => None,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.class() {
            Some(class) => f.write_str(class)?,
            None => write!(f, "error {}", self.code)?,
        }
        match (self.subcode, self.name()) {
            (0, _) => Ok(()),
            (_, Some(name)) => write!(f, "/{name}"),
            (subcode, None) => write!(f, "/{subcode}"),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} ({self})", self.code, self.subcode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn every_attribute_reads_back_from_its_name() {
        for code in (0..=255).map(AttrCode) {
            assert_eq!(code.to_string().parse(), Ok(code));
        }
        assert_eq!("32".parse(), Ok(AttrCode::LARGE_COMMUNITIES));
        assert!("256".parse::<AttrCode>().is_err() && "MEDIUM".parse::<AttrCode>().is_err());
    }
}
