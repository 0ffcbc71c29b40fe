//! The control packet (RFC 5880 section 4.1), without authentication.
//!
//! ```text
//!  0                   1                   2                   3
//! |Vers |  Diag   |Sta|P|F|C|A|D|M|  Detect Mult  |    Length     |
//! |  My Discriminator | Your Discriminator |
//! |  Desired Min TX Interval | Required Min RX Interval | Required Min Echo RX Interval |   microseconds
//! ```

use std::time::Duration;

/// Octets of a packet without authentication.
pub const OCTETS: usize = 24;
const VERSION: u8 = 1;
const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const INDEPENDENT: u8 = 0x08;
const AUTHENTICATED: u8 = 0x04;
const MULTIPOINT: u8 = 0x01;

/// The state of a session (RFC 5880 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Held down by an operator.
    AdminDown,
    /// The other side is not heard.
    Down,
    /// It is heard, and does not hear us yet.
    Init,
    /// Both hear each other.
    Up,
}

/// Why the session was last not up (RFC 5880 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Diagnostic {
    /// It never was.
    None = 0,
    /// The other side was not heard in time.
    Expired = 1,
    /// The other side said so.
    Signaled = 3,
    /// An operator ended it.
    AdminDown = 7,
}

/// What a control packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// The sender's state.
    pub state: State,
    /// Why it was last not up, as a number: others know more reasons.
    pub diagnostic: u8,
    /// An answer is wanted at once.
    pub poll: bool,
    /// This is the answer to a poll.
    pub is_final: bool,
    /// The sender's forwarding does not share the fate of its control plane (section 4.1, C).
    pub is_independent: bool,
    /// So many packets may be missed.
    pub multiplier: u8,
    /// The sender's name for the session; not 0.
    pub mine: u32,
    /// The receiver's name for it, 0 while unknown.
    pub yours: u32,
    /// How often the sender would like to send.
    pub desired_tx: Duration,
    /// How often it can receive; zero: it wants nothing.
    pub required_rx: Duration,
}

impl Packet {
    /// Reads a datagram; `None` if RFC 5880 section 6.8.6 has it discarded.
    pub fn read(octets: &[u8]) -> Option<Packet> {
        let octets: &[u8; OCTETS] = octets.first_chunk()?;
        let word = |at: usize| -> Option<u32> { Some(u32::from_be_bytes(*octets.get(at..)?.first_chunk()?)) };
        let [first, flags, multiplier, length, ..] = *octets;
        let is_plain = first >> 5 == VERSION && flags & (AUTHENTICATED | MULTIPOINT) == 0;
        if !is_plain || usize::from(length) != OCTETS || multiplier == 0 {
            return None;
        }
        let packet = Packet {
            state: match flags >> 6 {
                0 => State::AdminDown,
                1 => State::Down,
                2 => State::Init,
                _ => State::Up,
            },
            diagnostic: first & 0x1F,
            poll: flags & POLL != 0,
            is_final: flags & FINAL != 0,
            is_independent: flags & INDEPENDENT != 0,
            multiplier,
            mine: word(4)?,
            yours: word(8)?,
            desired_tx: Duration::from_micros(word(12)?.into()),
            required_rx: Duration::from_micros(word(16)?.into()),
        };
        // Only who has not heard us yet does not know our name.
        let knows_us = packet.yours != 0 || matches!(packet.state, State::Down | State::AdminDown);
        (packet.mine != 0 && knows_us).then_some(packet)
    }

    /// The octets to send.
    pub fn octets(&self) -> [u8; OCTETS] {
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let state = match self.state {
            State::AdminDown => 0,
            State::Down => 1,
            State::Init => 2,
            State::Up => 3,
        };
        let flags = state << 6
            | flag(self.poll, POLL)
            | flag(self.is_final, FINAL)
            | flag(self.is_independent, INDEPENDENT);
        let mut octets = [0; OCTETS];
        let head = [VERSION << 5 | self.diagnostic & 0x1F, flags, self.multiplier, OCTETS as u8];
        let words = [self.mine, self.yours, micros(self.desired_tx), micros(self.required_rx), 0];
        let all = head.into_iter().chain(words.into_iter().flat_map(u32::to_be_bytes));
        octets.iter_mut().zip(all).for_each(|(place, octet)| *place = octet);
        octets
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Packet = Packet {
        state: State::Up,
        diagnostic: Diagnostic::Signaled as u8,
        poll: true,
        is_final: false,
        is_independent: true,
        multiplier: 3,
        mine: 0x0102_0304,
        yours: 0x0506_0708,
        desired_tx: Duration::from_millis(300),
        required_rx: Duration::from_millis(50),
    };

    #[test]
    fn a_packet_is_the_octets_of_the_rfc() {
        let octets =
            [0x23, 0xE8, 3, 24, 1, 2, 3, 4, 5, 6, 7, 8, 0, 4, 0x93, 0xE0, 0, 0, 0xC3, 0x50, 0, 0, 0, 0];
        assert_eq!(UP.octets(), octets);
        assert_eq!(Packet::read(&octets), Some(UP));
    }

    #[test]
    fn what_the_rfc_discards_is_discarded() {
        let with = |at: usize, octet: u8| {
            let mut octets = UP.octets();
            octets[at] = octet;
            Packet::read(&octets)
        };
        assert_eq!(Packet::read(&UP.octets()[..23]), None, "too short");
        assert_eq!(with(0, 0x43), None, "version 2");
        assert_eq!(with(1, 0xEC), None, "authentication that we do not use");
        assert_eq!(with(1, 0xE9), None, "multipoint");
        assert_eq!(with(2, 0), None, "multiplier 0");
        assert_eq!(with(3, 26), None, "longer than the datagram");
        assert_eq!(Packet::read(&Packet { mine: 0, ..UP }.octets()), None, "no name");
        assert_eq!(Packet::read(&Packet { yours: 0, ..UP }.octets()), None, "up, and does not know us");
        assert!(Packet::read(&Packet { yours: 0, state: State::Down, ..UP }.octets()).is_some());
    }
}
