//! Opens the file: creates it, checks it, and migrates it to the newest version.
//!
//! Invariants: a file is changed only once it is known to be a ctl journal, or empty. A migration is one transaction.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::error::JournalError;
use super::schema::{APPLICATION_ID, BUSY_TIMEOUT, MIGRATIONS, VALUE_BYTES, VERSION};
use ctl_local::file::FileAccess;

/// Time limit to open a journal, including the wait for a lock: only a dead mount takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pause between attempts where SQLite does not wait itself.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Opens the journal at an absolute path; creates it if needed, and migrates it to the newest version.
///
/// # Errors
/// Those of [`super::Journal::open`].
pub(super) fn open(path: &Path) -> Result<Connection, JournalError> {
    let file = path.to_owned();
    ctl_local::within(PATIENCE, move || open_now(&file))
        .unwrap_or_else(|source| Err(JournalError::File { path: path.to_owned(), source }))
}

fn open_now(path: &Path) -> Result<Connection, JournalError> {
    make(path)?;
    let storage = |error| JournalError::storage(path, error);
    // Without SQLITE_OPEN_CREATE: SQLite would create a file that everybody can read.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(storage)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(storage)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES).map_err(storage)?;
    // Check the version before any change: the file may belong to another program, or to a newer ctl.
    let version = {
        let snapshot = connection.unchecked_transaction().map_err(storage)?;
        version(&snapshot, path)?
    };
    // SQLite silently falls back to read-only access.
    if connection.is_readonly("main").map_err(storage)? {
        return Err(JournalError::ReadOnly { path: path.to_owned() });
    }
    use_wal(&connection).map_err(storage)?;
    // In WAL mode this equals FULL; in rollback mode it also syncs the directory after the journal file is removed,
    // which is the commit.
    connection.pragma_update(None, "synchronous", "EXTRA").map_err(storage)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(storage)?;
    if version < VERSION {
        migrate(&mut connection, path)?;
    }
    Ok(connection)
}

/// Opens an existing journal of this version at an absolute path, and changes nothing.
///
/// # Errors
/// Those of [`super::Journal::open_read_only`].
pub(super) fn open_read_only(path: &Path) -> Result<Connection, JournalError> {
    let storage = |error| JournalError::storage(path, error);
    let metadata = fs::metadata(path).map_err(|source| JournalError::File { path: path.to_owned(), source })?;
    if !metadata.is_file() {
        return Err(JournalError::NotAFile { path: path.to_owned() });
    }
    own(path, &metadata)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(storage)?;
    connection.busy_timeout(Duration::ZERO).map_err(storage)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES).map_err(storage)?;
    let version = {
        let snapshot = connection.unchecked_transaction().map_err(storage)?;
        version(&snapshot, path)?
    };
    // The tables of an older version may lack columns, and only a writer may migrate them.
    if version < VERSION {
        return Err(JournalError::NotAJournal { path: path.to_owned() });
    }
    Ok(connection)
}

/// Creates the directory and an empty file, which is an empty database, if they are missing.
///
/// An existing file is not opened, not even to inspect it: closing it would release the locks that another connection
/// of this process holds on it.
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

/// Rejects files that others can write: a resumed run executes their content on nodes.
fn own(path: &Path, metadata: &fs::Metadata) -> Result<(), JournalError> {
    let access = FileAccess::from(metadata);
    if access.is_foreign() || access.mode & 0o022 != 0 {
        return Err(JournalError::OfOthers { path: path.to_owned(), uid: access.uid, mode: access.mode });
    }
    Ok(())
}

/// Creates the empty file under a temporary name, and closes it before it gets its own name, for the same reason. If
/// several processes do so at once, the first wins and the others use its file.
fn make_file(path: &Path, dir: &Path) -> io::Result<()> {
    // tempfile creates it with mode 0600.
    let made = tempfile::NamedTempFile::new_in(dir)?.into_temp_path();
    match made.persist_noclobber(path) {
        Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => Ok(()),
        answer => answer.map_err(|refused| refused.error),
    }
}

/// The version of the tables; 0 for an empty database. Call it within a transaction, as it runs several queries.
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

/// Switches the database to WAL mode permanently. On a file system without WAL support the rollback journal gives the
/// same guarantees, only slower.
fn use_wal(connection: &Connection) -> rusqlite::Result<()> {
    let give_up = Instant::now() + BUSY_TIMEOUT;
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0)) {
            // Two processes that switch a new journal at once block each other, and SQLite fails without waiting:
            // retry.
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
    // Read the version again under the write lock: another process may have migrated meanwhile.
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
