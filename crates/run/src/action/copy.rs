//! The copies of `cp`: files to the node, or a file from it.
//!
//! Invariants: a file, here and there, has its old content or all of the new one, whatever ends the copy; nothing
//! is written outside of the directory for this node's files; how the node answered decides the outcome.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use tokio::time::{Instant, sleep};

use super::exec::{ended, outcome_of};
use crate::engine::message::{NodeBatch, TargetKey, WorkItem, WorkItemEnd, WorkerUpdate};
use crate::node::access::NodeAccess;
use crate::node::context::{NodeContext, within};
use crate::node::lock::NodeLock;
use crate::node::signals::wait_until_set;
use ctl_event::{Failure, FailureKind, Outcome, Stage, TargetResult};
use ctl_guard::command::{CommandEnd, CommandOutput, RunError};
use ctl_guard::copy::{self, CopyError, PutRequest};
use ctl_local::file::{digest, reason};
use ctl_plan::{CopySource, FileCopy};
use ctl_remote::NOT_RUN;
use ctl_transport::{Session, Transport};

/// What may be given to a file. The owner is not copied, so neither are the bits that lend the owner's rights.
const MODE: u32 = 0o777;

/// What to do after a copy of which the end is not known.
const WHOLE_EITHER_WAY: &str = "the file has its old content or all of the new one; ctl runs resume copies it again";

/// The files of a node that were copied.
#[derive(Debug, Default)]
struct CopiedFiles {
    changed: usize,
    same: usize,
    /// Where the file of the node is now.
    path: Option<PathBuf>,
}

/// Does the work of a batch that copies files.
pub(crate) async fn act<T: Transport>(
    node: &NodeContext<T>,
    node_batch: NodeBatch,
    lock: &mut NodeLock,
    copy: &FileCopy,
) -> WorkItemEnd {
    let item = WorkItem::Batch(node_batch);
    if let Err(end) = lock.make_ready(node, item).await {
        if let WorkItemEnd::Lost(outcome, failure) = &end {
            node.send_results(item, node.results.as_requested(node_batch, *outcome, failure)).await;
        }
        return end;
    }
    // Recorded before anything is sent: should the run end in between, a resumed run copies again.
    node.send(item, WorkerUpdate::Begun(TargetKey::of(&node.results.empty(node_batch, Outcome::Ok)))).await;
    let access = node.access_for(node_batch);
    node.show(item, within("copying", access.timeout)).await;
    let started = Instant::now();
    let mut give_up = node.signals.give_up.clone();
    let mut copied = CopiedFiles::default();
    // A copy that is stopped is dropped, which ends it on the node.
    let end = tokio::select! {
        end = copy_files(node, copy, &access, &mut copied) => end,
        () = sleep(access.timeout) => Err(stopped(CommandEnd::TimedOut)),
        () = wait_until_set(&mut give_up) => Err(stopped(CommandEnd::GivenUp)),
    };
    let mut result = node.results.empty(node_batch, Outcome::Ok);
    match end {
        Ok(()) => {
            result.outcome = if copied.changed > 0 { Outcome::Changed } else { Outcome::Ok };
            result.message = copied.message();
        }
        Err(error) => fail(&mut result, &error, &copied, &access),
    }
    result.duration_ms = u64::try_from(started.elapsed().as_millis()).ok();
    node.send_results(item, [result]).await;
    WorkItemEnd::Done
}

fn stopped(end: CommandEnd) -> CopyError {
    CopyError::Node(CommandOutput { end, started: true, ..CommandOutput::default() })
}

impl CopiedFiles {
    fn count(&mut self, is_changed: bool) {
        *(if is_changed { &mut self.changed } else { &mut self.same }) += 1;
    }

    fn message(&self) -> String {
        match (&self.path, self.changed, self.same) {
            (Some(path), _, _) => path.display().to_string(),
            (None, 0, 1) => "already there".to_owned(),
            (None, 0, _) => "all files already there".to_owned(),
            (None, 1, 0) => String::new(),
            (None, changed, 0) => format!("{changed} files written"),
            (None, changed, same) => format!("{changed} of {} files written, the others already there", changed + same),
        }
    }
}

