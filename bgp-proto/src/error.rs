//! What is wrong with received bytes, and what must be done about it.
//!
//! RFC 7606 leaves three answers to a bad UPDATE, here [`Remedy`]: drop one attribute, take the routes as withdrawn, or
//! reset the session. A [`Fault`] is a small copyable value: the cause, the attribute it was found in, and the remedy;
//! [`Fault::section`] names the text that demands it. Faults that end the session are a [`Reset`], which also carries
//! the NOTIFICATION to send, exactly. A decoder returns `Err(Reset)` or a view; the lesser faults are read off the view.

use crate::iana::AttrCode;
use crate::notification::Notification;
use core::fmt;

/// What a fault obliges us to do, the mildest first (RFC 7606 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Remedy {
    /// Drop the attribute, keep the routes.
    Discard,
    /// Take every route of the UPDATE as withdrawn, keep the session.
    Withdraw,
    /// Send a NOTIFICATION and close.
    Reset,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// A marker octet is not 0xFF.
    Marker,
    /// A message length that its type, or the session, does not allow.
    MessageLength,
    /// A mark around refreshed routes that is not four octets.
    RefreshLength,
    /// A message type that does not exist.
    MessageType,
    /// A BGP version other than 4.
    Version,
    /// AS number zero, or AS_TRANS without a four-octet number.
    PeerAs,
    /// BGP identifier zero.
    Identifier,
    /// Hold time of one or two seconds.
    HoldTime,
    /// An optional parameter other than capabilities.
    OptionalParameter,
    /// Optional parameters or capabilities run past their container.
    OpenLength,
    /// Role capabilities that contradict each other.
    Role,
    /// Withdrawn routes or path attributes run past the message.
    SectionOverrun,
    /// The last attribute runs past the attributes.
    AttributeOverrun,
    /// Octets after the last attribute, too few for a header.
    TrailingOctets,
    /// The Optional or Transitive bit contradicts the attribute's definition.
    AttributeFlags,
    /// An attribute length that its definition does not allow.
    AttributeLength,
    /// An attribute value that its definition does not allow.
    AttributeValue,
    /// An AS path segment of unknown type, of zero length, or running past the attribute.
    PathSegment,
    /// AS number zero.
    AsZero,
    /// AS_SET or AS_CONFED_SET.
    AsSet,
    /// A confederation segment from a peer outside the confederation.
    ConfedSegment,
    /// An AS path that does not fit in an attribute once its numbers are four octets wide.
    PathTooLong,
    /// A mandatory attribute is missing.
    Missing,
    /// A second copy of an attribute.
    Duplicate,
    /// The attribute has no meaning from this kind of peer.
    OutOfPlace,
    /// An unknown attribute that claims to be well-known.
    UnrecognisedWellKnown,
    /// A next hop that is no unicast address.
    NextHop,
    /// A next hop whose length the family does not allow.
    NextHopLength,
    /// A prefix length beyond the family's, or NLRI that run past their field.
    Nlri,
}

/// One thing wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// What is wrong.
    pub cause: Cause,
    /// The attribute it was found in; zero (reserved) where the fault is not one attribute's.
    pub attribute: AttrCode,
    /// What must be done.
    pub remedy: Remedy,
}

impl Fault {
    pub(crate) const fn new(cause: Cause, attribute: AttrCode, remedy: Remedy) -> Fault {
        Fault { cause, attribute, remedy }
    }

