//! The FIB against the kernel of this machine, each test in a network namespace of its own. What the kernel has is read
//! with `ip route`, what it did is read from `ip monitor`.

use std::cell::RefCell;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bgp_proto::{Prefix, Version};
use bgpd::fib::{self, Cause, FibConfig, FibEvent, FibHandle, Leave, Query, RouteReport, State, Unresolved};
use lab::sandbox::isolated;
use lab::{here, shell, wait};
use reflector::events::Naming;
use reflector::events::{FibChange, FibRoute, Hop};
use tokio::sync::mpsc;

const SOON: Duration = Duration::from_secs(10);
/// From the decision to the kernel's table.
const INSTALL_MAX: Duration = Duration::from_millis(100);

/// One FIB with its core's inbox.
struct Fib {
    handle: FibHandle,
    inbox: RefCell<mpsc::Receiver<FibEvent>>,
}

impl Fib {
    fn start(config: FibConfig) -> Result<Fib> {
        let (events, inbox) = mpsc::channel(64);
        Ok(Fib { handle: fib::spawn(config, events)?, inbox: RefCell::new(inbox) })
    }

    fn want(&self, prefix: &str, hops: &[&str]) -> Result<()> {
        let hops = hops.iter().map(|addr| hop(addr, 1)).collect::<Result<_>>()?;
        self.desire(prefix, Some(FibRoute::Via(hops)))
    }

    fn desire(&self, prefix: &str, route: Option<FibRoute>) -> Result<()> {
        self.desire_named(prefix, route, Naming::Blanket)
    }

    fn desire_named(&self, prefix: &str, route: Option<FibRoute>, naming: Naming) -> Result<()> {
        let prefix = prefix.parse().map_err(|error| anyhow!("{prefix}: {error}"))?;
        self.handle.desire([FibChange { prefix, route, metric: None, naming }]);
        Ok(())
    }

    fn withdraw(&self, prefix: &str) -> Result<()> {
        self.desire(prefix, None)
    }

    fn sweep(&self) {
        self.handle.sweep(Version::V4);
        self.handle.sweep(Version::V6);
    }

    fn report(&self, prefix: &str) -> Result<RouteReport> {
        let asked = self.handle.query(Query::Prefix(prefix.parse()?));
        let report = asked.blocking_recv().context("no answer")?;
        report.routes.into_iter().next().ok_or_else(|| anyhow!("nothing known of {prefix}"))
    }

    fn stands(&self, prefix: &str, state: State) -> Result<RouteReport> {
        wait::until(&format!("{prefix} {state:?}"), SOON, || {
            let report = self.report(prefix)?;
            ensure!(report.state == state, "{report:?}");
            Ok(report)
        })
    }

    /// The next event that `wanted` knows, others passed over.
    fn event<T>(&self, what: &str, mut wanted: impl FnMut(FibEvent) -> Option<T>) -> Result<T> {
        wait::until(what, SOON, || match self.inbox.borrow_mut().try_recv() {
            Ok(event) => {
                let text = format!("{event:?}");
                wanted(event).ok_or_else(|| anyhow!("{text}"))
            }
            Err(error) => bail!("{error}"),
        })
    }

    fn leave(self, leave: Leave) -> Result<()> {
        self.handle.leave(leave).blocking_recv().context("not told that it ended")
    }
}

fn hop(addr: &str, weight: u8) -> Result<Hop> {
    Ok(Hop { addr: addr.parse()?, weight, vxlan: None, device: None })
}

fn underlay() -> Result<()> {
    shell::ip_batch(
        "link add eth0 type veth peer name peer0
         link set peer0 up
         link set eth0 up
         addr add 192.0.2.1/24 dev eth0
         addr add fd00::1/64 dev eth0 nodad",
    )
}

fn ip(line: &str) -> Result<String> {
    shell::read(shell::command("ip").args(line.split_whitespace()))
}

