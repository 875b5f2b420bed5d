//! The journal: what every run that changes nodes was asked, and what happened in it, on disk.
//!
//! Here live [`Journal`], what is noted of a run before it begins ([`RunRequest`]) and what is read back
//! ([`RunSummary`], [`RunRecord`]). SQLite in WAL mode; it uses the leaf `event`. What always holds: what was noted is on
//! the disk when the call returns; an event that is noted twice is noted once; several controllers share the file, and
//! of two that take over a run exactly one gets it. `schema.rs` holds the tables; `controller.rs` tells a controller that
//! lives from one that is gone.

mod controller;
pub mod resume;
mod schema;

use std::fmt;
use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

pub use self::controller::Controller;
use crate::event::{Event, EventKind};

/// How long another controller's write is waited for.
const BUSY: Duration = Duration::from_secs(10);

/// Letters of a run's name that are enough to mean it, if no other begins with them.
const LEAST_PREFIX: usize = 4;

/// The record of everything that changed a node.
#[derive(Debug)]
pub struct Journal {
    connection: Connection,
    path: PathBuf,
}

/// Why something could not be noted or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The directory or the file cannot be made.
    #[error("the journal {path} cannot be opened: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database does not do what it is asked.
    #[error("the journal {path}: {what}")]
    Database {
        /// The file.
        path: PathBuf,
        /// In words for the person on call.
        what: String,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A newer program wrote it.
    #[error("the journal {path} is of version {found}, and this ctl knows up to {known}: a newer ctl wrote it")]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: i64,
        /// The newest one known.
        known: i64,
    },
    /// There is no such run.
    #[error("the journal has no run {id}")]
    NotFound {
        /// As asked for.
        id: String,
        /// The newest run that there is.
        newest: Option<String>,
    },
    /// Several runs begin so.
    #[error("several runs begin with {id}: {}", runs.join(", "))]
    Ambiguous {
        /// As asked for.
        id: String,
        /// Their names.
        runs: Vec<String>,
    },
    /// The run is at work.
    #[error("run {run} is at work: process {pid} on {host}")]
    StillRunning {
        /// The run.
        run: String,
        /// Its controller.
        host: String,
        /// Its process.
        pid: u32,
    },
    /// The run has nothing left to do.
    #[error("run {run} was finished")]
    Finished {
        /// The run.
        run: String,
    },
    /// A row cannot be read.
    #[error("the journal {path} cannot be read at {place}: {source}")]
    Row {
        /// The file.
        path: PathBuf,
        /// Which run, and which of its events.
        place: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// A file as it was when the run was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Where it was.
    pub path: PathBuf,
    /// What it said.
    pub text: String,
}

/// Which run another one goes back to, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `retry` or `undo`.
    pub how: String,
    /// The run.
    pub run: String,
}

/// What a run was asked: enough to make the same plan again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// Its name.
    pub run: String,
    /// The command line after the program's name.
    pub words: Vec<String>,
    /// Where it was typed: relative paths count from there.
    pub directory: PathBuf,
    /// The inventory.
    pub inventory: Document,
    /// The rollout file, if it is one.
    pub rollout: Option<Document>,
    /// Who runs it.
    pub controller: Controller,
    /// Why, as the operator said.
    pub reason: Option<String>,
    /// When it began.
    pub started: jiff::Timestamp,
    /// The command, such as `service`.
    pub command: String,
    /// The action, such as `restart`.
    pub action: Option<String>,
    /// The services as they were typed.
    pub services: Vec<String>,
    /// Number of nodes selected.
    pub nodes: u32,
    /// The run that it retries or undoes.
    pub origin: Option<Origin>,
}

/// Whether a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Its controller is at work.
    Running,
    /// It ended before everything was done, or its controller is gone.
    Interrupted,
    /// Everything that it was to do was done, well or badly.
    Finished,
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Finished => "finished",
        })
    }
}

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunSummary {
    /// Its name.
    pub run: String,
    /// When it began.
    pub started: jiff::Timestamp,
    /// When it ended.
    pub ended: Option<jiff::Timestamp>,
    /// Whether it is over.
    pub state: RunState,
    /// The command.
    pub command: String,
    /// The action.
    pub action: Option<String>,
    /// The services as they were typed.
    pub services: Vec<String>,
    /// Number of nodes selected.
    pub nodes: u32,
    /// Who ran it.
    pub user: String,
    /// Where.
    pub host: String,
    /// Why.
    pub reason: Option<String>,
    /// How it ended.
    pub exit_code: Option<u8>,
    /// The run that it retries or undoes.
    pub origin: Option<Origin>,
}

/// All that is known of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// What was asked.
    pub request: RunRequest,
    /// Whether it is over.
    pub state: RunState,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// A row of the runs.
struct RunRow {
    request: String,
    ended: Option<String>,
    exit_code: Option<u8>,
    complete: Option<bool>,
    controller: Controller,
}

