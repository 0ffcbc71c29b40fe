//! Opening a connection, with the options that must be set before its first segment.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};

use super::{PeerSpec, socket};
use crate::sys::{self, KeyScope};

/// Connects to a peer. How long that takes is the session machine's to judge.
pub(super) async fn dial(spec: PeerSpec) -> io::Result<TcpStream> {
    let remote = SocketAddr::new(spec.addr, spec.port);
    let socket = match spec.addr {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(secret) = &spec.secret {
        sys::set_md5_key(&socket, KeyScope::Host(spec.addr), secret.expose()).map_err(io::Error::other)?;
    }
    socket::prepare(&socket, spec.addr, spec.ttl_security)?;
    if let Some(local) = spec.local_addr {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    socket.connect(remote).await
}
