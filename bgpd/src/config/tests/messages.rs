//! Every message of the configuration, word for word.

use super::load;
use crate::config::{Problem, Surroundings, from_yaml};

fn said(text: &str) -> String {
    let problems = load(text).expect_err(text);
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// The message for the peer that is written like this, beside `asn: 64512`; what comes before it is cut off.
fn said_of_peer(peer: &str) -> String {
    let said = said(&format!("asn: 64512\npeers:\n- {{ {peer} }}\n"));
    let of_peer = said.split_once("peers[0]").expect("a peer").1;
    of_peer.split_once(": ").expect("a message").1.to_owned()
}

#[track_caller]
fn peer(peer: &str, message: &str) {
    assert_eq!(said_of_peer(peer), message);
}

#[test]
fn malformed_yaml() {
    assert_eq!(
        said("asn: 64512\npeers: [ { address: 10.0.0.2 }\nlisten: {}\n"),
        "3:7: this is not YAML: illegal placement of ':' indicator"
    );
    assert_eq!(
        said("asn 64512\n"),
        "1:1: expected a mapping with keys such as `asn`, `routerId`, `listen`, `peers`, `reflector`, `decision`, `advertise`, `policy`, `kernel`, `pools`, `gracefulRestart`, `longLivedGracefulRestart`, `restart`, `control`, `metrics`, `log`, found `asn 64512`"
    );
}

#[test]
fn unknown_keys() {
    assert_eq!(said("asn: 1\nrouterid: 10.0.0.1\n"), "2:1: unknown key `routerid`; did you mean `routerId`?");
    peer("address: 10.0.0.2, asn: 1, hold_time: 9s", "unknown key `hold_time`; did you mean `holdTime`?");
    peer("address: 10.0.0.2, asn: 1, remote-as: 1", "unknown key `remote-as`; did you mean `asn`?");
    peer(
        "address: 10.0.0.2, asn: 1, colour: 1",
        "unknown key `colour`; known here: name, address, range, asn, localAsn, description, localAddress, port, passive, holdTime, minHoldTime, openHoldTime, delayOpen, sendHoldTime, idleHoldTime, maxIdleHoldTime, connectRetry, password, ttlSecurity, bfd, role, strictRole, enforceFirstAs, allowOwnAs, acceptAsSets, tunnels, extendedMessages, extendedNextHop, families, addPaths, addPathsMax, maxPrefixes, maxPrefixesAction, maxPrefixesRestart, gracefulRestart, notificationRestart, longLivedGracefulRestart, longLivedPartialDeployment, stalePathTime, refreshTime, nextHop, reflectorClient, import, export",
    );
    assert_eq!(
        said("asn: 1\npolicy: { p: [ { match: { asPath: { contain: 1 } }, action: accept } ] }"),
        "2:37: policy.p[0].match.asPath: unknown key `contain`; did you mean `contains`?"
    );
}

#[test]
fn values_of_the_wrong_form() {
    assert_eq!(said("peers: []\n"), "1:1: `asn` is missing");
    assert_eq!(
        said("asn: 64512x\n"),
        "1:6: asn: expected an AS number from 1 to 4294967295, or dotted such as 1.10, found `64512x`"
    );
    assert_eq!(
        said("asn: 1\nrouterId: 10.0.0\n"),
        "2:11: routerId: expected a router id such as 10.0.0.1, found `10.0.0`"
    );
    assert_eq!(
        said("asn: 1\nmetrics: { listen: 127.0.0.1 }\n"),
        "2:20: metrics.listen: expected an address with a port such as 127.0.0.1:9179 or [::1]:9179, found `127.0.0.1`"
    );
    assert_eq!(
        said("asn: 1\ncontrol: { socket: bgpd.sock }\n"),
        "2:20: control.socket: expected the absolute path of a file, found `bgpd.sock`"
    );
    assert_eq!(
        said("asn: 1\nlog: { level: verbose }\n"),
        "2:15: log.level: expected `error`, `warn`, `info`, `debug` or `trace`, found `verbose`"
    );
    peer("address: tor, asn: 1", "expected an IPv4 or IPv6 address, found `tor`");
    peer(
        "address: 10.0.0.2, asn: 1, holdTime: 90",
        "`90` has no unit; did you mean `90s`? (s, m, h and d are units)",
    );
    peer(
        "address: 10.0.0.2, asn: 1, holdTime: soon",
        "expected a duration such as 90s, 2m or 1h30m, found `soon`",
    );
    peer("address: 10.0.0.2, asn: 1, port: 70000", "expected a whole number from 0 to 65535, found `70000`");
    peer("address: 10.0.0.2, asn: 1, passive: yes", "expected true or false, found `yes`");
    peer(
        "address: 10.0.0.2, asn: 1, addPaths: al",
        "expected `off`, `send`, `receive` or `both`, found `al`",
    );
    peer(
        "address: 10.0.0.2, asn: 1, families: [ipv5]",
        "expected a family: `ipv4`, `ipv6`, `vpnv4`, `vpnv6`, `evpn`, `ipv4-labelled`, `ipv6-labelled`, `rt-constraint` or another that the documentation lists, found `ipv5`",
    );
    peer("address: 10.0.0.2, asn: 1, families: ipv4", "expected a list, found `ipv4`");
    peer(
        "address: 10.0.0.2, asn: 1, ttlSecurity: 255",
        "expected true (the peer is one hop away), false, or the number of hops from 1 to 254, found `255`",
    );
    peer(
        "range: 10.0.0.2/16, asn: 1",
        "`10.0.0.2/16` has bits set beyond its length; did you mean `10.0.0.0/16`?",
    );
    peer(
        "name: a b, address: 10.0.0.2, asn: 1",
        "expected a name of at most 63 letters, digits, `-`, `_`, `.`, `:` or `/`, found `a b`",
    );
}

#[test]
fn a_password_in_the_file_is_refused_and_not_repeated() {
    let refused =
        "a password does not belong into the configuration; put it into a file and write `{ file: PATH }`";
    peer("address: 10.0.0.2, asn: 1, password: hunter2", refused);
    peer(
        "address: 10.0.0.2, asn: 1, password: { value: hunter2 }",
        "`file` is missing\n3:44: peers[0].password: unknown key `value`; known here: file",
    );
}

#[test]
fn secrets_that_cannot_be_had() {
    peer(
        "address: 10.0.0.2, asn: 1, password: { file: /run/secrets/none }",
        "cannot read the password from /run/secrets/none: no such file",
    );
    peer(
        "address: 10.0.0.2, asn: 1, password: { file: /run/secrets/empty }",
        "/run/secrets/empty holds a password of 0 octets; 1 to 80 are possible",
    );
}

#[test]
fn peers_that_make_no_sense() {
    peer("asn: 1", "`address` is missing (or `range`, for peers that connect from anywhere in it)");
    peer("address: 10.0.0.2, range: 10.0.0.0/8, asn: 1", "`address` and `range` exclude each other");
    peer("address: 0.0.0.0, asn: 1", "0.0.0.0 is no one's address");
    peer("address: 224.0.0.1, asn: 1", "224.0.0.1 is a multicast address");
    peer("address: '::ffff:10.0.0.1', asn: 1", "::ffff:10.0.0.1 is an IPv4 address; write it as one");
    peer(
        "address: fe80::1, asn: 1",
        "fe80::1 is a link-local address, which means nothing without an interface; not supported",
    );
    peer(
        "address: 10.0.0.2, localAddress: fd00::1, asn: 1",
        "fd00::1 and 10.0.0.2 are not of one version of IP",
    );
    peer(
        "address: 10.0.0.2, asn: 1, reflectorClient: true",
        "only an internal peer can be a client, and AS 1 is not ours (64512)",
    );
    peer(
        "address: 10.0.0.2, asn: 64512, localAsn: 7",
        "only an external peer can be shown another AS number",
    );
    peer("address: 10.0.0.2, asn: 7, localAsn: 7", "7 is the peer's own AS number");
    peer(
        "address: 10.0.0.2, asn: 7, holdTime: 2s",
        "expected 0s (for ever) or 3s to 65535s (RFC 4271), found `2s`",
    );
    peer("address: 10.0.0.2, asn: 7, connectRetry: 0s", "expected 1s to 65535s, found `0s`");
    peer(
        "address: 10.0.0.2, asn: 7, gracefulRestart: 2h",
        "expected `off` or 0s to 4095s (RFC 4724), found `7200s`",
    );
    peer("address: 10.0.0.2, asn: 7, families: []", "a session carries at least one family");
    peer(
        "address: 10.0.0.2, asn: 7, maxPrefixes: 0",
        "0 would end every session; leave the key out for no limit",
    );
    peer("address: 10.0.0.2, asn: 7, port: 0", "expected a port from 1 to 65535, found `0`");
    peer("range: 10.0.0.0/8, asn: 7, passive: false", "a range is only connected from, never to");
    peer("range: 10.0.0.0/8, asn: 7, connectRetry: 5s", "a range is only connected from, never to");
    assert_eq!(
        said("asn: 1\nlisten: { addresses: [] }\npeers: [ { address: 10.0.0.2, asn: 1, passive: true } ]"),
        "3:48: peers[0].passive: `listen.addresses` is empty, so no peer can ever connect"
    );
}

#[test]
fn sessions_that_make_no_sense() {
    peer("address: 10.0.0.2, asn: 7, minHoldTime: 2s", "expected 3s to 65535s, found `2s`");
    peer(
        "address: 10.0.0.2, asn: 7, holdTime: 9s, minHoldTime: 10s",
        "10s is more than the hold time that we propose, 9s",
    );
    peer("address: 10.0.0.2, asn: 7, sendHoldTime: 90s", "expected 91s to 65535s, found `90s`");
    peer("address: 10.0.0.2, asn: 7, delayOpen: 240s", "expected 0s to 239s, found `240s`");
    peer(
        "address: 10.0.0.2, asn: 7, idleHoldTime: 5m",
        "120s is less than the first such pause, idleHoldTime, 300s",
    );
    peer("address: 10.0.0.2, asn: 7, strictRole: true", "means nothing without `role`");
    peer("address: 10.0.0.2, asn: 64512, role: peer", "only an external peer has a role (RFC 9234)");
    peer(
        "address: 10.0.0.2, asn: 7, role: upstream",
        "expected `provider`, `customer`, `peer`, `rs` or `rs-client`, found `upstream`",
    );
    peer(
        "address: 10.0.0.2, asn: 64512, enforceFirstAs: false",
        "only an external peer's paths begin with its AS number",
    );
    peer("address: 10.0.0.2, asn: 64512, tunnels: true", "internal peers always hear of tunnels");
    peer("address: 10.0.0.2, asn: 7, addPathsMax: 65", "expected 1 to 64 paths, found `65`");
    peer("address: 10.0.0.2, asn: 7, maxPrefixesAction: warn", "means nothing without `maxPrefixes`");
    peer(
        "address: 10.0.0.2, asn: 7, maxPrefixes: 1, maxPrefixesAction: warn, maxPrefixesRestart: 5m",
        "no session ends where `maxPrefixesAction` is `warn`",
    );
    peer(
        "address: 10.0.0.2, asn: 7, gracefulRestart: off, longLivedGracefulRestart: 1h",
        "means nothing where `gracefulRestart` is `off`",
    );
    peer(
        "address: 10.0.0.2, asn: 7, longLivedGracefulRestart: 195d",
        "expected `off` or 1s to 16777215s (RFC 9494), found `16848000s`",
    );
    peer(
        "address: 10.0.0.2, asn: 7, longLivedPartialDeployment: true",
        "only an internal peer may be sent stale routes that it does not know as such (RFC 9494)",
    );
}

#[test]
fn duplicates() {
    let text = "\
asn: 1
peers:
- { name: a, address: 10.0.0.2, asn: 1 }
- { name: a, address: 10.0.0.3, asn: 1 }
- { name: b, address: 10.0.0.2, asn: 1 }
advertise:
- { prefixes: [10.0.0.0/8, 10.0.0.0/8] }
listen: { addresses: ['::', '0::0'] }
";
    let expected = "\
4:11: peers[1].name: peers[0] is called `a` already
5:23: peers[2].address: 10.0.0.2 belongs to peers[0] already
7:28: advertise[0].prefixes[1]: 10.0.0.0/8 is advertised twice
8:29: listen.addresses[1]: :: is given twice";
    assert_eq!(said(text), expected);
}

#[test]
fn policies_that_make_no_sense() {
    let text = "\
asn: 1
peers:
- { address: 10.0.0.2, asn: 2, import: from-fabrik, export: elsewhere }
- { name: tor, address: 10.0.0.3, asn: 2 }
policy:
  from-fabric:
  - { match: { prefix: 10.0.0.0/8, exact: true, maxLength: 9 }, action: accept }
  - { match: { exact: true }, action: accept }
  - { match: { prefix: 10.0.0.0/8, maxLength: 64 }, action: accept }
  - { match: { prefix: 10.0.0.0/8, minLength: 9, maxLength: 8 }, action: accept }
  - { match: { peer: [tor, toor] }, action: accept }
  - { action: reject, set: { localPref: 5 } }
  - { action: accept, set: { prepend: 33 } }
  - { match: { minLength: 129 }, action: accept }
  nothing: []
";
    let expected = "\
3:40: peers[0].import: unknown policy `from-fabrik`; did you mean `from-fabric`?
3:61: peers[0].export: unknown policy `elsewhere`; known here: from-fabric, nothing
7:43: policy.from-fabric[0].match.exact: `exact` and lengths exclude each other
8:23: policy.from-fabric[1].match.exact: `exact` needs a `prefix`
9:24: policy.from-fabric[2].match.prefix[0]: parts of 10.0.0.0/8 have at most 32 bits, less than the length asked for
10:24: policy.from-fabric[3].match.prefix[0]: no part of 10.0.0.0/8 has between 9 and 8 bits
11:28: policy.from-fabric[4].match.peer[1]: unknown peer `toor`; did you mean `tor`?
12:23: policy.from-fabric[5].set: a rejected route is not changed; drop `set`, or accept
13:39: policy.from-fabric[6].set.prepend: expected 0 to 32 times, found `33`
14:27: policy.from-fabric[7].match.minLength: no prefix has a length within these bounds
15:3: policy.nothing: a policy without rules rejects everything; write `[{ action: reject }]` if so";
    assert_eq!(said(text), expected);
}

#[test]
fn a_kernel_that_would_do_harm() {
    assert_eq!(
        said("asn: 1\nkernel: { table: 255, protocol: 2, metric: 0, multipath: 65 }"),
        "\
2:18: kernel.table: table 255 is the kernel's own
2:33: kernel.protocol: expected 5 to 255, found `2`: 0 to 4 mark routes of the kernel and of administrators
2:44: kernel.metric: expected at least 1: the kernel reads 0 as 1024 for IPv6
2:58: kernel.multipath: expected 1 to 64 next hops, found `65`"
    );
}

#[test]
fn no_router_id() {
    let around = Surroundings { router_id: &|| None, read_secret: &super::read_secret };
    let problems = from_yaml("asn: 1\n", &around).unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        "1:1: `routerId` is missing, and this node has no global IPv4 address to take"
    );
    assert_eq!(said("asn: 1\nrouterId: 0.0.0.0"), "2:11: routerId: 0.0.0.0 is no router id (RFC 6286)");
}
