//! The file: how it is made and opened, its tables, and their versions.
//!
//! What always holds: a file is changed only once it is known to be ours, or empty. A migration is one transaction,
//! and a version once released is never edited: what is new comes in a migration of its own.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::JournalError;
use crate::local;
use crate::local::file::FileAccess;

/// How long to wait for another process's lock.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a journal may take to be opened, the wait for another's lock included: longer takes only a dead mount.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long to wait between attempts where SQLite does not wait by itself.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// The newest version of the tables: the number of migrations.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// `ctlj`: marks a database as a journal of ours.
const APPLICATION_ID: i32 = 0x6374_6c6a;

/// Largest value that is written or read, in bytes.
const VALUE_BYTES: i32 = 64 << 20;

/// What leads from each version to the next.
///
/// `runs.number` counts the runs as they were noted, which no clock can put out of order. Texts of files are in a
/// table of their own, so that the end of a run does not write them again. Paths may be anything but text.
const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE runs (
    number    INTEGER PRIMARY KEY,
    run       TEXT NOT NULL UNIQUE,
    words     TEXT NOT NULL,
    directory TEXT NOT NULL,
    command   TEXT NOT NULL,
    action    TEXT,
    services  TEXT NOT NULL,
    nodes     INTEGER NOT NULL,
    reason    TEXT,
    origin    TEXT,
    started   TEXT NOT NULL,
    ended     TEXT,
    exit_code INTEGER,
    complete  INTEGER
) STRICT;
CREATE TABLE documents (
    run  INTEGER NOT NULL REFERENCES runs (number),
    kind TEXT NOT NULL CHECK (kind IN ('inventory', 'rollout')),
    path ANY NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (run, kind)
) STRICT;
CREATE TABLE controllers (
    run       INTEGER NOT NULL REFERENCES runs (number),
    number    INTEGER NOT NULL,
    since     TEXT NOT NULL,
    user      TEXT NOT NULL,
    host      TEXT NOT NULL,
    pid       INTEGER NOT NULL,
    pid_start INTEGER,
    PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE events (
    run   INTEGER NOT NULL REFERENCES runs (number),
    seq   INTEGER NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;
",
    "ALTER TABLE runs ADD COLUMN input TEXT;",
];

/// Opens the journal at an absolute path; makes it if it is not there, and brings it to the newest version.
///
/// # Errors
/// Those of [`super::Journal::open`].
pub(super) fn open(path: &Path) -> Result<Connection, JournalError> {
    let file = path.to_owned();
    local::within(PATIENCE, move || open_now(&file))
        .unwrap_or_else(|source| Err(JournalError::File { path: path.to_owned(), source }))
}

fn open_now(path: &Path) -> Result<Connection, JournalError> {
    make(path)?;
    let storage = |error| JournalError::storage(path, error);
    // Without SQLITE_OPEN_CREATE: SQLite would let everybody read what it makes.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(storage)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(storage)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES).map_err(storage)?;
    let version = {
        let snapshot = connection.unchecked_transaction().map_err(storage)?;
        version(&snapshot, path)?
    };
    // SQLite falls back to reading where it may not write.
    if connection.is_readonly("main").map_err(storage)? {
        return Err(JournalError::ReadOnly { path: path.to_owned() });
    }
    use_wal(&connection).map_err(storage)?;
    // In WAL mode this is FULL; with a rollback journal it also makes sure that its removal, the commit, is on disk.
    connection.pragma_update(None, "synchronous", "EXTRA").map_err(storage)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(storage)?;
    if version < VERSION {
        migrate(&mut connection, path)?;
    }
    Ok(connection)
}

/// Makes the directory and an empty file, which is an empty database, where they are missing.
///
/// A file that is there is not opened, not even to look at it: closing it would release the locks that another
/// connection of this process holds on it.
fn make(path: &Path) -> Result<(), JournalError> {
    let of_file = |source| JournalError::File { path: path.to_owned(), source };
    let dir = path.parent().unwrap_or(path);
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            own(path, &metadata)?;
            let of_dir = |source| JournalError::Directory { dir: dir.to_owned(), source };
            return own(dir, &fs::metadata(dir).map_err(of_dir)?);
        }
        Ok(_) => return Err(JournalError::NotAFile { path: path.to_owned() }),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
        Err(error) => return Err(of_file(error)),
    }
    let of_dir = |source| JournalError::Directory { dir: dir.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(of_dir)?;
    own(dir, &fs::metadata(dir).map_err(of_dir)?)?;
    make_file(path, dir).map_err(of_file)
}

/// Nobody else can have written what a run is resumed from: it is carried out on nodes.
fn own(path: &Path, metadata: &fs::Metadata) -> Result<(), JournalError> {
    let access = FileAccess::from(metadata);
    if access.is_foreign() || access.mode & 0o022 != 0 {
        return Err(JournalError::OfOthers { path: path.to_owned(), uid: access.uid, mode: access.mode });
    }
    Ok(())
}

/// Makes the empty file under another name and closes it before it gets its own, for the same reason. Of several that
/// do so at once, one is first and the others are content with that.
fn make_file(path: &Path, dir: &Path) -> io::Result<()> {
    // Its mode is 0600.
    let made = tempfile::NamedTempFile::new_in(dir)?.into_temp_path();
    match made.persist_noclobber(path) {
        Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => Ok(()),
        answer => answer.map_err(|refused| refused.error),
    }
}

/// The version of the tables; 0 for an empty database. To be called within a transaction, as it asks several times.
fn version(connection: &Connection, path: &Path) -> Result<usize, JournalError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let read = || {
        let objects = connection.query_one("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        Ok((pragma("application_id")?, pragma("user_version")?, objects))
    };
    let (application, version, objects) = read().map_err(|error| JournalError::storage(path, error))?;
    let foreign = || JournalError::NotAJournal { path: path.to_owned() };
    match usize::try_from(version) {
        Ok(0) if application == 0 && objects == 0 => Ok(0),
        Ok(1..=VERSION) if application == i64::from(APPLICATION_ID) => usize::try_from(version).map_err(|_| foreign()),
        Ok(1..) if application == i64::from(APPLICATION_ID) => {
            Err(JournalError::Newer { path: path.to_owned(), found: version })
        }
        Ok(_) | Err(_) => Err(foreign()),
    }
}

/// Puts the database into WAL mode, which it stays in. Where its file system cannot do that, the rollback journal
/// makes the same promises, only slower.
fn use_wal(connection: &Connection) -> rusqlite::Result<()> {
    let give_up = Instant::now() + BUSY_TIMEOUT;
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0)) {
            // Two that switch a new journal at once hold what the other waits for, and SQLite refuses without waiting.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && Instant::now() < give_up => {
                thread::sleep(BUSY_PAUSE);
            }
            answer => return answer.map(drop),
        }
    }
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), JournalError> {
    let storage = |error| JournalError::storage(path, error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(storage)?;
    // Again, now that nobody else can do the same.
    let version = version(&transaction, path)?;
    let apply = || {
        for migration in MIGRATIONS.iter().skip(version) {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", i64::try_from(VERSION).unwrap_or(i64::MAX))
    };
    apply().map_err(storage)?;
    transaction.commit().map_err(storage)
}
