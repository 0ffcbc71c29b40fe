//! Two tiny programs for inside a Pod: `lab echo` tells whoever connects which address it sees them come from, and
//! `lab ask ADDRESS...` connects and prints that. Between them they prove that nobody translated an address on the way.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// The echo service's own port.
pub const PORT: u16 = 7;
const PATIENCE: Duration = Duration::from_secs(3);

/// Serves for ever.
pub fn serve() -> Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)).context("cannot listen on port 7")?;
    loop {
        let (mut stream, from) = listener.accept()?;
        // Whoever hangs up early has asked for nothing.
        let _ = writeln!(stream, "{}", from.ip().to_canonical());
    }
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
