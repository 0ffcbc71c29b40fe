//! Thousands of sessions at once, for rows about scale.
//!
//! A [`Crowd`] keeps every one of its sessions alive while it waits for any of them, which a [`crate::speaker::Conn`] does
//! not, and of what it is told it keeps a [`Tally`], not the routes: five thousand clients with five thousand routes each
//! are 25 million, and would be gigabytes. A route is a bit here, by the second and third octet of its /24.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::SockRef;

use crate::bench::Bench;
use crate::open::Open;
use crate::speaker::{Conn, DUT_ID, WITNESS, Who};
use crate::wire;

/// How often it is looked whose KEEPALIVE is due.
const LOOK: Duration = Duration::from_millis(20);
/// How often those say KEEPALIVE who hear nothing.
const DEAF_BEAT: Duration = Duration::from_millis(900);
/// Sockets that are told to have something at a time.
const READY_MAX: usize = 512;

/// What a member was told, counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) keepalives: usize,
    pub(crate) announced: usize,
    pub(crate) withdrawn: usize,
    /// Routes that stand, and how many did at the first End-of-RIB for IPv4.
    pub(crate) standing: usize,
    pub(crate) standing_at_end_of_rib: Option<usize>,
    pub(crate) notified: Option<(u8, u8)>,
    pub(crate) is_ended: bool,
    /// The longest time between two messages of the daemon.
    silence_max: Duration,
    heard_at: Option<Instant>,
    bits: Vec<u64>,
}

impl Tally {
    fn note(&mut self, prefix: usize, stands: bool) {
        let (word, bit) = (prefix / 64, 1 << (prefix % 64));
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        let is_new = (self.bits[word] & bit != 0) != stands;
        self.bits[word] ^= if is_new { bit } else { 0 };
        match (is_new, stands) {
            (true, true) => self.standing += 1,
            (true, false) => self.standing -= 1,
            (false, _) => {}
        }
    }

    fn heard(&mut self, now: Instant) {
        if let Some(before) = self.heard_at.replace(now) {
            self.silence_max = self.silence_max.max(now - before);
        }
    }
}

/// One session.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) who: Who,
    pub(crate) tally: Tally,
    stream: TcpStream,
    buffer: Vec<u8>,
    is_established: bool,
    said_at: Instant,
}

impl Member {
    /// Says something. That the connection is gone is no failure here, only that the daemon reads nothing.
    pub(crate) fn say(&mut self, octets: &[u8]) -> Result<()> {
        self.said_at = Instant::now();
        match self.stream.write(octets) {
            Ok(count) => ensure!(count == octets.len(), "{}: the daemon reads nothing", self.who.name()),
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                bail!("{}: the daemon reads nothing", self.who.name())
            }
            Err(_) => self.tally.is_ended = true,
        }
        Ok(())
    }

    /// Whether the session is there and was never spoken against.
    pub(crate) fn is_up(&self) -> bool {
        self.is_established && !self.tally.is_ended && self.tally.notified.is_none()
    }

    fn summary(&self) -> String {
        let Tally { keepalives, announced, withdrawn, standing, notified, is_ended, .. } = &self.tally;
        format!(
            "{}: {keepalives} KEEPALIVEs, {announced} announced, {withdrawn} withdrawn, {standing} standing, {notified:?}{}",
            self.who.name(),
            if *is_ended { ", ended" } else { "" }
        )
    }

    fn hear(&mut self, scratch: &mut [u8]) -> Result<()> {
        match self.stream.read(scratch) {
            Ok(0) => self.tally.is_ended = true,
            Ok(count) => {
                self.buffer.extend_from_slice(&scratch[..count]);
                self.read(Instant::now()).with_context(|| self.who.name())?;
            }
            Err(why) if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.tally.is_ended = true,
        }
        Ok(())
    }

    /// Takes whole messages out of the buffer.
    fn read(&mut self, now: Instant) -> Result<()> {
        let mut from = 0;
        while let Some(header) = self.buffer.get(from..from + 19) {
            let len = usize::from(u16::from_be_bytes([header[16], header[17]]));
            ensure!(header[..16] == [0xFF; 16] && len >= 19, "a header like {header:02x?}");
            let Some(body) = self.buffer.get(from + 19..from + len) else { break };
            self.tally.heard(now);
            match (header[18], body) {
                (wire::UPDATE, body) => update(&mut self.tally, body)?,
                (wire::KEEPALIVE, _) => self.tally.keepalives += 1,
                (wire::NOTIFICATION, [code, subcode, ..]) => self.tally.notified = Some((*code, *subcode)),
                _ => {}
            }
            from += len;
        }
        self.buffer.drain(..from);
        if self.tally.keepalives > 0 && !self.is_established {
            self.is_established = true;
            self.say(&wire::keepalive())?;
        }
        Ok(())
    }
}

