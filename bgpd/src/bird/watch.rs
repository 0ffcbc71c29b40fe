//! Changes of the configuration's directory.
//!
//! confd writes a file beside the one it means and renames it, and tells by SIGHUP, which may come while another reload is under way. The
//! directory is watched as well, so that nothing depends on one signal. Events are only a hint that something changed: whoever waits
//! reads the files anew. A thread of its own waits for the kernel's word, and goes with the process.
//!
//! The kernel watches the directory itself, not its name. One that another takes the place of (a volume mounted over it, a renamed tree, a
//! symbolic link that points elsewhere now) says nothing any more, so the name is looked up again every few seconds, and what is found
//! there is watched.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::sync::mpsc;

/// How often the directory's name is looked up, milliseconds.
const LOOK_UP_MS: u16 = 3_000;
/// What ConfigMaps call the link that they turn around when files change.
const CONFIG_MAP_LINK: &str = "..data";

/// A directory that is watched.
pub(super) struct Directory {
    hints: mpsc::Receiver<()>,
}

impl Directory {
    /// Watches the directory of `file`.
    pub(super) fn of(file: &Path) -> io::Result<Directory> {
        let path = match file.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        let mut watched = Watched { inotify: Inotify::init(InitFlags::IN_CLOEXEC)?, path, seen: None };
        watched.look_up()?;
        let (hint, hints) = mpsc::channel(1);
        thread::Builder::new().name("config".to_owned()).spawn(move || watched.until_unwanted(&hint))?;
        Ok(Directory { hints })
    }

    /// Waits until a configuration file changed; for ever where the kernel says nothing any more.
    pub(super) async fn changed(&mut self) {
        if self.hints.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

struct Watched {
    inotify: Inotify,
    path: PathBuf,
    /// The directory that is watched: device and inode, and the watch.
    seen: Option<((u64, u64), WatchDescriptor)>,
}

impl Watched {
    /// Watches what has the directory's name now. Says whether that is another directory than before.
    fn look_up(&mut self) -> io::Result<bool> {
        let found = std::fs::metadata(&self.path)?;
        let identity = (found.dev(), found.ino());
        if self.seen.is_some_and(|(seen, _)| seen == identity) {
            return Ok(false);
        }
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        let watch = self.inotify.add_watch(&self.path, flags)?;
        if let Some((_, before)) = self.seen.replace((identity, watch)).filter(|(_, old)| *old != watch) {
            // The kernel forgets the watch of a directory that is gone by itself.
            let _ = self.inotify.rm_watch(before);
        }
        Ok(true)
    }

    fn until_unwanted(mut self, hint: &mpsc::Sender<()>) {
        loop {
            let is_changed = match self.wait() {
                Ok(is_changed) => is_changed,
                Err(error) => {
                    tracing::warn!(%error, "the configuration's directory is no longer watched: SIGHUP alone reloads");
                    return;
                }
            };
            // A name that nothing has is looked up again.
            let is_another = self.look_up().unwrap_or_else(|_| {
                self.seen = None;
                false
            });
            // A hint that waits already says it all.
            if (is_changed || is_another)
                && matches!(hint.try_send(()), Err(mpsc::error::TrySendError::Closed(())))
            {
                return;
            }
        }
    }

    /// Waits for a moment, at most. Says whether a file of the configuration changed.
    fn wait(&self) -> io::Result<bool> {
        let mut ready = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::from(LOOK_UP_MS)) {
            Ok(0) | Err(Errno::EINTR) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let concerns = |name: &OsStr| name.as_encoded_bytes().ends_with(b".cfg") || name == CONFIG_MAP_LINK;
        match self.inotify.read_events() {
            Ok(events) => Ok(events.iter().any(|event| event.name.as_deref().is_none_or(concerns))),
            Err(Errno::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    #[tokio::test]
    async fn a_directory_that_another_takes_the_place_of_is_watched_there() {
        let root = std::env::temp_dir().join(format!("bgpd-bird-watch-{}", std::process::id()));
        let (dir, other) = (root.join("config"), root.join("other"));
        fs::create_dir_all(&dir).expect("a directory");
        fs::create_dir_all(&other).expect("a directory");
        let mut watched = Directory::of(&dir.join("bird.cfg")).expect("watched");
        let within = Duration::from_secs(20);
        let mut hinted = async |what: &str| {
            tokio::time::timeout(within, watched.changed()).await.expect(what);
        };
        fs::write(dir.join("bird.cfg"), "1").expect("written");
        hinted("a file").await;
        fs::rename(&dir, root.join("gone")).expect("renamed");
        hinted("the directory goes").await;
        fs::rename(&other, &dir).expect("renamed");
        hinted("another takes its place").await;
        fs::write(dir.join("bird_aggr.cfg"), "2").expect("written");
        hinted("a file of the other").await;
        fs::remove_dir_all(&root).expect("our own directory");
    }
}
