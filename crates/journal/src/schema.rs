//! The format of the file, as data: its tables and their versions, its mark, and its limits.
//!
//! Invariants: a released version is never edited: each change is a new migration.

use std::time::Duration;

/// How long to wait for another process's lock.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of a value in bytes, for reads and writes.
pub(super) const VALUE_BYTES: i32 = 64 << 20;

/// The newest version of the tables: the number of migrations.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// `ctlj`: marks a database as a ctl journal.
pub(super) const APPLICATION_ID: i32 = 0x6374_6c6a;

/// The migration from each version to the next.
///
/// `runs.number` counts the runs in insertion order, independent of any clock. File texts have a table of their own, so
/// that the end of a run does not rewrite them. A path need not be UTF-8.
pub(super) const MIGRATIONS: &[&str] = &[
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
    "ALTER TABLE runs ADD COLUMN stopped_by TEXT;",
];
