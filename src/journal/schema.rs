//! The tables of the journal, and how an older file becomes one of this version.

use rusqlite::Connection;

/// The version that this program writes (`PRAGMA user_version`).
pub(super) const VERSION: i64 = 1;

/// What makes a file of each version out of one of the version before.
const STEPS: [&str; 1] = ["
    CREATE TABLE runs (
        run TEXT PRIMARY KEY,
        request TEXT NOT NULL,
        ended TEXT,
        exit_code INTEGER,
        complete INTEGER,
        user TEXT NOT NULL,
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        pid_start INTEGER
    ) STRICT;
    CREATE TABLE events (
        run TEXT NOT NULL REFERENCES runs (run),
        seq INTEGER NOT NULL,
        event TEXT NOT NULL,
        PRIMARY KEY (run, seq)
    ) STRICT, WITHOUT ROWID;
"];

/// Brings the file to this version. None: a newer program wrote it, in this version.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<Option<i64>> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > VERSION {
        return Ok(Some(found));
    }
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(None)
}
