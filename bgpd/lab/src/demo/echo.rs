//! Two tiny programs for inside a Pod: `lab echo` tells whoever connects which address it sees them come from, and
//! `lab ask ADDRESS...` connects and prints that; `lab send ADDRESS` sends more than one packet holds. Between them they prove that nobody translated an address on the way.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// The echo service's own port.
pub const PORT: u16 = 7;
const PATIENCE: Duration = Duration::from_secs(3);

/// The port that takes a transfer and answers how many octets it was.
const TRANSFER_PORT: u16 = 9;
/// Octets of a transfer: more than fits into any socket's buffers at once.
const TRANSFER: usize = 1 << 20;

/// Serves for ever.
pub fn serve() -> Result<()> {
    let counter =
        TcpListener::bind((Ipv6Addr::UNSPECIFIED, TRANSFER_PORT)).context("cannot listen on port 9")?;
    thread::spawn(move || {
        for stream in counter.incoming().flatten() {
            // Whoever hangs up early gets no answer.
            let _ = count(stream);
        }
    });
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)).context("cannot listen on port 7")?;
    loop {
        let (mut stream, from) = listener.accept()?;
        // Whoever hangs up early has asked for nothing.
        let _ = writeln!(stream, "{}", from.ip().to_canonical());
    }
}

fn count(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let octets = io::copy(&mut stream, &mut io::sink())?;
    writeln!(stream, "{octets}")
}

/// Sends a megabyte to the echo service at an address, which must say that it has it all, and prints how long that took.
pub fn send(address: IpAddr) -> Result<()> {
    let began = Instant::now();
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, TRANSFER_PORT), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&vec![0x2a; TRANSFER])?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.trim() == TRANSFER.to_string(), "{answer:?} of {TRANSFER} octets arrived");
    writeln!(io::stdout(), "{TRANSFER} octets in {} ms", began.elapsed().as_millis())?;
    Ok(())
}

/// Asks each address in turn, and prints `ADDRESS SEEN-AS` for each that answered.
pub fn ask(addresses: &[IpAddr]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    for &address in addresses {
        match ask_one(address) {
            Ok(seen) => writeln!(stdout, "{address} {seen}")?,
            Err(why) => writeln!(io::stderr(), "{address}: {why:#}")?,
        }
    }
    Ok(())
}

fn ask_one(address: IpAddr) -> Result<IpAddr> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, PORT), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    answer.trim().parse().with_context(|| format!("not an address: {answer:?}"))
}
