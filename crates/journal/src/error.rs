//! Errors of the journal, and the remedy for each.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::schema::{BUSY_TIMEOUT, VERSION};

/// Why the journal could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The directory cannot be created.
    #[error("cannot make the directory {} for the journal: {source}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// The system error.
        source: io::Error,
    },
    /// The file cannot be created or inspected.
    #[error("cannot open the journal {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system error.
        source: io::Error,
    },
    /// Another user may have written it, or can write it.
    #[error(
        "others can write to {}, where the journal is kept (uid {uid}, mode {mode:04o}): run chmod go-w on it if it is \
         yours, or set XDG_STATE_HOME", path.display()
    )]
    OfOthers {
        /// The file or its directory.
        path: PathBuf,
        /// Its owner.
        uid: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// The path exists and is not a regular file.
    #[error("the journal {} is not a regular file: move it away, or set XDG_STATE_HOME", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file is not a database, or belongs to another program. It is unchanged.
    #[error(
        "{} is not a ctl journal: move it away and a new one is created (nothing in it was changed)", path.display()
    )]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// A newer `ctl` wrote it. It is unchanged.
    #[error(
        "the journal {} was written by a newer ctl (format {found}, this ctl supports {VERSION}): use that ctl",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// The file is read-only.
    #[error(
        "cannot write the journal {}: fix its permissions and those of its directory, or set XDG_STATE_HOME",
        path.display()
    )]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// Another process held the lock too long.
    #[error(
        "another process has held the journal {} locked for {} s: try again", path.display(), BUSY_TIMEOUT.as_secs()
    )]
    Busy {
        /// The file.
        path: PathBuf,
        /// The SQLite error.
        source: rusqlite::Error,
    },
    /// The disk or quota is full.
    #[error(
        "cannot write the journal: no space left on device at {} (free some space there, or set XDG_STATE_HOME)",
        path.parent().unwrap_or(path).display()
    )]
    Full {
        /// The file.
        path: PathBuf,
        /// The SQLite error.
        source: rusqlite::Error,
    },
    /// The file is corrupt.
    #[error(
        "the journal {} is damaged ({source}): move it and its -wal file away to keep them, and a new one is \
         created", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The SQLite error.
        source: rusqlite::Error,
    },
    /// Any other SQLite error.
    #[error("cannot use the journal {}: {source}", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// The SQLite error.
        source: rusqlite::Error,
    },
    /// The record of the run is invalid.
    #[error("the journal {} has an unreadable entry for run `{run}`: {source}", path.display())]
    UnreadableRun {
        /// The file.
        path: PathBuf,
        /// The run.
        run: String,
        /// The invalid value, and the reason.
        source: rusqlite::Error,
    },
    /// An event is invalid, or of a kind that this `ctl` does not know.
    #[error(
        "the journal {} has an event that this ctl cannot read, number {seq} of run `{run}`: {source}",
        path.display()
    )]
    UnreadableEvent {
        /// The file.
        path: PathBuf,
        /// The run.
        run: String,
        /// Number of the event.
        seq: i64,
        /// The reason.
        source: serde_json::Error,
    },
    /// The run has more events than the limit.
    #[error("run `{run}` has {bytes} bytes of events in the journal {}, more than ctl reads", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The run.
        run: String,
        /// The size of its events.
        bytes: i64,
    },
    /// No such run.
    #[error("no run `{id}` in the journal {}{}", path.display(), instead(near.as_deref(), newest.as_deref()))]
    NotFound {
        /// The file.
        path: PathBuf,
        /// The requested id.
        id: String,
        /// A run with a similar name.
        near: Option<String>,
        /// The newest run; none in an empty journal.
        newest: Option<String>,
    },
    /// Several runs match.
    #[error("`{id}` matches run {}{}: give more characters", matches.join(", "), if *more { ", …" } else { "" })]
    Ambiguous {
        /// The requested id.
        id: String,
        /// The matching runs, newest first.
        matches: Vec<String>,
        /// Whether there are more of them.
        more: bool,
    },
    /// The id is too short to identify a run.
    #[error("'{id}' is too short; give at least 4 characters of the run ID, or 'last'")]
    TooShort {
        /// The requested id.
        id: String,
    },
    /// A run with this name exists.
    #[error("run `{run}` is already in the journal")]
    Exists {
        /// The run.
        run: String,
    },
    /// A different event has this number: another controller has the run.
    #[error("event {seq} of run `{run}` already exists: another ctl has taken over the run")]
    Conflict {
        /// The run.
        run: String,
        /// The number.
        seq: u64,
    },
    /// Another controller has taken over the run.
    #[error("another ctl has taken over run `{run}`: see `ctl runs show {run}`")]
    TakenOver {
        /// The run.
        run: String,
    },
    /// The run has ended, so it accepts no more events.
    #[error("run `{run}` has already ended")]
    Ended {
        /// The run.
        run: String,
    },
    /// Its controller is alive, as far as this host can determine.
    #[error(
        "run `{run}` is still running: pid {pid} on `{host}`; it can only be taken over on that host, once that \
         process has ended"
    )]
    StillRunning {
        /// The run.
        run: String,
        /// Process id of its controller.
        pid: u32,
        /// Host of its controller.
        host: String,
    },
    /// The run is complete.
    #[error("run `{run}` has already finished")]
    Finished {
        /// The run.
        run: String,
    },
}

impl JournalError {
    /// Classifies an SQLite error of the journal in `path` by its remedy.
    pub(super) fn storage(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let code = source.sqlite_error_code();
        let is = |codes: &[ErrorCode]| code.is_some_and(|code| codes.contains(&code));
        if is(&[ErrorCode::DatabaseBusy, ErrorCode::DatabaseLocked]) {
            Self::Busy { path, source }
        } else if is(&[ErrorCode::DiskFull]) || (is(&[ErrorCode::SystemIoFailure]) && has_no_room(&path)) {
            Self::Full { path, source }
        } else if is(&[ErrorCode::NotADatabase]) {
            Self::NotAJournal { path }
        } else if is(&[ErrorCode::ReadOnly]) {
            Self::ReadOnly { path }
        } else if is(&[ErrorCode::DatabaseCorrupt]) {
            Self::Damaged { path, source }
        } else {
            Self::Storage { path, source }
        }
    }
}

/// Whether a full disk or quota explains an error that SQLite does not distinguish: in WAL mode it writes several
/// files.
fn has_no_room(path: &Path) -> bool {
    let write = |dir: &Path| tempfile::tempfile_in(dir)?.write_all(&[0; 64 * 1024]);
    let full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded];
    path.parent().and_then(|dir| write(dir).err()).is_some_and(|error| full.contains(&error.kind()))
}

/// A suggestion in place of a run that does not exist.
fn instead(near: Option<&str>, newest: Option<&str>) -> String {
    match (near, newest) {
        (Some(near), _) => format!("; did you mean `{near}`?"),
        (None, Some(newest)) => format!("; the newest is `{newest}`"),
        (None, None) => ", which is empty".to_owned(),
    }
}
