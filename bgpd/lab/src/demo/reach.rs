//! Who reaches whom: every Pod pings other Pods and asks them which address it was seen by.

use std::collections::HashMap;
use std::net::IpAddr;
use std::thread;

use anyhow::{Result, anyhow};

use crate::net::Family;
use crate::pod::Pod;
use crate::shell;

/// What one Pod found out about one address of another.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    /// The asking Pod.
    pub from: String,
    /// Its address.
    pub own: IpAddr,
    /// The asked Pod.
    pub to: String,
    /// Its address.
    pub address: IpAddr,
    /// The round trip in milliseconds, as `ping` says.
    pub ping_ms: Option<f64>,
    /// The address the asked Pod saw.
    pub seen_as: Option<IpAddr>,
}

/// Each Pod's next others, in a ring, so that a large cluster is not pinged for minutes; a small one is covered whole.
pub(super) const OTHERS_MAX: usize = 16;

/// Each Pod to its next [`OTHERS_MAX`] others, in these families; the Pods work at the same time.
pub(super) fn all(pods: &[Pod], families: &[Family]) -> Result<Vec<Reach>> {
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..pods.len()).map(|index| scope.spawn(move || from_one(index, pods, families))).collect();
        let mut found = Vec::new();
        for worker in workers {
            found.extend(worker.join().map_err(|_| anyhow!("a worker died"))??);
        }
        Ok(found)
    })
}

fn from_one(index: usize, pods: &[Pod], families: &[Family]) -> Result<Vec<Reach>> {
    let pod = &pods[index];
    let others = || pods.iter().cycle().skip(index + 1).take((pods.len() - 1).min(OTHERS_MAX));
    let targets: Vec<(&Pod, Family)> =
        others().flat_map(|other| families.iter().map(move |family| (other, *family))).collect();
    let addresses = targets.iter().map(|(other, family)| other.address(*family).to_string());
    let exe = std::env::current_exe()?;
    let answers = shell::output(pod.command(&exe.to_string_lossy()).arg("ask").args(addresses))?;
    let seen = read_answers(&String::from_utf8_lossy(&answers.stdout));
    targets
        .into_iter()
        .map(|(other, family)| {
            let address = other.address(family);
            Ok(Reach {
                from: pod.name.clone(),
                own: pod.address(family),
                to: other.name.clone(),
                address,
                ping_ms: ping(pod, address)?,
                seen_as: seen.get(&address).copied(),
            })
        })
        .collect()
}

fn read_answers(text: &str) -> HashMap<IpAddr, IpAddr> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.filter_map(|(asked, seen)| Some((asked.parse().ok()?, seen.parse().ok()?))).collect()
}

fn ping(pod: &Pod, address: IpAddr) -> Result<Option<f64>> {
    let output = shell::output(pod.command("ping").args(["-n", "-c1", "-W2", &address.to_string()]))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(round_trip(&text).filter(|_| output.status.success()))
}

fn round_trip(text: &str) -> Option<f64> {
    text.split_once("time=")?.1.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ping_and_echo_output_is_read() {
        let text = "64 bytes from 10.244.2.2: icmp_seq=1 ttl=62 time=0.071 ms";
        assert_eq!(round_trip(text), Some(0.071));
        assert_eq!(round_trip("1 packets transmitted, 0 received"), None);
        let seen = read_answers("10.244.2.2 10.244.1.2\nfd00::2 fd00::1\nnonsense\n");
        assert_eq!(seen[&"fd00::2".parse::<IpAddr>().unwrap()].to_string(), "fd00::1");
    }
}
