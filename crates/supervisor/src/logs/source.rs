//! Where the pieces of a log come from, and the logs of which there are none.
//!
//! Here live [`LogSource`], which `position.rs` reads by offset, and [`kept_nowhere`]. Invariants: a read is
//! bounded, and returns exactly the bytes of the file.

use std::future::Future;

use crate::error::{RpcFault, SupervisorError};
use ctl_event::LogStream;

/// Most that is read of a log in one request.
pub const PIECE: usize = 32 * 1024;

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPiece {
    /// Its bytes.
    Bytes(Vec<u8>),
    /// supervisord cannot return it: it cuts a character, or it is not UTF-8.
    NotText,
}

/// Where a log is read by offset: over XML-RPC, and by a command where that cannot return it.
pub trait LogSource: Sync {
    /// Which of the process's logs it is.
    fn stream(&self) -> LogStream;

    /// At most so many bytes of the log from an offset on, read through supervisord.
    ///
    /// # Errors
    /// Every [`SupervisorError`] of a call; [`RpcFault::NoFile`] if there is no such file.
    fn piece(&self, offset: u64, length: usize) -> impl Future<Output = Result<LogPiece, SupervisorError>> + Send;

    /// Bytes that the log has now; 0 also where it is missing. None if supervisord cannot report it: past 2 GiB.
    ///
    /// # Errors
    /// Every [`SupervisorError`] of a call.
    fn size(&self) -> impl Future<Output = Result<Option<u64>, SupervisorError>> + Send;

    /// Where the log is on the node; none if it is written to no file.
    ///
    /// # Errors
    /// Every [`SupervisorError`] of a call.
    fn path(&self) -> impl Future<Output = Result<Option<String>, SupervisorError>> + Send;

    /// At most so many bytes of a file from an offset on, read by a command.
    ///
    /// # Errors
    /// What kept the command from reading.
    fn file(
        &self,
        path: &str,
        offset: u64,
        length: usize,
    ) -> impl Future<Output = Result<Vec<u8>, SupervisorError>> + Send;

    /// The size of a file, read by a command.
    ///
    /// # Errors
    /// As [`LogSource::file`].
    fn file_size(&self, path: &str) -> impl Future<Output = Result<u64, SupervisorError>> + Send;
}

/// A process whose log is kept in no file.
#[must_use]
pub fn no_log(stream: LogStream) -> SupervisorError {
    SupervisorError::Fault { fault: RpcFault::NoFile, text: format!("supervisord keeps no {stream} log for it") }
}

/// Why no log is kept at a path that supervisord reports: there is no path, or it leads to a device, such as /dev/null
/// or supervisord's own output. supervisord reads nothing from these, and reports an empty log.
#[must_use]
pub fn kept_nowhere(stream: LogStream, path: Option<&str>) -> Option<SupervisorError> {
    let path = match path {
        None => return Some(no_log(stream)),
        Some(path) => path,
    };
    // /dev/shm is a file system in memory, and its files are ordinary ones.
    let is_device = path.starts_with("/dev/") && !path.starts_with("/dev/shm/");
    // A path such as `/proc/self/fd/1` leads to supervisord's own output.
    let is_descriptor = path.starts_with("/proc/") && path.contains("/fd/");
    let path: String = path.chars().take(200).collect();
    (is_device || is_descriptor).then(|| SupervisorError::Fault {
        fault: RpcFault::NoFile,
        text: format!("supervisord keeps no {stream} log for it: it writes to {path}"),
    })
}
