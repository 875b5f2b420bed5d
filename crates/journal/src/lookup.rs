//! Resolves the id that the user typed to a run.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Params, params};

use super::JournalError;
use super::rows::at;

/// Minimum length of a partial name: that of the letters at its end.
const PART_CHARS: usize = 4;

/// Maximum runs to list if a partial name is ambiguous.
const MATCHES_NAMED: usize = 10;

/// Number of newest runs to search for a similar name.
const NEAR_RUNS: usize = 200;

/// Maximum length in bytes of an id that is compared with run names.
const NEAR_BYTES: usize = 64;

/// Maximum edit distance of a similar name.
const NEAR_EDITS: usize = 3;

/// The name of the run with this `id`: a whole name, a part of exactly one name, or `last`.
pub(super) fn resolve(connection: &Connection, path: &Path, id: &str) -> Result<String, JournalError> {
    if id == "last" {
        let newest = newest(connection, 1).map_err(at(path))?.pop();
        return newest.ok_or_else(|| not_found(connection, path, id));
    }
    let whole = connection.query_one("SELECT run FROM runs WHERE run = ?1", [id], |row| row.get(0)).optional();
    if let Some(run) = whole.map_err(at(path))? {
        return Ok(run);
    }
    if id.chars().count() < PART_CHARS {
        return Err(JournalError::TooShort { id: id.to_owned() });
    }
    // Not LIKE or GLOB, which give some characters a special meaning.
    let holds = "SELECT run FROM runs WHERE instr(run, ?1) > 0 ORDER BY number DESC LIMIT ?2";
    // One more than the message lists, to know whether there are others.
    let mut matches = names(connection, holds, params![id, limit(MATCHES_NAMED + 1)]).map_err(at(path))?;
    if matches.len() > 1 {
        let more = matches.len() > MATCHES_NAMED;
        matches.truncate(MATCHES_NAMED);
        return Err(JournalError::Ambiguous { id: id.to_owned(), matches, more });
    }
    matches.pop().ok_or_else(|| not_found(connection, path, id))
}

/// The error for a missing run, with a suggestion.
pub(super) fn not_found(connection: &Connection, path: &Path, id: &str) -> JournalError {
    let newest = match newest(connection, NEAR_RUNS) {
        Ok(newest) => newest,
        Err(error) => return JournalError::storage(path, error),
    };
    let near = newest
        .iter()
        .filter(|_| id.len() <= NEAR_BYTES)
        .map(|run| (strsim::damerau_levenshtein(run, id), run))
        .filter(|(edits, _)| *edits <= NEAR_EDITS)
        .min_by_key(|(edits, _)| *edits);
    JournalError::NotFound {
        path: path.to_owned(),
        id: id.to_owned(),
        near: near.map(|(_, run)| run.clone()),
        newest: newest.first().cloned(),
    }
}

/// The names of the newest `count` runs, newest first.
fn newest(connection: &Connection, count: usize) -> rusqlite::Result<Vec<String>> {
    names(connection, "SELECT run FROM runs ORDER BY number DESC LIMIT ?1", [limit(count)])
}

fn names(connection: &Connection, sql: &str, parameters: impl Params) -> rusqlite::Result<Vec<String>> {
    connection.prepare(sql)?.query_map(parameters, |row| row.get(0))?.collect()
}

fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
