//! What a session costs while nothing happens, counted by the allocator: the daemon runs in this process, its peers are
//! plain connections.

use std::alloc::System;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bgp_proto::{Asn, Capability, Family, Open, RouterId, encode_keepalive};
use bgpd::run::{RunArgs, run};
use bgpd::{cli, log};
use bytes::BytesMut;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SESSIONS: u32 = 400;
const OCTETS_MAX: usize = 8192;
const SOON: Duration = Duration::from_secs(30);
const END_OF_RIB: [u8; 7] = [0, 23, 2, 0, 0, 0, 0];

fn in_use() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Loopback addresses that no other run uses at the same time.
fn address(number: u32) -> Ipv4Addr {
    let run = 128 + std::process::id() % 100;
    Ipv4Addr::from(0x7F00_0000 | run << 16 | number)
}

/// Connects and waits until the daemon has said End-of-RIB: everything that a session allocates is allocated.
fn establish(number: u32) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((address(number), 0)).into()).expect("an address");
    socket.connect(&SocketAddr::from((address(1), 1790)).into()).expect("a connection");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    let asn = Asn(64512);
    let capabilities = vec![Capability::Multiprotocol(Family::IPV4_UNICAST), Capability::FourOctetAs(asn)];
    let mut octets = BytesMut::new();
    Open { asn, hold_secs: 90, router_id: RouterId(number), capabilities }.encode(&mut octets);
    encode_keepalive(&mut octets);
    stream.write_all(&octets).expect("room");
    loop {
        let mut header = [0; 19];
        stream.read_exact(&mut header).expect("a message");
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[16], header[17]])) - 19];
        stream.read_exact(&mut body).expect("its body");
        if [&header[16..], &body].concat() == END_OF_RIB {
            return stream;
        }
    }
}

#[test]
fn an_idle_session_costs_at_most_eight_thousand_octets() {
    let directory = std::env::temp_dir().join(format!("bgpd-memory-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    let config = directory.join("bgpd.yaml");
    let text = format!(
        "asn: 64512\nrouterId: 9.9.9.9\nlisten: {{ addresses: [{}], port: 1790 }}\nkernel: {{ install: false }}\n\
         gracefulRestart: off\nlog: {{ level: warn }}\nreflector: {{ clusterId: 9.9.9.9 }}\n\
         peers:\n- {{ name: c, range: 127.0.0.0/8, asn: 64512, reflectorClient: true, families: [ipv4] }}\n\
         control: {{ socket: {} }}\n",
        address(1),
        directory.join("sock").display()
    );
    fs::write(&config, text).expect("a file");
    let (desired, source) = cli::load(&config).expect("a good configuration");
    let log = log::init(desired.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let daemon = runtime.spawn(run(RunArgs { desired, source, log }));
    let deadline = Instant::now() + SOON;
    while TcpStream::connect((address(1), 1790)).is_err() {
        assert!(Instant::now() < deadline && !daemon.is_finished(), "it does not listen");
        std::thread::yield_now();
    }
    // What exists once, whoever comes: buffers of the threads, the group.
    let first: Vec<TcpStream> = (2..34).map(establish).collect();
    let before = in_use();
    let sessions: Vec<TcpStream> = (0..SESSIONS).map(|number| establish(100 + number)).collect();
    // What a session used to come up is given back as its task comes to rest.
    let octets = || in_use().saturating_sub(before) / sessions.len();
    while octets() > OCTETS_MAX {
        assert!(Instant::now() < deadline, "{} octets a session", octets());
        std::thread::yield_now();
    }
    println!("{} octets a session", octets());
    drop((first, sessions));
    runtime.shutdown_background();
    fs::remove_dir_all(&directory).expect("removed");
}
