//! Zero-copy BGP-4 codec.
//!
//! Bytes become views, views become values only where something is kept. The crate never reads a socket, a clock or a
//! configuration, keeps no state between messages, and never panics, whatever the bytes.
//!
//! * [`Frame::first`] finds a message in a stream and judges its header; [`Message::decode`] reads it.
//! * [`Update`] is a checked view: its readers borrow the received bytes and cannot fail. What was wrong is in
//!   [`Update::faults`] with the remedy of RFC 7606, and what must be done about the routes in [`Update::verdict`].
//! * [`AttrSet`] is what is kept of a route's attributes: canonical, shared, compared by bytes.
//! * [`AttrBlock`] writes routes: attributes encoded once, packed with as many prefixes as fit.
//! * [`WireContext`] is everything outside a message that changes how it is read or written.
//!
//! ```
//! use bgp_proto::{PeerKind, Update, Verdict, WireContext};
//!
//! // Nothing withdrawn; ORIGIN igp, AS_PATH 65001, NEXT_HOP 10.0.0.1; 10.244.1.0/24.
//! let body = [
//!     0, 0, 0, 20, 0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xFD, 0xE9, 0x40, 3, 4, 10, 0, 0, 1, 24, 10, 244, 1,
//! ];
//! let update = Update::decode(&body, &WireContext::modern(PeerKind::External)).unwrap();
//! assert_eq!(update.verdict(), Verdict::Sound);
//! assert_eq!(update.as_path().to_string(), "65001");
//! let reach = update.reach().next().unwrap();
//! assert_eq!(reach.nlri.prefixes().next().unwrap().1, "10.244.1.0/24".parse().unwrap());
//! ```
//!
//! Features: `serde` reads and writes values in their text forms. Rust 1.89 or later.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod attr;
pub mod capability;
pub mod context;
mod encode;
pub mod error;
mod family;
pub mod frame;
pub mod iana;
mod id;
mod message;
mod nlri;
mod notification;
mod open;
mod prefix;
mod reader;
mod refresh;
mod route_key;
#[cfg(feature = "serde")]
mod serde_impls;
mod text;
mod update;
mod writer;

pub use attr::{AttrSet, AttrSetBuilder, NextHop};
pub use capability::Capability;
pub use context::{AsSets, AsnWidth, Features, MessageMax, PeerKind, WireContext};
pub use encode::{AttrBlock, encode_end_of_rib, encode_withdrawals};
pub use error::{Cause, EncodeError, Fault, Remedy, Reset};
pub use family::{Afi, Family, FamilySet, Safi, Shape};
pub use frame::Frame;
pub use iana::{AttrCode, ErrorCode, MessageKind};
pub use id::{Asn, ClusterId, PathId, RouterId};
pub use message::{Message, encode_keepalive};
pub use nlri::{AsNlri, Nlri, NlriIter, NlriRef, Prefixes};
pub use notification::{Detail, Notification};
pub use open::Open;
pub use prefix::{Prefix, Version};
pub use refresh::{RefreshKind, RouteRefresh};
pub use route_key::RouteKey;
pub use text::ParseError;
pub use update::{Reach, Reaches, Skim, Unreach, Unreaches, Update, Verdict};
pub use writer::HEADER_OCTETS;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
