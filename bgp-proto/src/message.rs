//! One message of any type.

use crate::context::WireContext;
use crate::error::{Cause, Reset};
use crate::frame::Frame;
use crate::iana::MessageKind;
use crate::notification::Notification;
use crate::open::Open;
use crate::refresh::RouteRefresh;
use crate::update::Update;
use crate::writer;
use bytes::BytesMut;

/// A message. An UPDATE borrows the received bytes, the others are small and owned.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "the large variant is the common one, and boxing it would allocate"
)]
pub enum Message<'a> {
    /// Opens a session.
    Open(Open),
    /// Announces and withdraws routes.
    Update(Update<'a>),
    /// Closes a session.
    Notification(Notification),
    /// Keeps a session alive.
    Keepalive,
    /// Asks for routes, or marks the answer.
    RouteRefresh(RouteRefresh),
}

impl<'a> Message<'a> {
    /// Reads a frame.
    #[inline]
    pub fn decode(frame: &Frame<'a>, ctx: &WireContext) -> Result<Message<'a>, Reset> {
        match frame.kind {
            MessageKind::Update => Update::decode(frame.body(), ctx).map(Message::Update),
            MessageKind::Keepalive => Ok(Message::Keepalive),
            MessageKind::Open => Open::decode(frame.body()).map(Message::Open),
            MessageKind::Notification => {
                let notification = Notification::decode(frame.body());
                notification.map(Message::Notification).ok_or(Reset::silent(Cause::MessageLength))
            }
            MessageKind::RouteRefresh => RouteRefresh::decode(frame).map(Message::RouteRefresh),
        }
    }
}

/// Appends a KEEPALIVE.
pub fn encode_keepalive(out: &mut BytesMut) {
    writer::Frame::begin(MessageKind::Keepalive, out).end(out);
}
