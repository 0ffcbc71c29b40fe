//! Where a case runs: the daemon under test in a network namespace of its own, and all its neighbours, who are us, at
//! the other end of one link.
//!
//! [`run`] puts a case into a sandbox, gives it a [`Bench`], and when it is done looks at what must hold after every case:
//! the same process runs, and the session of the witness has seen neither a NOTIFICATION nor an end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lab::daemon::Daemon;
use lab::wait::{self, Gone};
use lab::{sandbox, shell};
use socket2::{Domain, Protocol, Socket, Type};

use crate::dut::{Dut, Make, clock};
use crate::m;
use crate::open::Open;
use crate::plan::Plan;
use crate::routes::Route;
use crate::speaker::{C1, C2, Conn, DUT_ID, E1, E2, N1, N2, SOON, WITNESS, Who};

/// The daemon under test and the means to meet it.
pub(crate) struct Bench {
    pub(crate) make: Make,
    dut: Option<Dut>,
    plan: Plan,
    witness: Option<Conn>,
    sentinels: u16,
}

/// Runs a case in a sandbox.
pub(crate) fn run(make: Make, name: &str, case: fn(&mut Bench) -> Result<()>) -> Result<()> {
    let here = format!("conformance::{name}::here");
    let mut needs = make.needs();
    if name == m::STEPS_THE_CLOCK {
        needs.push(clock::NEED);
    }
    sandbox::isolated(&here, &needs, || {
        cable()?;
        let mut bench = Bench { make, dut: None, plan: Plan::of(&[]), witness: None, sentinels: 0 };
        case(&mut bench)?;
        bench.finish()
    })
}

/// The link, with the daemon's end in the namespace `dut`. Many clients are behind one gateway, because the kernel's table
/// of neighbours on a link takes a thousand.
fn cable() -> Result<()> {
    shell::ip_batch(
        "netns add dut\nlink add peers type veth peer name eth0 netns dut\naddr add 10.0.255.254/16 dev peers\n\
         addr add fd00::fffe/64 dev peers nodad\nlink set peers up\n",
    )?;
    shell::feed(
        shell::command("ip").args(["-n", "dut", "-batch", "-"]),
        "addr add 10.0.0.1/16 dev eth0\naddr add fd00::1/64 dev eth0 nodad\nlink set lo up\nlink set eth0 up\n\
         route add 10.0.16.0/20 via 10.0.255.254\nroute add 10.0.32.0/19 via 10.0.255.254\n",
    )?;
    // Any address of ours can be bound to without being added first.
    shell::ip_batch(
        "route add local 10.0.0.0/18 dev peers\nroute add local fd00::/112 dev peers\n\
         route add 10.0.0.0/29 dev peers table local\nroute add fd00::1 dev peers table local\n",
    )?;
    let sysctls = "for k in all peers; do echo 0 > /proc/sys/net/ipv4/conf/$k/rp_filter; done\n\
         echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind\n";
    shell::feed(shell::command("sh").args(["-e", "-s"]), sysctls).map(drop)
}

impl Bench {
    /// Starts the daemon, and the witness if there is one.
    pub(crate) fn start(&mut self, plan: Plan) -> Result<()> {
        self.finish()?;
        drop(self.dut.take());
        self.dut = Some(Dut::start(self.make, &plan)?);
        self.plan = plan;
        self.witness = None;
        if self.plan.witness {
            self.witness = Some(self.establish_with(WITNESS, &WITNESS.open().hold(7200))?);
        }
        Ok(())
    }

    /// What must hold after a case.
    pub(crate) fn finish(&mut self) -> Result<()> {
        if let (Some(dut), Some(witness)) = (&self.dut, &mut self.witness) {
            dut.daemon().alive()?;
            witness.is_up().context("a session that had no part in it")?;
        }
        Ok(())
    }

    pub(crate) fn dut(&self) -> Result<&Dut> {
        self.dut.as_ref().context("no daemon was started")
    }

    pub(crate) fn daemon(&self) -> Result<&Daemon> {
        Ok(self.dut()?.daemon())
    }

