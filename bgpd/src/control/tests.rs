//! The control socket end to end: a real server, a real client, a core that is made up.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use super::client::{Client, ClientError};
use super::protocol::*;
use super::server::Server;
use super::{Ask, Core, Page};
use crate::samples;

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bgpd-control-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("bgpd.sock")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const PEERS: u8 = 3;
const ROUTES: u64 = 1_234;

/// Answers like a core with a few peers and more routes than fit a page.
fn answer(ask: Ask) {
    let peers = || (1..=PEERS).map(|n| samples::peer(IpAddr::V4(Ipv4Addr::new(10, 0, 0, n))));
    match ask {
        Ask::Status { reply } => drop(reply.send(samples::instance())),
        Ask::Peers { address, reply } => {
            let wanted = peers().filter(|peer| address.is_none_or(|address| address == peer.address));
            drop(reply.send(wanted.collect()));
        }
        Ask::Routes { query, cursor, rows_max, reply } => {
            if query.view == View::Out && query.peer.is_none() {
                return drop(reply.send(Err("which peer?".into())));
            }
            let end = ROUTES.min(cursor + rows_max as u64);
            let rows = (cursor..end).map(|n| samples::route(n as u32)).collect();
            drop(reply.send(Ok(Page { rows, next: (end < ROUTES).then_some(end) })));
        }
        Ask::Bird { .. } => panic!("not asked by our own commands"),
        Ask::Why { destination, reply } => match destination {
            Destination::Prefix(_) => drop(reply.send(Ok(samples::why()))),
            Destination::Address(_) => drop(reply.send(Err("in no known prefix".into()))),
        },
        Ask::Order { peer, order, message, reply } => {
            let known = (peer.as_str(), order, message.as_str()) == ("tor", Order::Shutdown, "moving");
            drop(reply.send(if known { Ok(()) } else { Err("nobody".into()) }));
        }
    }
}

/// Runs a server with the made-up core while `test` talks to it.
fn with_server(test: impl FnOnce(PathBuf)) {
    let scratch = Scratch::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (core, mut asks) = Core::pair();
    let server = runtime.block_on(async { Server::bind(&scratch.socket()) }).unwrap();
    runtime.spawn(server.run(core));
    runtime.spawn(async move {
        while let Some(ask) = asks.recv().await {
            answer(ask);
        }
    });
    test(scratch.socket());
    runtime.shutdown_timeout(Duration::from_secs(5));
    assert!(!scratch.socket().exists(), "the socket file goes with the server");
}

fn all_routes(client: &mut Client) -> Vec<Route> {
    let query = RoutesQuery { view: View::Best, destination: None, longer: false, peer: None };
    let mut rows = Vec::new();
    client
        .routes(query, |page| {
            assert!(page.len() <= ROWS_MAX);
            rows.extend(page);
            Ok(())
        })
        .unwrap();
    rows
}

#[test]
fn every_question_has_its_answer_on_one_connection() {
    with_server(|socket| {
        let mut client = Client::connect(&socket).unwrap();
        assert_eq!(client.status().unwrap(), samples::instance());
        assert_eq!(client.peers(None).unwrap().len(), usize::from(PEERS));
        let one = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(client.peers(Some(one)).unwrap(), [samples::peer(one)]);
        let routes = all_routes(&mut client);
        assert_eq!(routes.len() as u64, ROUTES);
        assert_eq!(routes[1_000], samples::route(1_000));
        assert_eq!(client.why("10.0.0.0/8".parse().unwrap()).unwrap(), samples::why());
        client.order("tor".into(), Order::Shutdown, "moving".into()).unwrap();
    });
}

#[test]
fn a_question_without_answer_leaves_the_connection_usable() {
    with_server(|socket| {
        let mut client = Client::connect(&socket).unwrap();
        let refused = |error: ClientError| error.to_string();
        let nobody = Some("10.9.9.9".parse().unwrap());
        assert_eq!(client.peers(nobody).map_err(refused), Err("there is no peer 10.9.9.9".into()));
        assert_eq!(
            client.why("10.0.0.1".parse().unwrap()).map_err(refused),
            Err("in no known prefix".into())
        );
        let out = RoutesQuery { view: View::Out, destination: None, longer: false, peer: None };
        assert_eq!(client.routes(out, |_| Ok(())).map_err(refused), Err("which peer?".into()));
        assert!(client.status().is_ok());
    });
}

#[test]
fn lines_that_are_no_requests_are_refused() {
    with_server(|socket| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        let mut read = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        read.read_line(&mut line).unwrap();
        assert_eq!(line, "{\"protocol\":\"bgpd-control\",\"version\":1,\"daemon\":\"0.1.0\"}\n");
        stream.write_all(b"{\"ask\":\"money\"}\n{\"ask\":\"status\"}\n").unwrap();
        line.clear();
        read.read_line(&mut line).unwrap();
        assert!(
            line.starts_with("{\"answer\":\"refused\",\"reason\":\"not a request: unknown variant `money`"),
            "{line}"
        );
        line.clear();
        read.read_line(&mut line).unwrap();
        assert!(line.starts_with("{\"answer\":\"status\",\"version\":"), "{line}");
        stream.write_all(&[b'x'; REQUEST_OCTETS_MAX + 1]).unwrap();
        line.clear();
        read.read_to_string(&mut line).unwrap();
        assert_eq!(line, "{\"answer\":\"refused\",\"reason\":\"a request has at most 4096 octets\"}\n");
    });
}

#[test]
fn a_client_that_does_not_read_costs_only_itself() {
    with_server(|socket| {
        let mut stuck = UnixStream::connect(&socket).unwrap();
        let ask = b"{\"ask\":\"routes\",\"view\":\"best\"}\n".repeat(50);
        stuck.write_all(&ask).unwrap();
        let mut client = Client::connect(&socket).unwrap();
        for _ in 0..5 {
            assert_eq!(all_routes(&mut client).len() as u64, ROUTES);
        }
    });
}