impl RunRow {
    const COLUMNS: &'static str = "request, ended, exit_code, complete, user, host, pid, pid_start";

    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            request: row.get(0)?,
            ended: row.get(1)?,
            exit_code: row.get(2)?,
            complete: row.get(3)?,
            controller: Controller { user: row.get(4)?, host: row.get(5)?, pid: row.get(6)?, pid_start: row.get(7)? },
        })
    }

    fn state(&self) -> RunState {
        match (&self.ended, self.complete) {
            (Some(_), Some(true)) => RunState::Finished,
            (Some(_), _) => RunState::Interrupted,
            (None, _) if self.controller.may_live() => RunState::Running,
            (None, _) => RunState::Interrupted,
        }
    }
}

impl Journal {
    /// Opens the journal, and makes it where there is none: the directory for its owner alone, and the file too.
    ///
    /// # Errors
    /// [`JournalError::Open`] and [`JournalError::Database`] where it cannot be made or is none,
    /// [`JournalError::Newer`].
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let failed = |source| JournalError::Open { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        // SQLite makes its other files with the mode of this one.
        OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(failed)?;
        let broken = |source| database(path, source);
        let mut connection = Connection::open(path).map_err(broken)?;
        connection.busy_timeout(BUSY).map_err(broken)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(broken)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(broken)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(broken)?;
        match schema::migrate(&mut connection).map_err(broken)? {
            None => Ok(Self { connection, path: path.to_owned() }),
            Some(found) => Err(JournalError::Newer { path: path.to_owned(), found, known: schema::VERSION }),
        }
    }

    /// Notes a run before anything of it happens.
    ///
    /// # Errors
    /// [`JournalError::Database`]: then nothing may be changed.
    pub fn begin(&mut self, request: &RunRequest) -> Result<(), JournalError> {
        let text = serde_json::to_string(request).map_err(|source| self.row(&request.run, source))?;
        let Controller { user, host, pid, pid_start } = &request.controller;
        let inserted = self.connection.execute(
            "INSERT INTO runs (run, request, user, host, pid, pid_start) VALUES (?, ?, ?, ?, ?, ?)",
            params![request.run, text, user, host, pid, pid_start],
        );
        inserted.map(|_| ()).map_err(|source| database(&self.path, source))
    }

    /// Notes an event. [`EventKind::Progress`] is not kept.
    ///
    /// # Errors
    /// [`JournalError::Database`]: then nothing that follows from it may be done.
    pub fn append(&mut self, run: &str, event: &Event) -> Result<(), JournalError> {
        if matches!(event.kind, EventKind::Progress { .. }) {
            return Ok(());
        }
        let text =
            serde_json::to_string(event).map_err(|source| self.row(&format!("{run}, event {}", event.seq), source))?;
        let mut insert = self
            .connection
            .prepare("INSERT OR IGNORE INTO events (run, seq, event) VALUES (?, ?, ?)")
            .map_err(|source| database(&self.path, source))?;
        let inserted = insert.execute(params![run, i64::try_from(event.seq).unwrap_or(i64::MAX), text]);
        inserted.map(|_| ()).map_err(|source| database(&self.path, source))
    }

    /// Notes how a run ended; `complete`: everything that it was to do was done.
    ///
    /// # Errors
    /// [`JournalError::Database`].
    pub fn end(&mut self, run: &str, exit_code: u8, complete: bool) -> Result<(), JournalError> {
        let updated = self.connection.execute(
            "UPDATE runs SET ended = ?, exit_code = ?, complete = ? WHERE run = ?",
            params![jiff::Timestamp::now().to_string(), exit_code, complete, run],
        );
        updated.map(|_| ()).map_err(|source| database(&self.path, source))
    }

    /// Makes `controller` the one of a run that ended early or whose controller is gone. Of two at once one gets it.
    ///
    /// # Errors
    /// [`JournalError::StillRunning`], [`JournalError::Finished`], [`JournalError::NotFound`], [`JournalError::Database`].
    pub fn take_over(&mut self, run: &str, controller: &Controller) -> Result<(), JournalError> {
        let path = self.path.clone();
        let broken = |source| database(&path, source);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(broken)?;
        let select = format!("SELECT {} FROM runs WHERE run = ?", RunRow::COLUMNS);
        let row = transaction.query_row(&select, [run], RunRow::read).optional().map_err(broken)?;
        let Some(row) = row else { return Err(JournalError::NotFound { id: run.to_owned(), newest: None }) };
        match row.state() {
            RunState::Finished => return Err(JournalError::Finished { run: run.to_owned() }),
            RunState::Running => {
                let Controller { host, pid, .. } = row.controller;
                return Err(JournalError::StillRunning { run: run.to_owned(), host, pid });
            }
            RunState::Interrupted => {}
        }
        let Controller { user, host, pid, pid_start } = controller;
        transaction
            .execute(
                "UPDATE runs SET ended = NULL, exit_code = NULL, complete = NULL, user = ?, host = ?, pid = ?, \
                 pid_start = ? WHERE run = ?",
                params![user, host, pid, pid_start, run],
            )
            .map_err(broken)?;
        transaction.commit().map_err(broken)
    }