async fn copy_files<T: Transport>(
    node: &NodeContext<T>,
    copy: &FileCopy,
    access: &NodeAccess,
    copied: &mut CopiedFiles,
) -> Result<(), CopyError> {
    let session = node.connection.session().await.map_err(RunError::Transport)?;
    match copy {
        FileCopy::ToNodes { files, target, into_directory } => {
            for file in files {
                let request = PutRequest {
                    target,
                    name: &file.name,
                    into_directory: *into_directory,
                    size: file.size,
                    mode: file.mode & MODE,
                    sha256: &file.sha256,
                };
                let read = |offset, length| read_piece(file, offset, length);
                copied.count(copy::put(session.as_ref(), request, &access.sudo, access.timeout, read).await?);
            }
        }
        FileCopy::FromNodes { source, name, directory } => {
            let own = NodeDirectory::make(directory, &node.name()).map_err(CopyError::Local)?;
            let path = own.path.join(name);
            copied.count(receive(session.as_ref(), source, &path, access).await?);
            copied.path = Some(path);
        }
    }
    Ok(())
}

/// Runs work that may wait for a disk.
async fn blocking<R: Send + 'static>(work: impl FnOnce() -> io::Result<R> + Send + 'static) -> io::Result<R> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn read_piece(file: &CopySource, offset: u64, length: usize) -> impl Future<Output = io::Result<Vec<u8>>> + use<> {
    let (content, path) = (Arc::clone(&file.content), file.path.clone());
    blocking(move || {
        let mut piece = vec![0; length];
        let count = content.read_at(&mut piece, offset).map_err(|error| about(&path, "read", &error))?;
        piece.truncate(count);
        Ok(piece)
    })
}

/// An error with the name of its file.
fn about(path: &Path, what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {what} {}: {}", path.display(), reason(error)))
}

/// The directory for the files of a node. One that was made for a file which did not come is removed when this is dropped.
#[derive(Debug)]
struct NodeDirectory {
    path: PathBuf,
    is_new: bool,
}

impl NodeDirectory {
    /// Makes it, unless it is there.
    fn make(directory: &Path, node: &str) -> io::Result<Self> {
        // The inventory decides the name, and a name such as `..` must not lead elsewhere.
        let mut parts = Path::new(node).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == node) {
            return Err(io::Error::other(format!("the name {node} cannot be the name of a directory")));
        }
        let path = directory.join(node);
        match fs::create_dir(&path) {
            Ok(()) => Ok(Self { path, is_new: true }),
            // A link there could lead anywhere.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let is_directory = fs::symlink_metadata(&path).is_ok_and(|there| there.is_dir());
                let message = format!("{} is not a directory", path.display());
                is_directory.then_some(Self { path, is_new: false }).ok_or_else(|| io::Error::other(message))
            }
            Err(error) => Err(about(&path, "create", &error)),
        }
    }
}

impl Drop for NodeDirectory {
    fn drop(&mut self) {
        // It fails if there is a file in it, which is as it should be.
        if self.is_new {
            drop(fs::remove_dir(&self.path));
        }
    }
}

/// The file of an earlier copy: its size, its SHA-256, and its permissions.
fn known(path: &Path) -> io::Result<Option<(u64, String, u32)>> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => Err(io::Error::other(format!("{} is a directory", path.display()))),
        Ok(there) if there.is_file() => {
            // One that cannot be read is replaced.
            let digest = File::open(path).and_then(|file| digest(&file)).ok();
            Ok(digest.map(|(size, sha256)| (size, sha256, there.mode() & 0o7777)))
        }
        // Anything else, such as a link, is replaced and not followed.
        _ => Ok(None),
    }
}

/// Receives a file into `path`. Whether it was changed.
async fn receive<S: Session>(session: &S, source: &str, path: &Path, access: &NodeAccess) -> Result<bool, CopyError> {
    let at = path.to_owned();
    let old = blocking(move || known(&at)).await.map_err(CopyError::Local)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let cannot_write = |error: io::Error| about(path, "write", &error);
    let local = |error: io::Error| CopyError::Local(cannot_write(error));
    // Beside its target, so that it can be renamed. Dropped early, it removes itself.
    let temporary = tempfile::Builder::new().prefix(".ctl-cp-").tempfile_in(folder).map_err(local)?;
    let content = Arc::new(temporary.as_file().try_clone().map_err(local)?);
    let write = |offset, bytes: Vec<u8>| {
        let content = Arc::clone(&content);
        async move { blocking(move || content.write_all_at(&bytes, offset)).await.map_err(cannot_write) }
    };
    let same = old.as_ref().map(|(size, sha256, _)| (*size, sha256.as_str()));
    let file = copy::get(session, source, same, &access.sudo, access.timeout, write).await?;
    let permissions = Permissions::from_mode(file.mode & MODE);
    if !file.is_known {
        temporary.as_file().set_permissions(permissions).map_err(local)?;
        temporary.persist(path).map_err(|error| local(error.error))?;
        return Ok(true);
    }
    if old.is_some_and(|(.., mode)| mode != file.mode & MODE) {
        fs::set_permissions(path, permissions).map_err(local)?;
        return Ok(true);
    }
    Ok(false)
}

