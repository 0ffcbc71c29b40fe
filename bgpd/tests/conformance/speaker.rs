//! The scripted speaker: one TCP connection that says exactly what a case tells it to, and remembers all it hears.
//!
//! A [`Conn`] has no thread and no timer. It reads when a case waits for something ([`Conn::until`]), under a deadline,
//! and keeps what it heard: the routes as they stand ([`Conn::rib`]), and every message with the moment of its arrival.
//! Offered hold times are long, so that nobody has to be kept alive while nothing is read; many sessions at once are a
//! [`crate::crowd::Crowd`].
//!
//! What it says can be put on the wire in three [`Form`]s, because a stream has no messages: a daemon must judge the same
//! octets the same however they arrive.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpStream};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::open::{ADD_PATH, Open};
use crate::wire::{self, Family, Key, Reading, Told, Update, family_of};

/// How long a daemon may take for what takes it milliseconds; generous, because cases run side by side on few cores.
pub(crate) const SOON: Duration = Duration::from_secs(8);

/// How what is said is put on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Each thing said is one write.
    Whole,
    /// Each octet is a segment of its own.
    Octets,
    /// In one write with a KEEPALIVE before and another behind, where one is allowed.
    Glued,
}

impl Form {
    pub(crate) const ALL: [Form; 3] = [Form::Whole, Form::Octets, Form::Glued];

    /// What a row's name has behind it when it is run in this form.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Form::Whole => "",
            Form::Octets => "::octets",
            Form::Glued => "::glued",
        }
    }
}

/// The form in which this process speaks.
static FORM: OnceLock<Form> = OnceLock::new();

/// Sets it, before the first connection.
pub(crate) fn speak(form: Form) {
    let _ = FORM.set(form);
}

/// A thing said octet by octet is so up to here; the rest of a long one follows whole.
const OCTETS_MAX: usize = 2048;

/// The daemon under test.
pub(crate) const DUT_ASN: u32 = 65001;
pub(crate) const DUT_ID: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const DUT_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const CLUSTER: u32 = 0x0909_0909;

/// One of the neighbours that we play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    /// Its number on the network: 10.0.0.0/16 and fd00::/64.
    pub(crate) host: u16,
    pub(crate) asn: u32,
    pub(crate) client: bool,
}

const fn who(host: u16, asn: u32, client: bool) -> Who {
    Who { host, asn, client }
}

/// eBGP neighbours.
pub(crate) const E1: Who = who(11, 65011, false);
pub(crate) const E2: Who = who(12, 65012, false);
/// Clients of the reflector.
pub(crate) const C1: Who = who(21, DUT_ASN, true);
pub(crate) const C2: Who = who(22, DUT_ASN, true);
/// Internal neighbours that are no clients.
pub(crate) const N1: Who = who(31, DUT_ASN, false);
pub(crate) const N2: Who = who(32, DUT_ASN, false);
/// Stands by during every case, and must still be there at its end.
pub(crate) const WITNESS: Who = who(99, DUT_ASN, true);
/// Not configured anywhere.
pub(crate) const STRANGER: Who = who(250, 65250, false);

/// The n-th spare eBGP neighbour.
pub(crate) const fn spare(n: u16) -> Who {
    who(256 + n, 65100 + n as u32, false)
}

/// The n-th of many clients.
pub(crate) const fn client(n: u16) -> Who {
    who(4096 + n, DUT_ASN, true)
}

impl Who {
    pub(crate) fn v4(self) -> Ipv4Addr {
        let [high, low] = self.host.to_be_bytes();
        Ipv4Addr::new(10, 0, high, low)
    }

    pub(crate) fn v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, self.host)
    }

    pub(crate) fn address(self) -> IpAddr {
        self.v4().into()
    }

    pub(crate) fn name(self) -> String {
        format!("peer{}", self.host)
    }

    pub(crate) fn is_external(self) -> bool {
        self.asn != DUT_ASN
    }

    /// The ordinary OPEN of this neighbour.
    pub(crate) fn open(self) -> Open {
        Open::new(self.asn, self.v4())
    }
}

/// A message that was heard.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    Open(Open),
    Update(Update),
    Notification(u8, u8, Vec<u8>),
    Keepalive,
    Refresh(Family, u8),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Reset,
}

/// A change to a route, in the order heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Announced(Key),
    Withdrawn(Key),
    EndOfRib(Family),
    Refresh(u8),
}

/// A connection to the daemon under test.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) who: Who,
    pub(crate) form: Form,
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Whether a KEEPALIVE may be said at any time.
    is_established: bool,
    /// Our OPEN, which with the daemon's says how its UPDATEs are read.
    said: Option<Open>,
    pub(crate) reading: Reading,
    pub(crate) heard: Vec<(Instant, Heard)>,
    pub(crate) changes: Vec<Change>,
    pub(crate) rib: BTreeMap<Key, Told>,
    pub(crate) end: Option<End>,
}

