//! Socket options that the standard library does not know. The only unsafe code of the project.
//!
//! Three system calls, each wrapped once: `setsockopt` with a plain value, `getsockopt` into octets, and an `ioctl` that
//! writes one integer. What they are used for is safe Rust above them:
//!
//! * TCP-MD5 (RFC 2385): [`set_md5_key`] on a socket that dials, and per peer or per prefix on one that listens. A key is
//!   only ever an argument: it is copied into the kernel's structure and that copy is wiped.
//! * TTL security (RFC 5082): [`require_ttl`] drops what came over a router, and [`syn_ttl`] tells how far away a
//!   connection was opened before there was a socket to set that on.
//! * [`unread`] and [`unsent`]: what the kernel holds for us and for the peer, by which a session judges whether the
//!   peer is silent or we are slow.
//!
//! Linux only, as is the rest of the daemon.

#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::mem::size_of;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Whose segments a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyScope {
    /// One address.
    Host(IpAddr),
    /// Every address in a prefix (Linux 4.13). A more specific scope on the same socket wins.
    Prefix(IpAddr, u8),
}

impl fmt::Display for KeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyScope::Host(addr) => addr.fmt(f),
            KeyScope::Prefix(addr, len) => write!(f, "{addr}/{len}"),
        }
    }
}

/// A TCP-MD5 key could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// RFC 2385 leaves the length open; Linux does not.
    #[error("a TCP-MD5 password has 1 to 80 octets, this one has {0}")]
    Length(usize),
    /// Each key costs option memory.
    #[error(
        "the kernel has no room for another TCP-MD5 key on this socket: raise net.core.optmem_max (now {optmem_max})"
    )]
    OptionMemory {
        /// The limit in force, as the kernel tells it.
        optmem_max: String,
    },
    /// The kernel was built without it.
    #[error("this kernel has no TCP-MD5 (CONFIG_TCP_MD5SIG), or no keys for prefixes")]
    Unsupported,
    /// Anything else.
    #[error("cannot set a TCP-MD5 key: {0}")]
    Os(#[from] io::Error),
}

/// Makes the kernel sign segments to, and demand a signature of segments from, the peers in `scope`.
///
/// Set it before connecting, or on a listening socket before the peer connects: what is accepted inherits it.
pub fn set_md5_key(socket: &impl AsFd, scope: KeyScope, key: &[u8]) -> Result<(), KeyError> {
    if key.is_empty() || key.len() > libc::TCP_MD5SIG_MAXKEYLEN {
        return Err(KeyError::Length(key.len()));
    }
    let result = write_md5(socket, scope, key);
    result.map_err(|error| match error.raw_os_error() {
        Some(libc::ENOMEM | libc::ENOBUFS) => KeyError::OptionMemory { optmem_max: optmem_max() },
        Some(libc::ENOPROTOOPT) => KeyError::Unsupported,
        _ => KeyError::Os(error),
    })
}

/// Takes a key away. That there was none is no error.
pub fn clear_md5_key(socket: &impl AsFd, scope: KeyScope) -> io::Result<()> {
    match write_md5(socket, scope, &[]) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

/// Drops segments whose TTL is below `min`: with 255, whatever a router forwarded (RFC 5082).
///
/// An IPv6 socket that also takes IPv4 gets both.
pub fn require_ttl(socket: &impl AsFd, local: IpAddr, min: u8) -> io::Result<()> {
    let min = i32::from(min);
    if local.is_ipv6() {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, &min)?;
    }
    // On an IPv6-only socket the IPv4 option does no harm.
    set_option(socket, libc::IPPROTO_IP, libc::IP_MINTTL, &min)
}

/// Keeps the headers of each SYN that a listening socket takes, for [`syn_ttl`].
pub fn save_syn(listener: &impl AsFd) -> io::Result<()> {
    set_option(listener, libc::IPPROTO_TCP, TCP_SAVE_SYN, &1i32)
}

/// The TTL, or hop limit, with which the SYN of an accepted connection arrived. Can be asked once. `None` if it was not
/// saved.
pub fn syn_ttl(accepted: &impl AsFd) -> io::Result<Option<u8>> {
    // An IPv6 header and the longest TCP header: with less room the kernel gives nothing.
    let mut headers = [0; 128];
    let len = octets_of(accepted, libc::IPPROTO_TCP, TCP_SAVED_SYN, &mut headers)?;
    let ttl = match headers.first().map(|first| first >> 4) {
        Some(4) if len >= 20 => headers.get(8),
        Some(6) if len >= 40 => headers.get(7),
        _ => None,
    };
    Ok(ttl.copied())
}