/// Puts an error into a result.
fn fail(result: &mut TargetResult, error: &CopyError, copied: &CopiedFiles, access: &NodeAccess) {
    let command = |message: String| (Outcome::Failed, Failure::new(Stage::Act, FailureKind::Command, message));
    let (outcome, mut failure) = match error {
        CopyError::Run(error) => (outcome_of(error), error.failure(Stage::Act)),
        CopyError::Node(output) => match output.end {
            CommandEnd::TimedOut => {
                let message = format!("not copied within {:.1} s", access.timeout.as_secs_f64());
                let failure = Failure::new(Stage::Act, FailureKind::TimedOut, message);
                (Outcome::TimedOut, failure.with_hint("allow more time with --timeout"))
            }
            CommandEnd::GivenUp => {
                let failure =
                    Failure::new(Stage::Act, FailureKind::Interrupted, "the run stopped waiting for the copy");
                (Outcome::Unknown, failure.with_hint(WHOLE_EITHER_WAY))
            }
            CommandEnd::Lost => {
                let message = "the connection was lost while a file was copied";
                let failure = Failure::new(Stage::Act, FailureKind::ConnectionLost, message);
                (Outcome::Unknown, failure.with_hint(WHOLE_EITHER_WAY))
            }
            CommandEnd::NotRun(_) => {
                let (outcome, failure) = command(format!("the node's part of the copy {}", ended(output, access)));
                (outcome, failure.with_hint(NOT_RUN))
            }
            CommandEnd::Exited(_) | CommandEnd::Signalled(_) | CommandEnd::NoStatus => {
                let ended = || format!("the node's part of the copy {}", ended(output, access));
                command(output.last_line().unwrap_or_else(ended))
            }
        },
        CopyError::Local(_) | CopyError::Shorter => command(error.to_string()),
        CopyError::Protocol => (Outcome::Failed, Failure::new(Stage::Act, FailureKind::Protocol, error.to_string())),
    };
    let done = copied.changed + copied.same;
    if done > 0 {
        failure.message = format!("{} ({done} copied before)", failure.message);
    }
    result.outcome = outcome;
    result.failure = Some(failure);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_files_of_a_node_stay_in_its_directory() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = |name: &str| NodeDirectory::make(folder.path(), name);
        for name in ["a1", "a1.example.net", "-x"] {
            let path = folder.path().join(name);
            let made = own(name).expect("a directory");
            assert_eq!((&made.path, made.is_new, path.is_dir()), (&path, true, true), "{name}");
            drop(made);
            assert!(!path.exists(), "no file came into {name}");
            fs::write(own(name).expect("a directory").path.join("file"), "").expect("written");
            // The second time it is there.
            assert!(!own(name).expect("a directory").is_new, "{name}");
            assert!(path.join("file").exists(), "{name}");
        }
        symlink("/tmp", folder.path().join("link")).expect("a link");
        fs::write(folder.path().join("file"), "").expect("a file");
        for name in ["", ".", "..", "/etc", "a/b", "../a", "a/", "./a", "link", "file"] {
            assert!(own(name).is_err(), "{name}");
        }
    }

    #[test]
    fn an_earlier_copy_is_known_and_a_link_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
        fs::write(&file, "abc").expect("a file");
        fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("permissions");
        symlink(&file, &link).expect("a link");
        let found = known(&file).expect("readable").expect("known");
        assert_eq!((found.0, found.1.get(..8), found.2), (3, Some("ba7816bf"), 0o640));
        assert!(known(&link).expect("readable").is_none() && known(&folder.path().join("x")).expect("none").is_none());
        assert!(known(folder.path()).is_err());
    }
}