impl Conn {
    pub(crate) fn new(who: Who, stream: TcpStream) -> Result<Conn> {
        stream.set_nodelay(true)?;
        Ok(Conn {
            who,
            form: FORM.get().copied().unwrap_or(Form::Whole),
            stream,
            buffer: Vec::new(),
            is_established: false,
            said: None,
            reading: Reading::default(),
            heard: Vec::new(),
            changes: Vec::new(),
            rib: BTreeMap::new(),
            end: None,
        })
    }

    /// Says something in the process's form. A daemon that has already closed is no failure here: what it said before is.
    pub(crate) fn send(&mut self, octets: &[u8]) -> Result<()> {
        match self.form {
            Form::Whole => self.write(octets),
            Form::Octets => {
                let (slow, rest) = octets.split_at(octets.len().min(OCTETS_MAX));
                slow.iter().try_for_each(|octet| self.write(&[*octet]))?;
                self.write(rest)
            }
            Form::Glued if self.is_established => {
                // Behind part of a message a KEEPALIVE would be the rest of it.
                let behind = if is_complete(octets) { wire::keepalive() } else { Vec::new() };
                self.write(&[&wire::keepalive()[..], octets, &behind].concat())
            }
            Form::Glued => self.write(octets),
        }
    }

    fn write(&mut self, octets: &[u8]) -> Result<()> {
        self.stream.set_write_timeout(Some(SOON))?;
        match self.stream.write_all(octets) {
            Err(why) if is_gone(&why) => Ok(()),
            done => Ok(done?),
        }
    }

    /// Each octet in a segment of its own, and this long after the one before.
    pub(crate) fn trickle(&mut self, octets: &[u8], apart: Duration) -> Result<()> {
        for octet in octets {
            self.write(&[*octet])?;
            self.pump(apart, |_| false)?;
        }
        Ok(())
    }

    /// Sends without reading anything; false when the daemon has let go of the connection.
    pub(crate) fn poke(&mut self, octets: &[u8]) -> Result<bool> {
        self.stream.set_nonblocking(true)?;
        let wrote = self.stream.write(octets);
        self.stream.set_nonblocking(false)?;
        Ok(!wrote.is_err_and(|why| is_gone(&why)))
    }