    /// The newest runs first, at most `limit` of them.
    ///
    /// # Errors
    /// [`JournalError::Database`], [`JournalError::Row`].
    pub fn runs(&self, limit: u32) -> Result<Vec<RunSummary>, JournalError> {
        let broken = |source| database(&self.path, source);
        let select = format!("SELECT {} FROM runs ORDER BY run DESC LIMIT ?", RunRow::COLUMNS);
        let mut select = self.connection.prepare(&select).map_err(broken)?;
        let rows: Vec<RunRow> =
            select.query_map([limit], RunRow::read).map_err(broken)?.collect::<Result<_, _>>().map_err(broken)?;
        rows.iter().map(|row| self.summary(row)).collect()
    }

    fn summary(&self, row: &RunRow) -> Result<RunSummary, JournalError> {
        let request: RunRequest =
            serde_json::from_str(&row.request).map_err(|source| self.row("a run's request", source))?;
        Ok(RunSummary {
            run: request.run,
            started: request.started,
            ended: row.ended.as_deref().and_then(|ended| ended.parse().ok()),
            state: row.state(),
            command: request.command,
            action: request.action,
            services: request.services,
            nodes: request.nodes,
            user: row.controller.user.clone(),
            host: row.controller.host.clone(),
            reason: request.reason,
            exit_code: row.exit_code,
            origin: request.origin,
        })
    }

    /// A run by its name, by enough of its first letters, or `last` for the newest.
    ///
    /// # Errors
    /// [`JournalError::NotFound`], [`JournalError::Ambiguous`], [`JournalError::Database`], [`JournalError::Row`].
    pub fn load(&self, id: &str) -> Result<RunRecord, JournalError> {
        let broken = |source| database(&self.path, source);
        let run = self.find(id)?;
        let select = format!("SELECT {} FROM runs WHERE run = ?", RunRow::COLUMNS);
        let row = self.connection.query_row(&select, [&run], RunRow::read).map_err(broken)?;
        let request = serde_json::from_str(&row.request).map_err(|source| self.row(&run, source))?;
        let mut select =
            self.connection.prepare("SELECT seq, event FROM events WHERE run = ? ORDER BY seq").map_err(broken)?;
        let texts: Vec<(i64, String)> = select
            .query_map([&run], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(broken)?
            .collect::<Result<_, _>>()
            .map_err(broken)?;
        let read = |(seq, text): &(i64, String)| {
            serde_json::from_str(text).map_err(|source| self.row(&format!("{run}, event {seq}"), source))
        };
        Ok(RunRecord { request, state: row.state(), events: texts.iter().map(read).collect::<Result<_, _>>()? })
    }

    fn find(&self, id: &str) -> Result<String, JournalError> {
        let broken = |source| database(&self.path, source);
        let newest: Option<String> = self
            .connection
            .query_row("SELECT run FROM runs ORDER BY run DESC LIMIT 1", [], |row| row.get(0))
            .optional()
            .map_err(broken)?;
        if id == "last"
            && let Some(newest) = newest
        {
            return Ok(newest);
        }
        let mut select = self
            .connection
            .prepare("SELECT run FROM runs WHERE substr(run, 1, length(?1)) = ?1 ORDER BY run DESC LIMIT 6")
            .map_err(broken)?;
        let mut runs: Vec<String> =
            select.query_map([id], |row| row.get(0)).map_err(broken)?.collect::<Result<_, _>>().map_err(broken)?;
        if runs.iter().any(|run| run == id) {
            return Ok(id.to_owned());
        }
        match runs.pop() {
            Some(run) if runs.is_empty() && id.len() >= LEAST_PREFIX => Ok(run),
            Some(run) if !runs.is_empty() && id.len() >= LEAST_PREFIX => {
                runs.push(run);
                Err(JournalError::Ambiguous { id: id.to_owned(), runs })
            }
            _ => Err(JournalError::NotFound { id: id.to_owned(), newest }),
        }
    }

    fn row(&self, place: &str, source: serde_json::Error) -> JournalError {
        JournalError::Row { path: self.path.clone(), place: place.to_owned(), source }
    }
}

/// What SQLite says, in words for the person on call.
fn database(path: &Path, source: rusqlite::Error) -> JournalError {
    let what = match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => "it is no database: move it away, and a new one is made".to_owned(),
        Some(ErrorCode::DatabaseCorrupt) => "it is damaged: move it away, and a new one is made".to_owned(),
        Some(ErrorCode::DiskFull) => "the disk is full".to_owned(),
        Some(ErrorCode::ReadOnly) => "it cannot be written".to_owned(),
        Some(ErrorCode::CannotOpen) => "it cannot be opened".to_owned(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "another ctl has held it for 10 s".to_owned(),
        _ => source.to_string(),
    };
    JournalError::Database { path: path.to_owned(), what, source }
}