/// Counts what an UPDATE says of IPv4.
fn update(tally: &mut Tally, body: &[u8]) -> Result<()> {
    let (withdrawn, rest) = counted(body).context("withdrawn routes")?;
    let (attrs, nlri) = counted(rest).context("attributes")?;
    if withdrawn.is_empty() && attrs.is_empty() && nlri.is_empty() {
        tally.standing_at_end_of_rib.get_or_insert(tally.standing);
        return Ok(());
    }
    each(withdrawn, |prefix| {
        tally.withdrawn += 1;
        tally.note(prefix, false);
    })?;
    each(nlri, |prefix| {
        tally.announced += 1;
        tally.note(prefix, true);
    })
}

fn counted(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = octets.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

fn each(mut nlri: &[u8], mut seen: impl FnMut(usize)) -> Result<()> {
    while let [24, _, high, low, rest @ ..] = nlri {
        seen(usize::from(u16::from_be_bytes([*high, *low])));
        nlri = rest;
    }
    ensure!(nlri.is_empty(), "not a /24: {nlri:02x?}");
    Ok(())
}

/// Sessions that live side by side.
pub(crate) struct Crowd {
    pub(crate) members: Vec<Member>,
    /// How long it took to connect them all and say OPEN.
    pub(crate) met_within: Duration,
    /// They say that they live, every second, and hear nothing.
    pub(crate) deaf: Vec<Conn>,
    said_at: Instant,
    epoll: Epoll,
    beat: Duration,
    looked_at: Instant,
}

impl Crowd {
    /// All connect and say OPEN, before any of them listens.
    pub(crate) fn meet(bench: &Bench, whos: &[Who], open: impl Fn(Who) -> Open) -> Result<Crowd> {
        let began = Instant::now();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let (mut members, mut beat) = (Vec::new(), Duration::MAX);
        for (n, who) in (0..).zip(whos) {
            let stream = bench.dial(who.address(), DUT_ID.into(), |_| Ok(()))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, n))?;
            let open = open(*who);
            beat = beat.min(Duration::from_secs(u64::from(open.hold_secs)) / 3);
            let (buffer, tally) = (Vec::new(), Tally::default());
            let mut member =
                Member { who: *who, tally, stream, buffer, is_established: false, said_at: Instant::now() };
            member.say(&open.octets())?;
            members.push(member);
        }
        let now = Instant::now();
        let (met_within, deaf) = (began.elapsed(), Vec::new());
        Ok(Crowd { members, met_within, deaf, said_at: now, epoll, beat, looked_at: now })
    }

    /// The last one's connection breaks.
    pub(crate) fn leave(&mut self) -> Result<()> {
        let last = self.members.pop().context("a member")?;
        Ok(SockRef::from(&last.stream).set_linger(Some(Duration::ZERO))?)
    }

    /// With KEEPALIVEs this often, where the daemon's hold time is the shorter one.
    pub(crate) fn beating(mut self, beat: Duration) -> Crowd {
        self.beat = beat;
        self
    }

    /// Lives until all are `done`, which must come.
    pub(crate) fn until(
        &mut self,
        what: &str,
        within: Duration,
        done: impl Fn(&Member) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + within;
        while !self.members.iter().all(&done) {
            let left = self.members.iter().filter(|member| !done(member)).count();
            ensure!(
                Instant::now() < deadline,
                "{what}: not within {within:?} for {left}, such as {}",
                self.odd(&done)
            );
            self.pass(LOOK)?;
        }
        Ok(())
    }

    /// Who is not done, and how it stands.
    fn odd(&self, done: &impl Fn(&Member) -> bool) -> String {
        let odd = self.members.iter().find(|member| !done(member));
        odd.map_or_else(String::new, Member::summary)
    }

    /// Lives for a while.
    pub(crate) fn live(&mut self, during: Duration) -> Result<()> {
        let end = Instant::now() + during;
        loop {
            self.pass(LOOK.min(end.saturating_duration_since(Instant::now())))?;
            if Instant::now() >= end {
                return Ok(());
            }
        }
    }

    /// Everybody's session is there.
    pub(crate) fn are_up(&self) -> Result<()> {
        match self.members.iter().find(|member| !member.is_up()) {
            None => Ok(()),
            Some(down) => bail!("not up: {}", down.summary()),
        }
    }

    /// The longest that anybody heard nothing, from its first message until now.
    pub(crate) fn silence_max(&self) -> (Duration, Who) {
        let until_now =
            |tally: &Tally| tally.heard_at.map_or(Duration::MAX, |at| tally.silence_max.max(at.elapsed()));
        let all = self.members.iter().map(|member| (until_now(&member.tally), member.who));
        all.max_by_key(|(silence, _)| *silence).unwrap_or((Duration::ZERO, WITNESS))
    }

    /// Everybody announces a prefix of its own, ends its routes, and is told everybody else's.
    pub(crate) fn converge(&mut self, within: Duration) -> Result<Duration> {
        let began = Instant::now();
        self.until("a session", within, Member::is_up)?;
        for n in 0..self.members.len() {
            let member = &mut self.members[n];
            let route = crate::routes::Route::of(member.who).announce(&[prefix(n)]);
            member.say(&[route, wire::end_of_rib(wire::V4), wire::end_of_rib(wire::V6)].concat())?;
            if n % READY_MAX == 0 {
                self.pass(Duration::ZERO)?;
            }
        }
        let others = self.members.len() - 1;
        self.until("everybody's prefix", within, |member| member.tally.standing >= others)?;
        Ok(began.elapsed())
    }

    /// Reads what is there or comes within `wait`, and says the KEEPALIVEs that are due.
    fn pass(&mut self, wait: Duration) -> Result<()> {
        let mut ready = [EpollEvent::empty(); READY_MAX];
        let timeout = EpollTimeout::try_from(wait).unwrap_or(EpollTimeout::ZERO);
        let count = self.epoll.wait(&mut ready, timeout)?;
        let mut scratch = vec![0; 65_536];
        for event in &ready[..count] {
            let Some(member) = self.members.get_mut(event.data() as usize) else { continue };
            member.hear(&mut scratch)?;
            if member.tally.is_ended {
                let _ = self.epoll.delete(&member.stream);
            }
        }
        let now = Instant::now();
        if now - self.looked_at >= LOOK {
            self.looked_at = now;
            let beat = self.beat;
            let due = |member: &&mut Member| member.is_up() && now - member.said_at >= beat;
            self.members.iter_mut().filter(due).try_for_each(|member| member.say(&wire::keepalive()))?;
            if now - self.said_at >= DEAF_BEAT {
                self.said_at = now;
                self.deaf.iter_mut().try_for_each(|deaf| deaf.poke(&wire::keepalive()).map(drop))?;
            }
        }
        Ok(())
    }
}

/// The prefix of the n-th member.
pub(crate) fn prefix(n: usize) -> String {
    format!("20.{}.{}.0/24", n / 256, n % 256)
}
