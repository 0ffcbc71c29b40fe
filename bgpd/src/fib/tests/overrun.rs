//! Notifications that the kernel could not deliver: the walk that follows ends in the right state.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bgp_proto::{Prefix, Version};
use lab::sandbox::isolated;
use lab::{here, shell};
use reflector::events::FibRoute;

use crate::fib::facts::TABLE_MAIN;
use crate::fib::machine::{FibConfig, Machine};
use crate::fib::netlink::{BATCH, Requests};
use crate::fib::plan::State;
use crate::fib::tests::wish;
use crate::fib::watch::{Heard, Watch};

struct Bench {
    requests: Requests,
    watch: Watch,
    machine: Machine,
    now: Instant,
    overruns: usize,
}

impl Bench {
    /// Turns until nothing is left to do, an audit short.
    fn rest(&mut self) -> Result<()> {
        loop {
            let heard = self.watch.drain(|change| self.machine.kernel_changed(change, self.now))?;
            if heard == Heard::Overrun {
                self.overruns += 1;
                self.machine.overrun(self.now);
            }
            if self.machine.walk_due(self.now) {
                self.machine.walk_begins(self.requests.links()?, &self.requests.addresses()?);
                for version in [Version::V4, Version::V6] {
                    self.requests.routes(version, TABLE_MAIN, |route| self.machine.walk_route(route))?;
                }
                self.machine.walk_ends(self.now);
            }
            let (mut ops, mut outcomes) = (Vec::new(), Vec::new());
            self.machine.next(self.now, BATCH, &mut ops);
            self.requests.apply(&ops, &mut outcomes);
            for (op, outcome) in ops.iter().zip(outcomes) {
                self.machine.settle(op, outcome, self.now);
            }
            if ops.is_empty() && heard == Heard::All {
                let next = self.machine.deadline();
                if next > self.now + Duration::from_secs(30) {
                    return Ok(());
                }
                self.now = next;
            }
        }
    }
}

#[test]
fn lost_notifications_end_in_the_right_state() -> Result<()> {
    isolated(here!(), &[], || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let _guard = runtime.enter();
        let requests = Requests::open()?;
        let watch = Watch::open(requests.port())?;
        watch.shrink(4096)?;
        let now = Instant::now();
        let machine = Machine::new(FibConfig::default(), now);
        let mut bench = Bench { requests, watch, machine, now, overruns: 0 };
        let prefixes: Vec<Prefix> =
            (0..200).filter_map(|index| format!("10.1.{index}.0/24").parse().ok()).collect();
        for prefix in &prefixes {
            bench.machine.desire(wish(*prefix, Some(FibRoute::Blackhole)));
        }
        bench.machine.sweep(Version::V4);
        bench.rest()?;
        let lines = |line: &dyn Fn(usize) -> String| (0..200).map(line).collect::<String>();
        shell::ip_batch(&lines(&|index| format!("route del blackhole 10.1.{index}.0/24\n")))?;
        shell::ip_batch(&lines(&|index| format!("route add blackhole 10.2.{index}.0/24 proto bird\n")))?;
        shell::ip_batch("route add blackhole 10.1.7.0/24 metric 1024 proto static")?;
        bench.rest()?;
        ensure!(bench.overruns > 0, "nothing was lost");
        let stands = |state: State| {
            let report = |prefix: &Prefix| bench.machine.report(prefix).map(|report| report.state);
            prefixes.iter().filter(|prefix| report(prefix) == Some(state)).count()
        };
        ensure!(stands(State::Installed) == 199 && stands(State::Refused) == 1);
        let shown = shell::read(shell::command("ip").args(["-o", "route", "show", "proto", "bird"]))?;
        ensure!(shown.lines().count() == 199 && !shown.contains("10.2."), "{shown}");
        Ok(())
    })
}
