//! ROUTE-REFRESH: a request for routes, and the marks around the answer (RFC 2918, RFC 7313).

use crate::error::{Cause, Reset};
use crate::family::{Afi, Family, Safi};
use crate::frame::Frame;
use crate::iana::{ErrorCode, MessageKind};
use crate::notification::Notification;
use crate::writer::{self, HEADER_OCTETS};
use bytes::BytesMut;

/// A ROUTE-REFRESH message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteRefresh {
    /// The family asked for.
    pub family: Family,
    /// What is asked.
    pub kind: RefreshKind,
}

/// The message's subtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefreshKind {
    /// Send all routes again.
    Request,
    /// The routes that follow are all there are (BoRR).
    Begin,
    /// They have been sent (EoRR).
    End,
    /// Another, to be ignored (RFC 7313 section 5).
    Unknown(u8),
}

impl RefreshKind {
    /// The subtype octet.
    pub const fn octet(self) -> u8 {
        match self {
            RefreshKind::Request => 0,
            RefreshKind::Begin => 1,
            RefreshKind::End => 2,
            RefreshKind::Unknown(octet) => octet,
        }
    }
}

impl RouteRefresh {
    /// Reads a message. A wrong length is answered with the whole message if it is a mark (RFC 7313 section 5), else as
    /// any wrong length.
    pub fn decode(frame: &Frame<'_>) -> Result<RouteRefresh, Reset> {
        let body = frame.body();
        let [afi_high, afi_low, subtype, safi] = body else {
            if let Some(1 | 2) = body.get(2) {
                let answer = Notification::with_data(ErrorCode::REFRESH_LENGTH, frame.octets);
                return Err(Reset::new(Cause::RefreshLength, answer));
            }
            let len = (HEADER_OCTETS + body.len()).min(0xFFFF) as u16;
            let answer = Notification::with_data(ErrorCode::HEADER_LENGTH, &len.to_be_bytes());
            return Err(Reset::new(Cause::MessageLength, answer));
        };
        let kind = match subtype {
            0 => RefreshKind::Request,
            1 => RefreshKind::Begin,
            2 => RefreshKind::End,
            other => RefreshKind::Unknown(*other),
        };
        let afi = Afi(u16::from_be_bytes([*afi_high, *afi_low]));
        Ok(RouteRefresh { family: Family::new(afi, Safi(*safi)), kind })
    }

    /// Appends the whole message.
    pub fn encode(&self, out: &mut BytesMut) {
        let frame = writer::Frame::begin(MessageKind::RouteRefresh, out);
        out.extend_from_slice(&self.family.afi.0.to_be_bytes());
        out.extend_from_slice(&[self.kind.octet(), self.family.safi.0]);
        frame.end(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::WireContext;

    #[test]
    fn reads_back_and_answers_wrong_lengths() {
        for kind in [RefreshKind::Request, RefreshKind::Begin, RefreshKind::End, RefreshKind::Unknown(9)] {
            let refresh = RouteRefresh { family: Family::IPV6_UNICAST, kind };
            let mut out = BytesMut::new();
            refresh.encode(&mut out);
            let frame = Frame::first(&out, &WireContext::PLAIN).unwrap().unwrap();
            assert_eq!(RouteRefresh::decode(&frame), Ok(refresh));
            let short = Frame { octets: &out[..22], ..frame };
            let answer = RouteRefresh::decode(&short).unwrap_err().answer.unwrap();
            match kind {
                RefreshKind::Begin | RefreshKind::End => {
                    assert_eq!((answer.error, &answer.data[..]), (ErrorCode::REFRESH_LENGTH, &out[..22]));
                }
                _ => assert_eq!((answer.error, &answer.data[..]), (ErrorCode::HEADER_LENGTH, &[0, 22][..])),
            }
        }
    }
}
