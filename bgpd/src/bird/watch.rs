//! Changes of the configuration's directory.
//!
//! confd writes a file beside the one it means and renames it, and tells by SIGHUP, which may come while another reload is under way. The
//! directory is watched as well, so that nothing depends on one signal. Events are only a hint that something changed: whoever waits
//! reads the files anew. A thread of its own waits for the kernel's word, and goes with the process.

use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::sync::mpsc;

/// A directory that is watched.
pub(super) struct Directory {
    hints: mpsc::Receiver<()>,
}

impl Directory {
    /// Watches the directory of `file`.
    pub(super) fn of(file: &Path) -> io::Result<Directory> {
        let directory = match file.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE;
        inotify.add_watch(&directory, flags)?;
        let (hint, hints) = mpsc::channel(1);
        thread::Builder::new().name("config".to_owned()).spawn(move || watch(&inotify, &hint))?;
        Ok(Directory { hints })
    }

    /// Waits until a configuration file changed; for ever where the kernel says nothing any more.
    pub(super) async fn changed(&mut self) {
        if self.hints.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

fn watch(inotify: &Inotify, hint: &mpsc::Sender<()>) {
    let concerns = |name: &std::ffi::OsStr| name.as_encoded_bytes().ends_with(b".cfg");
    loop {
        match inotify.read_events() {
            Ok(events) => {
                let is_hint = events.iter().any(|event| event.name.as_deref().is_none_or(concerns));
                // A hint that waits already says it all.
                if is_hint && matches!(hint.try_send(()), Err(mpsc::error::TrySendError::Closed(()))) {
                    return;
                }
            }
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => {
                tracing::warn!(%error, "the configuration's directory is no longer watched: SIGHUP alone reloads");
                return;
            }
        }
    }
}
