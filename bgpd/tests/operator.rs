//! The operator's mistakes and manoeuvres: each bad input gets one clear message with the likely cause, and the daemon keeps
//! its last good configuration; a reload touches nothing that did not change; SIGTERM ends cleanly.

use std::fs;
use std::net::IpAddr;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use lab::daemon::{Daemon, write};
use lab::here;
use lab::net::{Node, Underlay};
use lab::peers::bird::{self, Bird};
use lab::peers::ours::{self, Bgpd};
use lab::sandbox::isolated;
use lab::shell;
use lab::speaker::{Neighbor, Plan, Speaker};
use lab::wait::{self, SOON};

const ASN: u32 = 64512;

/// A message is one thing said once: this many lines at most, with a hint.
const MESSAGE_LINES_MAX: usize = 4;

/// What `bgpd check` says of a configuration that it must refuse.
fn refusal(yaml: &str) -> Result<String> {
    let file = write("bad.yaml", yaml)?;
    let output = shell::output(Command::new(ours::binary()?).arg("check").arg(&file))?;
    let text = said(&output);
    ensure!(!output.status.success(), "accepted: {text}");
    ensure!(text.contains("bad.yaml"), "does not name the file: {text}");
    Ok(text)
}

fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[track_caller]
fn says(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.to_lowercase().contains(&word.to_lowercase()), "{word:?} is not in: {text}");
    }
    ensure!(!text.contains("panicked"), "{text}");
    Ok(())
}

/// Waits for a daemon that cannot start to say so and leave, and returns what it said.
fn last_words(name: &str, command: Command) -> Result<String> {
    let daemon = Daemon::spawn(name, command)?;
    let status = daemon.wait_exit(SOON)?;
    let log = daemon.log();
    ensure!(!status.success(), "it calls this a success: {log}");
    let complaints = log.lines().filter(|line| !line.trim().is_empty() && !line.contains("INFO")).count();
    ensure!(complaints <= MESSAGE_LINES_MAX, "{complaints} lines are not one message: {log}");
    Ok(log)
}

/// `bgpd` in a node without some capability, even as root.
fn without(node: &Node, capability: &str, yaml: &str) -> Result<Command> {
    let (config, _) = ours::files(node, yaml)?;
    let mut command = node.command("setpriv");
    command.arg(format!("--bounding-set=-{capability}")).arg(format!("--inh-caps=-{capability}"));
    command.arg(ours::binary()?).args(["run", "--config"]).arg(config);
    Ok(command)
}

const MINIMAL: &str = "asn: 64512\nrouterId: 10.0.0.1\npeers: []\n";