#[test]
fn too_many_clients_are_turned_away_with_a_word() {
    with_server(|socket| {
        let clients: Vec<_> = (0..32).map(|_| Client::connect(&socket).unwrap()).collect();
        let error = Client::connect(&socket).unwrap_err();
        assert_eq!(error.to_string(), "32 clients are connected already");
        drop(clients);
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while Client::connect(&socket).is_err() {
            assert!(std::time::Instant::now() < deadline, "places become free");
        }
    });
}

#[test]
fn a_second_daemon_on_the_socket_is_refused() {
    with_server(|socket| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = runtime.block_on(async { Server::bind(&socket) }).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "another bgpd is running: it holds the control socket {}; stop it first, or give this one a `control.socket` of its own",
                socket.display()
            )
        );
        assert!(Client::connect(&socket).unwrap().status().is_ok(), "the first one goes on");
    });
}

#[tokio::test]
async fn the_socket_of_a_dead_daemon_is_replaced() {
    let scratch = Scratch::new();
    // A daemon that was killed leaves its file behind.
    drop(std::os::unix::net::UnixListener::bind(scratch.socket()).unwrap());
    assert!(scratch.socket().exists());
    let server = Server::bind(&scratch.socket()).unwrap();
    let mode = std::fs::metadata(server.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[tokio::test]
async fn what_is_not_a_socket_stays() {
    let scratch = Scratch::new();
    std::fs::write(scratch.socket(), "precious").unwrap();
    let error = Server::bind(&scratch.socket()).unwrap_err().to_string();
    assert!(
        error.ends_with("is in the way: it is not a socket; remove it, or choose another `control.socket`")
    );
    assert_eq!(std::fs::read_to_string(scratch.socket()).unwrap(), "precious");
}

#[test]
fn a_core_that_is_gone_is_told_of() {
    let scratch = Scratch::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (core, asks) = Core::pair();
    drop(asks);
    let server = runtime.block_on(async { Server::bind(&scratch.socket()) }).unwrap();
    runtime.spawn(server.run(core));
    let error = Client::connect(&scratch.socket()).unwrap().status().unwrap_err();
    assert_eq!(error.to_string(), "the daemon is stopping");
}

#[test]
fn no_daemon_is_one_message() {
    let error = Client::connect(&PathBuf::from("/nonexistent/bgpd.sock")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no daemon answers at /nonexistent/bgpd.sock: No such file or directory (os error 2); is `bgpd run` running? (--socket names another socket)"
    );
}

#[test]
fn the_json_of_a_route_is_as_documented() {
    let json = serde_json::to_string_pretty(&samples::route(7)).unwrap();
    let expected = r#"{
  "prefix": "10.244.7.0/24",
  "peer": "10.0.0.2",
  "peerName": "node-b",
  "nextHops": [
    "10.0.0.2"
  ],
  "attributes": {
    "origin": "igp",
    "asPath": "65001 65002",
    "localPref": 100,
    "communities": [
      "64512:1"
    ],
    "originatorId": "10.0.0.2",
    "clusterList": [
      "10.0.0.1"
    ]
  },
  "best": true,
  "step": "AS_PATH length",
  "stale": false,
  "since": {
    "at": "2026-11-25T03:20:18Z",
    "secs": 62
  },
  "kernel": {
    "state": "installed"
  }
}"#;
    assert_eq!(json, expected);
}

#[test]
fn every_shape_survives_the_way_through_json() {
    let answers = [
        Answer::Status(Box::new(samples::instance())),
        Answer::Peers { rows: vec![samples::peer("fd00::1".parse().unwrap())], more: false },
        Answer::Routes { rows: vec![samples::route(1)], more: true },
        Answer::Why(Box::new(samples::why())),
        Answer::Refused { reason: "no".into() },
    ];
    for answer in answers {
        let json = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<Answer>(&json).unwrap(), answer, "{json}");
        assert!(!json.contains('\n'));
    }
    let query = RoutesQuery {
        view: View::Out,
        destination: Some("10.0.0.0/8".parse().unwrap()),
        longer: true,
        peer: Some("10.0.0.2".parse().unwrap()),
    };
    let json = serde_json::to_string(&Request::Routes(query.clone())).unwrap();
    assert_eq!(
        json,
        r#"{"ask":"routes","view":"out","destination":"10.0.0.0/8","longer":true,"peer":"10.0.0.2"}"#
    );
    assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), Request::Routes(query));
}

#[test]
fn a_query_wants_what_it_names() {
    let query = |destination: &str, longer| RoutesQuery {
        view: View::Best,
        destination: Some(destination.parse().unwrap()),
        longer,
        peer: None,
    };
    let prefix = |text: &str| text.parse().unwrap();
    assert!(query("10.0.0.0/8", false).wants(&prefix("10.0.0.0/8")));
    assert!(!query("10.0.0.0/8", false).wants(&prefix("10.1.0.0/16")));
    assert!(query("10.0.0.0/8", true).wants(&prefix("10.1.0.0/16")));
    assert!(query("10.1.2.3", false).wants(&prefix("10.1.0.0/16")));
    assert!(!query("10.1.2.3", false).wants(&prefix("10.2.0.0/16")));
}

#[test]
fn a_moment_has_whole_seconds() {
    let since =
        Since::ago(SystemTime::UNIX_EPOCH + Duration::from_millis(90_400), Duration::from_millis(30_900));
    assert_eq!(serde_json::to_string(&since).unwrap(), r#"{"at":"1970-01-01T00:00:59Z","secs":30}"#);
}
