//! The other end of a BFD session (RFC 5880), as small as it can be: it answers each packet, and so comes up and stays up.
//!
//! It tells long intervals, so that a busy machine is never taken for a path that fails.

use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context, Result, ensure};
use socket2::SockRef;

use crate::speaker::{DUT_ID, SOON, Who};

const PORT: u16 = 3784;
const DOWN: u8 = 1;
const INIT: u8 = 2;
const UP: u8 = 3;
const ADMIN_DOWN: u8 = 0;
/// Our name for the session.
const NAME: [u8; 4] = [0, 0, 0, 7];
/// A second: three of them without a packet are too many.
const INTERVAL: [u8; 4] = 1_000_000_u32.to_be_bytes();

/// One end of a path.
pub(crate) struct Path {
    hears: UdpSocket,
    speaks: UdpSocket,
    /// The C bit.
    independent: bool,
}

impl Path {
    /// A path between this neighbour and the daemon; `independent`: it says that it lives on when the neighbour's BGP does not.
    pub(crate) fn of(who: Who, independent: bool) -> Result<Path> {
        let hears = UdpSocket::bind((who.address(), PORT)).context("port 3784")?;
        hears.set_read_timeout(Some(SOON))?;
        let speaks = UdpSocket::bind((who.address(), 50_000 + who.host))?;
        SockRef::from(&speaks).set_ttl_v4(255)?;
        speaks.connect(SocketAddr::new(DUT_ID.into(), PORT))?;
        Ok(Path { hears, speaks, independent })
    }

    /// The state that the daemon tells next, and its name for the session.
    fn hear(&self) -> Result<(u8, [u8; 4])> {
        let mut octets = [0; 64];
        let (length, from) = self.hears.recv_from(&mut octets).context("no BFD packet")?;
        let [first, flags, multiplier, told, name @ ..] = &octets;
        ensure!(from.ip() == DUT_ID, "a packet from {from}");
        ensure!(
            first >> 5 == 1 && *multiplier > 0 && usize::from(*told) == length,
            "{:02x?}",
            &octets[..length]
        );
        Ok((flags >> 6, [name[0], name[1], name[2], name[3]]))
    }

    fn say(&self, state: u8, theirs: [u8; 4]) -> Result<()> {
        let octets = [
            [1 << 5, state << 6 | u8::from(self.independent) << 3, 3, 24],
            NAME,
            theirs,
            INTERVAL,
            INTERVAL,
            [0; 4],
        ]
        .concat();
        Ok(self.speaks.send(&octets).map(drop)?)
    }

    /// Both ends are up.
    pub(crate) fn rise(&self) -> Result<()> {
        loop {
            let (state, theirs) = self.hear()?;
            let is_up = state == UP;
            self.say(if state == DOWN { INIT } else { UP }, theirs)?;
            if is_up {
                return Ok(());
            }
        }
    }

    /// The daemon has taken our word that BFD ends here, which is no word about the path.
    pub(crate) fn withdraw(&self) -> Result<()> {
        loop {
            let (state, theirs) = self.hear()?;
            self.say(ADMIN_DOWN, theirs)?;
            if state == DOWN {
                return Ok(());
            }
        }
    }
}