/// Lets the process open as many files as it is allowed to ask for, and says how many: each session takes one or two.
pub fn raise_file_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// Octets that arrived and were not read.
pub fn unread(socket: &impl AsFd) -> io::Result<usize> {
    query(socket, libc::FIONREAD)
}

/// Octets that were written and not acknowledged.
pub fn unsent(socket: &impl AsFd) -> io::Result<usize> {
    query(socket, libc::TIOCOUTQ)
}

/// Whether the peer has closed its side of a connection, or the connection is gone: no octets will follow those that wait
/// to be read.
pub fn has_ended(socket: &impl AsFd) -> io::Result<bool> {
    let fd = socket.as_fd().as_raw_fd();
    let mut asked = libc::pollfd { fd, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: `fd` is borrowed and so open for the whole call; the kernel reads and writes one `pollfd`, which is a live
    // exclusive reference, and with a timeout of 0 it does not wait.
    let result = unsafe { libc::poll(&mut asked, 1, 0) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(asked.revents & (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) != 0)
}

/// linux/tcp.h.
const TCP_SAVE_SYN: i32 = 27;
const TCP_SAVED_SYN: i32 = 28;

/// `struct tcp_md5sig` of linux/tcp.h.
#[repr(C)]
#[derive(Clone, Copy)]
struct TcpMd5Sig {
    addr: SockAddr,
    flags: u8,
    prefix_len: u8,
    key_len: u16,
    ifindex: i32,
    key: [u8; libc::TCP_MD5SIG_MAXKEYLEN],
}

/// `struct sockaddr_storage`, of which an address and its family are filled in.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct SockAddr {
    family: u16,
    rest: [u8; 126],
}

/// The key is for `prefix_len` bits of the address.
const MD5_FLAG_PREFIX: u8 = 1;

fn write_md5(socket: &impl AsFd, scope: KeyScope, key: &[u8]) -> io::Result<()> {
    let (addr, flags, prefix_len, option) = match scope {
        KeyScope::Host(addr) => (addr, 0, 0, libc::TCP_MD5SIG),
        KeyScope::Prefix(addr, len) => (addr, MD5_FLAG_PREFIX, len, libc::TCP_MD5SIG_EXT),
    };
    let mut sig = TcpMd5Sig {
        addr: sockaddr(addr),
        flags,
        prefix_len,
        key_len: key.len() as u16,
        ifindex: 0,
        key: [0; libc::TCP_MD5SIG_MAXKEYLEN],
    };
    sig.key[..key.len()].copy_from_slice(key);
    let result = set_option(socket, libc::IPPROTO_TCP, option, &sig);
    sig.key.fill(0);
    std::hint::black_box(&sig);
    result
}

fn sockaddr(addr: IpAddr) -> SockAddr {
    let mut storage = SockAddr { family: 0, rest: [0; 126] };
    match addr {
        IpAddr::V4(v4) => {
            storage.family = libc::AF_INET as u16;
            // Port, then the address.
            storage.rest[2..6].copy_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            storage.family = libc::AF_INET6 as u16;
            // Port, flow label, then the address.
            storage.rest[6..22].copy_from_slice(&v6.octets());
        }
    }
    storage
}

fn optmem_max() -> String {
    let read = std::fs::read_to_string("/proc/sys/net/core/optmem_max");
    read.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn set_option<T: Copy>(socket: &impl AsFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let value: *const T = value;
    // SAFETY: `fd` is borrowed and so open for the whole call; the kernel reads `size_of::<T>()` octets at `value`,
    // which is a live reference to a plain `Copy` value, and keeps no pointer to them.
    let result =
        unsafe { libc::setsockopt(fd, level, name, value.cast(), size_of::<T>() as libc::socklen_t) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns how many octets the kernel has; no more than fit are written.
fn octets_of(socket: &impl AsFd, level: i32, name: i32, out: &mut [u8]) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    let mut len = out.len() as libc::socklen_t;
    // SAFETY: `fd` is borrowed and so open for the whole call; the kernel writes at most `len` octets, which `out`, an
    // exclusive slice of any-bit-pattern octets, has room for, and the length it wrote to `len`.
    let result = unsafe { libc::getsockopt(fd, level, name, out.as_mut_ptr().cast(), &mut len) };
    if result == 0 { Ok(len as usize) } else { Err(io::Error::last_os_error()) }
}

fn query(socket: &impl AsFd, request: libc::Ioctl) -> io::Result<usize> {
    let mut octets: libc::c_int = 0;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `fd` is borrowed and so open for the whole call; both requests that are passed here write one `int`
    // through their argument, which is a live exclusive reference.
    let result = unsafe { libc::ioctl(fd, request, &mut octets) };
    if result == 0 { Ok(usize::try_from(octets).unwrap_or(0)) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_key_is_set_and_cleared_for_an_address_and_for_a_prefix() {
        let listener = TcpListener::bind((LOCAL, 0)).unwrap();
        for scope in [KeyScope::Host(LOCAL), KeyScope::Prefix(IpAddr::from([10, 1, 0, 0]), 16)] {
            set_md5_key(&listener, scope, b"secret").unwrap();
            clear_md5_key(&listener, scope).unwrap();
            clear_md5_key(&listener, scope).unwrap();
        }
    }

    #[test]
    fn a_key_too_long_or_empty_is_refused_before_the_kernel_sees_it() {
        let listener = TcpListener::bind((LOCAL, 0)).unwrap();
        let scope = KeyScope::Host(LOCAL);
        assert!(matches!(set_md5_key(&listener, scope, &[b'x'; 81]), Err(KeyError::Length(81))));
        assert!(matches!(set_md5_key(&listener, scope, b""), Err(KeyError::Length(0))));
    }

    #[test]
    fn keys_that_find_no_room_name_the_limit_that_the_operator_can_raise() {
        let listener = TcpListener::bind((LOCAL, 0)).unwrap();
        // Bounded: more than the largest limit in use has room for.
        let refusal = (0..200_000u32).find_map(|n| {
            let peer = KeyScope::Host(IpAddr::V4(Ipv4Addr::from(0x0A00_0000 + n)));
            set_md5_key(&listener, peer, &[b'k'; 80]).err()
        });
        let refusal = refusal.expect("the kernel's option memory is bounded");
        let limit = std::fs::read_to_string("/proc/sys/net/core/optmem_max").unwrap_or_default();
        assert!(matches!(refusal, KeyError::OptionMemory { .. }), "{refusal}");
        let said = refusal.to_string();
        assert!(said.contains("raise net.core.optmem_max") && said.contains(limit.trim()), "{said}");
        // One key for a whole range takes the room of one.
        clear_md5_key(&listener, KeyScope::Host(IpAddr::from([10, 0, 0, 0]))).unwrap();
        set_md5_key(&listener, KeyScope::Prefix(IpAddr::from([10, 1, 0, 0]), 16), b"secret").unwrap();
    }

    #[test]
    fn unread_and_unsent_count_octets() {
        let listener = TcpListener::bind((LOCAL, 0)).unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        assert_eq!(unread(&far).unwrap(), 0);
        near.write_all(b"12345").unwrap();
        let mut first = [0];
        far.read_exact(&mut first).unwrap();
        assert_eq!(unread(&far).unwrap(), 4);
        assert!(unsent(&near).unwrap() <= 5);
    }

    #[test]
    fn a_connection_has_ended_once_its_peer_closed_it_whatever_waits_to_be_read() {
        let listener = TcpListener::bind((LOCAL, 0)).unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        near.write_all(b"12345").unwrap();
        assert!(!has_ended(&far).unwrap());
        drop(near);
        assert!(has_ended(&far).unwrap());
        assert_eq!(unread(&far).unwrap(), 5);
    }

    #[test]
    fn the_ttl_of_a_syn_is_known_if_it_was_saved() {
        for (local, saved) in
            [(LOCAL, true), (LOCAL, false), (IpAddr::from([0u16, 0, 0, 0, 0, 0, 0, 1]), true)]
        {
            let Ok(listener) = TcpListener::bind((local, 0)) else { continue };
            if saved {
                save_syn(&listener).unwrap();
            }
            let _near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (far, _) = listener.accept().unwrap();
            assert_eq!(syn_ttl(&far).unwrap().is_some(), saved);
        }
    }

    #[test]
    fn ttl_security_is_set_on_both_families() {
        for local in [LOCAL, IpAddr::from([0u16, 0, 0, 0, 0, 0, 0, 1])] {
            let Ok(listener) = TcpListener::bind((local, 0)) else { continue };
            require_ttl(&listener, local, 255).unwrap();
        }
    }
}