/// The kernel's routes to exactly this prefix, one a line.
fn routes(prefix: &str) -> Result<String> {
    let version = if prefix.contains(':') { "-6" } else { "-4" };
    let shown = ip(&format!("{version} -o route show exact {prefix}"))?;
    Ok(shown
        .lines()
        .map(|line| line.replace('\\', " "))
        .map(|line| words(&line))
        .collect::<Vec<_>>()
        .join("\n"))
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn wait_routes(prefix: &str, expected: &str) -> Result<()> {
    wait::closely(&format!("{prefix}: {expected:?}"), SOON, || {
        let shown = routes(prefix)?;
        let shown = shown.replace(" pref medium", "");
        ensure!(shown == expected, "{shown:?}");
        Ok(())
    })
}

/// `ip monitor route`, from its subscription on.
struct Monitor {
    child: Child,
    log: std::path::PathBuf,
}

impl Monitor {
    fn start() -> Result<Monitor> {
        let log = lab::sandbox::work()?.join("monitor.log");
        let file = std::fs::File::options().create(true).append(true).open(&log)?;
        let mut command = shell::command("ip");
        command.args(["-o", "monitor", "route"]).stdout(file).stdin(Stdio::null());
        let monitor = Monitor { child: command.spawn()?, log };
        monitor.mark()?;
        Ok(monitor)
    }

    /// What became of routes of ours since the last mark: all of it, because the mark is a change that comes after.
    fn mark(&self) -> Result<Vec<String>> {
        wait::until("the monitor's mark", SOON, || {
            ip("route replace 198.51.100.99/32 dev lo proto 77")?;
            ip("route del 198.51.100.99/32 dev lo proto 77")?;
            let text = std::fs::read_to_string(&self.log)?;
            ensure!(text.contains("Deleted 198.51.100.99"), "not yet");
            Ok(())
        })?;
        let text = std::fs::read_to_string(&self.log)?;
        std::fs::File::options().write(true).open(&self.log)?.set_len(0)?;
        let ours = |line: &String| line.contains(" proto bird ") || line.contains(" proto bgp ");
        Ok(text.lines().map(words).filter(ours).collect())
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_route_is_in_the_kernel_at_once_and_goes_at_once() -> Result<()> {
    isolated(here!(), &[], || {
        underlay()?;
        let fib = Fib::start(FibConfig::default())?;
        fib.event("start", |event| matches!(event, FibEvent::Resynced { .. }).then_some(()))?;
        let begin = Instant::now();
        fib.want("10.1.0.0/24", &["192.0.2.2"])?;
        wait_routes("10.1.0.0/24", "10.1.0.0/24 via 192.0.2.2 dev eth0 proto bird metric 1024")?;
        ensure!(begin.elapsed() < INSTALL_MAX, "installed after {:?}", begin.elapsed());
        fib.want("fd00:1::/64", &["fd00::2"])?;
        wait_routes("fd00:1::/64", "fd00:1::/64 via fd00::2 dev eth0 proto bird metric 1024")?;
        fib.desire("10.2.0.0/24", Some(FibRoute::Blackhole))?;
        wait_routes("10.2.0.0/24", "blackhole 10.2.0.0/24 proto bird metric 1024")?;
        fib.desire("fd00:2::/64", Some(FibRoute::Blackhole))?;
        wait_routes("fd00:2::/64", "blackhole fd00:2::/64 dev lo proto bird metric 1024")?;
        // An IPv4 route through an IPv6 neighbour (RFC 8950).
        fib.want("10.3.0.0/24", &["fd00::3"])?;
        wait_routes("10.3.0.0/24", "10.3.0.0/24 via inet6 fd00::3 dev eth0 proto bird metric 1024")?;
        for prefix in ["10.1.0.0/24", "fd00:1::/64", "10.2.0.0/24", "fd00:2::/64", "10.3.0.0/24"] {
            fib.stands(prefix, State::Installed)?;
            fib.withdraw(prefix)?;
            wait_routes(prefix, "")?;
        }
        Ok(())
    })
}

#[test]
fn a_restart_adopts_what_is_right_and_sweeps_the_rest_when_told() -> Result<()> {
    isolated(here!(), &[], || {
        underlay()?;
        shell::ip_batch(
            "route add 10.1.0.0/24 via 192.0.2.2 proto bird metric 1024
             route add 10.2.0.0/24 via 192.0.2.2 proto bird metric 1024
             route add 10.3.0.0/24 via 192.0.2.2 proto bird metric 1024
             route add 10.4.0.0/24 via 192.0.2.4 proto bird metric 32
             route add 10.5.0.0/24 proto bird metric 1024 nexthop via 192.0.2.3 nexthop via 192.0.2.2
             route add unreachable 10.6.0.0/24 proto bird metric 32
             route add 10.9.0.0/24 via 192.0.2.2 proto static metric 1024
             route add fd00:1::/64 via fd00::2 proto bird metric 1024
             route add fd00:3::/64 proto bird metric 1024 nexthop via fd00::3 nexthop via fd00::2",
        )?;
        let monitor = Monitor::start()?;
        let fib = Fib::start(FibConfig::default())?;
        let found = fib.event("start", |event| match event {
            FibEvent::Resynced { found, .. } => Some(found),
            _ => None,
        })?;
        ensure!(found == 8, "{found} adopted");
        fib.want("10.1.0.0/24", &["192.0.2.2"])?;
        fib.want("10.2.0.0/24", &["192.0.2.3"])?;
        fib.want("10.4.0.0/24", &["192.0.2.4"])?;
        fib.want("10.5.0.0/24", &["192.0.2.2", "192.0.2.3"])?;
        fib.want("fd00:1::/64", &["fd00::2"])?;
        fib.want("fd00:3::/64", &["fd00::2", "fd00::3"])?;
        wait_routes("10.2.0.0/24", "10.2.0.0/24 via 192.0.2.3 dev eth0 proto bird metric 1024")?;
        wait_routes("10.4.0.0/24", "10.4.0.0/24 via 192.0.2.4 dev eth0 proto bird metric 1024")?;
        for prefix in ["10.1.0.0/24", "10.5.0.0/24", "fd00:1::/64", "fd00:3::/64"] {
            fib.stands(prefix, State::Installed)?;
        }
        fib.stands("10.3.0.0/24", State::Leftover)?;
        // A withdrawal before the sweep deletes nothing that was there before the start.
        fib.withdraw("10.1.0.0/24")?;
        fib.stands("10.1.0.0/24", State::Leftover)?;
        let heard = monitor.mark()?;
        let expected = [
            "10.2.0.0/24 via 192.0.2.3 dev eth0 proto bird metric 1024",
            "10.4.0.0/24 via 192.0.2.4 dev eth0 proto bird metric 1024",
            "Deleted 10.4.0.0/24 via 192.0.2.4 dev eth0 proto bird metric 32",
        ];
        ensure!(heard == expected, "{heard:#?}");
        fib.sweep();
        wait_routes("10.3.0.0/24", "")?;
        wait_routes("10.6.0.0/24", "")?;
        wait_routes("10.1.0.0/24", "")?;
        wait_routes("10.9.0.0/24", "10.9.0.0/24 via 192.0.2.2 dev eth0 proto static metric 1024")?;
        let heard = monitor.mark()?;
        ensure!(heard.len() == 3 && heard.iter().all(|line| line.starts_with("Deleted")), "{heard:#?}");
        // Again, ended and begun without one route event.
        fib.leave(Leave::Keep)?;
        let fib = Fib::start(FibConfig::default())?;
        fib.want("10.2.0.0/24", &["192.0.2.3"])?;
        fib.want("10.4.0.0/24", &["192.0.2.4"])?;
        fib.want("10.5.0.0/24", &["192.0.2.2", "192.0.2.3"])?;
        fib.want("fd00:1::/64", &["fd00::2"])?;
        fib.want("fd00:3::/64", &["fd00::2", "fd00::3"])?;
        fib.sweep();
        for prefix in ["10.2.0.0/24", "10.4.0.0/24", "10.5.0.0/24", "fd00:1::/64", "fd00:3::/64"] {
            fib.stands(prefix, State::Installed)?;
        }
        let heard = monitor.mark()?;
        ensure!(heard.is_empty(), "{heard:#?}");
        fib.leave(Leave::Remove)?;
        ensure!(ip("route show proto bird")?.is_empty() && ip("-6 route show proto bird")?.is_empty());
        wait_routes("10.9.0.0/24", "10.9.0.0/24 via 192.0.2.2 dev eth0 proto static metric 1024")
    })
}

#[test]
fn what_others_delete_or_alter_is_repaired() -> Result<()> {
    isolated(here!(), &[], || {
        underlay()?;
        let fib = Fib::start(FibConfig::default())?;
        fib.sweep();
        for (prefix, hop) in [("10.1.0.0/24", "192.0.2.2"), ("fd00:1::/64", "fd00::2")] {
            let right = format!("{prefix} via {hop} dev eth0 proto bird metric 1024");
            fib.want(prefix, &[hop])?;
            wait_routes(prefix, &right)?;
            let begin = Instant::now();
            ip(&format!("route del {prefix}"))?;
            wait_routes(prefix, &right)?;
            ensure!(begin.elapsed() < INSTALL_MAX, "repaired after {:?}", begin.elapsed());
            ip(&format!("route replace blackhole {prefix} proto bird metric 1024"))?;
            wait_routes(prefix, &right)?;
            fib.stands(prefix, State::Installed)?;
        }
        // Several paths: one of them taken out by hand, in IPv6 possible without the others.
        fib.want("fd00:2::/64", &["fd00::2", "fd00::3"])?;
        let right = "fd00:2::/64 proto bird metric 1024 nexthop via fd00::2 dev eth0 weight 1 \
                     nexthop via fd00::3 dev eth0 weight 1";
        wait_routes("fd00:2::/64", right)?;
        ip("-6 route del fd00:2::/64 via fd00::3 dev eth0")?;
        wait_routes("fd00:2::/64", right)?;
        // A stranger with our mark goes.
        ip("route add 10.7.0.0/24 via 192.0.2.9 proto bird")?;
        wait_routes("10.7.0.0/24", "")?;
        ensure!(fib.handle.stats().repairs >= 5, "{:?}", fib.handle.stats());
        Ok(())
    })
}

#[test]
fn foreign_routes_are_never_touched() -> Result<()> {
    isolated(here!(), &[], || {
        underlay()?;
        let fib = Fib::start(FibConfig::default())?;
        fib.sweep();
        for (prefix, hop, other) in
            [("10.1.0.0/24", "192.0.2.2", "192.0.2.8"), ("fd00:1::/64", "fd00::2", "fd00::8")]
        {
            let ours = format!("{prefix} via {hop} dev eth0 proto bird metric 1024");
            let foreign = format!("{prefix} via {other} dev eth0 proto static metric 1024");
            let dhcp = format!("{prefix} via {other} dev eth0 proto dhcp metric 512");
            ip(&format!("route add {foreign}"))?;
            fib.want(prefix, &[hop])?;
            let report = fib.stands(prefix, State::Refused)?;
            let refusal = report.refusal.context("no reason")?;
            ensure!(refusal.cause == Cause::Taken && refusal.text.contains("static"), "{refusal:?}");
            wait_routes(prefix, &foreign)?;
            // Another foreign route that is not in the way, beside it.
            ip(&format!("route add {dhcp}"))?;
            ip(&format!("route del {foreign}"))?;
            wait_routes(prefix, &format!("{dhcp}\n{ours}"))?;
            fib.stands(prefix, State::Installed)?;
            // A foreign route that takes our place keeps it.
            ip(&format!("route replace {foreign}"))?;
            fib.stands(prefix, State::Refused)?;
            fib.want(prefix, &[hop, &other.replace('8', "3")])?;
            fib.stands(prefix, State::Refused)?;
            wait_routes(prefix, &format!("{dhcp}\n{foreign}"))?;
            fib.withdraw(prefix)?;
            fib.want("10.99.0.0/24", &["192.0.2.2"])?;
            fib.stands("10.99.0.0/24", State::Installed)?;
            wait_routes(prefix, &format!("{dhcp}\n{foreign}"))?;
        }
        Ok(())
    })
}

#[test]
fn a_default_route_and_a_subnet_of_the_node_are_taken_only_by_name() -> Result<()> {
    isolated(here!(), &[], || {
        underlay()?;
        ip("route add default via 192.0.2.254")?;
        ip("route add default via fd00::254")?;
        let fib = Fib::start(FibConfig::default())?;
        fib.sweep();
        for (prefix, gateway, own) in [
            ("default", "192.0.2.2", "default via 192.0.2.254 dev eth0"),
            ("192.0.2.0/24", "192.0.2.3", "192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.1"),
            ("::/0", "fd00::2", "default via fd00::254 dev eth0 metric 1024"),
            ("fd00::/64", "fd00::3", "fd00::/64 dev eth0 proto kernel metric 256"),
        ] {
            let said = prefix.replace("default", "0.0.0.0/0");
            let via = || Ok::<_, anyhow::Error>(Some(FibRoute::Via(vec![hop(gateway, 1)?])));
            fib.desire(&said, via()?)?;
            fib.stands(&said, State::Protected)?;
            wait_routes(prefix, own)?;
            // The node's own stays as it was, and first: it has the better metric, or ours waits for the place.
            fib.desire_named(&said, via()?, Naming::Exact)?;
            if prefix == "::/0" {
                fib.stands(&said, State::Refused)?;
                wait_routes(prefix, own)?;
            } else {
                fib.stands(&said, State::Installed)?;
                let dst = prefix.replace("::/0", "default");
                wait_routes(prefix, &format!("{own}\n{dst} via {gateway} dev eth0 proto bird metric 1024"))?;
            }
            fib.desire(&said, via()?)?;
            fib.stands(&said, State::Protected)?;
            wait_routes(prefix, own)?;
        }
        Ok(())
    })
}

#[test]
fn routes_survive_a_link_that_bounces_and_an_address_that_moves() -> Result<()> {
    isolated(here!(), &[], || {
        underlay()?;
        let fib = Fib::start(FibConfig::default())?;
        fib.sweep();
        fib.handle.track("192.0.2.2".parse()?);
        let v4 = "10.1.0.0/24 via 192.0.2.2 dev eth0 proto bird metric 1024";
        let v6 = "fd00:1::/64 via fd00::2 dev eth0 proto bird metric 1024";
        fib.want("10.1.0.0/24", &["192.0.2.2"])?;
        fib.want("fd00:1::/64", &["fd00::2"])?;
        wait_routes("10.1.0.0/24", v4)?;
        wait_routes("fd00:1::/64", v6)?;
        ip("link set eth0 down")?;
        let report = fib.stands("10.1.0.0/24", State::Unresolved)?;
        ensure!(report.unresolved == Some(Unresolved::NoRoute), "{report:?}");
        fib.event("unreachable", |event| match event {
            FibEvent::NextHopChanged { way: Err(_), .. } => Some(()),
            _ => None,
        })?;
        // The kernel does not give the IPv6 address back.
        shell::ip_batch("link set eth0 up\naddr add fd00::1/64 dev eth0 nodad")?;
        wait_routes("10.1.0.0/24", v4)?;
        wait_routes("fd00:1::/64", v6)?;
        // Down and up in one go, faster than anybody looks.
        shell::ip_batch("link set eth0 down\nlink set eth0 up\naddr add fd00::1/64 dev eth0 nodad")?;
        wait_routes("10.1.0.0/24", v4)?;
        wait_routes("fd00:1::/64", v6)?;
        shell::ip_batch("addr del 192.0.2.1/24 dev eth0\naddr add 192.0.2.11/24 dev eth0")?;
        wait_routes("10.1.0.0/24", v4)?;
        ip("addr del 192.0.2.11/24 dev eth0")?;
        wait_routes("10.1.0.0/24", "")?;
        ip("addr add 192.0.2.1/24 dev eth0")?;
        wait_routes("10.1.0.0/24", v4)
    })
}

#[test]
fn paths_come_and_go_by_one_replace() -> Result<()> {
    isolated(here!(), &[], || {
        underlay()?;
        let fib = Fib::start(FibConfig::default())?;
        fib.sweep();
        let monitor = Monitor::start()?;
        for (prefix, hops) in [
            ("10.1.0.0/24", ["192.0.2.2", "192.0.2.3", "192.0.2.4"]),
            ("fd00:1::/64", ["fd00::2", "fd00::3", "fd00::4"]),
        ] {
            let right = |hops: &[&str]| {
                let path = |hop: &&str| format!(" nexthop via {hop} dev eth0 weight 1");
                match hops {
                    [hop] => format!("{prefix} via {hop} dev eth0 proto bird metric 1024"),
                    hops => format!(
                        "{prefix} proto bird metric 1024{}",
                        hops.iter().map(path).collect::<String>()
                    ),
                }
            };
            for count in [1, 2, 3, 2, 1] {
                fib.want(prefix, &hops[..count])?;
                wait_routes(prefix, &right(&hops[..count]))?;
                let heard = monitor.mark()?;
                ensure!(heard.len() == 1 && !heard[0].starts_with("Deleted"), "{count}: {heard:#?}");
            }
        }
        // Weights reach the kernel.
        let hops = vec![hop("192.0.2.2", 30)?, hop("192.0.2.3", 10)?];
        fib.desire("10.1.0.0/24", Some(FibRoute::Via(hops)))?;
        let expected = "10.1.0.0/24 proto bird metric 1024 nexthop via 192.0.2.2 dev eth0 weight 3 \
                        nexthop via 192.0.2.3 dev eth0 weight 1";
        wait_routes("10.1.0.0/24", expected)
    })
}

#[test]
fn a_multipath_route_lives_on_the_links_that_are_up() -> Result<()> {
    isolated(here!(), &[], || {
        underlay()?;
        shell::ip_batch(
            "link add eth1 type veth peer name peer1
             link set peer1 up
             link set eth1 up
             addr add 198.51.100.1/24 dev eth1
             addr add fd01::1/64 dev eth1 nodad",
        )?;
        let fib = Fib::start(FibConfig::default())?;
        fib.sweep();
        let cases = [("10.1.0.0/24", "192.0.2.2", "198.51.100.2"), ("fd00:1::/64", "fd00::2", "fd01::2")];
        let both = |prefix: &str, a: &str, b: &str| {
            format!(
                "{prefix} proto bird metric 1024 nexthop via {a} dev eth0 weight 1 nexthop via {b} dev eth1 weight 1"
            )
        };
        for (prefix, a, b) in cases {
            fib.want(prefix, &[a, b])?;
            wait_routes(prefix, &both(prefix, a, b))?;
        }
        ip("link set eth1 down")?;
        for (prefix, a, _) in cases {
            wait_routes(prefix, &format!("{prefix} via {a} dev eth0 proto bird metric 1024"))?;
            fib.stands(prefix, State::Installed)?;
        }
        shell::ip_batch("link set eth1 up\naddr add fd01::1/64 dev eth1 nodad")?;
        for (prefix, a, b) in cases {
            wait_routes(prefix, &both(prefix, a, b))?;
        }
        ip("link del eth0")?;
        for (prefix, _, b) in cases {
            wait_routes(prefix, &format!("{prefix} via {b} dev eth1 proto bird metric 1024"))?;
        }
        Ok(())
    })
}

#[test]
fn a_route_that_the_kernel_refuses_is_told_and_the_rest_installed() -> Result<()> {
    isolated(here!(), &[], || {
        underlay()?;
        let fib = Fib::start(FibConfig::default())?;
        fib.sweep();
        // The broadcast address looks like a neighbour, and the kernel knows better.
        fib.want("10.1.0.0/24", &["192.0.2.255"])?;
        fib.want("10.2.0.0/24", &["192.0.2.2"])?;
        fib.want("10.3.0.0/24", &["203.0.113.1"])?;
        fib.want("fd00:4::/64", &["192.0.2.2"])?;
        fib.want("0.0.0.0/0", &["192.0.2.2"])?;
        wait_routes("10.2.0.0/24", "10.2.0.0/24 via 192.0.2.2 dev eth0 proto bird metric 1024")?;
        let refusal = fib.event("refusal", |event| match event {
            FibEvent::RouteJudged { refusal, .. } => refusal,
            _ => None,
        })?;
        ensure!(refusal.cause == Cause::Invalid && refusal.text.contains("invalid gateway"), "{refusal:?}");
        ensure!(fib.stands("10.1.0.0/24", State::Refused)?.refusal == Some(refusal));
        ensure!(fib.stands("10.3.0.0/24", State::Unresolved)?.unresolved == Some(Unresolved::NoRoute));
        ensure!(fib.stands("fd00:4::/64", State::Unresolved)?.unresolved == Some(Unresolved::WrongFamily));
        fib.stands("0.0.0.0/0", State::Protected)?;
        wait_routes("0.0.0.0/0", "")?;
        // Tried again, and mended by a change.
        wait::until("a second try", SOON, || {
            let refused = fib.handle.stats().refused;
            ensure!(refused >= 2, "{refused}");
            Ok(())
        })?;
        fib.want("10.1.0.0/24", &["192.0.2.2"])?;
        fib.stands("10.1.0.0/24", State::Installed)?;
        fib.event("acquittal", |event| match event {
            FibEvent::RouteJudged { refusal: None, .. } => Some(()),
            _ => None,
        })
    })
}

#[test]
fn another_metric_or_table_moves_routes_without_a_hole() -> Result<()> {
    isolated(here!(), &[], || {
        underlay()?;
        let fib = Fib::start(FibConfig::default())?;
        fib.sweep();
        fib.want("10.1.0.0/24", &["192.0.2.2"])?;
        fib.stands("10.1.0.0/24", State::Installed)?;
        let monitor = Monitor::start()?;
        fib.handle.reconfigure(FibConfig { metric: 50, ..FibConfig::default() })?;
        wait_routes("10.1.0.0/24", "10.1.0.0/24 via 192.0.2.2 dev eth0 proto bird metric 50")?;
        fib.handle.reconfigure(FibConfig { metric: 50, protocol: 186, ..FibConfig::default() })?;
        wait_routes("10.1.0.0/24", "10.1.0.0/24 via 192.0.2.2 dev eth0 proto bgp metric 50")?;
        fib.handle.reconfigure(FibConfig {
            metric: 50,
            protocol: 186,
            table: 1000,
            ..FibConfig::default()
        })?;
        wait_routes("10.1.0.0/24", "")?;
        let heard = monitor.mark()?;
        let expected = [
            "10.1.0.0/24 via 192.0.2.2 dev eth0 proto bird metric 50",
            "Deleted 10.1.0.0/24 via 192.0.2.2 dev eth0 proto bird metric 1024",
            "10.1.0.0/24 via 192.0.2.2 dev eth0 proto bgp metric 50",
            "10.1.0.0/24 via 192.0.2.2 dev eth0 table 1000 proto bgp metric 50",
            "Deleted 10.1.0.0/24 via 192.0.2.2 dev eth0 proto bgp metric 50",
        ];
        ensure!(heard == expected, "{heard:#?}");
        fib.handle.reconfigure(FibConfig { install: false, table: 1000, ..FibConfig::default() })?;
        wait::until("an empty table", SOON, || {
            ensure!(ip("route show table 1000")?.is_empty());
            Ok(())
        })
    })
}

#[test]
fn next_hops_are_followed_through_the_kernels_routes() -> Result<()> {
    isolated(here!(), &[], || {
        underlay()?;
        let fib = Fib::start(FibConfig::default())?;
        let way = |addr: &str| -> Result<String> {
            let addr: std::net::IpAddr = addr.parse()?;
            fib.event(&format!("way to {addr}"), |event| match event {
                FibEvent::NextHopChanged { addr: about, way } if about == addr => Some(match way {
                    Ok(way) => format!(
                        "{} via {} metric {} {}",
                        way.ifname,
                        way.paths
                            .iter()
                            .filter_map(|path| path.gateway)
                            .map(|addr| addr.to_string())
                            .collect::<Vec<_>>()
                            .join(","),
                        way.metric,
                        if way.on_link { "on link" } else { "behind" }
                    ),
                    Err(reason) => reason.to_string(),
                }),
                _ => None,
            })
        };
        let expect = |addr: &str, expected: &str| -> Result<()> {
            let told = way(addr)?;
            ensure!(told == expected, "{addr}: {told:?}");
            Ok(())
        };
        let none = Unresolved::NoRoute.to_string();
        fib.handle.track("192.0.2.1".parse()?);
        expect("192.0.2.1", &Unresolved::Local.to_string())?;
        fib.handle.track("192.0.2.2".parse()?);
        expect("192.0.2.2", "eth0 via 192.0.2.2 metric 0 on link")?;
        fib.handle.track("203.0.113.1".parse()?);
        expect("203.0.113.1", &none)?;
        ip("route add default via 192.0.2.9 metric 100")?;
        expect("203.0.113.1", "eth0 via 192.0.2.9 metric 100 behind")?;
        ip("route add 203.0.113.0/24 nexthop via 192.0.2.7 nexthop via 192.0.2.8")?;
        expect("203.0.113.1", "eth0 via 192.0.2.7,192.0.2.8 metric 0 behind")?;
        ip("route add blackhole 203.0.113.0/28")?;
        expect("203.0.113.1", &Unresolved::Rejected.to_string())?;
        ip("route del 203.0.113.0/28")?;
        expect("203.0.113.1", "eth0 via 192.0.2.7,192.0.2.8 metric 0 behind")?;
        // Our own routes are no way to a next hop.
        fib.want("203.0.113.1/32", &["192.0.2.2"])?;
        fib.stands("203.0.113.1/32", State::Installed)?;
        ip("route del 203.0.113.0/24")?;
        expect("203.0.113.1", "eth0 via 192.0.2.9 metric 100 behind")?;
        ip("route del default")?;
        expect("203.0.113.1", &none)?;
        // Link-local: only with the interface.
        fib.handle.track("fe80::2".parse()?);
        expect("fe80::2", &Unresolved::NoInterface.to_string())?;
        let ifindex = fib::node_addresses()?.first().context("no address")?.ifindex;
        fib.handle.hint("fe80::2".parse()?, Some(ifindex));
        expect("fe80::2", "eth0 via fe80::2 metric 0 on link")?;
        fib.want("fd00:1::/64", &["fe80::2"])?;
        wait_routes("fd00:1::/64", "fd00:1::/64 via fe80::2 dev eth0 proto bird metric 1024")?;
        ip("link del eth0")?;
        expect("192.0.2.2", &none)?;
        Ok(())
    })
}

#[test]
fn the_nodes_first_global_address_is_found() -> Result<()> {
    isolated(here!(), &[], || {
        shell::ip_batch(
            "link add docker0 type bridge
             link set docker0 up
             addr add 172.17.0.1/16 dev docker0",
        )?;
        ensure!(fib::first_global_ipv4()?.is_none());
        underlay()?;
        ensure!(fib::first_global_ipv4()? == Some("192.0.2.1".parse()?));
        let shown: Vec<String> =
            fib::node_addresses()?.iter().map(|at| format!("{} {}", at.ifname, at.addr)).collect();
        ensure!(shown == ["eth0 192.0.2.1", "eth0 fd00::1"], "{shown:?}");
        Ok(())
    })
}

/// What a test process without the capability is told by; it runs this very test.
const UNPRIVILEGED: &str = "BGPD_FIB_UNPRIVILEGED";

#[test]
fn without_permission_one_message_says_so_and_the_rest_goes_on() -> Result<()> {
    if std::env::var_os(UNPRIVILEGED).is_some() {
        return unprivileged();
    }
    isolated(here!(), &[], || {
        underlay()?;
        let mut command =
            Command::new(shell::which("setpriv").context("setpriv is missing: apt-get install util-linux")?);
        command.args(["--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]);
        command.arg(std::env::current_exe()?).env(UNPRIVILEGED, "1");
        command.args([
            "--exact",
            "without_permission_one_message_says_so_and_the_rest_goes_on",
            "--nocapture",
        ]);
        let printed = shell::read(&mut command)?;
        ensure!(printed.contains("1 passed"), "{printed}");
        Ok(())
    })
}

fn unprivileged() -> Result<()> {
    let fib = Fib::start(FibConfig::default())?;
    fib.handle.track("192.0.2.2".parse()?);
    for index in 0..100 {
        fib.want(&format!("10.1.{index}.0/24"), &["192.0.2.2"])?;
    }
    let (mut reached, mut refusals) = (false, Vec::new());
    fib.event("a next hop and a refusal", |event| {
        match event {
            FibEvent::NextHopChanged { way, .. } => reached |= way.is_ok(),
            FibEvent::NotPermitted(refusal) => refusals.push(refusal),
            _ => {}
        }
        (reached && !refusals.is_empty()).then_some(())
    })?;
    let refusal = refusals.pop().context("no refusal")?;
    ensure!(refusal.to_string().contains("CAP_NET_ADMIN"), "{refusal}");
    let report = fib.report("10.1.7.0/24")?;
    ensure!(report.state == State::Refused && report.refusal == Some(refusal), "{report:?}");
    ensure!(fib.inbox.borrow_mut().try_recv().is_err(), "more was said");
    let tried = fib.handle.stats().refused;
    ensure!(tried <= 32, "{tried} operations tried");
    Ok(())
}

/// Ten thousand, or a hundred thousand with optimisation, or `BGPD_FIB_ROUTES`: how fast they go in, change and go out, and
/// what the process weighs at its peak.
#[test]
fn many_routes_are_installed_changed_and_removed() -> Result<()> {
    isolated(here!(), &[], || {
        underlay()?;
        let standard = if cfg!(debug_assertions) { 10_000 } else { 100_000 };
        let count =
            std::env::var("BGPD_FIB_ROUTES").ok().and_then(|count| count.parse().ok()).unwrap_or(standard);
        let prefixes: Vec<Prefix> = (0..count)
            .map(|index: u32| Prefix::new(std::net::Ipv4Addr::from(0x0b00_0000 + (index << 4)).into(), 28))
            .collect::<Result<_, _>>()
            .map_err(|error| anyhow!("{error}"))?;
        let fib = Fib::start(FibConfig::default())?;
        fib.sweep();
        let run = |what: &str, route: Option<FibRoute>, done: &dyn Fn(fib::Totals) -> bool| -> Result<()> {
            let begin = Instant::now();
            let change = |prefix: &Prefix| FibChange {
                prefix: *prefix,
                route: route.clone(),
                metric: None,
                naming: Naming::Blanket,
            };
            fib.handle.desire(prefixes.iter().map(change));
            wait::closely(what, Duration::from_secs(60), || {
                let totals = fib.handle.stats();
                ensure!(done(totals), "{totals:?}");
                Ok(())
            })?;
            let secs = begin.elapsed().as_secs_f64();
            println!("{what} {count}: {secs:.3} s, {:.0}/s, peak {}", f64::from(count) / secs, peak());
            Ok(())
        };
        let via = |addr: &str| -> Result<_> { Ok(Some(FibRoute::Via(vec![hop(addr, 1)?]))) };
        let count = u64::from(count);
        run("install", via("192.0.2.2")?, &|totals| totals.states.installed == count)?;
        let shown = ip("route show proto bird")?.lines().count() as u64;
        ensure!(shown == count, "{shown} in the kernel");
        run("replace", via("192.0.2.3")?, &|totals| totals.replaced == count)?;
        run("remove", None, &|totals| totals.deleted == count)?;
        ensure!(ip("route show proto bird")?.is_empty());
        let totals = fib.handle.stats();
        ensure!(totals.overruns == 0 && totals.refused == 0 && totals.repairs == 0, "{totals:?}");
        Ok(())
    })
}

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.map(words).unwrap_or_default()
}
