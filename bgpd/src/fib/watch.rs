//! The socket that listens: what others change, as it happens.
//!
//! It subscribes to interfaces, addresses and routes of both versions and leaves out the echoes of our own operations,
//! which their acknowledgements have told already. A filter in the kernel drops the echoes before they are queued:
//! installing a million routes costs this socket nothing and cannot overrun it. Where the filter cannot be attached the
//! echoes are dropped here.
//!
//! When the queue overflows the kernel says so once (`ENOBUFS`) and goes on. The messages in between are lost for good;
//! [`Heard::Overrun`] asks for a walk.

use std::io;

use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};
use socket2::{SockFilter, SockRef};

use super::facts::KernelChange;
use super::netlink::receive;
use super::wire::{self, Content};

/// `RTNLGRP_LINK`, `_IPV4_IFADDR`, `_IPV4_ROUTE`, `_IPV6_IFADDR`, `_IPV6_ROUTE`.
const GROUPS: [u32; 5] = [1, 5, 7, 9, 11];
/// Asked for; the kernel gives as much as `net.core.rmem_max` allows.
const RECEIVE_BYTES: u32 = 8 << 20;
const READ_BYTES: usize = 32 * 1024;
/// Datagrams read before others get a turn.
const READS_MAX: usize = 1024;

/// A socket for notifications.
pub(super) struct Watch {
    socket: TokioSocket,
    own_port: u32,
    input: Vec<u8>,
    /// What waiting brought, for the next drain.
    woken_by: Option<io::Result<()>>,
}

/// What the socket had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Everything that was there.
    All,
    /// There is more.
    Some,
    /// Messages were lost.
    Overrun,
}

impl Watch {
    /// Subscribes. `own_port`: the socket whose echoes are left out. Needs a tokio runtime.
    pub(super) fn open(own_port: u32) -> io::Result<Watch> {
        let mut watch = TokioSocket::new(NETLINK_ROUTE)?;
        let socket = watch.socket_mut();
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.set_rx_buf_sz(RECEIVE_BYTES)?;
        // Without the filter the echoes are dropped below.
        let _ = SockRef::from(&*socket).attach_filter(&without_echoes(own_port));
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        Ok(Watch { socket: watch, own_port, input: Vec::with_capacity(READ_BYTES), woken_by: None })
    }

    /// Waits until there is something to drain. Given up halfway, it has taken nothing.
    pub(super) async fn wait(&mut self) {
        if self.woken_by.is_none() {
            self.input.clear();
            self.woken_by = Some(self.socket.recv(&mut self.input).await);
        }
    }

    /// Makes it easy to overrun.
    #[cfg(test)]
    pub(super) fn shrink(&self, bytes: u32) -> io::Result<()> {
        self.socket.socket_ref().set_rx_buf_sz(bytes)
    }

    /// Reads what is there, without waiting.
    pub(super) fn drain(&mut self, mut visit: impl FnMut(KernelChange)) -> io::Result<Heard> {
        for _ in 0..READS_MAX {
            let read = match self.woken_by.take() {
                Some(read) => read,
                None => receive(self.socket.socket_ref(), &mut self.input),
            };
            match read {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Heard::All),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(Heard::Overrun),
                Err(error) => return Err(error),
            }
            for message in wire::messages(&self.input).filter(|message| message.port != self.own_port) {
                if let Content::Change(change) = message.content() {
                    visit(change);
                }
            }
        }
        Ok(Heard::Some)
    }
}

/// "If the port at offset 12 of the header is ours, drop it." The filter reads in network order what the kernel wrote in
/// the machine's.
fn without_echoes(own_port: u32) -> [SockFilter; 4] {
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    [
        SockFilter::new(LOAD_WORD, 0, 0, 12),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, u32::from_be_bytes(own_port.to_ne_bytes())),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

#[cfg(test)]
mod tests {
    use anyhow::{Result, ensure};
    use lab::sandbox::isolated;
    use lab::{here, shell};

    use super::*;

    #[test]
    fn an_overrun_is_told_once_and_what_comes_later_is_heard() -> Result<()> {
        isolated(here!(), &[], || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let _guard = runtime.enter();
            let mut watch = Watch::open(0xffff_ffff)?;
            watch.shrink(4096)?;
            let flood = |verb: &str| {
                let line = |index: u32| format!("route {verb} blackhole 10.1.{index}.0/24\n");
                shell::ip_batch(&(0..200).map(line).collect::<String>())
            };
            flood("add")?;
            let mut heard = 0;
            let mut overruns = 0;
            loop {
                match watch.drain(|_| heard += 1)? {
                    Heard::All => break,
                    Heard::Some => {}
                    Heard::Overrun => overruns += 1,
                }
            }
            ensure!(overruns == 1 && heard < 200, "{overruns} overruns, {heard} heard");
            shell::ip_batch("route del 10.1.7.0/24")?;
            let mut last = None;
            ensure!(watch.drain(|change| last = Some(change))? == Heard::All);
            ensure!(matches!(&last, Some(KernelChange::RouteWent(_))), "{last:?}");
            Ok(())
        })
    }
}
