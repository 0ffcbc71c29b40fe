//! A unix socket that clients are served at: how it is taken, how many may come, what is left behind.
//!
//! Both control sockets, this daemon's own and BIRD's, are one of these; what is spoken there is their own. A task serves each client, so
//! none can hold up another, and there are only so many.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// Pause after the process ran out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Owner and group may ask.
const MODE: u32 = 0o660;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Something else is there, and it is not ours to remove.
    #[error("{} is not a socket", .0.display())]
    InTheWay(PathBuf),
    /// The system refused.
    #[error("cannot {doing} {}: {error}", path.display())]
    Refused {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// A socket that listens. Dropping it removes the file.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Listens at `path`, in the place of a socket that is there: the caller knows that nobody answers at it. Needs a tokio runtime.
    pub fn take(path: &Path) -> Result<Socket, SocketError> {
        let refused = |doing| move |error| SocketError::Refused { doing, path: path.to_owned(), error };
        match fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => {
                fs::remove_file(path).map_err(refused("remove the stale control socket"))?;
            }
            Ok(_) => return Err(SocketError::InTheWay(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(refused("look at")(error)),
        }
        let listener = UnixListener::bind(path).map_err(refused("create the control socket"))?;
        let socket = Socket { listener, path: path.to_owned() };
        let mode = Permissions::from_mode(MODE);
        fs::set_permissions(path, mode).map_err(refused("set the mode of the control socket"))?;
        Ok(socket)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves clients, so many at a time, until it is dropped; whoever comes when all places are taken is turned away.
    pub async fn serve<S, Served>(self, clients_max: usize, serve: S, turn_away: fn(&UnixStream))
    where
        S: Fn(UnixStream) -> Served,
        Served: Future<Output = ()> + Send + 'static,
    {
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) if clients.len() < clients_max => drop(clients.spawn(serve(stream))),
                    Ok((stream, _)) => {
                        tracing::warn!(clients_max, path = %self.path.display(), "too many clients");
                        turn_away(&stream);
                    }
                    Err(error) => {
                        tracing::warn!(%error, path = %self.path.display(), "control socket cannot accept");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = clients.join_next() => {}
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "control socket already gone");
        }
    }
}