    /// Ends the daemon with `kill -9` and starts it again as it was.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.daemon()?.kill();
        self.dut = None;
        self.dut = Some(Dut::start(self.make, &self.plan)?);
        Ok(())
    }

    /// Changes the configuration of the running daemon.
    pub(crate) fn reconfigure(&mut self, plan: Plan) -> Result<()> {
        self.dut.as_mut().context("no daemon was started")?.reload(&plan)?;
        self.plan = plan;
        Ok(())
    }

    /// Our own daemon says when it started; that moment moves with the clock it is told by.
    pub(crate) fn is_stepped(&self, offset_secs: i64) -> Result<()> {
        if self.make != Make::Ours {
            return Ok(());
        }
        let status: serde_json::Value = serde_json::from_str(&self.dut()?.tell(&["status", "-o", "json"])?)?;
        let started = &status["started"];
        let at: jiff::Timestamp = started["at"].as_str().context("no start")?.parse()?;
        let ago = started["secs"].as_i64().context("no age")?;
        let ahead = at.as_second() + ago - jiff::Timestamp::now().as_second();
        ensure!(
            (ahead - offset_secs).abs() <= 3,
            "the daemon's clock is {ahead} s ahead, {offset_secs} expected"
        );
        Ok(())
    }

    pub(crate) fn plan(&self) -> Plan {
        self.plan.clone()
    }

    /// A TCP connection from a neighbour's address.
    pub(crate) fn connect(&self, who: Who) -> Result<Conn> {
        self.connect_from(who, who.address(), DUT_ID.into(), |_| Ok(()))
    }

    /// The same from any address to any of the daemon's, with options set before.
    pub(crate) fn connect_from(
        &self,
        who: Who,
        from: IpAddr,
        to: IpAddr,
        options: impl Fn(&Socket) -> Result<()>,
    ) -> Result<Conn> {
        Conn::new(who, self.dial(from, to, options)?)
    }

    /// The connection alone.
    pub(crate) fn dial(
        &self,
        from: IpAddr,
        to: IpAddr,
        options: impl Fn(&Socket) -> Result<()>,
    ) -> Result<TcpStream> {
        let begin = Instant::now();
        loop {
            let socket =
                Socket::new(Domain::for_address((from, 0).into()), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            options(&socket)?;
            socket.bind(&SocketAddr::from((from, 0)).into())?;
            match socket.connect_timeout(&SocketAddr::from((to, 179)).into(), Duration::from_secs(4)) {
                Ok(()) => return Ok(TcpStream::from(socket)),
                Err(why) if begin.elapsed() > SOON => bail!("{from} cannot connect to the daemon: {why}"),
                Err(_) => self.daemon()?.alive()?,
            }
        }
    }

    /// Waits for the daemon to connect to this neighbour.
    pub(crate) fn accept(&self, listener: &TcpListener, who: Who) -> Result<Conn> {
        self.accept_within(listener, who, SOON)
    }

    pub(crate) fn accept_within(&self, listener: &TcpListener, who: Who, within: Duration) -> Result<Conn> {
        listener.set_nonblocking(true)?;
        let stream = wait::closely(&format!("the daemon connects to {}", who.name()), within, || {
            Ok(listener.accept()?.0)
        })?;
        stream.set_nonblocking(false)?;
        Conn::new(who, stream)
    }

    /// Connects and exchanges ordinary OPENs.
    pub(crate) fn establish(&self, who: Who) -> Result<Conn> {
        self.establish_with(who, &who.open())
    }

    /// Connects and exchanges OPENs; tries again where a daemon closes while it gets ready, unless it blames the OPEN.
    pub(crate) fn establish_with(&self, who: Who, open: &Open) -> Result<Conn> {
        wait::until(&format!("a session of {}", who.name()), SOON, || {
            if let Some(dut) = &self.dut {
                dut.daemon().alive()?;
            }
            let mut conn = self.connect(who)?;
            match conn.handshake(open) {
                Ok(_) => Ok(conn),
                Err(why) if conn.end.is_none() || conn.notified().is_some_and(|(code, ..)| code == 2) => {
                    Err(Gone(format!("{why:#}")).into())
                }
                Err(why) => Err(why),
            }
        })
    }

    /// Proves that what `from` sent so far has been dealt with and told to `to`: a first route of `from` arrives, then a
    /// second that was sent only after it. Whatever else was to be told has been told before.
    pub(crate) fn settle(&mut self, from: &mut Conn, to: &mut Conn) -> Result<()> {
        for _ in 0..2 {
            self.sentinels += 1;
            let [high, low] = self.sentinels.to_be_bytes();
            let prefix = format!("{}/32", Ipv4Addr::new(198, 19, high, low));
            from.send(&Route::of(from.who).announce(&[&prefix]))?;
            to.learn(&prefix).context("a route sent behind, to see that all before it was dealt with")?;
        }
        Ok(())
    }
}

/// Sessions of the six constant neighbours.
pub(crate) struct Six {
    pub(crate) e1: Conn,
    pub(crate) e2: Conn,
    pub(crate) c1: Conn,
    pub(crate) c2: Conn,
    pub(crate) n1: Conn,
    pub(crate) n2: Conn,
}

impl Bench {
    /// Starts the daemon and has all six established.
    pub(crate) fn six(&mut self, plan: Plan) -> Result<Six> {
        self.start(plan)?;
        Ok(Six {
            e1: self.establish(E1)?,
            e2: self.establish(E2)?,
            c1: self.establish(C1)?,
            c2: self.establish(C2)?,
            n1: self.establish(N1)?,
            n2: self.establish(N2)?,
        })
    }
}

/// A listening socket at a neighbour's address.
pub(crate) fn listen(who: Who) -> Result<TcpListener> {
    listen_with(who, |_| Ok(()))
}

/// The same with options set before.
pub(crate) fn listen_with(who: Who, options: impl Fn(&Socket) -> Result<()>) -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    options(&socket)?;
    socket.bind(&SocketAddr::from((who.address(), 179)).into())?;
    socket.listen(16)?;
    Ok(socket.into())
}

/// Fails unless both are the same, and shows them.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Result<()> {
    ensure!(got == expected, "{what}: {got:?} instead of {expected:?}");
    Ok(())
}
