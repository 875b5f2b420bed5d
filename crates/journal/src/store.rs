//! One connection to the journal: writes, takeovers and reads.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, named_params, params};

use super::controller::RunController;
use super::error::JournalError;
use super::lookup::{not_found, resolve};
use super::open;
use super::record::{RunRecord, RunRequest, RunState, RunSummary, SavedFile, StopCause};
use super::rows::{SELECT_RUNS, at, find, integer, json, noted, read_events, record, stored, unreadable};
use ctl_event::{EventKind, RunEvent};
use ctl_local::account;

/// The record of every change to a node: one connection for one thread.
///
/// Every method waits up to 10 s for other writers, and blocks meanwhile. Any method may fail with
/// [`JournalError::Busy`], [`JournalError::Full`], [`JournalError::Damaged`] or [`JournalError::Storage`]; a failed
/// call changes nothing.
#[derive(Debug)]
pub struct Journal {
    connection: Connection,
    path: PathBuf,
    /// Name of this host.
    host: String,
    /// Runs started or taken over through this connection, with the number of their controller at that time.
    held: HashMap<String, i64>,
}

impl Journal {
    /// Opens the journal; creates it if needed (with access for the owner only, as for its directory), and migrates the
    /// tables of an older `ctl`.
    ///
    /// # Errors
    /// [`JournalError::Directory`], [`JournalError::File`] or [`JournalError::NotAFile`] if the file cannot exist;
    /// [`JournalError::NotAJournal`] or [`JournalError::Newer`] for a file that stays unchanged;
    /// [`JournalError::ReadOnly`].
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        // Errors then show the whole path, and SQLite never reads a leading `file:` as a URI.
        let path = std::path::absolute(path).map_err(|source| JournalError::File { path: path.to_owned(), source })?;
        Ok(Self { connection: open::open(&path)?, path, host: account::host(), held: HashMap::new() })
    }

    /// Opens an existing journal to read it: creates none, changes nothing in it, and does not wait for writers.
    ///
    /// # Errors
    /// As [`Journal::open`]; also [`JournalError::NotAJournal`] if an older `ctl` wrote the file.
    pub fn open_read_only(path: &Path) -> Result<Self, JournalError> {
        let path = std::path::absolute(path).map_err(|source| JournalError::File { path: path.to_owned(), source })?;
        Ok(Self { connection: open::open_read_only(&path)?, path, host: account::host(), held: HashMap::new() })
    }

    /// Records a run before anything happens. `Ok` proves that the journal is writable.
    ///
    /// # Errors
    /// [`JournalError::Exists`] if a run has this name.
    pub fn begin(&mut self, request: &RunRequest) -> Result<(), JournalError> {
        let storage = at(&self.path);
        let transaction = write(&mut self.connection).map_err(&storage)?;
        let Some(number) = insert_run(&transaction, request).map_err(&storage)? else {
            return Err(JournalError::Exists { run: request.run.clone() });
        };
        let note = || {
            insert_document(&transaction, number, "inventory", &request.inventory)?;
            if let Some(rollout) = &request.rollout {
                insert_document(&transaction, number, "rollout", rollout)?;
            }
            insert_controller(&transaction, number, request.started, &request.controller)
        };
        let controller = note().map_err(&storage)?;
        transaction.commit().map_err(&storage)?;
        self.held.insert(request.run.clone(), controller);
        Ok(())
    }

    /// Records one event of a run; it is on disk when this returns. [`EventKind::Progress`] is not recorded.
    /// [`EventKind::RunFinished`] also sets the end time of the run; [`Journal::end`] sets the outcome.
    ///
    /// # Errors
    /// [`JournalError::NotFound`] if no run has this name; [`JournalError::Conflict`] if a different event has its
    /// number; [`JournalError::Ended`] for a new event after [`Journal::end`]; [`JournalError::TakenOver`] if the run
    /// was started or taken over through this journal, and another controller has taken it over since.
    pub fn append(&mut self, run: &str, event: &RunEvent) -> Result<(), JournalError> {
        self.append_all(run, std::slice::from_ref(event))
    }

    /// As [`Journal::append`], for several events: all are recorded, or none.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn append_all(&mut self, run: &str, events: &[RunEvent]) -> Result<(), JournalError> {
        let mut kept = events.iter().filter(|event| !matches!(event.kind, EventKind::Progress { .. })).peekable();
        if kept.peek().is_none() {
            return Ok(());
        }
        let storage = at(&self.path);
        let transaction = write(&mut self.connection).map_err(&storage)?;
        let (number, ended) = open_run(&transaction, &self.path, run, &self.held)?;
        for event in kept {
            if insert_event(&transaction, number, event).map_err(&storage)? {
                // Only a new event is an error after the end; a repeated one was recorded before it.
                if ended {
                    return Err(JournalError::Ended { run: run.to_owned() });
                }
            } else if stored(&transaction, &self.path, run, number, event.seq)?.as_ref() != Some(event) {
                // The number is taken: the same event is a harmless repetition, a different one proves a second writer.
                // The early return rolls the whole transaction back.
                return Err(JournalError::Conflict { run: run.to_owned(), seq: event.seq });
            }
        }
        transaction.commit().map_err(&storage)
    }

    /// Records the end of a run: its exit code, whether all of its work is done (`complete`), and what ended it otherwise.
    ///
    /// # Errors
    /// [`JournalError::NotFound`] if no run has this name; [`JournalError::Ended`] if its end is recorded already;
    /// [`JournalError::TakenOver`] as for [`Journal::append`].
    pub fn end(
        &mut self,
        run: &str,
        exit_code: u8,
        complete: bool,
        stopped_by: Option<StopCause>,
    ) -> Result<(), JournalError> {
        let storage = at(&self.path);
        let stopped_by = stopped_by.as_ref().map(json).transpose().map_err(&storage)?;
        let transaction = write(&mut self.connection).map_err(&storage)?;
        let (number, ended) = open_run(&transaction, &self.path, run, &self.held)?;
        if ended {
            return Err(JournalError::Ended { run: run.to_owned() });
        }
        transaction
            .execute(
                "UPDATE runs SET ended = coalesce(ended, ?2), exit_code = ?3, complete = ?4, stopped_by = ?5
                 WHERE number = ?1",
                params![number, Timestamp::now().to_string(), exit_code, complete, stopped_by],
            )
            .map_err(&storage)?;
        transaction.commit().map_err(&storage)
    }

    /// Makes `controller` the controller of a run that ended early, or whose controller is gone, and reopens the run:
    /// its end is cleared, and events may follow. Of several simultaneous attempts, one succeeds.
    ///
    /// A run of another host can be taken over only if it ended: from here a dead controller there looks like a slow
    /// one, and two controllers of one run are worse than a login to that host.
    ///
    /// # Errors
    /// [`JournalError::NotFound`] if no run has this name; [`JournalError::StillRunning`]; [`JournalError::Finished`].
    pub fn take_over(&mut self, run: &str, controller: &RunController) -> Result<(), JournalError> {
        let storage = at(&self.path);
        // The write lock comes first, so the state that is checked below cannot change before the commit.
        let transaction = write(&mut self.connection).map_err(&storage)?;
        let Some(noted) = find(&transaction, &self.path, &self.host, run)? else {
            return Err(not_found(&transaction, &self.path, run));
        };
        let run = run.to_owned();
        match noted.summary.state {
            RunState::Finished => return Err(JournalError::Finished { run }),
            RunState::Running => {
                let RunController { pid, host, .. } = noted.controller;
                return Err(JournalError::StillRunning { run, pid, host });
            }
            RunState::Interrupted => {}
        }
        let note = || {
            let reopen =
                "UPDATE runs SET ended = NULL, exit_code = NULL, complete = NULL, stopped_by = NULL WHERE number = ?1";
            transaction.execute(reopen, [noted.number])?;
            insert_controller(&transaction, noted.number, Timestamp::now(), controller)
        };
        let controller = note().map_err(&storage)?;
        transaction.commit().map_err(&storage)?;
        self.held.insert(run, controller);
        Ok(())
    }

    /// The newest runs, in reverse order of their insertion.
    ///
    /// # Errors
    /// [`JournalError::UnreadableRun`].
    pub fn runs(&self, limit: u32) -> Result<Vec<RunSummary>, JournalError> {
        let storage = at(&self.path);
        let mut statement =
            self.connection.prepare(&format!("{SELECT_RUNS} ORDER BY r.number DESC LIMIT ?1")).map_err(&storage)?;
        let mut rows = statement.query([limit]).map_err(&storage)?;
        let mut runs = Vec::new();
        while let Some(row) = rows.next().map_err(&storage)? {
            runs.push(noted(row, &self.path, &self.host)?.summary);
        }
        Ok(runs)
    }

    /// One run, by its name, by a part of it (4 characters or more, if no other name contains it), or by `last` for the
    /// newest.
    ///
    /// # Errors
    /// [`JournalError::NotFound`], [`JournalError::Ambiguous`] or [`JournalError::TooShort`] if the id matches no run,
    /// or several; [`JournalError::UnreadableRun`], [`JournalError::UnreadableEvent`] or [`JournalError::TooLarge`] if
    /// it cannot be read.
    pub fn load(&self, id: &str) -> Result<RunRecord, JournalError> {
        // One transaction, so that no other process writes between the queries.
        let snapshot = self.connection.unchecked_transaction().map_err(at(&self.path))?;
        let run = resolve(&snapshot, &self.path, id)?;
        let Some(noted) = find(&snapshot, &self.path, &self.host, &run)? else {
            return Err(not_found(&snapshot, &self.path, &run));
        };
        let events = read_events(&snapshot, &self.path, &run, noted.number)?;
        record(&snapshot, noted, events).map_err(unreadable(&self.path, &run))
    }
}