    /// Closes our direction in order.
    pub(crate) fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The socket, for options.
    pub(crate) fn socket(&self) -> socket2::SockRef<'_> {
        socket2::SockRef::from(&self.stream)
    }

    /// Ends the connection by RST.
    pub(crate) fn abort(self) -> Result<()> {
        Ok(self.socket().set_linger(Some(Duration::ZERO))?)
    }

    /// Reads until `done`, the end of the connection or the deadline; true if `done`.
    pub(crate) fn pump(&mut self, within: Duration, mut done: impl FnMut(&Conn) -> bool) -> Result<bool> {
        let deadline = Instant::now() + within;
        loop {
            while self.step()? {}
            if done(self) {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.end.is_some() {
                return Ok(false);
            }
            self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<()> {
        let mut chunk = [0; 65536];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.end = Some(End::Closed),
            Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
            Err(why) if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) if is_gone(&why) => self.end = Some(End::Reset),
            Err(why) => return Err(why.into()),
        }
        Ok(())
    }

    /// Takes one message out of the buffer.
    fn step(&mut self) -> Result<bool> {
        let Some(header) = self.buffer.first_chunk::<19>() else { return Ok(false) };
        let len = usize::from(u16::from_be_bytes([header[16], header[17]]));
        ensure!(header[..16] == [0xFF; 16] && len >= 19, "a header like {header:02x?}");
        if self.buffer.len() < len {
            return Ok(false);
        }
        let whole: Vec<u8> = self.buffer.drain(..len).collect();
        let heard =
            self.read(whole[18], &whole[19..]).with_context(|| format!("we were told {whole:02x?}"))?;
        self.heard.push((Instant::now(), heard));
        Ok(true)
    }

    fn read(&mut self, kind: u8, body: &[u8]) -> Result<Heard> {
        Ok(match (kind, body) {
            (wire::OPEN, _) => {
                let theirs = Open::read(body).context("an OPEN that cannot be read")?;
                self.agree(&theirs);
                Heard::Open(theirs)
            }
            (wire::NOTIFICATION, [code, subcode, data @ ..]) => {
                Heard::Notification(*code, *subcode, data.to_vec())
            }
            (wire::KEEPALIVE, []) => Heard::Keepalive,
            (wire::REFRESH, [high, low, subtype, safi]) => {
                self.changes.push(Change::Refresh(*subtype));
                Heard::Refresh((u16::from_be_bytes([*high, *low]), *safi), *subtype)
            }
            (wire::UPDATE, _) => {
                let update = self.reading.update(body)?;
                self.take(&update);
                Heard::Update(update)
            }
            _ => bail!("type {kind}"),
        })
    }

    fn take(&mut self, update: &Update) {
        for key in &update.withdrawn {
            self.rib.remove(key);
            self.changes.push(Change::Withdrawn(key.clone()));
        }
        for (key, told) in &update.announced {
            self.rib.insert(key.clone(), told.clone());
            self.changes.push(Change::Announced(key.clone()));
        }
        self.changes.extend(update.end_of_rib.map(Change::EndOfRib));
    }

    /// Reads until `done`, which must come.
    pub(crate) fn until(&mut self, what: &str, done: impl FnMut(&Conn) -> bool) -> Result<()> {
        self.until_within(what, SOON, done)
    }

    pub(crate) fn until_within(
        &mut self,
        what: &str,
        within: Duration,
        done: impl FnMut(&Conn) -> bool,
    ) -> Result<()> {
        if self.pump(within, done)? {
            return Ok(());
        }
        let last = self.heard.iter().rev().take(3).map(|(_, heard)| heard).collect::<Vec<_>>();
        let end = self.end.map_or("still open".to_owned(), |end| format!("{end:?}"));
        bail!(
            "{}: {what}: not within {} s; connection {end}; heard last {last:?}",
            self.who.name(),
            within.as_secs_f32()
        )
    }

    /// Exchanges OPENs and the first KEEPALIVEs.
    pub(crate) fn handshake(&mut self, open: &Open) -> Result<Open> {
        let glued = self.form == Form::Glued;
        let early = if glued { wire::keepalive() } else { Vec::new() };
        self.said = Some(open.clone());
        self.send(&[open.octets(), early].concat())?;
        let theirs = self.wait_open()?;
        self.until("a KEEPALIVE", |conn| conn.keepalives() > 0)?;
        if !glued {
            self.send(&wire::keepalive())?;
        }
        self.is_established = true;
        Ok(theirs)
    }

    /// How many KEEPALIVEs were heard.
    pub(crate) fn keepalives(&self) -> usize {
        self.heard.iter().filter(|(_, heard)| matches!(heard, Heard::Keepalive)).count()
    }

    /// The daemon's OPEN.
    pub(crate) fn wait_open(&mut self) -> Result<Open> {
        self.until("an OPEN", |conn| conn.their_open().is_some())?;
        self.their_open().cloned().context("an OPEN")
    }

    pub(crate) fn their_open(&self) -> Option<&Open> {
        self.heard.iter().find_map(|(_, heard)| match heard {
            Heard::Open(open) => Some(open),
            _ => None,
        })
    }

    /// Reads UPDATEs as the two OPENs want it, from the next message on: one may stand right behind the daemon's. Any other
    /// direction than 1 to 3 says nothing (RFC 7911 section 4).
    fn agree(&mut self, theirs: &Open) {
        let Some(ours) = &self.said else { return };
        let receives = ours.add_paths();
        debug_assert!(ours.value(ADD_PATH).is_some() || receives.is_empty());
        let can = |family: Family| receives.iter().any(|(f, d)| *f == family && matches!(d, 1 | 3));
        let sends = theirs.add_paths().into_iter().filter(|(_, direction)| matches!(direction, 2 | 3));
        self.reading.numbered = sends.map(|(family, _)| family).filter(|family| can(*family)).collect();
    }

    /// The NOTIFICATION, once there is one.
    pub(crate) fn notified(&self) -> Option<(u8, u8, &[u8])> {
        self.heard.iter().find_map(|(_, heard)| match heard {
            Heard::Notification(code, subcode, data) => Some((*code, *subcode, &data[..])),
            _ => None,
        })
    }

    /// Expects a NOTIFICATION with one of these codes, then the end; returns the data.
    pub(crate) fn reset_by(&mut self, allowed: &[(u8, u8)]) -> Result<Vec<u8>> {
        self.until(&format!("a NOTIFICATION {allowed:?}"), |conn| conn.notified().is_some())?;
        let (code, subcode, data) = self.notified().context("a NOTIFICATION")?;
        ensure!(allowed.contains(&(code, subcode)), "expected {allowed:?}, got {code}/{subcode} {data:02x?}");
        let data = data.to_vec();
        self.ends()?;
        Ok(data)
    }

    /// Expects a NOTIFICATION and the end.
    pub(crate) fn reset(&mut self, code: u8, subcode: u8) -> Result<()> {
        self.reset_by(&[(code, subcode)]).map(drop)
    }

    /// Expects a NOTIFICATION with exactly this data, and the end.
    pub(crate) fn reset_with(&mut self, code: u8, subcode: u8, data: &[u8]) -> Result<()> {
        let got = self.reset_by(&[(code, subcode)])?;
        ensure!(got == data, "{code}/{subcode} with data {got:02x?} instead of {data:02x?}");
        Ok(())
    }

    /// Expects the end of the connection.
    pub(crate) fn ends(&mut self) -> Result<()> {
        self.ends_within(SOON)
    }

    pub(crate) fn ends_within(&mut self, within: Duration) -> Result<()> {
        self.until_within("the end of the connection", within, |conn| conn.end.is_some())
    }

    /// Expects the end without any NOTIFICATION.
    pub(crate) fn ends_silently(&mut self) -> Result<()> {
        self.ends()?;
        ensure!(self.notified().is_none(), "a NOTIFICATION {:?} in reply", self.notified());
        Ok(())
    }

    /// Fails when the connection has ended or a NOTIFICATION came; reads what is there.
    pub(crate) fn is_up(&mut self) -> Result<()> {
        self.pump(Duration::from_millis(1), |_| false)?;
        ensure!(self.notified().is_none(), "{}: NOTIFICATION {:?}", self.who.name(), self.notified());
        ensure!(self.end.is_none(), "{}: the connection is {:?}", self.who.name(), self.end);
        Ok(())
    }

    /// What we are told of a prefix without a path identifier.
    pub(crate) fn told(&self, prefix: &str) -> Option<&Told> {
        self.rib.get(&key(prefix))
    }

    /// Every path we are told of a prefix, by identifier.
    pub(crate) fn paths(&self, prefix: &str) -> Vec<(u32, &Told)> {
        let (family, octets) = (family_of(prefix), wire::nlri(prefix));
        let own = self.rib.iter().filter(|((of, _, nlri), _)| *of == family && *nlri == octets);
        own.map(|((_, id, _), told)| (*id, told)).collect()
    }

    /// Waits until we are told of a prefix.
    pub(crate) fn learn(&mut self, prefix: &str) -> Result<Told> {
        self.until(&format!("{prefix} announced"), |conn| !conn.paths(prefix).is_empty())?;
        Ok(self.paths(prefix).remove(0).1.clone())
    }

    /// Waits until we are told of a prefix with something about it.
    pub(crate) fn learn_that(
        &mut self,
        prefix: &str,
        what: &str,
        check: impl Fn(&Told) -> bool,
    ) -> Result<Told> {
        let done = |conn: &Conn| conn.paths(prefix).iter().any(|(_, told)| check(told));
        if let Err(why) = self.until(&format!("{prefix} with {what}"), done) {
            bail!("{why:#}; the route is {:?}", self.paths(prefix));
        }
        let found =
            self.paths(prefix).into_iter().find(|(_, told)| check(told)).map(|(_, told)| told.clone());
        found.context("the route")
    }

    /// Waits until no path to a prefix is left.
    pub(crate) fn unlearn(&mut self, prefix: &str) -> Result<()> {
        self.until(&format!("{prefix} withdrawn"), |conn| conn.paths(prefix).is_empty())
    }

    /// How often a prefix was announced and withdrawn.
    pub(crate) fn count(&self, prefix: &str) -> (usize, usize) {
        let (family, octets) = (family_of(prefix), wire::nlri(prefix));
        let is_it = |key: &Key| key.0 == family && key.2 == octets;
        let count = |pick: fn(&Change) -> Option<&Key>| {
            self.changes.iter().filter(|change| pick(change).is_some_and(is_it)).count()
        };
        (
            count(|change| match change {
                Change::Announced(key) => Some(key),
                _ => None,
            }),
            count(|change| match change {
                Change::Withdrawn(key) => Some(key),
                _ => None,
            }),
        )
    }

    pub(crate) fn has_end_of_rib(&self, family: Family) -> bool {
        self.changes.contains(&Change::EndOfRib(family))
    }
}

/// A prefix without a path identifier as it stands in [`Conn::rib`].
pub(crate) fn key(prefix: &str) -> Key {
    (family_of(prefix), 0, wire::nlri(prefix))
}

/// Whether these are whole messages by their own lengths.
fn is_complete(mut octets: &[u8]) -> bool {
    while let Some(len) = octets.get(16..18).map(|len| usize::from(u16::from_be_bytes([len[0], len[1]]))) {
        let Some(rest) = octets.get(len.max(19)..) else { return false };
        octets = rest;
    }
    octets.is_empty()
}

fn is_gone(why: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(why.kind(), BrokenPipe | ConnectionReset | NotConnected)
}