    /// The text that demands the remedy.
    pub fn section(&self) -> &'static str {
        match self.cause {
            Cause::Marker | Cause::MessageLength | Cause::MessageType => "RFC 4271 section 6.1",
            Cause::RefreshLength => "RFC 7313 section 5",
            Cause::Identifier => "RFC 6286 section 2.2",
            Cause::Version | Cause::HoldTime | Cause::OptionalParameter | Cause::OpenLength => {
                "RFC 4271 section 6.2"
            }
            Cause::PeerAs => "RFC 7607 section 2",
            Cause::Role => "RFC 9234 section 4.2",
            Cause::SectionOverrun => "RFC 4271 section 6.3",
            Cause::AttributeOverrun | Cause::TrailingOctets => "RFC 7606 section 4",
            Cause::AttributeFlags => "RFC 7606 section 3 (c)",
            Cause::Missing => "RFC 7606 section 3 (d)",
            Cause::Duplicate => "RFC 7606 section 3 (g)",
            Cause::UnrecognisedWellKnown => "RFC 4271 section 6.3",
            Cause::AsZero => "RFC 7607 section 2",
            Cause::AsSet => "RFC 9774 section 3",
            Cause::ConfedSegment => "RFC 5065 section 5",
            Cause::Nlri => "RFC 7606 section 5.3",
            Cause::NextHopLength => "RFC 7606 section 7.11",
            Cause::AttributeLength
            | Cause::AttributeValue
            | Cause::PathSegment
            | Cause::PathTooLong
            | Cause::OutOfPlace
            | Cause::NextHop => self.attribute_section(),
        }
    }

    fn attribute_section(&self) -> &'static str {
        match self.attribute {
            AttrCode::ORIGIN => "RFC 7606 section 7.1",
            AttrCode::AS_PATH => "RFC 7606 section 7.2",
            AttrCode::NEXT_HOP => "RFC 7606 section 7.3",
            AttrCode::MED => "RFC 7606 section 7.4",
            AttrCode::LOCAL_PREF => "RFC 7606 section 7.5",
            AttrCode::ATOMIC_AGGREGATE => "RFC 7606 section 7.6",
            AttrCode::AGGREGATOR => "RFC 7606 section 7.7",
            AttrCode::COMMUNITIES => "RFC 7606 section 7.8",
            AttrCode::ORIGINATOR_ID => "RFC 7606 section 7.9",
            AttrCode::CLUSTER_LIST => "RFC 7606 section 7.10",
            AttrCode::MP_REACH_NLRI => "RFC 7606 section 7.11",
            AttrCode::MP_UNREACH_NLRI => "RFC 7606 section 7.12",
            AttrCode::EXT_COMMUNITIES => "RFC 7606 section 7.14",
            AttrCode::IPV6_EXT_COMMUNITIES => "RFC 7606 section 7.15",
            AttrCode::AS4_PATH | AttrCode::AS4_AGGREGATOR => "RFC 6793 section 6",
            AttrCode::LARGE_COMMUNITIES => "RFC 8092 section 6",
            AttrCode::AIGP => "RFC 7311 section 3",
            AttrCode::ONLY_TO_CUSTOMER => "RFC 9234 section 5",
            AttrCode::LINK_STATE => "RFC 9552 section 8.2.2",
            AttrCode::PREFIX_SID => "RFC 8669 section 6",
            AttrCode::PMSI_TUNNEL => "RFC 6514 section 5",
            AttrCode::ATTR_SET => "RFC 6368 section 5",
            AttrCode::BGPSEC_PATH => "RFC 8205 section 5.2",
            _ => "RFC 7606 section 3",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attribute != AttrCode::RESERVED {
            write!(f, "{}: ", self.attribute)?;
        }
        let (what, remedy) = (self.cause.text(), self.remedy);
        let remedy = match remedy {
            Remedy::Discard => "attribute discarded",
            Remedy::Withdraw => "routes taken as withdrawn",
            Remedy::Reset => "session reset",
        };
        write!(f, "{what}; {remedy} ({})", self.section())
    }
}

impl core::error::Error for Fault {}

impl Cause {
    const fn text(self) -> &'static str {
        match self {
            Cause::Marker => "marker is not all ones",
            Cause::MessageLength => "message length not allowed",
            Cause::RefreshLength => "refresh mark of wrong length",
            Cause::MessageType => "no such message type",
            Cause::Version => "version is not 4",
            Cause::PeerAs => "AS number zero or not given in full",
            Cause::Identifier => "BGP identifier zero",
            Cause::HoldTime => "hold time of one or two seconds",
            Cause::OptionalParameter => "unknown optional parameter",
            Cause::OpenLength => "optional parameters run past their end",
            Cause::Role => "role capabilities contradict each other",
            Cause::SectionOverrun => "a section runs past the message",
            Cause::AttributeOverrun => "attribute runs past the attributes",
            Cause::TrailingOctets => "octets after the last attribute",
            Cause::AttributeFlags => "wrong attribute flags",
            Cause::AttributeLength => "wrong attribute length",
            Cause::AttributeValue => "value not allowed",
            Cause::PathSegment => "malformed AS path segment",
            Cause::AsZero => "AS number zero",
            Cause::AsSet => "AS_SET in the path",
            Cause::ConfedSegment => "confederation segment from outside",
            Cause::PathTooLong => "AS path too long",
            Cause::Missing => "mandatory attribute missing",
            Cause::Duplicate => "second copy",
            Cause::OutOfPlace => "not allowed from this peer",
            Cause::UnrecognisedWellKnown => "unknown well-known attribute",
            Cause::NextHop => "next hop is not a unicast address",
            Cause::NextHopLength => "next hop length not allowed",
            Cause::Nlri => "malformed NLRI",
        }
    }
}

/// A fault that ends the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// What is wrong.
    pub fault: Fault,
    /// What to send before closing. `None` where nothing may be sent: the fault was in a NOTIFICATION.
    pub answer: Option<Notification>,
}

impl Reset {
    pub(crate) fn new(cause: Cause, answer: Notification) -> Reset {
        Reset { fault: Fault::new(cause, AttrCode::RESERVED, Remedy::Reset), answer: Some(answer) }
    }

    pub(crate) fn silent(cause: Cause) -> Reset {
        Reset { fault: Fault::new(cause, AttrCode::RESERVED, Remedy::Reset), answer: None }
    }
}

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.answer {
            Some(answer) => write!(f, "{}; answer {answer}", self.fault),
            None => self.fault.fmt(f),
        }
    }
}

impl core::error::Error for Reset {}

/// Why routes cannot be written for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EncodeError {
    /// One route with its attributes is longer than the session's messages may be.
    TooLong {
        /// Octets that a message with one route would have.
        needed: usize,
        /// Octets that the session allows.
        max: usize,
    },
    /// The session takes no next hop of this form for routes of the family.
    NextHop,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::TooLong { needed, max } => {
                write!(f, "a message of {needed} octets where the session allows {max}")
            }
            EncodeError::NextHop => f.write_str("a next hop that the session does not take for the family"),
        }
    }
}

impl core::error::Error for EncodeError {}