#[cfg(test)]
impl Journal {
    /// For tests that set limits.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// A transaction that takes the write lock at its start.
fn write(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// The number of a run to write to, and whether its end is recorded.
fn open_run(
    connection: &Connection,
    path: &Path,
    run: &str,
    held: &HashMap<String, i64>,
) -> Result<(i64, bool), JournalError> {
    let found: Option<(i64, bool, Option<i64>)> = connection
        .query_one(
            "SELECT number, complete IS NOT NULL, (SELECT max(number) FROM controllers WHERE run = runs.number)
             FROM runs WHERE run = ?1",
            [run],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()
        .map_err(at(path))?;
    let (number, ended, controller) = found.ok_or_else(|| not_found(connection, path, run))?;
    // The controller number rises with each takeover, so a higher one means that this process has lost the run.
    if held.get(run).is_some_and(|ours| controller != Some(*ours)) {
        return Err(JournalError::TakenOver { run: run.to_owned() });
    }
    Ok((number, ended))
}

/// Inserts the run and returns its number; `None` if the name is taken.
fn insert_run(connection: &Connection, request: &RunRequest) -> rusqlite::Result<Option<i64>> {
    let inserted = connection.execute(
        "INSERT INTO runs (run, words, directory, command, action, services, nodes, reason, input, origin, started)
         VALUES (:run, :words, :directory, :command, :action, :services, :nodes, :reason, :input, :origin, :started)
         ON CONFLICT (run) DO NOTHING",
        named_params! {
            ":run": request.run,
            ":words": json(&request.words)?,
            ":directory": json(&request.directory)?,
            ":command": request.command,
            ":action": request.action,
            ":services": json(&request.services)?,
            ":nodes": request.nodes,
            ":reason": request.reason,
            ":input": request.input.as_ref().map(json).transpose()?,
            ":origin": request.origin.as_ref().map(json).transpose()?,
            ":started": request.started.to_string(),
        },
    )?;
    Ok((inserted == 1).then(|| connection.last_insert_rowid()))
}

fn insert_document(connection: &Connection, run: i64, kind: &str, document: &SavedFile) -> rusqlite::Result<()> {
    let bytes = document.path.as_os_str().as_bytes();
    let path = document.path.to_str().map_or(ValueRef::Blob(bytes), |text| ValueRef::Text(text.as_bytes()));
    connection
        .execute(
            "INSERT INTO documents (run, kind, path, text) VALUES (?1, ?2, ?3, ?4)",
            params![run, kind, ToSqlOutput::Borrowed(path), document.text],
        )
        .map(drop)
}

/// Inserts the run's new controller, and returns its number. Number 0 started the run.
fn insert_controller(
    connection: &Connection,
    run: i64,
    since: Timestamp,
    controller: &RunController,
) -> rusqlite::Result<i64> {
    connection.query_one(
        "INSERT INTO controllers (run, number, since, user, host, pid, pid_start)
         SELECT :run, count(*), :since, :user, :host, :pid, :pid_start FROM controllers WHERE run = :run
         RETURNING number",
        named_params! {
            ":run": run,
            ":since": since.to_string(),
            ":user": controller.user,
            ":host": controller.host,
            ":pid": controller.pid,
            ":pid_start": controller.pid_start.map(integer).transpose()?,
        },
        |row| row.get(0),
    )
}

/// Inserts the event if its number is free, and returns whether it was.
fn insert_event(connection: &Connection, run: i64, event: &RunEvent) -> rusqlite::Result<bool> {
    let inserted = connection.execute(
        "INSERT INTO events (run, seq, event) VALUES (?1, ?2, ?3) ON CONFLICT (run, seq) DO NOTHING",
        params![run, integer(event.seq)?, json(event)?],
    )?;
    if inserted == 1 && matches!(event.kind, EventKind::RunFinished { .. }) {
        connection.execute("UPDATE runs SET ended = ?2 WHERE number = ?1", params![run, event.at.to_string()])?;
    }
    Ok(inserted == 1)
}
