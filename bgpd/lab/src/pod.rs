//! A Pod as Kubernetes makes one: a pause process holds a network namespace, and everything else in the Pod joins it.
//!
//! The wiring is Calico's: a veth pair whose node end is `caliN` with the address ee:ee:ee:ee:ee:ee, inside a /32 and
//! a /128 from the node's Pod CIDR, default routes via 169.254.1.1 and fe80::ecee:eeff:feee:eeee (what that MAC
//! address makes of itself), and on the node one host route for each address. No bridge, no NAT.
//!
//! 169.254.1.1 belongs to nobody. On real nodes proxy ARP answers for it, which it does only when the node has a
//! default route, and late; here the Pod has a permanent neighbour entry instead.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::net::{Family, Node};
use crate::shell;

const CALI_MAC: &str = "ee:ee:ee:ee:ee:ee";
const GATEWAY_V4: &str = "169.254.1.1";
const GATEWAY_V6: &str = "fe80::ecee:eeff:feee:eeee";

/// A running Pod. Dropping it ends the pause process, and with that its namespace.
#[derive(Debug)]
pub struct Pod {
    /// `pod` and its node's number.
    pub name: String,
    /// Its IPv4 address, the second of the node's Pod CIDR.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
    pause: Child,
}

impl Pod {
    /// Starts the pause process and wires it to its node.
    pub fn start(node: &Node) -> Result<Self> {
        let [high, low] = node.index.to_be_bytes();
        let v4 = Ipv4Addr::new(10, 244 + high, low, 2);
        let v6 = Ipv6Addr::new(0xfd00, 0x10, 0x244, node.index, 0, 0, 0, 2);
        let mut pause = shell::command("unshare")
            .args(["--net", "--", "sh", "-c", "echo up; exec sleep infinity"])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run unshare")?;
        let mut line = String::new();
        if let Some(stdout) = pause.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        ensure!(line == "up\n", "the pause process did not start");
        let pod = Pod { name: format!("pod{}", node.index), v4, v6, pause };
        pod.wire(node)?;
        Ok(pod)
    }

    fn wire(&self, node: &Node) -> Result<()> {
        let cali = format!("cali{}", node.index);
        let (v4, v6, pid) = (self.v4, self.v6, self.pid());
        shell::ip_batch(&format!(
            "link add {cali} netns {} type veth peer name eth0 netns {pid}\n",
            node.name
        ))?;
        node.ip(&format!(
            "link set {cali} address {CALI_MAC} up\n\
             route add {v4}/32 dev {cali} scope link\n\
             route add {v6}/128 dev {cali}\n"
        ))?;
        shell::feed(
            self.command("ip").args(["-batch", "-"]),
            &format!(
                "link set lo up\n\
                 addr add {v4}/32 dev eth0\n\
                 addr add {v6}/128 dev eth0 nodad\n\
                 link set eth0 up\n\
                 neigh replace {GATEWAY_V4} lladdr {CALI_MAC} dev eth0 nud permanent\n\
                 route add {GATEWAY_V4} dev eth0 scope link\n\
                 route add default via {GATEWAY_V4}\n\
                 route add default via {GATEWAY_V6} dev eth0\n"
            ),
        )?;
        Ok(())
    }

    /// Its address in a family.
    pub fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }

    /// The pause process.
    pub fn pid(&self) -> u32 {
        self.pause.id()
    }

    /// A command that will run as a second process in the Pod.
    pub fn command(&self, program: &str) -> Command {
        let mut command = shell::command("nsenter");
        command.args(["--net", "--target", &self.pid().to_string(), "--"]);
        command.arg(shell::which(program).unwrap_or_else(|| program.into()));
        command
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.pause.kill();
        let _ = self.pause.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Underlay;
    use crate::{here, sandbox};

    #[test]
    fn a_pod_reaches_its_node_and_pods_elsewhere_by_static_routes() -> Result<()> {
        sandbox::isolated(here!(), &[], || {
            let nodes = Underlay::new()?.nodes(&["a", "b"])?;
            let pods = [Pod::start(&nodes[0])?, Pod::start(&nodes[1])?];
            for (here, there) in [(0, 1), (1, 0)] {
                for family in Family::BOTH {
                    let via = nodes[there].address(family);
                    nodes[here].ip(&format!("route add {} via {via}\n", nodes[there].pod_cidr(family)))?;
                }
            }
            for family in Family::BOTH {
                for target in [nodes[0].address(family), pods[1].address(family)] {
                    shell::read(pods[0].command("ping").args(["-c1", "-W2", &target.to_string()]))?;
                }
            }
            Ok(())
        })
    }
}