#[test]
fn malformed_yaml_is_refused_with_its_place() -> Result<()> {
    isolated(here!(), &[], || {
        says(&refusal("asn: 64512\npeers: [ { name: a, \n")?, &[":"])?;
        says(&refusal("asn: 64512\n  routerId: 10.0.0.1\n")?, &["2"])?;
        says(&refusal("asn: twelve\n")?, &["1:6", "asn", "twelve"])
    })
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_a_suggestion() -> Result<()> {
    isolated(here!(), &[], || {
        says(&refusal("asn: 64512\npeeers: []\n")?, &["2:1", "peeers", "peers"])?;
        let nested = "asn: 64512\npeers:\n- { name: a, addres: 10.0.0.2, asn: 64512 }\n";
        says(&refusal(nested)?, &["3:", "addres", "address"])
    })
}

#[test]
fn a_good_file_passes_the_check() -> Result<()> {
    isolated(here!(), &[], || {
        let file = write("good.yaml", MINIMAL)?;
        let output = shell::output(Command::new(ours::binary()?).arg("check").arg(&file))?;
        ensure!(output.status.success(), "{}", said(&output));
        Ok(())
    })
}

#[test]
fn a_daemon_does_not_start_on_a_bad_file() -> Result<()> {
    isolated(here!(), &[], || {
        let node = Underlay::new()?.node("a")?;
        let (config, _) = ours::files(&node, "asn: 64512\npeeers: []\n")?;
        says(&last_words("bgpd-bad", ours::command(&node, &config)?)?, &["2:1", "peeers"])?;
        let missing = ours::command(&node, "/nowhere/bgpd.yaml".as_ref())?;
        says(&last_words("bgpd-missing", missing)?, &["/nowhere/bgpd.yaml", "No such file"])
    })
}

#[test]
fn a_taken_port_is_named() -> Result<()> {
    isolated(here!(), &[bird::NEED], || {
        let nodes = Underlay::new()?.nodes(&["a", "b"])?;
        let _bird = Bird::start(&nodes[0], Plan::new(&nodes[0], ASN).neighbors(&nodes[0], &nodes[1], ASN))?;
        let (config, _) = ours::files(&nodes[0], MINIMAL)?;
        says(&last_words("bgpd-late", ours::command(&nodes[0], &config)?)?, &["179", "taken", "another"])
    })
}

#[test]
fn a_forbidden_port_is_named_with_the_capability() -> Result<()> {
    isolated(here!(), &[], || {
        let node = Underlay::new()?.node("a")?;
        let command = without(&node, "net_bind_service", MINIMAL)?;
        says(&last_words("bgpd-humble", command)?, &["179", "CAP_NET_BIND_SERVICE"])
    })
}

#[test]
fn a_missing_cap_net_admin_is_named_once_and_a_reflector_does_not_miss_it() -> Result<()> {
    isolated(here!(), &[], || {
        let node = Underlay::new()?.node("a")?;
        let prefixes =
            "advertise: [ { prefixes: [10.244.1.0/24, 10.244.2.0/24, \"fd00:10:244:1::/64\"] } ]\n";
        let humble =
            Daemon::spawn("bgpd-humble", without(&node, "net_admin", &format!("{MINIMAL}{prefixes}"))?)?;
        humble.wait_log("initial routes are in", SOON)?;
        humble.wait_log("CAP_NET_ADMIN", SOON)?;
        let log = humble.log();
        says(&log, &["CAP_NET_ADMIN", "install: false"])?;
        ensure!(log.matches("CAP_NET_ADMIN").count() == 1, "it repeats itself: {log}");
        humble.kill();
        let yaml = format!("{MINIMAL}{prefixes}kernel: {{ install: false }}\n");
        let reflector = Daemon::spawn("bgpd-reflector", without(&node, "net_admin", &yaml)?)?;
        reflector.wait_listen(179)?;
        ensure!(!reflector.log().contains("CAP_NET_ADMIN"), "{}", reflector.log());
        Ok(())
    })
}

#[test]
fn a_second_daemon_on_the_same_socket_is_refused() -> Result<()> {
    isolated(here!(), &[], || {
        let nodes = Underlay::new()?.nodes(&["a", "b"])?;
        let first = Bgpd::start_yaml(&nodes[0], MINIMAL)?;
        let text = fs::read_to_string(first.config())?;
        let config = write("second.yaml", &text)?;
        // In the other namespace port 179 is free: only the socket stands in the way.
        let words = last_words("bgpd-second", ours::command(&nodes[1], &config)?)?;
        says(&words, &["bgpd-a.sock", "another"])?;
        first.ask(&["status"]).map(drop)
    })
}

#[test]
fn a_socket_left_by_a_killed_daemon_is_no_obstacle() -> Result<()> {
    isolated(here!(), &[], || {
        let node = Underlay::new()?.node("a")?;
        Bgpd::start_yaml(&node, MINIMAL)?.relaunch()
    })
}

/// Waits until `bgpd peers` explains what is wrong with a peer in these words.
fn wait_trouble(bgpd: &Bgpd, peer: IpAddr, words: &[&str]) -> Result<()> {
    wait::until("an explanation", SOON, || {
        bgpd.daemon().alive()?;
        let answer = bgpd.peer(peer)?;
        ensure!(answer["state"] != "Established", "it is established");
        says(answer["trouble"].as_str().unwrap_or_default(), words)
    })
}

#[test]
fn a_wrong_as_number_is_explained() -> Result<()> {
    isolated(here!(), &[bird::NEED], || {
        let nodes = Underlay::new()?.nodes(&["ours", "peer"])?;
        let _bird = Bird::start(&nodes[1], Plan::new(&nodes[1], 65099).neighbors(&nodes[1], &nodes[0], ASN))?;
        let ours = Bgpd::start(&nodes[0], Plan::new(&nodes[0], ASN).neighbors(&nodes[0], &nodes[1], 65001))?;
        wait_trouble(&ours, nodes[1].v4.into(), &["65099", "65001"])
    })
}

#[test]
fn a_password_on_one_side_only_is_explained() -> Result<()> {
    isolated(here!(), &[bird::NEED], || {
        let nodes = Underlay::new()?.nodes(&["ours", "peer"])?;
        let plan = |here: &Node, there: &Node| Plan::new(here, ASN).neighbors(here, there, ASN);
        let secret = |neighbor: Neighbor| neighbor.password("one");
        let _bird = Bird::start(&nodes[1], plan(&nodes[1], &nodes[0]).each(secret))?;
        let other = |neighbor: Neighbor| neighbor.password("another");
        let ours = Bgpd::start(&nodes[0], plan(&nodes[0], &nodes[1]).each(other))?;
        wait_trouble(&ours, nodes[1].v4.into(), &["password"])?;
        ensure!(!ours.daemon().log().contains("another"), "the log shows the password");
        Ok(())
    })
}

/// One key for a whole range (`TCP_MD5SIG_EXT`): who has it is let in, who has another or none never gets a connection.
#[test]
fn peers_from_a_range_need_its_key() -> Result<()> {
    isolated(here!(), &[bird::NEED], || {
        let nodes = Underlay::new()?.nodes(&["ours", "member", "stranger", "naked"])?;
        let secret = write("range.secret", "one\n")?;
        let [a, b, c, _] = nodes[0].v4.octets();
        let yaml = format!(
            "asn: {ASN}\nrouterId: {}\npeers:\n- {{ name: nodes, range: {a}.{b}.{c}.0/24, asn: {ASN}, families: [ipv4], \
             password: {{ file: {} }} }}\n",
            nodes[0].v4,
            secret.display()
        );
        let ours = Bgpd::start_yaml(&nodes[0], &yaml)?;
        let plan = |node: &Node| Plan::new(node, ASN).neighbors(node, &nodes[0], ASN);
        let _naked = Bird::start(&nodes[3], plan(&nodes[3]))?;
        let _stranger = Bird::start(&nodes[2], plan(&nodes[2]).each(|one| one.password("another")))?;
        // The kernel counts what it drops: with a wrong signature, and with none.
        for counter in ["TcpExtTCPMD5Failure", "TcpExtTCPMD5NotFound"] {
            wait::until(counter, SOON, || {
                let counted = nodes[0].sh(&format!("nstat -asz {counter} | tail -n 1"))?;
                let count = counted.split_whitespace().nth(1).unwrap_or("0");
                ensure!(count != "0", "{counted}");
                Ok(())
            })?;
        }
        let _member = Bird::start(&nodes[1], plan(&nodes[1]).each(|one| one.password("one")))?;
        ours.wait_established(nodes[1].v4.into())?;
        for node in &nodes[2..] {
            ensure!(ours.peer(node.v4.into()).is_err(), "{} was let in", node.name);
        }
        Ok(())
    })
}

#[test]
fn an_external_peer_without_a_policy_is_explained_and_exchanges_nothing() -> Result<()> {
    isolated(here!(), &[bird::NEED], || {
        let nodes = Underlay::new()?.nodes(&["ours", "peer"])?;
        let plan = Plan::new(&nodes[1], 65001).neighbors(&nodes[1], &nodes[0], ASN).network("10.244.2.0/24");
        let bird = Bird::start(&nodes[1], plan)?;
        let yaml = format!(
            "asn: {ASN}\nrouterId: {}\npeers:\n- {{ name: tor, address: {}, asn: 65001, families: [ipv4] }}\n\
             advertise: [ {{ prefixes: [10.244.1.0/24] }} ]\n",
            nodes[0].v4, nodes[1].v4
        );
        let ours = Bgpd::start_yaml(&nodes[0], &yaml)?;
        ours.wait_established(nodes[1].v4.into())?;
        let peer = ours.peer(nodes[1].v4.into())?;
        says(peer["trouble"].as_str().unwrap_or_default(), &["policy"])?;
        says(&ours.show(&["status"])?, &["policy"])?;
        // BIRD's End-of-RIB has come: had it been let in, the route would be here.
        wait::until("End-of-RIB", SOON, || {
            let peer = ours.peer(nodes[1].v4.into())?;
            ensure!(peer["families"][0]["endOfRib"] == true, "{peer}");
            Ok(())
        })?;
        ensure!(ours.routes("10.244.2.0/24")?.is_empty(), "it accepted a route");
        ensure!(bird.routes("10.244.1.0/24")?.is_empty(), "it sent a route");
        Ok(())
    })
}

/// When the session with a peer came up, by the daemon's own account, and how often it has gone.
fn session(bgpd: &Bgpd, peer: IpAddr) -> Result<(String, u64)> {
    let answer: Value = bgpd.peer(peer)?;
    ensure!(answer["state"] == "Established", "{answer}");
    let since = answer["since"]["at"].as_str().with_context(|| format!("no moment in {answer}"))?;
    Ok((since.to_owned(), answer["flaps"].as_u64().unwrap_or(0)))
}

#[test]
fn a_reload_leaves_unchanged_sessions_alone() -> Result<()> {
    isolated(here!(), &[bird::NEED], || {
        let nodes = Underlay::new()?.nodes(&["ours", "steady", "changed"])?;
        let peer = |node: &Node| Bird::start(node, Plan::new(node, ASN).neighbors(node, &nodes[0], ASN));
        let (steady, _changed) = (peer(&nodes[1])?, peer(&nodes[2])?);
        let plan = Plan::new(&nodes[0], ASN).neighbors(&nodes[0], &nodes[1], ASN);
        let both = plan.clone().neighbors(&nodes[0], &nodes[2], ASN);
        let mut ours = Bgpd::start(&nodes[0], both)?;
        for node in &nodes[1..] {
            ours.wait_established(node.v4.into())?;
        }
        let before = session(&ours, nodes[1].v4.into())?;
        // A new hold time is for the peer with the other address only.
        ours.reload(&ours.yaml()?.replace("holdTime: 90s", "holdTime: 60s").replacen(
            "holdTime: 60s",
            "holdTime: 90s",
            2,
        ))?;
        wait::until("the other session was renewed", SOON, || {
            let peer = ours.peer(nodes[2].v4.into())?;
            ensure!(peer["state"] == "Established" && peer["session"]["holdSecs"] == 60, "{peer}");
            Ok(())
        })?;
        ours.announce("10.244.1.0/24")?;
        steady.wait_route_via("10.244.1.0/24", nodes[0].v4.into())?;
        ensure!(session(&ours, nodes[1].v4.into())? == before, "the steady session was touched");
        Ok(())
    })
}

#[test]
fn a_bad_reload_keeps_the_last_good_configuration() -> Result<()> {
    isolated(here!(), &[bird::NEED], || {
        let nodes = Underlay::new()?.nodes(&["ours", "peer"])?;
        let bird = Bird::start(&nodes[1], Plan::new(&nodes[1], ASN).neighbors(&nodes[1], &nodes[0], ASN))?;
        let plan = Plan::new(&nodes[0], ASN).neighbors(&nodes[0], &nodes[1], ASN).network("10.244.1.0/24");
        let mut ours = Bgpd::start(&nodes[0], plan)?;
        bird.wait_route_via("10.244.1.0/24", nodes[0].v4.into())?;
        let before = session(&ours, nodes[1].v4.into())?;
        ours.reload("asn: 64512\npeeers: []\n")?;
        wait::until("the refusal", SOON, || {
            let status = ours.ask(&["status"])?;
            says(status["config"]["refused"]["text"].as_str().unwrap_or_default(), &["peeers"])
        })?;
        ensure!(session(&ours, nodes[1].v4.into())? == before, "the session was touched");
        ensure!(!bird.routes("10.244.1.0/24")?.is_empty(), "the route was withdrawn");
        // And a good one is taken again.
        ours.announce("10.244.3.0/24")?;
        bird.wait_route_via("10.244.3.0/24", nodes[0].v4.into()).map(drop)
    })
}

#[test]
fn a_session_is_shut_down_with_a_message_until_it_is_started() -> Result<()> {
    isolated(here!(), &[bird::NEED], || {
        let nodes = Underlay::new()?.nodes(&["ours", "peer"])?;
        let bird = Bird::start(&nodes[1], Plan::new(&nodes[1], ASN).neighbors(&nodes[1], &nodes[0], ASN))?;
        let ours = Bgpd::start(&nodes[0], Plan::new(&nodes[0], ASN).neighbors(&nodes[0], &nodes[1], ASN))?;
        let peer: IpAddr = nodes[1].v4.into();
        let address = peer.to_string();
        ours.wait_established(peer)?;
        ours.show(&["shutdown", &address, "--message", "moving to rack 7"])?;
        bird.daemon().wait_log("moving to rack 7", SOON)?;
        wait_trouble(&ours, peer, &["moving to rack 7", "bgpd start"])?;
        // A reload does not undo it.
        ours.reload(&ours.yaml()?.replace("holdTime: 90s", "holdTime: 60s"))?;
        wait_trouble(&ours, peer, &["moving to rack 7", "bgpd start"])?;
        ours.show(&["start", &address])?;
        ours.wait_established(peer)?;
        let before = session(&ours, peer)?;
        ours.show(&["reset", &address, "--message", "once more"])?;
        bird.daemon().wait_log("once more", SOON)?;
        wait::until("a new session", SOON, || {
            ensure!(session(&ours, peer)?.1 > before.1, "it is the old one");
            Ok(())
        })?;
        for (words, complaint) in [
            (["shutdown", "nobody"].as_slice(), "no peer named `nobody`"),
            (&["start", "10.9.9.9"], "no peer 10.9.9.9"),
            (&["reset", &address, "--message", &"x".repeat(256)], "at most 255 octets"),
        ] {
            let output = shell::output(ours.client(words)?.stdin(std::process::Stdio::null()))?;
            ensure!(!output.status.success(), "{words:?}");
            says(&said(&output), &[complaint])?;
        }
        Ok(())
    })
}

#[test]
fn sigterm_says_goodbye_and_leaves_nothing() -> Result<()> {
    isolated(here!(), &[bird::NEED], || {
        let nodes = Underlay::new()?.nodes(&["ours", "peer"])?;
        let bird = Bird::start(&nodes[1], Plan::new(&nodes[1], ASN).neighbors(&nodes[1], &nodes[0], ASN))?;
        let plan = Plan::new(&nodes[0], ASN).neighbors(&nodes[0], &nodes[1], ASN).network("10.244.1.0/24");
        let ours = Bgpd::start(&nodes[0], plan)?;
        bird.wait_route_via("10.244.1.0/24", nodes[0].v4.into())?;
        ours.daemon().signal("TERM")?;
        let status = ours.daemon().wait_exit(SOON)?;
        ensure!(status.success(), "{status}: {}", ours.daemon().tail(10));
        bird.wait_no_route("10.244.1.0/24", SOON)?;
        let text = fs::read_to_string(ours.config())?;
        let socket = text.lines().find_map(|line| line.strip_prefix("control: { socket: "));
        let socket = socket.context("no socket in the configuration")?.trim_end_matches(" }").to_owned();
        ensure!(fs::metadata(&socket).is_err(), "{socket} is still there");
        Ok(())
    })
}

#[test]
fn a_client_without_a_daemon_says_so() -> Result<()> {
    isolated(here!(), &[], || {
        let mut command = Command::new(ours::binary()?);
        let output = shell::output(command.args(["status", "--socket", "/run/nobody.sock"]))?;
        ensure!(!output.status.success(), "{}", said(&output));
        says(&said(&output), &["/run/nobody.sock", "running"])
    })
}
